"""How many of timm's pre-trained weights a method can be used with: ``python benchmarks/served.py [METHOD ...]``.

Told from names, as plans tell it; nothing is downloaded or built. For each method how many weights it takes, and why it
does not take the rest: it cannot be, it is not written yet, or the name is not recognised.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Sequence

import timm

from bench.cards.reasons import why_lacking
from bench.registry import Registry

METHODS = ("gta", "feature_distillation", "drloc", "transmix")
SORTS = ("cannot be", "not written yet", "not recognised")


def main(names: Sequence[str]) -> None:
    registry = Registry()
    weights = timm.list_pretrained()
    cards = {name: registry.backbone(f"timm:{name}@none") for name in weights}
    print(f"timm {timm.__version__}: {len(weights):,} pre-trained weights")
    takes_any = set[str]()
    for method in names or METHODS:
        needs = registry.method(method).needs
        served = {name for name, card in cards.items() if needs <= card.offers}
        takes_any |= served
        sorts = Counter(
            next(sort for sort in SORTS if sort in why_lacking(card, sorted(needs - card.offers)))
            for name, card in cards.items()
            if name not in served
        )
        rest = ", ".join(f"{sorts[sort]:,} {sort}" for sort in SORTS)
        print(f"  {method:20} {len(served):5,}   ({rest})")
    print(f"  {'none':20} {len(weights) - len(takes_any):5,}")


if __name__ == "__main__":
    main(sys.argv[1:])

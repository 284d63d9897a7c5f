"""Runs whose method needs a package that is not installed: they wait, and those of other methods are trained."""

from __future__ import annotations

import importlib.util
from collections import Counter
from collections.abc import Iterable, Mapping

from bench.cards import MethodCard
from bench.cards.text_towers import TEXT_TOWER, lacking_package
from bench.notation import counted
from bench.registry import Registry
from bench.spec import RunSpec


def apart(runs: Iterable[RunSpec], registry: Registry) -> tuple[list[RunSpec], Counter[str]]:
    """The runs that lack no package, and how many lack one, by which and how it is installed, in words."""
    ready, waits = list[RunSpec](), Counter[str]()
    for spec in runs:
        if reason := next(filter(None, map(_lacking, map(registry.method, spec.method.names))), ""):
            waits[reason] += 1
        else:
            ready.append(spec)
    return ready, waits


def waiting_lines(waits: Mapping[str, int]) -> list[str]:
    """What to say of runs that wait."""
    return [f"{counted(count, 'run')} cannot be trained here: {reason}" for reason, count in waits.items()]


def _lacking(card: MethodCard) -> str:
    """Which of a method's packages are not installed, and how they are, in words; empty where all are."""
    if TEXT_TOWER in card.needs and (texts := lacking_package()):
        return f"{card.name}: {texts}"
    names = sorted(name for name in card.packages if importlib.util.find_spec(name) is None)
    return f"{card.name} needs {', '.join(names)}: pip install 'finetune-bench[{','.join(names)}]'" if names else ""

"""What is claimed of methods over datasets, as sentences and as plain data."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from bench.notation import listed, none_if_nan, one_line, signed
from bench.papers.published import Key
from bench.stats.across import LIKE_THESE

DEALT = "stratified permutation of seeds"
FLIPPED = "sign flips of paired seeds within each dataset"
RANKED = "Wilcoxon's signed-rank test"
"""What sentences call the tests."""


@dataclass(frozen=True)
class Compared:
    """A method of a claim: its mean gap to the baseline over ``datasets``, and p before and after Holm's correction.

    ``won``, ``tied`` and ``lost`` count the datasets on which it is better, as good or worse at the printed decimals.
    """

    method: str
    gap: float
    datasets: int
    p: float
    p_holm: float
    won: int
    tied: int
    lost: int


@dataclass(frozen=True)
class Claim:
    """One claim over datasets: every method against the baseline, at one backbone, rate, and so on.

    Attributes:
        claim: ``on these datasets`` or ``on datasets like these``.
        where: the labels that are held equal.
        compared: the methods; empty where nothing can be tested.
        friedman: p that all methods rank alike, for datasets like these; nan for fewer than three methods.
        note: why nothing can be tested or significant, or what was left out.
        decimals: of gaps, as they are told.
        test: what the test is called.
    """

    claim: str
    where: Key
    baseline: str
    compared: tuple[Compared, ...] = ()
    friedman: float = math.nan
    note: str = ""
    decimals: int = 2
    test: str = ""

    @property
    def sentence(self) -> str:
        """All of it in one sentence, with its tests."""
        head = _head(self.claim, [self.where])
        if not self.compared:
            return f"{head}: {self.note}."
        datasets = sorted({method.datasets for method in self.compared})
        over = f" over {datasets[0]} datasets" if len(datasets) == 1 else ""
        gaps = []
        for method in self.compared:
            count = "" if over else f", {method.datasets} datasets"
            record = f", {method.won}/{method.tied}/{method.lost}" if self.claim == LIKE_THESE else ""
            gap = signed(method.gap, self.decimals)
            gaps.append(f"{one_line(method.method)} {gap} (p = {method.p_holm:.3g}{record}{count})")
        methods = f"the {len(gaps)} methods" if len(gaps) > 1 else "one method"
        corrected = f"{self.test}, Holm-corrected over {methods}"
        omnibus = "" if math.isnan(self.friedman) else f"Friedman's test of all methods p = {self.friedman:.3g}"
        counts = "datasets won/tied/lost, as printed" if self.claim == LIKE_THESE else ""
        tests = "; ".join(filter(None, (corrected, omnibus, counts, self.note)))
        return f"{head}: {listed(tuple(gaps))} against {one_line(self.baseline)}{over} ({tests})."

    @property
    def facts(self) -> dict[str, Any]:
        """As plain data; None is what does not exist."""
        facts = {**asdict(self), "friedman": none_if_nan(self.friedman)}
        del facts["decimals"]
        return facts


def sentences(claims: Iterable[Claim]) -> list[str]:
    """A sentence a claim; what cannot be tested at several places for the same reason is said once."""
    groups: dict[tuple[str, str], list[Claim]] = {}
    for claim in claims:
        key = ("", claim.sentence) if claim.compared else (claim.claim, claim.note)
        groups.setdefault(key, []).append(claim)
    texts = []
    for (_, text), group in groups.items():
        head = _head(group[0].claim, [claim.where for claim in group])
        texts.append(text if group[0].compared else f"{head}: {text}.")
    return texts


def _head(claim: str, places: Sequence[Key]) -> str:
    labels = listed(tuple(" / ".join(map(one_line, where)) for where in places if where))
    return f"{claim[0].upper()}{claim[1:]}" + (f", {labels}" if labels else "")

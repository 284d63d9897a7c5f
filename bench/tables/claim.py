"""What is claimed of methods over datasets, as sentences and as plain data."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from bench.notation import known, listed, one_line, signed
from bench.stats.across import THESE

Key = tuple[str, ...]


@dataclass(frozen=True)
class Compared:
    """A method of a claim: its mean gap to the baseline over ``datasets``, and p before and after Holm's correction."""

    method: str
    gap: float
    datasets: int
    p: float
    p_holm: float


@dataclass(frozen=True)
class Claim:
    """One claim over datasets: every method against the baseline, at one backbone, rate, and so on.

    Attributes:
        claim: ``on these datasets`` or ``on datasets like these``.
        where: the labels that are held equal.
        baseline: its label.
        compared: the methods; empty where nothing can be tested.
        friedman: p that all methods rank alike, for datasets like these; nan for fewer than three methods.
        note: why nothing can be tested or significant, or what was left out.
    """

    claim: str
    where: Key
    baseline: str
    compared: tuple[Compared, ...] = ()
    friedman: float = math.nan
    note: str = ""

    @property
    def sentence(self) -> str:
        """All of it in one sentence, with its tests."""
        head = _head(self.claim, [self.where])
        if not self.compared:
            return f"{head}: {self.note}."
        counts = {one.datasets for one in self.compared}
        told = listed(
            tuple(
                f"{one_line(one.method)} {signed(one.gap, 2)} (p = {one.p_holm:.3g}"
                + (f", {one.datasets} datasets)" if len(counts) > 1 else ")")
                for one in self.compared
            )
        )
        over = f" over {counts.pop()} datasets" if len(counts) == 1 else ""
        count = len(self.compared)
        holm_over = f"Holm-corrected over {f'the {count} methods' if count > 1 else 'one method'}"
        test = "stratified permutation of seeds" if self.claim == THESE else "Wilcoxon's signed-rank test"
        omnibus = "" if math.isnan(self.friedman) else f"; Friedman's test of all methods p = {self.friedman:.3g}"
        note = f"; {self.note}" if self.note else ""
        return f"{head}: {told} against {one_line(self.baseline)}{over} ({test}, {holm_over}{omnibus}{note})."

    @property
    def facts(self) -> dict[str, Any]:
        """As plain data; None is what does not exist."""
        return {**asdict(self), "friedman": known(self.friedman)}


def sentences(claims: Iterable[Claim]) -> list[str]:
    """A sentence a claim; what cannot be tested at several places for the same reason is said once."""
    told: dict[tuple[str, str], list[Claim]] = {}
    for claim in claims:
        key = (claim.claim, claim.note) if not claim.compared else ("", claim.sentence)
        told.setdefault(key, []).append(claim)
    return [
        group[0].sentence if group[0].compared else f"{_head(group[0].claim, [one.where for one in group])}: {why}."
        for (_, why), group in told.items()
    ]


def _head(claim: str, places: Sequence[Key]) -> str:
    told = listed(tuple(" / ".join(map(one_line, where)) for where in places if where))
    return f"{claim[0].upper()}{claim[1:]}" + (f", {told}" if told else "")

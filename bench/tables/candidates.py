"""Which of several candidates a cell is: the one whose mean is best on a split, by a rule that the table names."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from bench.plan.table import Candidate, PlannedCell, TableRules
from bench.tables.results import Results


@dataclass(frozen=True)
class Choice:
    """Which candidate of a cell counts.

    Attributes:
        chosen: the candidate; None where none can be chosen.
        left_out: the label of each candidate that cannot be chosen, and why.
        lacking: why none is chosen; empty where one is.
        means: what each candidate that could be chosen scored on the split of the sweep, by its label.
    """

    chosen: Candidate | None
    left_out: tuple[tuple[str, str], ...] = ()
    lacking: str = ""
    means: tuple[tuple[str, float], ...] = ()


def choose(planned: PlannedCell, rules: TableRules, results: Results) -> Choice:
    """The candidate whose mean is best on the validation (``best-val``) or the test split (``best-test``).

    Its runs are scored at the points that the selection rule picks. A candidate with a run that failed or diverged has
    no mean over its seeds and is left out: the runs that are left would be the lucky ones. So is one with a run that
    has no score, where others have. None is chosen while runs are merely missing, as a choice among some candidates
    would not be the sweep's, nor where there is no validation split to choose on. Of equal ones the first counts.
    """
    if len(planned.candidates) == 1:
        return Choice(planned.candidates[0])
    why_not = {candidate.label: results.failures_among(candidate.runs) for candidate in planned.candidates}
    left_out = tuple((label, why) for label, why in why_not.items() if why)
    complete = [candidate for candidate in planned.candidates if not why_not[candidate.label]]
    if waiting := _waits(complete, results):
        return Choice(None, left_out, waiting)
    if not complete:
        return Choice(None, left_out, "no candidate of its sweep has all its runs")
    import numpy as np

    metric, split = results.picking(planned), rules.sweep.removeprefix("best-")
    means, unscored = list[tuple[Candidate, float]](), list[tuple[str, str]]()
    for candidate in complete:
        scores = results.scores_of(candidate.runs, planned, rules.selection, split, metric)
        if math.isnan(mean := float(np.mean(scores))):
            why_unscored = results.why_not(candidate.runs, metric, rules, split, "to choose on")
            unscored.append((candidate.label, why_unscored))
        else:
            means.append((candidate, mean))
    if not means:
        return Choice(None, left_out, unscored[0][1])
    top = max(metric.sign * mean for _, mean in means)
    best = next(candidate for candidate, mean in means if as_good(metric.sign * mean, top))
    labelled = tuple((candidate.label, mean) for candidate, mean in means)
    return Choice(best, (*left_out, *unscored), means=labelled)


def as_good(score: float, best: float) -> bool:
    """Whether two means are equal but for how their sums were rounded."""
    return math.isclose(score, best, rel_tol=1e-12)


def short_labels(labels: Sequence[str]) -> dict[str, str]:
    """Each label by what tells it from the others: ``gta (weight=1)`` as ``weight=1``."""
    split = {label: label.removesuffix(")").partition(" (") for label in labels}
    alike = len({head for head, _, _ in split.values()}) == 1 and all(label.endswith(")") for label in labels)
    return {label: inner if alike else label for label, (_, _, inner) in split.items()}


def _waits(candidates: Sequence[Candidate], results: Results) -> str:
    """Which runs are missing; empty where none is."""
    missing: dict[str, int] = {}
    for candidate in candidates:
        if count := sum(spec.id not in results.finished for spec in candidate.runs):
            missing[candidate.label] = count
    count = sum(missing.values())
    return f"its sweep waits for {count} run{'s' * (count > 1)} of {', '.join(missing)}" if missing else ""

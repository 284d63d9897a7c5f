"""Which of several candidates a cell is: the one whose mean is best on a split, by a rule that the table names."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from bench.plan.table import Candidate, PlannedCell, TableRules
from bench.tables.results import Results

NO_VALIDATION = "there is no validation split"


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
    would not be the sweep's, nor where there is no validation split to choose on.
    """
    if len(planned.candidates) == 1:
        return Choice(planned.candidates[0])
    left_out, waiting, complete = list[tuple[str, str]](), list[Candidate](), list[Candidate]()
    for candidate in planned.candidates:
        if why := results.failures_among(candidate.runs):
            left_out.append((candidate.label, why))
        elif all(spec.id in results.finished for spec in candidate.runs):
            complete.append(candidate)
        else:
            waiting.append(candidate)
    if waiting:
        return Choice(None, tuple(left_out), _waits(waiting, results))
    if not complete:
        return Choice(None, tuple(left_out), "no candidate of its sweep has all its runs")
    metric = results.picking(planned.metric)
    means = [(candidate, _mean(candidate, rules, results, planned)) for candidate in complete]
    scored = [(candidate, mean) for candidate, mean in means if not math.isnan(mean)]
    unscored = [candidate for candidate, mean in means if math.isnan(mean)]
    if not scored:
        return Choice(None, tuple(left_out), _no_score(unscored[0], rules, results, planned))
    left_out += [(candidate.label, _no_score(candidate, rules, results, planned)) for candidate in unscored]
    best, _ = max(scored, key=lambda each: metric.sign * each[1])
    return Choice(best, tuple(left_out), means=tuple((candidate.label, mean) for candidate, mean in scored))


def choice_notes(chosen: Iterable[tuple[str, PlannedCell, Mapping[str, str]]]) -> Iterator[str]:
    """Where selection rules chose different candidates of a sweep, and which each of them chose.

    Args:
        chosen: of each cell its name, how it was planned, and the chosen label by rule.
    """
    clauses = list[str]()
    for name, planned, by_rule in chosen:
        rules = dict[str, list[str]]()
        for rule, label in by_rule.items():
            if label:
                rules.setdefault(label, []).append(rule)
        if len(rules) > 1:
            short = short_labels([candidate.label for candidate in planned.candidates])
            choices = ", ".join(f"{' and '.join(names)} {short[label]}" for label, names in rules.items())
            clauses.append(f"{name} ({choices})")
    if clauses:
        yield (
            "Where values were swept, each rule chooses among them for itself, and what it adds is of the "
            f"choice too: {'; '.join(clauses)}."
        )


def short_labels(labels: Sequence[str]) -> dict[str, str]:
    """Each label by what tells it from the others: ``gta (weight=1)`` as ``weight=1``."""
    heads, inner = list[str](), dict[str, str]()
    for label in labels:
        head, _, rest = label.removesuffix(")").partition(" (")
        heads.append(head)
        inner[label] = rest
    alike = len({*heads}) == 1 and all(label.endswith(")") for label in labels)
    return inner if alike else {label: label for label in labels}


def _mean(candidate: Candidate, rules: TableRules, results: Results, planned: PlannedCell) -> float:
    metric, split = results.picking(planned.metric), _split(rules)
    return float(np.mean([results.score(spec, metric, rules.selection, split) for spec in candidate.runs]))


def _no_score(candidate: Candidate, rules: TableRules, results: Results, planned: PlannedCell) -> str:
    """Why a candidate cannot be chosen, as a run of it has no score."""
    metric, split = results.picking(planned.metric), _split(rules)
    reasons = (results.why_not(spec, metric, split) for spec in candidate.runs)
    return next(filter(None, reasons), f"{NO_VALIDATION} to choose on")


def _split(rules: TableRules) -> str:
    return "val" if rules.sweep == "best-val" else "test"


def _waits(candidates: Sequence[Candidate], results: Results) -> str:
    missing = [spec for candidate in candidates for spec in candidate.runs if spec.id not in results.finished]
    labels = ", ".join(candidate.label for candidate in candidates)
    return f"its sweep waits for {len(missing)} run{'s' * (len(missing) > 1)} of {labels}"

"""What the records say of each cell of a paper's table, and which of several candidates a swept cell is."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from bench.papers.comparisons import alike, told_column
from bench.papers.published import PublishedTable
from bench.plan.paper import Candidate, PaperPlan, PlannedCell, TablePlan
from bench.records.store import Finished, Store
from bench.spec import RunSpec
from bench.stats import mean_std
from bench.tables.report import score

DIVERGED, FAILED = "diverged", "failed "
NO_FAILURES: Mapping[str, str] = {}
NO_VALIDATION = "there is no validation split"


@dataclass(frozen=True)
class Choice:
    """Which candidate of a cell counts.

    Attributes:
        chosen: the candidate; None where none can be chosen.
        left_out: the label of each candidate that cannot be chosen, and why.
        lacking: why none is chosen; empty where one is.
    """

    chosen: Candidate | None
    left_out: tuple[tuple[str, str], ...] = ()
    lacking: str = ""


@dataclass(frozen=True)
class Ours:
    """What the records say about a cell.

    Attributes:
        values: the score of each finished seed, in percent.
        planned: seeds that were asked for.
        chosen: which candidate it is, where there were several.
        reason: why nothing is run for it; empty where something is.
        runs: the run that each value is of; none for an average.
        left_out: the label of each candidate that could not be chosen, and why.
        failed: how many of its runs failed, and of what; empty where none did.
        lacking: why there is no value although runs have finished; empty where there is one.
    """

    values: tuple[float, ...] = ()
    planned: int = 0
    chosen: str = ""
    reason: str = ""
    runs: tuple[RunSpec, ...] = ()
    left_out: tuple[tuple[str, str], ...] = ()
    failed: str = ""
    lacking: str = ""

    @property
    def mean(self) -> float:
        """Their mean; nan without any."""
        return mean_std(self.values)[0] if self.values else math.nan

    @property
    def seeds(self) -> tuple[int, ...]:
        """The seed of each value."""
        return tuple(spec.seed for spec in self.runs)

    @property
    def why_empty(self) -> str:
        """Why there is no value; empty where there is one, or where none is wanted."""
        if self.values or not (self.planned or self.reason):
            return ""
        return self.reason or self.lacking or self.failed or "no run has finished"


def measured(
    plan: TablePlan, finished: Mapping[str, Finished], failed: Mapping[str, str] = NO_FAILURES
) -> list[list[Ours]]:
    """What the records say, by row and column; averages are over the row's other cells of the same kind.

    Args:
        plan: the table's plan.
        finished: the records, by run id.
        failed: the class of failure of each run that failed (``diverged``, ``oom``, ...), by run id.
    """
    found = [[_measured(plan, cell, finished, failed) for cell in row] for row in plan.cells]
    for number, row in enumerate(plan.cells):
        for at, cell in enumerate(row):
            if cell.average:
                found[number][at] = _average(plan, found[number], at)
    return found


def failures_of(plan: PaperPlan, store: Store, finished: Mapping[str, Finished]) -> dict[str, str]:
    """The class of failure of each run of a plan that failed and is not in training again, by run id.

    Args:
        plan: the runs that are asked about.
        store: what is known of them.
        finished: those of the store that have finished.
    """
    runs = plan.unique
    if not any(run_id in runs and run_id not in finished for run_id in store.attempts()):
        return {}
    from bench.launch.status import state  # what a queue is known by takes long to import

    return {run["run"]: run["class"] for run in state(plan, store).failed}


def choose(
    candidates: Sequence[Candidate],
    sweep: str,
    selection: str,
    finished: Mapping[str, Finished],
    failed: Mapping[str, str] = NO_FAILURES,
) -> Choice:
    """The candidate whose mean is best on the validation (``best-val``) or the test split (``best-test``).

    Its runs are scored at the points that the selection rule picks. A candidate with a run that failed or diverged has
    no mean over its seeds and is left out: the runs that are left would be the lucky ones. None is chosen while runs
    are merely missing, as a choice among some candidates would not be the sweep's, nor where there is no validation
    split to choose on.
    """
    if len(candidates) == 1:
        return Choice(candidates[0])
    left_out, waiting, complete = list[tuple[str, str]](), list[Candidate](), list[Candidate]()
    for candidate in candidates:
        if why := _failures(candidate.runs, finished, failed):
            left_out.append((candidate.label, why))
        else:
            done = all(spec.id in finished for spec in candidate.runs)
            (complete if done else waiting).append(candidate)
    if waiting:
        return Choice(None, tuple(left_out), _waits(waiting, finished))
    if not complete:
        return Choice(None, tuple(left_out), "no candidate of its sweep has all its runs")
    split = "val" if sweep == "best-val" else "test"
    means = [
        float(np.mean([score(finished[spec.id].curve, selection, split) for spec in candidate.runs]))
        for candidate in complete
    ]
    if all(map(math.isnan, means)):
        return Choice(None, tuple(left_out), f"{NO_VALIDATION} to choose on")
    return Choice(complete[int(np.nanargmax(means))], tuple(left_out))


def cell_name(table: PublishedTable, row: int, at: int) -> str:
    """A cell by its labels, without those that all columns share: ``CUB / GTA / 15%``."""
    return " / ".join(filter(None, (*table.rows[row], *told_column(table, at))))


def failure_notes(plan: TablePlan, found: Sequence[Sequence[Ours]]) -> Iterator[str]:
    """What a reader has to know of runs that failed: what was not averaged in, and which candidates were left out."""
    cells = [(cell_name(plan.table, row, at), ours) for row, line in enumerate(found) for at, ours in enumerate(line)]
    if lost := _grouped((ours.failed, name) for name, ours in cells if ours.failed):
        yield f"Not averaged in: {lost}."
    if left := _grouped((f"{label}, {why}", name) for name, ours in cells for label, why in ours.left_out):
        yield f"Left out of the choice among swept hyper-parameters, as some of their seeds have no accuracy: {left}."
    if FAILED in lost + left:
        yield "What failed and did not diverge can be trained again: 'bench retry'."


def choice_notes(plan: TablePlan, by_rule: Mapping[str, Sequence[Sequence[Ours]]]) -> Iterator[str]:
    """Where selection rules chose different candidates of a sweep, and which each of them chose."""
    found = list[str]()
    for row, line in enumerate(plan.cells):
        for at, cell in enumerate(line):
            rules = dict[str, list[str]]()
            for rule, cells in by_rule.items():
                if chosen := cells[row][at].chosen:
                    rules.setdefault(chosen, []).append(rule)
            if len(rules) > 1:
                short = _short([candidate.label for candidate in cell.candidates])
                told = ", ".join(f"{' and '.join(names)} {short[label]}" for label, names in rules.items())
                found.append(f"{cell_name(plan.table, row, at)} ({told})")
    if found:
        yield (
            "Where hyper-parameters were swept, each rule chooses among them for itself, and what it adds is of the "
            f"choice too: {'; '.join(found)}."
        )


def _grouped(named: Iterable[tuple[str, str]]) -> str:
    """What is said of cells, each once, with the cells that it is said of."""
    found = dict[str, list[str]]()
    for told, name in named:
        found.setdefault(told, []).append(name)
    return "; ".join(f"{told}, in {', '.join(names)}" for told, names in found.items())


def _short(labels: Sequence[str]) -> dict[str, str]:
    """Each label by what tells it from the others: ``gta (weight=1)`` as ``weight=1``."""
    parts = [label.removesuffix(")").partition(" (") for label in labels]
    alike = len({head for head, _, _ in parts}) == 1 and all(label.endswith(")") for label in labels)
    return {label: inner if alike else label for label, (_, _, inner) in zip(labels, parts, strict=True)}


def _measured(plan: TablePlan, cell: PlannedCell, finished: Mapping[str, Finished], failed: Mapping[str, str]) -> Ours:
    if not cell.candidates:
        return Ours(reason=cell.reason)
    if not any(spec.id in finished or spec.id in failed for one in cell.candidates for spec in one.runs):
        return Ours(planned=len(cell.candidates[0].runs))
    choice = choose(cell.candidates, plan.sweep, plan.selection, finished, failed)
    if choice.chosen is None:
        return Ours(planned=len(cell.candidates[0].runs), left_out=choice.left_out, lacking=choice.lacking)
    runs = choice.chosen.runs
    scores = [(spec, score(finished[spec.id].curve, plan.selection)) for spec in runs if spec.id in finished]
    known = [(spec, value) for spec, value in scores if not math.isnan(value)]
    return Ours(
        values=tuple(value for _, value in known),
        planned=len(runs),
        chosen=choice.chosen.label if len(cell.candidates) > 1 else "",
        runs=tuple(spec for spec, _ in known),
        left_out=choice.left_out,
        failed=_failures(runs, finished, failed),
        lacking=f"{NO_VALIDATION} to be scored on" if scores and not known else "",
    )


def _waits(candidates: Sequence[Candidate], finished: Mapping[str, Finished]) -> str:
    count = sum(spec.id not in finished for candidate in candidates for spec in candidate.runs)
    labels = ", ".join(candidate.label for candidate in candidates)
    return f"its sweep waits for {count} run{'s' * (count > 1)} of {labels}"


def _failures(runs: Sequence[RunSpec], finished: Mapping[str, Finished], failed: Mapping[str, str]) -> str:
    """Such as ``1 of 3 runs diverged``; a run that failed and was then trained has not failed."""
    classes = Counter(failed[spec.id] for spec in runs if spec.id in failed and spec.id not in finished)
    told = [
        f"{count} of {len(runs)} runs {kind if kind == DIVERGED else f'{FAILED}({kind})'}"
        for kind, count in sorted(classes.items())
    ]
    return " and ".join(told)


def _average(plan: TablePlan, row: Sequence[Ours], at: int) -> Ours:
    cells = [row[number] for number in alike(plan.table, at)]
    if cells and all(ours.values for ours in cells):
        return Ours((float(np.mean([ours.mean for ours in cells])),), 1)
    return Ours(planned=1, lacking=next((ours.why_empty for ours in cells if ours.why_empty), ""))

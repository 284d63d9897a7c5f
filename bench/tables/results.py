"""What is known of the runs of a plan: their scores, and what failed of what."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from bench.metrics import Metric
from bench.plan.table import Plan, PlannedCell, TableRules
from bench.records.scores import Scores
from bench.records.store import Finished, Store
from bench.spec import RunSpec

DIVERGED = "diverged"
FAILED = "failed "


@dataclass(frozen=True)
class Results:
    """What is known of runs.

    Attributes:
        failed: the class of failure of each run that failed and is not in training again, by run id.
        selector: by which metric points of curves and candidates are picked; None for that which is shown.
    """

    finished: Mapping[str, Finished]
    scores: Scores
    failed: Mapping[str, str] = field(default_factory=dict)
    selector: Metric | None = None

    def scores_of(
        self, runs: Iterable[RunSpec], planned: PlannedCell, selection: str, split: str, metric: Metric | None = None
    ) -> list[float]:
        """The scores of finished runs of a cell, by what the cell shows or another metric; nan where one has none."""
        metric, picking = metric or planned.metric, self.picking(planned)
        return [self.scores.of(self.finished[spec.id], metric, selection, split, picking) for spec in runs]

    def picking(self, planned: PlannedCell) -> Metric:
        """By which metric the points and candidates of a cell are picked: what it shows, if that has a curve."""
        return (self.selector or (planned.metric if planned.metric.of_curve else planned.usual)).plain

    def why_not(self, runs: Iterable[RunSpec], metric: Metric, rules: TableRules, split: str, purpose: str) -> str:
        """Why one of some finished runs has no score on a split; ``purpose`` is what it was to be: ``to choose on``."""
        reasons = (self.scores.why_not(self.finished[spec.id], metric, split) for spec in runs)
        if reason := next(filter(None, reasons), ""):
            return reason
        if metric.of_curve and "val" in (split, rules.selection.removeprefix("best-")):
            return f"there is no validation split {purpose}"
        return f"{metric.title} is no finite number"

    def has_failed(self, spec: RunSpec) -> bool:
        """Whether a run failed; one that was then trained has not."""
        return spec.id in self.failed and spec.id not in self.finished

    def failures_among(self, runs: Sequence[RunSpec]) -> str:
        """How many runs failed, and of what: ``1 of 3 runs diverged``; empty where none did."""
        kinds = [self.failed[spec.id] for spec in runs if self.has_failed(spec)]
        words = {kind: kind if kind == DIVERGED else f"{FAILED}({kind})" for kind in sorted(kinds)}
        return " and ".join(f"{kinds.count(kind)} of {len(runs)} runs {word}" for kind, word in words.items())


def results_of(plan: Plan, store: Store, selector: Metric | None = None) -> Results:
    """What a store knows of the runs of a plan."""
    finished, failed = store.finished(), dict[str, str]()
    if any(run_id in plan.unique and run_id not in finished for run_id in store.attempts()):
        from bench.launch.status import state  # what a queue is known by takes long to import

        failed = {failure["run"]: failure["class"] for failure in state(plan.unique, store).failed}
    return Results(finished, Scores(store.root), failed, selector)

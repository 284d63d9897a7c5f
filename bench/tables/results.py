"""What is known of the runs of a plan: their scores, and what failed of what."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from bench.metrics import TOP1, Metric
from bench.plan.table import Plan
from bench.records.scores import Scores
from bench.records.store import Finished, Store
from bench.spec import RunSpec

DIVERGED = "diverged"
FAILED = "failed "


@dataclass(frozen=True)
class Results:
    """What is known of runs.

    Attributes:
        finished: what the store has of them, by run id.
        scores: reads their scores.
        failed: the class of failure of each run that failed and is not in training again, by run id.
        selector: by which metric points of curves and candidates are picked; None for that which is shown.
    """

    finished: Mapping[str, Finished]
    scores: Scores
    failed: Mapping[str, str] = field(default_factory=dict)
    selector: Metric | None = None

    def score(self, spec: RunSpec, metric: Metric, selection: str, split: str) -> float:
        """The score of a run that has finished; nan where it has none."""
        return self.scores.of(self.finished[spec.id], metric, selection, split, self.picking(metric))

    def picking(self, metric: Metric) -> Metric:
        """By which metric points and candidates are picked where this one is shown."""
        return self.selector or (metric if metric.of_curve else TOP1)

    def why_not(self, spec: RunSpec, metric: Metric, split: str) -> str:
        """Why a run that has finished has no score."""
        return self.scores.why_not(self.finished[spec.id], metric, split)

    def has_failed(self, spec: RunSpec) -> bool:
        """Whether a run failed; one that was then trained has not."""
        return spec.id in self.failed and spec.id not in self.finished

    def failures_among(self, runs: Sequence[RunSpec]) -> str:
        """How many runs failed, and of what: ``1 of 3 runs diverged``; empty where none did."""
        classes = Counter(self.failed[spec.id] for spec in runs if self.has_failed(spec))
        clauses = []
        for kind, count in sorted(classes.items()):
            clauses.append(f"{count} of {len(runs)} runs {kind if kind == DIVERGED else f'{FAILED}({kind})'}")
        return " and ".join(clauses)


def results_of(plan: Plan, store: Store, selector: Metric | None = None) -> Results:
    """What a store knows of the runs of a plan."""
    finished = store.finished()
    return Results(finished, Scores(store.root), _failed(plan, store, finished), selector)


def _failed(plan: Plan, store: Store, finished: Mapping[str, Finished]) -> dict[str, str]:
    runs = plan.unique
    if not any(run_id in runs and run_id not in finished for run_id in store.attempts()):
        return {}
    from bench.launch.status import state  # what a queue is known by takes long to import

    return {failure["run"]: failure["class"] for failure in state(plan.unique, store).failed}

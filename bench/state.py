"""How far a plan is, from the records there are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from bench.spec import RunSpec
from bench.store import Store


class Plan(Protocol):
    """What runs there are to be: an experiment's plan or a paper's."""

    @property
    def unique(self) -> dict[str, RunSpec]:
        """The runs by id, each once."""


@dataclass(frozen=True)
class State:
    """How far a plan is.

    Attributes:
        runs: different runs, each counted once.
        done: of them, those with a record.
        failed: labels, messages and folders of those that failed and have no record.
        damaged: folders whose record cannot be read.
        seconds: training time of the finished runs together, where it is known.
    """

    runs: int
    done: int
    failed: tuple[dict[str, str], ...]
    damaged: tuple[str, ...]
    seconds: float

    @property
    def missing(self) -> int:
        """Runs that are neither done nor failed."""
        return self.runs - self.done - len(self.failed)


def state(plan: Plan, store: Store) -> State:
    """How many runs of a plan are done, failed and missing."""
    finished, failures, unique = store.finished(), store.failures(), plan.unique
    broken = [(spec.label, failures[i]) for i, spec in unique.items() if i in failures and i not in finished]
    failed = [
        {"run": record["id"], "label": label, "message": record["error"]["message"], "folder": record["folder"]}
        for label, record in broken
    ]
    done = [finished[run_id] for run_id in unique if run_id in finished]
    return State(len(unique), len(done), tuple(failed), tuple(store.damaged), sum(run.seconds for run in done))

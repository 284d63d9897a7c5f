"""How ``pytest -n`` spreads the tests over its processes: a file at a time, what takes longest first.

A file's models and runs are then made once and not in each process, and the one that shares the tests out counts
hundreds of pieces of work instead of many thousands. The tests with a cluster are one piece, so that one is started.
"""

from __future__ import annotations

from xdist.scheduler import LoadScopeScheduling
from xdist.workermanage import WorkerController

CLUSTER = "tests/slurm/"
LONG = (
    CLUSTER,
    "tests/papers/test_rehearsed.py",
    "tests/faults/test_kill.py",
    "tests/launch/test_local_runs.py",
    "tests/backbones/test_timm_families.py",
    "tests/launch/test_preflight.py",
    "tests/faults/test_races.py",
    "tests/faults/test_disk.py",
    "tests/test_style.py",
    "tests/test_conformance.py",
    "tests/training/test_checkpoint.py",
    "tests/test_latex.py",
    "tests/test_cli.py",
    "tests/backbones/test_registry.py",
    "tests/methods/test_tasks.py",
)
"""Begun first, so that no process is at one while the others have nothing left; ``-p tests.cpu`` says which are."""


class ByFile(LoadScopeScheduling):  # type: ignore[misc]
    """Gives each process a file, and the next when it is nearly done."""

    def _split_scope(self, nodeid: str) -> str:
        path = nodeid.partition("::")[0]
        return CLUSTER if path.startswith(CLUSTER) else path

    def _assign_work_unit(self, node: WorkerController) -> None:
        self.workqueue.move_to_end(min(self.workqueue, key=self._place), last=False)
        super()._assign_work_unit(node)

    def _place(self, file: str) -> tuple[int, int]:
        """Of a file among those that wait: long ones as listed, then those with most tests."""
        return LONG.index(file) if file in LONG else len(LONG), -len(self.workqueue[file])

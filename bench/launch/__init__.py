"""Executors: where runs are trained. The core hands over runs and a store and never asks where it is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bench.launch.executor import Event, Executor, Job, Submitted, make_ready, run, untrained

if TYPE_CHECKING:
    from bench.launch.local import LocalExecutor

__all__ = ["Event", "Executor", "Job", "LocalExecutor", "Submitted", "make_ready", "run", "untrained"]


def __getattr__(name: str) -> Any:
    """Import what workers need when it is first used: who only asks how far a grid is does without."""
    if name != "LocalExecutor":
        raise AttributeError(f"module 'bench.launch' has no attribute '{name}'")
    from bench.launch.local import LocalExecutor

    return LocalExecutor

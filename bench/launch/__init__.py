"""Executors: where runs are trained. The core hands over runs and a store and never asks where it is."""

from __future__ import annotations

from bench.launch.executor import Event, Executor, Job, Submitted, make_ready, run, untrained
from bench.launch.local import LocalExecutor

__all__ = ["Event", "Executor", "Job", "LocalExecutor", "Submitted", "make_ready", "run", "untrained"]

"""Executors: where runs are trained. The core hands over runs and a store and never asks where it is."""

from bench.launch.executor import Event, Executor, Job, run
from bench.launch.local import LocalExecutor

__all__ = ["Event", "Executor", "Job", "LocalExecutor", "run"]

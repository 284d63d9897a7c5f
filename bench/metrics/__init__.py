"""Metrics, by name: what a table may show of a run.

A new one is a `Metric` in a module of this package, or ``metrics/NAME.py`` with ``METRIC = Metric(...)`` in a plug-in
folder. A module of a task's metrics has ``METRICS``, the first of which is the score by which its runs are known, and
``PREDICTIONS``, what these are computed from. Where two methods may be compared image by image it has ``PER_IMAGE``,
which gives for each image whether it is right, or a score in percent. Nothing here imports torch.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from bench.metrics import classification, cost
from bench.metrics.cost import seconds_to
from bench.metrics.metric import Cost, Metric
from bench.metrics.predictions import CLASSIFICATION, NotKept, Predictions, TaskPredictions

if TYPE_CHECKING:
    import numpy.typing as npt

__all__ = [
    "CLASSIFICATION",
    "METRICS",
    "TASKS",
    "TOP1",
    "Cost",
    "Metric",
    "NotKept",
    "Predictions",
    "TaskPredictions",
    "per_image",
    "predictions_of",
    "score_of",
    "scores",
    "seconds_to",
]


def _of_tasks() -> dict[str, ModuleType]:
    files = sorted(path.stem for path in Path(__file__).parent.glob("*.py"))
    others = [name for name in files if name not in ("__init__", "classification", "cost", "metric", "predictions")]
    modules = [classification, *(importlib.import_module(f"bench.metrics.{name}") for name in others)]
    return {module.PREDICTIONS.task: module for module in modules}


TASKS: Mapping[str, ModuleType] = _of_tasks()
"""The modules of the tasks' metrics, by the name of the task."""

METRICS: dict[str, Metric] = {metric.name: metric for module in (*TASKS.values(), cost) for metric in module.METRICS}
"""The suite's own, by name; beside them, ``seconds_to_N``."""

TOP1 = METRICS["top1"]


def score_of(task: str) -> Metric:
    """The metric by which the runs of a task are known. Raises ``KeyError`` where there is no such task."""
    score: Metric = TASKS[task].METRICS[0]
    return score


def predictions_of(task: str) -> type[TaskPredictions]:
    """What is kept of each image at a task. Raises ``KeyError`` where there is no such task."""
    kept: type[TaskPredictions] = TASKS[task].PREDICTIONS
    return kept


def per_image(task: str) -> Callable[[Any], npt.NDArray[Any]] | None:
    """The function by which two methods are compared image by image at a task; None where it has none."""
    return getattr(TASKS[task], "PER_IMAGE", None)


def scores(predictions: TaskPredictions) -> dict[str, float]:
    """Every metric of the suite at a scored point, by name; nan where it is no finite number."""
    return {metric.name: metric.of(predictions) for metric in TASKS[predictions.task].METRICS}

"""Metrics, by name: what a table may show of a run.

A new one is a `Metric` in a module of this package, or ``metrics/NAME.py`` with ``METRIC = Metric(...)`` in a plug-in
folder. Nothing here imports torch.
"""

from __future__ import annotations

from collections.abc import Mapping

from bench.errors import InputError, choose
from bench.metrics import classification, cost
from bench.metrics.metric import Cost, Metric
from bench.metrics.predictions import NotKept, Predictions

__all__ = ["METRICS", "TOP1", "Cost", "Metric", "NotKept", "Predictions", "find", "scores"]

METRICS: dict[str, Metric] = {metric.name: metric for metric in (*classification.METRICS, *cost.METRICS)}
"""The suite's own, by name; beside them, ``seconds_to_N``."""

TOP1 = METRICS["top1"]


def find(name: str, more: Mapping[str, Metric] | None = None) -> Metric:
    """The metric of a name.

    Raises:
        InputError: there is none of that name; says which there are.
    """
    known = {**METRICS, **(more or {})}
    metric = known.get(name) or cost.seconds_to(name)
    if metric is None:
        raise InputError(choose(name, [*known, "seconds_to_N"], "metric"))
    return metric


def scores(predictions: Predictions) -> dict[str, float]:
    """Every metric of the suite at a scored point, by name; nan where it is no finite number."""
    return {name: metric.of(predictions) for name, metric in METRICS.items() if metric.of_curve}

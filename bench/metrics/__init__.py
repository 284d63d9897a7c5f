"""Metrics, by name: what a table may show of a run.

A new one is a `Metric` in a module of this package, or ``metrics/NAME.py`` with ``METRIC = Metric(...)`` in a plug-in
folder. Nothing here imports torch.
"""

from __future__ import annotations

from bench.metrics import classification, cost
from bench.metrics.cost import seconds_to
from bench.metrics.metric import Cost, Metric
from bench.metrics.predictions import NotKept, Predictions

__all__ = ["METRICS", "TOP1", "Cost", "Metric", "NotKept", "Predictions", "scores", "seconds_to"]

METRICS: dict[str, Metric] = {metric.name: metric for metric in (*classification.METRICS, *cost.METRICS)}
"""The suite's own, by name; beside them, ``seconds_to_N``."""

TOP1 = METRICS["top1"]


def scores(predictions: Predictions) -> dict[str, float]:
    """Every metric of the suite at a scored point, by name; nan where it is no finite number."""
    return {name: metric.of(predictions) for name, metric in METRICS.items() if metric.of_curve}

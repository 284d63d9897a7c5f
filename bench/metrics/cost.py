"""What a run takes: time, memory, weights, energy."""

from __future__ import annotations

import math
import re
from collections.abc import Callable

from bench.metrics.metric import Cost, Metric

_SECONDS_TO = re.compile(r"seconds_to_(\d{1,3})(?:_(\d+))?")


def _count(name: str, title: str, of_run: Callable[[Cost], float]) -> Metric:
    return Metric(name, title, "", lower=True, low=0, decimals=0, of_run=of_run, of_machine=False)


METRICS = (
    Metric("seconds", "training time", "s", lower=True, low=0, of_run=lambda cost: cost.seconds),
    Metric("hours", "training time", "h", lower=True, low=0, decimals=2, of_run=lambda cost: cost.seconds / 3600),
    Metric("peak_memory", "peak memory", "MB", lower=True, low=0, decimals=0, of_run=lambda cost: cost.memory / 1e6),
    _count("trainable", "trained weights", lambda cost: cost.trained),
    _count("parameters", "parameters", lambda cost: cost.parameters),
    Metric("energy", "energy", "J", lower=True, low=0, decimals=0, of_run=lambda cost: cost.energy),
)


def seconds_to(name: str) -> Metric | None:
    """The metric ``seconds_to_90``, ``seconds_to_97_5``: training time until top-1 first reaches so many percent.

    It is read off the points of the curve, on the validation split where a run has one, else on the test split; nan
    where no point reaches it. None where the name is no such one.
    """
    match = _SECONDS_TO.fullmatch(name)
    percent = float(f"{match[1]}.{match[2] or 0}") if match else math.inf
    if percent > 100:
        return None

    def reached(cost: Cost) -> float:
        return next((seconds for seconds, top1 in cost.curve if top1 >= percent), math.nan)

    title = f"training time to {percent:g} % top-1"
    return Metric(name, title, "s", lower=True, low=0, of_run=reached)

"""What a metric is: a number of a run, and all that tables, selection rules and tests must know of it."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass

from bench.metrics.predictions import Predictions

NAME = re.compile(r"[a-z][a-z0-9_]*")
"""What a metric may be called."""


@dataclass(frozen=True)
class Cost:
    """What a run took; nan where it was not measured.

    Attributes:
        seconds: of training, evaluation left out.
        memory: peak in bytes: allocated on the GPU with the most, or else resident.
        trained: weights trained, in the stage that trains most.
        energy: in joules: of the GPUs, where some were used, or else of the processors.
        curve: training seconds and top-1 in percent of each point: on the validation split where there is one, else on
            the test split.
        parameters: numbers that the trained model has, its head included.
    """

    seconds: float
    memory: float
    trained: float
    energy: float
    curve: tuple[tuple[float, float], ...] = ()
    parameters: float = math.nan


@dataclass(frozen=True)
class Metric:
    """A number of a run.

    Attributes:
        name: what is typed.
        title: what tables call it.
        unit: of its values; empty where there is none.
        lower: whether less is better.
        low: the smallest value there can be.
        high: the largest one.
        decimals: digits after the point that are usually printed.
        compute: its value at a scored point, from what was predicted of each image of a split; None where it is about
            the whole run.
        of_run: its value from what the run took; None where it is of a scored point.
        per_image: whether it is the share of images for which something holds, in percent, so that a test set of n
            images makes binomial noise.
        of_machine: of what is about the whole run: whether another machine gives another value.
        measure: of what is measured of a kept model: the measure that gives it (``bench measure``).
        code: the digest of what measures it now, which the registry knows; empty where it does not matter.

    Raises:
        ValueError: the declaration contradicts itself.
    """

    name: str
    title: str
    unit: str
    lower: bool = False
    low: float | None = None
    high: float | None = None
    decimals: int = 1
    compute: Callable[[Predictions], float] | None = None
    of_run: Callable[[Cost], float] | None = None
    per_image: bool = False
    of_machine: bool = True
    measure: str = ""
    code: str = ""

    def __post_init__(self) -> None:
        if not NAME.fullmatch(self.name):
            raise ValueError(f"'{self.name}' cannot be a metric's name: small letters, digits and _, a letter first")
        if sum((self.compute is not None, self.of_run is not None, bool(self.measure))) != 1:
            raise ValueError(f"{self.name}: it has one of 'compute', 'of_run' and 'measure'")
        if self.per_image and (self.compute is None or (self.low, self.high) != (0, 100)):
            raise ValueError(f"{self.name}: a share of images is computed at a scored point, from 0 to 100")

    @property
    def heading(self) -> str:
        """``top-1 (%)``."""
        return f"{self.title} ({self.unit})" if self.unit else self.title

    @property
    def sign(self) -> int:
        """1 where more is better, -1 where less is."""
        return -1 if self.lower else 1

    @property
    def of_curve(self) -> bool:
        """Whether it has a value at each point of a run's curve, and so can pick one."""
        return self.compute is not None

    def of(self, predictions: Predictions) -> float:
        """Its value at a scored point; nan where it is no finite number.

        Raises ``NotKept``: the run did not keep what it is computed from.
        """
        assert self.compute is not None
        value = float(self.compute(predictions))
        return value if math.isfinite(value) else math.nan

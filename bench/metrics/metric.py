"""What a metric is: a number of a run, and all that tables, selection rules and tests must know of it."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from bench.metrics.predictions import CLASSIFICATION, TaskPredictions

NAME = re.compile(r"[a-z][a-z0-9_]*")
"""What a metric may be called."""

Option = bool | int | float | str
"""What may be chosen of a measure."""


@dataclass(frozen=True)
class Cost:
    """What a run took; nan where it was not measured.

    Attributes:
        seconds: of training, evaluation left out.
        memory: peak in bytes: allocated on the GPU with the most, or else resident.
        trained: weights trained, in the stage that trains most.
        energy: in joules: of the GPUs, where some were used, or else of the processors.
        curve: training seconds and the score of its task, such as top-1 in percent, of each point: on the validation
            split where there is one, else on the test split.
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
        task: of what is computed at a scored point: the task whose predictions these are.
        measure: of what is measured of a kept model: the measure that gives it (``bench measure``).
        code: the digest of what measures it now, which the registry knows; empty where it does not matter.
        options: of what is measured: what may be chosen, each with its usual value, which the registry knows.
        chosen: what was chosen of them that is not usual; it stands in the name, as ``s_dbw(images=500)``.
        where: of what is computed elsewhere than of a run's own split and model: the name behind the ``@`` of its name.
        usual: the same of the run's own split and model; None where this is it.

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
    compute: Callable[[Any], float] | None = None
    of_run: Callable[[Cost], float] | None = None
    per_image: bool = False
    of_machine: bool = True
    task: str = CLASSIFICATION
    measure: str = ""
    code: str = ""
    options: tuple[tuple[str, Option], ...] = ()
    chosen: tuple[tuple[str, Option], ...] = ()
    where: str = ""
    usual: Metric | None = None

    def __post_init__(self) -> None:
        if not NAME.fullmatch(self.plain_name):
            raise ValueError(f"'{self.name}' cannot be a metric's name: small letters, digits and _, a letter first")
        if sum((self.compute is not None, self.of_run is not None, bool(self.measure))) != 1:
            raise ValueError(f"{self.name}: it has one of 'compute', 'of_run' and 'measure'")
        if self.per_image and (self.compute is None or (self.low, self.high) != (0, 100)):
            raise ValueError(f"{self.name}: a share of images is computed at a scored point, from 0 to 100")

    def measured_with(self, chosen: Mapping[str, Option]) -> Metric:
        """The same number, measured with what is not usual."""
        others = tuple(unusual(chosen, dict(self.options)).items())
        words = chosen_words(others)
        return replace(self, name=self.name + words, title=self.title + (f" {words}" if words else ""), chosen=others)

    @property
    def plain_name(self) -> str:
        """Its name without what was chosen."""
        return self.name.removesuffix(chosen_words(self.chosen)).partition("@")[0]

    def at(self, where: str, words: str = "") -> Metric:
        """The same elsewhere: on a further test, or of a further model of its run; ``words`` go behind the title."""
        title = f"{self.title} {words or words_of(where)}"
        return replace(self, name=f"{self.name}@{where}", title=title, where=where, usual=self)

    @property
    def plain(self) -> Metric:
        """The same of a run's own split and model: by this, points and candidates are picked."""
        return self.usual or self

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

    def of(self, predictions: TaskPredictions) -> float:
        """Its value at a scored point; nan where it is no finite number.

        Raises ``NotKept``: the run did not keep what it is computed from.
        """
        assert self.compute is not None
        value = float(self.compute(predictions))
        return value if math.isfinite(value) else math.nan


RAW = "raw"
"""Where the weights are scored that an average is of (``bench.method.Stage.beside``)."""


def words_of(where: str) -> str:
    """What stands behind a metric's title, of a name behind an ``@``: ``on noise``."""
    return "of the raw weights" if where == RAW else f"on {where}"


def unusual(chosen: Mapping[str, Option], usual: Mapping[str, Option]) -> dict[str, Option]:
    """What of a choice of options is not the usual one: what files of measurements, and metrics, are named by."""
    return {name: value for name, value in chosen.items() if value != usual.get(name)}


def chosen_words(chosen: Iterable[tuple[str, Option]]) -> str:
    """``(images=500, masks=pets)``; empty where nothing was chosen."""
    words = ", ".join(f"{name}={option_text(value)}" for name, value in chosen)
    return f"({words})" if words else ""


def option_text(value: Option) -> str:
    """A value of an option as it is typed."""
    return str(value).lower() if isinstance(value, bool) else str(value)

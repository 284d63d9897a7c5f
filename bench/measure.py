"""What a measure of a trained model is, as its author sees it: what it gives, what it needs, and a function.

A measure is a file of ``bench/measures``, or of ``measures/`` in a plug-in folder, found by its name:

    MEASURE = Measure("spread", gives=(Metric("spread", "spread of features", "", decimals=3, measure="spread"),))


    def measure(subject):
        features, _ = subject.features()
        return Measured({"spread": float(features.std(0).mean())})

The file is read where tables are, so what needs torch is imported inside its functions.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from bench.errors import InputError, choose
from bench.metrics import CLASSIFICATION, Metric
from bench.metrics.metric import Option

if TYPE_CHECKING:
    import numpy.typing as npt

__all__ = ["CannotMeasure", "Measure", "Measured", "Option", "code_of", "read_choice"]

READING = 1
"""Raised by hand when what all measures share would give other numbers: how images are viewed, features and attention
read, models put together."""


@dataclass(frozen=True)
class Measure:
    """What is declared of a measure.

    Attributes:
        name: what is typed, and what its file is called.
        gives: its numbers, as metrics whose ``measure`` is this one; none where it gives arrays for figures alone.
        images: how many images of the split are measured unless somebody says otherwise, drawn by a declared seed;
            0: all of them.
        needs: what a backbone must let be read: names of probes, such as ``attention_maps``.
        masks: whether it is of images with masks: it has an option ``masks`` then, which says of which; empty for
            those of the run's own dataset.
        task: whose models it is of.
        options: what may be chosen by ``--option NAME=VALUE``, each with its default; tables show what these give.
        source: where its definition is from.

    Raises:
        ValueError: a metric is of another measure, or nothing says which masks are meant.
    """

    name: str
    gives: tuple[Metric, ...]
    images: int = 0
    needs: tuple[str, ...] = ()
    masks: bool = False
    task: str = CLASSIFICATION
    options: Mapping[str, Option] = field(default_factory=dict)
    source: str = ""

    @property
    def usual(self) -> dict[str, Option]:
        """What is measured unless somebody says otherwise: its options, and how many images."""
        return {"images": self.images, **self.options}

    def __post_init__(self) -> None:
        for metric in self.gives:
            if metric.measure != self.name:
                raise ValueError(f"{self.name}: its metric {metric.name} must say measure='{self.name}'")
        if self.masks and not isinstance(self.options.get("masks"), str):
            raise ValueError(f"{self.name}: it is of images with masks, so it has an option masks='...'")


@dataclass(frozen=True)
class Measured:
    """What a measure found.

    Attributes:
        numbers: of its metrics, by name; nan where there is none.
        arrays: what figures are drawn from, by name; no objects.
        remarks: what people are to be told of the numbers.
    """

    numbers: Mapping[str, float]
    arrays: Mapping[str, npt.NDArray[Any]] = field(default_factory=dict)
    remarks: tuple[str, ...] = ()


def _read(text: str, usual: Option) -> Option:
    """What is typed of an option, as a value of the kind of the usual one. Raises ``ValueError``: it is of another."""
    if isinstance(usual, bool):
        if text not in ("true", "false"):
            raise ValueError("it is true or false")
        return text == "true"
    try:
        return type(usual)(text)
    except ValueError:
        kind = "a whole number" if isinstance(usual, int) else "a number"
        raise ValueError(f"it is {kind}, such as {usual}") from None


def read_choice(word: str, usual: Mapping[str, Option], place: str, name_again: bool = False) -> tuple[str, Option]:
    """What ``KEY=VALUE`` chooses of options, whose usual values have their kinds.

    Raises ``InputError`` at a place: there is no such option, or its value is of another kind; with ``name_again`` that
    message names the option, where the place does not end in it.
    """
    name, _, text = word.partition("=")
    if name not in usual:
        raise InputError(f"{place}: {choose(name, usual, 'option')}")
    try:
        return name, _read(text, usual[name])
    except ValueError as problem:
        raise InputError(f"{place}: {name}: {problem}" if name_again else f"{place}: {problem}") from None


class CannotMeasure(Exception):
    """A measure has no meaning for this model or these images; the message says why, in words for people."""


def code_of(file_digest: str) -> str:
    """What a measurement is computed by, from the digest of the measure's file."""
    return f"{file_digest}-{READING}"

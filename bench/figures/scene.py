"""What a figure is of, and what a kind of figure gives for it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.errors import in_sentence
from bench.papers.published import Key
from bench.tables.compare import Entry, Table
from bench.tables.results import Results

if TYPE_CHECKING:
    from matplotlib.figure import Figure

METHOD = "method"


@dataclass(frozen=True)
class Scene:
    """A table that is drawn, or a run in the form of one.

    Attributes:
        name: what its files are called.
        results: what is known of its runs.
        width: ``column``, ``page``, or empty for what suits the figure.
        split: whose scores alone are drawn; empty for all that the kind draws.
        published: whether printed numbers are drawn in the place of ours.
        train: the command that trains what is missing; empty where there is none.
        measure: the command that measures its models, without the measures; empty where there is none.
        code_of: gives the digest of what a measure computes now; None where any version of it will do.
    """

    name: str
    table: Table
    results: Results | None = None
    width: str = ""
    split: str = ""
    published: bool = False
    train: str = ""
    measure: str = ""
    code_of: Callable[[str], str] | None = None

    @property
    def records(self) -> Results:
        """What is known of its runs. Raises ``ValueError`` where it has none: numbers of somebody's own."""
        if self.results is None:
            raise ValueError("such a figure is drawn from records of runs, and here are numbers alone")
        return self.results

    @property
    def drawn(self) -> tuple[Entry, ...]:
        """The cells of finished runs. Raises ``ValueError`` where there is none, and says what trains them."""
        if self.table.finished:
            return self.table.finished
        why = next(filter(None, (entry.cell.why_empty for _, entry in self.table.places())), "")
        raise ValueError(f"nothing to draw: {why or 'no cell has a value'}{self.remedy}")

    @property
    def remedy(self) -> str:
        """The end of a message about runs that are missing."""
        return f"; {in_sentence(self.train)} trains them" if self.train else ""

    @property
    def labels(self) -> list[str]:
        """Whatever people chose that a figure may say: titles, and the labels of cells."""
        plan = self.table.plan
        keys = [label for key in (*plan.rows, *plan.columns) for label in key]
        cells = [label for _, cell in plan.places() for label in (*cell.axes.values(), cell.name)]
        return [self.table.heading, plan.baseline, *keys, *cells]


@dataclass(frozen=True)
class Sketch:
    """A figure to be drawn.

    Attributes:
        draw: gives it; called in the style of all figures.
        labels: what people chose of what is written in it, so that a font has its letters.
        part: which of several it is; part of its file's name then.
    """

    draw: Callable[[], Figure]
    labels: Sequence[str] = ()
    part: Key = ()


def common_line(table: Table) -> str:
    """What all cells have in common, as a line below the title; empty where nothing is."""
    common = {axis: labels[0] for axis, labels in labels_of(table.finished).items() if len(labels) == 1}
    return ", ".join(f"{axis} {label}" for axis, label in common.items())


def labels_of(entries: Sequence[Entry]) -> dict[str, Key]:
    """The labels along each axis but the method, in their order."""
    labels: dict[str, dict[str, None]] = {}
    for entry in entries:
        for axis, label in entry.planned.axes.items():
            if axis != METHOD:
                labels.setdefault(axis, {})[label] = None
    return {axis: tuple(each) for axis, each in labels.items()}


def panels_of(entries: Sequence[Entry], without: Sequence[str] = ()) -> dict[Key, list[Entry]]:
    """The cells by the labels that tell them apart, beside the method and the axes that are left out."""
    telling = [axis for axis, labels in labels_of(entries).items() if len(labels) > 1 and axis not in without]
    panels: dict[Key, list[Entry]] = {}
    for entry in entries:
        panels.setdefault(tuple(entry.planned.axes.get(axis, "") for axis in telling), []).append(entry)
    return panels


def methods_of(entries: Sequence[Entry]) -> Key:
    """What the rows are called, each once."""
    return tuple(dict.fromkeys(entry.planned.name for entry in entries))


def seeds_line(counts: Iterable[int]) -> str:
    """Over how many seeds means are, from the number of each."""
    different = sorted({*counts})
    seeds = f"n = {different[0]}" if len(different) == 1 else f"n = {different[0]} to {different[-1]}"
    return f"{seeds} seed{'s' * (different != [1])}"


def deviation_line(counts: Sequence[int]) -> str:
    """What error bars are, and over how many seeds."""
    if {*counts} == {1}:
        return "n = 1 seed, no error bars"
    return f"mean ± sample standard deviation, {seeds_line(counts)}"


def mean_std(values: Sequence[float]) -> tuple[float, float]:
    """Mean and sample standard deviation; the deviation of one value, and both of none, are nan."""
    if not values:
        return math.nan, math.nan
    mean = math.fsum(values) / len(values)
    if len(values) < 2:
        return mean, math.nan
    return mean, math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (len(values) - 1))

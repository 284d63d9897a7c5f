"""What a table is made from: the cells and the layout, as declared."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from bench.rules import ACROSS, FAMILIES, TESTS

METHOD = "method"


@dataclass(frozen=True)
class Cell:
    """Runs that differ in seed alone.

    Attributes:
        axes: the label along every axis, such as ``{"dataset": "CUB", "rate": "15 %", "method": "GTA"}``.
        values: the metric (top-1 in percent) of each finished seed, in seed order.
        planned: seeds asked for.
        failed: seeds that ran and failed.
        reason: why the cell is excluded; None when it is not.
        seeds: which seed each value is of, for paired tests; empty where that is not known.

    Raises:
        ValueError: a value is not finite, the counts contradict each other, or an excluded cell has values.
    """

    axes: Mapping[str, str]
    values: tuple[float, ...]
    planned: int
    failed: int = 0
    reason: str | None = None
    seeds: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        name = " / ".join(self.axes.values())
        if METHOD not in self.axes:
            raise ValueError(f"cell {name}: it has no '{METHOD}' among its axes ({', '.join(self.axes)})")
        if not all(map(math.isfinite, self.values)):
            raise ValueError(f"cell {name}: values must be finite; got {self.values}")
        if self.failed < 0 or len(self.values) + self.failed > self.planned:
            counts = f"{len(self.values)} finished, {self.failed} failed, {self.planned} planned"
            raise ValueError(f"cell {name}: the counts of seeds contradict each other ({counts})")
        if self.reason is not None and self.values:
            raise ValueError(f"cell {name}: it is excluded ({self.reason}) and yet has values")
        if self.seeds and (len(self.seeds) != len(self.values) or len({*self.seeds}) < len(self.seeds)):
            raise ValueError(f"cell {name}: every value is of a seed of its own; the seeds are {self.seeds}")


@dataclass(frozen=True)
class Layout:
    """How cells are laid out and compared.

    Attributes:
        title: first words of the title line.
        rows: axes along the rows, outermost first.
        columns: axes along the columns, outermost first; "method" is in one of the two.
        baseline: label along the "method" axis that the others are compared to; None for no such comparison.
        family: Holm's family. "column": the comparisons to the baseline among cells equal in every axis but the
            method, such as one dataset, backbone and rate; "table": all of them together.
        alpha: level of the tests.
        metric: name and unit of the values.
        selection: which point of its curve each run is scored at.
        decimals: digits after the point, as printed.
        test: "welch" (Welch's t), "paired" (paired t, over the seeds that both have) or "permutation" (exact).
        shared: what runs of one seed have in common, in words; for the caption of a paired test.
        across: the claim over the datasets: "these", "like-these", or "" for none (see ``bench.tables.across``).

    Raises:
        ValueError: "method" is not placed, an axis is placed twice, or another field is out of range.
    """

    title: str
    rows: tuple[str, ...] = ("dataset", "backbone", METHOD)
    columns: tuple[str, ...] = ("rate",)
    baseline: str | None = None
    family: str = "column"
    alpha: float = 0.05
    metric: str = "top-1 (%)"
    selection: str = "last"
    decimals: int = 1
    test: str = "welch"
    shared: tuple[str, ...] = ()
    across: str = ""

    def __post_init__(self) -> None:
        axes = self.rows + self.columns
        if METHOD not in axes:
            raise ValueError(f"'{METHOD}' must be in rows or columns; they have {', '.join(axes) or 'nothing'}")
        if twice := [axis for axis in dict.fromkeys(axes) if axes.count(axis) > 1]:
            raise ValueError(f"an axis is placed once, in rows or columns; placed twice: {', '.join(twice)}")
        for what, given, known in (
            ("family", self.family, FAMILIES),
            ("test", self.test, TESTS),
            ("across", self.across, ("", *ACROSS)),
        ):
            if given not in known:
                raise ValueError(f"{what} is one of {', '.join(filter(None, known))}; got '{given}'")
        if not 0 < self.alpha < 1:
            raise ValueError(f"alpha must be within (0, 1); got {self.alpha}")
        if not 0 <= self.decimals <= 10:
            raise ValueError(f"decimals must be within 0 and 10; got {self.decimals}")

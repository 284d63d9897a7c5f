"""Whether a printed ± can be of the same noise as those beside it: far above or below its row and its column.

A sample variance of n runs is the true one times chi-square / (n - 1). Each is compared with the median of those of its
row and column together, which a stray one hardly moves; the p is exact for equal noise (``bench.stats.chance``) and
Holm-corrected over both sides of all ± of the table. Rows and columns differ in noise for good reasons, so what is
noted stands out from each of the two by itself as well: by a factor of ``FACTOR``, and with a p of at most ``LEVEL``.
With three runs a tenth of the usual ± is nothing rare (p = 0.01), so small ones are noticed of about ten runs on.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from bench.papers.attainable import half_unit
from bench.papers.average import is_average, is_average_label
from bench.papers.findings import NOT_CHECKED, At, Audit, Finding, cells_of
from bench.papers.labels import assigned
from bench.papers.published import PublishedTable
from bench.papers.sample import Samples
from bench.stats.chance import variance_beyond
from bench.stats.family import holm

FACTOR, LEVEL = 6.0, 0.01
FEWEST = 2
"""Neighbours that a row or a column must have where it has any."""
MOST = 5_000
"""Deviations of a table in print; more are not compared, which would take minutes."""
_USUAL = 3
"""Runs of which a ± is taken to be where nobody says how many; were they more, it would stand out all the more."""


@dataclass(frozen=True, eq=False)
class Deviation:
    """A printed ±: of how many runs (0: nobody says), and between which numbers it was before it was rounded.

    Attributes:
        most: up to what it is no smaller than few test images let it be, as counts tie: a step of the accuracy more; of
            an unknown number of images half of the ± more, and a zero is never small.
    """

    at: At
    runs: int
    low: float
    high: float
    most: float

    @property
    def freedom(self) -> int:
        return (self.runs or _USUAL) - 1


@dataclass(frozen=True)
class Outlier:
    """How a ± stands out: the medians of its column and its row (nan: it has none beside it), and the adjusted p."""

    column: float
    row: float
    p: float


def check_spread(table: PublishedTable, samples: Samples, result: Audit) -> None:
    """Note the ± of a table that stand out from both their row and their column."""
    every = [_deviation(at, samples) for at in cells_of(table) if at.cell.std and not _is_of_average(at)]
    if len(every) > MOST:
        verdict = f"it has more than {MOST:,} ±"
        result.findings.append(Finding(table.name, (), (), "spread", "", "", verdict, NOT_CHECKED))
        return
    checked, beside_each = list[Deviation](), Neighbours(every)
    for each in every:
        counts = [len(beside) for beside in beside_each.of(each) if beside]
        if counts and min(counts) >= FEWEST:
            checked.append(each)
        else:
            reason = "there are too few other ± of as many runs in its row or column"
            result.pass_over(each.at, "spread", each.at.cell.std, reason)
    result.checked["spread"] += len(checked)
    above = outlying(checked, beside_each, True)
    rest = [each for each in checked if each not in above]
    below = outlying(rest, Neighbours([each for each in every if each not in above]), False)
    for each, outlier in {**above, **below}.items():
        verdict = _verdict(each, outlier, each in above, len(checked))
        result.note(each.at, "spread", each.at.cell.std, f"{outlier.p:.1g}", verdict)


class Neighbours:
    """Finds the other deviations of as many runs in the column and in the row of each."""

    def __init__(self, every: Sequence[Deviation]) -> None:
        self._columns = defaultdict[tuple[int, int], list[Deviation]](list)
        self._rows = defaultdict[tuple[int, int], list[Deviation]](list)
        for each in every:
            self._columns[each.at.column, each.runs].append(each)
            self._rows[each.at.row, each.runs].append(each)

    def of(self, deviation: Deviation) -> tuple[list[Deviation], list[Deviation]]:
        """Those in its column and those in its row."""
        at, runs = deviation.at, deviation.runs
        return (
            [each for each in self._columns[at.column, runs] if each is not deviation],
            [each for each in self._rows[at.row, runs] if each is not deviation],
        )


def outlying(tested: Sequence[Deviation], neighbours: Neighbours, above: bool) -> dict[Deviation, Outlier]:
    """Those of the tested deviations that are far above, or far below, the others of their row and column."""
    beside = [neighbours.of(each) for each in tested]
    p = [_p(each, [*column, *row], above) for each, (column, row) in zip(tested, beside, strict=True)]
    adjusted = holm([min(1.0, 2 * value) for value in p]).tolist()
    outliers = dict[Deviation, Outlier]()
    for each, sides, value in zip(tested, beside, adjusted, strict=True):
        if value <= LEVEL and all(_stands_out(each, side, above) for side in sides if side):
            column, row = (_middle([float(near.at.cell.std) for near in side]) for side in sides)
            outliers[each] = Outlier(column, row, value)
    return outliers


def _is_of_average(at: At) -> bool:
    """Whether a ± is of an average, and so smaller for a good reason."""
    return is_average(at.table, at.column) or any(map(is_average_label, at.labels[0]))


def _deviation(at: At, samples: Samples) -> Deviation:
    runs, _ = samples.runs_of(at.table, assigned(at.table, *at.labels))
    sample, std, half = samples.of(at.table, *at.labels), float(at.cell.std), float(half_unit(at.cell.std))
    if sample.images and not sample.reason:
        most = std + half + 100 / sample.images
    else:
        most = max(1.5 * std, std + half) if std else math.inf
    return Deviation(at, runs if runs > 1 else 0, max(std - half, 0.0), std + half, most)


def _p(deviation: Deviation, beside: Sequence[Deviation], above: bool) -> float:
    if not beside:
        return 1.0
    ratio = _ratio(deviation, beside, above)
    return variance_beyond(ratio**2, len(beside), deviation.freedom, above) if ratio > 0 else 1.0


def _stands_out(deviation: Deviation, beside: Sequence[Deviation], above: bool) -> bool:
    ratio = _ratio(deviation, beside, above)
    is_far = ratio >= FACTOR if above else 0 < ratio <= 1 / FACTOR
    return is_far and _p(deviation, beside, above) <= LEVEL


def _ratio(deviation: Deviation, beside: Sequence[Deviation], above: bool) -> float:
    """The deviation by the median of others, each as near to the other as rounding allows."""
    if above:
        return deviation.low / _middle([each.high for each in beside])
    middle = _middle([each.low for each in beside])
    return deviation.most / middle if middle > 0 else math.inf


def _middle(values: Collection[float]) -> float:
    """The upper median; nan of none."""
    return sorted(values)[len(values) // 2] if values else math.nan


def _verdict(deviation: Deviation, outlier: Outlier, above: bool, count: int) -> str:
    std = float(deviation.at.cell.std)
    sides = [
        f"{_times(std, middle)} the middle one of its {name} ({middle:g})"
        for name, middle in (("column", outlier.column), ("row", outlier.row))
        if not math.isnan(middle)
    ]
    runs = f"{deviation.runs} runs" if deviation.runs else f"{_USUAL} runs or more (how many nobody says)"
    where = "above" if above else "below"
    return (
        f"± {deviation.at.cell.std} is {' and '.join(sides)}; of equal noise a ± of {runs} is so far {where} those "
        f"beside it with p = {outlier.p:.1g} over {count} ±"
    )


def _times(std: float, middle: float) -> str:
    if std >= middle > 0:
        return f"{std / middle:.1f} times"
    return f"{std / middle:.2f} of" if middle > 0 else "above"

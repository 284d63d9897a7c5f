"""What a sentence says about a table, as data that can be checked: four statements on numbers taken from cells.

A ``Quantity`` takes numbers from a table: the values of some rows and columns, or their gaps to other rows. A gap is an
improvement: positive where the first row is better, whichever direction is. Only rows are paired that the table itself
compares (its ``rank: {within: ...}``), such as two methods on one dataset. On it there are

- ``Better``: every gap is positive ("always improves", and, against the best other row, "the best on ...");
- ``Monotone``: values or gaps rise or fall along the columns ("the less data, the larger the gain");
- ``Number``: their maximum, mean, count, ... is, exceeds or stays below a number, or another such number ("by up to
  10.78", "on 9 of 10 datasets", "a smaller gain than");
- ``Every`` and ``Negated`` put these together, and ``Unprinted`` stands for what no table can show.

Best is no statement of its own, as it is Better than the best of the others; deltas need none, as they are gaps.
Nothing is evaluated but these forms, so a file of claims cannot run code.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bench.notation import fixed
from bench.papers.quantity import Item, Matrix, Quantity, Untestable, items

TAKES = ("each", "max", "min", "mean", "spread", "count", "max_abs", "mean_abs")
RELATIONS = ("is", "at_least", "at_most", "above", "below")
_SAID = {
    "each": "the number is",
    "max": "the largest is",
    "min": "the smallest is",
    "mean": "the mean is",
    "spread": "the largest and the smallest differ by",
    "count": "it is so in",
    "max_abs": "the largest size is",
    "mean_abs": "the mean size is",
}
_OF_ALL = (("max", "at_most"), ("max", "below"), ("min", "at_least"), ("min", "above"))
_EPS = 1e-9
_SHOWN = 6


@dataclass(frozen=True)
class Better:
    """All gaps are positive, or not negative (``or_equal``)."""

    quantity: Quantity
    or_equal: bool = False


@dataclass(frozen=True)
class Monotone:
    """Along the columns, in their given order, each number is above (``rising``) or below the one before it."""

    quantity: Quantity
    rising: bool


@dataclass(frozen=True)
class Number:
    """One number of a quantity, in relation to others.

    Attributes:
        quantity: where it comes from.
        take: one of ``TAKES``; ``each`` is all of them, in the order of the columns.
        between: of ``count``, which numbers are counted, both ends included; None for the positive ones.
        relation: one of ``RELATIONS``; empty where it is the other side of one.
        bounds: numbers as written in the paper, or another ``Number``; of ``each`` one for all or as many as there are.
    """

    quantity: Quantity
    take: str
    between: tuple[float, float] | None = None
    relation: str = ""
    bounds: tuple[str | Number, ...] = ()


@dataclass(frozen=True)
class Every:
    """All parts hold."""

    parts: tuple[Assertion, ...]


@dataclass(frozen=True)
class Negated:
    """The part does not hold."""

    part: Assertion


@dataclass(frozen=True)
class Unprinted:
    """No table can show it, for this reason."""

    reason: str


Assertion = Better | Monotone | Number | Every | Negated | Unprinted


@dataclass(frozen=True)
class Outcome:
    """Whether a statement holds, the number that decides it, and the cells that speak against it."""

    holds: bool
    computed: str
    against: tuple[str, ...] = ()


def check(assertion: Assertion, matrices: Mapping[str, Matrix], exact: bool = True) -> Outcome:
    """Whether a statement holds of the tables' numbers.

    Args:
        assertion: the statement.
        matrices: tables by name.
        exact: ``is`` means the printed number, up to rounding. Otherwise, as other runs never give the same number, it
            means that it is reached: at least as large, or for a negative one at most.

    Raises:
        Untestable: a number that it needs is not there.
    """
    if isinstance(assertion, Better):
        return _better(assertion, matrices)
    if isinstance(assertion, Monotone):
        return _monotone(assertion, matrices)
    if isinstance(assertion, Number):
        return _number(assertion, matrices, exact)
    if isinstance(assertion, Every):
        parts = [check(part, matrices, exact) for part in assertion.parts]
        against = tuple(cell for part in parts for cell in part.against)
        return Outcome(all(part.holds for part in parts), "; ".join(part.computed for part in parts), against)
    if isinstance(assertion, Negated):
        inner = check(assertion.part, matrices, exact)
        return Outcome(not inner.holds, inner.computed)
    raise Untestable(assertion.reason)


def _better(assertion: Better, matrices: Mapping[str, Matrix]) -> Outcome:
    matrix = matrices[assertion.quantity.table]
    found = [item for sequence in items(assertion.quantity, matrix) for item in sequence]
    least = -_EPS if assertion.or_equal else _EPS
    failing = [item for item in found if item.value < least]
    smallest = min(found, key=lambda item: item.value)
    computed = (
        f"{len(found) - len(failing)} of {len(found)} gaps are {'not negative' if assertion.or_equal else 'positive'}; "
        f"the smallest is {_signed(smallest.value, matrix)} ({smallest.place})"
    )
    return Outcome(not failing, computed, _told(failing, matrix))


def _monotone(assertion: Monotone, matrices: Mapping[str, Matrix]) -> Outcome:
    matrix, sign = matrices[assertion.quantity.table], 1 if assertion.rising else -1
    failing, steps = list[Item](), 0
    for sequence in items(assertion.quantity, matrix):
        for before, now in itertools.pairwise(sequence):
            steps += 1
            if sign * (now.value - before.value) < _EPS:
                failing.append(Item(f"{now.place}, after {fixed(before.value, matrix.decimals)}", now.value, now.slack))
    if not steps:
        raise Untestable("there are fewer than two numbers to compare")
    return Outcome(
        not failing, f"{steps - len(failing)} of {steps} steps {'rise' if sign > 0 else 'fall'}", _told(failing, matrix)
    )


def _number(assertion: Number, matrices: Mapping[str, Matrix], exact: bool) -> Outcome:
    matrix = matrices[assertion.quantity.table]
    taken = _take(assertion, matrix)
    bounds = [_bound(bound, matrices) for bound in assertion.bounds]
    if len(bounds) not in (1, len(taken)):
        raise Untestable(f"{len(bounds)} numbers are stated and the table gives {len(taken)}")
    bounds *= len(taken) if len(bounds) == 1 else 1
    failing = [
        item
        for item, (bound, unit) in zip(taken, bounds, strict=True)
        if not _related(item, assertion.relation, bound, unit, exact)
    ]
    shown = ", ".join(_value(item, assertion.take, matrix) for item in taken[:_SHOWN])
    of = _SAID[assertion.take] if len(taken) == 1 or assertion.take != "each" else "the numbers are"
    place = f" ({taken[0].place})" if len(taken) == 1 and taken[0].place else ""
    place = f" {taken[0].place}" if assertion.take == "count" else place
    other = "" if isinstance(assertion.bounds[0], str) else f", the other side {fixed(bounds[0][0], matrix.decimals)}"
    if failing and (assertion.take, assertion.relation) in _OF_ALL:  # then each of them has to be on that side
        every = [item for sequence in items(assertion.quantity, matrix) for item in sequence]
        failing = [item for item in every if not _related(item, assertion.relation, *bounds[0], exact)]
    against = _told([item for item in failing if item.place and assertion.take != "count"], matrix)
    return Outcome(not failing, f"{of} {shown}{place}{other}", against)


def _take(assertion: Number, matrix: Matrix) -> list[Item]:
    found = [item for sequence in items(assertion.quantity, matrix) for item in sequence]
    size = [Item(item.place, abs(item.value), item.slack) for item in found]
    take, average = assertion.take, len(found)
    if take == "each":
        return found
    if take in ("max", "min"):
        return [(max if take == "max" else min)(found, key=lambda item: item.value)]
    if take == "max_abs":
        return [max(size, key=lambda item: item.value)]
    if take in ("mean", "mean_abs"):
        over = found if take == "mean" else size
        return [Item("", sum(item.value for item in over) / average, sum(item.slack for item in over) / average)]
    if take == "spread":
        high, low = (pick(found, key=lambda item: item.value) for pick in (max, min))
        return [Item(f"{high.place} less {low.place}", high.value - low.value, high.slack + low.slack)]
    low_end, high_end = assertion.between or (_EPS, math.inf)
    counted = sum(low_end - _EPS * bool(assertion.between) <= item.value <= high_end + _EPS for item in found)
    return [Item(f"of {average}", counted, 0.0)]


def _bound(bound: str | Number, matrices: Mapping[str, Matrix]) -> tuple[float, float]:
    """A number that is compared with, and half a unit of its last digit."""
    if isinstance(bound, Number):
        return _take(bound, matrices[bound.quantity.table])[0].value, 0.0
    return float(bound), 0.5 / 10 ** len(bound.partition(".")[2])


def _related(item: Item, relation: str, bound: float, unit: float, exact: bool) -> bool:
    if relation == "is" and exact:
        same_digits = abs(unit - item.slack) < _EPS  # one number rounded twice alike is printed twice alike
        return abs(item.value - bound) <= (0 if same_digits else unit + item.slack) + _EPS
    if relation == "is":
        relation = "at_least" if bound >= 0 else "at_most"
    return {
        "at_least": item.value >= bound - _EPS,
        "at_most": item.value <= bound + _EPS,
        "above": item.value > bound + _EPS,
        "below": item.value < bound - _EPS,
    }[relation]


def _value(item: Item, take: str, matrix: Matrix) -> str:
    return f"{item.value:.0f}" if take == "count" else fixed(item.value, matrix.decimals)


def _signed(value: float, matrix: Matrix) -> str:
    text = fixed(value, matrix.decimals)
    return text if text.startswith("-") else f"+{text}"


def _told(failing: Sequence[Item], matrix: Matrix) -> tuple[str, ...]:
    return tuple(f"{item.place}: {_signed(item.value, matrix)}" for item in failing)

"""What a sentence says about a table, as data that can be checked: four statements on numbers taken from cells.

A ``Quantity`` takes numbers from a table: the values of some rows and columns, or their gaps to other rows. A gap is an
improvement: positive where the first row is better, whichever direction is. Only rows are paired that the table itself
compares (its ``rank: {within: ...}``), such as two methods on one dataset. On it there are

- ``Better``: every gap is positive ("always improves", and, against the best other row, "the best on ...");
- ``Monotone``: values or gaps rise or fall along the columns ("the less data, the larger the gain");
- ``Amount``: their maximum, mean, count, ... is, exceeds or stays below a number, or another such number ("by up to
  10.78", "on 9 of 10 datasets", "a smaller gain than");
- ``Significant``: over datasets, which are the columns, the gaps of each pair of rows are no accident ("significantly
  improves"; Wilcoxon's signed-rank test, so it is about datasets like these);
- ``Every`` and ``Negated`` put these together, and ``Unprinted`` stands for what no table can show.

Best is no statement of its own, as it is Better than the best of the others; deltas need none, as they are gaps.
Nothing is evaluated but these forms, so a file of claims cannot run code.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from operator import attrgetter
from statistics import fmean

from bench.notation import fixed
from bench.papers.quantity import Item, Matrix, Quantity, Untestable, items
from bench.stats.across import wilcoxon
from bench.stats.family import holm
from bench.stats.reach import refusal

TAKES = {
    "each": "the number is",
    "max": "the largest is",
    "min": "the smallest is",
    "mean": "the mean is",
    "spread": "the largest and the smallest differ by",
    "count": "it is so in",
    "max_abs": "the largest size is",
    "mean_abs": "the mean size is",
}
"""What may be taken of the numbers of a quantity, with how a verdict says it."""

RELATIONS = ("is", "at_least", "at_most", "above", "below")
_OF_ALL = (("max", "at_most"), ("max", "below"), ("min", "at_least"), ("min", "above"))
_EPS = 1e-9
_SHOWN = 6
_value = attrgetter("value")


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
class Amount:
    """One number of a quantity, in relation to others.

    Attributes:
        take: one of ``TAKES``; ``each`` is all of them, in the order of the columns.
        between: of ``count``, which numbers are counted, both ends included; None for the positive ones.
        relation: one of ``RELATIONS``; empty where it is the other side of one.
        bounds: numbers as written in the paper, or another ``Amount``; of ``each`` one for all or as many as there are.
    """

    quantity: Quantity
    take: str
    between: tuple[float, float] | None = None
    relation: str = ""
    bounds: tuple[str | Amount, ...] = ()


@dataclass(frozen=True)
class Significant:
    """Of each pair of rows the first is better, by a test over the columns, which are datasets."""

    quantity: Quantity
    alpha: float = 0.05


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


Assertion = Better | Monotone | Amount | Significant | Every | Negated | Unprinted


@dataclass(frozen=True)
class Evidence:
    """Whether a statement holds, the number that decides it, and the cells that speak against it.

    ``is_firm`` says whether it would be so, too, if each number lay at either end of the interval that its seeds leave.
    """

    holds: bool
    computed: str
    against: tuple[str, ...] = ()
    is_firm: bool = True


def check(assertion: Assertion, matrices: Mapping[str, Matrix], exact: bool = True) -> Evidence:
    """Whether a statement holds of the tables' numbers.

    Where ``exact``, ``is`` means the printed number, up to rounding. Otherwise, as other runs never give the same
    number, it means that it is reached: at least as large, or for a negative one at most. Raises ``Untestable``: a
    number that it needs is not there.
    """
    if isinstance(assertion, Better):
        return _better(assertion, matrices[assertion.quantity.table])
    if isinstance(assertion, Monotone):
        return _monotone(assertion, matrices[assertion.quantity.table])
    if isinstance(assertion, Amount):
        return _amount(assertion, matrices, exact)
    if isinstance(assertion, Significant):
        return _significant(assertion, matrices[assertion.quantity.table])
    if isinstance(assertion, Every):
        parts = [check(part, matrices, exact) for part in assertion.parts]
        against = tuple(cell for part in parts for cell in part.against)
        holds, computed = [part.holds for part in parts], "; ".join(part.computed for part in parts)
        return Evidence(all(holds), computed, against, _all_firm(holds, [part.is_firm for part in parts]))
    if isinstance(assertion, Negated):
        inner = check(assertion.part, matrices, exact)
        return Evidence(not inner.holds, inner.computed, is_firm=inner.is_firm)
    raise Untestable(assertion.reason)


def _better(assertion: Better, matrix: Matrix) -> Evidence:
    gaps = _all_items(assertion.quantity, matrix)
    least, what = (-_EPS, "not negative") if assertion.or_equal else (_EPS, "positive")
    failing = [gap for gap in gaps if gap.value < least]
    smallest = min(gaps, key=_value)
    computed = (
        f"{len(gaps) - len(failing)} of {len(gaps)} gaps are {what}; "
        f"the smallest is {_signed(smallest, matrix)} ({smallest.place})"
    )
    firm = _all_above(gaps, "at_least" if assertion.or_equal else "above")
    return Evidence(not failing, computed, _cells(failing, matrix), firm)


def _monotone(assertion: Monotone, matrix: Matrix) -> Evidence:
    sign, verb = (1, "rise") if assertion.rising else (-1, "fall")
    steps = [step for sequence in items(assertion.quantity, matrix) for step in itertools.pairwise(sequence)]
    if not steps:
        raise Untestable("there are fewer than two numbers to compare")
    failing = [
        replace(last, place=f"{last.place}, after {fixed(first.value, matrix.decimals)}")
        for first, last in steps
        if sign * (last.value - first.value) < _EPS
    ]
    computed = f"{len(steps) - len(failing)} of {len(steps)} steps {verb}"
    firm = _all_above([_rise(first, last, sign) for first, last in steps])
    return Evidence(not failing, computed, _cells(failing, matrix), firm)


def _amount(assertion: Amount, matrices: Mapping[str, Matrix], exact: bool) -> Evidence:
    take, relation, matrix = assertion.take, assertion.relation, matrices[assertion.quantity.table]
    taken = _take(assertion, matrix)
    bounds = [_bound(bound, matrices) for bound in assertion.bounds]
    if len(bounds) not in (1, len(taken)):
        raise Untestable(f"{len(bounds)} numbers are stated and the table gives {len(taken)}")
    each_bound = bounds * len(taken) if len(bounds) == 1 else bounds
    pairs = list(zip(taken, each_bound, strict=True))
    holds = [_related(item, relation, bound, exact) for item, bound in pairs]
    firm = _all_firm(holds, [_is_firm(item, relation, bound, exact) for item, bound in pairs])
    failing = [item for item, is_met in zip(taken, holds, strict=True) if not is_met]
    decimals = 0 if take == "count" else matrix.decimals
    computed = "the numbers are " if len(taken) > 1 else f"{TAKES[take]} "
    computed += ", ".join(fixed(item.value, decimals) for item in taken[:_SHOWN])
    if len(taken) == 1 and taken[0].place:
        computed += f" {taken[0].place}" if take == "count" else f" ({taken[0].place})"
    if isinstance(assertion.bounds[0], Amount):
        computed += f", the other side {fixed(bounds[0].value, matrix.decimals)}"
    if failing and (take, relation) in _OF_ALL:  # then each of them has to be on that side
        every = _all_items(assertion.quantity, matrix)
        failing = [item for item in every if not _related(item, relation, bounds[0], exact)]
    against = _cells([item for item in failing if item.place and take != "count"], matrix)
    return Evidence(not failing, computed, against, firm)


def _significant(assertion: Significant, matrix: Matrix) -> Evidence:
    compared, alpha = items(assertion.quantity, matrix), assertion.alpha
    for gaps in compared:
        if why_not := refusal("wilcoxon", len(gaps), alpha=alpha, comparisons=len(compared)):
            raise Untestable(why_not, gaps[0].rows)
    corrected = holm([wilcoxon([gap.value for gap in gaps]) for gaps in compared])
    clauses, failing = list[str](), list[Item]()
    for gaps, p in zip(compared, corrected, strict=True):
        mean = Item(gaps[0].rows, fmean(map(_value, gaps)), 0.0)
        clauses.append(f"{mean.place} {_signed(mean, matrix)} over {len(gaps)} datasets (p = {p:.3g})")
        if p > alpha or mean.value < _EPS:
            failing.append(mean)
    over = f", Holm-corrected over {len(compared)} comparisons" if len(compared) > 1 else ""
    test = f"by Wilcoxon's signed-rank test at {alpha:g}{over}"
    about = "it is about datasets like these, and not about the seeds on any of them"
    return Evidence(not failing, f"{'; '.join(clauses)}, {test}; {about}", _cells(failing, matrix))


def _take(assertion: Amount, matrix: Matrix) -> list[Item]:
    taken, take = _all_items(assertion.quantity, matrix), assertion.take
    if take.endswith("_abs"):
        taken = [replace(item, value=abs(item.value)) for item in taken]
    if take in ("max", "max_abs"):
        return [max(taken, key=_value)]
    if take == "min":
        return [min(taken, key=_value)]
    if take in ("mean", "mean_abs"):
        noise = math.hypot(*(item.noise for item in taken)) / len(taken)
        return [Item("", fmean(map(_value, taken)), fmean(item.slack for item in taken), noise)]
    if take == "spread":
        high, low = max(taken, key=_value), min(taken, key=_value)
        noise = math.hypot(high.noise, low.noise)
        return [Item(f"{high.place} less {low.place}", high.value - low.value, high.slack + low.slack, noise)]
    if take == "count":
        low_end, high_end = assertion.between or (2 * _EPS, math.inf)  # the positive ones
        counted = sum(low_end - _EPS <= item.value <= high_end + _EPS for item in taken)
        ends = [Item("", end, 0.0) for end in (low_end, high_end)]
        unsure = sum(not all(_is_firm(item, "at_least", end, exact=False) for end in ends) for item in taken)
        return [Item(f"of {len(taken)}", counted, 0.0, unsure)]
    return taken


def _all_items(quantity: Quantity, matrix: Matrix) -> list[Item]:
    return [item for sequence in items(quantity, matrix) for item in sequence]


def _bound(bound: str | Amount, matrices: Mapping[str, Matrix]) -> Item:
    """A number that is compared with; its slack is half a unit of its last digit as it is stated."""
    if isinstance(bound, Amount):
        return replace(_take(bound, matrices[bound.quantity.table])[0], slack=0.0)
    return Item("", float(bound), 0.5 / 10 ** len(bound.partition(".")[2]))


def _related(item: Item, relation: str, bound: Item, exact: bool) -> bool:
    gap = item.value - bound.value
    if relation == "is" and exact:
        same_digits = abs(bound.slack - item.slack) < _EPS  # one number rounded twice alike is printed twice alike
        return abs(gap) <= (0 if same_digits else bound.slack + item.slack) + _EPS
    if relation == "is":
        relation = "at_least" if bound.value >= 0 else "at_most"
    return {"at_least": gap >= -_EPS, "at_most": gap <= _EPS, "above": gap > _EPS, "below": gap < -_EPS}[relation]


def _is_firm(item: Item, relation: str, bound: Item, exact: bool) -> bool:
    """Whether a relation would hold, or not hold, as well at either end of what the seeds leave."""
    noise = math.hypot(item.noise, bound.noise)
    if math.isnan(noise):
        return False
    middle = _related(item, relation, bound, exact)
    ends = [replace(item, value=item.value + side * noise) for side in (-1, 1)]
    return not noise or all(_related(end, relation, bound, exact) == middle for end in ends)


def _rise(first: Item, last: Item, sign: int) -> Item:
    """From one number to the next, or how far it falls where ``sign`` is -1."""
    return Item("", sign * (last.value - first.value), 0.0, math.hypot(first.noise, last.noise))


def _all_above(numbers: Sequence[Item], relation: str = "above") -> bool:
    """Whether it is firm that all numbers are above zero, or that not all are."""
    zero = Item("", 0.0, 0.0)
    holds = [_related(number, relation, zero, exact=False) for number in numbers]
    return _all_firm(holds, [_is_firm(number, relation, zero, exact=False) for number in numbers])


def _all_firm(holds: Sequence[bool], firm: Sequence[bool]) -> bool:
    """Whether it is firm that all hold, or that not all do."""
    if all(holds):
        return all(firm)
    return any(is_firm and not is_met for is_met, is_firm in zip(holds, firm, strict=True))


def _signed(item: Item, matrix: Matrix) -> str:
    text = fixed(item.value, matrix.decimals)
    return text if text.startswith("-") else f"+{text}"


def _cells(failing: Sequence[Item], matrix: Matrix) -> tuple[str, ...]:
    return tuple(f"{item.place}: {_signed(item, matrix)}" for item in failing)

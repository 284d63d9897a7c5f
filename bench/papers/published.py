"""Published tables: a paper's layout and its cells as printed, read from ``paper_tables/PAPER/TABLE.yaml``."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from bench.errors import Problems, choose
from bench.metrics import Metric, seconds_to
from bench.notation import listed
from bench.papers.stated import LabelValue, read_runs
from bench.reading.document import Section, read_document
from bench.reading.keys import Key as Declared
from bench.reading.keys import check_keys, names

if TYPE_CHECKING:
    from bench.registry import Registry

Key = tuple[str, ...]
"""Labels of a row or a column, from the outermost to the innermost level; empty where a level says nothing."""

KINDS = ("results", "released", "statistics", "hyper-parameters")
"""What a table may be; ``released`` has results of another one, whose runs are of the recipe of the released code."""

ORDERS = ("higher", "lower")
KEYS = (
    Declared("title", (str,), "what the table shows, with its number"),
    Declared("paper", (str,), "the paper's short name"),
    Declared("kind", (str,), "what it is; `released` is run where it is named, and not with its paper", KINDS),
    Declared("metric", (str,), "what its values are (`bench list metrics`), where they are one thing"),
    Declared("metric_as_printed", (str,), "the same in the paper's words"),
    Declared("note", (str,), "what was garbled in the source and how it was read"),
    Declared("stub", (list,), "names of the levels of the row labels"),
    Declared("columns", (list,), "labels of each column, a list of levels each"),
    Declared("rows", (list,), "the rows in printed order (see *Rows*)"),
    Declared(
        "rank",
        (dict,),
        "among which cells the best is marked (see *Rank*)",
        default="what rows are compared by, with a baseline",
    ),
    Declared("runs", (dict,), "which runs give the cells (see *Runs*)"),
    Declared("audit", (dict,), "what cannot be inferred about how its numbers hang together (see *Audit*)"),
)
ROW_KEYS = (
    Declared("label", (list,), "of the row, one text a level of the stub"),
    Declared("cells", (list,), "texts as printed, one a column: `81.2`, `81.2 ± 0.3`, `81.2 (+1.1)`; empty: nothing"),
)
RANK_KEYS = (
    Declared("within", (list,), "levels of the stub whose labels the compared rows share", default="all rows compete"),
    Declared("order", (str,), "what is better", ORDERS, "as the metric has it, else higher"),
    Declared("columns", (dict,), "the order of single columns, by their innermost label: `{Time: lower}`"),
    Declared("skip", (list,), "innermost labels of columns that are not compared"),
)
_CELL = re.compile(
    r"(?P<value>.*?)(?:\s*±\s*(?P<std>\d{1,20}(?:\.\d{1,20})?))?(?:\s*\((?P<delta>[-+−↑↓]\d+(?:\.\d+)?)\))?"
)
_MARKS = "*†‡"
_BLANKS = frozenset(("", "-", "–", "—", "−", "n/a", "n.a.", "na"))
_NUMBER = re.compile(r"-?\d[\d,]{0,20}(?:\.\d{1,20})?")


@dataclass(frozen=True)
class Printed:
    """A cell as printed.

    Attributes:
        value: the number or text, trailing zeros and marks (``*``) included; empty where nothing is printed.
        std: what stands after ±; empty where there is none.
        delta: a printed difference with its sign or arrow; empty where there is none.
    """

    value: str
    std: str = ""
    delta: str = ""

    @property
    def digits(self) -> str:
        """The number without marks and the commas between thousands."""
        return self.value.rstrip(_MARKS).replace(",", "")

    @property
    def number(self) -> float:
        """The value as a number; nan where it is none."""
        return float(self.digits) if _NUMBER.fullmatch(self.value.rstrip(_MARKS)) else math.nan

    @property
    def is_blank(self) -> bool:
        """Whether nothing is printed: the cell is empty, or has a dash or N/A in it."""
        return self.value.rstrip(_MARKS).strip().lower() in _BLANKS

    @property
    def decimals(self) -> int:
        return len(self.digits.partition(".")[2])


@dataclass(frozen=True)
class Ranking:
    """Among which cells the best one is marked, as ``RANK_KEYS`` says."""

    within: tuple[str, ...] = ()
    order: str = ""
    columns: Mapping[str, str] = field(default_factory=dict)
    skip: tuple[str, ...] = ()


@dataclass(frozen=True)
class PublishedTable:
    """A table of a paper, named ``paper/table``, as ``KEYS`` says; what is not written is empty.

    Cells are by row, then by column; ``ranking`` is None where cells are not compared. ``runs`` have plain values;
    ``values`` says who states each, and ``others`` why a label is ``as: other``, by the part of ``runs`` and the label.
    """

    name: str
    title: str
    kind: str
    metric: str
    metric_as_printed: str
    note: str
    stub: tuple[str, ...]
    columns: tuple[Key, ...]
    rows: tuple[Key, ...]
    cells: tuple[tuple[Printed, ...], ...]
    ranking: Ranking | None
    runs: Mapping[str, Any]
    place: str
    audit: Mapping[str, Any] = field(default_factory=dict)
    metric_place: str = ""
    values: tuple[LabelValue, ...] = ()
    others: Mapping[tuple[str, str], str] = field(default_factory=dict)

    @property
    def paper(self) -> str:
        return self.name.partition("/")[0]

    @cached_property
    def values_of(self) -> Mapping[tuple[str, str], Sequence[LabelValue]]:
        """The values by the part of ``runs`` and the label that they are of."""
        by_label: dict[tuple[str, str], list[LabelValue]] = {}
        for value in self.values:
            by_label.setdefault((value.part, value.label), []).append(value)
        return by_label

    def group_of(self, row: int) -> Key:
        """The labels that a row shares with those that it is compared with."""
        within = self.ranking.within if self.ranking else ()
        return tuple(self.rows[row][self.stub.index(level)] for level in within)

    def alike(self, at: int) -> list[int]:
        """The columns that the average in a column is over: the others of its kind."""
        column, others = self.columns[at], [number for number in range(len(self.columns)) if number != at]
        return [number for number in others if len(column) == 1 or self.columns[number][-1] == column[-1]]

    def orientation(self, at: int) -> int:
        """1 where more is better in a column, -1 where less is, 0 where its cells are not compared."""
        inner, ranking = self.columns[at][-1], self.ranking
        if ranking is None or inner in ranking.skip:
            return 0
        return -1 if self.is_lower_better(at) else 1

    def is_lower_better(self, at: int) -> bool:
        """Whether less is better in a column, compared or not: as its innermost label with an order has it."""
        ranking = self.ranking or Ranking()
        orders = (ranking.columns[label] for label in reversed(self.columns[at]) if label in ranking.columns)
        return next(orders, ranking.order) == "lower"


def published_table(name: str, registry: Registry) -> PublishedTable:
    """A paper's table. Raises ``InputError`` where there is none of that name, or all that is wrong with its file."""
    table = read_published(name, read_document(registry.table_file(name)))
    return _directed(table, registry.metrics) if table.ranking else table


def _directed(table: PublishedTable, metrics: Mapping[str, Metric]) -> PublishedTable:
    """With the direction of the metrics that it prints, of a column or of all, where its ranking does not say it.

    Raises ``InputError`` where the ranking says the contrary.
    """
    assert table.ranking is not None
    columns, problems = dict(table.ranking.columns), Problems()

    def order_of(name: object, stated: str, where: str) -> str:
        metric = (metrics.get(str(name)) or seconds_to(str(name))) if name else None
        if metric is None:
            return stated
        order = "lower" if metric.lower else "higher"
        if stated and stated != order:
            problems.add(f"{table.place}: rank: {where} is {stated}, and of {name} the {order} is better")
        return order

    for part in ("labels", "columns"):
        for label, meaning in mapping(mapping(table.runs).get(part)).items():
            if "metric" in mapping(meaning):
                columns[label] = order_of(meaning["metric"], columns.get(label, ""), f"column {label}")
    order = order_of(table.metric, table.ranking.order, "order")
    problems.stop()
    return replace(table, ranking=replace(table.ranking, order=order, columns=columns))


def mapping(value: object) -> Mapping[str, Any]:
    """A value of a file, or an empty mapping where it is none."""
    return value if isinstance(value, Mapping) else {}


def read_published(name: str, section: Section) -> PublishedTable:
    """A published table from its file. Raises ``InputError``: all that is wrong with the file, each with its line."""
    problems = Problems()
    check_keys(section, KEYS, "key", problems)
    kind = section.get("kind")
    if kind is None and not problems.found:
        problems.add(f"{section.place('kind')}: kind is one of {', '.join(KINDS)}")
    stub = _labels(section.get("stub"), f"{section.place('stub')}: stub", problems)
    columns = [
        _labels(column, f"{section.place('columns')}: column {number}", problems)
        for number, column in enumerate(_list(section, "columns", problems), 1)
    ]
    rows, cells = _rows(section, len(stub), len(columns), problems)
    for what, keys in (("column", columns), ("row", rows)):
        for label in {key for key in keys if keys.count(key) > 1}:
            problems.add(f"{section.source}:{section.first_line}: two {what}s are called '{' / '.join(label)}'")
    if len({len(column) for column in columns}) > 1:
        problems.add(f"{section.place('columns')}: all columns must have as many levels of labels")
    ranking = _ranking(section, stub, columns, problems)
    runs = read_runs(section.get("runs"), problems)
    problems.stop()
    return PublishedTable(
        name=name,
        title=section.text("title"),
        kind=str(kind),
        metric=str(section.get("metric") or ""),
        metric_as_printed=str(section.get("metric_as_printed") or ""),
        note=" ".join(str(section.get("note", "")).split()),
        stub=stub,
        columns=tuple(columns),
        rows=tuple(rows),
        cells=tuple(cells),
        ranking=ranking,
        runs=runs.plain,
        place=section.source,
        audit=section.get("audit") or {},
        metric_place=section.place("metric"),
        values=runs.values,
        others=runs.others,
    )


def read_cell(text: str) -> Printed:
    """A cell from how it is printed: ``VALUE``, ``VALUE ± STD``, ``VALUE (+DELTA)`` or all three."""
    match = _CELL.fullmatch(text)
    assert match is not None  # the first group takes any text
    return Printed(match["value"].strip(), match["std"] or "", match["delta"] or "")


def telling_labels(columns: Sequence[Key], at: int) -> Key:
    """The labels of a column on the levels on which columns differ."""
    levels = range(len(columns[at]))
    return tuple(columns[at][level] for level in levels if len({column[level] for column in columns}) > 1)


def _rows(section: Section, depth: int, width: int, problems: Problems) -> tuple[list[Key], list[tuple[Printed, ...]]]:
    rows, cells = [], []
    for number, row in enumerate(_list(section, "rows", problems), 1):
        place = f"{section.place('rows')}: row {number}"
        if not isinstance(row, Section) or set(row) != {*names(ROW_KEYS)}:
            problems.add(f"{place}: a row has a label and cells")
            continue
        label = _labels(row["label"], f"{row.place('label')}: label", problems)
        texts = _labels(row["cells"], f"{row.place('cells')}: cells", problems)
        if depth and len(label) != depth:
            problems.add(f"{row.place('label')}: {len(label)} labels for the {depth} levels of the stub")
        if len(texts) != width:
            problems.add(f"{row.place('cells')}: {len(texts)} cells for {width} columns")
        rows.append(label)
        cells.append(tuple(map(read_cell, texts)))
    return rows, cells


def _ranking(section: Section, stub: Key, columns: Sequence[Key], problems: Problems) -> Ranking | None:
    rank = section.get("rank")
    if rank is None:
        return None
    place = section.place("rank")
    if not isinstance(rank, dict) or set(rank) - {*names(RANK_KEYS)}:
        quoted = tuple(f"'{name}'" for name in names(RANK_KEYS))
        problems.add(f"{place}: rank has {listed(quoted)}")
        return None
    within = _labels(rank.get("within", []), f"{place}: within", problems)
    skip = _labels(rank.get("skip", []), f"{place}: skip", problems)
    single = rank.get("columns", {})
    orders = [rank.get("order", ORDERS[0]), *(single.values() if isinstance(single, dict) else [None])]
    if any(order not in ORDERS for order in orders):
        problems.add(f"{place}: order is one of {', '.join(ORDERS)}")
    inner = {column[-1] for column in columns if column}
    for label in [*skip, *(single if isinstance(single, dict) else ())]:
        if label not in inner:
            problems.add(f"{place}: {choose(label, inner, 'column')}")
    for level in within:
        if level not in stub:
            problems.add(f"{place}: {choose(level, stub, 'level of the stub')}")
    return Ranking(within, str(rank.get("order", "")), dict(single or {}), skip)


def _list(section: Section, key: str, problems: Problems) -> list[Any]:
    items = section.get(key)
    if not isinstance(items, list) or not items:
        problems.add(f"{section.place(key)}: '{key}' must be a list that is not empty")
        return []
    return items


def _labels(labels: object, place: str, problems: Problems) -> Key:
    if not isinstance(labels, list) or not all(isinstance(item, str) for item in labels):
        problems.add(f"{place} must be a list of texts; write numbers in quotes, so that they stay as printed")
        return ()
    return tuple(labels)

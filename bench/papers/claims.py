"""What papers say about their tables (``paper_tables/PAPER/claims.yaml``), judged by what is printed and by our runs.

A claim is a sentence in our own words, where it stands, its table, and one statement (see ``bench.papers.assertion``)::

    - claim: GTA is above plain fine-tuning on every dataset and at every rate
      section: abstract
      table: table2
      better: {row: GTA, than: Fine-tune (baseline)}

``bench.papers.claim_keys`` says which statements there are and what they take.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bench.errors import InputError, Problems, choose
from bench.papers.assertion import (
    RELATIONS,
    TAKES,
    Assertion,
    Better,
    Every,
    Monotone,
    Negated,
    Number,
    Unprinted,
    check,
)
from bench.papers.claim_keys import CLAIM, OWN, QUANTITY, STATEMENTS
from bench.papers.labels import matches
from bench.papers.layout import group_of
from bench.papers.published import PublishedTable, Ranking, published_table
from bench.papers.quantity import OTHERS, Matrix, Quantity, Untestable
from bench.reading.document import Section, read_document
from bench.reading.keys import Key, names
from bench.registry import Registry

Mean = tuple[float, str]
"""The mean of our runs of a cell, nan where there is none, and why there is none."""

KINDS = names(STATEMENTS)
BORNE_OUT, CONTRADICTED = "borne out", "contradicted"
SUPPORTED, NOT_SUPPORTED = "supported", "not supported"
NOT_TESTABLE = "not testable"


@dataclass(frozen=True)
class Claim:
    """A sentence of a paper about its tables.

    Attributes:
        paper: its short name.
        text: the claim in our words.
        section: where the paper makes it.
        tables: ``paper/table``, each once.
        assertion: what is checked.
        place: where it is written down.
    """

    paper: str
    text: str
    section: str
    tables: tuple[str, ...]
    assertion: Assertion
    place: str


@dataclass(frozen=True)
class Verdict:
    """What numbers say of a claim.

    Attributes:
        verdict: ``borne out``, ``contradicted``; of our runs ``supported``, ``not supported``; or ``not testable``.
        computed: the number that decides it, or why there is none.
        against: the cells that speak against it.
        reason: of what is not testable, why: ``computed`` without the cell that it begins with.
    """

    verdict: str
    computed: str
    against: tuple[str, ...] = ()
    reason: str = ""

    @property
    def line(self) -> str:
        """The verdict with its reason in one line."""
        told = len(self.against) == 1 and self.against[0].rpartition(": ")[0] in self.computed
        cells = f" [against it: {'; '.join(self.against)}]" if self.against and not told else ""
        return f"{self.verdict}: {self.computed}{cells}"

    def line_with(self, notes: Mapping[str, int]) -> str:
        """As ``line``, with the number of a note in the place of a reason that has one: ``not testable: GTA [1]``."""
        if self.reason not in notes:
            return self.line
        place = self.computed.removesuffix(self.reason).removesuffix(": ")
        return f"{self.verdict}{': ' * bool(place)}{place} [{notes[self.reason]}]"


def read_claims(paper: str, registry: Registry) -> list[Claim]:
    """The claims of a paper; none where nobody wrote them down.

    Raises:
        InputError: all that is wrong with the file, each with its line: unknown keys, labels and numbers too.
    """
    path = registry.claims_files.get(paper)
    return _Reader(paper, registry).claims(read_document(path)) if path else []


def judge_published(claim: Claim, tables: Mapping[str, PublishedTable]) -> Verdict:
    """Whether the numbers in print bear a claim out, up to their rounding."""
    return _judge(claim, {name: printed_matrix(tables[name]) for name in claim.tables}, (BORNE_OUT, CONTRADICTED), True)


def judge_ours(
    claim: Claim, tables: Mapping[str, PublishedTable], ours: Mapping[str, Sequence[Sequence[Mean]]]
) -> Verdict:
    """Whether the means of our runs support a claim; a number that it states counts as reached, not as met exactly."""
    matrices = {name: our_matrix(tables[name], ours[name]) for name in claim.tables}
    return _judge(claim, matrices, (SUPPORTED, NOT_SUPPORTED), False)


def printed_matrix(table: PublishedTable) -> Matrix:
    """A table's numbers as printed."""
    values = [[cell.number for cell in row] for row in table.cells]
    return _matrix(table, values, [[""] * len(table.columns) for _ in table.rows], True)


def our_matrix(table: PublishedTable, ours: Sequence[Sequence[Mean]]) -> Matrix:
    """The means of our runs; a number that is printed and not measured is lacking, with the reason."""
    values, lacking = list[list[float]](), list[list[str]]()
    for printed, measured in zip(table.cells, ours, strict=True):
        wanted = [not math.isnan(cell.number) for cell in printed]
        values.append([mean if want else math.nan for want, (mean, _) in zip(wanted, measured, strict=True)])
        reasons = []
        for want, (mean, reason) in zip(wanted, measured, strict=True):
            reasons.append((reason or "nothing is run for it") if want and math.isnan(mean) else "")
        lacking.append(reasons)
    return _matrix(table, values, lacking, False)


def _matrix(table: PublishedTable, values: list[list[float]], lacking: list[list[str]], printed: bool) -> Matrix:
    ranking = table.ranking or Ranking()
    lower = [ranking.columns.get(column[-1], ranking.order) == "lower" for column in table.columns]
    return Matrix(
        rows=table.rows,
        columns=table.columns,
        values=values,
        slack=[[0.5 / 10**cell.decimals if printed else 0.0 for cell in row] for row in table.cells],
        signs=[[-1 if low else 1 for low in lower] for _ in table.rows],
        groups=tuple(group_of(table, row) for row in range(len(table.rows))),
        lacking=lacking,
        decimals=max(cell.decimals for row in table.cells for cell in row if not math.isnan(cell.number)),
    )


def _judge(claim: Claim, matrices: Mapping[str, Matrix], verdicts: tuple[str, str], exact: bool) -> Verdict:
    try:
        outcome = check(claim.assertion, matrices, exact)
    except Untestable as error:
        return Verdict(NOT_TESTABLE, str(error), reason=error.reason)
    return Verdict(verdicts[0] if outcome.holds else verdicts[1], outcome.computed, outcome.against)


class _Reader:
    """Reads one file; what is wrong is collected, so that all of it is told at once."""

    def __init__(self, paper: str, registry: Registry) -> None:
        self.paper, self.registry, self.problems = paper, registry, Problems()
        self.tables = dict[str, PublishedTable]()
        self.used = list[str]()

    def claims(self, document: Section) -> list[Claim]:
        found, given = [], document.get("claims")
        if set(document) != {"claims"} or not isinstance(given, list) or not given:
            raise InputError(f"{document.place()}: the file has one key, 'claims', with a list that is not empty")
        for entry in given:
            if not isinstance(entry, Section):
                self.problems.add(f"{document.place('claims')}: a claim is a mapping, not {entry!r}")
                continue
            if claim := self.claim(entry):
                found.append(claim)
        self.problems.stop()
        return found

    def claim(self, entry: Section) -> Claim | None:
        self.keys(entry, (*CLAIM, *STATEMENTS), "key of a claim")
        try:
            text, section, table = (entry.text(key) for key in ("claim", "section", "table"))
            self.used = [self.table(table, entry.place("table"))]
        except InputError as error:
            self.problems.add(error)
            return None
        kinds = [key for key in entry if key in KINDS]
        if len(kinds) != 1:
            self.problems.add(f"{entry.place()}: a claim has one of {', '.join(KINDS)}; this one has {kinds or 'none'}")
            return None
        assertion = self.assertion(kinds[0], entry[kinds[0]], entry.place(kinds[0]), self.used[0])
        if assertion is None:
            return None
        return Claim(self.paper, text, section, tuple(dict.fromkeys(self.used)), assertion, entry.place())

    def assertion(self, kind: str, given: Any, place: str, table: str) -> Assertion | None:
        if kind == "unprinted":
            return Unprinted(str(given))
        if kind == "all":
            return self.every(given, place, table)
        if not isinstance(given, Section):
            self.problems.add(f"{place}: {kind} is a mapping, not {given!r}")
            return None
        if kind == "not":
            inner = self.every([given], place, table)
            return Negated(inner.parts[0]) if inner and inner.parts else None
        if kind == "number":
            return self.number(given, table, relation=True)
        self.keys(given, (*QUANTITY, *OWN[kind]), f"key of {kind}")
        quantity = self.quantity(given, table, best=kind == "best")
        if quantity is None:
            return None
        if kind == "monotone":
            if given.get("order") not in ("rising", "falling"):
                self.problems.add(f"{given.place('order')}: order is rising or falling, not {given.get('order')!r}")
            if not quantity.columns:
                self.problems.add(f"{given.place()}: monotone names its columns, in their order")
            return Monotone(quantity, given.get("order") == "rising")
        return Better(quantity, bool(given.get("or_equal")) or (kind == "best" and not given.get("alone")))

    def every(self, given: Any, place: str, table: str) -> Every | None:
        parts = list[Assertion]()
        for part in given if isinstance(given, list) else [None]:
            if not isinstance(part, Section) or len(part) != 1 or next(iter(part)) not in KINDS:
                self.problems.add(f"{place}: each part is a mapping with one key of {', '.join(KINDS)}")
                return None
            kind = next(iter(part))
            if read := self.assertion(kind, part[kind], part.place(kind), table):
                parts.append(read)
        return Every(tuple(parts))

    def number(self, given: Section, table: str, relation: bool) -> Number | None:
        self.keys(given, (*QUANTITY, *OWN["number"]), "key of number")
        quantity = self.quantity(given, table)
        take, related = str(given.get("take")), [key for key in given if key in RELATIONS]
        if take not in TAKES:
            self.problems.add(f"{given.place('take')}: {choose(take, TAKES, 'take')}")
        if len(related) != relation:
            which = f"has one of {', '.join(RELATIONS)}" if relation else "has no relation of its own"
            self.problems.add(f"{given.place()}: a number {which}; it has {related or 'none'}")
        between = given.get("between")
        if between is not None and (not isinstance(between, list) or len(between) != 2 or take != "count"):
            self.problems.add(f"{given.place('between')}: between is [low, high], of a count")
            between = None
        ends = [self.literal(end, given.place("between")) for end in between or ()]
        bounds = self.bounds(given, related[0], table) if related else ()
        if quantity is None or (ends and None in ends):
            return None
        limits = (float(ends[0] or 0), float(ends[1] or 0)) if ends else None
        return Number(quantity, take, limits, related[0] if related else "", bounds)

    def bounds(self, given: Section, key: str, table: str) -> tuple[str | Number, ...]:
        value = given[key]
        if isinstance(value, Section):
            other = self.number(value, table, relation=False)
            if value.get("take") == "each":
                self.problems.add(f"{given.place(key)}: what a number is compared with is one number, not each")
            return (other,) if other else ()
        listed = value if isinstance(value, list) else [value]
        found = [self.literal(each, given.place(key)) for each in listed]
        return tuple(each for each in found if each is not None)

    def literal(self, value: Any, place: str) -> str | None:
        """A number as the paper writes it; its digits say how exactly it is meant."""
        try:
            if isinstance(value, bool) or not math.isfinite(float(value)):
                raise ValueError
        except (TypeError, ValueError):
            self.problems.add(f"{place}: a number as printed is wanted, such as 10.78; it is {value!r}")
            return None
        return str(value)

    def quantity(self, given: Section, table: str, best: bool = False) -> Quantity | None:
        if "table" in given:
            try:
                table = self.table(given.text("table"), given.place("table"))
            except InputError as error:
                self.problems.add(error)
                return None
            self.used.append(table)
        transposed, published = bool(given.get("transposed")), self.tables[table]
        rows, columns = published.rows, published.columns
        rows, columns = (columns, rows) if transposed else (rows, columns)
        pairs = self.pairs(given, best)
        for one, others in pairs:
            key = "pairs" if "pairs" in given else "row"
            self.known([one], rows, given.place(key), "row")
            self.known([at for at in others if at != OTHERS], rows, given.place("than" if key == "row" else key), "row")
        lists = {key: self.listed(given, key) for key in ("columns", "among", "except")}
        self.known(lists["columns"], columns, given.place("columns"), "column")
        self.known(lists["among"], rows, given.place("among"), "row")
        cells = [(*row, *column) for row in rows for column in columns]
        self.known(lists["except"], cells, given.place("except"), "cell")
        against = "best" if best else str(given.get("against", "each"))
        if against not in ("each", "best"):
            self.problems.add(f"{given.place('against')}: against is each or best, not {against!r}")
        across = bool(given.get("across"))
        return Quantity(table, pairs, against, lists["columns"], lists["among"], lists["except"], transposed, across)

    def pairs(self, given: Section, best: bool) -> tuple[tuple[str, tuple[str, ...]], ...]:
        if isinstance(pairs := given.get("pairs"), Section):
            return tuple((one, self.listed(pairs, one)) for one in pairs)
        than = (OTHERS,) if best else self.listed(given, "than")
        rows = self.listed(given, "row")
        if not rows:
            self.problems.add(f"{given.place()}: 'row' (or 'pairs') says which rows are meant")
        return tuple((one, than) for one in rows)

    def table(self, name: str, place: str) -> str:
        full = f"{self.paper}/{name}"
        if full not in self.registry.table_files:
            own = [at.partition("/")[2] for at in self.registry.table_files if at.startswith(f"{self.paper}/")]
            raise InputError(f"{place}: {choose(name, own, f'table of {self.paper}')}")
        if full not in self.tables:
            self.tables[full] = published_table(full, self.registry)
        return full

    def listed(self, given: Section, key: str) -> tuple[str, ...]:
        value = given.get(key, [])
        listed = value if isinstance(value, list) else [value]
        if not all(isinstance(each, str) for each in listed):
            self.problems.add(f"{given.place(key)}: {key} is a label or a list of labels; write numbers in quotes")
            return ()
        return tuple(listed)

    def known(self, selectors: Sequence[str], keys: Sequence[Sequence[str]], place: str, what: str) -> None:
        for selector in selectors:
            if not any(matches(key, selector) for key in keys):
                labels = {label for key in keys for label in key if label}
                self.problems.add(f"{place}: {choose(selector, labels, f'{what} of this table')}")

    def keys(self, given: Section, allowed: Sequence[Key], what: str) -> None:
        known = names(allowed)
        for key in given:
            if key not in known:
                self.problems.add(f"{given.place(key)}: {choose(key, known, what)}")

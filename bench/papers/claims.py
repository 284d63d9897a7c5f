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
from dataclasses import dataclass, replace
from typing import Any

from bench.errors import InputError, Problems, choose
from bench.papers.assertion import (
    RELATIONS,
    TAKES,
    Amount,
    Assertion,
    Better,
    Every,
    Monotone,
    Negated,
    Significant,
    Unprinted,
    check,
)
from bench.papers.claim_keys import CLAIM, OWN, QUANTITY, STATEMENTS
from bench.papers.labels import assigned, matches
from bench.papers.published import PublishedTable, published_table
from bench.papers.quantity import OTHERS, Matrix, Quantity, Untestable
from bench.reading.document import Section, read_document
from bench.reading.keys import Key, names
from bench.registry import Registry

Mean = tuple[float, str, float]
"""The mean of our runs of a cell, nan where there is none; why there is none; half of the width of its interval, nan
where one run has none."""

KINDS = names(STATEMENTS)
BORNE_OUT, CONTRADICTED = "borne out", "contradicted"
SUPPORTED, NOT_SUPPORTED, CANNOT_TELL = "supported", "not supported", "cannot tell"
NOT_TESTABLE = "not testable"


@dataclass(frozen=True)
class PaperClaim:
    """A sentence of a paper about its tables, each of which is named once: ``paper/table``."""

    paper: str
    text: str
    section: str
    tables: tuple[str, ...]
    assertion: Assertion
    place: str


@dataclass(frozen=True)
class Judgement:
    """What numbers say of a claim.

    Attributes:
        verdict: ``borne out``, ``contradicted``; of our runs ``supported``, ``not supported``, ``cannot tell``; or
            ``not testable``.
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
        line = f"{self.verdict}: {self.computed}"
        is_named = len(self.against) == 1 and self.against[0].rpartition(": ")[0] in self.computed
        return f"{line} [against it: {'; '.join(self.against)}]" if self.against and not is_named else line

    def line_with(self, notes: Mapping[str, int]) -> str:
        """As ``line``, with the number of a note in the place of a reason that has one: ``not testable: GTA [1]``."""
        if self.reason not in notes:
            return self.line
        place = self.computed.removesuffix(self.reason).removesuffix(": ")
        return f"{self.verdict}{': ' * bool(place)}{place} [{notes[self.reason]}]"


def read_claims(paper: str, registry: Registry) -> list[PaperClaim]:
    """The claims of a paper; none where nobody wrote them down.

    Raises ``InputError``: all that is wrong with the file, each with its line: unknown keys, labels and numbers too.
    """
    path = registry.claims_files.get(paper)
    return _Reader(paper, registry).claims(read_document(path)) if path else []


def judge_published(claim: PaperClaim, tables: Mapping[str, PublishedTable]) -> Judgement:
    """Whether the numbers in print bear a claim out, up to their rounding."""
    return _judge(claim, {name: printed_matrix(tables[name]) for name in claim.tables}, (BORNE_OUT, CONTRADICTED), True)


def judge_ours(
    claim: PaperClaim, tables: Mapping[str, PublishedTable], ours: Mapping[str, Sequence[Sequence[Mean]]]
) -> Judgement:
    """Whether our runs support a claim; a number that it states counts as reached, not as met exactly.

    It cannot be told where a number that decides it could lie on the other side, by the intervals of the means.
    """
    matrices = {name: our_matrix(tables[name], ours[name]) for name in claim.tables}
    return _judge(claim, matrices, (SUPPORTED, NOT_SUPPORTED), False)


def printed_matrix(table: PublishedTable) -> Matrix:
    lower = [table.is_lower_better(at) for at in range(len(table.columns))]
    return Matrix(
        rows=table.rows,
        columns=table.columns,
        values=[[cell.number for cell in row] for row in table.cells],
        slack=[[0.5 / 10**cell.decimals for cell in row] for row in table.cells],
        signs=[[-1 if low else 1 for low in lower] for _ in table.rows],
        groups=tuple(map(table.group_of, range(len(table.rows)))),
        lacking=[[""] * len(table.columns) for _ in table.rows],
        decimals=max(cell.decimals for row in table.cells for cell in row if not math.isnan(cell.number)),
    )


def our_matrix(table: PublishedTable, ours: Sequence[Sequence[Mean]]) -> Matrix:
    """The means of our runs; a number that is printed and not measured is lacking, with the reason."""
    values = [[math.nan] * len(table.columns) for _ in table.rows]
    lacking = [[""] * len(table.columns) for _ in table.rows]
    noise = [[0.0] * len(table.columns) for _ in table.rows]
    for row, line in enumerate(table.cells):
        for column, cell in enumerate(line):
            if not math.isnan(cell.number):
                values[row][column], reason, noise[row][column] = ours[row][column]
                lacking[row][column] = (reason or "nothing is run for it") if math.isnan(values[row][column]) else ""
    exact = [[0.0] * len(table.columns) for _ in table.rows]
    return replace(printed_matrix(table), values=values, slack=exact, lacking=lacking, noise=noise)


def _judge(claim: PaperClaim, matrices: Mapping[str, Matrix], verdicts: tuple[str, str], exact: bool) -> Judgement:
    try:
        outcome = check(claim.assertion, matrices, exact)
    except Untestable as error:
        return Judgement(NOT_TESTABLE, str(error), reason=error.reason)
    if not outcome.is_firm:
        computed = f"{outcome.computed}; by the means alone, as seeds leave more than that"
        return Judgement(CANNOT_TELL, computed, outcome.against)
    return Judgement(verdicts[0] if outcome.holds else verdicts[1], outcome.computed, outcome.against)


class _Reader:
    """Reads one file; what is wrong is collected, so that all of it is told at once.

    What is raised ends the reading of one statement, what is added to the problems does not.
    """

    def __init__(self, paper: str, registry: Registry) -> None:
        self.paper, self.registry, self.problems = paper, registry, Problems()
        self.tables = dict[str, PublishedTable]()
        self.used = list[str]()

    def claims(self, document: Section) -> list[PaperClaim]:
        entries = document.get("claims")
        if set(document) != {"claims"} or not isinstance(entries, list) or not entries:
            raise InputError(f"{document.place()}: the file has one key, 'claims', with a list that is not empty")
        claims = []
        for entry in entries:
            try:
                if not isinstance(entry, Section):
                    raise InputError(f"{document.place('claims')}: a claim is a mapping, not {entry!r}")
                claims.append(self.claim(entry))
            except InputError as error:
                self.problems.add(error)
        self.problems.stop()
        return claims

    def claim(self, entry: Section) -> PaperClaim:
        self.keys(entry, (*CLAIM, *STATEMENTS), "key of a claim")
        text, section, table = (entry.text(key) for key in ("claim", "section", "table"))
        table = self.table(table, entry.place("table"))
        self.used = [table]
        kinds = [key for key in entry if key in KINDS]
        if len(kinds) != 1:
            has = f"this one has {kinds or 'none'}"
            raise InputError(f"{entry.place()}: a claim has one of {', '.join(KINDS)}; {has}")
        assertion = self.assertion(kinds[0], entry, table)
        return PaperClaim(self.paper, text, section, tuple(dict.fromkeys(self.used)), assertion, entry.place())

    def assertion(self, kind: str, owner: Section, table: str) -> Assertion:
        statement, place = owner[kind], owner.place(kind)
        if kind == "unprinted":
            return Unprinted(str(statement))
        if kind == "all":
            return self.every(statement, place, table)
        if not isinstance(statement, Section):
            raise InputError(f"{place}: {kind} is a mapping, not {statement!r}")
        if kind == "not":
            return Negated(self.every([statement], place, table))
        if kind == "number":
            return self.amount(statement, table, relation=True)
        self.keys(statement, (*QUANTITY, *OWN[kind]), f"key of {kind}")
        quantity = self.quantity(statement, table, best=kind == "best")
        if kind == "significant":
            return self.significant(statement, quantity)
        if kind == "monotone":
            order = statement.get("order")
            if order not in ("rising", "falling"):
                self.problems.add(f"{statement.place('order')}: order is rising or falling, not {order!r}")
            if not quantity.columns:
                self.problems.add(f"{statement.place()}: monotone names its columns, in their order")
            return Monotone(quantity, order == "rising")
        return Better(quantity, bool(statement.get("or_equal")) or (kind == "best" and not statement.get("alone")))

    def significant(self, statement: Section, quantity: Quantity) -> Significant:
        alpha, table = statement.get("alpha", 0.05), self.tables[quantity.table]
        if type(alpha) is not float or not 0 < alpha < 1:
            self.problems.add(f"{statement.place('alpha')}: alpha is a number between 0 and 1, not {alpha!r}")
            alpha = 0.05
        if not all(than for _, than in quantity.pairs):
            self.problems.add(f"{statement.place()}: significant compares rows; 'than' or 'pairs' says with which")
        selectors = quantity.columns
        meant = [each for each in table.columns if not selectors or any(matches(each, at) for at in selectors)]
        strange = [column for column in meant if "dataset" not in assigned(table, (), column)]
        if strange or quantity.transposed:
            which = "rows" if quantity.transposed else " / ".join(strange[0])
            self.problems.add(f"{statement.place()}: significant is tested over columns of datasets, and not {which}")
        return Significant(quantity, alpha)

    def every(self, parts: Any, place: str, table: str) -> Every:
        assertions = list[Assertion]()
        for part in parts if isinstance(parts, list) else [None]:
            if not isinstance(part, Section) or len(part) != 1 or not part.keys() <= {*KINDS}:
                raise InputError(f"{place}: each part is a mapping with one key of {', '.join(KINDS)}")
            try:
                assertions.append(self.assertion(next(iter(part)), part, table))
            except InputError as error:
                self.problems.add(error)
        return Every(tuple(assertions))

    def amount(self, statement: Section, table: str, relation: bool) -> Amount:
        self.keys(statement, (*QUANTITY, *OWN["number"]), "key of number")
        quantity = self.quantity(statement, table)
        take, related = str(statement.get("take")), [key for key in statement if key in RELATIONS]
        if take not in TAKES:
            self.problems.add(f"{statement.place('take')}: {choose(take, TAKES, 'take')}")
        if len(related) != relation:
            which = f"has one of {', '.join(RELATIONS)}" if relation else "has no relation of its own"
            self.problems.add(f"{statement.place()}: a number {which}; it has {related or 'none'}")
        between, limits = statement.get("between"), None
        if isinstance(between, list) and len(between) == 2 and take == "count":
            low, high = (self.literal(end, statement.place("between")) for end in between)
            limits = float(low), float(high)
        elif between is not None:
            self.problems.add(f"{statement.place('between')}: between is [low, high], of a count")
        bounds = self.bounds(statement, related[0], table) if related else ()
        return Amount(quantity, take, limits, related[0] if related else "", bounds)

    def bounds(self, statement: Section, key: str, table: str) -> tuple[str | Amount, ...]:
        value, place = statement[key], statement.place(key)
        if isinstance(value, Section):
            if value.get("take") == "each":
                self.problems.add(f"{place}: what a number is compared with is one number, not each")
            return (self.amount(value, table, relation=False),)
        return tuple(self.literal(each, place) for each in (value if isinstance(value, list) else [value]))

    def literal(self, value: Any, place: str) -> str:
        """A number as the paper writes it; its digits say how exactly it is meant."""
        try:
            if isinstance(value, bool) or not math.isfinite(float(value)):
                raise ValueError
        except (TypeError, ValueError):
            self.problems.add(f"{place}: a number as printed is wanted, such as 10.78; it is {value!r}")
            return "0"
        return str(value)

    def quantity(self, statement: Section, table: str, best: bool = False) -> Quantity:
        if "table" in statement:
            table = self.table(statement.text("table"), statement.place("table"))
            self.used.append(table)
        transposed, published = bool(statement.get("transposed")), self.tables[table]
        rows, columns = published.rows, published.columns
        if transposed:
            rows, columns = columns, rows
        pairs = self.pairs(statement, best)
        row_key, than_key = ("pairs", "pairs") if "pairs" in statement else ("row", "than")
        for row, rivals in pairs:
            self.check_labels([row], rows, statement.place(row_key), "row")
            self.check_labels([at for at in rivals if at != OTHERS], rows, statement.place(than_key), "row")
        lists = {key: self.listed(statement, key) for key in ("columns", "among", "except")}
        cells = [(*row, *column) for row in rows for column in columns]
        for key, labels, what in (("columns", columns, "column"), ("among", rows, "row"), ("except", cells, "cell")):
            self.check_labels(lists[key], labels, statement.place(key), what)
        against = "best" if best else str(statement.get("against", "each"))
        if against not in ("each", "best"):
            self.problems.add(f"{statement.place('against')}: against is each or best, not {against!r}")
        across = bool(statement.get("across"))
        return Quantity(table, pairs, against, lists["columns"], lists["among"], lists["except"], transposed, across)

    def pairs(self, statement: Section, best: bool) -> tuple[tuple[str, tuple[str, ...]], ...]:
        if isinstance(pairs := statement.get("pairs"), Section):
            return tuple((row, self.listed(pairs, row)) for row in pairs)
        than = (OTHERS,) if best else self.listed(statement, "than")
        rows = self.listed(statement, "row")
        if not rows:
            self.problems.add(f"{statement.place()}: 'row' (or 'pairs') says which rows are meant")
        return tuple((row, than) for row in rows)

    def table(self, name: str, place: str) -> str:
        """The full name of a table of the paper, which is read."""
        full = f"{self.paper}/{name}"
        if full not in self.registry.table_files:
            of_paper = [at.partition("/")[2] for at in self.registry.table_files if at.startswith(f"{self.paper}/")]
            raise InputError(f"{place}: {choose(name, of_paper, f'table of {self.paper}')}")
        if full not in self.tables:
            self.tables[full] = published_table(full, self.registry)
        return full

    def listed(self, statement: Section, key: str) -> tuple[str, ...]:
        value = statement.get(key, [])
        labels = value if isinstance(value, list) else [value]
        if all(isinstance(label, str) for label in labels):
            return tuple(labels)
        self.problems.add(f"{statement.place(key)}: {key} is a label or a list of labels; write numbers in quotes")
        return ()

    def check_labels(self, selectors: Sequence[str], keys: Sequence[Sequence[str]], place: str, what: str) -> None:
        for selector in selectors:
            if not any(matches(key, selector) for key in keys):
                labels = {label for key in keys for label in key if label}
                self.problems.add(f"{place}: {choose(selector, labels, f'{what} of this table')}")

    def keys(self, statement: Section, allowed: Sequence[Key], what: str) -> None:
        for key in statement:
            if key not in names(allowed):
                self.problems.add(f"{statement.place(key)}: {choose(key, names(allowed), what)}")

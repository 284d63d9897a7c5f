"""A table: cells in their places with their statistics, and the rules by which it was made."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from bench.tables.cells import METHOD, Cell, Layout
from bench.tables.claim import Claim, sentences
from bench.tables.notation import listed
from bench.tables.testing import out_of_reach, pairing, sizes, test_name

Key = tuple[str, ...]  # labels along the row axes or along the column axes

MISSING, FAILED = "–", "failed"
STRONGER = 5  # the second dagger stands at alpha / 5, so 0.01 beside 0.05


@dataclass(frozen=True)
class Entry:
    """A cell with its statistics; None is what cannot be computed.

    Attributes:
        cell: what it summarises.
        n: finished seeds.
        mean: mean of the values.
        std: sample standard deviation (n - 1); None for n < 2.
        delta: mean minus the baseline's mean, unrounded; None for the baseline and without one.
        p: two-sided p against the baseline, by the layout's test.
        p_holm: p after Holm's correction in the layout's family.
        significant: ``p_holm <= alpha``.
        best: it prints the highest mean of the cells equal in every axis but the method; never marked where only one
            of those has a value.
        indistinguishable: best, or not distinguishable from the best.
    """

    cell: Cell
    n: int = 0
    mean: float | None = None
    std: float | None = None
    delta: float | None = None
    p: float | None = None
    p_holm: float | None = None
    significant: bool = False
    best: bool = False
    indistinguishable: bool = False


@dataclass(frozen=True)
class Table:
    """Entries by row and column.

    Attributes:
        layout: the layout it was made by.
        constant: axes whose one label is said in the title line, not in the body.
        row_axes: axes of the row keys, outermost first.
        column_axes: axes of the column keys, outermost first.
        rows: row keys in order.
        columns: column keys in order; the one key ``()`` when no axis varies along the columns.
        entries: by (row key, column key); pairs without a cell are absent.
        claims: what is claimed over the datasets, where the layout asks for it.
    """

    layout: Layout
    constant: Mapping[str, str]
    row_axes: tuple[str, ...]
    column_axes: tuple[str, ...]
    rows: tuple[Key, ...]
    columns: tuple[Key, ...]
    entries: Mapping[tuple[Key, Key], Entry]
    claims: tuple[Claim, ...] = ()

    @property
    def heading(self) -> str:
        """The title line: title, metric, and the axes with one label."""
        said = [self.layout.metric, *(f"{axis} {label}" for axis, label in self.constant.items())]
        return f"{self.layout.title} – {', '.join(said)}"

    @cached_property
    def finished(self) -> tuple[Entry, ...]:
        """Entries with at least one value."""
        return tuple(entry for entry in self.entries.values() if entry.n)

    @cached_property
    def usual(self) -> int:
        """The n of most finished cells, the larger of two as frequent; 0 without any."""
        counts = Counter(entry.n for entry in self.finished)
        return max(counts, key=lambda n: (counts[n], n), default=0)

    @cached_property
    def footnotes(self) -> tuple[str, ...]:
        """The reasons for exclusion, each once, in the order of their numbers."""
        return tuple(dict.fromkeys(e.cell.reason for e in self.entries.values() if e.cell.reason is not None))

    def word(self, entry: Entry | None) -> str | None:
        """What stands in place of a number: missing, failed or excluded; None where there is a number."""
        if entry is None:
            return MISSING
        if entry.cell.reason is not None:
            return f"n/a [{self.footnotes.index(entry.cell.reason) + 1}]"
        if not entry.n:
            return FAILED if entry.cell.failed else MISSING
        return None

    def count(self, entry: Entry) -> str:
        """``n=2/3!`` (2 of 3 planned seeds finished, some failed) where n is not the usual one; else empty."""
        if entry.n == self.usual and not entry.cell.failed:
            return ""
        planned = f"/{entry.cell.planned}" if entry.cell.planned > entry.n else ""
        return f"n={entry.n}{planned}" + "!" * bool(entry.cell.failed)

    def dagger(self, entry: Entry) -> str:
        """† for significant against the baseline at alpha, ‡ at alpha / 5, else empty."""
        if not entry.significant or entry.p_holm is None:
            return ""
        return "‡" if entry.p_holm <= self.layout.alpha / STRONGER else "†"

    def rules(self, best: str = "best", close: str = "indistinguishable") -> tuple[str, ...]:
        """What a reader has to know to read the table, as short plain sentences.

        Args:
            best: how the format marks the best mean.
            close: how it marks what is not distinguishable from the best.
        """
        return (
            _spread(self),
            f"Selection rule, the point of its curve at which a run is scored: {self.layout.selection}.",
            *_comparison(self),
            *_marks(self, best, close),
            *sentences(self.claims),
            *_absent(self),
        )


def _spread(table: Table) -> str:
    entries = table.finished
    if not entries:
        return "No run has finished."
    most = max(entry.cell.planned for entry in entries)
    usual = f"n={table.usual} seed{'s' * (table.usual > 1)}"
    usual += f" (up to {most} planned)" if most > max(entry.n for entry in entries) else ""
    marked = {table.count(entry) for entry in entries} - {""}
    notes = ["n=2/3: two of three seeds are there"] * any("/" in mark for mark in marked)
    notes += ["!: a seed failed"] * any("!" in mark for mark in marked)
    notes += ["n=1 has no ± and is not tested"] * (min(entry.n for entry in entries) == 1)
    other = (
        f", or the n in the cell ({'; '.join(notes)})" if marked and notes else ", or the n in the cell" * bool(marked)
    )
    if all(entry.n == 1 for entry in entries):
        return f"{usual} a cell{other}: no ± and no test."
    return f"± is the sample standard deviation over {usual}{other}."


def _comparison(table: Table) -> list[str]:
    layout = table.layout
    if layout.baseline is None:
        return []
    said = [f"Signed numbers are differences of means to {layout.baseline}, taken before rounding."]
    if not any(entry.p is not None for entry in table.finished):
        needed = "two seeds finished on both sides" if layout.test == "paired" else "two finished seeds on each side"
        return [*said, f"No test against {layout.baseline}: it takes {needed}."]
    name = test_name(layout.test)
    test = f"two-sided {name} against {layout.baseline}, Holm-corrected over {_family(table)}"
    said.append(f"† p ≤ {layout.alpha:g}, ‡ p ≤ {layout.alpha / STRONGER:g}: {test}.")
    if layout.test == "paired":
        said.append(pairing(layout.shared))
    if layout.test == "welch" and any(entry.p in (0.0, 1.0) and not entry.std for entry in table.finished):
        said.append("Where no seed differs on either side, p is its limit 0 or 1, which speaks of these seeds alone.")
    if layout.test == "paired" and any(entry.p == 0.0 for entry in table.finished):
        said.append("Where all pairs differ by the same, p is its limit 0, which speaks of these seeds alone.")
    return [*said, *_refusals(table)]


def _refusals(table: Table) -> list[str]:
    """Where no comparison of a family can be significant with so few seeds, with the arithmetic."""
    layout, bases = table.layout, dict[Key, Cell]()
    for entry in table.finished:
        if entry.cell.axes[METHOD] == layout.baseline:
            bases[_group(entry.cell)] = entry.cell
    families: dict[Key, list[tuple[int, ...]]] = {}
    for entry in table.finished:
        if entry.p is not None:
            group = _group(entry.cell)
            family = group if layout.family == "column" else ()
            families.setdefault(family, []).append(sizes(layout.test, entry.cell, bases[group]))
    told: dict[str, list[Key]] = {}
    for family, compared in families.items():
        if why := out_of_reach(layout.test, compared, layout.alpha):
            told.setdefault(why, []).append(family)
    everywhere = sum(map(len, told.values())) == len(families)
    places = {why: "" if everywhere else f" at {_places(table, found)}" for why, found in told.items()}
    return [f"No † can stand{places[why]}: {why}." for why in told]


def _places(table: Table, families: list[Key]) -> str:
    """The families by those of their labels that the title line does not say."""
    axes = [axis for axis in next(iter(table.entries.values())).cell.axes if axis != METHOD]
    shown = [[label for axis, label in zip(axes, key, strict=True) if axis not in table.constant] for key in families]
    return listed(tuple(" / ".join(labels) for labels in shown))


def _group(cell: Cell) -> Key:
    """What the cells that are compared with each other have in common."""
    return tuple(label for axis, label in cell.axes.items() if axis != METHOD)


def _family(table: Table) -> str:
    found: dict[Key, int] = {}
    for entry in table.finished:
        group = _group(entry.cell)
        found[group] = found.get(group, 0) + (entry.p is not None)
    counts = sorted(size for size in found.values() if size)
    if table.layout.family == "table":
        return f"all {sum(counts)} comparisons of the table"
    size = f"{counts[0]}" if counts[0] == counts[-1] else f"{counts[0]} to {counts[-1]}"
    return f"the {size} comparison{'s' * (size != '1')}{_within(table)}"


def _within(table: Table) -> str:
    axes = tuple(axis for axis in table.row_axes + table.column_axes if axis != METHOD)
    return f" within one {listed(axes)}" if axes else ""


def _marks(table: Table, best: str, close: str) -> list[str]:
    if not any(entry.best for entry in table.finished):
        return []
    top = f"{best}: the highest mean{_within(table)}, shared by printed ties"
    if all(entry.n < 2 for entry in table.finished):
        return [f"{top}."]
    test = f"({test_name(table.layout.test)} against it, Holm-corrected, p > {table.layout.alpha:g})"
    if best == close:
        return [f"{top}, and what is not distinguishable from it {test}."]
    return [f"{top}.", f"{close}: not distinguishable from it {test}."]


def _absent(table: Table) -> list[str]:
    words = {table.word(table.entries.get((row, column))) for row in table.rows for column in table.columns}
    said = [f"{MISSING}: no run has finished."] if MISSING in words else []
    said += [f"{FAILED}: every seed that ran failed."] if FAILED in words else []
    return said + [f"[{number}] {reason}" for number, reason in enumerate(table.footnotes, 1)]

"""A sheet for a paper: booktabs with multirow and multicolumn, and a file of macros with a command for each cell."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from bench.notation import listed
from bench.sheets import siunitx
from bench.sheets.document import LONGTABLE, PACKAGES, Block, Part, floating, long
from bench.sheets.fitting import Fit, Shape, fit
from bench.sheets.layout import ANY, SheetLayout
from bench.sheets.sheet import BEST, CLOSE, SECOND, Key, Sheet, Shown, spans
from bench.sheets.tex import breakable, escape, stacked, unprintable
from bench.sheets.widths import DIGIT, Width, in_points, points, small_of, widest, width

LONGEST = 700
"""Characters of a caption; where it would be longer, all but its first sentence stands below the table."""

WIDE = 24
"""Characters of a line of a heading over several columns, at least."""

RULES = 2.5
"""How many lines the rules of a block and the space around them take."""

_BEHIND = {
    "std": r" {{\scriptsize$\pm$ {}}}",
    "delta": r" {{\scriptsize {}}}",
    "mark": "{}",
    "count": r" {{\scriptsize {}}}",
    "sign": " {}",
}
"""What stands behind a number, by the field it is in."""
_ALIGNED_BEHIND = {
    "delta": r" \scriptsize {}",
    "mark": "{}",
    "count": r" \scriptsize {}",
    "sign": r" \normalsize {}",
}
"""The same behind a number that siunitx aligns, which has its ± by itself."""
_DIGITS_BELOW = ("std", "delta")
"""Those with digits, which stand below those of the other rows."""


DAGGERS = "†‡"
"""What may stand at a ±, where a gap to print stands behind it."""

_DIGITS = ("Zero", "One", "Two", "Three", "Four", "Five", "Six", "Seven", "Eight", "Nine")

Escape = Callable[[str], str]


@dataclass(frozen=True)
class LatexColumn:
    """A column's specification, its cells, and LaTeX as wide as its numbers."""

    spec: str
    cells: Sequence[str]
    ruler: str = ""

    @cached_property
    def widest(self) -> str:
        """The widest that stands in it; a ruler is in the place of cells that begin with a number."""
        cells = (cell for cell in self.cells if not self.ruler or cell.startswith("{"))
        return max([self.ruler, *cells], key=in_points)

    @property
    def width(self) -> Width:
        return width(self.widest)


def to_latex(sheet: Sheet, layout: SheetLayout = ANY) -> str:
    r"""A ``table`` environment, or a longtable; the best in bold, spread and differences small.

    It is as wide as the text or less, in letters of ``\scriptsize`` or more where smaller ones are not asked for:
    columns that do not fit stand in blocks, one below the other.
    """
    columns = [LatexColumn("r", _padded(column, sheet, _escaped(sheet, layout))) for column in _columns(sheet)]
    return _Writer(sheet, layout, sheet.emphasis(), columns).table()


def to_siunitx(sheet: Sheet, layout: SheetLayout = ANY) -> str:
    """As ``to_latex`` with siunitx's S columns; signs take the place of underlining, which cannot be aligned."""
    signs = {BEST: "Bold" if sheet.by_means else "●", CLOSE: "Bold", SECOND: "◇"}
    write, columns = _escaped(sheet, layout), list[LatexColumn]()
    for column in _columns(sheet):
        spec, cells = siunitx.columns([_of_siunitx(cell, sheet, write) for cell in column])
        columns.append(LatexColumn(spec, cells, siunitx.ruler(spec)))
    return _Writer(sheet, layout, signs, columns, (siunitx.PACKAGE,), siunitx.SETUP).table()


def _columns(sheet: Sheet) -> Iterator[tuple[Shown, ...]]:
    return zip(*sheet.cells, strict=True)


def _is_unicode(sheet: Sheet, layout: SheetLayout) -> bool:
    """Whether it takes another engine than pdflatex to print a sheet as it is."""
    return layout.standalone and bool(unprintable(sheet.texts()))


def _escaped(sheet: Sheet, layout: SheetLayout) -> Escape:
    """What writes the texts of a sheet as LaTeX."""
    unicode = _is_unicode(sheet, layout)
    return lambda text: escape(text, unicode)


@dataclass(frozen=True)
class _Writer:
    """Writes one sheet, whose columns are LaTeX already."""

    sheet: Sheet
    layout: SheetLayout
    signs: Mapping[str, str]
    columns: Sequence[LatexColumn]
    packages: tuple[str, ...] = ()
    setup: tuple[str, ...] = ()

    def table(self) -> str:
        """The environment, with what it needs."""
        is_long = self.fit.is_long
        needed = (*PACKAGES, *([LONGTABLE] if is_long else []), *self.packages)
        engine = "lualatex or xelatex, with " if self.is_unicode else ""
        lines = (long if is_long else floating)(self.part(), self.fit)
        signed = [f"% signature: {signature}" for signature in self.sheet.signatures]
        return "\n".join([f"% needs {engine}{listed(needed)}", *signed, *lines]) + "\n"

    @cached_property
    def is_unicode(self) -> bool:
        return _is_unicode(self.sheet, self.layout)

    @cached_property
    def fit(self) -> Fit:
        return fit(self.shape(), self.layout)

    @cached_property
    def caption(self) -> tuple[str, str]:
        """The caption, and what stands below the table where all together would be long, as they are read."""
        title, *notes = [f"{line.rstrip('.')}." for line in (self.sheet.title, *self.sheet.sentences(self.signs))]
        if len(title) + sum(map(len, notes)) > LONGEST:
            return title, " ".join(notes)
        return " ".join([title, *notes]), ""

    def escape(self, text: str) -> str:
        return escape(text, self.is_unicode)

    def text(self, text: str) -> str:
        """Text that is set in lines."""
        return breakable(text, self.is_unicode)

    def part(self) -> Part:
        """What the environment is made of."""
        caption, below = map(self.text, self.caption)
        label = self.layout.label or f"tab:{re.sub(r'[^A-Za-z0-9]+', '-', self.sheet.name)}"
        blocks = [self.block(places) for places in self.fit.blocks]
        return Part(caption, below, label, self.setup, tuple(blocks), "*" if self.layout.fit == "page" else "")

    def block(self, places: Sequence[int]) -> Block:
        """Some of the columns with the labels of the rows beside them."""
        block = replace(self.sheet, columns=tuple(self.sheet.columns[at] for at in places))
        stub = (rf"p{{{taken:.1f}pt}}" if taken else "l" for taken in self.fit.paragraphs)
        spec = "".join([*stub, *(self.columns[at].spec for at in places)])
        rows = list(zip(*(self.columns[at].cells for at in places), strict=True))
        return Block(
            spec=self.sized(f"@{{}}{spec}@{{}}"),
            columns=len(block.stub) + len(places),
            ruler=self.sized(" & ".join(self.rulers(places))),
            head=tuple(self.head(block, places)),
            rows=tuple(map(self.sized, self.body(block, rows))),
        )

    def rulers(self, places: Sequence[int]) -> Iterator[str]:
        """The widest that stands in each column of a block."""
        for level, labels in enumerate(zip(self.sheet.stub, *self.sheet.rows, strict=True)):
            texts = [""] if self.fit.paragraphs[level] else [self.escape(label) for label in labels]
            yield max(texts, key=in_points)
        innermost = len(self.sheet.columns[0]) - 1
        for at in places:
            inside = (self.columns[at].widest, self.heading(at, innermost))
            yield rf"\multicolumn{{1}}{{c}}{{{max(inside, key=in_points)}}}"

    def sized(self, line: str) -> str:
        """Cells whose changes of size fit the size of the table."""
        size = self.fit.size
        return line.replace(r"\normalsize", rf"\{size}").replace(r"\scriptsize", rf"\{small_of(size)}")

    def head(self, block: Sheet, places: Sequence[int]) -> Iterator[str]:
        depth, first = len(block.columns[0]), len(block.stub) + 1
        for level in range(depth):
            innermost = level == depth - 1
            cells = [self.label(name, at) if innermost else "" for at, name in enumerate(block.stub)]
            rules = list[str]()
            for span in spans(block.columns, level):
                label = self.heading(places[span.start], level)
                stands = span.count > 1 or span.label
                cells.append(rf"\multicolumn{{{span.count}}}{{c}}{{{label}}}" if stands else "")
                if span.label and not innermost:
                    rules.append(rf"\cmidrule(lr){{{first + span.start}-{first + span.start + span.count - 1}}}")
            yield " & ".join(cells) + r" \\"
            if rules:
                yield " ".join(rules)

    def heading(self, at: int, level: int) -> str:
        """A label of a column, in lines where it is wider than the numbers below it and there is no room."""
        lines = self.lines(at, level) if self.fit.stacked else [self.escape(self.sheet.columns[at][level])]
        text = r"\\".join(lines)
        return rf"\shortstack{{{text}}}" if len(lines) > 1 else text

    def lines(self, at: int, level: int) -> list[str]:
        """The lines of a label of a column; one over several columns has more room."""
        characters = int(points(self.columns[at].width, "normalsize") / DIGIT)
        if level < len(self.sheet.columns[at]) - 1:
            characters = max(characters, WIDE)
        return [self.escape(line) for line in stacked(self.sheet.columns[at][level], characters)]

    def body(self, block: Sheet, rows: Sequence[Sequence[str]]) -> Iterator[str]:
        starts = [{span.start: span for span in spans(block.rows, level)} for level in range(len(block.stub))]
        previous = starts[0][0]
        for number, cells in enumerate(rows):
            group = starts[0].get(number, previous)
            if group is not previous and max(group.count, previous.count) > 1:
                yield r"\midrule"
            labels = []
            for level, begun in enumerate(starts):
                span = begun.get(number)
                labels.append(self.label(span.label, level, span.count) if span else "")
            yield " & ".join([*labels, *cells]) + r" \\"
            previous = group

    def label(self, label: str, level: int, count: int = 1) -> str:
        """A label of rows; over several of them in their middle, where a page cannot end among them."""
        if self.fit.paragraphs[level]:
            return rf"\raggedright {self.text(label)}"
        text = self.escape(label)
        return rf"\multirow{{{count}}}{{*}}{{{text}}}" if count > 1 and not self.fit.is_long else text

    def shape(self) -> Shape:
        """What the fit of the sheet depends on."""
        keys, stub = self.sheet.columns, zip(self.sheet.stub, *self.sheet.rows, strict=True)
        groups = _groups(keys)
        return Shape(
            stub=tuple(tuple(width(self.escape(label)) for label in level) for level in stub),
            numbers=tuple(column.width for column in self.columns),
            heads=tuple(self.width(at, [len(keys[at]) - 1]) for at in range(len(keys))),
            groups=tuple(groups),
            above=tuple(self.width(group[0], range(len(keys[0]) - 1)) for group in groups),
            lines=len(keys[0]) + RULES,
            caption=len(self.caption[0]),
            below=len(self.caption[1]),
        )

    def width(self, at: int, levels: Sequence[int]) -> tuple[Width, Width]:
        """How wide some labels of a column are on one line, and in several."""
        lines = [line for level in levels for line in self.lines(at, level)]
        return widest(self.escape(self.sheet.columns[at][level]) for level in levels), widest(lines)


def _groups(keys: Sequence[Key]) -> list[tuple[int, ...]]:
    """Neighbours among columns that share all labels but their innermost one."""
    groups: list[tuple[int, ...]] = []
    for at, key in enumerate(keys):
        if groups and key[:-1] and key[:-1] == keys[at - 1][:-1]:
            groups[-1] += (at,)
        else:
            groups.append((at,))
    return groups


def to_macros(sheet: Sheet) -> str:
    r"""A ``\newcommand`` for each value, ± and difference, to be used in prose: ``\gtaTableTwoCUBGTAFifteen``."""
    lines, used = [f"% {escape(sheet.title)}"], set[str]()
    for label, cells in zip(sheet.rows, sheet.cells, strict=True):
        for column, cell in zip(sheet.columns, cells, strict=True):
            name = _macro_name(sheet.name, label, column)
            while name in used:
                name += "X"
            used.add(name)
            texts = (("", cell.value), ("Std", cell.std.rstrip(DAGGERS)), ("Delta", cell.delta))
            for suffix, text in texts:
                if text:
                    lines.append(rf"\newcommand{{\{name}{suffix}}}{{{escape(text)}}}")
    return "\n".join(lines) + "\n"


def _padded(column: Sequence[Shown], sheet: Sheet, write: Escape) -> list[str]:
    """The cells of a column; what some of its numbers have behind them is left free behind the others."""
    numbers = [cell for cell in column if not cell.is_word]
    room = {name: max((getattr(cell, name) for cell in numbers), key=len, default="") for name in _BEHIND}
    return [_cell(cell, room, sheet, write) for cell in column]


def _cell(cell: Shown, room: Mapping[str, str], sheet: Sheet, write: Escape) -> str:
    if cell.is_word or not cell.value:
        return rf"\multicolumn{{1}}{{c}}{{{write(cell.value)}}}" if cell.value else ""
    latex = write(cell.value)
    if sheet.is_bold(cell):
        latex = rf"\textbf{{{latex}}}"
    if sheet.is_underlined(cell):
        latex = rf"\underline{{{latex}}}"
    for name, template in _BEHIND.items():
        content = getattr(cell, name)
        digits = "0" * (len(room[name]) - len(content)) if name in _DIGITS_BELOW else ""
        text = template.format(write(content or room[name]))
        if content:
            text = template.format(rf"\hphantom{{{digits}}}{write(content)}") if digits else text
            latex += text
        elif room[name]:
            latex += rf"\hphantom{{{text}}}"
    return latex


def _of_siunitx(cell: Shown, sheet: Sheet, write: Escape) -> siunitx.Aligned | str:
    """A cell for a column of numbers; what is printed behind the number, as the star of 93.5*, follows it."""
    bare = cell.value.rstrip("*†‡")
    value = siunitx.plain(bare)
    if cell.is_word or not value:
        return write(cell.value)
    behind = write(cell.value[len(bare) :])
    if sheet.is_underlined(cell):
        behind += siunitx.SECOND if cell.look == SECOND else siunitx.BEST
    behind += "".join(
        template.format(write(getattr(cell, name))) for name, template in _ALIGNED_BEHIND.items() if getattr(cell, name)
    )
    std = cell.std.rstrip(DAGGERS)
    return siunitx.Aligned(value, std, write(cell.std[len(std) :]) + behind, sheet.is_bold(cell))


def _macro_name(name: str, row: Key, column: Key) -> str:
    """Letters only, as TeX wants it: digits as words, everything else a word boundary."""
    text = " ".join((name, *row, *column)).replace("%", " percent ")
    text = "".join(f" {_DIGITS[int(char)]} " if char.isdigit() and char.isascii() else char for char in text)
    words = re.findall(r"[A-Za-z]+", text)
    return "".join([words[0].lower(), *(word[0].upper() + word[1:] for word in words[1:])])

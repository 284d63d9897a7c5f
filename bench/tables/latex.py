"""A table for a paper: booktabs, with every rule in the caption; its columns aligned by padding or by siunitx."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Sequence
from itertools import groupby

from bench.tables import siunitx
from bench.tables.notation import fixed, one_line, signed
from bench.tables.table import Entry, Key, Table

# "[" and "*" would be read as arguments of the "\\" that ends the row above
SPECIAL = {
    **{character: "\\" + character for character in "%&#$_{}"},
    "\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "`": r"\textasciigrave{}",
    "<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}", '"': "''", "[": "{[}", "*": "{*}",
    "–": "--", "—": "---", "−": "$-$", "±": r"$\pm$", "×": r"$\times$", "·": r"$\cdot$", "→": r"$\to$",
    "≤": r"$\leq$", "≥": r"$\geq$", "†": r"$^{\dagger}$", "‡": r"$^{\ddagger}$", "α": r"$\alpha$", "β": r"$\beta$",
    "γ": r"$\gamma$", "δ": r"$\delta$", "ε": r"$\epsilon$", "η": r"$\eta$", "λ": r"$\lambda$", "μ": r"$\mu$",
    "σ": r"$\sigma$", "τ": r"$\tau$", "²": "$^2$", "✓": r"$\surd$", "ℓ": r"$\ell$", "↑": r"$\uparrow$",
    "↓": r"$\downarrow$", "≈": r"$\approx$", "≠": r"$\neq$", "●": r"$\bullet$", "○": r"$\circ$",
    "◇": r"$\diamond$",
}  # fmt: skip


def to_latex(table: Table) -> str:
    """A ``table`` environment; bold is not distinguishable from the best mean, which is underlined."""
    cells = [_column(table, column) for column in table.columns]
    rules = table.rules("Underlined", "Bold")
    packages = r"\usepackage{booktabs} and \usepackage{multirow}"
    return _environment(table, packages, (), rules, "r" * len(cells), cells)


def to_siunitx(table: Table) -> str:
    """As ``to_latex`` with siunitx's S columns; a bullet marks the best mean, as what is underlined is not aligned."""
    found = [siunitx.columns(_of_siunitx(table, column)) for column in table.columns]
    spec, cells = "".join(spec for spec, _ in found), [cells for _, cells in found]
    packages = rf"\usepackage{{booktabs}}, \usepackage{{multirow}} and {siunitx.PACKAGE}"
    return _environment(table, packages, siunitx.SETUP, table.rules("●", "Bold"), spec, cells)


def _environment(
    table: Table,
    packages: str,
    setup: Sequence[str],
    rules: Sequence[str],
    spec: str,
    cells: Sequence[Sequence[str]],
) -> str:
    caption = " ".join(f"{line.rstrip('.')}." for line in (table.heading, *rules))
    return "\n".join(
        [
            rf"% needs {packages}",
            r"\begin{table}",
            *setup,
            r"\centering",
            rf"\caption{{{escape(caption)}}}",
            r"\smallskip",
            rf"\begin{{tabular}}{{{'l' * len(table.row_axes)}{spec}}}",
            r"\toprule",
            *_head(table),
            r"\midrule",
            *_body(table, cells),
            r"\bottomrule",
            r"\end{tabular}",
            r"\end{table}",
            "",
        ]
    )


def escape(label: str) -> str:
    """A label as LaTeX that prints it, wherever it stands; symbols of mathematics and Greek go through math mode."""
    return "".join(map(_written, one_line(label)))


def _written(character: str) -> str:
    """A character as pdflatex knows it; one that it does not know by its nearest kin, or else by its number."""
    if character in SPECIAL or character < "\u0180":
        return SPECIAL.get(character, character)
    kin = unicodedata.normalize("NFKD", character)
    return "".join(SPECIAL.get(part, part if part.isascii() else f"(U+{ord(part):04X})") for part in kin)


def _head(table: Table) -> Iterator[str]:
    """A line for each column axis, a rule below every label of an outer one."""
    names = [escape(axis) for axis in table.row_axes]
    for level in range(len(table.column_axes) - 1):
        labels, rules, at = [""] * len(names), [], len(names) + 1
        for key, group in groupby(column[: level + 1] for column in table.columns):
            span = len(list(group))
            labels.append(rf"\multicolumn{{{span}}}{{c}}{{{escape(key[-1])}}}")
            rules.append(rf"\cmidrule(lr){{{at}-{at + span - 1}}}")
            at += span
        yield _line(labels)
        yield " ".join(rules)
    inner = [column[-1] if column else table.layout.metric for column in table.columns]
    yield _line([*names, *(_centred(escape(label)) for label in inner)])


def _body(table: Table, cells: Sequence[Sequence[str]]) -> Iterator[str]:
    before: Key = ()
    for i, row in enumerate(table.rows):
        fresh = next((k for k, label in enumerate(row) if before[k : k + 1] != (label,)), len(row))
        if before and fresh < len(row) - 1:
            yield rf"\cmidrule(lr){{{fresh + 1}-{len(row) + len(table.columns)}}}" if fresh else r"\midrule"
        labels = [_label(table, row, k) if k >= fresh else "" for k in range(len(row))]
        yield _line([*labels, *(column[i] for column in cells)])
        before = row


def _label(table: Table, row: Key, level: int) -> str:
    span = sum(other[: level + 1] == row[: level + 1] for other in table.rows)
    label = escape(row[level])
    return rf"\multirow{{{span}}}{{*}}{{{label}}}" if span > 1 else label


def _column(table: Table, column: Key) -> list[str]:
    entries = [table.entries.get((row, column)) for row in table.rows]
    numbers = [entry for entry in entries if entry is not None and table.word(entry) is None]
    cells = iter(_numbers(table, numbers))
    return [_centred(escape(word)) if (word := table.word(entry)) else next(cells) for entry in entries]


def _numbers(table: Table, entries: Sequence[Entry]) -> list[str]:
    """Entries with a number, each part as wide as the widest of its column, so that digits stand below digits."""
    digits = table.layout.decimals
    stds = ["" if e.std is None else fixed(e.std, digits) for e in entries]
    deltas = ["" if e.delta is None else signed(e.delta, digits) for e in entries]
    parts = [
        [_mean(entry, digits) for entry in entries],
        _aligned(stds, r" {\scriptsize $\pm$ @}"),
        _aligned(deltas, r" {\scriptsize @}"),
        _aligned([table.dagger(entry) for entry in entries], "@"),
        _aligned([table.count(entry) for entry in entries], r" {\scriptsize @}"),
    ]
    return ["".join(cell) for cell in zip(*parts, strict=True)]


def _of_siunitx(table: Table, column: Key) -> list[siunitx.Number | str]:
    digits, found = table.layout.decimals, list[siunitx.Number | str]()
    for row in table.rows:
        entry = table.entries.get((row, column))
        word = table.word(entry)
        if entry is None or entry.mean is None or word is not None:
            found.append(escape(word or ""))
            continue
        count = table.count(entry)
        after = siunitx.BEST * entry.best
        after += "" if entry.delta is None else rf" \scriptsize {escape(signed(entry.delta, digits))}"
        after += escape(table.dagger(entry)) + (rf" \scriptsize {escape(count)}" if count else "")
        std = "" if entry.std is None else fixed(entry.std, digits)
        found.append(siunitx.Number(fixed(entry.mean, digits), std, after, entry.indistinguishable))
    return found


def _mean(entry: Entry, digits: int) -> str:
    value = escape(fixed(entry.mean or 0.0, digits))
    value = rf"\textbf{{{value}}}" if entry.indistinguishable else value
    return rf"\underline{{{value}}}" if entry.best else value


def _aligned(texts: list[str], template: str) -> list[str]:
    widest = max(texts, key=len, default="")
    absent = rf"\hphantom{{{template.replace('@', escape(widest))}}}" if widest else ""
    pads = [rf"\hphantom{{{'0' * (len(widest) - len(text))}}}" if len(text) < len(widest) else "" for text in texts]
    return [template.replace("@", p + escape(t)) if t else absent for p, t in zip(pads, texts, strict=True)]


def _centred(label: str) -> str:
    return rf"\multicolumn{{1}}{{c}}{{{label}}}"


def _line(parts: list[str]) -> str:
    return " & ".join(parts) + r" \\"

"""What marks the best and the second best of a sheet, in every format that has marks, and that a note says so."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from bench.sheets import FORMATS, Sheet, Shown, render_sheet
from bench.tables import Cell, Layout, compare, render

CELLS = ((Shown("81.0", rank=1),), (Shown("80.0", rank=2),), (Shown("70.0"),))
SHEET = Sheet("a/b", "title", ("m",), (("x",),), (("r",), ("s",), ("t",)), CELLS)
UNTESTED = "by their means alone; no test stands behind either."


@pytest.mark.parametrize(
    ("format", "best", "second", "note"),
    [
        ("text", "● 81.0", "◇ 80.0", "●: the best, ◇: the second best"),
        ("markdown", "**81.0**", "<u>80.0</u>", "Bold: the best, underlined: the second best"),
        ("html", "<b>81.0</b>", "<u>80.0</u>", "Bold: the best, underlined: the second best"),
        ("latex", r"\textbf{81.0}", r"\underline{80.0}", "Bold: the best, underlined: the second best"),
        ("latex-siunitx", r"\bfseries 81.0", r"$^{\diamond}$", r"Bold: the best, $\diamond$: the second best"),
    ],
)
def test_marks_are_explained_in_every_format_that_has_them(format: str, best: str, second: str, note: str) -> None:
    text = render_sheet(SHEET, format, 120)
    assert best in text
    assert second in text
    assert f"{note}, {UNTESTED}" in text
    unranked = replace(SHEET, cells=tuple(tuple(replace(cell, rank=0) for cell in row) for row in CELLS))
    assert UNTESTED not in render_sheet(unranked, format, 120)


@pytest.mark.parametrize("format", FORMATS)
def test_the_open_circle_of_tested_tables_stands_in_no_sheet(format: str) -> None:
    assert not re.search(r"○|\\circ", render_sheet(SHEET, format, 120))


def test_the_diamond_of_sheets_stands_in_no_tested_table() -> None:
    cells = [Cell({"rate": "15 %", "method": m}, v, 2) for m, v in (("CE", (80.0, 81.0)), ("GTA", (80.5, 81.5)))]
    table = compare(cells, Layout("t", ("method",), ("rate",), "CE"))
    text = render(table, "text", 100)
    assert "○ 80.5 ± 0.7" in text
    assert "○: not distinguishable from it" in " ".join(text.split())
    assert "◇" not in text
    assert "diamond" not in render(table, "latex-siunitx")

"""A sheet as LaTeX: digits below digits, wide tables in blocks, long notes below the table."""

from __future__ import annotations

import re

import pytest

from bench.registry import Registry
from bench.sheets.formats import render_sheet
from bench.sheets.sheet import Sheet, Shown
from tests.scenes import published_sheet


def sheet(columns: int, rows: int = 2, notes: tuple[str, ...] = ()) -> Sheet:
    keys = tuple((f"d{at // 2}", ("published", "ours")[at % 2]) for at in range(columns))
    cells = tuple(tuple(Shown("81.25", "0.31", "+1.04") for _ in keys) for _ in range(rows))
    return Sheet("a/b", "title", ("method",), keys, tuple((f"method {i}",) for i in range(rows)), cells, notes)


def blocks(text: str) -> list[str]:
    return re.findall(r"\\begin\{tabular\}\{(l[rcS].*)\}", text)


def test_what_some_numbers_have_behind_them_is_left_free_behind_others() -> None:
    cells = ((Shown("83.2"),), (Shown("83.8", delta="(+1.0)"),), (Shown("–"),), (Shown(""),))
    rows = tuple((str(i),) for i in range(4))
    lines = render_sheet(Sheet("a/b", "t", ("m",), (("x",),), rows, cells), "latex").splitlines()
    room = r"\hphantom{ {\scriptsize (+1.0)}}"
    assert f"0 & 83.2{room} \\\\" in lines
    assert r"1 & 83.8 {\scriptsize (+1.0)} \\" in lines
    assert f"2 & --{room} \\\\" in lines
    assert r"3 &  \\" in lines


@pytest.mark.parametrize(("columns", "expected"), [(2, [2]), (6, [6]), (20, [8, 8, 4])])
def test_columns_that_would_be_too_small_stand_in_blocks(columns: int, expected: list[int]) -> None:
    assert [len(spec) - 1 for spec in blocks(render_sheet(sheet(columns), "latex"))] == expected


def test_columns_that_share_a_label_stay_in_one_block() -> None:
    text = render_sheet(sheet(22), "latex")
    widths = [len(spec) - 1 for spec in blocks(text)]
    assert sum(widths) == 22
    assert all(width % 2 == 0 for width in widths)
    assert text.count("method 1 &") == len(widths)  # the labels stand beside every block


def test_a_tall_table_is_not_made_taller_than_a_page() -> None:
    assert len(blocks(render_sheet(sheet(20, rows=60), "latex"))) == 1


def test_short_notes_are_in_the_caption_and_long_ones_below() -> None:
    short = render_sheet(sheet(2, notes=("a note",)), "latex")
    assert r"\caption{title. a note.}" in short
    assert "parbox" not in short
    long = render_sheet(sheet(2, notes=("a note", "b " * 400)), "latex")
    assert r"\caption{title.}" in long
    assert r"\end{adjustbox}" + "\n" + r"\par\smallskip\parbox{\textwidth}{\footnotesize a note. b b" in long


def test_coins_table_2_stands_in_two_blocks_as_in_print() -> None:
    text = render_sheet(published_sheet("coin/table2"), "latex")
    assert [len(spec) - 1 for spec in blocks(text)] == [10, 10]


def test_every_cell_of_every_table_is_written_once() -> None:
    for name in Registry().table_files:
        published = published_sheet(name)
        body = render_sheet(published, "latex")
        lines = [line for line in body.splitlines() if line.endswith(r"\\") and not line.startswith(r"\\")]
        parts = len(blocks(body)) or 1
        depth = len(published.columns[0])
        assert len(lines) == parts * (len(published.rows) + depth), name

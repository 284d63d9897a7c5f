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
    """The specification of each block, without the space at its edges."""
    return re.findall(r"\\begin\{(?:tabular|longtable)\}\{@\{\}([lp].*[rcS\]])@\{\}\}", text)


def test_what_some_numbers_have_behind_them_is_left_free_behind_others() -> None:
    cells = ((Shown("83.2"),), (Shown("83.8", delta="(+1.0)"),), (Shown("–"),), (Shown(""),))
    rows = tuple((str(i),) for i in range(4))
    lines = render_sheet(Sheet("a/b", "t", ("m",), (("x",),), rows, cells), "latex").splitlines()
    room = r"\hphantom{ {\scriptsize (+1.0)}}"
    assert f"0 & 83.2{room} \\\\" in lines
    assert r"1 & 83.8 {\scriptsize (+1.0)} \\" in lines
    assert f"2 & --{room} \\\\" in lines
    assert r"3 &  \\" in lines


@pytest.mark.parametrize(("columns", "expected"), [(2, [2]), (4, [4]), (20, [4, 4, 4, 4, 4])])
def test_columns_that_would_be_too_small_stand_in_blocks(columns: int, expected: list[int]) -> None:
    assert [len(spec) - 1 for spec in blocks(render_sheet(sheet(columns), "latex"))] == expected


def test_columns_that_share_a_label_stay_in_one_block() -> None:
    text = render_sheet(sheet(22), "latex")
    widths = [len(spec) - 1 for spec in blocks(text)]
    assert sum(widths) == 22
    assert all(width % 2 == 0 for width in widths)
    assert text.count("method 1 &") == len(widths)  # the labels stand beside every block


def test_what_no_page_holds_goes_on_from_page_to_page_with_its_header() -> None:
    for columns, rows, parts in ((2, 30, 1), (2, 70, 1), (20, 30, 5)):
        text = render_sheet(sheet(columns, rows), "latex")
        is_long = (columns, rows) != (2, 30)
        assert text.count(r"\begin{longtable}") == parts * is_long
        assert text.count(r"\begin{table}") == 1 - is_long
        assert text.count(r"\thetable{} (continued)") == text.count(r"\endhead") == parts * is_long
        assert text.count(r"\caption{") == text.count(r"\label{tab:a-b}") == 1
        assert len(blocks(text)) == parts


def test_short_notes_are_in_the_caption_and_long_ones_below() -> None:
    short = render_sheet(sheet(2, notes=("a note",)), "latex")
    assert r"\caption{title. a note.}" in short
    assert "parbox" not in short
    long = render_sheet(sheet(2, notes=("a note", "b " * 400)), "latex")
    assert r"\caption{title.}" in long
    assert r"\end{adjustbox}" + "\n" + r"\par\smallskip\noindent\parbox{\linewidth}{\footnotesize a note. b b" in long


def test_coins_table_2_stands_in_two_blocks_as_in_print() -> None:
    text = render_sheet(published_sheet("coin/table2"), "latex")
    assert [len(spec) - 1 for spec in blocks(text)] == [10, 10]


@pytest.mark.slow
def test_every_cell_of_every_table_is_written_once() -> None:
    for name in Registry().table_files:
        published = published_sheet(name)
        body = render_sheet(published, "latex")
        lines = [line for line in body.splitlines() if line.endswith(r"\\") and not line.startswith(r"\\")]
        parts = len(blocks(body)) or 1
        depth = len(published.columns[0])
        assert len(lines) == parts * (len(published.rows) + depth), name


def test_digits_stand_below_digits_where_differences_have_more_or_fewer_of_them() -> None:
    cells = ((Shown("70.2", "0.7", "+9.9"),), (Shown("80.4", "10.2", "+20.1"),))
    lines = render_sheet(Sheet("a/b", "t", ("m",), (("x",),), (("r",), ("s",)), cells), "latex").splitlines()
    assert r"r & 70.2 {\scriptsize$\pm$ \hphantom{0}0.7} {\scriptsize \hphantom{0}+9.9} \\" in lines
    assert r"s & 80.4 {\scriptsize$\pm$ 10.2} {\scriptsize +20.1} \\" in lines


def test_labels_of_rows_that_take_too_much_are_broken_into_lines() -> None:
    labels = (("vit_small_patch16_224.augreg_in21k_ft_in1k " * 2,), ("short",))
    cells = tuple(tuple(Shown("81.25", "0.31", "+1.04") for _ in range(3)) for _ in labels)
    text = render_sheet(Sheet("a/b", "t", ("m",), (("x",), ("y",), ("z",)), labels, cells), "latex")
    (spec,) = blocks(text)
    assert re.fullmatch(r"p\{\d+\.\dpt\}rrr", spec)
    assert r"\raggedright vit\allowbreak{}\_\allowbreak{}small\allowbreak{}\_" in text
    assert r"\raggedright short & " in text


def test_headings_wider_than_their_numbers_are_broken_into_lines_where_there_is_no_room() -> None:
    def headed(columns: int) -> str:
        keys = tuple((f"Fine-tune (baseline) {at}",) for at in range(columns))
        row = tuple(Shown("81.25") for _ in keys)
        return render_sheet(Sheet("a/b", "t", ("m",), keys, (("r",),), (row,)), "latex")

    assert r"\multicolumn{1}{c}{Fine-tune (baseline) 0}" in headed(2)
    assert r"\multicolumn{1}{c}{\shortstack{Fine-tune\\(baseline)\\0}}" in headed(6)

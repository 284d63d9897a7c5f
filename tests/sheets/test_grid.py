"""Columns of text: as wide as what stands in them, whatever a terminal takes for a character."""

from __future__ import annotations

import pytest

from bench.sheets.grid import grid, pipes


def test_each_column_is_as_wide_as_what_stands_in_it() -> None:
    lines = grid([["ce", "81.25", "a"], ["attention only", "9.5", ""]], ["method", "top-1", "x"], [False, True, False])
    assert lines.splitlines() == [
        "method            top-1  x",
        "--------------  -------  ---",
        "ce                81.25  a",
        "attention only      9.5",
    ]


def test_cells_and_heads_of_several_lines() -> None:
    lines = grid([["81.2\n +0.3", "b"], ["", ""], ["c", "79.0\n −1.9"]], ["15 %\ntop-1", "30 %\ntop-1"])
    assert lines.splitlines() == [
        "15 %     30 %",
        "top-1    top-1",
        "-------  -------",
        "81.2     b",
        " +0.3",
        "",
        "c        79.0",
        "          −1.9",
    ]


def test_without_rows_its_heads_stand_alone() -> None:
    assert grid([], ["a", "bc"]).splitlines() == ["a    bc", "---  ----"]


@pytest.mark.parametrize(
    ("text", "width"), [("abc", 3), ("é", 1), ("e\u0301", 1), ("日本", 4), ("a\u200db", 2), ("±●", 2)]
)
def test_as_many_columns_as_a_terminal_takes(text: str, width: int) -> None:
    (line,) = grid([["x" * 9, text]], ["a", ""], [False, True]).splitlines()[2:]
    assert line == f"{'x' * 9}  {' ' * (max(width, 2) - width)}{text}"


def test_of_markdown_the_sides_are_told_by_colons() -> None:
    assert pipes([["ce", "1"]], ["a", "top-1"], [False, True]).splitlines() == [
        "| a   |   top-1 |",
        "|:----|--------:|",
        "| ce  |       1 |",
    ]

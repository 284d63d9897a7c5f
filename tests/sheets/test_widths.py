"""Widths of Computer Modern, against those of its metric files (cmr10.tfm and its smaller fonts)."""

from __future__ import annotations

import pytest

from bench.sheets.fitting import PAGE, Fit, Shape, fit
from bench.sheets.layout import SheetLayout
from bench.sheets.widths import points, width


@pytest.mark.parametrize(
    ("latex", "size", "expected"),
    [
        ("0", "normalsize", 5.0),
        ("81.2", "normalsize", 17.78),
        ("81.2", "footnotesize", 15.11),
        ("81.2", "scriptsize", 14.22),
        ("81.2", "tiny", 12.22),
        (r"\textbf{81.2}", "normalsize", 20.44),
        (r"\textbf{81.2}81.2", "normalsize", 38.22),
        ("Attention only", "normalsize", 63.34),
        (r"$-$0.5", "normalsize", 20.56),
        (r"81.2 {\scriptsize$\pm$ 0.7}", "normalsize", 41.0),
        (r"81.2\hphantom{ {\scriptsize +1.0}}", "normalsize", 37.5),
        (r"\multicolumn{1}{c}{15 \%}", "normalsize", 21.66),
        ("", "normalsize", 0.0),
    ],
)
def test_of_text_within_three_percent(latex: str, size: str, expected: float) -> None:
    assert points(width(latex), size) == pytest.approx(expected, rel=0.03)


def shape(columns: int, rows: int, numbers: float = 50.0) -> Shape:
    """Columns of so many points below short headings, beside labels of 40 points."""
    return Shape(
        stub=(((40.0, 0.0),) * (rows + 1),),
        numbers=((numbers, 0.0),) * columns,
        heads=(((10.0, 0.0), (10.0, 0.0)),) * columns,
        groups=tuple((at,) for at in range(columns)),
        above=(((0.0, 0.0), (0.0, 0.0)),) * columns,
        lines=3.5,
        caption=200,
        below=0,
    )


def told(found: Fit) -> tuple[str, list[int], bool]:
    return found.size, [len(block) for block in found.blocks], found.is_long


@pytest.mark.parametrize(
    ("columns", "rows", "expected"),
    [
        (4, 6, ("normalsize", [4], False)),  # 40 + 4 (50 + 12) = 288 points of 345
        (5, 6, ("small", [5], False)),  # 0.925 · 290 + 5 · 10 = 318
        (6, 6, ("footnotesize", [6], False)),  # 0.85 · 340 + 6 · 8 = 337
        (7, 6, ("scriptsize", [7], False)),  # 0.797 · 390 + 7 · 6 = 353, which adjustbox shrinks by 2 %
        (8, 6, ("normalsize", [4, 4], False)),
        (12, 8, ("footnotesize", [6, 6], False)),
    ],
)
def test_blocks_are_few_and_then_letters_large(columns: int, rows: int, expected: tuple[str, list[int], bool]) -> None:
    assert told(fit(shape(columns, rows), SheetLayout())) == expected


def test_letters_become_smaller_before_a_page_is_too_short() -> None:
    assert told(fit(shape(2, 35), SheetLayout())) == ("normalsize", [2], False)
    assert told(fit(shape(2, 45), SheetLayout())) == ("footnotesize", [2], False)
    assert told(fit(shape(2, 80), SheetLayout())) == ("normalsize", [2], True)
    found = fit(shape(2, 45), SheetLayout())
    assert shape(2, 45).height(found, 345.0) <= PAGE


def test_a_column_of_a_paper_in_two_has_less_room_and_its_page_more() -> None:
    assert told(fit(shape(4, 6), SheetLayout(fit="column"))) == ("scriptsize", [4], False)
    assert told(fit(shape(6, 6), SheetLayout(fit="page"))) == ("normalsize", [6], False)
    assert told(fit(shape(4, 6), SheetLayout(font_size="footnotesize"))) == ("footnotesize", [4], False)
    assert told(fit(shape(8, 6), SheetLayout(columns_per_block=3)))[1] == [3, 3, 2]


def test_columns_that_share_a_label_are_parted_only_where_they_must() -> None:
    few = shape(8, 6)
    pairs = Shape(**{**vars(few), "groups": ((0, 1, 2), (3, 4, 5), (6, 7)), "above": few.above[:3]})
    assert fit(pairs, SheetLayout()).blocks == ((0, 1, 2), (3, 4, 5, 6, 7))
    one = Shape(**{**vars(few), "groups": (tuple(range(8)),), "above": few.above[:1]})
    assert [len(block) for block in fit(one, SheetLayout()).blocks] == [4, 4]

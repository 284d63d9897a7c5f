"""Columns for siunitx: formats that fit the numbers, everything else in braces."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.sheets.formats import render_sheet
from bench.sheets.sheet import Sheet, Shown
from bench.sheets.siunitx import Aligned, columns, plain
from bench.sheets.view import render
from tests.tables.laid import Layout, Measured, laid


@pytest.mark.parametrize(
    ("cells", "spec"),
    [
        ([Aligned("81.2"), Aligned("9.25")], "S[table-format=2.2]"),
        ([Aligned("81.2", "0.7"), Aligned("100.5", "12.3")], "S[table-format=3.1(3)]"),
        ([Aligned("41.376", "0.415"), "--"], "S[table-format=2.3(4)]"),
        ([Aligned("+3.50"), Aligned("-12.5")], "S[table-format=+2.2]"),
        ([Aligned("5994"), Aligned("200")], "S[table-format=4.0]"),
        (["--", "N/A"], "c"),
    ],
)
def test_a_format_fits_the_numbers(cells: list[Aligned | str], spec: str) -> None:
    assert columns(cells)[0] == spec


def test_a_spread_of_other_decimals_stands_behind_the_number() -> None:
    spec, cells = columns([Aligned("81.25", "0.7"), Aligned("80.25", "0.71")])
    assert spec.startswith("S[table-format=2.2, table-space-text-post={")
    assert cells[0] == r"81.25 {\mdseries{} \scriptsize$\pm$ 0.7}"


def test_bold_stands_before_and_marks_behind_the_number() -> None:
    spec, cells = columns([Aligned("81.2", "0.7", r"$^{\dagger}$", bold=True), Aligned("80.1", "0.3"), "--", ""])
    assert cells == [r"\bfseries 81.2 +- 0.7 {\mdseries{}$^{\dagger}$}", "80.1 +- 0.3", "{--}", ""]
    assert spec == r"S[table-format=2.1(2), table-space-text-post={{\mdseries{}$^{\dagger}$}}]"


@pytest.mark.parametrize(
    ("text", "number"),
    [("93.5", "93.5"), ("−0.5", "-0.5"), ("+2", "+2"), ("1,020", ""), ("N/A", ""), ("–", ""), ("1e-3", ""), ("", "")],
)
def test_only_plain_decimal_numbers_are_numbers(text: str, number: str) -> None:
    assert plain(text) == number


texts = st.sampled_from(["", "–", "N/A", "93.5*", "1,020", "81.20", "7", "−3.5", "100.125", "a & b"])
shown = st.builds(
    Shown, texts, st.sampled_from(["", "0.4", "0.25"]), st.sampled_from(["", "+1.0"]), st.sampled_from(["", "†"]),
    sign=st.sampled_from(["", "≠"]), look=st.sampled_from(["", "best", "close", "second"]),
)  # fmt: skip


@given(st.lists(st.tuples(shown, shown), min_size=1, max_size=6))
def test_of_every_sheet_numbers_are_bare_and_all_else_is_in_braces(rows: list[tuple[Shown, Shown]]) -> None:
    names = tuple((f"r{i}",) for i in range(len(rows)))
    sheet = Sheet("a/b", "t", ("m",), (("x", "p"), ("x", "q")), names, tuple(rows))
    text = render_sheet(sheet, "latex-siunitx")
    body = text.partition(r"\midrule")[2].partition(r"\bottomrule")[0]
    lines = [line for line in body.splitlines() if line.endswith(r"\\")]
    assert len(lines) == len(rows)
    for line in lines:
        for cell in re.split(r"(?<!\\)&", line.removesuffix(r"\\"))[1:]:
            bare = re.sub(r"^ (\\bfseries )?[-+]?\d+(\.\d+)?( \+- \d+\.\d+)?(?= )", "", cell)
            assert re.fullmatch(r" *(\{.*\})? *", bare), cell
    assert text.count("{") == text.count("}")


def test_headers_are_protected() -> None:
    cells = [Measured({"rate": rate, "method": "CE"}, (70.0, 71.0), 2) for rate in ("15 %", "100 %")]
    text = render(laid(cells, Layout("t", ("method",), ("rate",))), "latex-siunitx")
    assert r"method & \multicolumn{1}{c}{15 \%} & \multicolumn{1}{c}{100 \%} \\" in text
    assert text.startswith(
        r"% needs \usepackage{booktabs}, \usepackage{multirow}, \usepackage{adjustbox} and \usepackage{siunitx} "
    )


def test_a_bullet_marks_the_best_and_a_diamond_the_second_of_print() -> None:
    cells = [Measured({"rate": "15 %", "method": m}, v, 2) for m, v in (("CE", (70.0, 70.2)), ("GTA", (80.0, 80.2)))]
    text = render(laid(cells, Layout("t", ("method",), ("rate",), "CE")), "latex-siunitx")
    assert r"GTA & \bfseries 80.1 +- 0.1 {\mdseries{}$^{\bullet}$ \scriptsize +10.0" in text
    assert r"$\bullet$: the highest mean" in text
    row = (Shown("81.0", look="best"),), (Shown("80.0", look="second"),)
    legend = (("best", "the best"), ("second", "the second best"))
    sheet = Sheet("a/b", "t", ("m",), (("x",),), (("r",), ("s",)), row, legend=legend, by_means=True)
    found = render_sheet(sheet, "latex-siunitx")
    assert r"r & \bfseries 81.0 \\" in found
    assert r"s & 80.0 {\mdseries{}$^{\diamond}$} \\" in found
    assert r"\caption{t. Bold: the best. $\diamond$: the second best.}" in found

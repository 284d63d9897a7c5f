"""What marks the best, those that a test cannot tell from it, and the second: one meaning in every format."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from scipy.stats import ttest_ind

from bench.sheets.formats import FORMATS, render_sheet
from bench.sheets.sheet import BEST, CLOSE, SECOND, Sheet, Shown
from bench.sheets.view import Look, sheet_of
from tests.tables.laid import Layout, Measured, laid

MEANS = Sheet(
    "a/b",
    "title",
    ("m",),
    (("x",),),
    (("r",), ("s",), ("t",)),
    ((Shown("81.0", look=BEST),), (Shown("80.0", look=SECOND),), (Shown("70.0"),)),
    legend=((BEST, "the best"), (SECOND, "the second best, by the means alone")),
    by_means=True,
)
TESTED = replace(
    MEANS,
    cells=((Shown("81.0", look=BEST),), (Shown("80.0", look=CLOSE),), (Shown("70.0"),)),
    legend=((BEST, "the best"), (CLOSE, "not distinguishable from it")),
    by_means=False,
)


@pytest.mark.parametrize(
    ("format", "best", "second", "signs"),
    [
        ("text", "● 81.0", "◇ 80.0", ("●", "◇")),
        ("markdown", "**81.0**", "<u>80.0</u>", ("Bold", "Underlined")),
        ("html", "<b>81.0</b>", "<u>80.0</u>", ("Bold", "Underlined")),
        ("latex", r"\textbf{81.0}", r"\underline{80.0}", ("Bold", "Underlined")),
        ("latex-siunitx", r"\bfseries 81.0", r"80.0 {\mdseries{}$^{\diamond}$}", ("Bold", r"$\diamond$")),
    ],
)
def test_the_best_two_by_their_means(format: str, best: str, second: str, signs: tuple[str, str]) -> None:
    text = render_sheet(MEANS, format, 120)
    assert best in text
    assert second in text
    assert f"{signs[0]}: the best." in text
    assert f"{signs[1]}: the second best, by the means alone." in text
    bare = tuple(tuple(replace(cell, look="") for cell in row) for row in MEANS.cells)
    assert "the second best" not in render_sheet(replace(MEANS, cells=bare, legend=()), format, 120)


BOTH_BOLD = "Bold: the best, and what is not distinguishable from it."
UNDERLINED = "Underlined: the best."


@pytest.mark.parametrize(
    ("format", "best", "close", "note"),
    [
        ("text", "● 81.0", "○ 80.0", "○: not distinguishable from it."),
        ("markdown", "**81.0**", "**80.0**", BOTH_BOLD),
        ("html", "<b><u>81.0</u></b>", "<b>80.0</b>", UNDERLINED),
        ("latex", r"\underline{\textbf{81.0}}", r"\textbf{80.0}", UNDERLINED),
        ("latex-siunitx", r"{\mdseries{}$^{\bullet}$}", r"\bfseries 80.0", r"$\bullet$: the best."),
    ],
)
def test_what_cannot_be_told_from_the_best_is_bold_as_it_is(format: str, best: str, close: str, note: str) -> None:
    text = render_sheet(TESTED, format, 120)
    assert best in text
    assert close in text
    assert note in text


@pytest.mark.parametrize("format", ["html", "latex"])
def test_the_best_alone_is_bold_and_not_underlined(format: str) -> None:
    cells = ((Shown("81.0", look=BEST),), (Shown("80.0"),), (Shown("70.0"),))
    text = render_sheet(replace(TESTED, cells=cells, legend=((BEST, "the best"),)), format)
    assert "Bold: the best." in text
    assert not re.search(r"<u>|\\underline", text)


@pytest.mark.parametrize("format", FORMATS)
def test_each_kind_of_table_has_signs_of_its_own(format: str) -> None:
    assert not re.search(r"○|\\circ", render_sheet(MEANS, format, 120))
    assert not re.search(r"◇|\\diamond", render_sheet(TESTED, format, 120))


def test_a_table_is_tested_unless_means_are_asked_for() -> None:
    values = (("CE", (80.0, 81.0)), ("GTA", (80.5, 81.5)))
    cells = [Measured({"rate": "15 %", "method": method}, numbers, 2) for method, numbers in values]
    table = laid(cells, Layout("t", ("method",), ("rate",), "CE"))
    text = " ".join(render_sheet(sheet_of(table), "text", 100).split())
    assert "○ 80.5 ± 0.7" in text
    assert "○: too near to be told from it, which takes 2.1 points" in text
    by_means = " ".join(render_sheet(sheet_of(table, Look(by_means=True)), "text", 100).split())
    assert "◇ 80.5 ± 0.7" in by_means
    assert "no test stands behind it" in by_means


def test_intervals_are_shown_on_request_and_a_page_has_them_in_any_case() -> None:
    cells = [
        Measured({"rate": "15 %", "method": "CE"}, (80.0, 81.0, 82.5), 3),
        Measured({"rate": "15 %", "method": "<b>"}, (81.0, 83.0, 84.0), 3),
    ]
    table = laid(cells, Layout("t", ("method",), ("rate",), "CE"))
    interval = ttest_ind((81.0, 83.0, 84.0), (80.0, 81.0, 82.5), equal_var=False).confidence_interval(0.95)
    low, high = f"{interval.low:+.1f}".replace("-", "−"), f"{interval.high:+.1f}"
    plain = render_sheet(sheet_of(table), "text", 100)
    assert "+1.5" in plain
    assert "[" not in plain
    asked = sheet_of(table, Look(intervals=True))
    assert f"+1.5 [{low}, {high}]" in render_sheet(asked, "text", 100)
    assert any("95 % intervals of the differences by the Welch t-test, each by itself" in note for note in asked.notes)
    page = render_sheet(sheet_of(table), "html", 100)
    assert f'title="95 % interval of the difference {interval.low:+.2f} to'.replace("-", "−") in page
    (record,) = [each for each in sheet_of(table).records if each["method"] == "<b>"]
    assert [record["delta_low"], record["delta_high"]] == pytest.approx([interval.low, interval.high])
    assert record["superiority"] == pytest.approx(7.5 / 9)

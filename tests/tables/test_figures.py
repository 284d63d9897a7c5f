"""Figures fit a paper's width: nothing off the page, no text on another, whatever the labels; read without colour."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from bench.errors import InputError
from bench.figures.figure import KINDS, about, draw_table, save_sketch
from bench.figures.fonts import fonts_for, remark_on, wrapped
from bench.figures.kinds.cd import diagram
from bench.figures.page import MOST_HEIGHT, page_of
from bench.figures.saving import styled
from bench.figures.style import WIDTHS, look
from bench.tables.compare import Table
from tests.tables.drawn import boxes, drawn, off_the_page, on_one_another, share_of_width, smallest_font
from tests.tables.laid import Layout, Measured, laid

LONG = "Supervised contrastive learning with a guided target of attention"
HOSTILE = [r"$x_1^2$", r"a_b^c\frac", "100 % & #1", "~{}", "W" * 90, r"\alpha$", "a\x1b[31m\nb", "ü€→", LONG]


def table(methods: list[str], rates: tuple[float, ...] = (15, 30, 50, 100), datasets: int = 1) -> Table:
    """A table with a baseline; the i-th method is i better."""
    cells = [
        Measured(
            {"dataset": f"set {dataset}", "rate": f"{rate:g} %", "method": method},
            tuple(50 + i % 9 + rate / 10 + seed for seed in range(3)),
            3,
        )
        for dataset in range(datasets)
        for rate in rates
        for i, method in enumerate(methods)
    ]
    return laid(cells, Layout("A comparison", ("dataset", "method"), ("rate",), baseline=methods[0]))


def named(count: int, label: str = LONG) -> list[str]:
    return [f"{label} {i}" for i in range(count)]


# ---- what fits


@settings(max_examples=4, deadline=None)
@given(st.integers(1, 30), st.sampled_from([*WIDTHS]), st.sampled_from(["m", "GTA, ours", LONG]))
def test_a_figure_of_rates_fits_its_methods(methods: int, width: str, label: str) -> None:
    figure = drawn("rates", table(named(methods, label)), width)
    assert figure.get_figwidth() == WIDTHS[width]
    assert share_of_width(figure) > 0.8
    (axes,) = figure.axes
    assert axes.get_position().height * figure.get_figheight() == pytest.approx(1.7, abs=0.05)
    assert off_the_page(figure) == []
    assert on_one_another(figure) == []
    assert smallest_font(figure) >= 7


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize(("datasets", "rates"), [(3, (1, 1.5, 2, 100)), (6, (15, 100))])
def test_panels_fit_side_by_side(width: str, datasets: int, rates: tuple[float, ...]) -> None:
    figure = drawn("rates", table(named(4, "method"), rates, datasets), width)
    assert len(figure.axes) == datasets
    assert share_of_width(figure) > 0.3
    assert off_the_page(figure) == []
    assert on_one_another(figure) == []


@pytest.mark.parametrize("width", ["", *WIDTHS])
@pytest.mark.parametrize("kind", ["rates", "gaps"])
def test_labels_are_text_whatever_they_look_like(kind: str, width: str) -> None:
    figure = drawn(kind, table(["ce", *HOSTILE]), width)
    assert off_the_page(figure) == []
    assert on_one_another(figure) == []
    said = " ".join("".join(text.split()) for text in boxes(figure))
    assert all("".join(label.replace("\x1b", "").split()) in said.replace(" ", "") for label in HOSTILE)


@pytest.mark.parametrize("width", ["", *WIDTHS])
@pytest.mark.parametrize("methods", [2, 9, 30])
def test_a_diagram_of_ranks_fits(methods: int, width: str) -> None:
    scores = np.random.default_rng(methods).normal(size=(12, methods)) + np.linspace(0, 3, methods)
    sketch = diagram(scores, named(methods), width=width)
    with styled(sketch.labels):
        figure = sketch.draw()
        figure.draw_without_rendering()
    assert figure.get_figwidth() == WIDTHS.get(width, 5.5)
    assert off_the_page(figure) == []
    assert on_one_another(figure) == []
    assert smallest_font(figure) >= 7


@pytest.mark.parametrize("methods", [2, 12])
def test_a_figure_of_gaps_is_as_wide_as_it_is_asked_to_be(methods: int) -> None:
    for width, wide in WIDTHS.items():
        figure = drawn("gaps", table(named(methods)), width)
        assert figure.get_figwidth() == wide
        assert off_the_page(figure) == []
        assert on_one_another(figure) == []
        assert smallest_font(figure) >= 7


def test_too_many_panels_are_refused_and_nothing_is_written(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="panels are too many for a figure; choose"):
        draw_table("rates", table(["a", "b"], (15,), datasets=int(MOST_HEIGHT) * 4), [tmp_path / "a.png"])
    assert not list(tmp_path.iterdir())


# ---- what reads without colour, and anywhere


def test_thirty_methods_have_looks_of_their_own_without_colour_too() -> None:
    looks = [look(i) for i in range(30)]
    assert len({(each["color"], each["marker"], each["linestyle"]) for each in looks}) == 30
    assert len({(each["marker"], each["linestyle"]) for each in looks}) == 30
    assert all(sum(to_rgb(each["color"])) < 2.2 for each in looks), "too light for white paper"


def test_text_stays_text_in_svg_and_pdf(tmp_path: Path) -> None:
    assert draw_table("rates", table(["Fine-tune", "$x_1$"]), [tmp_path / "a.svg", tmp_path / "a.pdf"]) == ""
    words = [element.text for element in ET.parse(tmp_path / "a.svg").iter("{http://www.w3.org/2000/svg}text")]
    assert {"Fine-tune", "$x_1$", "top-1 (%)"} <= {*words}
    assert b"/FontType 42" in (tmp_path / "a.pdf").read_bytes() or b"/CIDFontType2" in (tmp_path / "a.pdf").read_bytes()
    assert b"/Subtype /Type3" not in (tmp_path / "a.pdf").read_bytes()


def test_letters_that_no_font_has_are_told_once_and_break_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, recwarn: pytest.WarningsRecorder
) -> None:
    monkeypatch.setattr("bench.figures.fonts.font_manager.fontManager.ttflist", [])
    remark = draw_table("rates", table(["微调", "微 GTA"]), [tmp_path / name for name in ("a.png", "a.pdf", "a.svg")])
    assert remark == "no installed font has 微调, which are drawn as boxes; a font such as Noto Sans CJK has them"
    assert [str(warning.message) for warning in recwarn if "Glyph" in str(warning.message)] == []
    assert remark_on("") == ""


def test_a_font_that_has_the_letters_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    from matplotlib.font_manager import FontEntry

    letters = {"x": frozenset(map(ord, "微调"))}
    monkeypatch.setattr("bench.figures.fonts._letters", lambda file: letters.get(file, frozenset(b"abc")))
    entries = [FontEntry(fname=name, name=name.upper(), weight=400) for name in ("y", "x")]
    monkeypatch.setattr("bench.figures.fonts.font_manager.fontManager.ttflist", entries)
    assert fonts_for(["ab微", "调c"]) == (["DejaVu Sans", "X"], "")
    assert fonts_for(["abc"]) == (["DejaVu Sans"], "")


def test_every_kind_says_what_it_shows() -> None:
    assert {"rates", "gaps", "cd", "curves", "sweep", "classes", "confusion"} <= {*KINDS}
    assert all(20 < len(about(kind)) < 120 for kind in KINDS)


def test_the_same_bytes_again_in_every_form(tmp_path: Path) -> None:
    sketch = diagram(np.random.default_rng(0).normal(size=(8, 3)), ["a", "b", "c"])
    for suffix in (".png", ".pdf", ".svg"):
        files = [tmp_path / f"{name}{suffix}" for name in "ab"]
        for file in files:
            save_sketch(sketch, [file], "mine")
        assert files[0].read_bytes() == files[1].read_bytes()


@pytest.mark.parametrize("panels", range(2, 26, 2))
@pytest.mark.parametrize("width", WIDTHS)
def test_panels_that_belong_together_stand_in_one_row(width: str, panels: int) -> None:
    assert page_of(width, panels, together=2).across % 2 == 0


def test_four_panels_make_a_row_or_two_whole_ones() -> None:
    assert [page_of("page", 4, most_across=most).across for most in (4, 3, 2, 1)] == [4, 2, 2, 1]


def test_no_line_begins_with_a_percent_sign_or_a_slash() -> None:
    for room in np.linspace(0.3, 2.5, 23):
        lines = wrapped("Cluttered digits / 100 % / validation", float(room), 8, Figure()).split("\n")
        whole = [line for line in lines if line.strip("/% ")]
        assert not [line for line in whole if line.startswith(("%", "/"))], lines

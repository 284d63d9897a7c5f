"""The forest plot: every difference where it is, with its interval; what is filled, what is said, what is refused."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from bench.errors import InputError
from bench.figures.figure import draw_table, write_figure
from bench.figures.kinds.gaps import MOST_LINES, MOST_WIDTH, page_of, sketches
from bench.figures.saving import styled
from bench.figures.scene import Scene
from bench.metrics import METRICS, TOP1, Metric
from bench.tables.compare import Entry, Table
from tests.tables.laid import Layout, Measured, laid
from tests.tables.small import everything, filled, planned

RATES = ("15 %", "100 %")


def made(
    methods: int = 2,
    datasets: int = 1,
    rates: tuple[str, ...] = RATES,
    metric: Metric = TOP1,
    half: float = 1.5,
    seeds: Callable[[int], int] = lambda i: 3,
    **changes: Any,
) -> Table:
    """A table whose i-th method is 10 i better than the baseline, but for noise, with intervals where n > 1."""
    cells = [
        Measured(
            {"dataset": f"set {dataset}", "rate": rate, "method": f"m{i}" if i else "ce"},
            tuple(40 + 10 * (i % 5) + 0.1 * seed * (dataset + 1) for seed in range(seeds(i))),
            3,
        )
        for dataset in range(datasets)
        for rate in rates
        for i in range(methods + 1)
    ]
    layout = Layout("A comparison", ("dataset", "method"), ("rate",), baseline="ce", metric=metric, test="welch")
    return with_intervals(laid(cells, replace(layout, **changes)), half)


def with_intervals(table: Table, half: float) -> Table:
    def widened(entry: Entry) -> Entry:
        if entry.delta is None or entry.n < 2:
            return entry
        return replace(entry, low=entry.delta - half, high=entry.delta + half)

    return replace(table, entries=tuple(tuple(map(widened, line)) for line in table.entries))


@pytest.fixture
def draw() -> Callable[[Table], Figure]:
    """The figure itself, which is not written."""

    def drawn(table: Table) -> Figure:
        with styled():
            return sketches(Scene("demo", table))[0].draw()

    return drawn


def ends(line: Line2D) -> list[tuple[float, float]]:
    """The points of a line."""
    x, y = (np.asarray(data, dtype=np.float64).tolist() for data in (line.get_xdata(), line.get_ydata()))
    return list(zip(x, y, strict=True))


def marked(axes: Axes, marker: str) -> list[tuple[float, float]]:
    """Where a marker stands."""
    return [ends(line)[0] for line in axes.lines if line.get_marker() == marker]


def filled_points(axes: Axes) -> list[bool]:
    return [line.get_markerfacecolor() != "white" for line in axes.lines if line.get_marker() == "o"]


def intervals(axes: Axes) -> list[tuple[float, float]]:
    """The ends of each interval."""
    bars = [line for line in axes.lines if line.get_marker() == "None" and line.get_color() not in ("0.92", "black")]
    return [(ends(bar)[0][0], ends(bar)[1][0]) for bar in bars]


def texts(axes: Axes) -> list[str]:
    return [text.get_text() for text in axes.texts]


def title(figure: Figure) -> str:
    return " ".join(figure.get_suptitle().split())


@pytest.mark.slow
def test_has_the_same_bytes_again(tmp_path: Path) -> None:
    paths = [tmp_path / name for name in ("a.png", "b.png", "a.pdf", "b.pdf")]
    draw_table("gaps", made(), paths[::2])
    draw_table("gaps", made(), paths[1::2])
    assert paths[0].read_bytes() == paths[1].read_bytes()
    assert paths[2].read_bytes() == paths[3].read_bytes()
    assert paths[0].read_bytes().startswith(b"\x89PNG")
    assert paths[2].read_bytes().startswith(b"%PDF")


def test_every_difference_stands_where_it_is_with_its_interval(draw: Callable[[Table], Figure]) -> None:
    table = made(methods=3)
    panels = draw(table).axes
    assert [axes.get_title() for axes in panels] == [*RATES]
    for column, axes in enumerate(panels):
        entries = [line[column] for line in table.entries if line[column].delta is not None]
        assert marked(axes, "o") == [(entry.delta, height) for height, entry in enumerate(entries)]
        assert intervals(axes) == [(entry.low, entry.high) for entry in entries]
        assert [(0, 0), (0, 1)] in [ends(line) for line in axes.lines]  # the baseline, from bottom to top
    assert texts(panels[0]) == ["m1, n = 3", "m2, n = 3", "m3, n = 3"]
    assert texts(panels[1]) == []


def test_what_is_significant_is_filled_and_nothing_else(draw: Callable[[Table], Figure]) -> None:
    table = made(rates=("15 %",))
    first, second = (replace(table.entries[row][0], significant=row == 2) for row in (1, 2))
    (axes,) = draw(replace(table, entries=((table.entries[0]), (first,), (second,)))).axes
    assert filled_points(axes) == [False, True]


@pytest.mark.parametrize(
    ("metric", "label"),
    [
        (TOP1, "difference in top-1 (points)\nbetter →"),
        (METRICS["nll"], "difference in negative\nlog-likelihood\n← better"),
        (METRICS["seconds"], "difference in training time (s)\n← better"),
    ],
)
def test_the_axis_says_what_differs_and_which_way_is_better(
    metric: Metric, label: str, draw: Callable[[Table], Figure]
) -> None:
    assert {axes.get_xlabel() for axes in draw(made(metric=metric)).axes} == {label}


@pytest.mark.parametrize(
    ("alpha", "test", "words"),
    [
        (
            0.05,
            "welch",
            "with 95 % intervals, each by itself; filled: p ≤ 0.05 (two-sided Welch t-test, Holm-corrected)",
        ),
        (
            0.1,
            "paired",
            "with 90 % intervals, each by itself; filled: p ≤ 0.1 (two-sided paired t-test, Holm-corrected)",
        ),
    ],
)
def test_the_title_names_the_baseline_the_test_and_the_level(
    alpha: float, test: str, words: str, draw: Callable[[Table], Figure]
) -> None:
    said = title(draw(made(alpha=alpha, test=test)))
    assert said == f"A comparison – top-1 (%), dataset set 0 differences to ce {words}"


def test_without_an_interval_a_point_stands_alone_and_it_is_said_why(draw: Callable[[Table], Figure]) -> None:
    figure = draw(made(seeds=lambda i: 1 if i == 2 else 3))
    for axes in figure.axes:
        assert len(marked(axes, "o")) == 2
        assert len(intervals(axes)) == 1
    assert title(figure).endswith("; a point alone has no interval (one seed, or no test)")
    single = title(draw(made(seeds=lambda i: 1)))
    assert single.endswith("differences to ce; a point alone has no interval (one seed, or no test)")
    assert "a point alone" not in title(draw(made()))


def test_an_interval_that_hides_the_others_goes_on_as_an_arrow(draw: Callable[[Table], Figure]) -> None:
    table = made(methods=4, rates=("15 %",))
    wide = replace(table.entries[1][0], low=-900.0, high=11.5)
    figure = draw(replace(table, entries=(table.entries[0], (wide,), *table.entries[2:])))
    (axes,) = figure.axes
    low, high = axes.get_xlim()
    assert (-900 < low < -10, 41 < high < 60) == (True, True)
    assert marked(axes, "<") == [(low, 0)]
    assert marked(axes, ">") == []
    assert title(figure).endswith("; arrows: the interval goes on")


def test_panels_of_a_metric_have_one_scale(draw: Callable[[Table], Figure]) -> None:
    limits = {axes.get_xlim() for axes in draw(made(datasets=2)).axes}
    ((low, high),) = limits
    assert low < 0 < 20 < high


def test_a_cell_of_another_n_says_so_beside_its_point(draw: Callable[[Table], Figure]) -> None:
    full, part = made(), made(seeds=lambda i: 2 if i == 1 else 3)
    rows = [(line[0], other[1]) for line, other in zip(full.entries, part.entries, strict=True)]
    first, second = draw(replace(full, entries=tuple(rows))).axes
    labels = {*texts(first), *texts(second)}
    assert labels in ({"m1, n = 3", "m2, n = 3", "n = 2"}, {"m1, n = 2", "m2, n = 3", "n = 3"})


def test_rows_are_grouped_under_the_labels_that_tell_them_apart(
    tmp_path: Path, draw: Callable[[Table], Figure]
) -> None:
    plan = planned(tmp_path)
    first, *others = draw(with_intervals(filled(plan, everything(plan)), 1.0)).axes
    assert texts(first) == ["Digits", "BSS, n = 3", "GTA, n = 3", "Clutter", "BSS, n = 3"]
    assert [axes.get_title() for axes in (first, *others)] == ["15%", "100%", "Avg."]
    assert [height for _, height in marked(first, "o")] == [1, 2, 4]


def test_labels_are_taken_as_they_are_and_steer_nothing(draw: Callable[[Table], Figure]) -> None:
    cells = [Measured({"method": m}, (v, v + 1), 2) for m, v in (("ce", 1.0), ("$x_1$ \x1b[31m\nred", 2.0))]
    (axes,) = draw(laid(cells, Layout("t", ("method",), (), baseline="ce"))).axes
    assert texts(axes) == ["$x_1$ [31m red, n = 2"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("methods", "datasets", "rates"),
    [(1, 1, 1), (5, 1, 1), (5, 2, 4), (150, 1, 1), (5, 10, 4), (7, 1, 28), (50, 1, 4)],
)
def test_many_stay_apart_in_panels(methods: int, datasets: int, rates: int, draw: Callable[[Table], Figure]) -> None:
    labels = tuple(f"{rate + 1} %" for rate in range(rates))
    figure = draw(made(methods, datasets, labels))
    assert sum(len(marked(axes, "o")) for axes in figure.axes) == methods * datasets * rates
    assert all(axes.get_ylim()[0] <= MOST_LINES - 0.5 for axes in figure.axes)
    width, height = figure.get_size_inches()
    assert width <= MOST_WIDTH
    boxes = [axes.get_position() for axes in figure.axes]
    for a, b in combinations(boxes, 2):
        assert a.x1 <= b.x0 or b.x1 <= a.x0 or a.y1 <= b.y0 or b.y1 <= a.y0
    rows = [(box.height * height) / abs(axes.get_ylim()[0] + 0.5) for box, axes in zip(boxes, figure.axes, strict=True)]
    assert rows == pytest.approx([0.17] * len(rows))
    assert min(box.y0 for box in boxes) > 0
    assert max(box.y1 for box in boxes) < 1


def write_gaps(table: Table, name: str, folder: Path, output: Path | None = None) -> list[Path]:
    return write_figure("gaps", Scene(name, table), folder, output)[0]


@pytest.mark.slow
def test_files_are_written_or_one_that_is_named(tmp_path: Path) -> None:
    paths = write_gaps(made(), "demo", tmp_path / "figures")
    assert [path.name for path in paths] == ["demo-gaps.png", "demo-gaps.pdf"]
    assert all(path.stat().st_size > 2000 for path in paths)
    assert write_gaps(made(), "demo", tmp_path / "none", tmp_path / "one.pdf") == [tmp_path / "one.pdf"]
    assert not (tmp_path / "none").exists()


def test_what_cannot_be_drawn_is_refused_and_nothing_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    alone = laid([Measured({"method": "ce"}, (1.0,), 1)], Layout("t", ("method",), (), baseline="ce"))
    cases = {
        "demo: a figure of gaps is of differences to a baseline, and the table names none": made(baseline=""),
        "demo: there is nothing to draw: no method has finished where its baseline has": alone,
    }
    for message, table in cases.items():
        with pytest.raises(InputError, match=message):
            write_gaps(table, "demo", tmp_path / "figures")
    monkeypatch.setattr("bench.figures.kinds.gaps.MOST_HEIGHT", 1)
    with pytest.raises(
        InputError, match="demo: 16 differences make a figure 2 inches high, and 1 are the most; choose"
    ):
        write_gaps(made(methods=8), "demo", tmp_path / "figures")
    monkeypatch.undo()
    with pytest.raises(InputError, match=r"got a\.bmp"):
        draw_table("gaps", made(), [Path("a.bmp")])
    assert not list(tmp_path.iterdir())
    assert page_of(made(methods=3)).gaps[0].baseline == "ce"

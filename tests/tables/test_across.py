"""Claims over datasets in a table: named, tested as scipy does, and refused in words where there are too few."""

from __future__ import annotations

import html
import json
import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import friedmanchisquare
from scipy.stats import wilcoxon as scipy_wilcoxon

from bench.errors import InputError
from bench.figures.figure import write_figure
from bench.figures.scene import Scene
from bench.metrics import METRICS
from bench.notation import counted
from bench.plan.table import PlannedCell
from bench.sheets.view import render
from bench.stats.across import stratified_permutation, stratified_signs
from bench.stats.family import holm
from bench.stats.samples import Summary
from bench.tables.across import Group, Rivals, by_dataset, claimed, complete, is_paired
from bench.tables.cells import Cell
from bench.tables.compare import Table
from tests.tables.laid import Layout, Measured, laid, rules

DATASETS = ("A", "B", "C", "D", "E", "F", "G")
LAYOUT = Layout("t", ("dataset", "method"), ("rate",), baseline="ce", across="like-these")


def cells(gaps: Mapping[str, float], datasets: tuple[str, ...] = DATASETS, rates: tuple[str, ...] = ("15 %",),
          seeds: int = 3) -> list[Measured]:  # fmt: skip
    rng = np.random.default_rng(0)
    return [
        Measured({"dataset": name, "rate": rate, "method": method}, tuple(70 + gap + rng.normal(0, 0.5, seeds)), seeds)
        for name in datasets
        for rate in rates
        for method, gap in gaps.items()
    ]


def groups(table: Table) -> Mapping[tuple[str, ...], Group]:
    return by_dataset(table.plan, [[entry.cell.values for entry in line] for line in table.entries])


THREE = {"ce": 0.0, "bss": 0.2, "gta": 2.0}


def test_like_these_is_friedman_and_wilcoxon_with_holm() -> None:
    table = laid(cells(THREE), LAYOUT)
    (claim,) = table.claims
    ((where, group),) = groups(table).items()
    methods, common, means = complete(group)
    assert (claim.where, where, tuple(common)) == ((), (), DATASETS)
    assert claim.friedman == pytest.approx(friedmanchisquare(*means.T).pvalue, abs=1e-9)
    base = means[:, methods.index("ce")]
    p = [scipy_wilcoxon(means[:, methods.index(one.method)] - base, method="exact").pvalue for one in claim.compared]
    assert [one.p for one in claim.compared] == pytest.approx(p, abs=1e-9)
    assert [one.p_holm for one in claim.compared] == pytest.approx(list(holm(p)), abs=1e-9)


def test_these_is_the_stratified_permutation_with_holm() -> None:
    table = laid(cells(THREE, ("A", "B"), ("15 %", "100 %")), replace(LAYOUT, across="these"))
    assert [claim.where for claim in table.claims] == [("15 %",), ("100 %",)]
    for claim in table.claims:
        group = groups(table)[claim.where]
        p = [stratified_permutation([*group[m].values()], [*group["ce"].values()]) for m in ("bss", "gta")]
        assert [one.p for one in claim.compared] == pytest.approx(p, abs=1e-12)
        assert [one.p_holm for one in claim.compared] == pytest.approx(list(holm(p)), abs=1e-12)


def rivals(values: Mapping[str, Mapping[str, tuple[float, ...]]], planned: PlannedCell | None = None) -> Rivals:
    """Cells with these values of seeds 0, 1, …, by method and dataset."""
    return {
        method: {
            name: (planned or PlannedCell(), Cell(each, tuple(range(len(each))), len(each)))
            for name, each in row.items()
        }
        for method, row in values.items()
    }


SHIFTED = {"A": (60.0, 64.0, 71.0), "B": (40.0, 55.0, 48.0), "C": (80.0, 70.5, 77.0)}
"""Seeds that differ by far more than methods do."""


def test_these_flips_the_signs_of_pairs_where_the_table_compares_pairs() -> None:
    better = {name: tuple(value + 1 + 0.01 * i for i, value in enumerate(each)) for name, each in SHIFTED.items()}
    measured = [
        Measured({"dataset": name, "rate": "15 %", "method": method}, each, 3)
        for method, row in (("ce", SHIFTED), ("gta", better))
        for name, each in row.items()
    ]
    layout = replace(LAYOUT, across="these")
    (paired,) = laid(measured, replace(layout, test="paired")).claims
    (dealt,) = laid(measured, layout).claims
    assert paired.compared[0].p == stratified_signs([*better.values()], [*SHIFTED.values()]) == 2 / 2**9
    assert "(sign flips of paired seeds within each dataset, Holm-corrected over one method)" in paired.sentence
    assert dealt.compared[0].p == stratified_permutation([*better.values()], [*SHIFTED.values()]) > 0.5
    assert "(stratified permutation of seeds, Holm-corrected over one method)" in dealt.sentence
    assert (paired.facts["test"], dealt.compared[0].gap) == (paired.test, paired.compared[0].gap)


@pytest.mark.parametrize(("test", "paired"), [("paired", True), ("pooled", True), ("welch", False)])
def test_the_table_s_test_says_whether_runs_are_pairs(test: str, paired: bool) -> None:
    plan = laid(cells(THREE), LAYOUT).plan
    assert is_paired(replace(plan, rules=replace(plan.rules, test=test))) is paired


def test_pairs_are_runs_of_one_seed_that_both_have() -> None:
    def side(seeds: tuple[int, ...], *values: float) -> tuple[PlannedCell, Cell]:
        return PlannedCell(), Cell(values, seeds, 3)

    base = {"A": side((0, 1, 2), 60, 70, 50), "B": side((0, 1, 2), 30, 40, 20), "C": side((0,), 5)}
    method = {"A": side((2, 0), 51, 61), "B": side((1,), 41.5), "C": side((1,), 99)}
    claim = claimed("these", (), {"ce": base, "gta": method}, "ce", 0.05, paired=True)
    (only,) = claim.compared
    assert (only.datasets, only.p) == (2, stratified_signs([[61, 51], [41.5]], [[60, 50], [40]]))
    assert claim.note.startswith("n = 3 pairs of seeds: the smallest possible p of the stratified paired permutation")
    assert claim.note.endswith("; left out, as datasets without a pair of seeds: C")


def test_datasets_known_by_a_summary_are_left_out_by_name_and_count_among_the_like() -> None:
    rng = np.random.default_rng(0)
    values = {m: {d: tuple(rng.normal(70 + gap, 1, 3)) for d in DATASETS} for m, gap in (("ce", 0), ("gta", 3))}
    group = {method: dict(row) for method, row in rivals(values).items()}
    group["ce"]["B"] = PlannedCell(), Cell(planned=3, stated=Summary(70.0, 1.0, 3))
    these, like = (claimed(across, (), group, "ce", 0.05) for across in ("these", "like-these"))
    assert (these.compared[0].datasets, like.compared[0].datasets) == (6, 7)
    assert these.note == "left out, as datasets of which only summaries are known: B"
    few = {method: {name: row[name] for name in "AB"} for method, row in group.items()}
    assert claimed("these", (), few, "ce", 0.05).sentence == (
        "On these datasets: not testable: it takes two datasets or more on which a method and the baseline have "
        "finished; left out, as datasets of which only summaries are known: B."
    )


@pytest.mark.parametrize(("metric", "record"), [("top1", (3, 2, 2)), ("nll", (2, 2, 3))])
def test_like_these_counts_what_is_won_tied_and_lost_as_printed(metric: str, record: tuple[int, int, int]) -> None:
    gaps = (1, 2, 0.2, 0.04, 0, -0.2, -5)  # at one decimal two of them are ties
    values = {"ce": {d: (50.0,) for d in DATASETS}, "gta": {d: (50 + g,) for d, g in zip(DATASETS, gaps, strict=True)}}
    planned = PlannedCell(metric=METRICS[metric], decimals=1)
    claim = claimed("like-these", (), rivals(values, planned), "ce", 0.05)
    (only,) = claim.compared
    assert (only.won, only.tied, only.lost) == record
    assert f"(p = {only.p_holm:.3g}, {'/'.join(map(str, record))}) against ce over 7 datasets" in claim.sentence
    assert claim.sentence.endswith("; datasets won/tied/lost, as printed).")
    assert claim.facts["compared"][0]["tied"] == 2


@pytest.mark.parametrize("format", ["text", "markdown", "html", "latex", "latex-siunitx", "json"])
def test_every_format_but_csv_tells_the_claim(format: str) -> None:
    told = html.unescape(" ".join(render(laid(cells(THREE), LAYOUT), format, width=200).split()))
    assert "On datasets like these: bss" in told
    assert "Holm-corrected over the 2 methods; Friedman's test of all methods p = " in told
    without = laid(cells(THREE), replace(LAYOUT, across=""))
    assert "datasets like these" not in render(without, format, width=200)
    assert render(laid(cells(THREE), LAYOUT), "csv") == render(without, "csv")


def test_json_has_the_claim_as_data() -> None:
    (claim,) = json.loads(render(laid(cells({"ce": 0, "gta": 1}), LAYOUT), "json"))["across"]
    assert claim["claim"] == "on datasets like these"
    assert claim["friedman"] is None  # two methods
    assert [one["method"] for one in claim["compared"]] == ["gta"]


@pytest.mark.parametrize("count", [1, 2, 5])
def test_fewer_than_six_datasets_are_refused_in_words_once(count: int) -> None:
    table = laid(cells(THREE, DATASETS[:count], ("15 %", "100 %")), LAYOUT)
    said = [rule for rule in rules(table) if rule.startswith("On datasets like these")]
    (only,) = said
    assert only.startswith(
        f"On datasets like these, 15 % and 100 %: not testable: n = {counted(count, 'dataset')}: the smallest"
    )
    assert only.endswith("6 datasets can reach 0.0312.")


def test_six_datasets_do_for_one_comparison_and_not_for_two() -> None:
    one = laid(cells({"ce": 0, "gta": 5}, DATASETS[:6]), LAYOUT).claims[0]
    two = laid(cells(THREE, DATASETS[:6]), LAYOUT).claims[0]
    assert one.note == ""
    assert one.compared[0].p_holm == 0.03125
    assert "0.0625 after Holm over 2 comparisons" in two.note


def test_these_needs_two_datasets() -> None:
    table = laid(cells(THREE, ("A",)), replace(LAYOUT, across="these"))
    assert any(rule.startswith("On these datasets: not testable: it takes two datasets") for rule in rules(table))


def test_datasets_that_a_method_lacks_are_left_out_and_counted() -> None:
    some = [cell for cell in cells(THREE) if (cell.axes["method"], cell.axes["dataset"]) != ("bss", "C")]
    (claim,) = laid(some, LAYOUT).claims
    assert {one.datasets for one in claim.compared} == {6}
    assert claim.note.endswith("; left out, as not all methods have finished there: C")
    assert claim.sentence.count("over 6 datasets") == 1


def test_without_a_baseline_nothing_is_claimed() -> None:
    table = laid(cells(THREE), replace(LAYOUT, baseline=""))
    assert table.claims == ()


numbers = st.floats(0, 100, allow_subnormal=False)


@given(st.lists(st.tuples(numbers, numbers, numbers), min_size=7, max_size=9), st.permutations(["bss", "gta"]))
@settings(max_examples=40, deadline=None)
def test_order_of_methods_and_datasets_changes_no_p(rows: list[tuple[float, ...]], order: list[str]) -> None:
    table = {name: {str(i): (row[at],) for i, row in enumerate(rows)} for at, name in enumerate(("ce", "bss", "gta"))}
    moved = {name: dict(reversed(table[name].items())) for name in (*order, "ce")}
    for across in ("these", "like-these"):
        first, second = (claimed(across, (), rivals(group), "ce", 0.05) for group in (table, moved))
        p, q = ({one.method: one.p_holm for one in claim.compared} for claim in (first, second))
        assert p == pytest.approx(q, abs=1e-12)
        assert first.friedman == pytest.approx(second.friedman, abs=1e-12, nan_ok=True)


# ---- the diagram


def drawn(table: Table, folder: Path, output: Path | None = None) -> list[str]:
    """The names of the files that diagrams of a table are written to."""
    paths, _ = write_figure("cd", Scene("demo", table), folder, output)
    return [path.name for path in paths]


def test_a_diagram_is_written_as_png_and_pdf(tmp_path: Path) -> None:
    assert drawn(laid(cells(THREE), LAYOUT), tmp_path) == ["demo-cd.png", "demo-cd.pdf"]
    assert (tmp_path / "demo-cd.png").read_bytes().startswith(b"\x89PNG")
    assert (tmp_path / "demo-cd.pdf").read_bytes().startswith(b"%PDF")


def test_a_diagram_for_each_rate_or_one_that_is_chosen(tmp_path: Path) -> None:
    two = laid(cells(THREE, rates=("15 %", "100 %")), LAYOUT)
    assert drawn(two, tmp_path) == ["demo-cd-15.png", "demo-cd-15.pdf", "demo-cd-100.png", "demo-cd-100.pdf"]
    with pytest.raises(InputError, match="there is a diagram for each of 15 %; 100 %; choose one with --rates"):
        drawn(two, tmp_path, tmp_path / "one.png")
    one = laid(cells(THREE, rates=("15 %",)), LAYOUT)
    assert drawn(one, tmp_path, tmp_path / "one.svg") == ["one.svg"]


@pytest.mark.parametrize(
    ("gaps", "datasets", "said"),
    [
        (
            THREE,
            DATASETS[:5],
            r"on which all 3 methods have finished: n = 5 datasets: .* 0.0625",
        ),
        ({"ce": 0.0}, DATASETS, "ranks take two methods or more"),
    ],
)
def test_too_few_for_a_diagram_are_refused_and_nothing_is_written(
    gaps: dict[str, float], datasets: tuple[str, ...], said: str, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=f"demo: .*{said}"):
        drawn(laid(cells(gaps, datasets), LAYOUT), tmp_path / "figures")
    without = laid([Measured({"method": "ce"}, (1.0,), 1)], Layout("t", ("method",), ()))
    with pytest.raises(InputError, match="nothing to draw"):
        drawn(without, tmp_path / "figures")
    assert not (tmp_path / "figures").exists()


def test_means_are_of_datasets_that_all_have() -> None:
    methods, common, means = complete({"a": {"X": (1.0, 3.0), "Y": (5.0,)}, "b": {"Y": (4.0,)}, "c": {}})
    assert (methods, common) == (["a", "b"], ["Y"])
    assert means.tolist() == [[5.0, 4.0]]
    assert complete({})[2].shape == (0, 0)
    assert not math.isnan(means.sum())

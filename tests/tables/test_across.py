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
from bench.sheets.view import render
from bench.stats.across import stratified_permutation
from bench.stats.family import holm
from bench.tables.across import Group, by_dataset, claimed, complete
from bench.tables.compare import Table
from bench.tables.figures import write_diagrams
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


def groups(table: Table) -> dict[tuple[str, ...], Group]:
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
    assert only.startswith(f"On datasets like these, 15 % and 100 %: not testable: n = {count} datasets: the smallest")
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
        first, second = (claimed(across, (), group, "ce", 0.05) for group in (table, moved))
        p, q = ({one.method: one.p_holm for one in claim.compared} for claim in (first, second))
        assert p == pytest.approx(q, abs=1e-12)
        assert first.friedman == pytest.approx(second.friedman, abs=1e-12, nan_ok=True)


# ---- the diagram


def test_a_diagram_is_written_as_png_and_pdf(tmp_path: Path) -> None:
    found = groups(laid(cells(THREE), LAYOUT))
    paths = write_diagrams(found, "demo", tmp_path)
    assert [path.name for path in paths] == ["demo-cd.png", "demo-cd.pdf"]
    assert paths[0].read_bytes().startswith(b"\x89PNG")
    assert paths[1].read_bytes().startswith(b"%PDF")


def test_a_diagram_for_each_rate_or_one_that_is_chosen(tmp_path: Path) -> None:
    found = groups(laid(cells(THREE, rates=("15 %", "100 %")), LAYOUT))
    names = [path.name for path in write_diagrams(found, "demo", tmp_path)]
    assert names == ["demo-cd-15.png", "demo-cd-15.pdf", "demo-cd-100.png", "demo-cd-100.pdf"]
    with pytest.raises(InputError, match="there is a diagram for each of 15 %; 100 %; choose one with --rates"):
        write_diagrams(found, "demo", tmp_path, tmp_path / "one.png")
    one: dict[tuple[str, ...], Group] = {("15 %",): found["15 %",]}
    assert write_diagrams(one, "demo", tmp_path, tmp_path / "one.png") == [tmp_path / "one.png"]


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
    with pytest.raises(InputError, match=said):
        write_diagrams(groups(laid(cells(gaps, datasets), LAYOUT)), "demo", tmp_path / "figures")
    with pytest.raises(InputError, match="nothing to draw"):
        write_diagrams({}, "demo", tmp_path / "figures")
    assert not (tmp_path / "figures").exists()


def test_means_are_of_datasets_that_all_have() -> None:
    methods, common, means = complete({"a": {"X": (1.0, 3.0), "Y": (5.0,)}, "b": {"Y": (4.0,)}, "c": {}})
    assert (methods, common) == (["a", "b"], ["Y"])
    assert means.tolist() == [[5.0, 4.0]]
    assert complete({})[2].shape == (0, 0)
    assert not math.isnan(means.sum())

"""The test that a table is made by: its p, its name in the caption, and what it says where it cannot reach alpha."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import permutation_test, ttest_ind, ttest_rel

from bench.errors import InputError
from bench.plan.experiment import read_experiment
from bench.plan.grid import expand
from bench.plan.overrides import Overrides
from bench.registry import Registry
from bench.sheets.view import render
from bench.stats.family import holm
from bench.stats.reach import smallest_p
from bench.tables.cells import Cell
from bench.tables.compare import Table
from bench.tables.outcome import compare_with
from bench.tables.testing import out_of_reach, sizes
from tests.tables.laid import Layout, Measured, cell_of, laid, rules

CE, GTA, BSS = (70.0, 72.0, 74.5, 71.0), (71.0, 73.5, 75.0, 72.5), (69.0, 72.5, 74.0, 71.5)
LAYOUT = Layout("t", ("dataset", "method"), ("rate",), baseline="CE")

values = st.lists(st.floats(0, 100, allow_subnormal=False), min_size=2, max_size=5)


def cell(method: str, own: Sequence[float], seeds: Sequence[int] | None = None, rate: str = "15 %") -> Measured:
    seeds = range(len(own)) if seeds is None else seeds
    return Measured(
        {"dataset": "CUB", "rate": rate, "method": method}, tuple(own), max(10, len(own)), seeds=tuple(seeds)
    )


def p_value(test: str, a: Cell, b: Cell) -> float:
    (result,) = compare_with(test, [a], b, 1)
    return result.p


def p_of(table: Table) -> dict[str, tuple[float | None, float | None]]:
    return {entry.planned.name: (entry.p, entry.p_holm) for entry in table.finished}


def mean_gap(x: np.ndarray, y: np.ndarray, axis: int) -> np.ndarray:
    return np.asarray(np.mean(x, axis=axis) - np.mean(y, axis=axis))


def by_scipy(test: str, own: Sequence[float]) -> float:
    if test == "permutation":
        return float(permutation_test((own, CE), mean_gap, vectorized=True, n_resamples=np.inf).pvalue)
    return float((ttest_rel(own, CE) if test == "paired" else ttest_ind(own, CE, equal_var=False)).pvalue)


@pytest.mark.parametrize("test", ["welch", "paired", "permutation"])
def test_p_is_that_of_scipy_and_corrected_by_holm(test: str) -> None:
    found = p_of(laid([cell("CE", CE), cell("GTA", GTA), cell("BSS", BSS)], replace(LAYOUT, test=test)))
    own = [by_scipy(test, GTA), by_scipy(test, BSS)]
    assert [found["GTA"][0], found["BSS"][0]] == pytest.approx(own, abs=1e-9)
    assert [found["GTA"][1], found["BSS"][1]] == pytest.approx(list(holm(own)), abs=1e-9)
    assert found["CE"] == (None, None)


@given(values, values, st.permutations(range(5)))
@settings(max_examples=60)
def test_p_does_not_depend_on_sides_or_the_order_of_seeds(a: list[float], b: list[float], order: list[int]) -> None:
    for test in ("welch", "paired", "permutation"):
        one, other = cell_of(cell("a", a)), cell_of(cell("b", b))
        moved = [i for i in order if i < len(a)]
        shuffled = cell_of(cell("a", [a[i] for i in moved], moved))
        p = p_value(test, one, other)
        assert p == pytest.approx(p_value(test, other, one), abs=1e-12, nan_ok=True)
        assert p == pytest.approx(p_value(test, shuffled, other), abs=1e-12, nan_ok=True)
        assert math.isnan(p) or 0 <= p <= 1


def test_pairs_are_of_the_seeds_that_both_have() -> None:
    one = cell_of(cell("a", (5.0, 1.0, 3.0, 9.0), (7, 0, 2, 9)))
    other = cell_of(cell("b", (2.0, 2.5, 4.0), (2, 0, 7)))
    expected = ttest_rel([1.0, 3.0, 5.0], [2.5, 2.0, 4.0]).pvalue
    assert p_value("paired", one, other) == pytest.approx(float(expected), abs=1e-9)
    assert sizes("paired", one, other) == (3,)
    apart = cell_of(cell("a", (1.0, 2.0), (0, 1))), cell_of(cell("b", (1.0, 3.0), (2, 3)))
    assert math.isnan(p_value("paired", *apart))


def test_values_of_unknown_seeds_are_never_paired() -> None:
    unknown = Cell((1.0, 2.0, 4.0), planned=3)
    assert math.isnan(p_value("paired", unknown, unknown))


def test_one_seed_is_not_tested() -> None:
    for test in ("welch", "paired", "permutation"):
        assert math.isnan(p_value(test, cell_of(cell("a", (1.0,))), cell_of(cell("b", (2.0,)))))


def test_too_many_seeds_for_the_exact_test_are_refused() -> None:
    many = [cell(method, [float(value) for value in range(21)]) for method in ("CE", "GTA")]
    with pytest.raises(ValueError, match="at most 40 values; with 42, use a t-test"):
        laid(many, replace(LAYOUT, test="permutation"))


@pytest.mark.parametrize(
    ("test", "name"),
    [("welch", "Welch t-test"), ("paired", "paired t-test"), ("permutation", "exact permutation test")],
)
def test_captions_name_the_test(test: str, name: str) -> None:
    table = laid([cell("CE", CE), cell("GTA", GTA)], replace(LAYOUT, test=test))
    said = " ".join(rules(table))
    assert f"two-sided {name} against CE, one comparison." in said
    assert "too near to be told from it, which takes" in said
    assert ("Pairs are runs of one seed." in said) == (test == "paired")


def test_where_all_pairs_differ_alike_the_caption_says_what_p_is() -> None:
    limit = "Where all pairs differ by the same, p is its limit 0, which speaks of these seeds alone."
    alike, layout = [value + 1 for value in CE], replace(LAYOUT, test="paired")
    assert limit in rules(laid([cell("CE", CE), cell("GTA", alike)], layout))
    assert limit not in rules(laid([cell("CE", CE), cell("GTA", GTA)], layout))


def test_what_the_test_tells_from_the_best_is_not_in_its_group() -> None:
    best, close = (75.0, 77.0, 79.0, 81.0), (74.0, 76.1, 78.0, 79.9)  # always about one below: pairs tell them apart
    cells = [cell("CE", close), cell("GTA", best)]
    for test, expected in (("welch", True), ("paired", False), ("pooled", False)):
        table = laid(cells, replace(LAYOUT, test=test))
        (entry,) = [e for e in table.finished if e.planned.name == "CE"]
        assert entry.near is expected


def test_a_test_that_cannot_reach_alpha_says_so_with_the_arithmetic() -> None:
    cells = [cell("CE", CE[:3]), cell("GTA", GTA[:3])]
    (said,) = [rule for rule in rules(laid(cells, replace(LAYOUT, test="permutation"))) if "can stand" in rule]
    assert said.startswith("No † can stand: n = 3 and 3 seeds: the smallest possible p of the permutation test is 0.1,")
    assert not [rule for rule in rules(laid(cells, LAYOUT)) if "can stand" in rule]


def test_where_it_cannot_is_said_where_it_is_not_everywhere() -> None:
    cells = [cell("CE", CE), cell("GTA", GTA), cell("CE", CE[:3], rate="100 %"), cell("GTA", GTA[:3], rate="100 %")]
    said = rules(laid(cells, replace(LAYOUT, test="permutation")))
    assert [rule[:35] for rule in said if "can stand" in rule] == ["No † can stand at 100 %: n = 3 and "]


def test_holm_counts_for_what_can_be_reached() -> None:
    """With 4 seeds a side the smallest p is 0.029: enough for one comparison, too much for two."""
    assert out_of_reach("permutation", [(4, 4)], 0.05) == ""
    assert "0.0571 after Holm over 2 comparisons" in out_of_reach("permutation", [(4, 4), (4, 4)], 0.05)
    assert out_of_reach("permutation", [(4, 4), (3, 3), (6, 6)], 0.05) == ""
    assert out_of_reach("permutation", [], 0.05) == ""


@given(st.lists(st.tuples(st.integers(2, 6), st.integers(2, 6)), min_size=1, max_size=5), st.floats(0.001, 0.2))
def test_a_refusal_is_right(compared: list[tuple[int, int]], alpha: float) -> None:
    """Were every comparison as extreme as it can be, Holm would reject something just where nothing is refused."""
    corrected = holm([smallest_p("permutation", *own) for own in compared])
    assert bool(out_of_reach("permutation", compared, alpha)) == (corrected.min() > alpha)


# ---- declared


def declared(folder: pytest.TempPathFactory, table: str, vary: str = "{}") -> str:
    path = folder.mktemp("declared") / "mine.yaml"
    path.write_text(
        "methods: [ce, bss]\nbackbones: [micro_vit]\ndatasets: [digits]\nrates: [100]\nprotocol: {steps: 10}\n"
        f"baseline: ce\ntable: {table}\nvary: {vary}\n"
    )
    return str(path)


def test_an_experiment_chooses_its_test_and_the_command_line_another(tmp_path_factory: pytest.TempPathFactory) -> None:
    path = declared(tmp_path_factory, "{test: paired, across: these}")
    own = read_experiment(path, Registry())
    assert (own.rules.test, own.rules.across, own.shares_draws) == ("paired", "these", True)
    typed = read_experiment(path, Registry(), Overrides(test="permutation", across="like-these"))
    assert (typed.rules.test, typed.rules.across) == ("permutation", "like-these")
    assert typed.changes != own.changes
    assert expand(typed).unique.keys() == expand(own).unique.keys()
    assert read_experiment(declared(tmp_path_factory, "{}"), Registry()).rules.test == "auto"


@pytest.mark.parametrize(
    ("table", "vary", "said"),
    [
        ("{test: wilcox}", "{}", "mine.yaml:7: no test is called 'wilcox'"),
        ("{across: all}", "{}", "mine.yaml:7: no across is called 'all'"),
        (
            "{test: paired}",
            "{subset: [dataset], init: [seed, method], order: [seed, method]}",
            "mine.yaml:7: a paired test is for runs of one seed that share something",
        ),
    ],
)
def test_what_makes_no_sense_is_refused(
    table: str, vary: str, said: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    with pytest.raises(InputError) as caught:
        read_experiment(declared(tmp_path_factory, table, vary), Registry())
    assert said in str(caught.value)


def test_formats_say_it_all(tmp_path_factory: pytest.TempPathFactory) -> None:
    table = laid([cell("CE", CE), cell("GTA", GTA)], replace(LAYOUT, test="permutation"))
    for format in ("text", "markdown", "latex", "latex-siunitx", "json"):
        assert "exact permutation test" in " ".join(render(table, format, width=200).split())

"""``bench power``: what each comparison needs, and a command that launches it."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.stats import ttest_ind, ttest_rel

from bench.cli import build_parser, main
from bench.plan.overrides import Overrides
from bench.plan.paper import plan_paper
from bench.plan.target import read_plan
from bench.records.store import Store
from bench.registry import Registry
from bench.spec import RunSpec
from bench.stats.power import pairs_needed, seeds_needed, welch_power
from bench.stats.samples import mean_std
from bench.tables.cells import Cell
from bench.tables.outcome import compare_with
from bench.tables.power import Contrast, weigh

Accuracy = Callable[[RunSpec], float]


def publish(specs: list[RunSpec], accuracy: Accuracy) -> None:
    store = Store("results")
    for spec in specs:
        curve = [{"step": 1, "val": {"top1": 50.0}, "test": {"top1": accuracy(spec)}}]
        with store.draft() as draft:
            store.publish(draft, spec, {"status": "done", "curve": curve, "timing": {"seconds": 3600.0}})


def demo(**overrides: Any) -> list[RunSpec]:
    return list(read_plan("demo", Registry(), Overrides(**overrides)).unique.values())


def near(spec: RunSpec) -> float:
    """GTA is a little better, by 0.5 to 3.5, which three seeds cannot resolve; the linear probe is far off."""
    gap = -30.0 * (spec.method.name == "linear")
    if spec.method.name == "gta":
        gap = (2.0, 3.5, 0.5)[spec.seed % 3]
    return 60 + gap + 1.5 * (spec.seed % 3)


def uneven(spec: RunSpec) -> float:
    """GTA is about as much better at every seed, and seeds differ by far more."""
    return 60 + 5.0 * spec.seed + (2.0 + (0.0, 1.0, -1.3)[spec.seed % 3]) * (spec.method.name == "gta")


def told(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert main(["power", *arguments]) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    return captured.out


def in_json(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, Any]:
    return dict(json.loads(told(capsys, *arguments, "--format", "json")))


class TestExperiment:
    def test_says_gap_p_seeds_and_need(self, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
        publish(demo(methods="ce,gta", rates="15"), near)
        (found,) = in_json(capsys, "demo", "--methods", "ce,gta", "--rates", "15")["comparisons"]
        assert found["gap"] == pytest.approx(2.0)
        assert found["p"] == pytest.approx(ttest_rel([62, 65, 63.5], [60, 61.5, 63]).pvalue, abs=1e-9)
        assert found["seeds"] == [3, 3]
        assert found["needed"] == pairs_needed(2.0, 1.5, start=4)

    def test_welch_goes_by_the_spread_of_each_side(self, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
        publish(demo(methods="ce,gta", rates="15"), near)
        typed = ("demo", "--methods", "ce,gta", "--rates", "15", "--test", "welch")
        (found,) = in_json(capsys, *typed)["comparisons"]
        ours, theirs = [62, 65, 63.5], [60, 61.5, 63]
        assert found["p"] == pytest.approx(ttest_ind(ours, theirs, equal_var=False).pvalue, abs=1e-9)
        assert found["needed"] == seeds_needed(2.0, float(np.std(ours, ddof=1)), float(np.std(theirs, ddof=1)), start=4)

    def test_the_level_is_that_of_the_family(self, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
        publish(demo(methods="ce,gta,bss,l2sp", rates="15"), near)
        found = in_json(capsys, "demo", "--methods", "ce,gta,bss,l2sp", "--rates", "15")["comparisons"]
        assert [need["level"] for need in found] == pytest.approx([0.05 / 3] * 3)
        assert [need["note"] for need in found if need["gap"] == 0] == [
            "the gap is too small for any number of seeds"
        ] * 2

    def test_command_can_be_launched(self, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
        typed = ["demo", "--methods", "ce,gta(weight=0.3)", "--rates", "15", "--set", "steps=20"]
        options = build_parser().parse_args(["plan", *typed])
        specs = demo(methods=options.methods, rates="15")
        plan = read_plan("demo", Registry(), Overrides(options.methods, rates="15", settings=("steps=20",)))
        assert len(specs) == len(plan.unique)
        publish(list(plan.unique.values()), near)
        found = in_json(capsys, *typed)
        needed = found["comparisons"][0]["needed"]
        words = shlex.split(found["command"])
        assert words == ["bench", "run", *typed[:5], "--set", "steps=20", "--seeds", str(needed)]
        assert main(["plan", *words[2:]]) == 0
        assert f"6 done, 0 failed, {found['runs']} to train" in capsys.readouterr().out
        assert found["runs"] == 2 * (needed - 3)

    def test_text_has_the_command_and_the_hours(self, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
        publish(demo(methods="ce,gta", rates="15"), near)
        out = told(capsys, "demo", "--methods", "ce,gta", "--rates", "15")
        needed = pairs_needed(2.0, 1.5, start=4)
        assert needed is not None
        assert f"{2 * (needed - 3)} more runs, about {2 * (needed - 3):.2g} hours of one core or GPU:" in out
        assert f"\n  bench run demo --methods ce,gta --rates 15 --seeds {needed}\n" in out

    def test_what_needs_too_many_is_not_planned_for(self, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
        publish(demo(methods="ce,gta", rates="15"), near)
        out = told(capsys, "demo", "--methods", "ce,gta", "--rates", "15", "--most", "5")
        assert "1 comparison needs more than 5 seeds (--most) and is not planned for" in out
        assert "bench run" not in out

    def test_what_is_significant_needs_none(self, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
        publish(demo(methods="ce,linear", rates="15"), near)
        found = in_json(capsys, "demo", "--methods", "ce,linear", "--rates", "15")
        assert (found["comparisons"][0]["needed"], found["comparisons"][0]["note"]) == (None, "significant")
        assert (found["command"], found["runs"]) == ("", 0)

    def test_one_seed_needs_a_second_one(self, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
        publish(demo(methods="ce,gta", rates="15", seeds="1"), near)
        typed = ("demo", "--methods", "ce,gta", "--rates", "15", "--seeds", "1")
        found = in_json(capsys, *typed)
        assert (found["comparisons"][0]["p"], found["comparisons"][0]["needed"]) == (None, 2)
        assert found["command"].endswith("--seeds 2")

    def test_planned_seeds_that_are_not_finished_come_first(
        self, here: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        publish([spec for spec in demo(methods="ce,gta", rates="15") if spec.seed == 0], near)
        found = in_json(capsys, "demo", "--methods", "ce,gta", "--rates", "15")
        assert [need["needed"] for need in found["comparisons"]] == [2]
        assert (found["command"], found["runs"]) == ("bench run demo --methods ce,gta --rates 15", 4)

    def test_seeds_by_name_keep_those_there_are(self, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
        publish(demo(methods="ce,gta", rates="15", seeds="4,5,6"), near)
        found = in_json(capsys, "demo", "--methods", "ce,gta", "--rates", "15", "--seeds", "4,5,6")
        seeds = shlex.split(found["command"])[-1].split(",")
        assert seeds[:5] == ["4", "5", "6", "0", "1"]
        assert len(seeds) == len({*seeds}) == found["comparisons"][0]["needed"]

    def test_without_runs_says_what_to_do(self, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["power", "demo", "--rates", "15"]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert "no comparison with a baseline has finished runs on both sides" in line
        assert line.endswith("train them with 'bench run demo --rates 15'")

    @pytest.mark.parametrize(("option", "value"), [("--power", "80"), ("--power", "0"), ("--most", "1")])
    def test_options_are_checked(self, option: str, value: str, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["power", "demo", option, value]) == 2
        assert capsys.readouterr().err.startswith(f"bench: {option} ")


class TestPaper:
    TYPED = ("gta/table2", "--backbones", "micro_vit", "--datasets", "cub200")

    @pytest.fixture
    def runs(self, here: Path, monkeypatch: pytest.MonkeyPatch) -> list[RunSpec]:
        """Those of one column, as if the weights were here."""
        monkeypatch.setattr("bench.cards.backbone.BackboneCard.absence", "")
        plan = plan_paper("gta/table2", Registry(), Overrides(rates="15", datasets="cub200"))
        return list(plan.unique.values())

    def test_compares_as_the_table_does(self, runs: list[RunSpec], capsys: pytest.CaptureFixture[str]) -> None:
        publish(runs, near)
        found = in_json(capsys, "gta/table2", "--rates", "15", "--datasets", "cub200")
        assert {need["baseline"] for need in found["comparisons"]} == {"Fine-tune (baseline)"}
        assert {need["method"] for need in found["comparisons"]} == {
            "L2-SP [41]",
            "BSS [8]",
            "Attention only (freeze FFN) [37]",
            "FFN only (freeze attention) [37]",
            "GTA",
        }
        assert {need["where"] for need in found["comparisons"]} == {"gta/table2 / CUB / 15%"}
        assert {need["level"] for need in found["comparisons"]} == {0.01}

    def test_pairs_are_of_runs_that_share_a_draw(self, runs: list[RunSpec], capsys: pytest.CaptureFixture[str]) -> None:
        publish(runs, uneven)
        typed = ("gta/table2", "--rates", "15", "--datasets", "cub200", "--test", "paired")
        found = {need["method"]: need for need in in_json(capsys, *typed)["comparisons"]}
        gaps = [2.0 + part for part in (0.0, 1.0, -1.3)]
        guided = found["GTA"]
        assert guided["p"] == pytest.approx(ttest_rel(gaps, [0.0] * 3).pvalue, abs=1e-9)
        assert (guided["pairs"], guided["needed"]) == (3, pairs_needed(*mean_std(gaps), guided["level"], start=4))


class TestWhichTest:
    """``--test``, or the test that the experiment declares."""

    TYPED = ("demo", "--methods", "ce,gta", "--rates", "15")

    def test_the_paired_test_goes_by_the_spread_of_the_differences(
        self, here: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        publish(demo(methods="ce,gta", rates="15"), uneven)
        found = in_json(capsys, *self.TYPED, "--test", "paired")
        (need,) = found["comparisons"]
        gaps = [2.0, 3.0, 0.7]
        assert found["test"] == "paired"
        assert need["p"] == pytest.approx(ttest_rel(gaps, [0.0] * 3).pvalue, abs=1e-9)
        assert (need["pairs"], need["needed"]) == (3, pairs_needed(*mean_std(gaps), start=4))
        (welch,) = in_json(capsys, *self.TYPED, "--test", "welch")["comparisons"]
        assert welch["needed"] > need["needed"]  # the seeds share their ups and downs
        out = told(capsys, *self.TYPED, "--test", "paired")
        assert "3 pairs" in out
        assert "The paired t-test at alpha = 0.05, Holm-corrected; needed pairs take the gap" in out

    def test_only_seeds_of_both_sides_are_pairs(self, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
        publish(
            [spec for spec in demo(methods="ce,gta", rates="15") if (spec.method.name, spec.seed) != ("ce", 2)], uneven
        )
        (need,) = in_json(capsys, *self.TYPED, "--test", "paired")["comparisons"]
        assert (need["seeds"], need["pairs"], need["gap"]) == ([3, 2], 2, pytest.approx(2.5))

    def test_pairs_that_differ_by_the_same_have_no_spread(self, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
        publish(demo(methods="ce,bss", rates="15"), near)
        typed = ("demo", "--methods", "ce,bss", "--rates", "15", "--test", "paired")
        (need,) = in_json(capsys, *typed)["comparisons"]
        assert (need["needed"], need["note"]) == (None, "no pair differs from another: there is no spread to go by")

    @pytest.mark.parametrize("seeds", ["1", "0,1"])
    def test_one_pair_needs_a_second_one(self, seeds: str, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
        publish([spec for spec in demo(methods="ce,gta", rates="15") if spec.seed == 0], uneven)
        (need,) = in_json(capsys, *self.TYPED, "--seeds", seeds, "--test", "paired")["comparisons"]
        assert (need["needed"], need["note"]) == (2, "one pair has no spread: look again with two")

    def test_the_permutation_test_needs_seeds_to_reach_its_level_at_all(
        self, here: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        publish(demo(methods="ce,linear", rates="15"), near)
        typed = ("demo", "--methods", "ce,linear", "--rates", "15")
        (need,) = in_json(capsys, *typed, "--test", "permutation")["comparisons"]
        assert (need["p"], need["needed"], need["note"]) == (pytest.approx(0.1), 4, "with fewer no p can be 0.05")
        assert in_json(capsys, *typed)["comparisons"][0]["note"] == "significant"
        assert "2 / C(2n, n)" in told(capsys, *typed, "--test", "permutation")

    def test_what_the_exact_test_cannot_count_out_is_not_planned_for(
        self, here: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        publish(demo(methods="ce,gta", rates="15"), lambda spec: near(spec) / 4 + 3 * spec.seed)
        found = in_json(capsys, *self.TYPED, "--test", "permutation", "--most", "500")
        (need,) = found["comparisons"]
        assert need["needed"] is None
        assert need["note"].endswith(", and the exact test takes at most 20 on each side")
        assert found["command"] == ""

    def test_more_seeds_than_the_exact_test_takes_are_refused(
        self, here: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        publish(demo(methods="ce,gta", rates="15", seeds="21"), near)
        assert main(["power", *self.TYPED, "--seeds", "21", "--test", "permutation"]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert "the exact test is for at most 40 values" in line

    def test_a_declared_test_is_used(self, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
        Path("mine.yaml").write_text(
            "methods: [ce, gta]\nbackbones: [micro_vit]\ndatasets: [cluttered_digits]\nrates: [15]\nseeds: 3\n"
            "baseline: ce\nprotocol: {steps: 10}\ntable: {test: paired}\n",
            encoding="utf-8",
        )
        publish(list(read_plan("mine.yaml", Registry()).unique.values()), uneven)
        assert in_json(capsys, "mine.yaml")["test"] == "paired"
        assert in_json(capsys, "mine.yaml", "--test", "welch")["test"] == "welch"


def against(family: str, values: tuple[float, ...], base: tuple[float, ...], test: str = "welch") -> Contrast:
    """Values of seeds that nobody knows."""
    cell, base_cell = Cell(values, planned=len(values)), Cell(base, planned=len(base))
    (result,) = compare_with(test, [cell], base_cell, 1)
    return Contrast((family,), family, "a", "b", cell, base_cell, 2, test, result.p, result.estimate)


class TestWeigh:
    def test_runs_of_one_seed_that_share_nothing_are_no_pairs(self) -> None:
        (need,) = weigh([against("w", (62.0, 61.0), (60.0, 60.5), "paired")], 0.05, 0.8)
        assert (need.seeds, need.note) == (None, "runs of one seed share nothing: there are no pairs")

    def test_families_are_apart(self) -> None:
        def comparison(family: str, gap: float) -> Contrast:
            return against(family, (60 + gap, 61 + gap, 62 + gap), (60.0, 61.0, 62.0))

        found = weigh(
            [comparison("x", 1.0), comparison("y", 1.5), comparison("x", 40.0), comparison("x", 0.5)], 0.05, 0.8
        )
        assert [need.level for need in found] == [0.025, 0.05, 0.025, 0.025]
        assert [need.note for need in found] == ["", "", "significant", ""]
        for need in found:
            if need.seeds is not None:
                assert welch_power(need.gap, 1.0, 1.0, need.seeds, need.seeds, need.level) >= 0.8

    def test_no_spread(self) -> None:
        equal = against("w", (60.0, 60.0), (60.0, 60.0))
        (need,) = weigh([equal], 0.05, 0.8)
        assert (need.seeds, need.note) == (None, "no seed differs: there is no spread to go by")

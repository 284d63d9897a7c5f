"""docs/statistics.md says what the script measures, and what it says is so."""

from __future__ import annotations

import importlib
import re
from itertools import pairwise
from pathlib import Path
from types import ModuleType

import pytest

from bench.stats.reach import smallest_p

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "statistics.md").read_text(encoding="utf-8")


def loaded(name: str) -> ModuleType:
    """A script of the benchmarks."""
    return importlib.import_module(f"benchmarks.{name}")


@pytest.fixture(scope="module")
def script() -> ModuleType:
    return loaded("false_positives")


def measured(script: ModuleType) -> dict[str, list[float]]:
    """The rows of the table: percent by rule, equal noise before unequal, n = 3, 5, 10 in each."""
    body = PAGE.partition(script.BEGIN)[2].partition(script.END)[0]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in body.splitlines() if line.startswith("|")]
    return {name: list(map(float, cells)) for name, *cells in rows[2:] if cells[0]}


def test_table_has_every_rule_and_setting(script: ModuleType) -> None:
    rows = measured(script)
    assert list(rows) == [rule.name for rule in script.RULES]
    assert {len(cells) for cells in rows.values()} == {6}


def test_table_has_command_and_hardware(script: ModuleType) -> None:
    told = PAGE.partition(script.END)[0].splitlines()[-2]
    assert re.search(
        r"`python benchmarks/false_positives\.py`, \d+ s of one core of .+; Python .+, NumPy .+, SciPy", told
    )


@pytest.mark.parametrize(("name", "n", "noise"), [("Welch's t", 3, "equal"), ("paired t, on runs", 5, "unequal")])
def test_numbers_are_those_that_are_measured(script: ModuleType, name: str, n: int, noise: str) -> None:
    (rule,) = (rule for rule in script.RULES if rule.name.startswith(name))
    place = script.NOISE.index(noise) * len(script.SEEDS) + script.SEEDS.index(n)
    found = script.rate(rule, n, noise, rule.replicates)
    assert measured(script)[rule.name][place] == pytest.approx(found, abs=0.3)


def test_offered_tests_keep_their_level_with_equal_noise(script: ModuleType) -> None:
    rows = measured(script)
    whole_group = "bold group: any of"  # says more than the group promises
    offered = [rule.name for rule in script.RULES if rule.offered and not rule.name.startswith(whole_group)]
    assert {name: rows[name] for name in offered if max(rows[name][:3]) > 7.0} == {}


def test_habits_do_not(script: ModuleType) -> None:
    rows = measured(script)
    assert {rule.name for rule in script.RULES if not rule.offered and max(rows[rule.name]) < 7.0} == set()


def test_smallest_p_are_as_said() -> None:
    body = PAGE.partition("| n | permutation")[2].partition("\n\n")[0]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in body.splitlines()[2:]]
    assert [row[0] for row in rows] == ["3", "4", "5", "6"]
    for n, *cells in rows:
        alone = ("paired_permutation", "wilcoxon", "kendall")
        p = [smallest_p("permutation", int(n), int(n)), *(smallest_p(test, int(n)) for test in alone)]
        assert cells == [f"{value:.3g}" for value in p]


@pytest.fixture(scope="module")
def verdicts() -> ModuleType:
    return loaded("verdicts")


def judged(script: ModuleType) -> dict[tuple[str, ...], list[tuple[float, ...]]]:
    """The rows of the table of verdicts: same and differs in percent at each gap, by what is known of a cell."""
    body = PAGE.partition(script.BEGIN)[2].partition(script.END)[0]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in body.splitlines() if line.startswith("|")]
    return {tuple(row[:3]): [tuple(map(float, cell.split(" / "))) for cell in row[3:]] for row in rows[2:]}


def test_verdicts_are_measured_for_every_setting(verdicts: ModuleType) -> None:
    assert list(judged(verdicts)) == [
        (setting.printed, setting.name, str(n)) for setting in verdicts.SETTINGS for n in verdicts.SEEDS
    ]
    told = PAGE.partition(verdicts.END)[0].splitlines()[-2]
    assert re.search(r"`python benchmarks/verdicts\.py`, \d+ s of one core of .+; Python .+, NumPy .+, SciPy", told)


@pytest.mark.parametrize(("place", "n"), [(1, 3), (6, 10)])
def test_verdicts_are_as_they_are_measured(verdicts: ModuleType, place: int, n: int) -> None:
    setting = verdicts.SETTINGS[place]
    again = verdicts.rates(setting, n, verdicts.PAPERS)
    expected = judged(verdicts)[setting.printed, setting.name, str(n)]
    for cell, (same, differs) in zip(again, expected, strict=True):
        assert [float(number) for number in cell.split(" / ")] == pytest.approx([same, differs], abs=0.3)


def test_no_verdict_is_wrong_more_often_than_is_said(verdicts: ModuleType) -> None:
    rows = judged(verdicts)
    worst = [
        max(cells[verdicts.GAPS.index(gap)][word] for cells in rows.values())
        for word, gaps in ((0, (2.0, 3.0, 4.0, 6.0)), (1, (0.0, 1.0, 2.0)))
        for gap in gaps
    ]
    assert max(worst) <= 6.0


def test_more_seeds_tell_more(verdicts: ModuleType) -> None:
    rows = judged(verdicts)
    for setting in verdicts.SETTINGS:
        if setting.noise[0] == 1.0:
            same = [rows[setting.printed, setting.name, str(n)][0][0] for n in verdicts.SEEDS]
            differs = [rows[setting.printed, setting.name, str(n)][-1][1] for n in verdicts.SEEDS]
            assert all(later >= earlier - 0.5 for values in (same, differs) for earlier, later in pairwise(values))

"""docs/statistics.md says what benchmarks/audit_power.py measures of the audit, and what it says is so."""

from __future__ import annotations

import importlib
import re
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "statistics.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def script() -> ModuleType:
    return importlib.import_module("benchmarks.audit_power")


def measured(script: ModuleType) -> dict[str, list[str]]:
    """The cells of both tables, by the first one of their row."""
    body = PAGE.partition(script.BEGIN)[2].partition(script.END)[0]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in body.splitlines() if line.startswith("|")]
    return {name: cells for name, *cells in rows}


def test_the_page_has_every_fault_and_setting_with_command_and_hardware(script: ModuleType) -> None:
    rows = measured(script)
    assert rows["planted"] == [setting.title for setting in script.SETTINGS]
    assert {fault.name for fault in (script.TRUE, *script.FAULTS)} <= set(rows)
    last = PAGE.partition(script.END)[0].splitlines()[-2]
    assert re.search(r"`python benchmarks/audit_power\.py`, \d+ s of one core of .+; Python .+, NumPy .+, SciPy", last)


@pytest.mark.slow
@pytest.mark.parametrize("number", [0, 3])
def test_true_tables_have_the_false_alarms_that_are_said(script: ModuleType, number: int) -> None:
    count = script.counted(script.TRUE, script.SETTINGS[number], script.REPLICATES)
    assert count == int(measured(script)[script.TRUE.name][number])


def test_false_alarms_are_rare(script: ModuleType) -> None:
    assert max(map(int, measured(script)[script.TRUE.name])) <= script.REPLICATES * 0.03


def test_what_contradicts_an_average_is_found_whatever_the_size(script: ModuleType) -> None:
    for name in ("an average 5 units off", "a number with its first two digits swapped"):
        assert min(map(int, measured(script)[name])) == script.REPLICATES


def test_shares_of_deviations_are_those_that_are_measured(script: ModuleType) -> None:
    count = script.deviations_that_can_be(5794, 2, 3, 5 * script.REPLICATES)
    assert measured(script)["2 runs on 5,794 images"][2] == str(round(100 * count / (5 * script.REPLICATES)))


@pytest.mark.parametrize("setting", range(7))
def test_a_planted_fault_changes_the_table(script: ModuleType, setting: int) -> None:
    for fault in script.FAULTS:
        if fault.needs_deviations and script.SETTINGS[setting].runs == 1:
            continue
        rng = np.random.default_rng(setting)
        table = script.made(rng, script.SETTINGS[setting])
        text = table.text()
        row, column = fault.plant(rng, table)
        assert table.text() != text, fault.name
        assert row or column

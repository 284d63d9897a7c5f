"""What captions say of choices on the validation split: values at an edge, equal scores, and runs that choose."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from bench.plan.table import Candidate
from bench.plan.target import read_plan
from bench.records.store import Finished
from bench.registry import Registry
from bench.sheets.sheet import Sheet
from bench.sheets.view import sheet_of
from bench.tables.compare import fill_table
from tests.tables.small import known, run

EDGE = "At the edge of what was tried, so that a better value may lie beyond it: "
EQUAL = "Candidates with equal scores on the validation split, of which the first counts: "
RATES = [1e-3, 1e-2, 1e-1]
SWEPT = {"ce": {}, "settings": {"lr": RATES}}

Score = Callable[[Candidate, str], float]
"""What a candidate scores on the validation split at a rate."""


def sheet(folder: Path, methods: dict[str, Any], score: Score, sweep: str = "best-val") -> Sheet:
    keys = {
        "methods": methods,
        "backbones": ["micro_vit"],
        "datasets": ["digits"],
        "rates": [15, 100],
        "seeds": 2,
        "protocol": {"steps": 20},
        "sweep": sweep,
    }
    (folder / "mine.yaml").write_text(yaml.safe_dump(keys, sort_keys=False), encoding="utf-8")
    (plan,) = read_plan(str(folder / "mine.yaml"), Registry()).tables
    finished: dict[str, Finished] = {}
    for _, cell in plan.places():
        for candidate in cell.candidates:
            for spec in candidate.runs:
                value = score(candidate, cell.axes["rate"])
                finished[spec.id] = run(spec.id, (value, value))
    return sheet_of(fill_table(plan, known(finished)))


def near(best: float, at_all: float) -> Score:
    """The nearer to a value at 15 %, and to another one at 100 %, the better."""

    def score(candidate: Candidate, rate: str) -> float:
        wanted = best if rate == "15 %" else at_all
        return 50.0 - sum(abs(float(value) - wanted) for _, value in candidate.swept if not isinstance(value, str))

    return score


def said(of: Sheet, start: str) -> list[str]:
    return [note.removeprefix(start) for note in (*of.notes, *of.remarks) if note.startswith(start)]


@pytest.mark.parametrize(
    ("best", "at_all", "expected"),
    [
        (1e-2, 1e-2, []),
        (1e-3, 1e-2, ["Mine (lr=0.001, 15 %)."]),
        (1e-1, 1e-1, ["Mine (lr=0.1)."]),
        (1e-3, 1e-1, ["Mine (lr=0.001, 15 %; lr=0.1, 100 %)."]),
    ],
)
def test_values_at_the_edge_of_what_was_tried_are_named_with_their_cells(
    tmp_path: Path, best: float, at_all: float, expected: list[str]
) -> None:
    assert said(sheet(tmp_path, {"Plain": "ce", "Mine": SWEPT}, near(best, at_all)), EDGE) == expected


def test_of_several_swept_values_those_at_an_edge_are_named(tmp_path: Path) -> None:
    both = {"gta": {"weight": [1, 2, 3]}, "settings": {"lr": RATES}}
    swept = sheet(tmp_path, {"Mine": both}, near(2.0, 2.0))
    assert said(swept, EDGE) == ["Mine (lr=0.1)."]


def test_words_have_no_edge_nor_has_none_of_it(tmp_path: Path) -> None:
    def first(candidate: Candidate, rate: str) -> float:
        return 50.0 - float(candidate.label.endswith("=1)") or candidate.label.endswith("=adamw)"))

    rows = {"Weight": {"gta": {"weight": [0, 1]}}, "Word": {"ce": {}, "settings": {"optimizer": ["sgd", "adamw"]}}}
    swept = sheet(tmp_path, rows, first)
    assert {record["chosen"] for record in swept.records} == {"Weight (weight=0)", "Word (optimizer=sgd)"}
    assert not said(swept, EDGE)


def test_many_rows_are_named_in_part(tmp_path: Path) -> None:
    rows = {f"Row {n}": {"ce": {}, "settings": {"lr": [*RATES], "momentum": 0.1 * n}} for n in range(7)}
    (sentence,) = said(sheet(tmp_path, rows, near(1e-1, 1e-1)), EDGE)
    assert sentence == "Row 0 (lr=0.1); Row 1 (lr=0.1); Row 2 (lr=0.1); Row 3 (lr=0.1) and 3 more."


def test_candidates_with_equal_scores_are_named_and_the_first_counts(tmp_path: Path) -> None:
    def level(candidate: Candidate, rate: str) -> float:
        return 40.0 if candidate.label == "Mine (lr=0.1)" or (rate == "100 %" and "0.01" in candidate.label) else 50.0

    swept = sheet(tmp_path, {"Plain": "ce", "Mine": SWEPT}, level)
    assert said(swept, EQUAL) == ["Mine (lr=0.001 and lr=0.01, 15 %)."]
    assert {record["chosen"] for record in swept.records if record["method"] == "Mine"} == {"Mine (lr=0.001)"}
    even = sheet(tmp_path, {"Mine": {"ce": {}, "settings": {"lr": [1e-3 * (n + 1) for n in range(7)]}}}, lambda *_: 9.0)
    (sentence,) = said(even, EQUAL)
    assert sentence == "Mine (lr=0.001, lr=0.002, lr=0.003, lr=0.004 and 3 more)."


def test_scores_that_differ_by_the_rounding_of_a_sum_alone_are_equal(tmp_path: Path) -> None:
    def level(candidate: Candidate, rate: str) -> float:
        return 0.1 + 0.2 if "0.01" in candidate.label else 0.3

    swept = sheet(tmp_path, {"Mine": {"ce": {}, "settings": {"lr": [1e-3, 1e-2]}}}, level)
    assert {record["chosen"] for record in swept.records} == {"Mine (lr=0.001)"}
    assert said(swept, EQUAL) == ["Mine (lr=0.001 and lr=0.01)."]


@pytest.mark.parametrize("sweep", ["best-test", "rows"])
def test_other_sweeps_have_neither_sentence(tmp_path: Path, sweep: str) -> None:
    swept = sheet(tmp_path, {"Mine": SWEPT}, lambda *_: 9.0, sweep)
    assert not said(swept, EDGE)
    assert not said(swept, EQUAL)


# ---- runs that choose by themselves

ITSELF = ": each run chooses among what it trained on the validation split itself."


@pytest.mark.parametrize(
    ("methods", "expected"),
    [
        ({"Plain": "ce"}, []),
        ({"Plain": "ce", "Uniform": {"ce": {}, "soup": {"kind": "uniform"}}}, []),
        ({"Plain": "ce", "Sweep of heads": "linear_sweep"}, ["Sweep of heads"]),
        ({"Sweep of heads": "linear_sweep", "Soup": "ce+soup", "Plain": "ce"}, ["Sweep of heads and Soup"]),
        ({"Soup": {"ce": {}, "soup": {"kind": ["uniform", "greedy"]}}}, ["Soup"]),
    ],
)
def test_runs_that_choose_on_the_validation_split_by_themselves_are_named(
    tmp_path: Path, methods: dict[str, Any], expected: list[str]
) -> None:
    notes = sheet(tmp_path, methods, lambda *_: 9.0).notes
    assert [note.removesuffix(ITSELF) for note in notes if note.endswith(ITSELF)] == expected

"""A cell from its runs: which candidate of a sweep counts, what failed, and what is said of either."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from bench.plan.overrides import Overrides
from bench.plan.table import Plan, TablePlan
from bench.plan.target import read_plan
from bench.records.store import Finished, Store
from bench.registry import Registry
from bench.sheets.sheet import BEST, Sheet
from bench.sheets.tried import candidates_sheet
from bench.sheets.view import by_rule, sheet_of
from bench.tables.candidates import Choice, choose
from bench.tables.caption import MISSING
from bench.tables.compare import Table, fill_table
from bench.tables.results import Results, results_of
from tests.tables.small import (
    VAL,
    everything,
    facts,
    filled,
    known,
    ours,
    planned,
    results,
    run,
    shown,
)

TEST = [[70.0, 71.0, 72.0], [90.0, 91.0, 92.0]]
SMALL, LARGE = "gta (weight=0.1)", "gta (weight=1)"
GTA = ("Digits / GTA", "15%")


@pytest.fixture
def plan(tmp_path: Path) -> TablePlan:
    return planned(tmp_path)


def chosen(folder: Path, finished: dict[str, Finished], rule: str) -> Choice:
    """What is chosen for GTA on Digits at 15 %, where this rule is typed."""
    plan = planned(folder, overrides=Overrides(selection=rule))
    return choose(plan.cells[2][0], plan.rules, known(finished))


def without(plan: TablePlan, candidate: int, seeds: int, kind: str) -> tuple[dict[str, Finished], dict[str, str]]:
    """The runs of GTA's sweep on Digits, of which some seeds of a candidate failed."""
    cell = plan.cells[2][0]
    finished = results(cell, *TEST, val=VAL)
    failed = {spec.id: kind for spec in cell.candidates[candidate].runs[:seeds]}
    for run_id in failed:
        del finished[run_id]
    return finished, failed


# ---- which candidate counts


def test_a_sweep_is_chosen_on_the_split_that_its_rule_names(plan: TablePlan, tmp_path: Path) -> None:
    finished = results(plan.cells[2][0], *TEST, val=VAL)
    for rule, label in (("last", SMALL), ("best-val", SMALL), ("best-test", LARGE)):
        candidate = chosen(tmp_path, finished, rule).chosen
        assert candidate is not None
        assert candidate.label == label
    sheet = ours(plan, finished)
    assert (shown(sheet, "gta", 0).value, facts(sheet, *GTA)["chosen"]) == ("71.0", SMALL)


def test_a_sweep_scores_each_run_where_the_selection_rule_does(plan: TablePlan, tmp_path: Path) -> None:
    first, second = (candidate.runs for candidate in plan.cells[2][0].candidates)
    finished = {spec.id: run(spec.id, (99.0, 0.0), (70.0, 0.0)) for spec in first}
    finished |= {spec.id: run(spec.id, (80.0, 0.0), (75.0, 0.0)) for spec in second}
    assert chosen(tmp_path, finished, "last").means == ((SMALL, 70.0), (LARGE, 75.0))
    assert chosen(tmp_path, finished, "best-val").means == ((SMALL, 99.0), (LARGE, 80.0))


@pytest.mark.parametrize("missing", [0, 1])
def test_while_runs_are_missing_nothing_is_chosen(plan: TablePlan, missing: int) -> None:
    cell = plan.cells[2][0]
    finished = results(cell, *TEST, val=VAL)
    del finished[cell.candidates[missing].runs[2].id]
    sheet, waits = ours(plan, finished), f"its sweep waits for 1 run of {(SMALL, LARGE)[missing]}"
    assert (shown(sheet, "gta", 0).value, facts(sheet, *GTA)["note"]) == (MISSING, waits)
    assert f"–: {waits} (1 cell)." in sheet.remarks


def test_a_sweep_on_validation_without_that_split_gives_nothing(plan: TablePlan) -> None:
    choice = choose(plan.cells[2][0], plan.rules, known(results(plan.cells[2][0], *TEST)))
    assert (choice.chosen, choice.lacking) == (None, "there is no validation split to choose on")


def test_one_candidate_needs_no_choice(plan: TablePlan) -> None:
    cell = plan.cells[0][0]
    assert choose(cell, plan.rules, known({})).chosen is cell.candidates[0]


# ---- what failed


@pytest.mark.parametrize(("seeds", "kind", "why"), [(1, "diverged", "diverged"), (2, "oom", "failed (oom)")])
def test_a_candidate_that_failed_is_left_out_and_named(plan: TablePlan, seeds: int, kind: str, why: str) -> None:
    sheet = ours(plan, *without(plan, 0, seeds, kind))  # the one that is best on the validation split
    left = f"{SMALL}, {seeds} of 3 runs {why}"
    record = facts(sheet, *GTA)
    assert (shown(sheet, "gta", 0).value, record["chosen"], record["note"]) == ("91.0", LARGE, f"left out: {left}")
    assert (
        "Left out of the choice among swept values, as some of their seeds have no score: "
        f"{left}, in Digits / GTA / 15%."
    ) in sheet.remarks
    again = "What failed and did not diverge can be trained again: 'bench retry'."
    assert (again in sheet.remarks) == (kind != "diverged")


def test_what_was_left_out_for_one_reason_is_said_once(plan: TablePlan) -> None:
    finished, failed = without(plan, 0, 1, "diverged")
    cell = plan.cells[2][1]
    finished |= results(cell, [60.0, 61.0], [70.0, 71.0, 72.0], val=[[9.0] * 2, [8.0] * 3])
    failed[cell.candidates[0].runs[2].id] = "diverged"
    left = f"{SMALL}, 1 of 3 runs diverged, in Digits / GTA / 15%, Digits / GTA / 100%."
    assert len([note for note in ours(plan, finished, failed).remarks if note.endswith(left)]) == 1


def test_nothing_is_chosen_while_others_than_the_failed_are_missing(plan: TablePlan) -> None:
    finished, failed = without(plan, 0, 1, "diverged")
    del finished[plan.cells[2][0].candidates[1].runs[0].id]
    sheet = ours(plan, finished, failed)
    assert shown(sheet, "gta", 0).value == MISSING
    assert facts(sheet, *GTA)["note"] == f"its sweep waits for 1 run of {LARGE}"


def test_where_every_candidate_failed_the_cell_says_so(plan: TablePlan) -> None:
    candidates = plan.cells[2][0].candidates
    failed = {spec.id: "diverged" for candidate in candidates for spec in candidate.runs}
    sheet = ours(plan, {}, failed)
    assert shown(sheet, "gta", 0).value == MISSING
    assert facts(sheet, *GTA)["note"] == "no candidate of its sweep has all its runs"
    assert any(f"{SMALL}, 3 of 3 runs diverged" in note and f"{LARGE}, 3 of 3" in note for note in sheet.remarks)


def test_a_run_that_failed_and_was_trained_later_has_not_failed(plan: TablePlan) -> None:
    cell = plan.cells[2][0]
    failed = {cell.candidates[0].runs[0].id: "node"}
    sheet = ours(plan, results(cell, *TEST, val=VAL), failed)
    assert (facts(sheet, *GTA)["chosen"], facts(sheet, *GTA)["note"]) == (SMALL, None)
    assert not [note for note in sheet.remarks if note.startswith("Left out")]


def test_failed_seeds_of_a_plain_cell_are_counted_and_not_averaged_in(plan: TablePlan) -> None:
    failed = {plan.cells[0][0].candidates[0].runs[2].id: "diverged"}
    sheet = ours(plan, results(plan.cells[0][0], [80.0, 81.0]), failed)
    assert (shown(sheet, "ce", 0).value, shown(sheet, "ce", 0).count) == ("80.5", "n=2/3!")
    assert facts(sheet, "Digits / Fine-tune", "15%")["note"] == "1 of 3 runs diverged"
    assert "Not averaged in: 1 of 3 runs diverged, in Digits / Fine-tune / 15%." in sheet.remarks


def publish(store: Store, spec: Any, val: float, test: float) -> None:
    point = {"step": 1, "val": {"top1": val}, "test": {"top1": test}}
    with store.draft() as draft:
        store.publish(draft, spec, {"curve": [point], "timing": {"seconds": 1.0}})


def test_failures_are_those_of_the_store_that_were_not_trained_again(plan: TablePlan, tmp_path: Path) -> None:
    store = Store(tmp_path / "results")
    first, second, third = plan.cells[0][0].candidates[0].runs
    for spec, kind in ((first, "diverged"), (second, "oom")):
        with store.draft() as draft:
            store.publish_failure(draft, spec, {"error": {"class": kind, "kind": "K", "message": "m"}})
    for spec in (second, third):
        publish(store, spec, 50.0, 60.0)
    assert results_of(Plan("mini", "", (plan,)), store).failed == {first.id: "diverged"}


# ---- what each candidate scored


def swept_results(folder: Path, row: Any, sweep: str = "best-val", left: int = 0) -> tuple[TablePlan, Results]:
    """An experiment with a swept row; its second candidate is the best on validation, its first one on test.

    ``left`` runs of the last candidate have not finished.
    """
    keys = {
        "methods": {"Plain": "ce", "Swept": row},
        "backbones": ["micro_vit"],
        "datasets": ["digits"],
        "rates": [15, 100],
        "seeds": 2,
        "protocol": {"steps": 20},
        "baseline": "Plain",
        "sweep": sweep,
    }
    (folder / "mine.yaml").write_text(yaml.safe_dump(keys, sort_keys=False), encoding="utf-8")
    (plan,) = read_plan(str(folder / "mine.yaml"), Registry()).tables
    finished: dict[str, Finished] = {}
    for _, cell in plan.places():
        for at, candidate in enumerate(cell.candidates):
            for spec in candidate.runs[: len(candidate.runs) - left * (at > 0)]:
                finished[spec.id] = run(spec.id, (70.0 + at + spec.seed, 90.0 - at))
    return plan, known(finished)


def swept(folder: Path, row: Any, sweep: str = "best-val") -> Table:
    plan, finished = swept_results(folder, row, sweep)
    return fill_table(plan, finished)


def tried(folder: Path, row: Any, sweep: str = "best-val", left: int = 0) -> Sheet:
    plan, finished = swept_results(folder, row, sweep, left)
    return candidates_sheet(fill_table(plan, finished), finished)


@pytest.mark.parametrize(
    ("row", "first", "second"),
    [
        ({"gta": {"weight": [1, 2]}}, "Swept (weight=1)", "Swept (weight=2)"),
        ({"ce": {}, "settings": {"lr": [1e-3, 1e-2]}}, "Swept (lr=0.001)", "Swept (lr=0.01)"),
    ],
)
def test_a_swept_row_of_an_experiment_is_its_best_candidate(tmp_path: Path, row: Any, first: str, second: str) -> None:
    table = swept(tmp_path, row)
    sheet = sheet_of(table)
    assert sheet.rows == (("Plain",), ("Swept",))
    assert [cell.value for cell in sheet.cells[1]] == ["89.0", "89.0"]
    assert {record["chosen"] for record in sheet.records if record["method"] == "Swept"} == {second}
    assert "Of swept values the best on the validation split count; candidates tried: Swept 2." in sheet.notes
    on_test = sheet_of(swept(tmp_path, row, "best-test"))
    assert {record["chosen"] for record in on_test.records if record["method"] == "Swept"} == {first}
    assert any("test split (an oracle" in note for note in on_test.notes)


def test_the_losers_of_a_sweep_are_shown_with_their_scores_on_both_splits(tmp_path: Path) -> None:
    sheet = tried(tmp_path, {"gta": {"weight": [1, 2]}})
    places = [f"Swept / {rate}" for rate in ("15 %", "100 %")]
    labels = ("Swept (weight=1)", "Swept (weight=2)")
    assert sheet.rows == tuple((place, label) for place in places for label in labels)
    assert sheet.columns == (("mean on the validation split",), ("mean on the test split",), ("finished",))
    lines = [["70.50", "90.00", "2/2"], ["71.50", "89.00", "2/2"]]
    assert [[cell.value for cell in line] for line in sheet.cells] == lines * 2
    assert [line[0].look for line in sheet.cells] == ["", BEST] * 2
    assert [line[0].std for line in sheet.cells] == ["0.71"] * 4
    keys = ("candidate", "split", "mean", "chosen")
    assert [tuple(record[key] for key in keys) for record in sheet.records[:4]] == [
        (labels[0], "validation", 70.5, False), (labels[0], "test", 90.0, False),
        (labels[1], "validation", 71.5, True), (labels[1], "test", 89.0, True),
    ]  # fmt: skip
    assert {(record["rate"], record["method"]) for record in sheet.records} == {("15 %", "Swept"), ("100 %", "Swept")}


def test_a_sweep_on_the_test_split_has_its_scores_there_alone(tmp_path: Path) -> None:
    sheet = tried(tmp_path, {"gta": {"weight": [1, 2]}}, "best-test")
    assert sheet.columns == (("mean on the test split",), ("finished",))
    assert [line[0].look for line in sheet.cells] == [BEST, ""] * 2


def test_candidates_of_a_sweep_that_is_not_complete_have_their_finished_runs_and_none_counts(tmp_path: Path) -> None:
    sheet = tried(tmp_path, {"gta": {"weight": [1, 2]}}, left=1)
    lines = [["70.50", "90.00", "2/2"], ["71.00", "89.00", "1/2"]]
    assert [[cell.value for cell in line] for line in sheet.cells] == lines * 2
    assert not any(shown.look for line in sheet.cells for shown in line)
    assert sheet.remarks == ("None counts: its sweep waits for 1 run of Swept (weight=2).",)


def test_a_candidate_that_cannot_be_chosen_is_shown_with_the_reason(plan: TablePlan) -> None:
    finished, failed = without(plan, 0, 3, "diverged")
    sheet = candidates_sheet(filled(plan, finished, failed), known(finished, failed))
    scores = {key: (line[0].value, line[0].is_word) for key, line in zip(sheet.rows, sheet.cells, strict=True)}
    assert scores["Digits / GTA / 15%", SMALL] == ("3 of 3 runs diverged", True)
    assert scores["Digits / GTA / 15%", LARGE] == ("50.00", False)
    assert {record["mean"] for record in sheet.records if record["note"]} == {None}


def test_sweep_rows_shows_every_candidate_in_a_row_and_chooses_none(tmp_path: Path) -> None:
    table = swept(tmp_path, {"gta": {"weight": [1, 2]}}, "rows")
    sheet = sheet_of(table)
    assert sheet.rows == (("Plain",), ("Swept (weight=1)",), ("Swept (weight=2)",))
    assert {record["chosen"] for record in sheet.records} == {None}
    assert not candidates_sheet(table, known({})).rows
    assert not any("swept" in note for note in sheet.notes)


# ---- rules side by side


def beside(folder: Path, finished: dict[str, Finished], *rules: str) -> Sheet:
    plans = {rule: planned(folder, overrides=Overrides(selection=rule)) for rule in rules}
    return by_rule({rule: filled(plan, finished) for rule, plan in plans.items()})


def test_rules_that_chose_different_candidates_are_told_with_their_choices(plan: TablePlan, tmp_path: Path) -> None:
    finished = {**everything(plan), **results(plan.cells[2][0], *TEST, val=VAL)}
    notes = beside(tmp_path, finished, "last", "best-val", "best-test").notes
    # at 100 % the same weight is best on both splits
    told = " choice too: Digits / GTA / 15% (last and best-val weight=0.1, best-test weight=1)."
    assert len([note for note in notes if told in note]) == 1


def test_rules_that_chose_alike_need_no_note(plan: TablePlan, tmp_path: Path) -> None:
    assert not [note for note in beside(tmp_path, everything(plan), "last", "best-test").notes if "choice too" in note]

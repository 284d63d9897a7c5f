"""A cell from its runs: which candidate of a sweep counts, what failed, and what is said of either."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest
from bench.papers.measured import choice_notes, choose, failures_of, measured
from bench.papers.table import MISSING, Rules, our_sheet
from tests.papers.test_table import VAL, everything, planned, results, run, shown

from bench.plan.overrides import Overrides
from bench.plan.paper import PaperPlan, TablePlan
from bench.records.store import Finished, Store

TEST = [[70.0, 71.0, 72.0], [90.0, 91.0, 92.0]]
SMALL, LARGE = "gta (weight=0.1)", "gta (weight=1)"


@pytest.fixture
def plan(tmp_path: Path) -> TablePlan:
    return planned(tmp_path)


def without(plan: TablePlan, candidate: int, seeds: int, kind: str) -> tuple[dict[str, Finished], dict[str, str]]:
    """The runs of GTA's sweep on Digits, of which some seeds of a candidate failed."""
    cell = plan.cells[2][0]
    finished = results(cell, *TEST, val=VAL)
    failed = {spec.id: kind for spec in cell.candidates[candidate].runs[:seeds]}
    for run_id in failed:
        del finished[run_id]
    return finished, failed


# ---- which candidate counts


def test_a_sweep_is_chosen_on_the_split_that_its_rule_names(plan: TablePlan) -> None:
    cell = plan.cells[2][0]
    finished = results(cell, *TEST, val=VAL)
    by_val = choose(cell.candidates, "best-val", "last", finished).chosen
    by_test = choose(cell.candidates, "best-test", "last", finished).chosen
    assert by_val is not None
    assert by_test is not None
    assert (by_val.label, by_test.label) == (SMALL, LARGE)
    found = shown(our_sheet(plan, finished), "gta", 0)
    assert (found.value, found.note) == ("71.0", SMALL)


def test_a_sweep_scores_each_run_where_the_selection_rule_does(plan: TablePlan) -> None:
    cell = plan.cells[2][0]
    first, second = (candidate.runs for candidate in cell.candidates)
    finished = {spec.id: run(spec.id, (0.0, 99.0), (0.0, 70.0)) for spec in first}
    finished |= {spec.id: run(spec.id, (0.0, 80.0), (0.0, 75.0)) for spec in second}
    assert choose(cell.candidates, "best-test", "last", finished).chosen is cell.candidates[1]
    assert choose(cell.candidates, "best-test", "best-test", finished).chosen is cell.candidates[0]


@pytest.mark.parametrize("missing", [0, 1])
def test_while_runs_are_missing_nothing_is_chosen(plan: TablePlan, missing: int) -> None:
    cell = plan.cells[2][0]
    finished = results(cell, *TEST, val=VAL)
    del finished[cell.candidates[missing].runs[2].id]
    assert choose(cell.candidates, "best-val", "last", finished).chosen is None
    found = shown(our_sheet(plan, finished), "gta", 0)
    assert (found.value, found.note) == (
        MISSING,
        f"its sweep waits for 1 run of {(SMALL, LARGE)[missing]}",
    )


def test_a_sweep_on_validation_without_that_split_gives_nothing(plan: TablePlan) -> None:
    cell = plan.cells[2][0]
    choice = choose(cell.candidates, "best-val", "last", results(cell, *TEST))
    assert (choice.chosen, choice.lacking) == (None, "there is no validation split to choose on")


def test_one_candidate_needs_no_choice(plan: TablePlan) -> None:
    cell = plan.cells[0][0]
    assert choose(cell.candidates, "best-val", "last", {}).chosen is cell.candidates[0]


# ---- what failed


@pytest.mark.parametrize(("seeds", "kind", "why"), [(1, "diverged", "diverged"), (2, "oom", "failed (oom)")])
def test_a_candidate_that_failed_is_left_out_and_named(plan: TablePlan, seeds: int, kind: str, why: str) -> None:
    finished, failed = without(plan, 0, seeds, kind)  # the one that is best on the validation split
    sheet = our_sheet(plan, finished, Rules(failed=failed))
    told = f"{SMALL}, {seeds} of 3 runs {why}"
    assert (shown(sheet, "gta", 0).value, shown(sheet, "gta", 0).note) == ("91.0", f"{LARGE}; left out: {told}")
    (note,) = (note for note in sheet.notes if note.startswith("Left out"))
    assert note == (
        "Left out of the choice among swept hyper-parameters, as some of their seeds have no accuracy: "
        f"{told}, in Digits / GTA / 15%."
    )
    again = "What failed and did not diverge can be trained again: 'bench retry'."
    assert (again in sheet.notes) == (kind != "diverged")


def test_what_was_left_out_for_one_reason_is_said_once(plan: TablePlan) -> None:
    finished, failed = without(plan, 0, 1, "diverged")
    cell = plan.cells[2][1]
    finished |= results(cell, [60.0, 61.0], [70.0, 71.0, 72.0], val=[[9.0] * 2, [8.0] * 3])
    failed[cell.candidates[0].runs[2].id] = "diverged"
    notes = our_sheet(plan, finished, Rules(failed=failed)).notes
    told = f"{SMALL}, 1 of 3 runs diverged, in Digits / GTA / 15%, Digits / GTA / 100%."
    assert len([note for note in notes if note.endswith(told)]) == 1


def test_nothing_is_chosen_while_others_than_the_failed_are_missing(plan: TablePlan) -> None:
    finished, failed = without(plan, 0, 1, "diverged")
    del finished[plan.cells[2][0].candidates[1].runs[0].id]
    found = shown(our_sheet(plan, finished, Rules(failed=failed)), "gta", 0)
    assert (found.value, found.note) == (MISSING, f"its sweep waits for 1 run of {LARGE}")


def test_where_every_candidate_failed_the_cell_says_so(plan: TablePlan) -> None:
    candidates = plan.cells[2][0].candidates
    failed = {spec.id: "diverged" for candidate in candidates for spec in candidate.runs}
    sheet = our_sheet(plan, {}, Rules(failed=failed))
    assert (shown(sheet, "gta", 0).value, shown(sheet, "gta", 0).note) == (
        MISSING,
        "no candidate of its sweep has all its runs",
    )
    assert any(f"{SMALL}, 3 of 3 runs diverged" in note and f"{LARGE}, 3 of 3" in note for note in sheet.notes)


def test_a_run_that_failed_and_was_trained_later_has_not_failed(plan: TablePlan) -> None:
    cell = plan.cells[2][0]
    failed = {cell.candidates[0].runs[0].id: "node"}
    sheet = our_sheet(plan, results(cell, *TEST, val=VAL), Rules(failed=failed))
    assert shown(sheet, "gta", 0).note == SMALL
    assert not [note for note in sheet.notes if note.startswith("Left out")]


def test_failed_seeds_of_a_plain_cell_are_counted_and_not_averaged_in(plan: TablePlan) -> None:
    failed = {plan.cells[0][0].candidates[0].runs[2].id: "diverged"}
    sheet = our_sheet(plan, results(plan.cells[0][0], [80.0, 81.0]), Rules(failed=failed))
    assert (shown(sheet, "ce", 0).value, shown(sheet, "ce", 0).note) == ("80.5", "n=2 of 3; 1 of 3 runs diverged")
    assert "Not averaged in: 1 of 3 runs diverged, in Digits / Fine-tune / 15%." in sheet.notes


def test_failures_are_those_of_the_store_that_were_not_trained_again(plan: TablePlan, tmp_path: Path) -> None:
    store, paper = Store(tmp_path / "results"), PaperPlan("mini", (plan,))
    first, second, third = plan.cells[0][0].candidates[0].runs
    for spec, kind in ((first, "diverged"), (second, "oom")):
        with store.draft() as draft:
            store.publish_failure(draft, spec, {"error": {"class": kind, "kind": "K", "message": "m"}})
    for spec in (second, third):
        with store.draft() as draft:
            point = {"step": 1, "val": {"top1": 50.0}, "test": {"top1": 60.0}}
            store.publish(draft, spec, {"status": "done", "curve": [point], "timing": {"seconds": 1.0}})
    assert failures_of(paper, store, store.finished()) == {first.id: "diverged"}


# ---- rules side by side


def by_rule(folder: Path, finished: Mapping[str, Finished], *rules: str) -> list[str]:
    plans = {rule: planned(folder, overrides=Overrides(selection=rule)) for rule in rules}
    return list(choice_notes(plans[rules[0]], {rule: measured(plan, finished) for rule, plan in plans.items()}))


def test_rules_that_chose_different_candidates_are_told_with_their_choices(plan: TablePlan, tmp_path: Path) -> None:
    finished = {**everything(plan), **results(plan.cells[2][0], *TEST, val=VAL)}
    (note,) = by_rule(tmp_path, finished, "last", "best-val", "best-test")
    # at 100 % the same weight is best on both splits
    assert note.endswith(" choice too: Digits / GTA / 15% (last and best-val weight=0.1, best-test weight=1).")


def test_rules_that_chose_alike_need_no_note(plan: TablePlan, tmp_path: Path) -> None:
    assert by_rule(tmp_path, everything(plan), "last", "best-test") == []

"""A paper's table with our numbers: means, deviations, tests, ranks, averages, differences, and its sentences."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import ttest_ind, ttest_rel

from bench.errors import InputError
from bench.metrics import METRICS
from bench.plan.overrides import Overrides
from bench.plan.paper import plan_paper
from bench.plan.table import Plan, TablePlan
from bench.records.store import Finished, Store
from bench.registry import Registry
from bench.sheets.sheet import BEST, CLOSE, SECOND
from bench.sheets.view import Look, default_source, render, sheet_of
from bench.stats.difference import pooled_estimates
from bench.stats.family import holm
from bench.tables.across import by_dataset
from bench.tables.caption import MISSING
from bench.tables.compare import Table, fill
from tests.tables.small import (
    everything,
    facts,
    filled,
    ours,
    plain,
    planned,
    results,
    run,
    said,
    shown,
)


@pytest.fixture
def plan(tmp_path: Path) -> TablePlan:
    return planned(tmp_path)


# ---- a cell


def test_a_cell_is_the_mean_and_the_sample_deviation_in_the_digits_of_print(plan: TablePlan) -> None:
    sheet = ours(plan, everything(plan))
    assert (shown(sheet, "ce", 0).value, shown(sheet, "ce", 0).std) == ("81.0", "1.0")
    assert (shown(sheet, "ce", 1).value, shown(sheet, "ce", 1).std) == ("90.50", "0.50")
    assert (shown(sheet, "clutter ce", 0).value, shown(sheet, "clutter ce", 0).std) == ("42.0", "2.6")


def test_some_of_the_seeds_are_told_as_such(plan: TablePlan) -> None:
    finished = everything(plan)
    first, second, _ = plan.cells[0][0].candidates[0].runs
    del finished[first.id]
    sheet = ours(plan, finished)
    assert (shown(sheet, "ce", 0).value, shown(sheet, "ce", 0).std, shown(sheet, "ce", 0).count) == (
        ("81.5", "0.7", "n=2/3")
    )
    assert shown(sheet, "bss", 0).count == ""
    assert any("(n=2/3: two of three seeds are there)" in note for note in sheet.notes)
    assert (facts(sheet, "Digits / Fine-tune", "15%")["n"], facts(sheet, "Digits / Fine-tune", "15%")["planned"]) == (
        (2, 3)
    )
    del finished[second.id]
    alone = shown(ours(plan, finished), "ce", 0)
    assert (alone.value, alone.std, alone.count) == ("82.0", "", "n=1/3")


def test_what_has_not_run_is_a_dash_with_the_reason_and_what_is_not_printed_stays_empty(plan: TablePlan) -> None:
    sheet = sheet_of(filled(plan, {}), Look("ours", command="bench run mini"))
    assert shown(sheet, "ce", 0).value == MISSING
    assert shown(sheet, "quoted", 0).value == "n/a [1]"
    assert plain(shown(sheet, "clutter bss", 1)) == ""
    assert facts(sheet, "Digits / Fine-tune", "15%")["note"] == "no run has finished"
    assert facts(sheet, "Digits / Quoted", "15%")["note"] == "quoted from another paper"
    assert sheet.remarks == (
        "–: no run has finished; 'bench run mini' trains what is missing.",
        "[1] quoted from another paper",
    )


def test_a_claim_over_datasets_without_a_comparison_says_so(tmp_path: Path) -> None:
    for across in ("these", "like-these"):
        plan = planned(tmp_path, overrides=Overrides(across=across))
        assert "Nothing is claimed over datasets: no run has finished." in ours(plan, {}).remarks
        assert [note for note in ours(plan, results(plan.cells[1][0], [80.0, 82.0])).remarks if "claimed" in note] == [
            "Nothing is claimed over datasets: no method and its baseline have both finished on any of them."
        ]


def test_an_empty_cell_of_a_verdict_has_its_reason(plan: TablePlan) -> None:
    failed = {spec.id: "diverged" for spec in plan.cells[0][0].candidates[0].runs}
    sheet = ours(plan, results(plan.cells[1][0], [80.0]), failed)
    assert shown(sheet, "ce", 0).value == "failed"
    assert facts(sheet, "Digits / Fine-tune", "15%")["reason"] == "3 of 3 runs diverged"
    assert facts(sheet, "Digits / Quoted", "15%")["reason"] == "quoted from another paper"
    assert facts(sheet, "Digits / BSS", "100%")["reason"] == "no run has finished"


def test_the_selection_rule_reads_the_curve(tmp_path: Path) -> None:
    for rule, expected in (("last", "70.0"), ("best-val", "71.0"), ("best-test", "79.0")):
        plan = planned(tmp_path, overrides=Overrides(selection=rule))
        spec = plan.cells[0][0].candidates[0].runs[0]
        curve = run(spec.id, (50.0, 79.0), (60.0, 71.0), (55.0, 70.0))
        assert shown(ours(plan, {spec.id: curve}), "ce", 0).value == expected


def test_without_a_validation_split_best_val_has_no_number(tmp_path: Path) -> None:
    plan = planned(tmp_path, overrides=Overrides(selection="best-val"))
    sheet = ours(plan, results(plan.cells[0][0], [80.0, 81.0, 82.0]))
    assert shown(sheet, "ce", 0).value == MISSING
    assert "–: there is no validation split to be scored on (1 cell)." in sheet.remarks


def test_a_column_of_seconds_is_less_the_better_and_judged_by_nobody(tmp_path: Path) -> None:
    plan = planned(
        tmp_path,
        ('["Avg."]]', '["Time"]]'),
        ("    Avg.: {average: true}\n", "    Time: {rate: 100, metric: seconds}\n"),
        ("rank: {within: [Dataset]}", "rank: {within: [Dataset], columns: {Time: lower}}"),
    )
    store = Store(tmp_path / "results")
    for row, seconds in ((0, 30.0), (1, 20.0)):
        for spec in plan.cells[row][2].candidates[0].runs:
            point = {"step": 1, "val": None, "test": {"top1": 60.0}}
            timing = {"seconds": seconds + spec.seed, "evaluation_seconds": 5.0}
            with store.draft() as draft:
                store.publish(draft, spec, {"curve": [point], "timing": timing})
    (table,) = fill(Plan("mini", "", (plan,)), store)
    sheet = sheet_of(table, Look("ours"))
    assert [plain(shown(sheet, row, 2)) for row in ("ce", "bss")] == ["26.0 ± 1.0 n/c", "16.0 ± 1.0 −10.0 ‡ n/c"]
    assert [shown(sheet, row, 2).look for row in ("ce", "bss")] == ["", BEST]
    assert looks(table, Look("published"), 2)[:4] == ["", "", "", BEST]
    assert facts(sheet, "Digits / BSS", "Time")["metric"] == "seconds"
    assert any(f"{METRICS['seconds'].title} of another machine" in note for note in sheet.remarks)
    assert not any("Time" in note for note in sheet.remarks if "Kendall" in note)


# ---- among cells


def test_an_average_is_over_the_other_columns_of_the_row_once_all_are_there(plan: TablePlan) -> None:
    finished = everything(plan)
    sheet = ours(plan, finished)
    assert plain(shown(sheet, "ce", 2)) == "85.8 ± 0.8 ≠"  # of each seed: 85, 85.75, 86.5
    assert facts(sheet, "Digits / Fine-tune", "Avg.")["n"] == 3
    assert shown(sheet, "quoted", 2).value == "n/a [1]"
    *_, last = plan.cells[0][1].candidates[0].runs
    del finished[last.id]
    assert plain(shown(ours(plan, finished), "ce", 2)) == "85.4 ± 0.5 n=2/3 ≠"  # of the seeds that both columns have
    for spec in plan.cells[0][1].candidates[0].runs:
        finished.pop(spec.id, None)
    assert shown(ours(plan, finished), "ce", 2).value == MISSING


def test_an_average_is_over_columns_of_its_own_kind(tmp_path: Path) -> None:
    columns = ('[["15%"], ["100%"], ["Avg."]]', '[["15%", "Acc."], ["100%", "Time"], ["Avg.", "Acc."]]')
    plan = planned(tmp_path, columns)
    assert shown(ours(plan, everything(plan)), "ce", 2).value == "81.0"


def looks(table: Table, look: Look, column: int = 0) -> list[str]:
    return [line[column].look for line in sheet_of(table, look).cells]


def test_marks_are_within_what_the_paper_compares(plan: TablePlan) -> None:
    table = filled(plan, everything(plan))
    assert looks(table, Look("ours")) == ["", "", BEST, "", BEST, CLOSE]
    assert looks(table, Look("ours"), 1) == ["", "", BEST, "", "", ""]
    assert looks(table, Look("published")) == ["", "", BEST, "", "", BEST]
    assert looks(table, Look("ours", by_means=True)) == ["", SECOND, BEST, "", BEST, SECOND]
    assert looks(table, Look("published", by_means=True)) == ["", SECOND, BEST, "", SECOND, BEST]


def p_of(a: Sequence[float], b: Sequence[float]) -> float:
    return float(ttest_rel(a, b).pvalue)


def marks(plan: TablePlan, finished: dict[str, Finished]) -> list[str]:
    sheet = ours(plan, finished)
    return [shown(sheet, row, 0).mark for row in ("ce", "bss", "gta", "quoted")]


def test_a_dagger_is_holms_among_the_rows_of_a_comparison(plan: TablePlan) -> None:
    """Differences of BSS 0, 1, 2 and of GTA 5, 5, 5: the spread of both is that of BSS, over the square root of two."""
    base, bss, gta = [80.0, 81.0, 82.0], [80.0, 82.0, 84.0], [85.0, 86.0, 87.0]
    pooled, own = pooled_estimates(np.subtract([gta, bss], base))
    assert pooled is not None
    assert own is not None
    assert pooled.error == pytest.approx(math.sqrt(1 / 2 / 3))
    assert own.p == pytest.approx(p_of(bss, base))
    assert 0.01 < 2 * pooled.p <= 0.05 < own.p
    assert marks(plan, everything(plan)) == ["", "", "†", ""]
    near = [82.5, 83.5, 84.5]
    found = {**everything(plan), **results(plan.cells[2][0], near, near, val=[[9.0] * 3, [8.0] * 3])}
    (gap, _) = pooled_estimates(np.subtract([near, bss], base))
    assert gap is not None
    assert 0.025 < gap.p < 0.05
    assert marks(plan, found) == ["", "", "", ""]
    alone = [82.4, 83.5, 84.6]
    assert p_of(alone, base) < 0.01
    found |= results(plan.cells[2][0], alone, alone, val=[[9.0] * 3, [8.0] * 3])
    for spec in plan.cells[1][0].candidates[0].runs:
        del found[spec.id]
    assert marks(plan, found) == ["", "", "‡", ""]  # the only comparison of its column


def test_rows_are_compared_with_the_nearest_baseline_above(tmp_path: Path) -> None:
    plan = planned(tmp_path, ("baseline: Fine-tune", "baseline: [Fine-tune, BSS]"))
    assert p_of([85.0, 86.0, 87.0], [80.0, 82.0, 84.0]) < 0.05  # 5, 4, 3
    assert marks(plan, everything(plan)) == ["", "", "†", ""]
    sheet = ours(plan, everything(plan))
    assert any("against the nearest baseline above, one comparison" in note for note in sheet.notes)
    assert shown(sheet, "gta", 0).delta == "+4.0"


def test_nothing_is_tested_with_one_seed(tmp_path: Path) -> None:
    plan = planned(tmp_path, overrides=Overrides(seeds="1"))
    sheet = ours(plan, everything(plan))
    assert not any(cell.mark for row in sheet.cells for cell in row)
    assert "n=1 seed a cell: no ± and no test." in sheet.notes
    assert not any("†" in note for note in sheet.notes)


@pytest.mark.parametrize("test", ["welch", "paired", "permutation"])
def test_the_test_can_be_chosen(tmp_path: Path, test: str) -> None:
    plan = planned(tmp_path, overrides=Overrides(test=test))
    base, bss, gta = [80.0, 81.0, 82.0], [80.0, 82.0, 84.0], [85.0, 86.0, 87.5]
    finished = everything(plan) | results(plan.cells[2][0], gta, [70.0] * 3, val=[[9.0] * 3, [8.0] * 3])
    p = {
        "welch": [float(ttest_ind(ours, base, equal_var=False).pvalue) for ours in (bss, gta)],
        "paired": [p_of(bss, base), p_of(gta, base)],
        "permutation": [0.7, 0.1],
    }[test]
    entries = filled(plan, finished).entries
    assert [entries[1][0].p, entries[2][0].p] == pytest.approx(p, abs=1e-9)
    assert [entries[1][0].p_holm, entries[2][0].p_holm] == pytest.approx(list(holm(p)), abs=1e-9)


def test_the_caption_names_the_test_what_is_shared_and_what_cannot_be(tmp_path: Path) -> None:
    def notes(test: str) -> tuple[str, ...]:
        plan = planned(tmp_path, overrides=Overrides(test=test))
        return ours(plan, everything(plan)).notes

    over = "against Fine-tune, Holm-corrected over the 1 to 2 comparisons within one Dataset and column."
    assert f"† p ≤ 0.05, ‡ p ≤ 0.01: two-sided paired t-test {over}" in notes("paired")
    shared = "the subset of images, the initial head and the order of batches"
    assert f"Pairs are runs of one seed, which share {shared}." in notes("paired")
    exact = notes("permutation")
    assert f"† p ≤ 0.05, ‡ p ≤ 0.01: two-sided exact permutation test {over}" in exact
    refused = [note for note in exact if note.startswith("No † can stand")]
    assert refused
    assert all("the smallest possible p of the permutation test is 0.1" in note for note in refused)
    assert not [note for note in notes("welch") if "can stand" in note]


def test_pairs_are_of_one_seed(tmp_path: Path) -> None:
    compared = {}
    for test in ("paired", "welch"):
        plan = planned(tmp_path, overrides=Overrides(test=test))
        finished = everything(plan)
        runs, base = (plan.cells[row][0].candidates[0].runs for row in (1, 0))
        del finished[runs[0].id], finished[base[2].id]  # one pair is left: seed 1
        compared[test] = filled(plan, finished).entries[1][0].p is not None
    assert compared == {"paired": False, "welch": True}


# ---- over datasets


def over(count: int, across: str, folder: Path) -> list[str]:
    """The claims of a table with a column for each of some datasets and a row for each of two methods."""
    names = ["digits", "cluttered_digits", "cub200", "cifar10", "cifar100", "svhn", "stanford_cars"][:count]
    labels = "".join(f"    {name}: {{dataset: {name}}}\n" for name in names)
    cells = ", ".join(['"50.0"'] * count)
    columns = ", ".join(f"[{name}]" for name in names)
    text = (
        "title: t\npaper: mini\nkind: results\nruns:\n  axes: {backbone: micro_vit, rate: 100}\n  baseline: CE\n"
        f"  labels:\n{labels}    CE: {{method: ce}}\n    BSS: {{method: bss}}\nstub: [Method]\ncolumns: [{columns}]\n"
        f"rows:\n  - {{label: [CE], cells: [{cells}]}}\n  - {{label: [BSS], cells: [{cells}]}}\n"
    )
    plan = planned(folder, overrides=Overrides(across=across), text=text)
    finished: dict[str, Finished] = {}
    for at in range(count):
        finished |= results(plan.cells[0][at], [50.0 + at, 51.0, 52.0])
        finished |= results(plan.cells[1][at], [53.0 + at, 54.0, 55.5 + at])
    return [note for note in ours(plan, finished).remarks if "datasets" in note]


def test_over_datasets_the_claim_is_named(tmp_path: Path) -> None:
    (these,) = over(3, "these", tmp_path)
    assert these.startswith("On these datasets: BSS +3.50 (p = ")
    assert "against CE over 3 datasets (sign flips of paired seeds within each dataset, Holm-corrected over" in these
    (like,) = over(6, "like-these", tmp_path)
    assert like == (
        "On datasets like these: BSS +4.00 (p = 0.0312, 6/0/0) against CE over 6 datasets (Wilcoxon's signed-rank "
        "test, Holm-corrected over one method; datasets won/tied/lost, as printed)."
    )


def test_over_too_few_datasets_nothing_is_claimed(tmp_path: Path) -> None:
    (like,) = over(5, "like-these", tmp_path)
    assert like.startswith("On datasets like these: not testable: n = 5 datasets: the smallest possible p")


def test_a_dataset_in_the_rows_is_told_from_a_method(plan: TablePlan) -> None:
    values = [[entry.cell.values for entry in row] for row in filled(plan, everything(plan)).entries]
    found = by_dataset(plan, values)
    assert set(found) == {("15%",), ("100%",)}
    assert set(found["15%",]) == {"Fine-tune", "BSS", "GTA"}
    assert set(found["15%",]["BSS"]) == {"digits", "cluttered_digits"}


def test_a_label_of_a_row_is_no_dataset_because_a_column_is_called_so() -> None:
    (plan,) = plan_paper("lacvit/table1", Registry()).tables
    found = by_dataset(plan, [[(cell.published,) if cell.printed else () for cell in row] for row in plan.cells])
    (group,) = found.values()
    assert len(group["MAE / ImageNet-1k / CE"]) == 8  # what it was pre-trained on stays in its name
    assert "imagenet1k" in group["MAE / ImageNet-1k / CE"]


# ---- sentences


def test_notes_say_what_has_to_be_known(plan: TablePlan) -> None:
    assert said(ours(plan, everything(plan)))[:12] == (
        "how ours are trained",
        "± is the sample standard deviation over n=3 seeds.",
        "Selection rule, the point of its curve at which a run is scored: last.",
        "Of swept values the best on the validation split count; candidates tried: GTA 2.",
        "At the edge of what was tried, so that a better value may lie beyond it: Digits / GTA (weight=0.1, 15%; "
        "weight=1, 100%).",
        "Signed numbers are differences of means to Fine-tune, taken before rounding.",
        "† p ≤ 0.05, ‡ p ≤ 0.01: two-sided paired t-test with a pooled spread against Fine-tune, "
        "Holm-corrected over the 1 to 2 comparisons within one Dataset and column.",
        "Pairs are runs of one seed, which share the subset of images, the initial head and the order of batches.",
        "●: the highest mean within one Dataset and column, shared by printed ties.",
        "○: too near to be told from it, which takes 0.78 to 4.46 points; what has no mark is not the best (Hsu, 95 % "
        "within one Dataset and column, one spread for all).",
        "Nothing can be told from the best at Clutter / 15%: to tell the baseline from it in four of five tables would "
        "take about 13 seeds, were the differences what they seem.",
        "[1] quoted from another paper",
    )


def test_a_look_at_the_test_split_is_named(tmp_path: Path) -> None:
    plan = planned(tmp_path, overrides=Overrides(selection="best-test"))
    notes = ours(plan, everything(plan)).notes
    oracle = "(an oracle that looks at the test split)"
    assert f"Selection rule, the point of its curve at which a run is scored: best-test {oracle}." in notes
    assert f"Of swept values the best on the test split {oracle} count; candidates tried: GTA 2." in notes


# ---- side by side


def test_both_have_each_column_twice_and_the_difference_to_print(plan: TablePlan) -> None:
    sheet = sheet_of(filled(plan, everything(plan)), Look("both"))
    assert sheet.columns[:2] == (("15%", "published"), ("15%", "ours"))
    assert [plain(cell) for cell in sheet.cells[0][:4]] == [
        "90.0 ± 1.0", "81.0 ± 1.0 −9.0 ≠", "95.25", "90.50 ± 0.50 −4.75 ≠",
    ]  # fmt: skip
    assert [plain(cell) for cell in sheet.cells[2][:2]] == ["91.0 (+1.0)", "86.0 ± 1.0† −5.0 ≠"]
    assert plain(sheet.cells[3][1]) == "n/a [1]"
    assert sheet.notes[0] == "as it was printed"
    assert sheet.notes[-1] == "Signed numbers are ours less the published one."
    assert not [note for note in sheet_of(filled(plan, {}), Look("both")).notes if "less the published" in note]


def test_a_number_without_one_in_print_has_no_difference(tmp_path: Path) -> None:
    plan = planned(tmp_path, ('"90.5", "95.30"', '"90.5", "> 95"'))
    found = sheet_of(filled(plan, everything(plan)), Look("both")).cells[1]
    assert (plain(found[2]), plain(found[3])) == ("> 95", "90.00 ± 0.00")


def test_by_default_both_are_shown_once_a_run_has_finished(plan: TablePlan) -> None:
    for finished, source in (({}, "published"), (results(plan.cells[0][0], [80.0]), "both")):
        table = filled(plan, finished)
        assert default_source([table]) == source
        assert sheet_of(table).columns == sheet_of(table, Look(source)).columns


@pytest.mark.parametrize("source", ["published", "ours", "both"])
@pytest.mark.parametrize("format", ["text", "markdown", "csv", "json", "html", "latex", "macros"])
def test_every_source_is_shown_in_every_format(plan: TablePlan, source: str, format: str) -> None:
    table = filled(plan, everything(plan))
    text = render(table, format, Look(source), 140)
    assert {"published": "90.0", "ours": "81.0", "both": "81.0"}[source] in text
    assert text == render(filled(plan, everything(plan)), format, Look(source), 140)


def test_what_all_cells_are_assigned_is_seeds_settings_and_hyper_too(tmp_path: Path) -> None:
    of_all = "  axes: {backbone: micro_vit, seeds: 2, settings: {lr: 0.5}, hyper: {gta: {weight: 7}}}"
    plan = planned(tmp_path, ("  axes: {backbone: micro_vit}", of_all))
    assert {cell.seeds for _, cell in plan.places() if cell.candidates} == {2}
    assert {spec.protocol.recipe.lr for spec in plan.runs()} == {0.5}
    assert {dict(spec.method.hyper)["weight"] for spec in plan.runs() if spec.method.name == "gta"} == {7.0}


@pytest.mark.parametrize(
    ("changes", "marked"),
    [
        ((), ["91.0 (+1.0)", "96.00"]),
        ((("metric: top1", "metric: nll"),), ["90.0 ± 1.0", "95.25"]),
        ((('"15%": {rate: 15}', '"15%": {rate: 15, metric: seconds}'),), ["90.0 ± 1.0", "96.00"]),
    ],
    ids=["more is better", "less is better", "less is better in a column"],
)
def test_the_metric_says_which_published_number_is_the_best(
    changes: tuple[tuple[str, str], ...], marked: list[str], tmp_path: Path
) -> None:
    """In the rows of Digits that are run."""
    without_quoted = ('  - {label: [Digits, Quoted], cells: ["80.0", "N/A", "80.0"]}\n', "")
    unassigned = ("    Quoted: {not_run: quoted from another paper}\n", "")
    plan = planned(tmp_path, without_quoted, unassigned, *changes)
    sheet = sheet_of(filled(plan, {}), Look("published"))
    for at, best in enumerate(marked):
        texts = [line[at] for line in sheet.cells[:3]]
        assert [cell.value for cell in texts if cell.look == BEST] == [best.split()[0]]


def test_an_order_that_contradicts_the_metric_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="rank: order is higher, and of nll the lower is better"):
        planned(tmp_path, ("metric: top1", "metric: nll"), ("rank: {", "rank: {order: higher, "))


def test_a_row_that_no_label_explains_is_shown_as_published_and_stops_nothing(tmp_path: Path) -> None:
    plan = planned(tmp_path, ("    BSS: {method: bss}\n", ""))
    sheet = ours(plan, {})
    assert "no label says what 'BSS' is: it is shown as published" in " ".join(said(sheet))
    assert {
        cell.reason for line in plan.cells for cell in line if cell.name == "BSS" and cell.printed and not cell.averages
    } == {"no label says what 'BSS' is: it is shown as published"}
    assert any(cell.candidates for line in plan.cells for cell in line if cell.name == "GTA")
    published = sheet_of(filled(plan, {}), Look("published"))
    assert [cell.value for cell in published.cells[1]] == ["90.5", "95.30", "92.9"]


def test_a_table_of_which_no_cell_has_a_method_is_refused(tmp_path: Path) -> None:
    rows = (
        "    Fine-tune: {method: ce}\n",
        "    BSS: {method: bss}\n",
        "    GTA: {method: {gta: {weight: [0.1, 1]}}}\n",
    )
    changes = [(row, "") for row in rows] + [("    Quoted: {not_run: quoted from another paper}\n", "")]
    with pytest.raises(InputError, match="the cell Digits / Fine-tune / 15% has no method; give labels or axes"):
        planned(tmp_path, *changes, ("  baseline: Fine-tune\n", ""))

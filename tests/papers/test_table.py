"""A paper's table with our numbers: means, deviations, choices of weights, tests, ranks, averages, differences."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
from bench.papers.comparisons import by_dataset, published_values
from bench.papers.judging import Ground
from bench.papers.measured import measured
from bench.papers.table import (
    MISSING,
    Rules,
    against_baseline,
    both_sheet,
    our_sheet,
    paper_sheet,
    published_sheet,
)
from scipy.stats import ttest_ind, ttest_rel

from bench.papers.published import published_table
from bench.plan.overrides import Overrides
from bench.plan.paper import PlannedCell, TablePlan, plan_paper
from bench.records.store import Finished, Point
from bench.registry import Registry
from bench.sheets import Sheet, Shown, render_sheet
from bench.stats import holm

PROTOCOL = """\
title: a protocol for a test
settings: {steps: {value: 40, source: our choice}}
seeds: {value: 3, source: our choice}
selection: {value: last, source: our choice}
sweep: {value: best-val, source: our choice}
"""

TABLE = """\
title: "Table 1: a small one"
paper: mini
kind: results
metric: top-1 (%)
note: as it was printed
rank: {within: [Dataset]}
runs:
  axes: {backbone: micro_vit}
  baseline: Fine-tune
  note: how ours are trained
  labels:
    Digits: {dataset: digits}
    Clutter: {dataset: cluttered_digits}
    "15%": {rate: 15}
    "100%": {rate: 100}
    Avg.: {average: true}
    Fine-tune: {method: ce}
    BSS: {method: bss}
    GTA: {method: {gta: {weight: [0.1, 1]}}}
    Quoted: {not_run: quoted from another paper}
stub: [Dataset, Method]
columns: [["15%"], ["100%"], ["Avg."]]
rows:
  - {label: [Digits, Fine-tune], cells: ["90.0 ± 1.0", "95.25", "92.6"]}
  - {label: [Digits, BSS], cells: ["90.5", "95.30", "92.9"]}
  - {label: [Digits, GTA], cells: ["91.0 (+1.0)", "96.00", "93.5"]}
  - {label: [Digits, Quoted], cells: ["80.0", "N/A", "80.0"]}
  - {label: [Clutter, Fine-tune], cells: ["50.0", "60.00", "55.0"]}
  - {label: [Clutter, BSS], cells: ["51.0", "", "55.5"]}
"""

VAL = [[60.0, 60.0, 60.0], [50.0, 50.0, 50.0]]
"""Of the two candidates of a sweep, on the validation split: the first is better."""

ROWS = {"ce": 0, "bss": 1, "gta": 2, "quoted": 3, "clutter ce": 4, "clutter bss": 5}


@pytest.fixture
def plan(tmp_path: Path) -> TablePlan:
    return planned(tmp_path)


def planned(folder: Path, *changes: tuple[str, str], overrides: Overrides | None = None) -> TablePlan:
    place, text = folder / "paper_tables" / "mini", TABLE
    place.mkdir(parents=True, exist_ok=True)
    for old, new in changes:
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    (place / "table1.yaml").write_text(text, encoding="utf-8")
    (place / "protocol.yaml").write_text(PROTOCOL, encoding="utf-8")
    (found,) = plan_paper("mini", Registry([folder]), overrides).tables
    return found


def run(run_id: str, *curve: tuple[float, float]) -> Finished:
    """A finished run whose curve has these (validation, test) accuracies."""
    return Finished(run_id, f"runs/{run_id}", tuple(Point(n, *point) for n, point in enumerate(curve, 1)), 1.0)


def results(cell: PlannedCell, *tests: Sequence[float], val: Sequence[Sequence[float]] = ()) -> dict[str, Finished]:
    """Finished runs of a cell: for each candidate the test accuracy of its first seeds, and the validation's."""
    found = {}
    for number, (candidate, values) in enumerate(zip(cell.candidates, tests, strict=True)):
        held_out = val[number] if val else [math.nan] * len(values)
        for spec, test, validation in zip(candidate.runs, values, held_out, strict=False):
            found[spec.id] = run(spec.id, (validation, test))
    return found


def shown(sheet: Sheet, row: str, column: int) -> Shown:
    return sheet.cells[ROWS[row]][column]


def everything(plan: TablePlan) -> dict[str, Finished]:
    """Three seeds of every cell."""
    cells = plan.cells
    return {
        **results(cells[0][0], [80.0, 81.0, 82.0]),
        **results(cells[0][1], [90.0, 90.5, 91.0]),
        **results(cells[1][0], [80.0, 82.0, 84.0]),
        **results(cells[1][1], [90.0, 90.0, 90.0]),
        **results(cells[2][0], [85.0, 86.0, 87.0], [70.0, 70.0, 70.0], val=[[9.0] * 3, [8.0] * 3]),
        **results(cells[2][1], [60.0, 60.0, 60.0], [95.0, 95.0, 95.0], val=[[8.0] * 3, [9.0] * 3]),
        **results(cells[4][0], [40.0, 41.0, 45.0]),
        **results(cells[4][1], [50.0, 50.0, 50.0]),
        **results(cells[5][0], [40.0, 40.0, 40.0]),
    }


# ---- a cell


def test_a_cell_is_the_mean_and_the_sample_deviation_in_the_digits_of_print(plan: TablePlan) -> None:
    sheet = our_sheet(plan, everything(plan))
    assert (shown(sheet, "ce", 0).value, shown(sheet, "ce", 0).std) == ("81.0", "1.0")
    assert (shown(sheet, "ce", 1).value, shown(sheet, "ce", 1).std) == ("90.50", "0.50")
    assert (shown(sheet, "clutter ce", 0).value, shown(sheet, "clutter ce", 0).std) == ("42.0", "2.6")


def test_some_of_the_seeds_are_told_as_such(plan: TablePlan) -> None:
    sheet = our_sheet(plan, results(plan.cells[0][0], [80.0, 81.0]))
    assert shown(sheet, "ce", 0).plain == "80.5 ± 0.7"
    assert shown(sheet, "ce", 0).note == "n=2 of 3"
    alone = shown(our_sheet(plan, results(plan.cells[0][0], [80.0])), "ce", 0)
    assert (alone.value, alone.std, alone.note) == ("80.0", "", "n=1 of 3")
    assert shown(our_sheet(plan, everything(plan)), "ce", 0).note == ""


def test_what_has_not_run_is_a_dash_with_the_reason_and_what_is_not_printed_stays_empty(plan: TablePlan) -> None:
    sheet = our_sheet(plan, {})
    assert (shown(sheet, "ce", 0).value, shown(sheet, "ce", 0).note) == (MISSING, "no run has finished")
    assert (shown(sheet, "quoted", 0).value, shown(sheet, "quoted", 0).note) == (MISSING, "quoted from another paper")
    assert shown(sheet, "clutter bss", 1) == Shown("")
    assert sheet.notes == (
        "how ours are trained",
        "–: no run has finished.",
        "–: 3 cells are not run: quoted from another paper.",
    )


def test_without_runs_the_notes_say_what_trains_them_and_that_nothing_is_claimed(plan: TablePlan) -> None:
    notes = our_sheet(plan, {}, Rules(across="these", command="bench run mini")).notes
    assert "–: no run has finished; 'bench run mini' trains what is missing." in notes
    assert "–: 3 cells are not run: quoted from another paper." in notes
    assert "Nothing is claimed over datasets: no run has finished." in notes


def test_a_claim_over_datasets_without_a_comparison_says_so(plan: TablePlan) -> None:
    notes = our_sheet(plan, results(plan.cells[1][0], [80.0, 82.0, 84.0]), Rules(across="like-these")).notes
    assert [note for note in notes if "claimed" in note] == [
        "Nothing is claimed over datasets: no method and its baseline have both finished on any of them."
    ]


def test_an_empty_cell_of_a_verdict_has_its_reason(plan: TablePlan) -> None:
    failed = {spec.id: "diverged" for spec in plan.cells[0][0].candidates[0].runs}
    grounds = [[Ground() for _ in row] for row in plan.cells]
    found = our_sheet(plan, results(plan.cells[1][0], [80.0]), Rules(grounds=grounds, failed=failed))
    assert dict(shown(found, "ce", 0).facts)["reason"] == "3 of 3 runs diverged"
    assert dict(shown(found, "quoted", 0).facts)["reason"] == "quoted from another paper"
    assert dict(shown(found, "bss", 1).facts)["reason"] == "no run has finished"


def test_the_selection_rule_reads_the_curve(tmp_path: Path) -> None:
    for rule, expected in (("last", "70.0"), ("best-val", "71.0"), ("best-test", "79.0")):
        plan = planned(tmp_path, overrides=Overrides(selection=rule))
        spec = plan.cells[0][0].candidates[0].runs[0]
        curve = run(spec.id, (50.0, 79.0), (60.0, 71.0), (55.0, 70.0))
        assert shown(our_sheet(plan, {spec.id: curve}), "ce", 0).value == expected


def test_without_a_validation_split_best_val_has_no_number(tmp_path: Path) -> None:
    plan = planned(tmp_path, overrides=Overrides(selection="best-val"))
    assert shown(our_sheet(plan, results(plan.cells[0][0], [80.0, 81.0, 82.0])), "ce", 0).value == MISSING


# ---- among cells


def test_an_average_is_over_the_other_columns_of_the_row_once_all_are_there(plan: TablePlan) -> None:
    finished = everything(plan)
    sheet = our_sheet(plan, finished)
    assert shown(sheet, "ce", 2).plain == "85.8"
    assert shown(sheet, "quoted", 2).value == MISSING
    for candidate in plan.cells[0][1].candidates:
        for spec in candidate.runs:
            del finished[spec.id]
    assert shown(our_sheet(plan, finished), "ce", 2).value == MISSING


def test_an_average_is_over_columns_of_its_own_kind(tmp_path: Path) -> None:
    columns = ('[["15%"], ["100%"], ["Avg."]]', '[["15%", "Acc."], ["100%", "Time"], ["Avg.", "Acc."]]')
    plan = planned(tmp_path, columns)
    assert shown(our_sheet(plan, everything(plan)), "ce", 2).value == "81.0"


def test_ranks_are_of_our_means_within_what_the_paper_compares(plan: TablePlan) -> None:
    sheet = our_sheet(plan, everything(plan))
    assert [row[0].rank for row in sheet.cells] == [0, 2, 1, 0, 1, 2]
    assert [row[1].rank for row in sheet.cells] == [2, 0, 1, 0, 0, 0]
    assert [row[0].rank for row in published_sheet(plan.table).cells] == [0, 2, 1, 0, 2, 1]


def p_of(a: Sequence[float], b: Sequence[float]) -> float:
    return float(ttest_ind(a, b, equal_var=False).pvalue)


def test_a_dagger_is_holms_among_the_rows_of_a_comparison(plan: TablePlan) -> None:
    # GTA's p alone is below 0.05, and so it stays when it is doubled; BSS is far from it
    base, bss, gta = [80.0, 81.0, 82.0], [80.0, 82.0, 84.0], [85.0, 86.0, 87.0]
    assert 2 * p_of(gta, base) < 0.05 < p_of(bss, base)
    sheet = our_sheet(plan, everything(plan))
    assert [shown(sheet, row, 0).mark for row in ("ce", "bss", "gta", "quoted")] == ["", "", "†", ""]
    near = [82.5, 83.5, 84.5]
    assert p_of(near, base) < 0.05 < 2 * p_of(near, base)
    found = {**everything(plan), **results(plan.cells[2][0], near, near, val=VAL)}
    assert shown(our_sheet(plan, found), "gta", 0).mark == ""
    for spec in plan.cells[1][0].candidates[0].runs:
        del found[spec.id]
    assert shown(our_sheet(plan, found), "gta", 0).mark == "†"  # the only comparison of its column


def test_rows_are_compared_with_the_nearest_baseline_above(tmp_path: Path) -> None:
    labels = ("baseline: Fine-tune", "baseline: [Fine-tune, BSS]")
    plan = planned(tmp_path, labels)
    finished = everything(plan)
    assert p_of([85.0, 86.0, 87.0], [80.0, 82.0, 84.0]) > 0.05
    sheet = our_sheet(plan, finished)
    assert [shown(sheet, row, 0).mark for row in ("ce", "bss", "gta")] == ["", "", ""]
    assert any("against the nearest baseline above, Holm" in note for note in sheet.notes)


def test_nothing_is_tested_with_one_seed_or_without_the_baseline(tmp_path: Path) -> None:
    plan = planned(tmp_path, overrides=Overrides(seeds="1"))
    sheet = our_sheet(plan, everything(plan))
    assert not any(cell.mark for row in sheet.cells for cell in row)
    assert "Each number is of one seed." in sheet.notes
    assert not any("†" in note for note in sheet.notes)


@pytest.mark.parametrize("test", ["welch", "paired", "permutation"])
def test_the_test_can_be_chosen(plan: TablePlan, test: str) -> None:
    finished = everything(plan)
    base, bss, gta = [80.0, 81.0, 82.0], [80.0, 82.0, 84.0], [85.0, 86.0, 87.5]
    finished |= results(plan.cells[2][0], gta, [70.0] * 3, val=[[9.0] * 3, [8.0] * 3])
    p = {
        "welch": [p_of(bss, base), p_of(gta, base)],
        "paired": [float(ttest_rel(bss, base).pvalue), float(ttest_rel(gta, base).pvalue)],
        "permutation": [0.7, 0.1],
    }[test]
    found = against_baseline(plan, measured(plan, finished), test)
    assert [found[1, 0], found[2, 0]] == pytest.approx(list(holm(p)), abs=1e-9)


def test_the_caption_names_the_test_what_is_shared_and_what_cannot_be(plan: TablePlan) -> None:
    paired = our_sheet(plan, everything(plan), Rules("paired")).notes
    assert "† p ≤ 0.05: paired t-test against Fine-tune, Holm-corrected within a column's comparison." in paired
    shared = "the subset of images, the initial head and the order of batches"
    assert f"Pairs are runs of one seed, which share {shared}." in paired
    exact = our_sheet(plan, everything(plan), Rules("permutation")).notes
    assert "† p ≤ 0.05: exact permutation test against Fine-tune, Holm-corrected within a column's comparison." in exact
    refused = [note for note in exact if note.startswith("No † can stand")]
    assert refused
    assert all("the smallest possible p of the permutation test is 0.1" in note for note in refused)
    assert not [note for note in our_sheet(plan, everything(plan)).notes if "can stand" in note]


def test_pairs_are_of_one_seed(plan: TablePlan) -> None:
    finished = everything(plan)
    own, base = (plan.cells[row][0].candidates[0].runs for row in (1, 0))
    del finished[own[0].id], finished[base[2].id]  # one pair is left: seed 1
    assert (1, 0) not in against_baseline(plan, measured(plan, finished), "paired")
    assert (1, 0) in against_baseline(plan, measured(plan, finished))


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
    place = folder / "paper_tables" / "mini"
    place.mkdir(parents=True, exist_ok=True)
    (place / "table1.yaml").write_text(text, encoding="utf-8")
    (place / "protocol.yaml").write_text(PROTOCOL, encoding="utf-8")
    (plan,) = plan_paper("mini", Registry([folder])).tables
    finished: dict[str, Finished] = {}
    for at in range(count):
        finished |= results(plan.cells[0][at], [50.0 + at, 51.0, 52.0])
        finished |= results(plan.cells[1][at], [53.0 + at, 54.0, 55.5 + at])
    return [note for note in our_sheet(plan, finished, Rules(across=across)).notes if "datasets" in note]


def test_over_datasets_the_claim_is_named(tmp_path: Path) -> None:
    (these,) = over(3, "these", tmp_path)
    assert these.startswith("On these datasets: BSS +3.50 (p = ")
    assert "against CE over 3 datasets (stratified permutation of seeds, Holm-corrected over one method" in these
    (like,) = over(6, "like-these", tmp_path)
    assert like == (
        "On datasets like these: BSS +4.00 (p = 0.0312) against CE over 6 datasets (Wilcoxon's signed-rank test, "
        "Holm-corrected over one method)."
    )


def test_over_too_few_datasets_nothing_is_claimed(tmp_path: Path) -> None:
    (like,) = over(5, "like-these", tmp_path)
    assert like.startswith("On datasets like these: not testable: n = 5 datasets: the smallest possible p")


def test_a_dataset_in_the_rows_is_told_from_a_method(plan: TablePlan) -> None:
    values = [[ours.values for ours in row] for row in measured(plan, everything(plan))]
    found = by_dataset(plan.table, values)
    assert set(found) == {("15%",), ("100%",)}
    assert set(found["15%",]) == {"Fine-tune", "BSS", "GTA"}
    assert set(found["15%",]["BSS"]) == {"digits", "cluttered_digits"}


def test_a_label_of_a_row_is_no_dataset_because_a_column_is_called_so() -> None:
    table = published_table("lacvit/table1", Registry())
    found = by_dataset(table, [[(cell.number,) if cell.decimals else () for cell in row] for row in table.cells])
    (group,) = found.values()
    assert len(group["MAE / ImageNet-1k / CE"]) == 8  # what it was pre-trained on stays in its name
    assert "imagenet1k" in group["MAE / ImageNet-1k / CE"]


def test_published_values_are_turned_so_that_more_is_better(tmp_path: Path) -> None:
    ranked = "rank: {within: [Dataset], columns: {100%: lower}, skip: [Avg.]}"
    plan = planned(tmp_path, ("rank: {within: [Dataset]}", ranked))
    assert published_values(plan.table)[0] == [(90.0,), (-95.25,), ()]
    assert published_values(plan.table)[3] == [(80.0,), (), ()]


def test_notes_say_what_has_to_be_known(plan: TablePlan) -> None:
    notes = our_sheet(plan, everything(plan)).notes
    assert notes == (
        "how ours are trained",
        "± is the sample standard deviation over n=3 seeds; a cell of one seed has none.",
        "Selection rule: last.",
        "Of swept hyper-parameters the best on the validation split count.",
        "† p ≤ 0.05: Welch's t against Fine-tune, Holm-corrected within a column's comparison.",
        "–: not run, or not finished.",
        "–: 3 cells are not run: quoted from another paper.",
    )


def test_a_look_at_the_test_split_is_named(tmp_path: Path) -> None:
    plan = planned(tmp_path, overrides=Overrides(selection="best-test"))
    notes = our_sheet(plan, everything(plan)).notes
    assert "Selection rule: best-test (an oracle that looks at the test split)." in notes
    swept = "Of swept hyper-parameters the best on the test split (an oracle that looks at the test split) count."
    assert swept in notes


# ---- side by side


def test_both_have_each_column_twice_and_the_difference_to_print(plan: TablePlan) -> None:
    sheet = both_sheet(plan, everything(plan))
    assert sheet.columns[:2] == (("15%", "published"), ("15%", "ours"))
    assert sheet.cells[0][0].plain == "90.0 ± 1.0"
    assert sheet.cells[0][1].plain == "81.0 ± 1.0 (−9.0)"
    assert sheet.cells[2][0].plain == "91.0 (+1.0)"
    assert sheet.cells[2][1].plain == "86.0† ± 1.0 (−5.0)"
    assert sheet.cells[0][3].plain == "90.50 ± 0.50 (−4.75)"
    assert sheet.cells[3][1].plain == MISSING
    assert sheet.notes[0] == "as it was printed"
    assert sheet.notes[-1] == "The difference in brackets behind ours is ours less published."
    assert not [note for note in both_sheet(plan, {}).notes if "difference" in note]


def test_a_number_without_one_in_print_has_no_difference(tmp_path: Path) -> None:
    plan = planned(tmp_path, ('"90.5", "95.30"', '"90.5", "N/A"'))
    found = both_sheet(plan, everything(plan)).cells[1]
    assert (found[2].plain, found[3].plain) == ("N/A", "90.00 ± 0.00")


@pytest.mark.parametrize("source", ["published", "ours", "both"])
@pytest.mark.parametrize("format", ["text", "markdown", "csv", "json", "html", "latex", "macros"])
def test_every_source_is_shown_in_every_format(plan: TablePlan, source: str, format: str) -> None:
    finished: Mapping[str, Finished] = everything(plan)
    text = render_sheet(paper_sheet(plan, source, finished), format, 100)
    numbers = {"published": "90.0", "ours": "81.0", "both": "81.0"}
    assert numbers[source] in text
    assert text == render_sheet(paper_sheet(plan, source, finished), format, 100)

"""The table that was called reproduced: numbers moved by points, few seeds, and rows in another order than print."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest

from bench.plan.overrides import Overrides
from bench.plan.paper import plan_paper
from bench.plan.table import TablePlan
from bench.records.store import Finished
from bench.registry import Registry
from bench.sheets.sheet import Sheet
from bench.sheets.view import Look, sheet_of
from tests.tables.small import filled, plain, results

METHODS = {"Fine-tune": "ce", "FFN only": "ffn_only", "L2": "l2sp"}
RATES = (15, 30, 50, 100)
MEANS = {"Fine-tune": (79.3, 85.1, 87.2, 88.7), "FFN only": (79.2, 84.2, 86.1, 87.5), "L2": (80.7, 86.0, 87.9, 88.9)}
MOVED = {"Fine-tune": (4.0, 2.5, 3.0, 5.0), "FFN only": (-5.0, 3.0, 0.0, -2.0), "L2": (-6.0, -4.0, 0.0, 10.0)}
"""What was added to the printed numbers: two of twelve are true. At 30 % the order of the rows is turned round."""

NOISE = 1.4

PROTOCOL = """\
title: a protocol for a test
settings: {{steps: {{value: 40, source: our choice}}}}
seeds: {{value: {runs}, source: paper 4}}
selection: {{value: last, source: our choice}}
sweep: {{value: best-val, source: our choice}}
"""


def planned(
    folder: Path, printed: Mapping[str, Sequence[str]], seeds: int, runs: int = 1, margin: str = ""
) -> TablePlan:
    """The plan of a table with these numbers in print, each the mean of so many runs."""
    place = folder / "paper_tables" / "mini"
    place.mkdir(parents=True, exist_ok=True)
    rates = [f"{rate}%" for rate in RATES]
    lines = [
        *("title: a table", "paper: mini", "kind: results", "metric: top1", "rank: {}", "runs:"),
        *("  axes: {backbone: micro_vit, dataset: digits}", "  baseline: Fine-tune", "  labels:"),
        *(f'    "{rate}%": {{rate: {rate}}}' for rate in RATES),
        *(f"    {label}: {{method: {method}}}" for label, method in METHODS.items()),
        *("stub: [Method]", f"columns: {[[rate] for rate in rates]}", "rows:"),
        *(f"  - {{label: [{label}], cells: {list(cells)}}}" for label, cells in printed.items()),
    ]
    (place / "table1.yaml").write_text("\n".join(lines) + "\n", encoding="utf-8")
    (place / "protocol.yaml").write_text(PROTOCOL.format(runs=runs), encoding="utf-8")
    (plan,) = plan_paper("mini", Registry([folder]), Overrides(seeds=str(seeds), margin=margin)).tables
    return plan


def trained(plan: TablePlan, noise: float, seed: int = 0) -> dict[str, Finished]:
    """Finished runs whose means are those of ``MEANS``, but for the noise of their seeds."""
    rng, finished = np.random.default_rng(seed), dict[str, Finished]()
    for line, means in zip(plan.cells, MEANS.values(), strict=True):
        for cell, mean in zip(line, means, strict=True):
            finished |= results(cell, rng.normal(mean, noise, cell.seeds).tolist())
    return finished


def words(sheet: Sheet) -> Counter[object]:
    return Counter(record["verdict"] for record in sheet.records)


def moved() -> dict[str, list[str]]:
    return {
        label: [f"{mean + move:.1f}" for mean, move in zip(MEANS[label], MOVED[label], strict=True)]
        for label in METHODS
    }


def true() -> dict[str, list[str]]:
    return {label: [f"{mean:.1f}" for mean in means] for label, means in MEANS.items()}


def sheet_for(plan: TablePlan, noise: float = NOISE, seed: int = 0) -> Sheet:
    return sheet_of(filled(plan, trained(plan, noise, seed)), Look("both"))


@pytest.mark.parametrize("seeds", [1, 2, 3])
@pytest.mark.parametrize("seed", range(5))
def test_numbers_that_were_moved_are_never_called_the_same(tmp_path: Path, seeds: int, seed: int) -> None:
    """With three seeds and no printed ± all but one of them once were, and the fewer the seeds the more of them."""
    counts = words(sheet_for(planned(tmp_path, moved(), seeds), seed=seed))
    assert counts["same"] == 0
    assert counts.total() == 12
    if seeds == 1:
        assert counts == {"cannot tell": 12}
    else:
        assert counts["differs"] >= 1


def test_with_enough_seeds_those_that_were_moved_differ(tmp_path: Path) -> None:
    found = sheet_for(planned(tmp_path, moved(), seeds=20, runs=20), noise=0.5)
    for record in found.records:
        label, rate = str(record["row"]), int(str(record["column"]).rstrip("%"))
        move = MOVED[label][RATES.index(rate)]
        assert (record["verdict"] == "differs") == (move != 0), (label, rate)


@pytest.mark.parametrize("seed", range(5))
def test_true_numbers_are_the_same_once_there_are_enough_seeds(tmp_path: Path, seed: int) -> None:
    """With ten seeds of a quarter of a point; with the noise of 1.4 points no such claim can be told."""
    plan = planned(tmp_path, true(), seeds=10, runs=10, margin="0.5")
    assert words(sheet_for(plan, 0.25, seed))["same"] >= 11
    assert words(sheet_for(plan, 0.25, seed))["differs"] == 0
    assert words(sheet_for(plan, 1.4, seed))["same"] == 0


@pytest.mark.slow
def test_more_seeds_make_more_of_what_is_true_the_same(tmp_path: Path) -> None:
    same = []
    for seeds in (2, 3, 5, 10):
        plan = planned(tmp_path, true(), seeds, runs=10, margin="0.5")
        same.append(sum(words(sheet_for(plan, 0.3, seed))["same"] for seed in range(5)))
    assert same == sorted(same)
    assert same[-1] > same[0] + 20


def test_another_order_than_that_of_print_is_told_beside_the_signs(tmp_path: Path) -> None:
    """Three numbers within the margin, and yet in another order: the signs alone would not show it."""
    printed = {label: cells[:] for label, cells in true().items()}
    for label, value in (("Fine-tune", "84.6"), ("FFN only", "85.0"), ("L2", "85.4")):
        printed[label][1] = value  # ours: 85.1, 84.2 and 86.0
    found = sheet_for(planned(tmp_path, printed, seeds=10, runs=10, margin="1"), noise=0.1)
    column = {record["row"]: record for record in found.records if record["column"] == "30%"}
    assert {record["verdict"] for record in column.values()} == {"same"}
    assert (column["FFN only"]["claim"], column["L2"]["claim"]) == ("reversed", "there")
    (told,) = [note for note in found.remarks if note.startswith("Claimed gains over the baseline")]
    assert "1 is reversed" in told
    assert "the means are in the order of print in 7 of 8" in told
    (ranks,) = [note for note in found.remarks if note.startswith("Rank agreement")]
    assert "30% 0.33" in ranks


def test_ranks_that_disagree_are_not_all_called_the_same(tmp_path: Path) -> None:
    found = sheet_for(planned(tmp_path, moved(), seeds=3), seed=0)
    (ranks,) = [note for note in found.remarks if note.startswith("Rank agreement")]
    assert "30% −0.33" in ranks
    assert [plain(line[3]).split()[-1] for line in found.cells] == ["≠", "≠", "≠"]
    assert any("in the order of print in 5 of 8" in note for note in found.remarks)


def test_a_difference_that_is_no_larger_than_the_noise_is_not_called_a_gain(tmp_path: Path) -> None:
    found = sheet_for(planned(tmp_path, true(), seeds=3))
    claims = Counter(record["claim"] for record in found.records if record["claim"])
    assert claims["cannot tell"] >= 6
    (told,) = [note for note in found.remarks if note.startswith("Claimed gains over the baseline")]
    assert f"{claims['cannot tell']} cannot be told (± " in told
    one = sheet_for(planned(tmp_path, true(), seeds=1))
    assert {record["claim"] for record in one.records} == {None, "cannot tell"}

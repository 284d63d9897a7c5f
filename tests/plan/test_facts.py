"""Numbers of papers' tables that need no run: counted from cards, and the same where they print alike."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.errors import InputError
from bench.metrics import METRICS
from bench.plan.deviations import of_score
from bench.plan.paper import plan_paper
from bench.records.store import Store
from bench.registry import Registry
from bench.sheets.facts import records_of
from bench.sheets.sheet import Record
from bench.sheets.view import default_source, sheet_of
from bench.stats.verdict import DIFFERS, NOT_COMPARABLE, SAME
from bench.tables.compare import Table, fill

PROTOCOL = """\
title: a protocol for a test
settings: {steps: {value: 40, source: our choice}}
seeds: {value: 2, source: our choice}
selection: {value: last, source: our choice}
sweep: {value: best-val, source: our choice}
"""
TABLE = """\
title: "Table 1: sizes, and an accuracy"
paper: mini
kind: results
metric: top1
runs:
  axes: {backbone: micro_vit, dataset: digits, rate: 100}
  labels:
    Weights: {fact: FACT}
    Top-1: {method: ce}
    ViT: {}
    ResNet: {backbone: BACKBONE}
stub: [Model]
columns: [[Weights], [Top-1]]
rows:
  - {label: [ViT], cells: ["0.08", "90.0"]}
  - {label: [ResNet], cells: ["0.15", "80.0"]}
"""


def table(name: str, registry: Registry | None = None) -> Table:
    (filled,) = fill(plan_paper(name, registry or Registry()), Store("nowhere"))
    return filled


def mini(folder: Path, fact: str = "million_weights", backbone: str = "micro_resnet") -> Table:
    files = {"protocol.yaml": PROTOCOL, "table1.yaml": TABLE.replace("FACT", fact).replace("BACKBONE", backbone)}
    (folder / "paper_tables" / "mini").mkdir(parents=True)
    for name, text in files.items():
        (folder / "paper_tables" / "mini" / name).write_text(text, encoding="utf-8")
    return table("mini/table1", Registry([folder]))


def judged(table: Table, word: str) -> list[Record]:
    return [record for record in records_of(table) if record["verdict"] == word]


@pytest.mark.parametrize(("name", "cells"), [("gta/table1", 15), ("drloc/table1", 36)])
def test_statistics_of_datasets_are_filled_from_their_cards(name: str, cells: int) -> None:
    filled = table(name)
    differing = judged(filled, DIFFERS)
    assert len(judged(filled, SAME)) + len(differing) == cells
    assert {record["mean"] for record in judged(filled, SAME)} >= {100.0}
    assert [record["row"] for record in differing] == ["ImageNet-1K [48]"] * (name == "drloc/table1")
    assert default_source([filled]) == "both"


def test_a_count_that_differs_is_told_with_what_the_card_says_of_it() -> None:
    (record,) = judged(table("drloc/table1"), DIFFERS)
    assert (record["mean"], record["published"], record["gap"]) == (50_000.0, 100_000.0, -50_000.0)
    (told,) = [remark for remark in sheet_of(table("drloc/table1")).remarks if "36 numbers need no run" in remark]
    assert "50000 where 100000 is printed (Table 1 lists the 100,000 hidden test images" in told


def test_weights_are_counted_with_the_head_and_stand_beside_accuracies() -> None:
    filled = table("drloc/table3")
    shares = {record["row"]: record["mean"] for record in records_of(filled) if "(M)" in str(record["column"])}
    assert shares["Swin / Swin-T"] == (27_519_354 + 100 * 769) / 1e6
    assert default_source([filled]) == "published"  # nothing of it has run
    assert not filled.finished
    verdicts = {record["row"]: record["verdict"] for record in records_of(filled) if record["mean"] is not None}
    assert verdicts["Swin / Swin-T"] == DIFFERS  # 27.6 where 29 is printed
    assert verdicts["CvT / CvT-13"] == NOT_COMPARABLE  # its label says that it is another CvT


def test_counts_say_nothing_of_seeds_tests_or_metrics(tmp_path: Path) -> None:
    filled = mini(tmp_path)
    (vit, resnet) = [record for record in records_of(filled) if record["column"] == "Weights"]
    assert (vit["mean"], vit["std"], vit["metric"]) == ((78_000 + 10 * 49) / 1e6, None, None)
    assert (vit["verdict"], resnet["verdict"]) == (SAME, DIFFERS)
    text = " ".join(sheet_of(filled, source="ours").notes)
    assert "seed" not in text
    assert "±" not in text


def test_what_no_card_says_is_told(tmp_path: Path) -> None:
    filled = mini(tmp_path, backbone="timm:resnet18")
    assert filled.entries[1][0].cell.why_empty == (
        "no card says millions of weights with a head for the dataset's classes: timm:resnet18, digits"
    )


def test_a_fact_that_is_declared_other_is_not_judged(tmp_path: Path) -> None:
    shown = mini(tmp_path, "million_weights, as: other, because: in print the head has other classes")
    told = {(each["verdict"], each["reason"]) for each in records_of(shown) if each["column"] == "Weights"}
    assert told == {(NOT_COMPARABLE, "in print the head has other classes")}


def test_another_fact_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        mini(tmp_path, fact="weights")
    (problem,) = caught.value.problems
    assert "table1.yaml:" in problem
    assert "no fact is called 'weights' (there are: classes, million_weights, " in problem


def test_a_fact_without_its_axis_is_refused(tmp_path: Path) -> None:
    (tmp_path / "paper_tables" / "mini").mkdir(parents=True)
    text = TABLE.replace("dataset: digits, ", "").replace("FACT", "classes").replace("BACKBONE", "micro_vit")
    text = text.replace("Top-1: {method: ce}", "Top-1: {not_run: nothing}")
    for name, content in (("protocol.yaml", PROTOCOL), ("table1.yaml", text)):
        (tmp_path / "paper_tables" / "mini" / name).write_text(content, encoding="utf-8")
    with pytest.raises(InputError, match="the fact classes is of a dataset; give labels or axes"):
        table("mini/table1", Registry([tmp_path]))


def test_a_count_of_weights_is_of_no_machine_and_a_time_is() -> None:
    verdicts = {
        name: [*of_score(METRICS[name], METRICS[name], False, "", "last")] for name in ("hours", "parameters", "energy")
    }
    assert verdicts == {
        "hours": ["training time of another machine"],
        "parameters": [],
        "energy": ["energy of another machine"],
    }


def test_what_is_measured_of_models_is_of_no_machine_and_of_no_oracle() -> None:
    metric = Registry().metrics["s_dbw_tong"]
    assert [*of_score(metric, metric, False, "", "last")] == [*of_score(metric, metric, False, "", "best-val")] == []
    assert [*of_score(metric, metric, False, "", "best-test")] == ["measured of the last model in place of best-test"]

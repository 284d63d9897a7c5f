"""The columns Avg. and Rank, against values worked out by hand."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from bench.cli import main
from bench.errors import InputError
from bench.metrics import METRICS
from bench.plan.target import read_plan
from bench.records.store import Store
from bench.registry import Registry
from bench.sheets.view import render, sheet_of
from bench.stats.samples import Summary
from bench.stats.two import welch
from bench.tables.cells import Cell
from bench.tables.compare import Table, compare
from bench.tables.totals import AVERAGE, INCOMPLETE, QUOTED, RANK, STATED, extended
from bench.tables.totals import METRICS as SEVERAL
from tests.tables.laid import Layout, Measured, laid
from tests.test_cli import publish

VALUES = {
    ("CE", "CUB"): (50.0, 52.0, 54.0),
    ("CE", "Cars"): (60.0, 62.0, 70.0),
    ("GTA", "CUB"): (60.0, 61.0, 62.0),
    ("GTA", "Cars"): (70.0, 72.0, 74.0),
}
BY_DATASET = Layout("t", ("method",), ("dataset",), "CE")


def filled(values: Mapping[tuple[str, str], tuple[float, ...]], layout: Layout = BY_DATASET) -> Table:
    cells = [Measured({"method": m, "dataset": d}, each, max(3, len(each))) for (m, d), each in values.items()]
    return laid(cells, layout)


def test_an_average_is_of_each_seed_and_so_are_its_deviation_difference_and_test() -> None:
    table = extended(filled(VALUES), with_average=True)
    assert table.plan.columns == (("CUB",), ("Cars",), (AVERAGE,))
    (base, other) = (line[2] for line in table.entries)
    assert base.cell.values == (55.0, 57.0, 62.0)
    assert other.cell.values == (65.0, 66.5, 68.0)
    assert (base.mean, other.mean) == (58.0, 66.5)
    assert base.std == pytest.approx(math.sqrt(13))  # deviations -3, -1 and 4
    assert other.std == pytest.approx(1.5)
    assert other.delta == 8.5
    assert other.p == pytest.approx(welch((65.0, 66.5, 68.0), (55.0, 57.0, 62.0)))
    assert other.p_holm == other.p
    assert other.rank == 1
    note = (
        "Avg.: for each seed the mean over the 2 columns of its row; ± is over these means. "
        "The averages are tested like a column, Holm-corrected over their 1 comparison."
    )
    assert note in " ".join(render(table, "text", width=200).split())


def test_the_seeds_are_those_that_every_column_has() -> None:
    cells = [
        Measured({"method": "CE", "dataset": "CUB"}, (50.0, 52.0, 54.0), 3, seeds=(0, 1, 2)),
        Measured({"method": "CE", "dataset": "Cars"}, (60.0, 70.0), 3, seeds=(0, 2)),
        Measured({"method": "GTA", "dataset": "CUB"}, (60.0, 61.0), 3, seeds=(0, 1)),
        Measured({"method": "GTA", "dataset": "Cars"}, (70.0,), 3, seeds=(2,)),
    ]
    base, other = (line[2] for line in extended(laid(cells, BY_DATASET), with_average=True).entries)
    assert (base.cell.seeds, base.cell.values) == ((0, 2), (55.0, 62.0))
    assert other.cell.reason == "no seed has finished in all that it is the mean of"


@pytest.mark.parametrize("family", ["column", "table"])
def test_the_other_columns_stay_what_they_are(family: str) -> None:
    alone = filled(VALUES, replace(BY_DATASET, family=family))
    table = extended(alone, with_average=True, with_ranks=True)
    assert tuple(line[:2] for line in table.entries) == alone.entries
    assert table.plan.contests == alone.plan.contests
    assert table.finished == alone.finished


def test_a_mean_rank_is_over_the_columns_in_which_all_have_a_number() -> None:
    values = {
        ("CE", "a"): (1.0,), ("BSS", "a"): (2.0,), ("GTA", "a"): (3.0,),
        ("CE", "b"): (5.0,), ("BSS", "b"): (5.0,), ("GTA", "b"): (4.0,),
        ("CE", "c"): (9.0,), ("BSS", "c"): (8.0,), ("GTA", "c"): (9.5,),
        ("CE", "d"): (9.0,), ("BSS", "d"): (), ("GTA", "d"): (9.5,),
    }  # fmt: skip
    table = extended(filled(values), with_ranks=True)
    # a: 3, 2, 1; b: 1.5, 1.5, 3; c: 2, 3, 1; d is left out
    assert [line[4].mean for line in table.entries] == pytest.approx([6.5 / 3, 6.5 / 3, 5 / 3])
    assert [line[4].cell.n for line in table.entries] == [3, 3, 3]
    assert all(line[4].std is line[4].p is line[4].delta is None for line in table.entries)
    assert [sheet[4].value for sheet in sheet_of(table).cells] == ["2.17", "2.17", "1.67"]
    assert not any(sheet[4].look or sheet[4].std or sheet[4].count for sheet in sheet_of(table).cells)
    text = " ".join(render(table, "text", width=200).split())
    assert "Rank: the mean rank over the 3 columns in which all methods have a number, 1 is best; not tested." in text


def test_where_less_is_better_the_lowest_has_rank_1() -> None:
    table = extended(filled(VALUES, replace(BY_DATASET, metric=METRICS["seconds"])), with_ranks=True)
    assert [line[2].mean for line in table.entries] == [1.0, 2.0]


def test_what_has_not_run_has_no_rank_and_takes_none_from_the_others() -> None:
    values = {**VALUES, ("BSS", "CUB"): (), ("BSS", "Cars"): ()}
    table = extended(filled(values), with_average=True, with_ranks=True)
    assert [line[3].mean for line in table.entries] == [2.0, 1.0, None]
    average, rank = table.entries[2][2:]
    assert average.cell.reason == INCOMPLETE
    assert rank.cell.reason == "there is no column in which it and all other methods have a number"
    assert [line[2].mean for line in table.entries] == [58.0, 66.5, None]
    text = " ".join(render(table, "text", width=200).split())
    assert f"[1] {INCOMPLETE}" in text


def test_rows_of_other_backbones_are_ranked_among_themselves() -> None:
    cells = [
        Measured({"backbone": b, "method": m, "dataset": d}, (10.0 * step + 1000 * (b == "large"),), 1)
        for b in ("small", "large")
        for step, m in enumerate(("CE", "GTA"))
        for d in ("CUB", "Cars")
    ]
    table = extended(laid(cells, Layout("t", ("backbone", "method"), ("dataset",), "CE")), True, True)
    assert [line[3].mean for line in table.entries] == [2.0, 1.0, 2.0, 1.0]
    assert [line[2].delta for line in table.entries] == [None, 10.0, None, 10.0]
    assert [line[2].planned.axes for line in table.entries][3] == {"backbone": "large", "method": "GTA"}


def test_why_there_is_no_average() -> None:
    plain = filled(VALUES)
    seconds = replace(plain.plan.cells[0][1], metric=METRICS["seconds"])
    mixed = replace(plain.plan, cells=((plain.plan.cells[0][0], seconds), plain.plan.cells[1]))
    cells = [[entry.cell for entry in line] for line in plain.entries]
    assert extended(compare(mixed, cells), True).entries[0][2].cell.reason == SEVERAL
    stated = [[Cell(stated=Summary(50.0, 1.0, 3)), cells[0][1]], cells[1]]
    entry = extended(compare(plain.plan, stated), True).entries[0][2]
    assert entry.cell.reason == STATED
    quoted = replace(plain.plan.cells[1][0], quoted=True)
    with_quoted = replace(plain.plan, cells=(plain.plan.cells[0], (quoted, plain.plan.cells[1][1])))
    assert extended(compare(with_quoted, cells), True).entries[1][2].cell.reason == QUOTED


@pytest.mark.parametrize(
    ("columns", "layout", "says"),
    [
        (("CUB", AVERAGE), BY_DATASET, "--average: t has averages of its own, or a column 'Avg.'"),
        (("CUB",), BY_DATASET, "--average: t has one column alone"),
        (
            ("CUB", "Cars"),
            Layout("t", ("dataset",), ("method",), "CE"),
            "--average: no column of t has two methods to compare; let them stand along its rows",
        ),
    ],
)
def test_tables_that_have_nothing_to_average(columns: tuple[str, ...], layout: Layout, says: str) -> None:
    values = {(method, dataset): (1.0, 2.0) for method in ("CE", "GTA") for dataset in columns}
    with pytest.raises(InputError) as error:
        extended(filled(values, layout), with_average=True)
    assert str(error.value) == says


def test_nothing_is_claimed_over_datasets_of_an_average() -> None:
    table = filled({key: values * 2 for key, values in VALUES.items()}, replace(BY_DATASET, across="these"))
    assert extended(table, True, True).claims == table.claims


NUMBERS = "".join(
    f"{method},{dataset},{seed},{value}\n"
    for (method, dataset), values in VALUES.items()
    for seed, value in enumerate(values)
)


def shown(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    capsys.readouterr()
    assert main(list(arguments)) == 0
    return capsys.readouterr().out


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    capsys.readouterr()
    assert main(list(arguments)) == 2
    (line,) = capsys.readouterr().err.splitlines()
    return line


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "numbers.csv").write_text("method,dataset,seed,value\n" + NUMBERS, encoding="utf-8")
    return tmp_path


def test_of_an_import_in_every_format(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ("import", "numbers.csv", "--baseline", "CE", "--average", "--ranks")
    assert "| GTA      | **61.0 ± 1.0** +9.0‡ | **72.0 ± 2.0** +8.0 | **66.5 ± 1.5** +8.5† |   1.00 |" in shown(
        capsys, *command, "--format", "markdown"
    )
    rows = list(csv.DictReader(io.StringIO(shown(capsys, *command, "--format", "csv"))))
    averages = [row for row in rows if row["column"] == AVERAGE]
    assert [(row["row"], row["mean"], row["n"], row["dataset"]) for row in averages] == [
        ("CE", "58.0", "3", ""),
        ("GTA", "66.5", "3", ""),
    ]
    ranks = [row for row in rows if row["column"] == RANK]
    assert [(row["metric"], row["mean"], row["std"], row["n"]) for row in ranks] == [
        ("mean_rank", "2.0", "", "2"),
        ("mean_rank", "1.0", "", "2"),
    ]
    cells = json.loads(shown(capsys, *command, "--format", "json"))["cells"]
    assert [cell["mean"] for cell in cells if cell["column"] == AVERAGE] == [58.0, 66.5]
    assert r"\multicolumn{1}{c}{Avg.} & \multicolumn{1}{c}{Rank} \\" in shown(capsys, *command, "--format", "latex")
    turned = shown(capsys, *command, "--transpose", "--width", "100")
    assert [line.split()[0] for line in turned.splitlines()[4:8]] == ["CUB", "Cars", AVERAGE, RANK]


def test_of_an_experiment_with_several_metrics_or_rules(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for spec in read_plan("demo", Registry()).unique.values():
        publish(Store("results"), spec)
    text = shown(capsys, "table", "demo", "--average", "--ranks", "--format", "csv")
    by_row: dict[str, dict[str, float]] = {}
    for row in csv.DictReader(io.StringIO(text)):
        by_row.setdefault(row["row"], {})[row["column"]] = float(row["mean"])
    for means in by_row.values():
        rates = [means[rate] for rate in ("15 %", "30 %", "50 %", "100 %")]
        assert means[AVERAGE] == pytest.approx(sum(rates) / 4)
    assert sum(means[RANK] for means in by_row.values()) == pytest.approx(21)  # of ranks 1 to 6
    for option in (("--metric", "top1,hours"), ("--selection", "last,best-test")):
        columns = shown(capsys, "table", "demo", "--average", *option, "--format", "csv")
        assert f"{AVERAGE} / " in columns
    line = refused(capsys, "table", "demo", "--average", "--candidates")
    assert line == "bench: --average: candidates are not summed up; leave --candidates away"


def test_published_numbers_are_not_summed_up(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    line = refused(capsys, "table", "gta/table2", "--ranks")
    assert line == "bench: --ranks: published numbers are shown as printed; it is for --source ours"
    line = refused(capsys, "table", "coin/table1", "--average", "--source", "ours")
    assert line == "bench: --average: coin/table1 has averages of its own, or a column 'Avg.'"

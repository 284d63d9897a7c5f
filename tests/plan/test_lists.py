"""Lists of training images, and variants, in the place of the dataset that a paper's table declares."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from bench.cli import main
from bench.errors import InputError
from bench.plan.overrides import Overrides
from bench.plan.paper import plan_paper
from bench.plan.table import TablePlan
from bench.rate import Rate
from bench.registry import Registry
from tests.plan.test_paper import Supplied, mini

CUB = 5994
RATES = {"15%": 15, "30%": 30, "50%": 50, "100%": 100}


@pytest.fixture
def lists(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with lists of about as many images as the rates of GTA draw of CUB, as they are published."""
    monkeypatch.chdir(tmp_path)
    for name, count in (("15", 896), ("30", 1792), ("50", 2990), ("100", CUB), ("tiny", 60)):
        lines = [f"train/{number % 200:03}.Bird/image_{number}.jpg {number % 200}" for number in range(count)]
        (tmp_path / f"train_{name}.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return tmp_path


def planned(**overrides: str) -> TablePlan:
    (plan,) = plan_paper("gta/table2", Supplied(), Overrides(**overrides)).tables  # type: ignore[arg-type]
    return plan


def differs(plan: TablePlan) -> list[str]:
    """How each cell with runs differs from what the paper did; there is at least one."""
    reasons = [cell.ground.differs for _, cell in plan.places() if cell.candidates]
    assert reasons
    return reasons


def runs(plan: TablePlan) -> dict[str, set[tuple[str, Rate]]]:
    """The datasets and rates that are trained for each column, without the folder of lists."""
    columns: dict[str, set[tuple[str, Rate]]] = {}
    for (_, at), cell in plan.places():
        for candidate in cell.candidates:
            for spec in candidate.runs:
                name = spec.dataset.name.replace(f"@{os.getcwd()}/", "@")
                columns.setdefault(plan.columns[at][-1], set()).add((name, spec.rate))
    return columns


def test_a_list_takes_the_place_of_the_rate_that_draws_as_many(lists: Path) -> None:
    for column, rate in RATES.items():
        plan = planned(datasets=f"cub200@train_{rate}.txt")
        assert runs(plan) == {column: {(f"cub200@train_{rate}.txt", 100.0)}}
        assert {plan.rows[row][0] for (row, _), cell in plan.places() if cell.candidates} == {"CUB"}
        assert sum(bool(cell.candidates) for _, cell in plan.places()) == 6


def test_several_lists_are_of_a_rate_each_and_a_plain_name_of_the_rest(lists: Path) -> None:
    both = "cub200@train_15.txt,cub200@train_30.txt"
    assert runs(planned(datasets=both)) == {
        "15%": {("cub200@train_15.txt", 100.0)},
        "30%": {("cub200@train_30.txt", 100.0)},
    }
    rest = {"50%": {("cub200", 50.0)}, "100%": {("cub200", 100.0)}}
    assert runs(planned(datasets=f"cub200,{both}")) == runs(planned(datasets=both)) | rest
    assert runs(planned(datasets=both, rates="30")) == {"30%": {("cub200@train_30.txt", 100.0)}}


def test_a_list_of_a_rates_length_is_comparable_and_said_of_the_table(lists: Path) -> None:
    plan = planned(datasets="cub200@train_15.txt")
    assert not any("list" in why for why in differs(plan))
    (note,) = [note for note in plan.notes if "list" in note]
    assert note == "CUB-200-2011 at 15 %: 896 training images of a list, CUB-200-2011 (train_15.txt)."


def test_a_list_that_is_of_no_rate_is_refused_with_what_each_draws(lists: Path) -> None:
    with pytest.raises(InputError) as caught:
        planned(datasets="cub200@train_tiny.txt")
    (problem,) = caught.value.problems
    assert problem == (
        "--datasets: cub200@train_tiny.txt: a list of 60 training images stands for no rate of gta/table2 "
        "(15 % draws 899, 30 % draws 1,798, 50 % draws 2,997, 100 % draws 5,994)"
    )
    with pytest.raises(InputError, match=r"there is no file .*nothing\.txt"):
        planned(datasets="cub200@nothing.txt")


@pytest.mark.parametrize("second", ["train_more.txt", "train_15.txt"])
def test_of_two_lists_of_one_rate_none_is_passed_over(lists: Path, second: str) -> None:
    whole = (lists / "train_30.txt").read_text(encoding="utf-8").splitlines()
    (lists / "train_more.txt").write_text("\n".join(whole[:990]), encoding="utf-8")
    typed = f"cub200@train_15.txt,cub200@{second}"
    if second == "train_15.txt":
        assert runs(planned(datasets=typed)) == {"15%": {("cub200@train_15.txt", 100.0)}}
        return
    with pytest.raises(InputError) as caught:
        planned(datasets=typed)
    assert caught.value.problems == (
        "--datasets: cub200@train_15.txt and cub200@train_more.txt stand for one rate of gta/table2, 15 %; "
        "give one a rate",
    )


def test_where_there_is_one_rate_any_list_is_taken_and_not_judged(lists: Path) -> None:
    (plan,) = plan_paper("lacvit/table1", Supplied(), Overrides(datasets="cub200@train_tiny.txt")).tables
    assert runs(plan) == {"Acc@1": {("cub200@train_tiny.txt", 100.0)}}
    assert all("60 training images of a list in place of 5,994" in why for why in differs(plan))


def test_a_variant_takes_the_place_of_the_declared_use_and_is_not_judged() -> None:
    (plan,) = plan_paper("drloc/table4", Supplied(), Overrides(datasets="oxford_flowers102@train")).tables
    assert {spec.dataset.name for spec in plan.runs()} == {"oxford_flowers102@train"}
    assert all("oxford_flowers102@train in place of oxford_flowers102" in why for why in differs(plan))


def test_the_use_that_the_paper_took_is_no_difference(tmp_path: Path) -> None:
    """The card says it of the paper, whatever the table declares."""
    datasets = tmp_path / "datasets"
    datasets.mkdir()
    card = (Registry().dataset_files["caltech101"]).read_text(encoding="utf-8")
    stated = card[card.index("papers:") : card.index("about: >-")]
    card = card.replace(stated, "papers:\n  mini: {as: no_background, source: its section 3}\n")
    (datasets / "caltech_mini.yaml").write_text(card, encoding="utf-8")
    registry = mini(tmp_path, ("{dataset: digits}", "{dataset: caltech_mini}"))
    for typed, why in (("caltech_mini@no_background", ""), ("caltech_mini", "")):
        (plan,) = plan_paper("mini", registry, Overrides(datasets=typed)).tables
        assert {spec.dataset.name for spec in plan.runs()} == {typed}
        assert {*differs(plan)} == {why}


def test_the_command_plans_with_lists(lists: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", "gta/table2", "--datasets", "cub200@train_15.txt", "--results", str(lists / "results")]) == 0
    out = capsys.readouterr().out
    assert "  gta/table2            6 cells, " in out
    assert re.search(r"^\d+ different runs: 0 done, 0 failed, \d+ to train$", out, re.MULTILINE)

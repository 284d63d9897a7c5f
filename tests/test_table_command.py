"""``bench table`` with a test and a claim of one's own, and ``bench figure`` of gaps and of ranks."""

from __future__ import annotations

import csv
import io
import shutil
from pathlib import Path

import pytest

from bench.cli import main
from bench.plan.target import read_plan
from bench.records.store import Store
from bench.registry import Registry
from tests.scenes import runs_with_axes
from tests.tables.small import planned as plan_mini
from tests.test_cli import accuracy, publish

EXPERIMENT = """\
methods: {CE: ce, BSS: bss, GTA: gta}
backbones: [micro_vit]
datasets: [digits, cluttered_digits]
rates: [15, 100]
seeds: 3
protocol: {steps: 10}
baseline: CE
table: {across: these}
"""


@pytest.fixture
def mine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """An experiment with a finished run of every cell."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.yaml").write_text(EXPERIMENT, encoding="utf-8")
    for spec in read_plan("mine.yaml", Registry()).unique.values():
        publish(Store("results"), spec)
    return "mine.yaml"


def told(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert main(list(arguments)) == 0
    return capsys.readouterr().out


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert main(list(arguments)) == 2
    (line,) = capsys.readouterr().err.splitlines()
    return line


def test_the_test_that_is_typed_is_made_and_named(mine: str, capsys: pytest.CaptureFixture[str]) -> None:
    text = " ".join(told(capsys, "table", mine, "--test", "paired").split())
    assert "two-sided paired t-test against CE" in text
    assert (
        "Pairs are runs of one seed, which share the subset of images, the initial head and the order of batches."
        in text
    )
    rows = csv.DictReader(io.StringIO(told(capsys, "table", mine, "--test", "paired", "--format", "csv")))
    found = {(row["dataset"], row["rate"], row["method"]): row["p"] for row in rows}
    cells: dict[tuple[str, str, str], list[float]] = {}
    for spec, axes in runs_with_axes(read_plan(mine, Registry())):
        key = (axes["dataset"], axes["rate"], axes["method"])
        cells.setdefault(key, []).append(accuracy(spec))
    for (dataset, rate, method), p in found.items():
        own, base = cells[dataset, rate, method], cells[dataset, rate, "CE"]
        if method == "GTA":  # always 20 better: the differences do not vary
            assert float(p) == 0.0
        elif method == "BSS":
            assert own == base
            assert float(p) == 1.0


def test_the_claim_of_the_experiment_gives_way_to_the_one_that_is_typed(
    mine: str, capsys: pytest.CaptureFixture[str]
) -> None:
    own = " ".join(told(capsys, "table", mine).split())
    assert "On these datasets, 15 %: BSS +0.00 (p = 1) and GTA +20.00 (p = 0.0625) against CE over 2 datasets" in own
    typed = " ".join(told(capsys, "table", mine, "--across", "like-these").split())
    assert "On datasets like these, 15 % and 100 %: not testable: n = 2 datasets" in typed
    assert "On these datasets" not in typed


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["table", "--across", "these", "--format", "csv"], "--across: --format csv has cells alone"),
        (
            ["table", "--test", "paired", "--selection", "last,best-test"],
            "--test: selection rules side by side have",
        ),
        (
            ["figure", "--kind", "cd"],
            "a critical-difference diagram is about datasets like these, on which all 3",
        ),
        (["figure", "--kind", "cd", "--source", "published"], "--source published is for the tables of papers"),
        (["figure", "--kind", "gaps", "--source", "published"], "--source published is for the tables of papers"),
        (["figure", "--kind", "gaps", "--output", "gaps.gif"], "--output gaps.gif: a figure is a .png, .pdf or"),
        (["figure", "--source", "ours"], "--source ours is for the tables of papers"),
        (["figure", "--kind", "cd", "--output", "cd.jpg"], "--output cd.jpg: a figure is a .png, .pdf or .svg file"),
    ],
)
def test_what_makes_no_sense_is_one_line(
    mine: str, capsys: pytest.CaptureFixture[str], arguments: list[str], said: str
) -> None:
    command, *more = arguments
    assert said in refused(capsys, command, mine, *more)
    assert not Path("results/figures").exists()


@pytest.mark.slow
def test_a_figure_of_gaps(mine: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert told(capsys, "figure", mine, "--kind", "gaps").splitlines() == [
        "results/figures/mine-gaps.png",
        "results/figures/mine-gaps.pdf",
    ]
    assert told(capsys, "figure", mine, "--kind", "gaps", "--rates", "15", "--output", "g.png") == "g.png\n"
    assert Path("g.png").read_bytes().startswith(b"\x89PNG")
    assert "there is no folder nowhere" in refused(
        capsys, "figure", mine, "--kind", "gaps", "--output", "nowhere/g.png"
    )
    Path("plain.yaml").write_text(EXPERIMENT.replace("baseline: CE\n", "").partition("table:")[0], encoding="utf-8")
    assert "plain.yaml: a figure of gaps is of differences to a baseline, and the table names none" in refused(
        capsys, "figure", "plain.yaml", "--kind", "gaps"
    )


def test_a_figure_of_gaps_of_a_paper_is_of_our_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert refused(capsys, "figure", "gta/table2", "--kind", "gaps", "--source", "published").endswith(
        "--source published: it is for diagrams (--kind cd); a figure of gaps is of our runs"
    )
    assert "nothing to draw: results has no finished run of it; 'bench run gta/table2' trains them" in refused(
        capsys, "figure", "gta/table2", "--kind", "gaps"
    )


@pytest.mark.slow
def test_a_diagram_of_published_numbers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    paths = told(capsys, "figure", "coin/table1", "--kind", "cd", "--source", "published").splitlines()
    assert [Path(path).name for path in paths] == ["coin-table1-published-cd.png", "coin-table1-published-cd.pdf"]
    assert all(Path(path).stat().st_size > 1000 for path in paths)
    assert "n = 5 datasets" in refused(capsys, "figure", "gta/table2", "--kind", "cd", "--source", "published")
    assert "nothing to draw" in refused(capsys, "figure", "coin/table1", "--kind", "cd")
    assert "one table at a time" in refused(capsys, "figure", "gta", "--kind", "cd")


@pytest.fixture
def swept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A paper's table with a sweep, whose candidates are best at different points of their curves."""
    monkeypatch.chdir(tmp_path)
    first, second = (candidate.runs for candidate in plan_mini(tmp_path).cells[2][0].candidates)
    for runs, curve in ((first, [(50.0, 99.0), (60.0, 70.0)]), (second, [(80.0, 80.0), (55.0, 75.0)])):
        for spec in runs:
            points = [
                {"step": step, "val": {"top1": val}, "test": {"top1": test}}
                for step, (val, test) in enumerate(curve, 1)
            ]
            with Store("results").draft() as draft:
                Store("results").publish(draft, spec, {"status": "done", "curve": points, "timing": {"seconds": 1.0}})
    return "mini/table1"


def test_rules_beside_each_other_say_which_candidate_each_chose(swept: str, capsys: pytest.CaptureFixture[str]) -> None:
    typed = ("table", swept, "--plugin", ".", "--selection", "last,best-val,best-test")
    text = " ".join(told(capsys, *typed).split())
    assert "Digits / GTA / 15% (last and best-test weight=0.1, best-val weight=1)." in text
    alike = told(capsys, *typed[:-1], "last,best-test")
    assert "each rule chooses" not in alike


def test_a_diverged_candidate_is_named_below_the_table(swept: str, capsys: pytest.CaptureFixture[str]) -> None:
    store = Store("results")
    (run, *_) = [folder for folder in (store.root / "runs").iterdir() if folder.name.startswith("gta")]
    spec = next(
        spec for one in plan_mini(Path()).cells[2][0].candidates for spec in one.runs if run.name.endswith(spec.id)
    )
    shutil.rmtree(run)
    with store.draft() as draft:
        store.publish_failure(draft, spec, {"error": {"class": "diverged", "kind": "Diverged", "message": "nan"}})
    for more in (("--source", "ours"), ("--source", "both"), ("--selection", "last,best-test")):
        text = " ".join(told(capsys, "table", swept, "--plugin", ".", *more).split())
        assert "1 of 3 runs diverged, in Digits / GTA / 15%." in text


@pytest.mark.parametrize("command", ["table", "power", "items", "figure", "runs"])
def test_a_damaged_record_is_never_left_out_in_silence(
    command: str, mine: str, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = next(Path("results/runs").glob("gta-*"))
    (folder / "record.json").write_text("{", encoding="utf-8")
    main([command, mine])  # items have no predictions to compare here
    assert f"{folder.name} is damaged and counts as missing" in capsys.readouterr().err


@pytest.mark.parametrize("option", ["--metric=nll", "--selection=best-test", "--split=val"])
def test_published_numbers_are_drawn_as_printed(option: str, capsys: pytest.CaptureFixture[str]) -> None:
    line = refused(capsys, "figure", "coin/table1", "--kind", "cd", "--source", "published", option)
    assert "published numbers are drawn as printed" in line

"""What ``bench rehearse`` prints and writes, beside runs that are only made up."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from bench.cli import main
from bench.launch import Event, Job, LocalExecutor
from bench.records.store import Store
from bench.spec import RunSpec

GRID = """\
title: a grid of mine
methods: [ce, l2sp]
backbones: [micro_vit]
datasets: [digits, cub200]
rates: [15, 100]
seeds: 2
protocol: {steps: 500, warmup: 50, batch_size: 256, lr: 1e-3}
baseline: ce
"""
NAMED = "rehearsal-mine"


def made_up(results: Path, run: RunSpec, failing: str) -> None:
    """A record of a run, or of its failure if its label has a text in it."""
    store = Store(results)
    with store.draft() as draft:
        (draft / "log.txt").write_text("a log\n", encoding="utf-8")
        if failing and failing in run.label:
            error = {"kind": "E", "message": "it went wrong", "class": "code"}
            store.publish_failure(draft, run, {"status": "failed", "error": error})
            return
        point = {"step": 4, "learning_rate": 0.0, "loss": {}, "val": None, "test": {"top1": 50.0}}
        store.publish(draft, run, {"status": "done", "curve": [point], "timing": {"seconds": 1.0}})


@pytest.fixture
def launches(here: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], list[list[RunSpec]]]:
    """Lets launches make records up; gives the runs of each launch, and says whose runs fail."""
    monkeypatch.setenv("BENCH_DATA", str(here / "nothing"))
    (here / "mine.yaml").write_text(GRID, encoding="utf-8")
    seen: list[list[RunSpec]] = []

    def failing(text: str) -> list[list[RunSpec]]:
        def execute(_: LocalExecutor, runs: Sequence[RunSpec], job: Job, report: Callable[[Event], None]) -> None:
            seen.append([*runs])
            for run in runs:
                made_up(Path(job.results), run, text)

        monkeypatch.setattr(LocalExecutor, "execute", execute)
        return seen

    return failing


def test_every_row_is_told_and_what_stood_in_the_place_of_what(
    launches: Callable[[str], list[list[RunSpec]]], capsys: pytest.CaptureFixture[str]
) -> None:
    seen = launches("")
    assert main(["rehearse", "mine.yaml"]) == 0
    printed = capsys.readouterr().out
    (runs,) = seen
    assert printed.startswith("rehearsal of mine: ")
    assert "datasets that are not here, drawn: cub200\n" in printed
    assert "datasets of which some images are taken: digits\n" in printed
    assert "backbones with the weights that they have here: micro_vit\n" in printed
    assert f"{len(runs)} of {len(runs)} runs trained, 0 failed" in printed
    assert re.search(r"rehearsal/mine +(\d) of \1 rows\n", printed)
    assert "'bench plan mine.yaml'" in printed


def test_it_says_of_which_part_of_a_plan_it_was(
    launches: Callable[[str], list[list[RunSpec]]], capsys: pytest.CaptureFixture[str]
) -> None:
    launches("")
    assert main(["rehearse", "mine.yaml", "--rates", "15", "--methods", "ce"]) == 0
    assert "'bench plan mine.yaml --methods ce --rates 15'" in capsys.readouterr().out


def test_it_lies_apart_and_every_format_says_what_it_is(launches: Callable[[str], list[list[RunSpec]]]) -> None:
    launches("")
    assert main(["rehearse", "mine.yaml"]) == 0
    assert {path.name for path in Path("results").iterdir()} == {"rehearsal"}
    files = [*Path("results/rehearsal/tables").glob(f"{NAMED}.*")]
    assert {path.name.removeprefix(NAMED) for path in files} == {
        *(".txt", ".md", ".csv", ".json", ".html", ".tex", ".macros.tex")
    }
    for path in files:
        assert "rehearsal" in path.read_text(encoding="utf-8").lower(), path
    cells = json.loads(Path(f"results/rehearsal/tables/{NAMED}.json").read_text(encoding="utf-8"))["cells"]
    assert all(cell["dataset"].startswith("rehearsal:") for cell in cells if cell["mean"] is not None)
    assert all(cell["published"] is None and cell["p"] is None for cell in cells)


def test_a_failure_is_told_with_its_row_its_reason_and_its_log_and_only_it_is_trained_again(
    launches: Callable[[str], list[list[RunSpec]]], capsys: pytest.CaptureFixture[str]
) -> None:
    seen = launches("l2sp")
    assert main(["rehearse", "mine.yaml"]) == 1
    printed = capsys.readouterr().out
    failed = [run for run in seen[0] if run.method.name == "l2sp"]
    assert f"{len(failed)} failed" in printed
    assert re.search(r"rehearsal/mine +(\d) of \1 rows, [12] with failures", printed)
    for run in failed:
        assert f"'bench logs {run.id} --results results/rehearsal'" in printed
    assert printed.count("  failed (code): rehearsal/mine, ") == len(failed)
    assert printed.count("    it went wrong\n") == len(failed)
    assert "bench plan" not in printed
    launches("")
    assert main(["rehearse", "mine.yaml"]) == 0
    assert {run.id for run in seen[1]} == {run.id for run in failed}


def test_options_make_it_larger(launches: Callable[[str], list[list[RunSpec]]]) -> None:
    seen = launches("")
    sizes = ["--images", "300", "--test-images", "500", "--steps", "20", "--batch", "16", "--seeds", "2"]
    assert main(["rehearse", "mine.yaml", "--whole", *sizes]) == 0
    (runs,) = seen
    assert len(runs) == 2 * 2 * 2 * 2
    assert {(run.protocol.recipe.steps, run.protocol.recipe.warmup, run.protocol.batch_size) for run in runs} == {
        (20, 2, 16)
    }
    assert {run.dataset.name.partition("+seed")[0] for run in runs} == {
        "rehearsal:train=300+test=500",
        "rehearsal:drawn+train=300+test=500",
    }


@pytest.mark.slow
def test_of_a_paper_the_tables_are_launched_one_by_one_and_small_ones_together(
    launches: Callable[[str], list[list[RunSpec]]], capsys: pytest.CaptureFixture[str]
) -> None:
    seen = launches("")
    assert main(["rehearse", "gta/table2", "lacvit"]) == 0
    assert len(seen) == 2
    assert not {run.id for run in seen[0]} & {run.id for run in seen[1]}
    printed = capsys.readouterr().out
    assert "REHEARSAL" not in printed
    assert re.search(r"rehearsal/gta/table2 +30 of 30 rows\n", printed)
    assert re.search(r"rehearsal/lacvit/table1 +9 of 10 rows \(1 has nothing to run\)\n", printed)
    assert main(["rehearse", "gta/table2", "lacvit", "--small"]) == 0
    assert len(seen) == 3


def test_of_one_table_it_is_printed(
    launches: Callable[[str], list[list[RunSpec]]], capsys: pytest.CaptureFixture[str]
) -> None:
    launches("")
    assert main(["rehearse", "gta/table2"]) == 0
    printed = capsys.readouterr().out
    assert "REHEARSAL of GTA" in printed
    assert "its numbers say that the runs train" in " ".join(printed.lower().split())
    assert "published)" not in printed


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (["gta/table1"], "nothing is left to run: its numbers are counted"),
        (["gta/table2", "--steps", "1"], "--steps 1: a rehearsal needs 2 or more"),
        (["gta/table2", "--launcher", "slurm"], "a rehearsal is trained while somebody watches it"),
        (["no_such_thing"], "no experiment, paper or table"),
    ],
)
def test_what_cannot_be_rehearsed_is_refused_in_a_line(
    words: list[str], problem: str, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["rehearse", *words]) == 2
    error = capsys.readouterr().err
    assert error.startswith("bench: ")
    assert problem in error
    assert "Traceback" not in error
    assert not Path("results").exists()

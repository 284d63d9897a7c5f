"""A format of tables that a plug-in folder brings: one file, and every command that writes tables knows it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from bench.cli import main
from bench.plan.target import read_plan
from bench.records.store import Store
from bench.registry import Registry
from bench.sheets.formats import FORMATS
from tests.test_cli import publish

PAGE = (Path(__file__).parents[2] / "docs" / "running.md").read_text(encoding="utf-8")
(WRITER,) = re.findall(r"```python\n(def write\(sheet\).*?)```", PAGE, re.DOTALL)
NUMBERS = "method,dataset,seed,value\nCE,CUB,0,50\nCE,CUB,1,52\nGTA,CUB,0,60\nGTA,CUB,1,62\n"
TARGETS = {
    "experiment": ("table", "demo"),
    "paper": ("table", "gta/table2", "--source", "published"),
    "import": ("import", "numbers.csv", "--baseline", "CE"),
}


@pytest.fixture
def file(here: Path) -> Path:
    """The format's file; beside it are finished runs of the demo, and numbers to import."""
    path = here / "mine" / "formats" / "org.py"
    path.parent.mkdir(parents=True)
    path.write_text(WRITER, encoding="utf-8")
    (here / "numbers.csv").write_text(NUMBERS, encoding="utf-8")
    for spec in read_plan("demo", Registry()).unique.values():
        publish(Store("results"), spec)
    return path


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    capsys.readouterr()
    assert main(list(arguments)) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    (line,) = captured.err.splitlines()
    return line


@pytest.mark.parametrize(
    ("target", "row"),
    [
        ("experiment", "| Fine-tune (baseline) | 52.8 | 54.2 | 56.2 | 61.2 |"),
        ("paper", "| CUB | GTA "),
        ("import", "| GTA | 61.0 |"),
    ],
)
def test_is_written_for_every_target(file: Path, capsys: pytest.CaptureFixture[str], target: str, row: str) -> None:
    assert main([*TARGETS[target], "--plugin", "mine", "--format", "org"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert any(line.startswith(row) for line in lines), lines
    assert all(line.startswith("| ") and line.endswith(" |") for line in lines)


def test_is_written_into_a_file_of_any_name(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*TARGETS["import"], "--plugin", "mine", "--format", "org", "--output", "table.org"]) == 0
    assert capsys.readouterr().out == "table.org\n"
    assert "| GTA | 61.0 |\n" in Path("table.org").read_text(encoding="utf-8")


@pytest.mark.slow
def test_of_several_tables_and_metrics(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["table", "gta", "--plugin", "mine", "--format", "org"]) == 0
    tables = capsys.readouterr().out.split("\n\n")
    assert len(tables) == len(read_plan("gta", Registry()).tables)
    assert main(["table", "demo", "--plugin", "mine", "--format", "org", "--metric", "top1,hours"]) == 0
    assert "training time (h)" in capsys.readouterr().out


def test_that_is_named_once_is_known(
    file: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BENCH_PLUGIN", "mine")
    assert main([*TARGETS["import"], "--format", "org"]) == 0
    assert "| GTA | 61.0 |\n" in capsys.readouterr().out


@pytest.mark.parametrize("target", TARGETS)
def test_that_there_is_not(file: Path, capsys: pytest.CaptureFixture[str], target: str) -> None:
    line = refused(capsys, *TARGETS[target], "--plugin", "mine", "--format", "orgg")
    assert line == (
        "bench: --format: no format is called 'orgg'; did you mean 'org'? "
        f"(there are: {', '.join(sorted([*FORMATS, 'org']))})"
    )
    assert "did you mean 'latex'?" in refused(capsys, *TARGETS[target], "--format", "latx")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("x = \n", "org.py:1: not valid Python"),
        ("import nothing_called_so\n", "org.py: cannot be loaded: ModuleNotFoundError"),
        ("import sys\nsys.exit(3)\n", "running the file ends the process: sys.exit(3)"),
        ("write = 5\n", "org.py:1: no function is called 'write'; a format's file has one (def write(sheet): ...)"),
        ("def write(sheet):\n    return 1 / 0\n", "cannot be written: ZeroDivisionError: division by zero"),
        ("import sys\ndef write(sheet):\n    sys.exit(0)\n", "cannot be written: SystemExit: 0"),
        ("def write(sheet):\n    return b''\n", "org.py: 'write' must give text, not a bytes"),
    ],
)
def test_that_is_wrong_is_told_in_one_line(
    file: Path, capsys: pytest.CaptureFixture[str], text: str, says: str
) -> None:
    file.write_text(text, encoding="utf-8")
    for target in TARGETS.values():
        assert says in refused(capsys, *target, "--plugin", "mine", "--format", "org")
        assert main([*target, "--plugin", "mine", "--format", "csv"]) == 0  # of no concern to the others


def test_with_a_name_that_is_taken(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file.rename(file.with_name("latex.py"))
    line = refused(capsys, "table", "demo", "--plugin", "mine", "--format", "text")
    assert line.endswith("latex.py: the suite has a format called 'latex'; rename this one")

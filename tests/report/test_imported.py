"""The page of somebody's own numbers."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.cli import main
from bench.commands.imported import without_option
from tests.report.read import parts_in

NUMBERS = """\
method,dataset,seed,accuracy,loss
ce,CUB,0,80.1,0.9
ce,CUB,1,80.5,0.8
ce,CUB,2,79.9,0.7
gta,CUB,0,82.1,0.6
gta,CUB,1,82.9,0.5
gta,CUB,2,82.0,0.4
"""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own.csv").write_text(NUMBERS, encoding="utf-8")
    return tmp_path


@pytest.mark.parametrize(
    "typed", [["--report", "./page.html", "--average"], ["--average", "--report=page.html"], ["--average"]]
)
def test_the_command_of_the_table_is_what_was_typed_without_the_page(typed: list[str]) -> None:
    assert without_option(["import", "own.csv", *typed], "--report") == ["import", "own.csv", "--average"]


IMPORT = ["import", "own.csv", "--columns", "metric=accuracy,loss", "--baseline", "ce"]


@pytest.mark.parametrize("format", ["latex", "markdown", "csv"])
def test_it_has_the_bytes_of_each_metrics_table(here: Path, format: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*IMPORT, "--report", "page.html"]) == 0
    assert capsys.readouterr().out == "page.html\n"
    parts = parts_in(here / "page.html")
    for table, metric in zip(parts["report"]["tables"], ("accuracy", "loss"), strict=True):
        assert main([*IMPORT, "--metric", metric, "--format", format]) == 0
        assert parts[table["choices"][0]["part"]]["copies"][format] == capsys.readouterr().out


def test_it_says_what_lies_behind_a_mean(here: Path) -> None:
    assert main([*IMPORT, "--report", "page.html"]) == 0
    parts = parts_in(here / "page.html")
    sheet = parts[parts["report"]["tables"][0]["choices"][0]["part"]]
    assert sheet["seeds"][0] == {"0": 80.1, "1": 80.5, "2": 79.9}
    assert sheet["facts"]["p_holm"][1] is not None


@pytest.mark.parametrize(
    ("typed", "why"),
    [
        (["--report", "page.pdf"], "name an .html file"),
        (["--report", "no/page.html"], "a folder that is there"),
        (["--report", "page.html", "--format", "csv"], "the page has the table in every form"),
    ],
)
def test_a_mistake_is_a_line(here: Path, typed: list[str], why: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*IMPORT, *typed]) == 2
    assert why in capsys.readouterr().err

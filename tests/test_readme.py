"""What the README shows is true: its method trains, its experiment is read, its commands exist."""

from __future__ import annotations

import argparse
import re
import shlex
from pathlib import Path
from typing import Any

import pytest

import bench
from bench.cli import build_parser, main

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
COMMANDS = (ROOT / "docs" / "commands.md").read_text(encoding="utf-8")


def blocks(language: str, page: str = README) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", page, re.DOTALL)


def commands(page: str) -> list[str]:
    """The commands of a page's blocks, and of the table in which the README says what to type."""
    lines = [line.split("#")[0] for block in blocks("bash", page) for line in block.splitlines()]
    lines += [code for row in re.findall(r"^\|.*\|$", page, re.MULTILINE) for code in re.findall(r"`(.+?)`", row)]
    return [line[line.index("bench ") :].strip() for line in lines if re.search(r"(^|bin/)bench ", line)]


METHOD, SESSION = blocks("python")


@pytest.mark.slow
@pytest.mark.usefixtures("warm")
def test_the_method_shown_trains_and_is_compared(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code = METHOD
    assert len(code.splitlines()) <= 30
    file = tmp_path / "label_margin.py"
    file.write_text(code)
    axes = ["--rates", "15", "--seeds", "2", "--set", "steps=6"]
    settings = ["--set", "warmup=1", "--set", "evaluations=1", "--jobs", "1", "--results", str(tmp_path / "results")]
    assert main(["run", "demo", "--plugin", str(file), "--methods", "ce,label_margin", *axes, *settings]) == 0
    (written,) = (tmp_path / "results" / "tables").glob("demo-*.csv")
    csv = written.read_text().splitlines()
    header, row = csv[0].split(","), next(line for line in csv if "label_margin" in line).split(",")
    cell = dict(zip(header, row, strict=True))
    assert cell["n"] == "2"
    assert 0 <= float(cell["p"]) <= 1
    assert "label_margin" in capsys.readouterr().out


def test_the_experiment_shown_is_read(tmp_path: Path) -> None:
    (text,) = blocks("yaml")
    file = tmp_path / "mine.yaml"
    file.write_text(text)
    plan = bench.read_plan(str(file), bench.Registry())
    assert len(plan.unique) == (1 + 3 + 2) * 2 * 2 * 5
    assert len({spec.seeds.subset for spec in plan.unique.values()}) == 2
    assert [len(cell.candidates) for _, cell in plan.tables[0].places()] == [1, 1, 3, 3, 2, 2] * 2


@pytest.mark.parametrize("page", [README, COMMANDS], ids=["README", "commands.md"])
def test_the_commands_shown_exist(page: str) -> None:
    parser = build_parser()
    lines = commands(page)
    assert len(lines) >= 20
    for command in lines:
        parser.parse_args(shlex.split(command)[1:])


def test_every_command_is_on_the_page_of_commands() -> None:
    (names,) = [action.choices for action in build_parser()._actions if isinstance(action, argparse._SubParsersAction)]
    assert set(names) - set(re.findall(r"bench ([a-z-]+)", COMMANDS)) == set()


def test_the_files_that_the_readme_links_to_are_there() -> None:
    links = [link for link in re.findall(r"\]\(([^)#]+)\)", README) if "://" not in link]
    links += re.findall(r'<img src="([^"]+)"', README)
    assert len(links) >= 10
    assert [link for link in links if not (ROOT / link).exists()] == []


def test_the_python_interface_is_whole() -> None:
    for name in bench.__all__:
        assert getattr(bench, name)


def test_the_python_session_shown_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    exec(SESSION, names)
    assert "negative log-likelihood" in capsys.readouterr().out
    assert list(names["runs"]["rate"].unique()) == [15, 100]

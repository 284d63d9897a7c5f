"""A paper added from outside: the files that docs/sixth_paper.md shows are read, and its commands do what it says."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from bench.cli import build_parser, main

PAGE = (Path(__file__).parent.parent / "docs" / "sixth_paper.md").read_text(encoding="utf-8")
FILES = re.findall(r"^`(mine/[\w/.]+)`.*?```yaml\n(.*?)```", PAGE, re.DOTALL | re.MULTILINE)
COMMANDS = [line.split("#")[0].strip() for line in re.findall(r"```bash\n(.*?)```", PAGE, re.DOTALL)[0].splitlines()]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A current folder in which the files of the page lie."""
    for name, text in FILES:
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def answer(command: str, capsys: pytest.CaptureFixture[str]) -> str:
    """What a command prints, which has to succeed."""
    assert main(shlex.split(command)[1:]) == 0, command
    return capsys.readouterr().out


def test_there_are_three_files_and_their_commands() -> None:
    assert len(FILES) == 3
    assert len(COMMANDS) == 6
    for command in COMMANDS:
        build_parser().parse_args(shlex.split(command)[1:])


@pytest.mark.parametrize("command", [command for command in COMMANDS if not command.startswith("bench run")])
def test_every_command_of_the_page_succeeds(command: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert answer(command, capsys)


def test_its_table_is_listed_and_shown_as_published(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "vpt/fgvc" in answer("bench list tables --plugin mine", capsys)
    table = answer("bench table vpt/fgvc --plugin mine --width 100", capsys)
    for number in re.findall(r'"(\d+\.\d+)"', PAGE):
        assert number in table
    cells = answer("bench table vpt/fgvc --plugin mine --format csv", capsys).splitlines()
    assert len(cells) == 1 + 3 * 6


def test_its_plan_has_what_the_suite_has(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plan = answer("bench plan vpt --plugin mine", capsys)
    # on four datasets three seeds of full fine-tuning, and of the linear probe at three learning rates
    assert f"{4 * 3 + 4 * 3 * 3} different runs" in plan
    assert "the suite has no prompt tuning" in plan
    assert "the suite has no card of NABirds" in plan


def test_its_claims_are_borne_out(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "published: 2 borne out" in answer("bench claims vpt --plugin mine", capsys)


def test_a_plugin_named_once_need_not_be_typed(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "finetune-bench.toml").write_text('plugin = "mine"\n')
    assert "87.3" in answer("bench table vpt/fgvc", capsys)

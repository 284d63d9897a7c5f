"""What is named once: typed comes before variables, and these before ``finetune-bench.toml`` in the current folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.cli import main
from bench.reading.settings import Setting, read_settings, split_paths

METHOD = """from bench.method import Method


class Mine(Method):
    \"\"\"A method of one's own.\"\"\"
"""
FILE = "finetune-bench.toml"


def call(*arguments: str) -> int:
    try:
        return main(list(arguments))
    except SystemExit as stop:
        return int(stop.code or 0)


@pytest.fixture
def scene(here: Path) -> Path:
    """Folders with a method each, and two results folders."""
    for name in ("first", "second", "third"):
        (here / name / "methods").mkdir(parents=True)
        (here / name / "methods" / f"{name}.py").write_text(METHOD, encoding="utf-8")
        (here / f"{name}_results").mkdir()
    return here


def names(capsys: pytest.CaptureFixture[str], *arguments: str) -> set[str]:
    """The methods of the plug-ins that are known."""
    assert call("list", "methods", *arguments) == 0
    listed = {line.split()[0] for line in capsys.readouterr().out.splitlines() if line.strip()}
    return listed & {"first", "second", "third"}


def cancelled(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """The results folder in which a command looked."""
    assert call("cancel", "demo", *arguments) == 0
    return capsys.readouterr().out.partition(": ")[0]


def test_plugins(scene: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    assert names(capsys) == set()
    (scene / FILE).write_text('plugin = ["first", "second"]\n', encoding="utf-8")
    assert names(capsys) == {"first", "second"}
    (scene / FILE).write_text('plugin = "first"\n', encoding="utf-8")
    assert names(capsys) == {"first"}
    monkeypatch.setenv("BENCH_PLUGIN", "second,third")
    assert names(capsys) == {"second", "third"}
    assert names(capsys, "--plugin", "third") == {"third"}
    assert names(capsys, "--plugin", "third,first") == {"first", "third"}
    assert names(capsys, "--plugin", "third", "--plugin", "second/methods/second.py") == {"second", "third"}


def test_results(scene: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    assert cancelled(capsys) == "results"
    (scene / FILE).write_text('results = "first_results"\n', encoding="utf-8")
    assert cancelled(capsys) == "first_results"
    monkeypatch.setenv("BENCH_RESULTS", "second_results")
    assert cancelled(capsys) == "second_results"
    assert cancelled(capsys, "--results", "third_results") == "third_results"
    assert cancelled(capsys, "--results", "results") == "results"


def test_next_commands_do_not_repeat_what_is_named_once(
    scene: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BENCH_RESULTS", "first_results")
    monkeypatch.setenv("BENCH_PLUGIN", "first")
    assert call("power", "demo", "--methods", "ce,first") == 2
    assert "train them with 'bench run demo --methods ce,first'" in capsys.readouterr().err
    assert call("power", "demo", "--methods", "ce,first", "--results", "second_results") == 2
    assert "'bench run demo --methods ce,first --results second_results'" in capsys.readouterr().err


def test_a_launcher_of_a_plugin_that_is_named_once(scene: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = scene / "first" / "launchers" / "here.py"
    path.parent.mkdir()
    path.write_text(
        "from bench.launch.launcher import Launcher, Option\n\n"
        "class Here(Launcher):\n    options = (Option('colour', 'of it', 'C'),)\n",
        encoding="utf-8",
    )
    (scene / FILE).write_text('plugin = "first"\n', encoding="utf-8")
    assert call("run", "--launcher", "here", "--help") == 0
    assert "--colour C" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('plugins = "first"', f"{FILE}:1: no key is called 'plugins'; did you mean 'plugin'? (there are: plugin,"),
        ('\n[results]\nfolder = "x"', f"{FILE}:2: 'results' must be a path, not"),
        ("results = 5", f"{FILE}:1: 'results' must be a path, not 5"),
        ('results = ["a"]', f"{FILE}:1: 'results' must be a path, not ['a']"),
        ('results = ""', f"{FILE}:1: 'results' must be a path, not ''"),
        ('results = "first"\nplugin = ["first", 5]', f"{FILE}:2: 'plugin' must be a path or a list of paths"),
        ("results = first", f"{FILE}:1: malformed TOML: "),
        ('results = "first', f"{FILE}:1: malformed TOML: "),
        ("plugin = " + "[" * 5000, f"{FILE}:1: malformed TOML: "),
        ('\nplugin = "none"', f"{FILE}:2: --plugin "),
        (f'\nresults = "{FILE}"', f"{FILE}:2: {FILE} is not a folder"),
        (b"plugin = '\xff'", f"{FILE}: cannot be read: it is not UTF-8 text"),
    ],
)
def test_a_file_that_is_wrong_is_told_in_one_line(
    scene: Path, capsys: pytest.CaptureFixture[str], text: str | bytes, says: str
) -> None:
    (scene / FILE).write_bytes(text if isinstance(text, bytes) else text.encode())
    assert call("status", "demo") == 2
    captured = capsys.readouterr()
    assert says in captured.err
    assert captured.err.count("\n") == 1
    assert captured.out == ""


@pytest.mark.parametrize(
    ("variable", "value", "says"),
    [
        ("BENCH_PLUGIN", "none", "BENCH_PLUGIN: --plugin "),
        ("BENCH_PLUGIN", "first,none", "BENCH_PLUGIN: --plugin "),
        ("BENCH_RESULTS", "first/methods/first.py", "BENCH_RESULTS: first/methods/first.py is not a folder"),
    ],
)
def test_a_variable_that_is_wrong(
    scene: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    variable: str,
    value: str,
    says: str,
) -> None:
    monkeypatch.setenv(variable, value)
    assert call("status", "demo") == 2
    captured = capsys.readouterr()
    assert says in captured.err
    assert captured.err.count("\n") == 1


def test_what_needs_neither_asks_for_neither(scene: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (scene / FILE).write_text("results = 5\n", encoding="utf-8")
    assert call("completion", "bash") == 0


def test_paths_are_relative_to_the_file(tmp_path: Path) -> None:
    (tmp_path / FILE).write_text('plugin = ["~/mine", "/big/mine", "mine"]\nresults = "out"\n', encoding="utf-8")
    settings = read_settings(tmp_path, {"BENCH_RESULTS": ""})
    assert settings == {
        "plugin": Setting(("~/mine", "/big/mine", f"{tmp_path}/mine"), f"{tmp_path / FILE}:1"),
        "results": Setting((f"{tmp_path}/out",), f"{tmp_path / FILE}:2"),
    }


def test_a_comma_in_a_name_parts_nothing(tmp_path: Path) -> None:
    (tmp_path / "a,b").mkdir()
    assert split_paths(str(tmp_path / "a,b")) == (str(tmp_path / "a,b"),)
    assert split_paths("a,b.py") == ("a", "b.py")

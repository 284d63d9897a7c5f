"""What is printed: into streams that are closed or full, with names that steer a terminal, and hints to be copied."""

from __future__ import annotations

import csv
import io
import json
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from bench.cli import main
from bench.errors import json_text, to_type, uncoloured
from bench.records.store import Store
from tests.records.test_store import publish, spec

ESC = "\x1b[31m"
PROGRAM = shlex.join([sys.executable, "-m", "bench"])


def shell(line: str, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["bash", "-c", line], capture_output=True, text=True, check=False, cwd=folder, timeout=60)


@pytest.mark.parametrize(
    ("line", "code"),
    [
        ("list methods >&-", 0),
        ("list methods >&- 2>&- <&-", 0),
        ("list nosuch 2>&-", 2),
        ("list methods >/dev/full", 2),
        ("list nosuch 2>/dev/full", 2),
        ("list methods | true; exit ${PIPESTATUS[0]}", 0),
    ],
)
def test_a_stream_that_takes_nothing_ends_a_command_with_its_exit_code(tmp_path: Path, line: str, code: int) -> None:
    done = shell(f"{PROGRAM} {line}", tmp_path)
    assert done.returncode == code
    assert "Traceback" not in done.stdout + done.stderr
    assert done.stderr.count("\n") <= 1


@pytest.fixture
def coloured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A file of results in which every name steers a terminal."""
    monkeypatch.chdir(tmp_path)
    cells = [(method, data, seed) for method in "AB" for data in "CD" for seed in (0, 1)]
    rows = [f"{method}{ESC},{data}{ESC}\x9b1m,{seed},{70 + seed}" for method, data, seed in cells]
    Path("mine.csv").write_text("\n".join([f"method,dataset,seed,a{ESC}", *rows]), encoding="utf-8")
    return "mine.csv"


@pytest.mark.parametrize("format", ["text", "markdown", "csv", "json", "html", "latex", "latex-siunitx"])
@pytest.mark.parametrize("more", [[], ["--baseline", "nosuch"]])
def test_names_of_a_file_steer_no_terminal(
    coloured: str, capsys: pytest.CaptureFixture[str], format: str, more: list[str]
) -> None:
    main(["import", coloured, "--higher", f"a{ESC}", "--format", format, *more])
    captured = capsys.readouterr()
    assert captured.out + captured.err
    assert not {"\x1b", "\x9b"} & {*captured.out, *captured.err}


def test_json_keeps_what_it_escapes() -> None:
    value = {"a\x9b": ["\x1b[1m", "é\u202e漢", "two\nlines"]}
    assert json.loads(json_text(value)) == value
    assert json_text(value).replace("\n", "").isprintable()
    assert "é" in json_text(value)


def test_rows_of_runs_as_csv_steer_no_terminal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["runs", "demo", "--methods", "ce", "--seeds", "1", "--format", "csv"]) == 0
    assert next(csv.reader(io.StringIO(capsys.readouterr().out)))[0] == "id"


class TestLogs:
    def test_colours_are_taken_out(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.chdir(tmp_path)
        log = publish(Store("results"), spec()) / "log.txt"
        log.write_bytes(b"\x1b[1;31mred\x1b[0m\x1b]0;title\x07 50%\r100%\r\nend\x08\xff\n")
        assert main(["logs", spec().id]) == 0
        assert capsys.readouterr().out == "red 50%\n100%\nend\\x08\ufffd\n"

    @pytest.mark.parametrize("text", ["\x1b]" * 50_000, "\x1b[" * 50_000, "\x1b]0;" + "x" * 100_000, "\x1bP" * 50_000])
    def test_however_long(self, text: str) -> None:
        assert "\x1b" not in uncoloured(text)


class TestHints:
    @pytest.mark.parametrize("name", ["a;$(touch x).yaml", "it's.yaml", "a b.yaml", '"$HOME".yaml'])
    def test_what_is_copied_is_one_word(self, name: str) -> None:
        hint = to_type("status", name)
        assert shlex.split(hint)[-1] == name
        assert shlex.split(hint)[:2] == ["bench", "status"]

    def test_a_plain_one_stands_in_quotes(self) -> None:
        assert to_type("status", "demo") == "'bench status demo'"

    def test_none_of_a_command_does_anything_else(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.chdir(tmp_path)
        target = "a;$(touch x).yaml"
        Path(target).write_text(
            "methods: [ce]\nbackbones: [micro_vit]\ndatasets: [digits]\nrates: [15]\nseeds: 2\nprotocol: {steps: 8}\n"
        )
        assert main(["figure", target]) == 2
        assert f"; bench run {shlex.quote(target)} trains them" in capsys.readouterr().err


class TestPlugins:
    @pytest.mark.parametrize("place", ["mine.py", "methods/mine.py"])
    @pytest.mark.parametrize(
        "words", [["plan", "demo", "--methods", "mine"], ["show", "mine"], ["check-method", "mine"]]
    )
    def test_a_method_that_lies_here_is_asked_about(
        self,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
        place: str,
        words: list[str],
    ) -> None:
        monkeypatch.chdir(tmp_path)
        Path(place).parent.mkdir(exist_ok=True)
        Path(place).write_text("", encoding="utf-8")
        assert main(words) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert line.endswith(f"no method is called 'mine': is it in ./{place}? add --plugin {place}")

    @pytest.mark.parametrize(
        ("path", "option"),
        [("datasets/mine.yaml", "--datasets"), ("backbones/mine.yaml", "--backbones"), ("metrics/mine.py", "--metric")],
    )
    def test_so_is_anything_else(
        self,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
        path: str,
        option: str,
    ) -> None:
        monkeypatch.chdir(tmp_path)
        Path(path).parent.mkdir()
        Path(path).write_text("", encoding="utf-8")
        assert main(["plan", "demo", option, "mine"]) == 2
        assert f"is it in ./{path}? add --plugin ." in capsys.readouterr().err

    def test_several_with_commas(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.chdir(tmp_path)
        text = "from dataclasses import dataclass\nfrom bench.method import Method\n"
        text += "@dataclass(frozen=True)\nclass M(Method):\n    '''M.'''\n    paper = 'none'\n"
        for name in ("a.py", "b.py"):
            Path(name).write_text(text, encoding="utf-8")
        assert main(["plan", "demo", "--plugin", "a.py,b.py", "--methods", "ce,a,b"]) == 0
        assert "  3 methods" in capsys.readouterr().out

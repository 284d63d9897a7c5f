"""The first pages as a reader follows them: every file is saved, every command succeeds and prints what is shown."""

from __future__ import annotations

import re
import shlex
import sys
from pathlib import Path

import pytest

from bench.cli import build_parser
from bench.reading.settings import VARIABLES
from tests.pages.played import ROOT, SNIPPET, Reader, alike, blocks_of, lacking

PAGES = sorted((ROOT / "docs" / "first").glob("*.md"))
README = (ROOT / "README.md").read_text(encoding="utf-8")
EXAMPLES = sorted(path for path in (ROOT / "examples").rglob("*.*") if path.suffix in (".py", ".yaml"))


@pytest.mark.slow
@pytest.mark.usefixtures("warm")
@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.stem))
def test_a_reader_who_follows_the_page_sees_what_it_shows(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    for variable in VARIABLES.values():
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}:/usr/bin:/bin")
    reader, outputs = Reader(), 0
    for block, printed in reader.follow(page.read_text(encoding="utf-8")):
        line = lacking(block.text, printed)
        assert not line, f"the page shows {line!r}, and what is printed is\n{printed}"
        outputs += 1
    assert outputs >= 3


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.stem))
def test_its_commands_exist(page: Path) -> None:
    blocks = [block for block in blocks_of(page.read_text(encoding="utf-8")) if block.language == "bash"]
    lines = [line for block in blocks for line in block.text.splitlines()]
    inline = re.findall(r"`(bench (?!COMMAND)[^`]+)`", page.read_text(encoding="utf-8"))
    for command in (re.split(r" [|>] ", line)[0] for line in [*lines, *inline] if line.startswith("bench ")):
        build_parser().parse_args(shlex.split(command, comments=True)[1:])
    assert any(line.startswith("bench run") for line in lines)


def test_every_example_is_shown_on_a_page() -> None:
    """And so it is run there."""
    text = "".join(page.read_text(encoding="utf-8") for page in PAGES)
    assert {ROOT / path for path in SNIPPET.findall(text)} == {*EXAMPLES}


def test_the_readme_shows_the_example_of_a_method() -> None:
    code = (ROOT / "examples" / "own_method" / "label_margin.py").read_text(encoding="utf-8")
    assert f"```python\n{code}```" in README


@pytest.mark.parametrize(
    ("shown", "printed", "first"),
    [
        ("a\nb\n", "a\nb\n", ""),
        ("a\n…\nc\n", "a\nb\nb\nc\n", ""),
        ("…\n", "", ""),
        ("a\nc\n", "a\nb\nc\n", "c"),
        ("a\n", "a\nb\n", "(end; here comes: b)"),
        ("…\nx\n…\n", "a\nb\n", "x"),
        ("run 0123456789ab scored 91.5 ● in 3 s\n", "run ba9876543210 scored 8.25 in 3 s\n", ""),
        ("3 runs\n", "4 runs\n", "3 runs"),
    ],
)
def test_what_is_shown_is_held_against_what_is_printed(shown: str, printed: str, first: str) -> None:
    assert lacking(shown, printed) == first


def test_lines_are_alike_that_differ_in_what_is_measured() -> None:
    assert alike("  −0.10†  ●") == alike("+12.5")
    assert alike("5 runs") != alike("6 runs")


def test_a_page_may_set_a_variable_and_write_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    page = (
        '```text title="a.txt"\n1\n2\n```\n```bash\nNAME=$(cat a.txt | sed -n 2p)\necho $NAME > b.txt\ncat b.txt\n```\n'
    )
    ((block, printed),) = Reader().follow(f"{page}```text\n2\n```\n")
    assert block.text == printed == "2\n"

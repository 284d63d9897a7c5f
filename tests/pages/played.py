"""A page that is followed as a reader does: its files are saved, its commands typed, in order, in an empty folder."""

from __future__ import annotations

import contextlib
import io
import re
import runpy
import shlex
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from bench.cli import main

ROOT = Path(__file__).parents[2]

BLOCK = re.compile(r'^```(?P<language>\w+)(?: title="(?P<title>[^"]+)")?\n(?P<text>.*?)^```$', re.MULTILINE | re.DOTALL)
SNIPPET = re.compile(r"^--8<--\n(?P<path>\S+)\n--8<--$", re.MULTILINE)
"""The site's way to show a file; a formatter of Python leaves it alone, as it would not in one line."""

AT_HOME = "/home/ann/try"
"""Where a page's reader is, as its outputs say it."""

SETTING = re.compile(r"(?P<name>[A-Z]+)=\$\((?P<command>.+)\)")
ID = re.compile(r"\b[0-9a-f]{12}\b")
LEFT_OUT = "…"


@dataclass(frozen=True)
class Block:
    """A block of code of a page: a file to save (it has a title), commands, or what they print."""

    language: str
    title: str
    text: str


def blocks_of(page: str) -> list[Block]:
    """The blocks of a page, with the files that they show."""
    return [Block(each["language"], each["title"] or "", with_snippets(each["text"])) for each in BLOCK.finditer(page)]


def with_snippets(text: str) -> str:
    """A text with the files in it that it names."""
    return SNIPPET.sub(lambda match: (ROOT / match["path"]).read_text(encoding="utf-8").rstrip("\n"), text)


@dataclass
class Reader:
    """Follows a page in the current folder.

    Attributes:
        variables: those of the shell that the page sets (``NAME=$(COMMAND)``).
        printed: what the commands of the last block have printed.
    """

    variables: dict[str, str] = field(default_factory=dict)
    printed: str = ""

    def follow(self, page: str) -> Iterator[tuple[Block, str]]:
        """Do what a page says; gives every block of output with what was printed in its place."""
        for block in blocks_of(page):
            if block.title:
                path = Path(block.title)
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(block.text, encoding="utf-8")
            elif block.language == "bash":
                lines = [line for line in block.text.splitlines() if not line.startswith("#")]
                self.printed = "".join(map(self.type, lines))
            elif block.language == "text":
                yield block, self.printed

    def type(self, command: str) -> str:
        """What a command prints; it must succeed."""
        if setting := SETTING.fullmatch(command):
            self.variables[setting["name"]] = self.type(setting["command"]).rstrip("\n")
            return ""
        for name, value in self.variables.items():
            command = command.replace(f"${name}", value)
        typed, sign, rest = command.partition(" | ")
        if not sign:
            typed, sign, rest = typed.partition(" > ")
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            started(shlex.split(typed, comments=True))
        text = printed.getvalue()
        if sign == " > ":
            Path(rest).write_text(text, encoding="utf-8")
            return ""
        if sign == " | ":
            return subprocess.run(rest, shell=True, input=text, capture_output=True, text=True, check=True).stdout
        return text


def lacking(shown: str, printed: str) -> str:
    """The first line of a page's output that was not printed where it should stand; none where all were.

    Lines of ``…`` stand for any lines. Numbers with a point, ids and marks are those of a machine, so that only their
    places are compared.
    """
    ours = printed.replace(str(Path.cwd()), AT_HOME).splitlines()
    at, free = 0, False
    for line in shown.splitlines():
        if line == LEFT_OUT:
            free = True
            continue
        while free and at < len(ours) and alike(ours[at]) != alike(line):
            at += 1
        if at == len(ours) or alike(ours[at]) != alike(line):
            return line
        at, free = at + 1, False
    return "" if free or at == len(ours) else f"(end; here comes: {ours[at]})"


def started(words: list[str]) -> None:
    """Run a command in this process, as far as it is one of the suite's or of Python; any other in one of its own."""
    if words[0] == "bench":
        assert main(words[1:]) == 0, words
    elif words[0] == "python":
        runpy.run_path(words[1], run_name="__main__")
    else:
        print(subprocess.run(words, capture_output=True, text=True, check=True).stdout, end="")


def alike(line: str) -> str:
    """What two lines have in common that differ in what a machine measures."""
    line = re.sub(r"[-+−]?\d+\.\d+", "0.0", ID.sub("ID", line))
    line = re.sub(r"[●○◇†‡]", "", line)
    return " ".join(re.sub(r"-{2,}", "--", line).split())

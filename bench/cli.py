"""The command line."""

from __future__ import annotations

import argparse
import contextlib
import gc
import importlib
import io
import os
import sys
from collections.abc import Sequence

import bench
from bench.commands.options import Parser, settle
from bench.errors import InputError, printable

GROUPS = {
    "run": ("run", "retry"),
    "planned": ("plan",),
    "queue": ("status", "cancel", "logs"),
    "doctor": ("doctor",),
    "rehearse": ("rehearse",),
    "rerun": ("rerun",),
    "table": ("table", "runs"),
    "report": ("report",),
    "figure": ("figure",),
    "items": ("items",),
    "show": ("list", "show", "completion"),
    "check": ("check-method",),
    "convert": ("convert",),
    "export": ("export",),
    "measure": ("measure",),
    "predict": ("predict",),
    "data": ("data",),
    "papers": ("audit", "claims"),
    "power": ("power",),
    "imported": ("import",),
    "reference": ("reference",),
}
"""The modules of ``bench.commands`` with their commands: one that is typed imports its own, and starts fast."""

MOST_PROBLEMS = 20
"""How many problems are told at once; how many more there are is said."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line. Returns the exit code: 0 done, 1 some runs failed, 2 bad input, 130 stopped by Ctrl-C."""
    _replace_closed_streams()
    try:
        try:
            return _command(sys.argv[1:] if arguments is None else arguments)
        finally:
            sys.stdout.flush()  # what cannot be written is told here, and not by a traceback at the end
            sys.stderr.flush()
    except BrokenPipeError:
        _print_nowhere()  # the reader of a pipe has gone: nothing is wrong
        return 0
    except OSError as error:
        with contextlib.suppress(OSError):
            _refuse([f"what is printed cannot be written: {error.strerror}"])
            sys.stderr.flush()
        _print_nowhere()
        return 2


def _replace_closed_streams() -> None:
    """Open the standard streams that are closed (``>&-``), so that no file gets their number, and nobody their text."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # gets the lowest number that is free, which is this one
    if sys.stdout is None:
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115


def _print_nowhere() -> None:
    """Let what is still to be written vanish, so that it does not fail again when Python ends."""
    for number in (1, 2):
        os.dup2(os.open(os.devnull, os.O_WRONLY), number)


def _command(words: Sequence[str]) -> int:
    parser = build_parser("" if "_ARGCOMPLETE" in os.environ else next(iter(words), ""))
    if "_ARGCOMPLETE" in os.environ:  # else there is nothing to complete, and no need to import what does
        with contextlib.suppress(ImportError):
            import argcomplete

            argcomplete.autocomplete(parser)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a terminal that lacks ± shows its number
    gc.set_threshold(200_000, 50, 50)  # collecting while 100,000 records are read would take a third of the time
    try:
        _refuse_bytes(words)
        options, unknown = parser.parse_known_args(words)
        if unknown:
            options.parser.error(f"unrecognized arguments: {' '.join(unknown)}{_meant(options.parser, unknown[0])}")
        settle(options)
        return int(options.command(options))
    except InputError as error:
        return _refuse(error.problems)
    except KeyboardInterrupt:
        print("bench: stopped", file=sys.stderr)
        return 130
    except BrokenPipeError:
        raise
    except OSError as error:  # a disk that is full, a name too long, a file that may not be read: nobody's bug
        if error.strerror is None or error.filename is None:
            raise
        return _refuse([f"{error.filename}: {error.strerror}"])


def _meant(parser: argparse.ArgumentParser, word: str) -> str:
    import difflib

    near = difflib.get_close_matches(word.partition("=")[0], parser._option_string_actions, n=1)
    return f"; did you mean {near[0]}?" if near else ""


def _refuse(problems: Sequence[str]) -> int:
    """Say what is wrong, a line a problem, and give the exit code for it."""
    for problem in problems[:MOST_PROBLEMS]:
        print(f"bench: {printable(problem)}", file=sys.stderr)
    if len(problems) > MOST_PROBLEMS:
        print(f"bench: and {len(problems) - MOST_PROBLEMS} more problems", file=sys.stderr)
    return 2


def _refuse_bytes(arguments: Sequence[str]) -> None:
    """What is typed is kept in records, which are UTF-8."""
    for argument in arguments:
        try:
            argument.encode()
        except UnicodeEncodeError:
            raise InputError(f"'{argument}' is not UTF-8 text; write it, or name the file, in UTF-8") from None


def build_parser(command: str = "") -> argparse.ArgumentParser:
    """The command line as an argparse parser: of the group that a command is in, or else all of it.

    For ``--version`` it needs no command.
    """
    parser = Parser(prog="bench", description="A benchmark suite for fine-tuning vision backbones.")
    parser.add_argument("--version", action="version", version=f"bench {bench.__version__}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND", parser_class=Parser)
    groups = [name for name, its_commands in GROUPS.items() if command in its_commands]
    for name in () if command == "--version" else groups or GROUPS:
        importlib.import_module(f"bench.commands.{name}").add(commands)
    return parser

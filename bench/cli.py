"""The command line."""

from __future__ import annotations

import argparse
import contextlib
import gc
import os
import sys
from collections.abc import Sequence

import bench
from bench.commands import audit, catalogue, check, claims, convert, data, imported, power, run, table
from bench.commands.options import Parser
from bench.errors import InputError


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line. Returns the exit code: 0 done, 1 some runs failed, 2 bad input, 130 stopped by Ctrl-C."""
    parser = build_parser()
    with contextlib.suppress(ImportError):
        import argcomplete

        argcomplete.autocomplete(parser)
    options = parser.parse_args(arguments)
    gc.set_threshold(200_000, 50, 50)  # collecting while 100,000 records are read would take a third of the time
    try:
        return int(options.command(options))
    except InputError as error:
        for problem in error.problems:
            print(f"bench: {problem}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("bench: stopped", file=sys.stderr)
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # the reader of a pipe has gone: nothing is wrong
        return 0


def build_parser() -> argparse.ArgumentParser:
    """The whole command line as an argparse parser."""
    parser = Parser(prog="bench", description="A benchmark suite for fine-tuning vision backbones.")
    parser.add_argument("--version", action="version", version=f"bench {bench.__version__}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND", parser_class=Parser)
    for group in (run, table, catalogue, check, convert, data, audit, claims, power, imported):
        group.add(commands)
    return parser

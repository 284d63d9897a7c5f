"""What commands share: the arguments that several take, and how plain data is printed."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, NoReturn

import bench
from bench.cards.folders import typed_path
from bench.errors import InputError, json_text, printable
from bench.reading.settings import read_settings, split_paths

Command = Callable[[argparse.Namespace], int]

RESULTS = Path("results")
"""Where records lie unless something else is said."""


class Parser(argparse.ArgumentParser):
    """Says what is wrong in one line, as every other mistake is said; half an option's name is no option."""

    def __init__(self, *names: Any, **settings: Any) -> None:
        super().__init__(*names, **{"allow_abbrev": False, **settings})
        self.prepare: Callable[[Parser, Sequence[str]], None] | None = None

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """As argparse's, once options that depend on what is typed have been added (``prepare``)."""
        if self.prepare is not None:
            prepare, self.prepare = self.prepare, None
            prepare(self, args or ())
        return super().parse_known_args(args, namespace)

    def error(self, message: str) -> NoReturn:
        print(f"bench: {printable(message)} (see '{self.prog} --help')", file=sys.stderr)
        raise SystemExit(2)


def add_command(commands: Any, name: str, command: Command, about: str, examples: str = "") -> Parser:
    """A command's parser, with its help and examples."""
    parser: Parser = commands.add_parser(
        name,
        help=about,
        description=about[0].upper() + about[1:] + ".",
        epilog=examples,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(command=command, parser=parser)
    return parser


def add_plugin(parser: argparse.ArgumentParser) -> None:
    """``--plugin``."""
    parser.add_argument(
        "--plugin",
        action="extend",
        type=split_paths,
        default=[],
        metavar="PATH",
        help="a method file, or a folder with methods/, datasets/ or such in it; or several, with commas",
    )


def add_results(parser: argparse.ArgumentParser) -> None:
    """``--results``."""
    parser.add_argument(
        "--results", type=_folder, default=RESULTS, metavar="DIR", help="where records lie (default: results)"
    )


def settle(options: argparse.Namespace) -> None:
    """Put the plug-ins and the results folder that are named once in the place of what was not typed.

    Raises ``InputError`` that says where what cannot be used is named.
    """
    if not hasattr(options, "plugin") and not hasattr(options, "results"):
        return
    settings = read_settings(Path())
    options.settled = []
    if "plugin" in settings and getattr(options, "plugin", None) == []:
        options.plugin = plugins_of([])
        options.settled.append("plugin")
    if "results" in settings and getattr(options, "results", None) is RESULTS:
        setting = settings["results"]
        try:
            options.results = _folder(setting.values[0])
        except argparse.ArgumentTypeError as error:
            raise InputError(f"{setting.place}: {error}") from None
        options.settled.append("results")


def plugins_of(typed: Sequence[str]) -> list[str]:
    """The plug-ins that are typed, or else those that are named once. Raises ``InputError``."""
    setting = read_settings(Path()).get("plugin")
    if typed or setting is None:
        return list(typed)
    try:
        bench.Registry(setting.values)
    except InputError as error:
        raise InputError(f"{setting.place}: {error}") from None
    return list(setting.values)


def add_watch(parser: argparse.ArgumentParser, about: str) -> None:
    """``--watch``, which may name the seconds between two times; ``check_watch`` looks at them."""
    parser.add_argument("--watch", nargs="?", type=float, const=10.0, metavar="SECONDS", help=about)


def check_watch(options: argparse.Namespace) -> None:
    """Raise ``InputError`` where no time would pass in between."""
    if options.watch is not None and not options.watch > 0:
        raise InputError(f"--watch {options.watch:g}: this must be above 0 seconds")


def add_format(parser: argparse.ArgumentParser, formats: tuple[str, ...]) -> None:
    """``--format``; text is the default."""
    parser.add_argument("--format", choices=formats, default="text", metavar="FORMAT", help=", ".join(formats))


def add_sheet_format(parser: argparse.ArgumentParser, formats: Iterable[str]) -> None:
    """``--format`` of tables, whose choices are known once plug-ins are (``bench.sheets.formats.find_format``)."""
    names = f"{', '.join(formats)}, or one that a plug-in brings"
    parser.add_argument("--format", default="text", metavar="FORMAT", help=names)


def something(text: str) -> str:
    """A list that names something. Raises ``ArgumentTypeError`` where it does not."""
    if not text.strip(" ,"):
        raise argparse.ArgumentTypeError(f"'{text}' lists nothing; leave the option away for the target's own")
    return text


def _folder(text: str) -> Path:
    """A folder of results. Raises ``ArgumentTypeError`` where the path is that of something else."""
    try:
        path = typed_path(text)
    except InputError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    if path.exists() and not path.is_dir():
        raise argparse.ArgumentTypeError(f"{text} is not a folder")
    return path


def say(line: str) -> None:
    """A line for people beside what a command prints; whatever names it quotes, it steers no terminal."""
    print(f"bench: {printable(line)}", file=sys.stderr)


def print_json(value: Any) -> None:
    """Plain data for programs."""
    print(json_text(value, allow_nan=True))

"""What commands share: the arguments that several take, and how plain data is printed."""

from __future__ import annotations

import argparse
import json
import shlex
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

import bench
from bench.cards.folders import typed_path
from bench.errors import InputError, told
from bench.rules import SELECTIONS
from bench.settings import read_settings, split_paths

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
        print(f"bench: {told(message)} (see '{self.prog} --help')", file=sys.stderr)
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


def add_target_command(commands: Any, name: str, command: Command, about: str, examples: str) -> Parser:
    """The parser of a command about an experiment or paper table."""
    parser = add_command(commands, name, command, about, examples)
    target = parser.add_argument(
        "target",
        metavar="TARGET",
        help="an experiment (demo), a paper (gta), a table of it (gta/table2), or a YAML file",
    )
    target.completer = lambda **_: list(bench.Registry().experiment_files)  # type: ignore[attr-defined]
    for axis, example in (
        ("methods", "ce,gta(weight=0.3)"),
        ("backbones", "micro_vit,timm:NAME@none"),
        ("datasets", "digits,folder:PATH"),
        ("rates", "15,100"),
        ("seeds", "5 (how many) or 0,1,7 (which)"),
    ):
        parser.add_argument(f"--{axis}", type=_something, metavar="LIST", help=f"in place of the target's: {example}")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="a protocol setting: steps=100")
    parser.add_argument("--selection", default="", metavar="RULE", help=", ".join(SELECTIONS))
    parser.add_argument("--split", default="", metavar="SPLIT", help="whose accuracy is shown: test, val")
    add_plugin(parser)
    add_results(parser)
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

    Raises:
        InputError: they cannot be used; says where they are named.
    """
    if not hasattr(options, "plugin") and not hasattr(options, "results"):
        return
    settings = read_settings(Path())
    options.settled = []
    if "plugin" in settings and getattr(options, "plugin", None) == []:
        options.plugin = plugins_of([])
        options.settled.append("plugin")
    if "results" in settings and getattr(options, "results", None) is RESULTS:
        try:
            options.results = _folder(settings["results"].values[0])
        except argparse.ArgumentTypeError as error:
            raise InputError(f"{settings['results'].place}: {error}") from None
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


def add_format(parser: argparse.ArgumentParser, formats: tuple[str, ...]) -> None:
    """``--format``; text is the default."""
    parser.add_argument("--format", choices=formats, default="text", metavar="FORMAT", help=", ".join(formats))


def overrides_of(options: argparse.Namespace) -> bench.Overrides:
    """What the command line puts in the place of a target's axes and settings."""
    return bench.Overrides(
        methods=options.methods or "",
        backbones=options.backbones or "",
        datasets=options.datasets or "",
        rates=options.rates or "",
        seeds=options.seeds or "",
        settings=tuple(options.set),
        selection=options.selection,
        split=options.split,
        test=getattr(options, "test", ""),
        across=getattr(options, "across", ""),
    )


def plan_of(options: argparse.Namespace) -> Any:
    """The plan of the experiment that is named, with what the command line puts in its place."""
    registry = bench.Registry(options.plugin)
    return bench.expand(bench.read_experiment(options.target, registry, overrides_of(options)))


def typed(options: argparse.Namespace, command: str, seeds: str = "") -> str:
    """Another command about the same target, with what was typed of its axes and settings.

    Args:
        options: of this command.
        command: ``run``, ``table`` or such.
        seeds: these in the place of what was typed.
    """
    words = ["bench", command, options.target]
    for axis in ("methods", "backbones", "datasets", "rates", "selection", "split"):
        words += [f"--{axis}", given] if (given := getattr(options, axis, "")) else []
    settled = getattr(options, "settled", ())
    for name in ("set", "plugin"):
        if name not in settled:
            words += [word for given in getattr(options, name, ()) for word in (f"--{name}", given)]
    if options.results != RESULTS and "results" not in settled:
        words += ["--results", str(options.results)]
    seeds = seeds or getattr(options, "seeds", None) or ""
    return shlex.join([*words, *(["--seeds", seeds] if seeds else [])])


def _something(text: str) -> str:
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
    """A line for people beside what a command prints."""
    print(f"bench: {line}", file=sys.stderr)


def print_json(value: Any) -> None:
    """Plain data for programs."""
    print(json.dumps(value, indent=1, ensure_ascii=False))

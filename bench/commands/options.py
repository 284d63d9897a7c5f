"""What commands share: the arguments that several take, and how plain data is printed."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from typing import Any, NoReturn

import bench
from bench.overrides import SELECTIONS

Command = Callable[[argparse.Namespace], int]


class Parser(argparse.ArgumentParser):
    """Says what is wrong in one line, as every other mistake is said."""

    def error(self, message: str) -> NoReturn:
        print(f"bench: {message} (see '{self.prog} --help')", file=sys.stderr)
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
    parser.set_defaults(command=command)
    return parser


def add_target_command(commands: Any, name: str, command: Command, about: str, examples: str) -> Parser:
    """The parser of a command about an experiment or paper table."""
    parser = add_command(commands, name, command, about, examples)
    target = parser.add_argument("target", metavar="TARGET", help="an experiment, a paper table, or a YAML file")
    target.completer = lambda **_: list(bench.Registry().experiment_files)  # type: ignore[attr-defined]
    for axis, example in (
        ("methods", "ce,gta(weight=0.3)"),
        ("backbones", "micro_vit,timm:NAME@none"),
        ("datasets", "digits,folder:PATH"),
        ("rates", "15,100"),
        ("seeds", "5 (how many) or 0,1,7 (which)"),
    ):
        parser.add_argument(f"--{axis}", default="", metavar="LIST", help=f"in place of the target's: {example}")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="a protocol setting: steps=100")
    parser.add_argument("--selection", default="", metavar="RULE", help=", ".join(SELECTIONS))
    parser.add_argument("--split", default="", metavar="SPLIT", help="whose accuracy is shown: test, val")
    add_plugin(parser)
    add_results(parser)
    return parser


def add_plugin(parser: argparse.ArgumentParser) -> None:
    """``--plugin``."""
    parser.add_argument(
        "--plugin", action="append", default=[], metavar="PATH", help="a method file, or a folder with methods/ in it"
    )


def add_results(parser: argparse.ArgumentParser) -> None:
    """``--results``."""
    parser.add_argument("--results", default="results", metavar="DIR", help="where records lie (default: results)")


def add_format(parser: argparse.ArgumentParser, formats: tuple[str, ...]) -> None:
    """``--format``; text is the default."""
    parser.add_argument("--format", choices=formats, default="text", metavar="FORMAT", help=", ".join(formats))


def overrides_of(options: argparse.Namespace) -> bench.Overrides:
    """What the command line puts in the place of a target's axes and settings."""
    return bench.Overrides(
        methods=options.methods,
        backbones=options.backbones,
        datasets=options.datasets,
        rates=options.rates,
        seeds=options.seeds,
        settings=tuple(options.set),
        selection=options.selection,
        split=options.split,
    )


def plan_of(options: argparse.Namespace) -> Any:
    """The plan of the experiment that is named, with what the command line puts in its place."""
    registry = bench.Registry(options.plugin)
    return bench.expand(bench.read_experiment(options.target, registry, overrides_of(options)))


def print_json(value: Any) -> None:
    """Plain data for programs."""
    print(json.dumps(value, indent=1, ensure_ascii=False))

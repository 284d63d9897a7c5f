"""What a command line asks about a target: options become one typed value at the door."""

from __future__ import annotations

import argparse
import contextlib
import gc
import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import bench
from bench.commands.options import RESULTS, Parser, add_command, add_plugin, add_results, say, something
from bench.commands.options import Command as Run
from bench.errors import InputError, to_type
from bench.plan.overrides import Overrides
from bench.plan.table import Plan
from bench.plan.target import read_plans
from bench.reading.syntax import split_list
from bench.records.unwritable import OPEN_IT
from bench.rules import ACROSS, SELECTIONS, SPLITS, TESTS, kept_at

EXAMPLES = {
    "methods": "ce,gta(weight=0.3)",
    "backbones": "micro_vit,timm:NAME@none",
    "datasets": "digits,folder:PATH",
    "rates": "15,100,16-shot,1000-images",
    "seeds": "5 (how many) or 0,1,7 (which)",
}
"""Of each axis, what may be typed."""

RULES = ("selection", "split", "test", "across", "metric", "margin")


@dataclass(frozen=True)
class Request:
    """One target or several, and what is asked of them.

    Attributes:
        targets: experiments, papers, tables of them, or YAML files.
        plugins: the options that name the plug-ins, as another command needs them.
        place: the option that names the results folder, likewise.
    """

    targets: tuple[str, ...]
    overrides: Overrides
    registry: bench.Registry
    results: Path
    plugins: tuple[str, ...] = ()
    place: tuple[str, ...] = ()

    @property
    def target(self) -> str:
        """What is asked about, in words."""
        return " ".join(self.targets)

    @cached_property
    def plan(self) -> Plan:
        """The plan of the targets. Raises ``InputError`` where something is wrong with one or with what was typed."""
        with collecting_later():
            return read_plans(self.targets, self.registry, self.overrides)

    @property
    def store(self) -> bench.Store:
        """The records there are now."""
        return bench.Store(self.results)

    def with_overrides(self, **changes: object) -> Request:
        """The same with other overrides."""
        return replace(self, overrides=replace(self.overrides, **changes))  # type: ignore[arg-type]

    def command(self, name: str, seeds: str = "") -> str:
        """Another command about the same target, with what was typed, or other seeds."""
        typed = replace(self.overrides, seeds=seeds or self.overrides.seeds)
        return shlex.join(("bench", *self._words(name, typed)))

    def to_type(self, name: str, *more: str) -> str:
        """Another command about the same target, with more words behind it, within a sentence."""
        return to_type(*self._words(name, self.overrides), *more)

    @property
    def measuring(self) -> str:
        """The command that measures the kept models of the same target; of what, is to follow."""
        rule = kept_at(self.overrides.selection)
        return self.with_overrides(selection=rule, metric="").command("measure")

    def _words(self, name: str, typed: Overrides) -> list[str]:
        words = [name, *self.targets]
        for option in ("methods", "backbones", "datasets", "rates", *RULES):
            value = getattr(typed, option)
            if option in RULES and len(split_list(value)) > 1:
                continue  # several side by side are for tables alone
            words += [f"--{option}", value] if value else []
        words += ["--skip-damaged"] if typed.skip_damaged else []
        words += [word for setting in typed.settings for word in ("--set", setting)]
        return [*words, *self.plugins, *self.place, *(["--seeds", typed.seeds] if typed.seeds else [])]


@contextlib.contextmanager
def collecting_later() -> Iterator[None]:
    """Inside, Python does not look for garbage in cycles: among 100,000 records that are all kept, there is none."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def request_of(options: argparse.Namespace) -> Request:
    """What a command line asks."""
    typed: dict[str, Any] = {field.name: getattr(options, field.name, None) or "" for field in fields(Overrides)}
    overrides = Overrides(**{**typed, "settings": tuple(options.set), "skip_damaged": options.skip_damaged})
    settled = getattr(options, "settled", ())
    plugins: tuple[str, ...] = ()
    if "plugin" not in settled:
        plugins = tuple(word for path in options.plugin for word in ("--plugin", path))
    place: tuple[str, ...] = ()
    if options.results != RESULTS and "results" not in settled:
        place = ("--results", str(options.results))
    targets = options.target if isinstance(options.target, list) else [options.target]
    registry = bench.Registry(options.plugin)
    return Request(tuple(dict.fromkeys(targets)), overrides, registry, options.results, plugins, place)


def add_target_command(
    commands: object,
    name: str,
    command: Run,
    about: str,
    examples: str,
    also: str = "",
    several: bool = True,
    usual: str = "",
) -> Parser:
    """The parser of a command about an experiment or paper table, or several of them, or also about something else.

    Where there is a ``usual`` target, none need be typed: then it is empty.
    """
    parser = add_command(commands, name, command, about, examples)
    target = parser.add_argument(
        "target",
        metavar="TARGET",
        nargs="?" if usual else "+" if several else None,
        default="",
        help="an experiment (demo), a paper (gta), a table of it (gta/table2), or a YAML file"
        + ("; or several of them" if several else "")
        + f"; or {also}" * bool(also)
        + f" (default: {usual})" * bool(usual),
    )
    target.completer = lambda **_: list(bench.Registry().experiment_files)  # type: ignore[attr-defined]
    for axis, example in EXAMPLES.items():
        parser.add_argument(f"--{axis}", type=something, metavar="LIST", help=f"in place of the target's: {example}")
    parser.add_argument(
        "--skip-damaged", action="store_true", help="leave damaged images of folders out of training and test"
    )
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="a protocol setting: steps=100; repeatable"
    )
    parser.add_argument("--selection", default="", metavar="RULE", help=", ".join(SELECTIONS))
    parser.add_argument("--split", default="", metavar="SPLIT", help=f"whose scores are shown: {', '.join(SPLITS)}")
    parser.add_argument(
        "--metric", default="", metavar="NAME", help="what is shown (bench list metrics); default: the usual one"
    )
    add_plugin(parser)
    add_results(parser)
    return parser


def add_test(parser: argparse.ArgumentParser) -> None:
    """``--test``."""
    about = f"how methods are compared: {', '.join(TESTS)} (default: the table's own)"
    parser.add_argument("--test", default="", metavar="TEST", help=about)


def add_tests(parser: argparse.ArgumentParser) -> None:
    """``--test``, ``--across`` and ``--margin``."""
    add_test(parser)
    parser.add_argument(
        "--across",
        default="",
        metavar="WHICH",
        help=f"compare methods over the datasets too: {' or '.join(ACROSS)} (those that were run, or as a sample)",
    )
    parser.add_argument(
        "--margin",
        default="",
        metavar="POINTS",
        help="what is no difference to a published number (default: half of what the paper claims in each row)",
    )


def say_damaged(store: bench.Store) -> None:
    """Say which of the records that were read count as missing, as they are damaged, and which are left out."""
    for folder in store.damaged:
        if store.is_closed(folder):
            say(f"{with_reason(folder, store.reasons)} counts as missing: {OPEN_IT}")
        else:
            say(f"{with_reason(folder, store.reasons)} is damaged and counts as missing; 'bench run' trains it again")
    if store.newer:
        say(in_newer(store.newer, store.reasons))


def with_reason(folder: str, reasons: Mapping[str, str]) -> str:
    """A folder, and in brackets what is known of why its record is not read."""
    return f"{folder} ({reasons[folder]})" if folder in reasons else folder


def in_newer(folders: Sequence[str], reasons: Mapping[str, str]) -> str:
    """The line for records of newer versions, which are left out."""
    count = "1 record was" if len(folders) == 1 else f"{len(folders)} records were"
    listed = ", ".join(with_reason(folder, reasons) for folder in folders[:3]) + (", ..." if len(folders) > 3 else "")
    return f"{count} written by a newer version, left out and left alone: {listed}; update the suite"


def is_run(request: Request) -> bool:
    """Whether a target is the beginning of a run's id, and no experiment, table, paper or file of that name."""
    registry, target = request.registry, request.target
    names = {*registry.experiment_files, *registry.table_files, *registry.papers}
    return bool(re.fullmatch(r"[0-9a-f]{4,12}", target)) and target not in names and not Path(target).exists()


def require_one(plan: Plan, option: str) -> None:
    """Raise ``InputError`` where a target has several tables and an option is about one."""
    names = [table.name for table in plan.tables]
    if len(names) != 1:
        raise InputError(f"{option} shows one table at a time: {', '.join(names[:6])}{', ...' * (len(names) > 6)}")

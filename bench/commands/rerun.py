"""Repeat one finished run and compare: ``rerun``."""

from __future__ import annotations

import argparse
import shlex
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

import bench
from bench.commands.options import add_command, add_format, add_plugin, add_results, print_json, say
from bench.errors import InputError, told, visible
from bench.records.environment import repeat_command
from bench.records.record import AnyRecord, Record, Stored, status_of

if TYPE_CHECKING:
    from bench.launch.rerun import Comparison

RERUN = """
examples:
  bench rerun 3fa9c1                      where the run was made, and the command that repeats it
  bench rerun 3fa9c1 --check              train it again and compare; exit code 0: equal, 1: different
  bench rerun their/record.json --check   a record that somebody handed over
The repetition is trained in a temporary folder (TMPDIR says where) and leaves nothing behind.
"""

_TOLD = ("python", "platform", "processor", "instructions", "cores", "threads", "gpus", "cuda", "launcher", "slurm")


def add(commands: Any) -> None:
    """Add the command to a parser's."""
    rerun = add_command(
        commands, "rerun", rerun_command, "how a finished run was made; with --check, repeat it and compare", RERUN
    )
    rerun.add_argument("run", metavar="RUN", help="the beginning of a run's id, or the path of a record.json")
    rerun.add_argument("--check", action="store_true", help="train it again and compare")
    add_plugin(rerun)
    add_results(rerun)
    add_format(rerun, ("text", "json"))


def rerun_command(options: argparse.Namespace) -> int:
    """Say how a run is repeated, or repeat it and say what differs; exit code 1 where something does."""
    from bench.launch.rerun import find_record

    registry = bench.Registry(options.plugin)
    stored = find_record(options.run, bench.Store(options.results))
    return _check(stored, registry, options) if options.check else _tell(stored, registry, options)


def _tell(stored: Stored, registry: bench.Registry, options: argparse.Namespace) -> int:
    """Print what the record says of where it was made, and the command that repeats it."""
    from bench.launch.rerun import repeatable

    record, here = stored.record, "it can be repeated here"
    try:
        repeatable(stored, registry)
    except InputError as error:
        here = "it cannot be repeated here: " + "; ".join(error.problems)
    by_path = Path(options.run).expanduser().exists()
    repeat = repeat_command(options.run if by_path else record.id, "" if by_path else options.results, registry.plugins)
    environment = record.environment.facts
    if options.format == "json":
        facts = {"id": record.id, "label": record.label, "environment": environment}
        print_json({**facts, "command": record.command or None, "repeat": repeat, "here": here})
        return 0
    print(told(f"run {record.id}: {record.label} ({status_of(record)})"))
    for name, value in _facts(record, environment).items():
        print(told(f"  {name}: {value}"))
    print(told(f"{here}; to train it again and compare:" if here.endswith("here") else here))
    print(f"  {visible(repeat)}")
    return 0


def _facts(record: AnyRecord, environment: Mapping[str, Any]) -> dict[str, str]:
    """What a record says of where and how it was made, each in a line."""
    facts = {name: environment[name] for name in _TOLD if environment.get(name)}
    if isinstance(packages := environment.get("packages"), dict):
        facts["packages"] = {name: version for name, version in packages.items() if version}
    for name in ("git", "plugins"):
        if environment.get(name):
            facts[name] = environment[name]
    if isinstance(record, Record):
        facts |= {"timing": msgspec.to_builtins(record.timing)}
        facts |= {"usage": msgspec.to_builtins(record.usage)} if record.usage else {}
    facts |= {"command": record.command} if record.command else {}
    return {name: _told(value) for name, value in facts.items()}


def _told(value: object) -> str:
    """Plain data in a line, without what is not known."""
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {_told(part)}" for name, part in value.items() if part is not None)
    if isinstance(value, list):
        return "; ".join(_told(item) for item in value)
    return ("yes" if value else "no") if isinstance(value, bool) else str(value)


def _check(stored: Stored, registry: bench.Registry, options: argparse.Namespace) -> int:
    from bench.launch.preflight import require_backbones
    from bench.launch.rerun import NotRepeated, compare, predictions_of, repeat, repeatable

    spec, (record, place) = repeatable(stored, registry), stored
    before = predictions_of(place)
    assert isinstance(record, Record)
    require_backbones([spec], registry, say)
    print(told(f"training again: {spec.label} (it took {record.timing.seconds} s)"), file=sys.stderr, flush=True)
    with tempfile.TemporaryDirectory(prefix="bench-rerun-") as folder:
        try:
            again, folder_again = repeat(spec, registry, Path(folder), shlex.join(["bench", *sys.argv[1:]]))
        except NotRepeated as error:
            print(told(f"different: it failed now: {error}"))
            return 1
        found = compare(record, again, before, predictions_of(folder_again))
    if options.format == "json":
        differs = {"numbers": list(found.numbers), "environment": list(found.environment)}
        print_json({"id": spec.id, "equal": found.equal, "points": found.points, "arrays": found.arrays, **differs})
    else:
        _print_comparison(found)
    return 0 if found.equal else 1


def _print_comparison(found: Comparison) -> None:
    if found.equal:
        predictions = (
            f"{found.arrays} arrays of predictions" if found.arrays else "no predictions lie beside the record"
        )
        print(f"equal to the last bit: {found.points} points of the curve, {predictions}")
    else:
        print("different:\n" + "\n".join(told(f"  {line}") for line in found.numbers))
    if found.environment:
        print("made with something else:\n" + "\n".join(told(f"  {line}") for line in found.environment))
    elif not found.equal:
        print("versions, hardware and code are what the record names (on a GPU, equal bits are not promised)")

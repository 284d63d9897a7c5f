"""Repeat one finished run and compare: ``rerun``."""

from __future__ import annotations

import argparse
import shlex
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

import bench
from bench.commands.options import add_command, add_format, add_plugin, add_results, print_json, say
from bench.commands.show import in_words
from bench.errors import InputError, printable, visible
from bench.launch.preflight import require_backbones
from bench.notation import counted
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

_FACTS = (
    *("python", "platform", "processor", "instructions", "cores", "threads", "gpus", "cuda", "launcher", "slurm"),
    *("packages", "git", "plugins"),
)


def add(commands: Any) -> None:
    """Add the command to a parser's."""
    about = "how a finished run was made; with --check, repeat it and compare"
    rerun = add_command(commands, "rerun", rerun_command, about, RERUN)
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
    repeat = repeat_command(record.id, options.results, registry.plugins)
    if Path(options.run).expanduser().exists():
        repeat = repeat_command(options.run, "", registry.plugins)
    if options.format == "json":
        facts = {"id": record.id, "label": record.label, "environment": record.environment.facts}
        print_json({**facts, "command": record.command or None, "repeat": repeat, "here": here})
        return 0
    print(printable(f"run {record.id}: {record.label} ({status_of(record)})"))
    for name, value in _facts(record).items():
        if value:
            print(printable(f"  {name}: {in_words(value, '; ')}"))
    print(printable(f"{here}; to train it again and compare:" if here.endswith("here") else here))
    print(f"  {visible(repeat)}")
    return 0


def _facts(record: AnyRecord) -> dict[str, Any]:
    """What a record says of where and how it was made."""
    facts = {name: record.environment.facts.get(name) for name in _FACTS}
    if isinstance(packages := facts["packages"], dict):
        facts["packages"] = {name: version for name, version in packages.items() if version}
    if isinstance(record, Record):
        facts["timing"] = msgspec.to_builtins(record.timing)
        facts["usage"] = msgspec.to_builtins(record.usage) if record.usage else None
    return {**facts, "command": record.command}


def _check(stored: Stored, registry: bench.Registry, options: argparse.Namespace) -> int:
    from bench.commands.progress import Watch, screen
    from bench.launch.rerun import NotRepeated, compare, predictions_of, repeat, repeatable

    spec, record = repeatable(stored, registry), stored.record
    assert isinstance(record, Record)
    predictions = predictions_of(stored.folder)
    require_backbones([spec], registry, say)
    print(printable(f"training again: {spec.label} (it took {record.timing.seconds} s)"), file=sys.stderr, flush=True)
    command = shlex.join(["bench", *sys.argv[1:]])
    with tempfile.TemporaryDirectory(prefix="bench-rerun-") as folder:
        try:
            with Watch(1, 0, 1, screen()) as watch:
                again, folder_again = repeat(
                    spec, registry, Path(folder), command, report=watch.event, every=watch.every
                )
        except NotRepeated as error:
            print(printable(f"different: it failed now: {error}"))
            return 1
        comparison = compare(record, again, predictions, predictions_of(folder_again))
    if options.format == "json":
        print_json({"id": spec.id, "equal": comparison.equal, **asdict(comparison)})
    else:
        _print_comparison(comparison)
    return 0 if comparison.equal else 1


def _print_comparison(comparison: Comparison) -> None:
    if comparison.equal:
        arrays = comparison.arrays
        predictions = f"{counted(arrays, 'array')} of predictions" if arrays else "no predictions lie beside the record"
        print(f"equal to the last bit: {counted(comparison.points, 'point')} of the curve, {predictions}")
    else:
        print("different:\n" + "\n".join(printable(f"  {line}") for line in comparison.numbers))
    if comparison.environment:
        print("made with something else:\n" + "\n".join(printable(f"  {line}") for line in comparison.environment))
    elif not comparison.equal:
        print("versions, hardware and code are what the record names (on a GPU, equal bits are not promised)")

"""What a job on a cluster is given: a profile in TOML, the command line over it, resources for each run.

A profile is a file, or a name: then it lies in ``~/.config/finetune-bench/clusters/NAME.toml``.

    partition = "gpu"
    time = "4:00:00"
    gpus_per_run = 1
    setup = ["module load cuda"]
    sbatch = {gres = "gpu:a100:1"}    # any other option of sbatch

    [[match]]                 # for the runs that fit; a later table wins over an earlier one
    backbone = "vit_b*"
    gpus_per_run = 4
"""

from __future__ import annotations

import dataclasses
import fnmatch
import math
import os
import re
from collections.abc import Callable, Mapping, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.errors import InputError, Problems, choose
from bench.launch.launcher import Option, above_zero, count, one_line
from bench.launch.sbatch import Sbatch, gpus_of_gres, merged, read_sbatch
from bench.reading.toml import Lines, read_toml
from bench.spec import RunSpec

AXES = ("backbone", "method", "dataset")
"""What a ``[[match]]`` may ask of a run, each a pattern with ``*`` and ``?``."""

PACKING = {"pack", "pack_minutes"}


@dataclass(frozen=True)
class Resources:
    """What the job of a run, or of a pack of runs, is given, as ``OPTIONS`` say. Empty or 0: the cluster's default.

    Attributes:
        time: in minutes.
        mem: in gigabytes.
        signal_seconds: how long before the time limit a run is asked to write its checkpoint; SLURM may ask up to a
            minute earlier. 0: two minutes, or half of a time limit that is shorter than four.
        sbatch: other options of sbatch.
    """

    partition: str = ""
    time: int = 60
    gpus_per_run: int = 1
    cpus_per_run: int = 1
    mem: float = 0.0
    account: str = ""
    qos: str = ""
    constraint: str = ""
    exclude: str = ""
    pack: int = 1
    pack_minutes: float = 0.0
    runs_per_gpu: int = 1
    mps: bool = False
    setup: tuple[str, ...] = ()
    signal_seconds: int = 0
    max_requeues: int = 100
    max_running: int = 0
    sbatch: Sbatch = ()

    @property
    def ranks(self) -> int:
        """Processes that share each run."""
        return max(1, self.gpus_per_run)

    @property
    def signal(self) -> int:
        """Seconds before the time limit at which SLURM signals."""
        return self.signal_seconds or min(120, 30 * self.time)


@dataclass(frozen=True)
class Profile:
    """What each run is given.

    Attributes:
        matches: patterns by axis, and what the runs that fit are given instead; the last one wins.
        typed: what the command line says, which wins over all.
    """

    common: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    matches: tuple[tuple[Mapping[str, str], Mapping[str, Any]], ...] = ()
    typed: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def resources(self, spec: RunSpec) -> Resources:
        """What a run is given. Raises ``InputError`` where it does not fit together."""
        names = {"backbone": spec.backbone.name, "method": spec.method.full_name, "dataset": spec.dataset.name}
        values: dict[str, Any] = {}
        sbatch: dict[str, str | None] = {}
        for patterns, more in (({}, self.common), *self.matches, ({}, self.typed)):
            if all(fnmatch.fnmatchcase(names[axis], pattern) for axis, pattern in patterns.items()):
                if more.keys() & PACKING:  # one way to pack takes the place of the other
                    values = {key: value for key, value in values.items() if key not in PACKING}
                values |= more
                sbatch = merged(sbatch, more.get("sbatch", {}))
        values["sbatch"] = tuple(sorted((name, value) for name, value in sbatch.items() if value is not None))
        resources = Resources(**values)
        resources = _shared(resources, values.keys() & PACKING)
        if resources.signal >= 60 * resources.time:
            raise InputError(
                f"signal_seconds {resources.signal}: a time limit of {resources.time} minutes ends before that"
            )
        gpus = gpus_of_gres(resources.sbatch)
        if gpus is not None and gpus < resources.gpus_per_run:
            asked = dict(resources.sbatch)["gres"]
            raise InputError(f"sbatch gres={asked}: {resources.gpus_per_run} GPUs share each run (gpus_per_run)")
        return resources

    def over(self, typed: Mapping[str, Any]) -> Profile:
        """The profile with what the command line says over it."""
        return dataclasses.replace(self, typed={**self.typed, **typed})


def _shared(resources: Resources, packing: Set[str]) -> Resources:
    """Resources of runs that share a GPU, with as many in a job at least. Raises ``InputError``."""
    count, gpus = resources.runs_per_gpu, resources.gpus_per_run
    if resources.mps and count == 1:
        raise InputError("mps (--mps) is for runs that share a GPU; runs_per_gpu (--runs-per-gpu) says how many")
    if count == 1:
        return resources
    if gpus != 1:
        raise InputError(f"runs_per_gpu {count}: each run has {gpus} GPUs (gpus_per_run); runs share a GPU if it is 1")
    if not packing:
        return dataclasses.replace(resources, pack=count)
    if "pack" in packing and resources.pack < count:
        raise InputError(f"pack {resources.pack}: a job that trains {count} runs at a time (runs_per_gpu) has as many")
    return resources


def profile_folder() -> Path:
    """Where profiles lie that are called by name."""
    home = os.environ.get("XDG_CONFIG_HOME") or "~/.config"
    return Path(home).expanduser() / "finetune-bench" / "clusters"


def read_profile(name: str) -> Profile:
    """Read a profile: a file that ends in ``.toml``, or one in ``profile_folder()`` by its name.

    Raises ``InputError`` that says where it is malformed, or has a key or value that is not allowed.
    """
    path = Path(name).expanduser() if name.endswith(".toml") else profile_folder() / f"{name}.toml"
    if not path.exists():
        if name.endswith(".toml"):
            raise InputError(f"--cluster {name}: there is no such file")
        choice = choose(name, [file.stem for file in profile_folder().glob("*.toml")], "profile")
        raise InputError(f"--cluster: {choice}; a profile is {path}, or a file that ends in .toml")
    return _profile(*read_toml(path, "match"))


def _profile(data: Mapping[str, Any], lines: Lines) -> Profile:
    problems = Problems()
    tables = data.get("match", [])
    if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
        raise InputError(f"{lines.place(0, 'match')}: a match is a table of its own: [[match]]")
    common = _values({key: value for key, value in data.items() if key != "match"}, 0, lines, problems)
    matches = []
    for number, table in enumerate(tables, start=1):
        patterns = {axis: table[axis] for axis in AXES if axis in table}
        if not patterns or not all(isinstance(pattern, str) for pattern in patterns.values()):
            problems.add(f"{lines.place(number)}: a [[match]] needs a text for {', '.join(AXES)}, or some of them")
        values = {key: value for key, value in table.items() if key not in AXES}
        matches.append((patterns, _values(values, number, lines, problems)))
    problems.stop()
    return Profile(common, tuple(matches))


def _values(table: Mapping[str, Any], number: int, lines: Lines, problems: Problems) -> dict[str, Any]:
    """A table's resources. ``max_running`` is for a whole submission and not for those that match."""
    allowed = [key for key in READ if not number or key != "max_running"]
    resources: dict[str, Any] = {}
    for key, value in table.items():
        place = lines.place(number, key)
        if key not in allowed:
            unknown = choose(key, [*allowed, *(AXES if number else ["match"])], "key")
            problems.add(f"{place}: {unknown}; an option of sbatch is written sbatch = {{{key} = ...}}")
            continue
        try:
            resources[key] = READ[key](value)
        except ValueError as error:
            problems.add(f"{place}: {key}: {value!r} is not {error}")
        except InputError as error:
            problems.add(f"{place}: {key}: {error}")
    if resources.keys() >= PACKING:
        problems.add(f"{lines.place(number, 'pack_minutes')}: runs are packed by count (pack) or by minutes, not both")
    return resources


def _minutes(value: object) -> int:
    """Minutes as a number, or SLURM's HH:MM:SS and D-HH:MM:SS, rounded up."""
    parts = re.fullmatch(r"(?:(\d{1,4})-)?(\d{1,4}):(\d\d):(\d\d)", value) if isinstance(value, str) else None
    if parts:
        days, hours, minutes, seconds = (int(part or 0) for part in parts.groups())
        value = math.ceil((days * 86400 + hours * 3600 + minutes * 60 + seconds) / 60)
    try:
        return count(1)(value)
    except ValueError:
        raise ValueError("a time: minutes, HH:MM:SS or D-HH:MM:SS") from None


def _shares(value: object) -> int:
    try:
        return count(1)(value)
    except ValueError as error:
        here = "; auto is for --launcher local: a job asks for cores and memory before anything is measured"
        raise ValueError(f"{error}{here if value == 'auto' else ''}") from None


def _switch(value: object) -> bool:
    if isinstance(value, bool):
        return value
    raise ValueError("true or false")


def _lines_of_shell(value: object) -> tuple[str, ...]:
    lines = [value] if isinstance(value, str) else value
    if not isinstance(lines, list | tuple) or not all(isinstance(line, str) and line for line in lines):
        raise ValueError("a list of lines of shell")
    return tuple(lines)


OPTIONS = (
    Option("gpus_per_run", "GPUs that share each run (default: 1; 0: the CPU)", "N", count(0)),
    Option("partition", "where the jobs wait", "P", one_line),
    Option(
        "time",
        "minutes, or HH:MM:SS; a run that needs more is requeued and goes on (default: 60)",
        "TIME",
        _minutes,
    ),
    Option("cpus_per_run", "cores (default: 1)", "N", count(1)),
    Option("mem", "gigabytes", "G", above_zero),
    Option("account", "who pays", "A", one_line),
    Option("qos", "quality of service", "Q", one_line),
    Option("constraint", "what a node must have", "C", one_line),
    Option("exclude", "nodes not to be used", "NODES", one_line),
    Option("max_running", "jobs that may run at a time", "N", count(1)),
    Option("pack", "runs of a job, one after the other (default: 1)", "K", count(1)),
    Option(
        "pack_minutes",
        "as many runs a job as take so many minutes, from the time of finished ones",
        "M",
        above_zero,
    ),
    Option(
        "runs_per_gpu",
        "runs of a job that share its GPU at a time; it asks for cores and memory for so many (default: 1)",
        "N",
        _shares,
    ),
    Option(
        "mps",
        "with --runs-per-gpu: have NVIDIA's multi-process service serve them, where it is installed",
        read=_switch,
    ),
    Option("setup", "a line of shell that comes before; repeatable", "LINE", _lines_of_shell, repeats=True),
    Option(
        "sbatch",
        "any other option of sbatch: gres=gpu:a100:1 in place of --gpus-per-node, reservation=x, exclusive; repeatable",
        "KEY=VALUE",
        read_sbatch,
        repeats=True,
    ),
)
"""Keys of a profile that may be typed too; what reads a value says with ``ValueError`` what is expected."""

PROFILE_ONLY = (
    Option("signal_seconds", "how long before its time limit a job is signalled (default: 120)", "S", count(1)),
    Option("max_requeues", "how often a job may go on after its time limit (default: 100)", "N", count(0)),
)
"""Keys that only a profile has."""

READ: Mapping[str, Callable[[Any], Any]] = {option.key: option.read for option in (*OPTIONS, *PROFILE_ONLY)}
"""How the value of each key is read."""

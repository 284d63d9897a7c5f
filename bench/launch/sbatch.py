"""Options of sbatch that a profile or the command line has beside those that the suite knows: an open list.

A cluster's own rules are in them: ``gres``, ``reservation``, ``nodelist``, ``licenses``. What they mean is SLURM's
matter; here is looked after their form, and that they do not undo what the suite needs to find and resume its jobs.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from bench.errors import InputError, shortened
from bench.launch.launcher import one_line

Sbatch = tuple[tuple[str, str], ...]
"""Options with their values, in alphabetical order; the value of a flag is empty."""

EXPECTED = (
    "a table of sbatch's options, such as {gres = 'gpu:1', exclusive = true}; typed: KEY=VALUE, or KEY for a flag"
)

_LOGS = "the suite says where a job's log is, 'bench logs' shows it"
_PROCESSES = "the processes of a run share one node; gpus_per_run (--gpus-per-run) is how many there are"
_CORES = "cpus_per_run (--cpus-per-run) is how many cores a run has"
_GOES_ON = "the suite has jobs requeued, and their runs go on; max_requeues of a profile is how often"
_ANSWER = "the suite would not learn which job it has submitted"
_KNOWN = ("partition", "time", "account", "qos", "constraint", "exclude", "mem")

REFUSED: Mapping[str, str] = {
    **dict.fromkeys(("output", "error", "open-mode"), _LOGS),
    "job-name": "by the name of a job the suite finds what it has submitted",
    "array": "the suite makes an array of the runs; max_running (--max-running) is how many jobs run at a time",
    "signal": "the suite has jobs signalled, to write checkpoints; signal_seconds of a profile is when",
    **dict.fromkeys(("requeue", "no-requeue"), _GOES_ON),
    **dict.fromkeys(("nodes", "ntasks", "ntasks-per-node"), _PROCESSES),
    **dict.fromkeys(("cpus-per-task", "cpus-per-gpu"), _CORES),
    **{key: f"it has an option of its own, {key} (--{key})" for key in _KNOWN},
    **dict.fromkeys(("help", "parsable", "quiet", "test-only", "usage", "version", "wait", "wrap"), _ANSWER),
    "clusters": "jobs on another cluster cannot be seen from here",
}
"""Options that the suite sets or needs unset, each with the reason."""

_NAME = re.compile(r"[A-Za-z0-9]+(-[A-Za-z0-9]+)*")
_GPU = re.compile(r"(?:^|[,/:])(?:gpu|mps|shard)\b")
_GPUS = ("gpus", "gpus-per-node", "gpus-per-socket", "gpus-per-task")
_GENERIC = ("gres", "tres-per-job", "tres-per-node", "tres-per-socket", "tres-per-task")
_MEMORY = ("mem-per-cpu", "mem-per-gpu")


def read_sbatch(value: object) -> dict[str, str | None]:
    """Reads a table of TOML, or the list of what was typed; what is false in a table is None: it is taken away.

    Raises:
        ValueError: it is neither; the text says what is expected.
        InputError: an option is malformed, or one of ``REFUSED``.
    """
    if isinstance(value, dict):
        written = list(value.items())
    elif isinstance(value, list) and value and all(isinstance(text, str) for text in value):
        parts = [text.removeprefix("--").partition("=") for text in value]
        written = [(name, text if equals else True) for name, equals, text in parts]
    else:
        raise ValueError(EXPECTED)
    return {_name(name): _value(name, raw) for name, raw in written}


def merged(earlier: Mapping[str, str | None], later: Mapping[str, str | None]) -> dict[str, str | None]:
    """Options with later ones over them: of ways to ask for GPUs, or for memory, the later one takes the place."""
    kept = dict(earlier)
    for is_one in (_is_of_gpus, _is_of_memory):
        if any(is_one(name, value) for name, value in later.items()):
            kept = {name: value for name, value in kept.items() if not is_one(name, value)}
    return {**kept, **later}


def asks_for_gpus(options: Sbatch) -> bool:
    """Whether they ask for GPUs, in whatever way, so that the suite must not ask in its own."""
    return any(_is_of_gpus(name, value) for name, value in options)


def asks_for_memory(options: Sbatch) -> bool:
    """Whether they say how much memory a job is given."""
    return any(_is_of_memory(name, value) for name, value in options)


def gpus_of_gres(options: Sbatch) -> int | None:
    """How many GPUs ``gres`` asks for (``gpu:a100:2``); None where that is not said so."""
    asked = [part.split(":") for part in dict(options).get("gres", "").split(",")]
    counts = [parts[-1] if len(parts) > 1 else "1" for parts in asked if parts[0] == "gpu" and len(parts) <= 3]
    numbers = [int(count) if count.isdecimal() else 1 for count in counts]
    return sum(numbers) if numbers else None


def flags(options: Sbatch) -> dict[str, Any]:
    """As submitit takes them: a flag is True; it quotes the values for the script, all but backslashes."""
    return {name: value.replace("\\", "\\\\") if value else True for name, value in options}


def in_words(options: Sbatch) -> str:
    """As they would be typed."""
    return " ".join(f"{name}={value}" if value else name for name, value in options)


def _is_of_gpus(name: str, value: str | None) -> bool:
    return name in _GPUS or (name in _GENERIC and _GPU.search(value or "") is not None)


def _is_of_memory(name: str, value: str | None) -> bool:
    return name in _MEMORY


def _name(written: str) -> str:
    name = written.replace("_", "-")  # as in the other keys of a profile; sbatch has dashes only
    if not _NAME.fullmatch(name):
        raise InputError(f"'{shortened(written)}' cannot be an option of sbatch: letters, digits and dashes only")
    # sbatch takes the beginning of an option's name for the option
    for refused, reason in REFUSED.items():
        if refused.startswith(name):
            raise InputError(f"{refused} is not free to choose: {reason}")
    return name


def _value(name: str, value: object) -> str | None:
    if isinstance(value, bool):
        return "" if value else None
    if isinstance(value, int | float):
        return str(value)
    try:
        return one_line(value)
    except ValueError as error:
        raise InputError(f"{name}: {value!r} is not {error}, a number or true") from None

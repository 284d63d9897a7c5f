"""What commands share: the arguments that several take, and how plain data is printed."""

from __future__ import annotations

import argparse
import json
import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import bench
from bench.cards.folders import typed_path
from bench.errors import InputError, told
from bench.rules import SELECTIONS

if TYPE_CHECKING:
    from bench.launch.profile import Profile

Command = Callable[[argparse.Namespace], int]

# What a job on a cluster is given: key of a profile, which is the option's name too, and its help.
_SLURM = (
    ("partition", "P", "where the jobs wait"),
    ("time", "TIME", "minutes, or HH:MM:SS; a run that needs more is requeued and goes on (default: 60)"),
    ("cpus_per_run", "N", "cores (default: 1)"),
    ("mem", "G", "gigabytes"),
    ("account", "A", "who pays"),
    ("qos", "Q", "quality of service"),
    ("constraint", "C", "what a node must have"),
    ("exclude", "NODES", "nodes not to be used"),
    ("max_running", "N", "jobs that may run at a time"),
    ("pack", "K", "runs of a job, one after the other (default: 1)"),
    ("pack_minutes", "M", "as many runs a job as take so many minutes, from the time of finished ones"),
)


class Parser(argparse.ArgumentParser):
    """Says what is wrong in one line, as every other mistake is said; half an option's name is no option."""

    def __init__(self, *names: Any, **settings: Any) -> None:
        super().__init__(*names, **{"allow_abbrev": False, **settings})

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
        "--plugin", action="append", default=[], metavar="PATH", help="a method file, or a folder with methods/ in it"
    )


def add_results(parser: argparse.ArgumentParser) -> None:
    """``--results``."""
    parser.add_argument(
        "--results", type=_folder, default=Path("results"), metavar="DIR", help="where records lie (default: results)"
    )


def add_format(parser: argparse.ArgumentParser, formats: tuple[str, ...]) -> None:
    """``--format``; text is the default."""
    parser.add_argument("--format", choices=formats, default="text", metavar="FORMAT", help=", ".join(formats))


def add_launcher(parser: argparse.ArgumentParser) -> None:
    """``--launcher`` and what there is to say to each of them."""
    parser.add_argument(
        "--launcher", choices=("local", "slurm"), default="local", metavar="NAME", help="local (default), slurm"
    )
    parser.add_argument(
        "--gpus-per-run", metavar="N", help="GPUs that share each run (default: 1; slurm: 0 for the CPU)"
    )
    parser.add_argument(
        "--checkpoint-every", type=float, default=300.0, metavar="S", help="seconds between a run's checkpoints (300)"
    )
    parser.add_argument(
        "--jobs",
        type=int,
        metavar="N",
        help="local: runs at a time (default: one a GPU, or else one a core with 2 GB of memory)",
    )
    slurm = parser.add_argument_group("options of --launcher slurm")
    slurm.add_argument("--cluster", metavar="NAME", help="a profile with these options: a name, or a TOML file")
    for key, metavar, about in _SLURM:
        slurm.add_argument(_flag(key), dest=key, metavar=metavar, help=about)
    slurm.add_argument("--setup", action="append", metavar="LINE", help="a line of shell that comes before; repeatable")
    slurm.add_argument("--resubmit", action="store_true", help="submit what may be in a queue that cannot be asked")


def check_launcher(options: argparse.Namespace) -> None:
    """Refuse what makes no sense, alone or for the launcher that is chosen. Raises ``InputError``."""
    if options.jobs is not None and options.jobs < 1:
        raise InputError(f"--jobs {options.jobs}: at least one run at a time is needed")
    if not options.checkpoint_every > 0:
        raise InputError(f"--checkpoint-every {options.checkpoint_every:g}: this must be above 0 seconds")
    if options.launcher == "slurm":
        if options.jobs is not None:
            raise InputError("--jobs is for --launcher local; --max-running limits the jobs of --launcher slurm")
        profile_of(options)
        return
    for key in ("cluster", *(key for key, _, _ in _SLURM), "setup", "resubmit"):
        if getattr(options, key):
            raise InputError(f"{_flag(key)} is for --launcher slurm")
    ranks_of(options)


def ranks_of(options: argparse.Namespace) -> int:
    """The processes that share each local run. Raises ``InputError``."""
    from bench.launch.gpus import usable_gpus
    from bench.launch.profile import read_value

    given = options.gpus_per_run
    ranks = 1 if given is None else max(1, read_value("gpus_per_run", given, "--gpus-per-run"))
    gpus = len(usable_gpus())
    if options.launcher == "local" and 0 < gpus < ranks:
        raise InputError(f"--gpus-per-run {ranks}: only {gpus} can be used here; give a run at most as many")
    return ranks


def profile_of(options: argparse.Namespace) -> Profile:
    """What each run is given on a cluster: the profile that is named, and over it what was typed.

    Raises:
        InputError: something of it is not allowed.
    """
    from bench.launch.profile import Profile, read_profile, read_value

    profile = read_profile(options.cluster) if options.cluster else Profile()
    keys = ("gpus_per_run", *(key for key, _, _ in _SLURM), "setup")
    typed = {key: read_value(key, given, _flag(key)) for key in keys if (given := getattr(options, key)) is not None}
    if {"pack", "pack_minutes"} <= typed.keys():
        raise InputError("runs are packed by count (--pack) or by minutes (--pack-minutes), not both")
    return profile.over(typed)


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
    for name in ("set", "plugin"):
        words += [word for given in getattr(options, name, ()) for word in (f"--{name}", given)]
    words += ["--results", str(options.results)] if str(options.results) != "results" else []
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


def _flag(key: str) -> str:
    return f"--{key.replace('_', '-')}"


def say(line: str) -> None:
    """A line for people beside what a command prints."""
    print(f"bench: {line}", file=sys.stderr)


def print_json(value: Any) -> None:
    """Plain data for programs."""
    print(json.dumps(value, indent=1, ensure_ascii=False))

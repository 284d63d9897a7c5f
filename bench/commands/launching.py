"""What commands need to launch runs: the launcher that is chosen, its options, and what people are told of it."""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import bench
from bench.commands.options import Parser, plugins_of
from bench.errors import InputError, choose
from bench.settings import split_paths

if TYPE_CHECKING:
    from bench.launch import Executor, Job, Submitted
    from bench.launch.launcher import Launcher, Option, Queued
    from bench.records.store import Store
    from bench.spec import RunSpec


def add_launching(parser: Parser) -> None:
    """``--launcher`` and what goes with it; the options of launchers are added when it is known which one is chosen."""
    parser.add_argument("--track", default="", metavar="LIST", help="trackers to tell of each run: tensorboard,wandb")
    shipped = ", ".join(bench.Registry().launcher_files)
    parser.add_argument(
        "--launcher", default="local", metavar="NAME", help=f"{shipped}, or a plug-in's (default: local)"
    )
    parser.add_argument(
        "--checkpoint-every", type=float, default=300.0, metavar="S", help="seconds between a run's checkpoints (300)"
    )
    parser.prepare = _add_options


def _add_options(parser: Parser, words: Sequence[str]) -> None:
    """Add the options of the launcher that is typed, and of those of the suite."""
    scan = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    scan.add_argument("--launcher", nargs="?")
    scan.add_argument("--plugin", nargs="?", action="append", default=[])
    typed = scan.parse_known_args(words)[0]
    registry = suite = bench.Registry()
    if typed.launcher and typed.launcher not in suite.launcher_files:
        registry = bench.Registry(plugins_of([path for text in typed.plugin if text for path in split_paths(text)]))
        _require(typed.launcher, registry)
    for name in dict.fromkeys([typed.launcher or "local", *suite.launcher_files]):
        group = parser.add_argument_group(f"options of --launcher {name}")
        for option in registry.launcher(name).options:
            _add_option(parser, group, option)


def _add_option(parser: Parser, group: Any, option: Option) -> None:
    """Add an option; one that an earlier launcher has too stands there already."""
    if option.key in parser.of_launchers:
        return
    parser.of_launchers.add(option.key)
    if option.metavar:
        about = {"metavar": option.metavar, "action": "append" if option.repeats else "store"}
    else:
        about = {"action": "store_const", "const": ""}
    try:
        group.add_argument(option.flag, dest=option.key, help=option.about, **about)
    except argparse.ArgumentError:
        raise InputError(f"{group.title}: {option.flag} has a meaning for every launcher; name it otherwise") from None


def launcher_of(options: argparse.Namespace) -> tuple[Launcher, dict[str, Any]]:
    """The launcher that is chosen, and what was typed of its options. Raises ``InputError``."""
    registry = bench.Registry(options.plugin)
    _require(options.launcher, registry)
    launcher = registry.launcher(options.launcher)
    keys = {option.key for option in launcher.options}
    for name in bench.Registry().launcher_files:
        for option in registry.launcher(name).options:
            if option.key not in keys and getattr(options, option.key) is not None:
                instead = launcher.instead.get(option.key, "")
                raise InputError(f"{option.flag} is for --launcher {name}" + (f"; {instead}" if instead else ""))
    typed = {option.key: getattr(options, option.key) for option in launcher.options}
    return launcher, {
        option.key: option.value(typed[option.key]) for option in launcher.options if typed[option.key] is not None
    }


def _require(name: str, registry: bench.Registry) -> None:
    if name not in registry.launcher_files:
        raise InputError(f"--launcher: {choose(name, registry.launcher_files, 'launcher')}")


def job_of(options: argparse.Namespace) -> Job:
    """What workers need beside the runs. Raises ``InputError`` where an option of the launch makes no sense."""
    from bench.launch import Job
    from bench.training.trackers import tracker_names

    if not options.checkpoint_every > 0:
        raise InputError(f"--checkpoint-every {options.checkpoint_every:g}: this must be above 0 seconds")
    launcher, typed = launcher_of(options)
    return Job(
        results=options.results,
        plugins=bench.Registry(options.plugin).plugins,
        command=shlex.join(["bench", *sys.argv[1:]]),
        checkpoint_every=options.checkpoint_every,
        ranks=launcher.check(typed),
        launcher=options.launcher,
        track=tracker_names(options.track) if options.track else (),
    )


@dataclass(frozen=True)
class Launched:
    """How a launch went.

    Attributes:
        code: the command's exit code, where it has nothing more to say; None where all runs have ended.
        said: what to say of it then.
    """

    code: int | None = None
    said: str = "0 runs were trained now"


def launch(plan: Any, runs: Sequence[RunSpec], job: Job, options: argparse.Namespace, store: Store) -> Launched:
    """Train or submit those runs that are in no job yet, and say how it went.

    Args:
        plan: of which the runs are.
        runs: those without a record.
        job: what workers need beside them.
        options: of the command line.
        store: the records there are.
    """
    from bench.launch import make_ready
    from bench.launch.launcher import Launch

    launcher, typed = launcher_of(options)
    queue = launcher.queue(store.root, [run.id for run in runs])
    if queue.problem and "resubmit" not in typed:
        raise InputError(
            f"the queue cannot be asked ({queue.problem}), and some of these runs may be in it; "
            "--resubmit submits them again"
        )
    free = [run for run in runs if run.id not in queue.jobs]
    waits = f"{len(queue.jobs)} runs are in jobs already" if queue.jobs else ""
    if waits and not free:
        print(f"{waits}, and nothing else is missing; 'bench status {options.target}' says how far they are")
        return Launched(0)
    executor = launcher.executor(Launch(free, typed, plan.unique, store)) if free else None
    make_ready(store)
    if executor is None:
        return Launched()
    if not launcher.submits:
        return _train(executor, plan, free, job)
    submitted = executor.execute(free, job, lambda event: None)
    if submitted is not None:
        _tell_submitted(submitted, options.target, waits)
    return Launched(0)


def ask_queues(registry: bench.Registry, root: Path, runs: Collection[str]) -> Queued:
    """Which of some runs wait or run, by what every launcher says."""
    from bench.launch.launcher import Queued

    queues = [launcher.queue(root, runs) for launcher in registry.launchers()]
    jobs = {run: job for queue in queues for run, job in queue.jobs.items()}
    return Queued(jobs, "; ".join(queue.problem for queue in queues if queue.problem))


def _train(executor: Executor, plan: Any, runs: Sequence[RunSpec], job: Job) -> Launched:
    """Train runs while somebody watches."""
    from bench.progress import Watch

    watch = Watch(len(plan.unique), len(plan.unique) - len(runs))
    try:
        with watch:
            executor.execute(runs, replace(job, progress=1.0 if watch.terminal else 0.0), watch.event)
    except KeyboardInterrupt:
        print(f"stopped after {watch.done} runs, which are kept; run the same command again to go on")
        return Launched(130)
    others = f" ({watch.elsewhere} by somebody else)" if watch.elsewhere else ""
    return Launched(said=f"{watch.done} runs were trained now{others}")


def _tell_submitted(submitted: Submitted, target: str, waits: str) -> None:
    jobs = f"{submitted.jobs} job{'s' * (submitted.jobs != 1)}"
    print(f"submitted {submitted.runs} runs as {jobs}" + (f"; {waits}" if waits else ""))
    for line in submitted.details:
        print(f"  {line}")
    print(f"'bench status {target}' says how far they are, 'bench cancel {target}' ends them")

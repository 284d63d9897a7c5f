"""What commands need to launch runs: the launcher that is chosen, its options, and what people are told of it."""

from __future__ import annotations

import argparse
import contextlib
import itertools
import shlex
import sys
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import bench
from bench.commands.keeping import add_keep
from bench.commands.options import Parser, plugins_of
from bench.device import interrupt
from bench.errors import InputError, choose, printable, to_type
from bench.launch import Event, Executor, Job, LocalExecutor, make_ready
from bench.launch.launcher import Launch, Launcher, Queued, all_launchers, find_launcher
from bench.notation import counted
from bench.plan.table import Plan
from bench.reading.settings import split_paths
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
    add_keep(parser)
    parser.prepare = _add_options


def _add_options(parser: Parser, words: Sequence[str]) -> None:
    """Add the options of the launcher that is typed, and of those of the suite; one that several have, once."""
    typed, registry = _chosen(words)
    added: set[str] = set()
    for name in dict.fromkeys([typed, *bench.Registry().launcher_files]):
        group = parser.add_argument_group(f"options of --launcher {name}")
        options = [option for option in find_launcher(name, registry).options if option.key not in added]
        added |= {option.key for option in options}
        for option in options:
            value = {"metavar": option.metavar, "action": "append" if option.repeats else "store"}
            switch = {"action": "store_const", "const": ""}
            how: dict[str, Any] = value if option.metavar else switch
            try:  # its value is called by its flag, since no other's can be called so
                group.add_argument(option.flag, dest=option.flag, help=option.about, **how)
            except argparse.ArgumentError:
                problem = f"{option.flag} has a meaning for every launcher; name it otherwise"
                raise InputError(f"{group.title}: {problem}") from None


def _chosen(words: Sequence[str]) -> tuple[str, bench.Registry]:
    """The launcher that is typed, and a registry that has it, before anything else is read. Raises ``InputError``."""
    scan = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    scan.add_argument("--launcher", nargs="?", default="local")
    scan.add_argument("--plugin", nargs="?", action="append", default=[])
    typed = scan.parse_known_args(words)[0]
    name, registry = typed.launcher or "local", bench.Registry()
    if name not in registry.launcher_files:
        plugins = [split_paths(text) for text in typed.plugin if text]
        registry = bench.Registry(plugins_of(list(itertools.chain(*plugins))))
    if name not in registry.launcher_files:
        raise InputError(f"--launcher: {choose(name, registry.launcher_files, 'launcher')}")
    return name, registry


def launcher_of(options: argparse.Namespace) -> tuple[Launcher, dict[str, Any]]:
    """The launcher that is chosen, and the values of what was typed of its options.

    Raises ``InputError`` where an option was typed that only another launcher has.
    """
    registry = bench.Registry(options.plugin)
    launcher = find_launcher(options.launcher, registry)
    keys = {option.key for option in launcher.options}
    for name in bench.Registry().launcher_files:
        for option in find_launcher(name, registry).options:
            if option.key not in keys and getattr(options, option.flag) is not None:
                instead = launcher.instead.get(option.key, "")
                raise InputError(f"{option.flag} is for --launcher {name}" + (f"; {instead}" if instead else ""))
    typed = [option for option in launcher.options if getattr(options, option.flag) is not None]
    return launcher, {option.key: option.value(getattr(options, option.flag)) for option in typed}


def job_of(options: argparse.Namespace) -> Job:
    """What workers need beside the runs. Raises ``InputError`` where an option of the launch makes no sense."""
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


def launch(
    plan: Plan,
    runs: Sequence[RunSpec],
    job: Job,
    options: argparse.Namespace,
    store: bench.Store,
    begin: Callable[[Sequence[RunSpec]], None] = lambda runs: None,
) -> int | str:
    """Train or submit those runs of a plan without a record that are in no job yet; ``begin`` is told which they are.

    Gives the command's exit code where there is no more to say, or else, since every run has ended, how many did now.
    """
    launcher, typed = launcher_of(options)
    queue = launcher.queue(store.root, [run.id for run in runs])
    if queue.problem and "resubmit" not in typed:
        raise InputError(
            f"the queue cannot be asked ({queue.problem}), and some of these runs may be in it; "
            "--resubmit submits them again"
        )
    free = [run for run in runs if run.id not in queue.jobs]
    be = "is" if len(queue.jobs) == 1 else "are"
    waits = f"{counted(len(queue.jobs), 'run')} {be} in jobs already" if queue.jobs else ""
    if waits and not free:
        print(f"{waits}, and nothing else is missing; {to_type('status', *options.target)} says how far they are")
        return 0
    if not free:
        return "0 runs were trained now"
    executor = launcher.executor(Launch(free, typed, plan.trainable, store))
    make_ready(store)
    begin(free)
    if not launcher.submits:
        return _train(executor, plan, free, job)
    try:
        submitted = executor.execute(free, job, lambda event: None)
    except KeyboardInterrupt:
        hint = f"{to_type('status', *options.target)} says what was submitted"
        print(f"stopped; {hint}; run the same command again to go on")
        return 130
    if submitted is not None:
        jobs = counted(submitted.jobs, "job")
        print(f"submitted {counted(submitted.runs, 'run')} as {jobs}" + (f"; {waits}" if waits else ""))
        for line in submitted.details:
            print(f"  {printable(line)}")
        targets = options.target
        print(f"{to_type('status', *targets)} says how far they are, {to_type('cancel', *targets)} ends them")
    return 0


def ask_queues(registry: bench.Registry, root: Path, runs: Collection[str]) -> Queued:
    """Which of some runs wait or run, by what every launcher says."""
    queues = [launcher.queue(root, runs) for launcher in all_launchers(registry)]
    jobs = {run: job for queue in queues for run, job in queue.jobs.items()}
    return Queued(jobs, "; ".join(queue.problem for queue in queues if queue.problem))


def stopped(done: int, in_training: Sequence[Event]) -> str:
    """What a launch that was stopped leaves: how many runs it has done, and where those are that were in training."""
    steps = [f"{event.standing.step} of {event.standing.of}" for event in in_training if event.standing]
    kept = [event for event in in_training if event.message and not event.standing]
    lost = len(in_training) - len(steps) - len(kept)
    parts = [f"stopped after {done} run{'s' * (done != 1)}"]
    if steps:
        listed = " and ".join(filter(None, (", ".join(steps[:-1]), steps[-1])))
        parts.append(f"{len(steps)} in training {'is' if len(steps) == 1 else 'are'} kept at step {listed}")
    if kept:
        where = f"is kept at {kept[0].message}" if len(kept) == 1 else "are kept at their last checkpoints"
        parts.append(f"{len(kept)} in training {where}")
    if lost:
        parts.append(f"{lost} had not come to a checkpoint")
    return "; ".join(parts)


def _train(executor: Executor, plan: Plan, runs: Sequence[RunSpec], job: Job) -> int | str:
    """Train runs while somebody watches; as ``launch``."""
    from bench.commands.progress import Watch, screen, swept_values

    jobs = min(executor.jobs, len(runs)) if isinstance(executor, LocalExecutor) else 0
    watch = Watch(len(plan.trainable), len(plan.trainable) - len(runs), jobs, screen(), swept_values(plan))
    in_training: list[Event] = []

    def hear(event: Event) -> None:
        if event.status == "kept":
            in_training.append(event)
        else:
            watch.event(event)

    try:
        with interrupt.raised(), watch:
            executor.execute(runs, replace(job, progress=watch.every), hear)
    except interrupt.Stopped as stop:
        with contextlib.suppress(OSError):  # a terminal that was closed hears nothing
            print(f"{stopped(watch.done, in_training)}; run the same command again to go on")
        return stop.exit_code
    others = f" ({watch.elsewhere} by somebody else)" if watch.elsewhere else ""
    were = "was" if watch.done == 1 else "were"
    return f"{counted(watch.done, 'run')} {were} trained now{others}"

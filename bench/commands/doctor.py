"""What this machine can do, what limits it and what to set, measured in about a minute: ``doctor``."""

from __future__ import annotations

import argparse
import json
import math
import platform
import subprocess
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from typing import Any

import msgspec

import bench
from bench.commands.options import add_format, print_json
from bench.commands.request import Request, add_target_command, request_of
from bench.cost.limits import Clocked, Grid, Limit, Probed, limits, percent, run_time
from bench.device.limits import usable_cores
from bench.errors import InputError, printable
from bench.launch.gpus import gpus_of, usable_gpus
from bench.launch.launcher import find_launcher
from bench.launch.local import default_jobs, usable_memory
from bench.launch.surroundings import Oddity, has_slurm, remarks
from bench.notation import counted
from bench.process import environment, how_ended, program
from bench.records.environment import describe
from bench.spec import RunSpec, to_json
from bench.training.size import size_of

DOCTOR = """
examples:
  bench doctor                     digits and the micro ViT: needs no download
  bench doctor gta                 the first run of a target, or of a file of one's own
  bench doctor --backbones timm:vit_small_patch16_224 --datasets folder:~/birds
  bench doctor --format json
Nothing is written into the results. A step of a large model on a CPU may take the minute by itself.
"""

USUAL, PHOTOS = "digits", "photos"
"""What is measured where no target is typed: of images of one's own, or of a backbone, the second."""


def add(commands: Any) -> None:
    """Add the command to a parser's."""
    about = "what this machine can do, what limits it, and what to set"
    parser = add_target_command(commands, "doctor", doctor_command, about, DOCTOR, several=False, usual=USUAL)
    add_format(parser, ("text", "json"))


def doctor_command(options: argparse.Namespace) -> int:
    """Measure, and say what that tells."""
    target = options.target or (PHOTOS if options.backbones or options.datasets else USUAL)
    request = request_of(argparse.Namespace(**{**vars(options), "target": target}))
    spec = first_run(request)
    measured = measured_of(spec, request.registry)
    grid = grid_of(request, spec)
    advice = limits(measured, grid)
    odd = remarks(request.results, request.registry, measured.torch_cuda, measured.gpu)
    if options.format == "json":
        print_json({**_versions(), **_as_plain(spec, measured, grid), "limits": _plain(advice), "odd": _plain(odd)})
        return 0
    for line in lines(spec, measured, grid, advice, odd):
        print(printable(line))
    return 0


def first_run(request: Request) -> RunSpec:
    """The run of a target that is measured: the first that can be trained here, or the first. Raises ``InputError``."""
    plan = request.plan
    runs = [*plan.trainable.values(), *plan.unique.values()]
    if not runs:
        raise InputError(f"{plan.name}: it has no runs that could be measured; name another target")
    return runs[0]


def measured_of(spec: RunSpec, registry: bench.Registry) -> Probed:
    """What a process measures of a run. Raises ``InputError`` where it cannot."""
    plugins = [str(plugin) for plugin in registry.plugins]
    request = json.dumps({"plugins": plugins, "spec": to_json(spec), "begun": time.time()})
    done = subprocess.run(
        program("bench.cost.probe"), input=request, stdout=subprocess.PIPE, text=True, env=environment(gpus_of(0))
    )
    if done.returncode:
        raise InputError(f"{spec.label}: the process that measures ended: {how_ended(done.returncode)}")
    answer = json.loads(done.stdout.splitlines()[-1])
    if "problem" in answer:
        raise InputError(f"{spec.label}: it cannot be measured: {answer['problem']}")
    return msgspec.convert(answer, Probed)


def grid_of(request: Request, spec: RunSpec) -> Grid:
    """The grid that a run stands for, and the room that this machine has for it."""
    plan, size = request.plan, size_of(spec, request.registry.dataset(spec.dataset.name))
    local = find_launcher("local", request.registry)
    return Grid(
        target=request.command("run").removeprefix("bench run "),
        runs=len(plan.unique),
        steps=size.steps or 0,
        images=size.points * (size.images or 0),
        evaluations=spec.protocol.evaluations,
        augmentation=spec.protocol.augmentation,
        jobs=default_jobs(),
        cores=usable_cores(),
        memory=usable_memory(),
        many_a_gpu=any(option.key == "runs_per_gpu" for option in local.options),
        slurm=has_slurm(),
    )


def lines(spec: RunSpec, measured: Probed, grid: Grid, advice: Sequence[Limit], odd: Sequence[Oddity]) -> Iterator[str]:
    """All of it, a line each, for people."""
    yield ", ".join(f"{name} {version}" for name, version in _versions()["versions"].items() if version)
    memory = f"{grid.memory / 1e9:.3g} GB of memory" if math.isfinite(grid.memory) else "memory not known"
    gpus = counted(len(usable_gpus()), "GPU") if usable_gpus() else "no GPU"
    yield f"{measured.hardware}: {counted(grid.cores, 'core')} can be used, {memory}, {gpus}"
    protocol = spec.protocol
    where = "one GPU" if measured.gpu else "one core"
    yield f"measured on {where}: {spec.label}, a batch of {protocol.batch_size} images, {protocol.precision}"
    if measured.absent:
        yield f"  images of noise in the place of {measured.absent}"
    if not measured.short_of_memory:
        yield from _times(measured, grid)
    yield "what limits it:"
    yield from _advice(advice)
    if odd:
        yield "what is missing or odd:"
        yield from _advice(odd)


def _times(measured: Probed, grid: Grid) -> Iterator[str]:
    clock = "on the clock" if measured.gpu else "of a core's time"

    def row(name: str, clocked: Clocked, images: int, more: str = "") -> str:
        seconds = measured.seconds(clocked)
        return f"  {name:24} {_seconds(seconds):>9}   {images / max(seconds, 1e-12):9,.0f} images/s{more}"

    size, whole = measured.batch_size, run_time(measured, grid)
    yield f"  {'':24} {clock}"
    yield row("computing a step", measured.compute, size)
    feeders = f"   {measured.fed:,.0f} by {counted(measured.feeders, 'feeder')}" if measured.feeders > 1 else ""
    yield row("preparing its images", replace(measured.feed, wall=measured.feed.cpu), size, feeders)
    yield row("the loop, with both", measured.loop, size, f"   {percent(measured.share)} of computing alone")
    yield row("evaluating an image", measured.image, 1, f"   {percent(whole.evaluation)} of a run")
    if measured.decoded:
        yield row("decoding an image, once", measured.decoded, 1)
    if grid.steps:
        yield f"  {'a run':24} {_seconds(whole.seconds):>9}   {grid.steps:,} steps, {grid.evaluations} evaluations"
    yield f"  {'start of a worker':24} {_seconds(measured.start.cpu):>9}"
    slow = [
        f"{name} took {_seconds(each.cpu)} of a core's time and {_seconds(each.wall)} on the clock"
        for name, each in (("a step", measured.compute), ("a start", measured.start))
        if each.is_busy and not (measured.gpu and name == "a step")
    ]
    if slow:
        yield f"this machine was busy: {', '.join(slow)}"


def _seconds(seconds: float) -> str:
    if seconds >= 100:
        return f"{seconds / 60:.3g} min"
    return f"{seconds:.3g} s" if seconds >= 1 else f"{1000 * seconds:.3g} ms"


def _advice(items: Sequence[Limit | Oddity]) -> Iterator[str]:
    for item in items:
        yield f"  {item.sentence}"
        if item.command:
            yield f"      {item.command}"


def _versions() -> dict[str, Any]:
    facts = describe()
    packages = {name: facts["packages"][name] for name in ("torch", "torchvision", "timm", "numpy")}
    return {"versions": {"bench": bench.__version__, "Python": platform.python_version(), **packages}}


def _as_plain(spec: RunSpec, measured: Probed, grid: Grid) -> dict[str, Any]:
    whole = run_time(measured, grid)
    rates = {"loop_share": measured.share, "fed_images_per_second": measured.fed}
    run = {"label": spec.label, "seconds": whole.seconds, "evaluation_share": whole.evaluation}
    return {"run": run, "measured": {**asdict(measured), **rates}, "grid": asdict(grid)}


def _plain(items: Sequence[Limit | Oddity]) -> list[dict[str, str]]:
    return [asdict(item) for item in items]

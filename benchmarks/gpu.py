"""What one GPU makes of the suite, in at most eight minutes; a Markdown table is printed.

    python benchmarks/gpu.py --json gpu.json                            # on a machine with a GPU
    python benchmarks/gpu.py --images FOLDER --weights FILE             # GTA beside fine-tuning on photographs, too
    python benchmarks/gpu.py --device cpu --small                       # tries every part's CPU half, in a minute

Each part has a budget of seconds: it is not begun where they are not left, and one that fails says so and the next goes
on. A figure is only there where it was measured. Rates are medians of windows, with the least and the most.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np
import torch
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

sys.path.insert(0, str(Path(__file__).parent.parent))
from bench.backbones import build_model
from bench.data import ArrayImages, Split, TrainingImages
from bench.data.ahead import feeders
from bench.device.alike import compute_alike
from bench.device.compiled import compiling, next_step, spent
from bench.device.precision import mixed_precision
from bench.launch.launcher import find_launcher
from bench.method import Stage
from bench.plan.overrides import Overrides
from bench.plan.target import read_plan
from bench.protocol import COMPILED, NOT_COMPILED, Protocol, Recipe
from bench.records.store import Store
from bench.registry import Registry
from bench.spec import RunSpec
from bench.training.fit import Progress, StageLoss, fit, gradients, move, set_modes, trained
from bench.training.optimizer import build_optimizer
from bench.training.trackers import Observer
from bench.training.trial import run_trial
from benchmarks.device_figures import Figure, Machine, as_json, environment, markdown

NEEDS_GPU = "needs a GPU"
METHODS = ("ce", "gta")
CLASSES = 100


Found = Iterator[Figure]


def matrices(machine: Machine) -> Found:
    """The rate at which this device multiplies matrices, of which all else is a share."""
    side, kind = (8192, torch.bfloat16) if machine.gpu else (512, torch.float32)
    left, right = (torch.randn(side, side, device=machine.device, dtype=kind) for _ in range(2))
    rates = machine.rate(lambda: left @ right, 2 * side**3 / 1e12)
    yield Figure("matrices", "matrices", rates[0], f"TFLOP/s, {side} a side, {str(kind)[6:]}", *rates[1:])


def steps(machine: Machine) -> Found:
    """Training steps on a batch that lies on the device, eager and compiled, as a share of the rate of matrices."""
    for mode in (NOT_COMPILED, COMPILED):
        for method in METHODS:
            if machine.left < (60 if machine.gpu else 5):
                machine.without["steps"] = "not all: no time was left"
                return
            what = f"{method} {'eager' if mode == NOT_COMPILED else 'compiled'}"
            step = stepper(machine, method)
            with compiling(mode):
                before = spent()
                flops = FlopCounterMode(display=False)
                with flops if mode == NOT_COMPILED else nullcontext():
                    step()
                rates = machine.rate(step, machine.batch)
                taken = spent().since(before)
            yield Figure("steps", what, rates[0], "images/s", *rates[1:])
            if mode == NOT_COMPILED:
                yield Figure("steps", f"{method} work", flops.get_total_flops() / machine.batch / 1e9, "GFLOP an image")
            else:
                yield Figure("steps", f"{what}: compiling", taken.seconds, f"s, {taken.graphs} graphs")
            work, most = machine.value(f"{method} work"), machine.value("matrices")
            if work and most:
                yield Figure("steps", f"{what}: share of matrices", rates[0] * work / 1e3 / most)
    if machine.gpu:
        yield Figure("steps", "memory", torch.cuda.max_memory_allocated() / 1e9, "GB at most")


def loop(machine: Machine) -> Found:
    """The whole loop with its feed and rand_m9, beside the same steps on a batch that lies on the device."""
    count, warm = (6, 2) if machine.small else (36, 8)
    data, stamps = photographs(machine, "rand_m9", count), list[float]()
    stage = stage_of(machine, "ce", count, data)

    class Stamps:
        def begin(self, *_: object) -> int:
            return 0

        def step(self, stage: Stage, number: int, *_: object) -> None:
            if number in (warm, count):
                machine.wait()
                stamps.append(time.perf_counter())

    fit(stage, data, start=0, keeper=Stamps())
    rate = (count - warm) * machine.batch / (stamps[1] - stamps[0])
    yield Figure("loop", "whole loop, rand_m9", rate, f"images/s, {feeders(machine.device)} threads feed it")
    if alone := machine.value("ce eager"):
        yield Figure("loop", "whole loop: share of compute alone", rate / alone, "of ce eager (goal 0.95)")


def synchronisations(machine: Machine) -> Found:
    """Where the loop waits for the device, in four steps between two points of the curve."""
    if not machine.gpu:
        machine.without["synchronisations"] = NEEDS_GPU
        return
    data = photographs(machine, "rand_m9", 4)
    stage = stage_of(machine, "ce", 4, data)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        torch.cuda.set_sync_debug_mode("warn")
        try:
            fit(stage, data, start=0)
        finally:
            torch.cuda.set_sync_debug_mode("default")
    places = Counter(
        f"{Path(each.filename).name}:{each.lineno}" for each in caught if "synchroniz" in str(each.message)
    )
    yield Figure("synchronisations", "in 4 steps", float(sum(places.values())))
    for place, times in places.most_common():
        yield Figure("synchronisations", place, float(times))


def losses(machine: Machine) -> Found:
    """The losses of twenty steps of a micro ViT: on the CPU twice, and compiled; on the device, beside the CPU's."""
    cpu = torch.device("cpu")
    for method in METHODS:
        plain = losses_of(method, cpu)
        yield Figure("losses", f"{method} on the CPU twice", same(plain, losses_of(method, cpu)))
        if machine.left > 60 or machine.small:
            differs = furthest(plain, losses_of(method, cpu, COMPILED))
            yield Figure("losses", f"{method} on the CPU, compiled beside eager", differs, "largest difference")
        if machine.gpu:
            here = losses_of(method, machine.device)
            yield Figure("losses", f"{method} here beside the CPU", furthest(plain, here), "largest difference, fp32")
            yield Figure("losses", f"{method} here twice", same(here, losses_of(method, machine.device)))
            compiled = losses_of(method, machine.device, COMPILED)
            differs = furthest(here, compiled)
            yield Figure("losses", f"{method} here, compiled beside eager", differs, "largest difference, fp32")
            again = same(compiled, losses_of(method, machine.device, COMPILED))
            yield Figure("losses", f"{method} here, compiled twice", again)


def memory(machine: Machine) -> Found:
    """A batch that does not fit: the parts in which a run goes on, of a loss that may be cut and of one that may not.

    Memory is capped for that, and the cap is taken away again.
    """
    if not machine.gpu:
        machine.without["memory"] = NEEDS_GPU
        return
    whole = torch.cuda.get_device_properties(machine.device).total_memory
    torch.cuda.empty_cache()
    torch.cuda.set_per_process_memory_fraction(min(1.0, 24e9 / whole))
    try:
        for method in ("ce", "scl"):
            settings = ("steps=2", "warmup=0", "batch_size=768", "augmentation=none", "evaluations=1", "image_size=224")
            spec = run_of(method, *settings, backbone="timm:vit_small_patch16_224@none")
            record = run_trial(spec, Registry(), machine.device).record
            yield Figure("memory", f"{method}, 768 images in 24 GB", float(record.parts or 1), "parts")
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)


def workers(machine: Machine) -> Found:
    """The same small runs by 1, 4 and 8 processes that share the device."""
    runs, counts = (2, (1, 2)) if machine.small else (8, (1, 4, 8))
    options = {option.key for option in find_launcher("local", Registry()).options}
    many = "--runs-per-gpu" if machine.gpu and "runs_per_gpu" in options else "--jobs"
    for count in counts:
        if machine.left < 30:
            machine.without["workers"] = "not all: no time was left"
            return
        with tempfile.TemporaryDirectory() as folder:
            small = ("--set", "steps=4", "--set", "warmup=0", "--set", "evaluations=1") if machine.small else ()
            words = ("demo", "--methods", "ce,gta", "--rates", "15", "--seeds", str(runs // 2), "--results", folder)
            started = time.perf_counter()
            bench(machine, "run", *words, many, str(count), *small)
            taken = time.perf_counter() - started
            done = len(Store(folder).finished())
        yield Figure("workers", f"{done} small runs by {count}", taken, f"s, with {many}")


def killed(machine: Machine) -> Found:
    """A run that is killed, and goes on from its checkpoint: whether it ends with the bits of one that was not."""
    spec = killed_run()
    whole = run_trial(spec, Registry(), machine.device).predictions
    with tempfile.TemporaryDirectory() as folder:
        words = (__file__, "--device", str(machine.device), "--die-in", folder)
        code = subprocess.run((sys.executable, *words), env=environment(), timeout=max(30.0, machine.left)).returncode
        trained = run_trial(spec, Registry(), machine.device, Path(folder))
    if code >= 0 or trained.record.taken_up != 1:
        raise RuntimeError(f"the run was not killed (exit code {code}), or began anew")
    alike = all(np.array_equal(array, trained.predictions[name]) for name, array in whole.items())
    yield Figure("killed", "taken up after SIGKILL", "equal bits" if alike else "other bits")


def photographs_of_a_folder(machine: Machine) -> Found:
    """GTA beside fine-tuning on a folder of images, from given weights: as many seeds as the minutes carry."""
    if not (machine.images and machine.weights):
        machine.without["photographs"] = "needs --images FOLDER and --weights FILE"
        return
    with tempfile.TemporaryDirectory() as folder:
        steps = 4 if machine.small else 300
        backbone = f"{machine.backbone.partition('@')[0]}@{Path(machine.weights).resolve()}"
        document = {
            "title": "GTA beside fine-tuning",
            "methods": {"Fine-tune": "ce", "GTA": "gta"},
            "backbones": [backbone],
            "datasets": [f"folder:{Path(machine.images).resolve()}"],
            "rates": [100],
            "seeds": 1 if machine.small else 5,
            "protocol": {"steps": steps, "warmup": steps // 10, "lr": 1e-4, "batch_size": 64},
        }
        path = Path(folder) / "photographs.yaml"
        path.write_text(json.dumps(document))  # JSON is YAML
        results = Path(folder) / "results"
        try:
            bench(machine, "run", str(path), "--results", str(results))
        except subprocess.TimeoutExpired:
            machine.without["photographs"] = "not all: no time was left"
        scores: dict[str, list[float]] = {}
        for record, _ in Store(results).records(run.folder for run in Store(results).finished().values()):
            score = record.curve[-1].test[record.metric.name]
            scores.setdefault(record.run.method.name, []).append(float(score or 0.0))
        for method, each in scores.items():
            yield Figure("photographs", method, mean(each), f"% top-1, {len(each)} seeds", min(each), max(each))


PARTS: tuple[tuple[str, float, Callable[[Machine], Found]], ...] = (
    ("matrices", 10, matrices),
    ("losses", 60, losses),
    ("steps", 130, steps),
    ("loop", 40, loop),
    ("synchronisations", 15, synchronisations),
    ("memory", 40, memory),
    ("killed", 40, killed),
    ("workers", 90, workers),
    ("photographs", 40, photographs_of_a_folder),
)
"""The name of each part, seconds without which it is not begun, and what measures it."""


def measure(machine: Machine) -> None:
    """Go through all parts."""
    for name, budget, part in PARTS:
        started = time.monotonic()
        if machine.left < (5 if machine.small else budget):
            machine.without[name] = "left out: no time was left"
            continue
        print(f"{name} ({machine.left:.0f} s left)", file=sys.stderr, flush=True)
        try:
            for figure in part(machine):
                machine.figures.append(figure)
        except Exception as error:  # the next part has figures of its own
            machine.without[name] = f"failed: {type(error).__name__}: {str(error)[:300]}"
            traceback.print_exc()
        if machine.gpu:
            torch.cuda.empty_cache()
        machine.seconds[name] = time.monotonic() - started


def stage_of(machine: Machine, method: str, count: int, data: TrainingImages | None = None) -> Stage:
    """The first stage of a method on the backbone, of so many steps."""
    registry = Registry()
    torch.manual_seed(0)
    model = build_model(registry.backbone(machine.backbone), CLASSES, machine.size)
    recipe = Recipe(steps=count, lr=1e-4).resolved(machine.batch, machine.batch)
    stages: Any = registry.load_method(registry.method(method))()
    stage: Stage = next(iter(stages.stages(model, recipe, data or photographs(machine, "none", count))))
    return stage


def photographs(machine: Machine, augmentation: str, count: int) -> TrainingImages:
    """Images of soft noise that lie in memory, a third larger than they are cropped to."""
    state, number = np.random.RandomState(0), 2 * machine.batch
    coarse = torch.from_numpy(state.randint(0, 256, (number, 3, 16, 20)).astype(np.float32))
    sides = round(machine.size * 8 / 7), round(machine.size * 10 / 7)
    pixels = torch.cat(
        [F.interpolate(some, sides, mode="bicubic").clamp(0, 255).byte() for some in torch.split(coarse, 256)]
    )
    split = Split(ArrayImages(pixels.permute(0, 2, 3, 1).contiguous().numpy()), np.arange(number) % CLASSES)
    protocol = Protocol(Recipe(steps=count), batch_size=machine.batch, augmentation=augmentation)
    return TrainingImages(split, np.arange(number), CLASSES, protocol, machine.size, 0, machine.device)


def stepper(machine: Machine, method: str) -> Callable[[], Any]:
    """A step of a method on one batch, which lies on the device."""
    data = photographs(machine, "none", 10)
    stage, batch = stage_of(machine, method, 10, data), data.batch(0)
    move(stage, machine.device)
    set_modes(stage)
    optimizer = build_optimizer(stage.model, list(trained(stage)), stage.recipe, None, stage.recipes)
    loss = StageLoss(stage)

    def step() -> None:
        next_step()
        optimizer.zero_grad(set_to_none=True)
        gradients(loss, batch, precision=mixed_precision(data.protocol.precision, machine.device))
        optimizer.step()

    return step


def losses_of(method: str, device: torch.device, mode: str = NOT_COMPILED) -> list[dict[str, float]]:
    """The terms of the loss at each of twenty steps in single precision."""
    small = Machine(device, True, 0.0)
    data, terms = photographs(small, "none", 20), list[dict[str, float]]()
    single = Protocol(data.protocol.recipe, batch_size=small.batch, augmentation="none", precision="fp32", compile=mode)
    data = TrainingImages(data.split, data.indices, CLASSES, single, small.size, 0, device)

    def at_stop(progress: Progress) -> None:
        terms.append(progress.terms)

    fit(stage_of(small, method, 20, data), data, start=0, stops=lambda _: True, at_stop=at_stop)
    return terms


def furthest(one: list[dict[str, float]], two: list[dict[str, float]]) -> float:
    """The largest difference of a term at a step."""
    return max(abs(terms[name] - others[name]) for terms, others in zip(one, two, strict=True) for name in terms)


def same(one: list[dict[str, float]], two: list[dict[str, float]]) -> str:
    return "equal bits" if one == two else "other bits"


def run_of(method: str, *settings: str, backbone: str = "micro_vit") -> RunSpec:
    """A run of the demo."""
    overrides = Overrides(methods=method, rates="15", seeds="1", backbones=backbone, settings=settings)
    (spec,) = read_plan("demo", Registry(), overrides).unique.values()
    return spec


def killed_run() -> RunSpec:
    return run_of("gta", "steps=8", "warmup=2", "evaluations=2", "batch_size=8")


def die_in(folder: str, device: torch.device) -> None:
    """Train the run that is to be killed, and have it killed behind its fifth step."""

    class Killer(Observer):
        def step(self, step: int, of: int, *_: object, **__: object) -> None:
            if step == 6:
                os.kill(os.getpid(), 9)

    run_trial(killed_run(), Registry(), device, Path(folder), checkpoint_every=0.0, observer=Killer())


def bench(machine: Machine, *words: str) -> None:
    """Run ``bench`` in a process of its own, for no longer than there is time. Raises what subprocess raises."""
    devices = {} if machine.gpu else {"CUDA_VISIBLE_DEVICES": ""}
    command = (sys.executable, "-m", "bench", *words)
    done = subprocess.run(
        command, env={**environment(), **devices}, timeout=max(10.0, machine.left), capture_output=True, text=True
    )
    if done.returncode:
        raise RuntimeError(f"{' '.join(words[:2])} ended with {done.returncode}: {done.stderr.strip()[-300:]}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda", choices=("cuda", "cpu"))
    parser.add_argument("--small", action="store_true", help="the micro ViT and a few steps: to try the script")
    parser.add_argument("--minutes", type=float, default=8.0, help="after which no part is begun (default: 8)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="where the figures are written, too")
    parser.add_argument("--images", default="", metavar="FOLDER", help="of photographs, as a dataset folder:FOLDER")
    parser.add_argument("--weights", default="", metavar="FILE", help="of the backbone, as safetensors")
    parser.add_argument("--die-in", default="", help=argparse.SUPPRESS)
    options = parser.parse_args()
    device = torch.device(options.device)
    if device.type == "cuda" and not torch.cuda.is_available():
        sys.exit("torch finds no GPU here; --device cpu --small tries the script without one")
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # as workers have it
    compute_alike()
    if options.die_in:
        die_in(options.die_in, device)
        return
    ends = time.monotonic() + 60 * options.minutes
    machine = Machine(device, options.small, ends, options.images, options.weights)
    measure(machine)
    if options.json:
        options.json.write_text(as_json(machine))
    print(markdown(machine), end="")


if __name__ == "__main__":
    main()

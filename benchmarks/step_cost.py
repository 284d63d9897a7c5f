"""What a training step of each method costs, as a ratio to plain fine-tuning, measured side by side in one run.

    python benchmarks/step_cost.py --backbone timm:vit_tiny_patch16_224@none --batch 16 'gta(source_precision=bf16)' bss

Steps of a method and of `ce` take turns, on the same batches; printed is the median of the ratios of their CPU times
with the smallest and the largest, one line a stage. One thread; images are noise.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import numpy as np
import torch

from bench.backbones import build_model
from bench.backbones.build import equip, input_size
from bench.cards.method import beside
from bench.data import ArrayImages, Split, TrainingImages
from bench.entry import MethodEntry, typed_entry
from bench.method import Batch, Method, Stage
from bench.protocol import Protocol, Recipe
from bench.registry import Registry
from bench.training.fit import set_modes, trained
from bench.training.optimizer import build_optimizer

CLASSES = 100


def main() -> None:
    """Measure the methods named on the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("methods", nargs="*", metavar="METHOD", help="all of them by default")
    parser.add_argument("--backbone", default="micro_vit", metavar="NAME")
    parser.add_argument("--batch", type=int, default=32, metavar="N")
    parser.add_argument("--rounds", type=int, default=9, metavar="N", help="pairs of steps (default: 9)")
    options = parser.parse_args()
    torch.set_num_threads(1)
    registry = Registry()
    print(f"{options.backbone}, batch {options.batch}, {options.rounds} pairs of steps, torch {torch.__version__}")
    print("method / stage                      median   least    most    of ce's CPU time")
    for name in options.methods or registry.method_files:
        entry = typed_entry(name, registry)
        lacking = entry.needs - registry.backbone(options.backbone).offers
        if lacking:
            print(f"{name:34}  left out: it needs {', '.join(sorted(lacking))}")
            continue
        for number, ratios in enumerate(measure(entry, options.backbone, options.batch, options.rounds), start=1):
            told = f"{statistics.median(ratios):7.3f} {min(ratios):7.3f} {max(ratios):7.3f}"
            print(f"{f'{name} / {number}':34}  {told}", flush=True)


def measure(entry: MethodEntry, backbone: str, batch_size: int, rounds: int) -> list[list[float]]:
    """The ratios of each stage of a method with its policies, pair by pair."""
    registry = Registry()
    method, source = registry.load_method(entry.card)(**dict(entry.hyper)), registry.backbone(backbone)
    for card, hyper in entry.policies:
        method = registry.load_method(card)(**dict(hyper), inner=method)
    data = noise(backbone, batch_size)
    recipe = data.protocol.recipe.resolved(len(data), batch_size)
    base, tuned = build_model(source, CLASSES), build_model(source, CLASSES)
    equip(tuned, source, beside([entry.card], source))
    plain = stepper(next(Method().stages(base, recipe, data)), data)
    found = []
    for stage in method.stages(tuned, recipe, data):
        step = stepper(stage, data)
        pairs = []
        for number in range(rounds + 2):
            batch, views = data.batch(number), data.batch(number, stage.views)
            runs = [(plain, batch), (step, views)]
            seconds = {run[0]: timed(*run) for run in (runs if number % 2 else reversed(runs))}
            pairs.append(seconds[step] / seconds[plain])
        found.append(pairs[2:])  # the first two warm up
    return found


def stepper(stage: Stage, data: TrainingImages) -> Callable[[Batch], None]:
    """One step of a stage as a function of its batch."""
    optimizer = build_optimizer(stage.model, trained(stage), stage.recipe, None, stage.recipes)

    def step(batch: Batch) -> None:
        set_modes(stage)
        terms = stage.loss(stage.model, batch)
        optimizer.zero_grad(set_to_none=True)
        torch.stack(list(terms.values())).sum().backward()  # type: ignore[no-untyped-call]
        optimizer.step()

    return step


def timed(step: Callable[[Batch], None], batch: Batch) -> float:
    """CPU seconds of one call."""
    started = time.process_time()
    step(batch)
    return time.process_time() - started


def noise(backbone: str, batch_size: int) -> TrainingImages:
    """Eight batches of noise of the size and channels that the backbone takes."""
    model = build_model(Registry().backbone(backbone), CLASSES)
    size, channels, count = input_size(model), model.mean.shape[0], 8 * batch_size
    state = np.random.RandomState(0)
    pixels = state.randint(0, 256, (count, size, size, channels)).astype(np.uint8)
    labels = state.randint(0, CLASSES // 10, count).astype(np.int64)
    protocol = Protocol(recipe=Recipe(steps=100), batch_size=batch_size, augmentation="none")
    split = Split(ArrayImages(pixels), labels)
    return TrainingImages(split, np.arange(count), CLASSES, protocol, size, 0, torch.device("cpu"))


if __name__ == "__main__":
    main()

"""The training loop beside a bare one over timm's public pieces, and beside timm's own training script.

    python benchmarks/against_timm.py
    python benchmarks/against_timm.py --cases vit_tiny --rounds 7
    python benchmarks/against_timm.py --script pytorch-image-models/train.py

A bare loop is what somebody writes who wants no suite: timm's model, optimiser groups and schedule, torchvision's
transforms, a loop of a dozen lines. Both train the same architecture on the same images in batches of the same size,
with the same augmentation, on one thread, and take turns; printed are images a CPU-second of the suite by those of the
bare loop: the median of the rounds, the least and the most, and the same by each side's quickest round, which other
work on the machine disturbs least. Models are built outside of what is timed; the suite is
deterministic as its workers are, and the bare loop is not. *As it is*, the suite computes its last block for the class
token alone, where the bare loop has every token; *every token* is the suite without that.

With ``--script`` a whole command of timm's train.py is put beside ``bench run`` on a folder of images: both are started
for few and for more steps, and what counts is the difference, so that start, decoding and scoring are on neither side.
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

import numpy as np
import numpy.typing as npt
import timm
import torch
from PIL import Image
from timm.models import VisionTransformer
from timm.optim import param_groups_weight_decay
from timm.scheduler import CosineLRScheduler
from torch import Tensor, nn
from torchvision.transforms import v2

from bench.backbones import build_model
from bench.backbones.model import Family
from bench.backbones.vit import ViT
from bench.data import ArrayImages, Split, TrainingImages
from bench.device.alike import compute_alike
from bench.method import Method
from bench.protocol import Protocol, Recipe
from bench.registry import Registry
from bench.training.fit import fit

CLASSES = 10
RATE, DECAY = 1e-3, 0.05
AS_IT_IS, EVERY_TOKEN, BARE = "as it is", "every token", "bare"

Pixels = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Case:
    """What both loops train.

    Attributes:
        backbone: its name in the suite.
        bare: builds timm's model of the same architecture, with a head.
        stored: height and width of the images in memory.
        augmentation: the protocol's.
        view: the bare loop's augmentation: from images, uint8 (B, H, W, C), to what its model is given.
    """

    backbone: str
    bare: Callable[[], nn.Module]
    batch: int
    steps: int
    stored: tuple[int, int]
    augmentation: str
    view: Callable[[Pixels], Tensor]


def micro() -> nn.Module:
    """The architecture of ``micro_vit``."""
    model: nn.Module = VisionTransformer(
        img_size=12, patch_size=2, in_chans=1, embed_dim=48, depth=4, num_heads=3, mlp_ratio=2, num_classes=CLASSES
    )
    return model


def vit_tiny() -> nn.Module:
    """timm's, with random weights."""
    model: nn.Module = timm.create_model("vit_tiny_patch16_224", num_classes=CLASSES)
    return model


def shifted(images: Pixels) -> Tensor:
    """Each image moved by −1, 0 or 1 pixel along each side, all of a batch at once; normalised."""
    count, height, width, _ = images.shape
    padded = nn.functional.pad(torch.from_numpy(images)[..., 0], (1, 1, 1, 1))
    rows = torch.randint(0, 3, (count, 1, 1)) + torch.arange(height)[:, None]
    columns = torch.randint(0, 3, (count, 1, 1)) + torch.arange(width)
    moved = padded[torch.arange(count)[:, None, None], rows, columns]
    return (moved[:, None].float() / 255 - 0.5) / 0.5


CROP_FLIP = v2.Compose(
    [
        v2.RandomResizedCrop(224, interpolation=v2.InterpolationMode.BICUBIC, antialias=True),
        v2.RandomHorizontalFlip(),
        v2.ToDtype(torch.float32, scale=True),
        v2.Normalize((0.5,) * 3, (0.5,) * 3),
    ]
)


def cropped(images: Pixels) -> Tensor:
    """A random crop of each, half of them mirrored; normalised."""
    return torch.stack([CROP_FLIP(torch.from_numpy(image).permute(2, 0, 1)) for image in images])


CASES = {
    "micro": Case("micro_vit", micro, 32, 60, (12, 12), "shift", shifted),
    "vit_tiny": Case(
        "timm:vit_tiny_patch16_224@none",
        vit_tiny,
        16,
        2,
        (256, 320),
        "crop_flip",
        cropped,
    ),
}


def main() -> None:
    """Measure what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", default=",".join(CASES), metavar="NAMES", help="(default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=9, metavar="N", help="(default: %(default)s)")
    parser.add_argument("--script", type=Path, metavar="FILE", help="timm's train.py, as its repository has it")
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.script:
        print(f"against {options.script.name} of timm {timm.__version__}, torch {torch.__version__}")
        report("folder of images", *by_commands(options.script, options.rounds))
        return
    print(f"images a CPU-second by those of a bare loop, timm {timm.__version__}, torch {torch.__version__}")
    for name in options.cases.split(","):
        seconds = by_loops(CASES[name], options.rounds)
        for what in (AS_IT_IS, EVERY_TOKEN):
            report(f"{name}, {what}", seconds[BARE], seconds[what])


def report(name: str, bare: Sequence[float], suite: Sequence[float]) -> None:
    """A line of a measurement, from the seconds of each round of both sides."""
    ratios = [theirs / ours for theirs, ours in zip(bare, suite, strict=True)]
    told = f"{statistics.median(ratios):6.3f} [{min(ratios):.3f} .. {max(ratios):.3f}]"
    print(f"{name:30} {told}  {len(ratios)} rounds, quickest {min(bare) / min(suite):.3f}", flush=True)


def by_loops(case: Case, rounds: int) -> dict[str, list[float]]:
    """Seconds of each round of the suite's loop, as it is and without what it saves, and of the bare one."""
    state = np.random.RandomState(0)
    pixels = state.randint(0, 256, (8 * case.batch, *case.stored, 1 if case.bare is micro else 3)).astype(np.uint8)
    labels = state.randint(0, CLASSES, len(pixels)).astype(np.int64)
    seconds: dict[str, list[float]] = {AS_IT_IS: [], EVERY_TOKEN: [], BARE: []}
    for number in range(rounds + 1):
        loops = {
            AS_IT_IS: suite_loop(case, pixels, labels),
            EVERY_TOKEN: every_token(suite_loop(case, pixels, labels)),
            BARE: bare_loop(case, pixels, labels),
        }
        names = list(loops)
        for name in names[number % 3 :] + names[: number % 3]:
            started = time.process_time()
            loops[name]()
            if number:  # the first warms up
                seconds[name].append(time.process_time() - started)
    return seconds


def every_token(train: Callable[[], None]) -> Callable[[], None]:
    """A loop whose last block is computed for all tokens, as the bare one's is."""

    def plainly() -> None:
        with mock.patch.object(ViT, "pooling", Family.pooling):
            train()

    return plainly


def suite_loop(case: Case, pixels: Pixels, labels: npt.NDArray[np.int64]) -> Callable[[], None]:
    """The suite's own loop over so many steps."""
    model = build_model(Registry().backbone(case.backbone), CLASSES)
    recipe = Recipe(steps=case.steps, lr=RATE, weight_decay=DECAY).resolved(len(pixels), case.batch)
    protocol = Protocol(recipe=recipe, batch_size=case.batch, augmentation=case.augmentation, precision="fp32")
    size = 12 if case.bare is micro else 224
    split, cpu = Split(ArrayImages(pixels), labels), torch.device("cpu")
    data = TrainingImages(split, np.arange(len(pixels)), CLASSES, protocol, size, 0, cpu)
    (stage,) = Method().stages(model, recipe, data)

    def train() -> None:
        with deterministic():
            fit(stage, data, start=0)

    return train


def bare_loop(case: Case, pixels: Pixels, labels: npt.NDArray[np.int64]) -> Callable[[], None]:
    """What one writes by hand."""
    model = case.bare().train()
    targets = torch.from_numpy(labels)

    def train() -> None:
        groups = param_groups_weight_decay(model, DECAY)
        optimizer = torch.optim.AdamW(groups, lr=RATE, fused=True)
        schedule = CosineLRScheduler(optimizer, t_initial=case.steps, t_in_epochs=False)
        for step, chosen in zip(range(case.steps), batches(len(pixels), case.batch), strict=False):
            schedule.step_update(step)
            loss = nn.functional.cross_entropy(model(case.view(pixels[chosen])), targets[chosen])
            optimizer.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()

    return train


def batches(count: int, size: int) -> Iterator[npt.NDArray[np.int64]]:
    """Shuffled passes over so many images, without end."""
    while True:
        order = np.random.permutation(count)
        yield from (order[start : start + size] for start in range(0, count - size + 1, size))


@contextmanager
def deterministic() -> Iterator[None]:
    """torch as the suite's workers have it."""
    compute_alike()
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(False)
        torch.utils.deterministic.fill_uninitialized_memory = True  # type: ignore[attr-defined]


IMAGES, SIDE, BATCH, MODEL = 160, 64, 16, "vit_tiny_patch16_224"
"""Of the folder, and what is trained on it by commands, at 64 pixels."""

PASSES = (1, 4)
"""Passes over the images of the short and of the long training."""

EXPERIMENT = """
methods: [ce]
backbones: ["timm:{model}@none"]
datasets: ["folder:{images}"]
rates: [100]
seeds: 1
protocol:
  {{epochs: {passes}, batch_size: {batch}, image_size: {side}, lr: 1e-3, validation: 0, evaluations: 1, precision: fp32,
   augmentation: crop_flip}}
"""


def by_commands(script: Path, rounds: int) -> tuple[list[float], list[float]]:
    """Seconds of each round of timm's script and of ``bench run``, start and end on neither side."""
    ours, theirs = list[float](), list[float]()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        draw(folder / "images")
        for number in range(rounds):
            sides: list[Callable[[int], list[str]]] = [
                lambda passes, number=number: suite_command(folder, passes, number),  # type: ignore[misc]
                lambda passes: script_command(script, folder, passes),
            ]
            for side in (0, 1) if number % 2 else (1, 0):
                short, long = (command_seconds(sides[side](passes), folder) for passes in PASSES)
                (ours, theirs)[side].append(long - short)
    return theirs, ours


def draw(folder: Path) -> None:
    """A folder of PNG images of noise, in classes; its test images are few."""
    state = np.random.RandomState(0)
    for split, count in (("train", IMAGES), ("test", CLASSES), ("validation", CLASSES)):
        for number in range(count):
            pixels = state.randint(0, 256, (SIDE, SIDE, 3)).astype(np.uint8)
            path = folder / split / f"class{number % CLASSES}" / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(path)


def suite_command(folder: Path, passes: int, number: int) -> list[str]:
    """``bench run`` for so many passes, into results of its own, so that it trains each time."""
    text = EXPERIMENT.format(model=MODEL, images=folder / "images", passes=passes, batch=BATCH, side=SIDE)
    (folder / f"passes{passes}.yaml").write_text(text, encoding="utf-8")
    results = str(folder / f"results-{passes}-{number}")
    start = [sys.executable, "-m", "bench", "run", str(folder / f"passes{passes}.yaml")]
    return [*start, "--jobs", "1", "--results", results]


def script_command(script: Path, folder: Path, passes: int) -> list[str]:
    """timm's training script with the same model, batch and augmentation on the CPU, scored once at the end."""
    options = {
        "data-dir": folder / "images",
        "model": MODEL,
        "num-classes": CLASSES,
        "epochs": passes,
        "opt": "adamw",
        "lr": RATE,
        "weight-decay": DECAY,
        "warmup-epochs": 0,
        "cooldown-epochs": 0,
        "device": "cpu",
        "workers": 0,
        "batch-size": BATCH,
        "img-size": SIDE,
        "model-kwargs": f"img_size={SIDE}",
        "color-jitter": 0,
        "smoothing": 0,
        "val-interval": 1000,
        "output": folder / "script",
        "experiment": f"passes{passes}",
        "checkpoint-hist": 1,
    }
    typed = [word for name, value in options.items() for word in (f"--{name}", str(value))]
    return [sys.executable, str(script.resolve()), *typed, "--no-prefetcher"]


def command_seconds(command: Sequence[str], folder: Path) -> float:
    """CPU seconds of a command and its children, on one thread. Raises ``RuntimeError`` where it fails."""
    started = resource.getrusage(resource.RUSAGE_CHILDREN)
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}: {(done.stderr or done.stdout)[-2000:]}")
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    return ended.ru_utime + ended.ru_stime - started.ru_utime - started.ru_stime


if __name__ == "__main__":
    main()

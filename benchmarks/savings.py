"""What each saving of the engine is worth: a training step, an evaluation and the feed with it, as a ratio to without.

    python benchmarks/savings.py --backbone timm:vit_tiny_patch16_224@none --batch 16 --rounds 7

Both take turns on the same images, in one process with one thread. Printed is the median of the ratios of their CPU
times, with the smallest and the largest. Without the saving is what the engine computes where it may not have it.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from unittest import mock

import numpy as np
import torch

from bench.backbones import Model, build_model
from bench.backbones.build import input_size
from bench.backbones.model import Family
from bench.backbones.vit import ViT
from bench.data import ArrayImages, Split, TrainingImages
from bench.data.dataset import Indices
from bench.method import Method
from bench.protocol import Protocol, Recipe
from bench.registry import Registry
from bench.training.fit import set_modes, trained
from bench.training.optimizer import build_optimizer

CLASSES = 100
Context = Callable[[], AbstractContextManager[object]]


def main() -> None:
    """Measure each saving on the backbone that is named."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backbone", default="micro_vit", metavar="NAME")
    parser.add_argument("--batch", type=int, default=32, metavar="N")
    parser.add_argument("--rounds", type=int, default=7, metavar="N", help="pairs (default: 7)")
    options = parser.parse_args()
    torch.set_num_threads(1)
    model = build_model(Registry().backbone(options.backbone), CLASSES)
    print(f"{options.backbone}, batch {options.batch}, {options.rounds} pairs, torch {torch.__version__}")
    bf16 = lambda: torch.autocast("cpu", torch.bfloat16)  # noqa: E731
    pairs: dict[str, tuple[Context, Context, Context]] = {
        "class token alone": (nullcontext, nullcontext, all_tokens),
        "explicit attention, bf16": (bf16, nullcontext, fused),
        "bf16 to single precision": (nullcontext, bf16, nullcontext),
    }
    for saving, (around, having, lacking) in pairs.items():
        for name, work in (
            ("step", step_of(model, options.batch)),
            ("evaluation", evaluation_of(model, options.batch)),
        ):
            with around():
                told(f"{saving}: {name}", ratios(work, having, lacking, options.rounds))
    told("view of images: feed", feeding(options.rounds))


def told(name: str, found: list[float]) -> None:
    """One line of the table."""
    print(f"{name:40}  {statistics.median(found):6.3f} [{min(found):.3f}..{max(found):.3f}]", flush=True)


def ratios(work: Callable[[], None], having: Context, lacking: Context, rounds: int) -> list[float]:
    """CPU time of some work with a saving over that without it, pair by pair; the first pair warms up."""
    found = []
    for number in range(rounds + 1):
        seconds = {}
        for context in (having, lacking) if number % 2 else (lacking, having):
            with context():
                seconds[context] = timed(work)
        found.append(seconds[having] / seconds[lacking])
    return found[1:]


def timed(work: Callable[[], object]) -> float:
    """CPU seconds of one call."""
    started = time.process_time()
    work()
    return time.process_time() - started


@contextmanager
def all_tokens() -> Iterator[None]:
    """Passes compute all tokens of the last block."""
    with mock.patch.object(ViT, "pooling", Family.pooling):
        yield


@contextmanager
def fused() -> Iterator[None]:
    """Passes have torch's kernel of attention, whatever the precision."""
    with mock.patch("bench.backbones.model.explicit_on_cpu", return_value=nullcontext()):
        yield


def step_of(model: Model, batch_size: int) -> Callable[[], None]:
    """A step of plain fine-tuning, without the feed."""
    recipe = Recipe(steps=100, lr=1e-5).resolved(800, batch_size)
    data = noise(model, batch_size)
    stage = next(Method().stages(model, recipe, data))
    optimizer, batch = build_optimizer(model, trained(stage), recipe, None, {}), data.batch(0)

    def step() -> None:
        set_modes(stage)
        optimizer.zero_grad(set_to_none=True)
        torch.stack(list(stage.loss(model, batch).values())).sum().backward()  # type: ignore[no-untyped-call]
        optimizer.step()

    return step


def evaluation_of(model: Model, batch_size: int) -> Callable[[], None]:
    """The logits of a batch as a run is scored."""
    images = noise(model, batch_size).batch(0).images

    @torch.inference_mode()
    def evaluate() -> None:
        model.eval()(images)

    return evaluate


def noise(model: Model, batch_size: int) -> TrainingImages:
    """One batch of noise of the size and channels that a backbone takes."""
    size, channels, state = input_size(model), model.mean.shape[0], np.random.RandomState(0)
    pixels = ArrayImages(state.randint(0, 256, (batch_size, size, size, channels)).astype(np.uint8))
    protocol = Protocol(recipe=Recipe(steps=100), batch_size=batch_size, augmentation="none")
    split = Split(pixels, np.arange(batch_size) % CLASSES)
    return TrainingImages(split, np.arange(batch_size), CLASSES, protocol, size, 0, torch.device("cpu"))


class Copied(ArrayImages):
    """Images as they were once taken: each channel in one piece of memory."""

    def take(self, indices: Indices) -> torch.Tensor:
        """uint8 (B, C, H, W)."""
        return super().take(indices).contiguous()


def feeding(rounds: int) -> list[float]:
    """Images of 256 × 320 pixels that are cropped and flipped, taken as a view over taken as a copy."""
    pixels = np.random.RandomState(0).randint(0, 256, (64, 256, 320, 3)).astype(np.uint8)
    protocol, labels = Protocol(batch_size=64, augmentation="crop_flip"), np.zeros(64, np.int64)
    views, copies = (
        TrainingImages(Split(kind(pixels), labels), np.arange(64), 2, protocol, 224, 0, torch.device("cpu"))
        for kind in (ArrayImages, Copied)
    )
    pairs = [(timed(lambda: views.prepared(0)), timed(lambda: copies.prepared(0))) for _ in range(rounds + 1)]
    return [view / copy for view, copy in pairs[1:]]


if __name__ == "__main__":
    main()

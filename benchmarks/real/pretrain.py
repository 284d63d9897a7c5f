"""Pre-train the small ViT of the real grid from scratch, with the suite's own loop, and write its weights.

    python benchmarks/real/pretrain.py folder:PATH      PATH/train/CLASS/*.JPEG, PATH/test/CLASS/*.JPEG

The recipe is below. The images are read once and kept in memory; validation images are looked at and never chosen by.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file

from bench.backbones import build_model
from bench.backbones.build import input_size
from bench.cards.backbone import file_sha256
from bench.data import ArrayImages, Split, TrainingImages, read_data
from bench.method import Method, Stage
from bench.protocol import Protocol, Recipe
from bench.registry import Registry
from bench.training.answers import predict
from bench.training.fit import Progress, fit

HERE = Path(__file__).parent
PROTOCOL = Protocol(
    recipe=Recipe(epochs=20, lr=2e-3, weight_decay=0.05, warmup=300, clip_norm=1.0),
    batch_size=128,
    augmentation="crop_flip",
    label_smoothing=0.1,
    precision="bf16",
)


def main(dataset: str) -> None:
    """Train, tell the accuracy on the held-out images, write the weights."""
    torch.set_num_threads(1)
    registry = Registry([HERE])
    read = read_data(registry.dataset(dataset))
    train, test = in_memory(read.train), in_memory(read.test)
    torch.manual_seed(0)
    model = build_model(registry.backbone("vit64@none"), len(read.classes))
    for block in model.backbone.blocks:  # type: ignore[union-attr]
        block.attn.fused_attn = False  # twice as fast as fused attention in bf16 on a CPU
    data = TrainingImages(
        train, np.arange(len(train)), len(read.classes), PROTOCOL, input_size(model), 0, torch.device("cpu")
    )
    recipe = PROTOCOL.recipe.resolved(len(train), PROTOCOL.batch_size)
    every, started = recipe.steps // 10, time.process_time()

    def report(progress: Progress) -> None:
        right = predict(model, test, data).right
        print(f"step {progress.step}: loss {progress.terms['ce']:.3f}, held out {right.mean():.2%}", flush=True)

    stage = Stage(model, Method().loss, recipe)
    fit(stage, data, start=0, stops=lambda step: step % every == 0, at_stop=report)
    target = HERE / "backbones" / "vit64.safetensors"
    weights = {**model.backbone.state_dict(), **model.head.state_dict(prefix="head.")}
    save_file({name: value.contiguous() for name, value in weights.items()}, target)
    print(f"{target.name}: sha256 {file_sha256(target)}, {time.process_time() - started:.0f} CPU-seconds")


def in_memory(split: Split) -> Split:
    """A split of images of one size, decoded once."""
    images = split.images.take(np.arange(len(split)))
    pixels = np.stack([image.permute(1, 2, 0).numpy() for image in images])
    return Split(ArrayImages(pixels), split.labels)


if __name__ == "__main__":
    main(sys.argv[1])

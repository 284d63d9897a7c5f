"""Make the weights of a micro backbone anew: ``python benchmarks/pretrain.py [NAME [FILE]]``
(some minutes of one core).

The source of the demo is trained to tell cluttered capital letters apart, with the suite's own training loop. Fragments
show through the letters here and not through the demo's digits: the harder task gave the better source. What
comes out depends on the versions of torch and of FreeType (in Pillow), so the weights that were made once are shipped.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file

from bench.backbones import Model, build_model
from bench.backbones.build import input_size
from bench.cards.backbone import file_sha256
from bench.data import ArrayImages, Split, TrainingImages
from bench.data.clutter import clutter_glyphs, cut_fragments, to_grey
from bench.data.letters import LETTERS, read_bank, render_letters
from bench.method import Batch, Stage, Terms
from bench.protocol import Protocol, Recipe
from bench.registry import Registry
from bench.training.answers import predict
from bench.training.fit import Progress, fit

TRAINING, HELD_OUT, CLUTTERED = 52_000, 4_000, 2
"""Letters rendered to train on and to look at, and how often each of the first is laid among other fragments."""

PROTOCOL = Protocol(
    recipe=Recipe(steps=7500, lr=2e-3, weight_decay=0.05, warmup=100), batch_size=64, augmentation="shift"
)


def main(name: str, target: Path) -> None:
    """Train a backbone from scratch and write it, with its head, to a safetensors file; prints what came out."""
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    started = time.process_time()
    training, held_out = cluttered_letters()
    torch.manual_seed(0)
    card = Registry().backbone(f"{name}@none")
    model = build_model(card, len(LETTERS))
    indices = np.arange(len(training), dtype=np.int64)
    data = TrainingImages(training, indices, len(LETTERS), PROTOCOL, input_size(model), 0, torch.device("cpu"))

    def report(progress: Progress) -> None:
        accuracy = float(predict(model, held_out, data).right.mean())
        print(f"step {progress.step}: loss {progress.terms['ce']:.3f}, held-out letters {accuracy:.1%}", flush=True)

    recipe = PROTOCOL.recipe.resolved(len(data), PROTOCOL.batch_size)
    fit(Stage(model, cross_entropy, recipe), data, start=0, stops=lambda step: step % 1000 == 0, at_stop=report)
    weights = {**model.backbone.state_dict(), **model.head.state_dict(prefix="head.")}
    save_file({key: value.contiguous() for key, value in weights.items()}, target)
    print(f"{target}: sha256 {file_sha256(target)}, {time.process_time() - started:.0f} CPU-seconds")


def cluttered_letters() -> tuple[Split, Split]:
    """Letters among fragments, to train on and held out: images (N, 12, 12, 1) and labels 0..25."""
    state, clutter = np.random.RandomState(0), np.random.RandomState(1)
    count = TRAINING + HELD_OUT
    labels = state.permutation(np.arange(count, dtype=np.int64) % len(LETTERS))
    glyphs, fragments = render_letters(labels, state), cut_fragments(read_bank())
    seen = np.tile(np.arange(TRAINING), CLUTTERED)
    splits = []
    for part in (seen, np.arange(TRAINING, count)):
        levels = clutter_glyphs(glyphs[part], fragments, clutter, transparent=True)
        splits.append(Split(ArrayImages(to_grey(levels)[..., None]), labels[part]))
    return splits[0], splits[1]


def cross_entropy(model: Model, batch: Batch) -> Terms:
    """Plain supervised pre-training."""
    return {"ce": batch.cross_entropy(model(batch.images))}


if __name__ == "__main__":
    named, *given = sys.argv[1:] or ["micro_vit"]
    main(named, Path(given[0]) if given else Path(__file__).parent / "backbones" / f"{named}.safetensors")

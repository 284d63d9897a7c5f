"""Records of a small grid, whose labels, logs, messages and class names mean harm, for tests of the page."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import numpy as np

from bench.metrics import Predictions, scores
from bench.plan.target import read_plan
from bench.records.environment import provenance
from bench.records.proof import PREDICTIONS
from bench.records.store import Store
from bench.registry import Registry
from bench.spec import RunSpec

IMAGES, CLASSES, POINTS = 200, 10, 3
MARKUP = "</script><script>window.hacked=1</script><img src=x onerror=window.hacked=1>{{7*7}}${7*7}"
TURNING = "\u202egnp.exe\u2066"
LABEL = f"BSS {MARKUP}"
TITLE = 'Three ways <!-- & "one" page'
TARGET = "mine.yaml"
EXPERIMENT = f"""
title: '{TITLE}'
methods:
  Fine-tune: ce
  '{LABEL}': bss
  GTA: {{gta: {{weight: [0.1, 0.3]}}}}
backbones: [micro_vit]
datasets: [digits]
rates: [15, 100]
seeds: 3
protocol: {{steps: 20, evaluations: 3}}
baseline: Fine-tune
"""
ACCURACY = {"ce": 0.80, "bss": 0.85, "gta": 0.9}
FAILED = ("bss", 100.0, 2)
"""Method, rate and seed of the run that failed."""


def made(folder: Path) -> Store:
    """The experiment in a folder, with records of all its runs in ``results`` beside it."""
    (folder / TARGET).write_text(EXPERIMENT, encoding="utf-8")
    store = Store(folder / "results")
    for spec in read_plan(str(folder / TARGET), Registry()).unique.values():
        if (spec.method.name, spec.rate, spec.seed) == FAILED:
            fail(store, spec)
        else:
            publish(store, spec)
    return store


def publish(store: Store, spec: RunSpec) -> None:
    """A record of a finished run, with predictions whose classes have hostile names."""
    draw = random.Random(spec.id)
    share = ACCURACY[spec.method.name] + draw.uniform(-0.02, 0.02)
    arrays = {**answers(spec.seed, share, "test"), **answers(spec.seed, share, "val")}
    names = [f"class {label} {TURNING}" for label in range(CLASSES - 1)] + [MARKUP]
    curve = []
    for at in range(POINTS):
        point: dict[str, Any] = {
            "step": 5 * (at + 1),
            "learning_rate": 0.001,
            "loss": {"ce": 1 / (at + 1)},
            "seconds": 0.5,
        }
        curve.append({**point, **{split: scored(arrays, split, at) for split in ("val", "test")}})
    usage = {"parts": 1, "seconds": 3.0, "cpu_seconds": 3.0, "memory_bytes": 8 * 10**8}
    entries = {
        **provenance(spec.id, "bench run mine.yaml", "results"),
        "curve": curve,
        "stages": [{"steps": 20, "budget": 20, "batch_size": 32, "trained_weights": 78490}],
        "timing": {"seconds": 3.0, "evaluation_seconds": 0.5},
        "usage": usage,
        "test_images": IMAGES,
        "validation_images": IMAGES,
    }
    with store.draft() as draft:
        np.savez_compressed(draft / PREDICTIONS, class_names=np.array(names), **arrays)
        (draft / "log.txt").write_text(f"step 5\n{MARKUP}\n{TURNING}\n\x1b[31mred\n", encoding="utf-8")
        store.publish(draft, spec, entries)


def fail(store: Store, spec: RunSpec) -> None:
    """A record of a run that failed, with a message that means harm."""
    error = {"class": "oom", "kind": "OutOfMemoryError", "message": f"no memory {MARKUP}", "trace": f"line 1\n{MARKUP}"}
    with store.draft() as draft:
        (draft / "log.txt").write_text("the end\n", encoding="utf-8")
        store.publish_failure(draft, spec, {**provenance(spec.id, "bench run mine.yaml", "results"), "error": error})


def answers(seed: int, share: float, split: str) -> dict[str, Any]:
    """What a run keeps of the images of a split, of which so large a share is right at the last point."""
    labels = np.random.RandomState(0).randint(0, CLASSES, IMAGES)
    state = np.random.RandomState(seed)
    chances = share - 0.05 * np.arange(POINTS)[::-1, None]
    predicted = np.where(state.rand(POINTS, IMAGES) < chances, labels, (labels + 1) % CLASSES)
    steps = state.randint(1, 65536, (2, POINTS, IMAGES)).astype(np.uint16)
    return {
        split: predicted.astype(np.uint16),
        f"{split}_labels": labels.astype(np.uint16),
        f"{split}_confidence": steps[0],
        f"{split}_squares": steps[1],
        f"{split}_log_probability": -state.rand(POINTS, IMAGES).astype(np.float32),
        f"{split}_rank": state.randint(1, CLASSES, (POINTS, IMAGES)).astype(np.uint16),
    }


def scored(arrays: dict[str, Any], split: str, at: int) -> dict[str, float]:
    """The scores of a split at a point."""
    kept = ("confidence", "squares", "log_probability", "rank")
    stored = {name: arrays[f"{split}_{name}"][at] for name in kept}
    return scores(Predictions(arrays[split][at], arrays[f"{split}_labels"], stored))

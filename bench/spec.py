"""What a run is, fully resolved, and its id: a hash of what can change its result and nothing else."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from bench.hyper import Hyper, Value, hyper

ENGINE = 1
"""Raised by hand whenever the engine changes so that the same spec gives another result; part of every run id."""

AXES = ("method", "backbone", "dataset", "rate", "seed")
"""The axes of a grid, which are also what a seed may vary along."""


@dataclass(frozen=True)
class Recipe:
    """How a stage is optimised: the part of a protocol that a stage may vary.

    ``first`` and ``last`` cut a window out of the schedule, in steps: two stages that share one cosine are two
    windows of one recipe (see ``window``); a stage with a schedule of its own is ``share``.
    """

    steps: int = hyper(0, low=0, source="optimiser steps of the whole schedule; 0: from epochs")
    epochs: int = hyper(0, low=0, source="passes over the sampled training images; 0: from steps")
    optimizer: str = hyper("adamw", choices=("adamw", "sgd"), source="our choice")
    lr: float = hyper(1e-3, low=0, source="peak learning rate")
    weight_decay: float = hyper(0.05, low=0, source="decoupled for AdamW; none on biases, norms and embeddings")
    momentum: float = hyper(0.9, low=0, high=1, source="SGD's momentum, AdamW's beta1")
    beta2: float = hyper(0.999, low=0, high=1, source="AdamW's beta2")
    nesterov: bool = hyper(False, source="SGD only")
    schedule: str = hyper("cosine", choices=("cosine", "constant"), source="after the warm-up")
    warmup: int = hyper(0, low=0, source="steps of linear warm-up from 0")
    min_lr: float = hyper(0.0, low=0, source="floor of the cosine")
    clip_norm: float = hyper(0.0, low=0, source="largest gradient norm; 0: no clipping")
    layer_decay: float = hyper(1.0, low=0, high=1, source="learning-rate factor per layer below the head; 1: none")
    first: int = 0
    last: int = -1

    def resolved(self, images: int, batch_size: int) -> Recipe:
        """The recipe with its epochs turned into steps (a last, partial batch counts as a step)."""
        steps = self.steps or self.epochs * math.ceil(images / batch_size)
        return replace(self, steps=steps, epochs=0, last=steps)

    def window(self, start: float, stop: float) -> Recipe:
        """The part of this schedule between two shares of it, 0 ≤ start < stop ≤ 1; the schedule stays whole."""
        span = self.last - self.first
        return replace(self, first=self.first + round(start * span), last=self.first + round(stop * span))

    def share(self, part: float) -> Recipe:
        """A whole schedule of its own (warm-up included) over a share of the steps."""
        steps = round(part * (self.last - self.first))
        return replace(self, steps=steps, first=0, last=steps, warmup=round(part * self.warmup))

    def learning_rate(self, step: int) -> float:
        """The learning rate of a step, counted from the start of the schedule: linear warm-up, then cosine."""
        if step < self.warmup:
            return self.lr * (step + 1) / self.warmup
        if self.schedule == "constant":
            return self.lr
        done = (step - self.warmup) / max(1, self.steps - self.warmup)
        return self.min_lr + 0.5 * (self.lr - self.min_lr) * (1 + math.cos(math.pi * done))


@dataclass(frozen=True)
class Protocol:
    """What is held equal for all methods of a comparison; its recipe's steps are the budget of all stages together."""

    recipe: Recipe = dataclasses.field(default_factory=Recipe)
    batch_size: int = hyper(64, low=1, source="images a step")
    image_size: int = hyper(0, low=0, source="pixels a side; 0: the backbone's own")
    augmentation: str = hyper(
        "crop_flip", choices=("none", "shift", "crop_flip", "randaugment"), source="of the training images"
    )
    label_smoothing: float = hyper(0.0, low=0, high=1, source="share of the target spread over all classes")
    drop_path: float = hyper(0.0, low=0, high=1, source="stochastic depth of the trained backbone")
    validation: float = hyper(
        0.1, low=0, high=0.9, source="share of the training split held out where a dataset has no validation split"
    )
    evaluations: int = hyper(4, low=1, source="points of the curve, evenly spaced, the end included")
    precision: str = hyper("auto", choices=("auto", "fp32", "bf16"), source="auto: bf16 autocast on a GPU, fp32 on CPU")


@dataclass(frozen=True)
class Named:
    """A name and a digest of what it stands for, so that renaming changes nothing and changing anything shows."""

    name: str
    means: str


@dataclass(frozen=True)
class MethodSpec:
    """A method with every hyper-parameter resolved; ``means`` is the digest of its code."""

    name: str
    means: str
    hyper: tuple[tuple[str, Value], ...]


@dataclass(frozen=True)
class Seeds:
    """What is drawn at random in a run: which images, which initial head, which order and augmentation."""

    subset: int
    init: int
    order: int


@dataclass(frozen=True)
class RunSpec:
    """One training, fully resolved. ``rate`` is in percent; ``seed`` is the declared seed, a label."""

    method: MethodSpec
    backbone: Named
    dataset: Named
    rate: float
    protocol: Protocol
    seeds: Seeds
    seed: int

    @property
    def id(self) -> str:
        """12 hexadecimal digits of the hash of ``identity``."""
        return digest(identity(self))

    @property
    def label(self) -> str:
        """A readable name, not an identity: ``gta micro_vit cluttered_digits 15 % seed 0``."""
        return (
            f"{self.method.name} {short_name(self.backbone.name)} {short_name(self.dataset.name)} "
            f"{self.rate:g} % seed {self.seed}"
        )


def identity(spec: RunSpec) -> dict[str, Any]:
    """Everything that can change a run's result: names, labels and the declared seed are left out.

    Fields that equal their default are left out, so that a field added later leaves the old ids as they are.
    """
    return {
        "engine": ENGINE,
        "method": {"code": spec.method.means, "hyper": dict(spec.method.hyper)},
        "backbone": spec.backbone.means,
        "dataset": spec.dataset.means,
        "rate": spec.rate,
        "protocol": {**written(spec.protocol), "recipe": written(spec.protocol.recipe)},
        "seeds": dataclasses.asdict(spec.seeds),
    }


def written(declared: Any) -> dict[str, Any]:
    """The plain fields of a dataclass instance that differ from their default, by name."""
    plain = (field for field in dataclasses.fields(declared) if field.default is not dataclasses.MISSING)
    return {field.name: value for field in plain if (value := getattr(declared, field.name)) != field.default}


def declared(cls: type) -> dict[str, Hyper]:
    """The hyper-parameters of a dataclass whose fields are made with ``hyper``, by name."""
    return {
        field.name: Hyper(field.name, str(field.type), field.default, **field.metadata)
        for field in dataclasses.fields(cls)
        if field.metadata
    }


def digest(value: object) -> str:
    """12 hexadecimal digits of the SHA-256 of a JSON-able value; the order of keys does not matter."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def derive(purpose: str, *along: object) -> int:
    """A 31-bit seed from what it is for and the values it varies along; the same on every machine."""
    return int(digest([purpose, *along])[:8], 16) & 0x7FFFFFFF


def draw_seeds(axes: Mapping[str, object], vary: Mapping[str, Sequence[str]]) -> Seeds:
    """The seeds of a run.

    Args:
        axes: the run's value (or digest) along each of ``AXES``.
        vary: for ``subset``, ``init`` and ``order``, the axes along which that draw changes.
    """
    return Seeds(
        **{purpose: derive(purpose, *((axis, axes[axis]) for axis in sorted(vary[purpose]))) for purpose in vary}
    )


def short_name(name: str) -> str:
    """A name fit for a folder or a heading: of a path only its last part."""
    kind, _, rest = name.partition(":")
    return rest.rstrip("/").rpartition("/")[2] if kind == "folder" else name


def to_json(spec: RunSpec) -> dict[str, Any]:
    """The spec as plain data, every default written out."""
    return dataclasses.asdict(spec)


def from_json(data: Mapping[str, Any]) -> RunSpec:
    """The spec that ``to_json`` wrote."""
    method, protocol = dict(data["method"]), dict(data["protocol"])
    return RunSpec(
        method=MethodSpec(method["name"], method["means"], tuple((name, value) for name, value in method["hyper"])),
        backbone=Named(**data["backbone"]),
        dataset=Named(**data["dataset"]),
        rate=data["rate"],
        protocol=Protocol(recipe=Recipe(**protocol.pop("recipe")), **protocol),
        seeds=Seeds(**data["seeds"]),
        seed=data["seed"],
    )

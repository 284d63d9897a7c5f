"""Protocols: what is held equal for all methods of a comparison, and the recipe that a stage may vary."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

from bench.errors import InputError, Problems, choose
from bench.hyper import Hyper, hyper
from bench.notation import counted

AUGMENTATIONS = (
    "none",
    "shift",
    "crop_flip",
    "randaugment",
    "randaugment_batched",
    "rand_m9",
    "deit",
    "autoaugment",
    "autoaugment_cifar",
    "contrastive",
)

MASK_AUGMENTATIONS = ("none", "scale_crop_flip", "mmseg")
"""Of images with masks: squeezed to a square; scaled, cropped and flipped; distorted in colour too."""

OF_MASKS = ("inference", "decoder", "auxiliary")
"""Settings that say nothing of images with labels."""

OF_LABELS = ("mixup", "cutmix", "mix_probability", "mix_switch", "erasing", "label_smoothing", "features")
"""Settings that say nothing of images with masks."""

OF_ONE_KIND = (
    ("power", "schedule", "poly"),
    ("lion_beta2", "optimizer", "lion"),
    ("muon_momentum", "optimizer", "muon"),
)
"""Settings that count with one choice of another one alone: (setting, the other one, its choice)."""

NOT_COMPILED, COMPILED, REDUCE_OVERHEAD = "none", "default", "reduce-overhead"
"""How the passes of a backbone are compiled, by the names of ``torch.compile``'s modes."""

NOT_SHARED = (
    f"CUDA graphs hold no exchange between processes that share a run; give it one GPU, or --set compile={COMPILED}"
)
"""Why several processes cannot share a run with ``REDUCE_OVERHEAD``."""

EVERY_STEP, ONCE = "every_step", "once"
"""When the features of a backbone that stays as it is are computed."""

RIVALS = {"steps": "epochs", "epochs": "steps", "warmup": "warmup_epochs", "warmup_epochs": "warmup"}
"""Settings that say the same in two ways: where one is given in the place of a protocol's, the other does not count."""


@dataclass(frozen=True)
class Recipe:
    """How a stage is optimised: the part of a protocol that a stage may vary.

    ``first`` and ``last`` cut a window out of the schedule, in steps: two stages that share one cosine are two
    windows of one recipe (see ``window``); a stage with a schedule of its own is ``share``.
    """

    steps: int = hyper(0, low=0, source="optimiser steps of the whole schedule; 0: from epochs")
    epochs: int = hyper(0, low=0, source="passes over the sampled training images; 0: from steps")
    optimizer: str = hyper(
        "adamw",
        choices=("adamw", "sgd", "lars", "lion", "muon"),
        source="our choice; lars: MAE's linear probe; lion (Chen et al., 2023): steps by the sign, for a learning rate "
        "3 to 10 times smaller than AdamW's and a decay as many times larger; muon (Jordan et al., 2024): orthogonal "
        "steps of matrices and convolutions, as long as AdamW's (Moonshot, 2025), and AdamW for all else",
    )
    lr: float = hyper(1e-3, low=0, source="peak learning rate")
    weight_decay: float = hyper(0.05, low=0, source="decoupled for AdamW; none on biases, norms and embeddings")
    momentum: float = hyper(0.9, low=0, high=1, source="SGD's and LARS's momentum, AdamW's and Lion's beta1")
    beta2: float = hyper(0.999, low=0, high=1, source="AdamW's beta2")
    lion_beta2: float = hyper(0.99, low=0, high=1, source="Lion's beta2 (its paper, section 3.1)")
    muon_momentum: float = hyper(
        0.95,
        low=0,
        high=1,
        source="Muon's, in Nesterov's form (Jordan's code); its AdamW has momentum and beta2",
    )
    nesterov: bool = hyper(False, source="SGD only")
    schedule: str = hyper(
        "cosine",
        choices=("cosine", "poly", "constant"),
        source="after the warm-up; poly: a power of the share that is left, over all steps (mmsegmentation)",
    )
    power: float = hyper(1.0, low=0, source="of the schedule poly (mmsegmentation: 0.9; BEiT, MAE, Swin there: 1)")
    schedule_share: float = hyper(
        1.0,
        low=0.001,
        high=1,
        source="of the schedule, what is trained, from its start; 1: all (DRLoc's released code: 101 of 300 epochs)",
    )
    warmup: int = hyper(0, low=0, source="steps of linear warm-up from 0")
    warmup_epochs: float = hyper(0.0, low=0, source="the warm-up in passes over the sampled training images")
    min_lr: float = hyper(0.0, low=0, source="floor of the schedule")
    clip_norm: float = hyper(0.0, low=0, source="largest gradient norm; 0: no clipping")
    layer_decay: float = hyper(1.0, low=0, high=1, source="learning-rate factor per layer below the head; 1: none")
    head_lr: float = hyper(
        1.0,
        low=0,
        source="factor on the classifier's learning rate alone: not on the backbone's, nor on what a method adds "
        "(TLlib, Co-Tuning, StochNorm: 10, for their baselines too)",
    )
    first: int = 0
    last: int = -1

    def resolved(self, images: int, batch_size: int) -> Recipe:
        """The recipe with its epochs turned into steps (a last, partial batch counts as a step)."""
        a_pass = math.ceil(images / batch_size)
        steps, warmup = self.steps or self.epochs * a_pass, self.warmup or round(self.warmup_epochs * a_pass)
        return replace(self, steps=self._whole(steps), epochs=0, last=steps, warmup=warmup, warmup_epochs=0.0)

    def window(self, start: float, stop: float) -> Recipe:
        """The part of this schedule between two shares of it, 0 ≤ start < stop ≤ 1; the schedule stays whole."""
        span = self.last - self.first
        return replace(self, first=self.first + round(start * span), last=self.first + round(stop * span))

    def share(self, part: float) -> Recipe:
        """A whole schedule of its own (warm-up included) over a share of the steps, rounded down."""
        exact = Fraction(str(part))
        steps = math.floor(exact * (self.last - self.first))
        return replace(self, steps=self._whole(steps), first=0, last=steps, warmup=math.floor(exact * self.warmup))

    def rest(self, part: float) -> Recipe:
        """A whole schedule of its own over the steps that ``share(part)`` leaves, to the last one."""
        taken = self.share(part)
        steps = self.last - self.first - taken.last
        warmup = min(self.warmup - taken.warmup, steps)
        return replace(self, steps=self._whole(steps), first=0, last=steps, warmup=warmup)

    def _whole(self, steps: int) -> int:
        """The steps of the schedule of which so many are trained."""
        return steps if self.schedule_share == 1 else round(steps / self.schedule_share)

    def in_batches(self, size: int, of: int, images: int) -> Recipe:
        """The same schedule over as many passes over the images, with its steps counted in batches of another size.

        A pass is as many steps as a loader makes of it, a last, partial batch counting as one: ``ceil(images / size)``
        in the place of ``ceil(images / of)``. What is less than a step is left out.

        Raises ``InputError``: less than one step is left.
        """
        if size == of:
            return self
        a_pass, usual = math.ceil(images / size), math.ceil(images / of)
        first, last = self.first * a_pass // usual, self.last * a_pass // usual
        if self.first < self.last and first == last:
            count = (self.last - self.first) * of
            raise InputError(f"a stage of {count:,} images has not one batch of {size:,}: give it more steps or epochs")
        return replace(
            self, steps=self.steps * a_pass // usual, first=first, last=last, warmup=self.warmup * a_pass // usual
        )

    def learning_rate(self, step: int) -> float:
        """The learning rate of a step, counted from the start: linear warm-up, then the schedule.

        As in mmsegmentation (mmcv), ``poly`` falls from the first step of all, and the warm-up is a factor on it.
        """
        if self.schedule == "poly":
            left: float = (1 - step / self.steps) ** self.power
            warm = min(1.0, (step + 1) / self.warmup) if self.warmup else 1.0
            return warm * (self.min_lr + (self.lr - self.min_lr) * left)
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
    norm_batch: int = hyper(
        0,
        low=0,
        source="images that a backbone's batch norms see at a time, as on one of several GPUs (running statistics move "
        "by the mean over the batch; there, by those of the first GPU); 0: the whole batch",
    )
    image_size: int = hyper(0, low=0, source="pixels a side; 0: the backbone's own")
    augmentation: str = hyper(
        "crop_flip",
        choices=tuple(dict.fromkeys((*AUGMENTATIONS, *MASK_AUGMENTATIONS))),
        source="of the training images; of those with masks: none, scale_crop_flip or mmseg",
    )
    mixup: float = hyper(0.0, low=0, source="alpha of Mixup; 0: none (deit: 0.8)")
    cutmix: float = hyper(0.0, low=0, source="alpha of CutMix; 0: none (deit: 1.0)")
    mix_probability: float = hyper(1.0, low=0, high=1, source="of a batch being mixed, where Mixup or CutMix is on")
    mix_switch: float = hyper(0.5, low=0, high=1, source="probability of CutMix instead of Mixup where both are on")
    erasing: float = hyper(0.0, low=0, high=1, source="probability of random erasing; 0: none (DeiT's paper: 0.25)")
    label_smoothing: float = hyper(0.0, low=0, high=1, source="share of the target spread over all classes")
    features: str = hyper(
        EVERY_STEP,
        choices=(EVERY_STEP, ONCE),
        source="of stages that train the head alone: every_step, of augmented images; once: of every image as it is "
        "tested, computed once and kept (LP-FT's released code)",
    )
    drop_path: float = hyper(0.0, low=0, high=1, source="stochastic depth of the trained backbone")
    validation: float = hyper(
        0.1, low=0, high=0.9, source="share of the training split held out where a dataset has no validation split"
    )
    evaluations: int = hyper(4, low=1, high=10_000, source="points of the curve, evenly spaced, the end included")
    inference: str = hyper(
        "whole",
        choices=("whole", "slide"),
        source="of masks: the image squeezed to a square; or windows of image_size, at a stride of two thirds of it, "
        "over the image with that shorter side (mmsegmentation)",
    )
    decoder: int = hyper(
        512,
        low=1,
        high=8192,
        source="of masks: channels of UPerNet's decoder, twice those of its auxiliary head (BEiT, Swin)",
    )
    auxiliary: float = hyper(0.4, low=0, source="of masks: weight of the auxiliary head's loss (mmsegmentation)")
    precision: str = hyper("auto", choices=("auto", "fp32", "bf16"), source="auto: bf16 autocast on a GPU, fp32 on CPU")
    compile: str = hyper(
        NOT_COMPILED,
        choices=(NOT_COMPILED, COMPILED, REDUCE_OVERHEAD),
        source="torch.compile of the backbone's passes in training, by its modes (reduce-overhead: CUDA graphs too): "
        "other kernels, which round otherwise",
    )

    @property
    def mixing(self) -> tuple[float, float]:
        """α of Mixup and of CutMix: those given; where neither is, DeiT's for ``deit`` (Touvron et al., 2021)."""
        if self.augmentation == "deit" and not self.mixup and not self.cutmix:
            return 0.8, 1.0
        return self.mixup, self.cutmix


def read_protocol(written: Sequence[tuple[str, object, str]], place: str) -> Protocol:
    """A protocol from settings in order, the last one of a key counting; the recipe's stand beside the others.

    Args:
        written: (key, value, ``file:line`` or option) of each setting.
        place: where the protocol as a whole stands.

    Raises:
        InputError: an unknown key, a wrong value, or neither or both of steps and epochs.
    """
    problems, values = Problems(), dict[str, Any]()
    of_recipe, of_protocol = declared(Recipe), declared(Protocol)
    settings = {**of_recipe, **of_protocol}
    for key, value, where in written:
        try:
            if key not in settings:
                raise InputError(f"{where}: {choose(key, settings, 'protocol setting')}")
            values[key] = settings[key].check(value, f"{where}: protocol")
        except InputError as error:
            problems.add(error)
    recipe = Recipe(**{key: values[key] for key in of_recipe.keys() & values.keys()})
    if not problems.found and bool(recipe.steps) == bool(recipe.epochs):
        problems.add(f"{place}: a protocol gives either steps or epochs (such as steps: 300)")
    if recipe.steps and recipe.warmup >= recipe.steps:
        problems.add(f"{place}: the warm-up ({recipe.warmup} steps) must be shorter than the schedule ({recipe.steps})")
    for key, kind, of in OF_ONE_KIND:
        value, usual, chosen = (getattr(recipe, key), getattr(Recipe, key), getattr(recipe, kind))
        if value != usual and chosen != of:
            problems.add(f"{place}: {key} = {value:g} is of the {kind} {of}, and this one is {chosen}")
    batch, group = values.get("batch_size", Protocol.batch_size), values.get("norm_batch", 0)
    if group and batch > group and batch % group:
        whole = counted(batch // group, "batch", "batches")
        left = f"{batch} images are {whole} of {group} for batch norms, and {batch % group} are left"
        problems.add(f"{place}: norm_batch must divide batch_size: {left}; or take 0, the whole batch")
    if recipe.warmup and recipe.warmup_epochs:
        problems.add(f"{place}: a protocol gives either warmup (in steps) or warmup_epochs, not both")
    if recipe.warmup_epochs and recipe.steps:
        problems.add(f"{place}: a protocol of steps has its warm-up in steps: warmup, in the place of warmup_epochs")
    if recipe.epochs and recipe.warmup_epochs >= recipe.epochs:
        shorter = f"must be shorter than the schedule ({recipe.epochs})"
        problems.add(f"{place}: the warm-up ({recipe.warmup_epochs:g} epochs) {shorter}")
    problems.stop()
    return Protocol(recipe=recipe, **{key: values[key] for key in of_protocol.keys() & values.keys()})


def declared(cls: type) -> dict[str, Hyper]:
    """The hyper-parameters of a dataclass whose fields are made with ``hyper``, by name."""
    fields: list[Any] = [field for field in dataclasses.fields(cls) if field.metadata]
    return {
        field.name: Hyper(field.name, getattr(field.type, "__name__", field.type), field.default, **field.metadata)
        for field in fields
    }

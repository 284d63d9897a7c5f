"""Features computed once: what a backbone that stays as it is gives for each image, kept for all who train a head.

They lie in a folder of the results, a file for a backbone and some images, named by a digest of all that decides them:
the weights and the network, what is read of it, the images with their size and view, the precision. Files are written
as drafts and renamed when they are whole, one process of many makes them, and each has a checksum (``Shelf``). They may
be deleted at any time: what is asked for again is computed again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, TypeVar

import numpy as np
import timm
import torch
from torch import Tensor, nn

from bench.backbones import Model
from bench.backbones.last_blocks import LastBlocks
from bench.data import Split, TrainingImages
from bench.data.augment import PHOTO
from bench.data.dataset import FeatureImages
from bench.device.precision import mixed_precision
from bench.method import Method, Stage
from bench.protocol import ONCE
from bench.spec import ENGINE, RunSpec, digest
from bench.training.shelf import Shelf, digest_of_tensors

TRAIN, VAL, TEST = "train", "val", "test"

AnyImages = TypeVar("AnyImages", bound=TrainingImages)


@dataclass
class Features:
    """What backbones give for the images of a run: computed once for it, and with a shelf once for all runs.

    Attributes:
        shelf: None: kept for this run alone.
        phase: is told what goes on, of how many images it is done, and of how many.
        kept: those of the network that was read last, by part of the data.
        digests: of the weights of models, inside of ``unchanged``.
    """

    spec: RunSpec
    shelf: Shelf | None = None
    phase: Callable[[str, int, int], None] = lambda what, done, of: None
    kept: dict[str, tuple[str, Tensor]] = field(default_factory=dict)
    digests: dict[Model, str] | None = None

    def of(self, model: Model, images: TrainingImages, part: str) -> Tensor:
        """The features (N, D) of every image, in order, on the CPU; the model is left in eval mode.

        Args:
            model: whose backbone is read.
            images: all the training images of the run, or all of another split.
            part: which they are: ``TRAIN``, ``VAL`` or ``TEST``.
        """
        meaning = self.meaning(model, images, part)
        key = digest(meaning)
        if self.kept.get(part, ("",))[0] != key:
            self.kept[part] = key, self._taken(model, images, key, meaning)
        model.eval()
        return self.kept[part][1]

    def forget(self) -> None:
        """Free what is kept in memory: the backbone is trained from here on."""
        self.kept.clear()

    @contextmanager
    def unchanged(self) -> Iterator[None]:
        """Inside, no weights change: those of a model are digested once, whatever is read of it, as that takes long."""
        self.digests = {}
        try:
            yield
        finally:
            self.digests = None

    def _weights(self, model: Model) -> str:
        if self.digests is None:
            return weights_digest(model)
        if model not in self.digests:
            self.digests[model] = weights_digest(model)
        return self.digests[model]

    def _computed(self, model: Model, images: TrainingImages) -> Tensor:
        return images.features_of(model, lambda done: self.phase("computing features", done, len(images)))

    def _taken(self, model: Model, images: TrainingImages, key: str, meaning: dict[str, Any]) -> Tensor:
        """From the shelf, where they are computed here if they are not there; for this run alone if that fails."""
        if self.shelf is None or not is_plain(model):
            return self._computed(model, images)
        made: list[Tensor] = []

        def make() -> dict[str, Tensor]:
            made.append(self._computed(model, images))
            return {"features": made[0]}

        try:
            return self.shelf.get(key, make, meaning, lambda: self.phase("waiting for features", 0, 0))[0]["features"]
        except OSError as error:
            print(f"features are not kept in {self.shelf.root} ({error.strerror or error})", flush=True)
            return made[0] if made else self._computed(model, images)

    def meaning(self, model: Model, images: TrainingImages, part: str) -> dict[str, Any]:
        """All that decides features, as plain data."""
        device = images.device.type
        with mixed_precision(images.protocol.precision, images.device):
            precision = str(torch.get_autocast_dtype(device)) if torch.is_autocast_enabled(device) else "single"
        return {
            "engine": ENGINE,
            "versions": [torch.__version__, timm.__version__],
            "backbone": self.spec.backbone.means,
            "network": digest(str(model.backbone)),
            "weights": self._weights(model),
            "reading": model.reading,
            "dataset": self.spec.dataset.means,
            "part": part,
            **({"further": self.spec.further} if "@" in part else {}),
            "held out": self.spec.protocol.validation if part == VAL else 0,
            "images": hashlib.sha256(np.asarray(images.indices, np.int64).tobytes()).hexdigest()[:16],
            "size": images.size,
            "view": "photograph" if images.protocol.augmentation in PHOTO else "squeezed",
            "precision": precision,
            "device": device,
        }


@dataclass
class Untold(Features):
    """Stands for features where a method's stages are gone through untrained: of the right shape, without a value."""

    def of(self, model: Model, images: TrainingImages, part: str) -> Tensor:
        return torch.zeros(len(images), model.dim)


def with_features(data: AnyImages, features: Features) -> AnyImages:
    """The training images of a run, and its validation split, with what computes features of them."""
    held_out = data.held_out
    if held_out is not None:
        held_out = replace(held_out, images=replace(held_out.images, reader=partial(features.of, part=VAL)))
    return replace(data, held_out=held_out, reader=partial(features.of, part=TRAIN))


def trains_head_alone(stage: Stage) -> bool:
    """Whether a stage trains the head of its model and leaves the backbone as it is at evaluation."""
    inside = {*stage.model.head.modules(), *stage.model.head.parameters()}
    more = stage.frozen_drops or not stage.train
    return not more and all(item in inside for item in stage.items)


def is_fed_once(stage: Stage, data: TrainingImages) -> bool:
    """Whether a stage is given what is computed once of the images that it would be fed with."""
    return data.protocol.features == ONCE and not stage.data and stage.views == 1 and trains_head_alone(stage)


def at_once(stage: Stage, data: TrainingImages) -> TrainingImages:
    """What a stage is fed where its protocol has the features of a backbone that stays as it is computed once.

    Where its loss is plain cross-entropy the model is given features; any other may look at the images, and is given
    these as they are tested. A stage with batches that its method chose, or several views, is left alone.
    """
    if not is_fed_once(stage, data):
        return data
    of_features = getattr(stage.loss, "__func__", None) is Method.loss
    return data.features(stage.model) if of_features else data.as_tested()


def tested_by_features(model: Model, split: Split, data: TrainingImages, features: Features, part: str) -> Split:
    """A split to be scored, for a model whose backbone was not trained: with features in the place of its images.

    Where the protocol wants features computed once, or the method has read some itself; else as it is, since a head
    may round otherwise where features lie otherwise in memory.
    """
    if not (data.protocol.features == ONCE or features.kept) or not is_plain(model):
        return split
    images = replace(data, split=split, indices=np.arange(len(split)), held_out=None)
    return replace(split, images=FeatureImages(features.of(model, images, part)))


def is_plain(model: Model) -> bool:
    """Whether a backbone computes what its modules and weights say: nobody has hooked something into it.

    But for what reads its last blocks, which ``Model.reading`` tells.
    """
    return all(isinstance(getattr(hook, "__self__", None), LastBlocks) for hook in _hooks(model.backbone))


def _hooks(backbone: nn.Module) -> Iterator[Callable[..., Any]]:
    for module in backbone.modules():
        yield from module._forward_hooks.values()
        yield from module._forward_pre_hooks.values()


def weights_digest(model: Model) -> str:
    """Of every number that a model's backbone computes with, the statistics of its pixels included."""
    state = {**model.backbone.state_dict(), "mean": model.mean, "std": model.std}
    return digest_of_tensors((name, state[name]) for name in sorted(state))

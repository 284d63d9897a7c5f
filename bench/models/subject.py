"""A trained model with the images that are measured: what a measure is given."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from bench.backbones import Model
from bench.backbones.layers import layers_of, pooled_layers
from bench.data import Split
from bench.data.augment import test_mask, test_view
from bench.data.dataset import MaskedSplit
from bench.device.precision import mixed_precision
from bench.device.transfer import Collected, images_at_once
from bench.measure import CannotMeasure, Option
from bench.records.kept import ModelFacts
from bench.spec import RunSpec, derive


@dataclass
class Subject:
    """A trained model with the images that are measured.

    Attributes:
        model: in eval mode, on ``device``; no gradient is kept.
        facts: what its file says of it: classes, image size, precision.
        spec: of its run.
        split: the images, in an order of their own; all of a split, or a drawn part of it.
        of: how many images the whole split has.
        options: what was chosen of the measure's own, by name.
        load_source: gives the pre-trained model that the run started from, with an untrained head.
        load_training: gives all training images, also those that the run did not sample; without those held out.
        of_source: whether ``model`` is that pre-trained model itself.
        progress: is told how many images are through, and of how many.
    """

    model: Model
    facts: ModelFacts
    spec: RunSpec
    split: Split
    of: int
    device: torch.device
    options: dict[str, Option] = field(default_factory=dict)
    load_source: Callable[[], Model] | None = None
    load_training: Callable[[], Split] | None = None
    of_source: bool = False
    progress: Callable[[int, int], None] = lambda done, of: None

    @cached_property
    def source(self) -> Model:
        """The pre-trained model that the run started from, in eval mode, with an untrained head."""
        assert self.load_source is not None
        return self.load_source().to(self.device)

    def of_training(self, images: int) -> Subject:
        """The same model with so many training images, drawn from all that there are, in the place of its own."""
        assert self.load_training is not None
        whole = self.load_training()
        return replace(self, split=whole.part(drawn(len(whole), images)), of=len(whole), progress=lambda done, of: None)

    def batches(self, size: int = 0) -> Iterator[tuple[Tensor, Tensor]]:
        """The images as evaluation views them, (B, C, S, S) in 0..1, with their labels, int64 (B,); on the device.

        They are decoded as they are taken, so memory does not grow with their number. A batch has so many as in the
        evaluation of a run, or ``size``.
        """
        size = size or images_at_once(self.device)
        for begin in range(0, len(self.split), size):
            indices = np.arange(begin, min(begin + size, len(self.split)))
            images = test_view(self.split.images.take(indices), self.facts.image_size, self.facts.augmentation)
            labels = torch.from_numpy(np.asarray(self.split.labels[indices], np.int64))
            yield images.to(self.device), labels.to(self.device)
            self.progress(int(indices[-1]) + 1, len(self.split))

    def masked_batches(self, size: int = 0) -> Iterator[tuple[Tensor, Tensor]]:
        """The images as ``batches`` gives them, with their masks in the same view: uint8 (B, S, S), on the CPU.

        Raises ``InputError`` where a mask has not the size of its image.
        """
        assert isinstance(self.split, MaskedSplit)
        size = size or images_at_once(self.device)
        for begin in range(0, len(self.split), size):
            indices = np.arange(begin, min(begin + size, len(self.split)))
            images, masks = self.split.pairs(indices)
            view = test_view(images, self.facts.image_size, self.facts.augmentation)
            yield view.to(self.device), test_mask(masks, self.facts.image_size, self.facts.augmentation)
            self.progress(int(indices[-1]) + 1, len(self.split))

    def spread_out(self, wanted: int) -> npt.NDArray[np.int64]:
        """Which images figures show: so many, as far from one another as can be, so that sorted classes are all met."""
        count = min(len(self.split), wanted)
        return (np.arange(count) * len(self.split) + len(self.split) // 2) // max(count, 1)

    def pictures(self, indices: npt.NDArray[np.int64]) -> npt.NDArray[np.uint8]:
        """Some of the images as evaluation views them, for figures: uint8 (n, S, S, C)."""
        view = test_view(self.split.images.take(indices), self.facts.image_size, self.facts.augmentation)
        return (view * 255).round().to(torch.uint8).permute(0, 2, 3, 1).numpy()

    def precision(self) -> AbstractContextManager[object]:
        """Inside, forward passes have the precision that the run was scored in."""
        return mixed_precision(self.facts.precision, self.device)

    @torch.inference_mode()
    def features(self) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]:
        """Pooled features of all images, (N, D), and their labels, (N,).

        Raises ``CannotMeasure``: they are not all finite.
        """
        features = Collected()
        for images, _ in self.batches():
            with self.precision():
                features.add(self.model(images).features.float())
        whole = features.whole()
        if not whole.isfinite().all():
            raise CannotMeasure("its features are not all finite numbers")
        return whole.numpy(), np.asarray(self.split.labels, np.int64)

    def layers(self) -> Iterator[dict[str, tuple[Tensor, Tensor]]]:
        """Of each batch, the output of each layer of the source and of the model, pooled over places, (B, D) both.

        A batch is forgotten when the next is taken, so memory does not grow with the images. ``features``, what the
        head is given, are the last layer (see ``bench.backbones.layers``).

        Raises ``CannotMeasure``: which its layers are is not known, or a method left another network than it started
        from.
        """
        for images, _ in self.batches():
            try:
                if layers_of(self.source.backbone) != layers_of(self.model.backbone):
                    raise CannotMeasure("its method trained a network with other layers than the one it started from")
                with torch.inference_mode(), self.precision():
                    first, last = (pooled_layers(model, images) for model in (self.source, self.model))
            except KeyError as unknown:
                raise CannotMeasure(str(unknown.args[0])) from None
            yield {name: (first[name].float(), last[name].float()) for name in first}


def drawn(of: int, count: int) -> npt.NDArray[np.int64]:
    """Which images of a split, in their order: so many, drawn by a seed that never changes; all where it is 0."""
    if not 0 < count < of:
        return np.arange(of)
    return np.sort(np.random.RandomState(derive("measured images")).permutation(of)[:count])

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
from bench.data import Split
from bench.data.augment import test_view
from bench.data.dataset import Part
from bench.measure import Option
from bench.records.kept import ModelFacts
from bench.spec import RunSpec, derive
from bench.training.fit import mixed_precision

BATCH = 64
"""Images at a time, as in the evaluation of a run."""


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
        return replace(self, split=drawn(whole, images), of=len(whole), progress=lambda done, of: None)

    def batches(self, size: int = BATCH) -> Iterator[tuple[Tensor, Tensor]]:
        """The images as evaluation views them, (B, C, S, S) in 0..1, with their labels, int64 (B,); on the device.

        They are decoded as they are taken, so memory does not grow with their number.
        """
        for begin in range(0, len(self.split), size):
            indices = np.arange(begin, min(begin + size, len(self.split)))
            images = test_view(self.split.images.take(indices), self.facts.image_size, self.facts.augmentation)
            labels = torch.from_numpy(np.asarray(self.split.labels[indices], np.int64))
            yield images.to(self.device), labels.to(self.device)
            self.progress(int(indices[-1]) + 1, len(self.split))

    def precision(self) -> AbstractContextManager[object]:
        """Inside, forward passes have the precision that the run was scored in."""
        return mixed_precision(self.facts.precision, self.device)

    @torch.inference_mode()
    def features(self) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]:
        """Pooled features of all images, (N, D), and their labels, (N,)."""
        features, labels = [], []
        for images, truth in self.batches():
            with self.precision():
                features.append(self.model(images).features.float().cpu())
            labels.append(truth.cpu())
        return torch.cat(features).numpy(), torch.cat(labels).numpy()


def drawn(split: Split, count: int) -> Split:
    """So many images of a split, in their order, drawn by a seed that never changes; all where ``count`` is 0."""
    if not 0 < count < len(split):
        return split
    chosen = np.sort(np.random.RandomState(derive("measured images")).permutation(len(split))[:count])
    return Split(Part(split.images, chosen), split.labels[chosen])

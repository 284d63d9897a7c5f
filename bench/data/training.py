"""The sampled training images of a run, as batches that depend on the step alone."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor

from bench.backbones import Model
from bench.backbones.build import input_size
from bench.data.ahead import Made, Preparation, fed, made
from bench.data.as_tested import AsTested
from bench.data.augment import PHOTO, draw_view, finished, tested
from bench.data.class_words import in_words
from bench.data.dataset import ArrayImages, FeatureImages, Images, Indices, Split
from bench.data.erase import Erasing, draw_erased
from bench.data.generator import generator
from bench.data.mix import Mix, draw_mix
from bench.data.operations import Operations
from bench.data.validation import Validation
from bench.device.divided import DividedImages
from bench.device.division import Division, divided
from bench.device.precision import mixed_precision
from bench.device.transfer import Collected, images_at_once, on
from bench.errors import InputError, choose
from bench.method import Batch
from bench.protocol import AUGMENTATIONS, Protocol
from bench.spec import RunSpec, derive

AnyImages = TypeVar("AnyImages", bound="TrainingImages")

CPU = torch.device("cpu")

PROTOCOL = "protocol"
"""Stands for the protocol's augmentation, with its mixing and erasing."""


NO_VALIDATION = (
    "it chooses on the validation split, and the run has none: give the protocol one (validation: 0.1, which holds out "
    "a tenth of the training images where a dataset has no split of its own)"
)


@dataclass(frozen=True)
class Beside:
    """What goes with the images of a batch.

    Attributes:
        labels: (B,), or None where images have none.
        targets: (B, K), not mixed yet.
        mix: how the batch is mixed.
        operations: of a policy, for each view.
        erasing: of each view.
        rows: (b,), which images of the batch are prepared; None: all.
    """

    labels: Any
    targets: Tensor
    mix: Mix
    operations: tuple[Operations | None, ...]
    erasing: tuple[Erasing | None, ...]
    rows: Indices | None = None


@dataclass(frozen=True)
class TrainingImages:
    """What a run trains on.

    The images are an endless stream of shuffled passes, of which step t takes the t-th ``batch_size`` images, so no
    image is dropped and every batch is full, however few images there are. Order and augmentation are functions of
    the seed and the step: nothing has to be remembered to continue.

    Attributes:
        indices: the sampled part of the training split.
        size: pixels a side.
        seed: of order and augmentation.
        device: where batches go.
        names: of the classes, by label, as the dataset has them; none where the task's classes are not of images.
        held_out: the validation split of the run, where it has one (``validation``).
        reader: gives the features (N, D) of a model for every image, in order, where they are kept; None: computed now.
        made_of: where these are features, or images as they are tested, the images of which they were made.
    """

    split: Split
    indices: Indices
    classes: int
    protocol: Protocol
    size: int
    seed: int
    device: torch.device
    names: tuple[str, ...] = ()
    held_out: Validation | None = None
    reader: Callable[[Model, TrainingImages], Tensor] | None = None
    made_of: TrainingImages | None = None

    @classmethod
    def of_run(
        cls: type[AnyImages],
        spec: RunSpec,
        split: Split,
        indices: Indices,
        model: Model,
        device: torch.device,
        names: Sequence[str] = (),
    ) -> AnyImages:
        """Those of a run: some of a split's, at the size that its model was built for."""
        size, seed = input_size(model), spec.seeds.order
        return cls(split, indices, model.classes, spec.protocol, size, seed, device, tuple(names))

    @property
    def class_names(self) -> tuple[str, ...]:
        """The names of the classes in words, by label: what texts about the images call them."""
        return in_words(self.names)

    def __len__(self) -> int:
        return len(self.indices)

    @property
    def validation(self) -> Validation:
        """The validation split, for a method that chooses by it. Raises ``InputError`` where the run has none."""
        if self.held_out is None:
            raise InputError(NO_VALIDATION)
        return self.held_out

    def feed(
        self, steps: Iterable[int], views: int = 1, whole: Callable[[], bool] = lambda: False
    ) -> Generator[tuple[int, Made[Any]], None, None]:
        """Each step with what is ``prepared`` of its batch, on the device; that of the next ones is made meanwhile."""

        def preparation(step: int) -> Preparation[Any]:
            return self.preparation(step, views, self._rows(step, whole()))

        return fed(preparation, steps, self.device, self.protocol.batch_size)

    def preparation(self, step: int, views: int = 1, rows: Indices | None = None) -> Preparation[Any]:
        """How a step's batch is prepared on the CPU: what is drawn for it, and its images, each for itself.

        It depends on the step alone. Where ``rows`` are the numbers of some images of the batch, these are prepared, as
        they are in the whole; labels and targets are of all.
        """
        chosen = self._chosen(step)
        numbers = np.arange(len(chosen)) if rows is None else rows
        seeds = [derive("augment", self.seed, step, view) for view in range(views)]
        drawn = [draw_view(len(chosen), self.size, self.protocol.augmentation, seed) for seed in seeds]

        def part(start: int, stop: int) -> list[Tensor]:
            stored = self.split.images.take(chosen[numbers[start:stop]])
            return [view.cut(stored, numbers[start:stop]) for view in drawn]

        beside = Beside(
            self.split.labels_of(chosen, CPU),
            self._targets(chosen, self.protocol.label_smoothing),
            self._mix(step),
            tuple(view.operations(numbers) for view in drawn),
            tuple(self._erasing(seed, numbers) for seed in seeds),
            rows,
        )
        return Preparation(len(numbers), part, beside)

    def prepared(self, step: int, views: int = 1, whole: bool = False) -> Made[Any]:
        """What a step's batch is made of, prepared now: uint8 images of each view, and what goes with them.

        Of a batch that processes share, each prepares its part, and what that is mixed with; or the ``whole``.
        """
        return made(self.preparation(step, views, self._rows(step, whole)))

    def batch(self, step: int, views: int = 1, progress: float = 0.0, prepared: Made[Any] | None = None) -> Batch:
        """The batch of a step, counted over all stages of the run.

        Views differ in their augmentation and in what is erased. Mixup and CutMix mix all views of a batch alike, as
        they have one target; ``labels`` are those of each image, not of what it is mixed with. ``progress`` is the
        share of the stage that is done; what is ``prepared`` of that step, on the device, may have been made ahead.
        Processes that share the run have all of it but the images, of which each has its part (``DividedImages``).
        """
        prepared = prepared or on(self.device, self.prepared(step, views))
        beside: Beside = prepared.beside
        return self.split.batch_type(
            images=self._images(step, prepared),
            labels=beside.labels,
            targets=beside.mix.targets(beside.targets),
            progress=progress,
        )

    def fed(
        self, batch_size: int = 0, augmentation: str = PROTOCOL, label_smoothing: float | None = None
    ) -> TrainingImages:
        """The same images in batches of another kind, for a stage that is not fed as the protocol says.

        Args:
            batch_size: images a step; 0: the protocol's.
            augmentation: in the place of the protocol's, without its mixing and erasing; ``"protocol"``: all of these.
            label_smoothing: of ``targets``; None: the protocol's.

        Raises:
            InputError: there is no such augmentation, or it is for photographs and the protocol's is not, or the other
                way round: files are not decoded alike for the two.
        """
        protocol = replace(
            self.protocol,
            batch_size=batch_size or self.protocol.batch_size,
            label_smoothing=self.protocol.label_smoothing if label_smoothing is None else label_smoothing,
        )
        if augmentation != PROTOCOL:
            if augmentation not in AUGMENTATIONS:
                raise InputError(choose(augmentation, (PROTOCOL, *AUGMENTATIONS), "augmentation"))
            in_memory = isinstance(self.split.images, ArrayImages)
            if not in_memory and (augmentation in PHOTO) != (protocol.augmentation in PHOTO):
                raise InputError(
                    f"a stage cannot have the augmentation {augmentation} where the protocol's is "
                    f"{protocol.augmentation}: one of them is for photographs and the other is not"
                )
            plain = "rand_m9" if augmentation == "deit" else augmentation  # which is that with mixing
            protocol = replace(protocol, augmentation=plain, mixup=0.0, cutmix=0.0, erasing=0.0)
        return replace(self, protocol=protocol)

    def features(self, model: Model) -> TrainingImages:
        """What a model's backbone gives for every image as it is tested, computed once, in the place of the images.

        Order, batches and targets stay; nothing is augmented, mixed or erased. The ``images`` of a batch are features
        (B, D), of which the model computes its head alone: for stages that train no more than that. The model is left
        in eval mode.
        """
        features = self.reader(model, self) if self.reader else self.features_of(model)
        return self._plainly(FeatureImages(features), self.indices)

    def features_of(self, model: Model, progress: Callable[[int], None] = lambda images: None) -> Tensor:
        """The features (N, D) of every image as it is tested, in order, computed now; on the CPU.

        ``progress`` is told after each batch how many images are through. The model is left in eval mode.
        """
        model.eval()
        features, through = Collected(), 0
        with torch.no_grad():
            # as in evaluation, so that a head is given the same bits there
            for batch in self.plain(images_at_once(self.device)):
                with mixed_precision(self.protocol.precision, self.device):
                    features.add(model.pooled(batch.images))
                through += len(batch)
                progress(through)
        return features.whole()

    def as_tested(self) -> TrainingImages:
        """The same batches without augmentation, mixing or erasing: every image as it is tested."""
        return self._plainly(ViewedImages(self.split.images, self.size, self.protocol.augmentation))

    def _plainly(self, images: Images, chosen: Indices | None = None) -> TrainingImages:
        """The same batches of other images, given as they are: one for each of the split, or of those chosen of it."""
        protocol = replace(self.protocol, augmentation="none", mixup=0.0, cutmix=0.0, erasing=0.0)
        split, indices = replace(self.split, images=images), self.indices
        if chosen is not None:
            split, indices = self.split.chosen(chosen, images), np.arange(len(chosen))
        made_of = self.made_of or self
        return replace(self, split=split, indices=indices, protocol=protocol, reader=None, made_of=made_of)

    def plain(self, batch_size: int = 256) -> Iterator[Batch]:
        """Every sampled image once, in order, without augmentation."""

        views = AsTested(self.split.images, self.size, self.protocol.augmentation)

        def prepare(indices: Indices) -> Preparation[tuple[Any, Tensor]]:
            return views.preparation(indices, (self.split.labels_of(indices, CPU), self._targets(indices, 0.0)))

        parts = [self.indices[start : start + batch_size] for start in range(0, len(self.indices), batch_size)]
        with closing(fed(prepare, parts, self.device, batch_size)) as feed:
            for indices, prepared in feed:
                yield self.split.batch_type(views.batch(indices, prepared.images[0]), *prepared.beside, 0.0)

    def _targets(self, indices: Indices, smoothing: float) -> Tensor:
        """On the CPU."""
        return self.split.targets(indices, self.classes, smoothing, CPU)

    def _erasing(self, seed: int, rows: Indices) -> Erasing | None:
        """What is erased of some images of a batch; None where the protocol erases nothing."""
        if not self.protocol.erasing:
            return None
        seed = derive("erase", seed)
        state, count = generator(seed), self.protocol.batch_size
        return Erasing.of(draw_erased(count, self.size, self.size, state, self.protocol.erasing), seed, rows)

    def _division(self) -> Division | None:
        """Who computes what of each batch; None where each process has all of it."""
        size, group = self.protocol.batch_size, self.protocol.norm_batch or 1
        if isinstance(self.split.images, FeatureImages):
            return None
        mirrored = any(self.protocol.mixing)
        return divided(size, group, mirrored) or divided(size, 1, mirrored)

    def _rows(self, step: int, whole: bool) -> Indices | None:
        """Which images of a batch this process prepares: its part, and what that is mixed with; None: all of them."""
        division = self._division()
        return None if whole or division is None else self._mix(step).rows(division.ours, division.count)

    def _images(self, step: int, prepared: Made[Any]) -> Tensor:
        """The images of a batch on the device, of which some or all are prepared."""
        images, division, rows = _mixed(prepared), self._division(), prepared.beside.rows
        if division is None:
            return images
        if rows is None:
            return DividedImages(division.of(images, images.ndim - 4), division, lambda: images)
        if len(rows) > len(division.ours):
            places = torch.from_numpy(np.searchsorted(rows, division.ours)).to(self.device)
            images = images.index_select(images.ndim - 4, places)
        views = len(prepared.images)
        return DividedImages(images, division, lambda: _mixed(on(self.device, self.prepared(step, views, whole=True))))

    def _mix(self, step: int) -> Mix:
        """How the batch of a step is mixed."""
        mixup, cutmix = self.protocol.mixing
        if not (mixup or cutmix):
            return Mix()
        state = generator(derive("mix", self.seed, step))
        probability, switch = self.protocol.mix_probability, self.protocol.mix_switch
        return draw_mix(self.size, self.size, state, mixup, cutmix, probability, switch)

    def _chosen(self, step: int) -> Indices:
        size, count, pieces = self.protocol.batch_size, len(self.indices), list[Indices]()
        at, end = step * size, (step + 1) * size
        while at < end:
            number, place = divmod(at, count)
            pieces.append(_order(self.seed, number, count)[place : place + end - at])
            at += len(pieces[-1])
        return self.indices[np.concatenate(pieces)]


@dataclass(frozen=True)
class ViewedImages:
    """Images as they are tested, uint8 (B, C, S, S)."""

    images: Images
    size: int
    augmentation: str

    def __len__(self) -> int:
        return len(self.images)

    def take(self, indices: Indices) -> Tensor:
        """uint8 (B, C, S, S)."""
        return tested(self.images.take(indices), self.size, self.augmentation)


def _mixed(prepared: Made[Any]) -> Tensor:
    """(B, C, S, S) or (V, B, C, S, S) in 0..1, on the device: the images that are prepared, erased and mixed."""
    beside: Beside = prepared.beside
    views = [
        erasing.applied(finished(pixels, operations)) if erasing else finished(pixels, operations)
        for pixels, operations, erasing in zip(prepared.images, beside.operations, beside.erasing, strict=True)
    ]
    return beside.mix.images(views[0] if len(views) == 1 else torch.stack(views))


@lru_cache(maxsize=4)
def _order(seed: int, number: int, count: int) -> Indices:
    """The order of one pass over the images."""
    return generator(derive("order", seed, number)).permutation(count).astype(np.int64)

"""The sampled training images of a run with their masks, as batches that depend on the step alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch.nn.functional as F
from torch import Tensor

from bench.data.ahead import Made, Preparation, fed
from bench.data.augment import unit
from bench.data.dataset import IGNORED, Indices, MaskedSplit
from bench.data.dense import draw_pairs
from bench.data.training import PROTOCOL, TrainingImages
from bench.device.division import Division
from bench.device.transfer import on
from bench.errors import InputError, choose
from bench.method import Batch
from bench.protocol import AUGMENTATIONS, MASK_AUGMENTATIONS
from bench.spec import derive

if TYPE_CHECKING:
    from bench.backbones import Output


@dataclass(frozen=True)
class MaskBatch(Batch):
    """A batch of images with masks; ``labels`` and ``targets`` are None.

    Attributes:
        masks: uint8 (B, S, S), class indices or ``IGNORED``.
        auxiliary: weight of the auxiliary head's loss.
    """

    masks: Tensor
    auxiliary: float

    def cross_entropy(self, output: Output) -> Tensor:
        """Cross-entropy of logits (B, K, S, S), in nats, and of the auxiliary head's likewise, weighted.

        As in mmsegmentation, it is the mean over all pixels, of which ignored ones count as 0.
        """
        loss = self._of_pixels(output.logits)
        auxiliary: Tensor | None = getattr(output, "auxiliary", None)
        return loss if auxiliary is None else loss + self.auxiliary * self._of_pixels(auxiliary)

    def part(self, chosen: Tensor) -> MaskBatch:
        """As of ``Batch``."""
        return replace(super().part(chosen), masks=self.masks[chosen])

    def _of_pixels(self, logits: Tensor) -> Tensor:
        total = F.cross_entropy(logits.float(), self.masks.long(), ignore_index=IGNORED, reduction="sum")
        return total / self.masks.numel()


@dataclass(frozen=True)
class MaskedImages(TrainingImages):
    """What a run for segmentation trains on; order and augmentation as of ``TrainingImages``."""

    split: MaskedSplit

    def _division(self) -> Division | None:
        """None: each process prepares all images and masks."""
        return None

    def preparation(self, step: int, views: int = 1, rows: Indices | None = None) -> Preparation[None]:
        """As of ``TrainingImages``: images and masks, uint8 (B, C, S, S) and (B, S, S).

        Raises ``InputError``: more than one view; when a part is made, a mask has not the size of its image.
        """
        if views != 1:
            raise InputError(f"a stage has {views} views of an image, and masks are of one")
        seed = derive("augment", self.seed, step, 0)
        return self._preparation(self._chosen(step), self.protocol.augmentation, seed, rows)

    def _preparation(
        self, chosen: Indices, augmentation: str, seed: int, rows: Indices | None = None
    ) -> Preparation[None]:
        drawn = draw_pairs(len(chosen), self.size, augmentation, seed)
        numbers = np.arange(len(chosen)) if rows is None else rows

        def part(start: int, stop: int) -> Sequence[Tensor]:
            return drawn.cut(*self.split.pairs(chosen[numbers[start:stop]]), numbers[start:stop])

        return Preparation(len(numbers), part, None)

    def batch(self, step: int, views: int = 1, progress: float = 0.0, prepared: Made[Any] | None = None) -> MaskBatch:
        """As of ``TrainingImages``: one view, neither mixed nor erased."""
        whole = prepared or on(self.device, self.prepared(step, views))
        return self._batch(whole, progress)

    def fed(
        self, batch_size: int = 0, augmentation: str = PROTOCOL, label_smoothing: float | None = None
    ) -> TrainingImages:
        """The same images in batches of another kind, for a stage that is not fed as the protocol says.

        An augmentation that is not for masks gives batches without any, for a stage that looks at images alone.

        Raises ``InputError``: there is no such augmentation.
        """
        protocol = replace(self.protocol, batch_size=batch_size or self.protocol.batch_size)
        if augmentation in (PROTOCOL, *MASK_AUGMENTATIONS):
            kept = protocol.augmentation if augmentation == PROTOCOL else augmentation
            return replace(self, protocol=replace(protocol, augmentation=kept))
        if augmentation not in AUGMENTATIONS:
            raise InputError(choose(augmentation, {PROTOCOL, *MASK_AUGMENTATIONS, *AUGMENTATIONS}, "augmentation"))
        protocol = replace(protocol, augmentation=augmentation)
        plain = TrainingImages(self.split, self.indices, self.classes, protocol, self.size, self.seed, self.device)
        return replace(plain, held_out=self.held_out)

    def plain(self, batch_size: int = 256) -> Iterator[MaskBatch]:
        """Every sampled image once, in order, squeezed to a square."""
        parts = [self.indices[start : start + batch_size] for start in range(0, len(self.indices), batch_size)]
        with closing(fed(lambda chosen: self._preparation(chosen, "none", 0), parts, self.device, batch_size)) as feed:
            for _, prepared in feed:
                yield self._batch(prepared, 0.0)

    def _batch(self, prepared: Made[Any], progress: float) -> MaskBatch:
        images, masks = prepared.images
        nothing: Any = None
        return MaskBatch(
            images=unit(images),
            labels=nothing,
            targets=nothing,
            progress=progress,
            masks=masks,
            auxiliary=self.protocol.auxiliary,
        )

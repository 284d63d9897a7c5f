"""The sampled training images of a run with their masks, as batches that depend on the step alone."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch.nn.functional as F
from torch import Tensor

from bench.data.ahead import feeders
from bench.data.augment import unit
from bench.data.dataset import IGNORED, MaskedSplit
from bench.data.dense import training_pairs
from bench.data.training import PROTOCOL, TrainingImages
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

    @property
    def feeders(self) -> int:
        return feeders(self.device)

    def prepared(self, step: int, views: int = 1, whole: bool = False) -> Any:
        """Images and masks, uint8 (B, C, S, S) and (B, S, S), always of the whole batch. Raises
        ``InputError`` where they differ in size.
        """
        if views != 1:
            raise InputError(f"a stage has {views} views of an image, and masks are of one")
        chosen = self._chosen(step)
        images, masks = self.split.pairs(chosen)
        seed = derive("augment", self.seed, step, 0)
        return training_pairs(images, masks, self.size, self.protocol.augmentation, seed)

    def batch(self, step: int, views: int = 1, progress: float = 0.0, prepared: Any = None) -> MaskBatch:
        """As of ``TrainingImages``: one view, neither mixed nor erased."""
        images, masks = self.prepared(step, views) if prepared is None else prepared
        return self._batch(images, masks, progress)

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
        for start in range(0, len(self.indices), batch_size):
            indices = self.indices[start : start + batch_size]
            images, masks = self.split.pairs(indices)
            yield self._batch(*training_pairs(images, masks, self.size, "none", 0), 0.0)

    def _batch(self, images: Tensor, masks: Tensor, progress: float) -> MaskBatch:
        nothing: Any = None
        return MaskBatch(
            images=unit(images.to(self.device, non_blocking=True)),
            labels=nothing,
            targets=nothing,
            progress=progress,
            masks=masks.to(self.device, non_blocking=True),
            auxiliary=self.protocol.auxiliary,
        )

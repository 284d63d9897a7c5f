"""Semantic segmentation: which class each pixel is of."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from bench.cards.maps import without_maps
from bench.protocol import EVERY_STEP, MASK_AUGMENTATIONS, OF_MASKS
from bench.task import Task

if TYPE_CHECKING:
    import numpy as np
    import torch

    from bench.backbones import Model
    from bench.cards import BackboneCard, DatasetCard
    from bench.data import Dataset, Split, TrainingImages
    from bench.data.dataset import Images, Indices
    from bench.metrics.segmentation import MaskPredictions
    from bench.protocol import Protocol
    from bench.spec import RunSpec


class Segmentation(Task):
    """Which class each pixel is of: UPerNet on maps of the backbone, and cross-entropy of pixels."""

    name = "segmentation"
    about = "which class each pixel of an image is of"
    packages = ("transformers",)
    linear_head = False
    augmentations = MASK_AUGMENTATIONS
    settings = OF_MASKS

    def why_not(self, protocol: Protocol) -> str:
        if protocol.augmentation not in MASK_AUGMENTATIONS:
            moved = f"masks move with their images: augmentation is one of {', '.join(MASK_AUGMENTATIONS)}"
            return f"{moved}, not {protocol.augmentation}"
        if any(protocol.mixing):
            return "masks are not mixed: mixup and cutmix must be 0"
        for setting in ("erasing", "label_smoothing"):
            if getattr(protocol, setting):
                return f"pixels have no {setting}: it must be 0"
        if protocol.features != EVERY_STEP:
            return f"a decoder takes maps, which are not kept: features must be {EVERY_STEP}"
        return ""

    def why_not_backbone(self, card: BackboneCard) -> str:
        return without_maps(card)

    def noise(self, images: Images, classes: int, state: np.random.RandomState) -> Split:
        import numpy as np

        from bench.data.dataset import MaskArrays, masked

        sides = images.take(np.arange(1))[0].shape[1:]
        return masked(images, MaskArrays(state.randint(0, classes, (len(images), *sides)).astype(np.uint8)))

    def read(self, card: DatasetCard, results: Path | None = None) -> Dataset:
        from bench.data import read_masks

        return read_masks(card)

    def build(self, card: BackboneCard, classes: int, protocol: Protocol) -> Model:
        from bench.backbones.dense import build_dense

        channels = protocol.decoder
        return build_dense(
            card, classes, protocol.image_size, protocol.drop_path, channels, auxiliary=max(1, channels // 2)
        )

    def images(
        self, spec: RunSpec, dataset: Dataset, indices: Indices, model: Model, device: torch.device
    ) -> TrainingImages:
        from bench.data.masked import MaskedImages

        return MaskedImages.of_run(spec, dataset.train, indices, model, device)

    def predict(
        self, model: Model, split: Split, data: TrainingImages, progress: Callable[[int], None] = lambda images: None
    ) -> MaskPredictions:
        from bench.data.dataset import MaskedSplit
        from bench.training.pixel_answers import predict_pixels

        assert isinstance(split, MaskedSplit)
        return predict_pixels(model, split, data, progress)


TASK = Segmentation()

"""Classification: which class an image is of."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from bench.protocol import AUGMENTATIONS, OF_LABELS, OF_MASKS, Protocol
from bench.task import Phase, Task

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import torch

    from bench.backbones import Model
    from bench.cards import BackboneCard, DatasetCard
    from bench.data import Dataset, Split, TrainingImages
    from bench.data.dataset import Images, Indices
    from bench.metrics import TaskPredictions
    from bench.spec import RunSpec

    Scored = npt.NDArray[np.float32]


class Classification(Task):
    """Which class an image is of: a linear head on pooled features, and cross-entropy."""

    name = "classification"
    about = "which class an image is of"
    one_label = True
    augmentations = AUGMENTATIONS
    settings: ClassVar[Sequence[str]] = OF_LABELS

    def why_not(self, protocol: Protocol) -> str:
        if protocol.augmentation not in AUGMENTATIONS:
            return f"an image with a label has no augmentation {protocol.augmentation}, which moves masks"
        for setting in (*OF_MASKS, *OF_LABELS):
            if setting not in self.settings and getattr(protocol, setting) != getattr(Protocol, setting):
                meant = "masks, and images have labels here" if setting in OF_MASKS else "images with one label each"
                return f"{setting} is for {meant}"
        return ""

    def noise(self, images: Images, classes: int, state: np.random.RandomState) -> Split:
        from bench.data import Split

        return Split(images, state.randint(0, classes, len(images)).astype("int64"))

    def read(self, card: DatasetCard, results: Path | None = None) -> Dataset:
        from bench.data.surveyed import without_damaged

        return without_damaged(self.opened(card), card, results)

    def opened(self, card: DatasetCard) -> Dataset:
        from bench.data import read_data

        return read_data(card)

    def cached(
        self, dataset: Dataset, card: DatasetCard, folder: Path, size: int, augmentation: str, progress: Phase
    ) -> Dataset:
        from bench.data.cache import cached

        return cached(dataset, card.means, folder, size, augmentation, progress)

    def build(self, card: BackboneCard, classes: int, protocol: Protocol) -> Model:
        from bench.backbones import build_model

        return build_model(card, classes, protocol.image_size, protocol.drop_path)

    def images(
        self, spec: RunSpec, dataset: Dataset, indices: Indices, model: Model, device: torch.device
    ) -> TrainingImages:
        from bench.data import TrainingImages

        return TrainingImages.of_run(spec, dataset.train, indices, model, device, dataset.classes)

    def predict(
        self, model: Model, split: Split, data: TrainingImages, progress: Callable[[int], None] = lambda images: None
    ) -> TaskPredictions:
        from bench.training.answers import predict

        return predict(model, split, data, progress=progress)

    def scored(
        self, model: Model, split: Split, data: TrainingImages, progress: Callable[[int], None]
    ) -> tuple[Scored, Scored]:
        """Logits and targets of every image of a split, in order, (images, K) both; the model is left in eval mode.

        For tasks that ask something else of the same network.
        """
        import numpy as np
        import torch

        from bench.device.precision import mixed_precision
        from bench.device.transfer import Collected, images_at_once

        model.eval()
        logits, targets, through = Collected(), Collected(), 0
        with torch.inference_mode():
            whole = replace(data, split=split, indices=np.arange(len(split)))
            for batch in whole.plain(images_at_once(data.device)):
                with mixed_precision(data.protocol.precision, data.device):
                    logits.add(model(batch.images).logits.float())
                targets.add(batch.targets.float())
                through += len(batch)
                progress(through)
        return logits.whole().numpy(), targets.whole().numpy()


TASK = Classification()

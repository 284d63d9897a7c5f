"""Multi-label classification: which classes an image shows."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from bench.metrics.multilabel import MultiLabelPredictions
from bench.protocol import OF_LABELS
from bench.tasks.classification import Classification

if TYPE_CHECKING:
    import numpy as np

    from bench.backbones import Model
    from bench.cards import DatasetCard
    from bench.data import Dataset, Split, TrainingImages
    from bench.data.dataset import Images


class MultiLabel(Classification):
    """Which classes an image shows: a linear head on pooled features, and binary cross-entropy of each class."""

    name = "multilabel"
    about = "which classes an image shows, of which it may show several"
    one_label = False
    settings = tuple(setting for setting in OF_LABELS if setting != "label_smoothing")

    def opened(self, card: DatasetCard) -> Dataset:
        from bench.data.multilabel import MultiLabelSplit
        from bench.data.read import read_official

        return read_official(card, MultiLabelSplit)

    def noise(self, images: Images, classes: int, state: np.random.RandomState) -> Split:
        from bench.data.multilabel import MultiLabelSplit

        return MultiLabelSplit.unlabelled(images, present=state.randint(0, 2, (len(images), classes)).astype("float16"))

    def predict(
        self, model: Model, split: Split, data: TrainingImages, progress: Callable[[int], None] = lambda images: None
    ) -> MultiLabelPredictions:
        return MultiLabelPredictions(*self.scored(model, split, data, progress))


TASK = MultiLabel()

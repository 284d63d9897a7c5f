"""Images of which each may show several classes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from bench.backbones import Output
from bench.data.dataset import Indices, Split
from bench.method import Batch


class MultiLabelBatch(Batch):
    """A batch with ``targets`` from 0 to 1 for each class, nan where an image does not count."""

    def cross_entropy(self, output: Output) -> Tensor:
        """Mean binary cross-entropy of the logits (B, K), in nats; 0 where an image does not count."""
        counted = (~self.targets.isnan()).float()
        return F.binary_cross_entropy_with_logits(output.logits.float(), self.targets.nan_to_num(), weight=counted)


@dataclass(frozen=True)
class MultiLabelSplit(Split):
    """Images with what they show, (N, K): 1, 0 or nan. ``MultiLabelSplit.unlabelled(images, present=...)``."""

    batch_type = MultiLabelBatch
    present: npt.NDArray[np.float16]

    def labels_of(self, indices: Indices, device: torch.device) -> Any:
        """None: an image may show several classes."""

    def odd(self, classes: int) -> str:
        fits = self.present.shape == (len(self.images), classes)
        sound = fits and (np.isin(self.present, (0, 1)) | np.isnan(self.present)).all()
        return "" if sound else f"something else than 0, 1 or nan for each image and each of {classes} classes"

    def targets(self, indices: Indices, classes: int, smoothing: float, device: torch.device) -> Tensor:
        return torch.from_numpy(self.present[indices]).to(device).float()

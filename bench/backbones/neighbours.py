"""A head that is not trained: classes of the nearest features that it holds."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class NearestNeighbours(nn.Module):
    """Weighted k-nearest-neighbour votes, as logits (Wu et al., CVPR 2018, section 3.4; DINO's released code).

    Of features of unit length each of the k most similar ones that it holds votes for its class with exp(s / T), where
    s is their inner product. Logits are the logarithms of the votes of the classes, so that probabilities are shares of
    all votes. A class without a vote is given that of the least similar feature there can be, exp(−1 / T): it is behind
    all others, and its logit is finite.

    Args:
        features: (N, D), of any length.
        labels: (N,) class indices.
        classes: K.
        k: neighbours that vote; all, where there are fewer.
        temperature: T.
    """

    features: Tensor
    labels: Tensor

    def __init__(self, features: Tensor, labels: Tensor, classes: int, k: int, temperature: float) -> None:
        super().__init__()
        self.classes, self.k, self.temperature = classes, min(k, len(features)), temperature
        self.register_buffer("features", F.normalize(features.float(), dim=1))
        self.register_buffer("labels", labels)

    def forward(self, features: Tensor) -> Tensor:
        """Logits (B, K) of features (B, D), in single precision whatever is used around."""
        with torch.autocast(features.device.type, enabled=False):
            similarity = F.normalize(features.float(), dim=1) @ self.features.T
            nearest, places = similarity.topk(self.k, dim=1)
            # the largest vote is 1, so that no temperature is too small
            logs = (nearest.double() - nearest[:, :1].double()) / self.temperature
            of_class = F.one_hot(self.labels[places], self.classes)
            votes = (of_class * logs.exp()[:, :, None]).sum(1).log() + nearest[:, :1].double() / self.temperature
            return votes.clamp(min=-1 / self.temperature).float()

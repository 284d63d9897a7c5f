"""k nearest neighbours: nothing is trained; images are classed as the most similar training images are."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bench.backbones import Model
from bench.data import TrainingImages
from bench.method import Method, Stage, hyper
from bench.protocol import Recipe


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


@dataclass(frozen=True)
class NearestNeighbourVotes(Method):
    """Each image is given the class for which its nearest training images vote, by their features.

    Features are those that the backbone pools, of every image as it is tested, at unit length; a neighbour's vote is
    exp(similarity / temperature). Nothing is trained: optimiser, length and augmentation of the protocol have no
    meaning, and the curve has one point. A kept model holds the features of all training images. DINO tries k = 10, 20,
    100 and 200 and reports the best; its code's defaults are those and T = 0.07.
    """

    paper = (
        "Wu, Xiong, Yu and Lin, 'Unsupervised Feature Learning via Non-Parametric Instance Discrimination', CVPR 2018, "
        "section 3.4; as in Caron et al., 'Emerging Properties in Self-Supervised Vision Transformers', ICCV 2021"
    )
    per_image = True

    k: int = hyper(20, low=1, source="DINO: 20 is the best throughout; released code tries 10, 20, 100, 200; Wu: 200")
    temperature: float = hyper(0.07, low=0.001, source="Wu et al. 3.4, released code of DINO")

    def stages(self, model: Model, recipe: Recipe, data: TrainingImages) -> Iterator[Stage]:
        """None: the head is made of the training images' features."""
        features, labels = [], []
        with torch.no_grad():
            for batch in data.features(model).plain():
                features.append(model.pooled(batch.images))
                labels.append(batch.labels)
        held, classes = torch.cat(features), torch.cat(labels)
        model.answer_with(NearestNeighbours(held, classes, model.classes, self.k, self.temperature))
        yield from ()

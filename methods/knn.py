"""k nearest neighbours: nothing is trained; images are classed as the most similar training images are."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch

from bench.backbones import Model
from bench.backbones.neighbours import NearestNeighbours
from bench.data import TrainingImages
from bench.method import Method, Stage, hyper
from bench.protocol import Recipe


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

"""M&M: tune the features with triplets of labelled images, then fine-tune (after Zhan et al., AAAI 2018)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from bench.backbones import Model
from bench.data import TrainingImages
from bench.losses import at_least_float32
from bench.method import Batch, Method, Stage, Terms, hyper
from bench.protocol import Recipe


def triplet_loss(features: Tensor, positives: Tensor, negatives: Tensor, margin: float) -> Tensor:
    """1/(2B) Σ max(0, margin + ‖a − p‖² − ‖a − n‖²) on L2-normalised features (Zhan et al., released code).

    Args:
        features: (B, D), one row an image, each the anchor of one triplet.
        positives: (B,) the row of each anchor's positive; ``IndexError`` where there is no such row.
        negatives: (B,) the row of each anchor's negative.
        margin: in squared distances, which are between 0 and 4.

    Returns:
        (), half the mean over anchors, without unit; computed in float32 at least.
    """
    unit = F.normalize(at_least_float32(features), dim=1)
    near, far = ((unit - unit[rows]).square().sum(1) for rows in (positives, negatives))
    return 0.5 * F.relu(margin + near - far).mean()


def random_links(labels: Tensor) -> tuple[Tensor, Tensor]:
    """Rows (B,) of a random image of the same class and of one of another class, for each of ``labels`` (B,).

    In a random order, each takes one that comes before it, or any if none does (Zhan et al., released code); an image
    with none at all takes itself. Drawn from torch's global generator.
    """
    place = torch.randperm(len(labels), device=labels.device)
    itself = torch.eye(len(labels), dtype=torch.bool, device=labels.device)
    same, earlier = labels[:, None] == labels, (place < place[:, None]).float()

    def drawn(allowed: Tensor) -> Tensor:
        return torch.where(allowed, torch.rand_like(earlier) + earlier, itself.float() - 2).argmax(1)

    return drawn(same & ~itself), drawn(~same)


@dataclass(frozen=True)
class MixAndMatch(Method):
    """A stage of triplets over the pooled features, head untouched, then one of cross-entropy, with a schedule each.

    The paper is about segmentation, with patches as nodes. Nobody published the version for classification that is
    in the tables of Core-Tuning and COIN; this one, with whole images as nodes and two stages, is our choice.
    """

    paper = "Zhan et al., 'Mix-and-Match Tuning for Self-Supervised Semantic Segmentation', AAAI 2018"

    margin: float = hyper(2.1, low=0, source="released code, for segmentation; its use on whole images is our choice")
    share: float = hyper(0.2, low=0, high=1, source="of the budget for the triplets; our choice")

    def stages(self, model: Model, recipe: Recipe, data: TrainingImages) -> Iterator[Stage]:
        """Triplets train the backbone, then cross-entropy trains everything."""
        yield Stage(model, self.triplets, recipe.share(self.share), train=(model.backbone,))
        yield Stage(model, self.loss, recipe.rest(self.share))

    def triplets(self, model: Model, batch: Batch) -> Terms:
        """The triplet loss over links that are drawn anew at every step."""
        positives, negatives = random_links(batch.labels)
        return {"triplet": triplet_loss(model(batch.images).features, positives, negatives, self.margin)}

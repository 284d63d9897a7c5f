"""N-pair loss: LaCViT's other baseline, then fine-tuning with a new head (Sohn, NeurIPS 2016)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from bench.backbones import Model
from bench.data import TrainingImages
from bench.losses import at_least_float32
from bench.method import Batch, Method, Stage, Terms, hyper
from bench.protocol import Recipe


def draw_pairs(labels: Tensor) -> Tensor:
    """One random pair of each class that has two samples or more, by torch's generator.

    Args:
        labels: (B,) class indices.

    Returns:
        (2, n): the rows of the anchors and of their positives, two different ones of a class, by ascending class.
    """
    shuffled = torch.randperm(len(labels), device=labels.device)
    order = shuffled[labels[shuffled].argsort(stable=True)]
    starts = labels[order].diff(prepend=labels.new_full((1,), -1)) != 0
    at = (starts[:-1] & ~starts[1:]).nonzero().squeeze(1)
    return torch.stack([order[at], order[at + 1]])


def n_pair(anchors: Tensor, positives: Tensor, l2_reg: float) -> Tensor:
    """Multi-class N-pair loss with its penalty on the length of the features (Sohn, 2016, eq. 6 and section 3.2.2).

        1/n Σ_i log(1 + Σ_{j≠i} exp(a_i·p_j − a_i·p_i)) + l2_reg / n Σ_i (‖a_i‖² + ‖p_i‖²)

    The dot products of features that are not normalised overflow an exponential; the first term is taken as a
    logsumexp of which j = i gives the zero logit.

    Args:
        anchors: (n, D), each of a class of its own.
        positives: (n, D), of the same classes.
        l2_reg: factor of the penalty.

    Returns:
        (), nats plus the penalty in squared units of the features; computed in float32 at least, under autocast too.
        0 with a zero gradient, still part of the graph, for n = 0.

    Raises:
        ValueError: the two are not of one shape (n, D).
    """
    if anchors.ndim != 2 or anchors.shape != positives.shape:
        raise ValueError(f"anchors {tuple(anchors.shape)} and positives {tuple(positives.shape)} must be one (n, D)")
    with torch.autocast(anchors.device.type, enabled=False):
        anchors, positives = at_least_float32(anchors), at_least_float32(positives)
        products = anchors @ positives.T
    losses = (products - products.diagonal()[:, None]).logsumexp(1)
    lengths = anchors.square().sum(1) + positives.square().sum(1)
    return (losses + l2_reg * lengths).sum() / max(1, len(anchors))


@dataclass(frozen=True)
class NPair(Method):
    """N-pair loss of pairs drawn from each batch, no projector, no normalisation, one view; then cross-entropy.

    The released code samples batches of so many classes and images a class; here they are drawn as for any method, and
    classes with a single image in a batch are passed over.
    """

    paper = "Sohn, 'Improved Deep Metric Learning with Multi-class N-pair Loss', NeurIPS 2016, as LaCViT's baseline"

    share: float = hyper(
        0.83, low=0, high=1, source="of all epochs for stage 1; our choice, as lacvit: its paper is silent on this"
    )
    contrast_batch: int = hyper(
        0, low=0, source="images of a step of stage 1; 0: the protocol's; our choice, as lacvit"
    )
    l2_reg: float = hyper(0.02, low=0, source="LaCViT's released code")
    variant: str = hyper(
        "paper",
        choices=("paper", "released"),
        source="released: stage 2 trains only the head (linear probe)",
    )

    def stages(self, model: Model, recipe: Recipe, data: TrainingImages) -> Iterator[Stage]:
        """Two stages, each with a whole schedule."""

        def contrast(model: Model, batch: Batch) -> Terms:
            anchors, positives = model(batch.images).features[draw_pairs(batch.labels)]
            return {"npair": n_pair(anchors, positives, self.l2_reg)}

        images = data.fed(self.contrast_batch)
        yield Stage(model, contrast, recipe.share(self.share), train=(model.backbone,), data=images)
        tuned = model.head if self.variant == "released" else model
        yield Stage(model, self.loss, recipe.rest(self.share), train=(tuned,))

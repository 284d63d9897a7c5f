"""DELTA: keep the feature maps of the source, those of the filters that matter most of all (Li et al., ICLR 2019)."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from bench.backbones import Model
from bench.data import TrainingImages
from bench.losses import at_least_float32, squared_norm
from bench.method import Batch, Method, Stage, Terms, frozen, hyper, replace
from bench.protocol import Recipe

MAPS = ("conv_map_1", "conv_map_2", "conv_map_3", "conv_map_4")


def attentive_distance(student: Sequence[Tensor], source: Sequence[Tensor], weights: Sequence[Tensor]) -> Tensor:
    """Squared distance of feature maps, each channel with its weight (DELTA, section 3; scaled as the released code):

        Σ_layers Σ_images Σ_c 1/2 · C · w_c · ‖F_c − F⁰_c‖² / (H W)

    The weights of a layer sum to 1, so that C w_c is 1 on average.

    Args:
        student: a map (B, C, H, W) of each layer.
        source: of the same shapes, of the frozen pre-trained network on the same images.
        weights: (C,) of each layer.

    Returns:
        (), in squared units of the maps: a sum over layers, images and channels and a mean over places, so that it
        grows with the batch. Computed in float32 at least.

    Raises:
        ValueError: the numbers of layers or the shapes do not agree.
    """
    total = []
    for now, before, weight in zip(student, source, weights, strict=True):
        if weight.shape != now.shape[1:2]:
            raise ValueError(f"weights {tuple(weight.shape)} must be (C,) for a map {tuple(now.shape)}, (B, C, H, W)")
        per_channel = _difference(now, before).square().mean((2, 3)).sum(0)
        total.append(0.5 * len(weight) * (at_least_float32(weight) * per_channel).sum())
    return torch.stack(total).sum()


def plain_distance(student: Sequence[Tensor], source: Sequence[Tensor]) -> Tensor:
    """Half the squared distance of feature maps, without attention: Σ_layers 1/2 ‖F − F⁰‖² (released code).

    Args:
        student: a map (B, C, H, W) of each layer.
        source: of the same shapes, of the frozen pre-trained network on the same images.

    Returns:
        (), a sum over layers, images, channels and places; computed in float32 at least.

    Raises:
        ValueError: the numbers of layers or the shapes do not agree.
    """
    squares = [_difference(now, before).square().sum() for now, before in zip(student, source, strict=True)]
    return 0.5 * torch.stack(squares).sum()


def loss_increases(filters: Tensor, loss: Callable[[], Tensor]) -> Tensor:
    """How much a loss grows when each filter in turn is set to zero (DELTA, section 3).

    Args:
        filters: (C, ...), the weight of a convolution; changed in place meanwhile and the same bits afterwards.
        loss: gives the loss, a scalar, with the filters as they are.

    Returns:
        (C,), in units of the loss; negative where it shrinks.
    """
    with torch.no_grad():
        intact, increases = loss(), []
        for number in range(len(filters)):
            kept = filters[number].clone()
            filters[number].zero_()
            increases.append(loss() - intact)
            filters[number].copy_(kept)
        return torch.stack(increases)


def channel_weights(increases: Tensor, temperature: float = 5.0) -> Tensor:
    """Softmax of the standardised increases of the loss over the channels of a layer (released code).

    Args:
        increases: (C,), of the loss without each filter.
        temperature: what the standardised increases are divided by.

    Returns:
        (C,), positive, of sum 1; all alike where all increases are. Computed in float32 at least.

    Raises:
        ValueError: ``increases`` is not (C,).
    """
    if increases.ndim != 1:
        raise ValueError(f"increases {tuple(increases.shape)} must be (C,)")
    increases = at_least_float32(increases)
    spread = increases.std(correction=0).clamp(min=torch.finfo(increases.dtype).tiny)
    return ((increases - increases.mean()) / spread / temperature).softmax(0)


def first_share(share: float, steps: int) -> float:
    """The share of a budget that the first head takes: ``share``, or what makes one step where that is less."""
    return max(share, math.ceil(1e6 / steps) / 1e6)


def _difference(student: Tensor, source: Tensor) -> Tensor:
    if student.shape != source.shape or student.ndim != 4:
        raise ValueError(f"maps {tuple(student.shape)} and {tuple(source.shape)} must have one shape (B, C, H, W)")
    return at_least_float32(student) - at_least_float32(source)


@dataclass(frozen=True)
class DELTA(Method):
    """Cross-entropy plus alpha times the weighted distance of four feature maps, plus beta/2 ‖w‖² of the head.

    The maps are what the last convolution of each stage puts out, before its batch norm. The weights of their channels
    come first: a linear head is trained on the frozen source, then each filter is set to zero in turn and the increase
    of the cross-entropy on training batches is kept. That head is thrown away; fine-tuning starts with the run's own,
    as the released code starts with a new one.

    Steps: the budget is that of all stages together, so the first head takes ``share`` of it, one step at least; the
    authors' 10 epochs came on top of theirs. The passes for the weights (batches × filters, forward only) do not count
    as steps. Without attention there is no first stage.

    Where they differ, ``variant`` decides: the paper's source is frozen while the head is trained; in the released code
    its batch norms are in training mode then, so that its running statistics drift before the filters are judged.
    """

    paper = (
        "Li et al., 'DELTA: DEep Learning Transfer using Feature Map with Attention for Convolutional Networks', "
        "ICLR 2019, section 3"
    )
    needs = {"conv_map_1", "conv_map_2", "conv_map_3", "conv_map_4", "last_convs"}
    per_image = True

    alpha: float = hyper(0.01, low=0, source="released code, for a sum over a batch of 64 (Stanford Dogs: 0.1)")
    beta: float = hyper(0.01, low=0, source="released code; applied to the new head, weight and bias")
    attention: bool = hyper(True, source="paper section 3; false: the feature maps as they are, without weights")
    batches: int = hyper(4, low=1, source="released code: training batches on which filters are judged")
    share: float = hyper(0.1, low=0, high=0.9, source="our choice: the released code's 10 epochs beside about 100")
    variant: str = hyper("paper", choices=("paper", "released"), source="batch norms while the first head is trained")
    replaces_decay: bool = hyper(True, source="released code: no weight decay where it has penalties")

    def stages(self, model: Model, recipe: Recipe, data: TrainingImages) -> Iterator[Stage]:
        """With attention, a stage for the head that judges the filters; then fine-tuning beside a frozen copy."""
        source, weights, rest = frozen(model), None, recipe
        if self.attention:
            judge, part = frozen(model), first_share(self.share, recipe.last - recipe.first)
            yield Stage(judge, self.first_loss, recipe.share(part), train=(judge.head,))
            weights, rest = self.weights(judge, data), recipe.rest(part)
        head = list(model.head.parameters())

        def loss(model: Model, batch: Batch) -> Terms:
            output, target = model(batch.images, probe=MAPS), source(batch.images, probe=MAPS)
            maps, targets = [output[name] for name in MAPS], [target[name] for name in MAPS]
            distance = attentive_distance(maps, targets, weights) if weights else plain_distance(maps, targets)
            return {
                "ce": batch.cross_entropy(output),
                "delta": self.alpha * distance,
                "l2": self.beta * squared_norm(head),
            }

        yield Stage(model, loss, replace(rest, weight_decay=0.0) if self.replaces_decay else rest)

    def first_loss(self, judge: Model, batch: Batch) -> Terms:
        """Cross-entropy of the head on the source, whose batch norms run in training mode in the released code."""
        judge.backbone.train(self.variant == "released")
        return {"ce": batch.cross_entropy(judge(batch.images))}

    def weights(self, judge: Model, data: TrainingImages) -> list[Tensor]:
        """The weights of the channels of the four maps, from the first batches of the run, in eval mode."""
        judge.eval()
        given = [data.batch(number) for number in range(self.batches)]

        def loss() -> Tensor:
            return torch.stack([batch.cross_entropy(judge(batch.images)) for batch in given]).mean()

        convolutions = [part for part in judge.part("last_convs") if isinstance(part, nn.Conv2d)]
        return [channel_weights(loss_increases(convolution.weight, loss)) for convolution in convolutions]

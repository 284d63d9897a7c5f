"""The landscape of loss and accuracy around a trained model, along random directions normalised filter by filter.

Li et al. (NeurIPS 2018, section 4), as Feature Distillation draws it (Figs. 5 and 6): a direction is Gaussian, and each
of its filters gets the norm that this filter of the model has. A filter is a row of a weight: what one output of a
layer is computed with. Biases, and the weights of norms and whatever else has one number an output, get none: their
direction is zero (Li et al. ignore them likewise). The model is moved by a times the direction, a from −range to range;
at a = 0 it is the model as it was kept.

Statistics of batch norms are kept by default, since then the landscape at 0 is the model's own. Away from 0 they are
those of other weights, and much of what is lost there may be lost by them. With ``norms=estimated`` they are taken
anew at every point, 0 among them, in passes over the same images, without gradient.

``flat_width`` is the mean over directions and their two sides of the distance at which 90 % of the accuracy at 0 are
left, in norms of a filter; ``curvature`` the mean over directions of the loss's second difference at 0, taken over the
nearest points.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from bench.measure import CannotMeasure, Measure, Measured
from bench.metrics import Metric
from bench.spec import derive

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

    from bench.models.subject import Subject

Floats = npt.NDArray[np.float64]
Direction = dict[str, "Tensor"]
"""Of each weight that is moved, by its name in the model, a tensor of its shape."""

MEASURE = Measure(
    "landscape",
    gives=(
        Metric("flat_width", "half-width at 90 % of the accuracy", "", low=0, decimals=3, measure="landscape"),
        Metric("curvature", "curvature of the loss", "", lower=True, decimals=2, measure="landscape"),
    ),
    images=500,
    options={"directions": 5, "points": 21, "range": 1.0, "dimensions": 1, "norms": "kept"},
    source="Li et al., NeurIPS 2018, section 4; drawn as in Wei et al. 2022 (FD), Figs. 5 and 6",
)

NORMS = ("kept", "estimated")
BATCH = 128
"""Images at a time; for each batch the model is moved to every point."""

KEPT_SHARE = 0.9
"""Of the accuracy at 0: where less is left, the landscape counts as no longer flat."""


def measure(subject: Subject) -> Measured:
    """Loss (cross-entropy, in nats) and accuracy (top-1, in percent) at each point.

    Arrays: ``positions`` (P,), and ``loss`` and ``accuracy``, (directions, P) along lines or, with ``dimensions=2``,
    (P, P) in the plane of the first two directions, the first one down.

    Raises:
        CannotMeasure: the model's head is not trained, or an option has no meaning.
    """
    wanted = _wanted(subject)
    if subject.of_source:
        raise CannotMeasure("the pre-trained model's head is not trained, so that it has no accuracy to lose")
    positions = positions_of(wanted.points, wanted.range)
    if wanted.in_plane:
        loss, accuracy = _plane(subject, positions, wanted.norms)
        centre = len(positions) // 2
        losses, accuracies = (np.stack([each[:, centre], each[centre]]) for each in (loss, accuracy))
    else:
        loss, accuracy = losses, accuracies = _lines(subject, positions, wanted)
    widths = [width for line in accuracies for width in half_widths(positions, line)]
    numbers = {
        "flat_width": float(np.mean([width for width, _ in widths])),
        "curvature": float(np.mean([second_difference(positions, line) for line in losses])),
    }
    never = sum(not is_reached for _, is_reached in widths)
    return Measured(
        numbers,
        {"positions": positions, "loss": loss, "accuracy": accuracy},
        _remarks(subject, wanted, never, len(widths)),
    )


def _lines(subject: Subject, positions: Floats, wanted: _Wanted) -> tuple[Floats, Floats]:
    """Loss and accuracy along each direction, (directions, P); one direction at a time is in memory."""
    points = [(position,) for position in positions]
    lines = []
    for number in range(wanted.directions):
        lines.append(surface(subject, [draw_direction(subject.model, number)], points, wanted.norms))
    return np.stack([loss for loss, _ in lines]), np.stack([accuracy for _, accuracy in lines])


def _plane(subject: Subject, positions: Floats, norms: str) -> tuple[Floats, Floats]:
    """Loss and accuracy in the plane of the first two directions, (P, P)."""
    directions = [draw_direction(subject.model, number) for number in (0, 1)]
    points = [(down, along) for down in positions for along in positions]
    loss, accuracy = surface(subject, directions, points, norms)
    return loss.reshape(len(positions), -1), accuracy.reshape(len(positions), -1)


@dataclass(frozen=True)
class _Wanted:
    """The options, checked."""

    directions: int
    points: int
    range: float
    norms: str
    in_plane: bool


def _wanted(subject: Subject) -> _Wanted:
    options = subject.options
    directions, points, reach = int(options["directions"]), int(options["points"]), float(options["range"])
    if directions < 1:
        raise CannotMeasure(f"directions={directions}: at least one is drawn")
    if points < 3 or points % 2 == 0:
        raise CannotMeasure(f"points={points}: an odd number of 3 or more, so that the model itself is among them")
    if not 0 < reach < math.inf:
        raise CannotMeasure(f"range={reach}: a number above 0, in norms of a filter")
    if options["dimensions"] not in (1, 2):
        raise CannotMeasure(f"dimensions={options['dimensions']}: 1 (lines) or 2 (a plane)")
    if options["norms"] not in NORMS:
        raise CannotMeasure(f"norms={options['norms']}: {' or '.join(NORMS)}")
    return _Wanted(directions, points, reach, str(options["norms"]), options["dimensions"] == 2)


def _remarks(subject: Subject, wanted: _Wanted, never: int, sides: int) -> tuple[str, ...]:
    remarks = []
    if never:
        remarks.append(
            f"flat_width: on {never} of {sides} sides more than 90 % of the accuracy are left within the range, which "
            f"then counts as the width; a greater range (--option range={2 * wanted.range:g}) tells"
        )
    if _norms_of(subject.model):
        how = "as they were kept, so they are those of other weights" if wanted.norms == "kept" else "estimated anew"
        another = NORMS[1 - NORMS.index(wanted.norms)]
        remarks.append(f"batch norms: statistics at each point are {how} (--option norms={another} for the other way)")
    return tuple(remarks)


# ---- formulas


def positions_of(points: int, reach: float) -> Floats:
    """So many positions from −reach to reach, 0 exactly in the middle."""
    half = points // 2
    return np.arange(-half, half + 1) * reach / half


def half_widths(positions: Floats, accuracy: Floats) -> list[tuple[float, bool]]:
    """On either side of 0 how far 90 % of the accuracy at 0 are left, and whether less is left within the range.

    Between two positions the accuracy is taken to fall in a line; where more is left everywhere, the last position
    counts.
    """
    centre = len(positions) // 2
    sides = []
    for indices in (range(centre, -1, -1), range(centre, len(positions))):
        away, left = np.abs(positions[indices]), accuracy[indices]
        level = KEPT_SHARE * left[0]
        if not level:  # of nothing no share can be left
            sides.append((math.nan, False))
            continue
        below = np.flatnonzero(left < level)
        if not below.size:
            sides.append((float(away[-1]), False))
            continue
        outside = int(below[0])
        inside = outside - 1
        share = (left[inside] - level) / (left[inside] - left[outside])
        sides.append((float(away[inside] + share * (away[outside] - away[inside])), True))
    return sides


def second_difference(positions: Floats, loss: Floats) -> float:
    """The second derivative of a loss at 0, by its neighbours."""
    centre = len(positions) // 2
    step = positions[centre + 1]
    return float((loss[centre - 1] - 2 * loss[centre] + loss[centre + 1]) / step**2)


def filters_of(weight: Tensor) -> Tensor | None:
    """The filters of a weight, (F, n): its rows; None where it has one number an output, as biases and norms.

    Of embedded positions and tokens, (1, N, D), each is a filter.
    """
    rows = weight[0] if weight.dim() == 3 and len(weight) == 1 else weight
    if rows.dim() < 2 or rows[0].numel() < 2:
        return None
    return rows.flatten(1)


def normalised(direction: Tensor, weight: Tensor) -> Tensor:
    """A direction of a weight's shape, each filter of which has the norm of that filter of the weight; zero without.

    Norms are taken in double precision.
    """
    rows, filters = filters_of(direction), filters_of(weight)
    if rows is None or filters is None:
        return direction * 0
    lengths = rows.double().norm(dim=1, keepdim=True).clamp_min(1e-30)
    scale = filters.double().norm(dim=1, keepdim=True) / lengths
    scaled: Tensor = (rows.double() * scale).to(direction.dtype).reshape(direction.shape)
    return scaled


def draw_direction(model: nn.Module, number: int) -> Direction:
    """The direction of that number, normalised; of weights without filters nothing, which is zero.

    The draws depend on the number and on the weights' shapes alone, so that models of one architecture share them.
    """
    import torch

    generator = torch.Generator().manual_seed(derive("landscape", number))
    drawn = {}
    for name, weight in model.named_parameters():
        if filters_of(weight) is not None:
            noise = torch.randn(weight.shape, generator=generator).to(weight.device, weight.dtype)
            drawn[name] = normalised(noise, weight.detach())
    return drawn


# ---- the model, moved and put back


@contextmanager
def put_back(model: nn.Module) -> Iterator[Mapping[str, Tensor]]:
    """Inside, weights and buffers may be written; gives them as they were, and puts them back bit for bit.

    Modes and the momenta of batch norms are put back, too.
    """
    import torch

    tensors = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    kept = {name: tensor.detach().clone() for name, tensor in tensors.items()}
    modes = {module: module.training for module in model.modules()}
    momenta = {norm: norm.momentum for norm in _norms_of(model)}
    try:
        yield kept
    finally:
        with torch.no_grad():
            for name, tensor in tensors.items():
                tensor.copy_(kept[name])
        for module, mode in modes.items():
            module.training = mode
        for norm, momentum in momenta.items():
            norm.momentum = momentum


def surface(
    subject: Subject, directions: Sequence[Direction], points: Sequence[Sequence[float]], norms: str = "kept"
) -> tuple[Floats, Floats]:
    """Loss in nats and accuracy in percent, (points,) each, with the weights moved along some directions.

    Every image is decoded once a pass, and no more than a batch of them is in memory.

    Args:
        subject: the model, and the images.
        directions: one or more, normalised.
        points: of each, how far along each direction.
        norms: ``kept``, or ``estimated`` for statistics of batch norms that are taken anew at each point.
    """
    import torch

    model = subject.model
    loss, right = (torch.zeros(len(points), dtype=torch.float64, device=subject.device) for _ in range(2))
    with torch.no_grad(), put_back(model) as kept:
        moving = _Moving(model, kept, directions)
        statistics = _estimated(subject, moving, points) if norms == "estimated" and _norms_of(model) else []
        for images, labels in subject.batches(BATCH):
            for at, point in enumerate(points):
                moving.to(point)
                if statistics:
                    _write_statistics(model, statistics[at])
                with subject.precision():
                    logits = model(images).logits
                logs = logits.double().log_softmax(1)
                loss[at] -= logs.gather(1, labels[:, None]).sum()
                right[at] += (logits.argmax(1) == labels).sum()
    count = len(subject.split)
    return (loss / count).cpu().numpy(), (100 * right / count).cpu().numpy()


@dataclass
class _Moving:
    """A model whose weights are moved along directions from where they were kept."""

    model: nn.Module
    kept: Mapping[str, Tensor]
    directions: Sequence[Direction]
    weights: dict[str, nn.Parameter] = field(init=False)

    def __post_init__(self) -> None:
        self.weights = dict(self.model.named_parameters())

    def to(self, point: Sequence[float]) -> None:
        """Move it; at zero it is bit for bit as it was kept."""
        for name in self.directions[0]:
            weight = self.weights[name]
            weight.copy_(self.kept[name])
            for direction, position in zip(self.directions, point, strict=True):
                if position:
                    weight.add_(direction[name], alpha=position)


def _norms_of(model: nn.Module) -> list[torch.nn.modules.batchnorm._BatchNorm]:
    """The batch norms with statistics of their own."""
    from torch import nn

    norms = (module for module in model.modules() if isinstance(module, nn.modules.batchnorm._BatchNorm))
    return [norm for norm in norms if norm.running_mean is not None]


def _estimated(subject: Subject, moving: _Moving, points: Sequence[Sequence[float]]) -> list[list[Tensor]]:
    """The statistics of all batch norms at each point: means over batches, by their images, of what each batch has."""
    import torch

    model = subject.model
    norms = _norms_of(model)
    statistics = [[torch.zeros_like(tensor) for tensor in _statistics(model)] for _ in points]
    seen = 0
    for images, _ in subject.batches(BATCH):
        if len(images) < 2:  # of one image there may be one number alone, which has no variance
            continue
        seen += len(images)
        for norm in norms:
            norm.train()
            norm.momentum = len(images) / seen
        for at, point in enumerate(points):
            moving.to(point)
            _write_statistics(model, statistics[at])
            with subject.precision():
                model(images)
            statistics[at] = [tensor.clone() for tensor in _statistics(model)]
    for norm in norms:
        norm.eval()
    if not seen:
        raise CannotMeasure("statistics of batch norms are estimated on two images or more")
    return statistics


def _statistics(model: nn.Module) -> list[Tensor]:
    """The running statistics of all batch norms."""
    both = ((norm.running_mean, norm.running_var) for norm in _norms_of(model))
    return [statistic for pair in both for statistic in pair if statistic is not None]


def _write_statistics(model: nn.Module, statistics: Sequence[Tensor]) -> None:
    for statistic, value in zip(_statistics(model), statistics, strict=True):
        statistic.copy_(value)

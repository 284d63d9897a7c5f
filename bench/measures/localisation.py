"""Localisation: how well the places of two tokens, one relative to the other, can be told from the tokens themselves.

The task of DRLoc (Liu et al., NeurIPS 2021, eq. 1 and 2): from the final tokens of two places of the grid, tell how far
apart these lie along either axis. DRLoc's own head is trained beside the model and not kept with it. So this is a
probe: a new head of DRLoc's shape (two hidden layers of 512) is trained on the tokens that the frozen model gives for
training images, for so many declared steps, and then asked about the measured images. It tells how much of places can
be read from the tokens of a model, trained by DRLoc or by any other method, and not what DRLoc's head had learnt.

As DRLoc, fine grids (14 places a side or more) are averaged over 2 × 2 places first. Tokens are put on one scale by the
mean and deviation of each channel over the training images.
"""

from __future__ import annotations

from dataclasses import dataclass
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

MEASURE = Measure(
    "localisation",
    gives=(
        Metric(
            "localisation_error",
            "error of guessed distances",
            "steps",
            lower=True,
            low=0,
            decimals=2,
            measure="localisation",
        ),
        Metric("localisation_accuracy", "distances guessed right", "%", low=0, high=100, measure="localisation"),
    ),
    images=1000,
    needs=("grid",),
    options={"steps": 400, "pairs": 16, "training_images": 1000, "seed": 0},
    source="the task of DRLoc, Liu et al., NeurIPS 2021, eq. 1 and 2, as a probe of frozen tokens",
)

FINE = 14
HIDDEN = 512
BATCH = 64
LEARNING_RATE = 1e-3


def measure(subject: Subject) -> Measured:
    """The numbers: ``localisation_error``, the mean over images and pairs of |du| + |dv|, how far the guessed distances
    along both axes are from the true ones, in steps of the grid; ``localisation_accuracy``, the share of pairs, in
    percent, for which both are right when they are rounded. Arrays: ``distance`` (2k − 1,), true |Δu| + |Δv|; of the
    pairs of each distance their ``count``, mean ``error`` and ``accuracy``, nan without any; ``constant_error``, the
    error of whoever guesses the median distance of every pair; ``side``, k of the k × k grid.

    Raises:
        CannotMeasure: the grid is not square, or is a single place; or an option has no meaning.
    """
    import torch

    options = {name: int(value) for name, value in subject.options.items()}
    if wrong := next((name for name in ("steps", "pairs", "training_images") if options[name] < 1), ""):
        raise CannotMeasure(f"{wrong}={options[wrong]}: a number of 1 or more")
    seed = derive("localisation", options["seed"])
    training = subject.of_training(options["training_images"])
    tokens = torch.cat([_grid(training, images) for images, _ in training.batches(BATCH)])
    probe = trained_probe(tokens, options["steps"], options["pairs"], seed)
    side = tokens.shape[1]
    guesses = Guesses(side)
    generator = torch.Generator().manual_seed(derive("localisation test", options["seed"]))
    for images, _ in subject.batches(BATCH):
        grid = _grid(subject, images)
        places = draw_places(len(grid), options["pairs"], side, generator)
        guesses.add(probe.distances(grid, places), (places[0] - places[1]).abs())
    return guesses.measured()


def _grid(subject: Subject, images: Tensor) -> Tensor:
    """The final tokens of images by place, (B, k, k, D), float32, without gradient."""
    import torch
    import torch.nn.functional as F

    with torch.no_grad(), subject.precision():
        grid = subject.model.probe(images, "grid").float()
    if grid.shape[-1] >= FINE:
        grid = F.avg_pool2d(grid, 2, ceil_mode=True)
    height, width = grid.shape[-2:]
    if height != width or height < 2:
        raise CannotMeasure(f"its final tokens lie on a grid of {height} × {width}: it takes a square of 2 × 2 or more")
    return grid.permute(0, 2, 3, 1)


def draw_places(images: int, pairs: int, side: int, generator: torch.Generator) -> Tensor:
    """Pairs of places of a grid, rows and columns, (2, images, pairs, 2)."""
    import torch

    return torch.randint(side, (2, images, pairs, 2), generator=generator)


@dataclass
class DistanceProbe:
    """A head that guesses how far apart the places of two tokens lie, with the scale of what it was trained on."""

    layers: nn.Module
    mean: Tensor
    deviation: Tensor
    side: int

    def distances(self, grid: Tensor, places: Tensor) -> Tensor:
        """Guessed distances along rows and columns, (B, pairs, 2), in steps of the grid.

        Args:
            grid: (B, k, k, D).
            places: (2, B, pairs, 2).
        """
        import torch

        images = torch.arange(len(grid), device=grid.device)[:, None]
        scaled = (grid - self.mean) / self.deviation
        first, second = (scaled[images, each[..., 0], each[..., 1]] for each in places.to(grid.device))
        guessed: Tensor = self.layers(torch.cat([first, second], -1))
        return self.side * guessed


def trained_probe(tokens: Tensor, steps: int, pairs: int, seed: int) -> DistanceProbe:
    """A probe trained on tokens (N, k, k, D) to guess distances over k by their L1 error (eq. 2).

    Adam from a learning rate of 0.001, down half a cosine. Weights, batches and pairs depend on the seed alone; torch's
    own generator is left as it was.
    """
    import torch
    from torch import nn

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        dim, side = tokens.shape[-1], tokens.shape[1]
        layers = nn.Sequential(
            nn.Linear(2 * dim, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, 2)
        )
    layers.to(tokens.device)
    generator = torch.Generator().manual_seed(seed)
    flat = tokens.flatten(0, 2)
    probe = DistanceProbe(layers, flat.mean(0), flat.std(0, correction=0).clamp_min(1e-6), side)
    optimizer = torch.optim.Adam(layers.parameters(), LEARNING_RATE)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for _ in range(steps):
        chosen = torch.randint(len(tokens), (min(BATCH, len(tokens)),), generator=generator)
        places = draw_places(len(chosen), pairs, side, generator)
        true = (places[0] - places[1]).abs().to(tokens.device)
        loss = (probe.distances(tokens[chosen.to(tokens.device)], places) - true).abs().sum(-1).mean() / side
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        schedule.step()
    layers.requires_grad_(False)
    return probe


class Guesses:
    """What was guessed of pairs, by their true distance."""

    def __init__(self, side: int) -> None:
        self.side = side
        self.count, self.error, self.right = (np.zeros(2 * side - 1) for _ in range(3))
        self.axes = np.zeros(side)

    def add(self, guessed: Tensor, true: Tensor) -> None:
        """Guessed and true distances along both axes, (B, pairs, 2), in steps."""
        away, sides = guessed.double().cpu().numpy(), true.cpu().numpy()
        distance = sides.sum(-1).ravel()
        error = np.abs(away - sides).sum(-1).ravel()
        right = (np.round(away) == sides).all(-1).ravel()
        length = len(self.count)
        self.count += np.bincount(distance, minlength=length)
        self.error += np.bincount(distance, error, length)
        self.right += np.bincount(distance, right, length)
        self.axes += np.bincount(sides.ravel(), minlength=self.side)

    def measured(self) -> Measured:
        """The numbers and arrays of all that was added."""
        pairs = self.count.sum()
        constant = 2 * constant_error(self.axes)
        by_distance = np.maximum(self.count, 1)
        arrays = {
            "distance": np.arange(len(self.count)),
            "count": self.count,
            "error": np.where(self.count > 0, self.error / by_distance, np.nan),
            "accuracy": np.where(self.count > 0, 100 * self.right / by_distance, np.nan),
            "constant_error": np.array(constant),
            "side": np.array(self.side),
        }
        numbers = {
            "localisation_error": float(self.error.sum() / pairs),
            "localisation_accuracy": float(100 * self.right.sum() / pairs),
        }
        remark = (
            f"a probe on {self.side} × {self.side} places; guessing the median distance of every pair errs by "
            f"{constant:.2f} steps; compare models of one grid alone"
        )
        return Measured(numbers, arrays, (remark,))


def constant_error(counts: Floats) -> float:
    """The mean error of telling the median of distances along an axis, each counted so often."""
    steps = np.arange(len(counts))
    median = int(np.searchsorted(np.cumsum(counts), counts.sum() / 2))
    return float((counts * np.abs(steps - median)).sum() / counts.sum())

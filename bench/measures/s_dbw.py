"""S_Dbw: how compact the features of each class are, and how many images lie between two classes. Less is better.

S_Dbw = Scat + Dens_bw. Scat is the mean spread of a class beside that of all images; Dens_bw is, over pairs of classes,
the number of images near the point between their centres beside that near the centres themselves. Halkidi and
Vazirgiannis (ICDM 2001) define it for points in few dimensions. In many no image lies near any centre, so Dens_bw is 0
and the score is Scat alone; a remark says so.

Four forms are computed, the classes being the true ones:

``s_dbw`` is the paper's, with Scat and Dens_bw beside it. The spread of images is the vector of their *variances*, a
centre is a mean, *near* is within one distance for all classes, and images of both classes of a pair count everywhere.

``s_dbw_halkidi``, ``s_dbw_kim`` and ``s_dbw_tong`` are what the package s-dbw 0.4.0 computes of its three methods as it
comes: of *standard deviations*, with the image nearest to its class's mean as centre, near which images of its own
class count. Kim weighs classes in Scat and takes a box in the place of a ball; Tong also divides Scat by one class
less, and moves the point between two centres. COIN's released code calls the package with Tong.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from bench.measure import CannotMeasure, Measure, Measured
from bench.metrics import Metric
from bench.notation import listed

if TYPE_CHECKING:
    from bench.models.subject import Subject

Array = npt.NDArray[np.float64]


def _metric(name: str, title: str) -> Metric:
    return Metric(name, title, "", lower=True, low=0, decimals=3, measure="s_dbw")


MEASURE = Measure(
    "s_dbw",
    gives=(
        _metric("s_dbw", "S_Dbw"),
        _metric("scat", "Scat"),
        _metric("dens_bw", "Dens_bw"),
        _metric("s_dbw_halkidi", "S_Dbw (package, Halkidi)"),
        _metric("s_dbw_kim", "S_Dbw (package, Kim)"),
        _metric("s_dbw_tong", "S_Dbw (package, Tong)"),
        _metric("scat_tong", "Scat (package, Tong)"),
        _metric("dens_bw_tong", "Dens_bw (package, Tong)"),
    ),
    source="Halkidi and Vazirgiannis, ICDM 2001; the package s-dbw 0.4.0",
)

LAMBDA = 0.7
"""Tong's weight of the point between two centres that their classes' sizes give; the rest is their densities'."""

REACH = 1.96
"""Half the width of Kim's and Tong's boxes, in deviations of a mean."""

PAIRS, NUMBERS = 1 << 17, 1 << 22
"""Pairs of an image and a point, and numbers, that are in memory at a time where each pair is looked at by itself."""


@dataclass(frozen=True)
class Classes:
    """Features by class, over c classes of width D.

    Attributes:
        rows: of each class, (n_i, D), in the order in which they were given.
        counts: n_i, (c,).
        means: (c, D), and ``deviations``, with 1 / n_i.
        nearest: of each class the row that is nearest to its mean, (c, D).
        overall: deviations of all rows, (D,).
    """

    rows: tuple[npt.NDArray[np.floating], ...]
    counts: npt.NDArray[np.int64]
    means: Array
    deviations: Array
    nearest: Array
    overall: Array


@dataclass(frozen=True)
class Score:
    """What a form gives.

    Attributes:
        lonely: classes near whose centre lies no image, but for the one that is the centre.
    """

    scat: float
    dens_bw: float
    lonely: int

    @property
    def s_dbw(self) -> float:
        return self.scat + self.dens_bw


def measure(subject: Subject) -> Measured:
    """Of the pooled features of all images. Raises ``CannotMeasure``: they have one class, or are all the same."""
    classes = split_by_class(*subject.features())
    if len(classes.counts) < 2:
        raise CannotMeasure("its images are all of one class, and S_Dbw compares classes")
    if classes.counts.max() == 1:
        raise CannotMeasure("each of its classes has one image, and S_Dbw is about how images of a class lie")
    if all((rows == classes.rows[0][:1]).all() for rows in classes.rows):
        raise CannotMeasure("its features are the same for all images")
    halkidi, kim, tong = package(classes, "halkidi"), package(classes, "kim"), package(classes, "tong")
    defined = published(classes)
    numbers = {
        "s_dbw": defined.s_dbw,
        "scat": defined.scat,
        "dens_bw": defined.dens_bw,
        "s_dbw_halkidi": halkidi.s_dbw,
        "s_dbw_kim": kim.s_dbw,
        "s_dbw_tong": tong.s_dbw,
        "scat_tong": tong.scat,
        "dens_bw_tong": tong.dens_bw,
    }
    scores = {"s_dbw": defined, "s_dbw_halkidi": halkidi, "s_dbw_kim": kim, "s_dbw_tong": tong}
    return Measured(numbers, remarks=remarks(scores, *classes.means.shape))


def remarks(scores: dict[str, Score], classes: int, width: int) -> tuple[str, ...]:
    """What is to be told of forms, by name, whose Dens_bw says nothing or little, or is no number."""
    lines = []
    alone = tuple(name for name, score in scores.items() if score.dens_bw == 0)
    if alone:
        lines.append(
            f"{listed(alone)}: no image lies between two classes, so Dens_bw is 0 and the score is Scat alone, as is "
            f"usual in many dimensions (here {width:,})"
        )
    for name, score in scores.items():
        if math.isinf(score.dens_bw):
            lines.append(f"{name}: images lie between two classes and none near their centres, so it has no value")
        elif name not in alone and 2 * score.lonely >= classes:
            lines.append(
                f"{name}: no other image lies near the centre of {score.lonely:,} of {classes:,} classes, so its "
                f"Dens_bw rests on few images (features have {width:,} dimensions)"
            )
    return tuple(lines)


def split_by_class(features: npt.NDArray[np.floating], labels: npt.NDArray[np.int64]) -> Classes:
    """Features (N, D) by their labels (N,); of classes without an image nothing is there."""
    order = np.argsort(labels, kind="stable")
    counts = np.unique(labels, return_counts=True)[1]
    rows = tuple(np.split(features[order], np.cumsum(counts)[:-1]))
    means, deviations, nearest = (np.empty((len(counts), features.shape[1])) for _ in range(3))
    for number, part in enumerate(rows):
        exact = part.astype(np.float64)
        means[number] = exact.mean(0)
        squares = (exact - means[number]) ** 2
        deviations[number] = np.sqrt(squares.mean(0))
        nearest[number] = exact[squares.sum(1).argmin()]
    weights = counts[:, None] / counts.sum()
    mean = (weights * means).sum(0)
    overall = np.sqrt((weights * (deviations**2 + (means - mean) ** 2)).sum(0))
    return Classes(rows, counts, means, deviations, nearest, overall)


def published(classes: Classes) -> Score:
    """As Halkidi and Vazirgiannis define it."""
    spreads = np.linalg.norm(classes.deviations**2, axis=1)
    scat = float(spreads.mean() / np.linalg.norm(classes.overall**2))
    radius = math.sqrt(spreads.sum()) / len(spreads)
    around, between = in_balls(classes, classes.means, radius)
    both = around.diagonal()[:, None] + around
    return Score(scat, _dens_bw(between, np.maximum(both, both.T)), int((around.diagonal() == 0).sum()))


def package(classes: Classes, method: str) -> Score:
    """As s-dbw 0.4.0 computes its methods ``halkidi``, ``kim`` and ``tong`` with all else as it comes."""
    counts, many = classes.counts, len(classes.counts)
    spreads = np.linalg.norm(classes.deviations, axis=1)
    if method == "halkidi":
        scat = float(spreads.sum() / (np.linalg.norm(classes.overall) * many))
        square, between = in_balls(classes, classes.nearest, math.sqrt(spreads.sum()) / many)
        around = square.diagonal()
    else:
        weighted = (spreads * (counts.sum() - counts) / counts.sum()).sum()
        scat = float(weighted / (np.linalg.norm(classes.overall) * (many - (method == "tong"))))
        around, between = in_boxes(classes, moved=method == "tong")
    return Score(scat, _dens_bw(between, np.maximum(around[:, None], around)), int((around <= 1).sum()))


def _dens_bw(between: Array, peaks: Array) -> float:
    """The mean over pairs of different classes of the first beside the second, (c, c) both; none beside none is 0."""
    with np.errstate(divide="ignore", invalid="ignore"):
        shares = np.where(between == 0, 0.0, between / peaks)
    np.fill_diagonal(shares, 0)
    return float(shares.sum() / (len(shares) * (len(shares) - 1)))


def in_balls(classes: Classes, centres: Array, radius: float) -> tuple[Array, Array]:
    """How many rows lie within a radius of centres (c, D), and of the points half way between two of them.

    Distances are of one product of matrices, whose rounding decides nothing: where it could, they are taken anew.

    Returns:
        Rows of class j around the centre of class i, (c, c); rows of classes i and j between their centres, (c, c).
    """
    many = len(centres)
    around, halves = np.zeros((many, many)), np.zeros((many, many))
    for number, part in enumerate(classes.rows):
        rows = part.astype(np.float64)
        near, far = rows - centres[number], centres - centres[number]
        sizes, lengths = np.einsum("nd,nd->n", near, near)[:, None], np.einsum("cd,cd->c", far, far)
        products = near @ far.T
        squared = sizes + lengths - 2 * products
        around[:, number] = _within(squared, radius, rows, centres).sum(0)
        squared = sizes + lengths / 4 - products
        halves[number] = _within(squared, radius, rows, (centres[number] + centres) / 2).sum(0)
    return around, halves + halves.T


def _within(squared: Array, radius: float, rows: Array, points: Array) -> npt.NDArray[np.bool_]:
    """Whether each of rows (n, D) lies within a radius of each of points (c, D): (n, c), by its squared distance.

    These are nearly right; what they leave in doubt is computed from the rows.
    """
    inside: npt.NDArray[np.bool_] = squared <= radius**2
    at, of = np.nonzero(np.abs(squared - radius**2) <= 1e-10 * (squared.max() + radius**2))
    step = max(1, NUMBERS // rows.shape[1])
    for begin in range(0, len(at), step):
        some, points_of = at[begin : begin + step], of[begin : begin + step]
        inside[some, points_of] = np.linalg.norm(rows[some] - points[points_of], axis=1) <= radius
    return inside


def in_boxes(classes: Classes, moved: bool) -> tuple[Array, Array]:
    """How many rows lie in the box around the row nearest to their class's mean, and around the point between two.

    A box reaches on each axis as far as the 95 % interval of a mean does, by the deviations of its class, or by the
    mean of those of both. ``moved``: the point is not half way, but where classes' sizes and densities put it (Tong).

    Returns:
        Rows of each class around its own centre, (c,); rows of classes i and j between their centres, (c, c).
    """
    centres, deviations, counts = classes.nearest, classes.deviations, classes.counts
    many = len(counts)
    around = np.zeros(many)
    for number, part in enumerate(classes.rows):
        half = REACH * deviations[number] / math.sqrt(counts[number])
        around[number] = _inside(part.astype(np.float64), centres[number][None], half[None]).sum()
    halves = np.zeros((many, many))
    for number, part in enumerate(classes.rows):
        together = counts[number] + counts
        points = (centres[number] + centres) / 2
        if moved:
            sizes = centres[number] * counts[:, None] + centres * counts[number]
            densities = centres[number] * around[number] + centres * around[:, None]
            points = LAMBDA * sizes / together[:, None]
            points += (1 - LAMBDA) * (densities / (around[number] + around)[:, None])
        half = REACH * ((deviations[number] + deviations) / 2) / np.sqrt(together)[:, None]
        halves[number] = _inside(part.astype(np.float64), points, half).sum(0)
    return around, halves + halves.T


def _inside(rows: Array, points: Array, halves: Array) -> npt.NDArray[np.bool_]:
    """Whether each of rows (n, D) lies in the box around each of points (c, D), so wide on each axis, (c, D): (n, c).

    Axes are looked at some at a time, and only for what lies inside on those before: nearly all lies outside on one of
    the first.
    """
    inside = np.zeros((len(rows), len(points)), np.bool_)
    step = max(1, PAIRS // len(points))
    for first in range(0, len(rows), step):
        some = rows[first : first + step]
        at, of = (place.ravel() for place in np.indices((len(some), len(points))))
        begin, wide = 0, 8
        while begin < rows.shape[1] and len(at):
            axes = slice(begin, begin + wide)
            inner = (np.abs(some[at, axes] - points[of, axes]) <= halves[of, axes]).all(1)
            at, of, begin = at[inner], of[inner], begin + wide
            wide = max(8, min(2 * wide, NUMBERS // max(1, len(at))))
        inside[first + at, of] = True
    return inside

"""Co-Tuning: train the head of the pre-training too, on labels translated into its classes (You et al., 2020)."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from scipy.optimize import minimize_scalar
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from torch import Tensor

from bench.backbones import Model
from bench.data import TrainingImages, hold_out
from bench.losses import at_least_float32
from bench.method import Batch, Method, Stage, Terms, frozen, hyper
from bench.protocol import Recipe

STRENGTHS = (1e4, 3e3, 1e3, 3e2, 1e2, 3e1, 1e1, 3.0, 1.0, 3e-1, 1e-1, 3e-2, 1e-2, 3e-3, 1e-3, 3e-4, 1e-4)
"""Inverse strengths of the logistic regression's L2 penalty that are tried (authors' code)."""

LARGEST_FIT = 8 * 10**9
"""Bytes that the reverse relation may take while it is fitted; more is refused rather than tried."""

Array = npt.NDArray[Any]


def direct_relation(batches: Iterable[tuple[Tensor, Tensor]], classes: int) -> Tensor:
    """p(y_s | y_t) as the mean source prediction over the images of a target class (the paper's direct way).

    Costs one (K, S) table and no fit: 0.8 GB in float32 for 10,000 target and 21,000 source classes.

    Args:
        batches: source probabilities (B, S) and target labels (B,), at least one batch.
        classes: K.

    Returns:
        (K, S) on the CPU, in float32 at least, whose rows sum to 1. A class without images has the mean over all.

    Raises:
        ValueError: there is no image.
    """
    sums, counts = torch.zeros(0), torch.zeros(classes, dtype=torch.long)
    for probabilities, labels in batches:
        probabilities, labels = at_least_float32(probabilities).cpu(), labels.cpu()
        sums = sums if sums.numel() else probabilities.new_zeros(classes, probabilities.shape[1])
        sums.index_add_(0, labels, probabilities)
        counts += torch.bincount(labels, minlength=classes)
    if not counts.any():
        raise ValueError("the relation between source and target classes needs at least one image")
    everything = sums.sum(0) / counts.sum()
    sums /= counts.clamp(min=1)[:, None]
    sums[counts == 0] = everything
    return sums


def reverse_relation(probabilities: Tensor, labels: Tensor, classes: int, held_out: npt.NDArray[np.int64]) -> Tensor:
    """p(y_s | y_t) from a calibrated classifier of target classes and Bayes' rule (the paper's reverse way).

    Multinomial logistic regression without a bias learns p(y_t | p(y_s | x)); the strength of its L2 penalty is the one
    of ``STRENGTHS`` with the best held-out accuracy (the weakest penalty of equals), and its logits are scaled to the
    least held-out cross-entropy. Read at the one-hot prediction of s it gives p(y_t | y_s = s), and

        p(y_s | y_t) = p(y_t | y_s) p(y_s) / Σ_s' p(y_t | y_s') p(y_s'),

    with p(y_s) the mean of all probabilities (authors' code: the normaliser stands in the place of p(y_t)). With
    nothing held out the strength is 1 and nothing is scaled (our choice).

    Costs 17 fits; ``fit_bytes`` of memory.

    Args:
        probabilities: (N, S), of the source's classes.
        labels: (N,) target class indices, at least one.
        classes: K.
        held_out: indices of the images that are not fitted but choose strength and scale.

    Returns:
        (K, S) on the CPU, in float32 at least, whose rows sum to 1. A class that is not fitted, for want of images,
        has p(y_s).

    Raises:
        ValueError: no image is left to fit, or ``fit_bytes`` exceeds ``LARGEST_FIT``.
    """
    check_fit(len(probabilities), probabilities.shape[1], classes)
    x, y = at_least_float32(probabilities).cpu().numpy(), labels.cpu().numpy()
    fitted = np.setdiff1d(np.arange(len(y)), held_out)
    if not len(fitted):
        raise ValueError("the reverse relation needs at least one image that is not held out")
    marginal = x.mean(0)
    relation = np.tile(marginal / marginal.sum(), (classes, 1))
    seen = np.unique(y[fitted])
    if len(seen) > 1:
        weights = target_classifier(x[fitted], y[fitted], x[held_out], y[held_out])
        known = held_out[np.isin(y[held_out], seen)]
        scale = calibrating_scale(x[known] @ weights.T, np.searchsorted(seen, y[known])) if len(known) else 1.0
        relation[seen] = bayes(weights * scale, marginal)
    return torch.from_numpy(relation)


def fit_bytes(images: int, source_classes: int, target_classes: int) -> int:
    """About what ``reverse_relation`` takes: probabilities twice in float32, L-BFGS 25 times the weights in float64.

    0.1 GB for 6,000 images, 1,000 source and 200 target classes; 44 GB for 10,000, 21,000 and 10,000.
    """
    return 2 * 4 * images * source_classes + 25 * 8 * source_classes * target_classes


def check_fit(images: int, source_classes: int, target_classes: int) -> None:
    """Raise ``ValueError`` where ``fit_bytes`` exceeds ``LARGEST_FIT``."""
    needed = fit_bytes(images, source_classes, target_classes)
    if needed > LARGEST_FIT:
        raise ValueError(
            f"the relation of {target_classes} target to {source_classes} source classes by {images} images needs "
            f"{needed / 1e9:.0f} GB to fit, and {LARGEST_FIT / 1e9:.0f} are allowed; variant=released needs "
            f"{4 * source_classes * target_classes / 1e9:.1f}"
        )


def target_classifier(x: Array, y: Array, held_out_x: Array, held_out_y: Array) -> Array:
    """Weights of the logistic regression without bias that is best on held-out data, among ``STRENGTHS``.

    Args:
        x: (N, S) source probabilities.
        y: (N,) labels, of two classes or more.
        held_out_x: (M, S); with M = 0 the strength is 1.
        held_out_y: (M,).

    Returns:
        (C, S), a row for each of the C classes in ``y``, in ascending order.
    """
    best: Any = None
    accuracy = -1.0
    for strength in STRENGTHS if len(held_out_y) else (1.0,):
        candidate = LogisticRegression(C=strength, fit_intercept=False, max_iter=1000)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # it is then one more candidate, judged like others
            candidate.fit(x, y)
        found = float(candidate.score(held_out_x, held_out_y)) if len(held_out_y) else 0.0
        if found > accuracy:
            best, accuracy = candidate, found
    weights: Array = best.coef_
    # of two classes only the second one's row is kept; the first one's logit is 0
    return weights if len(weights) > 1 else np.concatenate([np.zeros_like(weights), weights])


def calibrating_scale(logits: Array, labels: Array) -> float:
    """The factor of logits at which their mean cross-entropy is least: one over the temperature of Guo et al. (2017).

    Args:
        logits: (M, C).
        labels: (M,) indices from 0 to C − 1.

    Returns:
        A number from 0.01 to 100: where all are right, ever larger factors would be better.
    """
    given, targets = torch.from_numpy(logits).double(), torch.from_numpy(labels)

    def loss(log_scale: float) -> float:
        return float(F.cross_entropy(given * np.exp(log_scale), targets))

    found = minimize_scalar(loss, bounds=(np.log(0.01), np.log(100)), method="bounded", options={"xatol": 1e-6})
    return float(np.exp(found.x))


def bayes(weights: Array, marginal: Array) -> Array:
    """p(y_s | y_t) from p(y_t | y_s) = softmax over target classes of ``weights`` (C, S), and p(y_s) (S,).

    Returns:
        (C, S), of the type of ``marginal``, whose rows sum to 1. Computed in logarithms, so that a class that no source
        class points at has a row as well.
    """
    with np.errstate(divide="ignore"):
        log_prior = torch.from_numpy(np.log(marginal.astype(np.float64)))
    joint = torch.from_numpy(weights).double().log_softmax(0) + log_prior
    found: Array = joint.softmax(1).numpy().astype(marginal.dtype)
    return found


def translated_cross_entropy(source_logits: Tensor, translated: Tensor) -> Tensor:
    """Mean cross-entropy of the source head's prediction against labels in the source's classes.

        −1/B Σ_i Σ_s p(y_s = s | y_t = y_i) log softmax(source_logits_i)_s

    Args:
        source_logits: (B, S).
        translated: (B, S), rows of the relation, each summing to 1.

    Returns:
        (), in nats: a sum over source classes, a mean over the batch; at least the mean entropy of ``translated``.
        Computed in float32 at least.

    Raises:
        ValueError: the shapes differ.
    """
    if source_logits.shape != translated.shape:
        shapes = tuple(source_logits.shape), tuple(translated.shape)
        raise ValueError(f"source logits {shapes[0]} and translated labels {shapes[1]} must have one shape")
    logits = at_least_float32(source_logits)
    return -(translated.to(logits.dtype) * logits.log_softmax(1)).sum(1).mean()


@dataclass(frozen=True)
class CoTuning(Method):
    """Cross-entropy plus a trade-off times the source head's cross-entropy against labels in the source's classes.

    Both heads are trained with the backbone, in the paper and in both codes. ``variant`` decides how p(y_s | y_t) is
    found, always from the sampled training images alone, as they are, by the model before training: ``paper`` fits
    and calibrates a classifier and turns it round by Bayes' rule, as the paper and its authors' code; ``released``
    averages predictions by class, the paper's direct way and the only one in TLlib. For ``paper``, images of each class
    are held out to choose the classifier; the seed of that is the run's own. The authors hold out a validation split.

    The authors' code and TLlib train the new head at ten times the learning rate of backbone and source head, TLlib in
    its baseline too: here ``head_lr`` of the protocol.
    """

    paper = "You et al., 'Co-Tuning for Transfer Learning', NeurIPS 2020, section 3"
    needs = {"source_head"}
    per_image = True

    trade_off: float = hyper(2.3, low=0, source="lambda; authors' code and TLlib")
    variant: str = hyper(
        "paper",
        choices=("paper", "released"),
        source="p(y_s|y_t); paper: calibrated logistic regression and Bayes; released (TLlib): class means",
    )
    source_scale: float = hyper(
        1.0,
        low=0.01,
        high=100,
        source="factor of the source's logits in the relation; TLlib: 1; authors' code: 0.884, of its ResNet-50 alone",
    )
    validation: float = hyper(
        0.25, low=0, high=0.9, source="share of each class held out of the fit, rounded down; our choice"
    )

    def stages(self, model: Model, recipe: Recipe, data: TrainingImages) -> Iterator[Stage]:
        """One stage that trains backbone and both heads, after the relation has been found."""
        head = model.source_head
        if head is None:
            raise ValueError("Co-Tuning needs the head that the backbone was pre-trained with")
        relation = self.relation(model, data).to(data.device)

        def loss(model: Model, batch: Batch) -> Terms:
            output = model(batch.images)
            translated = translated_cross_entropy(head(output.features), relation[batch.labels])
            return {"ce": batch.cross_entropy(output), "co": self.trade_off * translated}

        yield Stage(model, loss, recipe, train=(model.backbone, model.head, head))

    def relation(self, model: Model, data: TrainingImages) -> Tensor:
        """p(y_s | y_t) (K, S) by the chosen way, from one pass over the training images without augmentation."""
        batches = self.predictions(model, data)
        if self.variant == "released":
            return direct_relation(batches, model.classes)
        assert model.source_head is not None
        check_fit(len(data), model.source_head.out_features, model.classes)
        probabilities, labels = (torch.cat(parts) for parts in zip(*batches, strict=True))
        _, held_out = hold_out(labels.numpy(), self.validation, data.seed)
        return reverse_relation(probabilities, labels, model.classes, held_out)

    @torch.no_grad()
    def predictions(self, model: Model, data: TrainingImages) -> Iterator[tuple[Tensor, Tensor]]:
        """The source's probabilities (B, S) and the labels (B,) of all training images, on the CPU, batch by batch."""
        source = frozen(model).to(data.device)
        assert source.source_head is not None
        for batch in data.plain():
            logits = at_least_float32(source.source_head(source(batch.images).features))
            yield (logits * self.source_scale).softmax(1).cpu(), batch.labels.cpu()

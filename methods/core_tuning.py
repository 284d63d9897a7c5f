"""Core-tuning: cross-entropy and a focal contrast on hard pairs that are mixed from features (NeurIPS 2021)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bench.backbones import Model, Output
from bench.data import TrainingImages
from bench.losses import at_least_float32
from bench.method import Batch, Method, Stage, Terms, hyper, replace
from bench.protocol import Recipe


def hardest_pairs(features: Tensor, labels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The least similar image of the same class and the most similar one of another class (Core-tuning, section 4).

    positive_i = argmin_{j ≠ i, y_j = y_i} cos(z_i, z_j) and negative_i = argmax_{y_j ≠ y_i} cos(z_i, z_j).

    Args:
        features: (B, D), of any length; no gradient goes through the choice.
        labels: (B,) class indices.

    Returns:
        Indices (B,) of the positives, (B,) of the negatives, and whether an image has both (B,); where it has not, its
        indices mean nothing. Similarities are computed in float32 at least.

    Raises:
        ValueError: ``features`` is not (B, D) or ``labels`` not (B,).
    """
    cosine, partners, strangers = _similarities(features, labels)
    positive = cosine.masked_fill(~partners, torch.inf).argmin(1)
    negative = cosine.masked_fill(~strangers, -torch.inf).argmax(1)
    return positive, negative, partners.any(1) & strangers.any(1)


def released_pairs(features: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """What the released code takes for the hardest pairs: similarities that are masked count as 0, not as ±∞.

    So where no similarity is negative, as after a ReLU, the positive is the first image that is none (or is at a right
    angle); and where all negatives are at more than a right angle, the negative is the first image of the same class. A
    positive found at index 0 is replaced by the image itself.

    Args:
        features: (B, D), of any length; no gradient goes through the choice.
        labels: (B,) class indices.

    Returns:
        Indices (B,) of the positives and (B,) of the negatives; each image has both. In float32 at least.

    Raises:
        ValueError: ``features`` is not (B, D) or ``labels`` not (B,).
    """
    cosine, partners, strangers = _similarities(features, labels)
    positive = cosine.where(partners, 0.0).argmin(1)
    itself = torch.arange(len(labels), device=labels.device)
    return torch.where(positive == 0, itself, positive), cosine.where(strangers, 0.0).argmax(1)


def random_negatives(labels: Tensor) -> tuple[Tensor, Tensor]:
    """For each image one of another class, all equally likely, from torch's generator (Core-tuning, section 4).

    Args:
        labels: (B,) class indices.

    Returns:
        Indices (B,), and whether there is an image of another class (B,); where there is none, the index means nothing.
    """
    same = labels[:, None] == labels
    draws = torch.rand(same.shape, device=labels.device)
    return draws.masked_fill(same, -1.0).argmax(1), ~same.all(1)


def mixed(first: Tensor, second: Tensor, share: Tensor) -> Tensor:
    """Rows mixed in pairs, λ a + (1 − λ) b: features and soft labels of hard pairs (Core-tuning, section 4).

    Args:
        first: (B, D), a.
        second: (B, D), b.
        share: (B,), λ in 0..1, one a row.

    Returns:
        (B, D), in the units of the rows; computed in float32 at least. Equal arguments give equal bits.

    Raises:
        ValueError: ``first`` and ``second`` differ in shape, or ``share`` is not (B,).
    """
    if first.shape != second.shape or share.shape != first.shape[:1]:
        shapes = tuple(first.shape), tuple(second.shape), tuple(share.shape)
        raise ValueError(f"rows {shapes[0]} and {shapes[1]} and shares {shapes[2]} must be (B, D), (B, D) and (B,)")
    return share[:, None] * at_least_float32(first) + (1 - share[:, None]) * at_least_float32(second)


def alike(targets: Tensor) -> Tensor:
    """Which rows have exactly the same soft label, all K entries compared.

    Args:
        targets: (N, K) soft labels.

    Returns:
        (N, N) bool, true on the diagonal.
    """
    group: Tensor = torch.unique(targets, dim=0, return_inverse=True)[1]
    return group[:, None] == group


def released_alike(targets: Tensor) -> Tensor:
    """Which rows have one code in the released code: Σ_k y_k 10^k, in float32, of powers that wrap around at 64 bits.

    Above 63 classes the powers are 0, so those classes are one; and single precision drops the smaller of two entries
    that lie some eight classes apart.

    Args:
        targets: (N, K) soft labels.

    Returns:
        (N, N) bool, true on the diagonal.
    """
    powers = [(10**k + 2**63) % 2**64 - 2**63 for k in range(targets.shape[1])]
    with torch.autocast(targets.device.type, enabled=False):
        code = (targets.float() * torch.tensor(powers, device=targets.device).float()).sum(1)
    return code[:, None] == code


def focal_contrastive(z: Tensor, positives: Tensor, temperature: float, *, over_rows: bool = False) -> Tensor:
    """Supervised contrast in which pairs that are still unlikely count more (Core-tuning, section 4, L_con^f).

    For an anchor i with positives P(i) and candidates A(i), all rows but i:

        ℓ_i = −1/|P(i)| Σ_{j ∈ P(i)} (1 − p_ij) log p_ij,   p_ij = exp(z_i·z_j / τ) / Σ_{a ∈ A(i)} exp(z_i·z_a / τ)

    Args:
        z: (N, D), of unit length.
        positives: (N, N) bool; the diagonal is ignored.
        temperature: τ.
        over_rows: divide by N in the place of |P(i)| (released code).

    Returns:
        (), in nats: the mean of ℓ_i over the anchors that have a positive; 0 with a zero gradient, still part of the
        graph, where none has one. The gradient goes through the weight 1 − p_ij too. Computed in float32 at least.

    Raises:
        ValueError: ``z`` is not (N, D) or ``positives`` not (N, N).
    """
    if z.ndim != 2 or positives.shape != (len(z), len(z)):
        raise ValueError(f"z {tuple(z.shape)} and positives {tuple(positives.shape)} must be (N, D) and (N, N)")
    itself = torch.eye(len(z), dtype=torch.bool, device=z.device)
    positives = positives & ~itself
    with torch.autocast(z.device.type, enabled=False):
        z = at_least_float32(z)
        similarity = z @ z.T / temperature
        # not −∞: a single row has no candidate, and its share must not become 0/0
        log_share = similarity.masked_fill(itself, torch.finfo(z.dtype).min).log_softmax(1)
        terms = torch.expm1(log_share) * log_share
    found = positives.sum(1)
    anchors = terms.where(positives, 0.0).sum(1) / (len(z) if over_rows else found.clamp(min=1))
    return anchors.sum() / (found > 0).sum().clamp(min=1)


@dataclass(frozen=True)
class CoreTuning(Method):
    """Cross-entropy and eta times the focal contrast, both on the features and on hard pairs mixed from them.

    Each image gives a hard positive, mixed from its least similar positive and its most similar negative, and a
    semi-hard negative, mostly a random image of another class; soft labels are mixed alike. An image without such
    partners in its batch gives none. Rows of one and the same soft label are each other's positives.

    The released code differs: it mines with zeros in the place of what is masked (``released_pairs``), takes any image
    of the batch for a random negative, compares a code of the soft labels (``released_alike``), divides an anchor's
    loss by all rows and not by its positives, and keeps originals from training the backbone by themselves.

    Eta was published for that code alone: 0.1 beside a loss that is divided by all 3n rows. The paper's loss, divided
    by |P_i|, is about 30 times as large (10 classes; 8 times at 100), so beside it the default is 0.1 / 30: our choice,
    of about the same strength, since nobody trained it with 0.1. A number that was made with the code is to be compared
    with ``core_tuning(variant=released)``. The mean over anchors is of those that have a positive, as in the code; the
    paper's text was not to be had.
    """

    paper = (
        "Zhang et al., 'Unleashing the Power of Contrastive Self-Supervised Visual Models', arXiv:2102.06605, section 4"
    )

    eta: float = hyper(
        {"paper": 0.003, "released": 0.1},
        by="variant",
        low=0,
        source="weight of the contrast; released README for CIFAR-10 (its parser says 10), divided by all rows: 0.1; "
        "divided by |P_i|: our choice, 0.1 / 30",
    )
    temperature: float = hyper(0.07, low=0.001, source="tau; released code")
    alpha: float = hyper(1.0, low=0.01, source="of Beta(alpha, alpha), from which shares are drawn; released README")
    least: float = hyper(0.8, low=0, high=1, source="smallest share of the negative in a semi-hard one; released code")
    projection: int = hyper(256, low=1, source="width of the projector's output; released code")
    variant: str = hyper(
        "paper", choices=("paper", "released"), source="mining, partners, equality of labels, divisor, originals"
    )
    originals: str = hyper(
        {"paper": "attached", "released": "detached"},
        by="variant",
        choices=("attached", "detached"),
        source="paper: attached, our choice, as it is silent; released: detached, mixtures alone train the backbone",
    )

    def stages(self, model: Model, recipe: Recipe, data: TrainingImages) -> Iterator[Stage]:
        """One stage, with a projector of two layers that is thrown away."""
        projector = nn.Sequential(nn.Linear(model.dim, model.dim), nn.ReLU(), nn.Linear(model.dim, self.projection))

        def loss(model: Model, batch: Batch) -> Terms:
            features, targets = self.enlarged(model(batch.images).features, batch)
            output = Output(model.head(features), features, {})
            z = F.normalize(at_least_float32(projector(features)), dim=1)
            released = self.variant == "released"
            positives = released_alike(targets) if released else alike(targets)
            focal = focal_contrastive(z, positives, self.temperature, over_rows=released)
            return {"ce": replace(batch, targets=targets).cross_entropy(output), "focal": self.eta * focal}

        yield Stage(model, loss, recipe, train=(model, projector))

    def enlarged(self, features: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
        """Features (N, D) and soft labels (N, K): the originals, the hard positives, the semi-hard negatives."""
        features, targets, labels = at_least_float32(features), batch.targets, batch.labels
        share = self.shares(features)
        if self.variant == "released":
            positive, negative = released_pairs(features, labels)
            partner = torch.randperm(len(labels), device=labels.device)
            has_both = has_partner = torch.ones_like(labels, dtype=torch.bool)
        else:
            positive, negative, has_both = hardest_pairs(features, labels)
            partner, has_partner = random_negatives(labels)
        large_share = self.shares(features).clamp(min=self.least)
        rows = [features.detach() if self.originals == "detached" else features]
        rows.append(mixed(features[positive], features[negative], share)[has_both])
        rows.append(mixed(features[partner], features, large_share)[has_partner])
        soft = [targets]
        soft.append(mixed(targets[positive], targets[negative], share)[has_both])
        soft.append(mixed(targets[partner], targets, large_share)[has_partner])
        return torch.cat(rows), torch.cat(soft)

    def shares(self, features: Tensor) -> Tensor:
        """(B,) draws from Beta(alpha, alpha), one a row."""
        alpha = torch.full(features.shape[:1], self.alpha, dtype=features.dtype, device=features.device)
        return torch.distributions.Beta(alpha, alpha, validate_args=False).sample()


def _similarities(features: Tensor, labels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Cosines (B, B) without a gradient, which pairs are two images of one class, and which are of two classes."""
    if features.ndim != 2 or labels.shape != features.shape[:1]:
        raise ValueError(f"features {tuple(features.shape)} and labels {tuple(labels.shape)} must be (B, D) and (B,)")
    with torch.no_grad(), torch.autocast(features.device.type, enabled=False):
        unit = F.normalize(at_least_float32(features), dim=1)
        cosine = unit @ unit.T
    same = labels[:, None] == labels
    return cosine, same & ~torch.eye(len(labels), dtype=torch.bool, device=labels.device), ~same

"""Bi-tuning: contrast the classifier and a projector with queues of keys, one a class (arXiv:2011.06182)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bench.backbones import Model
from bench.data import TrainingImages
from bench.losses import at_least_float32
from bench.method import Batch, Method, Stage, Terms, frozen, hyper
from bench.protocol import Recipe


def augmented(vectors: Tensor, last: Tensor | float = 1.0) -> Tensor:
    """Vectors with one more entry, at unit length: [h; 1] / ‖[h; 1]‖ for features, [w; b] / ‖[w; b]‖ for a head.

    So that the product of the two is the cosine of what a linear layer with a bias multiplies (released code).

    Args:
        vectors: (N, D).
        last: (N,), or one number for all.

    Returns:
        (N, D + 1), computed in float32 at least.
    """
    vectors = at_least_float32(vectors)
    ends = torch.as_tensor(last, dtype=vectors.dtype, device=vectors.device).expand(len(vectors))
    return F.normalize(torch.cat([vectors, ends[:, None]], dim=1), dim=1)


def uniform_contrast(own: Tensor, others: Tensor, labels: Tensor) -> Tensor:
    """Cross-entropy against targets that are uniform on an image's own score and those of its class's keys.

        ℓ_i = −1/(K + 1) Σ_{p ∈ {own} ∪ keys of y_i} log[ exp(s_ip) / Σ_{all 1 + C·K} exp(s_ia) ]

    The released code gives the KL divergence to these targets, which is less by the constant log(K + 1).

    Args:
        own: (B,), scores already divided by the temperature.
        others: (B, C, K), likewise, of the K keys of each of C classes.
        labels: (B,) class indices.

    Returns:
        (), in nats: the mean of ℓ_i over the batch; log(1 + C·K) where all scores are alike. In float32 at least.

    Raises:
        ValueError: ``own`` or ``labels`` is not (B,), or ``others`` not (B, C, K).
    """
    if others.ndim != 3 or not own.shape == labels.shape == others.shape[:1]:
        shapes = tuple(own.shape), tuple(others.shape), tuple(labels.shape)
        raise ValueError(f"own {shapes[0]}, others {shapes[1]}, labels {shapes[2]} must be (B,), (B, C, K) and (B,)")
    own, others = at_least_float32(own), at_least_float32(others)
    whole = torch.cat([own[:, None], others.flatten(1)], dim=1).logsumexp(1)
    of_class = others[torch.arange(len(labels), device=labels.device), labels]
    return (whole - (own + of_class.sum(1)) / (1 + others.shape[2])).mean()


def classifier_contrast(queries: Tensor, keys: Tensor, weights: Tensor, labels: Tensor, temperature: float) -> Tensor:
    """Contrast of a class's weights with features: the query's own and those in the queue (Bi-tuning, L_CCE).

    ``uniform_contrast`` of the scores w_y·h / τ.

    Args:
        queries: (B, D), ``augmented`` features.
        keys: (C, K, D), the same of earlier batches.
        weights: (C, D), ``augmented`` rows of the head.
        labels: (B,) class indices.
        temperature: τ.

    Returns:
        (), in nats, a mean over the batch; computed in float32 at least.

    Raises:
        ValueError: the shapes are not those above.
    """
    _check_shapes(queries, keys, labels)
    if weights.shape != (keys.shape[0], keys.shape[2]):
        raise ValueError(f"weights {tuple(weights.shape)} must be (C, D) for keys {tuple(keys.shape)}, (C, K, D)")
    with torch.autocast(queries.device.type, enabled=False):
        rows = at_least_float32(weights)[labels]
        own = (rows * at_least_float32(queries)).sum(1)
        return uniform_contrast(own / temperature, _scores(rows, keys) / temperature, labels)


def categorical_contrast(queries: Tensor, own: Tensor, keys: Tensor, labels: Tensor, temperature: float) -> Tensor:
    """Contrast of a projected query with its own key and those in the queue (Bi-tuning, L_CCL).

    ``uniform_contrast`` of the scores z_q·z_k / τ.

    Args:
        queries: (B, D), of unit length.
        own: (B, D), the keys of the same images' other view, of unit length.
        keys: (C, K, D), those of earlier batches.
        labels: (B,) class indices.
        temperature: τ.

    Returns:
        (), in nats, a mean over the batch; computed in float32 at least.

    Raises:
        ValueError: the shapes are not those above.
    """
    _check_shapes(queries, keys, labels)
    if own.shape != queries.shape:
        raise ValueError(f"queries {tuple(queries.shape)} and own keys {tuple(own.shape)} must have one shape")
    with torch.autocast(queries.device.type, enabled=False):
        queries = at_least_float32(queries)
        scores = (queries * at_least_float32(own)).sum(1)
        return uniform_contrast(scores / temperature, _scores(queries, keys) / temperature, labels)


def enqueued(queue: Tensor, position: Tensor, keys: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Queues, one a class, after keys have taken the places of the oldest ones of their class, in order.

    Args:
        queue: (C, K, D); slot k of a class is overwritten after slot k − 1, and slot 0 after the last.
        position: (C,), the slot of each class that is overwritten next, 0 ≤ position < K.
        keys: (B, D); of more than K of a class the last K are kept.
        labels: (B,) class indices.

    Returns:
        A new queue and new positions; the given ones are left alone, since a backward pass may still need them.
    """
    classes, size, _ = queue.shape
    seen = F.one_hot(labels, classes).cumsum(0)
    counts = seen[-1]
    order = seen.gather(1, labels[:, None])[:, 0] - 1
    kept = order >= counts[labels] - size
    slots = (position[labels] + order) % size
    queue = queue.clone()
    queue[labels[kept], slots[kept]] = keys[kept].to(queue.dtype)
    return queue, (position + counts) % size


@torch.no_grad()
def move(average: nn.Module, module: nn.Module, momentum: float) -> None:
    """Exponential moving average of parameters, in place: a ← m a + (1 − m) w. Buffers are left alone (released code).

    Raises:
        ValueError: the modules do not have as many parameters.
    """
    for kept, moving in zip(average.parameters(), module.parameters(), strict=True):
        kept.mul_(momentum).add_(moving, alpha=1 - momentum)


class Queue(nn.Module):
    """The last keys of each class, unit vectors; random ones until there are enough.

    Attributes:
        features: (C, K, D + 1), augmented features.
        projections: (C, K, P).
        position: (C,), the slot that is overwritten next, of both.
    """

    features: Tensor
    projections: Tensor
    position: Tensor

    def __init__(self, classes: int, size: int, dim: int, projection: int) -> None:
        super().__init__()
        self.register_buffer("features", F.normalize(torch.randn(classes, size, dim + 1), dim=2))
        self.register_buffer("projections", F.normalize(torch.randn(classes, size, projection), dim=2))
        self.register_buffer("position", torch.zeros(classes, dtype=torch.long))

    def add(self, features: Tensor, projections: Tensor, labels: Tensor) -> None:
        """Put the keys of a batch, (B, D + 1) and (B, P), in the places of the oldest."""
        self.features, _ = enqueued(self.features, self.position, features, labels)
        self.projections, self.position = enqueued(self.projections, self.position, projections, labels)


@dataclass(frozen=True)
class BiTuning(Method):
    """Cross-entropy plus the contrasts of the classifier and of a projector with a queue of keys of each class.

    Keys are the features of a second view by a copy of the model that follows it as a moving average. The copy is in
    training mode, as in MoCo: its batch norms use its own batches. The released code (TLlib) trains the head at ten
    times the learning rate of backbone and projector, in all its methods and its baseline: here ``head_lr`` of the
    protocol.
    """

    paper = "Zhong et al., 'Bi-tuning of Pre-trained Representations', arXiv:2011.06182, section 3"

    trade_off: float = hyper(1.0, low=0, source="weight of the sum of the two contrasts; released code (TLlib)")
    keys: int = hyper(40, low=1, source="K, keys kept of each class; released code (TLlib)")
    momentum: float = hyper(0.999, low=0, high=1, source="of the key encoder; released code (TLlib)")
    temperature: float = hyper(0.07, low=0.001, source="tau; released code (TLlib)")
    projection: int = hyper(128, low=1, source="width of the projector, one linear layer; released code (TLlib)")
    variant: str = hyper(
        "paper",
        choices=("paper", "released"),
        source="released: the classifier's contrast leaves its weights alone and sees the current batch's keys queued",
    )

    def stages(self, model: Model, recipe: Recipe, data: TrainingImages) -> Iterator[Stage]:
        """One stage on two views; the key encoder moves at the start of a loss, before it makes keys."""
        projector = nn.Linear(model.dim, self.projection)
        key_model, key_projector = frozen(model).train(), frozen(projector).train()
        queue = Queue(model.classes, self.keys, model.dim, self.projection)

        def loss(model: Model, batch: Batch) -> Terms:
            move(key_model, model, self.momentum)
            move(key_projector, projector, self.momentum)
            with torch.no_grad():
                key_features = key_model(batch.images[1]).features
                key = F.normalize(at_least_float32(key_projector(key_features)), dim=1)
            output = model(batch.images[0])
            query = F.normalize(at_least_float32(projector(output.features)), dim=1)
            features, weights = augmented(output.features), augmented(model.head.weight, model.head.bias)
            queued, projected = queue.features, queue.projections
            queue.add(augmented(key_features), key, batch.labels)
            if self.variant == "released":
                weights, queued = weights.detach(), queue.features
            cce = classifier_contrast(features, queued, weights, batch.labels, self.temperature)
            ccl = categorical_contrast(query, key, projected, batch.labels, self.temperature)
            return {
                "ce": batch.cross_entropy(output),
                "cce": self.trade_off * cce,
                "ccl": self.trade_off * ccl,
            }

        state = (key_model, key_projector, queue)
        yield Stage(model, loss, recipe, train=(model, projector), state=state, views=2)


def _check_shapes(queries: Tensor, keys: Tensor, labels: Tensor) -> None:
    if queries.ndim != 2 or keys.ndim != 3 or queries.shape[1] != keys.shape[2] or labels.shape != queries.shape[:1]:
        shapes = tuple(queries.shape), tuple(keys.shape), tuple(labels.shape)
        raise ValueError(
            f"queries {shapes[0]}, keys {shapes[1]}, labels {shapes[2]} must be (B, D), (C, K, D) and (B,)"
        )


def _scores(rows: Tensor, keys: Tensor) -> Tensor:
    """(B, C, K) products of rows (B, D) with keys (C, K, D)."""
    keys = at_least_float32(keys).to(rows.dtype)
    return (rows @ keys.flatten(0, 1).T).view(len(rows), *keys.shape[:2])

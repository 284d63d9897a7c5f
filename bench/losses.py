"""Formulas that several methods share, and choices of the weights that they are about."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

import torch
from torch import Tensor, nn


def at_least_float32(tensor: Tensor) -> Tensor:
    """The tensor in float32, or as it is where it is float64: sums of squares lose too much in half precision."""
    return tensor if tensor.dtype == torch.float64 else tensor.float()


def supervised_contrastive(
    z: Tensor,
    labels: Tensor,
    temperature: float,
    *,
    self_positive: bool = False,
    over_batch: bool = False,
    paired_only: bool = False,
) -> Tensor:
    """Supervised contrastive loss, the form with the sum outside of the logarithm (Khosla et al., 2020, eq. 2).

    For an anchor i with positives P(i), the others of its label, and candidates A(i), all others:

        ℓ_i = −1/|P(i)| Σ_{p ∈ P(i)} log[ exp(z_i·z_p / τ) / Σ_{a ∈ A(i)} exp(z_i·z_a / τ) ]

    With one label per image and several views of it this is NT-Xent (Chen et al., 2020, eq. 1).

    Args:
        z: (N, D), of unit length where the similarity is to be the cosine; views of an image are rows of their own.
        labels: (N,), what makes two rows a positive pair.
        temperature: τ.
        self_positive: count the anchor among its positives, but still not among its candidates (COIN's code).
        over_batch: divide by N in the place of |P(i)| (COIN's code).
        paired_only: leave anchors without a positive out of the mean (pytorch-metric-learning).

    Returns:
        (), in nats: the mean of ℓ_i over all N anchors, of which those without a positive count as 0 (COIN, eq. 1;
        SupContrast since December 2023; before, they gave NaN). Where none has one it is 0 with a zero gradient, still
        part of the graph (and for a single row, which has no candidates). Rows that are all alike, each with a
        positive, give log(N − 1). Computed in float32 at least, under autocast too, and of each row the largest
        similarity is taken away first, or 1 / τ would hide the digits of the logarithm.

    Raises:
        ValueError: ``z`` is not (N, D) or ``labels`` is not (N,).
    """
    if z.ndim != 2 or labels.shape != z.shape[:1]:
        raise ValueError(f"z {tuple(z.shape)} and labels {tuple(labels.shape)} must be (N, D) and (N,)")
    with torch.autocast(z.device.type, enabled=False):
        z = at_least_float32(z)
        similarity = z @ z.T / temperature
    itself = torch.eye(len(z), dtype=torch.bool, device=z.device)
    candidates = similarity.masked_fill(itself, -torch.inf)
    largest = candidates.detach().amax(1, keepdim=True)
    log_share = (similarity - largest) - (candidates - largest).logsumexp(1, keepdim=True)
    positive = labels[:, None] == labels
    if not self_positive or len(z) == 1:
        positive = positive & ~itself
    found = positive.sum(1)
    anchors = -log_share.where(positive, 0.0).sum(1) / (len(z) if over_batch else found.clamp(min=1))
    return anchors.sum() / ((found > 0).sum().clamp(min=1) if paired_only else len(z))


def in_sets(loss: Callable[[Tensor, Tensor], Tensor], size: int, z: Tensor, labels: Tensor) -> Tensor:
    """A loss over the images of a batch, of sets of them that do not see each other.

    So it is where the gradients of several small batches are added up before a step, as released codes do it.

    Args:
        loss: of some rows of ``z`` and their labels: a mean over images, ().
        size: images of a set, one after the other, of which the last one may have fewer; 0: all of them.
        z: (..., B, D).
        labels: (B,).

    Returns:
        (), the mean over the images of all sets.
    """
    if not size or size >= len(labels):
        return loss(z, labels)
    starts = range(0, len(labels), size)
    sets = [(z[..., at : at + size, :], labels[at : at + size]) for at in starts]
    return torch.stack([loss(*each) * len(each[1]) for each in sets]).sum() / len(labels)


def squared_norm(weights: Sequence[Tensor]) -> Tensor:
    """Half the squared Euclidean norm of weights, 1/2 ‖w‖² (Li et al., 2018, the penalty L2).

    Args:
        weights: tensors of any shapes, at least one.

    Returns:
        (), a sum over all elements, not a mean, in squared units of the weights; computed in float32 at least. Its
        gradient is the weights themselves.

    Raises:
        RuntimeError: there are no weights.
    """
    return 0.5 * torch.stack([at_least_float32(w).square().sum() for w in weights]).sum()


def penalised(module: nn.Module, scope: str) -> list[nn.Parameter]:
    """The weights of a module that a penalty on weights touches (L2 and L2-SP).

    Args:
        module: a backbone or a head.
        scope: ``"all"``, every parameter, as the formula of Li et al. (2018) is written; or ``"kernels"``, as in their
            code: the weights of linear layers and convolutions, without biases, norms and embeddings.

    Returns:
        The parameters, each once, in the order of ``module.parameters()``.

    Raises:
        ValueError: ``scope`` is something else.
    """
    if scope == "all":
        return list(module.parameters())
    if scope != "kernels":
        raise ValueError(f"scope must be all or kernels, not {scope!r}")
    layers = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)
    kernels = {layer.weight for layer in module.modules() if isinstance(layer, layers)}
    return [parameter for parameter in module.parameters() if parameter in kernels]


def all_but(module: nn.Module, left_out: Collection[nn.Module | nn.Parameter]) -> list[nn.Module | nn.Parameter]:
    """What of a module a stage trains if it freezes some modules inside.

    Args:
        module: a backbone.
        left_out: modules inside of it, at any depth; a parameter by itself is not looked for.

    Returns:
        The largest modules that hold nothing of what is left out, and the parameters that lie between them.
    """
    if module in left_out:
        return []
    if not any(inner in left_out for inner in module.modules()):
        return [module]
    kept: list[nn.Module | nn.Parameter] = list(module.parameters(recurse=False))
    for child in module.children():
        kept += all_but(child, left_out)
    return kept

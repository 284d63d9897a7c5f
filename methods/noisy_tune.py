"""Noisy-Tune: a little noise on the pre-trained weights before fine-tuning (Wu et al., arXiv:2202.12024)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from bench.backbones import Model
from bench.data import TrainingImages
from bench.losses import at_least_float32
from bench.method import Policy, Stage, hyper
from bench.protocol import Recipe


def perturbed(weight: Tensor, noise: Tensor, intensity: float) -> Tensor:
    """W + λ u std(W) with u uniform between −1/2 and 1/2, which is U(−λ/2, λ/2) std(W) (Wu et al., 2022).

    Args:
        weight: a parameter of any shape; one standard deviation for all of it, of a sample (n − 1). With fewer than
            two elements it has none and stays as it is; with equal elements it is 0, and it stays as well.
        noise: u, of the same shape.
        intensity: λ.

    Returns:
        A tensor like ``weight``, in its unit and type; computed in float32 at least.

    Raises:
        ValueError: the shapes differ.
    """
    if weight.shape != noise.shape:
        raise ValueError(f"weight {tuple(weight.shape)} and noise {tuple(noise.shape)} must have one shape")
    if weight.numel() < 2 or bool((weight == weight.flatten()[0]).all()):
        return weight.clone()
    precise = at_least_float32(weight)
    return (precise + intensity * noise * precise.std(correction=1)).to(weight.dtype)


@dataclass(frozen=True)
class NoisyTune(Policy):
    """Every parameter of the backbone is perturbed once, before the method begins; buffers and head are not.

    A method that keeps a source keeps the perturbed one: the noise belongs to the pre-trained model.
    """

    paper = (
        "Wu et al., 'NoisyTune: A Little Noise Can Help You Finetune Pretrained Language Models Better', "
        "ACL 2022, arXiv:2202.12024"
    )
    per_image = True

    intensity: float = hyper(0.15, low=0, source="lambda; our choice, as public uses of it; COIN names none")

    def stages(self, model: Model, recipe: Recipe, data: TrainingImages) -> Iterator[Stage]:
        """The stages of the method it acts on, from the perturbed weights."""
        with torch.no_grad():
            for weight in model.backbone.parameters():
                noise = torch.rand_like(at_least_float32(weight)) - 0.5
                weight.copy_(perturbed(weight, noise, self.intensity))
        yield from self.inner.stages(model, recipe, data)

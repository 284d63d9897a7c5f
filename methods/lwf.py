"""LwF: learn without forgetting what the head of the pre-training says (Li and Hoiem, ECCV 2016)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from bench.backbones import Model
from bench.data import TrainingImages
from bench.losses import at_least_float32
from bench.method import Batch, Method, Stage, Terms, frozen, hyper
from bench.protocol import Recipe


def distillation(logits: Tensor, source_logits: Tensor, temperature: float) -> Tensor:
    """Divergence of softened predictions from those of the source (LwF, eq. 2 and 3).

        1/B Σ_i Σ_s q_is log(q_is / p_is),   q = softmax(source_logits / T),   p = softmax(logits / T)

    This is the KL divergence of TLlib. The paper writes the cross-entropy −Σ_s q log p, which is more by the entropy
    of q: with a source that is not trained a constant, so that both have the gradient (p − q) / (T B). Neither
    multiplies by T², as Hinton et al. (2015) do. The paper's q ∝ q₁^(1/T), of recorded probabilities q₁, is the same q.

    Args:
        logits: (B, S), of the model in training.
        source_logits: (B, S).
        temperature: T > 0.

    Returns:
        (), in nats, a sum over classes and a mean over the batch, 0 where both agree; computed in float32 at least.

    Raises:
        ValueError: the shapes differ.
    """
    if logits.shape != source_logits.shape:
        raise ValueError(f"logits {tuple(logits.shape)} and {tuple(source_logits.shape)} must have one shape")
    log_p = (at_least_float32(logits) / temperature).log_softmax(1)
    log_q = (at_least_float32(source_logits) / temperature).log_softmax(1)
    return F.kl_div(log_p, log_q, reduction="batchmean", log_target=True)


@dataclass(frozen=True)
class LwF(Method):
    """Cross-entropy plus lambda times the divergence of the source head's predictions from those before training.

    The source predicts each batch anew, on the images that the model is given: one more forward pass a step, and a
    copy of the model in memory. Paper and TLlib record one prediction an image before training instead, of the plain
    image and of one augmented view, and compare it with that of other views; that saves the pass, costs a table of
    images by source classes, and asks for the same answer on different pictures.

    Lambda and T belong together, since the divergence is not multiplied by T²: the authors have 1 and 2, TLlib, which
    leaves the source head as it is, has 4 and 3. Beside them TLlib trains the new head at ten times the backbone's
    learning rate, in its baseline too: here ``head_lr`` of the protocol.
    """

    paper = "Li and Hoiem, 'Learning without Forgetting', ECCV 2016, arXiv:1606.09282, eq. 1 to 3"
    needs = {"source_head"}
    per_image = True

    weight: float = hyper(
        {"paper": 1.0, "released": 4.0}, by="variant", low=0, source="lambda; authors' code: 1; released (TLlib): 4"
    )
    temperature: float = hyper(
        {"paper": 2.0, "released": 3.0}, by="variant", low=0.01, source="T; paper: 2; released (TLlib): 3"
    )
    variant: str = hyper(
        "paper",
        choices=("paper", "released"),
        source="paper: the source head is trained with the rest; released (TLlib): it stays as it is",
    )
    warmup: float = hyper(
        0.0,
        low=0,
        high=0.9,
        source="share of the steps that train the new head alone first; our choice, as TLlib; authors' code: 0.5",
    )

    def stages(self, model: Model, recipe: Recipe, data: TrainingImages) -> Iterator[Stage]:
        """One stage, after one for the new head alone where there is a warm-up; each has a whole schedule."""
        head = model.source_head
        if head is None:
            raise ValueError("LwF needs the head that the backbone was pre-trained with")
        source = frozen(model).to(data.device)

        def both(model: Model, batch: Batch) -> Terms:
            output = model(batch.images)
            kept = distillation(head(output.features), self.predicted(source, batch.images), self.temperature)
            return {"ce": batch.cross_entropy(output), "lwf": self.weight * kept}

        if self.warmup:
            yield Stage(model, self.loss, recipe.share(self.warmup), train=(model.head,))
        train = (model.backbone, model.head, head) if self.variant == "paper" else (model.backbone, model.head)
        yield Stage(model, both, recipe.rest(self.warmup) if self.warmup else recipe, train=train)

    @staticmethod
    @torch.no_grad()
    def predicted(source: Model, images: Tensor) -> Tensor:
        """What the source says of images (B, C, H, W): logits (B, S)."""
        assert source.source_head is not None
        logits: Tensor = source.source_head(source(images).features)
        return logits

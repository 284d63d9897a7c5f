"""FLYP: fine-tune a CLIP as it was pre-trained, by contrast of images with texts of their classes (Goyal et al.)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from bench.methods.zero_shot import ZeroShot
from torch import Tensor

from bench.backbones import CosineLinear, Model
from bench.data import TrainingImages
from bench.method import Batch, Stage, Terms
from bench.protocol import Recipe


def image_text_contrast(images: Tensor, texts: Tensor, scale: Tensor) -> Tensor:
    """CLIP's loss: the text of each image among all texts of a batch, and the image of each text (FLYP, section 3).

    The mean of both means, as in the released code:

        −1/(2B) Σ_i [log exp(s z_i·t_i) / Σ_j exp(s z_i·t_j) + log exp(s z_i·t_i) / Σ_j exp(s z_j·t_i)]

    Args:
        images: z (B, E) of unit length.
        texts: t (B, E) of unit length, t_i of the class of image i.
        scale: s (), one over the temperature.

    Returns:
        (), in nats.

    Raises:
        ValueError: the shapes differ, or are not (B, E).
    """
    if images.shape != texts.shape or images.ndim != 2:
        raise ValueError(f"images {tuple(images.shape)} and texts {tuple(texts.shape)} must have one shape (B, E)")
    logits, same = scale * images @ texts.T, torch.arange(len(images), device=images.device)
    return (F.cross_entropy(logits, same) + F.cross_entropy(logits.T, same)) / 2


@dataclass(frozen=True)
class FLYP(ZeroShot):  # type: ignore[misc]  # mypy reads methods/ under another name
    """Both towers and the scale are trained by the loss of the pre-training; then texts of the classes classify.

    Each image of a batch has a text of its class, of a template that is drawn anew at every step. (The released code
    lists every image with every template and shuffles the pairs; an epoch is as many batches as the images alone fill.)
    Images of one class count as each other's negatives: the loss is CLIP's as it is. Nothing of the head is trained but
    CLIP's projection: wherever the model is scored, its rows are the embeddings that the text tower gives by then
    (released code: after every epoch). The scale is trained and not limited, as in the released code.

    The released code's settings, which are a protocol's here: AdamW, learning rate 1e-5, weight decay 0.1 and batches
    of 512 on ImageNet, 256 and other decays elsewhere, 500 steps of warm-up, then a cosine to zero; 10 epochs of
    ImageNet. There biases and norms decay too.
    """

    paper = (
        "Goyal, Kumar, Garg, Kolter and Raghunathan, 'Finetune like you pretrain: Improved finetuning of zero-shot "
        "vision models', CVPR 2023, section 3"
    )

    def stages(self, model: Model, recipe: Recipe, data: TrainingImages) -> Iterator[Stage]:
        """One stage; what the model says of an image follows the text tower."""
        tower, tokens = self.zero_shot_head(model, data)

        def settling(model: Model) -> None:
            assert model.text_tower is not None
            model.head.weight.copy_(model.text_tower.class_weights(tokens))

        def contrast(model: Model, batch: Batch) -> Terms:
            drawn = torch.randint(tokens.shape[1], batch.labels.shape, device="cpu")
            texts = tower(tokens[batch.labels.cpu(), drawn].to(batch.images.device))
            assert isinstance(model.head, CosineLinear)
            images = model.head.directions(model(batch.images).features)
            return {"contrast": image_text_contrast(images, texts, tower.scale)}

        model.settling = settling
        yield Stage(model, contrast, recipe, train=(model.backbone, tower))
        model.settle()
        model.settling = None

"""Attention-only fine-tuning (Touvron et al., ECCV 2022)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from bench.backbones import Model
from bench.data import TrainingImages
from bench.losses import all_but
from bench.method import Method, Stage, hyper
from bench.protocol import Recipe


@dataclass(frozen=True)
class AttentionOnly(Method):
    """The attention layers and the head are trained, the FFNs are not; ``rest`` says what becomes of the others.

    ``deit`` trains the position embedding with them and freezes norms, [cls], patch embedding and layer scale.
    ``literal`` takes "freeze the FFN" at its word: all that is not part of an FFN is trained. Frozen branches drop
    paths like trained ones, as the released code leaves the whole model in training mode (DeiT's engine.py).
    """

    paper = "Touvron et al., 'Three Things Everyone Should Know About Vision Transformers', ECCV 2022, section 4"
    needs = {"attention", "ffn", "position"}
    per_image = True

    rest: str = hyper(
        "deit",
        choices=("deit", "literal"),
        source="deit: released code; literal: GTA's words 'freeze FFN' in its Table 2",
    )

    def stages(self, model: Model, recipe: Recipe, data: TrainingImages) -> Iterator[Stage]:
        """One stage that trains a part of the backbone and the head."""
        if self.rest == "literal":
            train = all_but(model.backbone, model.part("ffn"))
        else:
            train = [*model.part("attention"), *model.part("position")]
        yield Stage(model, self.loss, recipe, train=(*train, model.head), frozen_drops=True)

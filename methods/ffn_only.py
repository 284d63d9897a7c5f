"""FFN-only fine-tuning, the counterpart of attention-only (Touvron et al., ECCV 2022)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from bench.backbones import Model
from bench.data import TrainingImages
from bench.losses import all_but
from bench.method import Method, Stage, hyper
from bench.protocol import Recipe


@dataclass(frozen=True)
class FFNOnly(Method):
    """The FFNs and the head are trained, the attention layers are not; ``rest`` says what becomes of the others.

    ``deit`` mirrors what the released code of attention-only trains: the position embedding too, but not norms, [cls],
    patch embedding and layer scale. ``literal`` takes "freeze attention" at its word: all that is not part of an
    attention layer is trained. Frozen branches drop paths like trained ones, as in attention-only's released code.
    """

    paper = "Touvron et al., 'Three Things Everyone Should Know About Vision Transformers', ECCV 2022, section 4"
    needs = {"attention", "ffn", "position"}
    per_image = True

    rest: str = hyper(
        "deit",
        choices=("deit", "literal"),
        source="deit: our choice, as no code was published; literal: GTA's words 'freeze attention' in its Table 2",
    )

    def stages(self, model: Model, recipe: Recipe, data: TrainingImages) -> Iterator[Stage]:
        """One stage that trains a part of the backbone and the head."""
        if self.rest == "literal":
            train = all_but(model.backbone, model.part("attention"))
        else:
            train = [*model.part("ffn"), *model.part("position")]
        yield Stage(model, self.loss, recipe, train=(*train, model.head), frozen_drops=True)

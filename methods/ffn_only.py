"""FFN-only fine-tuning, the counterpart of attention-only (Touvron et al., ECCV 2022)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from bench.backbones import Model
from bench.data import TrainingImages
from bench.method import Method, Stage
from bench.protocol import Recipe


@dataclass(frozen=True)
class FFNOnly(Method):
    """Only the FFNs, the position embedding and the head are trained; attention, norms and the rest stay."""

    paper = "Touvron et al., 'Three Things Everyone Should Know About Vision Transformers', ECCV 2022, section 4"
    needs = {"ffn", "position"}

    def stages(self, model: Model, recipe: Recipe, data: TrainingImages) -> Iterator[Stage]:
        """One stage; no code of it was published, so it mirrors that of attention-only."""
        train = (*model.part("ffn"), *model.part("position"), model.head)
        yield Stage(model, self.loss, recipe, train=train)

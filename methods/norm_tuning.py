"""Norm tuning: only scales and shifts of the norms and the head are trained (Basu et al., AAAI 2024)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from bench.backbones import Model
from bench.data import TrainingImages
from bench.method import Method, Stage
from bench.protocol import Recipe


@dataclass(frozen=True)
class NormTuning(Method):
    """Scale and shift of every norm of the backbone are trained, and the new head; all other weights are frozen.

    Of a ViT-B/16 these are 25 layer norms, 38,400 weights; the last norm and those inside of branches are among them,
    layer scale is not. Batch norms take the statistics of their batches, as they do where they alone are trained
    (Frankle, Schwab and Morcos, ICLR 2021). Frozen branches drop paths as in fine-tuning.
    """

    paper = (
        "Basu, Hu, Massiceti and Feizi, 'Strong Baselines for Parameter-Efficient Few-Shot Fine-Tuning', AAAI 2024 "
        "(LN-Tune)"
    )
    needs = {"norms"}
    per_image = True

    def stages(self, model: Model, recipe: Recipe, data: TrainingImages) -> Iterator[Stage]:
        """One stage that trains norms and head."""
        yield Stage(model, self.loss, recipe, train=(*model.part("all_norms"), model.head), frozen_drops=True)

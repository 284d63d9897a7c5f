"""Plain fine-tuning: every weight is trained with cross-entropy."""

from __future__ import annotations

from dataclasses import dataclass

from bench.method import Method


@dataclass(frozen=True)
class CrossEntropy(Method):
    """Plain fine-tuning of all weights with cross-entropy."""

    paper = "the baseline of every paper here (CE-tuning, naive fine-tuning)"
    per_image = True

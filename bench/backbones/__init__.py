"""Architectures with their weights, and the one interface that methods see."""

from bench.backbones.build import build_model
from bench.backbones.head import CosineLinear
from bench.backbones.model import Model, Output
from bench.backbones.text_tower import TextTower

__all__ = ["CosineLinear", "Model", "Output", "TextTower", "build_model"]

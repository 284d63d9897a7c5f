"""Architectures with their weights, and the one interface that methods see."""

from bench.backbones.build import build_model
from bench.backbones.model import Model, Output

__all__ = ["Model", "Output", "build_model"]

"""What a method, a backbone and a dataset declare of themselves, read without torch."""

from bench.cards.backbone import BackboneCard
from bench.cards.dataset import DatasetCard
from bench.cards.method import MethodCard

__all__ = ["BackboneCard", "DatasetCard", "MethodCard"]

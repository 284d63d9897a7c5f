"""The cards that a paper's plan needs, each read once for all its cells, and what they say of runs."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

from bench.cards import BackboneCard
from bench.entry import MethodEntry, read_entries
from bench.errors import InputError, to_type
from bench.papers.sample import Samples
from bench.plan.settings import refuse_unplain
from bench.registry import Registry
from bench.spec import AXES


class Cards:
    """Cards, rows and protocols, each read once for all cells of a paper."""

    def __init__(self, registry: Registry) -> None:
        self.registry = registry
        self.backbone, self.dataset = cache(registry.backbone), cache(registry.dataset)
        self.samples = Samples(registry)
        self.entries = dict[str, list[MethodEntry]]()
        self.met: dict[str, set[str]] = {axis: set() for axis in AXES[:4]}

    def methods(self, parts: Mapping[str, Any], place: str) -> list[MethodEntry]:
        key = repr(parts)
        if key not in self.entries:
            entries = read_entries("+".join(parts), dict(parts), place, self.registry)
            self.entries[key] = [*refuse_unplain(entries, place)]
        return self.entries[key]


def unshipped(backbone: BackboneCard) -> str:
    """Why runs of a backbone cannot be planned, as their ids depend on its weights; empty where they can."""
    try:
        backbone.require_weights()
    except InputError:
        return (
            f"the weights of {backbone.name} are not here: {to_type('show', backbone.name)} says where they are "
            f"published, {to_type('convert', backbone.name, 'CHECKPOINT')} puts them in place"
        )
    return ""

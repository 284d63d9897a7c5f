"""The cards that a paper's plan needs, each read once for all its cells, and what they say of runs."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

from bench.entry import MethodEntry, read_entries
from bench.papers.sample import Samples
from bench.plan.settings import refuse_unplain
from bench.registry import Registry
from bench.spec import AXES


class Cards:
    """Cards, rows and protocols, each read once for all cells of some papers.

    ``met`` has the names that cells go by, along each axis; ``unmet`` why a list of images stands for no rate.
    """

    def __init__(self, registry: Registry) -> None:
        self.registry = registry
        self.backbone, self.dataset = cache(registry.backbone), cache(registry.dataset)
        self.samples = Samples(registry)
        self.entries = dict[str, list[MethodEntry]]()
        self.met: dict[str, set[str]] = {axis: set() for axis in AXES[:4]}
        self.unmet: dict[str, str] = {}

    def methods(self, parts: Mapping[str, Any], place: str) -> list[MethodEntry]:
        key = repr(parts)
        if key not in self.entries:
            entries = read_entries("+".join(parts), dict(parts), place, self.registry)
            self.entries[key] = [*refuse_unplain(entries, place)]
        return self.entries[key]

"""Runs that are only made up: what the tests of launchers hand over."""

from __future__ import annotations

from bench.protocol import Protocol, Recipe
from bench.spec import MethodSpec, Named, RunSpec, Seeds


def spec(seed: int, backbone: str = "micro_vit", rate: float = 15.0) -> RunSpec:
    """A run that differs from another one in what is given."""
    return RunSpec(
        method=MethodSpec("ce", "a" * 12, ()),
        backbone=Named(backbone, (backbone * 12)[:12]),
        dataset=Named("digits", "c" * 12),
        rate=rate,
        protocol=Protocol(Recipe(steps=8)),
        seeds=Seeds(seed, seed, seed),
        seed=seed,
    )

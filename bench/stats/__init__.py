"""Means, tests, corrections and power on plain arrays; knows nothing of methods, tables or files.

A file is a question: ``samples`` (what is the mean?), ``two`` (do two samples differ?), ``family`` (which of many
comparisons hold?), ``across`` (over several datasets?), ``items`` (image by image?), ``reach`` (can the test answer at
all?), ``power`` (how many seeds would it take?).
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bench.stats.across import (
        LIKE_THESE,
        THESE,
        OverDatasets,
        cliques,
        critical_difference,
        friedman,
        mean_ranks,
        nemenyi,
        over_datasets,
        stratified_permutation,
        wilcoxon,
    )
    from bench.stats.family import holm, indistinguishable
    from bench.stats.items import Difference, likeness, mcnemar, paired_bootstrap
    from bench.stats.power import (
        paired_power,
        pairs_needed,
        permutation_level,
        permutation_needed,
        seeds_needed,
        unrejected_level,
        welch_power,
    )
    from bench.stats.reach import OutOfReachError, fewest, refusal, require, smallest_p
    from bench.stats.samples import Floats, mean_std, t_interval
    from bench.stats.two import paired_permutation, paired_t, permutation, welch

__all__ = [
    "LIKE_THESE",
    "THESE",
    "Difference",
    "Floats",
    "OutOfReachError",
    "OverDatasets",
    "cliques",
    "critical_difference",
    "fewest",
    "friedman",
    "holm",
    "indistinguishable",
    "likeness",
    "mcnemar",
    "mean_ranks",
    "mean_std",
    "nemenyi",
    "over_datasets",
    "paired_bootstrap",
    "paired_permutation",
    "paired_power",
    "paired_t",
    "pairs_needed",
    "permutation",
    "permutation_level",
    "permutation_needed",
    "refusal",
    "require",
    "seeds_needed",
    "smallest_p",
    "stratified_permutation",
    "t_interval",
    "unrejected_level",
    "welch",
    "welch_power",
    "wilcoxon",
]

_FILES = ("samples", "two", "family", "reach", "across", "items", "power")
"""Each builds on those before it; what tables need comes first."""


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used: a table needs none of the bootstraps."""
    if name in __all__:
        for file in _FILES:
            found = importlib.import_module(f"bench.stats.{file}")
            if hasattr(found, name):
                globals()[name] = getattr(found, name)
                return globals()[name]
    raise AttributeError(f"module 'bench.stats' has no attribute '{name}'")

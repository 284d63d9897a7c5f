"""The words by which a table's rules are chosen: how runs are scored, candidates chosen and methods compared."""

from __future__ import annotations

SELECTIONS = ("last", "best-val", "best-test")
"""The rules by which the point of its curve is picked at which a run is scored."""

SWEEPS = ("best-val", "best-test")
"""The splits on which one of several candidates may be chosen."""

SPLITS = ("test", "val")
TRAIN = "train"
"""The split that runs are trained on: no run is scored on it, and kept models may be measured."""

SOURCE = "source"
"""The point of a run before any training: the pre-trained backbone."""

AUTO = "auto"

TESTS = (AUTO, "pooled", "paired", "welch", "permutation")
"""The tests by which a table compares methods; ``auto`` is what its design asks for (see ``bench.tables.testing``)."""

PAIRED = ("pooled", "paired")
"""Those of differences between runs of one seed."""

ACROSS = ("these", "like-these")
"""The claims that a table can make over its datasets (see ``bench.tables.across``)."""

FAMILIES = ("column", "table")
"""What Holm's correction may be over: the comparisons of each column, or of the whole table."""

SOURCES = ("published", "ours", "both")
"""Whose numbers a table is shown with."""

MARKS = ("test", "means")
"""What bold means: cannot be told from the best (``bench.tables.group``), or the best by the means alone."""

MOST_SEEDS = 10_000


def kept_at(selection: str) -> str:
    """The rule by which the model of a run is picked that is measured: none is kept for what the test split says."""
    return "last" if selection == "best-test" else selection

"""Does a method gain more over plain fine-tuning where few images are labelled? From the rows of ``bench runs``.

    bench runs transfer --plugin benchmarks/real ... --format csv > runs.csv
    python benchmarks/real/gains.py runs.csv 15 100

For each method and dataset: its gain at the first rate less its gain at the second, paired by seed, with the 95 %
interval and a p that is Holm-corrected over the methods of a dataset; the spread is pooled over these, as in tables.
Then the same over all datasets, of the mean over them of each seed.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas

from bench.stats.difference import MeanDifference, pooled_estimates
from bench.stats.family import holm

BASELINE = "Fine-tune (baseline)"
ROUNDING = 1e-9
"""Percentage points below which two accuracies are equal."""


def main(path: Path, few: float, many: float) -> None:
    """Print a table of each dataset, and one of all."""
    runs = pandas.read_csv(path)
    runs["dataset"] = runs["dataset"].str.rsplit("/", n=1).str[-1].str.removeprefix("folder:")
    scores = runs.pivot_table("test.top1", ["dataset", "row", "rate"], "seed", sort=False)
    methods = [row for row in runs["row"].unique() if row != BASELINE]
    datasets = list(runs["dataset"].unique())
    changes = {data: np.array([change(scores.loc[data], row, few, many) for row in methods]) for data in datasets}
    for data in datasets:
        print_table(data, methods, changes[data], few, many)
    if len(datasets) > 1:
        print_table("all datasets", methods, np.mean([*changes.values()], axis=0), few, many)


def change(scores: pandas.DataFrame, row: str, few: float, many: float) -> npt.NDArray[np.float64]:
    """Gain of a method at the lower rate less that at the higher one, by seed (n,); nan where a run is missing."""
    by_rate = {rate: scores.xs(rate, level="rate") for rate in (few, many)}
    gains = {rate: part.loc[row] - part.loc[BASELINE] for rate, part in by_rate.items()}
    return np.asarray(gains[few] - gains[many], np.float64)


def print_table(title: str, methods: list[str], changes: npt.NDArray[np.float64], few: float, many: float) -> None:
    """Print the methods (M,) with their changes (M, n) as Markdown."""
    estimates = pooled_estimates(changes, ROUNDING)
    tested = [estimate for estimate in estimates if estimate is not None]
    corrected = dict(zip(map(id, tested), holm([estimate.p for estimate in tested]), strict=True))
    print(f"\n| {title} | gain at {few:g} % less gain at {many:g} % | 95 % interval | p (Holm) |\n|:--|--:|--:|--:|")
    for method, estimate in zip(methods, estimates, strict=True):
        print(f"| {method} | {_cells(estimate, corrected)} |")


def _cells(estimate: MeanDifference | None, corrected: dict[int, float]) -> str:
    if estimate is None:
        return "– | – | –"
    half = estimate.half_width()
    interval = f"{estimate.gap - half:+.1f} to {estimate.gap + half:+.1f}"
    return f"{estimate.gap:+.1f} | {interval} | {corrected[id(estimate)]:.2g}"


if __name__ == "__main__":
    main(Path(sys.argv[1]), float(sys.argv[2]), float(sys.argv[3]))

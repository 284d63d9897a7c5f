"""The measured landscapes of the models of a scene."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from bench.figures.measured import MeasuredModel, how_to_measure, images_line, measurements_of, options_of
from bench.figures.scene import Scene
from bench.measure import Option
from bench.tables.compare import Entry

MEASURE = "landscape"

Way = tuple[int, tuple[tuple[str, Any], ...]]
"""How a landscape was measured: of how many images, and with which options."""

Landscapes = dict[Way, MeasuredModel]
"""Those of a run: positions (P,), and loss and accuracy at them, as the measure has them."""

ABOUT = "moved by (filter norms)"
"""What lies along the axes of a landscape."""


@dataclass(frozen=True)
class ModelLandscapes:
    """Those of the seeds of a cell."""

    entry: Entry
    seeds: Sequence[MeasuredModel]


def landscapes_of(scene: Scene, dimensions: int) -> list[ModelLandscapes]:
    """Those of all cells, measured in one way: the usual one or, where not all have that, the newest of the first cell.

    Raises:
        ValueError: of a cell no model was measured, or cells were measured in ways that cannot be compared; says which
            command measures them.
        InputError: a measurement is damaged.
    """
    chosen: dict[str, Option] = {"dimensions": dimensions} if dimensions != 1 else {}
    words = [word for name, value in chosen.items() for word in ("--option", f"{name}={value}")]
    remedy = how_to_measure(scene, MEASURE, *words)
    every: list[tuple[Entry, list[Landscapes]]] = []
    ways: list[Way] = []
    for entry in scene.drawn:
        runs = []
        for spec in entry.cell.runs:
            measurements = measurements_of(entry, spec, scene, MEASURE, chosen=chosen)
            runs.append({_way(each): each for each in measurements if _dimensions(each) == dimensions})
        of_cell = list(dict.fromkeys(way for run in runs for way in run))
        if not of_cell:
            raise ValueError(f"the landscape of {entry.planned.name} was not measured{remedy}")
        ways = [way for way in ways if way in of_cell] if every else of_cell
        if not ways:
            raise ValueError(f"landscapes were measured with different options{remedy}")
        every.append((entry, runs))
    return [ModelLandscapes(entry, [run[ways[0]] for run in runs if ways[0] in run]) for entry, runs in every]


def _dimensions(model: MeasuredModel) -> object:
    return model.measurement.options.get("dimensions")


def _way(model: MeasuredModel) -> Way:
    return model.measurement.images, tuple(sorted(model.measurement.options.items()))


def landscapes_line(models: Sequence[ModelLandscapes]) -> str:
    """Of how many images, what was chosen, and what of batch norms."""
    seeds = [model.seeds[0] for model in models]
    norms = any("batch norms" in remark for seed in seeds for remark in seed.measurement.remarks)
    how = [f"statistics of batch norms {seeds[0].measurement.options['norms']}"] if norms else []
    return "; ".join((images_line(seeds), *how, *options_of(seeds)))

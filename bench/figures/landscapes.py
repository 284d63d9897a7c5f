"""The measured landscapes of the models of a scene."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from bench.figures.measured import how_to_measure
from bench.figures.predicted import split_of
from bench.figures.scene import Scene
from bench.notation import MEASURED
from bench.records.measured import Measurement, folder_of, read_arrays, read_measurement, stem_of
from bench.spec import RunSpec
from bench.tables.compare import Entry

MEASURE = "landscape"

Way = tuple[int, tuple[tuple[str, Any], ...]]
"""How a landscape was measured: of how many images, and with which options."""

ABOUT = "moved by (filter norms)"
"""What lies along the axes of a landscape."""


@dataclass(frozen=True)
class Landscape:
    """A measured landscape: positions (P,), and loss and accuracy at them, as its measure has them."""

    measurement: Measurement
    arrays: Mapping[str, npt.NDArray[Any]]

    @property
    def positions(self) -> npt.NDArray[np.float64]:
        return self.arrays["positions"]


@dataclass(frozen=True)
class ModelLandscapes:
    """Those of the seeds of a cell."""

    entry: Entry
    seeds: Sequence[Landscape]


def landscapes_of(scene: Scene, dimensions: int) -> list[ModelLandscapes]:
    """Those of all cells, measured in one way: with the usual options or, where not all have that, the most images.

    Raises:
        ValueError: of a cell no model was measured, or cells were measured in ways that cannot be compared; says which
            command measures them.
        InputError: a measurement is damaged.
    """
    entries = scene.drawn
    every = [[_ways(entry, spec, scene, dimensions) for spec in entry.cell.runs] for entry in entries]
    ways: list[Way] = []
    for entry, runs in zip(entries, every, strict=True):
        of_cell = list(dict.fromkeys(way for run in runs for way in run))
        if not of_cell:
            raise ValueError(f"the landscape of {entry.planned.name} was not measured{_remedy(scene, dimensions)}")
        ways = [way for way in ways if way in of_cell] if ways else of_cell
        if not ways:
            raise ValueError(f"landscapes were measured with different options{_remedy(scene, dimensions)}")
    way = ways[0]
    return [
        ModelLandscapes(entry, [_read(run[way], scene, spec) for spec, run in _with(entry, runs, way)])
        for entry, runs in zip(entries, every, strict=True)
    ]


def _with(entry: Entry, runs: Sequence[Mapping[Way, str]], way: Way) -> Iterator[tuple[RunSpec, Mapping[Way, str]]]:
    """The runs of a cell that were measured in a way."""
    return ((spec, run) for spec, run in zip(entry.cell.runs, runs, strict=True) if way in run)


def _read(stem: str, scene: Scene, spec: RunSpec) -> Landscape:
    path = folder_of(scene.records.scores.root, spec.id) / f"{stem}.json"
    return Landscape(read_measurement(path), read_arrays(path))


def _ways(entry: Entry, spec: RunSpec, scene: Scene, dimensions: int) -> dict[Way, str]:
    """The landscapes of a run at the selected point: the usual one first, then by their images, the most first."""
    results, rule = scene.records, scene.table.plan.rules.selection
    run = results.finished[spec.id]
    step = run.values[results.scores.point(run, rule, results.picking(entry.planned.metric))][0]
    usual = stem_of(MEASURE, str(step), split_of(scene), {})
    measured = []
    for path in folder_of(results.scores.root, spec.id).glob(f"{usual}*.json"):
        measurement = read_measurement(path)
        if path.stem.removeprefix(usual)[:1] in ("", "-") and measurement.options.get("dimensions") == dimensions:
            way = (measurement.images, tuple(sorted(measurement.options.items())))
            measured.append((path.stem != usual, -measurement.images, path.stem, way))
    return {way: stem for _, _, stem, way in sorted(measured, key=lambda each: each[:3])}


def _remedy(scene: Scene, dimensions: int) -> str:
    """The end of a message about what was not measured: the command that measures it."""
    options = ("--option", f"dimensions={dimensions}") if dimensions != 1 else ()
    return f"; {how_to_measure(scene, MEASURE, *options)} (bench run --keep last keeps them)"


def images_line(models: Sequence[ModelLandscapes], split: str) -> str:
    """Of how many images, and what of batch norms."""
    measurement = models[0].seeds[0].measurement
    norms = any("batch norms" in remark for model in models for remark in model.seeds[0].measurement.remarks)
    how = f"; statistics of batch norms {measurement.options['norms']}" if norms else ""
    return f"{measurement.images:,} {MEASURED[split]} images{how}"

"""What was measured of the kept models of a cell, for figures that show it."""

from __future__ import annotations

import glob
import math
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy.typing as npt

from bench.errors import to_type
from bench.figures.predicted import split_of
from bench.figures.scene import Scene
from bench.metrics import Metric
from bench.notation import MEASURED
from bench.papers.published import Key
from bench.records.measured import SOURCE, Measurement, folder_of, read_arrays, read_measurement, stem_of
from bench.records.scores import Scores
from bench.records.store import Finished
from bench.rules import kept_at
from bench.tables.compare import Entry, Table

BEFORE = "pre-trained"
"""What a panel of the model is called that runs started from."""


@dataclass(frozen=True)
class MeasuredModel:
    """A measurement with the arrays that lie beside it."""

    measurement: Measurement
    arrays: Mapping[str, npt.NDArray[Any]]


@dataclass(frozen=True)
class MeasuredPanel:
    """A model that has a panel of its own: what it is called, and what was measured of it."""

    title: str
    model: MeasuredModel


def measured(entry: Entry, scene: Scene, measure: str, source: bool = False) -> MeasuredModel | None:
    """What was measured of the first seed of a cell that has it: of its model, or of the one it started from.

    The split is the scene's; the point of the curve is the one that the table's rule selects. What was measured with
    options or a number of images of somebody's own comes before the usual, of several the newest. None where nothing
    was measured. Raises ``InputError`` where it is damaged.
    """
    results, rule = scene.records, scene.table.plan.rules.selection
    for spec in entry.cell.runs:
        run = results.finished[spec.id]
        point = SOURCE
        if not source:
            at = results.scores.point(run, kept_at(rule), results.picking(entry.planned.metric))
            point = str(run.values[at][0])
        stem = stem_of(measure, point, split_of(scene), {})
        folder = folder_of(results.scores.root, run.id)
        usual, chosen = folder / f"{stem}.json", folder.glob(f"{glob.escape(stem)}-*.json")
        paths = [usual] if usual.is_file() else []
        paths = sorted(chosen, key=lambda path: path.stat().st_mtime_ns)[-1:] or paths
        if paths:
            measurement = read_measurement(paths[0])
            return MeasuredModel(measurement, read_arrays(paths[0]) if measurement.arrays else {})
    return None


def measured_curve(run: Finished, metric: Metric, scores: Scores, split: str) -> tuple[float, ...]:
    """A metric of kept models at each point of a run's curve; nan where the model was not kept, or not measured."""
    folder, values = folder_of(scores.root, run.id), list[float]()
    for step, _, _ in run.values:
        path = folder / f"{stem_of(metric.measure, str(step), split, {})}.json"
        number = read_measurement(path).numbers.get(metric.name) if path.is_file() else None
        values.append(math.nan if number is None else number)
    return tuple(values)


def panels_before_and_behind(entries: Sequence[Entry], scene: Scene, measure: str) -> list[MeasuredPanel]:
    """The models of some cells as panels: of each setting the pre-trained one, where it was measured, then the methods.

    Raises ``ValueError`` where none was measured, and says which command measures.
    """
    settings: dict[Key, list[Entry]] = {}
    axes = [axis for axis in ("backbone", "dataset", "rate") if len({e.planned.axes.get(axis) for e in entries}) > 1]
    for entry in entries:
        settings.setdefault(tuple(entry.planned.axes.get(axis, "") for axis in axes), []).append(entry)
    panels: list[MeasuredPanel] = []
    started: set[Key] = set()
    for labels, inside in settings.items():
        start = tuple(inside[0].planned.axes.get(axis, "") for axis in ("backbone", "dataset"))
        sources = (measured(entry, scene, measure, source=True) for entry in inside)
        source = next(filter(None, sources), None)
        if source and start not in started:
            started.add(start)
            of_start = tuple(label for axis, label in zip(axes, labels, strict=True) if axis != "rate")
            panels.append(MeasuredPanel(" / ".join((BEFORE, *of_start)), source))
        for entry in inside:
            if model := measured(entry, scene, measure):
                panels.append(MeasuredPanel(" / ".join((entry.planned.name, *labels)), model))
    if not panels:
        raise ValueError(lacking(scene, measure))
    return panels


def lacking(scene: Scene, measure: str, source: bool = False, every: bool = False) -> str:
    """That nothing was measured, and which command measures it, in a line."""
    split, keep = split_of(scene), "all" if every else "last"
    asked = ["--of", SOURCE] if source else []
    asked += ["--split", split] if split != "test" else []
    asked += ["--points", "all"] if every else []
    what = "the model that the runs started from" if source else "a kept model"
    measures, trains = _typed("measure", scene, measure, *asked), _typed("run", scene, "--keep", keep)
    return f"{measure} of {what} was not measured; {measures} measures it ({trains} keeps models)"


def _typed(command: str, scene: Scene, *asked: str) -> str:
    """A command about what is drawn, with what was typed to choose it."""
    trains = shlex.split(scene.train)
    typed = trains[3:] if trains[:3] == ["bench", "run", scene.name] else []
    return to_type(command, scene.name, *asked, *typed)


def shown_as(table: Table, metric: Metric) -> Table:
    """A table of finished runs, whatever was measured of them, whose cells are about a metric of kept models."""
    lines = (
        tuple(replace(entry, planned=replace(entry.planned, metric=metric)) for entry in line) for line in table.entries
    )
    return replace(table, entries=tuple(lines))


def images_line(panels: Iterable[MeasuredPanel], split: str) -> str:
    """Of how many images of which split, and that of each cell one model is shown."""
    counts = sorted({panel.model.measurement.images for panel in panels})
    images = f"{counts[0]:,}" if len(counts) == 1 else f"{counts[0]:,} to {counts[-1]:,}"
    return f"{images} images of the {MEASURED[split]} split, one seed of each method"

"""What was measured of the kept models of a scene, for figures that show it.

The usual measurement of a model counts: of the measure's own number of images, with its usual options. Where there is
none, the newest with options or images of somebody's own does, and the figure says which these are.
"""

from __future__ import annotations

import glob
import itertools
import math
import shlex
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy.typing as npt

from bench.errors import to_type
from bench.figures.predicted import split_of
from bench.figures.scene import Scene, Sketch, labels_of, panels_of
from bench.measure import Option
from bench.metrics import Metric
from bench.notation import MEASURED, counted
from bench.papers.published import Key
from bench.records.measured import Measurement, NotMeasured, folder_of, read_arrays, read_measurement, stem_of, why_odd
from bench.records.scores import Scores
from bench.records.store import Finished
from bench.rules import SOURCE, kept_at
from bench.spec import RunSpec
from bench.tables.compare import Entry, Table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PRE_TRAINED = "pre-trained"
"""What the model is called that runs started from."""

FEW = 4
"""Models up to which those that were not measured are named."""


@dataclass(frozen=True)
class MeasuredModel:
    """A measurement with the arrays that lie beside it.

    Attributes:
        usual: whether nothing was chosen but what the figure is of.
        title: what the model is called where several stand side by side.
    """

    measurement: Measurement
    arrays: Mapping[str, npt.NDArray[Any]]
    usual: bool
    title: str = ""


@dataclass(frozen=True)
class MeasuredModels:
    """Models that stand side by side, at least one; and what the figure says of them: of which images, and so on."""

    panels: Sequence[MeasuredModel]
    note: str


Drawn = Callable[[Scene, Key, MeasuredModels], "Figure"]


def measurements_of(
    entry: Entry, spec: RunSpec, scene: Scene, measure: str, point: str = "", chosen: Mapping[str, Option] | None = None
) -> Iterator[MeasuredModel]:
    """All that was measured of a run's model on the scene's split: the usual first, then the newest.

    The model is that of the point of the curve that the table's rule selects, or ``SOURCE``. Where a figure is of
    options of its own, they are ``chosen``, and what has these alone is the usual. What is of another model, or by
    another version of the measure, does not count.

    Raises:
        ValueError: no point of the run is selected.
        InputError: a measurement is damaged.
    """
    results, rule = scene.records, kept_at(scene.table.plan.rules.selection)
    run = results.finished[spec.id]
    if not point:
        point = str(run.values[results.scores.point(run, rule, results.picking(entry.planned))][0])
    folder, stem = folder_of(results.scores.root, spec.id), stem_of(measure, point, split_of(scene), {})
    usual = folder / f"{stem_of(measure, point, split_of(scene), chosen or {})}.json"
    top1 = [test for step, _, test in run.values if point in (str(step), SOURCE)]
    code = scene.code_of(measure) if scene.code_of else ""
    every = [folder / f"{stem}.json", *folder.glob(f"{glob.escape(stem)}-*.json")]
    present = [path for path in every if path.is_file()]
    for path in sorted(present, key=lambda path: (path == usual, path.stat().st_mtime_ns), reverse=True):
        measurement = read_measurement(path)
        if why_odd(measurement, top1, code):
            continue
        arrays = read_arrays(path) if measurement.arrays else {}
        yield MeasuredModel(measurement, arrays, path == usual)


def measured(entry: Entry, scene: Scene, measure: str, point: str = "") -> Iterator[MeasuredModel]:
    """The measurement that counts of each run of a cell that has one, in the order of its seeds."""
    every = (next(measurements_of(entry, spec, scene, measure, point), None) for spec in entry.cell.runs)
    return filter(None, every)


def first_measured(entry: Entry, scene: Scene, measure: str, point: str = "") -> MeasuredModel | None:
    """That of the first seed that has one; None where nothing was measured."""
    return next(measured(entry, scene, measure, point), None)


def models_of(
    entries: Sequence[Entry], scene: Scene, measure: str, needs: str = "", source: bool = True
) -> MeasuredModels:
    """The first measured seed of each cell, and before those that started from it the pre-trained model.

    ``needs`` is an array that a measurement may lack; without ``source`` there are no pre-trained models. Raises
    ``ValueError``: nothing was measured, or a model without that array; says which command does it.
    """
    panels, lacking = list[MeasuredModel](), list[str]()
    several_rates = len(labels_of(entries).get("rate", ())) > 1
    for labels, started in panels_of(entries, without=["rate"]).items():
        title = " / ".join((PRE_TRAINED, *labels))
        sources = [first_measured(entry, scene, measure, SOURCE) for entry in started] if source else []
        if untrained := next(filter(None, sources), None):
            panels.append(replace(untrained, title=title))
        elif source:
            lacking.append(f"{title} ({measure} --of {SOURCE})")
        for entry in itertools.chain(*panels_of(started).values()):
            rate = [entry.planned.axes.get("rate", "")] if several_rates else []
            title = " / ".join((entry.planned.name, *labels, *rate))
            if model := first_measured(entry, scene, measure):
                panels.append(replace(model, title=title))
            else:
                lacking.append(title)
    if not panels:
        raise ValueError(f"{measure} was not measured{how_to_measure(scene, measure)}")
    if needs and any(needs not in panel.arrays for panel in panels):
        raise ValueError(f"{measure} was measured without pictures{how_to_measure(scene, measure)}")
    seeds = ", one seed of each method" if any(entry.n > 1 for entry in entries) else ""
    notes = [images_line(panels) + seeds, *options_of(panels)]
    if lacking:
        some = ", ".join(lacking) if len(lacking) <= FEW else counted(len(lacking), "model")
        notes.append(f"not measured: {some}")
    return MeasuredModels(panels, "; ".join(notes))


def sketches_of_models(scene: Scene, measure: str, drawn: Drawn, needs: str = "", source: bool = True) -> list[Sketch]:
    """A figure for each setting, which ``drawn`` gives from the scene, the labels of the setting and its models.

    Raises ``ValueError`` as ``models_of``.
    """
    every = []
    for labels, entries in panels_of(scene.drawn).items():
        models = models_of(entries, scene, measure, needs, source)
        every.append(Sketch(partial(drawn, scene, labels, models), scene.labels, labels))
    return every


def images_line(models: Sequence[MeasuredModel]) -> str:
    """Of how many images of which split models were measured."""
    counts = sorted({model.measurement.images for model in models})
    images = f"{counts[0]:,}" if len(counts) == 1 else f"{counts[0]:,} to {counts[-1]:,}"
    return f"{images} images of the {MEASURED[models[0].measurement.split]} split"


def options_of(models: Iterable[MeasuredModel]) -> list[str]:
    """What was chosen where a measurement is not the usual one, in words, each once."""
    chosen = [model.measurement for model in models if not model.usual]
    words = ([f"{name}={value}" for name, value in each.options.items()] for each in chosen)
    return [*dict.fromkeys(", ".join(each) for each in words if each)]


def how_to_measure(scene: Scene, *words: str) -> str:
    """The end of a message about what was not measured: the command that does it, with what was typed to draw.

    ``words``: the measures, and what is asked of them: ``--of source``, ``--points all``.
    """
    if not scene.measure:
        return ""
    command, target, *typed = shlex.split(scene.measure)[1:]
    split = split_of(scene)
    typed = typed if split == "test" or "--split" in typed else ["--split", split, *typed]
    models = "the model that runs started from" if SOURCE in words else "the kept models"
    kept = "bench run --keep all keeps them" if "all" in words else "--train trains again where none was kept"
    return f"; {to_type(command, target, *words, *typed)} measures {models} ({kept})"


def measured_curve(run: Finished, metric: Metric, scores: Scores, split: str) -> tuple[float, ...]:
    """A metric of kept models at each point of a run's curve, as tables have it: measured in the usual way.

    It is nan where the model was not kept, or not measured.
    """
    values = []
    for at in range(len(run.values)):
        try:
            values.append(scores.measured_at(run, metric, at, split))
        except NotMeasured:
            values.append(math.nan)
    return tuple(values)


def shown_as(table: Table, metric: Metric) -> Table:
    """A table of finished runs, whatever was measured of them, whose cells are about a metric of kept models."""
    lines = (
        tuple(replace(entry, planned=replace(entry.planned, metric=metric)) for entry in line) for line in table.entries
    )
    return replace(table, entries=tuple(lines))

"""What was measured of the models of a scene: the arrays that figures are drawn from, of each run and of its source."""

from __future__ import annotations

import glob
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy.typing as npt

from bench.errors import in_sentence, to_type
from bench.figures.predicted import split_of
from bench.figures.scene import Scene, Sketch, panels_of
from bench.notation import counted
from bench.papers.published import Key
from bench.records.measured import SOURCE, folder_of, read_arrays, read_measurement, stem_of
from bench.rules import kept_at
from bench.tables.compare import Entry

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class MeasuredArrays:
    """The arrays of a measurement, by name.

    Attributes:
        options: what was chosen of the measure's own where that is not usual, in words.
    """

    arrays: Mapping[str, npt.NDArray[Any]]
    options: str = ""

    def __getitem__(self, name: str) -> npt.NDArray[Any]:
        return self.arrays[name]

    def __contains__(self, name: object) -> bool:
        return name in self.arrays


Models = Mapping[str, Sequence[MeasuredArrays]]
"""The measurements of each model's runs, by what it is called."""

Drawn = Callable[[Scene, Key, Models], "Figure"]

PRE_TRAINED = "pre-trained"
"""What the model is called that the runs of a setting started from."""


def sketches_of_models(scene: Scene, measure: str, drawn: Drawn, needs: str = "") -> list[Sketch]:
    """A figure for each setting, of the arrays of its models.

    ``drawn`` gives it, from the scene, the labels of the setting and the arrays of each model's runs. ``needs`` is an
    array that a measurement may lack.

    Raises:
        ValueError: a method was not measured, or without that array; says which command does it.
    """
    every = []
    for labels, entries in panels_of(scene.drawn).items():
        models = models_of(entries, scene, measure)
        if needs and any(needs not in arrays[0] for arrays in models.values()):
            raise ValueError(f"{measure} was measured without pictures; {how_to_measure(scene, measure)}")
        every.append(Sketch(partial(drawn, scene, labels, models), scene.labels, labels))
    return every


def measured(entry: Entry, scene: Scene, measure: str) -> list[MeasuredArrays]:
    """The arrays of each run of a cell whose model was measured, in the order of its seeds.

    Where a run was not measured with the usual options, the measurement of it that was made last counts.

    Raises ``ValueError``: none was, and says which command does it; or no point of a run is selected.
    """
    return list(_arrays(entry, scene, measure, of_source=False))


def models_of(entries: Sequence[Entry], scene: Scene, measure: str) -> dict[str, list[MeasuredArrays]]:
    """The arrays of each model of a setting, by what it is called: first the pre-trained one, if it was measured.

    Methods start from the same one, so that of the first run that has it counts.

    Raises ``ValueError``: of a method no model was measured; says which command does it.
    """
    models: dict[str, list[MeasuredArrays]] = {}
    for entry in entries:
        if source := next(_arrays(entry, scene, measure, of_source=True), None):
            models[PRE_TRAINED] = [source]
            break
    for entry in entries:
        if not (arrays := measured(entry, scene, measure)):
            raise ValueError(f"{measure} was not measured of {entry.planned.name}; {how_to_measure(scene, measure)}")
        models[entry.planned.name] = arrays
    return models


def how_to_measure(scene: Scene, *measures: str) -> str:
    """The end of a sentence about what was not measured: the command that does it."""
    command = " ".join((scene.measure, *measures))
    typed = in_sentence(command) if scene.measure else to_type("measure", scene.name, *measures)
    return f"{typed} measures the kept models"


def note_on(models: Models, scene: Scene, measure: str) -> str:
    """What a figure says of whose models it shows."""
    seeds = sorted({len(arrays) for name, arrays in models.items() if name != PRE_TRAINED})
    notes = [f"first of {counted(seeds[-1], 'seed')}"] if seeds and seeds[-1] > 1 else []
    notes += dict.fromkeys(arrays[0].options for arrays in models.values() if arrays[0].options)
    if PRE_TRAINED not in models:
        notes.append(f"the pre-trained model was not measured ({measure} --of source)")
    return "; ".join(notes)


def _arrays(entry: Entry, scene: Scene, measure: str, of_source: bool) -> Iterator[MeasuredArrays]:
    results, rule = scene.records, scene.table.plan.rules.selection
    for spec in entry.cell.runs:
        run = results.finished[spec.id]
        at = results.scores.point(run, kept_at(rule), results.picking(entry.planned.metric))
        point = SOURCE if of_source else str(run.values[at][0])
        stem = stem_of(measure, point, split_of(scene), {})
        folder = folder_of(results.scores.root, spec.id)
        usual = folder / f"{stem}.json"
        if usual.is_file():
            yield MeasuredArrays(read_arrays(usual))
        elif others := sorted(folder.glob(f"{glob.escape(stem)}-*.json"), key=lambda path: path.stat().st_mtime_ns):
            chosen = read_measurement(others[-1])
            words = [f"{name}={value}" for name, value in chosen.options.items()]
            yield MeasuredArrays(read_arrays(others[-1]), ", ".join([*words, f"{chosen.images:,} images"]))

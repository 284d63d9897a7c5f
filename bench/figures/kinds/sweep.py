"""The metric against a hyper-parameter that is swept, on the validation and the test split, with the value chosen."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bench.figures.page import page_of
from bench.figures.scene import Scene, Sketch, common_line, deviation_line, mean_std
from bench.figures.style import BARS, look
from bench.notation import SPLITS, listed, one_line
from bench.plan.table import Candidate, PlannedCell
from bench.spec import RunSpec, written
from bench.tables.compare import Entry

LOG_FROM = 20
"""A ratio of the largest to the smallest value from which values stand at their logarithms."""


Settings = Mapping[str, Any]
"""Hyper-parameters and settings of a run by name."""


@dataclass(frozen=True)
class Sweep:
    """What is tried of a method in one setting.

    Attributes:
        title: which method and setting.
        name: of what is along the axis.
        others: of what else varies, so that there are several lines.
        candidates: with the values of each.
        chosen: the label of the one that counts; empty where none does.
        entry: a cell of it.
        baseline: the cell that it is compared with, if there is one.
    """

    title: str
    name: str
    others: tuple[str, ...]
    candidates: tuple[tuple[Candidate, Settings], ...]
    chosen: str
    entry: Entry
    baseline: Entry | None


@dataclass(frozen=True)
class Line:
    """Values along the axis with mean, deviation and number of the seeds, one a candidate."""

    label: str
    split: str
    points: tuple[tuple[Any, float, float, int], ...]


def sketches(scene: Scene) -> list[Sketch]:
    """One figure: a panel for each method with candidates and each setting."""
    sweeps = [*_swept_cells(scene), *_swept_rows(scene)]
    if not sweeps:
        raise ValueError(
            "nothing is swept: no method has a list of values; 'methods: {GTA: {gta: {weight: [0.1, 1, 10]}}}' in an "
            "experiment has"
        )
    lines = {at: _lines(sweep, scene) for at, sweep in enumerate(sweeps)}
    if not any(lines.values()):
        raise ValueError(f"nothing to draw: {_why_not(sweeps, scene)}")
    on_test = scene.table.plan.rules.sweep == "best-test"  # as a paper did it, which the figure then says
    if not (scene.split or on_test) and not any(line.split == "val" for each in lines.values() for line in each):
        raise ValueError(
            "there is no validation split to choose on ('validation' in the protocol holds some images out); "
            "--split test draws what the test split says, by which nothing may be chosen"
        )
    drawn = {at: each for at, each in lines.items() if each}
    return [Sketch(lambda: _drawing(scene, sweeps, drawn), [*scene.labels, *(s.title for s in sweeps)])]


def _swept_cells(scene: Scene) -> Iterator[Sweep]:
    """Cells with several candidates."""
    table = scene.table
    bases = {place: base for contest in table.plan.contests for place, base in contest.pairs}
    for place, entry in table.places():
        if len(entry.planned.candidates) > 1:
            base = table.at(bases[place]) if place in bases else None
            candidates = entry.planned.candidates
            yield from _sweeps(scene, entry.planned.name, candidates, entry.cell.chosen, entry, base)


def _swept_rows(scene: Scene) -> Iterator[Sweep]:
    """Rows of a contest that train one method with different values."""
    table = scene.table
    for contest in table.plan.contests:
        bases = {place: base for place, base in contest.pairs}
        alike: dict[str, list[Entry]] = {}
        base_of: dict[str, Entry | None] = {}
        for place in contest.places:
            entry = table.at(place)
            if len(entry.planned.candidates) == 1:
                name = entry.planned.candidates[0].runs[0].method.full_name
                alike.setdefault(name, []).append(entry)
                base_of.setdefault(name, table.at(bases[place]) if place in bases else None)
        for name, entries in alike.items():
            if len(entries) > 1:
                candidates = [Candidate(entry.planned.name, entry.planned.candidates[0].runs) for entry in entries]
                heads = {entry.planned.name.partition(" (")[0] for entry in entries}
                head = heads.pop() if len(heads) == 1 else name
                yield from _sweeps(scene, head, candidates, "", entries[0], base_of[name])


def _sweeps(
    scene: Scene,
    method: str,
    candidates: Sequence[Candidate],
    chosen: str,
    entry: Entry,
    baseline: Entry | None,
) -> Iterator[Sweep]:
    """A sweep along the parameter of which the most values are tried; the others make lines of their own."""
    settings = [settings_of(candidate.runs[0]) for candidate in candidates]
    names = dict.fromkeys(name for each in settings for name in each)
    tried = {name: {repr(each.get(name)) for each in settings} for name in names}
    varied = sorted((name for name in names if len(tried[name]) > 1), key=lambda name: -len(tried[name]))
    if varied:
        planned = [each.planned for line in scene.table.entries for each in line if each.planned.axes]
        title = " / ".join([method, *_setting(entry.planned, planned)])
        pairs = tuple(zip(candidates, settings, strict=True))
        yield Sweep(title, varied[0], tuple(varied[1:]), pairs, chosen, entry, baseline)


def settings_of(spec: RunSpec) -> dict[str, Any]:
    """Hyper-parameters of a run's method and policies, and its settings; a name that two have is told apart."""
    owners = [(method.name, dict(method.hyper)) for method in (spec.method, *spec.method.policies)]
    owners.append(("protocol", {**written(spec.protocol), **written(spec.protocol.recipe)}))
    names = [name for _, values in owners for name in values]
    return {
        f"{owner}.{name}" if names.count(name) > 1 else name: value
        for owner, values in owners
        for name, value in values.items()
    }


def _setting(cell: PlannedCell, planned: Sequence[PlannedCell]) -> Iterator[str]:
    """The labels by which a cell is told apart from those of other settings."""
    for axis, label in cell.axes.items():
        if axis != "method" and len({each.axes.get(axis) for each in planned}) > 1:
            yield label


def _lines(sweep: Sweep, scene: Scene) -> list[Line]:
    """What the runs of a sweep scored, by split and by what else varies."""
    results, rules = scene.records, scene.table.plan.rules
    lines: dict[tuple[str, str], list[tuple[Any, float, float, int]]] = {}
    for candidate, settings in sweep.candidates:
        finished = [spec for spec in candidate.runs if spec.id in results.finished]
        label = ", ".join(f"{name} {_written(settings.get(name))}" for name in sweep.others)
        for split in [scene.split] if scene.split else SPLITS:
            scores = results.scores_of(finished, sweep.entry.planned, rules.selection, split)
            if numbers := [score for score in scores if not math.isnan(score)]:
                point = (settings.get(sweep.name), *mean_std(numbers), len(numbers))
                lines.setdefault((label, split), []).append(point)
    return [Line(label, split, tuple(points)) for (label, split), points in lines.items()]


def _why_not(sweeps: Sequence[Sweep], scene: Scene) -> str:
    """Why no run of some sweeps has a score."""
    results, rules = scene.records, scene.table.plan.rules
    for sweep in sweeps:
        runs = [spec for candidate, _ in sweep.candidates for spec in candidate.runs]
        if finished := [spec for spec in runs if spec.id in results.finished]:
            split = scene.split or "test"
            return results.why_not(finished, sweep.entry.planned.metric, rules, split, "to be scored on")
    return f"no run of what is swept has finished{scene.remedy}"


def _drawing(scene: Scene, sweeps: Sequence[Sweep], lines: Mapping[int, Sequence[Line]]) -> Figure:
    page = page_of(scene.width, len(lines))
    metrics = tuple(dict.fromkeys(sweeps[at].entry.planned.metric.heading for at in lines))
    names = tuple(dict.fromkeys(sweeps[at].name for at in lines))
    titles = [sweeps[at].title for at in lines]
    every = page.add(titles if len(titles) > 1 else [""], names[0], listed(metrics))
    handles: dict[str, Any] = {}
    looks: dict[str, int] = {}
    for place, (axes, (at, inside)) in enumerate(zip(every, lines.items(), strict=True)):
        title, x = page.words[place]
        page.words[place] = (title, _axis_name(sweeps[at]) if x or len(names) > 1 else "")
        handles |= _panel(axes, sweeps[at], inside, looks, scene)
    head = scene.table.plan.title
    page.title(f"{titles[0]}: {head}" if len(titles) == 1 else head, common_line(scene.table))
    counts = [n for inside in lines.values() for line in inside for *_, n in line.points]
    page.legend(handles, _note(scene, [sweeps[at] for at in lines], counts))
    return page.fitted()


def _panel(axes: Axes, sweep: Sweep, lines: Sequence[Line], looks: dict[str, int], scene: Scene) -> dict[str, Any]:
    """Draw a sweep; gives what stands for each line in the legend."""
    values = list(dict.fromkeys(settings.get(sweep.name) for _, settings in sweep.candidates))
    places = places_of(values)
    handles: dict[str, Any] = {}
    if sweep.baseline is not None and sweep.baseline.mean is not None and scene.split != "val":
        name = f"{sweep.baseline.planned.name}, {scene.table.plan.rules.split}"
        handles[name] = axes.axhline(sweep.baseline.mean, color="0.45", linewidth=0.9, linestyle=(0, (1, 1)))
    span = max(places.values()) - min(places.values()) or 1.0
    for number, line in enumerate(lines):
        name = ", ".join(filter(None, (line.label, SPLITS[line.split])))
        style = look(looks.setdefault(name, len(looks)))
        points = sorted(line.points, key=lambda point: places[repr(point[0])])
        handles[name] = axes.errorbar(
            [places[repr(value)] + (number - (len(lines) - 1) / 2) * 0.02 * span for value, *_ in points],
            [mean for _, mean, _, _ in points],
            yerr=[std for _, _, std, _ in points],
            **style,
            **BARS,
        )
    chosen = [settings for candidate, settings in sweep.candidates if candidate.label == sweep.chosen]
    for settings in chosen:
        axes.axvline(places[repr(settings.get(sweep.name))], color="0.85", linewidth=4, zorder=0)
    ordered = sorted(values, key=lambda value: places[repr(value)])
    axes.set_xticks([places[repr(value)] for value in ordered], [_written(value) for value in ordered])
    axes.margins(x=0.08)
    axes.grid(axis="y", color="0.9", linewidth=0.6)
    return handles


def _note(scene: Scene, sweeps: Sequence[Sweep], counts: Sequence[int]) -> str:
    rules = scene.table.plan.rules
    notes = [deviation_line(counts)]
    if any(sweep.chosen for sweep in sweeps):
        oracle = rules.sweep == "best-test"
        on = "test split (an oracle)" if oracle else "validation split"
        notes.append(f"grey bar: the value chosen, best on the {on}")
    lacking = dict.fromkeys(sweep.entry.cell.lacking for sweep in sweeps if not sweep.chosen)
    notes += [f"none chosen: {why}" for why in lacking if why]
    return "; ".join(notes)


def places_of(values: Sequence[Any]) -> dict[str, float]:
    """Where values stand along an axis, by their ``repr``: in proportion, at their logarithms, or one after the other.

    Logarithms are taken where the positive ones span much; zero then stands a step below the smallest.
    """
    if not _are_numbers(values) or not all(map(math.isfinite, values)):
        return {repr(value): float(at) for at, value in enumerate(values)}
    positive = sorted({float(number) for number in values if number > 0})
    if not positive or min(values) < 0 or positive[-1] < LOG_FROM * positive[0]:
        return {repr(value): float(value) for value in values}
    logarithms = [math.log10(number) for number in positive]
    step = min(right - left for left, right in pairwise(logarithms))
    below = logarithms[0] - max(step, 0.15 * (logarithms[-1] - logarithms[0]))
    return {repr(value): math.log10(value) if value > 0 else below for value in values}


def _axis_name(sweep: Sweep) -> str:
    values = [settings.get(sweep.name) for _, settings in sweep.candidates]
    places = places_of(values)
    is_log = any(isinstance(value, int | float) and value > 0 and places[repr(value)] != value for value in values)
    return f"{one_line(sweep.name)}{' (log scale)' * (is_log and _are_numbers(values))}"


def _are_numbers(values: Sequence[Any]) -> bool:
    return all(isinstance(value, int | float) and not isinstance(value, bool) for value in values)


def _written(value: Any) -> str:
    """A value as it stands along an axis."""
    if isinstance(value, float):
        return f"{value:g}"
    return "none" if value is None else str(value)

"""Accuracy of each class, methods side by side; of many classes those that differ most."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from bench.figures.page import page_of
from bench.figures.predicted import Floats, accuracy_of, class_labels, classes_of, predicted, split_of
from bench.figures.scene import Scene, Sketch, common_line, methods_of, panels_of, seeds_line
from bench.figures.style import look
from bench.notation import one_line
from bench.papers.published import Key
from bench.tables.compare import Entry

OF_RUN = True
"""A run by itself has it, too."""

MOST_CLASSES = 30
"""Of a panel; of more, half of them from either end are drawn."""

LINE, MOST_HEIGHT = 0.125, 5.0
"""Inches between two classes, more where methods are many, and of a panel that is spread out for them."""

FEW = 2
"""Methods up to which error bars are drawn."""


@dataclass(frozen=True)
class ClassPanel:
    """The classes of a setting.

    Attributes:
        labels: of all classes.
        means: by method, (classes,), the mean over the seeds in percent; nan for a class without images.
        deviations: the same, sample standard deviations; nan of one seed.
        order: the classes that are drawn, from the top.
        cut: behind so many of them some are left out; 0 where none is.
        by: by what they are ordered, in words.
    """

    labels: Sequence[str]
    means: Mapping[str, Floats]
    deviations: Mapping[str, Floats]
    order: Sequence[int]
    cut: int
    by: str


def sketches(scene: Scene) -> list[Sketch]:
    """One figure: a panel for each setting, a line for each class."""
    entries = scene.drawn
    panels = {labels: _panel_of(inside, scene) for labels, inside in panels_of(entries).items()}
    labels = [label for panel in panels.values() for label in panel.labels]
    return [Sketch(lambda: _drawing(scene, entries, panels), [*scene.labels, *labels])]


def _panel_of(entries: Sequence[Entry], scene: Scene) -> ClassPanel:
    each = {entry.planned.name: predicted(entry, scene) for entry in entries}
    classes = max(map(classes_of, each.values()))
    accuracies = {name: np.stack([accuracy_of(seed, classes) for seed in seeds]) for name, seeds in each.items()}
    means = {name: stacked.mean(axis=0) for name, stacked in accuracies.items()}
    deviations = {
        name: stacked.std(axis=0, ddof=1) if len(stacked) > 1 else np.full(classes, np.nan)
        for name, stacked in accuracies.items()
    }
    order, cut, by = _ordered(means, scene.table.plan.baseline)
    return ClassPanel(class_labels(entries[0], scene, classes), means, deviations, order, cut, by)


def _ordered(means: Mapping[str, Floats], baseline: str) -> tuple[list[int], int, str]:
    """Which classes are drawn from the top, behind how many some are left out, and by what they are ordered."""
    names = list(means)
    first = baseline if baseline in means else names[0]
    has = np.flatnonzero(~np.isnan(means[first]))
    if len(has) <= MOST_CLASSES:
        order = has[np.argsort(-means[first][has], kind="stable")]
        return order.tolist(), 0, f"by the accuracy of {first}"
    ranked, by = means[first], f"with the highest and lowest accuracy of {first}"
    if baseline in means and len(names) > 1:
        others = np.mean([mean for name, mean in means.items() if name != baseline], axis=0)
        ranked, by = others - means[baseline], f"that gain and lose most against {baseline}"
    order = has[np.argsort(-ranked[has], kind="stable")]
    half = MOST_CLASSES // 2
    return [*order[:half].tolist(), *order[-half:].tolist()], half, by


def _drawing(scene: Scene, entries: Sequence[Entry], panels: Mapping[Key, ClassPanel]) -> Figure:
    methods = methods_of(entries)
    lines = max(len(panel.order) + bool(panel.cut) for panel in panels.values())
    line = min(max(LINE, 0.06 + 0.03 * len(methods)), max(LINE, MOST_HEIGHT / lines))
    page = page_of(scene.width, len(panels), max(0.6, line * lines + 0.1), most_across=3)
    split = {"val": "validation accuracy (%)", "test": "accuracy (%)"}[split_of(scene)]
    handles: dict[str, Any] = {}
    titles = [" / ".join(labels) for labels in panels]
    for axes, panel in zip(page.add(titles, split, ""), panels.values(), strict=True):
        handles |= _panel(axes, panel, methods, lines)
    page.title(scene.table.plan.title, common_line(scene.table))
    page.legend({method: handles[method] for method in methods if method in handles}, _note(panels, entries))
    return page.fitted()


def _panel(axes: Axes, panel: ClassPanel, methods: Sequence[str], lines: int) -> dict[str, Any]:
    """Draw the classes of a setting; gives what stands for each method in the legend."""
    heights = [at + (1 if panel.cut and at >= panel.cut else 0) for at in range(len(panel.order))]
    handles: dict[str, Any] = {}
    for number, (name, means) in enumerate(panel.means.items()):
        shift = 0.6 * ((number + 0.5) / len(panel.means) - 0.5)  # so that none hides another
        style = {**look(methods.index(name)), "linestyle": "none", "markersize": 3.8}
        few = len(panel.means) <= FEW
        handles[name] = axes.errorbar(
            means[panel.order],
            [height + shift for height in heights],
            xerr=panel.deviations[name][panel.order] if few else None,
            elinewidth=0.7,
            **style,
        )
    for height in heights:
        axes.axhline(height, color="0.92", linewidth=0.5, zorder=0)
    ticks, labels = list(map(float, heights)), [one_line(panel.labels[at]) for at in panel.order]
    if panel.cut:
        ticks.append(float(panel.cut))
        labels.append("⋮")
    axes.set_yticks(ticks, labels)
    axes.tick_params(axis="y", length=0)
    axes.set_ylim(lines - 0.5, -0.5)
    axes.xaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 5, 10]))
    axes.spines["left"].set_visible(False)
    return handles


def _note(panels: Mapping[Key, ClassPanel], entries: Sequence[Entry]) -> str:
    notes = [f"mean over {seeds_line(entry.n for entry in entries)}"]
    if len(methods_of(entries)) <= FEW and any(entry.n > 1 for entry in entries):
        notes[0] = f"mean ± sample standard deviation, {seeds_line(entry.n for entry in entries)}"
    for panel in panels.values():
        if panel.cut:
            notes.append(f"of {len(panel.labels)} classes the {MOST_CLASSES} {panel.by}")
        else:
            notes.append(f"ordered {panel.by}")
    return "; ".join(dict.fromkeys(notes))

"""Which classes one method takes for which: a matrix, or the pairs that it confuses most where classes are many."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.ticker import MaxNLocator

from bench.figures.page import Page, page_of
from bench.figures.predicted import Floats, class_labels, classes_of, predicted, shares_of, split_of
from bench.figures.scene import Scene, Sketch, common_line, methods_of, panels_of, seeds_line
from bench.figures.style import COLOURS, SHADES, SMALL
from bench.notation import SPLITS, one_line
from bench.papers.published import Key
from bench.tables.compare import Entry

OF_RUN = True
"""A run by itself has it, too."""

MOST_CLASSES = 40
"""Of a matrix, if the names of so many fit beside it."""

LETTER, DIGITS = 0.115, 0.2
"""Inches that a line of a name takes, and a number inside the matrix."""

PAIRS = 20
"""Of classes that are confused most."""


@dataclass(frozen=True)
class Confusion:
    """What a method takes for what.

    Attributes:
        labels: of the classes.
        shares: (seeds, classes, classes), percent of the images of each true class; nan where it has none.
    """

    labels: Sequence[str]
    shares: Floats

    @property
    def mean(self) -> Floats:
        """Over the seeds."""
        mean: Floats = self.shares.mean(axis=0)
        return mean


def sketches(scene: Scene) -> list[Sketch]:
    """One figure: a panel for each setting of one method."""
    entries = scene.drawn
    methods = methods_of(entries)
    if len(methods) > 1:
        names = f"{', '.join(methods[:6])}{', ...' * (len(methods) > 6)}"
        raise ValueError(f"a confusion matrix is of one method: --methods NAME chooses it ({names})")
    panels = {labels: _confusion(inside[0], scene) for labels, inside in panels_of(entries).items()}
    labels = [label for panel in panels.values() for label in panel.labels]
    return [Sketch(lambda: _drawing(scene, entries, panels), [*scene.labels, *labels])]


def _confusion(entry: Entry, scene: Scene) -> Confusion:
    each = predicted(entry, scene)
    classes = classes_of(each)
    labels = class_labels(entry, scene, classes, most=18)
    classes = max(classes, len(labels))
    return Confusion(labels, np.stack([shares_of(seed, classes) for seed in each]))


def _drawing(scene: Scene, entries: Sequence[Entry], panels: Mapping[Key, Confusion]) -> Figure:
    names = [len(panel.labels) for panel in panels.values()]
    longest = max(len(label) for panel in panels.values() for label in panel.labels)
    pages = [page_of(scene.width, len(panels), 1.0, most_across=most) for most in (2, 1)]
    sides = [page.width / page.across - 0.55 - 0.07 * min(longest, 18) - 0.5 / page.across for page in pages]
    fits = [max(names) <= min(MOST_CLASSES, int(side / LETTER)) for side in sides]
    is_matrix, choice = any(fits), fits.index(True) if any(fits) else 0
    page, side = pages[choice], sides[choice]
    page.panel_height = side if is_matrix else 0.15 * PAIRS + 0.1
    split = SPLITS[split_of(scene)]
    titles = [" / ".join(labels) for labels in panels]
    if is_matrix:
        every = page.add(titles, "predicted class", "true class")
        images = [_matrix(axes, panel, side) for axes, panel in zip(every, panels.values(), strict=True)]
        _bar(page, images)
        note = f"percent of the {split} images of each true class"
    else:
        every = page.add(titles, f"{split} images of the true class (%)", "")
        for axes, panel in zip(every, panels.values(), strict=True):
            _pairs(axes, panel)
        many = f"of {max(names)} classes, whose matrix cannot be read at this width, the {PAIRS} pairs confused most"
        note = f"true → predicted: {many}"
    page.title(f"{entries[0].planned.name}: {scene.table.plan.title}", common_line(scene.table))
    page.legend({}, f"{note}; mean over {seeds_line(entry.n for entry in entries)}")
    return page.fitted()


def _matrix(axes: Axes, panel: Confusion, side: float) -> AxesImage:
    mean = panel.mean
    classes = len(panel.labels)
    image = axes.imshow(mean, cmap=SHADES, vmin=0, vmax=100, aspect="equal", interpolation="nearest")
    labels = [one_line(label) for label in panel.labels]
    upright = max(map(len, labels)) * 0.07 > side / classes
    axes.set_xticks(range(classes), labels, rotation=90 if upright else 0)
    axes.set_yticks(range(classes), labels)
    axes.tick_params(length=0)
    axes.spines[["top", "right"]].set_visible(True)
    if side / classes >= DIGITS:
        for row, column in np.argwhere(np.nan_to_num(mean) >= 0.5):
            colour = "white" if mean[row, column] > 55 else "black"
            axes.text(column, row, f"{mean[row, column]:.0f}", ha="center", va="center", color=colour, fontsize=SMALL)
    return image


def _bar(page: Page, images: Sequence[AxesImage]) -> None:
    """What the shades mean."""
    bar = page.drawing.colorbar(images[0], ax=page.panels, shrink=0.8, aspect=25, pad=0.02)
    bar.outline.set_linewidth(0.4)
    bar.set_ticks([0, 25, 50, 75, 100])


def _pairs(axes: Axes, panel: Confusion) -> None:
    mean = np.nan_to_num(panel.mean)
    np.fill_diagonal(mean, 0.0)
    flat = np.argsort(-mean, axis=None, kind="stable")[:PAIRS]
    rows, columns = np.unravel_index(flat, mean.shape)
    confused = [(int(row), int(column)) for row, column in zip(rows, columns, strict=True) if mean[row, column] > 0]
    if len(panel.shares) > 1:
        deviations = [float(panel.shares[:, row, column].std(ddof=1)) for row, column in confused]
    else:
        deviations = [0.0] * len(confused)
    heights = range(len(confused))
    axes.barh(
        heights,
        [mean[pair] for pair in confused],
        xerr=deviations if any(deviations) else None,
        height=0.7,
        color=COLOURS[0],
        error_kw={"elinewidth": 0.7, "capsize": 1.6},
    )
    labels = [one_line(f"{panel.labels[row]} → {panel.labels[column]}") for row, column in confused]
    axes.set_yticks(heights, labels)
    axes.tick_params(axis="y", length=0)
    axes.set_ylim(PAIRS - 0.5, -0.5)
    axes.set_xlim(left=0)
    axes.xaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 5, 10]))

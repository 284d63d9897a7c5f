"""From a drawing to its files."""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from matplotlib import style
from matplotlib.figure import Figure

from bench.figures.fonts import fonts_for, remark_on
from bench.figures.style import METADATA, STYLE, SUFFIXES
from bench.notation import listed
from bench.records.files import write_file

DPI = 300
"""Of a PNG; what is measured while a figure is laid out is measured at the same."""


def save(paths: Iterable[Path], draw: Callable[[], Figure], labels: Iterable[str] = ()) -> str:
    """Draw in the style of all figures and save it at each path, whole or not at all.

    Args:
        paths: .png, .pdf or .svg; else ``ValueError``.
        draw: called once the style holds.
        labels: whatever is written in it that people chose, so that a font has its letters.

    Returns:
        What people are to be told: which letters no installed font has; empty where all is well.

    Raises:
        OSError: a file cannot be written; names it.
    """
    paths = [Path(path) for path in paths]
    if unknown := [str(path) for path in paths if path.suffix not in SUFFIXES]:
        raise ValueError(f"a figure is saved as {listed(SUFFIXES)}; got {', '.join(unknown)}")
    with styled(labels) as boxes:
        drawing = draw()
        for path in paths:
            content = io.BytesIO()
            drawing.savefig(content, format=path.suffix[1:], dpi=DPI, metadata=METADATA[path.suffix])
            write_file(path, content.getvalue())
    return remark_on(boxes)


@contextmanager
def styled(labels: Iterable[str] = ()) -> Iterator[str]:
    """Inside, figures have the style of all, and fonts for some labels; gives the letters that no font has."""
    families, boxes = fonts_for(labels)
    with style.context(["default", {**STYLE, "font.family": families, "figure.dpi": DPI}]), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from")  # it is told once, by what ``save`` gives
        yield boxes

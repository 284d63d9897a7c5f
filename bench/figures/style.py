"""How every figure looks: widths and fonts of a paper, colours for all eyes, and marks that read without colour."""

from __future__ import annotations

from typing import Any

WIDTHS = {"column": 3.3, "page": 6.9}
"""Inches of a figure by its name: of a column of two, and of a page."""

SUFFIXES = (".png", ".pdf", ".svg")
"""What a figure may be saved as."""

FONT = "DejaVu Sans"
"""It comes with matplotlib, so that a figure is the same on every machine."""

SMALL, NORMAL = 7.0, 8.0
"""Points, as printed at these widths: of legends and of numbers along an axis, and of all other words."""

# Okabe and Ito (2008) without the yellow, which is too light on white; blue first
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#000000", "#56B4E9", "#E69F00")
MARKERS = ("o", "s", "^", "D", "v", "<", ">", "p", "h", "*")
DASHES = ("-", "--", ":", "-.")

SHADES = "Blues"
"""The colour map of shares: light is little, dark is much, in grey too."""

STYLE = {
    "font.family": FONT,
    "font.size": NORMAL,
    "axes.titlesize": NORMAL,
    "axes.labelsize": NORMAL,
    "legend.fontsize": SMALL,
    "legend.title_fontsize": SMALL,
    "figure.titlesize": NORMAL,
    "xtick.labelsize": SMALL,
    "ytick.labelsize": SMALL,
    "axes.linewidth": 0.6,
    "axes.titlepad": 3.0,
    "axes.labelpad": 2.0,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "xtick.major.size": 2.5,
    "ytick.major.size": 2.5,
    "axes.formatter.useoffset": False,
    "text.parse_math": False,
    "pdf.fonttype": 42,
    "svg.fonttype": "none",
    "svg.hashsalt": "bench",
}
"""For ``matplotlib.style.context``. A label is text, never mathematics; text stays text in PDF and SVG."""

METADATA: dict[str, dict[str, Any]] = {
    ".png": {"Software": None},
    ".pdf": {"CreationDate": None, "Producer": None, "Creator": None},
    ".svg": {"Date": None, "Creator": None},
}
"""Of each kind of file: without time and versions, so that the same figure has the same bytes."""


def look(i: int) -> dict[str, Any]:
    """Colour, marker and dash of the i-th method: of 30 no two have the same marker and dash, or marker and colour."""
    return {
        "color": COLOURS[i % len(COLOURS)],
        "marker": MARKERS[i % len(MARKERS)],
        "linestyle": DASHES[i // len(COLOURS) % len(DASHES)],
        "linewidth": 1.0,
        "markersize": 3.4,
        "markeredgecolor": "white",
        "markeredgewidth": 0.4,
    }


BARS: dict[str, Any] = {"elinewidth": 0.7, "capsize": 1.6}
"""Of error bars."""

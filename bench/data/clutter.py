"""Clutter: glyphs among fragments of letters on a larger canvas, so that where a model looks matters.

After the cluttered MNIST of Mnih et al. (2014). Inside this module an image is its *ink*: ``uint8`` levels
0 (paper) to 16 (full ink), as in scikit-learn's digits. ``to_grey`` turns levels into the usual 0..255.

All that is random is drawn from a ``np.random.RandomState``: NumPy promises never to change its stream
(NEP 19), which it does not promise for ``np.random.Generator``.
"""

import numpy as np
import numpy.typing as npt

Levels = npt.NDArray[np.uint8]

CANVAS, GLYPH, FRAGMENT = 12, 8, 4  # sides, in pixels
FRAGMENTS = 3  # an image
FULL_INK = 16
FRAGMENT_INK = 64  # least sum of levels of a fragment: a quarter of its 4 x 4 pixels, fully inked

_GREY = np.rint(np.arange(FULL_INK + 1) * 255 / FULL_INK).astype(np.uint8)


def to_grey(levels: Levels) -> npt.NDArray[np.uint8]:
    """Grey values 0..255 of ink levels: ``level * 255 / 16``, rounded to nearest (the one tie, 127.5, becomes 128)."""
    return _GREY[levels]


def cut_fragments(letters: Levels) -> Levels:
    """All 4x4 windows of letters (..., 8, 8) that hold at least ``FRAGMENT_INK``: (M, 4, 4), by letter, row, column."""
    windows = np.lib.stride_tricks.sliding_window_view(letters, (FRAGMENT, FRAGMENT), axis=(-2, -1))
    windows = windows.reshape(-1, FRAGMENT, FRAGMENT)
    return np.ascontiguousarray(windows[windows.sum((1, 2)) >= FRAGMENT_INK], np.uint8)


def paste(canvas: Levels, patches: Levels, corners: npt.NDArray[np.int64], *, transparent: bool = False) -> Levels:
    """The canvases (N, H, W) with one patch (N, h, w) laid on each; it covers what was there.

    Corners (N, 2) are row and column of each patch's upper left pixel; all of the patch must lie inside. A transparent
    one covers with its ink only, not with its paper.
    """
    n, height, width = patches.shape
    rows = corners[:, 0, None, None] + np.arange(height)[:, None]
    columns = corners[:, 1, None, None] + np.arange(width)
    window = np.arange(n)[:, None, None], rows, columns
    result = canvas.copy()
    result[window] = np.where(patches > 0, patches, canvas[window]) if transparent else patches
    return result


def clutter_glyphs(
    glyphs: Levels, fragments: Levels, rng: np.random.RandomState, *, transparent: bool = False
) -> Levels:
    """Each glyph (8, 8) at a random place on its own canvas (12, 12), over ``FRAGMENTS`` fragments at random places.

    The glyph lies on top, its paper included: fragments end where its square begins. Where it is transparent only ink
    covers, so that fragments show through its paper: harder, for pre-training. Fragments (M, 4, 4) are drawn with
    replacement, then their places, then those of the glyphs.
    """
    n = len(glyphs)
    canvas = np.zeros((n, CANVAS, CANVAS), np.uint8)
    indices = rng.randint(len(fragments), size=(FRAGMENTS, n), dtype=np.int64)
    corners = rng.randint(CANVAS - FRAGMENT + 1, size=(FRAGMENTS, n, 2), dtype=np.int64)
    for index, corner in zip(indices, corners, strict=True):
        canvas = paste(canvas, fragments[index], corner, transparent=transparent)
    corners = rng.randint(CANVAS - GLYPH + 1, size=(n, 2), dtype=np.int64)
    return paste(canvas, glyphs, corners, transparent=transparent)

"""Which fonts a figure's letters need, and how wide they make a text."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cache

from matplotlib import font_manager
from matplotlib.figure import Figure
from matplotlib.text import Text

from bench.figures.style import FONT

_GAP = re.compile(" (?!%|/ |/$)")
"""Where a line may end."""


def fonts_for(texts: Iterable[str]) -> tuple[list[str], str]:
    """The usual font, with installed ones for the letters that it lacks, and the letters that none has."""
    lacking = {ord(letter) for text in texts for letter in text if letter.isprintable()} - _letters(_usual())
    families = [FONT]
    if lacking:
        for entry in sorted(font_manager.fontManager.ttflist, key=lambda entry: (entry.weight != 400, entry.name)):
            if not lacking:
                break
            has = lacking & _letters(entry.fname)
            if has and entry.name not in families:
                families.append(entry.name)
                lacking -= has
    return families, "".join(map(chr, sorted(lacking)))


def remark_on(letters: str) -> str:
    """What people are told of letters that no font has; empty without any."""
    if not letters:
        return ""
    some = letters[:12] + "..." * (len(letters) > 12)
    return f"no installed font has {some}, which are drawn as boxes; a font such as Noto Sans CJK has them"


def width_of(text: str, size: float, drawing: Figure) -> float:
    """Inches of one line in the figure's font."""
    line = Text(0, 0, text, fontsize=size, figure=drawing, parse_math=False)
    return float(line.get_window_extent().width) / drawing.dpi


def wrapped(text: str, room: float, size: float, drawing: Figure) -> str:
    """A text in as many lines as it takes that none is wider than so many inches; words that are too long are cut.

    A number stays with its percent sign, and a slash between two parts with the first of them.
    """
    lines: list[str] = []
    for paragraph in text.split("\n"):
        line = ""
        for word in _GAP.split(paragraph):
            longer = f"{line} {word}" if line else word
            if width_of(longer, size, drawing) <= room:
                line = longer
                continue
            lines += [line] if line else []
            line = word
            while width_of(line, size, drawing) > room and len(line) > 1:
                fitting = _fitting(line, room, size, drawing)
                lines.append(line[:fitting])
                line = line[fitting:]
        lines.append(line)
    return "\n".join(lines)


def _fitting(word: str, room: float, size: float, drawing: Figure) -> int:
    """How many letters of a word fit, at least one; by halving, since a text may be very long."""
    low, high = 1, len(word)
    while low < high:
        middle = (low + high + 1) // 2
        if width_of(word[:middle], size, drawing) <= room:
            low = middle
        else:
            high = middle - 1
    return low


def _usual() -> str:
    return str(font_manager.findfont(FONT))


@cache
def _letters(file: str) -> frozenset[int]:
    """The letters that a font file has; none where it cannot be read."""
    try:
        return frozenset(font_manager.get_font(file).get_charmap())
    except (OSError, RuntimeError):
        return frozenset()

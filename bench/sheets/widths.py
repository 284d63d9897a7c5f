r"""How wide the LaTeX of a table is in Computer Modern, to a few percent, without TeX.

A width is two numbers, in points at 10 pt: of what stands in the table's size, and of what is small (``\scriptsize``).
Computer Modern is the widest of the usual text fonts, so what fits in it fits in Times or Libertine.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import lru_cache

Width = tuple[float, float]

SIZES = {"normalsize": 1.0, "small": 0.925, "footnotesize": 0.85, "scriptsize": 0.797, "tiny": 0.681}
"""Widths of each size in those of 10 pt; small fonts of Computer Modern are wider than scaled ones."""

DIGIT = 5.0
"""The width of a digit, and about that of a letter, in points at 10 pt."""

_WIDTHS = (
    (2.78, "!',.:;()/ilI|[]"), (3.33, "-"), (3.89, "rtsfj()"), (4.44, "cez"), (5.0, "0123456789ago$*/?_~^"),
    (5.56, "bdhknpquvxy\"<>"), (7.2, "ABCDEFGJKLPRSTUVXYZ"), (7.78, "HNOQ+=@&w#"), (8.33, "m%"), (9.17, "M"),
    (10.28, "W"),
)  # fmt: skip
_CHARACTERS = {character: width for width, characters in _WIDTHS for character in characters} | {" ": 3.33}
_SYMBOLS = {
    "dagger": 4.44, "ddagger": 4.44, "bullet": 5.0, "circ": 5.0, "diamond": 5.0, "cdot": 2.78, "to": 10.0,
    "textbackslash": 5.0, "textasciitilde": 5.0, "textasciicircum": 5.0, "textasciigrave": 5.0, "surd": 8.33,
    "textless": 7.78, "textgreater": 7.78, "textbar": 2.78, "pm": 7.78, "allowbreak": 0.0, "hphantom": 0.0,
    "multicolumn": 0.0, "multirow": 0.0, "mdseries": 0.0, "underline": 0.0, "benchcjk": 0.0, "benchother": 0.0,
    "benchright": 0.0,
}  # fmt: skip
_STRUCTURE = re.compile(r"\\multicolumn\{\d+\}\{[lcr]\}|\\multirow\{\d+\}\{\*\}")
_TOKEN = re.compile(r"\\[A-Za-z]+(?:\{\}| ?)|\\.|\+-|.", re.DOTALL)
_BOLD, _RAISED = 1.15, 0.85
_UNKNOWN, _WIDE = 6.5, 10.0


@dataclass(frozen=True)
class _State:
    """How text is set at some place: small, bold, in math mode, raised."""

    small: bool = False
    bold: bool = False
    math: bool = False
    raised: bool = False


_SWITCHES = {
    r"\scriptsize": {"small": True},
    r"\normalsize": {"small": False},
    r"\bfseries": {"bold": True},
    r"\mdseries": {"bold": False},
}
"""How what follows in a group is set."""
_ARGUMENTS = {r"\textbf": {"bold": True}, "^": {"raised": True}}
"""How the group that follows is set."""


def width(latex: str) -> Width:
    """How wide a line of LaTeX is, of the kind that the writers make."""
    return _width(re.sub(r"\d", "0", latex))


def widest(lines: Iterable[str]) -> Width:
    """The width of the widest of some lines, at 10 pt; (0, 0) without any."""
    return width(max(lines, key=in_points, default=""))


def in_points(latex: str) -> float:
    """How wide a line of LaTeX is at 10 pt."""
    return points(width(latex), "normalsize")


def points(width: Width, size: str) -> float:
    """A width in points at one of ``SIZES``; what is small is not smaller than ``\\scriptsize``, but for ``tiny``."""
    return width[0] * SIZES[size] + width[1] * SIZES[small_of(size)]


def small_of(size: str) -> str:
    """The size of what is small in a table of some size."""
    return "tiny" if size == "tiny" else "scriptsize"


@lru_cache(maxsize=100_000)
def _width(latex: str) -> Width:
    widths, stack, state, ahead = [0.0, 0.0], list[_State](), _State(), dict[str, bool]()
    for token in _TOKEN.findall(_STRUCTURE.sub("", latex)):
        name = token.rstrip(" {}") or token
        if token == "{":
            stack.append(state)
            state, ahead = replace(state, **ahead), {}
        elif token == "}":
            state = stack.pop() if stack else _State()
        elif token == "$":
            state = replace(state, math=not state.math)
        elif name in _SWITCHES:
            state = replace(state, **_SWITCHES[name])
        elif name in _ARGUMENTS:
            ahead = _ARGUMENTS[name]
        else:
            widths[state.small] += _printed(token, replace(state, **ahead))
            ahead = {}
    return widths[0], widths[1]


def _printed(token: str, state: _State) -> float:
    """How wide a token that prints something is."""
    if len(token) > 2 or (token[0] == "\\" and token[1:].isalpha()):
        width = _SYMBOLS.get(token[1:].rstrip(" {}"), 7.78)
    elif token == "+-":
        width = _SYMBOLS["pm"] + 5  # and the space around it
    elif token == "-" and state.math:
        width = 7.78
    else:
        character = unicodedata.normalize("NFKD", token[-1])[0]
        width = _CHARACTERS.get(character, _WIDE if character > "\u1100" else _UNKNOWN)
    return width * (_BOLD if state.bold else 1) * (_RAISED if state.raised else 1)

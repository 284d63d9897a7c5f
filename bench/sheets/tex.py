"""Text as LaTeX prints it: what pdflatex knows, what it does not, and where a long word may be broken."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from itertools import groupby

from bench.notation import one_line

# "[" and "*" would be read as arguments of the "\\" that ends the row above
SPECIAL = {
    **{character: "\\" + character for character in "%&#$_{}"},
    "\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "`": r"\textasciigrave{}",
    "<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}", '"': "''", "[": "{[}", "*": "{*}",
    "–": "--", "—": "---", "−": "$-$", "±": r"$\pm$", "×": r"$\times$", "·": r"$\cdot$", "→": r"$\to$",
    "≤": r"$\leq$", "≥": r"$\geq$", "†": r"$^{\dagger}$", "‡": r"$^{\ddagger}$", "α": r"$\alpha$", "β": r"$\beta$",
    "γ": r"$\gamma$", "δ": r"$\delta$", "ε": r"$\epsilon$", "η": r"$\eta$", "λ": r"$\lambda$", "μ": r"$\mu$",
    "σ": r"$\sigma$", "τ": r"$\tau$", "²": "$^2$", "✓": r"$\surd$", "ℓ": r"$\ell$", "↑": r"$\uparrow$",
    "↓": r"$\downarrow$", "≈": r"$\approx$", "≠": r"$\neq$", "●": r"$\bullet$", "○": r"$\circ$",
    "◇": r"$\diamond$",
}  # fmt: skip

FONTS = {
    "benchcjk": ("Noto Serif CJK SC", "Noto Sans CJK SC", "Source Han Serif SC", "FandolSong", "WenQuanYi Zen Hei"),
    "benchother": ("DejaVu Sans", "Noto Sans", "FreeSerif", "Arial"),
    "benchright": ("DejaVu Sans", "Noto Sans Arabic", "Amiri", "FreeSerif", "Arial"),
}
"""Fonts for what the document's own may lack, by the command that sets a text in the first of them that there is; what
is written from right to left has a command of its own.
"""

_CJK = re.compile(
    "[\u1100-\u11ff\u2e80-\u9fff\ua960-\ua97f\uac00-\ud7ff\uf900-\ufaff\ufe30-\ufe4f\uff00-\uffef\U00020000-\U0003ffff]"
)
_WORD = re.compile(r"[_/:@-]*[^\s_/:@-]+[_/:@-]*\s*|[_/:@-]+\s*")
"""What of a heading stays on one line, if that has no more characters than a line."""
_LINE = re.compile(".{1,24}")
_LONGEST_WORD = 24
"""Characters of a word; in a longer one lines may be broken, between its parts or anywhere."""


def escape(label: str, unicode: bool = False) -> str:
    """A label as LaTeX that prints it, wherever it stands; symbols of mathematics and Greek go through math mode.

    Args:
        label: any text.
        unicode: whether what pdflatex cannot print is left to lualatex or xelatex and one of ``FONTS``; otherwise its
            nearest kin stands there, or its number.
    """
    line = one_line(label)
    if not unicode:
        return "".join(map(_written, line))
    return "".join(_in_font("".join(run), font) for font, run in groupby(line, _font_of))


def breakable(label: str, unicode: bool = False) -> str:
    """The same for text that is set in lines: a word of more than 24 characters may be broken after its signs."""
    return " ".join(_broken(word, unicode) for word in one_line(label).split(" "))


def stacked(label: str, characters: int) -> list[str]:
    """A heading in lines of about so many characters, or of its longest word where that has more, but for 24."""
    words = [part for word in _WORD.findall(one_line(label)) for part in _LINE.findall(word)]
    most, lines = max([characters, *(len(word.rstrip()) for word in words)]), [""]
    for word in words:
        if lines[-1] and len((lines[-1] + word).rstrip()) > most:
            lines.append("")
        lines[-1] += word
    return [line.rstrip() for line in lines]


def unprintable(texts: Iterable[str]) -> str:
    """The characters of some texts that pdflatex cannot print and that have no kin it can, each once."""
    characters = dict.fromkeys(character for text in texts for character in one_line(text))
    return "".join(character for character in characters if "(U+" in _written(character))


def _broken(word: str, unicode: bool) -> str:
    if len(word) <= _LONGEST_WORD:
        return escape(word, unicode)
    parts = re.findall(r"[^\W_]{1,12}|[\W_]", word)
    return r"\allowbreak{}".join(escape(part, unicode) for part in parts)


def _written(character: str) -> str:
    """A character as pdflatex knows it; one that it does not know by its nearest kin, or else by its number."""
    if character in SPECIAL or character < "\u0180":
        return SPECIAL.get(character, character)
    kin = unicodedata.normalize("NFKD", character)
    return "".join(SPECIAL.get(part, part if part.isascii() else f"(U+{ord(part):04X})") for part in kin)


def _font_of(character: str) -> str:
    """The command that sets a character, one of ``FONTS``; empty where the document's font has it."""
    if character in SPECIAL or character < "\u0180":
        return ""
    if unicodedata.bidirectional(character) in ("R", "AL"):
        return "benchright"
    return "benchcjk" if _CJK.match(character) else "benchother"


def _in_font(text: str, font: str) -> str:
    return rf"\{font}{{{text}}}" if font else "".join(map(_written, text))

"""Errors that are for people: what is wrong, where, what is allowed, what to do next."""

from __future__ import annotations

import json
import re
import shlex
import unicodedata
from collections.abc import Iterable
from typing import Any

_TURNING = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")  # the order of what is read
_STEERING = re.compile("[\x7f-\x9f\u202a-\u202e\u2066-\u2069]")  # what JSON leaves as it is
_SEQUENCES = re.compile(  # ECMA-48: CSI, OSC, other strings, and what is two characters long
    r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)|\x1b[PX^_][^\x1b]*\x1b\\|\x1b[ -/]*[0-~]"
)
_LONG = re.compile(r"\S{301,}")


class InputError(Exception):
    """Something a user wrote cannot be used: a sentence for each problem, all that were found together.

    The command line prints it without a traceback and exits with 2.
    """

    def __init__(self, *problems: str) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


class Problems:
    """Collects what is wrong with an input, so that all of it is reported at once."""

    def __init__(self) -> None:
        self.found: list[str] = []

    def add(self, problem: str | InputError) -> None:
        """Note one problem, or all of a caught ``InputError``."""
        self.found.extend(problem.problems if isinstance(problem, InputError) else (problem,))

    def stop(self) -> None:
        """Raise ``InputError`` if anything was found; the same sentence is said once."""
        if self.found:
            raise InputError(*dict.fromkeys(self.found))


def choose(name: str, choices: Iterable[str], what: str) -> str:
    """The sentence for a name that is none of the choices: names the nearest one and lists what there is.

    ``what`` is the singular noun, such as ``"method"``.
    """
    import difflib  # only where something is wrong

    names, name = sorted(choices), shortened(name)
    small = {choice.lower(): choice for choice in names}
    near = difflib.get_close_matches(name.lower(), small, n=1, cutoff=0.65)
    hint = f"; did you mean '{small[near[0]]}'?" if near else ""
    listed = ", ".join(names[:30]) + (", ..." if len(names) > 30 else "")
    return f"no {what} is called '{name}'{odd_characters(name)}{hint} (there are: {listed or 'none'})"


_BLANKS = frozenset("\u00a0\u2007\u202f\u3000\ufeff\u200b\u2060\u00ad")  # look like a blank, or like nothing
_QUOTES = frozenset("\u2018\u2019\u201a\u201c\u201d\u201e\u00ab\u00bb")


def odd_characters(text: str) -> str:
    """What in a name nobody sees, or what looks like a quote and is none, in brackets; empty where all is plain.

    Word processors, chats and web pages put such characters in the place of those that are typed.
    """
    odd = dict.fromkeys(c for c in text if c in _BLANKS or c in _QUOTES)
    if not odd:
        return ""
    names = ", ".join(f"U+{ord(c):04X} {unicodedata.name(c, 'no name').lower()}" for c in odd)
    advice = "type plain quotes" if _QUOTES & odd.keys() else "type a plain blank or none"
    return f" (it holds {names}: {advice})"


def nearest(written: str, names: Iterable[str]) -> str:
    """The end of a sentence about a name that is not known: up to five that look like it or begin nearly like it."""
    import difflib

    small = {name.lower(): name for name in names}
    text = written.lower()
    close = difflib.get_close_matches(text, small, n=3, cutoff=0.65)
    begins = difflib.get_close_matches(text, {name[: len(text)] for name in small}, n=1, cutoff=0.85)
    longer = [name for name in small if begins and name.startswith(begins[0])]
    near = list(dict.fromkeys([*close, *longer]))[:5]
    return f"; the nearest names: {', '.join(small[name] for name in near)}" if near else "; none has a name like it"


def to_type(*words: str) -> str:
    """A command of the suite within a sentence, quoted so that it can be copied into a shell: ``'bench status demo'``.

    Where a word of it needs quotes, none stand around the whole: they would end at the first of those.
    """
    return in_sentence(shlex.join(("bench", *words)))


def in_sentence(line: str) -> str:
    """A command line within a sentence, as ``to_type``."""
    return line if "'" in line else f"'{line}'"


def hidden(text: str) -> str:
    """The first character of a text that steers a terminal or turns what stands around it; empty where there is none.

    Line breaks and tabs count; blanks of any width and joiners, which many languages need, do not.
    """
    return next((c for c in text if unicodedata.category(c) in ("Cc", "Cs") or c in _TURNING), "")


def visible(text: str) -> str:
    """A text whose control characters are shown as escapes (``\\x1b``), so that it steers no terminal; lines stay."""
    return "".join(c if c.isprintable() or c == "\n" else c.encode("unicode_escape").decode() for c in text)


def json_text(value: Any, allow_nan: bool = False) -> str:
    """Plain data as JSON for people and programs: in UTF-8, and nothing in it steers a terminal."""
    text = json.dumps(value, indent=1, ensure_ascii=False, allow_nan=allow_nan)
    return _STEERING.sub(lambda character: f"\\u{ord(character[0]):04x}", text)


def uncoloured(text: str) -> str:
    """What a process printed, without the sequences that colour it or move a cursor; what steers otherwise is shown."""
    return harmless(_SEQUENCES.sub("", text).replace("\r\n", "\n").replace("\r", "\n"))


def harmless(text: str) -> str:
    """A text as ``visible``, but for tabs and line breaks of any kind, which a field of a CSV may have."""
    if text.isprintable():
        return text
    return "".join(visible(c) if c not in "\t\r\n" and hidden(c) else c for c in text)


def printable(problem: str) -> str:
    """A problem as one line of a terminal, whatever names it quotes: nothing in it can pass for a line of its own."""
    return shortened(visible("; ".join(problem.splitlines())))


def shortened(text: str) -> str:
    """A text in which no word is longer than 300 characters: of a longer one, the middle is left out."""
    return _LONG.sub(lambda word: f"{word[0][:100]}...{word[0][-50:]}", text)

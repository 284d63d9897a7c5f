"""Keys of files that people write, declared once: for reading, for messages and for the page that explains them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from bench.errors import Problems, choose
from bench.reading.document import Section

_NOUNS: Mapping[type, str] = {
    str: "a text",
    list: "a list",
    dict: "a mapping",
    int: "a whole number",
    float: "a number",
    bool: "true or false",
}


@dataclass(frozen=True)
class Key:
    """A key of a mapping in a file.

    Attributes:
        forms: what may stand behind it: ``str``, ``list``, ``dict``, ``int``, ``float``, ``bool``.
        about: what it means, for the reference page.
        choices: the words that are allowed, where it is one of some.
        default: what holds where it is left out, in words; empty where it is needed or nothing does.
    """

    name: str
    forms: tuple[type, ...]
    about: str
    choices: tuple[str, ...] = ()
    default: str = ""

    @property
    def form(self) -> str:
        """What may stand behind it, in words: ``a list or a text``."""
        return " or ".join(_NOUNS[form] for form in self.forms)


def names(keys: Iterable[Key]) -> tuple[str, ...]:
    """The names of some keys."""
    return tuple(key.name for key in keys)


def check_keys(section: Section, keys: Sequence[Key], what: str, problems: Problems) -> None:
    """Say which keys of a section are unknown or of the wrong form; those are then taken out of it.

    ``what`` is the singular noun of a key, such as ``key of an experiment``.
    """
    declared = {key.name: key for key in keys}
    for name, value in list(section.items()):
        place, key = section.place(name), declared.get(name)
        words = value if isinstance(value, list) else [value]
        if key is None:
            problems.add(f"{place}: {choose(str(name), declared, what)}")
        elif not _has_form(value, key.forms):
            problems.add(f"{place}: '{name}' must be {key.form}, not {value!r}")
        elif key.choices and not all(word in key.choices for word in words):
            problems.add(f"{place}: {choose(str(value), key.choices, name)}")
        else:
            continue
        del section[name]


def _has_form(value: object, forms: Iterable[type]) -> bool:
    """Whether a value is of one of some forms; true is no number, and a whole number is a number too."""
    if isinstance(value, bool):
        return bool in forms
    return isinstance(value, tuple(forms)) or (isinstance(value, int) and float in forms)

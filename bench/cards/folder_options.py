"""What may be chosen of a folder of images: after an ``@`` behind its path, or under ``options`` of a card."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from bench.errors import InputError, choose
from bench.metrics.metric import NAME
from bench.reading.syntax import read_value

GRAMMAR = (
    "split=20 (percent of each class to test on), seed=0 (of that draw), range=0:1, skip-damaged, classes=3 (masks') "
    "or also=NAME:FOLDER+NAME:FOLDER (further tests)"
)
"""What may stand behind the @, in words, with commas between."""

UNTYPED = ", = @ can stand in the path of a further test; a card can name such folders (docs/comparing.md)"
"""What is said of characters that part what stands behind the @."""

MOST_CLASSES = 255
"""Levels of a mask of 8 bits, but for 255, which counts for nothing."""

_OPTIONS = ("split", "seed", "range", "skip_damaged", "classes")
_KEYS = (*_OPTIONS, "also")
_SWITCH = "skip-damaged"
_ITEM = re.compile(r" *also=[^,=@]*|\w[\w-]*=[^,=@/]*")


@dataclass(frozen=True)
class FolderOptions:
    """How a folder of images is read.

    Attributes:
        split: the share of each class that is for testing, in percent; None where the folder says it itself.
        seed: of the draw of ``split``.
        range: the levels that are black and white, of images of 32 bits or of floats; None where nobody said it.
        skip_damaged: images that cannot be decoded are left out.
        classes: of masks, how many there are; None where nobody said it here.
        also: further tests: of each its name, and the folder of its folders of classes. They are no part of what the
            folder means.
    """

    split: float | None = None
    seed: int = 0
    range: tuple[float, float] | None = None
    skip_damaged: bool = False
    classes: int | None = None
    also: tuple[tuple[str, str], ...] = ()

    @property
    def as_options(self) -> dict[str, Any]:
        """What was chosen, as a card's ``options`` say it."""
        options: dict[str, Any] = {}
        if self.split is not None:
            options |= {"split": _plain(self.split), "seed": self.seed}
        if self.range is not None:
            options["range"] = list(self.range)
        if self.classes is not None:
            options["classes"] = self.classes
        return options | ({"skip_damaged": True} if self.skip_damaged else {})

    @property
    def typed(self) -> str:
        """What was chosen, as it is typed behind the @; empty where nothing was."""
        items = []
        if self.split is not None:
            items.append(f"split={_plain(self.split)}")
            items += [f"seed={self.seed}"] if self.seed else []
        if self.range is not None:
            items.append("range=" + ":".join(str(_plain(end)) for end in self.range))
        if self.classes is not None:
            items.append(f"classes={self.classes}")
        items += [_SWITCH] if self.skip_damaged else []
        items += ["also=" + "+".join(f"{test}:{folder}" for test, folder in self.also)] if self.also else []
        return ",".join(items)


def looks_chosen(text: str) -> bool:
    """Whether a text has the form of what stands behind the @, right or not."""
    return all(item.strip().replace("_", "-") == _SWITCH or _ITEM.fullmatch(item.strip()) for item in text.split(","))


def typed_options(text: str, name: str) -> FolderOptions:
    """What ``split=20,seed=3`` chooses. Raises ``InputError`` where it is none of the grammar."""
    options: dict[str, Any] = {}
    for item in map(str.strip, text.split(",")):
        key, equals, value = item.partition("=")
        key = key.strip().replace("-", "_")
        if key not in _KEYS or (key == "skip_damaged") == bool(equals):
            raise InputError(f"{name}: '{item}' cannot stand behind the @; what can is {GRAMMAR}")
        if key in options:
            joined = "; a + joins further tests: also=NAME:FOLDER+NAME:FOLDER" if key == "also" else ""
            raise InputError(f"{name}: {key} stands twice behind the @{joined}")
        if key == "also":
            options[key] = value.strip()
        elif key == "range":
            options[key] = [read_value(end.strip()) for end in value.split(":")]
        else:
            options[key] = read_value(value.strip()) if equals else True
    also = read_folders(options.pop("also"), name) if "also" in options else ()
    return replace(folder_options(options, name), also=also)


def read_folders(text: str, name: str) -> tuple[tuple[str, str], ...]:
    """The names and folders of ``sketches:/data/sketches+photos:/data/photos``. Raises ``InputError``."""
    tests = [part.partition(":") for part in re.split(r"\+(?=[a-z][a-z0-9_]*:)", text)]
    form = "also=NAME:FOLDER is a further test: a name of small letters, digits and _, and its folder of class folders"
    for test, colon, folder in tests:
        if not (colon and NAME.fullmatch(test) and folder):
            raise InputError(f"{name}: also={text}: {form}")
    names = [test for test, _, _ in tests]
    if twice := next((test for test in names if names.count(test) > 1), ""):
        raise InputError(f"{name}: also={text}: {twice} stands there twice")
    return tuple((test, folder) for test, _, folder in tests)


def folder_options(options: Mapping[str, Any], place: str) -> FolderOptions:
    """The options of a card, checked. Raises ``InputError`` that begins with the place."""
    for key in options:
        if key not in _OPTIONS:  # a card has further tests beside its options
            raise InputError(f"{place}: {choose(key, _OPTIONS, 'option of a folder')}")
    split, seed = options.get("split"), options.get("seed", 0)
    if split is not None and not (_is_number(split) and 0 < split < 100):
        raise InputError(f"{place}: split={split}: it is the percent of each class to test on, above 0 and below 100")
    if type(seed) is not int or not 0 <= seed < 2**31:
        raise InputError(f"{place}: seed={seed}: a seed is a whole number, at least 0")
    if "seed" in options and split is None:
        raise InputError(f"{place}: seed={seed} says nothing without split=20 (percent of each class to test on)")
    levels, skip = options.get("range"), options.get("skip_damaged", False)
    if not isinstance(skip, bool):
        raise InputError(f"{place}: skip_damaged is true or false, not {skip}")
    classes = options.get("classes")
    if classes is not None and not (type(classes) is int and 2 <= classes <= MOST_CLASSES):
        raise InputError(f"{place}: classes={classes}: it is the number of classes of masks, 2 to {MOST_CLASSES}")
    if levels is None:
        return FolderOptions(split, seed, None, skip, classes)
    if not isinstance(levels, list) or len(levels) != 2 or not all(map(_is_number, levels)) or levels[0] >= levels[1]:
        raise InputError(f"{place}: range: it is the levels of black and white, the lower one first, such as 0:1")
    return FolderOptions(split, seed, (float(levels[0]), float(levels[1])), skip, classes)


def _plain(number: float) -> float:
    """A number that is the same however it was typed: ``20`` of ``20.0``."""
    return int(number) if number == int(number) else number


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < float("inf")

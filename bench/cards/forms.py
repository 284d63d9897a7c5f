"""The form of what a dataset's card says: entries are what they are taken for, and paths stay in its folder."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from bench.cards.folders import stays_inside
from bench.cards.further import LAYOUTS
from bench.errors import InputError
from bench.metrics import TASKS
from bench.metrics.metric import NAME
from bench.reading.document import Section


@dataclass(frozen=True)
class Fact:
    """Something that a card may say.

    Attributes:
        form: what it must be, in words.
        holds: whether a value is of that form; whoever reads it later tells what is wrong with others.
        variant: whether a variant may say it too.
    """

    name: str
    form: str
    about: str
    holds: Callable[[Any], bool] = lambda value: True
    variant: bool = False


def check_forms(facts: Section) -> None:
    """Check the entries that somebody wrote, each for itself.

    Raises ``InputError``: an entry has another form than it is read in, or names a path outside of the dataset's
    folder.
    """
    _check_facts(facts, KEYS)
    for entry in facts.get("download", ()):
        _check_download(entry, facts)
    if "download" in facts:
        facts.text("licence")
    for name, entry in facts.get("also", {}).items():
        if not isinstance(entry, Section) or not NAME.fullmatch(str(name)):
            raise InputError(f"{facts['also'].place(name)}: a further test has a name in small letters, and a mapping")
        _check_facts(entry, FURTHER)
        if len(ways := [way for way in WAYS if way in entry]) != 1:
            many = f"has {' and '.join(ways)}" if ways else "has none"
            raise InputError(f"{entry.place()}: a further test has one of {', '.join(WAYS)}; this {many}")
    for name in facts.get("variants", {}):
        if not isinstance(facts["variants"][name], dict):
            raise InputError(f"{facts['variants'].place(name)}: the variant '{name}' must be a mapping")


def _check_facts(facts: Section, declared: Iterable[Fact]) -> None:
    for fact in declared:
        if fact.name in facts and not fact.holds(facts[fact.name]):
            value = _short(facts[fact.name])
            raise InputError(f"{facts.place(fact.name)}: '{fact.name}' must be {fact.form}, not {value}")


def _check_download(entry: Any, facts: Section) -> None:
    place = entry.place() if isinstance(entry, Section) else facts.place("download")
    if not isinstance(entry, Section) or not _is_web(entry.get("url")):
        raise InputError(f"{place}: a download has a url that begins with https:// or http://")
    _check_facts(entry, DOWNLOAD)
    if not stays_inside(entry.get("file") or entry["url"].rpartition("/")[2]):
        raise InputError(f"{entry.place('url')}: {entry['url']} ends in no name of a file; give it one with 'file'")


def _is(*forms: type) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, forms)


def _list_of(is_item: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, list) and all(map(is_item, value))


def _mapping_of(is_key: Callable[[Any], bool], is_value: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, Mapping) and all(map(is_key, value)) and all(map(is_value, value.values()))


def _is_metric(value: Any) -> bool:
    return isinstance(value, str) and NAME.fullmatch(value) is not None


def _is_count(value: Any) -> bool:
    return type(value) is int and 0 < value < 10**12


def _is_web(value: Any) -> bool:
    return isinstance(value, str) and value.startswith(("http://", "https://"))


def _is_checksum(value: Any) -> bool:
    return isinstance(value, str) and value.partition(":")[0] in ("md5", "sha256")


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


_COUNTS, _RENAMES = _mapping_of(_is(object), _is_count), _mapping_of(stays_inside, stays_inside)
CLASS_NAMES = ("words", "numbers")
_PATHS = "a list of names inside of the dataset's folder"
_TEXT = "a text"

KEYS = (
    Fact("title", _TEXT, "what tables call it", variant=True),
    Fact("reader", _TEXT, "which reader opens it: one of the suite's, or a plug-in's `readers/NAME.py`"),
    Fact(
        "task",
        f"one of {', '.join(TASKS)}",
        "what is asked of its images; `classification` unless it says otherwise",
        TASKS.__contains__,
    ),
    Fact("folder", "the name of a folder inside of the data folder", "where it lies; else its name", stays_inside),
    Fact(
        "path",
        _TEXT,
        "of the reader `folder`: where its images lie, or their table, absolute or from the card's own folder",
        _is(str),
    ),
    Fact("expects", _PATHS, "what must be there before it is opened", _list_of(stays_inside), variant=True),
    Fact("classes", "their number, at least 1", "verified when it is opened", _is_count, variant=True),
    Fact(
        "class_names",
        f"one of {', '.join(CLASS_NAMES)}",
        "what its classes are called: `words` unless it says otherwise; of `numbers` no text can be made",
        CLASS_NAMES.__contains__,
        variant=True,
    ),
    Fact("official", "the size of each official list", "the lists that its reader gives", variant=True),
    Fact("use", "lists of official lists", "which of them train, test and, if any, val are made of", variant=True),
    Fact(
        "splits",
        "the number of images of each split",
        "of a dataset without official lists",
        _mapping_of(_is(object), _is_count),
    ),
    Fact("options", "a mapping", "what the card tells its reader", _is(Mapping), variant=True),
    Fact("variants", "a mapping", "other official uses of the same files, `NAME@VARIANT`, by name", _is(Mapping)),
    Fact("also", "a mapping", "further tests of its runs, `NAME@also=NOISE+BLUR`, by name", _is(Mapping)),
    Fact(
        "checksums",
        "names inside of the dataset's folder, each with md5:... or sha256:...",
        "files that are verified",
        _mapping_of(stays_inside, _is_checksum),
        variant=True,
    ),
    Fact(
        "download",
        "a list",
        "what `bench data prepare` fetches; a card that has it names its licence",
        _is(list),
        variant=True,
    ),
    Fact("steps", "a list of texts", "what somebody has to do by hand to get it", _list_of(_is(str))),
    Fact("traps", "a list of texts", "what goes wrong easily", _list_of(_is(str))),
    Fact("papers", "a mapping", "by paper: `{as: default or other, source: ...}`, whose split it took", _is(Mapping)),
    Fact("metric", "the name of a metric ('bench list metrics')", "the usual one; else top1", _is_metric),
    Fact("metric_note", _TEXT, "who scores it otherwise", _is(str)),
    Fact("size", "a text, such as 1.1 GB", "of the download", _is(str)),
    Fact("sha256", _TEXT, "of generated images"),
    Fact("wnids_sha256", _TEXT, "of the WordNet ids in its options, one a line"),
    Fact("version", "a whole number", "of what is generated; raised when it changes"),
    Fact("about", _TEXT, "what has to be known about it", variant=True),
    Fact("group", _TEXT, "of a benchmark of several datasets: to which of its groups it belongs", _is(str)),
    Fact("source", _TEXT, "who made it, and where it is"),
    Fact("licence", _TEXT, "of the images"),
    Fact("image", _TEXT, "what the images are"),
    Fact("normalisation", _TEXT, "which mean and deviation are usual"),
    Fact("from_memory", "a list of texts", "what in the card nobody has looked up"),
)
"""What a card may say; other entries are kept and mean nothing."""

DOWNLOAD = (
    Fact("url", "https:// or http://", "of the file"),
    Fact("checksum", "md5:... or sha256:...", "of the file", _is_checksum),
    Fact("gives", _PATHS, "what is there afterwards", _list_of(stays_inside)),
    Fact("into", "the name of a folder inside of the dataset's folder", "where it is unpacked", stays_inside),
    Fact("file", "the name of a file inside of the dataset's folder", "what it is called here", stays_inside),
    Fact("inner", _PATHS, "archives in the archive, unpacked too", _list_of(stays_inside)),
    Fact(
        "rename",
        "names of things at the archive's top, each with another name",
        "what is renamed",
        _mapping_of(stays_inside, stays_inside),
    ),
)
"""What an entry of ``download`` says."""

SPLITS = ("train", "val", "test")

WAYS = ("corrupt", "dataset", "reader", "path")
"""What a further test may be made of."""

FURTHER = (
    Fact("title", _TEXT, "what tables call it; else its name", _is(str)),
    Fact(
        "corrupt", _TEXT, "a kind of corruption (`noise`, `blur`, `contrast`): a copy of the own test split", _is(str)
    ),
    Fact("severity", "1 to 5", "how much it is corrupted; else 3", lambda value: value in range(1, 6)),
    Fact("sha256", _TEXT, "of the bytes of a corrupted copy, verified when it is made", _is(str)),
    Fact("dataset", "the name of a dataset", "whose test split it is; classes are matched by name", _is(str)),
    Fact(
        "splits", f"a list of {', '.join(SPLITS)}", "which of its splits; else `[test]`", _list_of(SPLITS.__contains__)
    ),
    Fact("reader", f"one of {', '.join(LAYOUTS)}", "the layout of a published test set", LAYOUTS.__contains__),
    Fact("folder", "the name of a folder inside of the data folder", "where that lies", stays_inside),
    Fact("images", "a number of images", "that a published test set has in all, verified", _is_count),
    Fact("path", _TEXT, "of images in folders of classes: absolute, or from the card's own folder", _is(str)),
    Fact("source", _TEXT, "who made it, and where it is", _is(str)),
    Fact("from_memory", "a list of texts", "what of it nobody has looked up", _list_of(_is(str))),
)
"""What an entry of ``also`` says: a further test, made in one of ``WAYS``."""

OF_A_VARIANT = frozenset(fact.name for fact in KEYS if fact.variant)
"""What a variant may say in the place of its card."""

"""The form of what a dataset's card says: entries are what they are taken for, and paths stay in its folder."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from bench.cards.folders import stays_inside
from bench.errors import InputError
from bench.metrics.metric import NAME
from bench.reading.document import Section

Test = Callable[[Any], bool]


def check_forms(facts: Section) -> None:
    """Check the entries that somebody wrote, each for itself.

    Raises:
        InputError: an entry has another form than it is read in, or names a path outside of the dataset's folder.
    """
    for key, (form, holds) in _FORMS.items():
        if key in facts and not holds(facts[key]):
            raise InputError(f"{facts.place(key)}: '{key}' must be {form}, not {_short(facts[key])}")
    for entry in facts.get("download", ()):
        _check_download(entry, facts)
    if "download" in facts:
        facts.text("licence")
    for name in facts.get("variants", {}):
        if not isinstance(facts["variants"][name], dict):
            raise InputError(f"{facts['variants'].place(name)}: the variant '{name}' must be a mapping")


def _check_download(entry: Any, facts: Section) -> None:
    place = entry.place() if isinstance(entry, Section) else facts.place("download")
    if not isinstance(entry, Section) or not _is_web(entry.get("url")):
        raise InputError(f"{place}: a download has a url that begins with https:// or http://")
    for key, (form, holds) in _OF_A_DOWNLOAD.items():
        if key in entry and not holds(entry[key]):
            raise InputError(f"{entry.place(key)}: '{key}' must be {form}, not {_short(entry[key])}")
    if not stays_inside(entry.get("file") or entry["url"].rpartition("/")[2]):
        raise InputError(f"{entry.place('url')}: {entry['url']} ends in no name of a file; give it one with 'file'")


def _texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)


def _inside(value: Any) -> bool:
    return isinstance(value, list) and all(map(stays_inside, value))


def _counts(value: Any) -> bool:
    return isinstance(value, Mapping) and all(_is_count(size) for size in value.values())


def _is_metric(value: Any) -> bool:
    return isinstance(value, str) and NAME.fullmatch(value) is not None


def _is_count(value: Any) -> bool:
    return type(value) is int and 0 < value < 10**12


def _is_mapping(value: Any) -> bool:
    return isinstance(value, Mapping)


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_web(value: Any) -> bool:
    return isinstance(value, str) and value.startswith(("http://", "https://"))


def _checksums(value: Any) -> bool:
    return isinstance(value, Mapping) and all(stays_inside(name) and _is_checksum(sum) for name, sum in value.items())


def _is_checksum(value: Any) -> bool:
    return isinstance(value, str) and value.partition(":")[0] in ("md5", "sha256")


def _renames(value: Any) -> bool:
    return isinstance(value, Mapping) and all(stays_inside(name) for pair in value.items() for name in pair)


def _short(value: Any) -> str:
    told = repr(value)
    return told if len(told) <= 80 else f"{told[:77]}..."


_PATHS = "a list of names inside of the dataset's folder"
_FORMS: dict[str, tuple[str, Test]] = {
    "folder": ("the name of a folder inside of the data folder", stays_inside),
    "expects": (_PATHS, _inside),
    "classes": ("their number, at least 1", _is_count),
    "splits": ("the number of images of each split", _counts),
    "options": ("a mapping", _is_mapping),
    "variants": ("a mapping", _is_mapping),
    "checksums": ("names inside of the dataset's folder, each with md5:... or sha256:...", _checksums),
    "download": ("a list", lambda value: isinstance(value, list)),
    "steps": ("a list of texts", _texts),
    "traps": ("a list of texts", _texts),
    "papers": ("a mapping", _is_mapping),
    "metric": ("the name of a metric ('bench list metrics')", _is_metric),
    "metric_note": ("a text", _is_text),
    "size": ("a text, such as 1.1 GB", _is_text),
}
_OF_A_DOWNLOAD: dict[str, tuple[str, Test]] = {
    "checksum": ("md5:... or sha256:...", _is_checksum),
    "gives": (_PATHS, _inside),
    "into": ("the name of a folder inside of the dataset's folder", stays_inside),
    "file": ("the name of a file inside of the dataset's folder", stays_inside),
    "inner": (_PATHS, _inside),
    "rename": ("names of things at the archive's top, each with another name", _renames),
}

"""A dataset's card: what the data is, where it lies, how it is read, and which of its official lists a run uses.

A dataset is written as its card's name, and after an ``@`` what is chosen of it, as a backbone's weights are:

- ``oxford_flowers102``: the lists that the card uses unless told otherwise.
- ``oxford_flowers102@train``: a **variant**, one of the other uses that the card names. Each is declared and counted in
  the card, so that no run can be made of a mixture that nobody wrote down, and a table can name it.
- ``cub200@train_15.txt``: a **list file** that says which training images there are, one path a line, in place of a
  sampling rate. ``fgvc_aircraft@train@FILE`` takes both.
- ``digits@also=noise+blur``: **further tests** that its runs are scored on, behind all else (``bench.cards.further``).

The alternatives were options by name (``flowers(train=trainval)``), which make every combination sayable and few of
them sound, and a card for every variant, which would repeat licence, source and checksums.
"""

from __future__ import annotations

import copy
import os
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from bench.cards.code import file_digest
from bench.cards.content import content_digest
from bench.cards.folder_options import folder_options
from bench.cards.folders import data_folder, typed_path
from bench.cards.forms import OF_A_VARIANT, check_forms
from bench.cards.further import ALSO, FurtherTest, without_further
from bench.cards.layout import ImageLayout
from bench.cards.mask_layout import MaskLayout, folder_layout
from bench.cards.readers import EVERY_READER
from bench.errors import InputError, choose, to_type
from bench.metrics import CLASSIFICATION, score_of
from bench.reading.document import Section, decoded, read_document
from bench.reading.ordinary import read_ordinary
from bench.spec import Named, digest

_SPLITS = ("train", "val", "test")
_VERIFIED = ("classes", "use", "options", "checksums")
FOLDER = "folder"
"""The reader of somebody's own images, whose meaning is their content."""


@dataclass(frozen=True)
class DatasetCard:
    """A dataset.

    Attributes:
        name: as it is written in an experiment, with what is chosen of it.
        path: where its files lie, for readers that need a place.
        means: digest of its content.
        code: the file of its reader, where a plug-in brings that.
        layout: what lies there, of the reader ``folder``; None where nothing does.
        of: the dataset that a rehearsal has a part of, or drawn images (without a ``path``) in the place of; else None.
        further: what its runs are scored on beside its own test split.
    """

    name: str
    title: str
    reader: str
    path: str
    facts: dict[str, Any]
    means: str
    code: Path | None = None
    layout: ImageLayout | None = None
    of: DatasetCard | None = None
    further: tuple[FurtherTest, ...] = ()

    @cached_property
    def named(self) -> Named:
        """What a run's spec keeps of the card. Raises ``InputError`` where a run cannot be about it."""
        if self.reader == FOLDER:
            self.require_files()
        if self.facts.get("classes") == 1:
            raise InputError(f"{self.name}: it has one class, so every answer is right and nothing is compared")
        if self.further:
            self._require_classes_of_tests()
        return Named(self.name, self.means)

    @property
    def task(self) -> str:
        """The task that it is for, by name (``bench.task``)."""
        return str(self.facts.get("task", CLASSIFICATION))

    @property
    def metric(self) -> str:
        """The metric that is usual for it, by name (``bench.metrics``)."""
        return str(self.facts.get("metric", score_of(self.task).name))

    @property
    def plain_name(self) -> str:
        """The name without what is chosen: what ``bench data`` takes."""
        if self.of is not None:
            return self.of.plain_name
        return self.name.partition("@")[0]

    @property
    def without_list(self) -> str:
        """The name without the file that lists its training images, and without further tests."""
        name = self.without_further
        return name.removesuffix(f"@{self.facts['list']}") if "list" in self.facts else name

    @property
    def without_further(self) -> str:
        """The name without further tests."""
        return without_further(self.name) if self.further else self.name

    @property
    def further_means(self) -> str:
        """What a run's spec keeps of its further tests, in any order: a digest; empty without any."""
        return digest(sorted([test.name, test.means] for test in self.further)) if self.further else ""

    @property
    def nameless(self) -> str:
        """Why no text can be made of the names of its classes, in words; empty where one can."""
        if self.of is not None:
            return self.of.nameless
        numbered = self.layout is not None and all(name.isdigit() for name in self.layout.classes)
        if numbered or self.facts.get("class_names") == "numbers":
            return f"the classes of {self.plain_name} are called by numbers, of which no text can be made"
        return ""

    @property
    def splits(self) -> dict[str, int]:
        """The number of images of each split, as far as the card says it."""
        return dict(self.facts.get("splits") or {})

    @property
    def class_count(self) -> int:
        """The number of its classes; 0 where the card does not say it."""
        return int(self.facts.get("classes") or 0)

    @property
    def use(self) -> dict[str, list[str]]:
        """The official lists that each split is made of."""
        return dict(self.facts.get("use", {}))

    @property
    def lists(self) -> list[str]:
        """The official lists that are used, each once."""
        return list(dict.fromkeys(name for names in self.use.values() for name in names))

    @property
    def options(self) -> dict[str, Any]:
        """What the card tells its reader."""
        return dict(self.facts.get("options", {}))

    @property
    def missing(self) -> list[str]:
        """Which of the files and folders that the card expects are not there."""
        if self.of is not None:
            return self.of.missing if self.path else []
        if self.reader == FOLDER and self.layout is None:
            return ["its images"]
        expected = [name for name in self.facts.get("expects", ()) if not (Path(self.path) / name).exists()]
        return expected + [lack for test in self.further for lack in test.lacks]

    @property
    def how_to_fetch(self) -> str:
        """The end of a message about data that is missing or wrong."""
        return f"{to_type('data', 'prepare', self.plain_name)} fetches it or says how"

    @property
    def absence(self) -> str:
        """What the card expects and is not there, and what to do, in words; empty where all is. Nothing is opened."""
        if not self.missing:
            return ""
        if self.reader == FOLDER:
            return f"there is no {self.path}; its card says where its images lie ('path', or 'folder' in BENCH_DATA)"
        lack = f"{self.path} lacks" if Path(self.path).is_dir() else f"there is no folder {self.path} with"
        return f"{lack} {', '.join(self.missing)} (BENCH_DATA says where datasets lie); {self.how_to_fetch}"

    def require_files(self) -> None:
        """Raise ``InputError`` where what the card expects is not there; nothing is opened."""
        if absence := self.absence:
            raise InputError(f"{self.name}: {absence}")

    def _require_classes_of_tests(self) -> None:
        """Raise ``InputError`` where nothing is compared on a further test, as far as it is known unopened."""
        classes = self.layout.classes if self.layout else self.options.get("wnids", ())
        if not classes:
            return
        for test in self.further:
            test.require_classes(classes, self.without_further)


def read_dataset(name: str, path: Path, readers: Mapping[str, Path] | None = None) -> DatasetCard:
    """The card in a file, with the variant and the list of training images that ``name`` asks for after its ``@``.

    It means what is verified when the data is opened: its reader and options, the official lists with their sizes and
    checksums, and the lines of a list file; and the code of a reader that a plug-in brings. Where it lies and how it is
    fetched mean nothing. Raises ``InputError``: the file is malformed, or there is no such reader, variant or list.
    """
    facts = read_document(path)
    check_forms(facts)
    for entry in facts.get("also", {}).values():
        if "path" in entry:
            entry["path"] = str(path.parent / typed_path(entry["path"]))
    plain, chooses, choice = name.partition("@")
    variant, listed = _chosen(choice, facts, plain) if chooses else ("", None)
    if variant:
        facts = _varied(facts, variant)
        check_forms(facts)
    full = f"{plain}@{variant}" if variant else plain
    code = _reader_file(facts, readers or {})
    if facts.text("reader") == FOLDER:
        if listed is not None:
            raise InputError(f"{name}: a file that lists training images is for official lists, and {plain} has none")
        return _folder_card(full, path, facts)
    if code is not None or "official" in facts:
        _check(facts)
        facts["splits"] = {
            split: sum(facts["official"][part] for part in parts) for split, parts in facts["use"].items()
        }
    folder = data_folder() / str(facts.get("folder", plain)) if "official" in facts else ""
    means = _meaning(facts, code)
    card = DatasetCard(full, facts.text("title"), facts.text("reader"), str(folder), facts, means, code)
    return card if listed is None else _listed(card, listed)


def _folder_card(name: str, file: Path, facts: Section) -> DatasetCard:
    """The card of somebody's own images that a file describes. Raises ``InputError`` where they are not as it says."""
    if "path" in facts:
        path = file.parent / typed_path(facts["path"])
    else:
        path = data_folder() / str(facts.get("folder", name.partition("@")[0]))
    options = folder_options(facts.get("options", {}), facts.place("options"))
    if options.as_options:
        facts["options"] = options.as_options
    card = DatasetCard(name, facts.text("title"), FOLDER, os.path.normpath(path), facts, "")
    if not path.exists():
        return card
    layout = folder_layout(path, options, name)
    task = "segmentation" if isinstance(layout, MaskLayout) else "classification"
    for key, seen in (("task", task), ("classes", len(layout.classes)), ("splits", layout.sizes)):
        if facts.setdefault(key, seen) != seen:
            raise InputError(f"{facts.place(key)}: '{key}' says {facts[key]}, and {card.path} has {seen}")
    return replace(card, means=content_digest(layout, options), layout=layout)


def absent(cards: Iterable[DatasetCard]) -> dict[str, str]:
    """What is not on this machine: for each dataset of which files are missing, by its name, its ``absence``."""
    return {card.name: absence for card in cards if (absence := card.absence)}


def absent_together(names: Iterable[str]) -> str:
    """The sentence for datasets that are not on this machine: each once, whatever is chosen of it."""
    parts = [name.partition(ALSO) for name in names]  # further tests may be what is missing
    plain = list(dict.fromkeys(front.partition("@")[0] + at + tests for front, at, tests in parts))
    count = "1 dataset is" if len(plain) == 1 else f"{len(plain)} datasets are"
    place = f"looked in {data_folder()}; BENCH_DATA says where datasets lie"
    return f"{count} not on this machine: {', '.join(plain)} ({place})"


def read_list(path: Path) -> list[str]:
    """The lines of a list file, one path each; blank lines are passed over.

    Raises ``InputError``: it cannot be read, is empty, names an image twice, or has a line that is no path.
    """
    try:
        text = decoded(read_ordinary(path), f"{path}: the list")
    except OSError as error:
        raise InputError(f"{path}: the list cannot be read: {error.strerror}") from None
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if odd := next((line for line in lines if not line.isprintable()), None):
        raise InputError(f"{path}: the list has a line that is no path: {odd[:80]}")
    if not lines:
        raise InputError(f"{path}: the list is empty; it names training images, one path a line")
    line, count = Counter(lines).most_common(1)[0]
    if count > 1:
        raise InputError(f"{path}: the list names {line} twice")
    return lines


def _chosen(text: str, facts: Section, plain: str) -> tuple[str, Path | None]:
    """The variant and the list file written after the first ``@``; the first is empty and the second None if not."""
    variants = facts.get("variants", {})
    first, at, rest = text.partition("@")
    variant, file = (first, rest) if first in variants else ("", text)
    if not at and variant:
        return variant, None
    if not file:
        problem = "after @ stands what is chosen of it"
    elif (path := typed_path(file).absolute()).is_file():
        return variant, path
    elif (Path(file).suffix or "/" in file) and not path.exists():
        hint = f", or one of its variants: {', '.join(variants)}" if variants else ""
        listing = f"a file that lists training images, one path a line{hint}"
        raise InputError(f"{plain}: there is no file {path}; after @ stands {listing}")
    else:
        problem = choose(file, variants, "variant")
    raise InputError(f"{plain}: {problem}; an existing file that lists training images, one path a line, is taken too")


def _varied(facts: Section, variant: str) -> Section:
    """The card's entries with a variant's in their place; its options are added to the card's own."""
    variants = facts["variants"]
    for key in variants[variant]:
        if key not in OF_A_VARIANT:
            raise InputError(f"{variants.place(variant)}: {choose(key, OF_A_VARIANT, 'key of a variant')}")
    varied = copy.copy(facts)
    del varied["variants"]
    varied.update({"title": f"{facts.text('title')} ({variant})", **variants[variant]})
    if "options" in variants[variant]:
        varied["options"] = {**facts.get("options", {}), **variants[variant]["options"]}
    return varied


def _reader_file(facts: Section, readers: Mapping[str, Path]) -> Path | None:
    """The file of a plug-in's reader; None for one of the suite's. Raises ``InputError`` where there is none."""
    reader = facts.text("reader")
    if reader not in EVERY_READER and reader not in readers:
        raise InputError(f"{facts.place('reader')}: {choose(reader, {*EVERY_READER, *readers}, 'reader')}")
    return None if reader in EVERY_READER else readers[reader]


def _check(facts: Section) -> None:
    """Raise ``InputError`` where a card of official lists does not say what its splits are made of."""
    official, use = facts.get("official"), facts.get("use")
    if not isinstance(official, Mapping) or any(type(n) is not int or n < 1 for n in official.values()):
        raise InputError(f"{facts.place('official')}: 'official' must give the size of each official list")
    if not isinstance(use, Mapping) or not {"train", "test"} <= set(use) <= set(_SPLITS):
        raise InputError(f"{facts.place('use')}: 'use' must say of which lists train, test and, if any, val are made")
    for split, parts in use.items():
        if not isinstance(parts, list) or not parts or any(part not in official for part in parts):
            raise InputError(f"{facts.place('use')}: '{split}' must be a list of {', '.join(official)}, not {parts}")
    lists = [part for parts in use.values() for part in parts]
    if len(lists) > len({*lists}):
        raise InputError(f"{facts.place('use')}: a list is in two splits; no image may be")
    if type(facts.get("classes")) is not int:
        raise InputError(f"{facts.place('classes')}: 'classes' must be their number")


def _meaning(facts: Section, code: Path | None) -> str:
    stated: list[Any] = [facts.text("reader"), facts.get("sha256"), facts.get("version", 1)]
    stated += [] if code is None else [file_digest(code)]
    if "official" not in facts:
        return digest(stated)
    verified = {key: facts[key] for key in _VERIFIED if key in facts}
    return digest([*stated, verified, facts["splits"]])


def _listed(card: DatasetCard, path: Path) -> DatasetCard:
    """The card with the training split that a list file names."""
    if "official" not in card.facts:
        raise InputError(f"{card.name}: its images are not files, so no list can name them")
    lines = read_list(path)
    facts = copy.copy(card.facts)
    facts.update(list=str(path), splits={**card.facts["splits"], "train": len(lines)})
    title, means = f"{card.title} ({path.name})", digest([card.means, sorted(lines)])
    return replace(card, name=f"{card.name}@{path}", title=title, facts=facts, means=means)

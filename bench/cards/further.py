"""Further tests: what the runs of a dataset are scored on beside its own test split, and never trained or chosen by.

They are asked for behind a dataset's name, ``digits@also=noise+blur``, and declared by its card (``also``); of
somebody's own images, ``folder:cats@also=sketches:/data/cats-sketch``. A run's scores on one are called ``top1@noise``.

What they mean is no part of what the dataset means: draws of seeds, held-out images and the training are those of a run
without them, bit for bit. It is part of the run's id, since a record without these scores cannot answer for one with
them.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.cards.content import content_digest
from bench.cards.folder_options import FolderOptions
from bench.cards.folders import data_folder, typed_path
from bench.cards.layout import ImageLayout, undivided
from bench.errors import InputError, choose
from bench.metrics import CLASSIFICATION, METRICS
from bench.metrics.metric import RAW
from bench.notation import MEASURED
from bench.spec import digest

if TYPE_CHECKING:
    from bench.cards.dataset import DatasetCard

ALSO = "@also="
"""In front of the names of further tests, which a + joins."""

FORM = 1
"""Raised when a further test is made in another way."""

LAYOUTS: Mapping[str, str] = {
    "wnids": "folders of WordNet ids: WNID/IMAGE",
    "objectnet": "images/FOLDER/IMAGE with a border, and its authors' mappings to classes of ImageNet",
    "numbered": "folders of the places of ImageNet-1k's classes by WordNet id: 0/IMAGE to 999/IMAGE",
}
"""How published test sets of ImageNet's classes lie."""

_VERIFIED = ("corrupt", "severity", "sha256", "reader", "images")
"""What of a card's entry a further test means."""


@dataclass(frozen=True)
class FurtherTest:
    """A further test.

    Attributes:
        name: behind the ``@`` of its scores.
        title: what tables call it.
        means: digest of its content, as far as that is verified when it is opened.
        facts: what its card says of it.
        folder: where its files lie, if it has some of its own.
        of: the dataset whose test split it is, if it is one.
        layout: what lies in somebody's own folder; None of other tests.
    """

    name: str
    title: str
    means: str
    facts: Mapping[str, Any] = field(default_factory=dict)
    folder: str = ""
    of: DatasetCard | None = None
    layout: ImageLayout | None = None

    @property
    def lacks(self) -> list[str]:
        """What it needs and is not here, with where it comes from."""
        if self.of is not None:
            return [f"{self.of.path}/{name}" for name in self.of.missing]
        source = f" ({self.facts['source']})" if "source" in self.facts else ""
        return [self.folder + source] if self.folder and not os.path.isdir(self.folder) else []

    def size(self, test: int) -> int:
        """Its images, at most; a corrupted copy has as many as the own test split."""
        if self.of is not None:
            return sum(self.of.splits.get(split, 0) for split in self.facts.get("splits", ["test"]))
        return int(self.facts.get("images", test))

    @property
    def counts(self) -> Counter[str]:
        """How many images of each class there are, where folders of images say it; else nothing."""
        if self.of is None:
            return self.layout.counts("test") if self.layout else Counter()
        layout, splits = self.of.layout, self.facts.get("splits", ["test"])
        return (
            Counter(image.label for split in splits for image in layout.splits.get(split, ())) if layout else Counter()
        )

    def require_classes(self, classes: Collection[str], place: str) -> None:
        """Raise ``InputError`` where nothing is compared on it, as far as folders say it that are not opened.

        ``classes`` are the dataset's. The error begins with the place.
        """
        names: Collection[str] = self.counts
        if self.facts.get("reader") == "wnids" and os.path.isdir(self.folder):
            names = sorted(entry.name for entry in os.scandir(self.folder) if entry.is_dir())
        if names:
            require_several([name for name in names if name in classes], names, f"{place}: {self.name}")

    def __post_init__(self) -> None:
        if self.name == RAW:
            raise InputError(f"a further test cannot be called {RAW}: so are the weights that an average is of")
        if self.name in MEASURED:
            raise InputError(f"a further test cannot be called {self.name}: so is a split of each dataset")
        if self.name in METRICS:
            raise InputError(f"a further test cannot be called {self.name}: so is a metric")


def require_several(matched: Collection[str], names: Iterable[str], place: str) -> None:
    """Raise ``InputError`` where not several classes of a further test are matched to the dataset's.

    ``names`` are all that it has. The error begins with the place.
    """
    if not matched:
        listed = ", ".join([*names][:5])
        raise InputError(f"{place}: none of its classes is one of the dataset's: {listed}; they are matched by name")
    if len(matched) == 1:
        (alone,) = matched
        lone = f"one of its classes alone is the dataset's ({alone})"
        raise InputError(f"{place}: {lone}, so every answer is right and nothing is compared")


def without_further(name: str) -> str:
    """The name of a dataset without the further tests behind it."""
    front, at, back = name.rpartition("@")
    kept = [item for item in back.split(",") if not item.startswith("also=")]
    return f"{front}{at}{','.join(kept)}" if kept or not at else front


def further_names(name: str) -> frozenset[str]:
    """The further tests behind the name of a dataset."""
    return frozenset(filter(None, name.partition(ALSO)[2].split("+")))


def with_further(card: DatasetCard, names: str, find: Callable[[str], DatasetCard]) -> DatasetCard:
    """A dataset with some of the further tests that its card declares: ``noise+blur``.

    ``find`` gives a dataset by its name. Raises ``InputError``: the card declares none of that name, one is asked for
    twice, or the task has no such tests.
    """
    declared, tests = card.facts.get("also", {}), list[FurtherTest]()
    if not declared:
        raise InputError(f"{card.name}: its card declares no further tests ('also'), so nothing stands behind {ALSO}")
    if card.task != CLASSIFICATION:
        raise InputError(f"{card.name}: further tests are of images with one label each, and its task is {card.task}")
    for name in (word.strip() for word in names.split("+")):
        if name not in declared:
            raise InputError(f"{card.name}{ALSO}{names}: {choose(name, declared, 'further test')}")
        if any(test.name == name for test in tests):
            raise InputError(f"{card.name}{ALSO}{names}: {name} stands there twice")
        tests.append(_declared(card, name, find))
    return replace(card, name=f"{card.name}{ALSO}{'+'.join(test.name for test in tests)}", further=tuple(tests))


def folder_test(name: str, folder: Path, place: str, title: str = "", skips: bool = False) -> FurtherTest:
    """A further test of images in folders of classes; it means their names and bytes.

    ``skips`` leaves broken links out.

    Raises ``InputError``, which begins with the place: there is no such folder, or no image in it.
    """
    layout = undivided(typed_path(os.path.realpath(folder)), place, skips)
    means = digest([FORM, "folder", content_digest(layout, FolderOptions())])
    facts = {"path": str(layout.root), "images": layout.sizes["test"]}
    return FurtherTest(name, title or name, means, facts, str(layout.root), layout=layout)


def _declared(card: DatasetCard, name: str, find: Callable[[str], DatasetCard]) -> FurtherTest:
    """A further test that a card declares."""
    facts = card.facts["also"][name]
    title = facts.get("title", name)
    if "path" in facts:
        skips = bool(card.options.get("skip_damaged"))
        return folder_test(name, typed_path(facts["path"]), facts.place("path"), title, skips)
    if "dataset" in facts:
        of = find(str(facts["dataset"]))
        if of.task != CLASSIFICATION:
            raise InputError(
                f"{facts.place('dataset')}: {of.name} is for {of.task}: its images have not one label each"
            )
        means = digest([FORM, "dataset", of.means, facts.get("splits", ["test"])])
        return FurtherTest(name, title, means, facts, of=of)
    means = digest([FORM, card.means, {key: facts[key] for key in _VERIFIED if key in facts}])
    folder = str(data_folder() / facts.get("folder", name)) if "reader" in facts else ""
    return FurtherTest(name, title, means, facts, folder)

"""What is said of the images in people's folders before anything is trained on them, from their survey."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tqdm import tqdm

import bench
from bench.cards import DatasetCard
from bench.cards.layout import PREFIX
from bench.cards.mask_layout import MaskLayout
from bench.commands.options import say
from bench.errors import InputError, printable, to_type
from bench.images.audit import Audited, first_doubts
from bench.images.folder import folder_files, further_folder, is_surveyed, kept_survey, survey_folder
from bench.images.masks import unusable_masks
from bench.images.survey import NAMED, Survey, Surveyed, problems_of
from bench.notation import counted
from bench.spec import RunSpec

MANY = 1000
"""Images from which on it is said that they are decoded, where no bar shows it."""


class Decoding:
    """Shows how far the decoding of a dataset's images is; call it with how many are decoded, and of how many."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._bar: Any = None

    def __call__(self, done: int, count: int) -> None:
        if self._bar is None:
            self._bar = tqdm(total=count, desc=f"decoding {self._name}", unit=" images", disable=None, leave=False)
            if self._bar.disable and count >= MANY:
                say(f"decoding {counted(count, 'image')} of {self._name} once")
        self._bar.update()
        if done == count:
            self._bar.close()


@dataclass(frozen=True)
class Seen:
    """A folder's card and the survey of its images."""

    card: DatasetCard
    survey: Survey
    kept: Path | None
    masks: Sequence[Surveyed] = ()

    @property
    def refused(self) -> list[Surveyed]:
        """The images that stand against training, and those whose masks do."""
        return [*refused(self.card, self.survey), *self.masks]

    @property
    def problems(self) -> list[str]:
        """What is said of them; nothing where there are none."""
        return self.problem_lines(NAMED) if self.refused else []

    def problem_lines(self, named: int) -> list[str]:
        """The same, with so many images named."""
        root = self.card.layout.root if self.card.layout else None
        advice = "mend what is wrong, or remove images with their masks" if self.masks else ""
        return problems_of(self.card.name, self.refused, len(self.survey.images), self.kept, root, named, advice)

    @property
    def left_out(self) -> dict[str, int]:
        """How many damaged images of each split are left out; nothing unless that was chosen."""
        if not self.card.options.get("skip_damaged"):
            return {}
        counts = {split: len(self.survey.damaged(split)) for split in self.survey.splits}
        return {split: count for split, count in counts.items() if count}

    @property
    def doubts(self) -> list[str]:
        """What its splits share, and which classes they lack; nothing of a further test."""
        if self.card.layout and self.card.layout.splits.keys() == {"test"}:
            return []
        return first_doubts(audited_folder(self.card, self.survey))

    @property
    def lines(self) -> list[str]:
        """What is said of a folder on which something can be trained."""
        lines = []
        if self.left_out:
            parts = ", ".join(f"{count:,} of {split}" for split, count in self.left_out.items())
            lines.append(f"{self.card.name}: damaged images are left out: {parts}")
        if doubts := self.doubts:
            listing = to_type("data", "audit", self.card.name)
            lines.append(f"{self.card.name}: {'; '.join(doubts)} ({listing} lists them)")
        return lines

    @property
    def plain(self) -> dict[str, Any]:
        """What stands against training on it, and what is odd about it, as plain data."""
        unusable = [{"image": image.path, "problem": image.problem} for image in self.refused]
        return {"dataset": self.card.name, "unusable": unusable, "left_out": self.left_out, "doubts": self.doubts}

    def print(self) -> None:
        """Print the same."""
        for line in self.problems or self.lines:
            print(printable(line))


def refused(card: DatasetCard, survey: Survey) -> list[Surveyed]:
    """The images that stand against training: those that cannot be used, but for damaged ones that are left out."""
    skips = bool(card.options.get("skip_damaged"))
    return [image for image in survey.unusable if not (skips and image.damaged)]


def audited_folder(card: DatasetCard, survey: Survey) -> Audited:
    """A folder as it is audited; images with masks are of no class."""
    labels = {split: [label for _, label in images] for split, images in folder_files(card).items()}
    has_classes = card.layout is not None and not isinstance(card.layout, MaskLayout)
    classes = card.layout.classes if card.layout and has_classes else []
    return Audited(survey, classes, labels, {} if card.name.startswith(PREFIX) else card.splits)


def look(card: DatasetCard, results: Path | None) -> Seen:
    """The survey of a folder's images, with a bar while they are decoded."""
    survey, kept, layout = survey_folder(card, results, Decoding(card.name)), kept_survey(card, results), card.layout
    if not isinstance(layout, MaskLayout):
        return Seen(card, survey, kept)
    of_masks = kept.with_name(f"masks-{kept.stem}.json") if kept else None
    progress = Decoding(f"masks of {card.name}")
    masks = unusable_masks(survey.splits, layout.mask_files, len(layout.classes), of_masks, progress)
    return Seen(card, survey, kept, masks)


def require_images(runs: Iterable[RunSpec], registry: bench.Registry, results: Path, submits: bool) -> None:
    """Say what is odd about the folders of some runs; raise ``InputError`` that names the images that cannot be used.

    Where the launcher ``submits``, nothing is decoded here, which may be a login node, unless most of it was: the first
    job does that before its first step.
    """
    problems: list[str] = []
    for card, of in _folders(runs, registry):
        if submits and not is_surveyed(card, results):
            check = to_type("data", "check", of.name)
            say(f"{card.name}: its images are decoded in the first job; {check} does it here")
            continue
        seen = look(card, results)
        problems += seen.problems
        for line in () if seen.problems else seen.lines:
            say(printable(line))
    if problems:
        raise InputError(*problems)


def surveys(runs: Iterable[RunSpec], registry: bench.Registry, results: Path) -> list[Seen]:
    """What is seen of the folders of some runs."""
    return [look(card, results) for card, _ in _folders(runs, registry)]


def _folders(runs: Iterable[RunSpec], registry: bench.Registry) -> list[tuple[DatasetCard, DatasetCard]]:
    """The folders of images of some runs, each with the dataset that it is of."""
    cards = [registry.dataset(name) for name in dict.fromkeys(spec.dataset.name for spec in runs)]
    return [(folder, card) for card in cards for folder in folders_of(card)]


def folders_of(card: DatasetCard) -> list[DatasetCard]:
    """A dataset that is a folder of images, and its further tests that are, each as a card; none of a rehearsal."""
    if card.of is not None:
        return []
    further = [further_folder(test, card) for test in card.further]
    return [each for each in (card, *further) if each is not None and each.layout is not None]

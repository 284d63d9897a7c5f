"""A dataset's image files and their survey: damaged ones are left out where that was chosen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from bench.cards.dataset import DatasetCard
from bench.data.dataset import AnySplit, ArrayImages, Dataset, FileImages, Split
from bench.data.official import files_of, some_of
from bench.errors import InputError
from bench.images.audit import Audited
from bench.images.folder import kept_survey, levels_of
from bench.images.survey import Progress, Survey, problems_of, survey, survey_pixels
from bench.notation import counted
from bench.records.lease import claimed, wait_for


def with_levels(dataset: Dataset, card: DatasetCard) -> Dataset:
    """The dataset whose files are decoded with the black and white that its card declares."""
    levels = levels_of(card)
    if levels is None:
        return dataset
    splits = {}
    for name, split in dataset.splits.items():
        splits[name] = Split(FileImages(files_of(split), levels), split.labels)
    return Dataset(dataset.classes, splits["train"], splits.get("val"), splits["test"])


def without_damaged(dataset: Dataset, card: DatasetCard, results: Path | None = None) -> Dataset:
    """The dataset without its damaged images, where the card says ``skip_damaged``.

    They are known from the survey in the results folder, which one of several processes makes where there is none.
    Raises ``InputError``: nothing is left of a split or of a class of training images; or an image lacks a declaration
    of what its levels mean, which is no damage.
    """
    if not card.options.get("skip_damaged"):
        return dataset
    damaged = _damaged({name: files_of(split) for name, split in dataset.splits.items()}, card, results)
    return _dropped(dataset, damaged, card.name)


def undamaged(split: AnySplit, card: DatasetCard, results: Path | None = None) -> AnySplit:
    """A further test of a folder without its damaged images, as ``without_damaged`` leaves them out; a line says so.

    ``card`` is that of the folder (``bench.images.folder.further_folder``).
    """
    if not card.options.get("skip_damaged"):
        return split
    damaged = _damaged({"test": files_of(split)}, card, results)["test"]
    stays = np.setdiff1d(np.arange(len(split)), damaged)
    if not len(stays):
        raise InputError(f"{card.name}: every image is damaged")
    if damaged:
        print(f"{card.name}: {counted(len(damaged), 'damaged image')} left out", flush=True)
    return some_of(split, stays)


def audited(
    dataset: Dataset, card: DatasetCard, results: Path | None = None, progress: Progress = lambda done, count: None
) -> Audited:
    """A dataset as it is audited; of files, with the survey that is kept in a results folder."""
    stored = {name: split.images for name, split in dataset.splits.items()}
    pixels = {name: images.pixels for name, images in stored.items() if isinstance(images, ArrayImages)}
    if pixels:
        seen = survey_pixels(pixels)
    else:
        files = {name: files_of(split) for name, split in dataset.splits.items()}
        seen = survey(files, kept_survey(card, results), levels_of(card), progress)
    labels = {name: [dataset.classes[label] for label in split.labels] for name, split in dataset.splits.items()}
    return Audited(seen, dataset.classes, labels, card.splits)


def _dropped(dataset: Dataset, damaged: Mapping[str, list[int]], name: str) -> Dataset:
    """The dataset without the images at those places of its splits."""
    splits, left_out = {}, {}
    for split, old in dataset.splits.items():
        stays = np.setdiff1d(np.arange(len(old)), damaged[split])
        splits[split] = some_of(old, stays)
        if len(stays) < len(old):
            left_out[split] = len(old) - len(stays)
        if not len(stays):
            raise InputError(f"{name}: every image of '{split}' is damaged")
    if gone := sorted({*dataset.train.labels.tolist()} - {*splits["train"].labels.tolist()}):
        raise InputError(f"{name}: every training image of the class '{dataset.classes[gone[0]]}' is damaged")
    return Dataset(dataset.classes, splits["train"], splits.get("val"), splits["test"], left_out)


def _damaged(
    files: Mapping[str, Sequence[str | Path]], card: DatasetCard, results: Path | None
) -> dict[str, list[int]]:
    """The places of the damaged images of each split. Raises ``InputError`` where one cannot be used otherwise."""
    seen = _survey(files, card, results)
    if undeclared := [image for image in seen.unusable if not image.damaged]:
        raise InputError("; ".join(problems_of(card.name, undeclared, len(seen.images))))
    return {name: seen.damaged(name) for name in files}


def _survey(files: Mapping[str, Sequence[str | Path]], card: DatasetCard, results: Path | None) -> Survey:
    """The survey of a card's files: one process makes it, and the others wait for it."""
    levels, kept = levels_of(card), kept_survey(card, results)
    if kept is None:
        return survey(files, levels=levels)
    claim = kept.with_suffix(".claim")
    while True:
        with claimed(claim) as ours:
            if ours:
                return survey(files, kept, levels)
        wait_for(lambda: False, claim)

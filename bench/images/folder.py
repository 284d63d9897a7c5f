"""Somebody's own folder of images: its files, what its card declares of their levels, and their survey."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from bench.cards.dataset import FOLDER, DatasetCard
from bench.cards.further import FurtherTest
from bench.images.raster import Levels
from bench.images.survey import PART, Progress, Survey, read_survey, survey, survey_file


def levels_of(card: DatasetCard) -> Levels | None:
    """Black and white of grey levels of more than 8 bits, where a card declares them."""
    declared = card.options.get("range")
    return (float(declared[0]), float(declared[1])) if declared else None


def survey_folder(
    card: DatasetCard, results: Path | None = None, progress: Progress = lambda done, count: None
) -> Survey:
    """The survey of a folder's images, which is kept in a results folder. Raises as ``survey``."""
    files = {split: [path for path, _ in images] for split, images in folder_files(card).items()}
    return survey(files, kept_survey(card, results), levels_of(card), progress)


def kept_survey(card: DatasetCard, results: Path | None) -> Path | None:
    """Where the survey of a dataset's files is kept; None without a results folder."""
    return None if results is None else survey_file(results, card.path, levels_of(card))


def is_surveyed(card: DatasetCard, results: Path) -> bool:
    """Whether a whole survey of a dataset's files is kept; some of them may have changed since."""
    kept = kept_survey(card, results)
    seen = read_survey(kept) if kept else None
    return seen is not None and PART not in seen.splits


def further_folder(test: FurtherTest, card: DatasetCard) -> DatasetCard | None:
    """A further test of a folder of images as a card, of those that are scored; None where it is no folder.

    Its images are decoded, and damaged ones left out, as the dataset's card says of its own.
    """
    if test.layout is None:
        return None
    images, layout = test.layout.splits["test"], card.layout
    if layout is not None:
        images = [image for image in images if image.label in layout.classes]
    name = f"{card.without_further}: {test.name} ({test.folder})"
    facts = {"options": {key: value for key, value in card.options.items() if key in ("range", "skip_damaged")}}
    scored = replace(test.layout, splits={"test": images})
    return DatasetCard(name, test.title, FOLDER, test.folder, facts, test.means, layout=scored)


def folder_files(card: DatasetCard) -> dict[str, list[tuple[Path, str]]]:
    """The images of each split of a folder's card, and their classes."""
    return card.layout.files if card.layout else {}

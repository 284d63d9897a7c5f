"""Which images with masks a measure is of: a dataset that has them, or a folder of one's own."""

from __future__ import annotations

from pathlib import Path

from bench.cards import DatasetCard
from bench.cards.further import without_further
from bench.cards.layout import PREFIX
from bench.cards.readers import MASK_READERS
from bench.data import read_masks
from bench.data.dataset import MaskedSplit
from bench.data.masks import read_mask_folder
from bench.errors import InputError, choose
from bench.registry import Registry
from bench.spec import RunSpec

FOLDER = "a folder with images/ and masks/ (PNG: 0 background, 255 left out)"
"""What else the option takes, in words."""


def is_of_folder(named: str, registry: Registry) -> bool:
    """Whether what an option ``masks`` says is a folder, whose files may be others tomorrow."""
    return bool(named) and named.partition("@")[0] not in registry.dataset_files


def masked_images(named: str, split: str, spec: RunSpec, registry: Registry) -> MaskedSplit:
    """The images with masks that an option ``masks`` names.

    It is a dataset that has masks, or a folder, which has a test split alone; empty for the run's own dataset.

    Raises:
        InputError: there is no such dataset or folder, it is not here, or has no masks or no such split.
    """
    if is_of_folder(named, registry):
        return _of_folder(named, split, registry)
    card = registry.dataset(named or without_further(spec.dataset.name))
    if card.code is None and not _has_masks(card):
        remedy = f"--option masks=NAME takes {', '.join(datasets_with_masks(registry))}, or {FOLDER}"
        raise InputError(f"{card.name}: its images have no masks; {remedy}")
    try:
        dataset = read_masks(card)
    except InputError as error:
        raise InputError(f"{error}; --option masks=NAME measures on other images (bench show MEASURE)") from None
    images = {"train": dataset.train, "val": dataset.val, "test": dataset.test}[split]
    if images is None:
        raise InputError(f"--split {split}: {card.name} has no validation split")
    return images


def datasets_with_masks(registry: Registry) -> list[str]:
    """The datasets whose images have masks, by name."""
    cards = (registry.dataset(name) for name in registry.dataset_files)
    return sorted(card.name for card in cards if _has_masks(card))


def _has_masks(card: DatasetCard) -> bool:
    return card.task == "segmentation" or card.reader in MASK_READERS


def _of_folder(named: str, split: str, registry: Registry) -> MaskedSplit:
    folder = Path(named.removeprefix(PREFIX)).expanduser()
    if not folder.is_dir():
        lacking = choose(named, datasets_with_masks(registry), "dataset with masks")
        raise InputError(f"--option masks={named}: {lacking}; it takes {FOLDER}, too")
    if split != "test":
        raise InputError(f"--split {split}: {named} is a folder of masked images, which are all of the test split")
    return read_mask_folder(folder)

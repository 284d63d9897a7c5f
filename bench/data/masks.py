"""Images with masks: PASCAL VOC 2012, ADE20K (SceneParse150), trimaps of Oxford-IIIT Pet, a folder of one's own."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
from torchvision.datasets import VOCSegmentation

from bench.cards.dataset import DatasetCard, read_list
from bench.cards.folder_options import folder_options
from bench.cards.image_files import is_dropping
from bench.cards.mask_layout import IMAGES, MASKS, MaskLayout, folder_layout, paired
from bench.data.dataset import IGNORED, FileImages, MaskedDataset, MaskedSplit, MaskFiles, masked
from bench.data.listed import read_pets as official_pets
from bench.data.multilabel import MultiLabelSplit
from bench.data.official import Official
from bench.errors import InputError
from bench.images.folder import levels_of

VOC_CLASSES = (
    *("background", "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow"),
    *("diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor"),
)
"""PASCAL VOC's classes by the level of a mask; 255 is the border of objects and what is hard to tell."""

TRIMAP = {1: 1, 2: 0, 3: IGNORED}
"""What the levels of a pet's trimap are: the animal, the background, and the border between them."""

TRIMAP_CLASSES = ("background", "pet")


def read_voc2012(card: DatasetCard) -> Official[MaskedSplit]:
    """PASCAL VOC 2012 segmentation (Everingham et al., 2012): ``VOCdevkit/VOC2012/``.

    The list ``train_aug`` has masks of its own, ``SegmentationClassAug``.
    """
    lists = {}
    for name in card.lists:
        if name == "train_aug":
            lists[name] = _augmented(Path(card.path) / "VOCdevkit" / "VOC2012")
        else:
            data = VOCSegmentation(card.path, year="2012", image_set=name)
            lists[name] = masked(FileImages(tuple(data.images)), MaskFiles(tuple(data.masks)))
    return Official(VOC_CLASSES, lists)


def read_voc2012_labels(card: DatasetCard) -> Official[MultiLabelSplit]:
    """PASCAL VOC 2012 classification; the mark 0, of difficult objects alone, does not count (VOCevalcls.m)."""
    root, lists = Path(card.path) / "VOCdevkit" / "VOC2012", {}
    for name in card.lists:
        files = [root / "ImageSets" / "Main" / f"{label}_{name}.txt" for label in VOC_CLASSES[1:]]
        rows = np.stack([np.loadtxt(file, dtype=str, ndmin=2) for file in files], axis=1)
        if (rows[:, :, 0] != rows[:, :1, 0]).any():
            raise ValueError(f"the lists of classes for '{name}' do not name the same images")
        images = FileImages(tuple(f"{root}/JPEGImages/{stem}.jpg" for stem in rows[:, 0, 0]))
        marks = rows[:, :, 1].astype(np.float16)
        lists[name] = MultiLabelSplit.unlabelled(images, present=np.where(marks == 0, np.float16("nan"), marks.clip(0)))
    return Official(VOC_CLASSES[1:], lists)


def read_ade20k(card: DatasetCard) -> Official[MaskedSplit]:
    """SceneParse150 (Zhou et al., 2017): ``ADEChallengeData2016/``; the level 0 is no class, and 1 is class 0."""
    root, lists = Path(card.path) / "ADEChallengeData2016", {}
    for name in card.lists:
        folder = {"train": "training", "val": "validation"}[name]
        stems = sorted(
            f[:-4] for f in os.listdir(root / "images" / folder) if f.endswith(".jpg") and not is_dropping(f)
        )
        images = tuple(f"{root}/images/{folder}/{stem}.jpg" for stem in stems)
        masks = tuple(f"{root}/annotations/{folder}/{stem}.png" for stem in stems)
        lists[name] = masked(FileImages(images), MaskFiles(masks, first=1))
    return Official(_ade_classes(root / "objectInfo150.txt"), lists)


def read_pets(card: DatasetCard) -> Official[MaskedSplit]:
    """The images of Oxford-IIIT Pet (Parkhi et al., 2012) with their trimaps, ``annotations/trimaps``.

    The animal is 1 and the background 0, whatever the breed; the border between them is left out.
    """
    breeds = official_pets(card)
    lists = {}
    for name, split in breeds.lists.items():
        assert isinstance(split.images, FileImages)
        folders = [Path(path).parents[1] / "annotations" / "trimaps" for path in split.images.paths]
        stems = [Path(path).stem for path in split.images.paths]
        trimaps = tuple(folder / f"{stem}.png" for folder, stem in zip(folders, stems, strict=True))
        lists[name] = masked(split.images, MaskFiles(trimaps, meaning=TRIMAP))
    return Official(breeds.classes, lists)


def read_trimaps(card: DatasetCard) -> Official[MaskedSplit]:
    """As ``read_pets``, with the two classes that the masks tell apart."""
    return Official(TRIMAP_CLASSES, read_pets(card).lists)


def read_mask_folder(folder: Path) -> MaskedSplit:
    """A folder of one's own: ``images/NAME.jpg`` (or another image) each with its ``masks/NAME.png``.

    A mask has the size of its image, one channel of 8 bits or a palette: 0 is background, 255 counts for nothing, any
    other level is an object of that class. Images are in the order of their names.

    Raises:
        InputError: a folder is not there, holds no image, an image has no mask, or two images share one.
    """
    for part in (IMAGES, MASKS):
        if not (folder / part).is_dir():
            raise InputError(f"{folder}: a folder of masked images has images/ and masks/, and there is no {part}/")
    names, masks = paired(folder / IMAGES, folder / MASKS)
    images = FileImages(tuple(folder / IMAGES / name for name in names))
    return masked(images, MaskFiles(tuple(folder / MASKS / name for name in masks)))


def read_folder_masks(card: DatasetCard) -> MaskedDataset:
    """Somebody's own images with masks, in any layout of ``bench.cards.mask_layout``.

    Raises ``InputError`` where they are not there any more; and when masks are taken, where one has a level that is no
    class.
    """
    card.require_files()
    layout = folder_layout(Path(card.path), folder_options(card.options, card.name), card.name)
    assert isinstance(layout, MaskLayout)
    splits = {}
    for name, masks in layout.mask_files.items():
        images = FileImages(tuple(path for path, _ in layout.files[name]), levels_of(card))
        splits[name] = masked(images, MaskFiles(tuple(masks), classes=len(layout.classes)))
    return MaskedDataset(layout.classes, splits["train"], splits.get("val"), splits["test"])


def _augmented(root: Path) -> MaskedSplit:
    """VOC's training images with SBD's: a line is an image's name, or its path and that of its mask."""
    lines = read_list(root / "ImageSets" / "Segmentation" / "train_aug.txt")
    stems = [Path(line.split()[0]).stem for line in lines]
    images = tuple(root / "JPEGImages" / f"{stem}.jpg" for stem in stems)
    return masked(FileImages(images), MaskFiles(tuple(root / "SegmentationClassAug" / f"{stem}.png" for stem in stems)))


def _ade_classes(path: Path) -> list[str]:
    """The last column of the table that comes with the images, below its heading."""
    rows = path.read_text(encoding="utf-8").splitlines()[1:]
    return [row.split("\t")[-1].strip() for row in rows if row.strip()]

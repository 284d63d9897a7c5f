"""Official datasets for segmentation: PASCAL VOC 2012 and ADE20K (SceneParse150)."""

from __future__ import annotations

import os
from pathlib import Path

from torchvision.datasets import VOCSegmentation

from bench.cards.dataset import DatasetCard
from bench.cards.image_files import is_dropping
from bench.data.dataset import FileImages, MaskedSplit, MaskFiles
from bench.data.official import Official

VOC_CLASSES = (
    *("background", "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow"),
    *("diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor"),
)
"""PASCAL VOC's classes by the level of a mask; 255 is the border of objects and what is hard to tell."""


def read_voc2012(card: DatasetCard) -> Official[MaskedSplit]:
    """PASCAL VOC 2012 segmentation (Everingham et al., 2012): ``VOCdevkit/VOC2012/``."""
    both = {name: VOCSegmentation(card.path, year="2012", image_set=name) for name in card.lists}
    lists = {name: MaskedSplit(FileImages(tuple(d.images)), MaskFiles(tuple(d.masks))) for name, d in both.items()}
    return Official(VOC_CLASSES, lists)


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
        lists[name] = MaskedSplit(FileImages(images), MaskFiles(masks, first=1))
    return Official(_ade_classes(root / "objectInfo150.txt"), lists)


def _ade_classes(path: Path) -> list[str]:
    """The last column of the table that comes with the images, below its heading."""
    rows = path.read_text(encoding="utf-8").splitlines()[1:]
    return [row.split("\t")[-1].strip() for row in rows if row.strip()]

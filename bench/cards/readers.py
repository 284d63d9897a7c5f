"""The readers that the suite has, by the name that a dataset's card gives: ``read_NAME`` in a module of ``bench.data``.

A plug-in folder brings its own: ``readers/NAME.py`` with a function ``read(card)`` that gives an ``Official``
(``bench.data.official``).
"""

from __future__ import annotations

from collections.abc import Mapping

_LISTED = (
    *("aircraft", "cars", "cub", "dogs", "domainnet", "dtd", "flowers102"),
    *("inat2017", "nabirds", "pacs", "pets", "places365", "vtab"),
)

READERS: Mapping[str, str] = {
    **dict.fromkeys(("digits", "cluttered_digits"), "digits"),
    **dict.fromkeys(_LISTED, "listed"),
    **dict.fromkeys(("caltech101", "folder", "imagenet"), "class_folders"),
    **dict.fromkeys(("cifar10", "cifar100", "svhn"), "pixels"),
}
"""Readers of images with labels."""

MASK_READERS: Mapping[str, str] = {
    **dict.fromkeys(("ade20k", "pets", "trimaps", "voc2012"), "masks"),
    "drawn_shapes": "shapes",
}
"""Readers of images with masks: for segmentation, and of masks that a dataset for classification has beside labels."""

TASK_READERS: Mapping[str, Mapping[str, str]] = {
    "classification": READERS,
    "segmentation": MASK_READERS,
    "multilabel": {"voc2012_labels": "masks"},
}
"""The suite's readers by the task that they are for; a task that has none here is read by plug-ins."""

EVERY_READER = frozenset(name for readers in TASK_READERS.values() for name in readers)

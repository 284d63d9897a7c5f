"""The names of classes in words, as texts about images have them."""

from __future__ import annotations

import importlib
import re
from collections.abc import Sequence

from bench.errors import InputError

_WORDNET = re.compile(r"n\d{8}")
_NUMBERED = re.compile(r"(n\d{8}[-_ ]|\d{3,}[._-])(?=\D)")
"""What stands before the words in names of folders: ``001.Black_footed_Albatross``, ``n02085620-Chihuahua``."""


def in_words(names: Sequence[str]) -> tuple[str, ...]:
    """The names of classes, by label, without numbers before them and with spaces in the place of ``_`` and ``/``.

    Of WordNet ids alone they are those of ImageNet that CLIP's authors chose, as open_clip lists them; raises
    ``InputError`` where one is not of ImageNet-1k.
    """
    if names and all(_WORDNET.fullmatch(name) for name in names):
        return _of_imagenet(names)
    return tuple(map(_plain, names))


def _plain(name: str) -> str:
    if re.fullmatch(r"/\w/.+", name):  # Places365 sorts its scenes by their first letter
        name = name[3:]
    words = re.sub(r"[_/\s]+", " ", _NUMBERED.sub("", name, count=1) if _NUMBERED.match(name) else name)
    return words.strip() or name


def _of_imagenet(wordnet: Sequence[str]) -> tuple[str, ...]:
    """timm lists the WordNet ids of ImageNet-1k in the order of its labels, open_clip the names in that order."""
    ids = importlib.import_module("timm.data").ImageNetInfo("imagenet-1k").label_names()
    names = dict(zip(ids, importlib.import_module("open_clip").IMAGENET_CLASSNAMES, strict=True))
    if strange := [each for each in wordnet if each not in names]:
        raise InputError(f"classes called by WordNet ids outside of ImageNet-1k have no names here: {strange[0]}")
    return tuple(names[each] for each in wordnet)

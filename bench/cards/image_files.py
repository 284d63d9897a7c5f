"""Which files of a folder are images that can be read here, and which are left there by systems and mean nothing."""

from __future__ import annotations

import importlib.util
import os
from functools import cache

IMAGE_SUFFIXES = frozenset(
    {
        *(".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".bmp", ".gif", ".tif", ".tiff"),
        *(".ppm", ".pgm", ".pbm", ".pnm"),
    }
)
"""Files that Pillow decodes however it was built; those of ``_OPTIONAL`` are read where it can."""

_OPTIONAL = {".webp": "webp", ".avif": "avif", ".heic": "heif", ".heif": "heif"}

_DROPPINGS = frozenset(
    {
        *("thumbs.db", "ehthumbs.db", "ehthumbs_vista.db", "desktop.ini", "icon\r", "__macosx", "__pycache__"),
        *("$recycle.bin", "recycler", "system volume information", "lost+found"),
        *("@eadir", "@tmp", "@recycle", "@recently-snapshot", "#recycle", "#snapshot"),
        *("network trash folder", "temporary items"),
    }
)
"""What Windows, macOS, Linux and NAS boxes leave in folders, in small letters."""


def is_dropping(name: str) -> bool:
    """Whether a file or folder of this name is none of a dataset: hidden (a dot in front), or left by a system."""
    return name.startswith(".") or name.lower() in _DROPPINGS


def is_image(name: str) -> bool:
    """Whether a file of this name is an image that can be read here."""
    return not is_dropping(name) and not why_unread(name)


def why_unread(name: str) -> str:
    """Why a file is not read, by its name: ``*.txt``; empty where it is an image that can be read."""
    suffix = os.path.splitext(name)[1].lower()
    if suffix in _OPTIONAL or suffix in IMAGE_SUFFIXES:
        return decoder_lacks(name)
    return f"*{suffix}" if suffix else "without a suffix"


def decoder_lacks(name: str) -> str:
    """What has no decoder here, and what brings it, by the name of an image; empty where there is one."""
    suffix = os.path.splitext(name)[1].lower()
    if suffix not in _OPTIONAL or _decodes(_OPTIONAL[suffix]):
        return ""
    return f"*{suffix} ({_REMEDIES[_OPTIONAL[suffix]]})"


_REMEDIES = {
    "webp": "this Pillow cannot read it",
    "avif": "Pillow reads it from 11.3 on",
    "heif": "'pip install pillow-heif' reads it",
}


@cache
def _decodes(feature: str) -> bool:
    if feature == "heif":
        return importlib.util.find_spec("pillow_heif") is not None
    from PIL import features

    return feature in features.get_supported()  # a feature that this Pillow does not know is none

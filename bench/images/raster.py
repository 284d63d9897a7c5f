"""Raster images in files, by what is in them and not by their names: which are opened, and their colours in 8 bits."""

from __future__ import annotations

import contextlib
import re
import stat
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, UnidentifiedImageError

from bench.errors import InputError

Levels = tuple[float, float]
"""The grey levels that are black and white."""

MOST_PIXELS = 160_000_000
"""Of an image: the largest sensors of cameras have 151 million. What claims more in few bytes would fill memory."""

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM", "AVIF", "HEIF")
"""Of Pillow's formats, those that are opened: rasters whose decoders are libraries. For others it starts programs (EPS:
Ghostscript), or reads what is no photograph."""

_DEEP_AS_INTEGERS = ("PNG", "PPM")
"""Formats whose levels end at 65,535, also where Pillow keeps them as 32-bit integers."""

_BITS, _WHITE_IS, _SIGNS = 258, 262, 339
"""Tags of a TIFF: bits of a level; 0 where level 0 is white; 1, also where it lacks, for levels without a sign."""

_REST = re.compile(r" \(\d+ bytes not processed\)$")
"""What Pillow adds to its word on a cut JPEG, which tells nobody anything."""

DECLARE = "folder:PATH@range=LO:HI says which grey levels are black and white"
"""What to do about levels that mean nothing by themselves."""


class Undecodable(InputError):
    """A file is no image that can be used.

    Attributes:
        path: the file's.
        reason: in a few words.
        damaged: whether the file is to blame; False where it lacks only a declaration of what its levels mean.
    """

    def __init__(self, path: str | Path, reason: str, damaged: bool = True) -> None:
        super().__init__(f"{path}: {reason}" + ("" if damaged else f"; {DECLARE}"))
        self.path, self.reason, self.damaged = str(path), reason, damaged


@contextlib.contextmanager
def open_image(path: str | Path) -> Iterator[Image.Image]:
    """An image file, whatever its suffix; inside, whatever makes decoding it fail is told as ``Undecodable``.

    Raises:
        Undecodable: it is no regular file, no raster image, damaged, or claims more than ``MOST_PIXELS``.
        OSError: the system cannot read it; no image is to blame for that.
    """
    if not stat.S_ISREG(Path(path).stat().st_mode):
        raise Undecodable(path, "it is no regular file")
    try:
        with open(path, "rb") as file, Image.open(file, formats=_formats()) as image:
            if image.width * image.height > MOST_PIXELS:
                raise Image.DecompressionBombError
            yield image
    except (Undecodable, MemoryError):
        raise
    except Image.DecompressionBombError:  # Pillow's limit, which may lie below ours one day
        reason = f"it claims more than {MOST_PIXELS:,} pixels, as no photograph has"
        raise Undecodable(path, reason) from None
    except UnidentifiedImageError:
        kinds = ", ".join(_formats())
        reason = f"it is no image ({kinds})" if Path(path).stat().st_size else "it is empty"
        raise Undecodable(path, reason) from None
    except Exception as error:  # anybody's file: Pillow raises what its parts raise
        if isinstance(error, OSError) and error.errno is not None:
            raise
        words = _REST.sub("", " ".join(str(error).split())) or type(error).__name__
        raise Undecodable(path, f"it is damaged ({words})") from error


def decoded(path: str | Path, levels: Levels | None = None) -> npt.NDArray[np.uint8]:
    """The colours of an image file, as ``colours``. Raises as ``open_image``."""
    with open_image(path) as image:
        return colours(image, path, levels)


def colours(image: Image.Image, path: str | Path, levels: Levels | None = None) -> npt.NDArray[np.uint8]:
    """The colours of an opened image as it is stored, uint8 (H, W, 3); of several frames, the first.

    Transparency is dropped, and what it hid is shown. A rotation in the EXIF is not applied, but for TIFF, which Pillow
    turns. Grey of 16 bits is scaled to 8, from 0 to 65,535 or else between ``levels``; colours of 16 bits lose their
    lower ones. Raises ``Undecodable`` for grey levels of 32 bits, integers or floats, where no levels are declared.
    """
    if image.mode == "F" or image.mode.startswith("I"):
        grey = _scaled(_deep(image), _levels(image, levels, path), path)
        return np.repeat(grey[..., None], 3, axis=2)
    opaque = image.convert("RGBA") if image.has_transparency_data else image
    return np.array(opaque if opaque.mode == "RGB" else opaque.convert("RGB"))  # convert would copy it once more


@cache
def _formats() -> tuple[str, ...]:
    """Those of ``FORMATS`` that can be decoded here."""
    with contextlib.suppress(ImportError):
        from pillow_heif import register_heif_opener

        register_heif_opener()
    Image.init()
    return tuple(name for name in FORMATS if name in Image.OPEN)


def _levels(image: Image.Image, declared: Levels | None, path: str | Path) -> Levels:
    """Black and white of deep grey levels. Raises ``Undecodable`` where they are neither declared nor usual."""
    tags = getattr(image, "tag_v2", {})
    if declared is not None:
        black, white = declared
    elif image.mode.startswith("I;16"):
        black, white = 0, 2 ** tags.get(_BITS, (16,))[0] - 1
    elif image.mode == "I" and image.format in _DEEP_AS_INTEGERS:
        black, white = 0, 65535
    else:
        kind = "floats" if image.mode == "F" else "32-bit integers"
        raise Undecodable(path, f"its grey levels are {kind} (mode {image.mode}) of no declared range", damaged=False)
    return (white, black) if tags.get(_WHITE_IS) == 0 else (black, white)


def _deep(image: Image.Image) -> npt.NDArray[Any]:
    """Grey levels as they are stored (H, W)."""
    stored = np.asarray(image)
    tags = getattr(image, "tag_v2", {})
    is_unsigned = image.format == "TIFF" and image.mode == "I" and tags.get(_SIGNS, (1,))[0] == 1
    return stored.view(np.uint32) if is_unsigned else stored


def _scaled(stored: npt.NDArray[Any], levels: Levels, path: str | Path) -> npt.NDArray[np.uint8]:
    """Grey levels as 0 to 255, those beyond black and white as these."""
    black, white = levels
    scaled = (stored.astype(np.float64) - black) / ((white - black) / 255)
    if np.isnan(scaled).any():
        raise Undecodable(path, "it has grey levels that are no numbers")
    return np.rint(np.clip(scaled, 0, 255)).astype(np.uint8)

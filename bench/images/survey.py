"""A survey of a dataset's image files: each is decoded once, and what was seen of it is kept.

So a damaged image is named before anything is trained, and images that lie in two splits are noticed. The survey lies
in the results folder's cache, may be deleted at any time, and is believed of each file only while its size and time are
the same.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import time
import warnings
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import msgspec
import numpy as np
import numpy.typing as npt
import PIL
from PIL import ExifTags, Image

from bench.cards.backbone import file_sha256
from bench.device.limits import usable_cores
from bench.images.likeness import alike, likeness
from bench.images.raster import DECLARE, Levels, Undecodable, colours, open_image
from bench.notation import counted
from bench.records.files import write_file
from bench.spec import digest

FORMAT = 1
"""Raised when something else is kept of an image, or is found out in another way."""

NAMED = 5
"""Of the images that cannot be used, those that are named where people read; a file has all."""

PART = ""
"""The split of a survey that was interrupted: what was looked at until then, whatever its splits."""

KEPT_EVERY = 60.0
"""Seconds of looking after which what was seen is kept, so that a kill costs no more."""

Kept = TypeVar("Kept", bound=msgspec.Struct)

Progress = Callable[[int, int], None]
"""Is told how many images are decoded, and of how many."""


class Surveyed(msgspec.Struct, frozen=True, array_like=True):
    """What was seen of an image file.

    Attributes:
        size, changed: bytes, and when they were written in ns; by them a file is known again.
        problem: why it cannot be used; empty where it can.
        damaged: whether the file is to blame for that.
        sha256: of its bytes.
        width, height: in pixels, as stored.
        rotation: EXIF's orientation; 1 is upright.
        likeness: ``bench.images.likeness.likeness``.
    """

    path: str
    size: int
    changed: int
    problem: str = ""
    damaged: bool = False
    sha256: str = ""
    width: int = 0
    height: int = 0
    rotation: int = 1
    likeness: bytes = b""


class Survey(msgspec.Struct, frozen=True):
    """What was seen of a dataset's images.

    Attributes:
        splits: the images of each split, in its order.
        alike: pairs of images of different splits that look alike: split and place of each. The larger split, which
            is that of training as a rule, stands first.
    """

    splits: dict[str, list[Surveyed]]
    alike: list[tuple[str, int, str, int]]

    @property
    def images(self) -> list[Surveyed]:
        """All of them."""
        return [image for images in self.splits.values() for image in images]

    @property
    def unusable(self) -> list[Surveyed]:
        """Those that cannot be decoded."""
        return [image for image in self.images if image.problem]

    def damaged(self, split: str) -> list[int]:
        """The places of a split's damaged images."""
        return [place for place, image in enumerate(self.splits[split]) if image.damaged]


def survey_file(folder: Path, place: str, levels: Levels | None) -> Path:
    """Where in a results folder the survey of the dataset at a place lies; each kind of decoder has its own."""
    return folder / "cache" / f"images-{digest([FORMAT, place, levels, PIL.__version__])}.json"


def survey(
    splits: Mapping[str, Sequence[str | Path]],
    kept: Path | None = None,
    levels: Levels | None = None,
    progress: Progress = lambda done, count: None,
) -> Survey:
    """Look at the images of splits: decode all that are not as they were when the ``kept`` file was written.

    What was seen is kept once a minute and when that is interrupted too, so that the next one goes on from there.
    ``levels`` are black and white of grey levels of more than 8 bits, where they are declared. Where the file cannot be
    written, nothing is kept. Raises ``OSError``: the system cannot read an image; no image is to blame for that.
    """
    earlier = read_survey(kept) if kept else None
    seen = {image.path: image for image in earlier.images} if earlier else {}
    wanted = list(dict.fromkeys(str(path) for paths in splits.values() for path in paths))
    new = [path for path in wanted if path not in seen or stamp(path) != (seen[path].size, seen[path].changed)]
    written, number = time.monotonic(), 0
    try:
        for number, image in enumerate(_looks(new, levels), 1):
            seen[image.path] = image
            progress(number, len(new))
            if time.monotonic() - written > KEPT_EVERY:
                keep(kept, Survey({PART: list(seen.values())}, []))
                written = time.monotonic()
    except KeyboardInterrupt:
        if number:
            keep(kept, Survey({PART: list(seen.values())}, []))
        raise
    surveyed = {split: [seen[str(path)] for path in paths] for split, paths in splits.items()}
    if earlier and earlier.splits == surveyed:
        return earlier
    made = Survey(surveyed, _alike(surveyed))
    keep(kept, made)
    return made


def keep(kept: Path | None, seen: msgspec.Struct) -> None:
    """Write a survey, where there is a place for it that can be written."""
    if kept:
        with contextlib.suppress(OSError, UnicodeEncodeError):  # a name need not be UTF-8
            body = msgspec.json.encode(seen)
            write_file(kept, _checksum(body) + b"\n" + body)


def survey_pixels(splits: Mapping[str, npt.NDArray[np.uint8]]) -> Survey:
    """Look at the images of splits that are in memory, (N, H, W, C)."""
    surveyed = dict[str, list[Surveyed]]()
    for split, images in splits.items():
        height, width, channels = images.shape[1:]
        surveyed[split] = []
        for place, pixels in enumerate(images):
            sha256 = hashlib.sha256(pixels.tobytes()).hexdigest()
            looks = likeness(np.repeat(pixels, 3 // channels, axis=2))
            seen = Surveyed(
                f"{split}[{place}]", pixels.nbytes, 0, sha256=sha256, width=width, height=height, likeness=looks
            )
            surveyed[split].append(seen)
    return Survey(surveyed, _alike(surveyed))


def read_survey(path: Path) -> Survey | None:
    """A survey of images that was kept; None where there is none, or it is damaged."""
    return read_kept(path, Survey)


def read_kept(path: Path, kind: type[Kept]) -> Kept | None:
    """What ``keep`` wrote; None where there is nothing of that kind, or it is damaged."""
    try:
        checksum, _, body = path.read_bytes().partition(b"\n")
        return msgspec.json.decode(body, type=kind) if checksum == _checksum(body) else None
    except (OSError, msgspec.MsgspecError):
        return None


def problems_of(
    name: str,
    unusable: Sequence[Surveyed],
    count: int,
    kept: Path | None = None,
    root: Path | None = None,
    named: int = NAMED,
    advice: str = "",
) -> list[str]:
    """What is said of a dataset's images that cannot be used: how many, the first of them, and where all are listed.

    ``count`` is the number of the dataset's images, and the name may be empty. Where there are more than are named, and
    a survey is ``kept``, a file beside it lists all. Paths are those from the ``root``, if it is in the name. Where no
    ``advice`` is given, what is to be done follows from what is wrong.
    """
    images = counted(count, "image")
    lines = [f"{name}{': ' * bool(name)}{len(unusable):,} of {images} cannot be used"]
    inside = f"{root}/" if root else ""
    lines += [f"{image.path.removeprefix(inside)}: {image.problem}" for image in unusable[:named]]
    more = len(unusable) - named
    if more > 0:
        place = _listed(unusable, kept) if kept else ""
        lines.append(f"and {more:,} more" + (f"; {place} lists all" if place else ""))
    if advice:
        return [*lines, advice]
    if not all(image.damaged for image in unusable):
        alone = not any(image.damaged for image in unusable)
        lines.append(DECLARE + "; or remove them, which are not damaged" * alone)
    if any(image.damaged for image in unusable):
        lines.append("mend or remove damaged ones; of a folder, --skip-damaged leaves them out")
    return lines


def _listed(unusable: Sequence[Surveyed], kept: Path) -> str:
    """Write a list of images that cannot be used; empty where that is not possible."""
    path = kept.with_suffix(".txt")
    lines = "".join(f"{image.path}\t{image.problem}\n" for image in unusable)
    try:
        write_file(path, lines.encode(errors="surrogateescape"))
    except OSError:
        return ""
    return str(path)


def _looks(paths: Sequence[str], levels: Levels | None) -> Iterator[Surveyed]:
    """Each file once it was looked at, in order; by one thread a core, since decoders let others compute meanwhile."""
    with warnings.catch_warnings(), ThreadPoolExecutor(usable_cores()) as pool:
        warnings.simplefilter("ignore")  # of metadata that are odd: what matters is whether there are pixels
        for start in range(0, len(paths), 32 * usable_cores()):
            yield from pool.map(lambda path: _look(path, levels), paths[start : start + 32 * usable_cores()])


def _look(path: str, levels: Levels | None) -> Surveyed:
    """Decode an image file."""
    size, changed = stamp(path)
    try:
        with open_image(path) as image:
            rotation = _rotation(image)
            pixels = colours(image, path, levels)
    except Undecodable as error:
        return Surveyed(path, size, changed, problem=error.reason, damaged=error.damaged)
    height, width = pixels.shape[:2]
    return Surveyed(
        path,
        size,
        changed,
        sha256=file_sha256(Path(path)),
        width=width,
        height=height,
        rotation=rotation,
        likeness=likeness(pixels),
    )


def _rotation(image: Image.Image) -> int:
    """EXIF's orientation; 1 where there is none that could be read, and of TIFF, which Pillow turns as it says."""
    if image.format == "TIFF":
        return 1
    try:
        rotation = image.getexif().get(ExifTags.Base.Orientation, 1)
    except Exception:  # anybody's metadata: what matters is whether there are pixels
        return 1
    return rotation if rotation in range(1, 9) else 1


def stamp(path: str) -> tuple[int, int]:
    """By what a file is known again. Raises ``OSError``."""
    status = os.stat(path)
    return status.st_size, status.st_mtime_ns


def _alike(splits: Mapping[str, Sequence[Surveyed]]) -> list[tuple[str, int, str, int]]:
    names = sorted(splits, key=lambda name: -len(splits[name]))
    hashes = {name: [image.likeness for image in splits[name]] for name in names}
    pairs = []
    for at, first in enumerate(names):
        for second in names[at + 1 :]:
            pairs += [(first, left, second, right) for left, right in alike(hashes[first], hashes[second])]
    return pairs


def _checksum(body: bytes) -> bytes:
    return f"{zlib.crc32(body):08x}".encode()

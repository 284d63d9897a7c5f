"""The cache: images decoded once, kept as uint8 in memory-mapped files that all processes of a grid share.

A file holds the pixels of a split's images one after another, then an index, then a fixed-size end. It is written as
a draft and renamed into place when it is whole; one process of many writes it (``bench.records.lease``). Files are
named by what they hold and never change, so they may be deleted at any time: the images are decoded again.
"""

from __future__ import annotations

import contextlib
import mmap
import os
import shutil
import struct
import sys
import time
import uuid
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import PIL
import torch
import torchvision
from PIL import features
from torch import Tensor

from bench.data.augment import PHOTO, resized, shrunk
from bench.data.dataset import Dataset, FileImages, Images, Indices
from bench.device.limits import usable_cores
from bench.errors import InputError
from bench.images.raster import Undecodable
from bench.images.survey import Surveyed, problems_of
from bench.records.lease import claimed, wait_for
from bench.spec import digest

FORMAT = 1
"""Raised when the files are laid out in another way."""

END = struct.Struct("<8sqI")
"""The end of a file: a mark, the number of images and the checksum of the index."""

MARK = b"pixels\x00\x01"

ROW = np.dtype([("start", "<i8"), ("height", "<i4"), ("width", "<i4"), ("channels", "<i4"), ("crc", "<u4")])
"""The index: where an image starts, its shape and checksum."""

NORESERVE = getattr(mmap, "MAP_NORESERVE", 0x4000 if sys.platform == "linux" else 0)
"""Python names it since 3.13. Without it a private map may not be larger than the machine's memory."""

PAUSE = 10.0
"""Seconds between lines that say how far the decoding is."""

SAMPLED = 16
"""Images that are decoded to estimate how large a file will be."""

_open_files: dict[Path, _File] = {}


Phase = Callable[[str, int, int], None]
"""Is told what goes on, of how many images it is done, and of how many in all; 0 of 0 where that is not known."""


def cached(
    dataset: Dataset,
    means: str,
    folder: Path,
    size: int = 0,
    augmentation: str = "",
    progress: Phase = lambda what, done, of: None,
) -> Dataset:
    """The dataset with its image files decoded once. Images in memory are left alone, and so are results.

    Kept are the originals. Where the size and the augmentation of a run are given, what every view of it would resize
    to is kept instead, which is smaller: squeezed images for ``none`` and ``shift``, and for photographs the validation
    and test images as their test view scales them. What a model is given is the same, bit for bit.

    Where the folder, which is made if it is missing, cannot be written or is too small, the images are decoded each
    time, and a line says so. ``means`` is the digest of the dataset's content, from its card. ``progress`` is told
    often how far the decoding is, and now and then that another process is waited for.

    Raises:
        InputError: images cannot be decoded; it names them.
        OSError: the system cannot read one.
    """

    splits: dict[str, Any] = {}
    unusable: list[Surveyed] = []
    for name, split in dataset.splits.items():
        if isinstance(split.images, FileImages):
            kind = _kind(name, size, augmentation)
            try:
                images = _cached_images(split.images, f"{name} images", [means, name], kind, folder, progress)
            except _Unusable as error:
                unusable += error.images
                continue
            splits[name] = replace(split, images=images)
    if unusable:
        count = sum(len(split) for split in dataset.splits.values())
        raise InputError("; ".join(problems_of("", unusable, count, folder / f"images-{means}")))
    return replace(dataset, **splits)


class _Unusable(Exception):
    """Images of a split that cannot be decoded."""

    def __init__(self, images: list[Surveyed]) -> None:
        self.images = images


class _Unreadable(Exception):
    """The system cannot read an image; that is no fault of the cache's folder."""

    def __init__(self, error: OSError) -> None:
        self.error = error


@dataclass(frozen=True)
class Kind:
    """What is kept of an image.

    Attributes:
        name: part of the file's name.
        prepare: from a decoded image to what is kept, uint8 (C, H, W).
        one_size: all have the same shape and are taken as one tensor.
    """

    name: str
    prepare: Callable[[Tensor], Tensor]
    one_size: bool = False


@dataclass(frozen=True)
class CachedImages:
    """Images in a memory-mapped file. What is taken shares its memory and must not be written to.

    Each image is checked against its checksum when it is first taken; a damaged one is decoded from its own file, and
    the cache is deleted, to be built anew by the next process that opens it.
    """

    file: _File
    kind: Kind
    source: Images

    def __len__(self) -> int:
        return len(self.file.index)

    def take(self, indices: Indices) -> Tensor | list[Tensor]:
        """What decoding would give: uint8 (C, H, W) each; one tensor (B, C, H, W) where all were made one size."""
        images = [self._image(int(index)) for index in indices]
        return torch.stack(images) if self.kind.one_size else images

    def sizes(self, indices: Indices) -> Indices:
        """As ``bench.data.dataset.sizes_of``, from the index alone."""
        rows = self.file.index[indices]
        return np.stack([rows["height"], rows["width"]], 1).astype(np.int64)

    def _image(self, index: int) -> Tensor:
        image = self.file.read(index, planar=self.kind.one_size)
        return self.kind.prepare(_decoded(self.source, index)) if image is None else image


@dataclass(frozen=True)
class _File:
    """A file of the cache, mapped: its bytes, a ``ROW`` an image, and whose checksum was right in this process."""

    path: Path
    pixels: npt.NDArray[np.uint8]
    index: npt.NDArray[Any]
    sound: npt.NDArray[np.bool_] = field(repr=False)

    def read(self, index: int, planar: bool) -> Tensor | None:
        """An image (C, H, W), kept channel by channel or pixel by pixel; None where what is kept is damaged."""
        start, height, width, channels, crc = self.index[index].item()
        stored = self.pixels[start : start + height * width * channels]
        if not (self.sound[index] or self._is_sound(index, stored, crc)):
            return None
        image = torch.from_numpy(stored)
        if planar:
            return image.view(channels, height, width)
        return image.view(height, width, channels).permute(2, 0, 1)

    def _is_sound(self, index: int, stored: npt.NDArray[np.uint8], crc: int) -> bool:
        self.sound[index] = zlib.crc32(stored.data) == crc
        if not self.sound[index] and _open_files.pop(self.path, None) is not None:  # several threads may read
            print(f"{self.path} is damaged: it will be built anew", flush=True)
            with contextlib.suppress(OSError):
                self.path.unlink()
        return bool(self.sound[index])


def _kind(split: str, size: int, augmentation: str) -> Kind:
    if size and augmentation in ("none", "shift"):
        return Kind(f"squeezed{size}", lambda image: resized([image], size)[0], one_size=True)
    if size and augmentation in PHOTO and split != "train":
        return Kind(f"shrunk{size}", lambda image: shrunk(image, size))
    return Kind("original", lambda image: image)


def _cached_images(
    source: FileImages, label: str, means: list[str], kind: Kind, folder: Path, progress: Phase
) -> Images:
    """The images of a split from their file, which is built where it is missing or damaged."""
    # other versions may decode or resize a grey level off
    versions = [PIL.__version__, features.version("libjpeg_turbo"), torch.__version__, torchvision.__version__]
    key = digest([FORMAT, *means, kind.name, versions])
    path, claim = folder / f"{kind.name}-{key}.pixels", folder / f"{key}.claim"

    def arrived() -> bool:
        progress("waiting for images", 0, 0)
        return _opened(path, len(source)) is not None

    try:
        while (file := _opened(path, len(source))) is None:
            with claimed(claim) as ours:
                if ours and _opened(path, len(source)) is None:
                    _build(path, source, kind, label, progress)
            if not ours:
                print(f"another process is decoding the {label}: waiting for it", flush=True)
                wait_for(arrived, claim)
            if _opened(path, len(source)) is None and (ours or not claim.exists()):
                raise OSError("the file could not be made" if ours else "the process that was to decode them gave up")
    except OSError as error:
        print(f"no cache of the {label} in {folder} ({error}): they are decoded each time", flush=True)
        return source
    except _Unreadable as failure:
        raise failure.error from None
    return CachedImages(file, kind, source)


def _opened(path: Path, count: int) -> _File | None:
    """The file at a path if it is whole and holds so many images. Raises ``OSError`` where it cannot be read."""
    if path in _open_files:
        return _open_files[path]
    try:
        with path.open("rb") as file:
            if os.fstat(file.fileno()).st_size < END.size + count * ROW.itemsize:
                return None
            # private: torch wants memory that can be written, and what is written never reaches the file
            mapped = mmap.mmap(file.fileno(), 0, flags=mmap.MAP_PRIVATE | NORESERVE)
    except FileNotFoundError:
        return None
    pixels = np.frombuffer(mapped, np.uint8)
    rows = pixels[-END.size - count * ROW.itemsize : -END.size]
    if END.unpack(pixels[-END.size :].tobytes()) != (MARK, count, zlib.crc32(rows.data)):
        return None
    index = np.frombuffer(rows.tobytes(), ROW)
    used = int((index["height"].astype(np.int64) * index["width"] * index["channels"]).sum())
    if len(pixels) != used + len(rows) + END.size or not index["height"].all():  # 0: once an image was damaged
        return None
    return _open_files.setdefault(path, _File(path, pixels, index, np.zeros(count, dtype=bool)))


def _build(path: Path, source: FileImages, kind: Kind, label: str, progress: Phase) -> None:
    """Decode all images into a file.

    Raises:
        OSError: it cannot be written.
        _Unusable: images cannot be decoded: nothing is written.
        _Unreadable: the system cannot read one.
    """
    for abandoned in path.parent.glob(f".{path.name}.*.draft"):  # by builders that died: the claim is ours
        abandoned.unlink(missing_ok=True)
    _check_space(path.parent, source, kind)
    draft = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.draft")
    index, unusable = np.zeros(len(source), ROW), list[Surveyed]()
    try:
        with draft.open("wb") as file:
            start = 0
            for number, image in enumerate(_prepared(source, kind, label, progress)):
                if isinstance(image, Undecodable):
                    unusable.append(Surveyed(str(source.paths[number]), 0, 0, image.reason, image.damaged))
                elif not unusable:
                    stored = image.contiguous() if kind.one_size else image.permute(1, 2, 0).contiguous()
                    data = stored.numpy().tobytes()
                    channels, height, width = image.shape
                    index[number] = (start, height, width, channels, zlib.crc32(data))
                    start += file.write(data)
            if unusable:
                raise _Unusable(unusable)
            file.write(index.tobytes() + END.pack(MARK, len(index), zlib.crc32(index.tobytes())))
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)


def _prepared(source: Images, kind: Kind, label: str, progress: Phase) -> Iterator[Tensor | Undecodable]:
    """The images in order, prepared by one thread a core; or why one cannot be decoded."""

    def prepare(index: int) -> Tensor | Undecodable:
        try:
            return kind.prepare(_decoded(source, index))
        except Undecodable as error:
            return error
        except OSError as error:
            raise _Unreadable(error) from error

    printed = time.monotonic()
    with ThreadPoolExecutor(usable_cores()) as pool:
        for start in range(0, len(source), 32 * usable_cores()):
            stop = min(start + 32 * usable_cores(), len(source))
            yield from pool.map(prepare, range(start, stop))
            progress("decoding", stop, len(source))
            if time.monotonic() - printed > PAUSE:
                printed = time.monotonic()
                print(f"decoding {len(source):,} {label} once: {stop / len(source):.0%}", flush=True)


def _check_space(folder: Path, source: Images, kind: Kind) -> None:
    """Raise ``OSError`` where the file would take more than half of what is free: records need room as well."""
    sizes = []
    for index in np.linspace(0, len(source) - 1, min(SAMPLED, len(source))).astype(int).tolist():
        with contextlib.suppress(Exception):
            sizes.append(kind.prepare(_decoded(source, index)).numel())
    needed, free = len(source) * sum(sizes) / max(1, len(sizes)), shutil.disk_usage(folder).free
    if needed > free / 2:
        raise OSError(f"it would take about {needed / 1e9:,.1f} GB of the {free / 1e9:,.1f} GB that are free")


def _decoded(source: Images, index: int) -> Tensor:
    return source.take(np.array([index]))[0]

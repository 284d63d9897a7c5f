"""Pictures for tests."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

Pixels = npt.NDArray[np.uint8]


def scene(seed: int, height: int = 48, width: int = 64) -> Pixels:
    """Something like a photograph: shapes of several sizes, uint8 (H, W, 3)."""
    state = np.random.RandomState(seed)
    mixed = np.zeros((height, width, 3))
    for side, share in ((4, 0.4), (8, 0.3), (16, 0.3)):
        shapes = Image.fromarray(state.randint(0, 256, (side, side, 3)).astype(np.uint8))
        mixed += share * np.asarray(shapes.resize((width, height), Image.Resampling.BICUBIC))
    return mixed.astype(np.uint8)


def save(path: Path, seed: int = 0, height: int = 48, width: int = 64) -> Path:
    """A file with a scene."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(scene(seed, height, width)).save(path)
    return path


def folder(root: Path, train: int = 4, test: int = 2, classes: str = "ab") -> Path:
    """A folder of images by split and class; no two are alike."""
    seed = 0
    for split, count in (("train", train), ("test", test)):
        for name in classes:
            for number in range(count):
                save(root / split / name / f"{number}.png", seed := seed + 1)
    return root


def bomb(path: Path) -> Path:
    """A PNG of a few bytes that claims to be gigantic."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 0, 0, 0, 0)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", b"") + chunk(b"IEND", b""))
    return path

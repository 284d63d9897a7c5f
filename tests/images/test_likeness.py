"""Images that look alike are told from those that do not."""

from __future__ import annotations

import io
from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image

from bench.images.likeness import NEAR, alike, likeness
from tests.images.pictures import Pixels, scene


def distance(first: bytes, second: bytes) -> int:
    """Bits in which two hashes differ."""
    return (int.from_bytes(first, "big") ^ int.from_bytes(second, "big")).bit_count()


def compressed(pixels: Pixels, quality: int) -> Pixels:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "JPEG", quality=quality)
    return np.array(Image.open(stream))


def scaled(pixels: Pixels, factor: float) -> Pixels:
    height, width = pixels.shape[:2]
    return np.array(Image.fromarray(pixels).resize((round(width * factor), round(height * factor))))


SAME: dict[str, Callable[[Pixels], Pixels]] = {
    "as it is": lambda pixels: pixels,
    "compressed": lambda pixels: compressed(pixels, 75),
    "halved": lambda pixels: scaled(pixels, 0.5),
    "doubled": lambda pixels: scaled(pixels, 2),
    "darker": lambda pixels: (pixels * 0.8).astype(np.uint8),
    "grey": lambda pixels: np.array(Image.fromarray(pixels).convert("L").convert("RGB")),
}


@pytest.mark.parametrize("change", SAME)
def test_the_same_picture_in_another_form_is_alike(change: str) -> None:
    for seed in range(5):
        pixels = scene(seed, 120, 160)
        assert distance(likeness(pixels), likeness(SAME[change](pixels))) <= NEAR


def test_a_hash_has_256_bits_half_of_which_are_set() -> None:
    made = likeness(scene(0))
    assert len(made) == 32
    assert 126 <= int.from_bytes(made, "big").bit_count() <= 128


def test_other_pictures_are_far_and_so_are_mirrored_ones() -> None:
    hashes = [likeness(scene(seed)) for seed in range(40)]
    assert alike(hashes[:20], hashes[20:]) == []
    assert min(distance(first, second) for first in hashes[:20] for second in hashes[20:]) > 2 * NEAR
    assert distance(likeness(scene(0)), likeness(np.ascontiguousarray(scene(0)[:, ::-1]))) > 2 * NEAR


@pytest.mark.parametrize(
    "pixels", [np.full((40, 40, 3), 200, np.uint8), np.zeros((9, 9, 3), np.uint8), scene(0, 15, 60), scene(0, 60, 8)]
)
def test_what_shows_too_little_is_like_nothing(pixels: Pixels) -> None:
    assert likeness(pixels) == b""
    assert alike([likeness(pixels)], [likeness(pixels)]) == []


def test_all_pairs_are_compared_whatever_the_block(monkeypatch: pytest.MonkeyPatch) -> None:
    state = np.random.RandomState(0)
    left = [state.bytes(32) for _ in range(23)]
    right = [state.bytes(32) for _ in range(17)]
    right[3], right[16], left[7] = left[5], left[22], b""
    changed = int.from_bytes(left[0], "big") ^ (2**NEAR - 1)
    right[0] = changed.to_bytes(32, "big")
    right[1] = (changed ^ (1 << 200)).to_bytes(32, "big")
    expected = [(0, 0), (5, 3), (22, 16)]
    assert alike(left, right) == expected
    monkeypatch.setattr("bench.images.likeness._BLOCK", 4)
    assert alike(left, right) == expected
    assert alike([], right) == alike(left, []) == []

"""Masks that are looked at before anything is trained on them, and what is kept of that."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from bench.images.masks import unusable_masks
from bench.images.survey import survey


def problems(root: Path, counts: list[int]) -> list[str]:
    """What stands against a mask of 8 × 6 pixels for an image of that size, of three classes."""
    images = survey({"train": [root / "image.png"]}).splits
    masks = {"train": [root / "mask.png"]}
    odd = unusable_masks(images, masks, 3, root / "kept.json", lambda done, count: counts.append(count))
    return [mask.problem for mask in odd]


def test_what_was_seen_is_kept_and_believed_only_as_it_was_written(tmp_path: Path) -> None:
    Image.fromarray(np.zeros((6, 8, 3), np.uint8)).save(tmp_path / "image.png")
    Image.fromarray(np.full((6, 8), 2, np.uint8)).save(tmp_path / "mask.png")
    counts: list[int] = []
    assert problems(tmp_path, counts) == []
    assert problems(tmp_path, counts) == []
    assert counts == [1]  # the second time nothing is decoded
    kept = tmp_path / "kept.json"
    assert b",8,6,2]" in kept.read_bytes()
    kept.write_bytes(kept.read_bytes().replace(b",8,6,2]", b",8,6,7]"))
    assert problems(tmp_path, counts) == []
    assert counts == [1, 1]
    Image.fromarray(np.full((6, 8), 7, np.uint8)).save(tmp_path / "mask.png")
    allowed = "there are 3 classes: levels are 0 to 2, and 255 is left out"
    assert problems(tmp_path, counts) == [f"it has the level 7, and {allowed}"]

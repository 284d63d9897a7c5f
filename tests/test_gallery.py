"""The gallery: a picture of every kind, none of them large, and a command beside each."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from PIL import Image

from bench.figures.figure import KINDS, about
from benchmarks.gallery import MOST_BYTES, SCORED, shrink

DOCS = Path(__file__).parent.parent / "docs"
WITHOUT_PICTURE = {"segmentation"}
"""Kinds that the digits cannot have: they have no masks."""


def test_it_has_every_kind_with_a_picture_that_is_not_large() -> None:
    page = (DOCS / "gallery.md").read_text(encoding="utf-8")
    assert {*re.findall(r"^## (\w+)$", page, re.MULTILINE)} == {*KINDS}
    assert all(f"{about(kind)}." in page for kind in KINDS)
    pictures = {Path(place).stem: DOCS / place for place in re.findall(r"!\[\w+\]\((\S+)\)", page)}
    assert pictures.keys() == {*KINDS} - WITHOUT_PICTURE
    assert all(path.stat().st_size <= MOST_BYTES for path in pictures.values())
    assert {*SCORED} < {*KINDS}
    assert {path.stem for path in (DOCS / "gallery").iterdir()} == pictures.keys()


def test_it_names_no_place_of_the_machine_that_drew_it() -> None:
    page = (DOCS / "gallery.md").read_text(encoding="utf-8")
    assert not re.search(r"(^|[\s'`])/\w", page)


def test_a_picture_becomes_small_and_keeps_its_colours(tmp_path: Path) -> None:
    path, blue = tmp_path / "plain.png", (0, 0x72, 0xB2)
    Image.new("RGB", (990, 600), blue).save(path)
    shrink(path)
    with Image.open(path) as picture:
        assert picture.convert("RGB").getpixel((5, 5)) == blue
        assert picture.size == (990, 600)
    Image.effect_noise((990, 600), 90).convert("RGB").save(path)
    with pytest.raises(SystemExit, match="bytes are too many for the page"):
        shrink(path)
    dots = Image.new("RGB", (990, 600), "white")
    for at in range(0, 990 * 600, 7):
        dots.putpixel((at % 990, at * at % 600), blue)
    dots.save(path)
    shrink(path)
    assert path.stat().st_size <= MOST_BYTES

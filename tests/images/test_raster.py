"""Which files are opened as images, and what their colours are in 8 bits."""

from __future__ import annotations

import io
import os
import pickle
import struct
import subprocess
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from bench.data.dataset import MaskFiles
from bench.images.raster import Undecodable, decoded
from bench.launch.failures import failure_class
from tests.images.pictures import bomb, save, scene

GREY = np.tile(np.arange(0, 256, 8, dtype=np.uint8), (32, 1))
COLOUR = np.stack([GREY, GREY.T, 255 - GREY], axis=2)


def stored(path: Path, image: Image.Image, **settings: Any) -> Path:
    image.save(path, **settings)
    return path


def jpeg(pixels: Any = COLOUR, **settings: Any) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "JPEG", **settings)
    return stream.getvalue()


# ---- what is no image


def cut(path: Path) -> None:
    content = save(path.with_name("whole.png")).read_bytes()
    path.write_bytes(content[: len(content) // 2])


def cut_jpeg(path: Path) -> None:
    content = jpeg(scene(0, 300, 300))
    path.write_bytes(content[: len(content) // 2])


def cut_progressive_jpeg(path: Path) -> None:
    content = jpeg(scene(0, 300, 300), progressive=True)
    path.write_bytes(content[: len(content) // 2])


def zipped(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.txt", "a" * 100)


def text_bomb(path: Path) -> None:
    chunks = PngImagePlugin.PngInfo()
    chunks.add_text("Comment", "x" * (8 << 20), zip=True)
    Image.fromarray(COLOUR).save(path, pnginfo=chunks)


def broken_checksum(path: Path) -> None:
    content = bytearray(save(path).read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(content)


BAD: dict[str, tuple[Callable[[Path], object], str]] = {
    "empty": (lambda path: path.write_bytes(b""), "it is empty"),
    "text": (lambda path: path.write_text("not an image"), "it is no image (JPEG, PNG,"),
    "cut png": (cut, "it is damaged (image file is truncated"),
    "cut jpeg": (cut_jpeg, "it is damaged (image file is truncated"),
    "cut progressive jpeg": (cut_progressive_jpeg, "it is damaged (image file is truncated"),
    "pickle": (lambda path: path.write_bytes(pickle.dumps({"a": 1})), "it is no image"),
    "zip": (zipped, "it is no image"),
    "text bomb": (text_bomb, "it is damaged (Decompressed data too large"),
    "flipped bits": (broken_checksum, "it is damaged ("),
    "bomb": (bomb, "it claims more than 160,000,000 pixels"),
    "html": (lambda path: path.write_text("<html>404</html>"), "it is no image"),
    "svg": (lambda path: path.write_text('<svg xmlns="http://www.w3.org/2000/svg"/>'), "it is no image"),
}


@pytest.mark.parametrize("kind", BAD)
@pytest.mark.parametrize("suffix", [".png", ".jpg", ".tif"])
def test_what_cannot_be_decoded_is_named_with_the_reason(tmp_path: Path, kind: str, suffix: str) -> None:
    make, reason = BAD[kind]
    path = tmp_path / f"x{'.png' if kind in ('text bomb', 'flipped bits') else suffix}"
    make(path)
    with pytest.raises(Undecodable) as caught:
        decoded(path)
    assert str(caught.value).startswith(f"{path}: {reason}")
    assert "\n" not in str(caught.value)
    assert caught.value.damaged
    assert failure_class(caught.value) == "data"


@pytest.mark.parametrize("suffix", [".png", ".eps", ".jpg"])
@pytest.mark.parametrize(
    "content",
    [b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n", b"%PDF-1.4\n1 0 obj\n"],
)
def test_no_program_is_started_whatever_a_file_holds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes, suffix: str
) -> None:
    def refuse(*args: object, **settings: object) -> None:
        raise AssertionError("a program would be started")

    for name in ("Popen", "check_call", "run", "call"):
        monkeypatch.setattr(subprocess, name, refuse)
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "gs").write_text(f"#!/bin/sh\ntouch {tmp_path}/started\n")
    (tmp_path / "bin" / "gs").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"), prepend=os.pathsep)
    path = tmp_path / f"x{suffix}"
    path.write_bytes(content)
    with pytest.raises(Undecodable, match="it is no image"):
        decoded(path)
    with pytest.raises(Undecodable, match="it is no image"):
        MaskFiles((path,)).take(np.array([0]))
    assert not (tmp_path / "started").exists()


def test_only_regular_files_are_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "folder.png").mkdir()
    (tmp_path / "device.png").symlink_to("/dev/zero")
    for name in ("pipe", "folder", "device"):
        with pytest.raises(Undecodable, match=rf"{name}\.png: it is no regular file"):
            decoded(tmp_path / f"{name}.png")


def test_what_the_system_cannot_read_is_no_damage(tmp_path: Path) -> None:
    (tmp_path / "loop.png").symlink_to(tmp_path / "loop.png")
    for name in ("loop.png", "gone.png"):
        with pytest.raises(OSError, match=name) as caught:
            decoded(tmp_path / name)
        assert caught.value.filename == str(tmp_path / name)


def test_a_link_to_an_image_is_followed(tmp_path: Path) -> None:
    save(tmp_path / "a.png", 3)
    (tmp_path / "b.png").symlink_to(tmp_path / "a.png")
    assert np.array_equal(decoded(tmp_path / "b.png"), scene(3))


# ---- what is one


def test_the_content_decides_and_not_the_suffix(tmp_path: Path) -> None:
    (tmp_path / "photo.png").write_bytes(jpeg(quality=100))
    (tmp_path / "photo.bin").write_bytes(jpeg(quality=100))
    save(tmp_path / "a.png", 1).rename(tmp_path / "a.jpg")
    assert decoded(tmp_path / "photo.png") == pytest.approx(COLOUR, abs=40)
    assert np.array_equal(decoded(tmp_path / "photo.png"), decoded(tmp_path / "photo.bin"))
    assert np.array_equal(decoded(tmp_path / "a.jpg"), scene(1))


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".tif", ".ppm", ".webp"])
def test_formats_without_loss(tmp_path: Path, suffix: str) -> None:
    settings: dict[str, Any] = {"lossless": True} if suffix == ".webp" else {}
    path = stored(tmp_path / f"x{suffix}", Image.fromarray(COLOUR), **settings)
    assert np.array_equal(decoded(path), COLOUR)


@pytest.mark.parametrize("settings", [{}, {"progressive": True}, {"subsampling": 2}])
def test_jpegs(tmp_path: Path, settings: dict[str, Any]) -> None:
    path = stored(tmp_path / "x.jpg", Image.fromarray(COLOUR), quality=95, **settings)
    assert np.abs(decoded(path).astype(int) - COLOUR).mean() < 8


def test_of_several_frames_the_first_is_taken(tmp_path: Path) -> None:
    frames = [Image.fromarray(pixels) for pixels in (COLOUR, 255 - COLOUR, COLOUR[::-1])]
    for name in ("x.tif", "x.webp", "x.png", "x.gif"):
        path = tmp_path / name
        settings: dict[str, Any] = {"lossless": True} if name == "x.webp" else {}
        frames[0].save(path, save_all=True, append_images=frames[1:] * 20, **settings)
        assert np.abs(decoded(path).astype(int) - COLOUR).mean() < (8 if name == "x.gif" else 1)


COLOURS: dict[str, tuple[Image.Image, str, float]] = {
    "RGB": (Image.fromarray(COLOUR), ".png", 0),
    "RGBA": (Image.fromarray(np.dstack([COLOUR, GREY])), ".png", 0),
    "RGBA, clear": (Image.fromarray(np.dstack([COLOUR, 0 * GREY])), ".png", 0),
    "RGBX": (Image.fromarray(COLOUR).convert("RGBX"), ".tif", 0),
    "CMYK": (Image.fromarray(COLOUR).convert("CMYK"), ".tif", 0),
    "CMYK as JPEG": (Image.fromarray(COLOUR).convert("CMYK"), ".jpg", 8),
    "YCbCr": (Image.fromarray(COLOUR).convert("YCbCr"), ".tif", 4),
    "LAB": (Image.fromarray(COLOUR).convert("LAB"), ".tif", 4),
    "P": (Image.fromarray(COLOUR).quantize(256), ".png", 8),
}


@pytest.mark.parametrize("kind", COLOURS)
def test_colours_are_what_they_were(tmp_path: Path, kind: str) -> None:
    """Whatever is transparent shows the colour that is stored below."""
    image, suffix, within = COLOURS[kind]
    settings = {"quality": 95} if suffix == ".jpg" else {}
    pixels = decoded(stored(tmp_path / f"x{suffix}", image, **settings))
    assert pixels.shape == COLOUR.shape
    assert pixels.dtype == np.uint8
    assert np.abs(pixels.astype(int) - COLOUR).mean() <= within


DEEP = GREY.astype(np.uint16) * 257


@pytest.mark.parametrize(
    ("image", "suffix"),
    [
        (Image.fromarray(GREY), ".png"),
        (Image.fromarray(np.dstack([GREY, GREY[::-1]]), "LA"), ".png"),
        (Image.fromarray(DEEP), ".png"),
        (Image.fromarray(DEEP), ".tif"),
        (Image.fromarray(DEEP), ".pgm"),
        (Image.fromarray(DEEP.astype(">u2")), ".tif"),
    ],
)
def test_grey_is_what_it_was(tmp_path: Path, image: Image.Image, suffix: str) -> None:
    """Of 16 bits too: medical and depth images; clipped at 255 of 65,535 they would be all white."""
    assert np.array_equal(decoded(stored(tmp_path / f"x{suffix}", image)), np.repeat(GREY[..., None], 3, axis=2))


def test_black_and_white(tmp_path: Path) -> None:
    pixels = decoded(stored(tmp_path / "x.png", Image.fromarray(GREY > 100)))
    assert np.array_equal(pixels[..., 0], np.where(GREY > 100, 255, 0))


def test_colours_of_sixteen_bits(tmp_path: Path) -> None:
    """A PNG by hand, since Pillow writes none."""
    deep = COLOUR.astype(">u2") * 257
    rows = b"".join(b"\0" + row.tobytes() for row in deep)
    chunks = [
        (b"IHDR", struct.pack(">IIBBBBB", 32, 32, 16, 2, 0, 0, 0)),
        (b"IDAT", zlib.compress(rows)),
        (b"IEND", b""),
    ]
    content = b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body)) for kind, body in chunks
    )
    (tmp_path / "x.png").write_bytes(b"\x89PNG\r\n\x1a\n" + content)
    assert np.array_equal(decoded(tmp_path / "x.png"), COLOUR)


def test_where_level_zero_is_white(tmp_path: Path) -> None:
    path = stored(tmp_path / "x.tif", Image.fromarray(65535 - DEEP), tiffinfo={262: 0})
    with Image.open(path) as image:
        assert image.tag_v2[262] == 0  # type: ignore[attr-defined]
    assert np.array_equal(decoded(path)[..., 0], GREY)


# ---- what lacks a declaration


@pytest.mark.parametrize(
    ("levels", "kind"),
    [(GREY.astype(np.float32) / 255, "floats (mode F)"), (DEEP.astype(np.int32), "integers (mode I)")],
)
def test_deep_grey_is_refused_where_black_and_white_are_not_declared(tmp_path: Path, levels: Any, kind: str) -> None:
    path = stored(tmp_path / "x.tif", Image.fromarray(levels))
    with pytest.raises(Undecodable) as caught:
        decoded(path)
    assert str(path) in str(caught.value)
    assert kind in str(caught.value)
    assert "folder:PATH@range=LO:HI" in str(caught.value)
    assert not caught.value.damaged


@pytest.mark.parametrize(
    ("levels", "declared"),
    [
        (GREY.astype(np.float32) / 255, (0.0, 1.0)),
        (GREY.astype(np.float32) / 255 * 3000 - 1000, (-1000.0, 2000.0)),
        (DEEP.astype(np.int32), (0.0, 65535.0)),
        (DEEP.astype(np.int32) - 40000, (-40000.0, 25535.0)),
        ((GREY.astype(np.uint16) * 16), (0.0, 4080.0)),
    ],
)
def test_deep_grey_is_scaled_between_what_is_declared(
    tmp_path: Path, levels: Any, declared: tuple[float, float]
) -> None:
    path = stored(tmp_path / "x.tif", Image.fromarray(levels))
    assert np.array_equal(decoded(path, declared)[..., 0], GREY)


def test_levels_beyond_are_black_and_white_and_no_number_is_damage(tmp_path: Path) -> None:
    levels = np.array([[-1, 0, 1, 2, np.inf, -np.inf]], np.float32)
    path = stored(tmp_path / "x.tif", Image.fromarray(levels))
    assert decoded(path, (0, 1))[0, :, 0].tolist() == [0, 0, 255, 255, 255, 0]
    levels[0, 0] = np.nan
    path = stored(tmp_path / "y.tif", Image.fromarray(levels))
    with pytest.raises(Undecodable, match="levels that are no numbers"):
        decoded(path, (0, 1))


def test_a_declaration_leaves_other_images_alone(tmp_path: Path) -> None:
    assert np.array_equal(decoded(stored(tmp_path / "x.png", Image.fromarray(COLOUR)), (0, 1)), COLOUR)
    assert np.array_equal(decoded(stored(tmp_path / "y.png", Image.fromarray(GREY)), (0, 1))[..., 0], GREY)

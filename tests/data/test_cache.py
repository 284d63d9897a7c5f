"""The cache of decoded images: it changes no bit, is built once, and when it cannot be used nothing fails."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from bench.data import ArrayImages, Dataset, FileImages, Split, cache
from bench.data.augment import test_view as evaluation_view
from bench.data.augment import training_view
from bench.data.cache import CachedImages, cached
from bench.data.dataset import sizes_of
from bench.errors import InputError
from bench.launch.failures import failure_class
from tests.faults.nursery import started

SIZES = [(40, 30), (30, 41), (12, 12), (6, 5), (100, 7)]


@pytest.fixture(autouse=True)
def _fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a new process: no file is open."""
    forget()


def forget() -> None:
    cache._open_files.clear()


def files(folder: Path, count: int = 10, seed: int = 0) -> FileImages:
    """Images of several sizes, kinds of file and modes."""
    folder.mkdir(parents=True)
    state = np.random.RandomState(seed)
    paths = []
    for number in range(count):
        height, width = SIZES[number % len(SIZES)]
        image = Image.fromarray(state.randint(0, 256, (height, width, 3)).astype(np.uint8))
        paths.append(folder / f"{number}.{'png' if number % 2 else 'jpg'}")
        (image.convert("L") if number % 3 == 0 else image).save(paths[-1])
    deep = state.randint(0, 65536, (20, 33)).astype(np.uint16)
    Image.fromarray(deep).save(folder / "deep.png")
    Image.fromarray(state.randint(0, 256, (9, 30, 4)).astype(np.uint8)).save(folder / "clear.png")
    return FileImages((*paths, folder / "deep.png", folder / "clear.png"))


def dataset(root: Path, val: bool = True) -> Dataset:
    splits = {name: files(root / name, seed=seed) for seed, name in enumerate(("train", "val", "test"))}
    made = {name: Split(images, np.arange(len(images)) % 2) for name, images in splits.items()}
    return Dataset(["a", "b"], made["train"], made["val"] if val else None, made["test"])


def everything(images: Any) -> list[Tensor]:
    return list(images.take(np.arange(len(images))))


def pixel_files(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.pixels"))


# ---- nothing changes


def test_taken_images_are_those_of_the_files_bit_for_bit(tmp_path: Path) -> None:
    plain = dataset(tmp_path / "data")
    kept = cached(plain, "m", tmp_path / "cache")
    assert plain.val is not None
    assert kept.val is not None
    for before, after in ((plain.train, kept.train), (plain.val, kept.val), (plain.test, kept.test)):
        assert isinstance(after.images, CachedImages)
        assert len(after.images) == len(before.images)
        assert after.labels is before.labels
        for one, other in zip(everything(before.images), everything(after.images), strict=True):
            assert other.dtype == torch.uint8
            assert torch.equal(one, other)
    order = np.array([3, 0, 3, 11])
    chosen = kept.train.images.take(order)
    assert sizes_of(kept.train.images, order).tolist() == [list(image.shape[-2:]) for image in chosen]
    assert isinstance(chosen, list)
    assert all(torch.equal(a, b) for a, b in zip(chosen, plain.train.images.take(order), strict=True))
    assert kept.classes == plain.classes


@pytest.mark.parametrize("augmentation", ["none", "shift", "crop_flip", "randaugment", "deit", "contrastive"])
@pytest.mark.parametrize("size", [0, 16])
def test_views_are_the_same_bit_for_bit(tmp_path: Path, augmentation: str, size: int) -> None:
    plain = dataset(tmp_path / "data", val=False)
    kept = cached(plain, "m", tmp_path / "cache", size, augmentation)
    assert kept.val is None
    indices = np.array([5, 1, 1, 10, 11, 0, 9])
    for split in ("train", "test"):
        before, after = (getattr(each, split).images.take(indices) for each in (plain, kept))
        one, other = (evaluation_view(images, 16, augmentation) for images in (before, after))
        assert torch.equal(one, other)
        assert one.stride() == other.stride()
        if split == "train":
            one, other = (training_view(images, 16, augmentation, 3) for images in (before, after))
            assert torch.equal(one, other)
            assert one.stride() == other.stride()


def test_what_is_resized_anyway_is_kept_resized(tmp_path: Path) -> None:
    plain = dataset(tmp_path / "data")
    squeezed = cached(plain, "m", tmp_path / "cache", 16, "shift")
    taken = squeezed.train.images.take(np.array([4, 2]))
    assert isinstance(taken, Tensor)
    assert taken.shape == (2, 3, 16, 16)
    photo = cached(plain, "m", tmp_path / "cache", 14, "crop_flip")
    assert photo.val is not None
    assert [tuple(image.shape) for image in everything(photo.train.images)] == [
        tuple(image.shape) for image in everything(plain.train.images)
    ]
    for split in (photo.val, photo.test):
        assert {min(image.shape[1:]) for image in everything(split.images)} == {16}


def test_images_in_memory_are_left_alone(tmp_path: Path) -> None:
    split = Split(ArrayImages(np.zeros((3, 4, 4, 1), np.uint8)), np.zeros(3, dtype=np.int64))
    kept = cached(Dataset(["a"], split, None, split), "m", tmp_path / "cache")
    assert kept.train.images is split.images
    assert not (tmp_path / "cache").exists()


def test_writing_into_a_taken_image_does_not_reach_the_file(tmp_path: Path) -> None:
    plain = dataset(tmp_path / "data")
    cached(plain, "m", tmp_path / "cache").train.images.take(np.array([0]))[0].zero_()
    forget()
    again = cached(plain, "m", tmp_path / "cache").train.images
    assert torch.equal(again.take(np.array([0]))[0], plain.train.images.take(np.array([0]))[0])


# ---- built once


def test_the_images_are_not_decoded_again(tmp_path: Path) -> None:
    plain = dataset(tmp_path / "data")
    expected = everything(plain.train.images)
    cached(plain, "m", tmp_path / "cache")
    forget()
    shutil.rmtree(tmp_path / "data")
    found = cached(plain, "m", tmp_path / "cache").train.images
    assert all(torch.equal(a, b) for a, b in zip(expected, everything(found), strict=True))


def test_files_are_apart_by_content_split_kind_and_size(tmp_path: Path) -> None:
    plain = dataset(tmp_path / "data", val=False)
    folder = tmp_path / "cache"
    counts = []
    for means, size, augmentation in [
        ("m", 0, ""),
        ("m", 0, "none"),
        ("other", 0, ""),
        ("m", 16, "none"),
        ("m", 16, "shift"),
        ("m", 17, "none"),
        ("m", 16, "crop_flip"),
        ("m", 16, "deit"),
    ]:
        cached(plain, means, folder, size, augmentation)
        counts.append(len(pixel_files(folder)))
    assert counts == [2, 2, 4, 6, 6, 8, 9, 9]
    assert {path.suffix for path in folder.iterdir()} == {".pixels"}


def _open_and_report(root: Path, answer: Path) -> None:
    decodings: list[int] = []
    real = FileImages.take

    def take(self: FileImages, indices: Any) -> Any:
        decodings.extend(indices.tolist())
        time.sleep(0.02)
        return real(self, indices)

    split = Split(FileImages(tuple(sorted((root / "data").glob("*.png")))), np.zeros(40, dtype=np.int64))
    FileImages.take = take  # type: ignore[method-assign]
    images = cached(Dataset(["a"], split, None, split), "m", root / "cache").train.images
    total = sum(int(image.sum()) for image in everything(images))
    answer.write_text(json.dumps([len(decodings), total, isinstance(images, CachedImages)]))


@pytest.mark.slow
def test_of_several_processes_one_builds_and_the_others_wait(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    for number in range(40):
        Image.fromarray(np.full((5, 5, 3), number, np.uint8)).save(tmp_path / "data" / f"{number:02}.png")
    answers = [tmp_path / f"answer {number}" for number in range(3)]
    processes = [started(tmp_path, answer, target=_open_and_report) for answer in answers]
    for process in processes:
        process.join(120)
    found = [json.loads(answer.read_text()) for answer in answers]
    decoded = sorted(count for count, _, _ in found)
    assert decoded[0] == 0  # at least one came late or waited
    # each of the two files once, with the images that are decoded for an estimate of its size
    assert sum(decoded) == 2 * (40 + cache.SAMPLED)
    assert {(total, whole) for _, total, whole in found} == {(75 * sum(range(40)), True)}
    assert len(pixel_files(tmp_path / "cache")) == 2


# ---- damage


KILLED = """
import os, signal, sys
from pathlib import Path
import numpy as np
from bench.data import Dataset, FileImages, Split, cache
root = Path(sys.argv[1])
paths = tuple(sorted((root / "data" / "train").iterdir()))
split = Split(FileImages(paths), np.zeros(len(paths), dtype=np.int64))
cache._check_space = lambda *_: None
real = cache._prepared
def prepared(*arguments):
    for number, image in enumerate(real(*arguments)):
        if number == 5:
            os.kill(os.getpid(), signal.SIGKILL)
        yield image
cache._prepared = prepared
cache.cached(Dataset(["a"], split, None, split), "m", root / "cache")
"""


@pytest.mark.slow
def test_what_a_killed_builder_leaves_is_never_read_and_goes_away(tmp_path: Path) -> None:
    plain = dataset(tmp_path / "data", val=False)
    paths = tuple(sorted((tmp_path / "data" / "train").iterdir()))
    split = Split(FileImages(paths), np.zeros(len(paths), dtype=np.int64))
    done = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path)], capture_output=True, text=True)
    assert done.returncode == -signal.SIGKILL, done.stderr
    folder = tmp_path / "cache"
    assert len(list(folder.glob(".*.draft"))) == 1
    assert not pixel_files(folder)
    (claim,) = folder.glob("*.claim")
    os.utime(claim, (0, 0))  # its owner has not been alive for long
    kept = cached(Dataset(plain.classes, split, None, split), "m", folder)
    assert all(torch.equal(a, b) for a, b in zip(everything(kept.train.images), everything(split.images), strict=True))
    assert {path.suffix for path in folder.iterdir()} == {".pixels"}


def spoil(path: Path, how: str) -> None:
    content = path.read_bytes()
    damaged = {
        "truncated": content[:-1000],
        "half": content[: len(content) // 2],
        "empty": b"",
        "no end": content[: -cache.END.size],
        "longer": content + b"more",
        "longer inside": b"more" + content,
        "index": content[: -cache.END.size - 10] + b"\xff\xfe" + content[-cache.END.size - 8 :],
        "other": b"something else" * 1000,
    }[how]
    draft = path.with_name("draft")
    draft.write_bytes(damaged)
    draft.replace(path)


@pytest.mark.parametrize("how", ["truncated", "half", "empty", "no end", "longer", "longer inside", "index", "other"])
def test_a_damaged_file_is_built_anew(tmp_path: Path, how: str) -> None:
    plain = dataset(tmp_path / "data", val=False)
    cached(plain, "m", tmp_path / "cache")
    whole = {path: path.read_bytes() for path in pixel_files(tmp_path / "cache")}
    for path in whole:
        spoil(path, how)
    forget()
    kept = cached(plain, "m", tmp_path / "cache")
    assert {path: path.read_bytes() for path in pixel_files(tmp_path / "cache")} == whole
    pairs = zip(everything(kept.train.images), everything(plain.train.images), strict=True)
    assert all(torch.equal(one, other) for one, other in pairs)


def test_a_flipped_bit_is_noticed_when_its_image_is_taken(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plain = dataset(tmp_path / "data", val=False)
    folder = tmp_path / "cache"
    for size, augmentation in ((0, ""), (16, "none")):
        cached(plain, "m", folder, size, augmentation)
        for path in pixel_files(folder):
            content = bytearray(path.read_bytes())
            content[0] ^= 1
            path.write_bytes(content)
        forget()
        kept = cached(plain, "m", folder, size, augmentation).train.images
        one, other = (evaluation_view(images.take(np.arange(12)), 16, "none") for images in (kept, plain.train.images))
        assert torch.equal(one, other)
        assert capsys.readouterr().out.count("is damaged") == 1
        assert len(pixel_files(folder)) == 1  # the test split's, which nobody looked at
        forget()
        again = cached(plain, "m", folder, size, augmentation).train.images
        assert torch.equal(evaluation_view(again.take(np.arange(12)), 16, "none"), other)
        assert "damaged" not in capsys.readouterr().out
        shutil.rmtree(folder)


def test_images_that_cannot_be_decoded_are_named_when_the_dataset_is_opened(tmp_path: Path) -> None:
    """All of them and of all splits, with the whole list in a file; nothing is kept of a split that has one."""
    plain = dataset(tmp_path / "data", val=False)
    assert isinstance(plain.train.images, FileImages)
    assert isinstance(plain.test.images, FileImages)
    bad = [*plain.train.images.paths[:9], *plain.test.images.paths[:2]]
    for path in bad:
        Path(path).write_bytes(b"no image")
    with pytest.raises(InputError) as caught:
        cached(plain, "m", tmp_path / "cache")
    (problem,) = caught.value.problems
    listed = tmp_path / "cache" / "images-m.txt"
    assert problem.startswith(f"11 of 24 images cannot be used; {bad[0]}: it is no image")
    assert f"and 6 more; {listed} lists all" in problem
    assert [line.partition("\t")[0] for line in listed.read_text().splitlines()] == list(map(str, bad))
    assert failure_class(caught.value) == "data"
    assert pixel_files(tmp_path / "cache") == []


def test_what_was_mended_is_decoded_though_an_older_cache_lacks_it(tmp_path: Path) -> None:
    """Caches had a height of 0 for an image that could not be decoded."""
    plain = dataset(tmp_path / "data", val=False)
    cached(plain, "m", tmp_path / "cache")
    for path in pixel_files(tmp_path / "cache"):
        content = bytearray(path.read_bytes())
        rows = np.frombuffer(
            content, cache.ROW, count=12, offset=len(content) - cache.END.size - 12 * cache.ROW.itemsize
        )
        lost = rows.copy()
        lost[11] = (0, 0, 0, 0, 0)
        used = int(rows["start"][11])
        index = lost.tobytes()
        end = cache.END.pack(cache.MARK, 12, zlib.crc32(index))
        path.write_bytes(bytes(content[:used]) + index + end)
    forget()
    kept = cached(plain, "m", tmp_path / "cache").train.images
    assert torch.equal(everything(kept)[11], everything(plain.train.images)[11])


def test_an_image_that_the_system_cannot_read_is_no_fault_of_the_caches_folder(tmp_path: Path) -> None:
    plain = dataset(tmp_path / "data", val=False)
    assert isinstance(plain.train.images, FileImages)
    Path(plain.train.images.paths[4]).unlink()
    with pytest.raises(FileNotFoundError):
        cached(plain, "m", tmp_path / "cache")


# ---- where there can be no cache


def without_cache(plain: Dataset, folder: Path, output: pytest.CaptureFixture[str], reason: str) -> None:
    """The images come from their files, and one line a split says why."""
    kept = cached(plain, "m", folder)
    assert kept.train.images is plain.train.images
    lines = output.readouterr().out.splitlines()
    assert len(lines) == 2
    assert all("decoded each time" in line and reason in line for line in lines)


def test_a_folder_that_cannot_be_made(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("")
    without_cache(dataset(tmp_path / "data", val=False), tmp_path / "file" / "cache", capsys, "Not a directory")


def test_a_folder_that_cannot_be_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """By a raised error and not by permissions, which do not hold for root."""

    def refuse(self: Path, *arguments: object, **options: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    plain = dataset(tmp_path / "data", val=False)
    monkeypatch.setattr(Path, "mkdir", refuse)
    without_cache(plain, tmp_path / "cache", capsys, "Permission denied")


def test_a_full_disk(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    class Full:
        """A file on a disk that takes 5,000 bytes."""

        def __init__(self, file: Any) -> None:
            self.file, self.left = file, 5000

        def __enter__(self) -> Full:
            return self

        def __exit__(self, *exception: object) -> None:
            self.file.close()

        def write(self, data: bytes) -> int:
            self.left -= len(data)
            if self.left < 0:
                raise OSError(errno.ENOSPC, "No space left on device")
            return int(self.file.write(data))

    real = Path.open

    def opened(self: Path, mode: str = "r", *arguments: Any, **options: Any) -> Any:
        file = real(self, mode, *arguments, **options)
        return Full(file) if self.suffix == ".draft" else file

    plain = dataset(tmp_path / "data", val=False)
    monkeypatch.setattr(Path, "open", opened)
    without_cache(plain, tmp_path / "cache", capsys, "No space left")
    assert not list((tmp_path / "cache").iterdir())


def test_a_disk_that_would_be_filled(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """More than half of what is free is not taken; nothing is written to find out."""
    plain = dataset(tmp_path / "data", val=False)
    usage = type(shutil.disk_usage(tmp_path))
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(10**6, 0, 30_000))
    without_cache(plain, tmp_path / "cache", capsys, "GB that are free")
    assert not list((tmp_path / "cache").iterdir())


def test_a_builder_that_gave_up_is_not_waited_for_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else each of a hundred workers would fill the disk in turn."""
    plain = dataset(tmp_path / "data", val=False)

    @contextlib.contextmanager
    def claimed_by_another(path: Path) -> Iterator[bool]:
        path.parent.mkdir(exist_ok=True)
        path.touch()
        yield False

    monkeypatch.setattr(cache, "claimed", claimed_by_another)
    monkeypatch.setattr(cache, "wait_for", lambda found, path: path.unlink())
    assert cached(plain, "m", tmp_path / "cache").train.images is plain.train.images
    assert "gave up" in capsys.readouterr().out


def test_progress_is_told_when_it_takes_long(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = dataset(tmp_path / "data", val=False)
    cached(plain, "quick", tmp_path / "cache")
    assert capsys.readouterr().out == ""
    monkeypatch.setattr(cache, "PAUSE", 0.0)
    seen: list[tuple[str, int, int]] = []
    cached(plain, "m", tmp_path / "cache", progress=lambda *told: seen.append(told))
    assert "decoding 12 train images once: 100%" in capsys.readouterr().out
    assert ("decoding", 12, 12) in seen

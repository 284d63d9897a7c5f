"""What is odd about a dataset is said, and what is fine too."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bench.images.audit import Audited, Remark, audit, first_doubts
from bench.images.survey import survey, survey_pixels
from tests.images.pictures import folder, save, scene


def audited(root: Path, **stated: int) -> Audited:
    files = {split: sorted((root / split).glob("*/*")) for split in ("train", "val", "test") if (root / split).is_dir()}
    labels = {split: [path.parent.name for path in paths] for split, paths in files.items()}
    sizes = {split: len(paths) for split, paths in files.items()}
    return Audited(survey(files), sorted({*labels["train"]}), labels, {**sizes, **stated})


def odd(data: Audited, image_size: int = 16) -> dict[str, Remark]:
    return {remark.kind: remark for remark in audit(data, image_size) if not remark.is_fine}


def test_a_clean_dataset_is_fine_in_every_question(tmp_path: Path) -> None:
    data = audited(folder(tmp_path))
    remarks = audit(data, 16)
    assert len(remarks) == 11
    assert all(remark.is_fine and remark.text and not remark.images for remark in remarks)
    assert first_doubts(data) == []


def test_the_same_bytes_in_two_splits(tmp_path: Path) -> None:
    root = folder(tmp_path)
    shutil.copy(root / "train" / "a" / "2.png", root / "test" / "a" / "copy.png")
    shutil.copy(root / "train" / "a" / "2.png", root / "test" / "a" / "again.png")
    save(root / "val" / "a" / "0.png", 50)
    save(root / "val" / "b" / "0.png", 51)
    shutil.copy(root / "train" / "b" / "1.png", root / "val" / "b" / "1.png")
    remark = odd(audited(root))["same-bytes"]
    assert remark.text == "2 images of test are in train, 1 image of val is in train too, byte for byte"
    assert len(remark.images) == 3
    assert any(line == f"{root}/train/a/2.png = {root}/test/a/copy.png" for line in remark.images)


def test_images_that_look_alike_and_are_of_two_classes(tmp_path: Path) -> None:
    root = folder(tmp_path)
    with Image.open(root / "train" / "b" / "2.png") as image:
        image.save(root / "test" / "a" / "0.jpg", quality=80)
    remark = odd(audited(root))["alike"]
    assert remark.text == "1 image of test is like one of train in all but details (1 of 1 pairs in two classes)"
    assert remark.images == (f"{root}/train/b/2.png = {root}/test/a/0.jpg (b, a)",)


def test_the_same_bytes_are_not_told_twice(tmp_path: Path) -> None:
    root = folder(tmp_path)
    shutil.copy(root / "train" / "a" / "2.png", root / "test" / "a" / "copy.png")
    assert odd(audited(root)).keys() == {"same-bytes"}


def test_a_class_that_a_split_lacks_also_where_all_its_images_are_damaged(tmp_path: Path) -> None:
    root = folder(tmp_path)
    for path in (root / "test" / "b").iterdir():
        path.write_bytes(b"")
    data = audited(root)
    assert odd(data).keys() == {"damaged", "missing-classes"}
    assert odd(data)["missing-classes"].text == "test lacks 1 class (b)"
    assert odd(data)["damaged"].text == "2 images cannot be used"
    assert odd(data)["damaged"].images[0] == f"{root}/test/b/0.png: it is empty"
    assert first_doubts(data) == ["test lacks 1 class (b)"]


def test_one_picture_with_two_labels_and_one_twice_in_a_split(tmp_path: Path) -> None:
    root = folder(tmp_path)
    shutil.copy(root / "train" / "a" / "2.png", root / "train" / "b" / "copy.png")
    remarks = odd(audited(root))
    assert remarks["conflicting-labels"].images == (f"{root}/train/a/2.png (a) = {root}/train/b/copy.png (b)",)
    assert remarks["repeated"].images == (f"{root}/train/a/2.png = {root}/train/b/copy.png",)


def test_other_counts_than_the_card_says(tmp_path: Path) -> None:
    remark = odd(audited(folder(tmp_path), train=9, val=3))["counts"]
    assert remark.images == ("train: 8, its card says 9", "val: 0, its card says 3")


def test_one_class(tmp_path: Path) -> None:
    assert odd(audited(folder(tmp_path, classes="a")))["one-class"].images == ("a",)


@pytest.mark.parametrize(("size", "count"), [(48, 0), (49, 12)])
def test_images_smaller_than_the_models(tmp_path: Path, size: int, count: int) -> None:
    remark = odd(audited(folder(tmp_path)), size).get("small")
    assert (len(remark.images) if remark else 0) == count


def test_images_that_are_turned_or_long(tmp_path: Path) -> None:
    root = folder(tmp_path)
    exif = Image.Exif()
    exif[0x0112] = 3
    Image.fromarray(scene(70)).save(root / "train" / "a" / "x.jpg", exif=exif)
    save(root / "train" / "a" / "long.png", 71, 20, 100)
    save(root / "train" / "a" / "not so long.png", 72, 80, 20)
    remarks = odd(audited(root))
    assert remarks["rotated"].images == (f"{root}/train/a/x.jpg: orientation 3",)
    assert remarks["aspect"].images == (f"{root}/train/a/long.png: 100 x 20",)


def test_images_in_memory(tmp_path: Path) -> None:
    pixels = {"train": np.stack([scene(seed) for seed in range(4)]), "test": np.stack([scene(9), scene(2)])}
    data = Audited(survey_pixels(pixels), ["a"], {"train": ["a"] * 4, "test": ["a"] * 2}, {"train": 4, "test": 2})
    assert odd(data)["same-bytes"].images == ("train[2] = test[1]",)
    grey = {name: images[..., :1] for name, images in pixels.items()}
    assert survey_pixels(grey).alike == [("train", 2, "test", 1)]

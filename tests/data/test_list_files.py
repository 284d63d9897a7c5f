"""A list file names the training images that there are, and is part of what a dataset means."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bench.cards import DatasetCard
from bench.cards.dataset import read_dataset
from bench.data import Dataset, read_data
from bench.data.official import files_of
from bench.errors import InputError

CARD = """
title: Birds
reader: cub
classes: 2
official: {train: 6, test: 2}
use: {train: [train], test: [test]}
expects: [CUB_200_2011/images.txt]
"""
NAMES = ["001.Albatross", "002.Auk"]


@pytest.fixture
def birds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A card, and eight images where it looks for them; two training images of two classes have one file name."""
    root = tmp_path / "data" / "birds" / "CUB_200_2011"
    rows = [(label, f"{number}.jpg") for label in (0, 1) for number in ("a", f"b{label}", f"c{label}", f"test{label}")]
    for number, (label, file) in enumerate(rows):
        (root / "images" / NAMES[label]).mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (4, 4), (number, 0, 0)).save(root / "images" / NAMES[label] / file)
    for name, values in {
        "images": [f"{NAMES[label]}/{file}" for label, file in rows],
        "image_class_labels": [str(label + 1) for label, _ in rows],
        "train_test_split": [str(int("test" not in file)) for _, file in rows],
        "classes": NAMES,
    }.items():
        lines = [f"{number} {value}" for number, value in enumerate(values, 1)]
        (root / f"{name}.txt").write_text("\n".join(lines) + "\n")
    (tmp_path / "birds.yaml").write_text(CARD)
    monkeypatch.setenv("BENCH_DATA", str(tmp_path / "data"))
    return tmp_path


def card(folder: Path, *lines: str, file: str = "list.txt") -> DatasetCard:
    (folder / file).write_text("\n".join(lines) + "\n")
    return read_dataset(f"birds@{folder / file}", folder / "birds.yaml")


def training(dataset: Dataset) -> list[tuple[str, int]]:
    paths = ["/".join(Path(path).parts[-2:]) for path in files_of(dataset.train)]
    return list(zip(paths, dataset.train.labels.tolist(), strict=True))


def test_the_training_images_are_those_of_the_list(birds: Path) -> None:
    listed = card(birds, "002.Auk/a.jpg", "001.Albatross/b0.jpg", "", "002.Auk/c1.jpg")
    dataset = read_data(listed)
    assert training(dataset) == [("002.Auk/a.jpg", 1), ("001.Albatross/b0.jpg", 0), ("002.Auk/c1.jpg", 1)]
    assert listed.facts["splits"] == {"train": 3, "test": 2}
    assert len(dataset.test) == 2
    assert list(dataset.classes) == NAMES
    taken = dataset.train.images.take(np.arange(3))
    assert all(image.shape == (3, 4, 4) for image in taken)


def test_a_file_name_is_enough_where_it_is_the_only_one(birds: Path) -> None:
    """Lists of fine-grained sets are often written for folders of their own."""
    dataset = read_data(card(birds, "17/b1.jpg", "train/002.Auk/c1.jpg", "train/001.Albatross/a.jpg"))
    assert training(dataset) == [("002.Auk/b1.jpg", 1), ("002.Auk/c1.jpg", 1), ("001.Albatross/a.jpg", 0)]


def test_a_label_behind_a_path_is_passed_over(birds: Path) -> None:
    """Lists are published so; what counts is the label of the official list."""
    dataset = read_data(card(birds, "train/002.Auk/b1.jpg 1", "train/001.Albatross/a.jpg  7"))
    assert training(dataset) == [("002.Auk/b1.jpg", 1), ("001.Albatross/a.jpg", 0)]


@pytest.mark.parametrize(
    ("lines", "says"),
    [
        (["002.Auk/z.jpg 1"], "002.Auk/z.jpg 1 is no training image of birds"),
        (["17/a.jpg"], "17/a.jpg could be 2 training images of birds"),
        (["001.Albatross/test0.jpg"], "001.Albatross/test0.jpg is no training image of birds"),
        (["001.Albatross/z.jpg"], "is no training image of birds"),
        (["1/b1.jpg", "002.Auk/b1.jpg"], "two lines name the same image of birds"),
    ],
)
def test_a_line_that_is_not_one_training_image(birds: Path, lines: list[str], says: str) -> None:
    listed = card(birds, *lines)
    with pytest.raises(InputError) as caught:
        read_data(listed)
    assert says in str(caught.value)
    assert str(birds / "list.txt") in str(caught.value)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (b"\n \n", "the list is empty"),
        (b"a.jpg\nb.jpg\na.jpg\n", "names a.jpg twice"),
        (b"\xff\xfe\x00", "the list cannot be read: it is UTF-16 text"),
        (b"\xff", "it is not UTF-8"),
    ],
)
def test_a_list_that_cannot_be_one(birds: Path, text: bytes, says: str) -> None:
    (birds / "list.txt").write_bytes(text)
    with pytest.raises(InputError, match=says):
        read_dataset(f"birds@{birds / 'list.txt'}", birds / "birds.yaml")


def test_what_it_means_is_its_lines(birds: Path) -> None:
    plain = read_dataset("birds", birds / "birds.yaml")
    listed = card(birds, "002.Auk/a.jpg", "001.Albatross/a.jpg")
    again = card(birds, "001.Albatross/a.jpg", "", "002.Auk/a.jpg", file="elsewhere.txt")
    fewer = card(birds, "002.Auk/a.jpg", file="fewer.txt")
    assert listed.means == again.means
    assert len({plain.means, listed.means, fewer.means}) == 3


def test_the_card_says_which_list(birds: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The name holds the whole path, so that a process in another folder finds it."""
    card(birds, "002.Auk/a.jpg")
    monkeypatch.chdir(birds)
    listed = read_dataset("birds@list.txt", birds / "birds.yaml")
    assert listed.name == f"birds@{birds}/list.txt"
    assert listed.title == "Birds (list.txt)"
    assert listed.plain_name == "birds"
    monkeypatch.chdir("/")
    assert read_dataset(listed.name, birds / "birds.yaml").means == listed.means


def test_a_generated_dataset_has_no_files_to_list(birds: Path) -> None:
    (birds / "digits.yaml").write_text("title: D\nreader: digits\n")
    (birds / "list.txt").write_text("a.jpg\n")
    with pytest.raises(InputError, match="digits: its images are not files, so no list can name them"):
        read_dataset(f"digits@{birds / 'list.txt'}", birds / "digits.yaml")

"""The readers on real photographs, where small parts of the published datasets lie beside the checkout."""

from __future__ import annotations

import pickle
import tarfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torchvision
from PIL import Image

from bench.cards import DatasetCard
from bench.data import Dataset, Split, read_data, sample
from bench.data.dataset import FileImages, MaskFiles
from bench.data.official import files_of
from bench.registry import Registry

SHARED = Path(__file__).parent.parent.parent.parent / "shared" / "data"
ABSENT = "the real images of ../shared/data are absent"


def unpacked(name: str, folder: Path) -> Path:
    """The one folder that an archive of real images holds."""
    archive = SHARED / name / f"{name}.tar.gz"
    if not archive.is_file():
        pytest.skip(ABSENT)
    folder.mkdir(parents=True, exist_ok=True)
    with tarfile.open(archive) as content:
        content.extractall(folder, filter="data")
    (top,) = folder.iterdir()
    return top


def small(name: str, root: Path, classes: int, **official: int) -> DatasetCard:
    """A card of the suite for a part of its dataset."""
    card = Registry().dataset(name)
    splits = {split: sum(official[part] for part in parts) for split, parts in card.use.items()}
    facts: dict[str, Any] = {"official": official, "classes": classes, "splits": splits, "checksums": {}}
    return replace(card, path=str(root), facts={**card.facts, **facts})


def check_decodes(split: Split, step: int) -> None:
    """Every so many images are colour photographs, not blank."""
    for image in split.images.take(np.arange(0, len(split), step)):
        assert image.shape[0] == 3
        assert image.float().std() > 2


@pytest.fixture(scope="module")
def cub(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    root = tmp_path_factory.mktemp("cub200")
    unpacked("cub50", root).rename(root / "CUB_200_2011")
    return read_data(small("cub200", root, 50, train=1500, test=1389))


def test_cub_of_fifty_classes(cub: Dataset) -> None:
    assert np.bincount(cub.train.labels).tolist() == [30] * 50
    assert cub.classes[0] == "001.Black_footed_Albatross"
    for split in (cub.train, cub.test):
        folders = [Path(path).parent.name for path in files_of(split)]
        assert folders == [cub.classes[label] for label in split.labels]
        check_decodes(split, 97)
    assert not set(files_of(cub.train)) & set(files_of(cub.test))


@pytest.mark.parametrize(("rate", "each"), [(15, 5), (30, 9), (50, 15), (100, 30)])
def test_sampling_rates_of_cub(cub: Dataset, rate: float, each: int) -> None:
    """The counts of the public lists: ceil(rate · 30) of a class, smaller rates parts of larger ones."""
    kept = sample(cub.train.labels, rate, 0)
    assert np.bincount(cub.train.labels[kept]).tolist() == [each] * 50
    assert set(sample(cub.train.labels, 15, 0)) <= set(kept)


def test_pets_of_three_breeds_and_their_masks(tmp_path: Path) -> None:
    root = unpacked("pets3", tmp_path / "oxford_pets").parent
    dataset = read_data(small("oxford_pets", root, 3, trainval=300, test=298))
    assert list(dataset.classes) == ["Abyssinian", "american_bulldog", "Bengal"]
    for split, name in ((dataset.train, "trainval"), (dataset.test, "test")):
        theirs = torchvision.datasets.OxfordIIITPet(root, split=name, target_types=["category", "segmentation"])
        check_decodes(split, 31)
        assert isinstance(split.images, FileImages)
        trimaps = [str(path).replace("/images/", "/annotations/trimaps/")[:-4] + ".png" for path in files_of(split)]
        masks = MaskFiles(tuple(trimaps), first=1)
        for index in range(0, len(split), 29):
            image, (label, trimap) = theirs[index]
            (ours,), (mask,) = split.images.take(np.array([index])), masks.take(np.array([index]))
            assert label == split.labels[index]
            assert np.array_equal(np.asarray(image), ours.permute(1, 2, 0))
            assert np.array_equal(np.asarray(trimap) - 1, mask)
            assert mask.shape == ours.shape[1:]


def test_tiny_imagenet_in_the_layout_of_imagenet(tmp_path: Path) -> None:
    root = unpacked("tiny-imagenet-100per", tmp_path / "imagenet1k")
    for name in ("train", "val"):
        for folder in (root / name).iterdir():
            for image in (folder / "images").iterdir():
                image.rename(folder / image.name)
    dataset = read_data(small("imagenet1k", root, 200, train=20000, val=10000))
    assert list(dataset.classes) == sorted((root / "wnids.txt").read_text().split())
    assert np.bincount(dataset.train.labels).tolist() == [100] * 200
    assert np.bincount(dataset.test.labels).tolist() == [50] * 200
    for split in (dataset.train, dataset.test):
        assert [Path(path).parent.name for path in files_of(split)] == [dataset.classes[n] for n in split.labels]
        check_decodes(split, 199)
    every = dataset.train.images.take(np.arange(0, 20000, 40))
    grey = [bool((image[0] == image[1]).all() and (image[1] == image[2]).all()) for image in every]
    assert 0 < sum(grey) < len(grey) / 10


def cifar_batches(folder: Path) -> dict[str, tuple[Any, list[int]]]:
    """The exact pixels as the published batches, one training batch of 800 images each."""
    source, batches = SHARED / "cifar10-lossless-5k", {}
    if not source.is_dir():
        pytest.skip(ABSENT)
    parts = {"train": ("0", "1", "2", "3"), "test": ("50",)}
    for split, numbers in parts.items():
        images = [np.asarray(Image.open(source / f"cifar10_batch_{n}.png").convert("RGB")) for n in numbers]
        (file,) = source.glob(f"labels_{split}_*.txt")
        labels = [int(line) for line in file.read_text().split()]
        batches[split] = (np.concatenate(images).reshape(-1, 32, 32, 3), labels)
    (folder / "cifar-10-batches-py").mkdir(parents=True)
    for number in range(6):
        pixels, labels = batches["test" if number == 5 else "train"]
        part = slice(None) if number == 5 else slice(800 * number, 800 * (number + 1))
        content = {"data": pixels[part].transpose(0, 3, 1, 2).reshape(-1, 3072), "labels": labels[part]}
        name = "test_batch" if number == 5 else f"data_batch_{number + 1}"
        (folder / "cifar-10-batches-py" / name).write_bytes(pickle.dumps(content))
    names = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]
    (folder / "cifar-10-batches-py" / "batches.meta").write_bytes(pickle.dumps({"label_names": names}))
    return batches


def test_a_part_of_cifar10_with_its_exact_pixels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = cifar_batches(tmp_path)
    monkeypatch.setattr("torchvision.datasets.cifar.check_integrity", lambda path, md5=None: Path(path).is_file())
    dataset = read_data(small("cifar10", tmp_path, 10, train=4000, test=1000))
    assert np.bincount(dataset.train.labels).tolist() == [396, 366, 420, 384, 422, 393, 414, 385, 407, 413]
    for split, (pixels, labels) in ((dataset.train, expected["train"]), (dataset.test, expected["test"])):
        assert split.labels.tolist() == labels
        taken = split.images.take(np.arange(0, len(split), 7))
        assert np.array_equal(np.stack([image.permute(1, 2, 0).numpy() for image in taken]), pixels[::7])

"""Datasets for segmentation: pairs of images and masks, and what refuses them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch
from PIL import Image

from bench.cards import DatasetCard
from bench.cli import main
from bench.data.dataset import IGNORED, MaskedSplit, MaskFiles
from bench.data.masks import VOC_CLASSES
from bench.data.official import files_of, mask_files_of
from bench.data.read import read_data, read_masks
from bench.errors import InputError
from bench.registry import Registry

Levels = npt.NDArray[np.uint8]


def picture(path: Path, seed: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.RandomState(seed).randint(0, 256, (6, 8, 3)).astype(np.uint8)).save(path)


def levels(seed: int, most: int) -> Levels:
    drawn = np.random.RandomState(seed).randint(0, most + 1, (6, 8)).astype(np.uint8)
    drawn[0, :3] = [0, most, 255]
    return drawn


def voc(root: Path) -> DatasetCard:
    """Masks with a palette, as they are published; an image that has no mask is in no list."""
    base = root / "VOCdevkit" / "VOC2012"
    (base / "SegmentationClass").mkdir(parents=True)
    (base / "ImageSets" / "Segmentation").mkdir(parents=True)
    picture(base / "JPEGImages" / "2007_999999.jpg", 99)
    for name, stems in {"train": ["2007_000032", "2007_000039", "2007_000063"], "val": ["2007_000033"]}.items():
        (base / "ImageSets" / "Segmentation" / f"{name}.txt").write_text("\n".join(stems) + "\n")
        for stem in stems:
            picture(base / "JPEGImages" / f"{stem}.jpg", int(stem[-2:]))
            mask = Image.fromarray(levels(int(stem[-2:]), 20), "P")
            mask.putpalette([(7 * level) % 256 for level in range(768)])
            mask.save(base / "SegmentationClass" / f"{stem}.png")
    return small("voc2012", root, {"train": 3, "val": 1}, 21)


def augmented(root: Path, lines: Sequence[str]) -> DatasetCard:
    """As people have it: the masks of VOC's and SBD's images in a folder of their own, without palette and border."""
    voc(root)
    base = root / "VOCdevkit" / "VOC2012"
    (base / "SegmentationClassAug").mkdir()
    (base / "ImageSets" / "Segmentation" / "train_aug.txt").write_text("\n".join(lines) + "\n")
    picture(base / "JPEGImages" / "2008_000002.jpg", 2)
    for number, stem in enumerate(("2007_000032", "2008_000002", "2007_000033")):
        Image.fromarray(np.full((6, 8), number, np.uint8)).save(base / "SegmentationClassAug" / f"{stem}.png")
    return small("voc2012@aug", root, {"train_aug": 2, "val": 1}, 21)


def ade(root: Path) -> DatasetCard:
    base = root / "ADEChallengeData2016"
    for name, folder, count in (("train", "training", 2), ("val", "validation", 1)):
        (base / "annotations" / folder).mkdir(parents=True)
        for number in range(1, count + 1):
            picture(base / "images" / folder / f"ADE_{name}_{number:08d}.jpg", number)
            mask = Image.fromarray(levels(number, 3))
            mask.save(base / "annotations" / folder / f"ADE_{name}_{number:08d}.png")
    lines = ["Idx\tRatio\tTrain\tVal\tName", "1\t0.2\t2\t1\twall", "2 \t0.1\t1\t1\tbed ", "3\t0.1\t1\t1\tsea, ocean"]
    (base / "objectInfo150.txt").write_text("\n".join(lines) + "\n")
    return small("ade20k", root, {"train": 2, "val": 1}, 3)


def small(name: str, root: Path, official: dict[str, int], classes: int) -> DatasetCard:
    card = Registry().dataset(name)
    splits = {split: sum(official[part] for part in parts) for split, parts in card.use.items()}
    return replace(
        card, path=str(root), facts={**card.facts, "official": official, "classes": classes, "splits": splits}
    )


def pairs(split: MaskedSplit) -> list[tuple[str, str]]:
    return [
        (Path(image).stem, Path(mask).stem) for image, mask in zip(files_of(split), mask_files_of(split), strict=True)
    ]


def test_voc(tmp_path: Path) -> None:
    dataset = read_masks(voc(tmp_path))
    assert tuple(dataset.classes) == VOC_CLASSES
    assert len(VOC_CLASSES) == 21
    assert (len(dataset.train), dataset.val, len(dataset.test)) == (3, None, 1)
    assert pairs(dataset.train) == [(stem, stem) for stem in ("2007_000032", "2007_000039", "2007_000063")]
    assert pairs(dataset.test) == [("2007_000033", "2007_000033")]
    for index, seed in enumerate((32, 39, 63)):
        (mask,) = dataset.train.masks.take(np.array([index]))
        (image,) = dataset.train.images.take(np.array([index]))
        assert mask.dtype == torch.uint8
        assert mask.shape == image.shape[1:]
        assert np.array_equal(mask, levels(seed, 20))
        assert mask[0, :3].tolist() == [0, 20, IGNORED]


@pytest.mark.parametrize(
    "lines",
    [
        ["2007_000032", "2008_000002"],
        [f"/JPEGImages/{stem}.jpg /SegmentationClassAug/{stem}.png" for stem in ("2007_000032", "2008_000002")],
    ],
)
def test_vocs_training_images_with_sbds_have_the_masks_of_both(tmp_path: Path, lines: list[str]) -> None:
    dataset = read_masks(augmented(tmp_path, lines))
    assert tuple(dataset.classes) == VOC_CLASSES
    assert pairs(dataset.train) == [(stem, stem) for stem in ("2007_000032", "2008_000002")]
    assert {Path(path).parent.name for path in mask_files_of(dataset.train)} == {"SegmentationClassAug"}
    for index in range(2):
        (mask,) = dataset.train.masks.take(np.array([index]))
        assert np.unique(mask).tolist() == [index]
    assert pairs(dataset.test) == [("2007_000033", "2007_000033")]  # with its official mask
    assert {Path(path).parent.name for path in mask_files_of(dataset.test)} == {"SegmentationClass"}


def test_sbds_own_list_is_refused_for_its_images_of_the_validation_split(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="2007_000033"):
        read_masks(augmented(tmp_path, ["2007_000032", "2007_000033"]))


def test_what_vocs_variant_lacks_is_told(tmp_path: Path) -> None:
    card = augmented(tmp_path, ["2007_000032", "2008_000002", "2008_000009"])
    with pytest.raises(InputError, match=r"its card says 21 classes and \{'train_aug': 2, .* found are .*: 3"):
        read_masks(card)
    (tmp_path / "VOCdevkit" / "VOC2012" / "ImageSets" / "Segmentation" / "train_aug.txt").unlink()
    with pytest.raises(InputError, match=r"lacks VOCdevkit/VOC2012/ImageSets/Segmentation/train_aug\.txt"):
        read_masks(card)


def test_ade20k_counts_its_classes_from_1_and_ours_from_0(tmp_path: Path) -> None:
    card = ade(tmp_path)
    (tmp_path / "ADEChallengeData2016" / "images" / "training" / "._ADE_train_00000001.jpg").write_bytes(b"x")
    dataset = read_masks(card)
    assert list(dataset.classes) == ["wall", "bed", "sea, ocean"]
    assert pairs(dataset.train) == [(f"ADE_train_0000000{n}", f"ADE_train_0000000{n}") for n in (1, 2)]
    (mask,) = dataset.train.masks.take(np.array([1]))
    stored = levels(2, 3)
    for row in range(6):
        for column in range(8):
            level = int(stored[row, column])
            assert int(mask[row, column]) == (level - 1 if 1 <= level <= 3 else IGNORED)


@pytest.mark.parametrize("make", [voc, ade])
def test_no_image_is_in_two_splits(tmp_path: Path, make: type) -> None:
    dataset = read_masks(make(tmp_path))
    assert not set(files_of(dataset.train)) & set(files_of(dataset.test))
    assert not set(mask_files_of(dataset.train)) & set(mask_files_of(dataset.test))


def test_a_mask_that_is_missing(tmp_path: Path) -> None:
    card = voc(tmp_path)
    gone = tmp_path / "VOCdevkit" / "VOC2012" / "SegmentationClass" / "2007_000039.png"
    gone.unlink()
    with pytest.raises(InputError) as caught:
        read_masks(card)
    assert f"1 of 8 files are missing, the first is {gone}" in str(caught.value)


def test_another_number_than_the_card_says(tmp_path: Path) -> None:
    card = ade(tmp_path)
    with pytest.raises(InputError, match=r"its card says 4 classes and .* found are 3 classes"):
        read_masks(replace(card, facts={**card.facts, "classes": 4}))


def test_levels_below_the_first_class_are_ignored(tmp_path: Path) -> None:
    Image.fromarray(np.array([[0, 1, 2, 3, 254, 255]], np.uint8)).save(tmp_path / "mask.png")
    (mask,) = MaskFiles((tmp_path / "mask.png",), first=2).take(np.array([0]))
    assert mask.tolist() == [[IGNORED, IGNORED, 0, 1, 252, IGNORED]]


def test_an_image_of_three_channels_is_no_mask(tmp_path: Path) -> None:
    picture(tmp_path / "mask.png", 0)
    with pytest.raises(InputError, match="is no mask"):
        MaskFiles((tmp_path / "mask.png",)).take(np.array([0]))


@pytest.mark.parametrize("name", ["voc2012", "ade20k"])
def test_it_cannot_be_read_for_classification(name: str) -> None:
    with pytest.raises(InputError, match=f"{name}: it is for segmentation: its images have not one label each"):
        read_data(Registry().dataset(name))


def test_a_dataset_for_classification_has_no_masks() -> None:
    with pytest.raises(InputError, match="digits: no reader of masks is called 'digits'"):
        read_masks(Registry().dataset("digits"))


@pytest.mark.parametrize("name", ["voc2012", "voc2012@aug", "ade20k"])
def test_an_experiment_whose_protocol_is_for_labels_refuses_it_when_it_is_planned(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["plan", "demo", "--datasets", name]) == 2
    assert f"{name} is for segmentation: masks move with their images" in capsys.readouterr().err

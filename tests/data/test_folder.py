"""Somebody's own folder of images: what is read, what is said when it cannot be, and what a model is given of it."""

from __future__ import annotations

import itertools
import random
import shutil
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch
from PIL import Image
from torch import Tensor

from bench.cards import DatasetCard
from bench.cards.image_files import why_unread
from bench.data import ArrayImages, Dataset, FileImages, Split, read_data
from bench.data.augment import test_view as evaluation_view
from bench.data.augment import training_view
from bench.errors import InputError
from bench.protocol import AUGMENTATIONS
from bench.registry import Registry

Pixels = npt.NDArray[np.uint8]

SPLITS = {"train": {"bee": 3, "ape": 4}, "test": {"ape": 2, "bee": 1}}


def noise(seed: int, height: int = 6, width: int = 5) -> Pixels:
    return np.random.RandomState(seed).randint(0, 256, (height, width, 3)).astype(np.uint8)


def make(root: Path, splits: dict[str, dict[str, int]] = SPLITS) -> Path:
    """Tiny images of noise, each of its own, in ``root/SPLIT/CLASS/NUMBER.png``."""
    seeds = itertools.count()
    for split, classes in splits.items():
        for name, count in classes.items():
            (root / split / name).mkdir(parents=True)
            for number in range(count):
                Image.fromarray(noise(next(seeds))).save(root / split / name / f"{number}.png")
    return root


def card(root: Path) -> DatasetCard:
    return Registry().dataset(f"folder:{root}")


def read(root: Path) -> Dataset:
    return read_data(card(root))


def all_of(split: Split) -> list[Tensor]:
    return list(split.images.take(np.arange(len(split))))


# ---- reading


def test_images_and_labels_are_those_of_the_files(tmp_path: Path) -> None:
    dataset = read(make(tmp_path / "pets"))
    assert dataset.classes == ["ape", "bee"]
    assert dataset.train.labels.tolist() == [0, 0, 0, 0, 1, 1, 1]
    assert dataset.test.labels.tolist() == [0, 0, 1]
    assert dataset.train.labels.dtype == np.int64
    assert dataset.val is None
    by_class = {"bee": [0, 1, 2], "ape": [3, 4, 5, 6]}
    expected = [noise(seed) for name in ("ape", "bee") for seed in by_class[name]]
    for image, pixels in zip(all_of(dataset.train), expected, strict=True):
        assert image.dtype == torch.uint8
        assert np.array_equal(image.numpy(), pixels.transpose(2, 0, 1))


def test_classes_are_sorted_by_name_as_texts(tmp_path: Path) -> None:
    classes = {"10": 1, "9": 1, "100": 1, "Zebra": 1, "ape": 1}
    assert read(make(tmp_path, {"train": classes, "test": {"9": 1}})).classes == ["10", "100", "9", "Zebra", "ape"]


def test_a_class_may_lack_test_images(tmp_path: Path) -> None:
    dataset = read(make(tmp_path, {"train": {"ape": 1, "bee": 1, "cat": 1}, "test": {"cat": 2}}))
    assert dataset.test.labels.tolist() == [2, 2]


@pytest.mark.parametrize("name", ["val", "validation", "valid"])
def test_val_is_read_under_its_usual_names(tmp_path: Path, name: str) -> None:
    root = make(tmp_path, {**SPLITS, name: {"bee": 2}})
    dataset = read(root)
    assert dataset.val is not None
    assert dataset.val.labels.tolist() == [1, 1]
    assert card(root).facts["splits"] == {"train": 7, "val": 2, "test": 3}


def test_what_is_no_image_is_passed_over(tmp_path: Path) -> None:
    root = make(tmp_path)
    before = card(root)
    (root / "train" / "ape" / "notes.txt").write_text("seen at the zoo")
    (root / "train" / "README.md").write_text("photographs")
    (root / "train" / "empty").mkdir()
    assert card(root).means == before.means
    assert len(read(root).train) == 7
    assert read(root).classes == ["ape", "bee"]


@pytest.mark.parametrize(
    "suffix", [".jpg", ".JPEG", ".jfif", ".jpe", ".PNG", ".webp", ".avif", ".bmp", ".gif", ".tiff", ".ppm", ".pnm"]
)
def test_common_kinds_of_files_are_read(tmp_path: Path, suffix: str) -> None:
    root = make(tmp_path)
    if why_unread(f"more{suffix}"):
        pytest.skip("this Pillow cannot read it")
    Image.fromarray(noise(9)).save(root / "train" / "bee" / f"more{suffix}")
    taken = all_of(read(root).train)
    assert len(taken) == 8
    assert taken[-1].shape == (3, 6, 5)


# ---- what is missing


def refused(root: Path) -> str:
    with pytest.raises(InputError) as caught:
        card(root)
    (problem,) = caught.value.problems
    assert str(root) in problem
    assert "train/CLASS/IMAGE" in problem or "classes that 'train' lacks" in problem
    return problem


def test_no_folder(tmp_path: Path) -> None:
    assert "no such folder" in refused(tmp_path / "nowhere")


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"")
    assert "no such folder" in refused(tmp_path / "a.png")


@pytest.mark.parametrize("split", ["train", "test"])
def test_no_train_or_test(tmp_path: Path, split: str) -> None:
    root = make(tmp_path)
    shutil.rmtree(root / split)
    assert f"no folder '{split}'" in refused(root)


@pytest.mark.parametrize("split", ["train", "test", "valid"])
def test_a_split_without_images(tmp_path: Path, split: str) -> None:
    root = make(tmp_path)
    shutil.rmtree(root / split, ignore_errors=True)
    (root / split / "ape").mkdir(parents=True)
    assert f"'{split}' holds no image" in refused(root)


def test_images_outside_of_a_class(tmp_path: Path) -> None:
    root = make(tmp_path, {"test": {"ape": 1}})
    (root / "train").mkdir()
    Image.fromarray(noise(0)).save(root / "train" / "0.png")
    assert "'train' holds no image" in refused(root)


@pytest.mark.parametrize("split", ["test", "val"])
def test_a_class_that_is_never_trained(tmp_path: Path, split: str) -> None:
    root = make(tmp_path, {"train": {"ape": 1}, "test": {"ape": 1}})
    (root / split / "cow").mkdir(parents=True)
    Image.fromarray(noise(0)).save(root / split / "cow" / "0.png")
    problem = refused(root)
    assert f"'{split}'" in problem
    assert "cow" in problem


def test_images_that_went_between_planning_and_running_are_noticed(tmp_path: Path) -> None:
    root = make(tmp_path)
    planned = card(root)
    (root / "train" / "bee" / "0.png").unlink()
    with pytest.raises(InputError, match="its card says"):
        read_data(planned)


# ---- what a folder means


def test_moving_or_renaming_the_folder_changes_nothing(tmp_path: Path) -> None:
    root = make(tmp_path / "pets")
    before = card(root)
    moved = root.rename(tmp_path / "my animals")
    shutil.copytree(moved, tmp_path / "far" / "away")
    assert card(moved).means == card(tmp_path / "far" / "away").means == before.means
    assert card(moved).name != before.name


def test_one_byte_of_one_image_changes_what_it_means(tmp_path: Path) -> None:
    root = make(tmp_path)
    before, path = card(root).means, root / "test" / "bee" / "0.png"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    assert card(root).means != before


@pytest.mark.parametrize("target", ["train/ape/another.png", "train/bee/9.png", "test/ape/9.png"])
def test_renaming_an_image_or_moving_it_elsewhere_changes_what_it_means(tmp_path: Path, target: str) -> None:
    root = make(tmp_path)
    before = card(root).means
    (root / "train" / "ape" / "0.png").rename(root / target)
    assert card(root).means != before


def test_removing_or_adding_an_image_changes_what_it_means(tmp_path: Path) -> None:
    root = make(tmp_path)
    before = card(root).means
    Image.fromarray(noise(99)).save(root / "train" / "ape" / "9.png")
    added = card(root).means
    (root / "train" / "ape" / "9.png").unlink()
    (root / "train" / "ape" / "0.png").unlink()
    assert len({before, added, card(root).means}) == 3


# ---- decoding


def decoded(path: Path) -> Tensor:
    (image,) = FileImages((path,)).take(np.array([0]))
    return image


@pytest.mark.parametrize("mode", ["RGB", "L", "RGBA", "P", "1", "LA", "CMYK"])
def test_every_kind_of_image_is_decoded_to_three_channels(tmp_path: Path, mode: str) -> None:
    path = tmp_path / ("image.tif" if mode == "CMYK" else "image.png")
    stored = Image.fromarray(noise(0)).convert(mode)
    stored.save(path)
    found = decoded(path)
    assert found.shape == (3, 6, 5)
    assert found.dtype == torch.uint8
    assert np.array_equal(found.numpy().transpose(1, 2, 0), np.asarray(stored.convert("RGB")))
    assert found.float().std() > 10


def test_grey_images_have_three_equal_channels(tmp_path: Path) -> None:
    Image.fromarray(noise(0)[..., 0]).save(tmp_path / "grey.png")
    found = decoded(tmp_path / "grey.png").numpy()
    assert all(np.array_equal(channel, noise(0)[..., 0]) for channel in found)


def test_images_of_sixteen_bits_keep_their_range(tmp_path: Path) -> None:
    """Medical and depth images are stored so; clipped at 255 of 65,535 they would be all white."""
    levels = np.linspace(0, 65535, 64).astype(np.uint16).reshape(8, 8)
    Image.fromarray(levels).save(tmp_path / "deep.png")
    assert decoded(tmp_path / "deep.png")[0].tolist() == pytest.approx(levels / 257, abs=1)


def test_a_palette_with_transparency_is_decoded_without_a_warning(tmp_path: Path) -> None:
    stored = Image.fromarray(noise(0)).convert("P")
    stored.save(tmp_path / "clear.png", transparency=bytes([0, 128, *[255] * 254]))
    assert np.array_equal(decoded(tmp_path / "clear.png").permute(1, 2, 0), np.asarray(stored.convert("RGB")))


# ---- what a model is given


def photographs(channels: int = 3) -> list[Tensor]:
    """Images of several sizes, smaller and larger than a model's."""
    sizes = [(40, 30), (30, 40), (12, 12), (6, 5), (100, 7)]
    return [torch.from_numpy(noise(seed, *size)).permute(2, 0, 1)[:channels] for seed, size in enumerate(sizes)]


@pytest.mark.parametrize("augmentation", AUGMENTATIONS)
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("size", [8, 12])
def test_views_have_the_models_size_and_the_range_of_0_to_1(augmentation: str, channels: int, size: int) -> None:
    images = photographs(channels)
    for view in (training_view(images, size, augmentation, 3), evaluation_view(images, size, augmentation)):
        assert view.shape == (len(images), channels, size, size)
        assert view.dtype == torch.float32
        assert view.min() >= 0
        assert 0.5 < view.max() <= 1


@pytest.mark.parametrize("augmentation", AUGMENTATIONS)
def test_views_of_images_in_memory(augmentation: str) -> None:
    images = ArrayImages(np.stack([noise(seed, 12, 12) for seed in range(4)])).take(np.array([2, 0]))
    for view in (training_view(images, 12, augmentation, 3), evaluation_view(images, 12, augmentation)):
        assert view.shape == (2, 3, 12, 12)
    assert images.dtype == torch.uint8
    assert np.array_equal(images[0].permute(1, 2, 0), noise(2, 12, 12))


@pytest.mark.parametrize("augmentation", AUGMENTATIONS)
def test_a_training_view_depends_on_its_seed_alone(augmentation: str) -> None:
    images = photographs()
    views = [training_view(images, 12, augmentation, seed) for seed in range(4)]
    torch.manual_seed(9)
    random.seed(9)
    np.random.seed(9)
    assert all(torch.equal(view, training_view(images, 12, augmentation, seed)) for seed, view in enumerate(views))
    different = [not torch.equal(one, other) for one, other in itertools.combinations(views, 2)]
    assert not any(different) if augmentation == "none" else all(different)


@pytest.mark.parametrize("augmentation", AUGMENTATIONS)
def test_augmentation_leaves_the_global_generators_alone(augmentation: str) -> None:
    """Else stochastic depth, which draws from them, would hang on the augmentation."""
    before = torch.get_rng_state(), random.getstate(), repr(np.random.get_state())
    training_view(photographs(), 12, augmentation, 3)
    assert torch.equal(torch.get_rng_state(), before[0])
    assert random.getstate() == before[1]
    assert repr(np.random.get_state()) == before[2]


@pytest.mark.parametrize("augmentation", sorted({*AUGMENTATIONS} - {"none"}))
def test_the_images_of_a_batch_are_augmented_apart(augmentation: str) -> None:
    alike = torch.from_numpy(np.stack([noise(0, 12, 12)] * 12)).permute(0, 3, 1, 2)
    assert len({view.numpy().tobytes() for view in training_view(alike, 12, augmentation, 0)}) > 1


def test_images_of_the_models_size_are_left_as_they_are() -> None:
    images = ArrayImages(np.stack([noise(seed, 12, 12) for seed in range(3)])).take(np.arange(3))
    expected = images.numpy() / np.float32(255)
    for view in (training_view(images, 12, "none", 0), evaluation_view(images, 12, "none")):
        assert np.array_equal(view.numpy(), expected)
    assert np.array_equal(evaluation_view(images, 12, "shift").numpy(), expected)


def test_shift_moves_each_image_by_at_most_a_pixel_and_fills_with_zeros() -> None:
    images = ArrayImages(np.stack([noise(seed, 12, 12) for seed in range(60)])).take(np.arange(60))
    found: list[tuple[int, int]] = []
    for image, view in zip(images.numpy(), training_view(images, 12, "shift", 0).numpy(), strict=True):
        matching = [
            (down, right)
            for down, right in itertools.product((-1, 0, 1), repeat=2)
            if np.array_equal(view, by_hand(image, down, right) / np.float32(255))
        ]
        assert len(matching) == 1
        found += matching
    assert set(found) == set(itertools.product((-1, 0, 1), repeat=2))


def by_hand(image: Pixels, down: int, right: int) -> Pixels:
    """An image (C, H, W) moved, pixel by pixel."""
    channels, height, width = image.shape
    moved = np.zeros_like(image)
    for channel, row, column in itertools.product(range(channels), range(height), range(width)):
        if 0 <= row - down < height and 0 <= column - right < width:
            moved[channel, row, column] = image[channel, row - down, column - right]
    return moved


@pytest.mark.parametrize("augmentation", ["crop_flip", "randaugment"])
def test_photographs_are_evaluated_on_their_centre(augmentation: str) -> None:
    """Of a picture with a thin frame, the centre crop of 7/8 shows none."""
    framed = np.full((64, 64, 3), 255, np.uint8)
    framed[1:-1, 1:-1] = 100
    images = [torch.from_numpy(framed).permute(2, 0, 1)]
    assert levels_of(evaluation_view(images, 28, augmentation)) == pytest.approx([100 / 255])
    assert evaluation_view(images, 28, "none").max() > 0.5
    three_beside = [torch.from_numpy(np.tile(framed, (1, 3, 1))).permute(2, 0, 1)]
    assert levels_of(evaluation_view(three_beside, 28, augmentation)) == pytest.approx([100 / 255])


def levels_of(view: Tensor) -> list[float]:
    return sorted(set(view.flatten().tolist()))

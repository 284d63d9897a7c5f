"""Folders of somebody's own images with masks: how they lie, what they mean, and what is said of wrong ones."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bench.cli import main
from bench.commands.folders import sentences
from bench.data import read_data, read_masks
from bench.data.dataset import IGNORED
from bench.data.official import files_of, mask_files_of
from bench.errors import InputError
from bench.registry import Registry

REGISTRY = Registry()


def pair(images: Path, masks: Path, stem: str, classes: int = 3, suffix: str = ".jpg") -> None:
    """An image and a mask of 8 × 6 pixels with all classes, and 255."""
    for folder in (images, masks):
        folder.mkdir(parents=True, exist_ok=True)
    state = np.random.RandomState(sum(stem.encode()))
    levels = state.randint(0, classes, (6, 8)).astype(np.uint8)
    levels[0] = [*range(classes), *[IGNORED] * (8 - classes)]
    Image.fromarray(state.randint(0, 256, (6, 8, 3)).astype(np.uint8)).save(images / f"{stem}{suffix}")
    Image.fromarray(levels).save(masks / f"{stem}.png")


def whole(root: Path, count: int = 10) -> Path:
    for number in range(count):
        pair(root / "images", root / "masks", f"{number:02d}")
    return root


def divided(root: Path, parts_first: bool, splits: tuple[str, ...] = ("train", "val", "test")) -> Path:
    """``images/train`` and ``masks/train``, or ``train/images`` and ``train/masks``."""
    for split in splits:
        for number in range(2):
            images, masks = (
                root / kind / split if parts_first else root / split / kind for kind in ("images", "masks")
            )
            pair(images, masks, f"{split}{number}")
    return root


def problem(name: str) -> str:
    with pytest.raises(InputError) as caught:
        REGISTRY.dataset(name)
    (line,) = caught.value.problems
    return line


@pytest.mark.parametrize("parts_first", [True, False])
def test_a_divided_folder(tmp_path: Path, parts_first: bool) -> None:
    card = REGISTRY.dataset(f"folder:{divided(tmp_path, parts_first)}@classes=3")
    assert (card.task, card.metric, card.facts["classes"]) == ("segmentation", "miou", 3)
    assert card.splits == {"train": 2, "val": 2, "test": 2}
    dataset = read_masks(card)
    assert list(dataset.classes) == ["0", "1", "2"]
    for name, split in dataset.splits.items():
        assert [Path(path).stem for path in files_of(split)] == [f"{name}0", f"{name}1"]
        assert [Path(path).stem for path in mask_files_of(split)] == [f"{name}0", f"{name}1"]
    (mask,) = dataset.train.masks.take(np.array([1]))
    assert mask[0].tolist() == [0, 1, 2, *[IGNORED] * 5]
    assert sentences(card)[0].startswith("masks of 3 classes; images: train 2 (")


def test_a_test_split_is_drawn_by_the_seed_and_by_an_image_s_own_name(tmp_path: Path) -> None:
    folder = whole(tmp_path / "mine")

    def tested(seed: int) -> set[str]:
        dataset = read_masks(REGISTRY.dataset(f"folder:{folder}@split=20,seed={seed},classes=3"))
        train, test = ({Path(path).stem for path in files_of(split)} for split in (dataset.train, dataset.test))
        assert (len(train), len(test), dataset.val) == (8, 2, None)
        assert not train & test
        for split in (dataset.train, dataset.test):
            pairs = zip(files_of(split), mask_files_of(split), strict=True)
            assert all(Path(image).stem == Path(mask).stem for image, mask in pairs)
        return test

    assert tested(0) == tested(0)
    assert len({frozenset(tested(seed)) for seed in range(5)}) > 1


def test_without_a_test_split_val_is_tested_on(tmp_path: Path) -> None:
    card = REGISTRY.dataset(f"folder:{divided(tmp_path, True, ('train', 'valid'))}@classes=3")
    assert card.splits == {"train": 2, "test": 2}
    assert sentences(card, 0.5)[1] == (
        "images/valid/ is the test split, as no other is there; 50 % of train is held out for validation"
    )


def test_it_means_its_images_masks_and_the_number_of_classes(tmp_path: Path) -> None:
    folder = whole(tmp_path / "mine", 4)

    def means(choice: str = "split=50,classes=3") -> str:
        return REGISTRY.dataset(f"folder:{folder}@{choice}").means

    first = means()
    assert first not in (means("split=50,classes=4"), means("split=50,seed=1,classes=3"))
    (folder / "classes.txt").write_text("sky\nsea\nland\n")
    assert means("split=50") == means() == first
    (folder / "classes.txt").write_text("a\nb\nc\n")
    assert means("split=50") == first
    folder = folder.rename(tmp_path / "elsewhere")
    assert means() == first
    pair(folder / "images", tmp_path / "away", "00", suffix=".png")
    (folder / "images" / "00.png").rename(tmp_path / "00.png")
    assert means() == first
    pair(tmp_path / "away", folder / "masks", "01", classes=2)
    assert means() != first


def test_names_of_classes_stand_in_a_file(tmp_path: Path) -> None:
    folder = divided(tmp_path, True)
    (folder / "classes.txt").write_text("sky\n\n open sea \nland\n", encoding="utf-8")
    assert list(read_masks(REGISTRY.dataset(f"folder:{folder}")).classes) == ["sky", "open sea", "land"]
    assert "classes=4, and" in problem(f"folder:{folder}@classes=4")
    (folder / "classes.txt").write_text("sky\nsky\n")
    assert problem(f"folder:{folder}").endswith("classes.txt: two classes are called 'sky'")
    (folder / "classes.txt").write_text("sky\n")
    assert "it names 1 classes; masks have 2 to 255" in problem(f"folder:{folder}")


def test_what_is_lacking_is_said_when_it_is_planned(tmp_path: Path) -> None:
    folder = whole(tmp_path / "mine")
    assert "10 images with masks are not divided: write" in problem(f"folder:{folder}@classes=3")
    assert "nothing says of how many classes its masks are: write @classes=N" in problem(f"folder:{folder}@split=20")
    (folder / "masks" / "07.png").unlink()
    assert "1 of 10 images have no mask, the first lacks masks/07.png" in problem(f"folder:{folder}@split=20,classes=3")
    parts = divided(tmp_path / "parts", False)
    assert "it is divided already (train, val, test); leave split=20 away" in problem(
        f"folder:{parts}@split=20,classes=3"
    )
    assert "skip-damaged is for folders of classes" in problem(f"folder:{parts}@classes=3,skip-damaged")
    (parts / "test" / "masks").rename(tmp_path / "gone")
    assert "test/ has no images/ with masks/ beside it" in problem(f"folder:{parts}@classes=3")
    (tmp_path / "birds" / "ape").mkdir(parents=True)
    assert "classes=3 is for masks, and" in problem(f"folder:{tmp_path / 'birds'}@classes=3")
    for choice in ("classes=1", "classes=256", "classes=x"):
        assert "it is the number of classes of masks, 2 to 255" in problem(f"folder:{folder}@{choice}")


def test_of_images_and_masks_by_split_both_are_needed(tmp_path: Path) -> None:
    folder = divided(tmp_path, True)
    (folder / "masks" / "test").rename(folder / "gone")
    assert problem(f"folder:{folder}@classes=3").endswith(f"images/test, and no {folder}/masks/test")


def test_a_check_decodes_images_and_masks_and_names_all_that_is_wrong(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = divided(tmp_path / "mine", False)
    name = f"folder:{folder}@classes=3"
    assert main(["data", "check", name]) == 0
    assert "3 classes, train 2, val 2, test 2 images\n6 images decoded" in capsys.readouterr().out
    palette = Image.fromarray(np.full((6, 8), 2, np.uint8), "P")
    palette.putpalette([0] * 768)
    palette.save(folder / "train" / "masks" / "train1.png")
    assert main(["data", "check", name]) == 0
    capsys.readouterr()
    Image.fromarray(np.full((6, 8), 3, np.uint8)).save(folder / "train" / "masks" / "train0.png")
    Image.new("L", (8, 5)).save(folder / "val" / "masks" / "val0.png")
    (folder / "test" / "masks" / "test0.png").write_bytes(b"")
    Image.new("RGB", (8, 6)).save(folder / "test" / "masks" / "test1.png")
    (folder / "val" / "images" / "val1.jpg").write_bytes(b"no image")
    assert main(["data", "check", name]) == 2
    said = capsys.readouterr().err
    assert "5 of 6 images cannot be used" in said
    assert "train0.png: it has the level 3, and there are 3 classes: levels are 0 to 2" in said
    assert "val0.png: a mask of" in said
    assert "test0.png: it is empty" in said
    assert "test1.png: it is no mask" in said
    assert said.count("val1.jpg: it is no image") == 1
    assert "Traceback" not in said


def test_a_level_that_is_no_class_stops_a_training_in_a_line(tmp_path: Path) -> None:
    dataset = read_masks(REGISTRY.dataset(f"folder:{divided(tmp_path, True)}@classes=2"))
    with pytest.raises(InputError, match=r"train0\.png: it has the level 2, and there are 2 classes"):
        dataset.train.masks.take(np.array([0]))


def test_it_is_no_dataset_of_labels(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="it is for segmentation"):
        read_data(REGISTRY.dataset(f"folder:{divided(tmp_path, True)}@classes=3"))


def test_a_rehearsal_takes_some_of_its_images_with_their_masks(tmp_path: Path) -> None:
    folder = whole(tmp_path / "mine", 20)
    part = read_masks(REGISTRY.dataset(f"rehearsal:train=8+test=3+seed=0:folder:{folder}@split=20,classes=3"))
    assert (len(part.train), len(part.test)) == (8, 3)
    pairs = zip(files_of(part.train), mask_files_of(part.train), strict=True)
    assert all(Path(image).stem == Path(mask).stem for image, mask in pairs)


def test_a_card_of_one_s_own_may_say_it(tmp_path: Path) -> None:
    divided(tmp_path / "pictures", True)
    (tmp_path / "datasets").mkdir()
    text = "title: Mine\nreader: folder\npath: ../pictures\noptions: {classes: 3}\n"
    (tmp_path / "datasets" / "mine.yaml").write_text(text)
    card = Registry([tmp_path]).dataset("mine")
    assert (card.task, card.facts["classes"]) == ("segmentation", 3)
    assert card.means == REGISTRY.dataset(f"folder:{tmp_path / 'pictures'}@classes=3").means
    (tmp_path / "datasets" / "mine.yaml").write_text(f"{text}task: classification\n")
    with pytest.raises(InputError, match=r"'task' says classification, and .* has segmentation"):
        Registry([tmp_path]).dataset("mine")


def test_planning_does_without_torch(tmp_path: Path) -> None:
    code = (
        "import sys, bench\n"
        f"card = bench.Registry().dataset('folder:{divided(tmp_path, True)}@classes=3')\n"
        "assert card.named and not {'torch', 'timm', 'PIL', 'numpy'} & {*sys.modules}\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)

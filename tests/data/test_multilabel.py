"""Images that show several classes: PASCAL VOC's lists, the batches of a run, and what refuses them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image

from bench.cards import DatasetCard
from bench.cards.rehearsal import Excerpt, rehearsal_dataset
from bench.cli import main
from bench.data import ArrayImages, Dataset, TrainingImages, hold_out
from bench.data.masks import VOC_CLASSES
from bench.data.multilabel import MultiLabelBatch, MultiLabelSplit
from bench.data.official import Official, files_of, open_dataset
from bench.data.read import read_data
from bench.errors import InputError
from bench.protocol import Protocol, Recipe
from bench.registry import Registry
from bench.task import find_task

CPU = torch.device("cpu")
CLASSES = VOC_CLASSES[1:]
STEMS = {"train": ["2008_000002", "2008_000003", "2008_000007"], "val": ["2008_000008", "2008_000015"]}
MARKS = {
    ("aeroplane", "train"): [1, -1, 0],
    ("person", "train"): [1, 1, -1],
    ("tvmonitor", "val"): [-1, 1],
    ("person", "val"): [0, 1],
}
"""Of the other classes there is nothing in an image."""


def voc(root: Path) -> DatasetCard:
    """Columns as they are published: of a positive mark a blank more stands before it."""
    base = root / "VOCdevkit" / "VOC2012"
    (base / "ImageSets" / "Main").mkdir(parents=True)
    (base / "JPEGImages").mkdir()
    for name, stems in STEMS.items():
        for stem in stems:
            Image.fromarray(np.full((6, 8, 3), 90, np.uint8)).save(base / "JPEGImages" / f"{stem}.jpg")
        for label in CLASSES:
            marks = MARKS.get((label, name), [-1] * len(stems))
            lines = [f"{stem} {mark:2d}" for stem, mark in zip(stems, marks, strict=True)]
            (base / "ImageSets" / "Main" / f"{label}_{name}.txt").write_text("\n".join(lines) + "\n")
    card = Registry().dataset("voc2012_labels")
    sizes = {"official": {"train": 3, "val": 2}, "splits": {"train": 3, "test": 2}}
    return replace(card, path=str(root), facts={**card.facts, **sizes})


def opened(card: DatasetCard) -> Dataset:
    return find_task("multilabel").read(card)


def present(split: Any, label: str) -> list[float]:
    assert isinstance(split, MultiLabelSplit)
    return [float(value) for value in split.present[:, CLASSES.index(label)]]


def test_voc(tmp_path: Path) -> None:
    dataset = opened(voc(tmp_path))
    assert tuple(dataset.classes) == CLASSES
    assert len(CLASSES) == 20
    assert [Path(path).stem for path in files_of(dataset.train)] == STEMS["train"]
    assert [Path(path).stem for path in files_of(dataset.test)] == STEMS["val"]
    for name, split in (("train", dataset.train), ("val", dataset.test)):
        for label in CLASSES:
            marks = MARKS.get((label, name), [-1] * len(split))
            assert repr(present(split, label)) == repr([{1: 1.0, -1: 0.0, 0: float("nan")}[mark] for mark in marks])


def test_the_card_is_that_of_the_challenge() -> None:
    card = Registry().dataset("voc2012_labels")
    assert (card.splits, card.facts["classes"]) == ({"train": 5717, "test": 5823}, 20)
    assert (card.task, card.metric) == ("multilabel", "map")


def test_images_are_checked_by_the_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    card = voc(tmp_path)
    monkeypatch.setattr(Registry, "dataset", lambda self, name: card)
    assert main(["data", "check", "voc2012_labels", "--images"]) == 0
    out = capsys.readouterr().out
    assert "20 classes, train 3, test 2 images, as its card says" in out
    assert "5 images decoded" in out


@pytest.mark.parametrize(
    ("file", "text", "says"),
    [
        ("cow_train.txt", "2008_000002 -1\n2008_000003 -1\n2008_000009 -1\n", "'train' do not name the same images"),
        ("cow_train.txt", "2008_000002 -1\n", "ValueError"),
        (
            "cow_train.txt",
            "2008_000002 -1\n2008_000003 2\n2008_000007 -1\n",
            "'train' has something else than 0, 1 or nan",
        ),
        ("cow_train.txt", "2008_000002 -1\n2008_000003 x\n2008_000007 -1\n", "could not convert string to float"),
        ("cow_val.txt", None, "FileNotFoundError"),
    ],
)
def test_lists_that_are_wrong(tmp_path: Path, file: str, text: str | None, says: str) -> None:
    card = voc(tmp_path)
    path = tmp_path / "VOCdevkit" / "VOC2012" / "ImageSets" / "Main" / file
    path.unlink() if text is None else path.write_text(text)
    with pytest.raises(InputError, match=says) as caught:
        opened(card)
    assert "\n" not in str(caught.value)


def test_a_rehearsal_takes_some_images_with_what_they_show(tmp_path: Path) -> None:
    card = voc(tmp_path)
    whole, part = opened(card), opened(rehearsal_dataset(card, Excerpt(train=8, test=1)))
    assert (len(part.train), len(part.test)) == (3, 1)
    place = files_of(whole.test).index(files_of(part.test)[0])
    assert repr(present(part.test, "person")) == repr(present(whole.test, "person")[place : place + 1])
    drawn = opened(rehearsal_dataset(card, Excerpt(train=80, test=1, drawn=True)))
    assert isinstance(drawn.train, MultiLabelSplit)
    assert len(drawn.test) == 1


def test_an_image_that_is_missing(tmp_path: Path) -> None:
    card = voc(tmp_path)
    gone = tmp_path / "VOCdevkit" / "VOC2012" / "JPEGImages" / "2008_000015.jpg"
    gone.unlink()
    with pytest.raises(InputError, match=f"1 of 5 files are missing, the first is {gone}"):
        opened(card)


def test_a_reader_of_another_task_is_refused(tmp_path: Path) -> None:
    card = voc(tmp_path)
    with pytest.raises(InputError, match="it is for multilabel: its images have not one label each"):
        read_data(card)
    labelled = replace(card, reader="pets")
    with pytest.raises(InputError, match="no reader for multilabel is called 'pets'"):
        opened(labelled)
    lists = {name: split for name, split in zip(("train", "val"), (read_digits(), read_digits()), strict=True)}
    official: Any = Official(CLASSES, lists)
    sized = replace(card, facts={**card.facts, "official": {"train": 9, "val": 9}})
    with pytest.raises(InputError, match="gives 'train' as a Split; its task, multilabel, needs a MultiLabelSplit"):
        open_dataset(sized, lambda card: official, MultiLabelSplit)


def read_digits() -> Any:
    return read_data(Registry().dataset("digits")).train.part(np.arange(9))


def small(images: int = 12) -> MultiLabelSplit:
    state = np.random.RandomState(0)
    pixels = state.randint(0, 256, (images, 6, 6, 1)).astype(np.uint8)
    present = state.randint(0, 2, (images, 3)).astype(np.float16)
    present[0, 0] = np.nan
    return MultiLabelSplit.unlabelled(ArrayImages(pixels), present=present)


def data_of(split: MultiLabelSplit, **settings: Any) -> TrainingImages:
    protocol = Protocol(Recipe(steps=3), batch_size=4, augmentation="none", **settings)
    return TrainingImages(split, np.arange(len(split)), 3, protocol, 6, 0, CPU)


def test_part_and_joined_keep_what_is_shown_with_its_image() -> None:
    split = small()
    part = split.part(np.array([3, 0]))
    assert np.array_equal(part.present, split.present[[3, 0]], equal_nan=True)
    joined = split.joined([split], split.images)
    assert np.array_equal(joined.present, np.concatenate([split.present] * 2), equal_nan=True)
    assert len(joined.labels) == 24


def test_what_is_held_out_is_drawn_from_all_images_alike() -> None:
    kept, out = hold_out(small().labels, 0.25, 1)
    assert (len(kept), len(out)) == (9, 3)


def test_batches_have_what_their_images_show() -> None:
    split = small()
    data = data_of(split)
    (plain,) = data.plain()
    assert isinstance(plain, MultiLabelBatch)
    assert np.array_equal(plain.targets, split.present, equal_nan=True)
    pixels = {image.numpy().tobytes(): row for image, row in zip(plain.images, plain.targets, strict=True)}
    for step in range(3):
        batch = data.batch(step)
        assert isinstance(batch, MultiLabelBatch)
        for image, row in zip(batch.images, batch.targets, strict=True):
            assert torch.equal(row.nan_to_num(9), pixels[image.numpy().tobytes()].nan_to_num(9))


def test_targets_are_mixed_as_images_are() -> None:
    plain, mixed = (data_of(small(4), mixup=alpha).batch(0) for alpha in (0.0, 1.0))
    share = (mixed.images - plain.images.flip(0)).abs().sum() / (plain.images - plain.images.flip(0)).abs().sum()
    expected = share * plain.targets + (1 - share) * plain.targets.flip(0)
    assert 0 < share < 1
    torch.testing.assert_close(mixed.targets, expected, equal_nan=True)


def test_the_loss_is_the_mean_binary_cross_entropy_of_what_counts() -> None:
    logits = torch.randn(2, 3, generator=torch.Generator().manual_seed(0), requires_grad=True)
    targets = torch.tensor([[1.0, 0.0, torch.nan], [0.5, 1.0, 0.0]])
    batch = MultiLabelBatch(torch.zeros(2, 1, 2, 2), torch.zeros(2, dtype=torch.long), targets, 0.0)
    output: Any = SimpleNamespace(logits=logits)
    loss = batch.cross_entropy(output)
    each = F.binary_cross_entropy(logits.sigmoid(), targets.nan_to_num(), reduction="none")
    counted = [each[0, 0], each[0, 1], *each[1]]
    torch.testing.assert_close(loss, torch.stack(counted).sum() / 6)
    (gradient,) = torch.autograd.grad(loss, logits)
    assert gradient[0, 2] == 0
    assert gradient.isfinite().all()


def test_parts_of_a_batch_have_the_loss_of_the_whole() -> None:
    batch = data_of(small()).batch(0)
    logits = torch.randn(4, 3, generator=torch.Generator().manual_seed(0))
    parts = list(batch.divided(2))
    whole: Any = SimpleNamespace(logits=logits)
    halves: list[Any] = [SimpleNamespace(logits=half) for half in logits.chunk(2)]
    losses = [part.cross_entropy(half) for part, half in zip(parts, halves, strict=True)]
    torch.testing.assert_close(torch.stack(losses).mean(), batch.cross_entropy(whole))


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"label_smoothing": 0.1}, "label_smoothing is for images with one label each"),
        ({"augmentation": "mmseg"}, "no augmentation mmseg"),
        ({"inference": "slide"}, "inference is for masks"),
    ],
)
def test_why_a_protocol_cannot_train_it(settings: dict[str, Any], says: str) -> None:
    task = find_task("multilabel")
    assert task.why_not(Protocol()) == ""
    assert task.why_not(Protocol(mixup=0.8, cutmix=1.0, erasing=0.25)) == ""
    assert says in task.why_not(Protocol(**settings))


def test_a_task_that_is_not_there_is_told_with_those_that_are(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "mine" / "datasets").mkdir(parents=True)
    text = Registry().dataset_files["digits"].read_text(encoding="utf-8").replace("classification", "multilable", 1)
    (here / "mine" / "datasets" / "odd.yaml").write_text(text, encoding="utf-8")
    assert main(["plan", "demo", "--datasets", "odd", "--plugin", "mine"]) == 2
    said = "'task' must be one of classification, multilabel, segmentation, not 'multilable'"
    assert said in capsys.readouterr().err

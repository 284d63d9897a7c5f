"""Every reader, on a small replica in the official layout: images, labels and splits are those of the lists."""

from __future__ import annotations

import hashlib
import itertools
import json
import pickle
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torchvision
from PIL import Image
from scipy.io import savemat

from bench.cards import DatasetCard
from bench.cards.dataset import read_dataset
from bench.cards.readers import EVERY_READER, READERS
from bench.data import ArrayImages, Dataset, FileImages, Split, read_data
from bench.data.official import files_of
from bench.errors import InputError
from bench.images.raster import Undecodable
from bench.registry import Registry

REGISTRY = Registry()
GENERATED = {"digits", "cluttered_digits", "folder"}

Row = tuple[str, int]
"""What tells an image (its path in the dataset's folder, or a digest of its pixels), and its label."""


@dataclass
class Replica:
    """A dataset of a few images in its official layout.

    Attributes:
        root: the folder that stands for ``$BENCH_DATA/NAME``.
        rows: of each official list, in its order.
        facts: what the card says of the replica in place of the published numbers.
        classes: their names, by label.
    """

    root: Path
    rows: dict[str, list[Row]] = field(default_factory=dict)
    facts: dict[str, Any] = field(default_factory=dict)
    classes: list[str] = field(default_factory=list)
    numbers: Any = field(default_factory=itertools.count)

    def pixels(self, height: int = 9, width: int = 7) -> npt.NDArray[np.uint8]:
        """Noise of its own, so that no two images are alike."""
        return np.random.RandomState(next(self.numbers)).randint(0, 256, (height, width, 3)).astype(np.uint8)

    def image(self, path: str) -> str:
        """A new image file, every third of them grey."""
        target = self.root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        image = Image.fromarray(self.pixels())
        (image.convert("L") if next(self.numbers) % 3 == 0 else image).save(target)
        return path

    def text(self, path: str, lines: list[str]) -> None:
        target = self.root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text("\n".join(lines) + "\n", encoding="utf-8")

    def matrix(self, path: str, **content: Any) -> None:
        target = self.root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        savemat(target, content)


def fingerprint(pixels: npt.NDArray[np.uint8]) -> str:
    return hashlib.md5(np.ascontiguousarray(pixels).tobytes()).hexdigest()


def make_cifar(made: Replica, folder: str, files: dict[str, list[str]], labels: str, meta: str, names: str) -> None:
    made.classes = ["apple", "boat", "cat"]
    (made.root / folder).mkdir(parents=True)
    for name, parts in files.items():
        made.rows[name] = []
        for part in parts:
            images = np.stack([made.pixels(32, 32) for _ in range(3)])
            content = {"data": images.transpose(0, 3, 1, 2).reshape(3, -1), labels: [0, 2, 1]}
            (made.root / folder / part).write_bytes(pickle.dumps(content))
            made.rows[name] += [(fingerprint(image), label) for image, label in zip(images, [0, 2, 1], strict=True)]
    (made.root / folder / meta).write_bytes(pickle.dumps({names: made.classes}))


def cifar10(made: Replica) -> None:
    parts = {"train": [f"data_batch_{number}" for number in range(1, 6)], "test": ["test_batch"]}
    make_cifar(made, "cifar-10-batches-py", parts, "labels", "batches.meta", "label_names")


def cifar100(made: Replica) -> None:
    parts = {"train": ["train"], "test": ["test"]}
    make_cifar(made, "cifar-100-python", parts, "fine_labels", "meta", "fine_label_names")


def svhn(made: Replica) -> None:
    made.classes = [str(digit) for digit in range(10)]
    for name, stored in {"train": [10, 3, 1], "test": [7, 10], "extra": [5]}.items():
        images = np.stack([made.pixels(32, 32) for _ in stored])
        made.matrix(f"{name}_32x32.mat", X=images.transpose(1, 2, 3, 0), y=np.array(stored)[:, None])
        made.rows[name] = [(fingerprint(image), label % 10) for image, label in zip(images, stored, strict=True)]


def cub200(made: Replica) -> None:
    made.classes = ["001.Black_footed_Albatross", "002.Laysan_Albatross"]
    made.rows = {"train": [], "test": []}
    lines: dict[str, list[str]] = {"images": [], "image_class_labels": [], "train_test_split": []}
    for number, (label, side) in enumerate([(0, 1), (0, 0), (1, 1), (1, 1), (1, 0)], 1):
        file = f"{made.classes[label]}/bird_{number}.jpg"
        path = made.image(f"CUB_200_2011/images/{file}")
        lines["images"].append(f"{number} {file}")
        lines["image_class_labels"].append(f"{number} {label + 1}")
        lines["train_test_split"].append(f"{number} {side}")
        made.rows["train" if side else "test"].append((path, label))
    for name, text in lines.items():
        made.text(f"CUB_200_2011/{name}.txt", text)
    made.text("CUB_200_2011/classes.txt", [f"{label} {name}" for label, name in enumerate(made.classes, 1)])


def nabirds(made: Replica) -> None:
    """Numbers of images are no numbers, those of categories leave gaps, and the tree has more than images have."""
    made.classes = ["Oak Titmouse", "American Kestrel (Female, immature)", "American Kestrel (Adult male)"]
    numbers = [817, 930, 1003]
    made.rows = {"train": [], "test": []}
    lines: dict[str, list[str]] = {"images": [], "image_class_labels": [], "train_test_split": [], "sizes": []}
    for image, (label, side) in enumerate([(1, 1), (0, 0), (0, 1), (2, 1), (2, 0), (1, 0)]):
        number, file = f"000{image}39e-21dc-4d0c-bfe1", f"{numbers[label]:04d}/000{image}39e21dc4d0cbfe1.jpg"
        lines["images"].append(f"{number} {file}")
        lines["image_class_labels"].append(f"{number} {numbers[label]}")
        lines["train_test_split"].append(f"{number} {side}")
        lines["sizes"].append(f"{number} 7 9")
        made.rows["train" if side else "test"].append((made.image(f"nabirds/images/{file}"), label))
    for name, text in lines.items():
        made.text(f"nabirds/{name}.txt", text)
    named = [f"{number} {name}" for number, name in zip(numbers, made.classes, strict=True)]
    made.text("nabirds/classes.txt", ["0 Birds", "1 Ducks, Geese, and Swans", *named])


def make_vtab(made: Replica, task: str, labels: dict[str, list[int]]) -> None:
    """As NOAH's script writes a task: a folder of images for each list, of which one repeats the pictures of two."""
    for name, each in labels.items():
        made.rows[name] = [(made.image(f"{task}/images/{name}/{at:06d}.jpg"), label) for at, label in enumerate(each)]
        made.text(f"{task}/{name}.txt", [f"images/{name}/{at:06d}.jpg {label}" for at, label in enumerate(each)])


def vtab_kitti(made: Replica) -> None:
    """Classes with names; the training lists lack one of them."""
    made.classes = ["up to 8 m", "8 to 20 m", "above 20 m", "no vehicle"]
    lists = {"train800": [1, 0, 3, 0], "val200": [3, 1], "train800val200": [1, 0, 3, 0, 3, 1], "test": [2, 0, 3]}
    make_vtab(made, "kitti", lists)


def vtab_dsprites_loc(made: Replica) -> None:
    """Classes by number."""
    made.classes = ["0", "1", "2"]
    make_vtab(made, "dsprites_loc", {"train800": [2, 0], "val200": [1], "train800val200": [2, 0, 1], "test": [0, 1, 2]})


def stanford_cars(made: Replica) -> None:
    made.classes = ["AM General Hummer SUV 2000", "Acura RL Sedan 2012", "Audi V8 Sedan 1994"]
    annotations = {"train": "devkit/cars_train_annos.mat", "test": "cars_test_annos_withlabels.mat"}
    for name, labels in {"train": [2, 0, 1], "test": [1, 0]}.items():
        fields = [(key, object) for key in ("bbox_x1", "bbox_y1", "bbox_x2", "bbox_y2", "class", "fname")]
        rows = np.zeros((1, len(labels)), dtype=fields)
        made.rows[name] = []
        for number, label in enumerate(labels):
            file = f"{number + 1:05d}.jpg"
            rows[0, number] = (1, 1, 5, 5, label + 1, file)
            made.rows[name].append((made.image(f"stanford_cars/cars_{name}/{file}"), label))
        made.matrix(f"stanford_cars/{annotations[name]}", annotations=rows)
    made.matrix("stanford_cars/devkit/cars_meta.mat", class_names=np.array(made.classes, dtype=object)[None])


def fgvc_aircraft(made: Replica) -> None:
    made.classes = ["707-320", "BAE 146-200", "F/A-18"]
    data, lists = "fgvc-aircraft-2013b/data", {"train": [0, 2, 1], "val": [1, 2, 0], "test": [2, 0]}
    numbers = iter(range(34309, 40000))
    for name, labels in lists.items():
        files = [f"{next(numbers):07d}" for _ in labels]
        paths = [made.image(f"{data}/images/{file}.jpg") for file in files]
        made.rows[name] = list(zip(paths, labels, strict=True))
        lines = [f"{file} {made.classes[label]}" for file, label in zip(files, labels, strict=True)]
        made.text(f"{data}/images_variant_{name}.txt", lines)
    both = [(made.root / data / f"images_variant_{name}.txt").read_text().splitlines() for name in ("train", "val")]
    made.text(f"{data}/images_variant_trainval.txt", sorted(both[0] + both[1]))
    made.rows["trainval"] = sorted(made.rows["train"] + made.rows["val"])
    made.text(f"{data}/variants.txt", made.classes)


def stanford_dogs(made: Replica) -> None:
    made.classes = ["n02085620-Chihuahua", "n02112350-keeshond"]
    for name, labels in {"train": [0, 1, 1], "test": [1, 0]}.items():
        files = [f"{made.classes[label]}/{name}_{number}.jpg" for number, label in enumerate(labels)]
        cells = np.empty((len(files), 1), dtype=object)
        cells[:, 0] = files
        made.matrix(f"{name}_list.mat", file_list=cells, labels=np.array(labels)[:, None] + 1)
        made.rows[name] = [(made.image(f"Images/{file}"), label) for file, label in zip(files, labels, strict=True)]


def oxford_pets(made: Replica) -> None:
    made.classes = ["Abyssinian", "american_bulldog"]
    for name, numbers in {"trainval": (1, 2), "test": (201, 202)}.items():
        rows = [(f"{breed}_{number}", label) for label, breed in enumerate(made.classes) for number in numbers]
        made.rows[name] = [(made.image(f"oxford-iiit-pet/images/{file}.jpg"), label) for file, label in rows]
        made.text(f"oxford-iiit-pet/annotations/{name}.txt", [f"{file} {label + 1} 1 1" for file, label in rows])


def oxford_flowers102(made: Replica) -> None:
    made.classes = list(torchvision.datasets.Flowers102.classes)
    labels = np.array([77, 77, 1, 102, 1, 3, 50, 51])
    lists = {"train": [2, 5], "val": [1, 8], "test": [3, 4, 6, 7]}
    paths = [made.image(f"flowers-102/jpg/image_{number:05d}.jpg") for number in range(1, 9)]
    made.matrix("flowers-102/imagelabels.mat", labels=labels[None])
    made.matrix("flowers-102/setid.mat", trnid=[lists["train"]], valid=[lists["val"]], tstid=[lists["test"]])
    made.rows = {name: [(paths[n - 1], int(labels[n - 1]) - 1) for n in chosen] for name, chosen in lists.items()}


def dtd(made: Replica) -> None:
    made.classes = ["banded", "zigzagged"]
    for partition in range(1, 11):
        for name in ("train", "val", "test"):
            files = [f"{kind}/{kind}_{name}_{partition}.jpg" for kind in made.classes]
            made.text(f"dtd/dtd/labels/{name}{partition}.txt", files)
            paths = [made.image(f"dtd/dtd/images/{file}") for file in files]
            if partition == 1:
                made.rows[name] = list(zip(paths, (0, 1), strict=True))


def caltech101(made: Replica) -> None:
    made.classes = ["BACKGROUND_Google", "Faces", "Faces_easy", "accordion"]
    folder = "caltech101/101_ObjectCategories"
    everything = [
        (made.image(f"{folder}/{name}/image_{number:04d}.jpg"), label)
        for label, name in enumerate(made.classes)
        for number in range(1, 6 + label)
    ]
    made.text(f"{folder}/Faces/._image_0001.jpg", ["what a desktop leaves behind"])
    made.facts["options"] = {"background": True, "per_class": 3, "seed": 0}
    made.rows = {
        "train": everything[:12],
        "test": everything[12:],
    }  # as many as that; which ones is what a seed decides


def make_imagenet(made: Replica, roots: dict[str, list[str]]) -> None:
    made.classes = sorted(wnid for wnids in roots.values() for wnid in wnids)
    for name, suffix, count in (("train", "JPEG", 3), ("val", "JPEG", 2)):
        rows = [
            (made.image(f"{root}{name}/{wnid}/ILSVRC2012_{name}_{wnid}_{number}.{suffix}"), made.classes.index(wnid))
            for root, wnids in roots.items()
            for wnid in wnids
            for number in range(count)
        ]
        made.rows[name] = sorted(rows, key=lambda row: (row[1], row[0]))


def imagenet1k(made: Replica) -> None:
    make_imagenet(made, {"": ["n01440764", "n01443537", "n02085620"]})


def imagenet100(made: Replica) -> None:
    """Three classes are there and two of them are used, written in another order than that of their labels."""
    make_imagenet(made, {"": ["n01440764", "n01443537", "n02085620"]})
    kept, made.classes = [0, 2], ["n01440764", "n02085620"]
    made.rows = {k: [(p, kept.index(label)) for p, label in rows if label in kept] for k, rows in made.rows.items()}
    made.facts["options"] = {"wnids": ["n02085620", "n01440764"]}


def imagenet20(made: Replica) -> None:
    make_imagenet(made, {"imagenette2/": ["n01440764", "n03888257"], "imagewoof2/": ["n02086240", "n02115641"]})


def places365(made: Replica) -> None:
    made.classes = ["/a/airfield", "/a/airplane_cabin", "/b/bakery/shop"]
    train = [(f"{made.classes[label]}/0000000{number}.jpg", label) for number, label in enumerate([0, 2, 1, 0])]
    val = [(f"Places365_val_0000000{number}.jpg", label) for number, label in enumerate([1, 2])]
    made.text("categories_places365.txt", [f"{name} {label}" for label, name in enumerate(made.classes)])
    made.text("places365_train_standard.txt", [f"{file} {label}" for file, label in train])
    made.text("places365_val.txt", [f"{file} {label}" for file, label in val])
    made.rows["train"] = [(made.image(f"data_256_standard{file}"), label) for file, label in train]
    made.rows["val"] = [(made.image(f"val_256/{file}"), label) for file, label in val]


def inat2017(made: Replica) -> None:
    """Annotations stand in another order than images, and ids are not places."""
    made.classes = ["Acer rubrum", "Danaus plexippus", "Ursus americanus"]
    categories = [{"id": label, "name": name, "supercategory": "x"} for label, name in enumerate(made.classes)]
    for name, labels in {"train": [2, 0, 1], "val": [1, 2]}.items():
        files = [
            made.image(f"train_val_images/Life/{made.classes[label]}/{name}{n}.jpg") for n, label in enumerate(labels)
        ]
        images = [{"id": 70 + 3 * number, "file_name": file} for number, file in enumerate(files)]
        rows = [{"id": n, "image_id": 70 + 3 * n, "category_id": label} for n, label in enumerate(labels)][::-1]
        content = {"images": images, "annotations": rows, "categories": categories[::-1]}
        made.text(f"{name}2017.json", [json.dumps(content)])
        made.rows[name] = list(zip(files, labels, strict=True))[::-1]


def domainnet(made: Replica) -> None:
    """As in ``painting``, the training list lacks a class and the test list another one."""
    made.classes = ["The_Eiffel_Tower", "syringe", "t-shirt"]
    for name, labels in {"train": [0, 1, 1], "test": [2, 0]}.items():
        files = [f"painting/{made.classes[label]}/painting_{name}_{n}.jpg" for n, label in enumerate(labels)]
        made.rows[name] = [(made.image(file), label) for file, label in zip(files, labels, strict=True)]
        made.text(f"painting_{name}.txt", [f"{file} {label}" for file, label in made.rows[name]])


def pacs(made: Replica) -> None:
    """Labels are 1 to 7, and a line has a 0 by mistake, as in the published list of art paintings."""
    made.classes = ["dog", "elephant", "giraffe", "guitar", "horse", "house", "person"]
    for name, labels in {"train": range(7), "crossval": [6, 0, 3]}.items():
        files = [f"art_painting/{made.classes[label]}/{name}_{label}.jpg" for label in labels]
        made.rows[name] = [(made.image(file), label) for file, label in zip(files, labels, strict=True)]
        lines = [f"{file} {0 if name == 'crossval' and label == 0 else label + 1}" for file, label in made.rows[name]]
        made.text(f"art_painting_{name}_kfold.txt", lines)


MAKERS: dict[str, Callable[[Replica], None]] = {
    "caltech101": caltech101,
    "cifar10": cifar10,
    "cifar100": cifar100,
    "cub200": cub200,
    "domainnet_painting": domainnet,
    "dtd": dtd,
    "fgvc_aircraft": fgvc_aircraft,
    "imagenet100": imagenet100,
    "imagenet1k": imagenet1k,
    "imagenet20": imagenet20,
    "inat2017": inat2017,
    "nabirds": nabirds,
    "oxford_flowers102": oxford_flowers102,
    "oxford_pets": oxford_pets,
    "pacs_art_painting": pacs,
    "places365": places365,
    "stanford_cars": stanford_cars,
    "stanford_dogs": stanford_dogs,
    "svhn": svhn,
    "vtab_dsprites_loc": vtab_dsprites_loc,
    "vtab_kitti": vtab_kitti,
}
CHOICES = [
    *MAKERS,
    *("oxford_flowers102@train", "fgvc_aircraft@train", "dtd@train", "svhn@extra"),
    *("vtab_dsprites_loc@full", "vtab_kitti@full"),
]
IN_MEMORY = {"cifar10", "cifar100", "svhn"}
LISTED = sorted(set(MAKERS) - IN_MEMORY)


@pytest.fixture(autouse=True)
def own_checksums(monkeypatch: pytest.MonkeyPatch) -> None:
    """Torchvision knows the checksums of some published files; a replica has its own, which its card states."""
    for module in ("cifar", "flowers102", "places365", "svhn"):
        monkeypatch.setattr(
            f"torchvision.datasets.{module}.check_integrity", lambda path, md5=None: Path(path).is_file()
        )


@pytest.fixture
def replica(tmp_path: Path) -> Callable[[str], tuple[DatasetCard, Replica]]:
    """The replica of a dataset by its name, and its card: the suite's own with the replica's numbers and checksums."""

    def make(name: str) -> tuple[DatasetCard, Replica]:
        plain = name.partition("@")[0]
        made = Replica(tmp_path / "data" / plain)
        MAKERS[plain](made)
        return small_card(name, made), made

    return make


def small_card(name: str, made: Replica) -> DatasetCard:
    card = read_dataset(name, REGISTRY.dataset_files[name.partition("@")[0]])
    sizes = {key: len(rows) for key, rows in made.rows.items()}
    sums = {file: f"md5:{hashlib.md5((made.root / file).read_bytes()).hexdigest()}" for file in checked(card)}
    splits = {split: sum(sizes[part] for part in parts) for split, parts in card.use.items()}
    facts = {"official": sizes, "classes": len(made.classes), "checksums": sums, "splits": splits}
    return replace(card, path=str(made.root), facts={**card.facts, **facts, **made.facts})


def checked(card: DatasetCard) -> list[str]:
    return list(card.facts.get("checksums", {}))


def rows_of(split: Split, root: Path) -> list[Row]:
    if isinstance(split.images, ArrayImages):
        names = [fingerprint(image) for image in split.images.pixels]
    else:
        names = [Path(path).relative_to(root).as_posix() for path in files_of(split)]
    return list(zip(names, split.labels.tolist(), strict=True))


def splits_of(dataset: Dataset) -> dict[str, Split]:
    both = {"train": dataset.train, "val": dataset.val, "test": dataset.test}
    return {name: split for name, split in both.items() if split is not None}


Make = Callable[[str], tuple[DatasetCard, Replica]]


def test_every_reader_has_a_replica_here() -> None:
    readers = {REGISTRY.dataset(name).reader for name in MAKERS}
    assert readers == set(READERS) - GENERATED
    assert {REGISTRY.dataset(name).reader for name in REGISTRY.dataset_files} == EVERY_READER - {"folder"}


@pytest.mark.parametrize("name", [name for name in CHOICES if name != "caltech101"])
def test_images_and_labels_are_those_of_the_official_lists_in_their_order(name: str, replica: Make) -> None:
    card, made = replica(name)
    dataset = read_data(card)
    assert list(dataset.classes) == made.classes
    for split, found in splits_of(dataset).items():
        expected = [row for part in card.use[split] for row in made.rows[part]]
        assert rows_of(found, made.root) == expected
        assert found.labels.dtype == np.int64


@pytest.mark.parametrize("name", CHOICES)
def test_no_image_is_in_two_splits(name: str, replica: Make) -> None:
    card, made = replica(name)
    found = [{row[0] for row in rows_of(split, made.root)} for split in splits_of(read_data(card)).values()]
    assert sum(map(len, found)) == len(set.union(*found)) == sum(card.facts["splits"].values())


@pytest.mark.parametrize("name", CHOICES)
def test_every_image_is_given_with_its_own_pixels(name: str, replica: Make) -> None:
    card, made = replica(name)
    for split in splits_of(read_data(card)).values():
        taken = split.images.take(np.arange(len(split))[::-1])
        for image, (told, _) in zip(taken, rows_of(split, made.root)[::-1], strict=True):
            pixels = image.permute(1, 2, 0).numpy()
            if name.partition("@")[0] in IN_MEMORY:
                assert fingerprint(pixels) == told
            else:
                assert np.array_equal(pixels, np.asarray(Image.open(made.root / told).convert("RGB")))


def test_variants_use_other_lists(replica: Make) -> None:
    default, made = replica("oxford_flowers102")
    chosen = small_card("oxford_flowers102@train", made)
    whole, part = read_data(default), read_data(chosen)
    assert whole.val is None
    assert part.val is not None
    assert (len(whole.train), len(part.train), len(part.val)) == (4, 2, 2)
    assert rows_of(whole.test, made.root) == rows_of(part.test, made.root)
    assert rows_of(whole.train, made.root) == rows_of(part.train, made.root) + rows_of(part.val, made.root)


def test_partitions_of_dtd_are_other_images(replica: Make) -> None:
    _, made = replica("dtd")
    found = {name: read_data(small_card(name, made)) for name in ("dtd", "dtd@p2", "dtd@p10")}
    assert len({tuple(rows_of(dataset.test, made.root)) for dataset in found.values()}) == 3
    assert all("_10.jpg" in path for path, _ in rows_of(found["dtd@p10"].train, made.root))


# ---- what is wrong is told


def refused(card: DatasetCard) -> str:
    with pytest.raises(InputError) as caught:
        read_data(card)
    (problem,) = caught.value.problems
    assert problem.startswith(f"{card.name}: ")
    return problem


@pytest.mark.parametrize("name", MAKERS)
def test_another_number_of_images_than_the_card_says(name: str, replica: Make) -> None:
    card, _ = replica(name)
    part = card.lists[0]
    official = {**card.facts["official"], part: card.facts["official"][part] + 1}
    problem = refused(replace(card, facts={**card.facts, "official": official}))
    assert f"'{part}': {official[part]}" in problem
    assert f"'{part}': {official[part] - 1}" in problem
    assert f"bench data prepare {name}" in problem


@pytest.mark.parametrize("name", MAKERS)
def test_another_number_of_classes_than_the_card_says(name: str, replica: Make) -> None:
    card, made = replica(name)
    problem = refused(replace(card, facts={**card.facts, "classes": 999}))
    assert "999 classes" in problem
    assert f"{len(made.classes)} classes" in problem


@pytest.mark.parametrize("name", MAKERS)
def test_a_folder_that_is_not_there(name: str, replica: Make) -> None:
    card, made = replica(name)
    shutil.rmtree(made.root)
    problem = refused(card)
    assert f"there is no folder {made.root}" in problem
    assert card.facts["expects"][0] in problem
    assert "BENCH_DATA" in problem


@pytest.mark.parametrize("name", MAKERS)
def test_a_part_that_is_not_there(name: str, replica: Make) -> None:
    card, made = replica(name)
    gone = made.root / card.facts["expects"][-1]
    shutil.rmtree(gone) if gone.is_dir() else gone.unlink()
    assert f"{made.root} lacks {card.facts['expects'][-1]}" in refused(card)


@pytest.mark.parametrize("name", [name for name in MAKERS if checked(REGISTRY.dataset(name))])
def test_a_list_that_was_changed(name: str, replica: Make) -> None:
    card, made = replica(name)
    file = checked(card)[-1]
    (made.root / file).write_bytes((made.root / file).read_bytes() + b" ")
    found = hashlib.md5((made.root / file).read_bytes()).hexdigest()
    problem = refused(card)
    assert f"{made.root / file} has the checksum md5:{found}" in problem
    assert card.facts["checksums"][file] in problem


@pytest.mark.parametrize("name", LISTED)
def test_an_image_that_is_listed_and_missing(name: str, replica: Make) -> None:
    card, made = replica(name)
    gone = made.root / made.rows[card.use["test"][0]][0][0]
    gone.unlink()
    problem = refused(card)
    by_folder = card.reader in ("imagenet", "caltech101")  # what is there is what is counted
    assert ("its card says" in problem) if by_folder else (f"files are missing, the first is {gone}" in problem)


@pytest.mark.parametrize("name", MAKERS)
def test_the_wrong_files_under_the_right_names(name: str, replica: Make) -> None:
    """Whatever a library says of files that are none of a dataset's, it is told as one problem and without a trace."""
    card, made = replica(name)
    lists = [made.root / file for file in card.facts["expects"] if (made.root / file).is_file()]
    for path in lists or [path for path in made.root.rglob("*") if path.is_dir()][::-1]:
        if path.is_file():
            path.write_bytes(b"<html>404</html>")
        elif path.name not in ("train", "val", "101_ObjectCategories", "data"):
            for file in [file for file in path.iterdir() if file.is_file()]:
                file.write_bytes(b"<html>404</html>") if file.suffix not in (".jpg", ".JPEG") else file.unlink()
    refused(replace(card, facts={**card.facts, "checksums": {}}))


def test_labels_outside_of_the_classes(replica: Make) -> None:
    card, made = replica("svhn")
    made.matrix("train_32x32.mat", X=np.zeros((32, 32, 3, 3), np.uint8), y=np.array([[1], [2], [11]]))
    assert "labels outside of 0 to 9" in refused(replace(card, facts={**card.facts, "checksums": {}}))


def test_an_image_that_two_lists_name(replica: Make) -> None:
    card, made = replica("oxford_pets")
    annotations = made.root / "oxford-iiit-pet" / "annotations"
    lines = (annotations / "trainval.txt").read_text().splitlines()
    made.text(
        "oxford-iiit-pet/annotations/test.txt", [*(annotations / "test.txt").read_text().split("\n")[1:-1], lines[0]]
    )
    problem = refused(card)
    assert "Abyssinian_1.jpg is in 'train' and again in 'test'" in problem


@pytest.mark.parametrize(
    "line",
    ["images/train800/000001.jpg", "images/train800/000001.jpg 4", "images/train800/000001.jpg -1", "2", "x y z"],
)
def test_a_line_of_vtab_that_is_no_image_with_a_label(line: str, replica: Make) -> None:
    card, made = replica("vtab_kitti")
    first, _, *others = (made.root / "kitti" / "train800.txt").read_text().splitlines()
    made.text("kitti/train800.txt", [first, line, *others])
    problem = refused(card)
    assert f"{made.root}/kitti/train800.txt:2: a line is a path and a label from 0 to 3, not '{line}'" in problem
    assert "bench data prepare vtab_kitti" in problem


def test_an_image_that_vtab_lists_for_training_and_for_testing(replica: Make) -> None:
    card, made = replica("vtab_kitti")
    made.text("kitti/test.txt", [*(f"images/test/{at:06d}.jpg 2" for at in (0, 1)), "images/train800/000002.jpg 3"])
    assert "kitti/images/train800/000002.jpg is in 'train' and again in 'test'" in refused(card)


def test_an_image_of_vtab_outside_of_its_folder(replica: Make) -> None:
    card, made = replica("vtab_kitti")
    made.text("kitti/val200.txt", ["../../images/elsewhere.jpg 3", "images/val200/000001.jpg 1"])
    assert "which is not in" in refused(card)


def test_vtab_is_read_with_or_without_images_to_choose_by(replica: Make) -> None:
    card, made = replica("vtab_kitti")
    by_default, full = read_data(card), read_data(small_card("vtab_kitti@full", made))
    assert by_default.val is not None
    assert full.val is None
    assert [len(by_default.train), len(by_default.val), len(full.train)] == [4, 2, 6]
    assert rows_of(by_default.test, made.root) == rows_of(full.test, made.root)


def test_a_label_that_two_folders_share(replica: Make) -> None:
    card, made = replica("domainnet_painting")
    made.image("painting/apple/0.jpg")
    made.text("painting_test.txt", ["painting/apple/0.jpg 0", f"{made.rows['test'][0][0]} 2"])
    assert "label 0 is both" in refused(replace(card, facts={**card.facts, "checksums": {}}))


# ---- Caltech-101 has no split of its own


def test_the_split_of_caltech101_is_fixed_for_ever(replica: Make) -> None:
    """It takes as many of every class, depends on the seed alone, and leaves the rest."""
    card, made = replica("caltech101")
    dataset = read_data(card)
    names = [path.partition("101_ObjectCategories/")[2] for path, _ in rows_of(dataset.train, made.root)]
    assert [names.count(name) for name in names] == [1] * len(names)
    assert np.bincount(dataset.train.labels).tolist() == [3, 3, 3, 3]
    assert np.bincount(dataset.test.labels).tolist() == [2, 3, 4, 5]
    assert names[:6] == PINNED
    assert rows_of(read_data(card).train, made.root) == rows_of(dataset.train, made.root)
    other = {**card.facts, "options": {**card.facts["options"], "seed": 1}}
    assert rows_of(read_data(replace(card, facts=other)).train, made.root) != rows_of(dataset.train, made.root)


PINNED = [
    *(f"BACKGROUND_Google/image_{number:04d}.jpg" for number in (2, 4, 5)),
    *(f"Faces/image_{number:04d}.jpg" for number in (1, 4, 5)),
]


def test_the_background_of_caltech101_is_a_class_or_left_out(replica: Make) -> None:
    card, made = replica("caltech101")
    facts = {
        "options": {**card.facts["options"], "background": False},
        "classes": 3,
        "official": {"train": 9, "test": 12},
        "splits": {"train": 9, "test": 12},
    }
    dataset = read_data(replace(card, facts={**card.facts, **facts}))
    assert list(dataset.classes) == made.classes[1:]
    assert not any("BACKGROUND" in path for path, _ in rows_of(dataset.train, made.root))


def test_a_class_of_caltech101_that_leaves_nothing_for_testing(replica: Make) -> None:
    card, _ = replica("caltech101")
    facts = {**card.facts, "options": {**card.facts["options"], "per_class": 5}}
    assert "some must be left" in refused(replace(card, facts=facts))


# ---- against torchvision's readers where ours are our own


def test_pets_are_those_of_torchvision(replica: Make) -> None:
    card, made = replica("oxford_pets")
    dataset = read_data(card)
    for split, name in ((dataset.train, "trainval"), (dataset.test, "test")):
        theirs = torchvision.datasets.OxfordIIITPet(made.root, split=name)
        assert [label for _, label in theirs] == split.labels.tolist()
        for (image, _), ours in zip(theirs, split.images.take(np.arange(len(split))), strict=True):
            assert np.array_equal(np.asarray(image), ours.permute(1, 2, 0))


@pytest.mark.parametrize("name", ["train", "val"])
def test_imagenet_is_that_of_torchvision(replica: Make, name: str) -> None:
    card, made = replica("imagenet1k")
    dataset = read_data(card)
    theirs = torchvision.datasets.ImageFolder(made.root / name)
    split = dataset.train if name == "train" else dataset.test
    assert theirs.classes == list(dataset.classes)
    assert [(str(path), label) for path, label in theirs.samples] == list(
        zip(map(str, files_of(split)), split.labels.tolist(), strict=True)
    )


def test_caltech101_is_that_of_torchvision(replica: Make) -> None:
    card, made = replica("caltech101")
    (made.root / "caltech101" / "101_ObjectCategories" / "Faces" / "._image_0001.jpg").unlink()
    theirs = torchvision.datasets.Caltech101(made.root)
    expected = {f"{theirs.categories[y]}/image_{i:04d}.jpg" for y, i in zip(theirs.y, theirs.index, strict=True)}
    dataset = read_data(card)
    both = rows_of(dataset.train, made.root) + rows_of(dataset.test, made.root)
    found = {path.partition("101_ObjectCategories/")[2] for path, _ in both}
    assert {path for path in found if not path.startswith("BACKGROUND")} == expected


@pytest.mark.parametrize(
    ("name", "folders"),
    [("imagenet1k", ("train", "val")), ("caltech101", ("caltech101/101_ObjectCategories",))],
)
def test_what_systems_leave_behind_is_no_class(replica: Make, name: str, folders: tuple[str, ...]) -> None:
    card, made = replica(name)
    clean = read_data(card)
    for folder in folders:
        for dropping in (".ipynb_checkpoints", "@eaDir", "__MACOSX", "#recycle"):
            made.text(f"{folder}/{dropping}/x.jpg", ["no image"])
    dirty = read_data(card)
    assert list(dirty.classes) == list(clean.classes)
    assert rows_of(dirty.train, made.root) == rows_of(clean.train, made.root)
    assert rows_of(dirty.test, made.root) == rows_of(clean.test, made.root)


def test_files_are_read_when_they_are_taken(replica: Make) -> None:
    card, made = replica("cub200")
    dataset = read_data(card)
    assert isinstance(dataset.train.images, FileImages)
    (made.root / made.rows["train"][0][0]).write_bytes(b"no image any more")
    assert len(dataset.train.images.take(np.array([1]))) == 1
    with pytest.raises(Undecodable, match="it is no image"):
        dataset.train.images.take(np.array([0]))


def test_a_rotation_in_the_metadata_is_not_applied(replica: Make) -> None:
    card, made = replica("cub200")
    path = made.root / made.rows["train"][0][0]
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by a quarter
    Image.fromarray(made.pixels(9, 7)).save(path, exif=exif)
    (image,) = read_data(card).train.images.take(np.array([0]))
    assert image.shape == (3, 9, 7)

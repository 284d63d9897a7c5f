"""Official datasets of image files that are named, with their labels, by official lists."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from torchvision.datasets import DTD, FGVCAircraft, Flowers102, Places365, StanfordCars

from bench.cards.dataset import DatasetCard
from bench.data.dataset import Split
from bench.data.official import Official, file_split
from bench.errors import InputError

Row = tuple[str, int, str]
"""What a list says of an image: its path, its label, and the name of its class."""


def read_flowers102(card: DatasetCard) -> Official[Split]:
    """Oxford Flowers-102 (Nilsback & Zisserman, 2008): ``flowers-102/jpg``, ``setid.mat`` and ``imagelabels.mat``."""
    lists = {name: _of_torchvision(Flowers102(card.path, split=name, loader=Path)) for name in card.lists}
    return Official(list(Flowers102.classes), lists)


def read_aircraft(card: DatasetCard) -> Official[Split]:
    """FGVC-Aircraft 2013b (Maji et al., 2013), by variant: ``fgvc-aircraft-2013b/data/``."""
    return _by_torchvision({name: FGVCAircraft(card.path, split=name, loader=Path) for name in card.lists})


def read_dtd(card: DatasetCard) -> Official[Split]:
    """Describable Textures (Cimpoi et al., 2014), by the key attribute: ``dtd/dtd/``; ``partition`` is one of ten."""
    partition = card.options["partition"]
    return _by_torchvision({name: DTD(card.path, name, partition=partition, loader=Path) for name in card.lists})


def read_cars(card: DatasetCard) -> Official[Split]:
    """Stanford Cars (Krause et al., 2013): ``stanford_cars/`` with ``cars_train``, ``cars_test`` and the devkit."""
    return _by_torchvision({name: StanfordCars(card.path, split=name, loader=Path) for name in card.lists})


def read_places365(card: DatasetCard) -> Official[Split]:
    """Places365-Standard (Zhou et al., 2018): the official file lists; ``small`` images are 256 × 256."""
    small, names = bool(card.options["small"]), {"train": "train-standard", "val": "val"}
    return _by_torchvision({name: Places365(card.path, names[name], small, loader=Path) for name in card.lists})


def read_cub(card: DatasetCard) -> Official[Split]:
    """CUB-200-2011 (Wah et al., 2011): ``images.txt``, ``image_class_labels.txt``, ``train_test_split.txt``."""
    return _by_number(card, Path(card.path) / "CUB_200_2011")


def read_nabirds(card: DatasetCard) -> Official[Split]:
    """NABirds (Van Horn et al., 2015), with the files of CUB-200-2011.

    ``classes.txt`` has the whole tree of 1,011 categories; the classes are those that images have, by their numbers.
    """
    return _by_number(card, Path(card.path) / "nabirds")


def read_vtab(card: DatasetCard) -> Official[Split]:
    """VTAB-1k (Zhai et al., 2019) as NOAH (Zhang et al., 2022) wrote it: ``TASK/LIST.txt`` with an image and its label.

    ``task`` is one of the 19; ``names`` are those of its classes, where the card has them.

    Raises:
        InputError: a line is not of that form, or its label is none of the card's classes.
    """
    lists = {name: file_split(*_labelled(card, name)) for name in card.lists}
    count = 1 + max(int(split.labels.max(initial=-1)) for split in lists.values())
    names = card.options.get("names") or [str(label) for label in range(count)]
    return Official(names[:count], lists)


def read_dogs(card: DatasetCard) -> Official[Split]:
    """Stanford Dogs (Khosla et al., 2011): ``Images/`` with ``train_list.mat`` and ``test_list.mat``."""
    from scipy.io import loadmat

    def rows(name: str) -> Iterator[Row]:
        content = loadmat(f"{card.path}/{name}_list.mat", squeeze_me=True)
        for file, label in zip(content["file_list"], content["labels"], strict=True):
            yield f"{card.path}/Images/{file}", int(label) - 1, str(file).partition("/")[0]

    return _by_rows(card, rows)


def read_pets(card: DatasetCard) -> Official[Split]:
    """Oxford-IIIT Pet (Parkhi et al., 2012): ``oxford-iiit-pet/annotations/{trainval,test}.txt``, by breed."""
    root = Path(card.path) / "oxford-iiit-pet"

    def rows(name: str) -> Iterator[Row]:
        for line in _lines(root / "annotations" / f"{name}.txt"):
            image, label, *_ = line.split()
            yield f"{root}/images/{image}.jpg", int(label) - 1, image.rpartition("_")[0]

    return _by_rows(card, rows)


def read_domainnet(card: DatasetCard) -> Official[Split]:
    """One domain of DomainNet (Peng et al., 2019): ``DOMAIN_train.txt`` and ``DOMAIN_test.txt``, the cleaned lists.

    Labels are those of the lists, never the order of folders: a split of ``painting`` lacks a class.
    """

    def rows(name: str) -> Iterator[Row]:
        for line in _lines(Path(card.path) / f"{card.options['domain']}_{name}.txt"):
            file, label = line.rsplit(maxsplit=1)
            yield f"{card.path}/{file}", int(label), file.split("/")[-2]

    return _by_rows(card, rows)


def read_pacs(card: DatasetCard) -> Official[Split]:
    """One domain of PACS (Li et al., 2017): ``DOMAIN_train_kfold.txt`` and ``DOMAIN_crossval_kfold.txt``.

    Labels are those of the folders, in whose order the lists have theirs: a line of one list has a wrong label.
    """
    classes = ("dog", "elephant", "giraffe", "guitar", "horse", "house", "person")

    def rows(name: str) -> Iterator[Row]:
        for line in _lines(Path(card.path) / f"{card.options['domain']}_{name}_kfold.txt"):
            file = line.rsplit(maxsplit=1)[0]
            folder = file.split("/")[-2]
            yield f"{card.path}/{file}", classes.index(folder), folder

    return _by_rows(card, rows)


def read_inat2017(card: DatasetCard) -> Official[Split]:
    """iNaturalist 2017 (Van Horn et al., 2018): ``train2017.json`` and ``val2017.json``, joined by image id."""
    root, lists = Path(card.path), {}
    names: dict[int, str] = {}
    for name in card.lists:
        content = json.loads((root / f"{name}2017.json").read_text(encoding="utf-8"))
        files = {image["id"]: image["file_name"] for image in content["images"]}
        rows = [(files[row["image_id"]], row["category_id"]) for row in content["annotations"]]
        names.update({category["id"]: category["name"] for category in content["categories"]})
        lists[name] = file_split([f"{root}/{file}" for file, _ in rows], [label for _, label in rows])
    return Official([names[label] for label in sorted(names)], lists)


def _labelled(card: DatasetCard, name: str) -> tuple[list[str], list[int]]:
    """The paths and labels of a list of VTAB-1k."""
    root, count, paths, labels = Path(card.path) / card.options["task"], card.facts["classes"], list[str](), list[int]()
    file = root / f"{name}.txt"
    for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), 1):
        path, _, label = line.strip().rpartition(" ")
        if not path or not label.isdecimal() or int(label) >= count:
            wanted = f"a line is a path and a label from 0 to {count - 1}"
            raise InputError(f"{card.name}: {file}:{number}: {wanted}, not '{line[:80]}'; {card.how_to_fetch}")
        paths.append(f"{root}/{path}")
        labels.append(int(label))
    return paths, labels


def _by_number(card: DatasetCard, root: Path) -> Official[Split]:
    """Lists that say of each image by its number: its file, its category, and whether it is for training."""
    files, categories = dict(_pairs(root / "images.txt")), dict(_pairs(root / "image_class_labels.txt"))
    sides, names = dict(_pairs(root / "train_test_split.txt")), dict(_pairs(root / "classes.txt"))
    classes = sorted({*categories.values()}, key=int)
    labels, lists = {category: label for label, category in enumerate(classes)}, {}
    for name in card.lists:
        numbers = [number for number in files if sides[number] == {"train": "1", "test": "0"}[name]]
        paths = [f"{root}/images/{files[number]}" for number in numbers]
        lists[name] = file_split(paths, [labels[categories[number]] for number in numbers])
    return Official([names[category] for category in classes], lists)


def _by_rows(card: DatasetCard, rows: Callable[[str], Iterable[Row]]) -> Official[Split]:
    """Lists by what is written of each image; a label that no list has leaves a gap: too few classes for the card."""
    names: dict[int, str] = {}
    lists = {}
    for name in card.lists:
        paths, labels = [], []
        for path, label, label_name in rows(name):
            if names.setdefault(label, label_name) != label_name:
                raise ValueError(f"label {label} is both {names[label]} and {label_name}")
            paths.append(path)
            labels.append(label)
        lists[name] = file_split(paths, labels)
    return Official([names[label] for label in sorted(names)], lists)


def _by_torchvision(read: dict[str, Any]) -> Official[Split]:
    """Lists that torchvision reads; all of them must name the same classes."""
    classes = [list(data.classes) for data in read.values()]
    if any(names != classes[0] for names in classes):
        raise ValueError("the lists do not name the same classes")
    return Official(classes[0], {name: _of_torchvision(data) for name, data in read.items()})


def _of_torchvision(data: Any) -> Split:
    """A torchvision dataset that was opened with ``loader=Path``, so that it gives paths in place of images."""
    rows = [data[index] for index in range(len(data))]
    return file_split([str(path) for path, _ in rows], [int(label) for _, label in rows])


def _lines(path: Path) -> list[str]:
    return [line.strip() for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]


def _pairs(path: Path) -> Iterator[tuple[str, str]]:
    """``number value`` of each line."""
    for line in _lines(path):
        number, _, value = line.partition(" ")
        yield number, value.strip()

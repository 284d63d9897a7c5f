"""What is odd about a dataset's images: what a number that is measured on them may come from."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from bench.images.survey import Survey, Surveyed
from bench.notation import counted

LONGEST = 4.0
"""Times that one side of an image may be as long as the other before it is odd."""

Place = tuple[str, int]
"""A split, and the place of an image in it."""


@dataclass(frozen=True)
class Audited:
    """A dataset as it is audited.

    Attributes:
        classes: their names.
        labels: the class of each image, by split.
        stated: how many images of each split its card promises; empty where no card does.
    """

    survey: Survey
    classes: Sequence[str]
    labels: Mapping[str, Sequence[str]]
    stated: Mapping[str, int]

    @property
    def usable(self) -> dict[str, list[tuple[int, Surveyed]]]:
        """The images of each split that can be decoded, with their places."""
        return {
            split: [(place, image) for place, image in enumerate(images) if not image.problem]
            for split, images in self.survey.splits.items()
        }

    def image(self, place: Place) -> Surveyed:
        """The image at a place."""
        return self.survey.splits[place[0]][place[1]]

    def label(self, place: Place) -> str:
        """The class of the image at a place."""
        return self.labels[place[0]][place[1]]


@dataclass(frozen=True)
class Remark:
    """What was found by one question about a dataset.

    Attributes:
        kind: the question, in a word.
        text: the answer, as a sentence without its end.
        images: those that it is about, each line as it is shown.
        is_fine: whether nothing is odd.
    """

    kind: str
    text: str
    images: tuple[str, ...] = ()
    is_fine: bool = False


def audit(data: Audited, image_size: int) -> list[Remark]:
    """Every question with its answer; ``image_size`` is the side of what the model is given, in pixels."""
    remarks = [_damaged(data), _same_bytes(data), _alike(data), _missing_classes(data), _conflicting(data)]
    remarks += [_repeated(data), _counts(data), _one_class(data), _small(data, image_size), _turned(data), _long(data)]
    return remarks


def first_doubts(data: Audited) -> list[str]:
    """What is said whenever something is trained on a dataset: what its splits share, and which classes they lack."""
    return [mark.text for mark in (_same_bytes(data), _alike(data), _missing_classes(data)) if not mark.is_fine]


def _remark(kind: str, fine: str, text: str, images: Sequence[str]) -> Remark:
    return Remark(kind, text, tuple(images)) if images else Remark(kind, fine, is_fine=True)


def _damaged(data: Audited) -> Remark:
    unusable = data.survey.unusable
    text = f"{_images(len(unusable))} cannot be used"
    return _remark("damaged", "every image can be decoded", text, [f"{i.path}: {i.problem}" for i in unusable])


def _same_bytes(data: Audited) -> Remark:
    pairs = list(_shared(data))
    text = _between(pairs, "in", "too, byte for byte")
    return _remark("same-bytes", "no image is in two splits, byte for byte", text, [_shown(data, p) for p in pairs])


def _shared(data: Audited) -> Iterator[tuple[Place, Place]]:
    """The images of two splits that have the same bytes: each of the smaller one with the first of the larger one."""
    order = sorted(data.usable.items(), key=lambda split: -len(split[1]))
    for (larger, firsts), (smaller, seconds) in itertools.combinations(order, 2):
        places = {image.sha256: place for place, image in reversed(firsts)}
        for place, image in seconds:
            if image.sha256 in places:
                yield (larger, places[image.sha256]), (smaller, place)


def _alike(data: Audited) -> Remark:
    pairs = [((a, left), (b, right)) for a, left, b, right in data.survey.alike]
    pairs = [pair for pair in pairs if data.image(pair[0]).sha256 != data.image(pair[1]).sha256]
    text = _between(pairs, "like one of", "in all but details")
    others = sum(data.label(first) != data.label(second) for first, second in pairs)
    text += f" ({others:,} of {len(pairs):,} pairs in two classes)" if others else ""
    return _remark("alike", "no two images of different splits look alike", text, [_shown(data, p) for p in pairs])


def _between(pairs: Sequence[tuple[Place, Place]], relation: str, how: str) -> str:
    """How many images of one split are related to those of another, for each two splits."""
    related: dict[tuple[str, str], set[Place]] = {}
    for first, second in pairs:
        related.setdefault((second[0], first[0]), set()).add(second)
    parts = []
    for (split, larger), places in related.items():
        verb = "is" if len(places) == 1 else "are"
        parts.append(f"{_images(len(places))} of {split} {verb} {relation} {larger}")
    return f"{', '.join(parts)} {how}"


def _missing_classes(data: Audited) -> Remark:
    missing = []
    for split, images in data.usable.items():
        present = {data.labels[split][place] for place, _ in images}
        missing += [f"{split}: {name}" for name in data.classes if name not in present]
    lacking = Counter(line.partition(":")[0] for line in missing)
    text = ", ".join(f"{split} lacks {counted(count, 'class', 'classes')}" for split, count in lacking.items())
    text += f" ({', '.join(line.partition(': ')[2] for line in missing[:3])}{', ...' * (len(missing) > 3)})"
    return _remark("missing-classes", "every split has images of every class", text, missing)


def _conflicting(data: Audited) -> Remark:
    conflicts = [places for places in _by_bytes(data) if len({data.label(place) for place in places}) > 1]
    lines = [" = ".join(f"{data.image(p).path} ({data.label(p)})" for p in places) for places in conflicts]
    text = f"{_images(len(conflicts))} {_is(len(conflicts))} of two classes, byte for byte"
    return _remark("conflicting-labels", "no image has two labels", text, lines)


def _repeated(data: Audited) -> Remark:
    lines = []
    for places in _by_bytes(data):
        for split in data.survey.splits:
            inside = [place for place in places if place[0] == split]
            lines += [" = ".join(data.image(place).path for place in inside)] if len(inside) > 1 else []
    text = f"{_images(len(lines))} {_is(len(lines))} more than once in a split"
    return _remark("repeated", "no image is twice in a split", text, lines)


def _by_bytes(data: Audited) -> list[list[Place]]:
    """The places of each content that several images have."""
    places: dict[str, list[Place]] = {}
    for split, images in data.usable.items():
        for place, image in images:
            places.setdefault(image.sha256, []).append((split, place))
    return [each for each in places.values() if len(each) > 1]


def _counts(data: Audited) -> Remark:
    sizes = {split: len(images) for split, images in data.survey.splits.items()}
    if not data.stated:
        return _remark("counts", "no card says how many images there should be", "", ())
    splits = [split for split in {**sizes, **data.stated} if sizes.get(split) != data.stated.get(split)]
    lines = [f"{split}: {sizes.get(split, 0):,}, its card says {data.stated.get(split, 0):,}" for split in splits]
    return _remark("counts", "there are as many images as its card says", "other counts than its card's", lines)


def _one_class(data: Audited) -> Remark:
    names = data.classes if len(data.classes) == 1 else ()
    text = "all images are of one class: whatever is trained is right"
    fine = f"there {_is(len(data.classes))} {counted(len(data.classes), 'class', 'classes')}"
    return _remark("one-class", fine, text, names)


def _small(data: Audited, size: int) -> Remark:
    lines = [f"{i.path}: {i.width} x {i.height}" for i in _usable(data) if min(i.width, i.height) < size]
    text = f"{_images(len(lines))} {_is(len(lines))} smaller than {size} pixels, and enlarged for the model"
    return _remark("small", f"no image is smaller than {size} pixels", text, lines)


def _turned(data: Audited) -> Remark:
    lines = [f"{image.path}: orientation {image.rotation}" for image in _usable(data) if image.rotation != 1]
    text = f"{_images(len(lines))} {_is(len(lines))} stored turned, with an EXIF tag that is not applied"
    return _remark("rotated", "no image is stored turned (EXIF)", text, lines)


def _long(data: Audited) -> Remark:
    lines = []
    for image in _usable(data):
        if max(image.width, image.height) > LONGEST * min(image.width, image.height):
            lines.append(f"{image.path}: {image.width} x {image.height}")
    text = f"{_images(len(lines))} {_is(len(lines))} more than {LONGEST:g} times as long as wide, or as wide as long"
    return _remark("aspect", f"no image is more than {LONGEST:g} times as long as wide", text, lines)


def _usable(data: Audited) -> list[Surveyed]:
    return [image for images in data.usable.values() for _, image in images]


def _shown(data: Audited, pair: tuple[Place, Place]) -> str:
    first, second = pair
    labels = "" if data.label(first) == data.label(second) else f" ({data.label(first)}, {data.label(second)})"
    return f"{data.image(first).path} = {data.image(second).path}{labels}"


def _images(count: int) -> str:
    return counted(count, "image")


def _is(count: int) -> str:
    return "is" if count == 1 else "are"

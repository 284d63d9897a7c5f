"""What is said of folders of images before anything is trained on them: what was seen there, and what is not read."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Sequence

from bench.cards import DatasetCard
from bench.cards.layout import PREFIX, ImageLayout
from bench.cards.mask_layout import MaskLayout
from bench.errors import printable
from bench.notation import counted
from bench.rate import held_out
from bench.registry import Registry
from bench.spec import RunSpec

MOST_REASONS = 6
"""Of why files are not read, in a line."""


def folder_lines(runs: Iterable[RunSpec], registry: Registry) -> list[str]:
    """What there is to say of the folders that some runs are of, the first line with its name."""
    shares: dict[str, float] = {}
    for spec in runs:
        shares.setdefault(spec.dataset.name, spec.protocol.validation)
    lines = []
    for name, share in shares.items():
        # of other datasets nothing is said, and they need not be here
        card = registry.dataset(name)
        for number, sentence in enumerate(sentences(card, share)):
            lines.append(printable(f"  {sentence}" if number else f"{_short(name)}: {sentence}"))
    return lines


def sentences(card: DatasetCard, share: float = 0.0) -> list[str]:
    """What there is to say of a folder, and of folders of further tests; nothing of other datasets.

    ``share`` is that of each class of the training split which is held out for validation where there is no such split.
    """
    layout = card.layout
    if layout is None:
        return _further(card)
    lines = [_contents(layout), *_unread(layout)]
    if layout.val_is_test or (share and "val" not in layout.splits):
        lines.append(_validation(layout, share))
    if isinstance(layout, MaskLayout):
        return lines
    lines += _further(card)
    if layout.drawn and (alone := list(layout.counts("train").keys() - layout.counts("test").keys())):
        lines.append(f"{_classes(alone)} with a single image: it is for training, and none is for testing")
    return lines


def _contents(layout: ImageLayout) -> str:
    """Classes, images and the smallest class."""
    parts = [f"{split} {count:,} ({layout.sources[split]})" for split, count in layout.sizes.items()]
    if isinstance(layout, MaskLayout):
        return f"masks of {len(layout.classes):,} classes; images: {', '.join(parts)}"
    label, count = min(layout.counts("train").items(), key=lambda item: (item[1], item[0]))
    return f"{len(layout.classes):,} classes; images: {', '.join(parts)}; smallest class '{label}': {count:,} in train"


def _further(card: DatasetCard) -> list[str]:
    """Of each further test in folders of images: what is scored of it, and which classes are left out."""
    lines = []
    for test in card.further:
        counts = test.counts
        if counts and card.layout is None:
            seen = f"{counted(counts.total(), 'image')}, {_classes([*counts])}"
            lines.append(f"further test '{test.name}': {seen}; classes that the dataset lacks are left out")
        elif counts and card.layout:
            lines.append(f"further test '{test.name}': {_scored(counts, card.layout.classes)}")
    return lines


def _scored(counts: Counter[str], classes: Sequence[str]) -> str:
    """How many images and classes of a further test are the dataset's, and which classes are not."""
    left_out = counts.keys() - set(classes)
    scored = sum(count for label, count in counts.items() if label in classes)
    of = f"{len(counts) - len(left_out):,} of the dataset's {len(classes):,} classes"
    lost = f"; left out, as training lacks them: {_classes([*left_out])}" if left_out else ""
    return f"{counted(scored, 'image')} of {of}{lost}"


def _unread(layout: ImageLayout) -> list[str]:
    """What is not read of each part of the folder, and why."""
    lines = []
    for source in dict.fromkeys([*layout.unread, *layout.empty]):
        parts = []
        if reasons := layout.unread.get(source):
            most = reasons.most_common(MOST_REASONS)
            listed = [f"{count:,} {reason}" for reason, count in most]
            if rest := reasons.total() - sum(count for _, count in most):
                listed.append(f"{rest:,} more")
            files = "1 file is" if reasons.total() == 1 else f"{reasons.total():,} files are"
            parts.append(f"{files} not read: {', '.join(listed)}")
        if empty := layout.empty.get(source):
            folders = "1 folder" if len(empty) == 1 else f"{len(empty):,} folders"
            parts.append(f"{folders} without an image that is read ({_few(empty)})")
        lines.append(": ".join(filter(None, (source.rstrip("/"), "; ".join(parts)))))
    return lines


def _validation(layout: ImageLayout, share: float) -> str:
    """What the test and validation splits are made of where one of them is not there."""
    parts = [f"{layout.sources['test']} is the test split, as no other is there"] if layout.val_is_test else []
    if share:
        few = [label for label, count in layout.counts("train").items() if held_out(share, count) == 0]
        percent = f"{100 * share:g} %"
        if isinstance(layout, MaskLayout):
            few_images = "there are too few images to hold out {} of train: there is no validation split"
            parts.append(few_images.format(percent) if few else f"{percent} of train is held out for validation")
        elif len(few) == len(layout.classes):
            parts.append(f"the classes are too small to hold out {percent} of train: there is no validation split")
        else:
            small = f", but none of {_classes(few)}" if few else ""
            parts.append(f"{percent} of each class is held out for validation{small}")
    return "; ".join(parts)


def _classes(labels: list[str]) -> str:
    """``2 classes (ape, bee)``."""
    return f"{'1 class' if len(labels) == 1 else f'{len(labels):,} classes'} ({_few(labels)})"


def _few(names: Iterable[str]) -> str:
    listed = sorted(names)
    return ", ".join(listed[:3]) + (", ..." if len(listed) > 3 else "")


def _short(name: str) -> str:
    """A folder's name with ~ in the place of the home folder."""
    home = f"{PREFIX}{os.path.expanduser('~')}/"
    return f"{PREFIX}~/{name.removeprefix(home)}" if name.startswith(home) else name

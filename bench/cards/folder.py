"""Folders of somebody's own images as datasets: ``folder:PATH``, and what is chosen of it after an ``@``."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from bench.cards.content import content_digest
from bench.cards.dataset import DatasetCard
from bench.cards.folder_options import GRAMMAR, UNTYPED, FolderOptions, looks_chosen, read_folders, typed_options
from bench.cards.folders import real_path, typed_path
from bench.cards.further import folder_test
from bench.cards.layout import PREFIX
from bench.cards.mask_layout import MaskLayout, folder_layout
from bench.errors import InputError
from bench.metrics import CLASSIFICATION
from bench.reading.document import Section

_FURTHER = re.compile(r"(.*?)@(?:[^@/]*,)?also=(.*)", re.DOTALL)
"""The path of a folder, and its further tests."""


def folder_dataset(name: str) -> DatasetCard:
    """The card of ``folder:PATH``, ``folder:TABLE.csv`` or ``folder:PATH@split=20,seed=3``.

    Its name has the path that a link leads to, and its meaning is that of its content, so that moving or renaming the
    folder changes nothing. Raises ``InputError``: there is no layout at this path, or what stands behind the @ is no
    choice; says what is expected.
    """
    typed, options = typed_folder(name.removeprefix(PREFIX))
    # a table may be a link: its rows are relative to where it is called so
    path = real_path(typed.parent) / typed.name if typed.is_file() else real_path(typed)
    plain = f"{PREFIX}{path}"
    layout = folder_layout(path, options, plain)
    facts = Section(plain, 1)
    task = "segmentation" if isinstance(layout, MaskLayout) else "classification"
    facts.update(task=task, classes=len(layout.classes), splits=layout.sizes)
    if options.as_options:
        facts["options"] = options.as_options
    further = tuple(
        folder_test(test, typed_path(lies), f"{plain}@also={test}", skips=options.skip_damaged)
        for test, lies in options.also
    )
    options = replace(options, also=tuple((test.name, test.folder) for test in further))
    full = f"{plain}@{options.typed}" if options.typed else plain
    if further and typed_options(options.typed, plain) != options:
        raise InputError(f"{full}: these paths cannot stand behind the @: none of {UNTYPED}")
    means = content_digest(layout, options)
    if further and task != CLASSIFICATION:
        raise InputError(f"{plain}: further tests are of images with one label each, and these have masks")
    title = _title(path, 1, options)
    return DatasetCard(full, title, "folder", str(path), facts, means, layout=layout, further=further)


def typed_folder(text: str) -> tuple[Path, FolderOptions]:
    """The path and the choice in ``PATH@CHOICE``. A path that is there is one, whatever characters are in its name.

    Raises ``InputError`` where nothing can have this path, or what stands behind the last @ is no choice.
    """
    front, at, back = text.rpartition("@")
    if not at or os.path.exists(typed_path(text)):
        return typed_path(text), FolderOptions()
    if looks_chosen(back):
        return typed_path(front), typed_options(back, f"{PREFIX}{front}")
    if front and os.path.exists(typed_path(front)):
        raise InputError(f"{PREFIX}{front}: '{back}' cannot stand behind the @; what can is {GRAMMAR}")
    choice = _FURTHER.fullmatch(text)
    if choice and os.path.exists(typed_path(choice[1])):
        place = f"{PREFIX}{choice[1]}"
        read_folders(choice[2], place)
        raise InputError(f"{place}: also={choice[2]}: none of {UNTYPED}")
    return typed_path(text), FolderOptions()


def told_apart(cards: Iterable[DatasetCard]) -> tuple[DatasetCard, ...]:
    """The cards, each once; folders of one title are called by as much of their paths as tells them apart."""
    unique = list({card.name: card for card in cards}.values())
    for depth in range(2, 1 + max((len(Path(card.path).parts) for card in unique), default=0)):
        titles = Counter(card.title for card in unique)
        for at, card in enumerate(unique):
            if titles[card.title] > 1 and card.name.startswith(PREFIX):
                options = typed_folder(card.name.removeprefix(PREFIX))[1]
                unique[at] = replace(card, title=_title(Path(card.path), depth, options))
    return tuple(unique)


def _title(path: Path, depth: int, options: FolderOptions) -> str:
    """The last parts of a path; of a table one more, since many are called labels.csv; and what is chosen."""
    parts = path.parts[-depth - path.is_file() :]
    typed = replace(options, also=()).typed  # what its runs are scored on as well makes no other dataset of it
    return "/".join(parts) + (f"@{typed}" if typed else "")

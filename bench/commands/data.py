"""The files of datasets: ``data list``, ``data prepare``, ``data check``; ``data audit`` is in a file of its own."""

from __future__ import annotations

import argparse
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import bench
from bench.cards import DatasetCard
from bench.cards.folders import data_folder
from bench.cards.layout import PREFIX
from bench.commands import audit
from bench.commands.images import Decoding, folders_of, look
from bench.commands.options import add_command, add_format, add_plugin, add_results, print_json
from bench.errors import InputError, visible
from bench.images.masks import unusable_masks
from bench.images.survey import Survey, survey
from bench.notation import counted
from bench.task import find_task

if TYPE_CHECKING:
    from bench.data import Dataset

ANY_LEVEL = 256
"""Classes of a mask whose levels its reader gives a meaning to, whatever they are."""

DATA = """
Datasets lie in $BENCH_DATA/NAME, or in data/NAME of the current folder. 'bench show NAME' tells all about one.

examples:
  bench data list
  bench data prepare cub200      downloads it, or says step by step where to get it
  bench data check cub200        opens it and verifies its numbers and checksums
  bench data audit cub200        what is odd about its images
"""
LIST = """
examples:
  bench data list
  bench data list --format json
"""
PREPARE = """
examples:
  bench data prepare cifar10     broken downloads go on where they ended
  BENCH_DATA=/big/disk bench data prepare places365
"""
CHECK = """
examples:
  bench data check cub200
  bench data check oxford_flowers102@train --images      and decodes every image
  bench data check folder:~/pictures                     which is always decoded
"""


def add(commands: Any) -> None:
    """Add the command to a parser's."""
    group = add_command(commands, "data", data_command, "the files of datasets: what is there, get it, verify it", DATA)
    group.set_defaults(group=group)
    parts = group.add_subparsers(title="commands", metavar="COMMAND", parser_class=type(group))
    listing = add_command(parts, "list", list_command, "which datasets are there", LIST)
    add_plugin(listing)
    add_format(listing, ("text", "json"))
    prepare = add_command(parts, "prepare", prepare_command, "download a dataset, or say how to get it", PREPARE)
    prepare.add_argument("name", metavar="NAME").completer = _names  # type: ignore[attr-defined]
    prepare.add_argument("--keep", action="store_true", help="keep the archives after they were unpacked")
    add_plugin(prepare)
    check = add_command(parts, "check", check_command, "open a dataset and verify it", CHECK)
    check.add_argument("name", metavar="NAME").completer = _names  # type: ignore[attr-defined]
    check.add_argument("--images", action="store_true", help="decode every image and mask too, as of folders")
    add_plugin(check)
    add_results(check)
    audit.add(parts)


def data_command(options: argparse.Namespace) -> int:
    """Print what there is to say."""
    options.group.print_help()
    return 0


def list_command(options: argparse.Namespace) -> int:
    """Print every dataset with whether it is there."""
    registry = bench.Registry(options.plugin)
    rows = [_row(registry.dataset(name)) for name in registry.dataset_files]
    if options.format == "json":
        print_json(rows)
        return 0
    states = [_state(row) for row in rows]
    wide, wide_state = max(len(row["name"]) for row in rows), max(map(len, states))
    for row, state in zip(rows, states, strict=True):
        print(f"{row['name']:{wide}}  {state:{wide_state}}  {row['title']}")
    print(f"datasets lie in {data_folder()} (BENCH_DATA)")
    return 0


def prepare_command(options: argparse.Namespace) -> int:
    """Fetch a dataset; exit code 1 where only its owner can."""
    card = bench.Registry(options.plugin).dataset(options.name)
    if "download" not in card.facts:
        if not card.missing:
            print(f"{card.name}: {_place(card)}")
            return 0
        print(f"{card.name}: lacks {', '.join(card.missing)} in {card.path}; it has to be fetched by hand:")
        for number, step in enumerate(card.facts.get("steps", ()), 1):
            print(f"  {number}. {' '.join(step.split())}")
        return 1
    from bench.data.fetch import fetch, fetched

    if not fetched(card):
        print(f"{card.name}: into {card.path} ({card.facts.get('size', 'size not known')})")
        print(f"licence: {card.facts['licence']}", flush=True)
        fetch(card, options.keep)
    return _report(card, images=False, results=None)


def check_command(options: argparse.Namespace) -> int:
    """Open a dataset; all that is wrong is an error."""
    results = options.results if options.results.is_dir() else None
    return _report(bench.Registry(options.plugin).dataset(options.name), options.images, results)


def _report(card: DatasetCard, images: bool, results: Path | None) -> int:
    """Open a dataset and print what it is made of. What was decoded of a folder is kept where there are ``results``."""
    dataset = find_task(card.task).opened(card)
    decodes = images or card.layout is not None
    decoded = _decode(dataset, card, results) if decodes else 0
    sizes = ", ".join(f"{name} {len(split):,}" for name, split in dataset.splits.items())
    made_of = f"{counted(len(dataset.classes), 'class', 'classes')}, {sizes} images"
    if card.name.startswith(PREFIX):
        print(f"{card.name}: {made_of}")
    else:
        print(f"{card.name}: {_place(card)}: {made_of}, as its card says")
    if checksums := card.facts.get("checksums"):
        print(f"verified checksums: {', '.join(checksums)}")
    if decodes:
        left_out = sum(map(len, dataset.splits.values())) - decoded
        print(
            f"{counted(decoded, 'image')} decoded" + (f"; {left_out:,} damaged ones are left out" if left_out else "")
        )
    return 0


def _decode(dataset: Dataset, card: DatasetCard, results: Path | None) -> int:
    """Decode every image, and its mask if there is one; says how many can be used, or raises."""
    from bench.data.official import files_of, mask_files_of

    splits = dataset.splits
    count = sum(map(len, splits.values()))
    usable = dict[str, int]()
    for folder in folders_of(card):
        seen = look(folder, results)
        if seen.refused:
            raise InputError(*seen.problem_lines(named=len(seen.refused)))
        usable[folder.name] = _usable(seen.survey)
        if folder is not card:
            print(f"{folder.name}: {counted(usable[folder.name], 'image')} decoded")
    if card.layout is not None:
        return usable[card.name]
    surveyed = survey({name: files_of(split) for name, split in splits.items()}, progress=Decoding(card.name))
    masks = {name: files for name, split in splits.items() if (files := mask_files_of(split))}
    masked = {name: surveyed.splits[name] for name in masks}
    odd = unusable_masks(masked, masks, ANY_LEVEL, progress=Decoding(f"masks of {card.name}"))
    if unusable := [*surveyed.unusable, *odd]:
        lines = [f"{image.path}: {image.problem}" for image in unusable]
        raise InputError(f"{card.name}: {len(unusable):,} of {count:,} images cannot be used", *lines)
    return count


def _usable(seen: Survey) -> int:
    """How many images can be used; the others are printed."""
    for image in seen.unusable:
        print(visible(f"{image.path}: {image.problem}"))
    return len(seen.images) - len(seen.unusable)


def _row(card: DatasetCard) -> dict[str, Any]:
    state, fetched = "comes with the package", ""
    if card.path:
        state, fetched = "missing" if card.missing else "there", "by hand"
    return {
        "name": card.name,
        "state": state,
        "title": card.title,
        "splits": card.facts.get("splits", {}),
        "folder": card.path,
        "fetched": "download" if "download" in card.facts else fetched,
        "size": card.facts.get("size", ""),
        "variants": list(card.facts.get("variants", {})),
    }


def _state(row: dict[str, Any]) -> str:
    """``missing: download, 1.1 GB``."""
    size = re.split(r",| \(", row["size"])[0]
    details = ", ".join(filter(None, (row["fetched"], size)))
    return f"missing: {details}" if row["state"] == "missing" else str(row["state"])


def _place(card: DatasetCard) -> str:
    return f"in {card.path}" if card.path else "comes with the package"


def _names(**_: object) -> list[str]:
    return list(bench.Registry().dataset_files)

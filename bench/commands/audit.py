"""What is odd about a dataset's images: ``data audit``."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from typing import Any

import bench
from bench.cards import DatasetCard
from bench.commands.images import Decoding, audited_folder, look
from bench.commands.options import add_command, add_format, add_plugin, add_results, print_json
from bench.errors import InputError, to_type, visible
from bench.images.audit import Audited, Remark, audit
from bench.notation import counted
from bench.task import find_task

AUDIT = """
examples:
  bench data audit folder:~/pictures
  bench data audit cub200 --image-size 448
  bench data audit folder:~/pictures --format json     every image, not the first few
"""

SHOWN = 3
"""Images that are shown of each remark."""


def add(parts: Any) -> None:
    """Add the command to a parser's."""
    parser = add_command(parts, "audit", audit_command, "what is odd about the images of a dataset", AUDIT)
    parser.add_argument("name", metavar="NAME", help="a dataset, or folder:PATH")
    parser.add_argument(
        "--image-size", type=int, default=224, metavar="N", help="the side of what the model is given (224)"
    )
    add_format(parser, ("text", "json"))
    add_plugin(parser)
    add_results(parser)


def audit_command(options: argparse.Namespace) -> int:
    """Print what is odd and what is fine; exit code 1 where something is odd."""
    if options.image_size < 1:
        raise InputError(f"--image-size {options.image_size}: at least one pixel a side is needed")
    card = bench.Registry(options.plugin).dataset(options.name)
    data = _audited(card, options)
    remarks = audit(data, options.image_size)
    if options.format == "json":
        sizes = {split: len(images) for split, images in data.survey.splits.items()}
        head = {"dataset": card.name, "classes": len(data.classes), "images": sizes}
        print_json({**head, "remarks": [asdict(remark) for remark in remarks]})
    else:
        _print(card, data, remarks)
    return 0 if all(remark.is_fine for remark in remarks) else 1


def _audited(card: DatasetCard, options: argparse.Namespace) -> Audited:
    """A dataset with the survey of its images, which is kept where there is a results folder."""
    kept = options.results if options.results.is_dir() else None
    card.require_files()
    if not find_task(card.task).one_label:
        check = to_type("data", "check", card.name, "--images")
        raise InputError(f"{card.name}: an audit is of images with labels; {check} decodes images and masks")
    if card.layout is not None:
        return audited_folder(card, look(card, kept).survey)
    from bench.data.read import read_data
    from bench.data.surveyed import audited

    return audited(read_data(card), card, kept, Decoding(card.name))


def _print(card: DatasetCard, data: Audited, remarks: list[Remark]) -> None:
    sizes = ", ".join(f"{split} {len(images):,}" for split, images in data.survey.splits.items())
    inside = f"{card.path}/" if card.path else ""
    print(f"{card.name}: {counted(len(data.classes), 'class', 'classes')}, {sizes} images")
    for remark in remarks:
        if remark.is_fine:
            continue
        print(f"  odd   {visible(remark.text)}")
        for image in remark.images[:SHOWN]:
            print(f"          {visible(image.replace(inside, ''))}")
        if (more := len(remark.images) - SHOWN) > 0:
            print(f"          and {more:,} more (--format json has all)")
    for remark in remarks:
        if remark.is_fine:
            print(f"  fine  {visible(remark.text)}")

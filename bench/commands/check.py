"""Check a method's file against what the suite asks of every method: ``check-method``."""

from __future__ import annotations

import argparse
import traceback
from typing import Any

import bench
from bench.commands.options import add_command, add_plugin
from bench.errors import InputError, printable

CHECK = """
examples:
  bench check-method my_method.py                        on a shipped backbone that has what it needs
  bench check-method gta
  bench check-method my_method.py --backbone timm:resnet18@none
"""


def add(commands: Any) -> None:
    """Add the command to a parser's."""
    about = "whether a method keeps what every method promises"
    check = add_command(commands, "check-method", check_command, about, CHECK)
    check.add_argument("method", metavar="FILE", help="a method's .py file, or the name of a method")
    check.add_argument("--backbone", default="", metavar="NAME", help="try it on this one")
    add_plugin(check)


def check_command(options: argparse.Namespace) -> int:
    """Print each promise with whether it is kept; exit code 1 where one is not."""
    file = options.method if options.method.endswith(".py") else ""
    registry = bench.Registry([*options.plugin, *([file] if file else [])])
    card = registry.method(registry.plugins[-1].stem if file else options.method)

    import torch

    from bench.conformance import examine, find_subject

    torch.set_num_threads(1)
    try:
        registry.load_method(card)
    except Exception as error:
        frames = traceback.extract_tb(error.__traceback__)
        lines = [f":{frame.lineno}" for frame in frames if frame.filename == str(card.path)]
        place = f"{card.path}{(lines or [''])[-1]}"
        raise InputError(f"{place}: running the file ends in {type(error).__name__}: {error}") from None
    subject = find_subject(card, registry, options.backbone)
    print(f"{card.name} on {subject.backbone.name}: {card.path}")
    broken = 0
    for promise, problem in examine(subject):
        broken += bool(problem)
        print(f"  {'broken' if problem else 'kept':7} {promise}")
        if problem:
            print(f"          {printable(problem)}")
    print(f"{broken} of its promises are broken" if broken else "all promises are kept")
    return 1 if broken else 0

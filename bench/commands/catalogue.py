"""What there is: ``list``, ``show``, ``completion``."""

from __future__ import annotations

import argparse
import shutil
import sys
from typing import Any

import bench
from bench.commands.options import add_command, add_format, add_plugin, add_results, print_json
from bench.commands.show import KINDS, describe, list_kind
from bench.errors import visible

LIST = """
examples:
  bench list methods
  bench list experiments --format json
  bench list methods --plugin ~/mine
"""
SHOW = """
examples:
  bench show gta               a method: hyper-parameters and where each value comes from; and the paper of that name
  bench show micro_vit
  bench show timm:vit_tiny_patch16_224
  bench show 3f9a1c2b7d10      a run, by the beginning of its id
"""
COMPLETION = """
examples:
  bench completion bash      what to put into ~/.bashrc: eval "$(bench completion bash)"; zsh and fish likewise
"""


def add(commands: Any) -> None:
    """Add these commands to a parser's."""
    listing = add_command(commands, "list", list_command, "what there is", LIST)
    listing.add_argument("kind", choices=KINDS, metavar="KIND", help=", ".join(KINDS))
    add_plugin(listing)
    add_format(listing, ("text", "json"))
    about = "the card of a method, backbone, dataset, paper, experiment or run"
    show = add_command(commands, "show", show_command, about, SHOW)
    show.add_argument("name", metavar="NAME")
    add_plugin(show)
    add_results(show)
    add_format(show, ("text", "json"))
    about = "how to complete names with the Tab key"
    completion = add_command(commands, "completion", completion_command, about, COMPLETION)
    completion.add_argument("shell", choices=("bash", "zsh", "fish"), metavar="SHELL", help="bash, zsh, fish")


def list_command(options: argparse.Namespace) -> int:
    """Print what there is of a kind."""
    rows = list_kind(options.kind, bench.Registry(options.plugin))
    if options.format == "json":
        print_json(rows)
        return 0
    if not rows:
        print(f"there are no {options.kind} yet")
    wide = max((len(row["name"]) for row in rows), default=0)
    room = max(20, shutil.get_terminal_size().columns - wide - 2) if sys.stdout.isatty() else 10_000
    for row in rows:
        about = " ".join(visible(row["about"]).split())
        print(f"{row['name']:{wide}}  {about if len(about) <= room else about[: room - 3] + '...'}")
    return 0


def show_command(options: argparse.Namespace) -> int:
    """Print a card."""
    found = describe(options.name, bench.Registry(options.plugin), bench.Store(options.results))
    if options.format == "json":
        print_json([card.facts for card in found])
        return 0
    print("\n\n".join(visible(card.text) for card in found))
    return 0


def completion_command(options: argparse.Namespace) -> int:
    """Print the line that switches completion on."""
    import argcomplete

    print(argcomplete.shellcode(["bench"], shell=options.shell), end="")
    return 0

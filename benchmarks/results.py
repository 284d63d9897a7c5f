"""Makes benchmarks/RESULTS.md: runs each benchmark whose figures the project states, and writes down what it prints.

    python benchmarks/results.py
    python benchmarks/results.py --only "many records"
    python benchmarks/results.py --script PATH/pytorch-image-models/train.py

Each section is a command and its output, as it came, on the hardware that the page names. Without ``--only`` all are
made anew, in about half an hour on two cores; with it, those whose title holds the words, and the others stay.
The section beside timm's script is made where ``--script`` says where that lies.
What was tried and not taken is in benchmarks/tried.md and is joined on as it is. Times are CPU time, so that other work
on the machine counts little; a section whose command fails is not written, and nothing else is.
"""

from __future__ import annotations

import argparse
import platform
import re
import shlex
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import torch

from bench.records.environment import processor

FOLDER = Path(__file__).parent
SCRIPT = "pytorch-image-models/train.py"
PAGE, TRIED = FOLDER / "RESULTS.md", FOLDER / "tried.md"


@dataclass(frozen=True)
class Section:
    """A part of the page: what is measured, what it means, and the command that measures it."""

    title: str
    about: str
    command: str


SECTIONS = (
    Section(
        "The loop beside a bare one",
        "Images a CPU-second of the suite's training loop by those of a bare loop over timm's pieces: more than 1 is "
        "faster. As it is, the last block is computed for the class token alone, which spares a ViT of twelve blocks "
        "at most 7.1 % of its work, and so makes it 1.077 times as fast. By the quickest round of each side other work "
        "on the machine counts least.",
        "python benchmarks/against_timm.py --rounds 15",
    ),
    Section(
        "The command beside timm's training script",
        "The same by whole commands on a folder of 160 PNG images, starts and scoring taken off. The script decodes "
        "each image anew in every pass, the suite once, before what is counted.",
        "python benchmarks/against_timm.py --rounds 5 --script pytorch-image-models/train.py",
    ),
    Section(
        "Savings, micro ViT",
        "CPU time with a saving by that without it: less than 1 is faster.",
        "python benchmarks/savings.py --rounds 11",
    ),
    Section(
        "Savings, ViT-Ti/16 at 224 pixels",
        "As above.",
        "python benchmarks/savings.py --backbone timm:vit_tiny_patch16_224@none --batch 16 --rounds 7",
    ),
    Section(
        "Many records",
        "CPU seconds and peak memory of whole commands, their start included.",
        "python benchmarks/many_records.py 10000 --rounds 3",
    ),
    Section(
        "The start of commands",
        "CPU time of whole commands by that of a bare start of Python.",
        "python benchmarks/starting.py",
    ),
    Section(
        "What a run costs beside its training",
        "Time around trainings that take none, from one run's end to the next one's.",
        "python benchmarks/overhead.py 200",
    ),
)


def main() -> None:
    """Measure, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", metavar="WORDS", help="sections whose title holds these words")
    parser.add_argument("--script", type=Path, metavar="FILE", help="timm's train.py")
    options = parser.parse_args()
    texts = read(PAGE.read_text(encoding="utf-8")) if PAGE.exists() else {}
    for section in SECTIONS:
        if SCRIPT in section.command and not options.script:
            continue
        if options.only.lower() in section.title.lower():
            texts[section.title] = measured(section, options.script)
            PAGE.write_text(page(texts), encoding="utf-8")


def measured(section: Section, script: Path | None) -> str:
    """A section with what its command prints. Raises ``CalledProcessError`` where that fails."""
    command = [sys.executable, *shlex.split(section.command.replace(SCRIPT, str(script)))[1:]]
    print(f"+ {section.command}", flush=True)
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    print(done.stdout, flush=True)
    return f"{section.about}\n\n    $ {section.command}\n\n{indented(done.stdout)}\n\nMade on {hardware()}."


def indented(text: str) -> str:
    """As Markdown shows it, line by line."""
    return "\n".join(f"    {line}".rstrip() for line in text.strip().splitlines())


def hardware() -> str:
    """What it was made on, without a name of the machine."""
    return (
        f"{processor()}, {torch.get_num_threads()} cores, Python {platform.python_version()}, torch {torch.__version__}"
    )


def read(text: str) -> dict[str, str]:
    """The sections of a page, by title."""
    parts = re.split(r"^## ", text, flags=re.MULTILINE)[1:]
    return {title: body.strip() for title, body in (part.split("\n", 1) for part in parts)}


def page(texts: dict[str, str]) -> str:
    """The whole page."""
    titles = [section.title for section in SECTIONS if section.title in texts]
    sections = [f"## {title}\n\n{texts[title]}" for title in titles]
    head = (
        "# How fast it is\n\nRatios and figures, each with the command that made it and the hardware; "
        "`python benchmarks/results.py` makes the page anew. A ratio is a median of rounds in which both sides took "
        "turns, with the least and the most; where these lie far apart, the machine did other work."
    )
    return "\n\n".join([head, *sections, TRIED.read_text(encoding="utf-8").strip()]) + "\n"


if __name__ == "__main__":
    main()

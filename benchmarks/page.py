"""docs/statistics.md, into which the scripts that measure error rates write their tables."""

from __future__ import annotations

import argparse
import os
import platform
from collections.abc import Callable
from pathlib import Path

import numpy as np
import scipy

PAGE = Path(__file__).parent.parent / "docs" / "statistics.md"


def machine(seconds: float) -> str:
    """What it took and on what: ``71 s of one core of NAME; Python 3, NumPy 2, SciPy 1.``"""
    versions = f"Python {platform.python_version()}, NumPy {np.__version__}, SciPy {scipy.__version__}"
    return f"{seconds:.0f} s of one core of {processor()}; {versions}."


def processor() -> str:
    """What this machine calls its processor, with the number of cores."""
    info = Path("/proc/cpuinfo")
    names = [line.partition(":")[2].strip() for line in info.read_text().splitlines() if line.startswith("model name")]
    return f"{names[0] if names else platform.machine()} ({os.cpu_count()} cores)"


def share_parser(about: str | None) -> argparse.ArgumentParser:
    """A parser with ``--share``."""
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--share", type=float, default=1.0, metavar="S", help="of the replicates; below 1 only prints")
    return parser


def write(begin: str, end: str, text: str) -> None:
    """Put a text between two marks of the page."""
    before, _, rest = PAGE.read_text(encoding="utf-8").partition(begin)
    _, _, after = rest.partition(end)
    PAGE.write_text(f"{before}{begin}\n\n{text}\n\n{end}{after}", encoding="utf-8")
    print(f"written: {PAGE}")


def measure(about: str | None, measured: Callable[[float], str], begin: str, end: str) -> None:
    """Measure with the share that is typed, and write the text into the page where it is whole."""
    share = share_parser(about).parse_args().share
    text = measured(share)
    if share < 1:
        print(text.splitlines()[-1])
    else:
        write(begin, end, text)

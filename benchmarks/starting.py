"""What commands take before they do anything: their CPU time by that of a bare start of Python, in turn.

    python benchmarks/starting.py --rounds 7

Each is a process of its own in an empty folder; the median of the rounds, the least and the most.
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

COMMANDS = ("--version", "list methods", "show gta", "plan demo", "status demo", "table demo", "plan gta")


def main() -> None:
    """Measure every command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7, metavar="N", help="(default: %(default)s)")
    options = parser.parse_args()
    ratios: dict[str, list[float]] = {command: [] for command in COMMANDS}
    bare = []
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(options.rounds + 1):
            bare.append(seconds([sys.executable, "-c", "pass"], folder))
            for command, of_rounds in ratios.items():
                of_rounds.append(seconds([sys.executable, "-m", "bench", *command.split()], folder) / bare[-1])
    print(f"bare start of Python: {1000 * statistics.median(bare):.0f} ms of CPU")
    for command, of_rounds in ratios.items():
        kept = of_rounds[1:]  # the first round compiles what is imported
        print(f"bench {command:14} {statistics.median(kept):5.1f} x [{min(kept):.1f} .. {max(kept):.1f}]")


def seconds(command: Sequence[str], folder: str) -> float:
    """CPU seconds of a command. Raises ``CalledProcessError`` where it fails."""
    started = resource.getrusage(resource.RUSAGE_CHILDREN)
    root = str(Path(__file__).parent.parent)
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    subprocess.run(command, cwd=folder, env={**environment, "PYTHONPATH": root}, check=True, capture_output=True)
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    return ended.ru_utime + ended.ru_stime - started.ru_utime - started.ru_stime


if __name__ == "__main__":
    main()

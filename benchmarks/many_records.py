"""What tables cost from many records: makes a store of N made-up records and measures each way to its table.

    python benchmarks/many_records.py 100000 --rounds 3
    python benchmarks/many_records.py 10000 --rounds 5 --beside ../another/checkout

Printed are CPU seconds and peak memory of whole commands, each a process of its own, their start included: the median
and, in brackets, the least and the most of the rounds. In every round each command has its turn, and so has each
checkout, on the same records; the first command of a round reads every record and writes the index. What the two print
is compared. The records are of an experiment of 20 methods (weights of GTA), 5 rates and as many seeds as N asks for;
their numbers are made up, and they have all that a record of ``digits`` has, its size and its checksum.
"""

from __future__ import annotations

import argparse
import os
import platform
import random
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from bench.records.environment import processor

if TYPE_CHECKING:
    import bench

HERE = Path(__file__).parent.parent
EXPERIMENT = """
title: Many records
methods: {Baseline: ce, GTA: {gta: {weight: [%s]}}}
backbones: [micro_vit]
datasets: [digits]
rates: [5, 15, 30, 50, 100]
seeds: %d
protocol: {steps: 100}
baseline: ce
"""
CLASSES, VALIDATION, TEST = 10, 240, 597
DRAWN = 400
COMMANDS = (
    ("first table", ("table", "many.yaml", "--format", "csv")),
    ("table", ("table", "many.yaml", "--format", "csv")),
    ("status", ("status", "many.yaml")),
    ("plan", ("plan", "many.yaml")),
    ("first table of another metric", ("table", "many.yaml", "--format", "csv", "--metric", "nll")),
    ("table of another metric", ("table", "many.yaml", "--format", "csv", "--metric", "nll")),
    ("text", ("table", "many.yaml", "--format", "text")),
    ("json", ("table", "many.yaml", "--format", "json")),
    ("latex", ("table", "many.yaml", "--format", "latex")),
    ("runs", ("runs", "many.yaml", "--format", "csv")),
)
"""What is measured, with the words of each command."""

INDEXES = ("index*", "scores*")
"""What the store makes beside its records, and what a round begins without."""


class Taken(NamedTuple):
    """What a command printed, its CPU seconds, and its peak memory in MB."""

    text: bytes
    seconds: float
    memory: float


def main() -> None:
    """Make the store, measure the commands."""
    options = _parsed()
    with tempfile.TemporaryDirectory(dir=options.place) as folder:
        root = Path(folder)
        (root / "many.yaml").write_text(declared(options.records), encoding="utf-8")
        # in a process of its own: a command's peak is at least what the process that starts it has in memory
        making = "from benchmarks.many_records import make_all; make_all()"
        made = measured(HERE, root, ["-c", making])
        print(f"{processor()}, {os.cpu_count()} cores, Python {platform.python_version()}")
        print(f"{made.text.decode().strip()}; made in {made.seconds:.1f} s of CPU", flush=True)
        checkouts = [HERE, *options.beside]
        taken: dict[tuple[str, Path], list[Taken]] = {}
        for _ in range(options.rounds):
            for checkout in checkouts:
                for index in (path for pattern in INDEXES for path in (root / "results").glob(pattern)):
                    index.unlink()
                for name, words in COMMANDS:
                    if not options.only or name in options.only:
                        code = f"from bench.cli import main; main({list(words)!r})"
                        each = measured(checkout, root, ["-c", code])
                        taken.setdefault((name, checkout), []).append(each)
                        print(f"{checkout}: {name}: {each.seconds:.2f} s", file=sys.stderr, flush=True)
        for name, _ in COMMANDS:
            _print(name, [taken[name, checkout] for checkout in checkouts if (name, checkout) in taken])


def declared(records: int) -> str:
    """The text of an experiment with so many runs, a hundred for each seed."""
    weights = ", ".join(str(weight / 10) for weight in range(1, 20))
    return EXPERIMENT % (weights, max(2, records // 100))


def measured(checkout: Path, folder: Path, arguments: Sequence[str]) -> Taken:
    """Run Python with one checkout's suite, in a folder, to its end, on one thread."""
    environment = {**os.environ, "PYTHONPATH": str(checkout), "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    command = [sys.executable, *arguments]
    with subprocess.Popen(command, cwd=folder, env=environment, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        text = process.stdout.read()
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{checkout}: {' '.join(arguments)} ended with {process.returncode}")
    return Taken(text, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024)


def make_all() -> None:
    """Make the store of the experiment in the working folder, and print what it has."""
    import bench

    plan = bench.read_plan("many.yaml", bench.Registry())
    sizes = make(plan, Path("results"))
    points = sum(spec.protocol.evaluations for spec in plan.unique.values())
    print(f"{len(sizes)} records of {statistics.mean(sizes):.0f} bytes, {points} points of curves")


def make(plan: bench.Plan, results: Path) -> list[int]:
    """A record for each run of the plan, as a store keeps it, with made-up numbers. Returns their sizes in bytes."""
    from msgspec.structs import replace

    from bench.records.record import Record, record_bytes, record_of
    from bench.records.store import folder_name
    from bench.spec import to_json

    draw, sizes = random.Random(0), []
    drawn: list[Record] = []
    for table in plan.tables:
        for _, cell in table.places():
            for candidate in cell.candidates:
                # what the runs of a candidate have in common is written out once; numbers are drawn for some runs
                first = candidate.runs[0]
                shared = to_json(first)
                if len(drawn) < DRAWN:
                    drawn += [record_of(first, entries(first, draw), Record) for _ in range(DRAWN // 20)]
                for spec in candidate.runs:
                    folder = results / "runs" / folder_name(spec)
                    folder.mkdir(parents=True)
                    whole = {**shared, "seeds": vars(spec.seeds), "seed": spec.seed}
                    record = replace(draw.choice(drawn), id=spec.id, label=spec.label, spec=whole)
                    content = record_bytes(record)
                    (folder / "record.json").write_bytes(content)
                    sizes.append(len(content))
    return sizes


def entries(spec: bench.RunSpec, draw: random.Random) -> dict[str, Any]:
    """What a worker gives for a run of digits, made up."""
    from bench.records.environment import provenance

    points, steps = spec.protocol.evaluations, spec.protocol.recipe.steps
    curve = []
    for point in range(1, points + 1):
        curve.append(
            {
                "step": steps * point // points,
                "learning_rate": draw.uniform(0, 0.002),
                "loss": {name: draw.uniform(0, 2) for name in ("ce", "gta")[: 1 + (spec.method.name == "gta")]},
                "val": scores(draw, VALIDATION),
                "test": scores(draw, TEST),
                "seconds": round(0.6 * point + draw.uniform(0, 0.1), 3),
            }
        )
    seconds = round(draw.uniform(3, 4), 3)
    usage = {"parts": 1, "seconds": seconds, "cpu_seconds": seconds, "memory_bytes": draw.randrange(8 * 10**8, 10**9)}
    stage = {"steps": steps, "budget": steps, "batch_size": spec.protocol.batch_size, "trained_weights": 78490}
    return {
        **provenance(spec.id, "bench run many.yaml", "results"),
        "curve": curve,
        "stages": [stage],
        "parameters": 78490,
        "subset": {"digest": f"{draw.randrange(16**12):012x}", "images": 960, "of": 960},
        "validation_images": VALIDATION,
        "test_images": TEST,
        "timing": {"seconds": seconds, "evaluation_seconds": round(draw.uniform(0.5, 0.7), 3)},
        "usage": usage,
        "taken_up": 0,
        "ranks": 1,
        "parts": 1,
    }


def scores(draw: random.Random, images: int) -> dict[str, float]:
    """What is scored of so many images of digits, made up."""
    right = draw.randint(int(0.7 * images), int(0.9 * images))
    return {
        "top1": 100 * right / images,
        "top5": 100 * draw.randint(right, images) / images,
        "mean_per_class": 100 * right / images + draw.uniform(-1, 1) / CLASSES,
        "nll": draw.uniform(0.4, 1.2),
        "ece": draw.uniform(10, 30),
        "brier": draw.uniform(0.2, 0.5),
    }


def _print(name: str, of_checkouts: list[list[Taken]]) -> None:
    """A line for a command: of this checkout, of each beside it, and whether all have printed the same."""
    if not of_checkouts:
        return
    texts = {taken.text for rounds in of_checkouts for taken in rounds}
    parts = []
    for rounds in of_checkouts:
        seconds, memory = sorted(taken.seconds for taken in rounds), max(taken.memory for taken in rounds)
        parts.append(f"{statistics.median(seconds):6.2f} [{seconds[0]:.2f}..{seconds[-1]:.2f}] s {memory:4.0f} MB")
    same = "" if len(texts) == 1 else "; NOT the same is printed"
    print(f"{name:30} {' | '.join(parts)}{same}", flush=True)


def _parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("records", nargs="?", type=int, default=100_000, metavar="N", help="how many (100000)")
    parser.add_argument("--rounds", type=int, default=3, help="how often each command is measured (3)")
    parser.add_argument(
        "--beside", type=Path, action="append", default=[], metavar="CHECKOUT", help="another to measure"
    )
    parser.add_argument("--only", action="append", choices=[name for name, _ in COMMANDS], help="these commands alone")
    parser.add_argument("--place", type=Path, help="the folder to make the store in (that of temporary files)")
    return parser.parse_args()


if __name__ == "__main__":
    main()

"""How long tables take from many records: makes a store of N made-up records and times each way to its table.

    python benchmarks/many_records.py 100000

Printed are seconds of wall-clock and of CPU time: of what is read alone, from the records and from the index; of whole
commands, the first of which reads every record and writes the index; and of every format within one process. The
records are of an experiment of 20 methods (weights of GTA), 5 rates and as many seeds as N asks for, and made up.
"""

from __future__ import annotations

import json
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import bench
from bench.spec import to_json

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
POINTS = 10
COMMANDS = (
    ("first table, from the records", "table", "many.yaml", "--format", "csv"),
    ("table, from the index", "table", "many.yaml", "--format", "csv"),
    ("again", "table", "many.yaml", "--format", "csv"),
    ("status", "status", "many.yaml"),
    ("plan", "plan", "many.yaml"),
)
"""What is timed, with the arguments of the command."""


def main() -> None:
    """Make the store, time the tables."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        weights = ", ".join(str(weight / 10) for weight in range(1, 20))
        (root / "many.yaml").write_text(EXPERIMENT % (weights, count // 100), encoding="utf-8")
        plan = bench.read_plan(str(root / "many.yaml"), bench.Registry())
        made = timed("making them", lambda: make(plan, root / "results"))
        print(f"{made} records, {made * POINTS} points of curves")
        for name in ("reading the records", "reading the index"):
            timed(name, partial(command, root, "import bench; bench.Store('results').finished()"))
        (root / "results" / "index.jsonl").unlink()
        for name, *arguments in COMMANDS:
            timed(name, partial(command, root, f"from bench.cli import main; main({arguments!r})"))
        timed("every format, in one process", lambda: write(plan, root / "results"))


def command(root: Path, code: str) -> None:
    """Run Python code in a process of its own, in the folder of the experiment."""
    subprocess.run([sys.executable, "-c", code], cwd=root, check=True, capture_output=True)


def make(plan: bench.Plan, results: Path) -> int:
    """A record for each run of the plan, as a store keeps it, with made-up accuracies."""
    draw = random.Random(0)
    for spec in plan.unique.values():
        folder = results / "runs" / f"made-up-{spec.id}"
        folder.mkdir(parents=True)
        curve = []
        for point in range(POINTS):
            scores = {"top1": round(draw.uniform(80, 90), 4), "mean_per_class": 85.0, "right": 500}
            curve.append(
                {"step": point + 1, "learning_rate": 0.001, "loss": {"ce": 1.0}, "val": scores, "test": scores}
            )
        record = {"schema": 1, "id": spec.id, "label": spec.label, "spec": to_json(spec), "status": "done"}
        record |= {"curve": curve, "timing": {"seconds": 1.0}}
        (folder / "record.json").write_text(json.dumps(record), encoding="utf-8")
    return len(plan.unique)


def write(plan: bench.Plan, results: Path) -> None:
    """The table in every format."""
    table = bench.fill(plan, bench.Store(results))
    for format in ("text", "markdown", "csv", "json", "latex"):
        bench.render(table, format)


def timed(name: str, work: Callable[[], int | None]) -> int:
    """What ``work`` gives; its seconds are printed."""
    started, used = time.perf_counter(), processor_seconds()
    result = work()
    wall, processor = time.perf_counter() - started, processor_seconds() - used
    print(f"{name}: {wall:.2f} s, {processor:.2f} s of CPU", flush=True)
    return result or 0


def processor_seconds() -> float:
    """CPU seconds of this process and of those it has waited for."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(part.ru_utime + part.ru_stime for part in used)


if __name__ == "__main__":
    main()

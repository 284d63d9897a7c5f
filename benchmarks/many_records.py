"""How long tables take from many records: makes a store of N made-up records and times each way to its table.

    python benchmarks/many_records.py 100000

Printed are seconds of wall-clock time: the first table, which reads every record and writes the index; a table after
that, which reads the index; and the same within one process. The records are of an experiment of 20 methods (weights of
GTA), 5 rates and as many seeds as N asks for; nothing was trained.
"""

from __future__ import annotations

import json
import random
import subprocess
import sys
import tempfile
import time
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


def main() -> None:
    """Make the store, time the tables."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        weights = ", ".join(str(weight / 10) for weight in range(1, 20))
        (root / "many.yaml").write_text(EXPERIMENT % (weights, count // 100), encoding="utf-8")
        plan = bench.expand(bench.read_experiment(str(root / "many.yaml"), bench.Registry()))
        made = timed("making them", lambda: make(plan, root / "results"))
        print(f"{made} records, {made * POINTS} points of curves")
        command = [sys.executable, "-m", "bench.cli", "table", "many.yaml", "--format", "csv"]
        run = f"import sys; from bench.cli import main; sys.exit(main({command[3:]!r}))"
        for name in ("first table, from the records", "table, from the index", "again"):
            timed(name, lambda: subprocess.run([sys.executable, "-c", run], cwd=root, check=True, capture_output=True))
        timed("every format, in one process", lambda: write(plan, root / "results"))


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


def timed(name: str, work: object) -> int:
    """What ``work`` gives; its seconds are printed."""
    started = time.perf_counter()
    result = work()  # type: ignore[operator]
    print(f"{name}: {time.perf_counter() - started:.2f} s", flush=True)
    return int(result or 0) if isinstance(result, int) else 0


if __name__ == "__main__":
    main()

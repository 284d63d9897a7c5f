"""How long it takes to submit many runs to SLURM, and to say how far many runs are.

    python benchmarks/submitting.py 10000 100000

First number: runs that are submitted, packed; sbatch, squeue and the others are scripts that answer at once, so what
is measured is ours and submitit's: planning, packing, writing a file for each job. Second number: runs with a made-up
record each, about which ``bench status`` is asked. Printed are seconds of wall-clock time of whole commands, their
start included, with the machine and the commands.
"""

from __future__ import annotations

import os
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import bench

sys.path.insert(0, str(Path(__file__).parent.parent))
from benchmarks.many_records import EXPERIMENT, make

SCRIPTS = {
    "srun": "exit 0",
    "sbatch": 'echo "$1" >> "$FAKE/calls"; echo "Submitted batch job $(wc -l < "$FAKE/calls")"',
    "squeue": 'cat "$FAKE/queue"',
    "scontrol": "printf 'ClusterName = fake\\nMaxArraySize = 1001\\n'",
    "sacctmgr": "exit 1",
}
PACK = 50


def main() -> None:
    """Submit, submit again, ask for the state."""
    submitted, recorded = (int(number) for number in (*sys.argv[1:3], *("10000", "100000")[len(sys.argv) - 1 :]))
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines() if os.path.exists("/proc/cpuinfo") else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    print(f"{(names or ['?'])[0]}, {os.cpu_count()} cores, Python {platform.python_version()}")
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        os.environ |= {"FAKE": folder, "PATH": f"{folder}/bin:{os.environ['PATH']}"}
        _write_scripts(root)
        declare(root / "submitted.yaml", submitted)
        launcher = ("--launcher", "slurm", "--pack", str(PACK))
        timed(root, "run", "submitted.yaml", *launcher)
        calls = (root / "calls").read_text(encoding="utf-8").splitlines()
        print(f"  {len(calls)} calls of sbatch")
        jobs = "".join(f"1_{task}|PENDING\n" for task in range(submitted // PACK))
        (root / "queue").write_text(jobs, encoding="utf-8")
        timed(root, "run", "submitted.yaml", *launcher)
        timed(root, "status", "submitted.yaml")
        declare(root / "recorded.yaml", recorded)
        make(bench.read_plan(str(root / "recorded.yaml"), bench.Registry()), root / "results")
        for _ in range(3):  # the first one reads every record and writes the index
            timed(root, "status", "recorded.yaml")


def declare(path: Path, runs: int) -> None:
    """Write an experiment of so many runs, a hundred for each seed."""
    weights = ", ".join(str(weight / 10) for weight in range(1, 20))
    path.write_text(EXPERIMENT % (weights, max(2, runs // 100)), encoding="utf-8")


def timed(root: Path, *arguments: str) -> None:
    """Run a command to its end and print what it said first and how long it took."""
    start = [sys.executable, "-c", "import sys; from bench.cli import main; sys.exit(main())"]
    began = time.perf_counter()
    done = subprocess.run([*start, *arguments], cwd=root, check=True, capture_output=True, text=True)
    seconds = time.perf_counter() - began
    print(f"{seconds:6.2f} s  bench {' '.join(arguments)}: {done.stdout.splitlines()[0]}", flush=True)


def _write_scripts(root: Path) -> None:
    (root / "bin").mkdir()
    (root / "queue").touch()
    for name, script in SCRIPTS.items():
        path = root / "bin" / name
        path.write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
        path.chmod(0o755)


if __name__ == "__main__":
    main()

"""What the suite costs for each run beside training it, with local workers.

    python benchmarks/overhead.py 1000

Training is replaced by a function that returns at once what a tiny run leaves behind, in the worker; all the rest is
as ever: the claim, the draft, the log, the predictions, the record with its provenance, its way to its place, the
answer, the line that says so. Printed are, for one worker, milliseconds from one run's end to the next one's (mean and
median), and milliseconds of CPU time for each run, of worker and front process together; the start of the worker is in
neither. All of it again on a file system in memory, where no disk is waited for.
"""

from __future__ import annotations

import itertools
import os
import platform
import resource
import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path

import bench
from bench.launch import Event, Job, LocalExecutor
from bench.records.environment import processor

EXPERIMENT = """
title: Trivial runs
methods: {Fine-tune: ce}
backbones: [micro_vit]
datasets: [digits]
rates: [15]
seeds: %d
protocol: {steps: 1, warmup: 0, evaluations: 1}
"""
# found by every Python process that is started below; the worker's training is replaced before it is asked for
REPLACED = """
import sys

if any("bench.launch.worker" in argument for argument in sys.orig_argv):
    import msgspec
    import numpy as np
    from bench.records.record import Record
    from bench.spec import to_json
    from bench.training import trial

    def run_trial(spec, registry, *more, **others):
        scores = {"top1": 50.0, "mean_per_class": 50.0, "right": 1}
        point = {"step": 1, "learning_rate": 0.001, "loss": {"ce": 1.0}, "val": None, "test": scores}
        facts = {"status": "done", "id": spec.id, "label": spec.label, "spec": to_json(spec)}
        record = msgspec.convert({**facts, "curve": [point], "timing": {"seconds": 0.001}}, Record)
        labels = np.zeros(300, dtype=np.uint16)
        return trial.TrainedRun(record, {"test": labels[None], "test_labels": labels, "training_indices": labels})

    trial.run_trial = run_trial
"""


def main() -> None:
    """Launch twice on each file system, and print the difference."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
    print(f"{processor()}, {os.cpu_count()} cores, Python {platform.python_version()}")
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "sitecustomize.py").write_text(REPLACED, encoding="utf-8")
        os.environ["PYTHONPATH"] = os.pathsep.join([folder, str(Path(bench.__file__).parent.parent)])
        places = {"disk": Path(folder)} | ({"memory": Path("/dev/shm")} if os.access("/dev/shm", os.W_OK) else {})
        for name, place in places.items():
            ends, used = launched(Path(folder), place, count)
            gaps = [1000 * (later - earlier) for earlier, later in itertools.pairwise(ends)]
            wall = f"{statistics.fmean(gaps):.2f} (median {statistics.median(gaps):.2f})"
            print(f"{name}: {wall} ms a run, of them {1000 * used / len(gaps):.2f} ms of CPU time", flush=True)


def launched(folder: Path, place: Path, runs: int) -> tuple[list[float], float]:
    """When each of so many runs ended, and seconds of CPU time from the first one's end to the last one's."""
    declared = folder / "trivial.yaml"
    declared.write_text(EXPERIMENT % runs, encoding="utf-8")
    plan = bench.read_plan(str(declared), bench.Registry())
    results = Path(tempfile.mkdtemp(dir=place))
    ends: list[float] = []
    used: list[float] = []

    def note(event: Event) -> None:
        ends.append(time.perf_counter())
        if len(ends) in (1, runs):
            used.append(_cpu())

    try:
        bench.run(plan.unique.values(), Job(results, command="bench run trivial.yaml"), LocalExecutor(jobs=1), note)
        assert len(bench.Store(results).finished()) == runs, "not every run has its record"
    finally:
        shutil.rmtree(results)
    return ends, used[-1] - used[0]


def _cpu() -> float:
    """Seconds of CPU time of this process and of its worker."""
    own = resource.getrusage(resource.RUSAGE_SELF)
    workers = Path(f"/proc/self/task/{os.getpid()}/children").read_text(encoding="ascii").split()
    ticks = 0
    for pid in workers:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])
    return own.ru_utime + own.ru_stime + ticks / os.sysconf("SC_CLK_TCK")


if __name__ == "__main__":
    main()

"""What a page of results costs, beside benchopt's page of the same cells.

    python benchmarks/report_page.py                                   1,000 cells × 5 seeds
    python benchmarks/report_page.py --seeds 100                       100,000 runs
    python benchmarks/report_page.py --benchopt ~/other/bin/python     a Python that has benchopt

Makes records of an experiment of 40 methods and 25 rates, with made-up numbers (``many_records``), writes the page of
it, and opens it in Chromium where playwright is there. With ``--benchopt`` the same runs, each with the points of its
curve, are given to benchopt as a results file of its own form. Every round has both, one after the other. Printed are
CPU and wall-clock seconds of each command, its start included, the bytes it wrote, and of the opened page the seconds
of its main thread until it shows the table.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

HERE = Path(__file__).parent.parent
EXPERIMENT = """
title: Many cells
methods: {Baseline: ce, GTA: {gta: {weight: [%s]}}}
backbones: [micro_vit]
datasets: [digits]
rates: [%s]
seeds: %d
protocol: {steps: 100}
baseline: ce
sweep: rows
"""
WRITE = "from bench.cli import main; main(['report', 'many.yaml', '--output', 'page.html'])"
MAKE = "from benchmarks.many_records import make_all; make_all()"
AS_CSV = """
import csv, bench
plan, store = bench.read_plan("many.yaml", bench.Registry()), bench.Store("results")
finished = store.finished()
with open("other/runs.csv", "w") as file:
    write = csv.writer(file).writerow
    for spec in plan.unique.values():
        for step, _, test in finished[spec.id].values:
            write([dict(spec.method.hyper).get("weight", 0.0), spec.rate, spec.seed, step, test])
"""
AS_PARQUET = """
import pandas
data = pandas.read_csv("runs.csv", names=["p_solver_weight", "p_dataset_rate", "idx_rep", "stop_val", "objective_top1"])
data["objective_value"] = 100 - data.objective_top1
data["time"] = data.stop_val / 30
data["solver_name"] = [f"gta[weight={weight}]" for weight in data.p_solver_weight]
data["dataset_name"] = [f"digits[rate={rate}]" for rate in data.p_dataset_rate]
same = {"objective_name": "accuracy", "obj_description": "", "solver_description": "", "sampling_strategy": "Iteration",
        "file_objective": "objective.py", "file_solver": "solvers/gta.py", "file_dataset": "datasets/digits.py",
        "base_seed": 0, "platform": "Linux", "platform-architecture": "x86_64", "platform-release": "6",
        "platform-version": "1", "system-cpus": 2, "system-processor": "any", "system-ram (GB)": 8,
        "version-cuda": None, "version-numpy": "2", "version-scipy": "1", "env-OMP_NUM_THREADS": None,
        "benchmark-git-tag": None, "version-numpy-libs": "", "run_date": "2026-01-01T00:00:00"}
data.assign(**same).to_parquet("outputs/runs.parquet")
"""
OBJECTIVE = """
from benchopt import BaseObjective
class Objective(BaseObjective):
    name = "accuracy"
    def set_data(self, rate): self.rate = rate
    def evaluate_result(self, top1): return dict(value=100 - top1, top1=top1)
    def get_one_result(self): return dict(top1=1.0)
    def get_objective(self): return dict(rate=self.rate)
"""
DATASET = """
from benchopt import BaseDataset
class Dataset(BaseDataset):
    name = "digits"
    parameters = {"rate": [4 * rate for rate in range(1, 26)]}
    def get_data(self): return dict(rate=self.rate)
"""
SOLVER = """
from benchopt import BaseSolver
class Solver(BaseSolver):
    name = "gta"
    parameters = {"weight": [weight / 20 for weight in range(40)]}
    sampling_strategy = "iteration"
    def set_objective(self, rate): self.rate = rate
    def run(self, steps): self.steps = steps
    def get_result(self): return dict(top1=80.0)
"""


def main() -> None:
    """Make the records, write and open both pages."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--benchopt", type=Path, metavar="PYTHON")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        weights = ", ".join(str(weight / 20) for weight in range(1, 40))
        rates = ", ".join(str(4 * rate) for rate in range(1, 26))
        (folder / "many.yaml").write_text(EXPERIMENT % (weights, rates, options.seeds), encoding="utf-8")
        timed([sys.executable, "-c", MAKE], folder, "made")
        if options.benchopt:
            prepare_other(folder, options.benchopt.absolute())
        for _ in range(options.rounds):
            timed([sys.executable, "-c", WRITE], folder, "bench report", folder / "page.html")
            opened(folder / "page.html")
            if options.benchopt:
                program = str(options.benchopt.absolute().with_name("benchopt"))
                command = [program, "plot", ".", "-f", "outputs/runs.parquet", "--html", "--no-display"]
                timed(command, folder / "other", "benchopt plot", folder / "other" / "outputs")


def prepare_other(folder: Path, python: Path) -> None:
    """The same runs as a results file of benchopt's form, in a benchmark of its own."""
    other = folder / "other"
    for name in ("datasets", "solvers", "outputs"):
        (other / name).mkdir(parents=True)
    (other / "objective.py").write_text(OBJECTIVE, encoding="utf-8")
    (other / "datasets" / "digits.py").write_text(DATASET, encoding="utf-8")
    (other / "solvers" / "gta.py").write_text(SOLVER, encoding="utf-8")
    timed([sys.executable, "-c", AS_CSV], folder, "runs as CSV")
    timed([str(python), "-c", AS_PARQUET], other, "runs as benchopt has them")


def timed(command: Sequence[str], folder: Path, name: str, written: Path | None = None) -> None:
    """Run a command in a folder, and print what it took and what it wrote."""
    start = time.perf_counter()
    environment = {**os.environ, "PYTHONPATH": str(HERE)}
    process = subprocess.Popen(command, cwd=folder, env=environment, stdout=subprocess.DEVNULL)
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{' '.join(command)} ended with {process.returncode}")
    files = [written, *written.rglob("*")] if written else []
    size = f", {sum(path.stat().st_size for path in files if path.is_file()) / 1e6:.1f} MB" if files else ""
    seconds = time.perf_counter() - start
    print(f"{name}: {used.ru_utime + used.ru_stime:.1f} s of CPU, {seconds:.1f} s{size}", flush=True)


def opened(page: Path) -> None:
    """Open a page in Chromium, and print how long its main thread worked until the table was there."""
    program = shutil.which("chromium")
    if program is None or importlib.util.find_spec("playwright") is None:
        return
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        tab = browser.new_page()
        session = tab.context.new_cdp_session(tab)
        session.send("Performance.enable", {"timeDomain": "threadTicks"})
        start = time.perf_counter()
        tab.goto(page.as_uri())
        tab.wait_for_selector("html[data-ready]")
        seconds = time.perf_counter() - start
        metrics = {each["name"]: each["value"] for each in session.send("Performance.getMetrics")["metrics"]}
        print(f"  opened: {metrics['TaskDuration']:.2f} s of the main thread, {seconds:.2f} s", flush=True)
        browser.close()


if __name__ == "__main__":
    main()

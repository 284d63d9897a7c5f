"""Grids on a real cluster: arrays, packs, GPUs, and what clusters do to jobs. In the end every run has its record."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.scenes import untimed
from tests.slurm.cluster import Cluster, kill, launch, reconfigure, run, set_node, wait_for

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("warm")]

PAUSE = 0.3
"""Seconds between two looks at how a grid stands, each of which is a process."""

METHOD = """
import os
import time
from dataclasses import dataclass

from bench.method import Method, hyper


@dataclass(frozen=True)
class Mine(Method):
    '''Plain fine-tuning that takes its time, or fails.'''

    pause: float = hyper(0.0, low=0, source="a test")
    crash: int = hyper(0, low=0, source="a test")

    def loss(self, model, batch):
        print("sees", os.environ.get("CUDA_VISIBLE_DEVICES") or "nothing", flush=True)
        time.sleep(self.pause)
        if self.crash == 1:
            raise ValueError("the shapes differ")
        if self.crash == 2:
            os._exit(7)
        return {"ce": batch.cross_entropy(model(batch.images))}
"""
SLURM = ("--launcher", "slurm", "--mem", "1.5", "--gpus-per-run", "0")


class Grid:
    """A few small runs, and the commands about them."""

    def __init__(self, folder: Path, methods: str = "ce", seeds: int = 1, steps: int = 4) -> None:
        self.folder = folder
        (folder / "mine.py").write_text(METHOD, encoding="utf-8")
        settings = [f"--set={key}={value}" for key, value in (("steps", steps), ("warmup", 2), ("evaluations", 1))]
        axes = ["--methods", methods, "--seeds", str(seeds), "--rates", "15", "--datasets", "digits"]
        self.target = ["demo", *axes, *settings, "--plugin", str(folder / "mine.py")]

    def bench(self, command: str, *more: str, results: str = "results") -> str:
        """What a command prints; it must succeed."""
        start = [sys.executable, "-c", "import sys; from bench.cli import main; sys.exit(main())"]
        asked = [*start, command, *self.target, "--results", str(self.folder / results), *more]
        done = subprocess.run(asked, capture_output=True, text=True, cwd=self.folder, timeout=300)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def submit(self, *more: str) -> str:
        return self.bench("run", *SLURM, *more)

    def status(self) -> dict[str, Any]:
        return dict(json.loads(self.bench("status", "--format", "json")))

    def wait(self, seconds: float = 240) -> dict[str, Any]:
        """The state when nothing runs or waits any longer."""
        found: dict[str, Any] = {}

        def ended() -> bool:
            found.update(self.status())
            return not found["running"] + found["queued"]

        wait_for(ended, "the end of every job", seconds, PAUSE)
        return found

    def wait_for_training(self) -> None:
        """Return when a checkpoint is there."""
        wait_for(lambda: list(self.folder.glob("results/checkpoints/*/*.pt")), "a checkpoint", 120)

    def records(self, results: str = "results", kind: str = "runs") -> dict[str, dict[str, Any]]:
        """The records by run id."""
        found = [json.loads(path.read_text()) for path in (self.folder / results / kind).glob("*/record.json")]
        return {record["id"]: record for record in found}

    def logs(self) -> str:
        """What all jobs have printed."""
        return "".join(path.read_text() for path in sorted(self.folder.glob("results/submissions/*/*_log.out")))

    def restarts(self) -> list[int]:
        """How often the jobs of the finished runs had been started anew."""
        return [int(record["environment"]["slurm"].get("restarts", 0)) for record in self.records().values()]

    def check_equals_undisturbed(self) -> None:
        """Every finished run is what it is when nobody disturbs it, to the last bit."""
        self.bench("run", "--jobs", "1", results="undisturbed")
        mine, undisturbed = self.records(), self.records("undisturbed")
        assert mine.keys() == undisturbed.keys()
        for run_id, record in mine.items():
            assert untimed(record["curve"]) == untimed(undisturbed[run_id]["curve"])
            (one,), (other,) = (
                list(self.folder.glob(f"{results}/runs/*-{run_id}/predictions.npz"))
                for results in ("results", "undisturbed")
            )
            with np.load(one) as ours, np.load(other) as theirs:
                assert all(np.array_equal(ours[name], theirs[name]) for name in theirs)


def test_a_grid_is_split_into_arrays(cluster: Cluster, tmp_path: Path) -> None:
    reconfigure(cluster, MaxArraySize=3)
    try:
        grid = Grid(tmp_path, seeds=4)
        said = grid.submit()
        assert "submitted 4 runs as 4 jobs" in said
        assert re.findall(r"job \d+: (\d) task", said) == ["3", "1"]
        assert "4 runs are in jobs already" in grid.submit()
        state = grid.wait()
        assert (state["done"], state["missing"], state["failed"]) == (4, 0, [])
    finally:
        reconfigure(cluster, MaxArraySize=1001)
    said = grid.submit()
    assert "4 of 4 are done" in said, "and the table is printed"
    for record in grid.records().values():
        assert record["environment"]["launcher"] == "slurm"
        assert record["environment"]["slurm"]["partition"] == "low"


def test_a_run_in_training_says_where_it_stands(cluster: Cluster, tmp_path: Path) -> None:
    grid = Grid(tmp_path, methods="mine(pause=0.3)", seeds=2, steps=500)
    grid.submit("--max-running", "1")
    state: dict[str, Any] = {}

    def stands() -> bool:
        state.update(grid.status())
        return any(training.get("seconds_left") for training in state["training"])

    wait_for(stands, "a run that has told what it will still take", 120, PAUSE)
    assert (state["running"], state["queued"], state["missing"]) == (1, 1, 0)
    (training,) = state["training"]
    assert 0 < training["step"] < training["of"] == 500
    assert training["seconds_left"] > 0.3 * 400
    assert state["seconds_left"] > training["seconds_left"], "the one that waits takes its time, too"
    command = [sys.executable, "-m", "bench", "logs", training["run"], "--results", str(tmp_path / "results")]
    logs = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    assert logs.stdout.startswith("sees nothing\n")
    assert "/500, " in logs.stderr
    grid.bench("cancel")
    wait_for(lambda: not grid.status()["running"], "the end of the job", 60, PAUSE)
    assert grid.status()["training"] == []
    assert not list(tmp_path.glob("results/progress/*.json"))


def test_a_failing_run_does_not_stop_its_pack(cluster: Cluster, tmp_path: Path) -> None:
    grid = Grid(tmp_path, methods="mine(crash=1),mine(crash=2),ce,mine")
    assert "submitted 4 runs as 1 job" in grid.submit("--pack", "9")
    state = grid.wait()
    assert (state["done"], state["missing"]) == (2, 0)
    messages = sorted(failure["message"] for failure in state["failed"])
    assert messages == ["ValueError: the shapes differ", "its worker process ended: exit code 7"]
    assert "trains them again" in grid.bench("status")
    assert "[4/4] " in grid.logs()


def test_each_process_sees_its_gpu(cluster: Cluster, tmp_path: Path) -> None:
    grid = Grid(tmp_path, methods="mine")
    grid.submit()
    grid.wait()
    (log,) = tmp_path.glob("results/runs/*/log.txt")
    assert "sees nothing" in log.read_text(), "without a GPU a job has none"

    (tmp_path / "two").mkdir()
    grid = Grid(tmp_path / "two", methods="mine")
    grid.submit("--gpus-per-run", "2")
    assert grid.wait()["done"] == 1
    script = next((tmp_path / "two").glob("results/submissions/*/*_submission.sh")).read_text()
    assert "--gpus-per-node=2" in script
    assert "--ntasks=2" in script
    (log,) = (tmp_path / "two").glob("results/runs/*/log.txt")
    (other,) = (tmp_path / "two").glob("results/submissions/*/*_1_worker.log")
    assert {*re.findall("sees .*", log.read_text())} == {"sees 0"}
    assert {*re.findall("sees .*", other.read_text())} == {"sees 1"}


def test_a_crash_of_one_process_does_not_stop_the_pack_of_shared_runs(cluster: Cluster, tmp_path: Path) -> None:
    grid = Grid(tmp_path, methods="mine(crash=2),mine(crash=1),ce")
    grid.submit("--pack", "9", "--gpus-per-run", "2")
    state = grid.wait()
    assert (state["done"], len(state["failed"]), state["missing"]) == (1, 2, 0)
    assert [path.name for path in tmp_path.glob("results/failed/*-2")] == [], "each failure is written once"


def test_a_shared_run_is_preempted_and_goes_on(cluster: Cluster, tmp_path: Path) -> None:
    grid = Grid(tmp_path, methods="mine(pause=0.05)", steps=100)
    grid.submit("--gpus-per-run", "2", "--checkpoint-every", "1")
    grid.wait_for_training()
    run(cluster, "sbatch", "--partition=high", "--nodes=2", "--exclusive", "--output=/dev/null", "--wrap=sleep 1")
    assert grid.wait()["done"] == 1
    assert grid.restarts() == [1]
    assert not list(tmp_path.glob("results/failed/*"))


def test_two_tasks_train_what_one_process_does(cluster: Cluster, tmp_path: Path) -> None:
    grid = Grid(tmp_path, methods="ce,scl,bss", steps=6)
    grid.submit("--gpus-per-run", "2", "--pack", "3")
    state = grid.wait()
    assert (state["done"], state["missing"], state["failed"]) == (3, 0, [])
    grid.bench("run", "--jobs", "1", results="alone")
    shared, alone = grid.records(), grid.records("alone")
    assert shared.keys() == alone.keys()
    for run_id, record in shared.items():
        assert (record["ranks"], alone[run_id]["ranks"]) == (2, 1)
        for two, one in zip(record["curve"], alone[run_id]["curve"], strict=True):
            assert two["loss"] == pytest.approx(one["loss"], rel=1e-4), record["label"]


def test_preempted_requeued_and_finished(cluster: Cluster, tmp_path: Path) -> None:
    grid = Grid(tmp_path, methods="mine(pause=0.05)", steps=200)
    grid.submit("--checkpoint-every", "1")
    grid.wait_for_training()
    run(cluster, "sbatch", "--partition=high", "--nodes=2", "--exclusive", "--output=/dev/null", "--wrap=sleep 1")
    assert grid.wait()["done"] == 1
    assert grid.restarts() == [1]
    assert "stopped (preempted)" in grid.logs()
    assert not list(tmp_path.glob("results/failed/*")), "a preempted run has not failed"
    grid.check_equals_undisturbed()


def test_a_time_limit_is_hit_and_the_run_goes_on(cluster: Cluster, tmp_path: Path) -> None:
    (tmp_path / "lab.toml").write_text("time = 2\nsignal_seconds = 20\n", encoding="utf-8")
    grid = Grid(tmp_path, methods="mine(pause=0.2)", steps=400)
    grid.submit("--cluster", str(tmp_path / "lab.toml"), "--checkpoint-every", "1000")
    assert grid.wait(400)["done"] == 1
    assert grid.restarts()[0] >= 1
    assert "stopped (time limit)" in grid.logs()
    assert not list(tmp_path.glob("results/failed/*"))


def test_one_job_of_many_is_cancelled(cluster: Cluster, tmp_path: Path) -> None:
    grid = Grid(tmp_path, methods="mine(pause=0.05)", seeds=3, steps=100)
    said = grid.submit("--checkpoint-every", "1")
    job = re.findall(r"job (\d+): 3 tasks", said)[0]
    grid.wait_for_training()
    run(cluster, "scancel", f"{job}_1")
    state = grid.wait()
    assert (state["done"], state["missing"], state["failed"]) == (2, 1, [])
    assert "submitted 1 run as 1 job" in grid.submit()
    assert grid.wait()["done"] == 3
    wait_for(lambda: not run(cluster, "squeue", "--noheader"), "jobs to end after the records of their runs", 60)
    assert "cancelled 0 jobs" in grid.bench("cancel")


def test_the_jobs_of_a_target_are_cancelled(cluster: Cluster, tmp_path: Path) -> None:
    grid = Grid(tmp_path, methods="mine(pause=0.5)", seeds=3, steps=1000)
    grid.submit()
    assert "cancelled 3 jobs" in grid.bench("cancel")
    state = grid.wait(60)
    assert (state["done"], state["missing"], state["failed"]) == (0, 3, [])


def test_a_node_goes_down(cluster: Cluster, tmp_path: Path) -> None:
    grid = Grid(tmp_path, methods="mine(pause=0.05)", steps=200)
    grid.submit("--checkpoint-every", "1")
    grid.wait_for_training()
    node = run(cluster, "squeue", "--noheader", "--format=%N").strip()
    set_node(cluster, node, "down")
    assert grid.wait()["done"] == 1
    assert grid.restarts() == [1]
    assert not list(tmp_path.glob("results/failed/*"))


def test_accounting_stops_in_mid_run(cluster: Cluster, tmp_path: Path) -> None:
    grid = Grid(tmp_path, methods="mine(pause=0.05)", seeds=2, steps=100)
    grid.submit("--methods", "mine(pause=0.05)", "--seeds", "1", "--checkpoint-every", "1")
    grid.wait_for_training()
    kill(cluster, "slurmdbd")
    try:
        assert "submitted 1 run as" in grid.submit()
        state = grid.wait()
    finally:
        launch(cluster, "slurmdbd")
    assert (state["done"], state["missing"], state["unseen"]) == (2, 0, "")


def test_options_of_ones_own_reach_the_cluster(cluster: Cluster, tmp_path: Path) -> None:
    """A value is what was written, whatever stands in it; GPUs are asked for in one way."""
    odd = 'it\'s # "50 %" of $HOME, a\\b'
    profile = tmp_path / "lab.toml"
    profile.write_text(f"sbatch = {{comment = {json.dumps(odd)}, nice = 7}}\n", encoding="utf-8")
    grid = Grid(tmp_path, methods="mine(pause=0.5)", steps=1000)
    said = grid.submit(
        "--cluster", str(profile), "--gpus-per-run", "1", "--sbatch", "gres=gpu:1", "--sbatch", "exclusive"
    )
    job = re.findall(r"job (\d+): 1 task", said)[0]
    told = run(cluster, "scontrol", "show", "job", job)
    (comment,) = re.findall(r"Comment=(.*)", told)
    assert comment.rstrip() == odd
    assert "OverSubscribe=NO" in told, "exclusive"
    assert re.search(r"TresPer\w+=gres[/:]gpu:1\b", told)
    script = next(tmp_path.glob("results/submissions/*/*_submission.sh")).read_text()
    assert "--gpus-per-node" not in script
    assert "cancelled 1 job" in grid.bench("cancel")


def test_jobs_of_a_submission_that_was_killed_are_found_and_train(
    cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The command dies when SLURM has the jobs, and before it has the answer."""
    grid = Grid(tmp_path, methods="ce,mine(pause=0.01)")
    programs = tmp_path / "bin"
    programs.mkdir()
    script = f'#!/bin/bash\n"{shutil.which("sbatch")}" "$@" > "{tmp_path}/answer"\nkill -9 $PPID\n'
    (programs / "sbatch").write_text(script, encoding="utf-8")
    (programs / "sbatch").chmod(0o755)
    with monkeypatch.context() as patched:
        patched.setenv("PATH", f"{programs}:{os.environ['PATH']}")
        with pytest.raises(AssertionError):
            grid.submit()
    assert "Submitted batch job" in (tmp_path / "answer").read_text()
    state = grid.status()
    assert (state["queued"] + state["running"], state["missing"]) == (2, 0)
    assert "2 runs are in jobs already, and nothing else is missing" in grid.submit()
    state = grid.wait()
    assert (state["done"], state["missing"], state["failed"]) == (2, 0, [])
    grid.submit()
    (path,) = tmp_path.glob("results/submissions/*.json")
    assert [array["job"] for array in json.loads(path.read_text())["arrays"]] == [""]


def test_jobs_of_a_submission_that_was_killed_are_cancelled(cluster: Cluster, tmp_path: Path) -> None:
    grid = Grid(tmp_path, methods="mine(pause=0.5)", seeds=2, steps=1000)
    grid.submit()
    (path,) = tmp_path.glob("results/submissions/*.json")
    submission = json.loads(path.read_text())
    submission["arrays"][0]["job"] = ""
    path.write_text(json.dumps(submission))
    assert "cancelled 2 jobs" in grid.bench("cancel")
    assert grid.wait(60)["missing"] == 2


@pytest.mark.parametrize("gpus", ["0", "2"])
def test_a_fault_of_the_folder_ends_the_job_and_blames_no_run(cluster: Cluster, tmp_path: Path, gpus: str) -> None:
    grid = Grid(tmp_path, methods="ce,mine")
    grid.submit("--pack", "2", "--gpus-per-run", gpus)
    (tmp_path / "results" / "claims").touch()
    state = grid.wait()
    assert (state["done"], state["missing"], state["failed"]) == (0, 2, [])
    errors = "".join(path.read_text() for path in tmp_path.glob("results/submissions/*/*_log.err"))
    assert f"{tmp_path}/results/claims: a file is in the place of this folder; no run is to blame" in errors
    (tmp_path / "results" / "claims").unlink()
    assert "submitted 2 runs as 1 job" in grid.submit("--pack", "2")
    assert grid.wait()["done"] == 2

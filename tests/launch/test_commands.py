"""The commands around a launch, beside a cluster that only pretends: what is submitted, told, cancelled and refused."""

from __future__ import annotations

import json
import os
import re
import sys
import time
from pathlib import Path
from typing import Any

import msgspec
import pytest

from bench.cli import main
from bench.launch.submissions import read
from bench.plan.overrides import Overrides
from bench.plan.target import read_plan
from bench.reading.ordinary import read_ordinary
from bench.records.lease import claimed
from bench.records.standing import Standing
from bench.records.store import Store
from bench.registry import Registry
from bench.spec import RunSpec

SMALL = ["--methods", "ce", "--rates", "15", "--seeds", "4"]
SLURM = ["--launcher", "slurm"]


def call(*arguments: str) -> int:
    try:
        return main(list(arguments))
    except SystemExit as stop:
        return int(stop.code or 0)


def runs() -> list[RunSpec]:
    plan = read_plan("demo", Registry(), Overrides(methods="ce", rates="15", seeds="4"))
    return list(plan.unique.values())


def publish(run: RunSpec, seconds: float = 60.0) -> None:
    store = Store("results")
    with store.draft() as draft:
        (draft / "log.txt").write_text("it went well\n", encoding="utf-8")
        point = {"step": 8, "learning_rate": 0.0, "loss": {}, "val": None, "test": {"top1": 50.0 + run.seed}}
        store.publish(draft, run, {"status": "done", "curve": [point], "timing": {"seconds": seconds}})


def fail(run: RunSpec, kind: str | None = None, message: str = "no") -> None:
    store = Store("results")
    told = {"kind": "E", "message": message, **({"class": kind} if kind else {})}
    with store.draft() as draft:
        (draft / "log.txt").write_text("it went wrong\n", encoding="utf-8")
        store.publish_failure(draft, run, {"status": "failed", "error": told})


def read_index_alone(path: str | Path) -> bytes:
    """The content of the index; no record is opened."""
    assert Path(path).name == "index.msgpack"
    return read_ordinary(path)


def stand(run: RunSpec, **standing: Any) -> None:
    """Say where a run in training stands, as its process does."""
    path = Path("results/progress") / f"{run.id}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(msgspec.json.encode(Standing(**standing)))


def submitted() -> list[tuple[str, ...]]:
    """The runs of each task that was submitted, over all submissions."""
    return [held for one in read(Path("results")) for _, held in one.tasks()]


class TestRun:
    def test_returns_at_once_and_says_what_it_did(
        self, here: Path, fake: Any, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert call("run", "demo", *SMALL, *SLURM, "--pack", "2", "--time", "1:30:00", "--partition", "p") == 0
        out = capsys.readouterr().out
        assert "submitted 4 runs as 2 jobs" in out
        assert "job 101: 2 tasks, partition p, time 90, pack 2" in out
        assert "'bench status demo'" in out
        assert [len(held) for held in submitted()] == [2, 2]

    def test_again_submits_only_what_is_missing(
        self, here: Path, fake: Any, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """One is done, one failed, one waits in the queue, and the job of one has ended with nothing."""
        one, two, _, four = runs()
        assert call("run", "demo", *SMALL, *SLURM) == 0
        publish(one)
        fail(two)
        fake.queue("101_2")
        assert call("run", "demo", *SMALL, *SLURM) == 0
        assert submitted()[4:] == [(four.id,)]
        assert "1 run is in jobs already" in capsys.readouterr().out
        fake.queue("101_2", "102")
        assert call("run", "demo", *SMALL, *SLURM, "--retry") == 0
        assert submitted()[5:] == [(two.id,)]
        fake.queue("101_2", "102", "103")
        capsys.readouterr()
        assert call("run", "demo", *SMALL, *SLURM, "--retry") == 0
        assert len(submitted()) == 6
        assert "3 runs are in jobs already, and nothing else is missing" in capsys.readouterr().out

    @pytest.mark.slow
    def test_of_what_is_done_prints_the_table(self, here: Path, fake: Any, capsys: pytest.CaptureFixture[str]) -> None:
        for run in runs():
            publish(run)
        fake.write("down", "")
        assert call("run", "demo", *SMALL, *SLURM) == 0
        assert "4 of 4 are done" in capsys.readouterr().out
        assert not fake.scripts

    def test_a_queue_that_cannot_be_asked(self, here: Path, fake: Any, capsys: pytest.CaptureFixture[str]) -> None:
        assert call("run", "demo", *SMALL, *SLURM) == 0
        fake.write("bin/squeue", "#!/bin/sh\necho 'squeue: error: no controller' >&2; exit 1\n")
        capsys.readouterr()
        assert call("run", "demo", *SMALL, *SLURM) == 2
        captured = capsys.readouterr()
        assert captured.err.splitlines()[0] == "demo: 4 runs: 4 to train"
        assert captured.err.count("bench: ") == 1
        assert "the queue cannot be asked (squeue: error: no controller)" in captured.err
        assert "--resubmit" in captured.err
        assert len(submitted()) == 4
        assert call("run", "demo", *SMALL, *SLURM, "--resubmit") == 0
        assert len(submitted()) == 8

    def test_packs_by_the_time_of_finished_runs(self, here: Path, fake: Any) -> None:
        publish(runs()[0], seconds=600.0)
        assert call("run", "demo", *SMALL, *SLURM, "--pack-minutes", "25") == 0
        assert [len(held) for held in submitted()] == [2, 1]

    def test_a_profile_and_what_is_typed(self, here: Path, fake: Any) -> None:
        (here / "lab.toml").write_text('partition = "a"\ntime = 20\nmem = 4\n', encoding="utf-8")
        assert call("run", "demo", *SMALL, *SLURM, "--cluster", "lab.toml", "--partition", "b") == 0
        (submission,) = read(Path("results"))
        assert submission.arrays[0].resources == {"partition": "b", "time": 20, "mem": 4.0}

    def test_no_room_for_all(self, here: Path, fake: Any, capsys: pytest.CaptureFixture[str]) -> None:
        fake.write("assoc", "3|\n")
        assert call("run", "demo", *SMALL, *SLURM) == 0
        out = capsys.readouterr().out
        assert "submitted 3 runs" in out
        assert "1 run could not be submitted" in out


class TestRefusals:
    @pytest.mark.parametrize(
        ("arguments", "says"),
        [
            (["--partition", "x"], "--partition is for --launcher slurm"),
            (["--cluster", "x"], "--cluster is for --launcher slurm"),
            (["--pack-minutes", "3"], "--pack-minutes is for --launcher slurm"),
            (["--setup", "x"], "--setup is for --launcher slurm"),
            (["--resubmit"], "--resubmit is for --launcher slurm"),
            ([*SLURM, "--jobs", "3"], "--jobs is for --launcher local"),
            ([*SLURM, "--time", "soon"], "--time: 'soon' is not a time"),
            ([*SLURM, "--gpus-per-run", "-1"], "--gpus-per-run: '-1' is not a whole number"),
            (["--gpus-per-run", "x"], "--gpus-per-run: 'x' is not a whole number"),
            ([*SLURM, "--mem", "0"], "--mem: '0' is not a number above 0"),
            ([*SLURM, "--pack", "2", "--pack-minutes", "3"], "not both"),
            ([*SLURM, "--cluster", "nowhere.toml"], "--cluster nowhere.toml: there is no such file"),
            ([*SLURM, "--partition", "a\nb"], "is not a text of one line"),
            (["--checkpoint-every", "0"], "--checkpoint-every 0"),
            (["--checkpoint-every", "nan"], "--checkpoint-every nan"),
            (["--launcher", "pbs"], "--launcher: no launcher is called 'pbs' (there are: local, slurm)"),
            (["--track", "paper"], "--track"),
        ],
    )
    @pytest.mark.parametrize("command", [["run"], ["retry", "--class", "oom"]], ids=["run", "retry"])
    def test_in_one_line(
        self, here: Path, fake: Any, capsys: pytest.CaptureFixture[str], command: list[str], arguments: list[str],
        says: str,
    ) -> None:  # fmt: skip
        assert call(command[0], "demo", *command[1:], *arguments) == 2
        captured = capsys.readouterr()
        assert says in captured.err
        assert captured.err.count("\n") == 1
        assert captured.out == ""
        assert not list(here.iterdir())

    def test_no_slurm(self, here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("PATH", str(here))
        assert call("run", "demo", *SMALL, *SLURM) == 2
        assert "SLURM cannot be asked: there is no scontrol here; --launcher local" in capsys.readouterr().err
        assert not list(here.iterdir())


class TestStatus:
    def status(self, capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
        capsys.readouterr()
        assert call("status", "demo", *SMALL, "--format", "json") == 0
        return dict(json.loads(capsys.readouterr().out))

    def test_every_state(self, here: Path, fake: Any, capsys: pytest.CaptureFixture[str]) -> None:
        one, two, three, _ = runs()
        call("run", "demo", *SMALL, *SLURM)
        publish(one)
        fail(two, "oom", "out of memory")
        fake.queue("101_3")
        with claimed(Path("results/claims") / three.id):
            told = self.status(capsys)
            assert call("status", "demo", *SMALL) == 0
        counted = {key: told[key] for key in ("runs", "done", "running", "queued", "missing")}
        assert counted == {"runs": 4, "done": 1, "running": 1, "queued": 1, "missing": 0}
        assert [(failure["run"], failure["class"]) for failure in told["failed"]] == [(two.id, "oom")]
        assert told["unseen"] == ""
        out = capsys.readouterr().out
        assert "4 runs: 1 done, 1 failed, 1 running, 1 queued, 0 missing" in out
        assert "failed (oom): " in out

    def test_what_is_done_is_counted_without_a_look_at_it(
        self, here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Where none is in training: of 100,000 runs the index says which are there."""
        for run in runs():
            publish(run)
        assert self.status(capsys)["done"] == 4
        looked: list[int] = []
        monkeypatch.setattr("bench.records.store.row_at", lambda rows, at: looked.append(at))
        monkeypatch.setattr("bench.records.store.read_ordinary", read_index_alone)
        assert self.status(capsys)["done"] == 4
        assert not looked

    def test_where_runs_in_training_stand(self, here: Path, fake: Any, capsys: pytest.CaptureFixture[str]) -> None:
        one, two, three, _ = runs()
        call("run", "demo", *SMALL, *SLURM)
        fake.queue("101_0", "101_1", "101_2", "101_3")
        stand(one, step=300, of=1000, loss=0.4125, images_per_second=812.0, seconds_left=70.0, host="node7")
        stand(two, step=300, of=1000, phase="evaluating", share=0.4)
        stand(three, step=1, of=1000)  # left behind by a process that is gone: it waits again
        with claimed(Path("results/claims") / one.id), claimed(Path("results/claims") / two.id):
            told = self.status(capsys)
            assert call("status", "demo", *SMALL) == 0
        assert [training["run"] for training in told["training"]] == [one.id, two.id]
        first = told["training"][0]
        assert (first["step"], first["of"], first["loss"], first["host"]) == (300, 1000, 0.4125, "node7")
        assert (first["label"], first["seconds_left"]) == (one.label, 70.0)
        assert told["seconds_left"] == pytest.approx((70 + 3 * 100) / 2), "two at a time, of which one was measured"
        assert capsys.readouterr().out.splitlines() == [
            "demo: 4 runs: 0 done, 0 failed, 2 running, 2 queued, 0 missing; 0:03:05 left",
            f"  in training: {one.label}: step 300/1000, loss 0.4125, 812 images/s, 0:01:10 left",
            f"  in training: {two.label}: evaluating 40 %, step 300/1000",
        ]

    def test_a_run_in_training_that_has_said_nothing(self, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
        one, two, *_ = runs()
        stand(two, step=3, of=8, moment=time.time() - 600)
        with claimed(Path("results/claims") / one.id), claimed(Path("results/claims") / two.id):
            told = self.status(capsys)
            assert call("status", "demo", *SMALL) == 0
        assert told["seconds_left"] is None
        assert told["training"][0] == {"run": one.id, "label": one.label}
        out = capsys.readouterr().out
        assert "4 runs: 0 done, 0 failed, 2 running, 2 missing\n" in out
        assert f"in training: {one.label}: it begins\n" in out
        assert f"in training: {two.label}: step 3/8, silent for 0:10:0" in out

    def test_as_a_table_where_there_is_a_terminal(
        self, here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        one, *_ = runs()
        monkeypatch.setenv("COLUMNS", "80")
        monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
        stand(one, step=300, of=1000, loss=0.4125, images_per_second=812.0, seconds_left=70.0)
        with claimed(Path("results/claims") / one.id):
            assert call("status", "demo", *SMALL) == 0
        _, header, row, *_ = re.sub(r"\x1b\[[0-9;]*m", "", capsys.readouterr().out).splitlines()
        assert "step    loss  images/s     left" in header
        assert row.endswith("seed 0  300/1000  0.4125       812  0:01:10")
        assert len(row) == 80

    def test_failures_are_grouped(self, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
        one, two, three, four = runs()
        for run, kind in ((one, "oom"), (two, "oom"), (three, "node"), (four, None)):
            fail(run, kind, "the same words")
        assert call("status", "demo", *SMALL) == 0
        out = capsys.readouterr().out
        assert "failed (oom): " in out
        assert "and 1 more: the same words" in out
        assert "failed (node): " in out
        assert "failed (code): " in out
        assert "what failed of code fails again until what is said above is mended" in out

    def test_a_claim_of_the_dead_is_none(self, here: Path, fake: Any, capsys: pytest.CaptureFixture[str]) -> None:
        path = here / "results" / "claims" / runs()[0].id
        path.parent.mkdir(parents=True)
        path.write_text('{"host": "gone", "machine": null, "pid": 1}', encoding="utf-8")
        assert self.status(capsys)["running"] == 1
        os.utime(path, (time.time() - 1000, time.time() - 1000))
        assert self.status(capsys)["running"] == 0

    def test_what_is_tried_again_has_not_failed(
        self, here: Path, fake: Any, capsys: pytest.CaptureFixture[str]
    ) -> None:
        fail(runs()[0])
        call("run", "demo", *SMALL, *SLURM, "--retry")
        fake.queue("101_0")
        told = self.status(capsys)
        assert (told["queued"], told["failed"], told["missing"]) == (1, [], 3)

    def test_needs_no_cluster(self, here: Path, fake: Any, capsys: pytest.CaptureFixture[str]) -> None:
        """And says that the queue could not be asked only where something was submitted."""
        fake.write("down", "")
        assert self.status(capsys)["unseen"] == ""
        assert not (here / "results").exists()
        (fake.folder / "down").unlink()
        call("run", "demo", *SMALL, *SLURM)
        fake.write("down", "")
        told = self.status(capsys)
        assert "Unable to contact" in told["unseen"]
        assert told["missing"] == 4
        call("status", "demo", *SMALL)
        assert "the queue cannot be asked" in capsys.readouterr().out

    def test_watch_ends_when_nothing_runs(self, here: Path, fake: Any, capsys: pytest.CaptureFixture[str]) -> None:
        call("run", "demo", *SMALL, *SLURM)
        fake.write("bin/squeue", f"#!/bin/sh\ncd '{fake.folder}'\ncat queue\n: > queue\n")
        fake.queue("101_0")
        capsys.readouterr()
        assert call("status", "demo", *SMALL, "--watch", "0.1") == 0
        out = capsys.readouterr().out
        assert out.count("4 runs: ") == 2
        assert "1 queued, 3 missing" in out.splitlines()[0]
        assert call("status", "demo", *SMALL, "--watch", "0") == 2


class TestLostAnswer:
    """Of a submission whose command was killed between sbatch's answer and what is written of it."""

    TWO = ("--methods", "ce", "--rates", "15", "--seeds", "2")

    def lost(self, fake: Any) -> None:
        """Submit, and forget the answer; two jobs are in the queue under the name that they were given."""
        assert call("run", "demo", *self.TWO, *SLURM) == 0
        (path,) = Path("results/submissions").glob("*.json")
        told = json.loads(path.read_text(encoding="utf-8"))
        told["arrays"][0]["job"] = ""
        path.write_text(json.dumps(told), encoding="utf-8")
        fake.named("101")

    def test_it_is_seen(self, here: Path, fake: Any, capsys: pytest.CaptureFixture[str]) -> None:
        self.lost(fake)
        capsys.readouterr()
        assert call("status", "demo", *self.TWO) == 0
        assert "2 queued, 0 missing" in capsys.readouterr().out

    def test_it_is_not_submitted_again(self, here: Path, fake: Any, capsys: pytest.CaptureFixture[str]) -> None:
        self.lost(fake)
        assert call("run", "demo", *self.TWO, *SLURM) == 0
        assert "2 runs are in jobs already, and nothing else is missing" in capsys.readouterr().out
        assert len(fake.scripts) == 1
        fake.queue()
        assert call("run", "demo", *self.TWO, *SLURM) == 0
        assert len(fake.scripts) == 2, "when its jobs have ended with nothing"

    def test_it_is_cancelled(self, here: Path, fake: Any, capsys: pytest.CaptureFixture[str]) -> None:
        self.lost(fake)
        assert call("cancel", "demo", *self.TWO) == 0
        assert fake.lines("cancelled") == ["101_0", "101_1"]

    def test_its_logs_are_shown(self, here: Path, fake: Any, capsys: pytest.CaptureFixture[str]) -> None:
        self.lost(fake)
        (submission,) = read(Path("results"))
        (run, *_) = submission.runs()
        (Path("results/submissions") / submission.name / "101_0_0_log.out").write_text("at it\n", encoding="utf-8")
        capsys.readouterr()
        assert call("logs", run) == 0
        assert capsys.readouterr().out == "at it\n"


class TestCancel:
    def test_only_jobs_all_of_whose_runs_are_the_targets(
        self, here: Path, fake: Any, capsys: pytest.CaptureFixture[str]
    ) -> None:
        wider = ["--methods", "ce", "--rates", "15", "--seeds", "5"]
        call("run", "demo", *wider, *SLURM, "--pack", "3")
        fake.queue("101_0", "101_1", "77")
        assert call("cancel", "demo", *SMALL) == 0
        out = capsys.readouterr().out
        assert fake.lines("cancelled") == ["101_0"]
        assert "cancelled 1 job: 101_0" in out
        assert "not cancelled, since they have other runs too: 101_1" in out
        assert call("cancel", "demo", *wider) == 0
        assert fake.lines("cancelled")[1:] == ["101_0", "101_1"]

    def test_what_has_ended_is_left(self, here: Path, fake: Any, capsys: pytest.CaptureFixture[str]) -> None:
        call("run", "demo", *SMALL, *SLURM)
        fake.queue("101_0", state="COMPLETING")
        assert call("cancel", "demo", *SMALL) == 0
        assert fake.lines("cancelled") == []
        assert "cancelled 0 jobs: none of demo is in the queue" in capsys.readouterr().out

    def test_other_users_jobs_are_left(self, here: Path, fake: Any, capsys: pytest.CaptureFixture[str]) -> None:
        call("run", "demo", *SMALL, *SLURM)
        (path,) = here.glob("results/submissions/*.json")
        path.write_text(json.dumps({**json.loads(path.read_text()), "user": "somebody"}), encoding="utf-8")
        fake.queue("101_0")
        assert call("cancel", "demo", *SMALL) == 0
        assert fake.lines("cancelled") == []
        assert "this user has submitted nothing" in capsys.readouterr().out

    def test_no_cluster(self, here: Path, fake: Any, capsys: pytest.CaptureFixture[str]) -> None:
        assert call("cancel", "demo", *SMALL) == 0
        call("run", "demo", *SMALL, *SLURM)
        fake.write("down", "")
        assert call("cancel", "demo", *SMALL) == 2
        assert "SLURM cannot be asked" in capsys.readouterr().err


class TestLogs:
    def test_of_a_record_a_failure_and_a_job(self, here: Path, fake: Any, capsys: pytest.CaptureFixture[str]) -> None:
        one, two, three, _ = runs()
        call("run", "demo", *SMALL, *SLURM)
        (submission,) = read(Path("results"))
        publish(one)
        fail(two)
        capsys.readouterr()
        assert call("logs", one.id[:8]) == 0
        assert capsys.readouterr().out == "it went well\n"
        assert call("logs", two.id) == 0
        assert capsys.readouterr().out == "it went wrong\n"
        assert call("logs", three.id) == 2
        assert "its job has not printed anything yet" in capsys.readouterr().err
        folder = Path("results/submissions") / submission.name
        (folder / "101_2_0_log.out").write_text("at it\n", encoding="utf-8")
        assert call("logs", three.id[:6]) == 0
        captured = capsys.readouterr()
        assert captured.out == "at it\n"
        assert "101_2_0_log.out" in captured.err
        (folder / "101_1_0_log.out").write_text("again\n", encoding="utf-8")
        with claimed(Path("results/claims") / two.id):
            assert call("logs", two.id) == 0
        assert capsys.readouterr().out == "again\n"

    def test_of_a_run_in_training(self, here: Path, fake: Any, capsys: pytest.CaptureFixture[str]) -> None:
        """Where its job has printed something, and it has failed before, its log is what the run itself prints."""
        one, *_ = runs()
        call("run", "demo", *SMALL, *SLURM)
        fail(one)
        (submission,) = read(Path("results"))
        (Path("results/submissions") / submission.name / "101_0_0_log.out").write_text("a job\n", encoding="utf-8")
        stand(one, step=300, of=1000, seconds_left=70.0)
        with Store("results").draft(one) as left, Store("results").draft(one) as draft:
            (left / "log.txt").write_text("by a process that was killed\n", encoding="utf-8")
            (draft / "log.txt").write_text("step 1: fine\n", encoding="utf-8")
            os.utime(left, (1.0, 1.0))
            capsys.readouterr()
            assert call("logs", one.id[:6]) == 0
            assert capsys.readouterr().out == "it went wrong\n", "nobody is at it"
            with claimed(Path("results/claims") / one.id):
                assert call("logs", one.id[:6]) == 0
        captured = capsys.readouterr()
        assert captured.out == "step 1: fine\n"
        assert captured.err.splitlines() == [
            f"{draft}/log.txt:",
            f"in training: {one.id}: step 300/1000, 0:01:10 left",
        ]

    def test_followed_until_it_has_ended(
        self, here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        one, *_ = runs()
        claim = claimed(Path("results/claims") / one.id)
        with Store("results").draft(one) as draft:
            log = draft / "log.txt"
            log.write_text("step 1\n", encoding="utf-8")
            waits = iter(["step 2\n", "step 3\n"])

            def sleep(seconds: float) -> None:
                if (line := next(waits, "")) and not line.startswith("step 3"):
                    log.write_text(log.read_text(encoding="utf-8") + line, encoding="utf-8")
                else:
                    with log.open("a", encoding="utf-8") as file:
                        file.write(line)
                    claim.__exit__(None, None, None)

            claim.__enter__()
            monkeypatch.setattr("bench.commands.queue.time.sleep", sleep)
            assert call("logs", one.id, "--follow") == 0
        captured = capsys.readouterr()
        assert captured.out == "step 1\nstep 2\nstep 3\n"
        assert "in training" not in captured.err

    def test_by_a_part_of_a_label(self, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
        one, two, *_ = runs()
        publish(one)
        fail(two)
        assert call("logs", "15 % seed 1") == 0
        assert capsys.readouterr().out == "it went wrong\n"
        assert call("logs", one.label) == 0
        assert capsys.readouterr().out == "it went well\n"
        assert call("logs", "micro_vit") == 2
        said = capsys.readouterr().err
        assert "2 runs have 'micro_vit' in their labels: " in said
        assert f"seed-0 ({one.id[:6]})" in said
        assert call("logs", "gta") == 2
        assert "no record of a run whose id begins with 'gta'" in capsys.readouterr().err

    def test_of_nothing(self, here: Path, fake: Any, capsys: pytest.CaptureFixture[str]) -> None:
        assert call("logs", "abcdef") == 2
        assert "no record of a run whose id begins with 'abcdef'" in capsys.readouterr().err
        call("run", "demo", *SMALL, *SLURM)
        assert call("logs", "") == 2


class TestRetry:
    def test_of_some_classes(self, here: Path, fake: Any, capsys: pytest.CaptureFixture[str]) -> None:
        one, two, three, four = runs()
        for run, kind in ((one, "oom"), (two, "node"), (three, "diverged"), (four, None)):
            fail(run, kind)
        assert call("retry", "demo", *SMALL, "--class", "oom, node", *SLURM) == 0
        assert submitted() == [(one.id,), (two.id,)]
        assert call("retry", "demo", *SMALL, "--class", "code", *SLURM) == 0
        assert submitted()[2:] == [(four.id,)], "a record without a class counts as code"
        capsys.readouterr()
        assert call("retry", "demo", *SMALL, "--class", "time", *SLURM) == 0
        assert "no run failed of time (1 of oom, 1 of node, 1 of diverged, 1 of code)" in capsys.readouterr().out

    def test_of_none(self, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
        assert call("retry", "demo", *SMALL, "--class", "oom") == 0
        assert "nothing failed" in capsys.readouterr().out
        assert not list(here.iterdir())

    @pytest.mark.parametrize("classes", ["", "oom,", "memory", "oom;node"])
    def test_no_such_class(self, here: Path, capsys: pytest.CaptureFixture[str], classes: str) -> None:
        assert call("retry", "demo", *SMALL, "--class", classes) == 2
        assert "no class is called" in capsys.readouterr().err

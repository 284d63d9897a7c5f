"""A run that several processes share on one machine: which of them is to blame where it fails, and with what words."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bench.launch import Job, LocalExecutor, run
from bench.launch import ranks as sharing
from bench.launch.failures import Failure, blamed
from bench.launch.worker import answer_of
from bench.plan.overrides import Overrides
from bench.plan.target import read_plan
from bench.records.standing import Standing, StandingFile
from bench.records.store import Store
from bench.registry import Registry
from tests.launch.runs import spec
from tests.scenes import as_plain

BROKEN = "RuntimeError: [/pytorch/third_party/gloo/gloo/transport/tcp/pair.cc:561] Connection closed by peer [::1]:2959"

CRASHING = '''
import os
from dataclasses import dataclass

from bench.method import Method
from tests.scenes import as_plain


@dataclass(frozen=True)
class Mine(Method):
    """Plain fine-tuning until the second process crashes."""

    paper = "a test"

    def loss(self, model, batch):
        if os.environ["RANK"] == "1":
            print("the last words", flush=True)
            os.kill(os.getpid(), 7)
        return {"ce": batch.cross_entropy(model(batch.images))}
'''


def logs(folder: Path, *printed: str) -> list[Path]:
    paths = [folder / f"{rank}.log" for rank in range(len(printed))]
    for path, text in zip(paths, printed, strict=True):
        path.write_text(text, encoding="utf-8")
    return paths


def test_one_that_crashes_is_told_from_one_that_lost_it(tmp_path: Path) -> None:
    found = sharing._failures([1, -11], logs(tmp_path, f"Traceback ...\n{BROKEN}\n", "the last words"))
    assert [failure.kind for failure in found] == ["node", "code"]
    assert blamed(found) == Failure("process 1 of 2 ended: killed by signal 11 (SIGSEGV)", "code", log="the last words")


def test_where_the_run_stands_is_passed_on_when_it_is_new(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now, heard, run = [0.0], list[int](), spec(0)
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    relay = sharing._relay(run, Job(tmp_path), lambda standing: heard.append(standing.step))
    file = StandingFile(tmp_path, run.id)
    for step in range(0, 30, 2):
        now[0] += 2
        file.tell(Standing(step=step, of=100))
        relay()
    assert heard == [4, 10, 16, 22, 28], "one for each time that the first process has written its file"


def test_one_that_raises_says_so_itself(tmp_path: Path) -> None:
    paths = logs(tmp_path, "", "Traceback ...", "")
    answer = answer_of(Failure("MemoryError: no more", "oom", "Traceback ..."))
    paths[1].with_suffix(".json").write_text(json.dumps(answer), encoding="utf-8")
    (failure,) = sharing._failures([None, None, None], paths)
    assert failure == Failure("process 1 of 3: MemoryError: no more", "oom", "Traceback ...", "Traceback ...")


@pytest.mark.slow
@pytest.mark.usefixtures("warm")
def test_a_crash_beside_the_first_process_is_recorded_as_what_it_is(tmp_path: Path) -> None:
    plugin = tmp_path / "mine.py"
    plugin.write_text(CRASHING, encoding="utf-8")
    overrides = Overrides(methods="mine", rates="15", seeds="1", settings=("steps=4", "warmup=2", "evaluations=1"))
    (spec,) = read_plan("demo", Registry((plugin,)), overrides).unique.values()
    run([spec], Job(tmp_path / "results", (plugin,), ranks=2), LocalExecutor(1))
    failure = as_plain(Store(tmp_path / "results").failures()[spec.id])
    assert failure["error"]["class"] == "node"
    assert failure["error"]["message"].startswith("process 1 of 2 ended: killed by signal 7 (SIGBUS)")
    assert "the last words" in (Path(failure["folder"]) / "log.txt").read_text(encoding="utf-8")
    assert failure["folder"].endswith("-1"), "recorded once"

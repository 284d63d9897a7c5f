"""A folder of results with a fault: somebody else's, a file in its place, a mount that is lost. No run is blamed."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench.device import distributed
from bench.errors import InputError
from bench.launch import Job, make_ready, ranks, worker
from bench.records.lease import claimed
from bench.records.store import Store
from bench.records.unwritable import FOLDERS, Unwritable, why_unwritable
from bench.spec import RunSpec, to_json
from tests.faults.cheap import Cheap, command, front, grid, interpreter, outcome

NUMBERS = {
    errno.EACCES: "this user may not write there: Permission denied",
    errno.EPERM: "this user may not write there: Operation not permitted",
    errno.EIO: "its file system fails: Input/output error",
    errno.ESTALE: "its file system fails: Stale file handle",
}


def refuse(number: int, below: Path, real: Callable[..., Any]) -> Callable[..., Any]:
    """A call of the system that is refused for what lies below a folder."""

    def call(path: Any, *more: Any, **named: Any) -> Any:
        if str(path).startswith(str(below)):
            raise OSError(number, os.strerror(number))
        return real(path, *more, **named)

    return call


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Training takes no time; gives the runs that were trained."""
    runs: list[str] = []

    def train(spec: RunSpec, *more: object) -> Cheap:
        runs.append(spec.id)
        return outcome(spec)

    monkeypatch.setattr(worker, "_outcome", train)
    monkeypatch.setattr(worker, "_provenance", lambda spec, job: {})
    return runs


@pytest.mark.parametrize("name", FOLDERS)
def test_a_file_in_the_place_of_a_folder_is_said_before_anything_is_trained(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("mine", encoding="utf-8")
    says = rf"^{tmp_path / name}: a file is in the place of this folder; .*: move it away, then run the same command"
    with pytest.raises(InputError, match=says):
        make_ready(Store(tmp_path))
    assert (tmp_path / name).read_text(encoding="utf-8") == "mine"


@pytest.mark.parametrize("name", ["claims", "cache"])
@pytest.mark.parametrize("number", NUMBERS)
def test_somebody_elses_folder_is_said_before_anything_is_trained(
    tmp_path: Path, name: str, number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / name).mkdir()
    monkeypatch.setattr(os, "open", refuse(number, tmp_path / name, os.open))
    with pytest.raises(InputError, match=f"^{tmp_path / name}: {NUMBERS[number]}; no run is to blame"):
        make_ready(Store(tmp_path))


@pytest.mark.parametrize("number", NUMBERS)
@pytest.mark.parametrize("call", ["link", "mkdir"])
def test_a_claim_that_cannot_be_made_is_nobodys_failure(
    tmp_path: Path, trained: list[str], monkeypatch: pytest.MonkeyPatch, call: str, number: int
) -> None:
    if (call, number) == ("link", errno.EPERM):
        number = errno.EACCES  # the other one is what a file system without links answers
    (run,) = grid(1)
    with monkeypatch.context() as patched:
        patched.setattr(os, call, refuse(number, tmp_path / "claims", getattr(os, call)))
        with pytest.raises(Unwritable, match=f"^{tmp_path / 'claims'}: {NUMBERS[number]}; no run is to blame"):
            worker.work(run, Job(tmp_path))
    assert (trained, Store(tmp_path).attempts()) == ([], {})
    assert worker.work(run, Job(tmp_path))["status"] == "done", "once it is repaired"


@pytest.mark.parametrize("name", ["claims", "drafts", "runs", "failed"])
def test_a_file_that_came_into_the_place_of_a_folder_is_nobodys_failure(
    tmp_path: Path, trained: list[str], monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    if name == "failed":  # a failure that cannot be recorded is no failure
        monkeypatch.setattr(worker, "_outcome", lambda *given: 1 / 0)
    (run,) = grid(1)
    (tmp_path / name).write_text("", encoding="utf-8")
    with pytest.raises(Unwritable, match=f"^{tmp_path / name}: a file is in the place of this folder"):
        worker.work(run, Job(tmp_path))
    assert Store(tmp_path).attempts() == {}
    assert not (tmp_path / "claims").is_dir() or not list((tmp_path / "claims").iterdir())


@pytest.mark.parametrize("name", ["predictions.npz", "record.json", "runs"])
def test_a_record_that_cannot_be_written_is_nobodys_failure(
    tmp_path: Path, trained: list[str], monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """A write that fails does not say of which file."""
    (run,) = grid(1)

    def fail(*given: object, **named: object) -> None:
        raise OSError(errno.EIO, "Input/output error")

    if name == "predictions.npz":
        monkeypatch.setattr(np, "savez_compressed", fail)
    elif name == "record.json":
        monkeypatch.setattr(Path, "write_bytes", fail)
    else:
        monkeypatch.setattr(Path, "rename", fail)
    with pytest.raises(Unwritable, match=f"^{tmp_path / 'drafts'}: its file system fails: Input/output error"):
        worker.work(run, Job(tmp_path))
    assert trained == [run.id]
    assert Store(tmp_path).attempts() == {}


def test_records_that_cannot_be_looked_for_are_nobodys_failure(
    tmp_path: Path, trained: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (run,) = grid(1)
    stale = refuse(errno.ESTALE, tmp_path / "runs", os.stat)

    def named(path: Any, *more: Any, **given: Any) -> Any:
        try:
            return stale(path, *more, **given)
        except OSError as error:
            raise OSError(error.errno, error.strerror, str(path)) from None

    monkeypatch.setattr(os, "stat", named)
    with pytest.raises(Unwritable, match=f"^{tmp_path / 'runs'}: its file system fails: Stale file handle"):
        worker.work(run, Job(tmp_path))
    assert trained == []


def test_a_claim_that_cannot_be_looked_at_is_not_looked_at_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "claims" / "run"
    path.parent.mkdir()
    path.write_text("{}", encoding="utf-8")

    def stale(self: Path, **given: Any) -> os.stat_result:
        if self == path:
            raise OSError(errno.ESTALE, "Stale file handle")
        return os.stat(self)

    monkeypatch.setattr(Path, "stat", stale)
    monkeypatch.setattr(os.path, "lexists", lambda path: False)
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    with pytest.raises(OSError, match="Stale file handle") as caught, claimed(path):
        pytest.fail("not ours")
    assert caught.value.filename == str(path)


def test_the_first_of_several_processes_says_it(
    tmp_path: Path, trained: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in (("join", None), ("first_rank", True)):
        monkeypatch.setattr(distributed, name, lambda value=value: value)
    (tmp_path / "claims").write_text("", encoding="utf-8")
    with pytest.raises(Unwritable, match="a file is in the place of this folder"):
        ranks.work_as_rank(grid(1)[0], Job(tmp_path, ranks=2))
    assert trained == []


def test_errors_of_others_are_theirs(tmp_path: Path) -> None:
    for name in ("", "/data/image.png", str(tmp_path / "tables" / "x"), str(tmp_path / "mine.csv"), str(tmp_path)):
        error = OSError(errno.EACCES, "Permission denied", *([name] if name else []))
        assert why_unwritable(error, tmp_path) == "", name
    assert why_unwritable(FileNotFoundError(errno.ENOENT, "x", str(tmp_path / "runs" / "x")), tmp_path) == ""
    handled = ValueError("the image is damaged")
    handled.__context__ = OSError(errno.EACCES, "x", str(tmp_path / "cache" / "x"))
    assert why_unwritable(handled, tmp_path) == "", "what was handled is no cause"
    inside = OSError(errno.EACCES, "x", str(tmp_path / "runs" / "a" / "b"), None, str(tmp_path / "runs"))
    assert why_unwritable(inside, tmp_path).startswith(f"{tmp_path / 'runs'}: ")


@pytest.mark.parametrize("jobs", ["1", "2"])
def test_a_grid_ends_with_one_line(tmp_path: Path, jobs: str) -> None:
    """In the middle of a launch: the first run is done, then links can no longer be made."""
    script = Path(interpreter(tmp_path / "bin", tmp_path / "trace"))
    spoiled = f"""
import os
link = os.link
def spoil(source, target, *more, **named):
    if list(__import__('pathlib').Path({str(tmp_path / "results" / "runs")!r}).glob('*')):
        raise PermissionError(13, 'Permission denied')
    return link(source, target, *more, **named)
os.link = spoil
"""
    text = script.read_text(encoding="utf-8")
    script.write_text(text.replace("\nimport sys\n", f"\nimport sys\n{spoiled}", 1), encoding="utf-8")
    words = [*command(tmp_path / "results", 4), "--jobs", jobs]
    done = subprocess.run(front(str(script), *words), capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 2, done.stderr
    (said,) = (line for line in done.stderr.splitlines() if line.startswith("bench: "))
    folder = tmp_path / "results" / "claims"
    assert said.startswith(f"bench: {folder}: this user may not write there: Permission denied; no run is to blame, ")
    assert not (tmp_path / "results" / "failed").exists()
    assert len(Store(tmp_path / "results").finished()) >= 1


def test_a_worker_of_a_job_says_it_to_its_supervisor(tmp_path: Path) -> None:
    """And ends nothing itself, though others share the run: the supervisor ends the job."""
    (run,) = grid(1)
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "claims").write_text("", encoding="utf-8")
    code = """
from bench.device import distributed
from bench.launch import worker
worker.prepare = distributed.join = lambda: None
distributed.first_rank = lambda: True
worker.main()
"""
    job = json.dumps(worker.job_to_json(Job(tmp_path / "results", ranks=2, launcher="slurm")))
    with subprocess.Popen(
        [sys.executable, "-c", code, job], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        env={**os.environ, "RANK": "0"},
    ) as process:  # fmt: skip
        assert process.stdin is not None
        assert process.stdout is not None
        print(json.dumps(to_json(run)), file=process.stdin, flush=True)
        ready, answer = (json.loads(process.stdout.readline()) for _ in range(2))
    assert (ready, answer["status"]) == ({"ready": True}, "unwritable")
    assert "a file is in the place of this folder" in answer["message"]
    assert Store(tmp_path / "results").attempts() == {}


def test_a_sound_folder_is_left_as_it_is(tmp_path: Path) -> None:
    for name in FOLDERS:
        (tmp_path / name).mkdir()
    make_ready(Store(tmp_path))
    assert sorted(path.name for path in tmp_path.rglob("*")) == sorted(FOLDERS)

"""Full and read-only disks, damaged files, clocks that jump, odd names: said in a line, and nothing is lost."""

from __future__ import annotations

import errno
import json
import os
import random
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch

from bench.errors import InputError
from bench.launch import Job, LocalExecutor, make_ready, untrained
from bench.launch.status import claimed_runs
from bench.records.files import write_file
from bench.records.record import SCHEMA
from bench.records.store import Store
from bench.records.unwritable import Unwritable, why_unwritable, writing_to
from bench.spec import RunSpec
from bench.training.checkpoint import FORM, Checkpoint, _save
from bench.training.shelf import Shelf, Tensors
from tests.faults.cheap import command, front, grid, interpreter, outcome
from tests.faults.nursery import ended, planned, tables, whole
from tests.faults.operations import no_space
from tests.scenes import as_plain

pytestmark = pytest.mark.usefixtures("warm")

PAGE = 4096
YEARS = 10 * 365 * 86400


@dataclass(frozen=True)
class Done:
    code: int
    out: str
    err: str


@dataclass(frozen=True)
class Disk:
    """A small file system of its own."""

    path: Path

    def resize(self, size: int) -> None:
        """Give it so many bytes."""
        self._mount(f"remount,rw,size={size}")

    def fill(self, left: int) -> None:
        """Take all but so many pages."""
        free = shutil.disk_usage(self.path).free // PAGE - left
        (self.path / "ballast").write_bytes(bytes(max(0, free) * PAGE))

    def empty(self) -> None:
        """Give back what ``fill`` has taken."""
        (self.path / "ballast").unlink()

    def read_only(self) -> None:
        """Have it refuse every write."""
        self._mount("remount,ro")

    def _mount(self, options: str) -> None:
        subprocess.run(["mount", "-o", options, str(self.path)], check=True)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    """A file system of 2 MB. Making one takes root; in CI that it cannot be made is a failure."""
    path = tmp_path / "disk"
    path.mkdir()
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(path)], capture_output=True, text=True, check=False
    )
    if made.returncode:
        reason = f"a small file system cannot be mounted here: {made.stderr.strip()}"
        if os.environ.get("CI"):
            pytest.fail(reason, pytrace=False)
        pytest.skip(reason)
    try:
        yield Disk(path)
    finally:
        subprocess.run(["umount", "--lazy", str(path)], check=True)


def bench(script: str, *words: str) -> Done:
    """Run a command line whose workers train nothing."""
    done = subprocess.run(front(script, *words), capture_output=True, text=True, timeout=240, check=False)
    return Done(done.returncode, done.stdout, done.stderr)


def files(root: Path) -> dict[str, bytes]:
    """Every file below a folder."""
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def filled(root: Path, runs: list[RunSpec]) -> Store:
    """A store with the records of some runs."""
    store = Store(root)
    for spec in runs:
        with store.draft() as draft:
            store.publish(draft, spec, outcome(spec).record)
    return store


def scores(store: Store) -> dict[str, float]:
    """What tables need, by run."""
    return {run_id: run.values[-1][2] for run_id, run in store.finished().items()}


def answers(told: Path) -> list[str]:
    """What the runs of a child ended with."""
    return [answer["status"] for answer in json.loads(told.read_text(encoding="utf-8"))["answers"]]


class TestFullDisk:
    @pytest.mark.slow
    def test_whatever_is_left_of_it(self, disk: Disk, tmp_path: Path) -> None:
        """With other numbers of free pages it ends at other places; with room it is completed, the same."""
        plan, told = planned("ce", 2), tmp_path / "told"
        specs = list(plan.unique.values())
        assert ended(tmp_path / "undisturbed", specs) == 0
        expected = tables(plan, tmp_path / "undisturbed")
        seen = set()
        for left in (*range(13), *range(16, 512, 48)):
            results = disk.path / "results"
            disk.fill(left)
            assert ended(results, specs, no_space, 0, 0, told) == 0
            (status,) = answers(told)
            seen.add(status)
            assert status in ("done", "unwritable")
            assert not (results / "failed").exists()
            assert claimed_runs(results) == set()
            assert set(Store(results).finished()) == ({specs[0].id} if status == "done" else set())
            disk.empty()
            assert ended(results, specs) == 0
            whole(results, 1)
            assert tables(plan, results) == expected, f"with {left} pages"
            shutil.rmtree(results)
        assert seen == {"done", "unwritable"}

    @pytest.mark.slow
    def test_a_grid_ends_with_a_line_and_goes_on_when_there_is_room(self, disk: Disk, tmp_path: Path) -> None:
        results, trace = disk.path / "results", tmp_path / "trace"
        script, words = interpreter(tmp_path / "bin", trace), command(disk.path / "results", 500)
        done = bench(script, *words)
        assert done.code == 2
        lines = [line for line in done.err.splitlines() if line.startswith("bench: ")]
        assert lines == done.err.splitlines()[-1:], "one line, the last one"
        assert str(results) in lines[0]
        assert "No space left on device" in lines[0]
        assert "Traceback" not in done.out + done.err
        assert not (results / "failed").exists()
        kept, tried = len(Store(results).finished()), len(trace.read_text(encoding="utf-8").splitlines())
        assert 0 < kept < 500
        assert tried <= kept + 2, "the others are not tried in vain"
        disk.resize(1 << 26)
        done = bench(script, *words)
        assert done.code == 0, done.err[-2000:]
        assert re.search(rf"\b{500 - kept} runs? w(as|ere) trained now, 500 of 500 are done", done.out)
        assert len(Store(results).finished()) == 500
        assert not (results / "failed").exists()

    @pytest.mark.slow
    @pytest.mark.parametrize("lasting", [True, False], ids=["from then on", "once"])
    def test_at_every_operation(self, tmp_path: Path, lasting: bool) -> None:
        """The file system answers as a full one: for good, or once, as with a quota that somebody else frees."""
        plan, told = planned("ce", 2), tmp_path / "told"
        specs = list(plan.unique.values())
        assert ended(tmp_path / "undisturbed", specs, no_space, 0, 0, told) == 0
        expected = tables(plan, tmp_path / "undisturbed")
        operations = json.loads(told.read_text(encoding="utf-8"))["operations"]
        for at in range(1, len(operations) + 1, 1 if lasting else 2):
            results = tmp_path / str(at)
            assert ended(results, specs, no_space, at, 10**9 if lasting else 0, told) == 0, operations[at - 1]
            assert not (results / "failed").exists(), operations[at - 1]
            assert claimed_runs(results) == set()
            (status,) = answers(told)
            assert set(Store(results).finished()) == ({specs[0].id} if status == "done" else set())
            if status != "done":
                assert status == "unwritable"
                assert ended(results, specs) == 0
            whole(results, 1)
            assert tables(plan, results) == expected, operations[at - 1]
            shutil.rmtree(results)

    @pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EIO])
    def test_a_record_that_does_not_reach_the_disk_is_none(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
    ) -> None:
        """A network file system may say at the end only that what was written is lost."""
        (run,) = grid(1)

        def lost(handle: int) -> None:
            raise OSError(number, os.strerror(number))

        monkeypatch.setattr(os, "fsync", lost)
        with pytest.raises(OSError, match=os.strerror(number)):
            filled(tmp_path, [run])
        assert not Store(tmp_path).holds(run)
        assert list((tmp_path / "drafts").iterdir()) == []

    def test_a_file_system_that_cannot_sync_will_do(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def refuse(handle: int) -> None:
            raise OSError(errno.EINVAL, "Invalid argument")

        monkeypatch.setattr(os, "fsync", refuse)
        assert len(filled(tmp_path, grid(1)).finished()) == 1

    def test_a_disk_that_is_full_from_the_start(self, disk: Disk) -> None:
        disk.fill(0)
        with pytest.raises(InputError, match=rf"--results {disk.path}: nothing can be written there: "):
            make_ready(Store(disk.path))
        with pytest.raises(OSError, match=os.strerror(errno.ENOSPC)) as caught:
            write_file(disk.path / "table.txt", "x" * PAGE)
        assert caught.value.filename == str(disk.path / "table.txt")
        assert [path.name for path in disk.path.iterdir()] == ["ballast"]

    def test_what_is_full_is_told_apart(self, tmp_path: Path) -> None:
        full = OSError(errno.ENOSPC, "No space left on device")
        assert "No space left on device" in why_unwritable(full, tmp_path)
        quota = OSError(errno.EDQUOT, "x", str(tmp_path / "runs" / "x"))
        assert os.strerror(errno.EDQUOT) in why_unwritable(quota, tmp_path)
        assert why_unwritable(OSError(errno.ENOSPC, "x", "/elsewhere/file"), tmp_path) == ""
        assert why_unwritable(OSError(errno.EACCES, "x"), tmp_path) == ""
        assert why_unwritable(ValueError("No space left on device"), tmp_path) == ""
        hidden = RuntimeError("unexpected pos")
        hidden.__context__ = full
        says = f"{tmp_path}: .*No space left on device; .*run the same command again"
        with pytest.raises(Unwritable, match=says), writing_to(tmp_path):
            raise hidden
        with pytest.raises(ValueError, match="no"), writing_to(tmp_path):
            raise ValueError("no")


@contextmanager
def unwritable(tmp_path: Path, fill: Callable[[Path], object]) -> Iterator[Path]:
    """A filled folder that nothing can be written to, for root by a file system that refuses it."""
    path = tmp_path / "read only"
    path.mkdir()
    if os.geteuid():
        fill(path)
        path.chmod(0o555)
        yield path
        path.chmod(0o755)
        return
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(path)], check=True)
    try:
        fill(path)
        subprocess.run(["mount", "-o", "remount,ro", str(path)], check=True)
        yield path
    finally:
        subprocess.run(["umount", "--lazy", str(path)], check=True)


@pytest.mark.slow
def test_a_read_only_folder(tmp_path: Path) -> None:
    script = interpreter(tmp_path / "bin", tmp_path / "trace")
    runs = grid(3)
    with unwritable(tmp_path, lambda path: filled(path, runs[:2])) as results:
        words = command(results, 3)
        done = bench(script, *words)
        assert (done.code, done.out) == (2, "")
        *planned, problem = done.err.splitlines()
        assert planned[0] == "digits: 3 runs: 2 done, 1 to train"
        assert len(planned) == 2
        assert str(results) in problem
        assert "nothing can be written there" in done.err
        read = [word for word in words[1:] if word not in ("--jobs", "1")]
        status = json.loads(bench(script, "status", *read, "--format", "json").out)
        assert (status["done"], status["missing"]) == (2, 1)
        shown = bench(script, "table", *read)
        assert (shown.code, shown.err) == (0, "")
        assert scores(Store(results)) == {run.id: outcome(run).record.curve[0].test["top1"] for run in runs[:2]}
    assert not (tmp_path / "trace").exists()


@pytest.mark.slow
def test_a_finished_grid_on_a_read_only_folder_is_printed(tmp_path: Path) -> None:
    with unwritable(tmp_path, lambda path: filled(path, grid(2))) as results:
        done = bench("no interpreter", *command(results, 2))
        assert done.code == 0, done.err
        assert "0 runs were trained now, 2 of 2 are done" in done.out
        assert "Fine-tune" in done.out
        why = rf"{results}/tables.*: (Read-only file system|Permission denied)"
        assert re.fullmatch(f"bench: tables and figures could not be written: {why}\n", done.err)
        assert "written:" not in done.out


class TestDamagedRecords:
    @pytest.mark.slow
    def test_a_record_cut_at_every_byte(self, tmp_path: Path) -> None:
        """It is set aside as it is, its run is missing, and nothing else is touched; with an index and without."""
        runs = grid(3)
        store = filled(tmp_path / "results", runs)
        expected = scores(store)
        victim = next((tmp_path / "results" / "runs").glob(f"*-{runs[1].id}"))
        content, others = (victim / "record.json").read_bytes(), files(tmp_path / "results")
        assert len(content) > 1000
        for size in range(len(content) - 1):  # without the line break at its end it is whole
            (victim / "record.json").write_bytes(content[:size])
            if size % 2:
                (tmp_path / "results" / "index.msgpack").unlink(missing_ok=True)
            store = Store(tmp_path / "results")
            assert untrained(runs, store) == [runs[1]], size
            assert store.damaged == [victim.name]
            make_ready(store)
            (aside,) = (tmp_path / "results" / "damaged").iterdir()
            assert (aside / "record.json").read_bytes() == content[:size]
            assert not victim.exists()
            aside.rename(victim)
            (tmp_path / "results" / "damaged").rmdir()
        (victim / "record.json").write_bytes(content)
        assert scores(Store(tmp_path / "results")) == expected
        after = files(tmp_path / "results")
        assert {name: after[name] for name in others if name != "index.msgpack"} == {
            name: others[name] for name in others if name != "index.msgpack"
        }

    def test_two_launchers_that_see_it_set_it_aside_once(self, tmp_path: Path) -> None:
        """The slower one leaves alone what the quicker one has trained in its place."""
        (run,) = grid(1)
        filled(tmp_path, [run])
        (record,) = tmp_path.glob("runs/*/record.json")
        content = record.read_bytes()
        record.write_bytes(content[:100])
        quick, slow, slower = (Store(tmp_path) for _ in range(3))
        for store in (quick, slow, slower):
            assert store.finished() == {}
        make_ready(quick)
        make_ready(slow)
        filled(tmp_path, [run])
        make_ready(slower)
        assert record.read_bytes() == content
        assert len(list((tmp_path / "damaged").iterdir())) == 1

    @pytest.mark.slow
    def test_its_run_is_repeated(self, tmp_path: Path) -> None:
        results, trace = tmp_path / "results", tmp_path / "trace"
        runs = grid(3)
        filled(results, runs)
        before = files(results / "runs")
        victim = next((results / "runs").glob(f"*-{runs[1].id}"))
        (victim / "record.json").write_bytes(b"{")
        done = bench(interpreter(tmp_path / "bin", trace), *command(results, 3))
        assert done.code == 0, done.err
        assert "1 run was trained now, 3 of 3 are done" in done.out
        assert [line.split()[0] for line in trace.read_text(encoding="utf-8").splitlines()] == [runs[1].id]
        after = files(results / "runs")
        kept = [name for name in before if runs[1].id not in name]
        assert {name: after[name] for name in kept} == {name: before[name] for name in kept}
        assert len(list((results / "damaged").iterdir())) == 1

    @pytest.mark.slow
    def test_one_of_a_newer_version_is_not_touched(self, tmp_path: Path) -> None:
        results, runs = tmp_path / "results", grid(3)
        filled(results, runs)
        newer = next((results / "runs").glob(f"*-{runs[0].id}")) / "record.json"
        newer.write_text(json.dumps({**json.loads(newer.read_text(encoding="utf-8")), "schema": SCHEMA + 1}))
        before, trace = files(results / "runs"), tmp_path / "trace"
        done = bench(interpreter(tmp_path / "bin", trace), *command(results, 4))
        assert done.code == 0
        (line,) = [line for line in done.err.splitlines() if "newer version" in line]
        assert newer.parent.name in line
        assert "1 run was trained now, 3 of 4 are done" in done.out
        assert len(trace.read_text(encoding="utf-8").splitlines()) == 1, "nothing else is trained, nor that over again"
        after = files(results / "runs")
        assert {name: after[name] for name in before} == before
        assert not (results / "damaged").exists()

    def test_an_index_damaged_at_random(self, tmp_path: Path) -> None:
        store, draw = filled(tmp_path, grid(12)), random.Random(23)
        expected, before = scores(store), files(tmp_path / "runs")
        index = (tmp_path / "index.msgpack").read_bytes()
        for _ in range(300):
            damaged = bytearray(index)
            for _ in range(draw.choice([1, 1, 5, 50])):
                start = draw.randrange(len(damaged))
                what = draw.choice(["flip", "cut", "repeat", "zeros"])
                if what == "flip":
                    damaged[start] ^= 1 << draw.randrange(8)
                elif what == "cut" and len(damaged) > 100:
                    del damaged[start : start + draw.randrange(50)]
                elif what == "repeat":
                    damaged[start:start] = damaged[start : start + 50]
                else:
                    damaged[start : start + 8] = bytes(8)
            (tmp_path / "index.msgpack").write_bytes(damaged)
            again = Store(tmp_path)
            assert scores(again) == expected
            assert again.damaged == []
            assert (tmp_path / "index.msgpack").read_bytes() == index
        assert files(tmp_path / "runs") == before


def changed(content: bytes, draw: random.Random) -> bytes:
    """A file of which a bit is flipped, a part is zero, or the end is missing."""
    damaged, start = bytearray(content), draw.randrange(len(content))
    what = draw.choice(["flip", "flip", "zeros", "cut"])
    if what == "flip":
        damaged[start] ^= 1 << draw.randrange(8)
    elif what == "zeros":
        damaged[start : start + 512] = bytes(len(damaged[start : start + 512]))
    else:
        del damaged[start:]
    return bytes(damaged)


class TestDamagedState:
    def test_a_checkpoint_is_used_as_it_was_written_or_not_at_all(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        state: dict[str, Any] = {
            "weights": torch.arange(5000, dtype=torch.float32),
            "moments": torch.rand(300),
            "step": 7,
        }
        path, draw = tmp_path / "current.pt", random.Random(24)
        _save(path, {"form": FORM, "key": "run", **state})
        content, refused = path.read_bytes(), 0
        reader = Checkpoint(tmp_path / "none", "run", 1.0)
        for _ in range(300):
            path.write_bytes(changed(content, draw))
            found = reader._load(path)
            if found is None:
                refused += 1
                assert not path.exists(), "it is set aside"
                continue
            assert found["step"] == state["step"]
            assert all(torch.equal(found[name], state[name]) for name in ("weights", "moments"))
        assert refused > 200
        assert capsys.readouterr().out.count("the run begins anew") == refused
        path.write_bytes(content)
        assert reader._load(path) is not None

    def test_a_shared_stage_is_taken_as_it_was_stored_or_trained_again(self, tmp_path: Path) -> None:
        tensors = {"0.weight": torch.arange(5000.0).view(50, 100), "1": torch.tensor(3), "empty": torch.empty(0)}
        shelf, draw, trained = Shelf(tmp_path), random.Random(25), 0

        def train() -> Tensors:
            nonlocal trained
            trained += 1
            return {name: tensor.clone() for name, tensor in tensors.items()}

        assert shelf.get("key", train, {"meaning": 1})[1] is False
        content = shelf.path("key").read_bytes()
        for _ in range(200):
            shelf.path("key").write_bytes(changed(content, draw))
            found, _ = shelf.get("key", train, {"meaning": 1})
            assert set(found) == set(tensors)
            assert all(torch.equal(found[name], tensors[name]) for name in tensors)
        assert trained > 150
        assert len(list(tmp_path.glob("*.damaged.*"))) == trained - 1
        assert shelf.get("key", train, {"meaning": 1})[1] is True


class TestClocks:
    @pytest.mark.parametrize("shift", [YEARS, -YEARS], ids=["future", "past"])
    def test_file_times_that_are_wrong(self, tmp_path: Path, shift: int) -> None:
        store = filled(tmp_path, grid(4))
        expected = scores(store)
        with store.draft() as draft:
            for path in (*tmp_path.rglob("*"), tmp_path):
                if path != draft:
                    stat = path.stat()
                    os.utime(path, (stat.st_atime + shift, stat.st_mtime + shift))
            with store.draft():  # what is written next has the time of now
                again = Store(tmp_path)
                assert scores(again) == expected
                make_ready(again)
                assert scores(Store(tmp_path)) == expected
                assert draft.exists(), "a run in training keeps its draft"

    @pytest.mark.slow
    @pytest.mark.parametrize("shift", [-YEARS, YEARS])
    def test_a_clock_that_has_jumped(self, tmp_path: Path, shift: int) -> None:
        """Half of a grid was trained before the clock was set; the rest is trained after it."""
        results, trace = tmp_path / "results", tmp_path / "trace"
        script = interpreter(tmp_path / "bin", trace)
        assert bench(script, *command(results, 2)).code == 0
        for path in (*results.rglob("*"), results):
            os.utime(path, (path.stat().st_atime - shift, path.stat().st_mtime - shift))
        words = front(script, *command(results, 4))
        words[2] = f"import time; now = time.time; time.time = lambda: now() + {shift}; " + words[2]
        done = subprocess.run(words, capture_output=True, text=True, timeout=240, check=False)
        assert done.returncode == 0, done.stderr
        assert "2 runs were trained now, 4 of 4 are done" in done.stdout
        assert len(trace.read_text(encoding="utf-8").splitlines()) == 4


class TestNames:
    @pytest.mark.slow
    def test_a_folder_with_an_odd_path(self, tmp_path: Path) -> None:
        results = tmp_path / "my  results é 漢 🙂 'x' \"y\" $HOME;%s * [a] #1 -b"
        script = interpreter(tmp_path / "bin é", tmp_path / "trace")
        done = bench(script, *command(results, 3))
        assert done.code == 0, done.err
        assert "3 of 3 are done" in done.out
        assert len(Store(results).finished()) == 3
        again = bench(script, *command(results, 3))
        assert "0 runs were trained now, 3 of 3 are done" in again.out

    @pytest.mark.parametrize("name", ["m" * 5000, "é漢🙂" * 500, "../" * 100 + "x", "a b\tc" * 300])
    def test_a_very_long_label(self, tmp_path: Path, name: str) -> None:
        (run,) = grid(1)
        run = replace(run, method=replace(run.method, name=name))
        store = filled(tmp_path, [run])
        with store.draft() as draft:
            error = {"kind": "E", "message": "m"}
            store.publish_failure(draft, run, {"status": "failed", "error": error})
        assert scores(Store(tmp_path)) == {run.id: outcome(run).record.curve[0].test["top1"]}
        assert as_plain(Store(tmp_path).record(run.id))["label"] == run.label
        assert set(Store(tmp_path).failures()) == {run.id}
        assert {path.name for path in tmp_path.iterdir()} == {"drafts", "runs", "failed", "index.msgpack"}

    @pytest.mark.slow
    def test_an_experiment_with_a_very_long_row(self, tmp_path: Path) -> None:
        file = tmp_path / "long.yaml"
        file.write_text(
            f"title: long\nmethods:\n  ? {'Très long ' * 400}\n  : ce\nbackbones: [micro_vit]\ndatasets: [digits]\n"
            "rates: [15]\nseeds: 2\nprotocol: {steps: 2, warmup: 1, evaluations: 1, batch_size: 8}\n",
            encoding="utf-8",
        )
        script = interpreter(tmp_path / "bin", tmp_path / "trace")
        done = bench(script, "run", str(file), "--jobs", "1", "--results", str(tmp_path / "results"))
        assert done.code == 0, done.err
        assert "2 of 2 are done" in done.out


def test_a_launch_on_a_disk_that_is_full_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The executor ends at the first worker that says it."""
    script = tmp_path / "python"
    answer = {"status": "unwritable", "message": "results: no room", "seconds": 0.0, "top1": 0.0}
    script.write_text(
        f"#!{sys.executable}\nimport json, sys\nprint('{{}}', flush=True)\n"
        f"for line in sys.stdin: print(json.dumps({answer!r}), flush=True)\n",
        encoding="utf-8",
    )
    script.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(script))
    events: list[Any] = []
    with pytest.raises(InputError, match="results: no room"):
        LocalExecutor(2).execute(grid(50), Job(tmp_path / "results"), events.append)
    assert events == []
    assert not (tmp_path / "results" / "failed").exists()

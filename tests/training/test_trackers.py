"""Curves in TensorBoard and Weights & Biases, read back with what reads them; a run that is killed doubles nothing."""

from __future__ import annotations

import json
import os
import shutil
import struct
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from bench.errors import InputError
from bench.protocol import Protocol
from bench.records.record import Point
from bench.spec import MethodSpec, Named, RunSpec, Seeds, to_json
from bench.training import trackers
from bench.training.trackers import Observer, tracked, tracker_names

SPEC = RunSpec(
    method=MethodSpec("ce", "aaaaaaaaaaaa", ()),
    backbone=Named("micro_vit", "bbbbbbbbbbbb"),
    dataset=Named("folder:/a b/c", "cccccccccccc"),
    rate=15.0,
    protocol=Protocol(),
    seeds=Seeds(1, 2, 3),
    seed=0,
)
NAME = f"ce-micro_vit-c-15-seed-0-{SPEC.id}"

PART = """
import json, os, sys
from pathlib import Path
from bench.spec import from_json
from bench.records.record import Point
from bench.training.trackers import tracked

spec, results, points, end, *_ = map(json.loads, sys.argv[1:5])
with tracked(("tensorboard", "wandb"), from_json(spec), Path(results)) as observer:
    for step, top1 in points:
        scores = {"top1": top1, "mean_per_class": top1 - 1}
        loss, val = {"ce": 0.5, "gta": 0.25}, scores if step > 1 else None
        observer.point(Point(step=step, learning_rate=0.1, loss=loss, val=val, test=scores, seconds=2.0 * step))
    if end == "kill":
        os.kill(os.getpid(), 9)
"""
SECRET = "S3cr3tOfTheCommandLine"


def part(results: Path, points: list[tuple[int, float]], end: str = "done") -> str:
    """A part of a run in a process of its own, told to both trackers; gives what it printed."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith("WANDB")}
    given = [json.dumps(value) for value in (to_json(SPEC), str(results), points, end)]
    done = subprocess.run(
        [sys.executable, "-c", PART, *given, f"--api-key={SECRET}"],
        capture_output=True,
        text=True,
        timeout=120,
        cwd=Path(trackers.__file__).parent.parent,
        env={**environ, "HOME": str(results), "PRIVATE_TOKEN": SECRET, "WANDB_ERROR_REPORTING": "false"},
    )
    assert done.returncode == (-9 if end == "kill" else 0), done.stderr
    return done.stdout


def scalars(results: Path) -> dict[str, list[tuple[int, float]]]:
    """What TensorBoard shows of the run, by tag."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(results / "tensorboard" / NAME))
    events.Reload()
    return {tag: [(e.step, round(e.value, 4)) for e in events.Scalars(tag)] for tag in events.Tags()["scalars"]}


def history(results: Path) -> list[dict[str, Any]]:
    """The rows that 'wandb sync' would send of all run folders, in the order of their time."""
    from wandb.proto.wandb_internal_pb2 import Record

    rows = []
    for path in sorted(results.glob("wandb/offline-run-*/*.wandb")):
        for content in _log(path.read_bytes()):
            record = Record.FromString(content)
            if record.HasField("history"):
                items = record.history.item
                rows.append({"/".join(item.nested_key) or item.key: json.loads(item.value_json) for item in items})
    return rows


def _log(content: bytes) -> Iterator[bytes]:
    """The records of a file in LevelDB's log format: blocks of 32 KiB; a record may be cut into several."""
    assert content[:4] == b":W&B"
    place, whole = 7, b""
    while place + 7 <= len(content):
        if 32768 - place % 32768 < 7:
            place += 32768 - place % 32768
            continue
        _, length, kind = struct.unpack("<IHB", content[place : place + 7])
        whole += content[place + 7 : place + 7 + length]
        place += 7 + length
        if kind in (1, 4):  # all of it, or the last piece
            yield whole
            whole = b""


@pytest.fixture(scope="module")
def ended(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The results of a run that went to its end in one go."""
    results = tmp_path_factory.mktemp("ended")
    part(results, [(2, 10.0), (4, 20.0)])
    return results


@pytest.mark.slow
class TestBothForReal:
    def test_a_run_that_was_killed_and_resumed(self, tmp_path: Path) -> None:
        """Its last points are told again, and the very last one is measured twice: each stands there once."""
        results = tmp_path / "results é"
        results.mkdir()
        assert part(results, [(1, 61.0), (2, 62.0), (3, 63.0)], "kill") == ""
        assert part(results, [(3, 63.5), (4, 64.0), (5, 65.0), (5, 65.5)]) == ""
        curve = [(1, 61.0), (2, 62.0), (3, 63.5), (4, 64.0), (5, 65.5)]
        shown = scalars(results)
        assert shown["top1/test"] == curve
        assert shown["top1/val"] == curve[1:]
        assert shown["mean_per_class/test"] == [(step, value - 1) for step, value in curve]
        assert shown["loss/gta"] == [(step, 0.25) for step, _ in curve]
        assert shown["learning_rate"] == [(step, 0.1) for step, _ in curve]
        assert shown["seconds"] == [(step, 2.0 * step) for step, _ in curve]
        assert [(row["_step"], row["top1/test"]) for row in history(results)] == curve
        assert {path.name for path in (results / "tensorboard").iterdir()} == {NAME}
        assert len(list(results.glob("wandb/offline-run-*"))) == 1
        kept = b"".join(path.read_bytes() for path in results.rglob("*") if path.is_file())
        assert SECRET.encode() not in kept

    def test_a_run_that_starts_anew(self, ended: Path, tmp_path: Path) -> None:
        results = shutil.copytree(ended, tmp_path / "results", symlinks=True)
        assert [row["top1/test"] for row in history(results)] == [10.0, 20.0]
        part(results, [(2, 11.0), (4, 21.0)])
        assert scalars(results)["top1/test"] == [(2, 11.0), (4, 21.0)]
        assert [(row["_step"], row["top1/test"]) for row in history(results)] == [(2, 11.0), (4, 21.0)]

    def test_what_was_synced_already_stays_and_is_not_told_again(self, ended: Path, tmp_path: Path) -> None:
        results = shutil.copytree(ended, tmp_path / "results", symlinks=True)
        (file,) = results.glob("wandb/offline-run-*/*.wandb")
        file.with_name(f"{file.name}.synced").touch()
        part(results, [(6, 30.0), (8, 40.0)])
        assert file.is_file()
        assert [row["_step"] for row in history(results)] == [2, 4, 6, 8]


class Noting(Observer):
    """Keeps what it is told, or raises."""

    def __init__(self, told: list[Any], wrong: bool = False) -> None:
        self.told, self.wrong = told, wrong

    def point(self, point: Point) -> None:
        if self.wrong:
            raise OSError("the disk\nis full")
        self.told.append(point.step)

    def end(self, status: str = "done") -> None:
        self.told.append(status)


class TestTracked:
    def tell(
        self, monkeypatch: pytest.MonkeyPatch, makers: Mapping[str, Any], error: type[BaseException] | None
    ) -> None:
        monkeypatch.setattr(trackers, "_TRACKERS", makers)
        with tracked(tuple(makers), SPEC, Path()) as observer:
            observer.point(Point(step=1, learning_rate=0.1, test={"top1": 1.0}, seconds=1.0))
            observer.point(Point(step=2, learning_rate=0.1, test={"top1": 1.0}, seconds=1.0))
            if error:
                raise error

    def test_one_that_fails_is_dropped_with_one_line(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        told: list[Any] = []
        makers = {"bad": lambda *_: Noting([], wrong=True), "good": lambda *_: Noting(told)}
        self.tell(monkeypatch, makers, None)
        assert told == [1, 2, "done"]
        assert capsys.readouterr().out == "tracker bad: it failed and is told no more: OSError: the disk is full\n"

    @pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
    def test_they_are_closed_when_the_run_fails(
        self, monkeypatch: pytest.MonkeyPatch, error: type[BaseException]
    ) -> None:
        told: list[Any] = []
        with pytest.raises(error):
            self.tell(monkeypatch, {"good": lambda *_: Noting(told)}, error)
        assert told == [1, 2, "failed"]

    def test_the_end_may_be_told_twice(self, monkeypatch: pytest.MonkeyPatch) -> None:
        told: list[Any] = []
        monkeypatch.setattr(trackers, "_TRACKERS", {"good": lambda *_: Noting(told)})
        with tracked(("good",), SPEC, Path()) as observer:
            observer.end()
        assert told == ["done"]

    def test_a_results_folder_that_cannot_be_written(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        (tmp_path / "tensorboard").write_text("a file where the folder should be")
        with tracked(("tensorboard",), SPEC, tmp_path) as observer:
            observer.point(Point(step=1, learning_rate=0.1, test={"top1": 1.0, "mean_per_class": 1.0}, seconds=1.0))
        (line,) = capsys.readouterr().out.splitlines()
        assert line.startswith("tracker tensorboard: it failed and is told no more: ")

    def test_without_trackers_nothing_is_imported_or_written(self, tmp_path: Path) -> None:
        with tracked((), SPEC, tmp_path) as observer:
            observer.point(Point(step=1, learning_rate=0.1, test={"top1": 1.0}, seconds=1.0))
        assert not list(tmp_path.iterdir())


class TestNames:
    def test_each_once(self) -> None:
        assert tracker_names("wandb, tensorboard,wandb") == ("wandb", "tensorboard")
        assert tracker_names("") == ()

    @pytest.mark.parametrize(
        ("written", "said"),
        [
            ("tensorbord", "--track: no tracker is called 'tensorbord'; did you mean 'tensorboard'?"),
            (" , ", "--track ' , ' lists nothing (there are: tensorboard, wandb)"),
        ],
    )
    def test_what_there_is_not(self, written: str, said: str) -> None:
        with pytest.raises(InputError) as caught:
            tracker_names(written)
        assert str(caught.value).startswith(said)

    @pytest.mark.parametrize("name", ["tensorboard", "wandb"])
    def test_a_package_that_is_missing(self, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """A folder of its name in the way, as wandb itself leaves one, does not count."""
        (tmp_path / name).mkdir()
        monkeypatch.setattr(sys, "path", [str(tmp_path)])
        monkeypatch.delitem(sys.modules, name, raising=False)
        with pytest.raises(InputError) as caught:
            tracker_names(name)
        assert str(caught.value).endswith(f"its package is not installed; install it with: pip install {name}")


class TestOffline:
    @pytest.fixture(autouse=True)
    def nobody_is_logged_in(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        for name in ("WANDB_MODE", "WANDB_API_KEY", "WANDB_BASE_URL", "NETRC"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv("HOME", str(tmp_path))

    def mode(self) -> Any:
        return trackers._wandb_settings(trackers._wandb_mode(), {"mode", "console"}).get("mode")

    def test_by_default(self) -> None:
        assert self.mode() == "offline"

    def test_not_where_the_user_says_otherwise(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("WANDB_MODE", "online")
        assert self.mode() is None

    def test_not_where_a_key_is_in_the_environment(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("WANDB_API_KEY", "x" * 40)
        assert self.mode() is None

    def test_not_where_the_user_has_logged_in(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (tmp_path / ".netrc").write_text("machine api.wandb.ai\n  login user\n  password x\n")
        (tmp_path / ".netrc").chmod(0o600)
        assert self.mode() is None
        monkeypatch.setenv("WANDB_BASE_URL", "https://wandb.example.org")
        assert self.mode() == "offline"

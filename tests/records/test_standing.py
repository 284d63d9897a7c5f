"""The file in which a run in training says where it stands."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from bench.records.standing import EVERY, Standing, StandingFile, read_standings

HALF = Standing(step=50, of=100, loss=0.25, images_per_second=30.0, seconds_left=10.0, host="here")


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [100.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    return now


def test_it_is_read_while_the_run_is_trained_and_gone_afterwards(tmp_path: Path, clock: list[float]) -> None:
    with StandingFile(tmp_path, "abc") as file:
        clock[0] += EVERY
        file.tell(HALF)
        assert read_standings(tmp_path, ["abc", "def"]) == {"abc": HALF}
    assert not list(tmp_path.iterdir())


def test_it_is_written_now_and_then_and_told_every_time(tmp_path: Path, clock: list[float]) -> None:
    heard: list[int] = []
    with StandingFile(tmp_path, "abc", lambda told: heard.append(told.step)) as file:
        for step in range(12):
            file.tell(Standing(step=step, of=100))
            read = read_standings(tmp_path, ["abc"])
            assert (read["abc"].step if read else None) == (None if step < 5 else 5 if step < 10 else 10)
            clock[0] += 1
    assert heard == list(range(12))


def test_what_a_killed_process_left_says_nothing(tmp_path: Path, clock: list[float]) -> None:
    left = StandingFile(tmp_path, "abc")
    clock[0] += EVERY
    left.tell(HALF)
    with StandingFile(tmp_path, "abc"):
        assert read_standings(tmp_path, ["abc"]) == {}


def test_those_of_other_runs_stay(tmp_path: Path, clock: list[float]) -> None:
    with StandingFile(tmp_path, "abc") as file:
        with StandingFile(tmp_path, "def") as another:
            clock[0] += EVERY
            file.tell(HALF)
            another.tell(HALF)
        assert read_standings(tmp_path, ["abc", "def"]) == {"abc": HALF}


def test_a_run_goes_on_where_it_cannot_be_written(tmp_path: Path, clock: list[float]) -> None:
    (tmp_path / "progress").write_text("a file where the folder should be")
    with StandingFile(tmp_path, "abc") as file:
        clock[0] += EVERY
        file.tell(HALF)
    assert read_standings(tmp_path, ["abc"]) == {}


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"step": "x"}', b'{"seconds_left": 1e999}', b"\xff"])
def test_a_damaged_one_is_none(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "progress").mkdir()
    (tmp_path / "progress" / "abc.json").write_bytes(content)
    assert read_standings(tmp_path, ["abc"]) == {}


def test_of_a_newer_version_what_is_understood_counts(tmp_path: Path) -> None:
    (tmp_path / "progress").mkdir()
    (tmp_path / "progress" / "abc.json").write_text('{"step": 3, "of": 4, "temperature": 60}')
    assert read_standings(tmp_path, ["abc"]) == {"abc": Standing(step=3, of=4)}


def test_a_whole_run_takes_what_it_would_at_this_speed() -> None:
    assert HALF.whole_seconds == 20
    assert Standing(step=100, of=100, seconds_left=3.0).whole_seconds is None
    assert Standing(phase="opening data").whole_seconds is None


def test_a_pipe_in_its_place_is_not_waited_for(tmp_path: Path) -> None:
    (tmp_path / "progress").mkdir()
    os.mkfifo(tmp_path / "progress" / "abc.json")
    assert read_standings(tmp_path, ["abc"]) == {}

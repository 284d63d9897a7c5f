"""Claims: who has one, who takes it over and when, and what an owner does that has lost its own."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bench.records import lease as claim
from bench.records.lease import OLD, ClaimWatch, claimed, is_held, wait_for

HERE = claim._this_process()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "claims" / "run"


def put(path: Path, age: float = 0.0, **owner: Any) -> Path:
    """A claim of another process, last touched some seconds ago."""
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps({**HERE, "token": "another's", **owner}), encoding="utf-8")
    touch(path, age)
    return path


def touch(path: Path, age: float) -> None:
    os.utime(path, (time.time() - age, time.time() - age))


def elsewhere(path: Path, age: float = 0.0) -> Path:
    """A claim of a process on another machine."""
    return put(path, age, host="node2", machine="another boot")


@contextlib.contextmanager
def beaten(path: Path, every: float) -> Iterator[None]:
    """Inside, somebody gives signs of life on a claim."""
    ended = threading.Event()

    def beat() -> None:
        while not ended.wait(every):
            with contextlib.suppress(OSError):
                os.utime(path)

    thread = threading.Thread(target=beat)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def dead_pid() -> int:
    """The number of a process that has ended."""
    with subprocess.Popen(["true"]) as process:
        return process.pid


class TestOneOwner:
    def test_it_is_whole_from_the_start_and_gone_at_the_end(self, path: Path) -> None:
        with claimed(path) as ours:
            assert ours
            owner = json.loads(path.read_text(encoding="utf-8"))
            assert {key: owner[key] for key in HERE} == HERE
            assert is_held(path)
            assert list(path.parent.iterdir()) == [path]
            with claimed(path) as again:
                assert not again
            assert is_held(path)
        assert list(path.parent.iterdir()) == []
        assert not is_held(path)

    def test_it_is_given_back_after_an_error(self, path: Path) -> None:
        with pytest.raises(ValueError, match="no"), claimed(path):
            raise ValueError("no")
        assert not path.exists()

    def test_it_is_kept_young(self, path: Path) -> None:
        with claimed(path, beat=0.05):
            touch(path, 1000)
            stop = time.monotonic() + 30
            while path.stat().st_mtime < time.time() - 500:
                assert time.monotonic() < stop, "no sign of life"
                time.sleep(0.01)

    @pytest.mark.parametrize("failing", ["write_text", "link"])
    def test_nothing_is_left_of_one_that_cannot_be_written(
        self, path: Path, monkeypatch: pytest.MonkeyPatch, failing: str
    ) -> None:
        def full(*given: Any, **named: Any) -> None:
            raise OSError(28, "No space left on device")

        owner = Path if failing == "write_text" else os
        with monkeypatch.context() as patched:
            patched.setattr(owner, failing, full)
            with pytest.raises(OSError, match="No space left"), claimed(path):
                pytest.fail("not ours")
        assert list(path.parent.iterdir()) == []
        with claimed(path) as ours:
            assert ours

    def test_where_there_are_no_hard_links(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def no_links(*given: Any) -> None:
            raise PermissionError(1, "Operation not permitted")

        monkeypatch.setattr(os, "link", no_links)
        with claimed(path) as ours, claimed(path) as other:
            assert (ours, other) == (True, False)
        put(path, pid=dead_pid())
        with claimed(path) as ours:
            assert ours
        assert list(path.parent.iterdir()) == []

    def test_a_link_whose_answer_was_lost_counts(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """As on NFS: the link was made, the answer lost, and the second try finds it made."""
        link = os.link

        def twice(source: Any, target: Any) -> None:
            link(source, target)
            link(source, target)

        monkeypatch.setattr(os, "link", twice)
        with claimed(path) as ours:
            assert ours


class TestOwnerHere:
    def test_a_dead_one_is_followed_at_once(self, path: Path) -> None:
        put(path, pid=dead_pid())
        assert not is_held(path)
        with claimed(path, old=1e6) as ours:
            assert ours
        assert list(path.parent.iterdir()) == []

    def test_one_that_waits_to_be_reaped_is_dead(self, path: Path) -> None:
        process = subprocess.Popen(["sleep", "600"])
        try:
            put(path, pid=process.pid, started=claim._started(process.pid))
            with claimed(path) as ours:
                assert not ours
            process.send_signal(signal.SIGKILL)
            os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
            with claimed(path, old=1e6) as ours:
                assert ours
        finally:
            process.kill()
            process.wait()

    def test_a_number_that_another_process_has_now_is_of_a_dead_one(self, path: Path) -> None:
        put(path, started="1")
        assert not is_held(path)
        with claimed(path, old=1e6) as ours:
            assert ours

    def test_a_living_one_is_left_alone_however_old_its_claim(self, path: Path) -> None:
        """It was stopped, or its machine slept."""
        put(path, age=1000)
        assert is_held(path)
        with claimed(path) as ours:
            assert not ours
        assert json.loads(path.read_text(encoding="utf-8"))["token"] == "another's"


class TestOwnerElsewhere:
    def test_a_dead_one_is_followed_when_its_claim_is_old(self, path: Path) -> None:
        elsewhere(path, age=100)
        assert not is_held(path)
        with claimed(path) as ours:
            assert ours
        assert list(path.parent.iterdir()) == []

    def test_until_then_it_is_waited_for(self, path: Path) -> None:
        elsewhere(path)
        assert is_held(path)
        began = time.monotonic()
        with claimed(path, old=1.0) as ours:
            assert ours
        assert time.monotonic() - began > 0.9

    def test_a_living_one_is_left_alone(self, path: Path) -> None:
        elsewhere(path)
        with beaten(path, 0.1), claimed(path, old=30) as ours:
            assert not ours
        assert json.loads(path.read_text(encoding="utf-8"))["token"] == "another's"

    def test_one_that_gives_it_back_is_followed(self, path: Path) -> None:
        elsewhere(path)
        timer = threading.Timer(0.3, path.unlink)
        timer.start()
        with claimed(path) as ours:
            assert ours
        timer.join()

    def test_its_clock_does_not_count(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Both times are the file server's, whatever this machine's clock says."""
        elsewhere(path)
        for wrong in (-1e6, 1e6):
            monkeypatch.setattr(time, "time", lambda wrong=wrong: 1.7e9 + wrong)
            assert is_held(path)

    def test_a_claim_from_the_future_is_followed_after_a_while_without_a_sign(self, path: Path) -> None:
        """The file server's clock was set back after the owner had died."""
        elsewhere(path, age=-1e6)
        began = time.monotonic()
        with claimed(path, old=0.5) as ours:
            assert ours
        assert time.monotonic() - began > 0.4

    def test_a_living_owner_of_a_claim_from_the_future_is_left_alone(self, path: Path) -> None:
        elsewhere(path, age=-1e6)
        with beaten(path, 0.1), claimed(path, old=30) as ours:
            assert not ours

    def test_where_nothing_can_be_written_its_age_is_seen_all_the_same(
        self, path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def refuse(*given: Any, **named: Any) -> None:
            raise OSError(30, "Read-only file system")

        monkeypatch.setattr(Path, "touch", refuse)
        assert not is_held(elsewhere(path, age=100))
        assert is_held(elsewhere(path))


class TestGarbage:
    @pytest.mark.parametrize(
        "content",
        [b"", b"\xff\xfe", b"null", b"[1]", b'"text"', b"{", b"[" * 100_000, b"{}", b'{"pid": 1}', b"\x00" * 4096],
        ids=["nothing", "no text", "null", "list", "text", "torn", "deep", "nobody", "no machine", "zeros"],
    )
    def test_what_names_no_owner_is_judged_by_its_age(self, path: Path, content: bytes) -> None:
        path.parent.mkdir()
        path.write_bytes(content)
        assert is_held(path)
        touch(path, 100)
        assert not is_held(path)
        with claimed(path) as ours:
            assert ours
        assert list(path.parent.iterdir()) == []

    @pytest.mark.parametrize("pid", ["self", "\x00", None, -1, 1.5, [], "1/../self", 2**70, True])
    def test_an_owner_without_a_number_is_dead(self, path: Path, pid: Any) -> None:
        put(path, pid=pid, started=None)
        with claimed(path, old=1e6) as ours:
            assert ours


class TestTakingOver:
    @pytest.mark.parametrize("kind", ["here", "elsewhere"])
    def test_of_many_at_one_time_one_does(self, path: Path, tmp_path: Path, kind: str) -> None:
        put(path, pid=dead_pid()) if kind == "here" else elsewhere(path, age=100)
        barrier, answers = threading.Barrier(16), []

        def attempt() -> None:
            barrier.wait()
            with claimed(path) as ours:
                answers.append(ours)
                ended.wait(30)

        ended = threading.Event()
        threads = [threading.Thread(target=attempt) for _ in range(16)]
        for thread in threads:
            thread.start()
        stop = time.monotonic() + 30
        while len(answers) < 16:
            assert time.monotonic() < stop
            time.sleep(0.01)
        ended.set()
        for thread in threads:
            thread.join()
        assert sorted(answers) == [False] * 15 + [True]
        assert list(path.parent.iterdir()) == []

    def test_a_slow_one_leaves_the_successor_alone(self, path: Path) -> None:
        """It saw the dead claim; before it acts, a quicker one has put its own in that place."""
        put(path, pid=dead_pid())
        slow = ClaimWatch(path)
        assert slow.look() == "dead"
        assert slow.seen is not None
        with claimed(path) as ours:
            assert ours
            claim._take_away(path, slow.seen, "slow", claim.OLD)
            assert is_held(path)
            with claimed(path) as other:
                assert not other

    def test_one_that_died_while_it_took_over_is_not_in_the_way(self, path: Path) -> None:
        put(path, pid=dead_pid())
        put(path.with_name(".turn.run"), pid=dead_pid())
        with claimed(path) as ours:
            assert ours
        assert list(path.parent.iterdir()) == []

    def test_a_pipe_in_its_place_is_not_waited_for(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        os.mkfifo(path)
        assert ClaimWatch(path, OLD).look() == "unknown"

    def test_what_killed_ones_left_is_removed_when_it_is_old(self, path: Path) -> None:
        put(path, pid=dead_pid())
        for name in (".new.old", ".now.old", ".new.young", ".other"):
            (path.parent / name).touch()
            touch(path.parent / name, 0 if "young" in name else 1e5)
        with claimed(path):
            pass
        assert sorted(item.name for item in path.parent.iterdir()) == [".new.young", ".other"]


class TestLost:
    def test_an_owner_that_lost_its_claim_leaves_its_successors_alone(self, path: Path) -> None:
        with claimed(path, beat=0.02) as ours:
            assert ours
            put(path, age=1000, token="the successor's")
            time.sleep(0.3)
            assert path.stat().st_mtime < time.time() - 500, "it is not kept young either"
        assert json.loads(path.read_text(encoding="utf-8"))["token"] == "the successor's"

    def test_an_owner_whose_claim_is_gone_makes_none(self, path: Path) -> None:
        with claimed(path, beat=0.02):
            path.unlink()
            time.sleep(0.2)
            assert not path.exists()
        assert list(path.parent.iterdir()) == []


class TestWaiting:
    def test_it_ends_when_the_result_is_there_or_the_claim_is_not(self, path: Path) -> None:
        wait_for(lambda: False, path)
        put(path)
        wait_for(lambda: True, path)
        timer = threading.Timer(0.2, path.unlink)
        timer.start()
        wait_for(lambda: False, path, pause=0.01)
        assert not path.exists()
        timer.join()

    @pytest.mark.parametrize("age", [0.0, -1e6], ids=["grows old", "from the future"])
    def test_it_ends_when_the_owner_dies(self, path: Path, monkeypatch: pytest.MonkeyPatch, age: float) -> None:
        monkeypatch.setattr(claim, "OLD", 0.5)
        elsewhere(path, age)
        wait_for(lambda: False, path, pause=0.01)
        assert path.exists()
        put(path, pid=dead_pid())
        wait_for(lambda: False, path, pause=0.01)

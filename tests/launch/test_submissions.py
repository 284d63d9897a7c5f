"""What was submitted is known from the disk, and what of it lives from the queue."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from bench.errors import InputError
from bench.launch.cluster import Cluster, Unreachable
from bench.launch.launcher import Queued
from bench.launch.submissions import Array, Submission, begin, job_name, queued, read, write


def cluster(queue: str = "", name: str = "lab") -> Cluster:
    def answer(command: Sequence[str]) -> str:
        return f"ClusterName = {name}\nMaxArraySize = 10\n" if command[0] == "scontrol" else queue

    return Cluster(answer)


def unreachable(command: Sequence[str]) -> str:
    raise Unreachable("no controller")


def submission(*arrays: Array, user: str = "me", name: str = "20260101T000000-aaaaaa") -> Submission:
    return Submission(name, user, "lab", "bench run demo", arrays)


class TestOnDisk:
    def test_is_read_as_it_was_written(self, tmp_path: Path) -> None:
        first = submission(Array("7", (("a", "b"), ("c",)), {"time": 3}))
        second = submission(Array("", (("d",),)), name="20260102T000000-bbbbbb")
        for one in (second, first):
            write(tmp_path, one)
        assert read(tmp_path) == [first, second]

    def test_names_are_their_own(self) -> None:
        assert begin("lab", "x").name != begin("lab", "x").name

    def test_nothing_was_submitted(self, tmp_path: Path) -> None:
        assert read(tmp_path) == []

    @pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"form": 1}', '{"form": 1, "arrays": 3}', '"x"'])
    def test_a_damaged_one_is_refused(self, tmp_path: Path, text: str) -> None:
        """Since its jobs are not known, submitting might do everything twice."""
        path = write(tmp_path, submission())
        path.write_text(text, encoding="utf-8")
        with pytest.raises(InputError, match="this is not a submission; remove it if its jobs have ended"):
            read(tmp_path)

    def test_a_newer_one_is_refused(self, tmp_path: Path) -> None:
        path = write(tmp_path, submission())
        path.write_text(json.dumps({**json.loads(path.read_text()), "form": 99}), encoding="utf-8")
        with pytest.raises(InputError, match="newer version"):
            read(tmp_path)

    def test_tasks(self) -> None:
        tasks = submission(Array("7", (("a", "b"), ("c",))), Array("8", (("d",),)), Array("", (("e",),))).tasks()
        assert list(tasks) == [("7_0", ("a", "b")), ("7_1", ("c",)), ("8", ("d",))]


class TestLostAnswers:
    """A job has its name before it has its id."""

    LOST = submission(Array("7", (("a",),)), Array("", (("b",), ("c",))), Array("", (("d",),)))

    def test_the_queue_knows_the_jobs_by_their_names(self) -> None:
        names = {job_name(self.LOST.name, number): job for number, job in ((0, "99"), (1, "8"), (2, "9"))}
        told = "".join(f"{job}|PENDING|{name}\n" for name, job in names.items() if job != "8")
        told += f"8_1|RUNNING|{job_name(self.LOST.name, 1)}\n"
        found = queued([self.LOST], ["a", "b", "c", "d"], cluster(told))
        assert found == Queued({"c": ("8_1", "RUNNING"), "d": ("9", "PENDING")}), "what was answered stays as it was"
        assert list(self.LOST.answered(names).tasks()) == [
            ("7", ("a",)), ("8_0", ("b",)), ("8_1", ("c",)), ("9", ("d",)),
        ]  # fmt: skip

    def test_what_never_got_there_waits_nowhere(self) -> None:
        assert queued([self.LOST], ["b"], cluster("8_0|PENDING|bench-another-1\n8|PENDING|\n")) == Queued()
        assert not self.LOST.is_answered
        assert [job for job, _ in self.LOST.tasks()] == ["7"]

    def test_a_queue_that_cannot_be_asked_may_have_them(self) -> None:
        assert queued([self.LOST], ["d"], Cluster(unreachable)).problem == "no controller"


class TestQueue:
    ONE = submission(Array("7", (("a", "b"), ("c",))), Array("8", (("d",),)))

    def test_what_it_no_longer_knows_has_ended(self) -> None:
        found = queued([self.ONE], ["a", "b", "c", "d"], cluster("7_1|RUNNING\n8|PENDING\n9|PENDING\n"))
        assert found == Queued({"c": ("7_1", "RUNNING"), "d": ("8", "PENDING")})

    def test_only_the_runs_that_are_asked_for(self) -> None:
        assert queued([self.ONE], ["a"], cluster("7_0|RUNNING\n8|PENDING\n")).jobs == {"a": ("7_0", "RUNNING")}

    def test_nobody_is_asked_for_nothing(self) -> None:
        assert queued([self.ONE], ["z"], Cluster(unreachable)) == Queued()
        assert queued([], ["a"], Cluster(unreachable)) == Queued()

    def test_that_cannot_be_asked(self) -> None:
        assert queued([self.ONE], ["a"], Cluster(unreachable)) == Queued({}, "no controller")

    def test_of_another_cluster(self) -> None:
        """A job id of one cluster says nothing in the queue of another one."""
        found = queued([self.ONE], ["a", "c"], cluster("7_1|RUNNING\n", name="here"))
        assert found.jobs == {}
        assert "jobs on lab cannot be seen from here" in found.problem

    def test_a_run_that_is_here_too_needs_no_other_cluster(self) -> None:
        here = Submission("20260102T000000-bbbbbb", "me", "here", "", (Array("7", (("a",), ("b",))),))
        assert queued([self.ONE, here], ["a"], cluster("7_0|PENDING\n", name="here")) == Queued(
            {"a": ("7_0", "PENDING")}
        )

    def test_everybody_who_submitted_is_asked_about(self) -> None:
        asked: list[str] = []

        def answer(command: Sequence[str]) -> str:
            asked.extend(command)
            return "ClusterName = lab\nMaxArraySize = 10\n" if command[0] == "scontrol" else "8|PENDING\n"

        theirs = submission(Array("8", (("a",),)), user="you", name="20260102T000000-bbbbbb")
        assert queued([self.ONE, theirs], ["a"], Cluster(answer)).jobs == {"a": ("8", "PENDING")}
        assert "--users=me,you" in asked

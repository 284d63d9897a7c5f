"""What SLURM's commands say, and what is made of it where they do not answer."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import pytest

from bench.launch.cluster import Cluster, Limits, Unreachable, call

CONFIG = "Configuration data as of now\nMaxArraySize            = 1001\nClusterName             = lab\n"


class Answers:
    """Says what it was given, by the command's name, and notes what it was asked."""

    def __init__(self, **said: str | None) -> None:
        self.said: dict[str, str | None] = {"scontrol": CONFIG, **said}
        self.asked: list[list[str]] = []

    def __call__(self, command: Sequence[str]) -> str:
        self.asked.append(list(command))
        answer = self.said.get(command[0], "")
        if answer is None:
            raise Unreachable(f"{command[0]} is out")
        return answer


@pytest.mark.parametrize(
    ("assoc", "submit"),
    [
        ("", None),
        ("|\n", None),
        ("100|\n", 100),
        ("|50\n", 50),
        ("100|50\n", 50),
        ("100|\n200|\n", 200),
        ("100|\n|\n", None),
        (None, None),
    ],
)
def test_limits(assoc: str | None, submit: int | None) -> None:
    assert Cluster(Answers(sacctmgr=assoc)).limits() == Limits("lab", 1001, submit)


def test_limits_of_an_account_and_a_quality_of_service() -> None:
    def answer(command: Sequence[str]) -> str:
        if command[0] == "scontrol":
            return CONFIG
        return "300|\n" if "account=mine" in command else "20\n" if "long" in command else "|\n"

    assert Cluster(answer).limits("mine").submit == 300
    assert Cluster(answer).limits("mine", "long").submit == 20
    assert Cluster(answer).limits("", "long").submit == 20


def test_no_controller() -> None:
    cluster = Cluster(Answers(scontrol=None, squeue=None))
    with pytest.raises(Unreachable, match="scontrol is out"):
        cluster.limits()
    with pytest.raises(Unreachable, match="squeue is out"):
        cluster.queue({"me"})
    with pytest.raises(Unreachable, match="MaxArraySize"):
        Cluster(Answers(scontrol="ClusterName = x\n")).limits()


def test_the_queue_is_asked_once() -> None:
    answers = Answers(squeue="12_0|PENDING|bench-a-0\n12_1|RUNNING|bench-a-0\n 15|COMPLETING|my | job\n\n")
    queue = Cluster(answers).queue({"you", "me"})
    assert queue.states == {"12_0": "PENDING", "12_1": "RUNNING", "15": "COMPLETING"}
    assert queue.names == {"bench-a-0": "12", "my | job": "15"}
    (command,) = answers.asked
    assert "--users=me,you" in command
    assert "--array" in command


def test_many_are_cancelled_in_several_commands() -> None:
    answers = Answers()
    jobs = [str(number) for number in range(450)]
    Cluster(answers).cancel(jobs)
    assert [job for _, *some in answers.asked for job in some] == jobs
    assert all(len(command) <= 201 for command in answers.asked)
    answers.asked.clear()
    Cluster(answers).cancel([])
    assert not answers.asked


class TestCommands:
    def test_what_is_printed(self) -> None:
        assert call([sys.executable, "-c", "print('a')"]) == "a\n"

    def test_missing(self) -> None:
        with pytest.raises(Unreachable, match="there is no no-such-command here"):
            call(["no-such-command", "x"])

    @pytest.mark.parametrize(
        ("code", "says"),
        [("import sys; sys.exit('one\\ntwo')", "two"), ("import sys; sys.exit(3)", "exit code 3")],
    )
    def test_failing(self, code: str, says: str) -> None:
        with pytest.raises(Unreachable, match=says) as refused:
            call([sys.executable, "-c", code])
        assert "\n" not in str(refused.value)

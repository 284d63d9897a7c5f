"""What a SLURM cluster says of itself, read with its own commands: its queue and its limits."""

from __future__ import annotations

import getpass
import re
import subprocess
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

from bench.process import last_line

Call = Callable[[Sequence[str]], str]
"""Runs a command and gives what it printed; raises ``Unreachable`` where it fails."""

_AT_ONCE = 200  # ids a scancel is given: a command line has an end


class Unreachable(Exception):
    """SLURM cannot be asked; the message says why, in one line."""


@dataclass(frozen=True)
class Queue:
    """The jobs in a queue: the state of each by its id (``12_0``), and the id without its task (``12``) by its name."""

    states: Mapping[str, str]
    names: Mapping[str, str]


@dataclass(frozen=True)
class Limits:
    """What a cluster allows: most tasks of an array, and most jobs of the user in the queue; None: nothing says."""

    name: str
    array: int
    submit: int | None = None


def call(command: Sequence[str]) -> str:
    """Run a command of SLURM's. Raises ``Unreachable`` where it is missing, fails or takes more than a minute."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    except FileNotFoundError:
        raise Unreachable(f"there is no {command[0]} here") from None
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Unreachable(f"{command[0]} does not answer ({type(error).__name__})") from None
    if done.returncode:
        line = last_line(done.stderr or f"exit code {done.returncode}")
        raise Unreachable(line if command[0] in line else f"{command[0]}: {line}")
    return done.stdout


class Cluster:
    """The cluster that SLURM's commands on this machine speak to."""

    def __init__(self, call: Call = call) -> None:
        self._call = call

    def name(self) -> str:
        """What the cluster is called. Raises ``Unreachable``."""
        return self._config().get("ClusterName", "")

    def limits(self, account: str = "", qos: str = "") -> Limits:
        """What this user may submit under an account and a quality of service. Raises ``Unreachable``."""
        config = self._config()
        name = config.get("ClusterName", "")
        most = self._association(account, name)
        for row in self._numbers(["show", "qos", qos, "format=MaxSubmitJobsPerUser"]) if qos else ():
            most += row
        # an array's last index is one less than MaxArraySize, and its first one is 0
        return Limits(name, int(config["MaxArraySize"]), min(most, default=None))

    def queue(self, users: Collection[str]) -> Queue:
        """The jobs of some users that have not ended. Raises ``Unreachable``."""
        whose = f"--users={','.join(sorted(users))}"
        text = self._call(["squeue", "--noheader", "--array", whose, "--format=%i|%T|%j"])
        rows = re.findall(r"^\s*([^|\s]+)\|([^|\s]+)\|?(.*?)\s*$", text, re.MULTILINE)
        states = {job: state for job, state, _ in rows}
        return Queue(states, {name: job.partition("_")[0] for job, _, name in rows if name})

    def cancel(self, jobs: Sequence[str]) -> None:
        """Cancel jobs. Raises ``Unreachable``."""
        for first in range(0, len(jobs), _AT_ONCE):
            self._call(["scancel", *jobs[first : first + _AT_ONCE]])

    def _config(self) -> Mapping[str, str]:
        text = self._call(["scontrol", "show", "config"])
        config = dict(re.findall(r"^(\w+)\s*=\s*(.*?)\s*$", text, re.MULTILINE))
        if not config.get("MaxArraySize", "").isdigit():
            raise Unreachable("scontrol show config does not say MaxArraySize")
        return config

    def _association(self, account: str, cluster: str) -> list[int]:
        """The limits of the user's association. Of several, one without a limit may be the one that is used."""
        where = [f"user={getpass.getuser()}", f"cluster={cluster}", *([f"account={account}"] if account else [])]
        rows = self._numbers(["show", "assoc", *where, "format=MaxSubmitJobs,GrpSubmitJobs"])
        if any(not row for row in rows):
            return []
        return [max(min(row) for row in rows)] if rows else []

    def _numbers(self, question: Sequence[str]) -> list[list[int]]:
        """The numbers in each line of what sacctmgr says; nothing where there is no accounting."""
        try:
            answer = self._call(["sacctmgr", "--noheader", "--parsable2", *question])
        except Unreachable:
            return []
        return [list(map(int, filter(str.isdigit, line.split("|")))) for line in answer.splitlines()]

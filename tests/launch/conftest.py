"""A cluster that only pretends: SLURM's commands as scripts that read and write files."""

from __future__ import annotations

import re
import stat
from dataclasses import dataclass
from pathlib import Path

import pytest

SCRIPTS = {
    "srun": "exit 0",
    "sbatch": """
if [ -e refuse ]; then cat refuse >&2; exit 1; fi
n=$(($(cat jobs) + 1)); echo $n > jobs
cp "$1" "$n.sh"
if [ -e allow ] && [ "$n" -ge "$(cat allow)" ]; then echo 'sbatch: error: no more jobs' > refuse; fi
echo "Submitted batch job $n"
""",
    "squeue": """
echo "$@" >> asked
if [ -e down ]; then echo 'slurm_load_jobs error: Unable to contact slurm controller' >&2; exit 1; fi
cat queue
""",
    "scontrol": """
if [ -e down ]; then echo 'slurm_load_ctl_conf error: Unable to contact slurm controller' >&2; exit 1; fi
cat config
""",
    "sacctmgr": """
case "$*" in *assoc*) cat assoc;; *qos*) cat qos;; esac
""",
    "scancel": 'for job in "$@"; do echo "$job" >> cancelled; done',
}


@dataclass(frozen=True)
class Fake:
    """The pretended cluster, known by its folder."""

    folder: Path

    def write(self, name: str, text: str) -> None:
        """What one of the commands is to say."""
        (self.folder / name).write_text(text, encoding="utf-8")

    def configure(self, **settings: object) -> None:
        """What ``scontrol show config`` says."""
        told = {"ClusterName": "fake", "MaxArraySize": 1001, **settings}
        self.write("config", "".join(f"{key:23} = {value}\n" for key, value in told.items()))

    @property
    def scripts(self) -> list[str]:
        """What was given to sbatch, in the order it came."""
        numbered = sorted(self.folder.glob("*.sh"), key=lambda path: int(path.stem))
        return [path.read_text(encoding="utf-8") for path in numbered]

    def lines(self, name: str) -> list[str]:
        """What a command has noted."""
        path = self.folder / name
        return path.read_text(encoding="utf-8").splitlines() if path.exists() else []

    def queue(self, *jobs: str, state: str = "PENDING") -> None:
        """What squeue says."""
        self.write("queue", "".join(f"{job}|{state}\n" for job in jobs))

    def named(self, array: str) -> str:
        """What squeue says of an array of two tasks that the last script asked for; gives the name of its jobs."""
        (name,) = re.findall(r"#SBATCH --job-name=(\S+)", self.scripts[-1])
        self.write("queue", "".join(f"{array}_{task}|PENDING|{name}\n" for task in range(2)))
        return str(name)


@pytest.fixture
def fake(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Fake:
    """SLURM's commands on the PATH."""
    folder = tmp_path_factory.mktemp("fake cluster")
    programs = folder / "bin"
    programs.mkdir()
    for name, script in SCRIPTS.items():
        path = programs / name
        path.write_text(f"#!/bin/sh\ncd '{folder}'\n{script}\n", encoding="utf-8")
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
    cluster = Fake(folder)
    cluster.configure()
    for name, text in (("jobs", "100\n"), ("queue", ""), ("assoc", "|\n"), ("qos", "\n")):
        cluster.write(name, text)
    monkeypatch.setenv("PATH", f"{programs}:/usr/bin:/bin")
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    return cluster

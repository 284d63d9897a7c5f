"""A launcher that a plug-in folder brings: one file, and every command asks it as it asks those of the suite."""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from bench.cli import main
from bench.launch import LocalExecutor
from bench.launch.launcher import Launch, Launcher, all_launchers, find_launcher
from bench.records.store import Store
from bench.registry import Registry

SMALL = ["--methods", "ce", "--rates", "15", "--seeds", "2"]
HERE = ["--launcher", "here", "--plugin", "mine"]

# runs are written into a file that stands for a queue; with --at-once they are trained, which is only pretended
LAUNCHER = '''
"""Launches into a file."""

import json

from bench.errors import InputError
from bench.launch import Submitted
from bench.launch.launcher import RESUBMIT, Cancelled, Launcher, Option, Queued


def colour(text):
    if text not in ("red", "blue"):
        raise ValueError("red or blue")
    return text


class File:
    def __init__(self, root, typed):
        self.root, self.typed = root, typed

    def execute(self, runs, job, report):
        self.root.mkdir(exist_ok=True)
        waiting = {"runs": [run.id for run in runs], "job": job.launcher, **self.typed}
        (self.root / "queue.json").write_text(json.dumps(waiting))
        return Submitted(len(runs), 1, (f"in {self.typed.get('colour', 'grey')}",))


class Here(Launcher):
    options = (
        Option("colour", "of the queue", "C", colour),
        Option("target", "a name that a command's own argument has too", "T"),
        Option("pack", "as SLURM's, of another kind"),
        RESUBMIT,
    )
    submits = True
    instead = {"jobs": "there is one queue"}

    def check(self, typed):
        if typed.get("colour") == "blue":
            raise InputError("--colour blue: there is no blue queue; take red")
        return 3

    def executor(self, launch):
        return File(launch.store.root, launch.typed)

    def queue(self, root, runs):
        if (root / "away").exists():
            return Queued(problem="it is away")
        return Queued({run: ("1", "PENDING") for run in self._waiting(root) if run in set(runs)})

    def cancel(self, root, runs):
        if not self._waiting(root):
            return None
        (root / "queue.json").unlink()
        return Cancelled(["1"])

    def logs(self, root, run):
        return {waiting: root / "log of the queue" for waiting in self._waiting(root) if waiting.startswith(run)}

    def _waiting(self, root):
        path = root / "queue.json"
        return json.loads(path.read_text())["runs"] if path.exists() else []
'''

# ends every run before it returns
AT_ONCE = '''
from bench.launch import Event
from bench.launch import LocalExecutor
from bench.launch.launcher import Launch, Launcher


class AtOnce(Launcher):
    """Pretends to train."""

    def executor(self, launch):
        self.store = launch.store
        return self

    def execute(self, runs, job, report):
        for run in runs:
            with self.store.draft() as draft:
                (draft / "log.txt").write_text("it went well")
                point = {"step": 8, "learning_rate": 0.0, "loss": {}, "val": None, "test": {"top1": 50.0}}
                self.store.publish(draft, run, {"status": "done", "curve": [point], "timing": {"seconds": 1.0}})
            report(Event(run.id, run.label, "done"))
'''


def call(*arguments: str) -> int:
    try:
        return main(list(arguments))
    except SystemExit as stop:
        return int(stop.code or 0)


@pytest.fixture
def mine(here: Path) -> Path:
    """A plug-in folder with one file."""
    path = here / "mine" / "launchers" / "here.py"
    path.parent.mkdir(parents=True)
    path.write_text(LAUNCHER, encoding="utf-8")
    return path


def waiting() -> dict[str, Any]:
    return dict(json.loads(Path("results/queue.json").read_text(encoding="utf-8")))


def run_ids() -> list[str]:
    with contextlib.redirect_stdout(io.StringIO()) as out:
        assert call("plan", "demo", *SMALL, "--format", "json") == 0
    return [run["id"] for run in json.loads(out.getvalue())["runs"]]


class TestOfAPlugin:
    def test_takes_runs_once(self, mine: Path, capsys: pytest.CaptureFixture[str]) -> None:
        assert call("run", "demo", *SMALL, *HERE, "--colour", "red", "--target", "x", "--pack") == 0
        out = capsys.readouterr().out
        assert "submitted 2 runs as 1 job\n  in red\n" in out
        assert waiting() == {"runs": run_ids(), "job": "here", "colour": "red", "target": "x", "pack": True}
        assert call("run", "demo", *SMALL, *HERE) == 0
        assert "2 runs are in jobs already, and nothing else is missing" in capsys.readouterr().out

    def test_is_asked_by_every_command(self, mine: Path, capsys: pytest.CaptureFixture[str]) -> None:
        call("run", "demo", *SMALL, *HERE)
        capsys.readouterr()
        assert call("status", "demo", *SMALL, "--plugin", "mine", "--format", "json") == 0
        assert json.loads(capsys.readouterr().out)["queued"] == 2
        Path("results/log of the queue").write_text("at it\n", encoding="utf-8")
        assert call("logs", run_ids()[0][:8], "--plugin", "mine") == 0
        assert capsys.readouterr().out == "at it\n"
        assert call("cancel", "demo", *SMALL, "--plugin", "mine") == 0
        assert "cancelled 1 job: 1" in capsys.readouterr().out
        assert call("cancel", "demo", *SMALL, "--plugin", "mine") == 0
        assert "this user has submitted nothing" in capsys.readouterr().out

    def test_whose_queue_is_out_of_reach(self, mine: Path, capsys: pytest.CaptureFixture[str]) -> None:
        call("run", "demo", *SMALL, *HERE)
        Path("results/away").touch()
        capsys.readouterr()
        assert call("run", "demo", *SMALL, *HERE) == 2
        assert "the queue cannot be asked (it is away)" in capsys.readouterr().err
        assert call("run", "demo", *SMALL, *HERE, "--resubmit", "--colour", "red") == 0
        assert waiting()["colour"] == "red"
        assert call("status", "demo", *SMALL, "--plugin", "mine") == 0
        assert "the queue cannot be asked (it is away)" in capsys.readouterr().out

    @pytest.mark.slow
    def test_that_ends_runs_at_once(self, mine: Path, capsys: pytest.CaptureFixture[str]) -> None:
        (mine.parent / "at_once.py").write_text(AT_ONCE, encoding="utf-8")
        assert call("run", "demo", *SMALL, "--launcher", "at_once", "--plugin", "mine") == 0
        assert "2 runs were trained now, 2 of 2 are done" in capsys.readouterr().out
        assert Store("results").finished().keys() == set(run_ids())

    def test_has_its_options_in_the_help(self, mine: Path, capsys: pytest.CaptureFixture[str]) -> None:
        assert call("run", *HERE, "--help") == 0
        out = capsys.readouterr().out
        assert "options of --launcher here:" in out
        assert "--colour C" in out
        assert call("run", "--help") == 0
        out = capsys.readouterr().out
        assert "--colour" not in out
        assert "--partition" in out

    @pytest.mark.parametrize(
        ("arguments", "says"),
        [
            (["--colour", "green"], "--colour: 'green' is not red or blue"),
            (["--colour", "blue"], "--colour blue: there is no blue queue; take red"),
            (["--jobs", "2"], "--jobs is for --launcher local; there is one queue"),
            (["--partition", "x"], "--partition is for --launcher slurm"),
            (
                ["--launcher", "her"],
                "no launcher is called 'her'; did you mean 'here'? (there are: here, local, slurm)",
            ),
            (["--launcher", "slurm", "--colour", "red"], "unrecognized arguments: --colour red"),
        ],
    )
    def test_refuses_in_one_line(
        self, mine: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], says: str
    ) -> None:
        assert call("run", "demo", *SMALL, *HERE, *arguments) == 2
        captured = capsys.readouterr()
        assert says in captured.err
        assert captured.err.count("\n") == 1
        assert not Path("results").exists()

    @pytest.mark.parametrize(
        ("text", "says"),
        [
            ("class Here:\n    pass\n", "here.py:1: 0 classes derive from Launcher; a launcher's file declares one"),
            (LAUNCHER + "\n\nclass Two(Here):\n    pass\n", "here.py:1: 2 classes derive from Launcher"),
            ("x = \n", "here.py:1: not valid Python"),
            ("import nothing_called_so\n", "here.py: cannot be loaded: ModuleNotFoundError: No module named"),
            ("import sys\nsys.exit(3)\n", "running the file ends the process: sys.exit(3)"),
            (LAUNCHER.replace('"colour"', '"seeds"'), "--seeds has a meaning for every launcher; name it otherwise"),
        ],
    )
    def test_that_is_none(self, mine: Path, capsys: pytest.CaptureFixture[str], text: str, says: str) -> None:
        mine.write_text(text, encoding="utf-8")
        assert call("run", "demo", *SMALL, *HERE) == 2
        captured = capsys.readouterr()
        assert says in captured.err
        assert captured.err.count("\n") == 1

    def test_with_a_name_that_is_taken(self, mine: Path, capsys: pytest.CaptureFixture[str]) -> None:
        mine.rename(mine.with_name("slurm.py"))
        assert call("status", "demo", "--plugin", "mine") == 2
        assert "two launchers are called 'slurm'" in capsys.readouterr().err


def test_the_one_of_the_page(mine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = (Path(__file__).parents[2] / "docs" / "running.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"```python\n(import os.*?)```", page, re.DOTALL)
    mine.with_name("quiet.py").write_text(example, encoding="utf-8")
    steps: list[int] = []
    monkeypatch.setattr(os, "nice", steps.append)
    executor = find_launcher("quiet", Registry(["mine"])).executor(Launch([], {"cores": 3}, {}, Store("results")))
    assert isinstance(executor, LocalExecutor)
    assert (executor.jobs, steps) == (3, [10])
    assert call("run", "demo", "--launcher", "quiet", "--plugin", "mine", "--cores", "0") == 2


def test_those_of_the_suite_are_found_without_what_they_need(here: Path) -> None:
    code = (
        "import sys; from bench.cli import main; import bench\n"
        "from bench.launch.launcher import all_launchers\n"
        "assert [launcher.submits for launcher in all_launchers(bench.Registry())] == [False, True]\n"
        "main(['status', 'demo'])\n"
        "assert not {'torch', 'submitit', 'pandas', 'scipy'} & set(sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_every_option_has_help_and_says_what_it_expects() -> None:
    for launcher in all_launchers(Registry()):
        assert isinstance(launcher, Launcher)
        assert all(option.about for option in launcher.options)
        assert len({option.key for option in launcher.options}) == len(launcher.options)

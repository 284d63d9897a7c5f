"""The front process of a machine beside workers that only pretend to train, and how many of them there are."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from bench.errors import InputError
from bench.launch import Event, Job, LocalExecutor, starts
from bench.launch import run as launch
from bench.launch.local import default_jobs
from bench.launchers.local import Local
from bench.records.standing import Standing
from bench.records.store import Store
from tests.launch.runs import spec
from tests.scenes import as_plain


def test_runs_that_several_gpus_share_are_fewer_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1,2,3,4")
    assert [default_jobs(ranks) for ranks in (1, 2, 5)] == [5, 2, 1]


def test_a_run_has_no_more_gpus_than_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    with pytest.raises(InputError, match="--gpus-per-run 3: only 2 can be used here"):
        Local().check({"gpus_per_run": 3})
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")  # processes may share the cores
    assert Local().check({"gpus_per_run": 3}) == 3


def stand_in(monkeypatch: pytest.MonkeyPatch, folder: Path, code: str) -> None:
    """A script in the place of the interpreter that workers are started with."""
    folder.mkdir(parents=True, exist_ok=True)
    script = folder / "python"
    head = "import json, os, sys, time\ndef say(**told): print(json.dumps(told), flush=True)\n"
    done = "DONE = {'status': 'done', 'message': '', 'seconds': 1.0, 'score': '50.0 %'}\n"
    script.write_text(f"#!{sys.executable}\n{head}{done}{code}\n", encoding="utf-8")
    script.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(script))


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """No worker is waited for that was killed."""
    monkeypatch.setattr(starts, "PAUSES", (0.01, 0.01, 0.01))


class TestExecutor:
    """The front process beside workers that only pretend to train."""

    @pytest.mark.parametrize(
        ("code", "says"),
        [
            ("sys.exit('no module named torch')", "no module named torch"),
            ("sys.exit(3)", "exit code 3: no message"),
            ("os.kill(os.getpid(), 9)", r"killed by signal 9 \(SIGKILL\): no message"),
            ("print('bad luck', file=sys.stderr); os.kill(os.getpid(), 11)", "SIGSEGV.: bad luck"),
        ],
    )
    def test_workers_that_cannot_start(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: str, says: str
    ) -> None:
        """One reason for all runs is one message, not a failure of every run."""
        stand_in(monkeypatch, tmp_path / "bin", code)
        results = tmp_path / "results"
        with pytest.raises(InputError, match=f"workers cannot start: .*{says}"):
            launch([spec(seed) for seed in range(5)], Job(results), LocalExecutor(2))
        assert Store(results).failures() == {}
        assert not list((results / "drafts").iterdir())

    def test_where_runs_stand_is_told_as_workers_say_it(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        code = """
say(ready=True)
for line in sys.stdin:
    say(**{**DONE, 'status': 'training', 'standing': {'step': 3, 'of': 8, 'loss': None, 'phase': 'evaluating'}})
    say(**DONE)
"""
        stand_in(monkeypatch, tmp_path / "bin", code)
        heard: list[Event] = []
        launch([spec(0)], Job(tmp_path / "results"), LocalExecutor(1), heard.append)
        assert [event.status for event in heard] == ["training", "done"]
        assert [event.standing for event in heard] == [Standing(step=3, of=8, phase="evaluating"), None]

    def test_through_the_command_line(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        from bench.cli import main

        stand_in(monkeypatch, tmp_path / "bin", "sys.exit('no module named torch')")
        assert main(["run", "demo", "--jobs", "2", "--results", str(tmp_path / "results")]) == 2
        captured = capsys.readouterr()
        assert captured.err.splitlines() == [
            "demo: 72 runs: 72 to train",
            "  6 methods × 1 backbone × 1 dataset × 4 rates × 3 seeds",
            "starting workers: 2 runs at a time",
            "bench: workers cannot start: no module named torch",
        ]
        assert captured.out == ""
        assert not (tmp_path / "results" / "failed").exists()

    def test_each_run_is_told_once(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        stand_in(monkeypatch, tmp_path / "bin", "say(ready=True)\nfor line in sys.stdin: say(**DONE)")
        events: list[Event] = []
        runs = [spec(seed) for seed in range(20)]
        todo = launch([*runs, *runs], Job(tmp_path / "results"), LocalExecutor(3), events.append)
        assert todo == runs
        assert sorted(event.run_id for event in events) == sorted(run.id for run in runs)
        assert {event.status for event in events} == {"done"}

    def test_no_more_workers_than_runs(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        count = tmp_path / "count"
        code = f"open({str(count)!r}, 'a').write('x')\nsay(ready=True)\nfor line in sys.stdin: say(**DONE)"
        stand_in(monkeypatch, tmp_path / "bin", code)
        launch([spec(0), spec(1)], Job(tmp_path / "results"), LocalExecutor(16))
        assert count.read_text() in ("x", "xx"), "the second is not needed where the first is quick"

    def test_a_worker_that_dies_is_replaced(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        code = """
say(ready=True)
for line in sys.stdin:
    if json.loads(line)["seed"] % 3 == 0:
        print("the reason", file=sys.stderr, flush=True)
        os.kill(os.getpid(), 9)
    say(**DONE)
"""
        stand_in(monkeypatch, tmp_path / "bin", code)
        events: list[Event] = []
        launch([spec(seed) for seed in range(7)], Job(tmp_path / "results"), LocalExecutor(2), events.append)
        assert sorted((event.run_id, event.status) for event in events) == sorted(
            (spec(seed).id, "done" if seed % 3 else "failed") for seed in range(7)
        )
        failures = {run: as_plain(stored) for run, stored in Store(tmp_path / "results").failures().items()}
        assert set(failures) == {spec(seed).id for seed in (0, 3, 6)}
        for failure in failures.values():
            assert "killed by signal 9 (SIGKILL)" in failure["error"]["message"]
            assert (Path(failure["folder"]) / "log.txt").read_text(encoding="utf-8") == "the reason\n"
        assert not list((tmp_path / "results" / "drafts").iterdir())

    def test_a_worker_that_dies_with_nothing_to_do_harms_nothing(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """One has answered its last run and is killed while the other still trains."""
        code = f"""
begun = {str(tmp_path / "begun")!r}
def ended(pid):  # it may wait to be reaped
    try: return open(f'/proc/{{pid}}/stat').read().rpartition(')')[2].split()[0] == 'Z'
    except OSError: return True
say(ready=True)
for line in sys.stdin:
    if json.loads(line)["seed"] == 0:
        while not os.path.exists(begun): time.sleep(0.01)
        say(**DONE)
        open(begun, "w").write(str(os.getpid()))
        sys.exit(0)
    open(begun, "x").close()
    while not ((other := open(begun).read()) and ended(other)): time.sleep(0.01)
    say(**DONE)
"""
        stand_in(monkeypatch, tmp_path / "bin", code)
        events: list[Event] = []
        launch([spec(0), spec(1)], Job(tmp_path / "results"), LocalExecutor(2), events.append)
        assert {(event.run_id, event.status) for event in events} == {(spec(0).id, "done"), (spec(1).id, "done")}
        assert Store(tmp_path / "results").failures() == {}

    def test_a_job_with_odd_names_reaches_the_worker(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        results = tmp_path / "résultats 漢 'x'"
        code = (
            "given = json.loads(sys.argv[-1])\nsay(ready=True)\nfor line in sys.stdin:\n"
            "    open(given['results'] + '/given.json', 'w').write(sys.argv[-1])\n    say(**DONE)"
        )
        stand_in(monkeypatch, tmp_path / "bin", code)
        job = Job(results, (tmp_path / "my plugin é.py",), 'bench run "demo"')
        launch([spec(0)], job, LocalExecutor(1))
        given = json.loads((results / "given.json").read_text(encoding="utf-8"))
        assert given["plugins"] == [str(tmp_path / "my plugin é.py")]
        assert given["command"] == 'bench run "demo"'

    def test_one_core_a_worker(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        results = tmp_path / "results"
        code = (
            "say(ready=True)\nfor line in sys.stdin:\n"
            f"    json.dump(dict(os.environ), open({str(tmp_path / 'env.json')!r}, 'w'))\n    say(**DONE)"
        )
        stand_in(monkeypatch, tmp_path / "bin", code)
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,5")
        launch([spec(0)], Job(results), LocalExecutor(1))
        environment = json.loads((tmp_path / "env.json").read_text(encoding="utf-8"))
        assert environment["OMP_NUM_THREADS"] == environment["MKL_NUM_THREADS"] == "1"
        assert environment["CUDA_VISIBLE_DEVICES"] == "3"

    def test_one_that_says_that_it_is_the_last_is_replaced(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """As where a fault in a kernel has left it without its GPU: no later run may fail for that."""
        code = f"say(ready=True)\nopen({str(tmp_path / 'started')!r}, 'a').write('x')\n"
        code += "sys.stdin.readline()\nsay(**dict(DONE, status='failed', ends=True))\nsys.stdin.readline()"
        stand_in(monkeypatch, tmp_path / "bin", code)
        events: list[Event] = []
        launch([spec(0), spec(1), spec(2)], Job(tmp_path / "results"), LocalExecutor(1), events.append)
        assert [event.status for event in events] == ["failed"] * 3
        assert (tmp_path / "started").read_text() == "xxx"

    def test_what_is_done_or_failed_is_not_trained_again(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        stand_in(monkeypatch, tmp_path / "bin", "say(ready=True)\nfor line in sys.stdin: say(**DONE)")
        store = Store(tmp_path / "results")
        with store.draft() as draft:
            point = {"step": 8, "val": None, "test": {"top1": 50.0}}
            store.publish(draft, spec(0), {"status": "done", "curve": [point], "timing": {"seconds": 1.0}})
        with store.draft() as draft:
            store.publish_failure(draft, spec(1), {"status": "failed", "error": {"kind": "E", "message": "m"}})
        runs, job = [spec(seed) for seed in range(3)], Job(tmp_path / "results")
        assert launch(runs, job, LocalExecutor(1)) == [spec(2)]
        assert launch(runs, job, LocalExecutor(1), retry=True) == [spec(1), spec(2)]
        assert launch([spec(0)], job, LocalExecutor(1)) == []


class TestStarts:
    """Workers that end before they are ready."""

    def crowd(self, folder: Path, monkeypatch: pytest.MonkeyPatch, failing: str, code: str) -> None:
        """Workers that count themselves in a folder, of which those of some numbers, from 1, end at their start."""
        numbered = f"""
import pathlib
folder = pathlib.Path({str(folder / "workers")!r})
folder.mkdir(exist_ok=True)
number = next(n for n in range(1, 99) if not (folder / str(n)).exists() and not (folder / str(n)).mkdir())
if number in {failing}:
    {code}
say(ready=True)
for line in sys.stdin: say(**DONE)
"""
        stand_in(monkeypatch, folder / "bin", numbered)

    @pytest.mark.parametrize(
        ("code", "cause"),
        [
            ("os.kill(os.getpid(), 9)", "was killed by signal 9 (SIGKILL) at its start"),
            ("sys.exit('too many files')", "ended at its start, exit code 1: too many files"),
        ],
    )
    def test_one_that_dies_at_its_start_is_replaced_and_told(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], code: str, cause: str
    ) -> None:
        """The second dies when the first is ready, and the one in its place too."""
        ready = f"while not os.path.exists({str(tmp_path / 'ready')!r}): time.sleep(0.01)\n    {code}"
        self.crowd(tmp_path, monkeypatch, "(2, 3)", ready)
        script = tmp_path / "bin" / "python"
        first = f"say(ready=True)\nif number == 1: open({str(tmp_path / 'ready')!r}, 'w').close()"
        waits = "\n    while number == 1 and not (folder / '4').exists(): time.sleep(0.01)\n    say(**DONE)"
        text = script.read_text(encoding="utf-8").replace("say(ready=True)", first)
        script.write_text(text.replace("for line in sys.stdin: say(**DONE)", f"for line in sys.stdin:{waits}"))
        events: list[Event] = []
        runs = [spec(seed) for seed in range(4)]
        launch(runs, Job(tmp_path / "results"), LocalExecutor(2), events.append)
        assert {event.run_id: event.status for event in events} == dict.fromkeys((run.id for run in runs), "done")
        assert Store(tmp_path / "results").failures() == {}
        told = capsys.readouterr().err.splitlines()
        assert told == [f"a worker {cause}; started again"] * 2

    def test_all_that_are_killed_are_one_message(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        self.crowd(tmp_path, monkeypatch, "range(99)", "os.kill(os.getpid(), 9)")
        with pytest.raises(InputError, match=r"workers cannot start: killed by signal 9 \(SIGKILL\): no message"):
            launch([spec(seed) for seed in range(5)], Job(tmp_path / "results"), LocalExecutor(2))
        assert len(list((tmp_path / "workers").iterdir())) == 5, "two, and three more tries"
        told = capsys.readouterr().err.splitlines()
        assert len(told) == 5
        assert told[-1].endswith("not started again after 3 more tries")

    def test_those_that_live_go_on_without_one_that_cannot_start(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """The first trains until the last try has failed."""
        self.crowd(tmp_path, monkeypatch, "range(2, 99)", "os.kill(os.getpid(), 9)")
        script = tmp_path / "bin" / "python"
        waits = "for line in sys.stdin:\n    while not (folder / '5').exists(): time.sleep(0.01)\n    say(**DONE)"
        text = script.read_text(encoding="utf-8").replace("for line in sys.stdin: say(**DONE)", waits)
        script.write_text(text, encoding="utf-8")
        events: list[Event] = []
        launch([spec(seed) for seed in range(3)], Job(tmp_path / "results"), LocalExecutor(2), events.append)
        assert [event.status for event in events] == ["done"] * 3
        assert "killed by signal 9" in capsys.readouterr().err

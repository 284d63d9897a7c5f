"""Several runs on one GPU: how many go at a time, what decides it, and what becomes of one that is crowded out."""

from __future__ import annotations

import json
import queue
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from bench.cli import main
from bench.device import neighbours
from bench.errors import InputError
from bench.launch import Event, Job, LocalExecutor, local
from bench.launch import run as launch
from bench.launch.failures import Failure
from bench.launch.launcher import Launch
from bench.launch.sharing import CONTEXT, HOST, Peak, Placement, Sharing, kind_of, peaks_of
from bench.launch.worker import _is_crowded, work
from bench.launchers.local import Local
from bench.plan.overrides import Overrides
from bench.plan.target import read_plan
from bench.records.environment import provenance
from bench.records.record import Usage
from bench.records.store import Store, folder_name
from bench.registry import Registry
from bench.spec import RunSpec
from tests.launch.runs import spec
from tests.launch.test_local import stand_in

GB = 1e9
SMALL, LARGE = spec(0), spec(0, "vit_tiny")
PEAKS = {kind_of(SMALL): Peak(2 * GB), kind_of(LARGE): Peak(30 * GB)}


def runs_of(kind: RunSpec, count: int) -> list[RunSpec]:
    return [spec(seed, kind.backbone.name) for seed in range(count)]


class TestPlacement:
    def placed(self, free: float = 40 * GB, **sharing: Any) -> Placement:
        placement = Placement(Sharing(**{"by_memory": True, "peaks": PEAKS, **sharing}))
        placement.measure("0", free)
        return placement

    def test_as_many_as_its_memory_holds(self) -> None:
        """Nine tenths of 40 GB are 36: twelve of 2 GB and the contexts of eleven more processes take 35."""
        assert CONTEXT == GB
        assert self.placed().room("0", runs_of(SMALL, 50)) == 12
        assert self.placed().room("0", [LARGE, *runs_of(SMALL, 9)]) == 1 + 2
        assert self.placed().room("0", runs_of(LARGE, 9)) == 1

    def test_beside_those_in_training(self) -> None:
        placement = self.placed()
        placement.begin("0", LARGE)
        assert placement.room("0", runs_of(SMALL, 50)) == 2
        placement.end("0", LARGE)
        assert placement.room("0", runs_of(SMALL, 50)) == 12

    def test_an_unknown_kind_is_alone_until_it_is_measured(self) -> None:
        placement, unknown = self.placed(), runs_of(spec(0, "new"), 5)
        assert placement.room("0", unknown) == 1
        placement.begin("0", unknown[0])
        assert placement.room("0", [SMALL]) == 0
        placement.end("0", unknown[0])
        placement.begin("0", SMALL)
        assert placement.room("0", unknown) == 0
        placement.end("0", SMALL)
        placement.learn(unknown[0], Peak(5 * GB))
        assert placement.room("0", unknown) == 5

    def test_the_memory_of_the_machine_bounds_it_too(self) -> None:
        assert self.placed(host=5 * HOST).room("0", runs_of(SMALL, 50)) == 5
        placement = self.placed(host=5 * HOST)
        placement.begin("1", LARGE)
        assert placement.room("0", runs_of(SMALL, 50)) == 4

    def test_a_gpu_whose_memory_is_not_known_has_one(self) -> None:
        assert self.placed().room("1", runs_of(SMALL, 50)) == 1

    def test_by_count_each_worker_has_one(self) -> None:
        placement = Placement(Sharing())
        assert placement.room("0", runs_of(SMALL, 50)) == 50

    def test_one_that_was_crowded_out_is_alone_and_then_memory_decides(self) -> None:
        placement = self.placed(by_memory=False, peaks={kind_of(LARGE): Peak(30 * GB)})
        first, second = runs_of(SMALL, 2)
        assert [placement.begin("0", each) for each in (first, second)] == [1, 2]
        placement.end("0", second)
        placement.crowd(second)
        assert placement.room("0", [second]) == 0
        placement.end("0", first)
        placement.begin("0", second)
        assert placement.room("0", [first]) == 0
        placement.end("0", second)
        placement.learn(second, Peak(10 * GB))
        assert placement.room("0", runs_of(SMALL, 9)[2:]) == 3

    def test_those_that_measure_come_first(self) -> None:
        small, new = runs_of(SMALL, 2), runs_of(spec(0, "new"), 2)
        sharing = Sharing(by_memory=True, peaks=PEAKS)
        assert sharing.ordered([*small, *new]) == [new[0], *small, new[1]]
        assert Sharing().ordered([*small, *new]) == [*small, *new]


class TestPeaks:
    def store(self, root: Path, run: RunSpec, parts: int = 1, **usage: Any) -> Store:
        store = Store(root)
        with store.draft() as draft:
            point = {"step": 8, "val": None, "test": {"top1": 50.0}}
            took = {"parts": 1, "seconds": 1.0, "cpu_seconds": 1.0, **usage}
            facts = {"curve": [point], "timing": {"seconds": 1.0}, "usage": took, "parts": parts}
            store.publish(draft, run, {"status": "done", **facts})
        return store

    def test_of_finished_runs_of_the_kind_the_highest_counts(self, tmp_path: Path) -> None:
        for seed, held in ((0, 3e9), (1, 4e9)):
            store = self.store(tmp_path, spec(seed), gpu_reserved_bytes=int(held), memory_bytes=int(5e9))
        self.store(tmp_path, LARGE, gpu_reserved_bytes=int(9e9))
        longer = replace(spec(7), protocol=replace(SMALL.protocol, recipe=replace(SMALL.protocol.recipe, steps=99)))
        assert peaks_of(store, [longer]) == {kind_of(SMALL): Peak(4e9, 5e9)}
        larger = replace(spec(7), protocol=replace(SMALL.protocol, batch_size=999))
        assert peaks_of(store, [larger]) == {}

    def test_what_says_nothing_of_a_whole_batch_does_not_count(self, tmp_path: Path) -> None:
        self.store(tmp_path, spec(0), memory_bytes=1000)
        store = self.store(tmp_path, spec(1), parts=2, gpu_reserved_bytes=1000)
        assert peaks_of(store, [SMALL]) == {}
        assert Usage(1, 1.0, 1.0).gpu_reserved_bytes is None


class TestOption:
    @pytest.mark.parametrize("text", ["0", "-1", "many", "1.5", "", "AUTO"])
    def test_nonsense_is_refused(self, text: str) -> None:
        (option,) = (option for option in Local.options if option.key == "runs_per_gpu")
        with pytest.raises(InputError, match=r"--runs-per-gpu: .* is not a whole number of 1 or more, or auto"):
            option.value(text)

    @pytest.mark.parametrize(
        ("visible", "typed", "says"),
        [
            ("", {"runs_per_gpu": 2}, "--runs-per-gpu 2: no GPU can be used here; --jobs says"),
            ("", {"runs_per_gpu": "auto"}, "--runs-per-gpu auto: no GPU can be used here"),
            ("0,1", {"runs_per_gpu": 2, "gpus_per_run": 2}, "with --gpus-per-run 2 a run has its GPUs alone"),
            ("0", {"mps": True}, "--mps is for runs that share a GPU"),
            ("0", {"mps": True, "runs_per_gpu": 1}, "--mps is for runs that share a GPU"),
        ],
    )
    def test_what_does_not_go_together(
        self, visible: str, typed: dict[str, Any], says: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
        with pytest.raises(InputError, match=says):
            Local().check(typed)

    @pytest.mark.parametrize(
        ("typed", "jobs"), [({"runs_per_gpu": 3}, 6), ({"runs_per_gpu": 3, "jobs": 4}, 4), ({"jobs": 4}, 4), ({}, 2)]
    )
    def test_runs_at_a_time(
        self, typed: dict[str, Any], jobs: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
        executor = Local().executor(Launch([SMALL], typed, {}, Store(tmp_path)))
        assert isinstance(executor, LocalExecutor)
        assert (executor.jobs, executor.sharing) == (jobs, Sharing())

    def test_auto_has_no_more_than_a_worker_a_core(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
        monkeypatch.setattr("bench.launchers.local.usable_cores", lambda: 5)
        executor = Local().executor(Launch([SMALL], {"runs_per_gpu": "auto"}, {}, Store(tmp_path)))
        assert isinstance(executor, LocalExecutor)
        assert (executor.jobs, executor.sharing.by_memory) == (5, True)


NOTES = """
import pathlib
notes = pathlib.Path({notes!r})
notes.mkdir(exist_ok=True)
def note(**what):
    with open(notes / f"{{os.getpid()}}.json", "a") as file:
        file.write(json.dumps(dict(what, at=time.monotonic())) + chr(10))
def begun():
    return sum(path.read_text().count("begins") for path in notes.glob("*.json"))
def until(count):
    last = time.monotonic() + 60
    while begun() < count and time.monotonic() < last: time.sleep(0.02)
say(ready=True, free={free})
sharing = 1
for line in sys.stdin:
    message = json.loads(line)
    if "sharing" in message:
        sharing = message["sharing"] if message["begins"] else max(sharing, message["sharing"])
        continue
    seed = message["seed"]
    note(begins=seed, gpu=os.environ["CUDA_VISIBLE_DEVICES"], sharing=sharing)
    {does}
    note(ends=seed)
    say(**DONE, peak={peak})
"""


class TestWorkers:
    """The front process beside workers that only pretend to train, and note when each run begins and ends."""

    @pytest.fixture
    def trained(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
        def train(
            runs: list[RunSpec], executor: LocalExecutor, does: str, gpus: str = "0", peak: float = 2 * GB
        ) -> tuple[list[dict[str, Any]], list[Event]]:
            notes = tmp_path / "notes"
            code = NOTES.format(notes=str(notes), free=int(40 * GB), peak=[peak, HOST], does=does)
            stand_in(monkeypatch, tmp_path / "bin", code)
            monkeypatch.setenv("CUDA_VISIBLE_DEVICES", gpus)
            events: list[Event] = []
            launch(runs, Job(tmp_path / "results"), executor, events.append)
            lines = [line for file in notes.glob("*.json") for line in file.read_text().splitlines()]
            return sorted(map(json.loads, lines), key=lambda note: float(note["at"])), events

        return train

    def at_a_time(self, notes: list[dict[str, Any]]) -> list[int]:
        """How many were in training whenever one began."""
        count, counts = 0, []
        for note in notes:
            count += 1 if "begins" in note else -1
            counts += [count] if "begins" in note else []
        return counts

    def test_so_many_share_each_gpu(self, trained: Any) -> None:
        does = "if seed < 4: until(4)"
        notes, events = trained(runs_of(SMALL, 12), LocalExecutor(4), does, gpus="3,5")
        assert sorted(event.run_id for event in events) == sorted(run.id for run in runs_of(SMALL, 12))
        assert max(self.at_a_time(notes)) == 4
        for gpu in ("3", "5"):
            own = [note["begins"] for note in notes if note.get("gpu") == gpu]
            assert max(self.at_a_time([note for note in notes if note.get("begins", note.get("ends")) in own])) == 2
        assert {note["sharing"] for note in notes if "begins" in note} == {1, 2}

    def test_of_many_that_wait_only_as_many_are_looked_at_as_are_begun(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Each is held against all before it: of ten thousand that took a minute a worker, before any was started."""
        placement, looked, workers = Placement(Sharing()), list[RunSpec](), list[Any]()

        def fits(gpu: str, beside: list[RunSpec], run: RunSpec) -> bool:
            looked.append(run)
            return True

        monkeypatch.setattr(placement, "_fits", fits)
        monkeypatch.setattr(local, "_Worker", lambda number, *more: SimpleNamespace(number=number, place="0", run=None))
        seats = local._Seats(["0"] * 4, Job(tmp_path, shares_gpu=True), placement, {})
        seats.fill(workers, runs_of(SMALL, 500), queue.Queue())
        assert [worker.number for worker in workers] == [0, 1, 2, 3]
        assert len(looked) == 1 + 2 + 3 + 4

    def test_by_memory_the_first_of_a_kind_is_alone(self, trained: Any) -> None:
        """Of 10 GB each, three are in 36."""
        executor = LocalExecutor(16, Sharing(by_memory=True))
        notes, _ = trained(runs_of(SMALL, 7), executor, "if seed in (1, 2, 3): until(4)", peak=10 * GB)
        counts = self.at_a_time(notes)
        assert counts[:2] == [1, 1]
        assert max(counts) == 3

    def test_by_memory_with_a_known_peak_nobody_is_alone(self, trained: Any) -> None:
        sharing = Sharing(by_memory=True, peaks={kind_of(SMALL): Peak(17 * GB)})
        does = "if seed < 2: until(2)"
        notes, _ = trained(runs_of(SMALL, 4), LocalExecutor(16, sharing), does, peak=17 * GB)
        assert self.at_a_time(notes)[:2] == [1, 2]
        assert max(self.at_a_time(notes)) == 2

    @pytest.mark.parametrize(
        "ending", ["say(**dict(DONE, status='crowded', message='no memory')); continue", "os.kill(os.getpid(), 9)"]
    )
    def test_one_that_is_crowded_out_is_trained_alone(self, trained: Any, tmp_path: Path, ending: str) -> None:
        """It has not failed, whether its worker says it or is killed; and what it needs is known from then on."""
        does = f"""if seed < 3 and not (notes / "crowded").exists(): until(3)
    if seed == 1 and sharing > 1:
        (notes / "crowded").touch()
        note(ends=1)
        {ending}"""
        notes, events = trained(runs_of(SMALL, 5), LocalExecutor(3), does, peak=10 * GB)
        assert [event.status for event in events if event.run_id == spec(1).id] == ["crowded", "done"]
        assert sorted(event.run_id for event in events if event.status == "done") == sorted(
            run.id for run in runs_of(SMALL, 5)
        )
        last = max(number for number, note in enumerate(notes) if note.get("begins") == 1)
        assert notes[last]["sharing"] == 1
        assert notes[last + 1].get("ends") == 1, "nobody begins beside it"
        assert Store(tmp_path / "results").failures() == {}


class TestNeighbours:
    @pytest.fixture(autouse=True)
    def _alone(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(neighbours, "_MOST", [1])

    def test_the_most_of_a_run_count(self) -> None:
        assert neighbours.note('{"sharing": 2, "begins": true}\n')
        assert neighbours.note('{"sharing": 4, "begins": false}\n')
        assert neighbours.note('{"sharing": 3, "begins": false}\n')
        assert neighbours.most() == 4
        assert neighbours.note('{"sharing": 1, "begins": true}\n')
        assert neighbours.most() == 1
        assert not neighbours.note('{"method": {"sharing": 1}}\n')

    def test_short_memory_is_theirs_and_nothing_else(self) -> None:
        memory, code = Failure("CUDA out of memory", "oom"), Failure("KeyError: 'x'")
        assert not _is_crowded(memory)
        neighbours.note('{"sharing": 2, "begins": true}\n')
        assert _is_crowded(memory)
        assert not _is_crowded(code)

    @pytest.mark.slow
    def test_nothing_is_recorded_of_a_run_that_is_crowded_out(self, tmp_path: Path) -> None:
        """Nor is it divided into parts; alone it ends with the bits of a run that had its GPU."""
        path = tmp_path / "mine.py"
        path.write_text(METHOD, encoding="utf-8")
        settings = ("steps=6", "warmup=1", "evaluations=2", "batch_size=8")
        overrides = Overrides(methods="mine", rates="15", seeds="1", settings=settings)
        (run,) = read_plan("demo", Registry((path,)), overrides).unique.values()
        jobs = [Job(tmp_path / name, (path,)) for name in ("crowded", "alone")]
        neighbours.note('{"sharing": 2, "begins": true}\n')
        answer = work(run, jobs[0])
        assert (answer["status"], answer["message"]) == ("crowded", "OutOfMemoryError: CUDA out of memory")
        store = Store(jobs[0].results)
        assert (store.finished(), store.failures(), store.attempts()) == ({}, {}, {})
        assert not [*store.root.glob("claims/*"), *store.root.glob("drafts/*"), *store.root.glob("progress/*")]
        neighbours.note('{"sharing": 1, "begins": true}\n')
        assert [work(run, job)["status"] for job in jobs] == ["done", "done"]
        (again, _), (alone, _) = (next(Store(job.results).records([folder_name(run)])) for job in jobs)
        assert (again.parts, again.curve[-1].test) == (1, alone.curve[-1].test)
        assert "gpu_sharing" not in again.environment.facts

    def test_a_record_says_how_many_were_on_its_gpu(self, monkeypatch: pytest.MonkeyPatch) -> None:
        assert "gpu_sharing" not in provenance("0123456789ab", "bench run", "results")["environment"]
        told = provenance("0123456789ab", "bench run", "results", on_gpu=4)["environment"]
        assert told["gpu_sharing"] == {"runs": 4, "mps": False}
        monkeypatch.setenv("CUDA_MPS_PIPE_DIRECTORY", "/tmp/x")
        assert provenance("0123456789ab", "bench run", "results", on_gpu=4)["environment"]["gpu_sharing"]["mps"]


METHOD = """
from dataclasses import dataclass

import torch

from bench.device import neighbours
from bench.method import Method


@dataclass(frozen=True)
class Mine(Method):
    '''Plain fine-tuning that needs more memory in its second half.'''

    paper = "a test"
    per_image = True

    def loss(self, model, batch):
        if batch.progress > 0.5 and neighbours.most() > 1:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return {"ce": batch.cross_entropy(model(batch.images))}
"""


@pytest.mark.slow
def test_real_workers_on_one_gpu_give_the_bits_of_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is a GPU by name alone: the core trains, and it is noted who was beside whom."""
    overrides = Overrides(methods="ce", rates="15", seeds="2", settings=("steps=8", "warmup=2", "evaluations=1"))
    runs = list(read_plan("demo", Registry(), overrides).unique.values())
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    scores = []
    for jobs in (1, 2):
        job = Job(tmp_path / str(jobs))
        launch(runs, job, LocalExecutor(jobs))
        records = [record for record, _ in Store(job.results).records(map(folder_name, runs))]
        assert len(records) == 2
        scores.append([(record.curve[-1].test, record.curve[-1].loss) for record in records])
        shared = [record.environment.facts.get("gpu_sharing", {}).get("runs", 1) for record in records]
        assert max(shared) <= jobs
    assert scores[0] == scores[1]


@pytest.mark.parametrize("value", ["0", "-1", "two"])
def test_nonsense_that_is_typed_ends_the_command(
    value: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    results = tmp_path / "results"
    assert main(["run", "demo", f"--runs-per-gpu={value}", "--results", str(results)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line == f"bench: --runs-per-gpu: '{value}' is not a whole number of 1 or more, or auto"
    assert not results.exists()


def test_it_is_in_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["run", "--help"])
    shown = capsys.readouterr().out
    assert "--runs-per-gpu N|auto" in shown
    assert "--mps" in shown

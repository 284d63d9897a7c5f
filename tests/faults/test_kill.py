"""Killed at any moment and started again: no record is lost, doubled or torn, and the table is what it would have been.

More than 200 processes are killed here: at every operation on a file, and at random moments.
"""

from __future__ import annotations

import json
import random
import shutil
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bench.records.lease import claimed
from bench.records.store import Store
from bench.spec import RunSpec, Seeds
from tests.faults.nursery import ended, planned, started, tables, train, whole
from tests.faults.operations import Operations, kill
from tests.scenes import as_plain, untimed

KILLED = -9


def undisturbed(folder: Path, plan: Any) -> tuple[list[str], dict[str, Any]]:
    """The tables and the curves of a plan that nobody disturbed."""
    specs = list(plan.unique.values())
    assert ended(folder, specs) == 0
    whole(folder, len(specs))
    return tables(plan, folder), curves(folder, specs)


def curves(results: Path, specs: list[RunSpec]) -> dict[str, Any]:
    """What each run measured, to the last bit; not how long it took."""
    return {spec.id: untimed(as_plain(Store(results).record(spec.id))["curve"]) for spec in specs}


@pytest.mark.slow
@pytest.mark.parametrize(("methods", "steps"), [("ce", 2), ("feature_distillation", 4)])
def test_at_every_operation_of_a_run(tmp_path: Path, methods: str, steps: int) -> None:
    """Of a run with a stage that others share, at each until the stage is stored: the others are any run's."""
    plan = planned(methods, steps)
    specs = list(plan.unique.values())
    expected = undisturbed(tmp_path / "undisturbed", plan)
    told = tmp_path / "told"
    assert ended(tmp_path / "counted", specs, kill, 0, 0, told) == 0
    operations = json.loads(told.read_text(encoding="utf-8"))["operations"]
    stored = [number for number, name in enumerate(operations, 1) if name.endswith(".claim")]
    last = max(stored, default=len(operations))
    assert last > 45
    for at in range(1, last + 1):
        results = tmp_path / str(at)
        name = f"killed at operation {at}, {operations[at - 1]}"
        assert ended(results, specs, kill, at) == KILLED, name
        assert ended(results, specs) == 0, name
        whole(results, len(specs))
        assert (tables(plan, results), curves(results, specs)) == expected, name
        shutil.rmtree(results)
    print(f"{last} operations")


@pytest.mark.slow
def test_at_random_moments(tmp_path: Path) -> None:
    """Runs of which two share a stage; each child goes on where the one before was killed."""
    plan = planned("ce,feature_distillation", 6, 2, "2")
    specs = list(plan.unique.values())
    assert ended(tmp_path / "none", []) == 0  # so that the start of the fork server is not in the time
    began = time.monotonic()
    expected = undisturbed(tmp_path / "undisturbed", plan)
    longest = 0.6 * (time.monotonic() - began)
    draw, kills, stores = random.Random(20), 0, 0
    print("delays: random.Random(20)")
    while kills < 60:
        stores += 1
        results = tmp_path / str(stores)
        while True:
            child = started(results, specs)
            child.join(draw.uniform(0, longest))
            child.kill()
            child.join()
            if child.exitcode == 0:
                break
            kills += 1
        whole(results, len(specs))
        assert (tables(plan, results), curves(results, specs)) == expected
    print(f"{kills} kills, {stores} stores")


@pytest.mark.slow
def test_one_of_two_that_work_side_by_side(tmp_path: Path) -> None:
    """Two launchers on one grid whose runs share a stage: one is killed and started again, over and over."""
    plan = planned("feature_distillation,feature_distillation(then=linear)", 6, 1, "2")
    specs = list(plan.unique.values())
    assert ended(tmp_path / "none", []) == 0  # so that the start of the fork server is not in the time
    began = time.monotonic()
    expected = undisturbed(tmp_path / "undisturbed", plan)
    longest = 0.5 * (time.monotonic() - began)
    draw, kills, stores = random.Random(21), 0, 0
    print("delays: random.Random(21)")
    while kills < 20:
        stores += 1
        results = tmp_path / str(stores)
        survivor = started(results, specs)
        while survivor.exitcode is None and kills < 20 * stores:
            child = started(results, specs[::-1])
            child.join(draw.uniform(0, longest))
            child.kill()
            child.join()
            kills += child.exitcode == KILLED
        survivor.join(120)
        assert survivor.exitcode == 0
        assert ended(results, specs) == 0
        whole(results, len(specs))
        assert (tables(plan, results), curves(results, specs)) == expected
    print(f"{kills} kills, {stores} stores")


def read(results: Path, at: int) -> None:
    """Look at every record, which writes the index; killed at an operation."""
    Operations(results, kill, at)
    assert len(Store(results).finished()) == 30


@pytest.mark.slow
def test_while_the_index_is_built(tmp_path: Path) -> None:
    store, run = Store(tmp_path), next(iter(planned("ce", 2).unique.values()))
    for seed in range(30):
        with store.draft() as draft:
            point = {"step": 2, "val": None, "test": {"top1": 50.0 + seed}}
            record = {"status": "done", "curve": [point], "timing": {"seconds": 1.0}}
            store.publish(draft, replace(run, seeds=Seeds(seed, seed, seed)), record)
    found = {run_id: list(run.values) for run_id, run in store.finished().items()}
    index = (tmp_path / "index.msgpack").read_bytes()
    for before in (b"", index[: len(index) // 2]):
        at = 0
        while True:
            at += 1
            (tmp_path / "index.msgpack").write_bytes(before)
            code = ended(tmp_path, at, target=read)
            again = Store(tmp_path)
            assert {run_id: list(run.values) for run_id, run in again.finished().items()} == found
            assert again.damaged == []
            assert (tmp_path / "index.msgpack").read_bytes() == index
            if code == 0:
                break
            assert code == KILLED
        assert at > 2


def take(path: Path, at: int, answer: Path) -> None:
    """Take a claim and give it back; killed at an operation."""
    Operations(path.parent, kill, at)
    with claimed(path) as ours:
        answer.write_text(json.dumps(ours), encoding="utf-8")


class Pauses:
    """In the place of ``time.sleep``: so many seconds in all, however long they last on a busy machine."""

    def __init__(self, most: float) -> None:
        self.left, self.sleep = most, time.sleep

    def __call__(self, seconds: float) -> None:
        self.left -= seconds
        assert self.left > 0, "it is not had at once"
        self.sleep(seconds)


@pytest.mark.slow
@pytest.mark.parametrize("before", ["free", "dead"])
def test_while_a_claim_is_taken_or_given_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, before: str) -> None:
    """The next one has it at once, whatever is left of the one that was killed, and of the one before it."""
    path, answer = tmp_path / "claims" / "run", tmp_path / "answer"
    at = 0
    while True:
        at += 1
        shutil.rmtree(path.parent, ignore_errors=True)
        if before == "dead":
            assert ended(path, 6, answer, target=take) == KILLED
            assert path.exists()
        code = ended(path, at, answer, target=take)
        with monkeypatch.context() as patched:
            patched.setattr(time, "sleep", Pauses(20))
            with claimed(path) as ours:
                assert ours, f"after a kill at operation {at}"
        assert not path.exists()
        if code == 0:
            break
        assert code == KILLED
    assert json.loads(answer.read_text(encoding="utf-8")) is True
    assert at > 5


@pytest.mark.slow
def test_a_child_is_killed_where_it_is_asked_for(tmp_path: Path) -> None:
    """The means of these tests: half of a write has reached the file, and nothing after it is done."""
    assert ended(tmp_path, 2, target=write) == KILLED
    assert (tmp_path / "file").read_bytes() == b"1234"
    assert ended(tmp_path, 0, target=write) == 0
    assert (tmp_path / "file").read_bytes() == b"12345678"
    assert ended(tmp_path / "none", [], target=train) == 0


def write(folder: Path, at: int) -> None:
    """Write a file; killed at an operation."""
    Operations(folder, kill, at)
    (folder / "file").write_bytes(b"12345678")
    (folder / "file").rename(folder / "file")

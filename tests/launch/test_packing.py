"""From runs to arrays: nothing is lost, nothing is twice, and no array or queue gets more than it may hold."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.launch.packing import Task, arrays, estimate_from, packed
from bench.launch.profile import Profile, Resources
from bench.protocol import Protocol, Recipe
from bench.spec import RunSpec
from tests.launch.runs import spec

RUNS = [spec(seed) for seed in range(30)]


def flat(tasks: list[Task]) -> list[RunSpec]:
    return [run for task in tasks for run in task]


class TestTasks:
    @given(count=st.integers(0, 30), pack=st.integers(1, 40))
    def test_by_count(self, count: int, pack: int) -> None:
        tasks = packed(RUNS[:count], Resources(pack=pack), lambda run: None)
        assert flat(tasks) == RUNS[:count]
        assert all(len(one) == pack for one in tasks[:-1])
        assert all(1 <= len(one) <= pack for one in tasks)

    @given(minutes=st.lists(st.floats(0.01, 30), min_size=1, max_size=30), limit=st.floats(0.1, 60))
    def test_by_minutes(self, minutes: list[float], limit: float) -> None:
        runs = RUNS[: len(minutes)]
        takes = {run.id: time for run, time in zip(runs, minutes, strict=True)}
        tasks = packed(runs, Resources(pack_minutes=limit), lambda run: takes[run.id])
        assert flat(tasks) == runs
        for task in tasks:
            assert len(task) == 1 or sum(takes[run.id] for run in task) <= limit * (1 + 1e-9)

    def test_a_run_of_unknown_length_is_alone(self) -> None:
        known = {RUNS[0].id: 1.0, RUNS[1].id: 1.0, RUNS[3].id: 1.0}
        tasks = packed(RUNS[:4], Resources(pack_minutes=10), lambda run: known.get(run.id))
        assert [len(task) for task in tasks] == [2, 1, 1]


class TestEstimates:
    def test_come_from_the_runs_that_are_most_alike(self) -> None:
        small, large = [spec(seed, rate=15.0) for seed in range(3)], [spec(seed, rate=100.0) for seed in range(3)]
        estimate = estimate_from([*small, *large], {small[0].id: 60.0, small[1].id: 120.0, large[0].id: 600.0})
        assert estimate(small[2]) == pytest.approx(1.5)
        assert estimate(large[2]) == pytest.approx(10.0)
        assert estimate(spec(0, rate=50.0)) == pytest.approx(13 / 3)

    def test_of_nothing(self) -> None:
        assert estimate_from(RUNS, {})(RUNS[0]) is None
        assert estimate_from(RUNS, {"another plan's": 5.0})(RUNS[0]) is None


class TestArrays:
    @given(array=st.integers(1, 12), pack=st.integers(1, 7), room=st.none() | st.integers(-2, 40))
    def test_nothing_is_lost_and_no_limit_broken(self, array: int, pack: int, room: int | None) -> None:
        groups, left = arrays(RUNS, Profile({"pack": pack}), array, room)
        assert [run for group in groups for run in flat(list(group.tasks))] + left == RUNS
        assert all(1 <= len(group.tasks) <= array for group in groups)
        if room is None:
            assert not left
        else:
            assert sum(len(group.tasks) for group in groups) <= max(0, room)

    def test_are_of_one_kind_each(self) -> None:
        runs = [spec(seed, backbone) for seed in range(3) for backbone in ("vit_base", "micro_vit")]
        profile = Profile({"time": 10}, (({"backbone": "vit_b*"}, {"gpus_per_run": 4}),))
        groups, left = arrays(runs, profile, 1000)
        assert not left
        assert [(group.resources.gpus_per_run, len(group.tasks)) for group in groups] == [(4, 3), (1, 3)]
        for group in groups:
            names = {run.backbone.name for task in group.tasks for run in task}
            assert len(names) == 1

    def test_the_protocol_is_part_of_what_is_alike(self) -> None:
        longer = dataclasses.replace(RUNS[1], protocol=Protocol(Recipe(steps=800)))
        estimate = estimate_from([RUNS[0], longer], {RUNS[0].id: 60.0, longer.id: 6000.0})
        assert estimate(RUNS[2]) == pytest.approx(1.0)

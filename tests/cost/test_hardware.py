"""Estimates for hardware on which little was timed, by the ratio of what was timed on both; none without."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

import bench
from bench.cli import main
from bench.cost.estimate import Estimate, estimate
from bench.cost.step_times import StepTime, keep_times, read_times, work_of
from bench.errors import InputError
from bench.records.store import Store
from bench.spec import RunSpec
from tests.cost.test_estimate import card, spec

OLD, NEW = "NVIDIA A100", "NVIDIA H200"


def time(run: RunSpec, hardware: str, step: float, image: float = 0.0, shared: float = 0.0) -> StepTime:
    return StepTime(work_of(run), hardware, True, step, image, 10, shared_seconds=shared)


def estimated(runs: list[RunSpec], times: list[StepTime], hardware: str = "") -> Estimate:
    return estimate(runs, card, times, hardware=hardware)[0]


BOTH = [
    *(time(spec(), OLD, seconds, 0.2) for seconds in (3.0, 4.0, 5.0)),
    time(spec("gta"), OLD, 6.0, 0.2),
    time(spec("delta"), OLD, 8.0, 0.4),
    time(spec(), NEW, 2.0, 0.05),
]


def test_what_was_timed_there_counts_as_it_is_and_the_rest_by_the_ratio() -> None:
    # a step there takes 2 s of 4, an image 0.05 of 0.2: 150 images at 2 points
    found = estimated([spec(), spec("delta")], BOTH, "h200")
    assert found.hours == pytest.approx((100 * 2.0 + 300 * 0.05 + 100 * 4.0 + 300 * 0.1) / 3600)
    assert (found.hardware, found.gpu, found.unknown) == (NEW, True, 0)
    measured = "from 10 measured steps of each method and backbone on noise: the loading of images is not in it"
    moved = f"; on {NEW} by 0.5 times the {OLD}'s, measured on 1 method and backbone timed on both"
    assert found.bases == {measured: 1, measured + moved: 1}


def test_the_ratio_is_the_median_of_those_of_each_work() -> None:
    times = [*BOTH, time(spec("gta"), NEW, 2.4), time(spec("l2"), OLD, 10.0), time(spec("l2"), NEW, 9.0)]
    found = estimated([spec("delta", steps=10)], times, NEW)
    # of 0.5, 0.4 and 0.9; an image, of which two were not timed there, by 0.25, 0.4 and 0.9
    assert found.hours == pytest.approx((10 * 0.5 * 8.0 + 300 * 0.4 * 0.4) / 3600)
    assert "by 0.5 times" in next(iter(found.bases))
    assert "3 methods and backbones" in next(iter(found.bases))


def test_shared_stages_are_translated_too() -> None:
    from bench.cost.hardware import by_hardware, translated

    (translation,) = translated(by_hardware([*BOTH[:3], time(spec("x"), OLD, 1.0, shared=3.0), BOTH[-1]]), NEW)
    assert [each.shared_seconds for each in translation.times] == [0.0, 0.0, 0.0, 1.5]
    assert {each.hardware for each in translation.times} == {NEW}


def test_without_anything_timed_on_both_nothing_is_said() -> None:
    times = [time(spec("delta"), OLD, 8.0), time(spec("gta"), NEW, 1.0)]
    assert estimated([spec("delta")], times, NEW).unknown == 1
    other = replace(BOTH[-1], dataset="digits")  # a run, and measured steps: no like with like
    assert estimated([spec("delta")], [*BOTH[:-1], other], NEW).unknown == 1


def test_the_hardware_of_most_times_where_none_is_named() -> None:
    found = estimated([spec(), spec("delta")], BOTH)
    assert (found.hardware, found.unknown) == (OLD, 0)
    assert len(found.bases) == 1


def test_what_is_not_known_there_is_filled_from_another_one() -> None:
    times = [*BOTH, time(spec("l2"), NEW, 1.0), time(spec("stochnorm"), NEW, 1.0)]
    found = estimated([spec("l2"), spec("stochnorm"), spec("delta")], times)
    assert (found.hardware, found.unknown) == (NEW, 0)


def test_hardware_of_which_there_is_no_time_is_an_error() -> None:
    with pytest.raises(InputError, match=r"--hardware B200: nothing was timed on .* times of NVIDIA A100, NVIDIA H200"):
        estimated([spec()], BOTH, "B200")
    with pytest.raises(InputError, match="there are times of none"):
        estimated([spec()], [], "B200")


class TestCommand:
    def test_times_of_another_machine(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        runs = bench.read_plan("demo", bench.Registry(), bench.Overrides(methods="ce,l2", rates="15")).unique
        by_method = {run.method.name: run for run in runs.values()}
        here, there = Store(tmp_path / "here"), Store(tmp_path / "there")
        keep_times(here, [time(by_method["ce"], OLD, 4.0), time(by_method["l2"], OLD, 8.0)])
        keep_times(there, [time(by_method["ce"], NEW, 1.0)])
        words = ["plan", "demo", "--methods", "ce,l2", "--rates", "15", "--results", str(here.root)]
        for path in (there.root, there.root / "step_times.json"):
            assert main([*words, "--times", str(path), "--hardware", "h200"]) == 0
            assert f"on {NEW} by 0.25 times the {OLD}'s" in capsys.readouterr().out
        assert len(read_times(here)) == 2, "they stay where they are"
        assert main([*words, "--times", str(tmp_path / "nowhere")]) == 2
        assert capsys.readouterr().err == f"bench: --times {tmp_path / 'nowhere'}: there is no such file or folder\n"
        assert main([*words, "--hardware", "h200"]) == 2
        assert f"there are times of {OLD}" in capsys.readouterr().err

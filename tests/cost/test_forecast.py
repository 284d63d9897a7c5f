"""What a launch was expected to take is written down as it begins, and held against what its runs took."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

import bench
from bench.cli import main
from bench.cost.forecast import FORM, Forecast, in_words, keep_forecast, outcome_of, read_forecasts
from bench.cost.step_times import StepTime, keep_times, times_of_records, work_of
from bench.launch import Event, Job, LocalExecutor
from bench.plan.overrides import Overrides
from bench.plan.target import read_plan
from bench.records.store import Store
from bench.spec import RunSpec
from bench.training.size import size_of

SMALL = ["--methods", "ce", "--rates", "15", "--seeds", "4"]
HERE = "AMD EPYC"


def runs(datasets: str = "") -> list[RunSpec]:
    overrides = Overrides(methods="ce", rates="15", seeds="4", datasets=datasets)
    return list(read_plan("demo", bench.Registry(), overrides).unique.values())


def publish(
    store: Store, spec: RunSpec, seconds: float, scores: tuple[str, ...] = (), hardware: str = HERE, **more: Any
) -> None:
    test = {"top1": 50.0, **{f"top1@{name}": 40.0 for name in scores}}
    points = [{"step": step, "learning_rate": 0.0, "loss": {}, "val": None, "test": test} for step in (50, 100)]
    timing = {"seconds": seconds, "evaluation_seconds": 8.0}
    images = {"validation_images": 0, "test_images": 100}
    record = {
        "status": "done",
        "curve": points,
        "timing": timing,
        "environment": {"processor": hardware},
        **images,
        **more,
    }
    with store.draft() as draft:
        store.publish(draft, spec, {**record, **images, **more})


def forecast(specs: Sequence[RunSpec], seconds: float, **changed: Any) -> Forecast:
    return Forecast(FORM, {spec.id: seconds for spec in specs}, **{"gpu": False, "hardware": HERE, **changed})


def came(store: Store, specs: Sequence[RunSpec]) -> str:
    outcome = outcome_of(store, {spec.id for spec in specs}, store.finished())
    return in_words(outcome) if outcome else ""


@pytest.mark.slow
def test_a_launch_writes_down_what_it_is_expected_to_take(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    store = Store("results")

    def execute(self: object, specs: Sequence[RunSpec], job: Job, report: Callable[[Event], None]) -> None:
        assert len(read_forecasts(store.root)[0].seconds) == 4, "before anything is trained"
        for spec in specs:
            publish(store, spec, 36.0)

    monkeypatch.setattr(LocalExecutor, "execute", execute)
    monkeypatch.setattr("bench.commands.run._tell", lambda *anything: (0, ""))
    work = work_of(runs()[0])
    keep_times(store, [StepTime(work, HERE, False, step_seconds=0.3, image_seconds=0.0, steps=10)])
    assert main(["run", "demo", *SMALL]) == 0
    (kept,) = read_forecasts(store.root)
    # 100 steps of 0.3 s
    assert list(kept.seconds.values()) == pytest.approx([30.0] * 4)
    assert kept.bases == {
        "from 10 measured steps of each method and backbone on noise: the loading of images is not in it": 4
    }
    capsys.readouterr()
    line = "predicted 0.033 core-hours, took 0.04 (× 1.20) over 4 runs"
    for command in ("status", "plan"):
        assert main([command, "demo", *SMALL]) == 0
        assert line in capsys.readouterr().out
        assert main([command, "demo", *SMALL, "--format", "json"]) == 0
        told = json.loads(capsys.readouterr().out)["forecast"]
        assert (told["runs"], told["of"], told["ratio"]) == (4, 4, pytest.approx(1.2))


def test_where_nothing_is_known_nothing_is_predicted(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(LocalExecutor, "execute", lambda *anything: None)
    monkeypatch.setattr("bench.commands.run._tell", lambda *anything: (0, ""))
    assert main(["run", "demo", *SMALL]) == 0
    assert not Path("results/forecasts").exists()
    assert main(["status", "demo", *SMALL]) == 0
    assert "predicted" not in capsys.readouterr().out
    Path("results/step_times.json").write_text("{", encoding="utf-8")
    assert main(["run", "demo", *SMALL]) == 0
    assert "nothing is predicted: results/step_times.json: not what" in capsys.readouterr().err


def test_what_is_finished_is_held_against_the_first_forecast_of_each(tmp_path: Path) -> None:
    store, specs = Store(tmp_path), runs()
    keep_forecast(tmp_path, forecast(specs[:3], 1800.0))
    keep_forecast(tmp_path, forecast(specs, 3600.0))
    assert came(store, specs) == ""
    for spec in specs[1:]:
        publish(store, spec, 1200.0)
    # 2 × 1,800 s and 3,600 s; 3 × 1,200 s
    assert came(store, specs) == "predicted 2 core-hours, took 1 (× 0.50) over 3 of 4 runs"


def test_processes_that_share_runs_all_count_and_other_hardware_is_named(tmp_path: Path) -> None:
    store, specs = Store(tmp_path), runs()
    keep_forecast(tmp_path, forecast(specs, 3600.0, gpu=True, hardware="NVIDIA H200", ranks=2))
    publish(store, specs[0], 1980.0, ranks=2)
    assert came(store, specs[:1]) == (
        "predicted 1 GPU-hours, took 1.1 (× 1.10) over 1 run, on AMD EPYC where NVIDIA H200 was meant"
    )


def test_processes_count_as_each_record_says_it(tmp_path: Path) -> None:
    """The launch went on with another number of them."""
    store, specs = Store(tmp_path), runs()
    keep_forecast(tmp_path, forecast(specs[:2], 3600.0, gpu=True, hardware=HERE, ranks=4))
    publish(store, specs[0], 900.0, ranks=4)
    publish(store, specs[1], 3600.0)
    assert came(store, specs) == "predicted 2 GPU-hours, took 2 (× 1.00) over 2 runs"


def test_runs_that_shared_a_gpu_are_not_held_against_theirs(tmp_path: Path) -> None:
    """Four at a time take four times as long each, and no more of the GPU."""
    store, specs = Store(tmp_path), runs()
    keep_forecast(tmp_path, forecast(specs, 3600.0, gpu=True, hardware=HERE))
    for spec in specs[:3]:
        shared = {"processor": HERE, "gpu_sharing": {"runs": 4, "mps": False}}
        publish(store, spec, 14_400.0, environment=shared)
    assert {run.on_gpu for run in store.finished().values()} == {4}
    assert came(store, specs) == ""
    publish(store, specs[3], 3960.0)
    assert came(store, specs) == "predicted 1 GPU-hours, took 1.1 (× 1.10) over 1 of 4 runs"


def test_what_cannot_be_read_or_is_newer_is_no_forecast(tmp_path: Path) -> None:
    keep_forecast(tmp_path, forecast(runs(), 1.0))
    (tmp_path / "forecasts" / "0.json").write_text("{", encoding="utf-8")
    (tmp_path / "forecasts" / "1.json").write_text(
        json.dumps({"form": FORM + 1, "seconds": {}, "gpu": False, "hardware": ""}), encoding="utf-8"
    )
    assert len(read_forecasts(tmp_path)) == 1


@pytest.mark.parametrize("seconds", [0.0, 1e-320, -5.0, 1.7e308], ids=str)
def test_no_ratio_is_made_of_seconds_that_are_none(seconds: float, tmp_path: Path) -> None:
    store, specs = Store(tmp_path), runs()
    keep_forecast(tmp_path, forecast(specs, seconds))
    for spec in specs[:2]:
        publish(store, spec, 3600.0)
    assert came(store, specs) == ""


def test_further_tests_and_further_models_count_once_in_what_an_image_takes(tmp_path: Path) -> None:
    store, specs = Store(tmp_path), runs("digits@also=noise")
    publish(store, specs[0], 30.0, scores=("noise", "raw"))
    (time,) = times_of_records(store, store.finished().values(), ["micro_vit"], lambda dataset, tested: 3 * tested)
    # 8 s for 2 points of 100 images, by the model and one beside it, and of 300 of the further test
    assert time.image_seconds == pytest.approx(8.0 / (2 * (2 * 100 + 300)))
    card = bench.Registry().dataset("digits@also=noise")
    alone, beside = size_of(specs[0], card), size_of(specs[0], card, beside=1)
    further = sum(each.size(card.splits["test"]) for each in card.further)
    assert alone.images is not None
    assert beside.images == 2 * alone.images - further

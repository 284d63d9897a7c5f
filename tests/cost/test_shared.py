"""Stages that runs share are counted once for each that is trained, on top of the budget or within it."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from bench.backbones import Model
from bench.cost import measure
from bench.cost.estimate import Estimate, estimate, lines
from bench.cost.shared import RunStages, SharedStage, stages_here, stages_of
from bench.cost.step_times import StepTime, times_of_records, work_of
from bench.device import chunks
from bench.errors import InputError
from bench.plan.overrides import Overrides
from bench.plan.target import read_plan
from bench.records.store import Store
from bench.registry import Registry
from bench.spec import RunSpec
from bench.training.trial import run_trial
from tests.cost.test_estimate import CPU, card, publish, spec
from tests.training.test_shared import METHOD

FD = "feature_distillation"


def time(step: float, shared: float | None, **facts: Any) -> StepTime:
    return StepTime(work_of(spec(FD)), CPU, False, step, 0.0, 10, shared_seconds=shared, **facts)


def sharing(**stages: RunStages | None) -> Callable[[Sequence[RunSpec]], list[RunStages | None]]:
    """What answers for runs by their rate and seed, as in ``r15_0``."""
    return lambda runs: [stages[f"r{run.rate:g}_{run.seed}"] for run in runs]


def estimated(runs: Sequence[RunSpec], times: Sequence[StepTime], **more: Any) -> Estimate:
    return estimate(runs, card, times, **more)[0]


def on_top(key: str) -> RunStages:
    return RunStages(100, (SharedStage(key, 300),))


RUNS = (spec(FD, rate=15), spec(FD, rate=15, seed=1), spec(FD), spec(FD, seed=1))
STAGES = sharing(r15_0=on_top("a"), r15_1=on_top("a"), r100_0=on_top("b"), r100_1=on_top("b"))


class TestEstimate:
    def test_each_student_once_on_top_of_the_budgets(self) -> None:
        # 4 runs of 100 steps of 2 s, 2 students of 300 steps of 3 s; whoever trains one takes 200 + 900 s
        found = estimated(RUNS, [time(2.0, 3.0)], stages=STAGES)
        assert found.hours == pytest.approx((4 * 200 + 2 * 900) / 3600)
        assert found.longest == pytest.approx(1100 / 3600)
        assert (found.shared_stages, found.sharing_runs, found.unknown) == (2, 4, 0)
        assert lines(found, 1)[2] == "  of it about 0.5 hours for 2 stages that 4 runs share, each trained once"

    def test_one_within_the_budget_takes_from_it(self) -> None:
        within = RunStages(25, (SharedStage("a", 75),))
        found = estimated(RUNS[:2], [time(2.0, 3.0)], stages=sharing(r15_0=within, r15_1=within))
        assert found.hours == pytest.approx((2 * 50 + 225) / 3600)

    def test_one_that_is_there_is_not_trained_again(self) -> None:
        done = [RUNS[0]]
        found = estimated(RUNS[1:], [time(2.0, 3.0)], stages=STAGES, trained=lambda methods: done)
        assert found.hours == pytest.approx((3 * 200 + 900) / 3600)
        assert found.shared_stages == 1

    def test_times_in_which_none_was_trained_do_not_serve(self) -> None:
        for shared in (0.0, None):
            assert estimated(RUNS, [time(2.0, shared), time(2.0, None)], stages=STAGES).unknown == 4
        found = estimated(RUNS, [time(50.0, None), time(2.0, 3.0)], stages=STAGES)
        assert found.hours == pytest.approx((4 * 200 + 2 * 900) / 3600)

    def test_stages_that_cannot_be_known_are_not_guessed(self) -> None:
        found = estimated(RUNS[:1], [time(2.0, 3.0)], stages=sharing(r15_0=None))
        assert found.unknown == 1
        assert found.bases == {"not known: which stages they share depends on values that a plan does not have": 1}

    def test_methods_that_share_nothing_are_not_asked(self) -> None:
        asked: list[RunSpec] = []

        def stages(runs: Sequence[RunSpec]) -> list[RunStages | None]:
            asked.extend(runs)
            return [on_top("a") for _ in runs]

        plain = StepTime(work_of(spec()), CPU, False, 1.0, 0.0, 10, shared_seconds=0.0)
        estimated([spec(), *RUNS], [plain, time(2.0, 3.0)], stages=stages)
        assert {run.method.name for run in asked} == {FD}

    def test_records_say_what_measured_steps_do(self, tmp_path: Path) -> None:
        """One run trained the student in 90 of 110 seconds, another waited 1 s for it; a third is older and mixed."""
        store = Store(tmp_path)
        images = 300 * spec(FD).protocol.batch_size
        for seed, seconds, timing, taken in (
            (0, 120.0, {"shared_seconds": 90.0, "shared_images": images}, False),
            (1, 31.0, {"shared_seconds": 1.0, "shared_images": 0}, True),
            (2, 120.0, {}, False),
        ):
            stages = [
                {"steps": 300, "budget": 0, "batch_size": 10, "shared": {"key": "k", "taken": taken}},
                {"steps": 100, "budget": 100, "batch_size": 10},
            ]
            timing = {"seconds": seconds, "evaluation_seconds": 10.0, **timing}
            publish(store, spec(FD, seed=seed), {"stages": stages, "timing": timing})
        times = times_of_records(store, store.finished().values(), ["micro_vit"])
        assert sorted((time.step_seconds, time.shared_seconds or 0.0) for time in times) == [(0.2, 0.0), (0.2, 0.3)]
        by_records = estimated(RUNS, times, stages=STAGES)
        measured = StepTime(work_of(spec(FD)), CPU, False, 0.2, times[0].image_seconds, 10, shared_seconds=0.3)
        by_steps = estimated(RUNS, [measured], stages=STAGES)
        assert by_records.hours == pytest.approx(by_steps.hours)
        assert by_records.shared_hours == pytest.approx(2 * 300 * 0.3 / 3600) == pytest.approx(by_steps.shared_hours)


def planned(methods: str, plugins: tuple[Path, ...] = (), **axes: Any) -> list[RunSpec]:
    settings = ("steps=4", "warmup=0", "evaluations=1", "batch_size=8")
    overrides = Overrides(methods=methods, settings=settings, **{"rates": "15", "seeds": "2", **axes})
    return list(read_plan("demo", Registry(plugins), overrides).unique.values())


class TestStages:
    @pytest.mark.slow
    def test_are_shared_in_a_plan_as_they_are_in_training(self, tmp_path: Path) -> None:
        plugin = tmp_path / "turned.py"
        plugin.write_text(METHOD)
        runs = planned("turned,turned(tuned=false),turned(extra=true),turned(noise=0.1)", (plugin,))
        runs += planned("turned", (plugin,), rates="100")
        registry = Registry((plugin,))
        found = [stages for stages in stages_here(runs, registry) if stages]
        records = [run_trial(run, registry, torch.device("cpu"), tmp_path / "keep").record for run in runs]
        keys = [record.stages[0].shared["key"] for record in records]  # type: ignore[index]
        for left, right in itertools.combinations(range(len(runs)), 2):
            same = found[left].shared[0].key == found[right].shared[0].key
            assert same == (keys[left] == keys[right]), (runs[left].label, runs[right].label)
        assert len(set(keys)) == 5
        for stages, record in zip(found, records, strict=True):
            assert stages.steps == sum(stage.budget for stage in record.stages if not stage.shared)
            assert stages.shared[0].steps == record.stages[0].steps
            taken = record.stages[0].shared["taken"]  # type: ignore[index]
            assert record.timing.shared_images == (0 if taken else 8 * record.stages[0].steps)

    def test_of_a_distilled_student(self) -> None:
        runs = planned(f"{FD},{FD}(then=linear),{FD}(on_top=true),{FD}(student_seed=-1)", rates="100")
        default, seed, linear, _, top, _, own, other = stages_here(runs, Registry())
        assert default is not None
        assert default == seed == linear == RunStages(1, default.shared)
        assert top is not None
        assert (top.steps, top.shared[0].steps) == (4, 12)
        assert own is not None
        assert other is not None
        assert own.shared != other.shared

    @pytest.mark.slow
    @pytest.mark.usefixtures("warm")
    def test_are_gone_through_in_a_process(self) -> None:
        runs = planned(f"ce,{FD}")
        assert stages_of(runs, Registry()) == stages_here(runs, Registry())
        assert stages_of([], Registry()) == []


class TestMeasured:
    def test_what_comes_on_top_is_timed_beside_the_budget(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(measure, "_step_seconds", lambda stage, *rest: 7.0 if stage.shared else 2.0)
        monkeypatch.setattr(measure, "_image_seconds", lambda task, model, data: 0.5)
        for name in ("ce", FD, f"{FD}(on_top=true)"):
            run = planned(name)[0]
            found = measure.timed(run, Registry())
            assert (found.step_seconds, found.image_seconds, found.parts) == (2.0, 0.5, 1)
            assert found.shared_seconds == (0.0 if name == "ce" else 7.0)

    @pytest.mark.slow
    @pytest.mark.parametrize("method", ["ce", "scl"])
    def test_a_batch_that_does_not_fit_is_computed_in_parts(self, method: str, monkeypatch: pytest.MonkeyPatch) -> None:
        """As training does it: parts of the batch for a mean over images, of the pass for a contrast."""
        real, sizes = Model.normalised, list[int]()

        def small(model: Model, images: torch.Tensor) -> torch.Tensor:
            if len(images) > 2:
                raise torch.OutOfMemoryError("CUDA out of memory")
            sizes.append(len(images))
            return real(model, images)

        monkeypatch.setattr(Model, "normalised", small)
        monkeypatch.setattr(measure, "_image_seconds", lambda task, model, data: float(chunks._COUNT.get()))
        found = measure.timed(planned(method)[0], Registry(), 1)
        assert (found.parts, found.image_seconds) == (4, 4.0)
        assert set(sizes) == {2}
        assert " in 4 parts," in measure._in_words(found)

    def test_what_cannot_be_divided_says_why(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def fit(*given: object, **named: object) -> None:
            raise torch.OutOfMemoryError("CUDA out of memory")

        monkeypatch.setattr("bench.training.fit.fit", fit)
        with pytest.raises(torch.OutOfMemoryError, match="the backbone has batch norm; --set norm_batch=N"):
            measure.timed(planned("ce", backbones="micro_resnet")[0], Registry(), 1)


class TestErrors:
    def test_a_process_that_dies_is_an_input_error(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("bench.process.program", lambda module: ["false"])
        with pytest.raises(InputError, match="the process that goes through the stages of methods ended"):
            stages_of([spec()], Registry())

"""Where a run stands, told by the clock, from what was measured."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from bench.plan.overrides import Overrides
from bench.plan.target import read_plan
from bench.records.record import Point
from bench.records.standing import Standing
from bench.registry import Registry
from bench.training.fit import Terms
from bench.training.pacing import Pacing
from bench.training.trackers import Observer
from bench.training.trial import run_trial
from tests.scenes import curve_of


class Run(Pacing):
    """A run of 100 steps whose clock is set by hand, and what it tells."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, every: float = 1.0) -> None:
        self.now, self.standings, self.asked = 100.0, list[Standing](), 0
        monkeypatch.setattr("time.monotonic", lambda: self.now)
        super().__init__(Observer(), self.standings.append, every)

    def make(self, first: int, last: int, seconds: float) -> None:
        """Make steps with 32 images each that take so many seconds each."""
        for step in range(first, last + 1):
            self.now += seconds
            self.step(step, 100, 32, self.loss_of_now)

    def loss_of_now(self) -> float:
        self.asked += 1
        return 0.5

    @property
    def last(self) -> Standing:
        return self.standings[-1]


def test_at_once_and_then_by_the_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    run = Run(monkeypatch)
    run.phase("opening data")
    assert [told.phase for told in run.standings] == ["opening data"]
    run.make(1, 40, 0.125)
    assert [told.step for told in run.standings[1:]] == [8, 16, 24, 32, 40]
    assert run.asked == 5, "the loss, for which the device is waited for, is not asked for at every step"


def test_steps_loss_speed_and_what_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    run = Run(monkeypatch)
    run.make(1, 21, 0.5)
    assert (run.last.step, run.last.of, run.last.loss) == (21, 100, 0.5)
    assert run.last.images_per_second == pytest.approx(64)
    assert run.last.seconds_left == pytest.approx(79 * 0.5)
    assert run.last.whole_seconds == pytest.approx(50)
    assert run.last.phase == ""


def test_nothing_is_promised_before_two_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    run = Run(monkeypatch)
    run.phase("building model")
    run.make(1, 1, 30.0)
    assert run.last.step == 1
    assert (run.last.seconds_left, run.last.images_per_second, run.last.whole_seconds) == (None, None, None)


def test_steps_of_an_earlier_part_are_not_counted_as_quick(monkeypatch: pytest.MonkeyPatch) -> None:
    run = Run(monkeypatch)
    run.phase("building model")
    run.make(81, 85, 2.0)
    assert run.last.seconds_left == pytest.approx(15 * 2.0)
    assert run.last.whole_seconds == pytest.approx(200)


def test_a_shared_stage_that_is_taken_is_not_counted_as_quick(monkeypatch: pytest.MonkeyPatch) -> None:
    run = Run(monkeypatch)
    run.make(1, 10, 1.0)
    run.phase("shared stage", 1, 2)
    run.make(61, 66, 2.0)
    assert run.last.seconds_left == pytest.approx(34 * 2.0)


def test_an_evaluation_is_named_with_its_share(monkeypatch: pytest.MonkeyPatch) -> None:
    run = Run(monkeypatch)
    run.make(1, 11, 1.0)
    run.now += 2
    run.phase("evaluating", 100, 400)
    assert (run.last.phase, run.last.share, run.last.step) == ("evaluating", 0.25, 11)
    run.now += 6
    run.phase("evaluating", 400, 400)
    run.make(12, 12, 1.0)
    assert run.last.phase == ""
    assert run.last.images_per_second == pytest.approx(32), "the evaluation is no part of the speed"
    assert run.last.seconds_left == pytest.approx(88 * 19 / 11, rel=0.01), "but of what is left, as there will be more"


def test_the_last_evaluation_has_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    run = Run(monkeypatch)
    run.make(1, 100, 1.0)
    run.now += 1
    run.phase("evaluating", 10, 400)
    run.now += 9
    run.phase("evaluating", 100, 400)
    assert run.last.seconds_left == pytest.approx(27)


def test_a_run_that_starts_anew_is_reckoned_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    """As where a batch did not fit into memory, and is computed in parts from a checkpoint on."""
    run = Run(monkeypatch)
    run.make(1, 50, 1.0)
    run.make(21, 30, 4.0)
    assert run.last.seconds_left == pytest.approx(70 * 4.0)


def test_points_are_passed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    points = []

    class Noting(Observer):
        def point(self, point: Point) -> None:
            points.append(point)

    last = Point(step=30, learning_rate=0.1, test={"top1": 1.0}, seconds=3.0)
    Pacing(Noting(), lambda standing: None).point(last)
    assert points == [last]


def test_a_loss_that_is_no_number_is_told_as_none(monkeypatch: pytest.MonkeyPatch) -> None:
    run = Run(monkeypatch, every=0.0)
    run.step(1, 100, 32, lambda: float("nan"))
    assert run.last.loss is None


def test_the_recent_loss_is_that_since_it_was_asked_for() -> None:
    terms = Terms()
    for value in (4.0, 2.0):
        terms.add({"ce": torch.tensor(value), "pull": torch.tensor(1.0)})
    assert terms.recent() == 4.0
    terms.add({"ce": torch.tensor(0.5), "pull": torch.tensor(0.5)})
    assert terms.recent() == 1.0
    assert terms.read() == {"ce": pytest.approx(6.5 / 3), "pull": pytest.approx(2.5 / 3)}, "nothing was taken away"
    terms.add({"ce": torch.tensor(3.0)})
    assert terms.recent() == 3.0


@pytest.mark.slow
def test_a_run_that_is_watched_has_the_same_bits() -> None:
    settings = ("steps=4", "evaluations=2", "batch_size=8", "warmup=1")
    overrides = Overrides(methods="ce", rates="15", seeds="1", settings=settings)
    (spec,) = read_plan("demo", Registry(), overrides).unique.values()
    standings: list[Standing] = []
    watched = run_trial(spec, Registry(), torch.device("cpu"), observer=Pacing(Observer(), standings.append, 0.0))
    plain = run_trial(spec, Registry(), torch.device("cpu"))
    assert curve_of(watched.record) == curve_of(plain.record)
    for name, array in plain.predictions.items():
        assert np.array_equal(array, watched.predictions[name]), name
    phases = list(dict.fromkeys(told.phase for told in standings))
    assert phases == ["opening data", "building model", "", "evaluating"]
    assert [told.step for told in standings if not told.phase] == [1, 2, 3, 4]
    assert {told.of for told in standings[2:]} == {4}
    shares = [told.share or 0.0 for told in standings if told.phase]
    assert shares.count(1.0) == 2, "validation and test images are one evaluation"

"""What a person sees while a grid is trained."""

from __future__ import annotations

import sys

import pytest

from bench.commands.progress import Watch
from bench.launch import Event
from bench.records.record import Point
from bench.training.trackers import Observer, Pacing


def test_a_terminal_shows_the_grid_and_how_far_a_run_is(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    clock = iter(range(0, 1000, 10))
    monkeypatch.setattr("bench.commands.progress.time.monotonic", lambda: float(next(clock)))
    with Watch(total=3, skipped=1) as watch:
        assert watch.bar is not None
        watch.bar.ncols = 120
        for step in (10, 20, 30):
            watch.event(Event("a", "gta micro_vit digits 15 % seed 4", "training", step=step, of=100))
        watch.event(Event("a", "gta micro_vit digits 15 % seed 4", "done", seconds=3.0, top1=90.0))
        watch.event(Event("b", "ce micro_vit digits 15 % seed 0", "failed", "no \x1b[2J memory"))
    shown = capsys.readouterr().err
    assert "gta 4: step 30/100, 01:10 left" in shown, "ten steps in ten seconds: seventy more"
    assert "1/3" in shown
    assert "3/3" in shown
    assert "1 failed" in shown
    assert "no \\x1b[2J memory" in shown, "a message steers no terminal"
    assert (watch.done, watch.failed) == (1, 1)


def test_a_log_has_a_plain_line_for_each_run_that_ends(capsys: pytest.CaptureFixture[str]) -> None:
    with Watch(total=2, skipped=0) as watch:
        watch.event(Event("a", "ce seed 0", "training", step=10, of=100))
        watch.event(Event("a", "ce seed 0", "done", seconds=3.0, top1=90.0))
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("[1/2, ")
    assert lines[0].endswith("done: ce seed 0: 90.0 % in 3.0 s")


def test_progress_is_told_now_and_then_and_points_are_passed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    now, told, points = [0.0], [], []
    last = Point(step=30, learning_rate=0.1, test={"top1": 1.0}, seconds=3.0)

    class Noting(Observer):
        def point(self, point: Point) -> None:
            points.append(point)

    monkeypatch.setattr("bench.training.trackers.time.monotonic", lambda: now[0])
    pacing = Pacing(Noting(), lambda step, of: told.append((step, of)), every=1.0)
    for step in range(1, 31):
        now[0] += 0.125
        pacing.step(step, 30)
    pacing.point(last)
    assert [step for step, _ in told] == [8, 16, 24]
    assert points == [last]

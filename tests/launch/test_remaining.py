"""How long a grid will still take."""

from __future__ import annotations

import pytest

from bench.launch.remaining import seconds_left
from bench.records.standing import Standing

HALF = Standing(step=50, of=100, seconds_left=50.0)
BEGUN = Standing(phase="opening data")


@pytest.mark.parametrize(
    ("training", "waiting", "done", "seconds", "at_a_time", "left"),
    [
        ([], 3, 0, 0.0, 2, None),
        ([BEGUN, None], 3, 0, 0.0, 2, None),
        ([HALF, BEGUN], 0, 0, 0.0, 2, 100.0),  # the one that has begun takes as long as the measured one will have
        ([HALF, HALF], 4, 0, 0.0, 2, 250.0),
        ([HALF], 1, 3, 900.0, 1, 50 + 1000 / 4),  # three of 300 s, one of 100 s
        ([], 2, 2, 20.0, 1, 20.0),
        ([HALF, Standing(step=1, of=10, seconds_left=900.0)], 0, 0, 0.0, 2, 900.0),  # no sooner than the longest run
        ([HALF], 0, 0, 0.0, 16, 50.0),
        ([], 0, 4, 40.0, 2, 0.0),
    ],
)
def test_from_what_was_measured(
    training: list[Standing | None], waiting: int, done: int, seconds: float, at_a_time: int, left: float | None
) -> None:
    assert seconds_left(training, waiting, done, seconds, at_a_time) == left

"""How long a grid will still take, from what has been measured, and from nothing else."""

from __future__ import annotations

from collections.abc import Collection

from bench.records.standing import Standing


def seconds_left(
    training: Collection[Standing | None], waiting: int, done: int, seconds: float, at_a_time: int
) -> float | None:
    """Seconds until the last run has ended; None where nothing has been measured that this could be reckoned from.

    A run that has not been measured takes as long as those that were, on average: those that are done, and those in
    training as they stand.

    Args:
        training: where each run in training stands; None for one that has not said it.
        waiting: runs that have not begun.
        done: how many whole runs have been timed.
        seconds: what they took together.
        at_a_time: runs that are trained at a time.
    """
    wholes = [standing.whole_seconds for standing in training if standing is not None]
    measured = [whole for whole in wholes if whole is not None]
    timed = done + len(measured)
    each = (seconds + sum(measured)) / timed if timed else None
    lefts: list[float] = []
    for standing in training:
        left = each if standing is None or standing.seconds_left is None else standing.seconds_left
        if left is None:
            return None
        lefts.append(left)
    if waiting and each is None:
        return None
    work = sum(lefts) + waiting * (each or 0.0)
    return max(work / max(1, at_a_time), *lefts, 0.0)

"""Where a run in training stands: said by the process that trains it, in a file that goes when the run has ended.

    RESULTS/progress/<id>.json      written anew every few seconds; nothing depends on it

A process that is killed leaves its file behind; so a file says something only of a run whose claim is held.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import msgspec

from bench.reading.ordinary import read_ordinary
from bench.records.files import write_file

EVERY = 5.0
"""Seconds between two writings of a file."""

EVALUATING = "evaluating"
"""The phase in which points of the curve are measured."""


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """Where a run in training stands.

    Attributes:
        step: steps made of its budget, over all stages.
        of: that budget; 0 until the first step is made.
        loss: all terms together, mean over the last steps; None until it is measured.
        images_per_second: over the last steps, without what lies between them.
        phase: what it does that is no step, such as ``"evaluating"``, in a word or three; empty while it makes steps.
        share: how much of the phase is done, 0 to 1; None where that is not known.
        seconds_left: by what this part of the run has measured; None until there is a measure.
        started: when this part of the run began, in seconds of Unix time.
        moment: when this was so, likewise.
        host: the machine that trains it.
    """

    step: int = 0
    of: int = 0
    loss: float | None = None
    images_per_second: float | None = None
    phase: str = ""
    share: float | None = None
    seconds_left: float | None = None
    started: float = 0.0
    moment: float = 0.0
    host: str = ""

    @property
    def whole_seconds(self) -> float | None:
        """How long such a run takes from its beginning; None until that can be reckoned."""
        if self.seconds_left is None or not 0 <= self.step < self.of:
            return None
        return self.seconds_left * self.of / (self.of - self.step)


class StandingFile:
    """The file of one run, while it is trained; a context that leaves nothing behind.

    No run is worse off where the file cannot be written: that is not even said.

    Args:
        root: the results.
        run_id: the run's.
        beside: is told, too, and every time.
    """

    def __init__(self, root: Path, run_id: str, beside: Callable[[Standing], None] | None = None) -> None:
        self.path, self.beside = _path(root, run_id), beside
        self.written = time.monotonic()

    def __enter__(self) -> StandingFile:
        self._remove()  # what a process that was killed has left says nothing of this one
        return self

    def __exit__(self, *exception: object) -> None:
        self._remove()

    def tell(self, standing: Standing) -> None:
        """Say where the run stands; the file says it unless it was written a moment ago."""
        if self.beside:
            self.beside(standing)
        if time.monotonic() - self.written >= EVERY:
            self.written = time.monotonic()
            with contextlib.suppress(OSError):
                write_file(self.path, msgspec.json.encode(standing))

    def _remove(self) -> None:
        with contextlib.suppress(OSError):
            self.path.unlink()
            self.path.parent.rmdir()  # unless it has those of other runs


def read_standings(root: Path, runs: Iterable[str]) -> dict[str, Standing]:
    """Where runs stand whose claims are held, by id; none of those that have not said it yet."""
    standings = {}
    for run_id in runs:
        with contextlib.suppress(OSError, msgspec.MsgspecError):
            standings[run_id] = msgspec.json.decode(read_ordinary(_path(root, run_id)), type=Standing)
    return standings


def _path(root: Path, run_id: str) -> Path:
    return root / "progress" / f"{run_id}.json"

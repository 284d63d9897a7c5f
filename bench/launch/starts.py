"""Workers that ended before they were ready: one reason for all, or a mishap of one, which is started again."""

from __future__ import annotations

import time
from collections.abc import Callable

from bench.errors import InputError, printable
from bench.process import how_ended, last_line

PAUSES = (0.5, 2.0, 5.0)
"""Seconds before a worker is started again, by how many in a row have ended at their start; after these none is."""


class Starts:
    """Follows the starts of a launch's workers, each of which has a number.

    A worker that was killed is started again after a pause. One that ended by itself would do so again, unless another
    one does start; so it waits for that.
    """

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self._in_a_row = 0
        self._one_was_ready = False
        self._due: list[tuple[float, int]] = []
        self._held: list[tuple[int, str]] = []
        self._cause = ""

    @property
    def next_due(self) -> float:
        """When the next worker is to be started, on the clock of ``time.monotonic``."""
        return min((moment for moment, _ in self._due), default=float("inf"))

    def due(self) -> list[int]:
        """The numbers of the workers that are to be started now, each told once."""
        now = time.monotonic()
        numbers = [number for moment, number in self._due if moment <= now]
        self._due = [(moment, number) for moment, number in self._due if moment > now]
        return numbers

    def succeeded(self) -> None:
        """A worker is ready."""
        self._in_a_row, self._one_was_ready = 0, True
        held, self._held = self._held, []
        for number, ending in held:
            self._again(number, ending)

    def failed(self, number: int, code: int, printed: str) -> None:
        """A worker has ended at its start, with an exit code (minus the signal's number), having printed something."""
        words = last_line(printed)
        self._cause = words if code == 1 and printed.strip() else f"{how_ended(code)}: {words}"
        ending = (
            f"was {how_ended(code)} at its start" if code < 0 else f"ended at its start, {how_ended(code)}: {words}"
        )
        if code > 0 and not self._one_was_ready:
            self._held.append((number, ending))
        else:
            self._again(number, ending)

    def require(self, workers: int) -> None:
        """Raise ``InputError`` where no worker is there, and none will be."""
        if not workers and not self._due:
            raise InputError(f"workers cannot start: {self._cause}")

    def _again(self, number: int, ending: str) -> None:
        pauses = PAUSES[self._in_a_row :]
        self._in_a_row += 1
        if pauses:
            self._due.append((time.monotonic() + pauses[0], number))
        what = "started again" if pauses else f"not started again after {len(PAUSES)} more tries"
        self._say(printable(f"a worker {ending}; {what}"))

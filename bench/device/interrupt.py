"""Asking a run in training to stop: it finishes its step, writes its checkpoint and gives up its claim."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterable, Iterator
from types import FrameType


class Interrupted(BaseException):
    """A run stopped because it was asked to; what it had done is in its checkpoint.

    No ``Exception``, since nothing that handles the failure of a run may swallow it.
    """


_REASON: list[str] = []
_DEFERRED: list[bool] = []


def request(reason: str) -> None:
    """Ask for a stop, in words such as ``time limit``; safe in a signal handler. The first reason stays."""
    _REASON.append(reason)


def requested() -> str:
    """Why a stop was asked for; empty where it was not."""
    return _REASON[0] if _REASON else ""


def clear() -> None:
    """Forget that a stop was asked for."""
    _REASON.clear()


@contextlib.contextmanager
def deferred() -> Iterator[None]:
    """Inside, a signal only leaves a request: what is done there looks for it, and has something to write first."""
    _DEFERRED.append(True)
    try:
        yield
    finally:
        _DEFERRED.pop()


def on_signals(numbers: Iterable[signal.Signals]) -> None:
    """Have these signals ask for a stop, and stop at once where it is not deferred."""

    def ask(number: int, frame: FrameType | None) -> None:
        request(signal.Signals(number).name)
        if not _DEFERRED:
            raise Interrupted(requested())

    for number in numbers:
        signal.signal(number, ask)

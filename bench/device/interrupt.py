"""Being asked to stop: a run in training finishes its step, writes its checkpoint and gives up its claim.

The process in front of the runs hears Ctrl-C, SIGTERM (systemd, ``docker stop``, batch systems) and SIGHUP (a terminal
that is closed) alike.
"""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from types import FrameType

ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""The signals by which people and systems ask a process to end."""


class Interrupted(BaseException):
    """A run stopped because it was asked to; what it had done is in its checkpoint.

    No ``Exception``, since nothing that handles the failure of a run may swallow it.

    Attributes:
        is_kept: whether a checkpoint of this moment was written.
        step, of: steps that the run has made then, of all its steps, where that is known.
    """

    def __init__(self, reason: str, is_kept: bool = False) -> None:
        super().__init__(reason)
        self.is_kept = is_kept
        self.step, self.of = 0, 0


class Stopped(KeyboardInterrupt):
    """The process in front was asked to end, by a signal of this number."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.number = number

    @property
    def exit_code(self) -> int:
        """As a shell gives it for a process that a signal has ended."""
        return 128 + self.number


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


@contextlib.contextmanager
def raised() -> Iterator[None]:
    """Inside, each of ``ENDING`` raises ``Stopped``, the second one too: what is done about the first may take a while.

    What this process ignores, as a program behind ``nohup`` does, stays ignored.
    """

    def stop(number: int, frame: FrameType | None) -> None:
        raise Stopped(number)

    with _heard_by(stop):
        yield


@contextlib.contextmanager
def postponed() -> Iterator[None]:
    """Inside, ``ENDING`` is not heard, neither by this process nor by those it starts; at the end it is."""
    heard: list[int] = []
    with _heard_by(lambda number, frame: heard.append(number)):
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, ENDING)  # a process that is started inherits it
        try:
            yield
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
    for number in heard[:1]:
        signal.raise_signal(number)


@contextlib.contextmanager
def _heard_by(handler: Callable[[int, FrameType | None], object]) -> Iterator[None]:
    """Inside, ``ENDING`` has a handler, where it is not ignored; only the main thread can give it one."""
    earlier = {}
    if threading.current_thread() is threading.main_thread():
        heeded = [number for number in ENDING if signal.getsignal(number) is not signal.SIG_IGN]
        earlier = {number: signal.signal(number, handler) for number in heeded}
    try:
        yield
    finally:
        for number, former in earlier.items():
            signal.signal(number, former)

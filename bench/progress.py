"""What a person sees while a grid is trained: a bar in a terminal, plain lines in a log."""

from __future__ import annotations

import sys
import time
from typing import Any

from tqdm import tqdm

from bench.launch import Event
from bench.state import State


class Watch:
    """Follows a launch.

    Args:
        before: the state of the plan at the start.
        retry: whether what failed before is trained again.
    """

    def __init__(self, before: State, retry: bool = False) -> None:
        self.total = before.runs
        self.before = before.done + (0 if retry else len(before.failed))
        self.done = 0
        self.failed = 0
        self.started = time.monotonic()
        self.terminal = sys.stderr.isatty()
        self.bar: tqdm[Any] | None = None

    def __enter__(self) -> Watch:
        if self.terminal and self.before < self.total:
            self.bar = tqdm(total=self.total, initial=self.before, unit="run", desc="starting workers", smoothing=0.1)
        return self

    def __exit__(self, *exception: object) -> None:
        if self.bar is not None:
            self.bar.close()

    def event(self, event: Event) -> None:
        """A run has ended."""
        self.done += event.status == "done"
        self.failed += event.status == "failed"
        line = self._line(event)
        if self.bar is None:
            print(line, file=sys.stderr, flush=True)
            return
        if event.status == "failed":
            self.bar.write(line, file=sys.stderr)
        self.bar.set_description("training" + f", {self.failed} failed" * bool(self.failed))
        self.bar.update()

    def _line(self, event: Event) -> str:
        ended = self.done + self.failed
        left = (time.monotonic() - self.started) / ended * (self.total - self.before - ended)
        what = event.message if event.status == "failed" else f"{event.top1:.1f} % in {event.seconds:.1f} s"
        return f"[{self.before + ended}/{self.total}, {left:.0f} s left] {event.status}: {event.label}: {what}"

"""What a person sees while a grid is trained: a bar in a terminal, plain lines in a log."""

from __future__ import annotations

import sys
import time
from typing import Any

from tqdm import tqdm

from bench.errors import printable
from bench.launch import Event


class Watch:
    """Follows a launch of a plan's runs, of which nobody trains those ``skipped``."""

    def __init__(self, total: int, skipped: int) -> None:
        self.total = total
        self.skipped = skipped
        self.done = 0
        self.failed = 0
        self.elsewhere = 0
        self.started = time.monotonic()
        self.steps: dict[str, tuple[float, int]] = {}
        self.terminal = sys.stderr.isatty()
        self.bar: tqdm[Any] | None = None

    def __enter__(self) -> Watch:
        if self.terminal and self.skipped < self.total:
            self.bar = tqdm(total=self.total, initial=self.skipped, unit="run", desc="starting workers", smoothing=0.1)
        return self

    def __exit__(self, *exception: object) -> None:
        if self.bar is not None:
            self.bar.close()

    def event(self, event: Event) -> None:
        """A run has ended, or has come a bit further."""
        if event.status == "training":
            self._further(event)
            return
        self.steps.pop(event.run_id, None)
        self.done += event.status == "done"
        self.failed += event.status == "failed"
        self.elsewhere += event.status == "elsewhere"
        line = self._line(event)
        if self.bar is None:
            print(line, file=sys.stderr, flush=True)
            return
        if event.status == "failed":
            self.bar.write(line, file=sys.stderr)
        self._describe()
        self.bar.update()

    def _describe(self) -> None:
        assert self.bar is not None
        self.bar.set_description(
            "training"
            + f", {self.failed} failed" * bool(self.failed)
            + f", {self.elsewhere} elsewhere" * bool(self.elsewhere)
        )

    def _further(self, event: Event) -> None:
        """Show how far a run is, and when it will end, behind the bar."""
        now = time.monotonic()
        since, first = self.steps.setdefault(event.run_id, (now, event.step))
        if self.bar is None or event.step == first:
            return
        self._describe()
        seconds = (now - since) / (event.step - first) * (event.of - event.step)
        name, _, rest = printable(event.label).partition(" ")
        seed, remaining = rest.rpartition(" ")[2], tqdm.format_interval(seconds)
        self.bar.set_postfix_str(f"{name} {seed}: step {event.step}/{event.of}, {remaining} left")

    def _line(self, event: Event) -> str:
        ended = self.done + self.failed + self.elsewhere
        seconds = (time.monotonic() - self.started) / ended * (self.total - self.skipped - ended)
        what = f"{event.top1:.1f} % in {event.seconds:.1f} s" if event.status == "done" else printable(event.message)
        return f"[{self.skipped + ended}/{self.total}, {seconds:.0f} s left] {event.status}: {event.label}: {what}"

"""What a person sees while a grid is trained: a live picture in a terminal, plain lines in a log."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from itertools import islice

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from bench.commands.standings import duration, line, table
from bench.errors import printable
from bench.launch import Event
from bench.launch.remaining import seconds_left
from bench.plan.table import Plan
from bench.records.standing import Standing

PAUSE, LONGEST_PAUSE = 60.0, 600.0
"""Seconds between two looks at the runs in training, in a log: at first, and of a launch that takes days."""

LISTED = 4
"""Runs in training that such a look lists."""


def screen() -> Console | None:
    """The terminal behind standard error; None where there is none that lines can be drawn anew in."""
    if not sys.stderr.isatty():
        return None
    console = Console(stderr=True, force_terminal=True, highlight=False)
    return None if console.is_dumb_terminal else console


class Watch:
    """Follows a launch of a plan's runs, of which nobody trains those ``skipped``.

    Args:
        jobs: runs at a time, where that is known.
        console: the terminal; without one, there are plain lines.
        values: by the id of a run, what its label does not say: the values that a sweep gives it.
    """

    def __init__(
        self,
        total: int,
        skipped: int,
        jobs: int = 0,
        console: Console | None = None,
        values: Mapping[str, str] | None = None,
    ) -> None:
        self.values = values or {}
        self.total, self.skipped, self.jobs = total, skipped, jobs
        self.done = self.failed = self.elsewhere = 0
        self.seconds = 0.0
        self.training: dict[str, tuple[str, Standing | None]] = {}
        self.most = 1
        self.started = self.looked = time.monotonic()
        self.console = console
        self.live = console and Live(
            get_renderable=self._picture, console=console, refresh_per_second=2, transient=True
        )

    @property
    def every(self) -> float:
        """Seconds between a worker's tellings that are of use here."""
        return 1.0 if self.live else 10.0

    def __enter__(self) -> Watch:
        if self.live:
            self.live.start(refresh=True)
        else:
            self._print(f"starting workers{self._at_a_time()}")
        return self

    def __exit__(self, *exception: object) -> None:
        if self.live:
            self.live.stop()

    def event(self, event: Event) -> None:
        """A run has ended, or has come a bit further."""
        values = self.values.get(event.run_id, "")
        label = f"{event.label}, {values}" if values else event.label
        if event.status == "training":
            self.training[event.run_id] = (label, event.standing)
            self.most = max(self.most, len(self.training))
            self._look()
            return
        self.training.pop(event.run_id, None)
        self.done += event.status == "done"
        self.seconds += event.seconds if event.status == "done" else 0.0
        self.failed += event.status == "failed"
        self.elsewhere += event.status == "elsewhere"
        if not self.live or event.status in ("failed", "crowded"):
            what = f"{event.score} in {event.seconds:.1f} s" if event.status == "done" else event.message
            what += "; it is trained again alone" if event.status == "crowded" else ""
            self._print(f"{self._place()} {event.status}: {label}: {what}")

    @property
    def ended(self) -> int:
        """Runs that have ended since the launch began."""
        return self.done + self.failed + self.elsewhere

    def seconds_left(self) -> float | None:
        """Until the last run has ended, by what this launch has measured."""
        standings = [standing for _, standing in list(self.training.values())]
        waiting = self.total - self.skipped - self.ended - len(standings)
        return seconds_left(standings, waiting, self.done, self.seconds, self.most)

    def _look(self) -> None:
        """In a log, say now and then where the runs in training stand."""
        now = time.monotonic()
        if self.live or now - self.looked < min(LONGEST_PAUSE, max(PAUSE, (now - self.started) / 30)):
            return
        self.looked = now
        more = f", {LISTED} of {len(self.training)}" if len(self.training) > LISTED else ""
        for label, standing in islice(self.training.values(), LISTED):
            self._print(f"{self._place()} in training{more}: {line(label, standing)}")

    def _place(self) -> str:
        left = self.seconds_left()
        return f"[{self.skipped + self.ended}/{self.total}" + (f", {duration(left)} left]" if left else "]")

    def _print(self, text: str) -> None:
        """A line of a log, or one above the picture."""
        if self.console:
            self.console.print(Text(printable(text)), soft_wrap=True)
        else:
            print(printable(text), file=sys.stderr, flush=True)

    def _at_a_time(self) -> str:
        return f": {self.jobs} run{'s' * (self.jobs != 1)} at a time" if self.jobs else ""

    def _picture(self) -> RenderableType:
        """The grid in a line, and below it the runs in training, as many as fit."""
        assert self.console is not None
        width, height = self.console.size
        training = list(self.training.values())
        done = f"{self.skipped + self.ended}/{self.total} runs"
        counts = ((len(training), "in training"), (self.failed, "failed"), (self.elsewhere, "elsewhere"))
        facts = [done, *(f"{count} {what}" for count, what in counts if count)]
        if training or self.ended:
            left = self.seconds_left()
            facts += [f"{duration(left)} left"] if left else []
        else:
            facts.append(f"starting workers{self._at_a_time()}, {duration(time.monotonic() - self.started)}")
        steps = sum(standing.step / standing.of for _, standing in training if standing and standing.of)
        grid = Table.grid(padding=(0, 2, 0, 0), expand=True)
        grid.add_column(ratio=1)
        grid.add_column(no_wrap=True, overflow="ellipsis")
        bar = ProgressBar(total=self.total, completed=self.skipped + self.ended + steps)
        grid.add_row(bar, Text(", ".join(facts)))
        runs = [table(training, width, height - 3)] if training else []
        return Group(grid, *runs, "")  # on a line of its own the ^C that a terminal shows breaks no line of the picture


def swept_values(plan: Plan) -> dict[str, str]:
    """By the id of each run of a sweep the values that tell it from the others: ``lr=0.001``."""
    values: dict[str, str] = {}
    for planned in plan.tables:
        for _, cell in planned.places():
            if len(cell.candidates) < 2:
                continue
            for candidate in cell.candidates:
                typed = candidate.label.rpartition(" (")[2].removesuffix(")")
                values.update((spec.id, typed) for spec in candidate.runs)
    return values


@contextlib.contextmanager
def decoding(name: str) -> Iterator[Callable[[int, int], None]]:
    """Inside, what is given shows how many images of a dataset are decoded, of how many: a bar, or plain lines."""
    console, label = screen(), f"decoding {printable(name)}"
    if console is None:
        yield _lines(label)
        return
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as bars:
        task = bars.add_task(label, total=None)
        yield lambda done, of: bars.update(task, completed=done, total=of)


def _lines(label: str) -> Callable[[int, int], None]:
    """A line at the beginning, and one a minute."""
    printed = time.monotonic()
    print(label, file=sys.stderr, flush=True)

    def progress(done: int, of: int) -> None:
        nonlocal printed
        if time.monotonic() - printed >= PAUSE:
            printed = time.monotonic()
            print(f"{label}: {done:,} of {of:,} images", file=sys.stderr, flush=True)

    return progress

"""Where runs in training stand, in words and as a table of the terminal."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from itertools import islice
from typing import TYPE_CHECKING

from bench.errors import printable
from bench.records.standing import Standing

if TYPE_CHECKING:
    from rich.table import Table

Row = tuple[str, Standing | None]
"""A run's label, and where it stands; None where it has not said so yet."""

SILENT = 120.0
"""Seconds after which it is said that a run has said nothing for so long."""

_SEED = re.compile(r" (\S+ % seed \S+)$")


def duration(seconds: float | None) -> str:
    """``0:12:30``, or ``3 d 4 h``; a dash where it is not known."""
    if seconds is None or not 0 <= seconds < 1e9:
        return "–"
    days, rest = divmod(round(seconds), 86400)
    if days:
        return f"{days} d {rest // 3600} h"
    return f"{rest // 3600}:{rest // 60 % 60:02}:{rest % 60:02}"


def line(label: str, standing: Standing | None) -> str:
    """A run in training as a line of a log."""
    if standing is None:
        return printable(f"{label}: it begins")
    facts = [_phase(standing)] if standing.phase else []
    if standing.of:
        facts.append(f"step {standing.step}/{standing.of}")
    if standing.loss is not None:
        facts.append(f"loss {standing.loss:.4g}")
    if standing.images_per_second is not None:
        facts.append(f"{_speed(standing)} images/s")
    if standing.seconds_left is not None:
        facts.append(f"{duration(standing.seconds_left)} left")
    if silent := _silent(standing):
        facts.append(silent)
    return printable(f"{label}: {', '.join(facts) or 'it begins'}")


def table(rows: Sequence[Row], width: int, lines: int) -> Table:
    """The runs in training in so many lines of a terminal; what does not fit is counted in the last one.

    Of a narrow terminal speed and loss are left out, and labels are cut.
    """
    from rich.table import Table  # slow to import, and not needed by most commands
    from rich.text import Text

    with_loss, with_speed = width >= 56, width >= 68
    grid = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, expand=True, width=width, header_style="dim")
    grid.add_column("in training", ratio=1, no_wrap=True, overflow="ellipsis")
    grid.add_column("", no_wrap=True, overflow="ellipsis")
    grid.add_column("step", justify="right", no_wrap=True, overflow="ellipsis")
    if with_loss:
        grid.add_column("loss", justify="right", no_wrap=True, overflow="ellipsis")
    if with_speed:
        grid.add_column("images/s", justify="right", no_wrap=True, overflow="ellipsis")
    grid.add_column("left", justify="right", no_wrap=True, overflow="ellipsis")
    room = max(1, lines - 1)
    fits = len(rows) if len(rows) <= room else max(1, room - 1)
    for label, standing in islice(rows, fits):
        where = standing or Standing(phase="it begins")
        cells = [*_split(label), _where(where)]
        cells += [f"{where.loss:.4g}" if where.loss is not None else ""] * with_loss
        cells += [_speed(where) if where.images_per_second is not None else ""] * with_speed
        grid.add_row(*map(Text, cells), Text(duration(where.seconds_left)))
    if fits < len(rows):
        grid.add_row(Text(f"and {len(rows) - fits} more", style="dim"))
    return grid


def _split(label: str) -> tuple[str, str]:
    """What a run is of, which may be cut where it is long, and its rate and seed, which tell it from others."""
    text = printable(label)
    match = _SEED.search(text)
    return (text[: match.start()], match[1]) if match else (text, "")


def _where(standing: Standing) -> str:
    """The step or the phase; or that nothing is heard, where something should be."""
    if standing.phase and standing.share is None:
        return standing.phase
    return _silent(standing) or (_phase(standing) if standing.phase else f"{standing.step}/{standing.of}")


def _phase(standing: Standing) -> str:
    return standing.phase if standing.share is None else f"{standing.phase} {standing.share:.0%}".replace("%", " %")


def _speed(standing: Standing) -> str:
    speed = standing.images_per_second or 0.0
    return f"{speed:,.0f}" if speed >= 10 else f"{speed:.2g}"


def _silent(standing: Standing) -> str:
    """That a run has said nothing for a while, as where a file system hangs."""
    seconds = time.time() - standing.moment
    return f"silent for {duration(seconds)}" if standing.moment and seconds > SILENT else ""

"""Forecasts: what a launch was expected to take, written before it begins, and what its runs took since.

RESULTS/forecasts/<time>-<id>.json    seconds of each run that it was to train, and what they rest on

A run's first forecast counts: nothing of its grid has taught it. They are in no record and no id, and may be deleted.
"""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Collection, Mapping
from datetime import datetime
from pathlib import Path
from typing import Annotated

import msgspec

from bench.notation import counted
from bench.reading.ordinary import read_ordinary
from bench.records.files import write_file
from bench.records.store import UNSOUND, Finished, Store

FORM = 1
"""The form of the file."""

Seconds = Annotated[float, msgspec.Meta(ge=0, le=1e12)]
"""What a run may be expected to take; a file that says anything else was not written by a launch."""

_LEAST = 1e-9
"""Hours below which nothing was predicted that could be held against anything."""


class Forecast(msgspec.Struct, frozen=True, omit_defaults=True):
    """What the runs of a launch were expected to take.

    Attributes:
        seconds: of one GPU or core, by the run's id.
        gpu: whether that is a GPU.
        hardware: on which the times were measured that it was made of.
        bases: what it rests on, in words, with the number of runs.
        ranks: processes that share each run.
        command: what was typed.
    """

    form: int
    seconds: dict[str, Seconds]
    gpu: bool
    hardware: str
    bases: dict[str, int] = {}
    ranks: int = 1
    command: str = ""


class ForecastOutcome(msgspec.Struct, frozen=True):
    """What finished runs were expected to take and took, in hours of one GPU or core.

    Attributes:
        runs: that have a forecast and are finished, each on GPUs of its own; ``of`` so many that have one.
        elsewhere: the hardware that the last of them was trained on, where it is another one than the forecast's.
    """

    predicted_hours: float
    measured_hours: float
    ratio: float
    runs: int
    of: int
    gpu: bool
    hardware: str
    bases: dict[str, int]
    elsewhere: str = ""


def keep_forecast(root: Path, forecast: Forecast) -> Path:
    """Write a forecast, whole or not at all. Raises ``OSError``."""
    path = root / "forecasts" / f"{datetime.now():%Y%m%dT%H%M%S.%f}-{uuid.uuid4().hex[:6]}.json"
    write_file(path, msgspec.json.encode(forecast) + b"\n")
    return path


def read_forecasts(root: Path) -> list[Forecast]:
    """Every forecast of a folder of results, the first one first; what cannot be read, or is newer, is none."""
    forecasts = []
    for path in sorted((root / "forecasts").glob("*.json")):
        with contextlib.suppress(*UNSOUND):
            forecast = msgspec.json.decode(read_ordinary(path), type=Forecast)
            if forecast.form <= FORM:
                forecasts.append(forecast)
    return forecasts


def outcome_of(store: Store, runs: Collection[str], finished: Mapping[str, Finished]) -> ForecastOutcome | None:
    """How the forecasts of some runs, by id, came out; None where none of those finished had one.

    Of runs that were forecast for a GPU and for a core, those of the kind count that the first of them has. A run that
    shared its GPU is not held against a forecast, which is of runs that have theirs: its seconds are others' as well.
    """
    first: dict[str, Forecast] = {}
    for forecast in read_forecasts(store.root):
        for run_id in forecast.seconds:
            if run_id in runs and run_id not in first and (not first or forecast.gpu == next(iter(first.values())).gpu):
                first[run_id] = forecast
    done = [run for run_id in first if run_id in finished and (run := finished[run_id]).on_gpu == 1]
    predicted = sum(first[run.id].seconds[run.id] for run in done) / 3600
    if predicted < _LEAST:
        return None
    measured = sum(run.ranks * run.seconds for run in done) / 3600
    last = first[done[-1].id]
    return ForecastOutcome(
        predicted_hours=predicted,
        measured_hours=measured,
        ratio=measured / predicted,
        runs=len(done),
        of=len(first),
        gpu=last.gpu,
        hardware=last.hardware,
        bases=last.bases,
        elsewhere=_elsewhere(store, done[-1].folder, last.hardware),
    )


def _elsewhere(store: Store, folder: str, hardware: str) -> str:
    """The hardware of a finished run, where it is another one."""
    for record, _ in store.records([folder]):
        facts = record.environment.facts
        gpu = next((gpu["name"] for gpu in facts.get("gpus") or ()), None)
        here = str(gpu or facts.get("processor") or "")
        return "" if here == hardware else here
    return ""


def in_words(outcome: ForecastOutcome) -> str:
    """``predicted 1.2 core-hours, took 1.3 (× 1.08) over 72 runs``, with what else is to be known of it."""
    unit = "GPU-hours" if outcome.gpu else "core-hours"
    over = counted(outcome.runs, "run") if outcome.runs == outcome.of else f"{outcome.runs:,} of {outcome.of:,} runs"
    words = f"predicted {_number(outcome.predicted_hours)} {unit}, took {_number(outcome.measured_hours)}"
    words += f" (× {outcome.ratio:.2f}) over {over}"
    return words + (f", on {outcome.elsewhere} where {outcome.hardware} was meant" if outcome.elsewhere else "")


def _number(hours: float) -> str:
    return f"{hours:,.0f}" if hours >= 100 else f"{hours:.2g}"

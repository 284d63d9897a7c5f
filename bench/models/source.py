"""The file of a run's trained model: the one beside its record, or that of the run trained again."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from bench.errors import InputError
from bench.launch.preflight import require_backbones
from bench.launch.rerun import Comparison, NotRepeated, compare, predictions_of, repeat, repeatable
from bench.models.kept import dataset_of
from bench.records.kept import Keep, best, kept_models, validation_metric
from bench.records.record import Record, Stored
from bench.records.store import UNSOUND, Store
from bench.registry import Registry


@dataclass(frozen=True)
class WantedPoint:
    """A point of a run's curve whose model is wanted: the step, and what has to be kept so that it is there."""

    step: int
    keep: str


@dataclass(frozen=True)
class Source:
    """The file of a model, with the record of the run that it is of.

    Attributes:
        comparison: with the record that was named, where the run was trained again.
    """

    path: Path
    record: Record
    comparison: Comparison | None = None


def choose_point(asked: str, stored: Stored, registry: Registry) -> WantedPoint:
    """The point that is asked for: ``last``, ``best-val``, a step; nothing: the one that is kept, or else the last.

    Raises ``InputError`` where the run has no such point.
    """
    record, kept = stored.record, kept_models(stored.folder)
    if not isinstance(record, Record):
        raise InputError(f"{stored.folder}: the run did not finish, so it has no trained model")
    steps = [point.step for point in record.curve]
    try:
        card = dataset_of(record.run.dataset.name, registry)
    except UNSOUND:
        raise InputError(f"{stored.folder}: the record is damaged: its spec cannot be read") from None
    chosen = best(record.curve, validation_metric(card.metric) if card else record.metric)
    asked = asked or ("last" if steps[-1] in kept or len(kept) != 1 else str(next(iter(kept))))
    if asked == "best-val" and chosen is None:
        raise InputError(f"--point best-val: {record.label} has no validation split; --point last takes the last model")
    named = {"last": steps[-1], "best-val": chosen.step if chosen else None}
    step = named.get(asked, int(asked) if asked.isdecimal() and len(asked) < 12 else None)
    if step not in steps:
        listed = ", ".join(map(str, steps))
        raise InputError(
            f"--point {asked}: write last, best-val or a step at which {record.label} was scored: {listed}"
        )
    if step == steps[-1]:
        return WantedPoint(step, "last")
    return WantedPoint(step, "best-val" if chosen and step == chosen.step else "all")


@contextlib.contextmanager
def source_of(
    stored: Stored, choice: WantedPoint, registry: Registry, results: Path, command: str, say: Callable[[str], None]
) -> Iterator[Source]:
    """The model's file; inside, it is there. Where it was not kept, the run is trained again, in a worker of its own.

    That is done in a folder of the results' drafts, so that a repetition that is stopped goes on where it was. Raises
    ``InputError`` where the run cannot be repeated here, or fails.
    """
    record = stored.record
    assert isinstance(record, Record)
    if path := kept_models(stored.folder).get(choice.step):
        yield Source(path, record)
        return
    spec = repeatable(stored, registry)
    folder = results / "drafts" / f"export-{spec.id}-{choice.keep}"
    say(f"no model of it was kept: training it again (it took {record.timing.seconds:,.1f} s)")
    require_backbones([spec], registry, say)
    Store(results).check_writable()
    try:
        again, place = repeat(spec, registry, folder, command, keep=str(Keep(choice.keep)))
    except NotRepeated as error:
        shutil.rmtree(folder, ignore_errors=True)
        raise InputError(f"{record.label}: it failed when it was trained again: {error}") from None
    kept = kept_models(place)
    try:
        if not kept:
            raise InputError(f"{record.label}: trained again, it kept no model; see {place}/log.txt")
        path = kept.get(choice.step) or list(kept.values())[-1]
        yield Source(path, again, compare(record, again, predictions_of(stored.folder), predictions_of(place)))
    finally:
        shutil.rmtree(folder, ignore_errors=True)

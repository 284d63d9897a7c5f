"""A finished run trained again from its record, and what differs."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from bench.errors import InputError
from bench.launch import Job, LocalExecutor
from bench.launch import run as launch
from bench.records.record import Newer, Point, Record, Stored, read_record
from bench.records.store import UNSOUND, Store
from bench.registry import Registry
from bench.spec import MethodSpec, RunSpec

Predictions = Mapping[str, npt.NDArray[Any]]

_DECIDES = ("python", "packages", "platform", "processor", "instructions", "threads", "gpus", "cuda", "git")
"""What of an environment can change a run's numbers."""


class NotRepeated(Exception):
    """The run failed when it was trained again; the message says how."""


@dataclass(frozen=True)
class Comparison:
    """A run and its repetition.

    Attributes:
        points: of the curve.
        arrays: of predictions that were compared; 0 where the record came without them.
        numbers: what differs in curve and predictions, a sentence each; empty where all is equal to the last bit.
        environment: what differs in versions, hardware and code, ``name: then → now``.
    """

    points: int
    arrays: int
    numbers: tuple[str, ...]
    environment: tuple[str, ...]

    @property
    def equal(self) -> bool:
        """Whether every number is the same to the last bit."""
        return not self.numbers


def find_record(name: str, store: Store) -> Stored:
    """A record, with the folder it lies in.

    Args:
        name: the beginning of a run's id, or the path of a ``record.json`` or of its folder.
        store: where ids are looked up.

    Raises:
        InputError: there is none, or it is damaged, or of a newer version.
    """
    if re.fullmatch(r"[0-9a-f]{4,12}", name):
        return store.record(name)
    path = Path(name).expanduser()
    path = path / "record.json" if path.is_dir() else path
    if not path.is_file():
        raise InputError(f"'{name}' is neither the beginning of a run's id (4 to 12 of 0-9a-f) nor a record.json")
    try:
        return Stored(read_record(path.read_bytes()), path.parent)
    except Newer as newer:
        raise InputError(f"{path}: written by a newer version ({newer}); update the suite") from None
    except UNSOUND:
        raise InputError(f"{path}: it is not the record of a run, or it is damaged") from None


def repeatable(stored: Stored, registry: Registry) -> RunSpec:
    """The spec of a record that can be repeated here.

    Raises:
        InputError: the run did not finish, the record does not fit its id, or what it was trained with is not here or
            has changed.
    """
    record, place = stored
    if not isinstance(record, Record):
        raise InputError(f"{place}: the run did not finish; 'bench run' with --retry trains it again")
    try:
        spec = record.run
        sound = bool(spec.id and spec.label and record.subset)
    except UNSOUND:
        sound = False
    if not sound:
        raise InputError(f"{place}: the record is damaged: its spec or its subset cannot be read")
    if spec.id != record.id:
        raise InputError(
            f"{place}: its spec is now that of another run, {spec.id}: the suite trains it otherwise since "
            f"{_made_with(record)}, or the record was edited; use that version"
        )
    for method in (spec.method, *spec.method.policies):
        _same_method(method, stored, registry)
    for named, card in (
        (spec.backbone, registry.backbone(spec.backbone.name)),
        (spec.dataset, registry.dataset(spec.dataset.name)),
    ):
        if card.means != named.means:
            raise InputError(f"{named.name}: it is not what the record was made with ({named.means}, now {card.means})")
    registry.dataset(spec.dataset.name).require_files()
    return spec


def repeat(spec: RunSpec, registry: Registry, folder: Path, command: str = "") -> tuple[Record, Path]:
    """Train a run in a worker of its own, with nothing of an earlier one.

    Args:
        spec: the run.
        registry: finds its method, backbone and dataset.
        folder: an empty folder for the new record.
        command: what was typed.

    Returns:
        The new record, and the folder it lies in.

    Raises:
        NotRepeated: it fails.
    """
    launch([spec], Job(folder, registry.plugins, command), LocalExecutor(jobs=1))
    record, place = Store(folder).record(spec.id)
    if not isinstance(record, Record):
        raise NotRepeated(f"{record.error.kind}: {record.error.message}")
    return record, place


def predictions_of(folder: Path) -> dict[str, npt.NDArray[Any]] | None:
    """The predictions beside a record; None where there are none. Raises ``InputError`` where they are damaged."""
    path = folder / "predictions.npz"
    if not path.is_file():
        return None
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            return {name: arrays[name] for name in sorted(arrays.files)}
    except Exception:  # a damaged archive makes zipfile, zlib and numpy raise what they like
        raise InputError(
            f"{path}: the predictions are damaged; without the file, the curve alone is compared"
        ) from None


def compare(then: Record, now: Record, before: Predictions | None, after: Predictions | None) -> Comparison:
    """What differs between two records of one run; what the older one does not say cannot differ.

    Args:
        then: the older record.
        now: the newer one.
        before: the predictions of the older one, where there are some.
        after: those of the newer one.
    """
    numbers = [*_subset(then, now), *_curves(then.curve, now.curve)]
    arrays = 0
    if before is not None and after is not None:
        arrays = len(before)
        numbers += _predictions(before, after)
    return Comparison(len(then.curve), arrays, tuple(numbers), tuple(_environments(then, now)))


def _made_with(record: Record) -> str:
    """The version and commit of the suite that a record names."""
    environment = record.environment.facts
    version = (environment.get("packages") or {}).get("finetune-bench") or "?"
    commit = (environment.get("git") or {}).get("commit")
    return f"version {version}" + (f" (commit {str(commit)[:12]})" if commit else "")


def _same_method(spec: MethodSpec, stored: Stored, registry: Registry) -> None:
    """Raise ``InputError`` where a method is not here, or not the one of the record."""
    record, folder = stored
    assert isinstance(record, Record)
    if spec.name not in registry.method_files:
        plugins = record.environment.facts.get("plugins") or []
        named = _word(plugins) if plugins else "the record names none"
        raise InputError(f"no method is called '{spec.name}': give the plugin it is in with --plugin ({named})")
    card = registry.method(spec.name)
    if card.means != spec.means:
        raise InputError(
            f"{card.path}: the method is not the one that was trained: its code was {spec.means} and is {card.means} "
            f"now; bring back the file as it was with {_made_with(record)}, or train the new one with 'bench run'"
        )
    card.resolve(dict(spec.hyper), f"{folder}/record.json")


def _subset(then: Record, now: Record) -> Iterator[str]:
    if then.subset and now.subset and then.subset.digest != now.subset.digest:
        yield "other training images were drawn"


def _curves(then: Sequence[Point], now: Sequence[Point]) -> Iterator[str]:
    """Where two curves differ, and by how much at most; how long they took is no difference."""
    steps = [point.step for point in then], [point.step for point in now]
    if steps[0] != steps[1]:
        yield f"the curve has its points at steps {_listed(steps[0])}, and now at {_listed(steps[1])}"
        return
    old, new = [_flat(point) for point in then], [_flat(point) for point in now]
    measured = {name.rpartition(".")[2] for point in old for name in point}
    names = dict.fromkeys(name for point in (*old, *new) for name in point)
    for name in [name for name in names if name.rpartition(".")[2] in measured]:
        pairs = [(a.get(name), b.get(name), at) for a, b, at in zip(old, new, steps[0], strict=True)]
        wrong = [(a, b, at) for a, b, at in pairs if a != b]
        gaps = [(abs(a - b), at) for a, b, at in wrong if a is not None and b is not None]
        if len(gaps) < len(wrong):
            yield f"{name}: it is not in both"
        elif gaps:
            most, at = max(gaps)
            yield f"{name}: differs at {len(gaps)} of {len(old)} points, most at step {at}: by {most:.3g}"


def _flat(point: Point) -> dict[str, float]:
    """The numbers of a point by dotted names: ``test.top1``; those that are not known are left out."""
    numbers = {"learning_rate": point.learning_rate}
    for part, values in (("loss", point.loss), ("val", point.val or {}), ("test", point.test)):
        numbers |= {f"{part}.{name}": value for name, value in values.items()}
    return {name: value for name, value in numbers.items() if value is not None}


def _listed(steps: list[int]) -> str:
    told = ", ".join(str(step) for step in steps[:8])
    return told + (", ..." if len(steps) > 8 else "")


def _predictions(before: Predictions, after: Predictions) -> Iterator[str]:
    """Which arrays differ, and in how many images."""
    for name, old in sorted(before.items()):
        new = after.get(name)
        if new is None or (old.shape, old.dtype) != (new.shape, new.dtype):
            yield f"predictions.{name}: not of the same form in both"
        elif not np.array_equal(old, new):
            last = (old[-1] != new[-1]).mean() if old.ndim > 1 else (old != new).mean()
            yield f"predictions.{name}: {100 * last:.2f} % differ" + (" at the last point" if old.ndim > 1 else "")


def _environments(then: Record, now: Record) -> Iterator[str]:
    """What differs of what can change numbers; what an older record does not say cannot."""
    old, new = then.environment.facts, now.environment.facts
    pairs = [(key, old[key], new[key]) for key in _DECIDES if key in old and key in new]
    pairs += [(key, getattr(then, key), getattr(now, key)) for key in ("ranks", "parts") if getattr(then, key)]
    for key, a, b in pairs:
        if isinstance(a, Mapping) and isinstance(b, Mapping):
            yield from (
                _told(f"{key}.{part}", a.get(part), b.get(part)) for part in {**a, **b} if a.get(part) != b.get(part)
            )
        elif a != b:
            yield _told(key, a, b)


def _told(name: str, then: object, now: object) -> str:
    return f"{name}: {_word(then)} → {_word(now)}"


def _word(value: object) -> str:
    if value in (None, []):
        return "none"
    if isinstance(value, list):
        return ", ".join(str(item.get("name", item)) if isinstance(item, Mapping) else str(item) for item in value)
    return str(value)

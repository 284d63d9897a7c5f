"""A finished run trained again from its record, and what differs."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from bench.errors import InputError
from bench.launch import Event, Job, LocalExecutor
from bench.launch import run as launch
from bench.reading.ordinary import open_ordinary
from bench.records.record import Newer, Point, Record, Stored
from bench.records.seal import Unfit
from bench.records.store import UNSOUND, Store, read_stored
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
    """A record by the beginning of its run's id, or by the path of a ``record.json`` or of its folder.

    Raises ``InputError`` where there is none, or it is damaged, or of a newer version.
    """
    if re.fullmatch(r"[0-9a-f]{4,12}", name):
        return store.record(name)
    path = Path(name).expanduser()
    path = path / "record.json" if path.is_dir() else path
    if not path.is_file():
        raise InputError(f"'{name}' is neither the beginning of a run's id (4 to 12 of 0-9a-f) nor a record.json")
    try:
        return Stored(read_stored(path), path.parent)
    except Newer as newer:
        raise InputError(f"{path}: written by a newer version ({newer}); update the suite") from None
    except UNSOUND as error:
        why = f" ({error})" if isinstance(error, Unfit) else ""
        raise InputError(f"{path}: it is not the record of a run, or it is damaged{why}") from None


def repeatable(stored: Stored, registry: Registry) -> RunSpec:
    """The spec of a record that can be repeated here.

    Raises ``InputError`` where the run did not finish, the record does not fit its id, or what it was trained with is
    not here or has changed.
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
        _require_same_method(method, record, place, registry)
    dataset = registry.dataset(spec.dataset.name)
    for named, card in ((spec.backbone, registry.backbone(spec.backbone.name)), (spec.dataset, dataset)):
        if card.means != named.means:
            raise InputError(f"{named.name}: it is not what the record was made with ({named.means}, now {card.means})")
    dataset.require_files()
    return spec


def repeat(
    spec: RunSpec,
    registry: Registry,
    folder: Path,
    command: str = "",
    keep: str = "none",
    report: Callable[[Event], None] = lambda event: None,
    every: float = 0.0,
) -> tuple[Record, Path]:
    """Train a run in a worker of its own, with nothing of an earlier one; gives the new record and its folder.

    ``keep`` says which trained models lie in that folder. ``report`` is told every so many seconds where the run
    stands, and how it ended; after 0, of its end alone.

    Raises ``NotRepeated`` where it fails.
    """
    job = Job(folder, registry.plugins, command, progress=every, keep=keep)
    launch([spec], job, LocalExecutor(jobs=1), report)
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
        with open_ordinary(path) as file, np.load(file, allow_pickle=False) as arrays:
            return {name: arrays[name] for name in sorted(arrays.files)}
    except Exception:  # a damaged archive makes zipfile, zlib and numpy raise what they like
        raise InputError(
            f"{path}: the predictions are damaged; without the file, the curve alone is compared"
        ) from None


def compare(
    old: Record, new: Record, old_predictions: Predictions | None, new_predictions: Predictions | None
) -> Comparison:
    """What differs between two records of one run, and their predictions; what the older does not say cannot differ."""
    numbers = []
    if old.subset and new.subset and old.subset.digest != new.subset.digest:
        numbers.append("other training images were drawn")
    numbers += _curves(old.curve, new.curve)
    arrays = 0
    if old_predictions is not None and new_predictions is not None:
        arrays = len(old_predictions)
        numbers += _predictions(old_predictions, new_predictions)
    return Comparison(len(old.curve), arrays, tuple(numbers), tuple(_environments(old, new)))


def _made_with(record: Record) -> str:
    """The version and commit of the suite that a record names."""
    environment = record.environment.facts
    version = (environment.get("packages") or {}).get("finetune-bench") or "?"
    commit = (environment.get("git") or {}).get("commit")
    return f"version {version}" + (f" (commit {str(commit)[:12]})" if commit else "")


def _require_same_method(spec: MethodSpec, record: Record, folder: Path, registry: Registry) -> None:
    """Raise ``InputError`` where a method is not here, or not the one of the record."""
    if spec.name not in registry.method_files:
        plugins = record.environment.facts.get("plugins") or []
        names = _word(plugins) if plugins else "the record names none"
        raise InputError(f"no method is called '{spec.name}': give the plugin it is in with --plugin ({names})")
    card = registry.method(spec.name)
    if card.means != spec.means:
        raise InputError(
            f"{card.path}: the method is not the one that was trained: its code was {spec.means} and is {card.means} "
            f"now; bring back the file as it was with {_made_with(record)}, or train the new one with 'bench run'"
        )
    card.resolve(dict(spec.hyper), f"{folder}/record.json")


def _curves(old: Sequence[Point], new: Sequence[Point]) -> Iterator[str]:
    """Where two curves differ, and by how much at most; how long they took is no difference."""
    steps, new_steps = [point.step for point in old], [point.step for point in new]
    if steps != new_steps:
        yield f"the curve has its points at steps {_listed(steps)}, and now at {_listed(new_steps)}"
        return
    old_points, new_points = [_flat(point) for point in old], [_flat(point) for point in new]
    names = dict.fromkeys(itertools.chain(*old_points, *new_points))
    measured = {name.rpartition(".")[2] for name in itertools.chain(*old_points)}
    for name in names:
        if name.rpartition(".")[2] not in measured:
            continue
        if [name in point for point in old_points] != [name in point for point in new_points]:
            yield f"{name}: it is not in both"
            continue
        points = zip(steps, old_points, new_points, strict=True)
        gaps = [(abs(a[name] - b[name]), step) for step, a, b in points if a.get(name) != b.get(name)]
        if gaps:
            most, at = max(gaps)
            yield f"{name}: differs at {len(gaps)} of {len(steps)} points, most at step {at}: by {most:.3g}"


def _flat(point: Point) -> dict[str, float]:
    """The numbers of a point by dotted names: ``test.top1``; those that are not known are left out."""
    numbers = {"learning_rate": point.learning_rate}
    for group, values in (("loss", point.loss), ("val", point.val or {}), ("test", point.test)):
        numbers |= {f"{group}.{name}": value for name, value in values.items()}
    return {name: value for name, value in numbers.items() if value is not None}


def _listed(steps: list[int]) -> str:
    return ", ".join(map(str, steps[:8])) + (", ..." if len(steps) > 8 else "")


def _predictions(old: Predictions, new: Predictions) -> Iterator[str]:
    """Which arrays differ, and in how many images."""
    for name, a in sorted(old.items()):
        b = new.get(name)
        if b is None or (a.shape, a.dtype) != (b.shape, b.dtype):
            yield f"predictions.{name}: not of the same form in both"
        elif not np.array_equal(a, b):
            last = (a[-1] != b[-1]).mean() if a.ndim > 1 else (a != b).mean()
            yield f"predictions.{name}: {100 * last:.2f} % differ" + (" at the last point" if a.ndim > 1 else "")


def _environments(old: Record, new: Record) -> Iterator[str]:
    """What differs of what can change numbers; what an older record does not say cannot."""
    facts, new_facts = old.environment.facts, new.environment.facts
    pairs = [(key, facts[key], new_facts[key]) for key in _DECIDES if key in facts and key in new_facts]
    pairs += [(key, getattr(old, key), getattr(new, key)) for key in ("ranks", "parts") if getattr(old, key)]
    for key, a, b in pairs:
        differing = [(key, a, b)]
        if isinstance(a, Mapping) and isinstance(b, Mapping):
            differing = [(f"{key}.{name}", a.get(name), b.get(name)) for name in {**a, **b}]
        yield from (f"{name}: {_word(then)} → {_word(now)}" for name, then, now in differing if then != now)


def _word(value: object) -> str:
    if value in (None, []):
        return "none"
    if isinstance(value, list):
        return ", ".join(str(item.get("name", item)) if isinstance(item, Mapping) else str(item) for item in value)
    return str(value)

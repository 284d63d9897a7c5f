"""Trained models beside the record of their run: which points of its curve are kept, and what a file says of itself."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from bench.errors import InputError, choose
from bench.metrics import METRICS, TOP1, Metric
from bench.records.record import Point

KEEPS = ("none", "last", "best-val", "all")
"""The points of a run's curve whose models may be kept."""

WAYS = ("half", "changes")
"""How they may be kept smaller: in half precision; without what is still the backbone's own."""

FORM = 1
"""The form of a file's facts; one of a newer form is not read."""

_FILE = re.compile(r"model-(\d+)\.safetensors")


@dataclass(frozen=True)
class Keep:
    """Which trained models of a run are kept, and how.

    Attributes:
        points: one of ``KEEPS``.
        half: numbers take two bytes; those that half precision cannot hold stay as they are.
        changes: tensors of the backbone that are bit for bit those of its published weights are left out.
    """

    points: str = "none"
    half: bool = False
    changes: bool = False

    def __str__(self) -> str:
        return ",".join((self.points, *(way for way in WAYS if getattr(self, way))))

    def __bool__(self) -> bool:
        return self.points != "none"

    def steps(self, curve: Sequence[Point], metric: Metric) -> list[int]:
        """The steps of a finished run at which its models are kept."""
        if self.points == "all":
            return [point.step for point in curve]
        point = best(curve, metric) if self.points == "best-val" else curve[-1]
        return [point.step] if self and point else []


NOTHING = Keep()


class ModelFacts(Struct, frozen=True, kw_only=True):
    """What a file with a trained model says of itself.

    Attributes:
        run: the id of the run; so are ``label`` and ``spec`` those of its record.
        step: of the point of its curve at which the model was scored.
        classes: their names, in the order of the logits.
        image_size: pixels a side.
        mean: of the pixels, per channel, with which the network is given images in 0..1; so is ``std``.
        augmentation: of the run's training; it decides how an image is brought to size (``bench.data.test_view``).
        precision: in which the run scored it.
        task: what it was trained at, where that is not classification.
        half: whether numbers were rounded to half precision.
        left_out: tensors that are those of the backbone's published weights, with the digest of each.
    """

    form: int = FORM
    run: str
    label: str
    spec: dict[str, Any]
    step: int
    classes: Annotated[list[str], Meta(min_length=1)]
    image_size: Annotated[int, Meta(ge=1, le=10_000)]
    mean: list[float]
    std: list[float]
    augmentation: str
    precision: str
    half: bool = False
    left_out: dict[str, str] = {}
    task: str | UnsetType = UNSET

    def __post_init__(self) -> None:
        if len(self.mean) != len(self.std) or not self.mean:
            raise ValueError("mean and std have a number for each channel")
        if not all(map(math.isfinite, self.mean)) or not all(map(_is_deviation, self.std)):
            raise ValueError("mean and std are finite numbers, and no deviation is 0")

    @property
    def channels(self) -> int:
        return len(self.mean)


def read_keep(text: str, place: str) -> Keep:
    """What was written at a place: ``last``, ``best-val,half``. Raises ``InputError`` where it says something else."""
    points, *ways = (word.strip() for word in text.split(","))
    if points not in KEEPS:
        raise InputError(f"{place}: {choose(points, KEEPS, 'choice of models to keep')}")
    for way in ways:
        if way not in WAYS:
            raise InputError(f"{place}: {choose(way, WAYS, 'way to keep models smaller')}")
    keep = Keep(points, **{way: way in ways for way in WAYS})
    if ways and not keep:
        raise InputError(f"{place}: '{text}' keeps no model, so none can be kept smaller; write last,{ways[0]}")
    return keep


def best(curve: Sequence[Point], metric: Metric) -> Point | None:
    """The first point of the best validation score; None where no point has one."""
    scored = [(metric.sign * value, point) for point in curve if (value := _validated(point, metric)) is not None]
    return max(scored, key=lambda pair: pair[0])[1] if scored else None


def validation_metric(name: str) -> Metric:
    """The metric by which the best point is chosen: the dataset's usual one, if the suite has it, or else top-1."""
    metric = METRICS.get(name, TOP1)
    return metric if metric.of_curve else TOP1


def kept_name(step: int) -> str:
    """The name of the file of the model after so many steps."""
    return f"model-{step}.safetensors"


def kept_models(folder: Path) -> dict[int, Path]:
    """The models beside a record, by the step they were scored at."""
    matches = ((_FILE.fullmatch(path.name), path) for path in folder.glob("model-*.safetensors"))
    return dict(sorted((int(match[1]), path) for match, path in matches if match))


def read_facts(path: Path) -> ModelFacts:
    """What a file with a trained model says of itself; torch is not needed.

    Raises ``InputError``: it is no such file, or damaged, or of a newer form.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "np") as file:
            text = (file.metadata() or {}).get("bench", "")
        return parse_facts(text, path)
    except (SafetensorError, OSError) as error:
        raise InputError(f"{path}: it cannot be read as safetensors: {error}") from None


def parse_facts(text: str | bytes, path: Path) -> ModelFacts:
    """Facts as a file has them. Raises ``InputError`` where they are none, or of a newer form."""
    try:
        facts = msgspec.json.decode(text, type=ModelFacts)
    except (msgspec.MsgspecError, RecursionError) as error:
        problem = f" ({error})" if text else ""
        raise InputError(
            f"{path}: it does not say of which run its model is{problem}; 'bench export' writes such files"
        ) from None
    if facts.form > FORM:
        raise InputError(f"{path}: written by a newer version (form {facts.form}); update the suite")
    return facts


def _is_deviation(value: float) -> bool:
    return math.isfinite(value) and value > 0


def _validated(point: Point, metric: Metric) -> float | None:
    value = (point.val or {}).get(metric.name)
    return None if value is None or math.isnan(value) else value

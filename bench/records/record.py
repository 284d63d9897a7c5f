"""The record of a run as it is written: its parts, their types, and how older forms become this one."""

from __future__ import annotations

import inspect
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, NamedTuple, TypeVar

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from bench.metrics import CLASSIFICATION, Metric, score_of
from bench.records.compiled import Compiled
from bench.records.seal import Unfit, is_sealed, sealed
from bench.spec import RunSpec, from_json, to_json

SCHEMA = 2
"""The form of a record; a record of a newer one is never touched.

2: a point of the curve keeps every metric, and the seconds of training until then; the number of right answers, which
is top-1 times the images, is gone.
"""

Count = Annotated[int, Meta(ge=0)]
Scores = dict[str, float | None]
"""The metrics of a split at a point by name (``bench.metrics``); null where one is no finite number.

``top1@noise`` is one of a further test, in the place of the test split, or of a further model (``top1@raw``).
"""


class Newer(Exception):
    """A record is of a newer form; ``schema`` says which."""

    def __init__(self, schema: int) -> None:
        super().__init__(f"schema {schema}")
        self.schema = schema


class Point(Struct, frozen=True, kw_only=True):
    """A point of a run's curve.

    Attributes:
        step: steps made, over all stages.
        learning_rate: of the last one.
        loss: mean of each term of the loss since the point before.
        val: metrics on the validation split; null where there is none.
        test: metrics on the test split.
        seconds: of training until then, evaluation left out; null in records of schema 1.
    """

    step: Count
    learning_rate: float | None = None
    loss: dict[str, float | None] = {}
    val: Scores | None = None
    test: Scores
    seconds: float | None = None

    def __post_init__(self) -> None:
        for scores in (self.val, self.test):
            for name, top1 in (scores or {}).items():
                if name.partition("@")[0] == "top1" and (top1 is None or not 0 <= top1 <= 100):  # nan is in no range
                    raise ValueError(f"step {self.step}: {name} is a number from 0 to 100, not {top1}")


class TrainedStage(Struct, frozen=True):
    """A stage that was trained.

    Attributes:
        steps: that it took.
        budget: of them, those of the run's budget.
        batch_size: images a step.
        trained_weights: numbers that were trained.
        shared: of a stage that runs share: its key, and whether it was taken.
    """

    steps: Count = 0
    budget: Count = 0
    batch_size: Count = 0
    trained_weights: Count = 0
    shared: dict[str, Any] | UnsetType = UNSET


class Subset(Struct, frozen=True):
    """The training images that were drawn: how many, of how many, and a digest of which."""

    digest: str
    images: Count = 0
    of: Count = 0


class Timing(Struct, frozen=True):
    """Seconds of a run, and of them those of its evaluations.

    Attributes:
        shared_seconds: of them, those in which stages that runs share were trained, waited for or taken.
        shared_images: on which such stages were trained in them, each time it was seen.
    """

    seconds: float
    evaluation_seconds: float | None = None
    shared_seconds: float | UnsetType = UNSET
    shared_images: Count | UnsetType = UNSET


class Energy(Struct, frozen=True):
    """Joules of whole processors and GPUs; null where they cannot be read."""

    processor: float | None = None
    gpu: float | None = None


class Usage(Struct, frozen=True):
    """What a run took.

    Attributes:
        parts: times that it was begun or taken up.
        seconds: wall-clock, over all parts.
        cpu_seconds: of the process.
        memory_bytes: peak resident, mapped files included; null where it cannot be known.
        gpu_memory_bytes: peak allocated, of the GPU with the most; null where none was used.
        energy_joules: of processors and GPUs.
        gpu_reserved_bytes: the most that torch held of a GPU, allocated or not; null where none was used.
    """

    parts: Count
    seconds: float
    cpu_seconds: float
    memory_bytes: int | None = None
    gpu_memory_bytes: int | None = None
    energy_joules: Energy = Energy()
    gpu_reserved_bytes: int | None = None


class Environment(Struct, frozen=True):
    """Where a run was made (``bench.records.environment``); what a record does not say is not there."""

    python: str | UnsetType | None = UNSET
    packages: dict[str, str | None] | UnsetType = UNSET
    platform: str | UnsetType | None = UNSET
    processor: str | UnsetType | None = UNSET
    instructions: str | UnsetType | None = UNSET
    cores: int | UnsetType | None = UNSET
    memory_bytes: int | UnsetType | None = UNSET
    threads: int | UnsetType | None = UNSET
    gpus: list[dict[str, Any]] | UnsetType = UNSET
    cuda: dict[str, Any] | UnsetType | None = UNSET
    git: dict[str, Any] | UnsetType | None = UNSET
    plugins: list[dict[str, Any]] | UnsetType = UNSET
    launcher: str | UnsetType | None = UNSET
    slurm: dict[str, Any] | UnsetType | None = UNSET
    gpu_sharing: dict[str, Any] | UnsetType = UNSET
    """So many ``runs`` were on its GPU at a time at most, by ``mps`` or not; only where there were several."""

    @property
    def facts(self) -> dict[str, Any]:
        """What the record says of it, as plain data."""
        return dict(msgspec.to_builtins(self))


class _Headed(Struct, frozen=True, kw_only=True, tag_field="status"):
    """What records of all runs have.

    Attributes:
        schema: the form of the record.
        id: of the run.
        label: its readable name.
        spec: what it is, fully resolved (``bench.spec``).
        command: what was typed.
        repeat: the command that repeats this one run.
        environment: where it was made.
    """

    schema: int = SCHEMA
    id: str
    label: str
    spec: dict[str, Any]
    command: str = ""
    repeat: str = ""
    environment: Environment = Environment()

    @property
    def run(self) -> RunSpec:
        """The spec. Raises whatever a mapping that is none makes it raise (``bench.records.store.UNSOUND``)."""
        return from_json(self.spec)


class Record(_Headed, frozen=True, kw_only=True, tag="done"):
    """The record of a finished run.

    Attributes:
        task: what was asked of images, where that is not their class.
        curve: its points, in the order of steps.
        stages: that were trained.
        parameters: numbers that the trained model has, its head included; null where a record is older than this.
        subset: the training images that were drawn.
        validation_images: how many; 0 where there is no validation split.
        test_images: how many.
        left_out: damaged images that no split has, by the split that they were in; only where there are some.
        chosen: what the method chose on the validation split, by name; only where it did.
        timing: seconds.
        usage: what it took.
        taken_up: how often it went on from a checkpoint.
        ranks: processes that shared it.
        parts: in so many parts each batch was computed.
        compiled: what was compiled of it; only where its protocol asks for it.
        checksum: of all that stands before it (``bench.records.seal``); older records have none.
    """

    task: str | UnsetType = UNSET
    curve: Annotated[list[Point], Meta(min_length=1)]
    stages: list[TrainedStage] = []
    parameters: Count | None = None
    subset: Subset | None = None
    validation_images: Count | None = None
    test_images: Count | None = None
    left_out: dict[str, Count] | UnsetType = UNSET
    chosen: dict[str, bool | int | float | str | None] | UnsetType = UNSET
    timing: Timing
    usage: Usage | None = None
    taken_up: Count = 0
    ranks: int | UnsetType = UNSET
    parts: int | UnsetType = UNSET
    compiled: Compiled | UnsetType = UNSET
    checksum: str | UnsetType = UNSET

    def __post_init__(self) -> None:
        score = self.score
        for point in self.curve:
            for scores in filter(None, (point.val, point.test)):
                if scores.get(score) is None:
                    raise ValueError(f"step {point.step}: it has no {score}, by which runs of its task are known")

    @property
    def metric(self) -> Metric:
        """The metric by which runs of its task are known."""
        return known_by(self.task)

    @property
    def score(self) -> str:
        """The name of this metric."""
        return self.metric.name

    @property
    def choice(self) -> dict[str, str]:
        """What the method chose, in words, by what it chose on; empty where it chose nothing."""
        words = ", ".join(f"{name} {value}" for name, value in (self.chosen or {}).items())
        return {"chosen on validation": words} if words else {}

    def scored(self, scores: Scores, decimals: int = 2) -> str:
        """That score of a split at a point, with its unit: ``83.10 %``."""
        return f"{scores[self.score]:.{decimals}f} {self.metric.unit}".rstrip()


def known_by(task: str | UnsetType) -> Metric:
    """The metric by which runs of a task are known. Raises ``ValueError`` where the task is not here."""
    try:
        return score_of(task or CLASSIFICATION)
    except KeyError:
        raise ValueError(f"it is of a task that this version does not have: {task}") from None


class Error(Struct, frozen=True):
    """What a run failed of.

    Attributes:
        failed_of: its class, by which ``bench retry`` chooses (``bench.launch.failures``); written as ``class``.
        kind: of the exception.
        message: in words.
        trace: where it came up.
    """

    kind: str
    message: str
    failed_of: str = msgspec.field(default="code", name="class")
    trace: str | UnsetType = UNSET


class FailedRecord(_Headed, frozen=True, kw_only=True, tag="failed"):
    """The record of a run that failed: of what."""

    error: Error


AnyRecord = Record | FailedRecord
_Form = TypeVar("_Form", Record, FailedRecord)


class Stored(NamedTuple):
    """A record, and the folder that it lies in."""

    record: AnyRecord
    folder: Path


class _AnySchema(Struct):
    """The part that records of all schemas have."""

    schema: int


_SCHEMAS = msgspec.json.Decoder(_AnySchema)
_RECORDS: msgspec.json.Decoder[AnyRecord] = msgspec.json.Decoder(AnyRecord)


def schema_of(content: bytes) -> int:
    """The schema of a record. Raises ``msgspec.MsgspecError`` where it is none, ``Newer`` where it is newer."""
    schema = _SCHEMAS.decode(content).schema
    if schema > SCHEMA:
        raise Newer(schema)
    return schema


def read_record(content: bytes) -> AnyRecord:
    """The record in a file, whatever its schema.

    Raises:
        Unfit: it was changed after it was written.
        ValueError, TypeError, AttributeError, KeyError, msgspec.MsgspecError: it is no sound record.
        Newer: it is of a newer form.
    """
    schema = schema_of(content)
    is_sealed(content)
    return parsed(content, schema)


def parsed(content: bytes, schema: int) -> AnyRecord:
    """As ``read_record``, of a record whose schema and checksum were looked at."""
    if schema == SCHEMA:
        return _RECORDS.decode(content)
    record: AnyRecord = msgspec.convert(upgrade(msgspec.json.decode(content), schema), AnyRecord)
    return record


def upgrade(record: Mapping[str, Any], schema: int) -> dict[str, Any]:
    """An older record in today's form, as plain data; what it says of its metrics and predictions stays as it is."""
    newer = {**record, "schema": SCHEMA}
    if schema < 2 and "curve" in newer:
        newer["curve"] = [_without_right(point, newer) for point in newer["curve"]]
    environment = dict(newer.get("environment") or {})
    if "gpu" in environment:  # before several were listed
        environment.setdefault("gpus", [{"name": environment["gpu"]}] if environment["gpu"] else [])
    return {**newer, "environment": environment}


def _without_right(point: Mapping[str, Any], record: Mapping[str, Any]) -> dict[str, Any]:
    """A point of schema 1 as one of today. Raises ``Unfit`` where its right answers are others than it says."""
    images = {"val": record.get("validation_images"), "test": record.get("test_images")}
    scored = {split: {**point[split]} for split in images if point.get(split) is not None}
    for split, scores in scored.items():
        right, of = scores.pop("right", None), images[split]
        if right is not None and of and abs(right - scores["top1"] * of / 100) > 1e-9 * of:
            raise Unfit(f"{right} right answers of {of} are not {scores['top1']:g} %")
    return {**point, **scored}


def record_of(spec: RunSpec, entries: Mapping[str, Any], form: type[_Form]) -> _Form:
    """The record of a run from its other entries. Raises ``msgspec.ValidationError`` where one is not as it must be."""
    head = {"schema": SCHEMA, "id": spec.id, "label": spec.label, "spec": to_json(spec)}
    status = form.__struct_config__.tag
    return msgspec.convert({**entries, **head, "status": status}, form)


def status_of(record: AnyRecord) -> str:
    """``done`` or ``failed``."""
    return str(record.__struct_config__.tag)


def record_bytes(record: AnyRecord) -> bytes:
    """A record as it is written: readable, in UTF-8, and with a checksum if the run finished."""
    content = msgspec.json.encode(record)
    if isinstance(record, Record):
        content = sealed(msgspec.json.encode(msgspec.structs.replace(record, checksum=UNSET)))
    return msgspec.json.format(content, indent=1) + b"\n"


def finite(value: float) -> float | None:
    """A score as a record keeps it."""
    return value if math.isfinite(value) else None


def json_schema() -> str:
    """The JSON schema of both records, which docs/record.schema.json holds."""
    return json.dumps(_plainly_described(msgspec.json.schema(AnyRecord)), indent=1, ensure_ascii=False) + "\n"


def _plainly_described(schema: Any) -> Any:
    """A schema whose descriptions are indented alike by all versions of Python, which treat docstrings differently."""
    if isinstance(schema, list):
        return [_plainly_described(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    whole = {key: _plainly_described(value) for key, value in schema.items()}
    if isinstance(description := whole.get("description"), str):
        whole["description"] = inspect.cleandoc(description)
    return whole

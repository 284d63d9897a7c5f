"""The indexes beside the records: what they keep of each, and their form. They are caches, believed only as written.

The first line of one says what follows and has its checksum: the folders of finished runs, the stamp of each record's
file, where each row ends, and the rows, as MessagePack. A row is parsed when it is asked for: what is kept in memory is
what the file holds. ``index.msgpack`` holds what every table needs, ``scores.msgpack`` what only some ask for; it is
not made before one does. What is read of a record is declared here and checked while it is parsed: a nan is no JSON
number and a text no number.
"""

from __future__ import annotations

import os
import sys
import zlib
from array import array
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from bench.records.record import (
    SCHEMA,
    Count,
    Newer,
    Point,
    Record,
    Timing,
    TrainedStage,
    Usage,
    parsed,
    read_record,
    schema_of,
)
from bench.records.rows import PackedRows
from bench.records.seal import Unfit
from bench.spec import RunSpec, from_json, id_by_seeds

FORM = 6
"""The form of the indexes; one of another form is not read, and written anew."""

ID = 12
"""Digits of a run's id, with which the name of its folder ends."""

Percent = Annotated[float, Meta(ge=0, le=100)]
Values = tuple[int, float | None, float]
"""Step, validation score (None where there is no validation split) and test score of a point of a curve."""


class Row(msgspec.Struct, array_like=True, gc=False):
    """What ``index.msgpack`` keeps of a finished run.

    Attributes:
        score: the metric that the values are of.
        ranks: processes that shared it.
        on_gpu: the most runs that were on its GPU at a time.
    """

    seconds: float
    values: tuple[Values, ...]
    score: str = "top1"
    ranks: int = 1
    on_gpu: int = 1


class Scored(msgspec.Struct, frozen=True, omit_defaults=True):
    """What ``scores.msgpack`` keeps, and metrics need: all scores of a run's curve, and what it took."""

    curve: list[Point]
    timing: Timing
    stages: list[TrainedStage] = []
    usage: Usage | None = None
    parameters: Count | None = None
    task: str | msgspec.UnsetType = msgspec.UNSET


class _Head(msgspec.Struct):
    """The first line of an index: its form, the checksum of all the rest, and what that is."""

    index: int
    crc32: int
    rows: int
    names: int


class _Scores(msgspec.Struct):
    top1: Percent | msgspec.UnsetType = msgspec.UNSET


class _Point(msgspec.Struct):
    step: Count
    val: _Scores | None
    test: _Scores


class _Done(msgspec.Struct):
    """The part of a finished run's record that ``index.msgpack`` keeps, or that shows whether it is sound.

    Records of all schemas have it in this form. It is parsed alone, since a folder may hold 100,000 of them.
    """

    schema: int
    id: str
    spec: msgspec.Raw
    status: Literal["done"]
    curve: Annotated[list[_Point], Meta(min_length=1)]
    timing: Timing
    task: str | msgspec.UnsetType = msgspec.UNSET
    ranks: int | None = None
    environment: msgspec.Raw = msgspec.Raw(b"{}")


class _GpuSharing(msgspec.Struct):
    runs: Annotated[int, Meta(ge=1)] = 1


class _Environment(msgspec.Struct):
    """Of an environment, whether the run had its GPU alone."""

    gpu_sharing: _GpuSharing


class _Seeds(msgspec.Struct, forbid_unknown_fields=True):
    """``bench.spec.Seeds``, as whole numbers alone."""

    subset: int
    init: int
    order: int


class _Spec(msgspec.Struct):
    """The spec of a run, of which the seeds alone are parsed: the rest is that of many runs."""

    method: msgspec.Raw
    backbone: msgspec.Raw
    dataset: msgspec.Raw
    rate: msgspec.Raw
    protocol: msgspec.Raw
    seeds: _Seeds
    seed: msgspec.Raw
    further: msgspec.Raw = msgspec.Raw(b'""')


_HEADS, _DONE, _SPECS = msgspec.json.Decoder(_Head), msgspec.json.Decoder(_Done), msgspec.json.Decoder(_Spec)
_ENVIRONMENTS = msgspec.json.Decoder(_Environment)
_ROWS, _SCORED = msgspec.msgpack.Decoder(Row), msgspec.msgpack.Decoder(Scored)
_WRITER = msgspec.msgpack.Encoder()


@dataclass(frozen=True)
class Index:
    """An index.

    Attributes:
        read: the row of a record whose checksum was looked at, from the content of its file and its folder. Raises one
            of ``bench.records.store.UNSOUND`` where the record is not sound, ``Newer`` where it is of a newer form.
        top1_alone: whether it keeps no other score, so that no other must be proved.
    """

    file: str
    read: Callable[[bytes, str], bytes]
    top1_alone: bool

    def decode(self, content: bytes) -> PackedRows:
        """The rows of an index.

        Raises:
            ValueError, msgspec.MsgspecError: it is of another form, or not as ``encode`` wrote it.
        """
        start = content.find(b"\n") + 1
        head, body = _HEADS.decode(content[:start]), memoryview(content)[start:]
        if content[:start] != _head(head.rows, head.names, (body,)):
            raise ValueError("the index is not as it was written")
        stamps, ends = array("q"), array("q")
        numbers = head.rows * stamps.itemsize
        at = [head.names, head.names + numbers, head.names + 2 * numbers]
        stamps.frombytes(body[at[0] : at[1]])
        ends.frombytes(body[at[1] : at[2]])
        names = os.fsdecode(bytes(body[: at[0]]))
        return PackedRows(names.split("\0") if head.rows else [], stamps, ends, body[at[2] :])

    def encode(self, rows: PackedRows) -> bytes:
        names = os.fsencode("\0".join(rows.folders))
        body = (names, rows.stamps.tobytes(), rows.ends.tobytes(), rows.packed)
        return b"".join((_head(len(rows), len(names), body), *body))


def _head(rows: int, names: int, body: Sequence[bytes | bytearray | memoryview]) -> bytes:
    """The first line of an index with so many rows, the names of whose folders take so many bytes, and this body."""
    checksum = zlib.crc32(f"{sys.byteorder} {rows} {names}".encode())
    for part in body:
        checksum = zlib.crc32(part, checksum)
    return msgspec.json.encode(_Head(FORM, checksum, rows, names)) + b"\n"


def row_at(rows: PackedRows, at: int) -> Row:
    """The row of ``index.msgpack`` at a place."""
    return _ROWS.decode(rows[at])


def scored_at(rows: PackedRows, at: int) -> Scored:
    """The row of ``scores.msgpack`` at a place."""
    return _SCORED.decode(rows[at])


def _row(content: bytes, folder: str) -> bytes:
    record = _DONE.decode(content)
    if record.schema > SCHEMA:
        raise Newer(record.schema)
    if _id_of(record.spec) != record.id or not folder.endswith(f"-{record.id}"):
        raise Unfit("its spec is not that of its id: it was edited, or a version that trains otherwise wrote it")
    if record.task:
        return _row_of_task(content, record)
    values = tuple([(point.step, _top1(point.val) if point.val else None, _top1(point.test)) for point in record.curve])
    return _WRITER.encode(Row(record.timing.seconds, values, "top1", record.ranks or 1, _on_gpu(record)))


def _on_gpu(record: _Done) -> int:
    """The most runs that were on its GPU at a time; few records say anything of it."""
    environment = bytes(record.environment)
    return _ENVIRONMENTS.decode(environment).gpu_sharing.runs if b'"gpu_sharing"' in environment else 1


def _id_of(spec: msgspec.Raw) -> str:
    """The id of a spec as a record has it. Raises as ``from_json``."""
    try:
        parts = _SPECS.decode(spec)
        same = (parts.method, parts.backbone, parts.dataset, parts.rate, parts.protocol, parts.further)
        return _ids(*map(bytes, same))(parts.seeds.subset, parts.seeds.init, parts.seeds.order)
    except (TypeError, msgspec.MsgspecError):  # a spec of no run: what is wrong with it is said by who reads the whole
        return from_json(msgspec.json.decode(spec)).id


@lru_cache(maxsize=4096)
def _ids(
    method: bytes, backbone: bytes, dataset: bytes, rate: bytes, protocol: bytes, further: bytes
) -> Callable[[int, int, int], str]:
    """What gives ids by the numbers of the seeds, from the other parts of specs, as they stand in records."""
    parts = (method, backbone, dataset, rate, protocol, further)
    named = zip(("method", "backbone", "dataset", "rate", "protocol", "further"), parts, strict=True)
    data = {name: msgspec.json.decode(part) for name, part in named}
    first: RunSpec = from_json({**data, "seeds": {"subset": 0, "init": 0, "order": 0}, "seed": 0})
    return id_by_seeds(first)


def _top1(scores: _Scores) -> float:
    if scores.top1 is msgspec.UNSET:
        raise Unfit("a point of its curve has no top1")
    return scores.top1


def _row_of_task(content: bytes, done: _Done) -> bytes:
    record = read_record(content)
    assert isinstance(record, Record), "its status was read"
    score = record.score
    values = tuple((point.step, (point.val or {}).get(score), point.test[score] or 0.0) for point in record.curve)
    return _WRITER.encode(Row(record.timing.seconds, values, score, done.ranks or 1, _on_gpu(done)))


def _scored_row(content: bytes, folder: str) -> bytes:
    record = parsed(content, schema_of(content))
    if not isinstance(record, Record):
        raise ValueError("the run did not finish")
    curve = [msgspec.structs.replace(point, loss={}) for point in record.curve]
    scored = Scored(curve, record.timing, record.stages, record.usage, record.parameters, record.task)
    return _WRITER.encode(scored)


CURVES = Index("index.msgpack", _row, top1_alone=True)
SCORES = Index("scores.msgpack", _scored_row, top1_alone=False)

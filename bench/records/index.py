"""The index beside the records: what it keeps of each, and its form. It is a cache, believed only as it was written.

Its first line holds the checksum of the others; each of these is a row of one finished run, as JSON. What is read of a
record is declared here and checked while it is parsed: a nan is no JSON number and a text no number.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from bench.spec import from_json

FORM = 2
"""The form of the index; one of another form is not read, and written anew."""

Step = Annotated[int, Meta(ge=0)]
Percent = Annotated[float, Meta(ge=0, le=100)]
Values = tuple[Step, Percent | None, Percent]
"""Step, validation accuracy (None where there is no validation split) and test accuracy of a point of a curve."""


class Row(msgspec.Struct, array_like=True, gc=False):
    """What the index keeps of a finished run.

    Attributes:
        folder: of the record, in ``runs/``.
        stamp: a number that changes with the record's file.
        id: of the run.
        seconds: that it took.
        values: of each point of its curve.
    """

    folder: str
    stamp: int
    id: str
    seconds: float
    values: Annotated[tuple[Values, ...], Meta(min_length=1)]


class _Head(msgspec.Struct):
    """The first line of the index."""

    index: int
    crc32: int


class _AnyVersion(msgspec.Struct):
    """The part of a record that records of all versions have."""

    schema: int


class _Scores(msgspec.Struct):
    top1: Percent


class _Measured(msgspec.Struct):
    step: Step
    val: _Scores | None
    test: _Scores


class _Timing(msgspec.Struct):
    seconds: float


class _Done(msgspec.Struct):
    """The part of a finished run's record that the index keeps, or that shows whether it is sound."""

    id: str
    spec: dict[str, Any]
    status: Literal["done"]
    curve: Annotated[list[_Measured], Meta(min_length=1)]
    timing: _Timing


_HEADS, _ROWS, _WRITER = msgspec.json.Decoder(_Head), msgspec.json.Decoder(Row), msgspec.json.Encoder()
_VERSIONS, _RECORDS = msgspec.json.Decoder(_AnyVersion), msgspec.json.Decoder(_Done)


def schema_of(content: bytes) -> int:
    """The schema of a record. Raises ``msgspec.MsgspecError`` where it is no record."""
    return _VERSIONS.decode(content).schema


def read_row(content: bytes, folder: str, stamp: int) -> Row:
    """The row of a record.

    Args:
        content: of its file.
        folder: that it lies in.
        stamp: of its file, taken before it was read.

    Raises:
        ValueError, TypeError, KeyError, AttributeError, msgspec.MsgspecError: it is not a sound record, or not that of
            its id or folder.
    """
    record = _RECORDS.decode(content)
    if from_json(record.spec).id != record.id or not folder.endswith(f"-{record.id}"):
        raise ValueError("the record does not belong to its id")
    values = tuple([(point.step, point.val.top1 if point.val else None, point.test.top1) for point in record.curve])
    return Row(folder, stamp, record.id, record.timing.seconds, values)


def read_index(content: bytes) -> list[Row]:
    """The rows of an index.

    Raises:
        ValueError, msgspec.MsgspecError: it is of another form, or not as ``index_bytes`` wrote it.
    """
    head, _, lines = content.partition(b"\n")
    if _HEADS.decode(head) != _Head(FORM, zlib.crc32(lines)):
        raise ValueError("the index is not as it was written")
    return _ROWS.decode_lines(lines)


def index_bytes(rows: Iterable[Row]) -> bytes:
    """An index of these rows."""
    lines = _WRITER.encode_lines(rows)
    return _WRITER.encode(_Head(FORM, zlib.crc32(lines))) + b"\n" + lines

"""The indexes beside the records: what they keep of each, and their form. They are caches, believed only as written.

The first line of one holds the checksum of the others; each of these is a row of one finished run, as JSON.
``index.jsonl`` holds what every table needs, ``scores.jsonl`` what only some ask for; it is not made before one does.
What is read of a record is declared here and checked while it is parsed: a nan is no JSON number and a text no number.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Annotated, Any, Generic, Literal, TypeVar

import msgspec
from msgspec import Meta

from bench.records.record import Count, Point, Record, Timing, TrainedStage, Usage, read_record
from bench.records.seal import Unfit
from bench.spec import from_json

FORM = 4
"""The form of the indexes; one of another form is not read, and written anew."""

Percent = Annotated[float, Meta(ge=0, le=100)]
Values = tuple[Count, Percent | None, Percent]
"""Step, validation score (None where there is no validation split) and test score of a point of a curve."""


class Row(msgspec.Struct, array_like=True, gc=False):
    """What ``index.jsonl`` keeps of a finished run.

    ``stamp`` is a number that changes with the record's file, ``score`` the metric that the values are of.
    """

    folder: str
    stamp: int
    id: str
    seconds: float
    values: Annotated[tuple[Values, ...], Meta(min_length=1)]
    score: str = "top1"


class Scored(msgspec.Struct, frozen=True, omit_defaults=True):
    """What metrics need of a record: all scores of its curve, and what the run took."""

    curve: list[Point]
    timing: Timing
    stages: list[TrainedStage] = []
    usage: Usage | None = None
    parameters: Count | None = None
    task: str | msgspec.UnsetType = msgspec.UNSET


class ScoredRow(msgspec.Struct, array_like=True, gc=False):
    """What ``scores.jsonl`` keeps of a finished run; ``scored`` is a ``Scored``, parsed when it is asked for."""

    folder: str
    stamp: int
    scored: msgspec.Raw


RowType = TypeVar("RowType", Row, ScoredRow)


class _Head(msgspec.Struct):
    """The first line of an index."""

    index: int
    crc32: int


class _Scores(msgspec.Struct):
    top1: Percent | msgspec.UnsetType = msgspec.UNSET


class _Point(msgspec.Struct):
    step: Count
    val: _Scores | None
    test: _Scores


class _Done(msgspec.Struct):
    """The part of a finished run's record that ``index.jsonl`` keeps, or that shows whether it is sound.

    Records of all schemas have it in this form. It is parsed alone, since a folder may hold 100,000 of them.
    """

    id: str
    spec: dict[str, Any]
    status: Literal["done"]
    curve: Annotated[list[_Point], Meta(min_length=1)]
    timing: Timing
    task: str | msgspec.UnsetType = msgspec.UNSET


_HEADS, _DONE, _WRITER = msgspec.json.Decoder(_Head), msgspec.json.Decoder(_Done), msgspec.json.Encoder()


@dataclass(frozen=True)
class Index(Generic[RowType]):
    """An index.

    Attributes:
        read: the row of a record, from the content of its file, its folder and the file's stamp. Raises one of
            ``bench.records.store.UNSOUND`` where the record is not sound.
        top1_alone: whether it keeps no other score, so that no other must be proved.
    """

    file: str
    rows: msgspec.json.Decoder[RowType]
    read: Callable[[bytes, str, int], RowType]
    top1_alone: bool

    def decode(self, content: bytes) -> list[RowType]:
        """The rows of an index.

        Raises:
            ValueError, msgspec.MsgspecError: it is of another form, or not as ``encode`` wrote it.
        """
        head, _, lines = content.partition(b"\n")
        if _HEADS.decode(head) != _Head(FORM, zlib.crc32(lines)):
            raise ValueError("the index is not as it was written")
        return self.rows.decode_lines(lines)

    def encode(self, rows: Iterable[RowType]) -> bytes:
        lines = _WRITER.encode_lines(rows)
        return _WRITER.encode(_Head(FORM, zlib.crc32(lines))) + b"\n" + lines


def _row(content: bytes, folder: str, stamp: int) -> Row:
    record = _DONE.decode(content)
    if from_json(record.spec).id != record.id or not folder.endswith(f"-{record.id}"):
        raise Unfit("its spec is not that of its id: it was edited, or a version that trains otherwise wrote it")
    if record.task:
        return _row_of_task(content, folder, stamp)
    values = tuple([(point.step, _top1(point.val) if point.val else None, _top1(point.test)) for point in record.curve])
    return Row(folder, stamp, record.id, record.timing.seconds, values)


def _top1(scores: _Scores) -> float:
    if scores.top1 is msgspec.UNSET:
        raise Unfit("a point of its curve has no top1")
    return scores.top1


def _row_of_task(content: bytes, folder: str, stamp: int) -> Row:
    record = read_record(content)
    assert isinstance(record, Record), "its status was read"
    score = record.score
    values = tuple((point.step, (point.val or {}).get(score), point.test[score] or 0.0) for point in record.curve)
    return Row(folder, stamp, record.id, record.timing.seconds, values, score)


def _scored_row(content: bytes, folder: str, stamp: int) -> ScoredRow:
    record = read_record(content)
    if not isinstance(record, Record):
        raise ValueError("the run did not finish")
    curve = [msgspec.structs.replace(point, loss={}) for point in record.curve]
    scored = Scored(curve, record.timing, record.stages, record.usage, record.parameters, record.task)
    return ScoredRow(folder, stamp, msgspec.Raw(_WRITER.encode(scored)))


CURVES = Index("index.jsonl", msgspec.json.Decoder(Row), _row, top1_alone=True)
SCORES = Index("scores.jsonl", msgspec.json.Decoder(ScoredRow), _scored_row, top1_alone=False)

"""Records of runs: one readable folder each, written once, by rename; the index beside them may be deleted.

    RESULTS/
      runs/<label>-<id>/      record.json, predictions.npz, log.txt
      failed/<label>-<id>-1/  record.json, log.txt of a run that failed, numbered by attempt
      damaged/                what could not be read, set aside
      index.msgpack           derived from runs/; so is scores.msgpack, once a metric other than top-1 was asked for

No locks and no database: folders of results live on network file systems.
"""

from __future__ import annotations

import contextlib
import functools
import os
import re
import shutil
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from msgspec import MsgspecError

from bench.errors import InputError
from bench.reading.ordinary import read_ordinary
from bench.records.files import in_batches, named, stamps_in, sync, write_file
from bench.records.index import CURVES, ID, SCORES, Index, Scored, row_at, scored_at
from bench.records.record import (
    AnyRecord,
    FailedRecord,
    Newer,
    Record,
    Stored,
    read_record,
    record_bytes,
    record_of,
    schema_of,
)
from bench.records.rows import Looked, PackedRows, brought_up
from bench.records.seal import Unfit, is_sealed
from bench.records.unwritable import CLOSED, FOLDERS, NOT_NOW, closed, writing_to
from bench.spec import RunSpec

UNSOUND = (ValueError, LookupError, TypeError, AttributeError, OverflowError, RecursionError, OSError, MsgspecError)
"""What reading a file that is not a sound record can raise."""

_ID = re.compile(r"-([0-9a-f]{12})(?:-(\d+))?$")


class Finished(NamedTuple):
    """What tables need of a record.

    Its values are step, validation score (None where there is none) and test score of each point; ``score`` is whose.
    So many processes (``ranks``) shared it, and so many runs were on its GPU at a time at most.
    """

    id: str
    folder: str
    values: Sequence[tuple[int, float | None, float]]
    seconds: float
    score: str = "top1"
    ranks: int = 1
    on_gpu: int = 1


class Store:
    """A folder of results; it is made when something is first written.

    Attributes:
        damaged: folders of ``runs/`` whose record cannot be read or is not as it was written; they count as not there.
        newer: folders whose record is of a newer form; they are left alone.
        reasons: why a folder is in one of the two, where more is known.
    """

    def __init__(self, root: str | Path) -> None:
        self.root = Path(root).expanduser()
        self.damaged: list[str] = []
        self.newer: list[str] = []
        self.reasons: dict[str, str] = {}

    def finished(self) -> Mapping[str, Finished]:
        """Every sound record, by run id, each parsed when it is looked at; ``damaged`` and ``newer`` are the others."""
        self.damaged = []
        rows = self._rows(CURVES)

        def at(place: int) -> Finished:
            row, folder = row_at(rows, place), rows.folders[place]
            return Finished(folder[-ID:], folder, row.values, row.seconds, row.score, row.ranks, row.on_gpu)

        return Looked((folder[-ID:] for folder in rows.folders), at)

    def scored(self) -> Mapping[str, Scored]:
        """All scores and costs of finished runs by folder, each parsed when it is looked at."""
        return Looked((rows := self._rows(SCORES)).folders, functools.partial(scored_at, rows))

    def records(self, folders: Iterable[str]) -> Iterator[tuple[Record, Path]]:
        """The whole records of runs that ``finished`` gives, with where they lie, by the names of their folders."""

        def record_in(folder: str) -> AnyRecord | None:
            with contextlib.suppress(Newer, *UNSOUND):  # replaced or removed meanwhile
                return read_record(read_ordinary(self.root / "runs" / folder / "record.json"))
            return None

        for folder, record in in_batches(record_in, list(folders)):
            if isinstance(record, Record):
                yield record, self.root / "runs" / folder

    def failures(self) -> dict[str, Stored]:
        """The last readable record of each run that failed, by run id; ``newer`` notes those that are."""
        failures = {}
        for run_id, folder in self._attempts():
            place = self.root / "failed" / folder
            try:
                record = read_stored(place / "record.json")
            except Newer as newer:
                self._leave_alone(folder, newer)
            except UNSOUND:
                continue
            else:
                if isinstance(record, FailedRecord):
                    failures[run_id] = Stored(record, place)
        return failures

    def left_alone(self) -> set[str]:
        """The ids of the runs in ``newer``: nobody here can say whether they are done."""
        return {id_in(folder) for folder in self.newer}

    def attempts(self) -> dict[str, int]:
        """How often each run has failed, by run id, as the names of the folders say."""
        return {run_id: _attempt(folder) for run_id, folder in self._attempts()}

    def record(self, run_id: str) -> Stored:
        """The whole record of a run, finished or else failed, whose id begins so.

        Raises ``InputError``: there is none, or more than one, or it is damaged.
        """
        matching = [path for whole_id, path in self.places().items() if whole_id.startswith(run_id)]
        if len(matching) != 1:
            count = "no record" if not matching else f"{len(matching)} records"
            raise InputError(f"{self.root}: {count} of a run whose id begins with '{run_id}'")
        return Stored(self._record(matching[0]), matching[0])

    def places(self) -> dict[str, Path]:
        """The folder of each run's record, of its last failure where there is no other, by run id; none is opened."""
        paths = {failed: self.root / "failed" / folder for failed, folder in self._attempts()}
        return paths | {done: self.root / "runs" / folder for done, folder in self._ids("runs")}

    def holds(self, spec: RunSpec) -> bool:
        """Whether there is a record of a run, sound or not; looks at one file."""
        return (self.root / "runs" / folder_name(spec) / "record.json").is_file()

    def forget_checkpoint(self, spec: RunSpec) -> None:
        """Remove what was kept of a run in training."""
        shutil.rmtree(self.root / "checkpoints" / spec.id, ignore_errors=True)

    def check_writable(self) -> None:
        """Make the folder. Raises ``InputError`` where nothing can be written in it, or in a part of it."""
        import tempfile

        try:
            self.root.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=self.root) as file:
                file.write(bytes(4096))  # a full disk lets a file be made, but nothing be written to it
                file.flush()
        except OSError as error:
            raise InputError(f"--results {self.root}: nothing can be written there: {error.strerror}") from None
        for folder in (self.root / name for name in FOLDERS):
            if os.path.lexists(folder):
                with writing_to(self.root), named(folder), tempfile.TemporaryFile(dir=folder) as file:
                    file.write(b"x")

    def set_aside_damaged(self) -> list[str]:
        """Move the damaged records found by ``finished`` to ``damaged/``. Raises ``Unwritable`` where one is closed."""
        target = self.root / "damaged"
        for folder, content in self._contents(self.damaged):
            if self.is_closed(folder):
                raise closed(self.root / "runs" / folder, self.reasons[folder])
            if self._is_damaged(folder, content):  # else another process has trained it again meanwhile
                target.mkdir(exist_ok=True)
                with contextlib.suppress(FileNotFoundError):  # another process was quicker
                    (self.root / "runs" / folder).rename(target / f"{folder}.{uuid.uuid4().hex[:6]}")
        moved, self.damaged = self.damaged, []
        return moved

    def is_closed(self, folder: str) -> bool:
        """Whether a folder in ``damaged`` may well be sound, but cannot be read by this user, or for now."""
        return self.reasons.get(folder, "").startswith(CLOSED)

    @contextlib.contextmanager
    def draft(self, spec: RunSpec | None = None) -> Iterator[Path]:
        """A folder to write a record in, a run's if it is known; gone afterwards unless it was published."""
        drafts = self.root / "drafts"
        drafts.mkdir(parents=True, exist_ok=True)
        prefix = f"{folder_name(spec)}." if spec else ""
        folder = drafts / f"{prefix}{uuid.uuid4().hex}"
        folder.mkdir()  # not by tempfile: who may read and write it is for the umask to say
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def drafts(self) -> dict[str, Path]:
        """The last folder of each run that a record was begun in, by run id, also by a process that was killed."""
        last: dict[str, tuple[float, Path]] = {}
        for folder in self._folders("drafts"):
            if match := _ID.search(folder.rpartition(".")[0]):
                path = self.root / "drafts" / folder
                with contextlib.suppress(OSError):  # it has just been published
                    last[match[1]] = max(last.get(match[1], (0.0, path)), (path.stat().st_mtime, path))
        return {run_id: path for run_id, (_, path) in last.items()}

    def publish(self, draft: Path, spec: RunSpec, record: Record | Mapping[str, Any]) -> Path:
        """Make a draft, which holds a run's files, the run's record; if another process was first, that record stays.

        Of a mapping of the record's entries, schema, id, label and spec are filled in.

        Raises:
            msgspec.ValidationError: an entry is not as it must be.
        """
        whole = record if isinstance(record, Record) else record_of(spec, record, Record)
        with named(draft):
            (draft / "record.json").write_bytes(record_bytes(whole))
            return self._place(draft, "runs", folder_name(spec))

    def publish_failure(self, draft: Path, spec: RunSpec, record: FailedRecord | Mapping[str, Any]) -> Path:
        """As ``publish``, for a run that failed; every attempt is kept."""
        whole = record if isinstance(record, FailedRecord) else record_of(spec, record, FailedRecord)
        with named(draft):
            (draft / "record.json").write_bytes(record_bytes(whole))
        attempt = self.attempts().get(spec.id, 0)
        while draft.exists():
            attempt += 1
            target = self._place(draft, "failed", f"{folder_name(spec)}-{attempt}")
        return target

    def clear_drafts(self) -> None:
        """Remove what killed processes left: drafts of 30 days (a run may take a week), checkpoints of what is done."""
        drafts = self.root / "drafts"
        for path in drafts.glob("*"):
            with contextlib.suppress(OSError):
                # two times of one file system are compared: the clocks of machines differ
                if drafts.stat().st_mtime - path.stat().st_mtime > 30 * 86400:
                    shutil.rmtree(path) if path.is_dir() else path.unlink()
        if checkpoints := self._folders("checkpoints"):
            done = {run_id for run_id, _ in self._ids("runs")}
            done |= {f"shared-{path.stem}" for path in (self.root / "shared").glob("*.safetensors")}
            for ended in done.intersection(checkpoints):
                shutil.rmtree(self.root / "checkpoints" / ended, ignore_errors=True)

    def _place(self, draft: Path, kind: str, name: str) -> Path:
        target = self.root / kind / name
        target.parent.mkdir(exist_ok=True)
        for file in draft.iterdir():
            sync(file)
        sync(draft)
        try:
            draft.rename(target)
        except OSError:
            if not (target / "record.json").is_file():
                raise
        with contextlib.suppress(OSError):  # it has its name
            sync(target.parent)
        return target

    def _folders(self, kind: str) -> list[str]:
        """The names of the record folders of a kind, sorted."""
        with contextlib.suppress(FileNotFoundError, NotADirectoryError), os.scandir(self.root / kind) as entries:
            return sorted(entry.name for entry in entries if entry.is_dir())
        return []

    def _attempts(self) -> Iterator[tuple[str, str]]:
        """Run id and folder of every failed attempt, the last ones last."""
        return iter(sorted(self._ids("failed"), key=lambda attempt: _attempt(attempt[1])))

    def _ids(self, kind: str) -> Iterator[tuple[str, str]]:
        for folder in self._folders(kind):
            if match := _ID.search(folder):
                yield match[1], folder

    def _record(self, place: Path) -> AnyRecord:
        """The record in a folder. Raises ``InputError`` where it is damaged, or of a newer form."""
        try:
            record = read_stored(place / "record.json")
            if id_in(place.name) != record.id:
                raise Unfit("its id is not that of its folder")
        except Newer as newer:
            raise InputError(f"{place}: written by a newer version ({newer}); update the suite") from None
        except UNSOUND as error:
            why = f": {error}" if isinstance(error, Unfit) else ""
            raise InputError(
                f"{place}: the record is damaged{why}; 'bench run' sets it aside and trains it again"
            ) from None
        return record

    def _contents(self, folders: Sequence[str]) -> Iterator[tuple[str, bytes]]:
        """The bytes of finished runs' records; none of one that cannot be read."""

        def content(folder: str) -> bytes:
            try:
                return read_ordinary(f"{self.root}/runs/{folder}/record.json")
            except OSError as error:
                if error.errno in NOT_NOW:
                    self.reasons[folder] = f"{CLOSED}: {error.strerror}"
                return b""

        return in_batches(content, folders)

    def _rows(self, index: Index) -> PackedRows:
        """The row of each sound record, in the order of their folders; the index is brought up to date."""
        path, indexed = self.root / index.file, PackedRows()
        with contextlib.suppress(*UNSOUND):  # an index that is not exactly as it was written is none
            indexed = index.decode(read_ordinary(path))

        def read(changed: Sequence[str]) -> Iterator[bytes | None]:
            return (self._row(index, *each) for each in self._contents(changed))

        stamps = stamps_in(os.path.join(self.root, "runs"), self._folders("runs"), "record.json")
        rows = brought_up(indexed, stamps, read)
        if rows is not indexed:
            with contextlib.suppress(OSError):  # a cache: a folder that cannot be written to is read without it
                write_file(path, index.encode(rows))
        return rows

    def _row(self, index: Index, folder: str, content: bytes) -> bytes | None:
        """The row of a record; None where it is noted in ``damaged`` or ``newer``."""
        with contextlib.suppress(Newer, *UNSOUND):  # what is wrong with it is looked for below, step by step
            if is_sealed(content):
                return index.read(content, folder)
        try:
            schema_of(content)
            if not is_sealed(content):
                _prove(content, self.root / "runs" / folder, index.top1_alone)
            return index.read(content, folder)
        except Newer as newer:
            self._leave_alone(folder, newer)
        except UNSOUND as error:
            self.damaged.append(folder)
            if isinstance(error, Unfit):
                self.reasons[folder] = str(error)
        return None

    def _leave_alone(self, folder: str, newer: Newer) -> None:
        if folder not in self.newer:
            self.newer.append(folder)
            self.reasons[folder] = str(newer)

    def _is_damaged(self, folder: str, content: bytes) -> bool:
        looked = Store(self.root)
        looked._row(CURVES, folder, content)
        return folder in looked.damaged


def read_stored(path: Path) -> AnyRecord:
    """The record in a file, as it was written; if an older version wrote it, held against the predictions beside it.

    Raises:
        Newer: it is of a newer form.
        Unfit, or another of ``UNSOUND``: it was changed, or is not one.
    """
    content = read_ordinary(path)
    record = read_record(content)
    if not is_sealed(content):
        _prove(content, path.parent, top1_alone=False)
    return record


def _prove(content: bytes, place: Path, top1_alone: bool) -> None:
    """Hold a record without a checksum against what else is kept. Raises one of ``UNSOUND`` where it is not sound."""
    from bench.records.proof import prove  # it needs NumPy, which is imported when something is computed

    record = read_record(content)
    if isinstance(record, Record):
        prove(record, place, top1_alone)


def id_in(folder: str) -> str:
    """The run's id in the name of a record's folder; empty where there is none."""
    match = _ID.search(folder)
    return match[1] if match else ""


def _attempt(folder: str) -> int:
    match = _ID.search(folder)
    return int(match[2] or 0) if match else 0


def folder_name(spec: RunSpec) -> str:
    """The name of a run's folder: readable, and ending in its id."""
    return f"{slug(spec.label).strip('-.')[:100]}-{spec.id}"


def slug(label: str) -> str:
    return re.sub(r"[^A-Za-z0-9._]+", "-", label)

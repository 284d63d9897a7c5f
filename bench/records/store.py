"""Records of runs: one readable folder each, written once, by rename; the index beside them may be deleted.

    RESULTS/
      runs/<label>-<id>/      record.json, predictions.npz, log.txt
      failed/<label>-<id>-1/  record.json, log.txt of a run that failed, numbered by attempt
      damaged/                what could not be read, set aside
      index.jsonl             derived from runs/; so is scores.jsonl, once a metric other than top-1 was asked for

No locks and no database: folders of results live on network file systems.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import tempfile
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from bench.errors import InputError
from bench.records.files import in_threads, named, sync, write_file
from bench.records.index import CURVES, SCORES, Index, RowType
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
from bench.records.unwritable import FOLDERS, writing_to
from bench.spec import RunSpec

UNSOUND = (ValueError, KeyError, IndexError, TypeError, AttributeError, RecursionError, OSError, msgspec.MsgspecError)
"""What reading a file that is not a sound record can raise."""

_ID = re.compile(r"-([0-9a-f]{12})(?:-(\d+))?$")

_READ_TOGETHER = 4096
"""Records whose text is in memory at a time."""


class Finished(NamedTuple):
    """What tables need of a record.

    Its values are step, validation accuracy (None where there is none) and test accuracy of each point, in percent.
    """

    id: str
    folder: str
    values: Sequence[tuple[int, float | None, float]]
    seconds: float


class Store:
    """A folder of results; it is made when something is first written."""

    def __init__(self, root: str | Path) -> None:
        self.root = Path(root).expanduser()
        self.damaged: list[str] = []

    def finished(self) -> dict[str, Finished]:
        """Every readable record, by run id; what is damaged is listed in ``damaged`` and counts as not there."""
        rows = self._rows(CURVES)
        self.damaged = [folder for folder, row in rows.items() if row is None]
        return {row.id: Finished(row.id, folder, row.values, row.seconds) for folder, row in rows.items() if row}

    def scored(self) -> dict[str, msgspec.Raw]:
        """All scores and costs of finished runs by folder, each to be parsed as a ``bench.records.index.Scored``."""
        return {folder: row.scored for folder, row in self._rows(SCORES).items() if row}

    def records(self, folders: Iterable[str]) -> Iterator[tuple[Record, Path]]:
        """The whole records of finished runs, with where they lie, by the names of their folders; no damaged ones."""
        names = list(folders)
        for folder, record in zip(names, in_threads(lambda name: self._sound("runs", name), names), strict=True):
            if isinstance(record, Record):
                yield record, self.root / "runs" / folder

    def failures(self) -> dict[str, Stored]:
        """The last readable record of each run that failed, by run id."""
        attempts = ((run_id, folder, self._sound("failed", folder)) for run_id, folder in self._attempts())
        return {
            run_id: Stored(record, self.root / "failed" / folder)
            for run_id, folder, record in attempts
            if isinstance(record, FailedRecord)
        }

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
        record = self._sound(matching[0].parent.name, matching[0].name)
        if record is None:
            raise InputError(f"{matching[0]}: the record is damaged; 'bench run' sets it aside and trains it again")
        return Stored(record, matching[0])

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
        """Move the damaged records found by ``finished`` to ``damaged/``; their runs count as missing."""
        target = self.root / "damaged"
        for folder, content in self._contents(self.damaged):
            if self._row(CURVES, folder, 0, content) is None:  # else another process has trained it again meanwhile
                target.mkdir(exist_ok=True)
                with contextlib.suppress(FileNotFoundError):  # another process was quicker
                    (self.root / "runs" / folder).rename(target / f"{folder}.{uuid.uuid4().hex[:6]}")
        moved, self.damaged = self.damaged, []
        return moved

    @contextlib.contextmanager
    def draft(self, spec: RunSpec | None = None) -> Iterator[Path]:
        """A folder to write a record in, a run's if it is known; gone afterwards unless it was published."""
        drafts = self.root / "drafts"
        drafts.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(prefix=f"{folder_name(spec)}." if spec else None, dir=drafts))
        folder.chmod(0o755)
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

    def _record(self, kind: str, folder: str) -> AnyRecord:
        """A record as it is. Raises one of ``UNSOUND`` where it is not one, ``InputError`` where it is a newer one."""
        with self._no_newer(kind, folder):
            return read_record((self.root / kind / folder / "record.json").read_bytes())

    def _sound(self, kind: str, folder: str) -> AnyRecord | None:
        with contextlib.suppress(*UNSOUND):
            return self._record(kind, folder)
        return None

    def _contents(self, folders: Sequence[str]) -> Iterator[tuple[str, bytes]]:
        """The bytes of finished runs' records; none of one that cannot be read."""
        runs = os.path.join(self.root, "runs")

        def content(folder: str) -> bytes:
            with contextlib.suppress(OSError), open(f"{runs}/{folder}/record.json", "rb", buffering=0) as file:
                return file.read()
            return b""

        for start in range(0, len(folders), _READ_TOGETHER):
            batch = folders[start : start + _READ_TOGETHER]
            yield from zip(batch, in_threads(content, batch), strict=True)

    def _rows(self, index: Index[RowType]) -> dict[str, RowType | None]:
        """The row of each finished run by folder, None where its record is damaged; the index is brought up to date."""
        path = self.root / index.file
        indexed: dict[str, RowType] = {}
        with contextlib.suppress(*UNSOUND):  # an index that is not exactly as it was written is none
            indexed = {row.folder: row for row in index.decode(path.read_bytes())}
        runs, folders = os.path.join(self.root, "runs"), self._folders("runs")

        def stamp(folder: str) -> int:
            """A number that changes with a folder's record; 0 where there is none in it."""
            try:
                stat = os.stat(f"{runs}/{folder}/record.json")
            except OSError:
                return 0
            return stat.st_mtime_ns ^ stat.st_size

        stamps = dict(zip(folders, in_threads(stamp, folders), strict=True))
        rows: dict[str, RowType | None] = {folder: indexed.get(folder) for folder in stamps}
        stale = [folder for folder, row in rows.items() if row is None or row.stamp != stamps[folder]]
        for folder, content in self._contents(stale):
            rows[folder] = self._row(index, folder, stamps[folder], content)
        sound = {folder: row for folder, row in rows.items() if row}
        if sound != indexed:
            with contextlib.suppress(OSError):  # a cache: a folder that cannot be written to is read without it
                write_file(path, index.encode(sound.values()))
        return rows

    def _row(self, index: Index[RowType], folder: str, stamp: int, content: bytes) -> RowType | None:
        """The row of a record; None where it is damaged. Raises ``InputError`` where it is of a newer version."""
        with contextlib.suppress(*UNSOUND), self._no_newer("runs", folder):
            schema_of(content)
            return index.read(content, folder, stamp)
        return None

    @contextlib.contextmanager
    def _no_newer(self, kind: str, folder: str) -> Iterator[None]:
        """Inside, a record of a newer schema is an ``InputError`` that says where it lies."""
        try:
            yield
        except Newer as newer:
            place = self.root / kind / folder
            raise InputError(f"{place}: written by a newer version ({newer}); update the suite") from None


def _attempt(folder: str) -> int:
    match = _ID.search(folder)
    return int(match[2] or 0) if match else 0


def folder_name(spec: RunSpec) -> str:
    """The name of a run's folder: readable, and ending in its id."""
    return f"{slug(spec.label).strip('-.')[:100]}-{spec.id}"


def slug(label: str) -> str:
    return re.sub(r"[^A-Za-z0-9._]+", "-", label)

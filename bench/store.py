"""Records of runs: one readable folder each, written once, by rename; the index beside them may be deleted.

    RESULTS/
      runs/<label>-<id>/      record.json, predictions.npz, log.txt
      failed/<label>-<id>-1/  record.json, log.txt of a run that failed, numbered by attempt
      damaged/                what could not be read, set aside
      index.jsonl             derived from runs/

No locks and no database: folders of results live on network file systems.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import re
import shutil
import tempfile
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from bench.errors import InputError
from bench.spec import RunSpec, from_json, to_json

SCHEMA = 1
"""The form of a record; a record of a newer one is never touched."""

UNSOUND = (ValueError, KeyError, IndexError, TypeError, AttributeError, RecursionError, OSError)
"""What reading a file that is not a sound record can raise."""

_ID = re.compile(r"-([0-9a-f]{12})(?:-(\d+))?$")


class Point(NamedTuple):
    """A point of a run's curve; accuracies in percent, ``val`` is nan where there is no validation split."""

    step: int
    val: float
    test: float


@dataclass(frozen=True)
class Finished:
    """What tables need of a record."""

    id: str
    folder: str
    curve: tuple[Point, ...]
    seconds: float


class Store:
    """A folder of results.

    Args:
        root: the folder; it is made when something is first written.
    """

    def __init__(self, root: str | Path) -> None:
        self.root = Path(root).expanduser()
        self.damaged: list[str] = []

    def finished(self) -> dict[str, Finished]:
        """Every readable record, by run id; what is damaged is listed in ``damaged`` and counts as not there."""
        known, found = self._read_index(), {}
        self.damaged = []
        for folder, stamp in self._folders("runs"):
            row = known.get(folder)
            if row is None or row[0] != stamp:
                try:
                    row = [stamp, *_summary(self._record("runs", folder), folder)]
                except UNSOUND:
                    self.damaged.append(folder)
                    continue
            found[row[1]] = _finished(folder, row)
            known[folder] = row
        self._write_index({item.folder: known[item.folder] for item in found.values()})
        return found

    def failures(self) -> dict[str, dict[str, Any]]:
        """The last readable record of each run that failed, by run id."""
        found: dict[str, dict[str, Any]] = {}
        for run_id, folder in self._attempts():
            with contextlib.suppress(*UNSOUND):
                record = self._record("failed", folder)
                _ = record["error"]["message"] + record["error"]["kind"]
                found[run_id] = {**record, "id": run_id, "folder": str(self.root / "failed" / folder)}
        return found

    def record(self, run_id: str) -> dict[str, Any]:
        """The whole record of a run, finished or else failed, whose id begins so.

        Raises:
            InputError: there is none, or more than one, or it is damaged.
        """
        paths = {found: self.root / "failed" / folder for found, folder in self._attempts()}
        for folder, _ in self._folders("runs"):
            if match := _ID.search(folder):
                paths[match[1]] = self.root / "runs" / folder
        chosen = [path for found, path in paths.items() if found.startswith(run_id)]
        if len(chosen) != 1:
            say = "no record" if not chosen else f"{len(chosen)} records"
            raise InputError(f"{self.root}: {say} of a run whose id begins with '{run_id}'")
        try:
            return {**self._record(chosen[0].parent.name, chosen[0].name), "folder": str(chosen[0])}
        except UNSOUND:
            raise InputError(
                f"{chosen[0]}: the record is damaged; 'bench run' sets it aside and trains it again"
            ) from None

    def check_writable(self) -> None:
        """Make the folder. Raises ``InputError`` where nothing can be written in it."""
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=self.root):
                pass
        except OSError as error:
            raise InputError(f"--results {self.root}: nothing can be written there: {error.strerror}") from None

    def set_aside_damaged(self) -> list[str]:
        """Move the damaged records found by ``finished`` to ``damaged/``; their runs count as missing."""
        target = self.root / "damaged"
        for folder in self.damaged:
            target.mkdir(exist_ok=True)
            (self.root / "runs" / folder).rename(target / f"{folder}.{uuid.uuid4().hex[:6]}")
        moved, self.damaged = self.damaged, []
        return moved

    @contextlib.contextmanager
    def draft(self) -> Iterator[Path]:
        """A folder to write a record in; gone afterwards unless it was published."""
        drafts = self.root / "drafts"
        drafts.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(dir=drafts))
        folder.chmod(0o755)
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def publish(self, draft: Path, spec: RunSpec, record: Mapping[str, Any]) -> Path:
        """Make a draft the record of a run; if another process was first, its record stays.

        Args:
            draft: a folder from ``draft`` with the run's files.
            spec: the run.
            record: what is written as ``record.json``, beside schema, id, label and spec.
        """
        _write_json(draft / "record.json", _headed(spec, record))
        return self._place(draft, "runs", f"{_slug(spec.label)}-{spec.id}")

    def publish_failure(self, draft: Path, spec: RunSpec, record: Mapping[str, Any]) -> Path:
        """As ``publish``, for a run that failed; every attempt is kept."""
        _write_json(draft / "record.json", _headed(spec, record))
        attempt = max((_attempt(folder) for run_id, folder in self._attempts() if run_id == spec.id), default=0)
        while True:
            attempt += 1
            target = self._place(draft, "failed", f"{_slug(spec.label)}-{spec.id}-{attempt}")
            if not draft.exists():
                return target

    def clear_drafts(self) -> None:
        """Remove what killed processes left half-written more than 30 days ago; a run may well take a week."""
        drafts = self.root / "drafts"
        for path in drafts.glob("*"):
            with contextlib.suppress(OSError):
                # two times of one file system are compared: the clocks of machines differ
                if drafts.stat().st_mtime - path.stat().st_mtime > 30 * 86400:
                    shutil.rmtree(path) if path.is_dir() else path.unlink()

    def _place(self, draft: Path, kind: str, name: str) -> Path:
        target = self.root / kind / name
        target.parent.mkdir(exist_ok=True)
        for file in draft.iterdir():
            _sync(file)
        _sync(draft)
        try:
            draft.rename(target)
        except OSError:
            if not (target / "record.json").is_file():
                raise
        _sync(target.parent)
        return target

    def _folders(self, kind: str) -> Iterator[tuple[str, int]]:
        """The record folders of a kind with a stamp that changes with their record."""
        try:
            entries = sorted(os.scandir(self.root / kind), key=lambda entry: entry.name)
        except (FileNotFoundError, NotADirectoryError):
            return
        for entry in entries:
            with contextlib.suppress(OSError):
                stat = os.stat(os.path.join(entry.path, "record.json"))
                yield entry.name, stat.st_mtime_ns ^ stat.st_size
                continue
            if entry.is_dir():
                yield entry.name, 0

    def _attempts(self) -> Iterator[tuple[str, str]]:
        """Run id and folder of every failed attempt, the last ones last."""
        folders = [folder for folder, _ in self._folders("failed")]
        for folder in sorted(folders, key=_attempt):
            if match := _ID.search(folder):
                yield match[1], folder

    def _record(self, kind: str, folder: str) -> dict[str, Any]:
        """A record as it is. Raises one of ``UNSOUND`` where it is not one, ``InputError`` where it is a newer one."""
        record = json.loads((self.root / kind / folder / "record.json").read_text(encoding="utf-8"))
        if record["schema"] > SCHEMA:
            raise InputError(
                f"{self.root / kind / folder}: written by a newer version (schema {record['schema']}); update the suite"
            )
        return dict(record)

    def _read_index(self) -> dict[str, list[Any]]:
        """Rows by folder: [stamp, id, seconds, [[step, val, test], ...]]; empty where the index cannot be used."""
        rows: dict[str, list[Any]] = {}
        with contextlib.suppress(*UNSOUND):
            head, *lines = (self.root / "index.jsonl").read_text(encoding="utf-8").splitlines() or ["null"]
            if json.loads(head) == {"index": SCHEMA}:
                read = {folder: row for folder, *row in json.loads(f"[{','.join(lines)}]")}
                for folder, row in read.items():
                    _check_row(folder, row)
                rows = read
        self._indexed = dict(rows)
        return rows

    def _write_index(self, rows: dict[str, list[Any]]) -> None:
        if rows == self._indexed or not (self.root / "runs").is_dir():
            return
        lines = [json.dumps({"index": SCHEMA}), *(json.dumps([folder, *row]) for folder, row in sorted(rows.items()))]
        with contextlib.suppress(OSError):  # a cache: a folder that cannot be written to is read without it
            write_file(self.root / "index.jsonl", "\n".join(lines) + "\n")


def write_file(path: Path, content: str | bytes) -> None:
    """Write a file whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}")
    try:
        draft.write_bytes(content.encode() if isinstance(content, str) else content)
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)


def _headed(spec: RunSpec, record: Mapping[str, Any]) -> dict[str, Any]:
    return {"schema": SCHEMA, "id": spec.id, "label": spec.label, "spec": to_json(spec), **record}


def _summary(record: dict[str, Any], folder: str) -> list[Any]:
    """Id, seconds and curve of a record. Raises one of ``UNSOUND`` where it is not sound or not in its own folder."""
    if from_json(record["spec"]).id != record["id"] or record["status"] != "done":
        raise ValueError("the record does not belong to its id")
    curve = [
        [p["step"], p["val"]["top1"] if p["val"] is not None else None, p["test"]["top1"]] for p in record["curve"]
    ]
    row = [record["id"], record["timing"]["seconds"], curve]
    _check_row(folder, [0, *row])
    return row


def _check_row(folder: str, row: list[Any]) -> None:
    """Raise one of ``UNSOUND`` where a row of the index cannot be what it should."""
    stamp, run_id, seconds, curve = row
    if not (curve and folder.endswith(f"-{run_id}") and math.isfinite(stamp) and math.isfinite(seconds)):
        raise ValueError("not a row of the index")
    for step, val, test in curve:
        # a nan is not between anything, and a text cannot be compared
        if not (step >= 0 and 0 <= test <= 100 and (val is None or 0 <= val <= 100)):
            raise ValueError("an accuracy is not between 0 and 100 %")


def _finished(folder: str, row: list[Any]) -> Finished:
    curve = tuple([Point(step, math.nan if val is None else val, test) for step, val, test in row[3]])
    return Finished(row[1], folder, curve, row[2])


def _attempt(folder: str) -> int:
    match = _ID.search(folder)
    return int(match[2] or 0) if match else 0


def _slug(label: str) -> str:
    return re.sub(r"[^A-Za-z0-9._]+", "-", label).strip("-.")[:100]


def _write_json(path: Path, value: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n", encoding="utf-8")


def _sync(path: Path) -> None:
    """Have the file or folder on disk before it gets its name."""
    handle = os.open(path, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):  # some network file systems refuse to sync a folder
            os.fsync(handle)
    finally:
        os.close(handle)

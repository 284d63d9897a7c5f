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
import os
import re
import shutil
import tempfile
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.errors import InputError
from bench.spec import RunSpec, from_json, to_json

SCHEMA = 1
"""The form of a record; a record of a newer one is never touched."""

_ID = re.compile(r"-([0-9a-f]{12})(?:-(\d+))?$")


@dataclass(frozen=True)
class Point:
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
                    row = [stamp, *_summary(self._record("runs", folder))]
                except (ValueError, KeyError, TypeError, OSError):
                    self.damaged.append(folder)
                    continue
            curve = tuple(Point(step, _number(val), test) for step, val, test in row[3])
            found[row[1]] = Finished(row[1], folder, curve, row[2])
            known[folder] = row
        self._write_index({item.folder: known[item.folder] for item in found.values()})
        return found

    def failures(self) -> dict[str, dict[str, Any]]:
        """The record of the last failure of each run that failed, by run id."""
        last: dict[str, tuple[int, str]] = {}
        for folder, _ in self._folders("failed"):
            match = _ID.search(folder)
            if match:
                last[match[1]] = max(last.get(match[1], (0, "")), (int(match[2] or 0), folder))
        found = {}
        for run_id, (_, folder) in last.items():
            with contextlib.suppress(ValueError, OSError):
                found[run_id] = {**self._record("failed", folder), "folder": str(self.root / "failed" / folder)}
        return found

    def record(self, run_id: str) -> dict[str, Any]:
        """The whole record of a run, finished or failed, whose id begins so.

        Raises:
            InputError: there is none, or more than one.
        """
        found = {}
        for kind in ("failed", "runs"):
            for folder, _ in self._folders(kind):
                match = _ID.search(folder)
                if match and match[1].startswith(run_id):
                    found[match[1]] = (kind, folder)
        if len(found) != 1:
            say = "no record" if not found else f"{len(found)} records"
            raise InputError(f"{self.root}: {say} of a run whose id begins with '{run_id}'")
        kind, folder = next(iter(found.values()))
        return {**self._record(kind, folder), "folder": str(self.root / kind / folder)}

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
        names = (_ID.search(folder) for folder, _ in self._folders("failed"))
        attempts = sum(match is not None and match[1] == spec.id for match in names)
        return self._place(draft, "failed", f"{_slug(spec.label)}-{spec.id}-{attempts + 1}")

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

    def _record(self, kind: str, folder: str) -> dict[str, Any]:
        record = json.loads((self.root / kind / folder / "record.json").read_text(encoding="utf-8"))
        if record["schema"] > SCHEMA:
            raise InputError(
                f"{self.root / kind / folder}: written by a newer version (schema {record['schema']}); update the suite"
            )
        return record  # type: ignore[no-any-return]

    def _read_index(self) -> dict[str, list[Any]]:
        """Rows by folder: [stamp, id, seconds, [[step, val, test], ...]]; empty where the index cannot be used."""
        rows: dict[str, list[Any]] = {}
        with contextlib.suppress(OSError, ValueError, TypeError):
            head, *lines = (self.root / "index.jsonl").read_text(encoding="utf-8").splitlines() or ["null"]
            if json.loads(head) == {"index": SCHEMA}:
                rows = {folder: row for folder, *row in map(json.loads, lines)}
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


def _summary(record: dict[str, Any]) -> list[Any]:
    """Id, seconds and curve of a record whose spec still hashes to its id. Raises where it is not sound."""
    if from_json(record["spec"]).id != record["id"] or record["status"] != "done":
        raise ValueError("the record does not belong to its id")
    curve = [[p["step"], (p["val"] or {}).get("top1"), p["test"]["top1"]] for p in record["curve"]]
    if not curve or not all(0 <= point[2] <= 100 for point in curve):
        raise ValueError("the record has no sound curve")
    return [record["id"], record["timing"]["seconds"], curve]


def _number(value: float | None) -> float:
    return float("nan") if value is None else value


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

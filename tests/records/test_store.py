"""Records: written once and whole, read back the same, with or without the index, beside damaged ones too."""

from __future__ import annotations

import contextlib
import errno
import json
import math
import os
import shutil
import struct
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest

from bench.errors import InputError
from bench.launch import untrained
from bench.protocol import Protocol, Recipe
from bench.reading.ordinary import read_ordinary
from bench.records import files as on_disk
from bench.records.files import THREADS, in_batches, in_threads
from bench.records.index import FORM
from bench.records.record import SCHEMA, Record, record_bytes, record_of
from bench.records.store import Finished, Store, folder_name
from bench.records.unwritable import Unwritable
from bench.spec import MethodSpec, Named, RunSpec, Seeds, from_json
from tests.scenes import as_plain

DAY = 86400


def spec(seed: int = 0, dataset: str = "digits") -> RunSpec:
    return RunSpec(
        method=MethodSpec("gta", "a" * 12, (("weight", 0.3),)),
        backbone=Named("micro_vit", "b" * 12),
        dataset=Named(dataset, "c" * 12),
        rate=15.0,
        protocol=Protocol(Recipe(steps=8)),
        seeds=Seeds(seed, seed, seed),
        seed=seed,
    )


def told(top1: float = 50.0) -> dict[str, Any]:
    """What a worker gives for a run: a curve of two points, the first one without a validation split."""
    curve = [
        {"step": 4, "loss": {"ce": 1.5}, "val": None, "test": {"top1": top1 - 10}},
        {"step": 8, "loss": {"ce": 1.0}, "val": {"top1": top1 + 1}, "test": {"top1": top1}},
    ]
    return {"status": "done", "curve": curve, "timing": {"seconds": 1.5}, "command": "bench run é±漢"}


def publish(store: Store, run: RunSpec, top1: float = 50.0) -> Path:
    with store.draft() as draft:
        (draft / "log.txt").write_text(f"{top1}\n", encoding="utf-8")
        return store.publish(draft, run, told(top1))


def fail(store: Store, run: RunSpec, message: str = "no") -> Path:
    with store.draft() as draft:
        (draft / "log.txt").write_text("trace\n", encoding="utf-8")
        record = {"status": "failed", "error": {"kind": "ValueError", "message": message}}
        return store.publish_failure(draft, run, record)


def filled(root: Path, runs: int = 3) -> Store:
    store = Store(root)
    for seed in range(runs):
        publish(store, spec(seed), 50 + seed)
    return store


def readable(found: Mapping[str, Finished]) -> dict[str, tuple[Any, ...]]:
    """What was found, whether or not it comes from an index."""
    return {
        run_id: (item.id, item.folder, item.seconds, tuple(map(tuple, item.values))) for run_id, item in found.items()
    }


def files(root: Path) -> dict[str, bytes]:
    """Every file below a folder but the index."""
    paths = (path for path in root.rglob("*") if path.is_file() and path.name != "index.msgpack")
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in paths}


@contextlib.contextmanager
def read_only(folder: Path) -> Iterator[Store]:
    """The store of a folder that this process can read and not write, even as root."""
    here, root = Path.cwd(), os.geteuid() == 0
    folder.chmod(0o555)
    os.chdir(folder)  # relative paths: nobody need not be able to enter the folders above
    if root:
        os.seteuid(65534)
    try:
        with pytest.raises(OSError, match="denied"):
            Path("probe").touch()
        yield Store(".")
    finally:
        if root:
            os.seteuid(0)
        os.chdir(here)
        folder.chmod(0o755)


class TestPublish:
    def test_a_record_is_one_readable_folder(self, tmp_path: Path) -> None:
        folder = publish(Store(tmp_path / "results"), spec())
        assert folder == tmp_path / "results" / "runs" / f"gta-micro_vit-digits-15-seed-0-{spec().id}"
        assert sorted(path.name for path in folder.iterdir()) == ["log.txt", "record.json"]
        text = (folder / "record.json").read_text(encoding="utf-8")
        record = json.loads(text)
        assert (record["schema"], record["id"], record["label"]) == (SCHEMA, spec().id, spec().label)
        assert from_json(record["spec"]) == spec()
        expected = as_plain(msgspec.convert({**record, **told()}, Record))
        assert record == expected
        assert "é±漢" in text
        assert text.count("\n") > 20
        assert text.endswith("}\n")

    def test_it_is_found_with_its_curve(self, tmp_path: Path) -> None:
        store = filled(tmp_path, 1)
        (found,) = store.finished().values()
        assert (found.id, found.seconds) == (spec().id, 1.5)
        assert (tmp_path / "runs" / found.folder / "record.json").is_file()
        assert [tuple(point) for point in found.values] == [(4, None, 40.0), (8, 51.0, 50.0)]

    @pytest.mark.parametrize(("mask", "folders", "kept"), [(0o077, 0o700, 0o600), (0o002, 0o775, 0o664)])
    def test_who_may_read_and_write_it_is_for_the_umask_to_say(
        self, tmp_path: Path, mask: int, folders: int, kept: int
    ) -> None:
        before = os.umask(mask)
        try:
            folder = publish(Store(tmp_path / "results"), spec())
        finally:
            os.umask(before)
        assert {path.stat().st_mode & 0o777 for path in (folder, folder.parent)} == {folders}
        assert {path.stat().st_mode & 0o777 for path in folder.iterdir()} == {kept}

    def test_a_second_one_of_the_same_run_changes_nothing(self, tmp_path: Path) -> None:
        store = Store(tmp_path)
        first = publish(store, spec(), 50)
        before = files(tmp_path)
        assert publish(store, spec(), 60) == first
        assert files(tmp_path) == before
        assert store.finished()[spec().id].values[-1][2] == 50

    def test_of_many_at_once_one_wins_whole(self, tmp_path: Path) -> None:
        barrier = threading.Barrier(8)

        def one(number: int) -> None:
            store = Store(tmp_path)
            with store.draft() as draft:
                (draft / "log.txt").write_text(f"{number}\n", encoding="utf-8")
                barrier.wait()
                store.publish(draft, spec(), told(number + 20))

        threads = [threading.Thread(target=one, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        (found,) = Store(tmp_path).finished().values()
        log = (tmp_path / "runs" / found.folder / "log.txt").read_text(encoding="utf-8")
        assert found.values[-1][2] == int(log) + 20
        assert [path.name for path in (tmp_path / "runs").iterdir()] == [found.folder]
        assert not list((tmp_path / "drafts").iterdir())

    def test_a_reader_never_sees_half_a_record(self, tmp_path: Path) -> None:
        seen: list[int] = []
        damaged: list[str] = []
        stop = threading.Event()

        def read() -> None:
            while not stop.is_set():
                store = Store(tmp_path)
                seen.append(len(store.finished()))
                damaged.extend(store.damaged)

        reader = threading.Thread(target=read)
        reader.start()
        filled(tmp_path, 40)
        stop.set()
        reader.join()
        assert not damaged
        assert seen == sorted(seen)
        assert len(Store(tmp_path).finished()) == 40

    def test_a_draft_that_is_not_published_is_gone(self, tmp_path: Path) -> None:
        store = Store(tmp_path)
        with store.draft() as draft:
            (draft / "log.txt").write_text("half", encoding="utf-8")
        assert not draft.exists()
        assert store.finished() == {}

    def test_a_draft_left_behind_is_no_record(self, tmp_path: Path) -> None:
        store = filled(tmp_path, 2)
        before = readable(store.finished())
        left = tmp_path / "drafts" / "tmpkilled"
        shutil.copytree(publish(store, spec(7)), left)
        shutil.rmtree(tmp_path / "runs" / store.finished()[spec(7).id].folder)
        assert readable(store.finished()) == before
        assert not store.damaged

    def test_what_cannot_be_json_is_not_published(self, tmp_path: Path) -> None:
        store = Store(tmp_path)
        with pytest.raises(msgspec.ValidationError, match="top1"), store.draft() as draft:
            store.publish(draft, spec(), told(math.nan))
        assert store.finished() == {}
        assert not list(tmp_path.glob("runs/*"))

    @pytest.mark.parametrize("root", ["a b", "résultats ü 漢字", "x'y\"z", "-dash", "a/b/c d"])
    def test_odd_paths(self, tmp_path: Path, root: str) -> None:
        store = filled(tmp_path / root)
        assert set(store.finished()) == {spec(seed).id for seed in range(3)}
        assert readable(Store(str(tmp_path / root)).finished()) == readable(store.finished())

    @pytest.mark.parametrize(
        "dataset", ["folder:/my pictures/é 漢", "folder:/a/../b", "folder:/" + "x" * 300, "folder:/..."]
    )
    def test_odd_names_stay_inside_the_folder(self, tmp_path: Path, dataset: str) -> None:
        store = Store(tmp_path)
        folder = publish(store, spec(0, dataset))
        assert folder.parent == tmp_path / "runs"
        assert folder.name.isascii()
        assert len(folder.name) < 130
        assert as_plain(store.record(spec().id))["spec"]["dataset"]["name"] == dataset
        assert set(store.finished()) == {spec().id}


class TestFailures:
    def test_every_attempt_is_kept_and_numbered(self, tmp_path: Path) -> None:
        store = Store(tmp_path)
        folders = [fail(store, spec(), f"attempt {number}") for number in range(1, 13)]
        assert [folder.name.rpartition("-")[2] for folder in folders] == [str(number) for number in range(1, 13)]
        (last,) = store.failures().values()
        assert as_plain(last)["error"]["message"] == "attempt 12"
        assert last.folder == folders[-1]
        assert store.finished() == {}

    def test_of_many_at_once_each_is_kept(self, tmp_path: Path) -> None:
        barrier = threading.Barrier(6)
        stores = [Store(tmp_path) for _ in range(6)]

        def one(store: Store) -> None:
            with store.draft() as draft:
                barrier.wait()
                store.publish_failure(draft, spec(), {"status": "failed", "error": {"kind": "E", "message": "m"}})

        threads = [threading.Thread(target=one, args=(store,)) for store in stores]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(list((tmp_path / "failed").iterdir())) == 6

    def test_each_run_has_its_own(self, tmp_path: Path) -> None:
        store = Store(tmp_path)
        for seed in range(3):
            fail(store, spec(seed), f"seed {seed}")
        fail(store, spec(1), "again")
        assert {run_id: as_plain(stored)["error"]["message"] for run_id, stored in store.failures().items()} == {
            spec(0).id: "seed 0",
            spec(1).id: "again",
            spec(2).id: "seed 2",
        }

    @pytest.mark.parametrize(
        "content",
        ["", "{", "[]", "null", "5", "{}", '{"schema": 1}', '{"schema": 1, "error": 5}', '{"schema": "x"}', "\0"],
    )
    def test_a_damaged_one_stops_nothing(self, tmp_path: Path, content: str) -> None:
        store = Store(tmp_path)
        fail(store, spec(0), "well")
        (fail(store, spec(1)) / "record.json").write_text(content, encoding="utf-8")
        found = {run_id: as_plain(stored) for run_id, stored in store.failures().items()}
        assert found[spec(0).id]["error"]["message"] == "well"
        assert all(isinstance(record["error"]["message"], str) for record in found.values())

    def test_an_earlier_one_is_told_where_the_last_is_damaged(self, tmp_path: Path) -> None:
        store = Store(tmp_path)
        fail(store, spec(), "first")
        (fail(store, spec(), "second") / "record.json").write_text("{", encoding="utf-8")
        assert as_plain(store.failures()[spec().id])["error"]["message"] == "first"


class TestRecord:
    def test_by_the_beginning_of_its_id(self, tmp_path: Path) -> None:
        store = filled(tmp_path)
        record = as_plain(store.record(spec(1).id[:6]))
        assert record["id"] == spec(1).id
        assert Path(record["folder"]) == tmp_path / "runs" / store.finished()[spec(1).id].folder

    def test_of_a_run_that_failed_and_then_was_trained(self, tmp_path: Path) -> None:
        store = Store(tmp_path)
        fail(store, spec())
        assert as_plain(store.record(spec().id))["status"] == "failed"
        publish(store, spec())
        assert as_plain(store.record(spec().id))["status"] == "done"

    def test_the_last_of_many_failures(self, tmp_path: Path) -> None:
        store = Store(tmp_path)
        for number in range(1, 12):
            fail(store, spec(), f"attempt {number}")
        assert as_plain(store.record(spec().id))["error"]["message"] == "attempt 11"

    def test_there_is_none_or_more_than_one(self, tmp_path: Path) -> None:
        store = filled(tmp_path)
        with pytest.raises(InputError, match="no record of a run whose id begins with '0000'"):
            as_plain(store.record("0000"))
        with pytest.raises(InputError, match="3 records of a run"):
            as_plain(store.record(""))

    @pytest.mark.parametrize("content", ["", "{", "[]", "{}", "null"])
    def test_a_damaged_one_is_an_input_error(self, tmp_path: Path, content: str) -> None:
        store = Store(tmp_path)
        folder = publish(store, spec())
        (folder / "record.json").write_text(content, encoding="utf-8")
        with pytest.raises(InputError, match=folder.name):
            as_plain(store.record(spec().id))


class TestIndex:
    def test_it_is_made_and_used(self, tmp_path: Path) -> None:
        """Records that were spoilt behind its back, of the same size and time, are not even looked into."""
        store = filled(tmp_path)
        expected = readable(store.finished())
        assert (tmp_path / "index.msgpack").is_file()
        for path in tmp_path.glob("runs/*/record.json"):
            stat = path.stat()
            path.write_bytes(b"x" * stat.st_size)
            os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
        assert readable(Store(tmp_path).finished()) == expected
        (tmp_path / "index.msgpack").unlink()
        assert Store(tmp_path).finished() == {}

    @pytest.mark.parametrize(
        ("old", "new"), [(51.0, 61.0), (1.5, 2.5), ("\0gta", "\0ctb"), (spec(1).id, "0" * 12)], ids=str
    )
    def test_a_row_that_was_edited_is_not_believed(self, tmp_path: Path, old: float | str, new: float | str) -> None:
        store = filled(tmp_path)
        expected = readable(store.finished())
        content = (tmp_path / "index.msgpack").read_bytes()
        words = [word.encode() if isinstance(word, str) else struct.pack(">d", word) for word in (old, new)]
        assert words[0] in content
        (tmp_path / "index.msgpack").write_bytes(content.replace(words[0], words[1], 1))
        assert readable(Store(tmp_path).finished()) == expected
        assert (tmp_path / "index.msgpack").read_bytes() == content

    @pytest.mark.parametrize(
        "head", [{"index": FORM - 1}, {"index": FORM + 1}, {"index": "5"}, {"rows": 2}, {"names": 9}]
    )
    def test_with_another_head_it_is_written_anew(self, tmp_path: Path, head: dict[str, Any]) -> None:
        store = filled(tmp_path)
        expected = readable(store.finished())
        content = (tmp_path / "index.msgpack").read_bytes()
        line, _, rows = content.partition(b"\n")
        (tmp_path / "index.msgpack").write_bytes(msgspec.json.encode({**json.loads(line), **head}) + b"\n" + rows)
        assert readable(Store(tmp_path).finished()) == expected
        assert (tmp_path / "index.msgpack").read_bytes() == content

    def test_that_of_an_older_version_beside_it_is_not_looked_at(self, tmp_path: Path) -> None:
        store = filled(tmp_path)
        rows = [[run.folder, 1, run.id, 1.0, [[9, 9, 9]]] for run in store.finished().values()]
        (tmp_path / "index.msgpack").unlink()
        lines = [json.dumps(row) for row in ({"index": 1}, *rows)]
        (tmp_path / "index.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
        assert [run.values[-1][2] for run in store.finished().values()] == [50, 51, 52]

    def test_it_is_not_written_again_when_nothing_changed(self, tmp_path: Path) -> None:
        filled(tmp_path).finished()
        before = (tmp_path / "index.msgpack").stat()
        Store(tmp_path).finished()
        after = (tmp_path / "index.msgpack").stat()
        assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)

    def test_deleted(self, tmp_path: Path) -> None:
        store = filled(tmp_path)
        expected = readable(store.finished())
        content = (tmp_path / "index.msgpack").read_bytes()
        (tmp_path / "index.msgpack").unlink()
        assert readable(store.finished()) == expected
        assert (tmp_path / "index.msgpack").read_bytes() == content

    def test_truncated_anywhere(self, tmp_path: Path) -> None:
        store = filled(tmp_path)
        expected = readable(store.finished())
        content = (tmp_path / "index.msgpack").read_bytes()
        for length in range(0, len(content), 13):
            (tmp_path / "index.msgpack").write_bytes(content[:length])
            assert readable(store.finished()) == expected, length
            assert (tmp_path / "index.msgpack").read_bytes() == content

    @pytest.mark.parametrize(
        "content",
        [b"", b"\0" * 100, b"\xff\xfe", b"garbage", b"null\n", b"[" * 100_000, b"\n\n"],
        ids=lambda c: repr(c[:9]),
    )
    def test_garbage(self, tmp_path: Path, content: bytes) -> None:
        store = filled(tmp_path)
        expected = readable(store.finished())
        (tmp_path / "index.msgpack").write_bytes(content)
        assert readable(store.finished()) == expected

    def test_a_record_that_was_removed_added_or_replaced(self, tmp_path: Path) -> None:
        store = filled(tmp_path)
        first = store.finished()
        shutil.rmtree(tmp_path / "runs" / first[spec(0).id].folder)
        publish(store, spec(9))
        (tmp_path / "runs" / first[spec(1).id].folder).rename(tmp_path / "elsewhere")
        publish(store, spec(1), 61)
        second = store.finished()
        assert set(second) == {spec(1).id, spec(2).id, spec(9).id}
        assert second[spec(1).id].values[-1][2] == 61

    @pytest.mark.parametrize("year", [-5, 1, 68, 300, 376])
    def test_a_record_of_any_year(self, tmp_path: Path, year: int) -> None:
        """Of a clock that was off: a file system has years beyond 2262, whose nanoseconds do not fit 63 bits."""
        store = filled(tmp_path)
        record = tmp_path / "runs" / folder_name(spec(1)) / "record.json"
        os.utime(record, (0, year * 365.25 * DAY))
        expected = readable(store.finished())
        assert len(expected) == 3
        assert readable(Store(tmp_path).finished()) == expected
        record.write_text("{", encoding="utf-8")
        os.utime(record, (0, year * 365.25 * DAY))
        assert set(Store(tmp_path).finished()) == {spec(0).id, spec(2).id}

    def test_a_folder_that_cannot_be_written_to_is_read(self, tmp_path: Path) -> None:
        expected = readable(filled(tmp_path / "results").finished())
        (tmp_path / "results" / "index.msgpack").unlink()
        before = files(tmp_path)
        with read_only(tmp_path / "results") as store:
            assert readable(store.finished()) == expected
            assert store.failures() == {}
            assert as_plain(store.record(spec().id))["status"] == "done"
            with pytest.raises(InputError, match=r"--results \.: nothing can be written there: "):
                store.check_writable()
        assert files(tmp_path) == before
        assert not (tmp_path / "results" / "index.msgpack").exists()

    def test_reading_what_is_not_there_makes_nothing(self, tmp_path: Path) -> None:
        store = Store(tmp_path / "none")
        assert store.finished() == {}
        assert store.failures() == {}
        assert store.damaged == store.set_aside_damaged() == []
        assert not (tmp_path / "none").exists()


def changed(record: dict[str, Any], *keys: Any, value: Any) -> dict[str, Any]:
    part: Any = record
    for key in keys[:-1]:
        part = part[key]
    part[keys[-1]] = value
    return record


def unsealed(path: Path) -> dict[str, Any]:
    """A record as an older version wrote it, without a checksum."""
    record = dict(json.loads(path.read_text(encoding="utf-8")))
    del record["checksum"]
    return record


DAMAGE: dict[str, Callable[[dict[str, Any]], Any]] = {
    "another id": lambda record: changed(record, "id", value="0" * 12),
    "another rate": lambda record: changed(record, "spec", "rate", value=30.0),
    "a rate that is no number": lambda record: changed(record, "spec", "rate", value=math.nan),
    "an unknown setting": lambda record: changed(record, "spec", "protocol", "new", value=1),
    "no spec": lambda record: changed(record, "spec", value=None),
    "a spec that is a list": lambda record: changed(record, "spec", value=[1]),
    "a spec that is a text": lambda record: changed(record, "spec", value="text"),
    "no curve": lambda record: changed(record, "curve", value=None),
    "an empty curve": lambda record: changed(record, "curve", value=[]),
    "a curve of numbers": lambda record: changed(record, "curve", value=[1, 2]),
    "no accuracy": lambda record: changed(record, "curve", 0, "test", value={}),
    "an accuracy that is no number": lambda record: changed(record, "curve", 1, "test", "top1", value=math.nan),
    "an accuracy above 100": lambda record: changed(record, "curve", 1, "test", "top1", value=101),
    "an accuracy below 0": lambda record: changed(record, "curve", 1, "test", "top1", value=-1),
    "an accuracy that is a text": lambda record: changed(record, "curve", 1, "test", "top1", value="50"),
    "no accuracy at all": lambda record: changed(record, "curve", 1, "test", "top1", value=None),
    "a validation that is a number": lambda record: changed(record, "curve", 1, "val", value=5),
    "a validation that is no number": lambda record: changed(record, "curve", 1, "val", "top1", value=math.nan),
    "a validation that is a text": lambda record: changed(record, "curve", 1, "val", "top1", value="x"),
    "a step that is a text": lambda record: changed(record, "curve", 1, "step", value="x"),
    "seconds that are a text": lambda record: changed(record, "timing", "seconds", value="x"),
    "no seconds": lambda record: changed(record, "timing", "seconds", value=None),
    "no timing": lambda record: changed(record, "timing", value=None),
    "not done": lambda record: changed(record, "status", value="failed"),
    "no schema": lambda record: {key: value for key, value in record.items() if key != "schema"},
    "a schema that is a text": lambda record: changed(record, "schema", value="1"),
    "a list": lambda record: [record],
    "null": lambda record: None,
    "a number": lambda record: 5,
    "a text": lambda record: "text",
}


class TestDamage:
    def check(self, tmp_path: Path, spoil: Callable[[Path], None]) -> None:
        """One of three records is spoilt: it is reported, not counted, set aside; the others are as they were."""
        for warm in (False, True):
            root = tmp_path / f"warm {warm}"
            store = filled(root)
            expected = readable(store.finished())
            if not warm:
                (root / "index.msgpack").unlink()
            folder = expected.pop(spec(1).id)[1]
            spoil(root / "runs" / folder)
            before = files(root)
            assert readable(store.finished()) == expected
            assert store.damaged == [folder]
            assert readable(Store(root).finished()) == expected, "the index keeps no trace of it"
            assert files(root) == before, "reading changes nothing"
            assert store.set_aside_damaged() == [folder]
            assert store.damaged == []
            after = files(root)
            moved = {name: content for name, content in before.items() if not name.startswith(f"runs/{folder}/")}
            assert {name: content for name, content in after.items() if not name.startswith("damaged/")} == moved
            assert sorted(after.values()) == sorted(before.values())
            assert readable(store.finished()) == expected
            assert store.damaged == []
            publish(store, spec(1), 51)
            assert set(store.finished()) == {*expected, spec(1).id}

    def test_truncated_anywhere(self, tmp_path: Path) -> None:
        store = filled(tmp_path)
        expected = readable(store.finished())
        folder = expected.pop(spec(1).id)[1]
        path = tmp_path / "runs" / folder / "record.json"
        content = path.read_bytes()
        assert len(content) > 10 * 97
        for length in [*range(0, len(content) - 2, 97), len(content) - 2]:
            path.write_bytes(content[:length])
            assert readable(store.finished()) == expected, length
            assert store.damaged == [folder]
        path.write_bytes(content)
        assert set(store.finished()) == {*expected, spec(1).id}
        assert store.damaged == []

    @pytest.mark.parametrize("kind", DAMAGE)
    def test_what_it_says_cannot_be(self, tmp_path: Path, kind: str) -> None:
        def spoil(folder: Path) -> None:
            path = folder / "record.json"
            path.write_text(json.dumps(DAMAGE[kind](unsealed(path))), encoding="utf-8")

        self.check(tmp_path, spoil)

    @pytest.mark.parametrize(
        "content", [b"", b"\0" * 500, b"\xff\xff", b"{", b"[" * 100_000, b"{}"], ids=lambda content: repr(content[:4])
    )
    def test_garbage(self, tmp_path: Path, content: bytes) -> None:
        def spoil(folder: Path) -> None:
            (folder / "record.json").write_bytes(content)

        self.check(tmp_path, spoil)

    def test_missing(self, tmp_path: Path) -> None:
        self.check(tmp_path, lambda folder: (folder / "record.json").unlink())

    def test_a_folder_in_its_place(self, tmp_path: Path) -> None:
        def spoil(folder: Path) -> None:
            (folder / "record.json").unlink()
            (folder / "record.json").mkdir()

        self.check(tmp_path, spoil)

    def test_the_record_of_another_run(self, tmp_path: Path) -> None:
        """Else the run would be trained, find its folder taken, and be missing for ever."""

        def spoil(folder: Path) -> None:
            other = next(path for path in folder.parent.iterdir() if path.name.endswith(spec(0).id))
            shutil.copy(other / "record.json", folder / "record.json")

        self.check(tmp_path, spoil)

    def test_two_of_one_name_are_both_kept(self, tmp_path: Path) -> None:
        store = Store(tmp_path)
        for _ in range(2):
            (publish(store, spec()) / "record.json").write_text("{", encoding="utf-8")
            store.finished()
            store.set_aside_damaged()
        assert len(list((tmp_path / "damaged").iterdir())) == 2

    @pytest.mark.parametrize("number", [errno.EACCES, errno.EIO, errno.ESTALE])
    def test_one_that_cannot_be_read_may_be_sound_and_is_not_moved(
        self, tmp_path: Path, number: int, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        filled(tmp_path)
        folder = folder_name(spec(1))

        def content(path: str) -> bytes:
            if folder in str(path):
                raise OSError(number, os.strerror(number), str(path))
            return read_ordinary(path)

        monkeypatch.setattr("bench.records.store.read_ordinary", content)
        store = Store(tmp_path)
        assert set(store.finished()) == {spec(0).id, spec(2).id}
        assert store.damaged == [folder]
        assert store.is_closed(folder)
        with pytest.raises(Unwritable, match=f"{folder}: it cannot be read: .*; nothing is trained in its place"):
            store.set_aside_damaged()
        assert (tmp_path / "runs" / folder / "record.json").is_file()

    def test_files_that_are_no_records(self, tmp_path: Path) -> None:
        store = filled(tmp_path)
        expected = readable(store.finished())
        (tmp_path / "runs" / ".DS_Store").write_bytes(b"\0")
        (tmp_path / "runs" / "notes.txt").write_text("mine", encoding="utf-8")
        assert readable(store.finished()) == expected
        assert store.damaged == []

    @pytest.mark.parametrize("schema", [SCHEMA + 1, 99])
    def test_a_record_of_a_newer_version_is_never_touched(self, tmp_path: Path, schema: int) -> None:
        store = filled(tmp_path)
        folder = store.finished()[spec(1).id].folder
        path = tmp_path / "runs" / folder / "record.json"
        record = changed(json.loads(path.read_text(encoding="utf-8")), "schema", value=schema)
        path.write_text(json.dumps(record), encoding="utf-8")
        before = files(tmp_path)
        assert set(store.finished()) == {spec(0).id, spec(2).id}
        assert (store.damaged, store.newer, store.reasons) == ([], [folder], {folder: f"schema {schema}"})
        assert untrained([spec(0), spec(1), spec(3)], store) == [spec(3)], "it is not trained over"
        with pytest.raises(InputError, match=rf"written by a newer version \(schema {schema}\)") as caught:
            store.record(spec(1).id)
        assert str(path.parent) in str(caught.value)
        assert store.set_aside_damaged() == []
        assert files(tmp_path) == before

    def test_a_failure_of_a_newer_version_is_left_alone(self, tmp_path: Path) -> None:
        store = Store(tmp_path)
        path = fail(store, spec()) / "record.json"
        path.write_text(path.read_text(encoding="utf-8").replace(f'"schema": {SCHEMA}', '"schema": 99'), "utf-8")
        assert store.failures() == {}
        assert store.newer == [path.parent.name]
        assert untrained([spec()], store) == []


class TestDrafts:
    def old(self, path: Path, days: float) -> None:
        when = time.time() - days * DAY
        os.utime(path, (when, when))

    def test_what_killed_processes_left_is_cleared_after_a_month(self, tmp_path: Path) -> None:
        store = filled(tmp_path)
        for name, days in (("old", 31), ("fresh", 29)):
            (tmp_path / "drafts" / name).mkdir()
            (tmp_path / "drafts" / name / "log.txt").write_text("half", encoding="utf-8")
            self.old(tmp_path / "drafts" / name / "log.txt", days)
            self.old(tmp_path / "drafts" / name, days)
        store.clear_drafts()
        assert [path.name for path in (tmp_path / "drafts").iterdir()] == ["fresh"]
        assert len(store.finished()) == 3

    def test_logs_of_workers_too(self, tmp_path: Path) -> None:
        store = filled(tmp_path)
        log = tmp_path / "drafts" / "worker-1-0.log"
        log.write_text("", encoding="utf-8")
        self.old(log, 31)
        store.clear_drafts()
        assert not log.exists()

    def test_a_run_of_many_days_keeps_its_draft(self, tmp_path: Path) -> None:
        store = Store(tmp_path)
        with store.draft() as draft:
            (draft / "log.txt").write_text("still being written\n", encoding="utf-8")
            self.old(draft, 20)
            Store(tmp_path).clear_drafts()
            assert (draft / "log.txt").is_file()


class TestWholeRecords:
    def test_those_of_some_folders_without_damaged_ones(self, tmp_path: Path) -> None:
        store = filled(tmp_path)
        folders = [run.folder for run in store.finished().values()]
        (tmp_path / "runs" / folders[0] / "record.json").write_text("{", encoding="utf-8")
        first, second = store.records([folders[2], folders[0], folders[1], "none-of-these"])
        assert first[1] == tmp_path / "runs" / folders[2]
        assert second[0].spec == json.loads((tmp_path / "runs" / folders[1] / "record.json").read_bytes())["spec"]


class TestThreads:
    def test_order_is_kept(self) -> None:
        assert in_threads(lambda n: n * n, range(1000)) == [n * n for n in range(1000)]
        assert in_threads(lambda n: n, []) == []

    def test_they_wait_together(self) -> None:
        """Where a file takes a while, as on a network file system, it is not the sum of all."""
        together, waiting, here = threading.Barrier(THREADS), threading.local(), threading.current_thread()

        def wait(number: int) -> None:
            time.sleep(0.001)
            if threading.current_thread() is not here and not hasattr(waiting, "over"):
                together.wait(60)  # is broken where not all of them look at files at once
                waiting.over = True

        in_threads(wait, range(1024))

    def test_no_more_than_a_batch_is_looked_at_ahead(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """So that what 100,000 files hold is never in memory at a time."""
        monkeypatch.setattr(on_disk, "_BATCH", 4)
        looked: list[int] = []

        def look(number: int) -> int:
            looked.append(number)
            return number**2

        for number, (item, square) in enumerate(in_batches(look, range(10))):
            assert (item, square) == (number, number**2)
            assert len(looked) <= min(10, 4 * (number // 4 + 1))
        assert looked == list(range(10))

    def test_an_error_is_raised(self) -> None:
        def one(number: int) -> None:
            if number == 700:
                raise InputError("no")

        with pytest.raises(InputError, match="no"):
            in_threads(one, range(1000))


class TestSize:
    @pytest.mark.slow
    def test_thousands_of_records_are_read_quickly(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(os, "fsync", lambda handle: None)
        store = Store(tmp_path)
        publish(store, spec())
        for seed in range(1, 2000):
            run = replace(spec(), seeds=Seeds(seed, seed, seed))
            folder = tmp_path / "runs" / f"gta-{run.id}"
            folder.mkdir()
            (folder / "record.json").write_bytes(record_bytes(record_of(run, told(), Record)))
        times = []
        for _ in range(3):
            start = time.process_time()
            found = Store(tmp_path).finished()
            times.append(time.process_time() - start)
            assert len(found) == 2000
        assert times[0] < 3, times
        assert min(times[1:]) < 0.5, times

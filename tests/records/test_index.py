"""An index never gives another answer than the records, whatever happens to either of them."""

from __future__ import annotations

import json
import os
import random
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest

from bench.protocol import Protocol, Recipe
from bench.records.index import CURVES, SCORES, _id_of, row_at
from bench.records.record import SCHEMA, Record, record_bytes, record_of
from bench.records.rows import Looked, PackedRows, brought_up
from bench.records.store import Store, folder_name
from bench.spec import MethodSpec, Named, RunSpec, Seeds, from_json, to_json

RUNS = 6


def spec(seed: int) -> RunSpec:
    method = MethodSpec("gta", "a" * 12, (("weight", 0.3),))
    places = Named("micro_vit", "b" * 12), Named("digits", "c" * 12)
    return RunSpec(method, *places, 15.0, Protocol(Recipe(steps=8)), Seeds(seed, seed, seed), seed)


class Folder:
    """A folder of results to which things happen; each changes the time of the file that it touches, as time passes."""

    def __init__(self, root: Path, draw: random.Random) -> None:
        self.root, self.draw, self.clock = root, draw, 10**18
        self.indexes: list[tuple[str, bytes]] = []
        (root / "runs").mkdir(parents=True)

    def record(self, make: bool = False) -> Path:
        """The file of some run's record, which need not be there."""
        path = self.root / "runs" / folder_name(spec(self.draw.randrange(RUNS))) / "record.json"
        if make:
            path.parent.mkdir(exist_ok=True)
        return path

    def put(self, path: Path, content: bytes) -> None:
        path.write_bytes(content)
        self.clock += 10**9
        os.utime(path, ns=(self.clock, self.clock))

    def publish(self) -> None:
        seed = self.draw.randrange(RUNS)
        path = self.root / "runs" / folder_name(spec(seed)) / "record.json"
        path.parent.mkdir(exist_ok=True)
        curve = []
        for step in range(1, self.draw.randint(1, 3) + 1):
            test, val = ({"top1": self.draw.uniform(0, 100), "nll": self.draw.uniform(0, 2)} for _ in range(2))
            curve.append({"step": step, "val": val if self.draw.random() < 0.5 else None, "test": test})
        entries = {"curve": curve, "timing": {"seconds": self.draw.uniform(1, 2)}}
        self.put(path, record_bytes(record_of(spec(seed), entries, Record)))

    def edit(self) -> None:
        """A number is changed, or the schema, with a checksum that no longer fits, or without one."""
        if (path := self.record()).is_file() and path.read_bytes().startswith(b"{"):
            record = json.loads(path.read_bytes())
            what = self.draw.choice(["top1", "newer", "unsealed", "id"])
            if what == "top1":
                record["curve"][-1]["test"]["top1"] = 99.0
            elif what == "newer":
                record["schema"] = SCHEMA + 1
            elif what == "id":
                record["spec"]["seeds"]["order"] += 1
            if what != "top1":
                record.pop("checksum", None)
            self.put(path, json.dumps(record).encode())

    def cut(self) -> None:
        if (path := self.record()).is_file():
            content = path.read_bytes()
            self.put(path, b"[" + content[: self.draw.randrange(len(content) + 1)])

    def remove(self) -> None:
        if (path := self.record()).parent.is_dir():
            shutil.rmtree(path.parent) if self.draw.random() < 0.7 else path.unlink(missing_ok=True)

    def swap(self) -> None:
        """The record of one run lies in the folder of another one."""
        source, target = self.record(), self.record(make=True)
        if source.is_file() and source != target:
            self.put(target, source.read_bytes())

    def remember(self) -> None:
        self.indexes += [(path.name, path.read_bytes()) for path in self.root.glob("*.msgpack")]

    def set_back(self) -> None:
        """Another process, which has read the records earlier, writes its index last."""
        if self.indexes:
            name, content = self.draw.choice(self.indexes)
            (self.root / name).write_bytes(content)

    def spoil(self) -> None:
        for path in self.root.glob("*.msgpack"):
            content = bytearray(path.read_bytes())
            at = self.draw.randrange(len(content))
            what = self.draw.choice(["cut", "flip", "gone", "draft", "repeat"])
            if what == "gone":
                path.unlink()
                continue
            if what == "draft":  # what a process leaves that is killed while it writes one
                path.with_name(f".{path.name}.0123abcd").write_bytes(content[:at])
                continue
            if what == "flip":
                content[at] ^= 1 << self.draw.randrange(8)
            path.write_bytes({"cut": content[:at], "flip": content, "repeat": content + content[at:]}[what])


def answers(root: Path) -> Any:
    """All that a store says of its records."""
    store = Store(root)
    finished = {run_id: tuple(run) for run_id, run in store.finished().items()}
    damaged, newer, reasons = store.damaged, store.newer, dict(store.reasons)
    scored = {folder: msgspec.to_builtins(each) for folder, each in Store(root).scored().items()}
    return finished, damaged, newer, reasons, scored


@pytest.mark.parametrize("seed", range(25))
def test_whatever_happened_it_says_what_the_records_say(tmp_path: Path, seed: int) -> None:
    folder = Folder(tmp_path / "results", random.Random(seed))
    happens: list[Callable[[], None]] = [folder.publish] * 4
    happens += [folder.edit, folder.cut, folder.remove, folder.swap, folder.remember, folder.set_back, folder.spoil]
    seen = 0
    for _ in range(24):
        folder.draw.choice(happens)()
        if folder.draw.random() < 0.7:
            shutil.copytree(folder.root / "runs", tmp_path / "bare" / "runs")
            expected = answers(tmp_path / "bare")
            assert answers(folder.root) == expected
            assert answers(folder.root) == expected, "once more, from what was just written"
            shutil.rmtree(tmp_path / "bare")
            seen += len(expected[0])
    assert seen, "some records were sound"


class TestForm:
    def filled(self) -> PackedRows:
        rows = PackedRows()
        for folder, row in (("a-1", b"one"), ("b\udcff-2", b""), ("c-3", b"three")):
            rows.append(folder, -len(folder), row)
        return rows

    def test_it_is_read_as_it_was_written(self) -> None:
        rows = self.filled()
        read = CURVES.decode(CURVES.encode(rows))
        assert (read.folders, read.stamps, read.ends) == (rows.folders, rows.stamps, rows.ends)
        assert [bytes(read[at]) for at in range(3)] == [b"one", b"", b"three"]
        assert len(CURVES.decode(CURVES.encode(PackedRows()))) == 0

    def test_of_another_machine_or_with_a_bit_flipped_it_is_none(self, monkeypatch: pytest.MonkeyPatch) -> None:
        content = CURVES.encode(self.filled())
        for at in range(8 * len(content)):
            flipped = bytearray(content)
            flipped[at // 8] ^= 1 << at % 8
            with pytest.raises((ValueError, msgspec.MsgspecError)):
                CURVES.decode(bytes(flipped))
        monkeypatch.setattr("sys.byteorder", "middle")
        with pytest.raises(ValueError, match="not as it was written"):
            CURVES.decode(content)

    def test_nothing_is_read_anew_where_nothing_changed(self) -> None:
        def read(changed: list[str]) -> Any:
            raise AssertionError(changed)

        rows = self.filled()
        stamps = dict(zip(rows.folders, rows.stamps, strict=True))
        assert brought_up(rows, stamps, read) is rows

    def test_what_changed_is_read_anew_and_nothing_else(self) -> None:
        asked: list[str] = []

        def read(changed: list[str]) -> Any:
            asked.extend(changed)
            return iter([b"new" if name != "d-4" else None for name in changed])

        rows = brought_up(self.filled(), {"a-1": 7, "c-3": -3, "d-4": 9}, read)
        assert asked == ["a-1", "d-4"]
        assert (rows.folders, [bytes(rows[at]) for at in range(2)]) == (["a-1", "c-3"], [b"new", b"three"])

    def test_of_equal_names_the_last_counts(self) -> None:
        looked = Looked(["a", "b", "a"], lambda at: at)
        assert dict(looked) == {"a": 2, "b": 1}
        assert ("a" in looked, "c" in looked, len(looked), looked.get("c")) == (True, False, 2, None)

    def test_both_hold_what_a_record_says(self, tmp_path: Path) -> None:
        Folder(tmp_path / "results", random.Random(0)).publish()
        store = Store(tmp_path / "results")
        (run,), (scored,) = store.finished().values(), store.scored().values()
        assert run.values == tuple((p.step, (p.val or {}).get("top1"), p.test["top1"]) for p in scored.curve)
        (content,) = (path.read_bytes() for path in tmp_path.glob("results/runs/*/record.json"))
        rows = PackedRows()
        rows.append(run.folder, 0, CURVES.read(content, run.folder))
        assert row_at(rows, 0).values == run.values
        assert SCORES.read(content, run.folder)


class TestId:
    @pytest.mark.parametrize(
        "changes",
        [
            {},
            {"rate": 100.0},
            {"rate": "16-shot"},
            {"further": "d" * 12},
            {"seed": 7},
            {"seeds": Seeds(2**40, 0, 2**70)},
            {"protocol": Protocol(Recipe(steps=9, lr=0.5), mixup=0.2)},
            {"method": MethodSpec("x", "e" * 12, (("a", None), ("b", True)), (MethodSpec("sam", "f" * 12, ()),))},
        ],
        ids=str,
    )
    def test_of_a_spec_as_it_stands_in_a_record(self, changes: dict[str, Any]) -> None:
        for indent in (0, 1):
            text = msgspec.json.format(msgspec.json.encode(to_json(replace(spec(3), **changes))), indent=indent)
            assert _id_of(msgspec.Raw(text)) == replace(spec(3), **changes).id

    @pytest.mark.parametrize(
        ("part", "value"),
        [("seeds", {"subset": 3.0, "init": 3, "order": 3}), ("seeds", {"subset": True, "init": 3, "order": 3})],
    )
    def test_numbers_that_are_no_whole_ones_are_another_run(self, part: str, value: Any) -> None:
        data = {**to_json(spec(3)), part: value}
        run_id = _id_of(msgspec.Raw(msgspec.json.encode(data)))
        assert run_id == from_json(data).id
        assert run_id != spec(3).id

    @pytest.mark.parametrize("data", [[], 5, None, {}, {"seeds": {"subset": 1, "init": 1, "order": 1, "more": 1}}])
    def test_what_is_no_spec_is_refused_as_it_is_read_whole(self, data: Any) -> None:
        whole = {**to_json(spec(3)), **data} if data and isinstance(data, dict) else data
        with pytest.raises((TypeError, KeyError)) as expected:
            from_json(whole)
        with pytest.raises(expected.type):
            _id_of(msgspec.Raw(msgspec.json.encode(whole)))

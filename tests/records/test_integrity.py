"""A record whose numbers were changed is found out: by its checksum, or by what else is kept of the run."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench.cli import main
from bench.errors import InputError
from bench.metrics import Predictions, scores
from bench.plan.overrides import Overrides
from bench.plan.target import read_plan
from bench.records.proof import PREDICTIONS
from bench.records.record import Record, read_record, record_bytes
from bench.records.seal import Unfit
from bench.records.store import Store, read_stored
from bench.registry import Registry
from bench.spec import RunSpec

IMAGES, CLASSES, POINTS = 1000, 10, 2
TYPED = ("demo", "--methods", "ce", "--rates", "15", "--seeds", "3", "--backbones", "micro_vit")


def runs() -> list[RunSpec]:
    typed = Overrides(methods="ce", rates="15", seeds="3", backbones="micro_vit")
    return list(read_plan("demo", Registry(), typed).unique.values())


def predictions(seed: int) -> dict[str, Any]:
    """What a run keeps of a thousand images."""
    state = np.random.RandomState(seed)
    labels = state.randint(0, CLASSES, IMAGES)
    predicted = np.where(state.rand(POINTS, IMAGES) < 0.8, labels, (labels + 1) % CLASSES)
    steps = state.randint(1, 65536, (2, POINTS, IMAGES)).astype(np.uint16)
    return {
        "test": predicted.astype(np.uint16),
        "test_labels": labels.astype(np.uint16),
        "test_confidence": steps[0],
        "test_squares": steps[1],
        "test_log_probability": -state.rand(POINTS, IMAGES).astype(np.float32),
        "test_rank": state.randint(1, CLASSES, (POINTS, IMAGES)).astype(np.uint16),
    }


def publish(store: Store, spec: RunSpec) -> Path:
    arrays = predictions(spec.seed)
    curve = []
    for at in range(POINTS):
        stored = {name: arrays[f"test_{name}"][at] for name in ("confidence", "squares", "log_probability", "rank")}
        test = scores(Predictions(arrays["test"][at], arrays["test_labels"], stored))
        curve.append({"step": at + 1, "val": None, "test": test})
    entries = {"curve": curve, "timing": {"seconds": 1.0}, "test_images": IMAGES, "validation_images": 0}
    with store.draft() as draft:
        np.savez_compressed(draft / PREDICTIONS, **arrays)
        return store.publish(draft, spec, entries)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Three finished runs of the demo in ``results``."""
    monkeypatch.chdir(tmp_path)
    for spec in runs():
        publish(Store("results"), spec)
    return tmp_path


def edit(folder: Path, change: Callable[[dict[str, Any]], object], sealed: bool) -> None:
    """Change a record as a hand would; without its checksum, as an older version wrote it."""
    path = folder / "record.json"
    record = json.loads(path.read_text(encoding="utf-8"))
    change(record)
    if not sealed:
        record.pop("checksum", None)
    path.write_text(json.dumps(record, indent=1, ensure_ascii=False), encoding="utf-8")


def last(name: str, value: float) -> Callable[[dict[str, Any]], object]:
    return lambda record: record["curve"][-1]["test"].update({name: value})


EDITS: dict[str, tuple[Callable[[dict[str, Any]], object], bool]] = {
    "an accuracy": (last("top1", 99.9), True),
    "a digit of an accuracy": (lambda r: r["curve"][0]["test"].update(top1=r["curve"][0]["test"]["top1"] + 1e-9), True),
    "another metric": (last("nll", 0.01), True),
    "what it took": (lambda record: record["timing"].update(seconds=0.1), True),
    "its label": (lambda record: record.update(label="another"), True),
    "its spec": (lambda record: record["spec"].update(rate=30.0), True),
    "its checksum": (lambda record: record.update(checksum="0" * 16), True),
    "an accuracy, before there were checksums": (last("top1", 99.9), False),
    "an accuracy that is no share of the images": (last("top1", 99.95), False),
    "top-5": (last("top5", 99.95), False),
    "a point less": (lambda record: record["curve"].pop(), False),
    "its spec, before": (lambda record: record["spec"].update(rate=30.0), False),
}


class TestChanged:
    @pytest.mark.parametrize("kind", EDITS)
    def test_it_counts_for_nothing_and_everybody_says_so(
        self, here: Path, capsys: pytest.CaptureFixture[str], kind: str
    ) -> None:
        main(["table", *TYPED, "--format", "json"])
        before = json.loads(capsys.readouterr().out)
        victim = Store("results").root / "runs" / Store("results").finished()[runs()[0].id].folder
        edit(victim, *EDITS[kind])
        assert main(["table", *TYPED, "--format", "json"]) == 0
        captured = capsys.readouterr()
        assert f"{victim.name} (" in captured.err
        assert "is damaged and counts as missing" in captured.err
        assert '"n": 2' in captured.out
        assert json.loads(captured.out) != before
        for command in ("status", "plan"):
            assert main([command, *TYPED]) == 0
            captured = capsys.readouterr()
            assert f"{victim.name} (" in captured.out + captured.err
        if "spec" not in kind:  # of that, show and rerun say that it is another run's
            for command in ("show", "rerun"):
                assert main([command, runs()[0].id]) == 2
                (line,) = capsys.readouterr().err.splitlines()
                assert "damaged" in line
        store = Store("results")
        store.finished()
        assert store.set_aside_damaged() == [victim.name]
        assert len(store.finished()) == 2

    def test_a_record_that_is_laid_out_anew_is_the_same(self, here: Path) -> None:
        for at, folder in enumerate(sorted((here / "results" / "runs").iterdir())):
            record = json.loads((folder / "record.json").read_text(encoding="utf-8"))
            (folder / "record.json").write_text(json.dumps(record, indent=at, ensure_ascii=False), encoding="utf-8")
        assert len(Store("results").finished()) == 3

    def test_a_spec_that_is_anothers_is_said_when_it_is_shown(
        self, here: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        (folder, *_) = sorted((here / "results" / "runs").iterdir())
        edit(folder, lambda record: record["spec"].update(rate=30.0), sealed=False)
        assert main(["show", folder.name[-12:]]) == 0
        assert "its spec is that of another run" in capsys.readouterr().out

    def test_a_record_in_the_folder_of_another(self, here: Path) -> None:
        first, second, _ = sorted((here / "results" / "runs").iterdir())
        shutil.copy(first / "record.json", second / "record.json")
        store = Store("results")
        assert len(store.finished()) == 2
        assert store.damaged == [second.name]
        with pytest.raises(InputError, match="its id is not that of its folder"):
            store.record(second.name[-12:])


class TestOlder:
    """Records without a checksum are read as before."""

    def test_they_count(self, here: Path) -> None:
        for folder in (here / "results" / "runs").iterdir():
            edit(folder, lambda record: None, sealed=False)
        store = Store("results")
        assert len(store.finished()) == len(store.scored()) == 3
        assert store.damaged == []

    @pytest.mark.parametrize("spoil", [Path.unlink, lambda path: path.write_bytes(b"PK"), lambda path: os.mkfifo(path)])
    def test_they_count_without_their_predictions(self, here: Path, spoil: Callable[[Path], object]) -> None:
        (folder, *_) = (here / "results" / "runs").iterdir()
        edit(folder, lambda record: None, sealed=False)
        if spoil is not Path.unlink and "mkfifo" in spoil.__code__.co_names:
            (folder / PREDICTIONS).unlink()
        spoil(folder / PREDICTIONS)
        assert len(Store("results").finished()) == 3

    def test_a_metric_that_is_not_that_of_the_predictions(self, here: Path) -> None:
        (folder, *_) = (here / "results" / "runs").iterdir()
        edit(folder, last("nll", 0.01), sealed=False)
        assert folder.name not in Store("results").scored()
        with pytest.raises(Unfit, match=r"at step 2 test\.nll is 0\.01, and by its predictions 0\.4"):
            read_stored(folder / "record.json")


def test_the_checksum_is_written_whatever_was_read(here: Path) -> None:
    (path, *_) = (here / "results" / "runs").glob("*/record.json")
    content = path.read_bytes()
    record = read_record(content)
    assert isinstance(record, Record)
    assert record_bytes(record) == content


@pytest.mark.parametrize("name", ["record.json", "index.msgpack", "scores.msgpack", PREDICTIONS])
def test_a_pipe_in_the_place_of_a_file_is_not_waited_for(
    here: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    (folder, *_) = (here / "results" / "runs").iterdir()
    path = here / "results" / name if name.endswith(".msgpack") else folder / name
    path.unlink(missing_ok=True)
    os.mkfifo(path)
    assert main(["table", *TYPED, "--metric", "nll"]) == 0
    assert ("damaged" in capsys.readouterr().err) == (name == "record.json")
    assert main(["items", *TYPED]) in (0, 2)
    assert main(["runs", *TYPED]) == 0

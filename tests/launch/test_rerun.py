"""A run that is repeated from its record: what is compared, what is refused, and what is said."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from bench.commands import rerun as command
from bench.commands.options import Parser
from bench.errors import InputError
from bench.launch import Job, LocalExecutor
from bench.launch import run as launch
from bench.launch.rerun import compare, find_record, repeatable
from bench.plan.overrides import Overrides
from bench.plan.target import read_plan
from bench.records.record import Record
from bench.records.store import Store
from bench.registry import Registry
from bench.spec import to_json
from tests.warm import forking

pytestmark = pytest.mark.usefixtures("warm")

METHOD = """
import pathlib
from dataclasses import dataclass

import torch

from bench.method import Method

SIGN = pathlib.Path({sign!r})


@dataclass(frozen=True)
class Mine(Method):
    '''Plain fine-tuning, until a sign says otherwise.'''

    def loss(self, model, batch):
        sign = SIGN.read_text() if SIGN.is_file() else ""
        if sign == "fail":
            raise RuntimeError("not this time")
        logits = model(batch.images)
        return {{"ce": batch.cross_entropy(logits) * (-1.0 if sign == "otherwise" else 1.0)}}
"""


@dataclass(frozen=True)
class Run:
    """A finished run: its results folder, its record's folder, its plugin, and the sign that changes its method."""

    results: Path
    folder: Path
    plugin: Path
    sign: Path

    @property
    def id(self) -> str:
        return self.folder.name[-12:]


@dataclass(frozen=True)
class Said:
    code: int
    out: str


Rerun = Callable[..., Said]


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run of a plugin's method, trained by a worker."""
    root = tmp_path_factory.mktemp("original")
    sign, plugin, results = root / "sign", root / "mine.py", root / "results"
    plugin.write_text(METHOD.format(sign=str(sign)), encoding="utf-8")
    registry = Registry([plugin])
    usual = ("steps=8", "warmup=2", "evaluations=2", "batch_size=8")
    asked = Overrides(methods="mine", rates="15", seeds="1", settings=usual)
    (spec,) = read_plan("demo", registry, asked).unique.values()
    with forking():
        launch([spec], Job(results, registry.plugins, "bench run"), LocalExecutor(jobs=1))
    (folder,) = (results / "runs").iterdir()
    return Run(results, folder, plugin, sign)


@pytest.fixture
def run(original: Run, tmp_path: Path) -> Run:
    """The same run, to be spoilt."""
    shutil.copytree(original.results, tmp_path / "results")
    shutil.copy(original.plugin, tmp_path / "mine.py")
    folder = tmp_path / "results" / "runs" / original.folder.name
    return Run(tmp_path / "results", folder, tmp_path / "mine.py", original.sign)


@pytest.fixture
def rerun(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Rerun:
    """``bench rerun``, with an empty folder for what is temporary, which must be empty again at the end."""
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    parser = Parser(prog="bench")
    command.add(parser.add_subparsers(required=True, parser_class=Parser, metavar="COMMAND"))

    def called(*arguments: object) -> Said:
        options = parser.parse_args(["rerun", *map(str, arguments)])
        capsys.readouterr()
        code = options.command(options)
        assert not list(temporary.iterdir())
        return Said(code, capsys.readouterr().out)

    return called


def files(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def edit(run: Run, change: Callable[[dict[str, Any]], object]) -> None:
    path = run.folder / "record.json"
    record = json.loads(path.read_text(encoding="utf-8"))
    change(record)
    del record["checksum"]  # as an older version wrote it
    path.write_text(json.dumps(record), encoding="utf-8")


@pytest.mark.slow
class TestCheck:
    def test_the_same_code_gives_the_same_bits(self, run: Run, rerun: Rerun) -> None:
        before = files(run.results)
        said = rerun(run.id[:6], "--check", "--results", run.results, "--plugin", run.plugin)
        assert said.code == 0
        assert said.out.splitlines()[0] == "equal to the last bit: 2 points of the curve, 14 arrays of predictions"
        assert files(run.results) == before

    def test_a_record_that_was_handed_over(self, run: Run, rerun: Rerun, tmp_path: Path) -> None:
        """Alone, without predictions, and made with another version: what differs is said, and the numbers count."""
        handed = tmp_path / "handed.json"
        edit(run, lambda record: record["environment"]["packages"].update(torch="1.0"))
        shutil.move(run.folder / "record.json", handed)
        said = rerun(handed, "--check", "--plugin", run.plugin, "--format", "json")
        told = json.loads(said.out)
        assert (said.code, told["equal"], told["arrays"], told["numbers"]) == (0, True, 0, [])
        assert any(line.startswith("packages.torch: 1.0 → ") for line in told["environment"])

    def test_other_numbers(self, run: Run, rerun: Rerun) -> None:
        run.sign.write_text("otherwise")
        try:
            said = rerun(run.id, "--check", "--results", run.results, "--plugin", run.plugin)
        finally:
            run.sign.unlink()
        assert said.code == 1
        lines = said.out.splitlines()
        assert lines[0] == "different:"
        assert any(line.startswith("  loss.ce: differs at 2 of 2 points, most at step ") for line in lines)
        assert any(line.startswith("  predictions.test: ") and line.endswith("at the last point") for line in lines)
        assert not any("learning_rate" in line or "training_indices" in line for line in lines)

    def test_a_repetition_that_fails(self, run: Run, rerun: Rerun) -> None:
        run.sign.write_text("fail")
        try:
            said = rerun(run.id, "--check", "--results", run.results, "--plugin", run.plugin)
        finally:
            run.sign.unlink()
        assert (said.code, said.out) == (1, "different: it failed now: RuntimeError: RuntimeError: not this time\n")


@pytest.mark.slow
class TestTold:
    def test_how_it_is_repeated_and_where_it_was_made(self, run: Run, rerun: Rerun) -> None:
        said = rerun(run.id[:8], "--results", run.results, "--plugin", run.plugin)
        assert said.code == 0
        lines = said.out.splitlines()
        assert lines[0] == f"run {run.id}: mine micro_vit cluttered_digits 15 % seed 0 (done)"
        assert any(line.startswith("  packages: torch ") for line in lines)
        assert lines[-2] == "it can be repeated here; to train it again and compare:"
        assert lines[-1] == f"  bench rerun {run.id} --check --results {run.results} --plugin {run.plugin}"
        record = json.loads((run.folder / "record.json").read_text(encoding="utf-8"))
        assert record["repeat"].startswith(f"bench rerun {run.id} --check --results ")

    def test_why_it_cannot_be_repeated_here(self, run: Run, rerun: Rerun) -> None:
        said = rerun(run.folder)
        assert said.code == 0
        why = "it cannot be repeated here: no method is called 'mine': give the plugin it is in with --plugin (mine.py)"
        assert why in said.out

    def test_a_record_cannot_write_to_the_terminal(self, run: Run, rerun: Rerun) -> None:
        edit(run, lambda record: record.update(label="\x1b]0;x\x07\x1b[31m\nit can be repeated", command="\x9b2J"))
        lines = rerun(run.folder, "--plugin", run.plugin).out.splitlines()
        assert all(line.isprintable() for line in lines)
        assert "it can be repeated" not in [line[:18] for line in lines[:-2]]


@pytest.mark.slow
class TestRefused:
    """In one line, before anything is trained."""

    def refused(self, run: Run, rerun: Rerun, *more: object) -> str:
        with pytest.raises(InputError) as caught:
            rerun(run.folder, "--check", "--plugin", run.plugin, *more)
        (problem,) = caught.value.problems
        return problem

    def test_a_method_that_changed(self, run: Run, rerun: Rerun) -> None:
        run.plugin.write_text(run.plugin.read_text().replace("-1.0", "-2.0"))
        problem = self.refused(run, rerun)
        assert problem.startswith(f"{run.plugin}: the method is not the one that was trained: its code was ")
        assert "bring back the file as it was with version " in problem

    def test_a_method_whose_comments_changed_is_the_same(self, run: Run) -> None:
        run.plugin.write_text("# a remark\n" + run.plugin.read_text())
        record = find_record(str(run.folder), Store(run.results))
        assert repeatable(record, Registry([run.plugin])).id == run.id

    def test_another_dataset_of_the_name(self, run: Run, rerun: Rerun) -> None:
        def change(record: dict[str, Any]) -> None:
            from bench.spec import from_json

            record["spec"]["dataset"]["means"] = "0" * 12
            record["id"] = from_json(record["spec"]).id

        edit(run, change)
        assert self.refused(run, rerun).startswith("cluttered_digits: it is not what the record was made with (0000")

    def test_hyper_parameters_that_the_method_lacks(self, run: Run, rerun: Rerun) -> None:
        def change(record: dict[str, Any]) -> None:
            from bench.spec import from_json

            record["spec"]["method"]["hyper"] = [["weight", 1.0]]
            record["id"] = from_json(record["spec"]).id

        edit(run, change)
        assert "no hyper-parameter is called 'weight'" in self.refused(run, rerun)

    def test_a_spec_that_gives_another_id(self, run: Run, rerun: Rerun) -> None:
        edit(run, lambda record: record["spec"].update(rate=50.0))
        problem = self.refused(run, rerun)
        assert "its spec is now that of another run, " in problem
        assert "the record was edited" in problem

    def test_a_run_that_failed(self, run: Run, rerun: Rerun) -> None:
        edit(run, lambda record: record.update(status="failed", error={"kind": "ValueError", "message": "no"}))
        assert "the run did not finish; 'bench run' with --retry trains it again" in self.refused(run, rerun)

    @pytest.mark.parametrize("key", ["spec", "curve"])
    @pytest.mark.parametrize("value", [None, 3, [], {}, "x", ["x"], [{"step": "x"}]])
    def test_a_damaged_record(self, run: Run, rerun: Rerun, key: str, value: object) -> None:
        edit(run, lambda record: record.update({key: value}))
        assert "damaged" in self.refused(run, rerun)

    def test_damaged_predictions(self, run: Run, rerun: Rerun) -> None:
        path = run.folder / "predictions.npz"
        path.write_bytes(path.read_bytes()[:200])
        assert self.refused(run, rerun).startswith(f"{path}: the predictions are damaged")

    def test_predictions_that_hold_code(self, run: Run, rerun: Rerun) -> None:
        np.savez(run.folder / "predictions.npz", test=np.array([object()], dtype=object))
        assert "the predictions are damaged" in self.refused(run, rerun)


class TestFind:
    @pytest.mark.parametrize("name", ["nosuch", "abc", "../x", "", "ABCDEF", "no/such/record.json", "0123456789abc"])
    def test_neither_an_id_nor_a_path(self, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (tmp_path / "empty").mkdir()
        monkeypatch.chdir(tmp_path / "empty")
        with pytest.raises(InputError, match="is neither the beginning of a run's id"):
            find_record(name, Store(tmp_path))

    @pytest.mark.parametrize(
        "content", ["", "{", "[]", "3", "{}", '{"schema": "x"}', '{"schema": 1}', "\xff", "[" * 9999]
    )
    def test_a_file_that_is_no_record(self, content: str, tmp_path: Path) -> None:
        path = tmp_path / "record.json"
        path.write_text(content, encoding="latin-1")
        with pytest.raises(InputError, match="not the record of a run, or it is damaged"):
            find_record(str(path), Store(tmp_path))

    def test_a_newer_record(self, tmp_path: Path) -> None:
        (tmp_path / "record.json").write_text('{"schema": 999}')
        with pytest.raises(InputError, match="written by a newer version"):
            find_record(str(tmp_path), Store(tmp_path))


class TestCompare:
    def record(self, *tops: float, val: dict[str, float] | None = None, **more: Any) -> Record:
        curve = [
            {"step": step, "learning_rate": 0.1, "loss": {"ce": 1.0}, "val": val, "test": {"top1": top}, "seconds": top}
            for step, top in enumerate(tops, 1)
        ]
        head = {"status": "done", "id": "", "label": "", "spec": {}, "timing": {"seconds": 1.0}}
        return msgspec.convert({**head, "curve": curve, "subset": {"digest": "a"}, **more}, Record)

    def test_one_bit_is_a_difference(self) -> None:
        found = compare(self.record(50.0, 60.0), self.record(50.0, 60.00000000000001), None, None)
        assert not found.equal
        assert found.numbers == ("test.top1: differs at 1 of 2 points, most at step 2: by 7.11e-15",)

    def test_curves_of_other_steps(self) -> None:
        found = compare(self.record(50.0), self.record(50.0, 60.0), None, None)
        assert found.numbers == ("the curve has its points at steps 1, and now at 1, 2",)

    def test_a_split_that_is_not_in_both(self) -> None:
        other = self.record(50.0, val={"top1": 3.0})
        assert compare(self.record(50.0), other, None, None).numbers == ("val.top1: it is not in both",)

    def test_predictions(self) -> None:
        before = {"test": np.array([[1, 2], [3, 4]]), "test_labels": np.array([1, 2]), "val": np.array([[1]])}
        after = {"test": np.array([[1, 0], [3, 0]]), "test_labels": np.array([1, 2])}
        found = compare(self.record(50.0), self.record(50.0), before, after)
        assert found.numbers == (
            "predictions.test: 50.00 % differ at the last point",
            "predictions.val: not of the same form in both",
        )

    def test_a_metric_that_the_older_record_did_not_know_yet(self) -> None:
        later = self.record(50.0)
        curve = [msgspec.structs.replace(point, test={**point.test, "nll": 1.0}) for point in later.curve]
        assert compare(self.record(50.0), msgspec.structs.replace(later, curve=curve), None, None).equal

    def test_other_training_images(self) -> None:
        found = compare(self.record(50.0), self.record(50.0, subset={"digest": "b"}), None, None)
        assert found.numbers == ("other training images were drawn",)

    def test_versions_and_hardware(self) -> None:
        then: dict[str, Any] = {
            "python": "3.10",
            "packages": {"torch": "2.0", "timm": "1"},
            "gpus": [{"name": "A100"}],
            "launcher": "slurm",
        }
        now: dict[str, Any] = {
            "python": "3.10",
            "packages": {"torch": "2.1", "timm": "1"},
            "gpus": [],
            "launcher": "local",
            "cuda": None,
        }
        found = compare(
            self.record(50.0, environment=then, ranks=2), self.record(50.0, environment=now, ranks=1), None, None
        )
        assert found.equal
        assert found.environment == ("packages.torch: 2.0 → 2.1", "gpus: A100 → none", "ranks: 2 → 1")


@pytest.mark.slow
def test_the_spec_of_a_record_is_all_it_takes(original: Run) -> None:
    stored = find_record(str(original.folder), Store(original.results))
    assert to_json(repeatable(stored, Registry([original.plugin])))["rate"] == stored.record.spec["rate"]

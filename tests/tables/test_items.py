"""Image-by-image tests from stored predictions: against statsmodels and by hand; bad files in one line."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from statsmodels.stats.contingency_tables import mcnemar as statsmodels_mcnemar

from bench.cli import main
from bench.errors import InputError
from bench.plan.experiment import read_experiment
from bench.plan.grid import expand
from bench.plan.overrides import Overrides
from bench.plan.paper import plan_paper
from bench.plan.table import Plan
from bench.records.store import Finished, Store
from bench.registry import Registry
from bench.spec import RunSpec
from bench.stats.family import holm
from bench.stats.items import paired_bootstrap
from bench.tables.items import ItemTest, Rivals, item_tests, read_answers

IMAGES, POINTS = 200, 2
LABELS = np.arange(IMAGES) % 7

Bools = npt.NDArray[np.bool_]


def outcome(seed: int, share: float) -> Bools:
    """Whether a made-up run is right, image by image; the same images are hard for all."""
    hard = np.random.default_rng(99).random(IMAGES)
    return hard + np.random.default_rng(seed).normal(0, 0.1, IMAGES) < share


def store_run(root: Path, run_id: str, *rights: Bools, labels: npt.NDArray[Any] = LABELS, **more: Any) -> Finished:
    """A finished run of these outcomes, one a point of its curve, with its predictions."""
    folder = root / "runs" / run_id
    folder.mkdir(parents=True)
    predicted = np.stack([np.where(right, labels, labels + 1) for right in rights]).astype(np.uint16)
    np.savez_compressed(folder / "predictions.npz", test=predicted, test_labels=labels.astype(np.uint16), **more)
    curve = tuple((at, 50.0 - at, 100 * float(right.mean())) for at, right in enumerate(rights))
    return Finished(run_id, run_id, curve, 1.0)


def rivals(root: Path, seeds: int = 3, where: str = "", shift: float = 0.05, start: int = 0) -> Rivals:
    names = {seed: f"{where}{seed}" for seed in range(start, start + seeds)}
    own = {s: store_run(root, f"own{n}", outcome(s, 0.1), outcome(s, 0.6 + shift)) for s, n in names.items()}
    base = {s: store_run(root, f"base{n}", outcome(100 + s, 0.1), outcome(100 + s, 0.6)) for s, n in names.items()}
    return Rivals(where, "GTA", "CE", own, base)


def by_kind(found: list[ItemTest], kind: str) -> list[ItemTest]:
    return [one for one in found if one.test == kind]


def test_mcnemar_is_that_of_statsmodels_for_each_pair_of_runs(tmp_path: Path) -> None:
    found = by_kind(item_tests(tmp_path, [rivals(tmp_path)], "last"), "mcnemar")
    assert [one.seeds for one in found] == [(0,), (1,), (2,)]
    for seed, one in enumerate(found):
        a, b = outcome(seed, 0.65), outcome(100 + seed, 0.6)
        table = [[(a & b).sum(), (a & ~b).sum()], [(~a & b).sum(), (~a & ~b).sum()]]
        assert one.p == pytest.approx(float(statsmodels_mcnemar(table, exact=True).pvalue), abs=1e-9)
        assert (one.only_method, one.only_baseline) == (table[0][1], table[1][0])
        assert one.gap == pytest.approx(100 * (a.mean() - b.mean()))
    assert [one.p_holm for one in found] == pytest.approx(list(holm([one.p for one in found])), abs=1e-12)


def test_the_bootstrap_is_of_the_means_over_seeds(tmp_path: Path) -> None:
    (found,) = by_kind(item_tests(tmp_path, [rivals(tmp_path)], "last"), "bootstrap")
    a, b = (np.stack([outcome(at + seed, share) for seed in range(3)]) for at, share in ((0, 0.65), (100, 0.6)))
    expected = paired_bootstrap(a, b)
    assert (found.gap, found.low, found.high, found.p) == (expected.gap, expected.low, expected.high, expected.p)
    assert found.seeds == (0, 1, 2)
    assert found.images == IMAGES


def test_holm_is_over_tests_of_a_kind_at_one_place(tmp_path: Path) -> None:
    places = [rivals(tmp_path, where=name, shift=shift, start=at) for name, shift, at in (("x", 0.1, 0), ("y", 0.0, 9))]
    found = item_tests(tmp_path, places, "last")
    for kind in ("mcnemar", "bootstrap"):
        for where in ("x", "y"):
            family = [one for one in by_kind(found, kind) if one.where == where]
            assert [one.p_holm for one in family] == pytest.approx(list(holm([one.p for one in family])), abs=1e-12)


def test_seeds_that_one_side_lacks_are_in_the_means_and_no_pair(tmp_path: Path) -> None:
    some = rivals(tmp_path)
    fewer = Rivals(some.where, some.method, some.baseline, some.runs, {1: some.base_runs[1]})
    found = item_tests(tmp_path, [fewer], "last")
    assert [one.seeds for one in by_kind(found, "mcnemar")] == [(1,)]
    assert [one.seeds for one in by_kind(found, "bootstrap")] == [(0, 1, 2)]
    assert item_tests(tmp_path, [Rivals("", "GTA", "CE", some.runs, {})], "last") == []


@pytest.mark.parametrize(("rule", "at"), [("last", 1), ("best-val", 0), ("best-test", 1)])
def test_the_selection_rule_picks_the_point(tmp_path: Path, rule: str, at: int) -> None:
    points = outcome(1, 0.3), outcome(2, 0.7)
    found = read_answers(tmp_path, store_run(tmp_path, "run", *points), rule)
    assert (found.scores == points[at]).all()
    assert (found.truth == LABELS).all()


def test_too_few_images_that_differ_are_told(tmp_path: Path) -> None:
    right = outcome(1, 0.6)
    other = right.copy()
    other[:3] = ~other[:3]
    own, base = {0: store_run(tmp_path, "own", right)}, {0: store_run(tmp_path, "base", other)}
    (one,) = by_kind(item_tests(tmp_path, [Rivals("", "a", "b", own, base)], "last"), "mcnemar")
    assert one.note.startswith(
        "n = 3 images on which the two disagree: the smallest possible p of McNemar's test is 0.25"
    )


@given(pairs=st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=30))
@settings(max_examples=40, deadline=None)
def test_sides_change_nothing_but_the_sign(
    pairs: list[tuple[bool, bool]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    root = tmp_path_factory.mktemp("sides")
    a, b = (np.array(side) for side in zip(*pairs, strict=True))
    labels = np.arange(len(pairs))
    own, base = store_run(root, "a", a, labels=labels), store_run(root, "b", b, labels=labels)
    one, other = (
        item_tests(root, [Rivals("", "m", "n", {0: x}, {0: y})], "last") for x, y in ((own, base), (base, own))
    )
    for first, second in zip(one, other, strict=True):
        assert first.gap == pytest.approx(-second.gap)
        assert (first.only_method, first.only_baseline) == (second.only_baseline, second.only_method)
    assert one[0].p == other[0].p
    assert one[1].p == pytest.approx(other[1].p, abs=0.05)  # drawn


# ---- what cannot be used


def test_missing_predictions_are_one_line(tmp_path: Path) -> None:
    run = store_run(tmp_path, "run", outcome(1, 0.5))
    (tmp_path / "runs" / "run" / "predictions.npz").unlink()
    with pytest.raises(InputError, match=r"run/predictions\.npz: there is no such file, and tests of images need"):
        read_answers(tmp_path, run, "last")


def broken(kind: str) -> bytes:
    whole = io.BytesIO()
    good = {"test": LABELS[None], "test_labels": LABELS}
    changed: Mapping[str, Any] = {
        "no test": {"val": LABELS[None]},
        "an object": {**good, "test": np.array([{"a": 1}], dtype=object)},
        "too few points": {**good, "test": LABELS[None][:0]},
        "too few images": {**good, "test": LABELS[None, :5]},
        "no images": {"test": LABELS[None, :0], "test_labels": LABELS[:0]},
        "of another run": {**good, "test": (LABELS + 1)[None]},
    }
    np.savez(whole, allow_pickle=True, **changed.get(kind, good))
    return {"cut off": whole.getvalue()[:200], "no zip": b"predictions", "empty": b""}.get(kind, whole.getvalue())


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("no test", "it has no predictions of the test split"),
        ("an object", "it cannot be read as predictions"),
        ("cut off", "it cannot be read as predictions"),
        ("no zip", "it cannot be read as predictions"),
        ("empty", "it cannot be read as predictions"),
        ("too few points", "the predictions do not fit the record's curve"),
        ("too few images", "the predictions do not fit the record's curve"),
        ("no images", "the predictions do not fit the record's curve"),
        ("of another run", "top-1 is 0.0000 %, and the record says 100.0000"),
    ],
)
def test_a_damaged_file_is_one_line_with_what_to_do(kind: str, said: str, tmp_path: Path) -> None:
    run = store_run(tmp_path, "run", np.ones(IMAGES, dtype=bool))
    (tmp_path / "runs" / "run" / "predictions.npz").write_bytes(broken(kind))
    with pytest.raises(InputError) as caught:
        read_answers(tmp_path, run, "last")
    assert len(caught.value.problems) == 1
    assert said in str(caught.value)
    assert str(caught.value).endswith("remove the run's folder and train it again")


def test_different_images_are_one_line(tmp_path: Path) -> None:
    right = outcome(1, 0.5)
    own = store_run(tmp_path, "own", right)
    for name, labels, rights in (("fewer", LABELS[:50], right[:50]), ("others", LABELS[::-1].copy(), right)):
        base = store_run(tmp_path, name, rights, labels=labels)
        with pytest.raises(InputError, match="their images differ"):
            item_tests(tmp_path, [Rivals("", "a", "b", {0: own}, {0: base})], "last")


# ---- the command


@pytest.fixture
def results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The demo's runs of three methods at one rate, with predictions."""
    monkeypatch.chdir(tmp_path)
    publish(Store("results"), plan().unique.values())
    return tmp_path / "results"


def publish(store: Store, specs: Iterable[RunSpec]) -> None:
    """Finished runs with predictions; GTA and the FFN alone are better."""
    for number, spec in enumerate(specs):
        right = outcome(number, 0.7 if spec.method.name in ("gta", "ffn_only") else 0.6)
        curve = [{"step": 1, "val": None, "test": {"top1": 100 * float(right.mean())}}]
        with store.draft() as draft:
            predicted = np.where(right, LABELS, LABELS + 1)[None].astype(np.uint16)
            np.savez(draft / "predictions.npz", test=predicted, test_labels=LABELS)
            store.publish(draft, spec, {"status": "done", "curve": curve, "timing": {"seconds": 1.0}, "command": ""})


def plan() -> Plan:
    return expand(read_experiment("demo", Registry(), Overrides(methods="ce,bss,gta", rates="15")))


def told(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert main(["items", "demo", "--rates", "15", *arguments]) == 0
    return capsys.readouterr().out


def test_the_command_compares_with_the_baseline(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = told(capsys, "--methods", "ce,bss,gta")
    assert "Paired bootstrap over the test images, means over seeds" in text
    assert text.count("GTA against Fine-tune (baseline)") == 1 + 3
    rows = list(csv.DictReader(io.StringIO(told(capsys, "--methods", "ce,bss,gta", "--format", "csv"))))
    assert {(row["test"], row["method"]) for row in rows} == {
        (test, method) for test in ("mcnemar", "bootstrap") for method in ("BSS", "GTA")
    }
    assert {row["where"] for row in rows} == {"dataset Cluttered digits / backbone micro_vit / rate 15 %"}
    found = json.loads(told(capsys, "--methods", "ce,bss,gta", "--format", "json"))
    assert (found["level"], found["split"], found["alpha"]) == (0.95, "test", 0.05)
    assert [str(one["p"]) for one in found["tests"]] == [row["p"] for row in rows]
    assert {one["low"] for one in found["tests"] if one["test"] == "mcnemar"} == {None}


def test_the_command_compares_with_the_first_method_where_the_baseline_is_left_out(
    results: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "GTA against BSS" in told(capsys, "--methods", "bss,gta")


def test_in_a_papers_table_the_family_is_a_column_of_the_rows_that_it_compares(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bench.cards.backbone.BackboneCard.absence", "")
    monkeypatch.chdir(tmp_path)
    chosen = Overrides(rates="15", datasets="cub200,stanford_cars", seeds="1")
    publish(Store("results"), plan_paper("gta/table2", Registry(), chosen).unique.values())
    typed = ["gta/table2", "--rates", "15", "--datasets", "cub200,stanford_cars", "--seeds", "1", "--format", "json"]
    assert main(["items", *typed]) == 0
    tests = [one for one in json.loads(capsys.readouterr().out)["tests"] if one["test"] == "mcnemar"]
    places = [f"gta/table2 / {name} / 15%" for name in ("CUB", "Cars")]
    assert list(dict.fromkeys(one["where"] for one in tests)) == places
    for place in places:
        family = [one for one in tests if one["where"] == place]
        least = 5 * min(one["p"] for one in family)
        assert (len(family), min(one["p_holm"] for one in family)) == (5, pytest.approx(least))
        assert least < 1
        assert [one["p_holm"] for one in family] == pytest.approx(holm([one["p"] for one in family]))


def test_one_seed_can_be_chosen(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = list(csv.DictReader(io.StringIO(told(capsys, "--methods", "ce,gta", "--seed", "1", "--format", "csv"))))
    assert [(row["test"], row["seeds"]) for row in rows] == [("mcnemar", "1"), ("bootstrap", "1")]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--methods", "ce,gta", "--seed", "7"], "no method and its baseline both have a finished run with seed 7 in"),
        (["--rates", "100"], "no method and its baseline both have a finished run in"),
    ],
)
def test_nothing_to_compare_is_one_line(
    results: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], said: str
) -> None:
    assert main(["items", "demo", *arguments]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("bench: demo: ")
    assert said in line

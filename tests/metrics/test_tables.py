"""Metrics of which less is better, and what a run costs, in everything that is asked of a table."""

from __future__ import annotations

import csv
import io
import json
import math
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from bench.cli import main
from bench.figures.kinds import cd
from bench.figures.kinds.cd import diagram
from bench.figures.scene import Sketch
from bench.metrics import METRICS, Cost
from bench.metrics.cost import seconds_to
from bench.plan.overrides import find_at
from bench.plan.target import read_plan
from bench.records.scores import Scores
from bench.records.store import Store
from bench.registry import Registry
from bench.spec import RunSpec
from bench.stats.across import mean_ranks
from bench.stats.two import welch
from bench.tables.cells import Cell
from bench.tables.power import Contrast, weigh
from tests.metrics.scored import EXPERIMENT, TARGETS, curve, nll, publish, set_out

NLL = METRICS["nll"]


@pytest.fixture(params=TARGETS)
def target(request: pytest.FixtureRequest, here: Path) -> tuple[str, ...]:
    """An experiment or a paper's table, with a finished run of every cell and candidate."""
    return set_out(here, request.param)


def said(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert main(list(arguments)) == 0
    return " ".join(capsys.readouterr().out.split())


def cells(capsys: pytest.CaptureFixture[str], target: tuple[str, ...], *typed: str) -> dict[str, Mapping[str, str]]:
    """The lines of a table's CSV at 100 %, by their rows: ``Digits / GTA``."""
    assert main(["table", *target, "--format", "csv", *typed]) == 0
    lines = csv.DictReader(io.StringIO(capsys.readouterr().out))
    return {line["row"]: line for line in lines if line["column"].startswith("100")}


def values(plan: str, method: str, shift: float = 0.0) -> list[float]:
    """The nll of a method's seeds on Digits; of a sweep those of the larger weight."""
    specs = {spec.seed: spec for spec in read_plan(plan, Registry(["."])).unique.values() if _is(spec, method)}
    return [nll(specs[seed]) + shift for seed in sorted(specs)]


def _is(spec: RunSpec, method: str) -> bool:
    weight = dict(spec.method.hyper).get("weight")
    return spec.method.name == method and spec.dataset.name == "digits" and (method != "gta" or weight == 1)


# ---- less is better


def test_the_lowest_mean_is_the_best_and_a_gap_below_the_baseline_is_negative(
    target: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    found = cells(capsys, target, "--metric", "nll", "--test", "welch")
    assert [found[f"Digits / {method}"]["best"] for method in ("Fine-tune", "BSS", "GTA")] == ["false", "false", "true"]
    gta, bss = found["Digits / GTA"], found["Digits / BSS"]
    assert float(gta["mean"]) == pytest.approx(0.3 + 0.05 / 3)
    assert float(gta["delta"]) == pytest.approx(-0.5)
    assert float(bss["delta"]) == pytest.approx(0.1)
    assert float(gta["p"]) == pytest.approx(welch(values(target[0], "gta"), values(target[0], "ce")))
    assert gta["significant"] == bss["significant"] == "true"
    text = said(capsys, "table", *target, "--metric", "nll", "--width", "120")
    assert "the lowest mean within one" in text
    assert "negative log-likelihood" in text


def test_of_swept_values_the_lowest_counts(target: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    label = {"mine.yaml": "GTA (weight={})", "mini/table1": "gta (weight={})"}[target[0]]
    assert cells(capsys, target, "--metric", "nll")["Digits / GTA"]["chosen"] == label.format(1)
    assert cells(capsys, target)["Digits / GTA"]["chosen"] == label.format(0.1)  # of equals the first
    assert main(["table", *target, "--metric", "nll", "--candidates", "--format", "json"]) == 0
    tried = json.loads(capsys.readouterr().out)["cells"]
    assert {(each["candidate"], each["chosen"]) for each in tried} == {
        (label.format(1), True),
        (label.format(0.1), False),
    }


def _is_cell(record: Mapping[str, str]) -> bool:
    """Of GTA at 100 %, which is named where there are other rates."""
    return record["row"] == "Digits / GTA" and not record["column"].startswith(("15%", "Avg."))


@pytest.mark.parametrize("rule", ["best-val", "best-test"])
def test_a_selection_rule_picks_the_lowest_point_of_the_curve(
    target: tuple[str, ...], capsys: pytest.CaptureFixture[str], rule: str
) -> None:
    last, best = (cells(capsys, target, "--metric", "nll", "--selection", each) for each in ("last", rule))
    assert float(best["Digits / BSS"]["mean"]) == pytest.approx(float(last["Digits / BSS"]["mean"]) - 0.1)


def test_beside_another_metric_the_first_picks_points_and_candidates(
    target: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    typed = ("--rates", "100", "--selection", "best-val", "--format", "json", "--metric")
    shown = {}
    for metrics in ("top1,nll", "nll,top1"):
        assert main(["table", *target, *typed, metrics]) == 0
        beside = json.loads(capsys.readouterr().out)["cells"]
        shown[metrics] = {each["metric"]: each["mean"] for each in beside if _is_cell(each)}
    at_last, at_second = shown["top1,nll"], shown["nll,top1"]
    assert (at_last["top1"], at_last["nll"]) == (90, pytest.approx(0.4 + 0.05 / 3))  # the first of equal candidates
    assert (at_second["top1"], at_second["nll"]) == (60, pytest.approx(0.2 + 0.05 / 3))


def test_a_claim_over_datasets_has_the_sign_and_the_digits_of_its_metric(
    target: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    text = said(capsys, "table", *target, "--metric", "nll", "--across", "these")
    assert "BSS +0.100 (p = " in text


def test_a_candidate_without_a_score_is_left_out_and_where_all_are_the_reason_is_said(
    target: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    """Such as one that was trained before the metric was kept."""

    def forget(weight: float) -> None:
        for spec in read_plan(target[0], Registry(["."])).unique.values():
            if dict(spec.method.hyper).get("weight") == weight:
                shutil.rmtree(Path("results/runs") / Store("results").finished()[spec.id].folder)
                publish(spec, [{**point, "val": {"top1": 90.0}, "test": {"top1": 90.0}} for point in curve(spec)])

    forget(1)
    found = cells(capsys, target, "--metric", "nll")["Digits / GTA"]
    assert found["chosen"].endswith("(weight=0.1)")
    assert found["note"].startswith("left out: ")
    assert found["note"].endswith("(weight=1), the run kept no predictions")
    forget(0.1)
    found = cells(capsys, target, "--metric", "nll")["Digits / GTA"]
    assert (found["mean"], found["note"]) == ("", "the run kept no predictions")
    assert cells(capsys, target)["Digits / GTA"]["mean"] == "90.0"


def test_beside_what_is_printed_another_metric_is_no_difference_to_it(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    typed = set_out(here, "paper")
    text = said(capsys, "table", *typed, "--metric", "nll", "--width", "200")
    assert text.startswith("MINI, Table 1: a small one – published: top-1 (%), ours: negative log-likelihood Dataset ")
    assert "91.0 (+1.0) ● 0.317 ± 0.021‡ n/c" in text
    assert "ours less the published" not in text
    assert "less the published one" in said(capsys, "table", *typed)
    assert main(["table", *typed, "--metric", "nll", "--source", "published"]) == 2
    assert "--metric: published numbers are shown as printed" in capsys.readouterr().err


def test_power_wants_as_many_seeds_as_for_the_same_gap_upwards(
    target: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    text = said(capsys, "power", *target, "--metric", "nll")
    assert "GTA against Fine-tune −0.500 " in text
    assert main(["power", *target, "--metric", "nll", "--format", "json"]) == 0
    gaps = {each["method"]: each["gap"] for each in json.loads(capsys.readouterr().out)["comparisons"]}
    assert gaps == {"BSS": pytest.approx(0.1), "GTA": pytest.approx(-0.5)}
    ours, reference = (0.50, 0.52, 0.57), (0.53, 0.58, 0.54)
    down, up = (
        weigh([Contrast(("t",), "", "a", "b", Cell(first, planned=3), Cell(second, planned=3))], 0.05, 0.8)[0]
        for first, second in ((ours, reference), (reference, ours))
    )
    assert down.gap == -up.gap < 0
    assert down.seeds == up.seeds
    assert down.seeds is not None


@pytest.mark.slow
def test_a_diagram_ranks_the_lowest_first(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    datasets = [f"folder:{here}/{name}" for name in "abcdef"]
    for path in datasets:
        for split in ("train", "test"):
            for name in ("x", "y"):
                folder = Path(path.removeprefix("folder:")) / split / name
                folder.mkdir(parents=True)
                (folder / "1.png").write_bytes(b"")
    text = EXPERIMENT.replace("[digits, cluttered_digits]", json.dumps(datasets)).replace("[15, 100]", "[100]")
    (here / "six.yaml").write_text(text, encoding="utf-8")
    for spec in read_plan("six.yaml", Registry()).unique.values():
        publish(spec, curve(spec))
    drawn = dict[str, float]()

    def ranked(scores: Any, methods: list[str], *more: Any) -> Sketch:
        drawn.update(zip(methods, mean_ranks(scores), strict=True))
        return diagram(scores, methods, *more)

    monkeypatch.setattr(cd, "diagram", ranked)
    assert main(["figure", "six.yaml", "--kind", "cd", "--metric", "nll"]) == 0
    assert drawn == {"GTA": 1, "Fine-tune": 2, "BSS": 3}


# ---- what a run costs


def test_cost_is_read_from_the_record(target: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    expected = {
        "seconds": (11.0, 11.0),  # evaluation left out
        "hours": (11 / 3600, 11 / 3600),
        "peak_memory": (300.0, 300.0),
        "trainable": (50.0, 100.0),  # of the stage that trains most
        "energy": (121.0, 121.0),
        "seconds_to_50": (2.0, 2.0),
        "seconds_to_60": (4.0, 4.0),
        "seconds_to_89_5": (6.0, 6.0),
    }
    for metric, means in expected.items():
        found = cells(capsys, target, "--metric", metric)
        assert (float(found["Digits / BSS"]["mean"]), float(found["Digits / GTA"]["mean"])) == pytest.approx(means)
    assert (found["Digits / GTA"]["metric"], found["Digits / GTA"]["n"]) == ("seconds_to_89_5", "3")


def test_columns_of_cost_stand_beside_accuracy(target: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    text = said(capsys, "table", *target, "--rates", "100", "--metric", "top1,seconds,trainable", "--width", "200")
    assert all(METRICS[name].heading in text for name in ("top1", "seconds", "trainable"))


def test_what_is_never_reached_is_said_and_no_number(
    target: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    found = cells(capsys, target, "--metric", "seconds_to_95")["Digits / GTA"]
    assert (found["mean"], found["n"]) == ("", "0")
    assert found["note"] == "it was not measured, or not reached: training time to 95 % top-1"
    assert f"–: {found['note']} (" in said(capsys, "table", *target, "--metric", "seconds_to_95", "--width", "200")


def test_seeds_that_do_not_reach_it_do_not_count_in_silence(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "mine.yaml").write_text(EXPERIMENT, encoding="utf-8")
    for spec in read_plan("mine.yaml", Registry()).unique.values():
        slow = spec.method.name == "bss" and spec.seed == 1
        publish(spec, curve(spec)[:2] if slow else curve(spec))
    found = cells(capsys, ("mine.yaml",), "--metric", "seconds_to_85")["Digits / BSS"]
    why = "it was not measured, or not reached: training time to 85 % top-1"
    assert (found["n"], found["planned"], found["failed"], found["note"]) == ("2", "3", "0", why)
    assert f"Some seeds do not count, as {why} (4 cells)." in said(
        capsys, "table", "mine.yaml", "--metric", "seconds_to_85", "--width", "200"
    )


@pytest.mark.parametrize(
    ("name", "percent"), [("seconds_to_0", 0.0), ("seconds_to_97_5", 97.5), ("seconds_to_100", 100.0)]
)
def test_the_time_to_any_share_is_a_metric(name: str, percent: float) -> None:
    metric = find_at(name, METRICS, "here")
    assert (metric.name, metric.lower, metric.unit) == (name, True, "s")
    assert f"{percent:g} %" in metric.title
    assert metric.of_run is not None
    just = Cost(9.0, 1.0, 1.0, 1.0, ((1.0, percent - 0.1), (2.0, percent), (3.0, 100.0)))
    assert metric.of_run(just) == 2
    assert math.isnan(metric.of_run(Cost(9.0, 1.0, 1.0, 1.0, ((1.0, percent - 0.1),))))


@pytest.mark.parametrize(
    "name", ["seconds_to_", "seconds_to_101", "seconds_to_100_1", "seconds_to_1e1", "seconds_to_x"]
)
def test_what_only_looks_like_a_time_is_none(name: str) -> None:
    assert seconds_to(name) is None


# ---- what there is not


@pytest.mark.parametrize("target", TARGETS, indirect=True)
@pytest.mark.parametrize(
    "command", ["table", "run", "figure", "power", "items", "status", "plan", "runs", "retry", "cancel"]
)
def test_a_metric_that_is_none_is_refused(
    target: tuple[str, ...], capsys: pytest.CaptureFixture[str], command: str
) -> None:
    more = ("--class", "oom") if command == "retry" else ()
    capsys.readouterr()
    assert main([command, *target, "--metric", "top2", *more]) == 2
    captured = capsys.readouterr()
    (line,) = captured.err.splitlines()
    assert line.startswith("bench: --metric: no metric is called 'top2'; did you mean 'top")
    assert "seconds_to_N" in line
    assert captured.out == ""


@pytest.mark.parametrize("command", ["table", "power", "figure", "runs"])
def test_one_of_several_that_is_none_is_refused_too(
    target: tuple[str, ...], capsys: pytest.CaptureFixture[str], command: str
) -> None:
    assert main([command, *target, "--metric", "top1,seconds_to_101"]) == 2
    assert capsys.readouterr().err.startswith("bench: --metric: no metric is called ")


def test_without_a_validation_split_there_is_a_reason_in_the_place_of_a_score(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (here / "mine.yaml").write_text(EXPERIMENT, encoding="utf-8")
    for spec in read_plan("mine.yaml", Registry()).unique.values():
        publish(spec, [{**point, "val": None} for point in curve(spec)])
    for typed in (("--split", "val"), ("--selection", "best-val")):
        found = cells(capsys, ("mine.yaml",), "--metric", "nll", *typed)["Digits / BSS"]
        assert found["mean"] == ""
        assert "no validation split" in found["note"]
    store = Store("results")
    run = next(iter(store.finished().values()))
    scores = Scores(store.root)
    assert all(map(math.isnan, scores.values(run, NLL, "val")))
    assert scores.why_not(run, NLL, "val") == "the run has no validation split"
    assert scores.why_not(run, NLL, "test") == ""


def test_claims_of_several_metrics_say_of_which(target: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    text = said(capsys, "table", *target, "--across", "these", "--metric", "top1,nll", "--width", "1000")
    assert "top-1: On these datasets" in text
    assert "negative log-likelihood: On these datasets" in text

"""Further tests in tables, rows and figures: side by side, chosen by the own split alone, and what is refused."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench.cli import main
from bench.errors import InputError
from bench.plan.overrides import Overrides
from bench.plan.target import read_plan
from bench.records.scores import Scores
from bench.records.store import Store
from bench.registry import Registry
from bench.spec import RunSpec
from bench.stats.shift import effective_robustness, logit, trend
from bench.tables.compare import fill
from tests.tables.drawn import STEPS, TIMING, drawing, off_the_page, scene

EXPERIMENT = """\
title: Noise
methods: {Fine-tune: ce, Averaged: ce+ema, GTA: {gta: {weight: [0.1, 1]}}}
backbones: [micro_vit]
datasets: [digits@also=noise+blur]
rates: [15, 100]
seeds: 2
protocol: {steps: 30, evaluations: 3}
baseline: Fine-tune
"""
LEVEL = {"ce": 60.0, "gta": 70.0}


def percent_of(spec: RunSpec) -> float:
    assert isinstance(spec.rate, float)
    return spec.rate


def top1(spec: RunSpec, at: int) -> float:
    """Best at the second point; a larger weight is better, and better at more images."""
    weight = float(dict(spec.method.hyper).get("weight", 0) or 0)
    return LEVEL[spec.method.name] + 3 * weight + 2 * spec.seed + percent_of(spec) / 20 + (0.0, 4.0, 1.0)[at]


def noise(spec: RunSpec, at: int) -> float:
    """On the further test the smaller weight is better, and the last point."""
    weight = float(dict(spec.method.hyper).get("weight", 0) or 0)
    return LEVEL[spec.method.name] / 2 - 5 * weight + 3 * spec.seed + percent_of(spec) / 10 + at


def finish(spec: RunSpec, store: Store) -> Path:
    points = []
    for at, step in enumerate(STEPS):
        own: dict[str, Any] = {"top1": top1(spec, at)}
        raw = {"top1@raw": top1(spec, at) - 5} if spec.method.policies else {}
        test = {**own, "top1@noise": noise(spec, at), "top1@blur": 30.0, **raw}
        points.append({"step": step, "val": {**own, **raw}, "test": test, "seconds": float(step)})
    with store.draft() as draft:
        return store.publish(draft, spec, {"curve": points, "timing": TIMING, "parameters": 9})


@pytest.fixture
def mine(here: Path) -> Store:
    (here / "mine.yaml").write_text(EXPERIMENT, encoding="utf-8")
    store = Store("results")
    for spec in read_plan("mine.yaml", Registry()).unique.values():
        finish(spec, store)
    return store


def means(store: Store, **overrides: str) -> dict[tuple[str, str], float]:
    """By row and rate."""
    (table,) = fill(read_plan("mine.yaml", Registry(), Overrides(**overrides)), store)  # type: ignore[arg-type]
    entries = [entry for _, entry in table.places() if entry.planned.axes]
    return {(entry.planned.name, entry.planned.axes["rate"]): entry.cell.mean for entry in entries}


def test_a_table_shows_the_score_on_a_further_test(mine: Store) -> None:
    found = means(mine, metric="top1@noise")
    assert found["Fine-tune", "15 %"] == pytest.approx(30 + 1.5 + 1.5 + 2)
    assert found["Fine-tune", "100 %"] == pytest.approx(30 + 1.5 + 10 + 2)


def test_points_and_candidates_are_chosen_by_the_own_split_alone(mine: Store) -> None:
    """By top-1 on validation weight 1 and the second point are the best, on noise weight 0.1 and the last one."""
    for selection, at in (("last", 2), ("best-val", 1), ("best-test", 1)):
        assert means(mine, metric="top1@noise", selection=selection)["GTA", "15 %"] == 35 - 5 + 1.5 + 1.5 + at


def test_metrics_stand_side_by_side_under_their_titles(mine: Store, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["table", "mine.yaml", "--metric", "top1@noise,top1,top1@raw", "--format", "csv"]) == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    columns = {row["column"].rpartition(" / ")[2] for row in rows}
    assert columns == {"top-1 on noise (%)", "top-1 (%)", "top-1 of the raw weights (%)"}
    raw = {row["row"]: row["mean"] for row in rows if "raw" in row["column"] and row["column"].startswith("15 %")}
    assert float(raw["Averaged"]) == pytest.approx(60 + 1 + 0.75 + 1 - 5)
    assert raw["Fine-tune"] in ("", "nan")


def test_rows_of_runs_have_them_too(mine: Store, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["runs", "mine.yaml", "--format", "json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    by_method = {(row["method"], row["seed"], row["rate"]): row for row in rows}
    assert by_method["ce", 1, 15.0]["test.top1@noise"] == pytest.approx(36.5)
    assert by_method["ce", 1, 15.0]["val.top1@noise"] is None
    assert by_method["ce+ema", 1, 15.0]["val.top1@raw"] == pytest.approx(60 + 2 + 0.75 + 1 - 5)


def test_why_there_is_no_score_is_said(mine: Store) -> None:
    (run, *_) = [run for run in mine.finished().values() if "ema" not in run.folder]
    scores, metric = Scores(mine.root), Registry().metrics["top1"]
    assert np.isnan(scores.of(run, metric.at("raw"), "last"))
    assert scores.why_not(run, metric.at("raw")) == "the run was not scored of the raw weights"
    assert np.isnan(scores.of(run, metric.at("noise"), "last", "val"))
    assert "on noise on the validation split" in scores.why_not(run, metric.at("noise"), "val")
    assert scores.elsewhere(run) == ["noise", "blur"]


@pytest.mark.parametrize(
    ("typed", "problem"),
    [
        ("top1@nois", "no run here is scored on nois; they have top1@noise, top1@blur, top1@raw"),
        ("top1@nois", "--datasets digits@also=noise+blur+contrast asks for more"),
        ("top1@nois", "nois is none of the further tests asked for: noise, blur"),
        ("seconds@noise", "is a metric that is computed where a run is scored"),
        ("top1@", "is a metric that is computed where a run is scored"),
        ("top2@noise", "no metric is called 'top2'"),
    ],
)
def test_where_nothing_is_scored_is_refused(mine: Store, typed: str, problem: str) -> None:
    with pytest.raises(InputError) as refused:
        read_plan("mine.yaml", Registry(), Overrides(metric=typed))
    assert problem in str(refused.value)


def test_a_further_test_has_no_validation_split(mine: Store) -> None:
    with pytest.raises(InputError, match="noise is a further test, which has no validation split"):
        read_plan("mine.yaml", Registry(), Overrides(metric="top1@noise", split="val"))
    assert read_plan("mine.yaml", Registry(), Overrides(metric="top1@raw", split="val"))


def test_without_further_tests_the_datasets_that_have_some_are_named() -> None:
    with pytest.raises(InputError, match=r"--datasets cluttered_digits@also=noise\+blur\+contrast asks for more"):
        read_plan("demo", Registry(), Overrides(metric="top1@noise"))


def test_what_is_averaged_into_a_soup_is_not_scored_beside_it() -> None:
    read_plan("digits", Registry(), Overrides(metric="top1@raw", methods="ce+ema"))
    with pytest.raises(InputError, match="top1@raw: no run here is scored"):
        read_plan("digits", Registry(), Overrides(metric="top1@raw", methods="ce+ema+soup"))


# ---- figures


def test_a_figure_has_a_panel_a_further_test_and_a_point_a_run(tmp_path: Path) -> None:
    subject = scene(tmp_path, EXPERIMENT, finish)
    figure = drawing("shift", subject)
    noisy, _ = figure.axes
    assert [axes.get_title() for axes in figure.axes] == ["on noise", "on blur"]
    specs = [spec for spec in read_plan(str(tmp_path / "mine.yaml"), Registry()).unique.values()]
    plain = [spec for spec in specs if spec.method.full_name == "ce"]
    first, second = (np.array([score(spec, 2) for spec in plain]) for score in (top1, noise))
    drawn = np.array(noisy.lines[0].get_data())
    assert np.allclose(np.sort(drawn), np.sort([logit(first), logit(second)]))
    line = trend(first, second)
    gta = [spec for spec in specs if dict(spec.method.hyper).get("weight") == 1]
    mean = np.mean([effective_robustness(top1(spec, 2), noise(spec, 2), line) for spec in gta])
    assert mean == pytest.approx(-28.34, abs=0.005)
    texts = "\n".join(text.get_text() for text in noisy.texts)
    assert "GTA −28.3" in texts
    assert "Fine-tune" not in texts
    assert not off_the_page(figure)


BESIDE = EXPERIMENT.replace("Averaged: ce+ema, GTA: {gta: {weight: [0.1, 1]}}", "LP-FT: lp_ft, SCL: scl")


def beside_the_line(own: Mapping[str, tuple[float, float]], on_noise: Mapping[str, float]) -> Callable[..., Path]:
    """Finishes runs: by method, what they have on the own test split, by seed, and how much more on noise.

    The baseline has 50 and 60 % on both, so that its line is that of equal accuracy.
    """

    def finished(spec: RunSpec, store: Store) -> Path:
        name = spec.method.name
        score = {"ce": (50.0, 60.0), **own}[name][spec.seed]
        test = {"top1": score, "top1@noise": score + on_noise.get(name, 0.0), "top1@blur": 30.0}
        with store.draft() as draft:
            curve = [{"step": 30, "val": None, "test": test, "seconds": 1.0}]
            return store.publish(draft, spec, {"curve": curve, "timing": TIMING, "parameters": 9})

    return finished


def test_names_and_numbers_are_written_as_they_are(tmp_path: Path) -> None:
    finished = beside_the_line({"lp_ft": (50.0, 60.0), "scl": (50.0, 60.0)}, {"lp_ft": -12.34, "scl": -0.01})
    (axes,) = drawing("shift", scene(tmp_path, BESIDE, finished, metric="top1@noise")).axes
    assert [text.get_text() for text in axes.texts] == ["LP-FT −12.3\nSCL +0.0"]


def test_a_run_at_100_percent_is_not_drawn_and_the_others_of_its_method_count(tmp_path: Path) -> None:
    finished = beside_the_line({"lp_ft": (40.0, 100.0), "scl": (100.0, 100.0)}, {"lp_ft": -8.0})
    figure = drawing("shift", scene(tmp_path, BESIDE, finished, metric="top1@noise"))
    (axes,) = figure.axes
    assert [text.get_text() for text in axes.texts] == ["LP-FT −8.0"]
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["Fine-tune", "LP-FT", "SCL"]
    note = " ".join(legend.get_title().get_text().split())
    assert note.endswith("; not drawn: 6 points at 0 or 100 %, where there is no logit")
    assert not off_the_page(figure)


def test_where_every_run_is_at_the_end_there_is_an_empty_panel(tmp_path: Path) -> None:
    finished = beside_the_line({"ce": (100.0, 100.0), "lp_ft": (0.0, 0.0), "scl": (0.0, 0.0)}, {})
    figure = drawing("shift", scene(tmp_path, BESIDE, finished, metric="top1@noise"))
    (axes,) = figure.axes
    assert [text.get_text() for text in axes.texts] == [""]
    assert "not drawn: 12 points" in " ".join(figure.legends[0].get_title().get_text().split())


def test_a_figure_of_the_further_test_that_is_asked_for(tmp_path: Path) -> None:
    figure = drawing("shift", scene(tmp_path, EXPERIMENT, finish, "column", metric="top1@blur"))
    assert [axes.get_title() for axes in figure.axes] == ["on blur"]


def test_a_figure_without_further_tests_says_how_there_are_some(tmp_path: Path) -> None:
    from tests.tables.drawn import EXPERIMENT as WITHOUT

    with pytest.raises(InputError, match="@also="):
        drawing("shift", scene(tmp_path, WITHOUT))
    with pytest.raises(InputError, match="leave --split away"):
        drawing("shift", scene(tmp_path, WITHOUT, split="val"))

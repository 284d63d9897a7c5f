"""Every method row of the papers' tables trains, on the backbone and with the settings that it has, made small."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.launch import Job
from bench.launch.worker import work
from bench.plan.overrides import Overrides
from bench.plan.rehearsal import RehearsalRegistry, Scale, rehearse
from bench.plan.target import read_plan

TINY = Scale(images=16, test_images=8, steps=3, batch=4, small=True)


@pytest.mark.slow
@pytest.mark.parametrize("paper", ["coin", "drloc", "fd", "gta", "lacvit"])
def test_every_method_row_of_a_paper_trains(paper: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One run of each method with its settings on each backbone: what rows have besides is another dataset."""
    monkeypatch.setenv("BENCH_DATA", str(tmp_path / "nothing"))
    registry = RehearsalRegistry([], small=True)
    plan = rehearse(read_plan(paper, registry, Overrides(seeds="1")), registry, TINY)
    cells = [cell for table in plan.tables for _, cell in table.places() if cell.candidates]
    first = [cell.candidates[0].runs[0] for cell in cells]
    rows = {(spec.method, spec.protocol, spec.backbone): spec for spec in first}
    assert rows
    job = Job(tmp_path / "results")
    answers = {spec.label: work(spec, job) for spec in rows.values()}
    assert {label: answer["message"] for label, answer in answers.items() if answer["status"] != "done"} == {}

"""Figures of papers: each is read and planned, says what makes it, and is drawn of runs or of what is printed."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.cli import main
from bench.errors import InputError
from bench.figures.figure import KINDS
from bench.papers.figure import paper_figure
from bench.plan.figure import NOT_DRAWN, plan_figure
from bench.plan.overrides import Overrides
from bench.plan.target import read_plan
from bench.records.store import Store
from bench.registry import Registry
from bench.rules import SOURCE
from bench.spec import RunSpec
from tests.tables.drawn import STEPS, finish, score
from tests.tables.looks import arrays_of, put_beside

FIGURES = {
    "coin": {"fig2", "fig4"},
    "fd": {f"fig{number}" for number in range(1, 10)},
    "gta": {"fig1", "fig3", "fig4", "figA1"},
    "lacvit": {"fig2", "fig3"},
}
TABLE = """\
title: "Table 1: two ways"
paper: mine
kind: results
metric: top1
rank: {}
runs:
  axes: {backbone: micro_vit, rate: 15}
  baseline: Fine-tune
  labels:
    Digits: {dataset: digits}
    Cluttered: {dataset: cluttered_digits}
    Fine-tune: {method: ce}
    GTA: {method: {gta: {weight: {value: [1, 10], source: our choice}}}}
stub: [Method]
columns: [[Digits], [Cluttered]]
rows:
  - {label: [Fine-tune], cells: ["90.0", "60.0"]}
  - {label: [GTA], cells: ["91.0", "65.0"]}
"""
PROTOCOL = """\
title: Mine
settings:
  steps: {value: 30, source: our choice}
  evaluations: {value: 3, source: our choice}
seeds: {value: 1, source: our choice}
selection: {value: best-test, source: our choice}
sweep: {value: best-test, source: our choice}
"""
FIGURE = """\
title: "Figure 1: the plane"
shows: Features.
lacks: Nothing.
keep: last
drawings:
  - kind: embedding
    table: table1
    cells: [Digits & Fine-tune, Digits & GTA]
    measures: [embedding]
    models: [source, model]
printed:
  measured: S_Dbw
  lower: true
  source: Table 2
  values: {Fine-tune: 0.48, GTA: 0.28}
"""
SWEEP = """\
title: "Figure 2: the weight"
shows: Accuracy by weight.
lacks: Nothing.
drawings:
  - kind: sweep
    table: table1
    cells: [Digits]
    hyper: {gta: {weight: {value: [0.1, 1, 10, 100], source: paper 4.5}}}
"""


@pytest.fixture
def paper(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A plug-in with a paper of one table and two figures; its folder is the current one."""
    folder = tmp_path / "plug" / "paper_tables" / "mine"
    (folder / "figures").mkdir(parents=True)
    for name, text in (("table1", TABLE), ("protocol", PROTOCOL), ("figures/fig1", FIGURE), ("figures/fig2", SWEEP)):
        (folder / f"{name}.yaml").write_text(text, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    yield folder / "figures"
    shutil.rmtree(tmp_path)


def weights(runs: Iterator[RunSpec]) -> set[object]:
    return {dict(spec.method.hyper)["weight"] for spec in runs if spec.method.name == "gta"}


def refused(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    assert main([*words, "--plugin", "plug"]) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    return line


@pytest.mark.parametrize("name", Registry().figure_files)
def test_each_figure_is_planned_with_runs_for_each_of_its_drawings(name: str) -> None:
    registry = Registry()
    figure, plan = paper_figure(name, registry), plan_figure(name, registry)
    assert figure.shows
    assert figure.lacks
    assert plan.keep == figure.keep
    for drawing, table in zip(figure.drawings, plan.tables, strict=True):
        assert drawing.kind in KINDS
        assert {*drawing.measures} <= registry.measure_files.keys()
        drawn = [cell for _, cell in table.places() if cell.candidates]
        assert drawn
        for selector in drawing.cells:
            wanted = {*selector.split(" & ")}
            labels = [{*table.rows[row], *table.columns[at]} for (row, at), cell in table.places() if cell.candidates]
            assert any(wanted <= cell for cell in labels), selector
    if any(drawing.measures for drawing in figure.drawings):
        assert figure.keep
        assert all(table.rules.selection == "last" for table in plan.tables)


def test_every_data_figure_of_the_papers_is_declared() -> None:
    declared = {(name.partition("/")[0], name.partition("/")[2]) for name in Registry().figure_files}
    assert declared == {(paper, name) for paper, figures in FIGURES.items() for name in figures}


def test_the_runs_of_a_figure_are_those_of_its_table() -> None:
    registry = Registry()
    table = read_plan("gta/table2", registry)
    figure = read_plan("gta/fig1", registry)
    assert {*figure.unique} < {*table.unique}
    assert weights(iter(read_plan("gta/fig4", registry).unique.values())) == {0.1, 1, 10, 100}
    assert weights(iter(table.unique.values())) == {1, 10, 100}
    shared = {*read_plan("gta/fig4", registry).unique} & {*table.unique}
    assert len(shared) == 5 * 4 * 3 * 4  # datasets, rates, seeds; the baseline and three weights


def test_what_is_typed_keeps_some_of_its_cells() -> None:
    plan = read_plan("gta/fig4", Registry(), Overrides(datasets="cub200", rates="15", seeds="1"))
    assert {spec.dataset.name for spec in plan.unique.values()} == {"cub200"}
    assert len(plan.unique) == 5
    with pytest.raises(InputError, match="--datasets: no dataset of gta/fig4 is called 'digits'"):
        read_plan("gta/fig4", Registry(), Overrides(datasets="digits"))


@pytest.mark.slow
def test_it_is_drawn_once_what_it_needs_is_there(paper: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plan = read_plan("mine/fig1", Registry(["plug"]))
    assert len(plan.unique) == 3
    assert [cell.reason for _, cell in plan.tables[0].places() if not cell.candidates] == [NOT_DRAWN] * 2
    assert "'bench run mine/fig1 --plugin plug' trains them" in refused(capsys, "figure", "mine/fig1")
    store = Store("results")
    for spec in plan.unique.values():
        finish(spec, store)
    said = refused(capsys, "figure", "mine/fig1")
    assert "'bench measure mine/fig1 embedding --of source --plugin plug' measures the model" in said
    for spec in plan.unique.values():
        put_beside(store.root, spec, "embedding", SOURCE, arrays_of("embedding", 1.5))
    command = "'bench measure mine/fig1 embedding --plugin plug'"
    assert f"{command} measures the kept models" in refused(capsys, "figure", "mine/fig1")
    typed = ("--selection", "best-test", "--metric", "top1")
    command = "'bench measure mine/fig1 embedding --selection last --plugin plug'"
    assert f"{command} measures the kept models" in refused(capsys, "figure", "mine/fig1", *typed)
    for spec in plan.unique.values():
        put_beside(store.root, spec, "embedding", str(STEPS[-1]), arrays_of("embedding", 4.0))
    assert main(["figure", "mine/fig1", "--plugin", "plug"]) == 0
    assert capsys.readouterr().out.split() == [f"results/figures/mine-fig1.{end}" for end in ("png", "pdf")]
    assert refused(capsys, "figure", "mine/fig1", "--kind", "rates").endswith("mine/fig1 says what it is: embedding")


def test_a_swept_figure_is_drawn_of_runs_alone(paper: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store = Store("results")
    for spec in read_plan("mine/fig2", Registry(["plug"])).unique.values():
        score(spec, store, validation=False)
    assert main(["figure", "mine/fig2", "--plugin", "plug", "--output", "sweep.svg"]) == 0
    assert "100" in Path("sweep.svg").read_text(encoding="utf-8")


def test_what_the_paper_prints_is_drawn_without_a_run(paper: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["figure", "mine/fig1", "--source", "published", "--plugin", "plug", "--output", "printed.svg"]) == 0
    text = Path("printed.svg").read_text(encoding="utf-8")
    assert all(word in text for word in ("0.48", "0.28", "as printed: Table 2", "S_Dbw (less is better)"))
    assert "the paper prints no numbers of mine/fig2" in refused(capsys, "figure", "mine/fig2", "--source", "published")
    said = refused(capsys, "figure", "mine/fig1", "--source", "published", "--split", "val")
    assert said.startswith("bench: --split: published numbers are drawn as printed")


def test_its_card_names_the_commands(paper: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", "coin/fig4"]) == 0
    said = capsys.readouterr().out
    assert "'bench measure coin/fig4 accuracy --split train --points all' measures them" in said
    assert "'bench run coin/fig4' trains its runs; the trained models that it needs are kept (all,half)" in said
    assert "0.48" not in said
    assert main(["show", "embedding"]) == 0
    assert "bench figure TARGET --kind embedding" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("kind: embedding", "kinds: embedding"), "fig1.yaml:6: no key of a drawing is called 'kinds'"),
        (("table: table1", "table: table9"), "no table of mine is called 'table9'"),
        (("models: [source, model]", "models: [end]"), "no models is called"),
        (("Digits & GTA", "Digits & BSS"), "no cell of mine/table1 has the labels Digits & BSS"),
        (("keep: last", "keep: some"), "no choice of models to keep is called 'some'"),
        (("lacks: Nothing.", ""), "'lacks' is missing"),
        (("GTA: 0.28", "GTA: low"), "the values are numbers by label"),
        (("kind: embedding", "kind: plane"), "no kind of figure is called 'plane'"),
    ],
)
def test_a_mistake_is_one_line(
    paper: Path, capsys: pytest.CaptureFixture[str], change: tuple[str, str], said: str
) -> None:
    path = paper / "fig1.yaml"
    path.write_text(FIGURE.replace(*change), encoding="utf-8")
    assert main(["figure", "mine/fig1", "--plugin", "plug"]) == 2
    err = capsys.readouterr().err
    assert said in err
    assert "Traceback" not in err

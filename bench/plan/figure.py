"""From a paper's figure to the runs that it is drawn of: cells of the paper's tables, with values of its own."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from bench.errors import InputError, Problems
from bench.papers.figure import DeclaredDrawing, PaperFigure, is_selected, paper_figure
from bench.papers.published import PublishedTable, mapping, published_table
from bench.plan.cards import Cards
from bench.plan.overrides import Overrides, find_at
from bench.plan.paper import plan_table, refuse_unmet
from bench.plan.settings import noted
from bench.plan.table import Plan, PlannedCell, TablePlan
from bench.reading.document import Section
from bench.registry import Registry
from bench.rules import TRAIN

NOT_DRAWN = "the figure is of other cells"


def plan_figure(name: str, registry: Registry, overrides: Overrides | None = None) -> Plan:
    """The plan of a figure, a table for each of its drawings in their order; what is typed comes first.

    Raises ``InputError``: all that is wrong with what is declared or typed, each with its place.
    """
    overrides, cards, problems = overrides or Overrides(), Cards(registry), Problems()
    overrides.check(registry.metrics)
    if overrides.skip_damaged:
        raise InputError(f"--skip-damaged: {name}: published tables are of no folder of images")
    figure, tables = paper_figure(name, registry), list[TablePlan]()
    for drawing in figure.drawings:
        with noted(problems):
            table = _amended(published_table(drawing.table, registry), drawing)
            planned = plan_table(table, cards, _overlaid(drawing, overrides, registry))
            tables.append(_selected(planned, figure, drawing))
    problems.stop()
    refuse_unmet(overrides, cards, name)
    plan = Plan(name, figure.title, tuple(tables), overrides.changes, keep=figure.keep)
    if overrides.chooses_runs and not plan.unique:
        raise InputError(f"{name}: nothing is left to run: {'; '.join(plan.reasons)}")
    return plan


def _overlaid(drawing: DeclaredDrawing, overrides: Overrides, registry: Registry) -> Overrides:
    """What is typed, and where nothing is, what the figure says; what is measured of models is no metric of a table."""
    metric = find_at(drawing.metric, registry.metrics, drawing.place) if drawing.metric else None
    of_table = drawing.metric if metric and not metric.measure else ""
    return replace(
        overrides,
        metric=overrides.metric or of_table,
        selection=overrides.selection or drawing.selection,
        split=overrides.split or (drawing.split if drawing.split != TRAIN else ""),
    )


def _amended(table: PublishedTable, drawing: DeclaredDrawing) -> PublishedTable:
    """A table whose cells have a figure's hyper-parameters in the place of their own."""
    if not drawing.hyper:
        return table
    runs = copy.deepcopy(table.runs)
    assert isinstance(runs, Section)
    for labels in (mapping(runs.get("labels")), mapping(runs.get("columns"))):
        for meaning in labels.values():
            _put(meaning, drawing.hyper)
    return replace(table, runs=runs)


def _put(meaning: Any, hyper: Mapping[str, Mapping[str, Any]]) -> None:
    """Let a label that stands for a method have other hyper-parameters of it."""
    method = meaning.get("method") if isinstance(meaning, Section) else None
    names = {*method} if isinstance(method, Mapping) else {str(method)}
    for name in names & hyper.keys():
        of_label = meaning.setdefault("hyper", Section(meaning.source, meaning.first_line))
        of_label[name] = {**mapping(of_label.get(name)), **hyper[name]}


def _selected(plan: TablePlan, figure: PaperFigure, drawing: DeclaredDrawing) -> TablePlan:
    """A table with the runs of those cells alone that are drawn. Raises ``InputError`` where there is none."""
    lines = [
        tuple(
            cell if is_selected((*plan.rows[row], *plan.columns[at]), drawing.cells) else _left_out(cell)
            for at, cell in enumerate(line)
        )
        for row, line in enumerate(plan.cells)
    ]
    labels = [(*row, *column) for row in plan.rows for column in plan.columns]
    for selector in drawing.cells:
        if not any(is_selected(cell, (selector,)) for cell in labels):
            raise InputError(f"{drawing.place}: no cell of {drawing.table} has the labels {selector}")
    name = f"{figure.name}-{drawing.name}" if len(figure.drawings) > 1 else figure.name
    title = plan.title.partition(",")[0]
    return replace(plan, name=name, title=f"{title}, {figure.title}", cells=tuple(lines), published_note="")


def _left_out(cell: PlannedCell) -> PlannedCell:
    if not cell.axes:
        return cell
    return replace(cell, candidates=(), averages=(), counted=None, lack="", reason=NOT_DRAWN)

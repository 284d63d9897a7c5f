"""A run by itself, in the form of a table with one cell, so that whatever is asked of tables can be asked of it."""

from __future__ import annotations

from bench.metrics import Metric
from bench.plan.grid import heading_of
from bench.plan.table import Candidate, Plan, PlannedCell, TablePlan, TableRules
from bench.rate import rate_label
from bench.spec import RunSpec, short_name


def plan_run(spec: RunSpec, metric: Metric, usual: Metric, rules: TableRules) -> Plan:
    """The plan of one run, called by its id."""
    axes = {
        "dataset": short_name(spec.dataset.name),
        "backbone": spec.backbone.name,
        "method": spec.method.full_name,
        "rate": rate_label(spec.rate),
    }
    candidates = (Candidate(spec.label, (spec,)),)
    name, decimals = axes["method"], metric.decimals
    cell = PlannedCell(axes, name, candidates=candidates, metric=metric, usual=usual, decimals=decimals)
    measured = heading_of([metric], rules.split)
    table = TablePlan(
        name=spec.id,
        title=f"run {spec.id}, seed {spec.seed}",
        measured=measured,
        stub=("method",),
        rows=((cell.name,),),
        columns=((measured,),),
        cells=((cell,),),
        common=tuple(f"{axis} {label}" for axis, label in axes.items() if axis != "method"),
        rules=rules,
    )
    return Plan(spec.id, table.title, (table,))

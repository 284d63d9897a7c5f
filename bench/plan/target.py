"""What a command line names, an experiment, a paper, or a table or figure of it, as one kind of plan."""

from __future__ import annotations

from collections.abc import Sequence

from bench.errors import InputError
from bench.plan.experiment import read_experiment
from bench.plan.grid import expand
from bench.plan.overrides import Overrides
from bench.plan.table import Plan, together
from bench.registry import Registry

AXES = ("methods", "backbones", "datasets", "rates")
"""Overrides that mean another thing of a paper than of an experiment."""


def read_plan(target: str, registry: Registry, overrides: Overrides | None = None) -> Plan:
    """The plan of an experiment (``demo``, ``mine.yaml``), a paper (``gta``), a table or figure of it (``gta/fig4``).

    Raises ``InputError``: all that is wrong with what is declared or typed, each with its place, and what is allowed.
    """
    return read_plans([target], registry, overrides)


def read_plans(targets: Sequence[str], registry: Registry, overrides: Overrides | None = None) -> Plan:
    """The plan of some targets together, each of which is named once; else as ``read_plan``.

    Raises ``InputError`` besides: two experiments have one name, or an axis is typed for papers and experiments at a
    time.
    """
    targets = list(dict.fromkeys(targets))
    papers = [target for target in targets if target in registry.table_files or target in registry.papers]
    figures = [target for target in targets if target in registry.figure_files]
    experiments = [target for target in targets if target not in (*papers, *figures)]
    typed = [axis for axis in AXES if overrides and getattr(overrides, axis)]
    if (papers or figures) and experiments and typed:
        raise InputError(
            f"--{typed[0]}: it keeps cells of a paper ({(*papers, *figures)[0]}) and replaces what an experiment has "
            f"({experiments[0]}); ask for one kind at a time"
        )
    plans = dict[str, Plan]()
    if papers:
        from bench.plan.paper import plan_papers

        plans = {plan.name: plan for plan in plan_papers(papers, registry, overrides)}
    if figures:
        from bench.plan.figure import plan_figure

        plans |= {target: plan_figure(target, registry, overrides) for target in figures}
    named: dict[str, str] = {}
    for target in experiments:
        plans[target] = expand(read_experiment(target, registry, overrides))
        if (first := named.setdefault(plans[target].name, target)) != target:
            raise InputError(f"{first} and {target} are both called '{plans[target].name}'; rename one of the files")
    return together([plans[target] for target in targets])

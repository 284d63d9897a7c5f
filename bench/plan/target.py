"""What a command line names, an experiment, a paper or a table of it, as one kind of plan."""

from __future__ import annotations

from bench.plan.experiment import read_experiment
from bench.plan.grid import expand
from bench.plan.overrides import Overrides
from bench.plan.paper import plan_paper
from bench.plan.table import Plan
from bench.registry import Registry


def read_plan(target: str, registry: Registry, overrides: Overrides | None = None) -> Plan:
    """The plan of an experiment (``demo``, ``mine.yaml``), a paper (``gta``) or a table of it (``gta/table2``).

    Raises ``InputError``: all that is wrong with what is declared or typed, each with its place, and what is allowed.
    """
    if target in registry.table_files or target in registry.papers:
        return plan_paper(target, registry, overrides)
    return expand(read_experiment(target, registry, overrides))

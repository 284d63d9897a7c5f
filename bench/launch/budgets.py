"""Budgets of images that a class cannot meet, told before any run is started: one short process opens the datasets.

The one that launches imports no torch. Nothing is asked of rates in percent, which every class can meet.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable

from bench.errors import InputError
from bench.process import answer_of
from bench.rate import budget_of
from bench.registry import Registry
from bench.spec import RunSpec, from_json, to_json


def require_budgets(runs: Iterable[RunSpec], registry: Registry) -> None:
    """Raise ``InputError`` that tells of each budget which a dataset of some runs cannot meet, with its classes."""
    asked: dict[object, RunSpec] = {}
    for spec in runs:
        if budget_of(spec.rate):
            asked.setdefault((spec.dataset, spec.rate, spec.protocol.validation), spec)
    if not asked:
        return
    task = {"plugins": [str(plugin) for plugin in registry.plugins], "runs": [to_json(spec) for spec in asked.values()]}
    if problems := answer_of("bench.launch.budgets", task, "opens datasets"):
        raise InputError(*problems)


def main() -> None:
    """The process: standard input says of which runs; prints what is wrong, as a list."""
    task = json.load(sys.stdin)
    print(json.dumps(unmet_here(map(from_json, task["runs"]), Registry(task["plugins"]))))


def unmet_here(runs: Iterable[RunSpec], registry: Registry) -> list[str]:
    """Which budgets cannot be met, in this process: with torch. Images that are damaged are among those counted."""
    from bench.task import find_task
    from bench.training.trial import splits

    problems = list[str]()
    opened = {}
    for spec in runs:
        card = registry.dataset(spec.dataset.name)
        try:
            if card.means not in opened:
                opened = {card.means: find_task(card.task).opened(card)}
            splits(opened[card.means], spec)
        except InputError as error:
            problems += [problem for problem in error.problems if problem not in problems]
    return problems

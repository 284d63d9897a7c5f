"""What ``bench list`` and ``bench show`` say of tasks: nothing that trains is loaded."""

from __future__ import annotations

from typing import Any

from bench.cards import MethodCard
from bench.metrics import TASKS, Metric
from bench.notation import counted
from bench.registry import Registry
from bench.task import Task, find_task, tasks


def task_rows(registry: Registry) -> list[dict[str, str]]:
    """Each task by name, with what it asks, its metrics, and how many datasets and methods are for it, in a line."""
    methods = [registry.method(name) for name in registry.method_files]
    rows = []
    for task in map(find_task, tasks()):
        serving = [card for card in methods if not task.why_not_method(card)]
        words = [task.about, ", ".join(metric.heading for metric in _metrics(task))]
        words.append(counted(len(_datasets(task, registry)), "dataset"))
        words.append(f"{len(serving)} of {counted(len(methods), 'method')}")
        rows.append({"name": task.name, "about": "; ".join(words)})
    return rows


def task_cards(name: str, registry: Registry) -> list[tuple[str, dict[str, Any]]]:
    """What there is to say of a task of that name: for people, and as plain data."""
    if name not in tasks():
        return []
    task, methods = find_task(name), [registry.method(method) for method in registry.method_files]
    facts: dict[str, Any] = {
        "kind": "task",
        "name": name,
        "about": task.about,
        "details": " ".join((type(task).__doc__ or "").split()),
        "metrics": {metric.name: metric.heading for metric in _metrics(task)},
        "augmentations": list(task.augmentations),
        "settings": list(task.settings),
        "datasets": _datasets(task, registry),
        "methods": [card.name for card in methods if not task.why_not_method(card)],
        "not_with": {card.name: limits for card in methods if (limits := _limits(task, card))},
        "not_for_it": {card.name: reason for card in methods if (reason := task.why_not_method(card))},
    }
    lines = [f"task {name}: {task.about}", f"  {facts['details']}"]
    lines.append(f"  metrics, the usual one first: {', '.join(facts['metrics'])}")
    lines.append(f"  augmentations of its training images: {', '.join(task.augmentations) or 'not stated'}")
    lines.append(f"  settings of a protocol that not every task has: {', '.join(task.settings) or 'none'}")
    lines.append(f"  datasets: {', '.join(facts['datasets']) or 'none'}")
    lines.append(f"  methods: {', '.join(facts['methods']) or 'none'}")
    if facts["not_with"]:
        lines += [
            "  but not:",
            *(f"    {card} with {limit}" for card, many in facts["not_with"].items() for limit in many),
        ]
    if facts["not_for_it"]:
        lines += ["  methods that are not for it:", *(f"    {reason}" for reason in facts["not_for_it"].values())]
    return [("\n".join(lines), facts)]


def _limits(task: Task, card: MethodCard) -> list[str]:
    """With which hyper-parameters a method is not for a task that it is for otherwise, each with the reason."""
    if card.tasks or task.why_not_method(card):
        return []
    limits = {demand.condition: task.lack(demand) for demand in reversed(task.unserved(card))}
    return [f"{condition}: {reason}" for condition, reason in reversed(limits.items())]


def _metrics(task: Task) -> tuple[Metric, ...]:
    return tuple(TASKS[task.name].METRICS)


def _datasets(task: Task, registry: Registry) -> list[str]:
    return [name for name in registry.dataset_files if registry.dataset(name).task == task.name]

"""Check a method's file against what the suite asks of every method: ``check-method``."""

from __future__ import annotations

import argparse
import dataclasses
import traceback
from typing import TYPE_CHECKING, Any

import bench
from bench.commands.options import add_command, add_plugin
from bench.errors import InputError, printable
from bench.task import find_task, tasks_of

if TYPE_CHECKING:
    from bench.conformance import Checks, Examined

CHECK = """
examples:
  bench check-method my_method.py                        on a shipped backbone that has what it needs
  bench check-method gta                                 at each task that it is for; of others, why it is not
  bench check-method my_method.py --backbone timm:resnet18@none
"""


def add(commands: Any) -> None:
    """Add the command to a parser's."""
    about = "whether a method keeps what every method promises"
    check = add_command(commands, "check-method", check_command, about, CHECK)
    check.add_argument("method", metavar="FILE", help="a method's .py file, or the name of a method")
    check.add_argument("--backbone", default="", metavar="NAME", help="try it on this one")
    add_plugin(check)


def check_command(options: argparse.Namespace) -> int:
    """Print each promise with whether it is kept; exit code 1 where one is not."""
    file = options.method if options.method.endswith(".py") else ""
    registry = bench.Registry([*options.plugin, *([file] if file else [])])
    card = registry.method(registry.plugins[-1].stem if file else options.method)

    import torch

    from bench.conformance import CHECKS, find_examined

    torch.set_num_threads(1)
    try:
        registry.load_method(card)
    except Exception as error:
        frames = traceback.extract_tb(error.__traceback__)
        lines = [f":{frame.lineno}" for frame in frames if frame.filename == str(card.path)]
        place = f"{card.path}{(lines or [''])[-1]}"
        raise InputError(f"{place}: running the file ends in {type(error).__name__}: {error}") from None
    subject = find_examined(card, registry, options.backbone)
    print(f"{card.name} on {subject.backbone.name}: {card.path}")
    count = _print_promises(subject, CHECKS)
    _print_trained(subject, broken=count > 0)
    broken = count > 0
    count += sum(_print_task(subject, name, reason, broken) for name, reason in tasks_of(card).items())
    print(f"{count} of its promises are broken" if count else "all promises are kept")
    return 1 if count else 0


def _print_task(subject: Examined, name: str, reason: str, broken: bool) -> int:
    """Print whether the method is for a task, and try it there if it is sound; gives how many promises it breaks."""
    from bench.conformance import OF_EACH_TASK

    why_not = reason or find_task(name).why_not_backbone(subject.backbone)
    if why_not or name == subject.task:
        print(f"  task    {name}{f': no, {printable(why_not)}' if why_not else ''}")
        if reason:  # it is the method's, and not the backbone's
            print("          (a loss of batch.cross_entropy(output) is for any task: docs/running.md)")
        return 0
    at_task = dataclasses.replace(subject, task=name)
    if broken:
        print(f"  task    {name}, not tried: what is broken comes first")
        return 0
    try:
        at_task.model()
    except InputError as error:
        print(f"  task    {name}, not tried: {printable(str(error))}")
        return 0
    print(f"  task    {name}")
    return _print_promises(at_task, OF_EACH_TASK, f"at {name}, ")


def _print_promises(subject: Examined, promises: Checks, at: str = "") -> int:
    """Print each promise with whether it is kept; gives how many are not."""
    from bench.conformance import examine

    count, problems = 0, list[str]()
    for promise, problem in examine(subject, promises):
        count += bool(problem)
        print(f"  {'broken' if problem else 'kept':7} {at}{promise}")
        if problem and not any(problem.endswith(earlier) for earlier in problems):  # what breaks several is told once
            print(f"          {printable(problem)}")
            problems.append(problem)
    return count


def _print_trained(subject: Examined, broken: bool) -> None:
    """Print how many weights each stage trains, and what may not be meant."""
    from bench.notices import counts, look_at, notices

    try:
        looks = look_at(subject)
    except Exception as error:  # it has broken a promise, mostly, and why is told already
        if broken:
            return
        print(f"  notice  what it trains cannot be told: {printable(f'{type(error).__name__}: {error}')[:80]}")
        return
    for line in counts(looks):
        print(f"          {line}")
    for line in notices(subject, looks):
        print(f"  notice  {printable(line)}")

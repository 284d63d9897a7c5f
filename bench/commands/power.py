"""How many more seeds the gaps of a table need: ``power``."""

from __future__ import annotations

import argparse
import copy
import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import bench
from bench.commands.options import add_format, add_target_command, print_json, typed
from bench.commands.paper import is_paper, planned
from bench.errors import InputError
from bench.rules import MOST_SEEDS, TESTS

if TYPE_CHECKING:
    from bench.tables.power import Comparison, Need

POWER = 0.8
MOST = 30

_TOLD = {
    "welch": ("Welch's t", "the spread", ""),
    "paired": ("The paired t-test", "the spread of the differences between runs of one seed", ""),
    "permutation": (
        "The exact permutation test",
        "the spread",
        "As it counts ways to deal the seeds to both sides, its p is at least 2 / C(2n, n); its power is taken to be "
        "that of Welch's t at the largest p that it can give within the level.",
    ),
}
"""Of each test its name, the spread that its power rests on, and what else has to be known."""

EXAMPLES = """
For each comparison with finished runs: the gap, its p (by the table's test, Holm-corrected), the seeds there are, and
the seeds on each side with which a gap of that size is found in 80 % of cases, at the level that Holm's procedure asks
for next.

examples:
  bench power demo
  bench power demo --rates 15          the comparisons at one rate
  bench power gta/table2 --most 10     comparisons that need more than 10 seeds are not planned for
  bench power demo --test paired       pairs of runs of one seed, from the spread of their differences
  bench power demo --format json
"""


def add(commands: Any) -> None:
    """Add the command to a parser's."""
    power = add_target_command(
        commands, "power", power_command, "how many more seeds the gaps of a table need", EXAMPLES
    )
    add_format(power, ("text", "json"))
    power.add_argument(
        "--test",
        choices=TESTS,
        default="",
        metavar="TEST",
        help=f"by which methods are compared: {', '.join(TESTS)} (default: the table's own)",
    )
    power.add_argument("--power", type=float, default=POWER, metavar="SHARE", help=f"of gaps found (default: {POWER})")
    power.add_argument("--most", type=int, default=MOST, metavar="N", help=f"seeds to plan for (default: {MOST})")


def power_command(options: argparse.Namespace) -> int:
    """Print what each comparison needs and the command that launches it."""
    if not 0 < options.power < 1:
        raise InputError(f"--power {options.power}: a share of the gaps, between 0 and 1")
    if options.most < 2:
        raise InputError(f"--most {options.most}: a test needs at least 2 seeds")
    if options.most > MOST_SEEDS:
        raise InputError(f"--most {options.most}: an experiment has at most {MOST_SEEDS:,} seeds")
    from bench.papers.judging import ALPHA
    from bench.tables.power import comparisons_of_experiment, comparisons_of_paper, weigh

    plan, store = planned(options), bench.Store(options.results)
    if is_paper(options):
        alpha, test, comparisons = ALPHA, options.test or "welch", list(comparisons_of_paper(plan, store))
    else:
        rules, comparisons = plan.experiment.table, list(comparisons_of_experiment(plan, store))
        alpha, test = rules.alpha, rules.test
    if not comparisons:
        raise InputError(
            f"{options.target}: no comparison with a baseline has finished runs on both sides; "
            f"train them with '{typed(options, 'run')}'"
        )
    try:
        needs = weigh(comparisons, alpha, options.power, test)
    except ValueError as error:
        raise InputError(f"{options.target}: {error}") from None
    told = [need.seeds for need in needs if need.seeds is not None]
    wanted = max((seeds for seeds in told if seeds <= options.most), default=0)
    seeds = _more_seeds(sorted({spec.seed for spec in plan.unique.values()}), wanted)
    more, hours = _cost(options, seeds or options.seeds) if wanted else (0, math.nan)
    command = typed(options, "run", seeds) if more else ""
    if options.format == "json":
        _print_json(options, (test, alpha), needs, command, more)
        return 0
    _print_needs(needs, (test, alpha), options.power)
    beyond = sum(seeds > options.most for seeds in told)
    if beyond:
        verb, be = ("comparisons need", "are") if beyond > 1 else ("comparison needs", "is")
        print(f"{beyond} {verb} more than {options.most} seeds (--most) and {be} not planned for")
    if command:
        time = f", about {hours:.2g} hours of one core or GPU" if not math.isnan(hours) else ""
        print(f"{more} more runs{time}:\n  {command}")
    return 0


def _more_seeds(there: Sequence[int], wanted: int) -> str:
    """``--seeds`` for so many seeds with those there are among them; empty where there are enough."""
    if wanted <= len(there):
        return ""
    if list(there) == list(range(len(there))):
        return str(wanted)
    fresh: Iterable[int] = (seed for seed in range(wanted + len(there)) if seed not in there)
    return ",".join(map(str, [*there, *(seed for seed, _ in zip(fresh, range(wanted - len(there)), strict=False))]))


def _cost(options: argparse.Namespace, seeds: str) -> tuple[int, float]:
    """How many runs are missing with these seeds, and the hours they take; nan where no time is known."""
    from bench.launch.status import state

    wider = copy.copy(options)
    wider.seeds = seeds
    now = state(planned(wider), bench.Store(options.results))
    return now.missing, now.seconds / now.done * now.missing / 3600 if now.done and now.seconds else math.nan


def _print_needs(needs: Sequence[Need], rule: tuple[str, float], power: float) -> None:
    from tabulate import tabulate

    from bench.tables.notation import one_line, signed

    test, alpha = rule
    rows = [
        [
            one_line(need.comparison.where),
            one_line(f"{need.comparison.method} against {need.comparison.baseline}"),
            signed(need.gap, 2),
            "–" if math.isnan(need.p_holm) else f"{need.p_holm:.3g}",
            _counts(need.comparison, test),
            need.note if need.seeds is None else f"{need.seeds}" + f" ({need.note})" * bool(need.note),
        ]
        for need in needs
    ]
    heads = ["where", "comparison", "gap", "p (Holm)", "seeds", f"needed for {100 * power:g} %"]
    print(tabulate(rows, headers=heads, disable_numparse=True, colalign=["left", "left", "right", "right"]))
    name, spread, more = _TOLD[test]
    print(
        f"{name} at alpha = {alpha:g}, Holm-corrected; needed {'pairs' if test == 'paired' else 'seeds'} take the gap "
        f"and {spread} that were measured for the true ones, which few seeds make uncertain."
    )
    if more:
        print(more)


def _counts(comparison: Comparison, test: str) -> str:
    if test == "paired":
        pairs = len(comparison.differences)
        return f"{pairs} pair{'s' * (pairs != 1)}"
    own, other = len(comparison.values), len(comparison.reference)
    return f"{own}" if own == other else f"{own} and {other}"


def _print_json(
    options: argparse.Namespace, rule: tuple[str, float], needs: Sequence[Need], command: str, runs: int
) -> None:
    def known(value: float) -> float | None:
        return None if math.isnan(value) else value

    comparisons = [
        {
            "where": need.comparison.where,
            "method": need.comparison.method,
            "baseline": need.comparison.baseline,
            "gap": need.gap,
            "p": known(need.p),
            "p_holm": known(need.p_holm),
            "level": need.level,
            "seeds": [len(need.comparison.values), len(need.comparison.reference)],
            "pairs": len(need.comparison.differences) if rule[0] == "paired" else None,
            "needed": need.seeds,
            "note": need.note,
        }
        for need in needs
    ]
    head = {"target": options.target, "test": rule[0], "alpha": rule[1], "power": options.power, "most": options.most}
    print_json({**head, "comparisons": comparisons, "command": command, "runs": runs})

"""How many more seeds the gaps of a table need: ``power``."""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from bench.commands.options import add_format, print_json
from bench.commands.request import Request, add_target_command, request_of
from bench.errors import InputError
from bench.rules import MOST_SEEDS, TESTS

if TYPE_CHECKING:
    from bench.tables.power import Contrast, Need

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
    from bench.tables.compare import fill
    from bench.tables.power import contrasts_of, weigh

    request = request_of(options)
    tables = fill(request.plan, request.store)
    if not any(table.plan.baseline for table in tables):
        raise InputError(f"{request.target}: it has no baseline, so nothing is compared; give it 'baseline'")
    rules = tables[0].plan.rules
    contrasts = list(contrasts_of(tables))
    if not contrasts:
        raise InputError(
            f"{request.target}: no comparison with a baseline has finished runs on both sides; "
            f"train them with '{request.command('run')}'"
        )
    try:
        needs = weigh(contrasts, rules.alpha, options.power, rules.test)
    except ValueError as error:
        raise InputError(f"{request.target}: {error}") from None
    needed = [need.seeds for need in needs if need.seeds is not None]
    wanted = max((seeds for seeds in needed if seeds <= options.most), default=0)
    seeds = _more_seeds(sorted({spec.seed for spec in request.plan.unique.values()}), wanted)
    more, hours = _cost(request, seeds or request.overrides.seeds) if wanted else (0, math.nan)
    command = request.command("run", seeds) if more else ""
    if options.format == "json":
        _print_json(options, (rules.test, rules.alpha), needs, command, more)
        return 0
    _print_needs(needs, (rules.test, rules.alpha), options.power)
    beyond = sum(seeds > options.most for seeds in needed)
    if beyond:
        verb, be = ("comparisons need", "are") if beyond > 1 else ("comparison needs", "is")
        print(f"{beyond} {verb} more than {options.most} seeds (--most) and {be} not planned for")
    if command:
        time = f", about {hours:.2g} hours of one core or GPU" if not math.isnan(hours) else ""
        print(f"{more} more runs{time}:\n  {command}")
    return 0


def _more_seeds(trained: Sequence[int], wanted: int) -> str:
    """``--seeds`` for so many seeds with those that are trained among them; empty where there are enough."""
    if wanted <= len(trained):
        return ""
    if list(trained) == list(range(len(trained))):
        return str(wanted)
    fresh: Iterable[int] = (seed for seed in range(wanted + len(trained)) if seed not in trained)
    return ",".join(map(str, [*trained, *(seed for seed, _ in zip(fresh, range(wanted - len(trained)), strict=False))]))


def _cost(request: Request, seeds: str) -> tuple[int, float]:
    """How many runs are missing with these seeds, and the hours they take; nan where no time is known."""
    from bench.launch.status import state

    now = state(request.with_overrides(seeds=seeds).plan, request.store)
    return now.missing, now.seconds / now.done * now.missing / 3600 if now.done and now.seconds else math.nan


def _print_needs(needs: Sequence[Need], rule: tuple[str, float], power: float) -> None:
    from tabulate import tabulate

    from bench.notation import one_line, signed

    test, alpha = rule
    rows = [
        [
            one_line(need.contrast.where),
            one_line(f"{need.contrast.method} against {need.contrast.baseline}"),
            signed(need.gap, 2),
            "–" if math.isnan(need.p_holm) else f"{need.p_holm:.3g}",
            _counts(need.contrast, test),
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


def _counts(contrast: Contrast, test: str) -> str:
    if test == "paired":
        pairs = len(contrast.differences)
        return f"{pairs} pair{'s' * (pairs != 1)}"
    own, other = len(contrast.cell.values), len(contrast.base.values)
    return f"{own}" if own == other else f"{own} and {other}"


def _print_json(
    options: argparse.Namespace, rule: tuple[str, float], needs: Sequence[Need], command: str, runs: int
) -> None:
    from bench.notation import known

    comparisons = [
        {
            "where": need.contrast.where,
            "method": need.contrast.method,
            "baseline": need.contrast.baseline,
            "gap": need.gap,
            "p": known(need.p),
            "p_holm": known(need.p_holm),
            "level": need.level,
            "seeds": [len(need.contrast.cell.values), len(need.contrast.base.values)],
            "pairs": len(need.contrast.differences) if rule[0] == "paired" else None,
            "needed": need.seeds,
            "note": need.note,
        }
        for need in needs
    ]
    head = {"target": options.target, "test": rule[0], "alpha": rule[1], "power": options.power, "most": options.most}
    print_json({**head, "comparisons": comparisons, "command": command, "runs": runs})

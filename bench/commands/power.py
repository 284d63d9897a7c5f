"""How many more seeds the gaps of a table need: ``power``."""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from bench.commands.options import add_format, print_json
from bench.commands.request import add_target_command, add_test, request_of, say_damaged
from bench.errors import InputError
from bench.launch.status import state
from bench.notation import counted, one_line, signed
from bench.plan.table import TableRules
from bench.rules import MOST_SEEDS, PAIRED

if TYPE_CHECKING:
    from bench.tables.power import Contrast, Need

POWER = 0.8
MOST = 30

_TESTS = {
    "pooled": (
        "The paired t-test with a pooled spread",
        "the spread of the differences between runs of one seed",
        "From five pairs on, each method is tested by its own spread, and planned for by that.",
    ),
    "paired": ("The paired t-test", "the spread of the differences between runs of one seed", ""),
    "welch": ("Welch's t", "the spread", ""),
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
    about = "how many more seeds the gaps of a table need"
    power = add_target_command(commands, "power", power_command, about, EXAMPLES, several=False)
    add_format(power, ("text", "json"))
    add_test(power)
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
    store = request.store
    tables = fill(request.plan, store)
    say_damaged(store)
    if not any(table.plan.baseline for table in tables):
        raise InputError(f"{request.target}: it has no baseline, so nothing is compared; give it 'baseline'")
    contrasts = list(contrasts_of(tables))
    if not contrasts:
        raise InputError(
            f"{request.target}: no comparison with a baseline has finished runs on both sides; "
            f"train them with {request.to_type('run')}"
        )
    rules = tables[0].plan.rules
    needs = weigh(contrasts, rules.alpha, options.power)
    needed = [need.seeds for need in needs if need.seeds is not None]
    wanted = max((seeds for seeds in needed if seeds <= options.most), default=0)
    seeds = _more_seeds(sorted({spec.seed for spec in request.plan.trainable.values()}), wanted)
    more, hours = 0, math.nan
    if wanted:
        runs, finished = request.with_overrides(seeds=seeds or request.overrides.seeds).plan.trainable, store.finished()
        more = state(runs, request.store).missing
        if took := [finished[run_id].seconds for run_id in runs if run_id in finished]:
            hours = math.fsum(took) / len(took) * more / 3600
    command = request.command("run", seeds) if more else ""
    if options.format == "json":
        head = {"target": options.target, "test": rules.test, "alpha": rules.alpha}
        head |= {"power": options.power, "most": options.most}
        print_json({**head, "comparisons": facts_of_needs(needs, rules.test), "command": command, "runs": more})
        return 0
    print_needs(needs, rules, options.power)
    beyond = sum(seeds > options.most for seeds in needed)
    if beyond:
        need, be = ("comparisons need", "are") if beyond > 1 else ("comparison needs", "is")
        print(f"{beyond} {need} more than {options.most} seeds (--most) and {be} not planned for")
    if command:
        time = f", about {hours:.2g} hours of one core or GPU" if not math.isnan(hours) else ""
        print(f"{counted(more, 'more run')}{time}:\n  {command}")
    return 0


def _more_seeds(trained: Sequence[int], wanted: int) -> str:
    """``--seeds`` for so many seeds with those that are trained among them; empty where there are enough."""
    if wanted <= len(trained):
        return ""
    if list(trained) == list(range(len(trained))):
        return str(wanted)
    fresh = [seed for seed in range(wanted) if seed not in trained]
    return ",".join(map(str, [*trained, *fresh][:wanted]))


def print_needs(needs: Sequence[Need], rules: TableRules, power: float) -> None:
    """What each comparison needs, as a table with a sentence about the test."""
    from tabulate import tabulate

    rows = [
        [
            one_line(need.contrast.where),
            one_line(f"{need.contrast.method} against {need.contrast.baseline}"),
            signed(need.gap, need.contrast.decimals),
            "–" if math.isnan(need.p_holm) else f"{need.p_holm:.3g}",
            _counts(need.contrast, rules.test),
            need.note if need.seeds is None else f"{need.seeds}" + f" ({need.note})" * bool(need.note),
        ]
        for need in needs
    ]
    heads = ["where", "comparison", "gap", "p (Holm)", "seeds", f"needed for {100 * power:g} %"]
    print(tabulate(rows, headers=heads, disable_numparse=True, colalign=["left", "left", "right", "right"]))
    name, spread, more = _TESTS[rules.test]
    print(
        f"{name} at alpha = {rules.alpha:g}, Holm-corrected; needed {'pairs' if rules.test in PAIRED else 'seeds'} "
        f"take the gap and {spread} that were measured for the true ones, which few seeds make uncertain."
    )
    if more:
        print(more)
    print("Whoever tests again after every few seeds finds more than there is: decide on the seeds once.")


def _counts(contrast: Contrast, test: str) -> str:
    if test in PAIRED:
        pairs = contrast.pairs
        return f"{pairs} pair{'s' * (pairs != 1)}"
    method, baseline = (f"{cell.n}" if cell.has_n else "?" for cell in (contrast.cell, contrast.base))
    return method if method == baseline else f"{method} and {baseline}"


def facts_of_needs(needs: Sequence[Need], test: str) -> list[dict[str, Any]]:
    """Each comparison as plain data; a p that does not exist is None."""
    return [
        {
            "where": need.contrast.where,
            "method": need.contrast.method,
            "baseline": need.contrast.baseline,
            "gap": need.gap,
            "p": None if math.isnan(need.p) else need.p,
            "p_holm": None if math.isnan(need.p_holm) else need.p_holm,
            "level": need.level,
            "seeds": [cell.n if cell.has_n else None for cell in (need.contrast.cell, need.contrast.base)],
            "pairs": need.contrast.pairs if test in PAIRED else None,
            "needed": need.seeds,
            "note": need.note,
        }
        for need in needs
    ]

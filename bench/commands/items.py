"""Two methods image by image, from the predictions that runs keep: ``items``."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

from bench.commands.options import add_format, print_json
from bench.commands.request import add_target_command, request_of, say_damaged
from bench.errors import InputError
from bench.metrics import TOP1
from bench.notation import one_line, signed

if TYPE_CHECKING:
    from bench.tables.items import ItemTest, Rivals

EXAMPLES = """
Each method against the baseline on the same test images, for each dataset, backbone and rate: McNemar's exact test for
each pair of runs of one seed (of masks, Wilcoxon's signed-rank test of each image's mean IoU), and the paired bootstrap
over images of the means over seeds. Both speak of the networks that were trained and of images like these; what another
seed would give, 'bench table' tests.

examples:
  bench items demo --methods ce,gta
  bench items demo --methods ce,gta --seed 0       one pair of runs
  bench items gta/table2 --datasets cub200 --format csv
"""


_PAIRS = {
    "mcnemar": ("McNemar's exact test", "right"),
    "wilcoxon": ("Wilcoxon's signed-rank test of an image's mean IoU", "ahead"),
}
"""The tests of a pair of runs: what they are called, and how one of two is better on an image."""


def add(commands: Any) -> None:
    """Add the command to a parser's."""
    about = "methods against the baseline image by image, from stored predictions"
    items = add_target_command(commands, "items", items_command, about, EXAMPLES, several=False)
    items.add_argument("--seed", type=int, metavar="N", help="only the runs of this seed")
    add_format(items, ("text", "csv", "json"))


def items_command(options: argparse.Namespace) -> int:
    """Print the tests."""
    from bench.tables.compare import fill_table
    from bench.tables.items import item_tests, rivals_of
    from bench.tables.results import results_of

    request = request_of(options)
    request.overrides.check(request.registry.metrics)
    store = request.store
    if options.metric not in ("", TOP1.name):
        raise InputError(
            f"--metric {options.metric}: an image is right or wrong, so items are compared by {TOP1.name}; those with "
            "masks by the mean IoU of each: leave --metric out"
        )
    results = results_of(request.plan, store, TOP1)
    say_damaged(store)
    rules = request.plan.tables[0].rules
    tests: list[ItemTest] = []
    for planned in request.plan.tables:
        rivals: Iterable[Rivals] = rivals_of([fill_table(planned, results)], results.finished)
        if options.seed is not None:
            rivals = [_of_seed(each, options.seed) for each in rivals]
        tests += item_tests(store.root, rivals, planned.rules.selection, rules.split, rules.alpha)
    if not tests:
        seed = "" if options.seed is None else f" with seed {options.seed}"
        raise InputError(
            f"{request.target}: no method and its baseline both have a finished run{seed} in {store.root}; "
            f"{request.to_type('run')} trains them"
        )
    _print(options, tests, rules.alpha, rules.split)
    return 0


def _of_seed(rivals: Rivals, seed: int) -> Rivals:
    runs = {at: run for at, run in rivals.runs.items() if at == seed}
    base_runs = {at: run for at, run in rivals.base_runs.items() if at == seed}
    return replace(rivals, runs=runs, base_runs=base_runs)


def _print(options: argparse.Namespace, tests: Sequence[ItemTest], alpha: float, split: str) -> None:
    from bench.sheets.records import to_field
    from bench.tables.items import LEVEL

    if options.format == "text":
        print("\n".join(_lines(tests, alpha, split)))
        return
    records = [_record(test) for test in tests]
    if options.format == "json":
        print_json({"target": options.target, "split": split, "alpha": alpha, "level": LEVEL, "tests": records})
        return
    rows = [[*records[0]], *([*record.values()] for record in records)]
    for row in rows:
        print(",".join(to_field(" ".join(map(str, value)) if isinstance(value, list) else value) for value in row))


def _record(test: ItemTest) -> dict[str, Any]:
    """A test as plain data; None is what does not exist."""
    lacking = ("only_method", "only_baseline") if test.test == "bootstrap" else ("low", "high")
    return {**asdict(test), "seeds": list(test.seeds), **dict.fromkeys(lacking)}


def _lines(tests: Sequence[ItemTest], alpha: float, split: str) -> Iterator[str]:
    from bench.sheets.grid import grid
    from bench.tables.items import LEVEL

    means, pairs = [], dict[str, list[list[str]]]()
    for test in tests:
        comparison = [one_line(test.where), one_line(f"{test.method} against {test.baseline}")]
        gap, p = signed(test.gap, 2), f"{test.p_holm:.3g}"
        if test.test == "bootstrap":
            interval = f"{signed(test.low, 2)} to {signed(test.high, 2)}"
            means.append([*comparison, f"{len(test.seeds)}", f"{test.images}", gap, interval, p])
        else:
            counts = [f"{test.only_method}", f"{test.only_baseline}"]
            pairs.setdefault(test.test, []).append([*comparison, f"{test.seeds[0]}", gap, *counts, p])
    right = [False, False, *[True] * 5]
    yield f"Paired bootstrap over the {split} images, means over seeds:\n"
    heads = ["where", "comparison", "seeds", "images", "gap", f"{100 * LEVEL:g} % interval", "p (Holm)"]
    yield grid(means, heads, right)
    for name, rows in pairs.items():
        title, ahead = _PAIRS[name]
        yield f"\n{title}, runs of one seed:\n"
        heads = ["where", "comparison", "seed", "gap", f"only method {ahead}", f"only baseline {ahead}", "p (Holm)"]
        yield grid(rows, heads, right)
        small = [test for test in tests if test.test == name and test.note]
        if small:
            most = max(small, key=lambda test: test.only_method + test.only_baseline)
            yield f"{len(small)} of {len(rows)} pairs cannot be significant; the best of them: {most.note}."
    yield (
        "\nHolm-corrected over the tests of one kind with the same dataset, backbone and rate; "
        f"alpha = {alpha:g}. They are about these trained networks and images like these, not about other seeds."
    )

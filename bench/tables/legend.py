"""What the marks of tables mean, of one metric or of several that stand side by side."""

from __future__ import annotations

from collections.abc import Mapping

from bench.notation import fixed, listed
from bench.tables.compare import Table

Legend = tuple[tuple[str, str], ...]
"""What each mark of a sheet means: ``best``, ``close`` (too near to be told from the best) and ``second``."""


def legend_of(tables: Mapping[str, Table], by_means: bool = False) -> Legend:
    """What each mark of ours means, by the tables' test or by the means alone.

    ``tables`` are those of one plan by what is measured, which is named where there are several: by how much a mean
    must lie below the best is of each metric by itself.
    """
    ranked = [table for table in tables.values() if any(entry.rank for _, entry in table.places())]
    if not ranked:
        return ()
    if by_means:
        return (("best", "the best"), ("second", "the second best, by the means alone; no test stands behind it"))
    better = {_best_mean(table) for table in ranked}
    name = better.pop() if len(better) == 1 else "best"
    plan = ranked[0].plan
    top = ("best", f"the {name} mean{within_one(ranked[0])}, shared by printed ties")
    tested = {metric: table for metric, table in tables.items() if _is_tested(table)}
    if not tested:
        return (top,)
    distances = [_distance(table) + (f" ({metric})" if len(tables) > 1 else "") for metric, table in tested.items()]
    level = f"{100 * (1 - plan.rules.alpha):g} %"
    procedure = f"Hsu, {level}{within_one(ranked[0])}, one spread for all"
    takes = f"which takes {', '.join(distances)}; what has no mark is not the best ({procedure})"
    return (top, ("close", f"too near to be told from it, {takes}"))


def published_legend(table: Table, by_means: bool = False) -> Legend:
    """What the marks of published numbers mean."""
    if not any(entry.published_rank for _, entry in table.places()):
        return ()
    alone = "of the published numbers by themselves; no test stands behind it"
    if by_means:
        return (("best", "the best"), ("second", f"the second best, {alone}"))
    return (("best", f"the best {alone}"),)


def within_one(table: Table) -> str:
    """Within what cells are compared, to stand in a sentence: `` within one rate``; empty where that is the table."""
    return f" within one {listed(table.plan.within)}" if table.plan.within else ""


def _best_mean(table: Table) -> str:
    """What is best: the highest mean, or the lowest where less is better."""
    signs = {entry.planned.metric.sign for _, entry in table.places() if entry.rank}
    return "best" if len(signs) > 1 else "lowest" if signs == {-1} else "highest"


def _is_tested(table: Table) -> bool:
    return bool(table.groups) and any(entry.n > 1 for entry in table.finished)


def _distance(table: Table) -> str:
    """By how much a mean must lie below the best to be told from it."""
    least, most = (end([group.least[side] for group in table.groups]) for side, end in ((0, min), (1, max)))
    decimals = max(entry.planned.decimals for entry in table.finished)
    low, high = fixed(least, decimals), fixed(most, decimals)
    unit = " points" if all("%" in entry.planned.metric.heading for entry in table.finished) else ""
    return f"{low}{unit}" if low == high else f"{low} to {high}{unit}"

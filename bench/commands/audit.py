"""The published numbers checked: ``audit``."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import bench
from bench.commands.options import add_command, add_format, add_plugin, print_json

if TYPE_CHECKING:
    from bench.papers.audit import Audit

AUDIT = """
examples:
  bench audit                       the tables of every paper
  bench audit coin
  bench audit gta/appendix_a fd     tables and papers, as many as are named
  bench audit drloc --format json   a list, one entry a finding
  bench audit drloc --all           with what rounding explains, and what cannot be checked and why
"""


def add(commands: Any) -> None:
    """Add the command to a parser's."""
    about = "whether a paper's printed averages, differences, accuracies and deviations hold together"
    audit = add_command(commands, "audit", audit_command, about, AUDIT)
    audit.add_argument(
        "targets", nargs="*", metavar="TARGET", help="a paper (gta) or one of its tables (gta/table2); default: all"
    )
    audit.add_argument("--all", action="store_true", help="show what rounding explains and what is not checked, too")
    add_format(audit, ("text", "json"))
    add_plugin(audit)


def audit_command(options: argparse.Namespace) -> int:
    """Print the findings."""
    from bench.papers.audit import FINDING, audit

    result = audit(options.targets, bench.Registry(options.plugin))
    if options.format == "json":
        print_json([asdict(each) for each in result.findings if options.all or each.kind == FINDING])
    else:
        print("\n".join(_lines(result, options.all)))
    return 0


def _lines(result: Audit, everything: bool) -> list[str]:
    from bench.papers.audit import CHECKS, EXPLAINED, FINDING, NOT_CHECKED

    lines = []
    for kind in (FINDING, EXPLAINED) if everything else (FINDING,):
        for each in result.of(kind):
            where = " / ".join(filter(None, (*each.row, *each.column)))
            suffix = " (rounding explains it)" if kind == EXPLAINED else ""
            lines += [f"{each.table}: {where}", f"  {each.check}: {each.verdict}{suffix}"]
    found, explained = len(result.of(FINDING)), len(result.of(EXPLAINED))
    told = [f"{result.checked[check]} by {check}" for check in CHECKS if result.checked[check]]
    lines.append(f"cells checked: {', '.join(told) or 'none'}")
    lines.append(
        f"findings: {found}" + f"; {explained} more differ by no more than rounding explains" * bool(explained)
    )
    if counted := result.checked["deviation"]:
        lines.append(
            f"{counted} printed deviations: {result.sample_only} fit only a division by n - 1, "
            f"{result.population_only} only one by n"
        )
    reasons = dict[str, int]()
    for each in result.of(NOT_CHECKED):
        reason = f"{each.table} by {each.check}: {each.verdict}"
        reasons[reason] = reasons.get(reason, 0) + 1
    if everything:
        lines += [f"not checked: {count} cell{'s' * (count > 1)} of {reason}" for reason, count in reasons.items()]
    elif reasons:
        cells = sum(reasons.values())
        lines.append(f"not checked: {cells} cell{'s' * (cells > 1)} (--all says why)")
    return lines

"""What papers say about their tables, checked: ``claims``."""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Collection
from typing import TYPE_CHECKING, Any

import bench
from bench.commands.options import add_command, add_format, add_plugin, add_results, print_json
from bench.papers.published import published_table

if TYPE_CHECKING:
    from bench.papers.claims import Judgement, PaperClaim
    from bench.records.store import Store

CLAIMS = """
examples:
  bench claims                     of every paper
  bench claims lacvit
  bench claims gta/table2 coin     papers and tables, as many as are named
  bench claims coin --format json  a list, one entry a claim
"""


def add(commands: Any) -> None:
    """Add the command to a parser's."""
    about = "what a paper says about its tables: borne out by its numbers or not, supported by our runs or not"
    claims = add_command(commands, "claims", claims_command, about, CLAIMS)
    claims.add_argument(
        "targets", nargs="*", metavar="TARGET", help="a paper (gta) or one of its tables (gta/table2); default: all"
    )
    add_format(claims, ("text", "json"))
    add_plugin(claims)
    add_results(claims)


def claims_command(options: argparse.Namespace) -> int:
    """Print each claim with its verdicts."""
    registry, store = bench.Registry(options.plugin), bench.Store(options.results)
    wanted = registry.tables_of(options.targets)
    papers = dict.fromkeys(name.partition("/")[0] for name in wanted)
    judged = [each for paper in papers for each in _judged(paper, wanted, registry, store)]
    if options.format == "json":
        print_json([_facts(*each) for each in judged])
    else:
        print("\n".join(_lines(judged)))
    return 0


def _judged(
    paper: str, wanted: Collection[str], registry: bench.Registry, store: Store
) -> list[tuple[PaperClaim, Judgement, Judgement]]:
    """A paper's claims about wanted tables, each with the verdict of the published numbers and of our runs."""
    from bench.papers.claims import judge_ours, judge_published, read_claims
    from bench.plan.paper import plan_paper
    from bench.tables.cells import cells_of
    from bench.tables.results import results_of

    claims = [claim for claim in read_claims(paper, registry) if {*claim.tables} & {*wanted}]
    if not claims:
        return []
    plan = plan_paper(paper, registry)
    results = results_of(plan, store)
    tables = {table.name: published_table(table.name, registry) for table in plan.tables}
    ours = {
        table.name: [[(cell.mean, cell.why_empty) for cell in line] for line in cells_of(table, results)]
        for table in plan.tables
    }
    return [(claim, judge_published(claim, tables), judge_ours(claim, tables, ours)) for claim in claims]


def _facts(claim: PaperClaim, published: Judgement, ours: Judgement) -> dict[str, Any]:
    return {
        "paper": claim.paper,
        "table": claim.tables[0],
        "tables": list(claim.tables),
        "section": claim.section,
        "sentence": claim.text,
        "computed": published.computed,
        "verdict": published.verdict,
        "against": list(published.against),
        "ours": {"verdict": ours.verdict, "computed": ours.computed, "against": list(ours.against)},
        "place": claim.place,
    }


def _lines(judged: list[tuple[PaperClaim, Judgement, Judgement]]) -> list[str]:
    reasons = Counter(verdict.reason for _, *both in judged for verdict in both if verdict.reason)
    repeated = [reason for reason, count in reasons.items() if count > 1]
    notes = {reason: number for number, reason in enumerate(repeated, 1)}
    lines = []
    for claim, published, ours in judged:
        lines.append(f"{', '.join(claim.tables)} ({claim.section}): {claim.text}")
        lines += [f"  published: {published.line_with(notes)}", f"  our runs: {ours.line_with(notes)}"]
    lines += [f"[{number}] {reason}" for reason, number in notes.items()]
    for who, verdicts in (
        ("published", Counter(published.verdict for _, published, _ in judged)),
        ("our runs", Counter(ours.verdict for _, _, ours in judged)),
    ):
        lines.append(f"{who}: " + ", ".join(f"{count} {verdict}" for verdict, count in verdicts.items()))
    return lines if judged else ["no claims are written down about these tables"]

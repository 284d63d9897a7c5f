"""What papers say about their tables, checked: ``claims``."""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import bench
from bench.commands.options import add_command, add_format, add_plugin, add_results, print_json
from bench.errors import InputError, choose

if TYPE_CHECKING:
    from bench.papers.claims import Claim, Verdict
    from bench.store import Finished

CLAIMS = """
examples:
  bench claims                     of every paper
  bench claims lacvit
  bench claims coin --format json  a list, one entry a claim
"""


def add(commands: Any) -> None:
    """Add the command to a parser's."""
    about = "what a paper says about its tables: borne out by its numbers or not, supported by our runs or not"
    claims = add_command(commands, "claims", claims_command, about, CLAIMS)
    claims.add_argument("paper", nargs="?", default="", metavar="PAPER", help="a paper (default: all)")
    add_format(claims, ("text", "json"))
    add_plugin(claims)
    add_results(claims)


def claims_command(options: argparse.Namespace) -> int:
    """Print each claim with its verdicts."""
    registry = bench.Registry(options.plugin)
    if options.paper and options.paper not in registry.papers:
        raise InputError(choose(options.paper, registry.papers, "paper"))
    finished = bench.Store(options.results).finished()
    papers = [options.paper] if options.paper else registry.papers
    judged = [each for paper in papers for each in _judged(paper, registry, finished)]
    if options.format == "json":
        print_json([_facts(*each) for each in judged])
    else:
        print("\n".join(_lines(judged)))
    return 0


def _judged(
    paper: str, registry: bench.Registry, finished: Mapping[str, Finished]
) -> list[tuple[Claim, Verdict, Verdict]]:
    """The claims of a paper, each with the verdict of the published numbers and of our runs."""
    from bench.papers.claims import judge_ours, judge_published, read_claims
    from bench.papers.plan import plan_paper
    from bench.papers.table import measured

    claims = read_claims(paper, registry)
    plans = {plan.table.name: plan for plan in plan_paper(paper, registry).tables} if claims else {}
    tables = {name: plan.table for name, plan in plans.items()}
    ours = {name: measured(plan, finished) for name, plan in plans.items()}
    return [(claim, judge_published(claim, tables), judge_ours(claim, tables, ours)) for claim in claims]


def _facts(claim: Claim, published: Verdict, ours: Verdict) -> dict[str, Any]:
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


def _lines(judged: list[tuple[Claim, Verdict, Verdict]]) -> list[str]:
    lines = []
    for claim, published, ours in judged:
        lines.append(f"{', '.join(claim.tables)} ({claim.section}): {claim.text}")
        lines += [f"  published: {published.line}", f"  our runs: {ours.line}"]
    for who, verdicts in (
        ("published", Counter(published.verdict for _, published, _ in judged)),
        ("our runs", Counter(ours.verdict for _, _, ours in judged)),
    ):
        lines.append(f"{who}: " + ", ".join(f"{count} {verdict}" for verdict, count in verdicts.items()))
    return lines if judged else ["no claims are written down"]

"""The published numbers of papers checked, and what papers say about them: ``audit``, ``claims``."""

from __future__ import annotations

import argparse
import math
from collections import Counter
from collections.abc import Collection
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import bench
from bench.commands.options import add_command, add_format, add_plugin, add_results, print_json
from bench.papers.audit import CHECKS, audit
from bench.papers.findings import EXPLAINED, FINDING, NOT_CHECKED, Audit
from bench.papers.loose import is_file
from bench.papers.published import published_table
from bench.papers.typed import Typed
from bench.records.store import Store
from bench.rules import MOST_SEEDS

if TYPE_CHECKING:
    from bench.papers.claims import Judgement, PaperClaim
    from bench.tables.cells import Cell

AUDIT = """
examples:
  bench audit                       the tables of every paper
  bench audit coin
  bench audit gta/appendix_a fd     tables and papers, as many as are named
  bench audit drloc --format json   a list, one entry a finding
  bench audit drloc --all           with what rounding explains, and what cannot be checked and why
  bench audit my.csv                a table of your own: labels, numbers, 81.2 or 81.2 ± 0.3
  bench audit my.csv --runs 3 --test-images CUB=5794,Cars=8041    and what its accuracies can be
"""
CLAIMS = """
examples:
  bench claims                     of every paper
  bench claims lacvit
  bench claims gta/table2 coin     papers and tables, as many as are named
  bench claims coin --format json  a list, one entry a claim
"""


def add(commands: Any) -> None:
    """Add these commands to a parser's."""
    about = "whether a table's printed averages, differences, accuracies and deviations hold together"
    audits = add_command(commands, "audit", audit_command, about, AUDIT)
    audits.add_argument("--all", action="store_true", help="show what rounding explains and what is not checked, too")
    audits.add_argument(
        "--runs", type=_runs, default=0, metavar="N", help="of a file's table: of how many runs a value is the mean"
    )
    audits.add_argument(
        "--test-images",
        action="extend",
        type=_images,
        default=[],
        metavar="N",
        help="of a file's table: on how many test images its accuracies (percent) are; LABEL=N: of a column or row",
    )
    about = "what a paper says about its tables: borne out by its numbers or not, supported by our runs or not"
    claims = add_command(commands, "claims", claims_command, about, CLAIMS)
    add_results(claims)
    papers = "a paper (gta) or one of its tables (gta/table2); default: all"
    for parser, suffix in ((audits, "; or a file, .csv or .yaml"), (claims, "")):
        parser.add_argument("targets", nargs="*", metavar="TARGET", help=papers + suffix)
        add_format(parser, ("text", "json"))
        add_plugin(parser)


def audit_command(options: argparse.Namespace) -> int:
    """Print the findings."""
    typed = Typed(options.runs, dict(options.test_images))
    result = audit(options.targets, bench.Registry(options.plugin), typed)
    if options.format == "json":
        print_json([asdict(each) for each in result.findings if options.all or each.kind == FINDING])
    else:
        why = options.all or any(map(is_file, options.targets))
        print("\n".join(_audit_lines(result, options.all, why)))
    return 0


def _runs(text: str) -> int:
    """How many runs. Raises ``ArgumentTypeError`` where it is no number of them."""
    return _count(text, "runs", MOST_SEEDS)


def _images(text: str) -> list[tuple[str, int]]:
    """Test images by label; of all where there is none. Raises ``ArgumentTypeError`` where a number is none of them."""
    pairs = [part.rpartition("=") for part in text.split(",")]
    return [(label.strip(), _count(number, "test images", 10**9)) for label, _, number in pairs]


def _count(text: str, what: str, most: int) -> int:
    digits = text.strip()
    if not (digits.isascii() and digits.isdigit() and len(digits) < 11 and 1 <= int(digits) <= most):
        raise argparse.ArgumentTypeError(f"'{text}' is no number of {what}, 1 to {most:,}")
    return int(digits)


def _audit_lines(result: Audit, everything: bool, why: bool) -> list[str]:
    """The findings, with what rounding explains where everything is asked, and why cells are not checked."""
    lines = []
    for kind in (FINDING, EXPLAINED) if everything else (FINDING,):
        for each in result.of(kind):
            where = " / ".join(filter(None, (*each.row, *each.column)))
            suffix = " (rounding explains it)" if kind == EXPLAINED else ""
            lines += [f"{each.table}: {where}", f"  {each.check}: {each.verdict}{suffix}"]
    checked = [f"{result.checked[check]} by {check}" for check in CHECKS if result.checked[check]]
    lines.append(f"cells checked: {', '.join(checked) or 'none'}")
    explained = len(result.of(EXPLAINED))
    more = f"; {explained} more differ by no more than rounding explains" if explained else ""
    lines.append(f"findings: {len(result.of(FINDING))}{more}")
    if deviations := result.checked["deviation"]:
        lines.append(
            f"{deviations} printed deviations: {result.sample_only} fit only a division by n - 1, "
            f"{result.population_only} only one by n"
        )
    unchecked = result.of(NOT_CHECKED)
    if why:
        reasons = Counter(f"{each.table} by {each.check}: {each.verdict}" for each in unchecked)
        lines += [f"not checked: {count} cell{'s' * (count > 1)} of {reason}" for reason, count in reasons.items()]
    elif cells := len(unchecked):
        lines.append(f"not checked: {cells} cell{'s' * (cells > 1)} (--all says why)")
    return lines


def claims_command(options: argparse.Namespace) -> int:
    """Print each claim with its verdicts."""

    registry, store = bench.Registry(options.plugin), bench.Store(options.results)
    wanted = registry.tables_of(options.targets)
    papers = dict.fromkeys(name.partition("/")[0] for name in wanted)
    judged = [each for paper in papers for each in _judged(paper, wanted, registry, store)]
    if options.format == "json":
        print_json([_facts(*each) for each in judged])
    else:
        print("\n".join(_claims_lines(judged)))
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
        table.name: [[(cell.mean, cell.why_empty, _noise(cell)) for cell in line] for line in cells_of(table, results)]
        for table in plan.tables
    }
    return [(claim, judge_published(claim, tables), judge_ours(claim, tables, ours)) for claim in claims]


def _noise(cell: Cell) -> float:
    """Half of the width of the 95 % interval of a cell's mean; nan of fewer than two runs."""
    from bench.stats.samples import t_interval

    low, high = t_interval(cell.values) if cell.values else (math.nan, math.nan)
    return (high - low) / 2


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


def _claims_lines(judged: list[tuple[PaperClaim, Judgement, Judgement]]) -> list[str]:
    if not judged:
        return ["no claims are written down about these tables"]
    reasons = Counter(verdict.reason for _, *verdicts in judged for verdict in verdicts)
    repeated = [reason for reason, count in reasons.items() if reason and count > 1]
    notes = {reason: number for number, reason in enumerate(repeated, 1)}
    lines = []
    for claim, published, ours in judged:
        lines.append(f"{', '.join(claim.tables)} ({claim.section}): {claim.text}")
        lines += [f"  published: {published.line_with(notes)}", f"  our runs: {ours.line_with(notes)}"]
    lines += [f"[{number}] {reason}" for reason, number in notes.items()]
    published_verdicts = [published for _, published, _ in judged]
    our_verdicts = [ours for _, _, ours in judged]
    for who, verdicts in (("published", published_verdicts), ("our runs", our_verdicts)):
        counts = Counter(each.verdict for each in verdicts)
        lines.append(f"{who}: " + ", ".join(f"{count} {verdict}" for verdict, count in counts.items()))
    return lines

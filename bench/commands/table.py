"""What the records say: ``table``, ``figure``."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import bench
from bench.commands.options import add_format, add_target_command, plan_of
from bench.commands.paper import is_paper, paper_of, tables_of
from bench.errors import InputError, choose
from bench.overrides import SELECTIONS, split_list

if TYPE_CHECKING:
    from bench.sheets import Sheet

FORMATS = ("text", "markdown", "csv", "json", "html", "latex", "macros")
SOURCES = ("published", "ours", "both")

TABLE = """
examples:
  bench table demo                             for the terminal
  bench table demo --format latex > demo.tex   booktabs
  bench table demo --format csv                one line a cell, with every test's p
  bench table demo --selection best-val        another point of the same curves
  bench table demo --selection last,best-test   rules side by side, and what looking at the test split adds
  bench table gta/table2                       a paper's table, in its own layout
  bench table gta/table2 --format macros       a LaTeX command for each number, to be used in prose
"""
FIGURE = """
examples:
  bench figure demo                            RESULTS/figures/demo.png and .pdf
  bench figure demo --output accuracy.pdf
"""


def add(commands: Any) -> None:
    """Add these commands to a parser's."""
    table = add_target_command(commands, "table", table_command, "the table, from the records there are", TABLE)
    add_format(table, FORMATS)
    table.add_argument(
        "--source",
        choices=SOURCES,
        metavar="SOURCE",
        help="of a paper's table: published, ours, both (default: both where there are runs)",
    )
    table.add_argument("--width", type=int, metavar="N", help="columns of the text format (default: the terminal's)")
    figure = add_target_command(commands, "figure", figure_command, "accuracy against sampling rate", FIGURE)
    figure.add_argument("--output", type=Path, metavar="FILE", help="a .png or .pdf file (default: both, in RESULTS)")


def table_command(options: argparse.Namespace) -> int:
    """Print the table."""
    from bench.tables import render

    if options.width is not None and options.width < 20:
        raise InputError(f"--width {options.width}: a table needs at least 20 columns")
    rules = split_list(options.selection)
    if len(rules) > 1:
        from bench.sheets import render_sheet

        print(render_sheet(_rules_beside(options, rules), options.format, options.width), end="")
        return 0
    if is_paper(options):
        print(tables_of(options, paper_of(options), bench.Store(options.results)), end="")
        return 0
    if options.source or options.format in ("html", "macros"):
        given = f"--source {options.source}" if options.source else f"--format {options.format}"
        raise InputError(f"{given} is for the tables of papers (see 'bench list tables')")
    plan, store = plan_of(options), bench.Store(options.results)
    table = bench.fill(plan, store)
    for folder in store.damaged:
        print(f"bench: {folder} is damaged and counts as missing; 'bench run' trains it again", file=sys.stderr)
    print(render(table, options.format, options.width), end="")
    return 0


def _rules_beside(options: argparse.Namespace, rules: list[str]) -> Sheet:
    """The same runs under several selection rules."""
    from bench.papers.table import heading, measured
    from bench.selections import scores_of, selection_sheet

    for rule in rules:
        if rule not in SELECTIONS:
            raise InputError(f"--selection: {choose(rule, SELECTIONS, 'rule')}")
    store = bench.Store(options.results)
    chosen = [argparse.Namespace(**{**vars(options), "selection": rule}) for rule in rules]
    if is_paper(options):
        plans = [paper_of(one).tables for one in chosen]
        if len(plans[0]) != 1:
            raise InputError(f"--selection with several rules shows one table at a time: {options.target}/TABLE")
        finished, table = store.finished(), plans[0][0].table
        scores = {
            rule: [[cell.values for cell in row] for row in measured(plan[0], finished)]
            for rule, plan in zip(rules, plans, strict=True)
        }
        where = (table.stub, table.rows, table.columns)
        return selection_sheet(table.name, heading(table, "ours, by selection rule"), *where, scores)
    tables = {rule: bench.fill(plan_of(one), store) for rule, one in zip(rules, chosen, strict=True)}
    first = tables[rules[0]]
    columns = [column or (first.layout.metric,) for column in first.columns]
    title = f"{first.heading} – by selection rule"
    scores = {rule: scores_of(table) for rule, table in tables.items()}
    return selection_sheet(options.target, title, first.row_axes, first.rows, columns, scores)


def figure_command(options: argparse.Namespace) -> int:
    """Draw the figure."""
    from bench.report import write_figure
    from bench.tables.figure import figure

    if options.output is not None and options.output.suffix not in (".png", ".pdf"):
        raise InputError(f"--output {options.output}: a figure is a .png or a .pdf file")
    plan, store = plan_of(options), bench.Store(options.results)
    table = bench.fill(plan, store)
    if not table.finished:
        raise InputError(f"{plan.experiment.name}: nothing to draw: {store.root} has no finished run of it")
    try:
        if options.output is None:
            store.check_writable()
            paths = write_figure(table, store.root / "figures", plan.experiment.variant)
        else:
            figure(table, [options.output])
            paths = [options.output]
    except ValueError as error:
        raise InputError(f"{plan.experiment.name}: {error}") from None
    except OSError as error:
        raise InputError(f"--output {options.output}: {error.strerror}") from None
    print("\n".join(str(path) for path in paths))
    return 0

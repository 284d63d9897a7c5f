"""What the records say: ``table``, ``figure``."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import bench
from bench.commands import items
from bench.commands.options import add_format, add_target_command, overrides_of, plan_of, say, typed
from bench.commands.paper import is_paper, paper_of
from bench.errors import InputError, choose
from bench.papers.published import SOURCES
from bench.rules import ACROSS, SELECTIONS, TESTS
from bench.syntax import split_list

if TYPE_CHECKING:
    from bench.papers.table import Rules
    from bench.plan.paper import PaperPlan
    from bench.records.store import Finished
    from bench.sheets import Sheet
    from bench.tables.across import Group

# those of bench.sheets, which takes long to import
FORMATS = ("text", "markdown", "csv", "json", "html", "latex", "latex-siunitx", "macros")
KINDS = ("rates", "cd")

TABLE = """
examples:
  bench table demo                             for the terminal
  bench table demo --format latex > demo.tex   booktabs
  bench table demo --format latex-siunitx      columns that siunitx aligns
  bench table demo --format csv                one line a cell, with every test's p
  bench table demo --test paired               runs of one seed share their images, head and order
  bench table demo --selection best-val        another point of the same curves
  bench table demo --selection last,best-test   rules side by side, and what looking at the test split adds
  bench table gta/table2                       a paper's table, in its own layout
  bench table gta/table2 --format macros       a LaTeX command for each number, to be used in prose
  bench table gta/table2 --source both         with a verdict on each published number
  bench table gta/table2 --across these        with a claim over its datasets: on these, or on datasets like-these
"""
FIGURE = """
examples:
  bench figure demo                            RESULTS/figures/demo.png and .pdf
  bench figure demo --output accuracy.pdf
  bench figure lacvit/table1 --kind cd --source published   mean ranks over datasets, with the critical difference
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
    add_tests(table)
    table.add_argument("--width", type=int, metavar="N", help="columns of the text format (default: the terminal's)")
    about = "accuracy against sampling rate, or mean ranks over datasets"
    figure = add_target_command(commands, "figure", figure_command, about, FIGURE)
    figure.add_argument(
        "--kind",
        choices=KINDS,
        default="rates",
        metavar="KIND",
        help="rates (default), or cd: a critical-difference diagram of mean ranks over 6 datasets or more",
    )
    figure.add_argument(
        "--source", choices=SOURCES[:2], metavar="SOURCE", help="of a paper's table: published or ours (default)"
    )
    figure.add_argument("--output", type=Path, metavar="FILE", help="a .png or .pdf file (default: both, in RESULTS)")
    items.add(commands)


def add_tests(parser: argparse.ArgumentParser) -> None:
    """``--test`` and ``--across``."""
    parser.add_argument(
        "--test", choices=TESTS, default="", metavar="TEST", help=f"by which methods are compared: {', '.join(TESTS)}"
    )
    parser.add_argument(
        "--across",
        choices=ACROSS,
        default="",
        metavar="WHICH",
        help="compare methods over the datasets too: these (those that were run) or like-these (as a sample)",
    )


def rules_of(
    options: argparse.Namespace, plan: PaperPlan, finished: Mapping[str, Finished] | None = None
) -> list[Rules]:
    """How the numbers of each of a paper's tables are tested and judged, with what failed of its runs."""
    from bench.papers.judging import grounds_of
    from bench.papers.measured import failures_of
    from bench.papers.table import Rules
    from bench.plan.paper import plan_paper

    overrides, registry = overrides_of(options), bench.Registry(options.plugin)
    declared = plan
    if plan.changed:
        paper = replace(overrides, settings=(), seeds="", selection="", test="", across="")
        declared = plan_paper(options.target, registry, paper)
    store, command = bench.Store(options.results), typed(options, "run")
    failed = failures_of(plan, store, store.finished() if finished is None else finished)
    return [
        Rules(overrides.test or "welch", overrides.across, grounds_of(own, before, registry), failed, command)
        for own, before in zip(plan.tables, declared.tables, strict=True)
    ]


def table_command(options: argparse.Namespace) -> int:
    """Print the table."""
    from bench.tables import render

    if options.width is not None and options.width < 20:
        raise InputError(f"--width {options.width}: a table needs at least 20 columns")
    if options.across and options.format in ("csv", "macros"):
        raise InputError(f"--across: --format {options.format} has cells alone; claims are told in every other format")
    rules = split_list(options.selection)
    if len(rules) > 1:
        if given := next((name for name in ("test", "across") if getattr(options, name)), ""):
            raise InputError(f"--{given}: selection rules side by side have no tests; give one rule")
        from bench.sheets import render_sheet

        print(render_sheet(_rules_beside(options, rules), options.format, options.width), end="")
        return 0
    if is_paper(options):
        print(_paper_tables(options), end="")
        return 0
    if options.source or options.format in ("html", "macros"):
        if options.source:
            raise InputError(f"--source {options.source} is for the tables of papers (see 'bench list tables')")
        there = ", ".join(format for format in FORMATS if format not in ("html", "macros"))
        raise InputError(f"--format {options.format} is for the tables of papers; {options.target} has {there}")
    plan, store = plan_of(options), bench.Store(options.results)
    table = bench.fill(plan, store)
    for folder in store.damaged:
        say(f"{folder} is damaged and counts as missing; 'bench run' trains it again")
    print(render(table, options.format, options.width), end="")
    return 0


def _paper_tables(options: argparse.Namespace) -> str:
    """A paper's tables in the wanted format and source, one after the other."""
    from bench.papers.table import paper_sheet
    from bench.sheets import render_sheet

    plan, finished = paper_of(options), bench.Store(options.results).finished()
    asked = next((name for name in ("test", "across") if getattr(options, name)), "")
    ours = bool(asked) or any(run in finished for run in plan.unique)
    source = options.source or ("both" if ours else "published")
    if len(plan.tables) > 1 and options.format in ("json", "html"):
        raise InputError(f"--format {options.format} shows one table at a time: {plan.name}/TABLE")
    if source == "published":
        if asked:
            raise InputError(f"--{asked}: published numbers are shown as printed; it is for --source ours or both")
        sheets = [paper_sheet(table, source, finished) for table in plan.tables]
    else:
        rules = rules_of(options, plan, finished)
        try:
            sheets = [paper_sheet(table, source, finished, own) for table, own in zip(plan.tables, rules, strict=True)]
        except ValueError as error:
            raise InputError(f"{plan.name}: {error}") from None
    return "\n".join(render_sheet(sheet, options.format, options.width) for sheet in sheets)


def _rules_beside(options: argparse.Namespace, rules: list[str]) -> Sheet:
    """The same runs under several selection rules."""
    from bench.tables.selections import scores_of, selection_sheet

    for rule in rules:
        if rule not in SELECTIONS:
            raise InputError(f"--selection: {choose(rule, SELECTIONS, 'rule')}")
    chosen = [argparse.Namespace(**{**vars(options), "selection": rule}) for rule in rules]
    if is_paper(options):
        return _paper_rules_beside(options, {rule: paper_of(one) for rule, one in zip(rules, chosen, strict=True)})
    store = bench.Store(options.results)
    tables = {rule: bench.fill(plan_of(one), store) for rule, one in zip(rules, chosen, strict=True)}
    first = tables[rules[0]]
    columns = [column or (first.layout.metric,) for column in first.columns]
    title = f"{first.heading} – by selection rule"
    scores = {rule: scores_of(table) for rule, table in tables.items()}
    return selection_sheet(options.target, title, first.row_axes, first.rows, columns, scores)


def _paper_rules_beside(options: argparse.Namespace, plans: Mapping[str, PaperPlan]) -> Sheet:
    """A paper's table under several selection rules, each of which chooses among swept hyper-parameters for itself."""
    from bench.papers.measured import choice_notes, failure_notes, failures_of, measured
    from bench.papers.table import heading
    from bench.tables.selections import selection_sheet

    first = next(iter(plans.values()))
    if len(first.tables) != 1:
        raise InputError(f"--selection with several rules shows one table at a time: {options.target}/TABLE")
    store, plan = bench.Store(options.results), first.tables[0]
    finished, table = store.finished(), plan.table
    failed = failures_of(first, store, finished)
    found = {rule: measured(own.tables[0], finished, failed) for rule, own in plans.items()}
    scores = {rule: [[cell.values for cell in row] for row in cells] for rule, cells in found.items()}
    title = heading(table, "ours, by selection rule")
    sheet = selection_sheet(table.name, title, table.stub, table.rows, table.columns, scores)
    notes = [*sheet.notes, *choice_notes(plan, found), *failure_notes(plan, next(iter(found.values())))]
    return replace(sheet, notes=tuple(notes))


def figure_command(options: argparse.Namespace) -> int:
    """Draw the figure."""
    from bench.tables.figure import figure
    from bench.tables.report import write_figure

    if options.output is not None and options.output.suffix not in (".png", ".pdf"):
        raise InputError(f"--output {options.output}: a figure is a .png or a .pdf file")
    if options.kind == "cd":
        return _diagram_command(options)
    if options.source:
        raise InputError(f"--source {options.source}: it is for the diagrams of papers' tables (--kind cd)")
    plan, store = plan_of(options), bench.Store(options.results)
    table = bench.fill(plan, store)
    if not table.finished:
        raise InputError(
            f"{plan.experiment.name}: nothing to draw: {store.root} has no finished run of it; "
            f"'{typed(options, 'run')}' trains them"
        )
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


def _diagram_command(options: argparse.Namespace) -> int:
    """Draw mean ranks over datasets, a diagram for each backbone and rate."""
    from bench.tables.report import write_diagrams

    store = bench.Store(options.results)
    if options.output is None:
        store.check_writable()
    groups, name, alpha = _of_paper(options, store) if is_paper(options) else _of_experiment(options, store)
    try:
        paths = write_diagrams(groups, name, store.root / "figures", options.output, alpha)
    except OSError as error:
        raise InputError(f"--output {options.output}: {error.strerror}") from None
    print("\n".join(str(path) for path in paths))
    return 0


def _of_experiment(
    options: argparse.Namespace, store: bench.Store
) -> tuple[Mapping[tuple[str, ...], Group], str, float]:
    from bench.tables.across import groups

    if options.source:
        raise InputError(f"--source {options.source} is for the tables of papers (see 'bench list tables')")
    plan = plan_of(options)
    table = bench.fill(plan, store)
    return groups(table), plan.experiment.variant, table.layout.alpha


def _of_paper(options: argparse.Namespace, store: bench.Store) -> tuple[Mapping[tuple[str, ...], Group], str, float]:
    from bench.papers.comparisons import by_dataset, published_values
    from bench.papers.judging import ALPHA
    from bench.papers.measured import failures_of, measured

    plan = paper_of(options)
    if len(plan.tables) != 1:
        raise InputError(f"--kind cd shows one table at a time: {options.target}/TABLE")
    (table,) = plan.tables
    if options.source == "published":
        values = published_values(table.table)
    else:
        finished = store.finished()
        found = measured(table, finished, failures_of(plan, store, finished))
        values = [[ours.values for ours in row] for row in found]
    return by_dataset(table.table, values), f"{plan.name.replace('/', '-')}-{options.source or 'ours'}", ALPHA

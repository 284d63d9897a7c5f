"""What the records say: ``table``, ``runs``."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.commands.layouts import add_layout, check_ours, layout_of, summed_up, written
from bench.commands.options import add_sheet_format
from bench.commands.request import (
    Request,
    add_target_command,
    add_tests,
    collecting_later,
    request_of,
    require_one,
    say_damaged,
)
from bench.errors import InputError, choose
from bench.metrics import Metric
from bench.reading.syntax import split_list
from bench.rules import MARKS, SELECTIONS, SOURCES
from bench.sheets.formats import FORMATS, Format, find_format

if TYPE_CHECKING:
    from bench.sheets.sheet import Sheet
    from bench.sheets.view import Look
    from bench.tables.compare import Table

ROW_FORMATS = ("csv", "json", "parquet")

TABLE = """
examples:
  bench table demo                             for the terminal
  bench table demo --format latex > demo.tex   booktabs
  bench table demo --format latex-siunitx      columns that siunitx aligns
  bench table demo --format latex --fit column --font-size scriptsize   for a column of a paper in two
  bench table demo --format latex --standalone > demo.tex   a document that compiles by itself
  bench table demo --average --ranks           columns with the mean over the others, and with the mean rank
  bench table demo --format csv                one line a cell, with every test's p
  bench table demo --intervals                 with the 95 % interval of each difference
  bench table demo --test welch                in the place of the test that the design asks for
  bench table demo --selection best-val        another point of the same curves
  bench table demo --selection last,best-test   rules side by side, and what looking at the test split adds
  bench table demo --metric top1,nll,seconds   metrics side by side; points are picked by the first
  bench table coin/table6 --candidates         what each candidate of a sweep scored, and which counts
  bench table gta/table2                       a paper's table, in its own layout
  bench table lacvit/released                  its numbers beside runs of the recipe of its released code
  bench table gta/table2 --format macros       a LaTeX command for each number, to be used in prose
  bench table gta/table2 --source both         with a verdict on each published number
  bench table gta/table2 --margin 0.5          what is no difference to it, in points
  bench table gta/table2 --across these        with a claim over its datasets: on these, or on datasets like-these
"""
RUNS = """
One row a run: axes, hyper-parameters, settings, metrics on both splits, cost, versions, id.

examples:
  bench runs demo --format csv > demo.csv
  bench runs gta --format parquet --output gta.parquet     (needs pyarrow)
"""


def add(commands: Any) -> None:
    """Add these commands to a parser's."""
    table = add_target_command(
        commands, "table", table_command, "the table, from the records there are", TABLE, several=True
    )
    add_sheet_format(table, FORMATS)
    table.add_argument(
        "--source",
        choices=SOURCES,
        metavar="SOURCE",
        help="of a paper's table: published, ours, both (default: both where there are runs)",
    )
    add_tests(table)
    add_marks(table)
    add_intervals(table)
    table.add_argument("--candidates", action="store_true", help="the candidates of swept cells, with their scores")
    table.add_argument("--width", type=int, metavar="N", help="columns of the text format (default: the terminal's)")
    add_layout(table)
    runs = add_target_command(
        commands, "runs", runs_command, "one row a run, for analysis of your own", RUNS, several=True
    )
    runs.add_argument("--format", choices=ROW_FORMATS, metavar="FORMAT", help="csv (default), json or parquet")
    runs.add_argument(
        "--output", type=Path, metavar="FILE", help="write it there; .csv, .json or .parquet chooses the format"
    )


def add_marks(parser: argparse.ArgumentParser) -> None:
    """``--mark``."""
    parser.add_argument(
        "--mark",
        choices=MARKS,
        default="test",
        metavar="HOW",
        help="bold is what cannot be told from the best (test), or the best mean (means)",
    )


def add_intervals(parser: argparse.ArgumentParser) -> None:
    """``--intervals``."""
    about = "the confidence interval of each difference behind it (CSV and JSON always have it)"
    parser.add_argument("--intervals", action="store_true", help=about)


def table_command(options: argparse.Namespace) -> int:
    """Print the table."""
    from bench.sheets.view import Look

    request = request_of(options)
    format = find_format(options.format, request.registry)
    check_layout(options, format)
    layout = layout_of(options, format)
    several = [option for option in ("selection", "metric") if len(split_list(getattr(options, option))) > 1]
    if len(several) > 1:
        raise InputError("--selection and --metric: one of the two may list several at a time")
    if several and options.candidates:
        raise InputError(f"--candidates: they are those of one rule and one metric; give one --{several[0]}")
    look = Look(options.source or "", options.mark == "means", options.intervals, request.command("run"))
    sheets = [_beside(request, several[0], options, look)] if several else _one_by_one(request, options, look)
    if len(sheets) > 1 and not format.together:
        first = request.targets[0]
        example = f"{first}/TABLE" if first in request.registry.protocol_files else first
        raise InputError(f"--format {options.format} shows one table at a time: {example}")
    print(written(sheets, format, options.width, layout), end="")
    return 0


def check_layout(options: argparse.Namespace, format: Format) -> None:
    """Raise ``InputError`` where text is to be narrower than a table can be, or a format does not hold what it asks."""
    if options.across and not format.sentences:
        raise InputError(f"--across: --format {options.format} has cells alone; claims are told in every other format")
    if options.width is not None and options.width < 20:
        raise InputError(f"--width {options.width}: a table needs at least 20 columns")


def _one_by_one(request: Request, options: argparse.Namespace, look: Look) -> list[Sheet]:
    from bench.sheets.tried import candidates_sheet
    from bench.sheets.view import default_source, sheet_of
    from bench.tables.compare import fill_table
    from bench.tables.results import results_of

    published = any(table.is_published for table in request.plan.tables)
    if options.source and not published:
        raise InputError(f"--source {options.source} is for the tables of papers (see 'bench list tables')")
    check_ours(options, published)
    store = request.store
    with collecting_later():
        results = results_of(request.plan, store)
        tables = tuple(summed_up(fill_table(table, results), options) for table in request.plan.tables)
    say_damaged(store)
    if options.candidates:
        sheets = [candidates_sheet(table, results) for table in tables]
        if not any(sheet.rows for sheet in sheets):
            raise InputError(f"--candidates: {request.target} has no swept values, so every row has one candidate")
        return [sheet for sheet in sheets if sheet.rows]
    typed = next((name for name in ("test", "across", "metric", "margin") if getattr(options, name)), "")
    source = options.source or default_source(tables)
    if typed and source == "published":
        if options.source:
            raise InputError(f"--{typed}: published numbers are shown as printed; it is for --source ours or both")
        source = "both"
    return [sheet_of(table, look, source) for table in tables]


def _beside(request: Request, option: str, options: argparse.Namespace, look: Look) -> Sheet:
    """The same runs under several selection rules, or with several metrics."""
    from bench.sheets.view import beside, by_rule
    from bench.tables.compare import fill

    if option == "selection":
        if typed := next((name for name in ("test", "across", "margin") if getattr(options, name)), ""):
            raise InputError(f"--{typed}: selection rules side by side have no tests; give one rule")
        if look.by_means:
            raise InputError("--mark: selection rules side by side have no marks; give one rule")
        for rule in split_list(options.selection):
            if rule not in SELECTIONS:
                raise InputError(f"--selection: {choose(rule, SELECTIONS, 'selection')}")
    requests = [request.with_overrides(**{option: value}) for value in split_list(getattr(options, option))]
    require_one(requests[0].plan, f"--{option} with several")
    tables: dict[str, Table] = {}
    selector: Metric | None = None
    for each in requests:
        name = each.overrides.selection
        if option == "metric":
            metric = each.overrides.typed_metric(request.registry.metrics)
            assert metric is not None
            metric = next(
                (cell.metric for _, cell in each.plan.tables[0].places() if cell.metric.name == metric.name), metric
            )
            name = metric.heading
            if metric.of_curve and selector is None:
                selector = metric.plain
        (table,) = fill(each.plan, request.store, selector)
        tables[name] = summed_up(table, options)
    return by_rule(tables) if option == "selection" else beside(tables, selector, look)


def runs_command(options: argparse.Namespace) -> int:
    """Print or write one row a run."""
    from bench.tables.frame import write_rows

    request = request_of(options)
    ending = options.output.suffix.removeprefix(".") if options.output else ""
    format = options.format or (ending if ending in ROW_FORMATS else "csv")
    if ending in ROW_FORMATS and format != ending:
        raise InputError(f"--output {options.output}: a .{ending} file does not hold --format {format}")
    if format == "parquet" and options.output is None:
        raise InputError("--format parquet: it is no text; name a file with --output")
    store = request.store
    text = write_rows(request.plan, store, format, options.output, request.registry.metrics)
    say_damaged(store)
    print(text, end="")
    return 0

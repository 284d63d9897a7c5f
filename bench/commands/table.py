"""What the records say: ``table``, ``figure``, ``runs``."""

from __future__ import annotations

import argparse
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.commands import items
from bench.commands.layouts import add_layout, check_ours, layout_of, summed_up, written
from bench.commands.options import add_sheet_format
from bench.commands.request import Request, add_target_command, add_tests, request_of, require_one, say_damaged
from bench.errors import InputError, choose
from bench.metrics import Metric
from bench.reading.syntax import split_list
from bench.records.store import Store
from bench.rules import MARKS, SELECTIONS, SOURCES
from bench.sheets.formats import FORMATS, Format, find_format

if TYPE_CHECKING:
    from bench.sheets.sheet import Sheet
    from bench.sheets.view import Look
    from bench.tables.compare import Entry, Table

KINDS = ("rates", "gaps", "cd")
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
  bench table gta/table2 --format macros       a LaTeX command for each number, to be used in prose
  bench table gta/table2 --source both         with a verdict on each published number
  bench table gta/table2 --margin 0.5          what is no difference to it, in points
  bench table gta/table2 --across these        with a claim over its datasets: on these, or on datasets like-these
"""
FIGURE = """
examples:
  bench figure demo                            RESULTS/figures/demo.png and .pdf
  bench figure demo --output accuracy.pdf
  bench figure demo --kind gaps                how far each method is from the baseline, with intervals
  bench figure lacvit/table1 --kind cd --source published   mean ranks over datasets, with the critical difference
"""
RUNS = """
One row a run: axes, hyper-parameters, settings, metrics on both splits, cost, versions, id.

examples:
  bench runs demo --format csv > demo.csv
  bench runs gta --format parquet --output gta.parquet     (needs pyarrow)
"""


def add(commands: Any) -> None:
    """Add these commands to a parser's."""
    table = add_target_command(commands, "table", table_command, "the table, from the records there are", TABLE)
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
    about = "accuracy against sampling rate, differences to the baseline, or mean ranks over datasets"
    figure = add_target_command(commands, "figure", figure_command, about, FIGURE)
    figure.add_argument(
        "--kind",
        choices=KINDS,
        default="rates",
        metavar="KIND",
        help="rates (default); gaps: the difference of each method to the baseline, with intervals; or cd: a "
        "critical-difference diagram of mean ranks over 6 datasets or more",
    )
    figure.add_argument(
        "--source", choices=SOURCES[:2], metavar="SOURCE", help="of a paper's table: published or ours (default)"
    )
    figure.add_argument("--output", type=Path, metavar="FILE", help="a .png or .pdf file (default: both, in RESULTS)")
    items.add(commands)
    runs = add_target_command(commands, "runs", runs_command, "one row a run, for analysis of your own", RUNS)
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
        raise InputError(f"--format {options.format} shows one table at a time: {request.target}/TABLE")
    print(written(sheets, format, options.width, layout), end="")
    return 0


def check_layout(options: argparse.Namespace, format: Format) -> None:
    """Raise ``InputError`` where text is to be narrower than a table can be, or a format does not hold what it asks."""
    if options.across and not format.sentences:
        raise InputError(f"--across: --format {options.format} has cells alone; claims are told in every other format")
    if options.width is not None and options.width < 20:
        raise InputError(f"--width {options.width}: a table needs at least 20 columns")


def _one_by_one(request: Request, options: argparse.Namespace, look: Look) -> list[Sheet]:
    from bench.sheets.view import candidates_sheet, default_source, sheet_of
    from bench.tables.compare import fill

    published = any(table.is_published for table in request.plan.tables)
    if options.source and not published:
        raise InputError(f"--source {options.source} is for the tables of papers (see 'bench list tables')")
    check_ours(options, published)
    store = request.store
    tables = tuple(summed_up(table, options) for table in fill(request.plan, store))
    say_damaged(store)
    if options.candidates:
        sheets = [candidates_sheet(table) for table in tables]
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
            name = metric.heading
            if metric.of_curve and selector is None:
                selector = metric
        (table,) = fill(each.plan, request.store, selector)
        tables[name] = summed_up(table, options)
    return by_rule(tables) if option == "selection" else beside(tables, selector, look)


def figure_command(options: argparse.Namespace) -> int:
    """Draw the figure."""
    from bench.tables.compare import fill

    if options.output is not None and options.output.suffix not in (".png", ".pdf"):
        raise InputError(f"--output {options.output}: a figure is a .png or a .pdf file")
    request = request_of(options)
    require_one(request.plan, f"--kind {options.kind}")
    if options.source and not request.plan.tables[0].is_published:
        raise InputError(f"--source {options.source} is for the tables of papers (see 'bench list tables')")
    if options.source == "published" and options.kind != "cd":
        raise InputError(
            f"--source published: it is for diagrams (--kind cd); a figure of {options.kind} is of our runs"
        )
    typed = next((name for name in ("metric", "selection", "split") if getattr(options, name)), "")
    if options.source == "published" and typed:
        raise InputError(f"--{typed}: published numbers are drawn as printed; it is for --source ours")
    store = request.store
    (table,) = fill(request.plan, store)
    say_damaged(store)
    draw = {"rates": _draw_rates, "gaps": _draw_gaps, "cd": _draw_diagrams}
    try:
        paths = draw[options.kind](table, request, options, store)
    except ValueError as error:
        raise InputError(f"{request.target}: {error}") from None
    except OSError as error:
        if options.output is None:
            raise  # it names a file of the results
        raise InputError(f"--output {options.output}: {error.strerror}") from None
    print("\n".join(str(path) for path in paths))
    return 0


def _draw_rates(table: Table, request: Request, options: argparse.Namespace, store: Store) -> list[Path]:
    """Draw accuracy against sampling rate."""
    from bench.tables.figure import figure
    from bench.tables.figures import write_figure

    _check_finished(table, request, store)
    if options.output is None:
        store.check_writable()
        return write_figure(table, store.root / "figures", request.plan.variant.replace("/", "-"))
    figure(table, [options.output])
    return [options.output]


def _draw_gaps(table: Table, request: Request, options: argparse.Namespace, store: Store) -> list[Path]:
    """Draw the difference of each method to its baseline."""
    from bench.tables.figures import write_gaps

    _check_finished(table, request, store)
    if options.output is None:
        store.check_writable()
    return write_gaps(table, request.plan.variant.replace("/", "-"), store.root / "figures", options.output)


def _check_finished(table: Table, request: Request, store: Store) -> None:
    if not table.finished:
        raise InputError(
            f"{request.target}: nothing to draw: {store.root} has no finished run of it; "
            f"{request.to_type('run')} trains them"
        )


def _draw_diagrams(table: Table, request: Request, options: argparse.Namespace, store: Store) -> list[Path]:
    """Draw mean ranks over datasets, a diagram for each backbone and rate."""
    from bench.tables.across import by_dataset
    from bench.tables.figures import write_diagrams

    if options.output is None:
        store.check_writable()
    published = options.source == "published"
    values = [[_values(entry, published) for entry in line] for line in table.entries]
    contests = table.plan.contests
    signs = {table.at(contest.places[0]).planned.metric.sign for contest in contests}
    if published:
        signs = {-1 if contest.lower else 1 for contest in contests}
    if len(signs) > 1:
        raise InputError(f"{request.target}: of some columns more is better and of others less; ranks need one metric")
    source = f"-{options.source or 'ours'}" if table.plan.is_published else ""
    name, alpha = f"{request.plan.variant.replace('/', '-')}{source}", table.plan.rules.alpha
    groups = by_dataset(table.plan, values)
    return write_diagrams(groups, name, store.root / "figures", options.output, alpha, lower=signs == {-1})


def _values(entry: Entry, published: bool) -> tuple[float, ...]:
    if not published:
        return (entry.cell.mean,) if entry.n else ()
    number = entry.planned.published
    return () if math.isnan(number) else (number,)


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

"""Tables from somebody's own numbers: ``import``."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import Any

import bench
from bench.cards.folders import typed_path
from bench.commands.layouts import add_layout, layout_of, summed_up, written
from bench.commands.options import add_command, add_plugin, add_sheet_format, say
from bench.commands.table import add_intervals, add_marks, check_layout
from bench.errors import InputError, choose
from bench.plan.table import TableRules
from bench.records.files import write_file
from bench.rules import ACROSS, AUTO, FAMILIES, TESTS
from bench.sheets.formats import FORMATS, Format, find_format, format_of

EXAMPLES = """
A line a seed, with the columns method, dataset, seed, value, and where they vary backbone, rate (percent) and metric:

  method,dataset,rate,seed,value
  cross-entropy,CUB,15,0,41.4
  GTA,CUB,15,0,51.5
  GTA,CUB,15,1,failed
  L2-SP,CUB,15,,41.554

A line without a seed, or with 'yes' in a column 'quoted', is a published number: shown as quoted and never tested.

examples:
  bench import results.csv --baseline cross-entropy
  bench import results.csv --baseline cross-entropy --format latex --output table.tex
  bench import results.csv --baseline cross-entropy --across these
  bench import results.csv --baseline cross-entropy --test permutation
  bench import results.csv --baseline cross-entropy --average --ranks --transpose
  bench import results.csv --format json
"""

MANY = 10_000
"""Values from which a test over datasets takes longer than one waits without a word."""


def add(commands: Any) -> None:
    """Add the command to a parser's."""
    about = "a table, with its tests, from your own numbers in a CSV file"
    parser = add_command(commands, "import", import_command, about, EXAMPLES)
    parser.add_argument("file", metavar="FILE", help="a CSV file, UTF-8")
    parser.add_argument("--baseline", metavar="NAME", help="the method that the others are compared with")
    parser.add_argument("--family", choices=FAMILIES, default="column", help="of Holm's correction (default: column)")
    parser.add_argument(
        "--test",
        choices=TESTS,
        default=AUTO,
        metavar="TEST",
        help="welch (default); pooled or paired where runs of one seed share something on purpose; permutation",
    )
    parser.add_argument("--alpha", type=float, default=0.05, metavar="A", help="level of the tests (default: 0.05)")
    parser.add_argument("--decimals", type=int, metavar="N", help="digits after the point (default: the metric's)")
    parser.add_argument("--title", default="", help="first words of the table (default: the file's name)")
    parser.add_argument("--metric", metavar="NAME", help="the table of one metric of several")
    parser.add_argument(
        "--across", choices=ACROSS, default="", metavar="WHICH", help="compare methods over the datasets too"
    )
    add_marks(parser)
    add_intervals(parser)
    parser.add_argument(
        "--output",
        metavar="FILE",
        help="write it there instead of printing it; .txt, .md, .csv, .json, .html or .tex chooses the format",
    )
    parser.add_argument("--width", type=int, metavar="N", help="columns of the text format (default: the terminal's)")
    add_layout(parser)
    add_sheet_format(parser, FORMATS)
    add_plugin(parser)
    parser.set_defaults(format="")


def import_command(options: argparse.Namespace) -> int:
    """Print or write the table of each metric."""
    options.file = typed_path(options.file)
    options.output = None if options.output is None else typed_path(options.output)
    registry = bench.Registry(options.plugin)
    format = _format(options, registry)
    check_layout(options, format)
    layout = layout_of(options, format)
    _check(options)
    from bench.sheets.view import Look, sheet_of
    from bench.tables.imported import metric_of, read_results, tables

    lines = read_results(options.file, registry.metrics)
    metrics = list(dict.fromkeys(line.metric for line in lines))
    if options.metric is not None:
        named = [metric for metric in metrics if options.metric in (metric, metric_of(metric, registry.metrics).name)]
        if not named:
            raise InputError(f"--metric: {choose(options.metric, metrics, 'metric')}")
        lines = [line for line in lines if line.metric in named]
    elif len(metrics) > 1 and not (format.together and format != FORMATS["csv"]):
        raise InputError(f"--format {options.format} shows one metric at a time: --metric {metrics[0]!r}")
    if options.across == "these" and len(lines) > MANY and sys.stderr.isatty():
        say(f"{len(lines)} values are compared over datasets; that takes a while")
    rules = TableRules(test=options.test, family=options.family, alpha=options.alpha, across=options.across)
    try:
        title = options.title or options.file.stem
        filled = tables(lines, title, options.baseline, rules, options.decimals, registry.metrics)
    except ValueError as error:
        raise InputError(f"{options.file}: {error}") from None
    width = options.width or (100 if options.output else None)
    look = Look(by_means=options.mark == "means", intervals=options.intervals)
    text = written([sheet_of(summed_up(table, options), look) for table in filled], format, width, layout)
    for metric in dict.fromkeys(line.metric for line in lines):
        values = [line.value for line in lines if line.metric == metric and line.value is not None]
        if "%" in metric and values and max(values) <= 1:
            say(f"{options.file}: no {metric} is above 1; are these shares, not percent?")
    methods = list(dict.fromkeys(line.axes["method"] for line in lines))
    if options.baseline is None and len(methods) > 1:
        hint = f"--baseline NAME compares the others with it (there are: {', '.join(methods)})"
        say(f"no method is tested: {hint}")
    if options.output is None:
        print(text, end="")
        return 0
    try:
        write_file(options.output, text)
    except OSError as error:
        raise InputError(f"--output {options.output}: {error.strerror}") from None
    print(options.output)
    return 0


def _format(options: argparse.Namespace, registry: bench.Registry) -> Format:
    """The format that is asked for, or else that of the file to write; ``options.format`` is its name then."""
    asked = find_format(options.format or "text", registry)
    if options.output is not None and asked.file is None:
        options.format = _format_to_file(options.output, options.format)
    options.format = options.format or "text"
    return find_format(options.format, registry)


def _format_to_file(path: Path, asked: str) -> str:
    ending, format = path.suffix.lower(), format_of(path)
    if not format:
        endings = ", ".join(f".{each.suffix}" for each in FORMATS.values() if each.suffix)
        raise InputError(f"--output {path}: name a file that ends in {endings}")
    if asked and not asked.startswith(format):
        raise InputError(f"--output {path}: a {ending} file does not hold --format {asked}")
    return asked or format


def _check(options: argparse.Namespace) -> None:
    """What the table's layout would refuse, said with the option's name."""
    if not 0 < options.alpha < 1:
        raise InputError(f"--alpha {options.alpha}: a level between 0 and 1")
    if options.decimals is not None and not 0 <= options.decimals <= 10:
        raise InputError(f"--decimals {options.decimals}: 0 to 10 digits")
    if options.output is None:
        return
    if os.path.realpath(options.output) == os.path.realpath(options.file):
        raise InputError(f"--output {options.output}: the results themselves lie there")
    if options.output.is_dir():
        raise InputError(f"--output {options.output}: it is a folder; name the file to write")
    if not options.output.parent.is_dir():
        raise InputError(f"--output {options.output}: there is no folder {options.output.parent}")

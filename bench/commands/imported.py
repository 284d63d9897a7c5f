"""Tables from somebody's own numbers: ``import``."""

from __future__ import annotations

import argparse
import os
import re
import shlex
import sys
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import bench
from bench.cards.folders import typed_path
from bench.commands.layouts import add_layout, layout_of, summed_up, written
from bench.commands.options import Parser, add_command, add_plugin, add_sheet_format, print_json, say
from bench.commands.power import POWER, facts_of_needs, print_needs
from bench.commands.table import add_intervals, add_marks, check_layout
from bench.errors import InputError
from bench.figures.style import SUFFIXES
from bench.imports.directions import Directions
from bench.imports.rows import SEPARATORS
from bench.plan.table import TableRules
from bench.reading.syntax import split_list
from bench.records.files import write_file
from bench.rules import ACROSS, AUTO, FAMILIES, MOST_SEEDS, PAIRED, SOURCES, TESTS
from bench.sheets.formats import FORMATS, Format, find_format, format_of

if TYPE_CHECKING:
    from bench.imports.gathered import Imported, Reading
    from bench.sheets.layout import SheetLayout
    from bench.sheets.view import Look
    from bench.tables.compare import Table

SCALES = (1, 100)
DRAWINGS = ("rates", "gaps", "cd")
"""The kinds of figures that are about numbers alone, without records behind them."""

MANY = 10_000
"""Values from which a test over datasets takes longer than one waits without a word."""

UNNAMED = "*"
"""Stands for the only metric of a file, where a direction is said without a name."""

EXAMPLES = """
What may stand in FILE: a row a run, with a column each for method, dataset, seed and value,

  method,dataset,seed,accuracy         or wide:  method,seed,CUB,Cars     or means:  method,CUB,Cars
  GTA,CUB,0,51.5                                 GTA,0,51.5,71.3                     GTA,51.5 ± 0.3,71.3 (0.2)

and where they vary backbone, rate (percent, 16-shot or words), metric, fold, std, n. Common names are known (model,
task, run, config.seed, test/acc/CUB); --columns says others. A cell may be 71.3%, 80.1 ± 0.3, 71,3 between semicolons,
empty or NA (missing), or failed. A row without a seed where others have one, or with 'yes' in a column 'quoted', is a
published number: it is never tested; a method that has runs, too, gets a verdict on it. CSV with any separator, exports
of W&B and MLflow, and JSON records are read as they are.

examples:
  bench import results.csv --baseline Fine-tune --format latex --output table.tex
  bench import runs.csv --columns method=config.name,value=test/acc    a column's role
  bench import wide.csv --columns dataset=CUB,Cars,seed=run            one column a dataset (or metric=acc,nll)
  bench import losses.csv --lower val_wer                              less is better; --higher: more is
  bench import means.csv --n 5                                         each ± is over 5 runs: Welch's test
  bench import cv.csv --folds 10 --baseline SVM                        seeds are folds: the corrected t-test
  bench import runs.csv --duplicates mean                              several values of one seed
  bench import results.csv --baseline ce --across like-these           a claim over the datasets
  bench import results.csv --baseline ce --average --ranks             what sums it up; --transpose turns it
  bench import results.csv --baseline ce --report page.html    a page in which to look at them
  bench import results.csv --figure cd --output ranks.pdf              mean ranks; rates: against the rate
  bench import results.csv --baseline ce --power                       how many seeds the gaps need
"""


def add(commands: Any) -> None:
    """Add the command to a parser's."""
    about = "a table, with its tests, from your own numbers in a CSV or JSON file"
    parser = add_command(commands, "import", import_command, about, EXAMPLES)
    parser.add_argument("file", metavar="FILE", help="CSV with any separator, .json or .jsonl")
    _add_reading(parser)
    parser.add_argument("--baseline", metavar="NAME", help="the method that the others are compared with")
    parser.add_argument("--family", choices=FAMILIES, default="column", help="of Holm's correction (default: column)")
    parser.add_argument(
        "--test",
        choices=TESTS,
        metavar="TEST",
        help="welch (default); pooled or paired where runs of one seed share something on purpose; permutation",
    )
    parser.add_argument("--alpha", type=float, default=0.05, metavar="A", help="level of the tests (default: 0.05)")
    parser.add_argument("--decimals", type=int, metavar="N", help="digits after the point (default: by the spread)")
    parser.add_argument("--title", default="", help="first words of the table (default: the file's name)")
    parser.add_argument("--metric", metavar="NAME", help="the table of one metric of several")
    parser.add_argument(
        "--across", choices=ACROSS, default="", metavar="WHICH", help="compare methods over the datasets too"
    )
    parser.add_argument(
        "--source",
        choices=SOURCES,
        metavar="SOURCE",
        help="where numbers are quoted of methods with runs: published, ours, both (default)",
    )
    add_marks(parser)
    add_intervals(parser)
    parser.add_argument("--figure", choices=DRAWINGS, metavar="KIND", help=f"draw {' or '.join(DRAWINGS)} to --output")
    parser.add_argument("--power", action="store_true", help="the seeds that the gaps need, in place of the table")
    parser.add_argument(
        "--output",
        metavar="FILE",
        help="write it there instead of printing it; .txt, .md, .csv, .json, .html or .tex chooses the format",
    )
    parser.add_argument("--report", metavar="FILE.html", help="a page to look at them, as 'bench report' writes it")
    parser.add_argument("--width", type=int, metavar="N", help="columns of the text format (default: the terminal's)")
    add_layout(parser)
    add_sheet_format(parser, FORMATS)
    add_plugin(parser)
    parser.set_defaults(format="")


def _add_reading(parser: Parser) -> None:
    """The options that say how a file is to be read."""
    parser.add_argument(
        "--columns",
        action="append",
        default=[],
        metavar="ROLE=NAME",
        help="the column of a role, or several of value, dataset or metric; more behind commas",
    )
    parser.add_argument("--separator", metavar="CHAR", help=f"between columns: a character, or {', '.join(SEPARATORS)}")
    for name, which in (("lower", "less"), ("higher", "more")):
        about = f"{which} is better: of the only metric, or of those named"
        parser.add_argument(f"--{name}", nargs="?", const=UNNAMED, metavar="NAMES", help=about)
    parser.add_argument("--scale", type=int, choices=SCALES, help="of values (default: 100 where a share is 0 to 1)")
    parser.add_argument("--n", type=int, metavar="N", help="of how many runs each mean with ± is")
    parser.add_argument("--duplicates", choices=("mean", "first", "last"), help="of several values of one seed")
    parser.add_argument("--folds", type=int, default=0, metavar="K", help="the seeds are folds of a cross-validation")


def import_command(options: argparse.Namespace) -> int:
    """Print or write the table of each metric, a figure, or what its comparisons need."""
    options.file = typed_path(options.file)
    options.output = None if options.output is None else typed_path(options.output)
    options.report = None if options.report is None else typed_path(options.report)
    registry = bench.Registry(options.plugin)
    _check(options)
    format = _format(options, registry)
    check_layout(options, format)
    layout = layout_of(options, format)
    reading = _reading(options)
    from bench.imports.results import read_results
    from bench.tables.imported import Wish, measures_of, tables

    imported = read_results(options.file, reading, registry.metrics)
    measures = measures_of(imported, reading.directions, options.scale, registry.metrics, options.metric)
    is_one = options.figure or options.power or not (format.together and format != FORMATS["csv"])
    if len(measures) > 1 and is_one:
        option = "--figure" if options.figure else "--power" if options.power else f"--format {options.format}"
        raise InputError(f"{option} shows one metric at a time: --metric {measures[0].name!r}")
    count = sum(len(cell.values) for cell in imported.cells)
    if options.across == "these" and count > MANY and sys.stderr.isatty():
        say(f"{count} values are compared over datasets; that takes a while")
    title = options.title or options.file.stem
    averages = not (options.figure == "rates" or options.average or options.ranks)
    wish = Wish(title, options.baseline, _rules(options, imported), options.decimals, averages)
    try:
        filled = tables(imported, measures, wish)
    except ValueError as error:
        raise InputError(f"{options.file}: {error}") from None
    if options.source and not any(entry.verdict for table in filled for _, entry in table.places()):
        raise InputError(f"--source {options.source}: no number is quoted of a method that has runs, too")
    for remark in imported.remarks:
        say(f"{options.file}: {remark}")
    for measure in measures:
        if measure.remark:
            say(f"{options.file}: {measure.name}: {measure.remark} --scale 1 leaves them as they are.")
    if options.power:
        return _power(options, filled)
    if options.figure:
        return _figure(options, filled[0])
    _hint_at_baseline(options, imported)
    if options.report:
        return _report(options, filled)
    return _write(options, filled, format, layout)


def _reading(options: argparse.Namespace) -> Reading:
    """How the file is to be read."""
    from bench.imports.columns import read_roles
    from bench.imports.gathered import Reading

    separator = SEPARATORS.get(options.separator, (options.separator or "").replace("\\t", "\t"))
    if len(separator) > 1 or separator in ('"', "\n", "\r") or (options.separator is not None and not separator):
        raise InputError(f"--separator: one character, or {', '.join(SEPARATORS)}; not '{options.separator}'")
    lower, higher = (split_list(options.lower or ""), split_list(options.higher or ""))
    both = {name.lower() for name in lower} & {name.lower() for name in higher}
    if both or (options.lower and options.higher and UNNAMED in (options.lower, options.higher)):
        raise InputError("--lower and --higher: a metric goes one way; name those of each")
    directions = Directions(
        tuple(name for name in lower if name != UNNAMED),
        tuple(name for name in higher if name != UNNAMED),
        options.lower == UNNAMED,
        options.higher == UNNAMED,
    )
    roles = read_roles(options.columns)
    return Reading(roles, separator, options.n, options.duplicates or "", options.folds, directions)


def _rules(options: argparse.Namespace, imported: Imported) -> TableRules:
    """The rules of the tables. Raises ``InputError`` where the file has not what a test takes."""
    if imported.folds and options.test in ("welch", "permutation"):
        raise InputError(
            f"--test {options.test}: folds share their training images; the corrected t-test allows for it"
        )
    if imported.folds and options.across == "these":
        raise InputError("--across these: folds share their training images and are no runs of their own; like-these")
    if imported.folds and options.power:
        raise InputError(
            "--power: folds of one cross-validation are no runs of their own, so that more cannot be planned"
        )
    if options.test in PAIRED and not imported.has_seeds:
        raise InputError(f"--test {options.test}: the file does not say which runs are pairs; --columns seed=NAME")
    test = "paired" if imported.folds else options.test or AUTO
    return TableRules(
        test=test, family=options.family, alpha=options.alpha, across=options.across, folds=imported.folds
    )


def _hint_at_baseline(options: argparse.Namespace, imported: Imported) -> None:
    methods = list(dict.fromkeys(cell.axes["method"] for cell in imported.cells))
    if options.baseline is None and len(methods) > 1:
        names = ", ".join(methods[:6]) + f", ... {len(methods)} in all" * (len(methods) > 6)
        say(f"no method is tested: --baseline NAME compares the others with it (there are: {names})")


def _write(options: argparse.Namespace, filled: Sequence[Table], format: Format, layout: SheetLayout) -> int:
    """Print or write the tables."""
    from bench.sheets.view import sheet_of

    width, look = options.width or (100 if options.output else None), _look(options)
    text = written([sheet_of(summed_up(table, options), look) for table in filled], format, width, layout)
    if options.output is None:
        print(text, end="")
        return 0
    return _write_file(options.output, text, "--output")


def _report(options: argparse.Namespace, filled: Sequence[Table]) -> int:
    """Write a page of the tables."""
    from bench.report.imported import imported_page
    from bench.report.page import write_page

    typed = sys.argv[1:]
    table = shlex.join(("bench", *without_option(typed, "--report")))
    pages = [summed_up(each, options) for each in filled]
    head, parts = imported_page(pages, _look(options), table, shlex.join(("bench", *typed)))
    return _write_file(options.report, "".join(write_page(head, parts)), "--report")


def without_option(words: Sequence[str], option: str) -> list[str]:
    """What was typed without an option and its value, which stands behind it or after an equals sign."""
    return [
        word
        for previous, word in pairwise(["", *words])
        if option not in (word, previous) and not word.startswith(f"{option}=")
    ]


def _look(options: argparse.Namespace) -> Look:
    from bench.sheets.view import Look

    return Look(options.source or "", by_means=options.mark == "means", intervals=options.intervals)


def _write_file(path: Path, text: str, option: str) -> int:
    try:
        write_file(path, text)
    except OSError as error:
        raise InputError(f"{option} {path}: {error.strerror}") from None
    print(path)
    return 0


def _power(options: argparse.Namespace, filled: Sequence[Table]) -> int:
    """Print how many seeds each comparison needs."""
    from bench.tables.power import contrasts_of, weigh

    contrasts = [*contrasts_of(filled)]
    if not contrasts:
        raise InputError(f"{options.file}: no comparison with {options.baseline} has numbers on both sides")
    rules = filled[0].plan.rules
    needs = weigh(contrasts, rules.alpha, POWER)
    if options.format == "json":
        head = {"target": str(options.file), "test": rules.test, "alpha": rules.alpha, "power": POWER}
        print_json({**head, "comparisons": facts_of_needs(needs, rules.test)})
    else:
        print_needs(needs, rules, POWER)
    return 0


def _figure(options: argparse.Namespace, table: Table) -> int:
    """Draw a figure of a table; a file of its own for each diagram where there are several."""
    from bench.figures.figure import save_sketch, sketches_of
    from bench.figures.scene import Scene

    if options.figure == "cd" and not any("dataset" in cell.axes for _, cell in table.plan.places()):
        raise InputError("--figure cd: ranks are over datasets, and no column is one; --columns dataset=NAME")
    sketches = sketches_of(options.figure, Scene(str(options.file), table))
    for sketch in sketches:
        label = re.sub(r"[^\w.]+", "-", "-".join(sketch.part)).strip("-")
        path = options.output.with_stem(f"{options.output.stem}-{label}") if len(sketches) > 1 else options.output
        try:
            remark = save_sketch(sketch, [path], str(options.file))
        except OSError as error:
            raise InputError(f"--output {options.output}: {error.strerror}") from None
        print(path)
        if remark:
            say(remark)
    return 0


def _format(options: argparse.Namespace, registry: bench.Registry) -> Format:
    """The format that is asked for, or else that of the file to write; ``options.format`` is its name then."""
    asked = find_format(options.format or "text", registry)
    if options.output is not None and asked.file is None and not options.figure:
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
    if options.n is not None and not 1 <= options.n <= MOST_SEEDS:
        raise InputError(f"--n {options.n}: of how many runs a mean is, 1 to {MOST_SEEDS:,}")
    if options.folds and not 2 <= options.folds <= MOST_SEEDS:
        raise InputError(f"--folds {options.folds}: a cross-validation has 2 folds or more")
    if options.power and not options.baseline:
        raise InputError("--power: nothing is compared; --baseline NAME")
    _check_instead(options)
    if options.output is None:
        return
    if os.path.realpath(options.output) == os.path.realpath(options.file):
        raise InputError(f"--output {options.output}: the results themselves lie there")
    if options.output.is_dir():
        raise InputError(f"--output {options.output}: it is a folder; name the file to write")
    if not options.output.parent.is_dir():
        raise InputError(f"--output {options.output}: there is no folder {options.output.parent}")


def _check_instead(options: argparse.Namespace) -> None:
    """What does not go with a page, a figure or ``--power``, which stand in the place of the table."""
    if options.report and (options.power or options.figure or options.output or options.format):
        raise InputError(f"--report {options.report}: the page has the table in every form; leave the rest away")
    if options.report and (options.report.suffix not in (".html", ".htm") or not options.report.parent.is_dir()):
        raise InputError(f"--report {options.report}: name an .html file in a folder that is there")
    if options.power and (options.figure or options.output or options.format not in ("", "text", "json")):
        raise InputError("--power: it is printed, as text or json, in the place of a table or figure")
    if options.figure and (options.output is None or options.output.suffix not in SUFFIXES):
        raise InputError(f"--figure {options.figure}: --output FILE names a .png, .pdf or .svg file")
    if options.figure and options.format:
        raise InputError(f"--format {options.format}: a figure is drawn to --output; leave the format away")
    if options.across and (options.figure or options.power):
        raise InputError(f"--across {options.across}: its claims stand below a table; leave --figure and --power away")

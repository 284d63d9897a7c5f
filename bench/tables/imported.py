"""Tables from somebody's own numbers: a CSV file with one line a seed becomes the cells of the usual tables.

Columns, in any order: ``method``, ``dataset``, ``seed``, ``value``; and where they vary ``backbone``, ``rate`` (percent
of the training images) and ``metric``. A value is a number, or ``failed`` or ``diverged`` for a seed that gave none. A
line without a seed, or with ``yes`` in a column ``quoted``, is a published number: shown as quoted and never tested.
"""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from bench.errors import InputError, Problems, choose
from bench.metrics import METRICS, Metric, seconds_to
from bench.papers.published import Printed
from bench.plan.grid import METHOD, lay_out
from bench.plan.table import PlannedCell, TablePlan, TableRules
from bench.spec import percent
from bench.tables.cells import Cell
from bench.tables.compare import Table, compare

MOST_BYTES = 100_000_000
"""Of a results file: a million lines take less."""

PLAIN = TableRules()

REQUIRED = ("method", "dataset", "seed", "value")
OPTIONAL = ("backbone", "rate", "metric", "quoted")
METRIC = "top-1 (%)"
QUOTED = " (quoted)"
FAILED = ("failed", "diverged")
YES, NO = ("yes", "true", "1"), ("", "no", "false", "0")
MOST_PROBLEMS = 20

_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?")
_SHARE = re.compile(r"%|\b(top-?\d|acc(uracy)?|acc@\d|mean[ -]per[ -]class|miou|map|f1)\b", re.IGNORECASE)
_LOWER = re.compile(r"\b(loss|errors?|nll|ece|mse|mae|rmse|fid|perplexity)\b", re.IGNORECASE)
_AXES = ("dataset", "backbone", "rate", METHOD)


@dataclass(frozen=True)
class Line:
    """A line of the file, read and checked; ``seed`` is None for a quoted number, ``value`` for a failed seed."""

    place: str
    metric: str
    axes: Mapping[str, str]
    seed: int | None
    value: float | None


def read_results(path: Path, metrics: Mapping[str, Metric] = METRICS) -> list[Line]:
    """The lines of a file, with metrics of any name; of those in ``metrics`` it is known whether less is better.

    Raises:
        InputError: the file cannot be read, or all that is wrong with it, each with its line.
    """
    problems, lines = Problems(), list[Line]()
    seen: dict[tuple[object, ...], str] = {}
    for place, record in _records(path, problems):
        if (line := _line(place, record, problems, metrics)) is None:
            continue
        key = (line.metric, *line.axes.items(), line.seed)
        if key in seen:
            what = "quoted number" if line.seed is None else f"seed {line.seed}"
            where = ", ".join(line.axes.values())
            problems.add(f"{place}: a second value of {where}, {what}; the first is in line {seen[key]}")
        seen.setdefault(key, place.rpartition(":")[2])
        lines.append(line)
    more = len(problems.found) - MOST_PROBLEMS
    if more > 0:
        problems.found[MOST_PROBLEMS:] = [f"{path}: and {more} more problem{'s' * (more > 1)} of the kind"]
    problems.stop()
    if not lines:
        raise InputError(f"{path}:1: there are no results below the header")
    return lines


def tables(
    lines: Sequence[Line],
    title: str,
    baseline: str | None = None,
    rules: TableRules = PLAIN,
    decimals: int | None = None,
    metrics: Mapping[str, Metric] = METRICS,
) -> list[Table]:
    """One table a metric, in the order of the file, with the comparisons of every table of the suite.

    Where no rate varies, the datasets are the columns; otherwise the rates are. Seeds that another cell of the metric
    has and a cell lacks count as planned, so that incomplete cells are marked. Decimals are the metric's by default.

    Raises:
        InputError: no line of a metric has a seed, or the baseline is none of its methods, or only a quoted one.
        ValueError: there are too many seeds for the exact test.
    """
    by_metric: dict[str, list[Line]] = {}
    for line in lines:
        by_metric.setdefault(line.metric, []).append(line)
    for name, of_metric in by_metric.items():
        _check_baseline(of_metric, name, baseline)
    filled = []
    for name, of_metric in by_metric.items():
        metric = metric_of(name, metrics)
        shown_decimals = metric.decimals if decimals is None else decimals
        filled.append(_table(of_metric, title, baseline, rules, metric, shown_decimals))
    return filled


def _check_baseline(lines: Sequence[Line], metric: str, baseline: str | None) -> None:
    methods = {line.axes[METHOD] for line in lines if line.seed is not None}
    if not methods:
        raise InputError(f"{metric}: every number is quoted; a table needs results with seeds")
    if baseline is None or baseline in methods:
        return
    if baseline in {line.axes[METHOD] for line in lines}:
        raise InputError(f"--baseline {baseline}: it is only quoted, and a quoted number is never tested")
    raise InputError("--baseline: " + choose(baseline, methods, METHOD))


def _table(
    lines: Sequence[Line], title: str, baseline: str | None, rules: TableRules, metric: Metric, decimals: int
) -> Table:
    axes = [axis for axis in _AXES if axis in lines[0].axes]
    columns = "rate" if len({line.axes.get("rate") for line in lines}) > 1 else "dataset"
    seeds = len({line.seed for line in lines if line.seed is not None})
    groups = _grouped(lines)
    planned = [_planned(group[0], metric, decimals) for group in groups.values()]
    loose = TablePlan(
        name=title,
        title=title,
        measured=metric.heading,
        stub=tuple(axis for axis in axes if axis != columns),
        rows=(),
        columns=((columns,),),
        cells=(tuple(planned),),
        baseline=baseline or "",
        rules=rules,
    )
    labels = {axis: tuple(dict.fromkeys(cell.axes[axis] for cell in planned)) for axis in axes}
    plan = lay_out(loose, labels)
    cells = [[_cell(groups.get(tuple(cell.axes.items()), []), seeds) for cell in line] for line in plan.cells]
    return compare(plan, cells)


def metric_of(name: str, metrics: Mapping[str, Metric] = METRICS) -> Metric:
    """The metric of that name or title, or one that only has this name; more is better then."""
    for metric in metrics.values():
        if name.lower() in (metric.name.lower(), metric.title.lower(), metric.heading.lower()):
            return replace(metric, title=name, unit="")
    if time := seconds_to(name):
        return replace(time, title=name, unit="")
    slug = re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")
    return Metric(f"metric_{slug}", title=name, unit="", of_run=lambda _: math.nan)


def _grouped(lines: Sequence[Line]) -> dict[tuple[tuple[str, str], ...], list[Line]]:
    """The lines of each cell by its axes; quoted numbers are a method of their own."""
    groups: dict[tuple[tuple[str, str], ...], list[Line]] = {}
    for line in lines:
        if line.seed is None:
            line = replace(line, axes={**line.axes, METHOD: line.axes[METHOD] + QUOTED})
        groups.setdefault(tuple(line.axes.items()), []).append(line)
    return groups


def _planned(line: Line, metric: Metric, decimals: int) -> PlannedCell:
    quoted = line.seed is None
    printed = Printed(repr(line.value)) if quoted else None
    return PlannedCell(
        line.axes, name=line.axes[METHOD], metric=metric, decimals=decimals, printed=printed, quoted=quoted
    )


def _cell(lines: Sequence[Line], planned: int) -> Cell:
    if not lines or lines[0].seed is None:
        return Cell()
    values = {line.seed: line.value for line in lines if line.seed is not None and line.value is not None}
    seeds = tuple(sorted(values))
    return Cell(tuple(values[seed] for seed in seeds), seeds, planned, failed=len(lines) - len(seeds))


def _records(path: Path, problems: Problems) -> Iterator[tuple[str, dict[str, str]]]:
    """The lines below the header as ``FILE:LINE`` and field by column; empty lines are left out."""
    reader = csv.reader(io.StringIO(_text(path), newline=""), strict=True)
    try:
        header = [name.strip().lower() for name in next(reader)]
        _check_header(header, path)
        start = reader.line_num + 1
        for fields in reader:
            place, start = f"{path}:{start}", reader.line_num + 1
            if not any(field.strip() for field in fields):
                continue
            if len(fields) != len(header):
                problems.add(f"{place}: {len(fields)} fields for the {len(header)} columns {', '.join(header)}")
                continue
            yield place, dict(zip(header, map(str.strip, fields), strict=True))
    except csv.Error as error:
        raise InputError(f"{path}:{reader.line_num}: it is not CSV: {error}") from None


def _text(path: Path) -> str:
    try:
        if path.exists() and not path.is_file():
            raise InputError(f"{path}: it is not an ordinary file")
        with path.open("rb") as file:
            content = file.read(MOST_BYTES + 1)
    except OSError as error:
        raise InputError(f"{path}: it cannot be read: {error.strerror}") from None
    if len(content) > MOST_BYTES:
        raise InputError(f"{path}: more than {MOST_BYTES // 10**6} MB; divide it by backbone or dataset")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise InputError(
            f"{path}:{line}: it is not UTF-8 (byte {content[error.start]:#04x}); save it as UTF-8"
        ) from None
    if not text.strip():
        raise InputError(f"{path}:1: the file is empty; it needs a header with {', '.join(REQUIRED)}")
    return text


def _check_header(header: Sequence[str], path: Path) -> None:
    if len(header) == 1 and any(mark in header[0] for mark in ";\t"):
        raise InputError(f"{path}:1: columns are separated by commas")
    problems = Problems()
    for name in header:
        if name not in (*REQUIRED, *OPTIONAL):
            problems.add(f"{path}:1: {choose(name, (*REQUIRED, *OPTIONAL), 'column')}")
    lacking = [name for name in REQUIRED if name not in header]
    if lacking and not problems.found:  # else it is probably the one that is misspelt
        problems.add(f"{path}:1: there is no column {', '.join(lacking)}; needed are {', '.join(REQUIRED)}")
    if twice := [name for name in dict.fromkeys(header) if header.count(name) > 1]:
        problems.add(f"{path}:1: a column stands there twice: {', '.join(twice)}")
    problems.stop()


def _line(place: str, record: Mapping[str, str], problems: Problems, metrics: Mapping[str, Metric]) -> Line | None:
    """A line, or None where something is wrong with it, which is then among the problems."""
    count = len(problems.found)
    axes = {axis: record[axis] for axis in _AXES if axis in record}
    metric = record.get("metric", METRIC)
    for name, text in (*axes.items(), ("metric", metric)):
        if not text:
            problems.add(f"{place}: {name} is empty")
    if (lower := _LOWER.search(metric)) and not metric_of(metric, metrics).lower:
        lowest = ", ".join(each.name for each in metrics.values() if each.lower and each.of_curve)
        problems.add(
            f"{place}: metric '{metric}': of {lower[0]} less is better, which is known of {lowest}; "
            "--plugin FOLDER with a metrics/NAME.py says it of another one"
        )
    if axes.get("rate"):
        axes["rate"] = _rate(axes["rate"], place, problems)
    seed = _seed(record, place, problems)
    value = _value(record["value"], metric, place, problems)
    if value is None and seed is None and len(problems.found) == count:
        problems.add(f"{place}: a quoted number cannot have failed")
    return None if len(problems.found) > count else Line(place, metric, axes, seed, value)


def _seed(record: Mapping[str, str], place: str, problems: Problems) -> int | None:
    text, quoted = record["seed"], record.get("quoted", "").lower()
    if quoted not in (*YES, *NO):
        problems.add(f"{place}: quoted is yes or no, not '{record['quoted']}'")
    if text and quoted in YES:
        problems.add(f"{place}: a quoted number has no seed; it has '{text}'")
    if not text and quoted in NO[1:]:
        problems.add(f"{place}: seed is empty, and quoted is {quoted}")
    if text and not re.fullmatch(r"\d{1,18}", text, re.ASCII):
        problems.add(f"{place}: seed must be a whole number, 0 or more; it is '{text}'")
        return None
    return int(text) if text else None


def _value(text: str, metric: str, place: str, problems: Problems) -> float | None:
    """The number; None for a seed that failed."""
    if text.lower() in FAILED:
        return None
    value = _number(text)
    if math.isnan(value):
        problems.add(f"{place}: value must be a finite number, or {' or '.join(FAILED)}; it is '{text}'")
    elif _SHARE.search(metric) and not 0 <= value <= 100:
        problems.add(f"{place}: {metric} is 0 to 100; value is {text}")
    return value


def _rate(text: str, place: str, problems: Problems) -> str:
    value = _number(text.removesuffix("%").rstrip())
    if not 0 < value <= 100:
        problems.add(f"{place}: rate is a percentage above 0 and up to 100; it is '{text}'")
        return text
    return percent(value)


def _number(text: str) -> float:
    """A finite number in plain notation; nan for anything else."""
    value = float(text) if _NUMBER.fullmatch(text) and text.isascii() else math.nan
    return value if math.isfinite(value) else math.nan

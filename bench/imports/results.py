"""The values of each cell that a file of results has: its runs by seed, a mean with its ±, or a published number."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from difflib import get_close_matches
from functools import partial
from operator import itemgetter
from pathlib import Path

from bench.errors import InputError, Problems
from bench.imports.columns import NAMES, Columns, ValueColumn, choose_columns
from bench.imports.directions import DEFAULT
from bench.imports.gathered import AXES, Gathered, Imported, Mean, Reading, Seed
from bench.imports.numbers import Number, has_failed, is_missing, read_number
from bench.imports.rates import rate_labels
from bench.imports.rows import Rows, read_rows
from bench.imports.runs import WHOLE, folds_of, numbered, say_unseeded, settle_repeats
from bench.metrics import METRICS, Metric

MOST_PROBLEMS = 20
LIKELY = 20.0
"""An accuracy in percent that a whole file of them is above somewhere."""
YES, NO = ("yes", "true", "1"), ("", "no", "false", "0")

_FAST = re.compile(r"-?\d+(?:\.\d+)?", re.ASCII)
_ENDED = ("failed", "crashed", "killed")
_GOING = ("running", "scheduled", "pending", "preempted", "preempting")


def read_results(path: Path, reading: Reading | None = None, metrics: Mapping[str, Metric] = METRICS) -> Imported:
    """A file of results with the values of each cell.

    Raises:
        InputError: the file cannot be read, a column is not clear, or all that is wrong with it, each with its line.
    """
    reading = reading or Reading()
    rows = read_rows(path, reading.separator)
    columns = choose_columns(rows, reading.columns, metrics, reading.directions)
    gatherer = _Gatherer(rows, columns, reading)
    gatherer.gather()
    gatherer.stop()
    cells = [*gatherer.cells.values()]
    has_seeds = bool({"seed", "fold"} & columns.roles.keys()) or any(each.seed or each.fold for each in columns.values)
    number, remark = numbered(cells) if has_seeds else ({}, "")
    remarks = [*_ignored(columns), *_unnamed(gatherer), *gatherer.remarks(), *filter(None, [remark])]
    remarks += settle_repeats(rows, columns, cells, reading) if has_seeds else say_unseeded(rows, columns, cells)
    if any(cell.stated and cell.stated.n is None and cell.stated.number.std for cell in cells):
        remarks.append("of how many runs a ± is, no column says, so that it is not tested; --n N says it")
    folds = folds_of(rows, columns, reading)
    return Imported(
        rows, tuple(cells), has_seeds, folds, frozenset(gatherer.percent), columns.lower, tuple(remarks), number
    )


class _Gatherer:
    """Goes through the rows once and sorts what each says into its cell."""

    def __init__(self, rows: Rows, columns: Columns, reading: Reading) -> None:
        self.rows, self.columns, self.reading, self.roles = rows, columns, reading, columns.roles
        self.problems, self.cells = Problems(), dict[tuple[str, ...], Gathered]()
        self.percent: set[str] = set()
        self.has_unused_std = False
        self.missing, self.crashed, self.going = list[int](), list[int](), list[int]()
        self.seedless = list[int]()
        self.axes = [axis for axis in AXES if axis in self.roles]
        self.rates: Mapping[str, str] = {}
        if "rate" in self.roles:
            at = self.roles["rate"]
            self.rates = rate_labels(rows.header[at], {row[at].strip() for row in rows.fields}, rows.commas)
        self.states = {*_ENDED, *_GOING} if "state" in self.roles else ()
        self.seeded = [self.roles[role] for role in ("seed", "fold") if role in self.roles]
        self.is_summed = "std" in self.roles or "n" in self.roles

    def gather(self) -> None:
        """Sort every value into its cell: plain ones of runs at once, as there may be a million, others with care."""
        labels = [self.roles[axis] for axis in self.axes]
        at = [*labels, *([self.roles["metric"]] if "metric" in self.roles else [])]
        pick = itemgetter(*at) if len(at) > 1 else partial(_texts, at)
        pick_seed = partial(_seeds, self.seeded)
        is_plain = not (self.is_summed or self.states or "quoted" in self.roles)
        for column in self.columns.values:
            by_key: dict[tuple[str, ...], Gathered | None] = {}
            is_fast = is_plain and column.std is None
            if column.seed or column.fold:
                pick_seed = partial(_same, (column.seed or column.fold,))
            for row, fields in enumerate(self.rows.fields):
                key = pick(fields)
                cell = by_key.get(key)
                if cell is None:
                    cell = by_key[key] = self._cell(row, key, column)
                    if cell is None:
                        continue
                seed, text = pick_seed(fields), fields[column.at]
                if is_fast and all(seed) and _FAST.fullmatch(text):
                    cell.seeds.append(seed)
                    cell.values.append(float(text))
                    cell.rows.append(row)
                else:
                    self._add(cell, row, fields, seed, column)

    def stop(self) -> None:
        """Raise ``InputError`` where anything is wrong, with the first problems of many."""
        more = len(self.problems.found) - MOST_PROBLEMS + 1
        if more > 1:
            kind = f"{self.rows.path}: and {more} more problems of the kind"
            self.problems.found[MOST_PROBLEMS - 1 :] = [kind]
        self.problems.stop()

    def remarks(self) -> Iterator[str]:
        """What was missing, what trackers say of runs, and what was not used."""
        if self.missing:
            yield f"{_count(self.missing, 'value')} missing ({_places(self.rows, self.missing)})"
        if self.crashed:
            places = _places(self.rows, self.crashed)
            yield f"{_count(self.crashed, 'run')} marked as failed with a value, which counts ({places})"
        if self.going:
            yield f"{_count(self.going, 'run')} not finished, and left out ({_places(self.rows, self.going)})"
        if self.seedless:
            places = _places(self.rows, self.seedless)
            yield f"{_count(self.seedless, 'row')} without a seed, and taken for published ({places})"
        if self.has_unused_std:
            yield "a deviation beside a single run is not used"

    def _cell(self, row: int, key: tuple[str, ...], column: ValueColumn) -> Gathered | None:
        """The cell of a key, which may be written with blanks around its labels; None where a label is empty."""
        labels = [text.strip() for text in key]
        axes = dict(zip(self.axes, labels, strict=False))
        metric = labels[-1] if "metric" in self.roles else column.metric or DEFAULT
        place = self.rows.place(row)
        for name, text in (*axes.items(), ("metric", metric)):
            if not text:
                self.problems.add(f"{place}: {name} is empty")
        if axes.get("rate"):
            label = self.rates[axes["rate"]]
            if not label:
                self.problems.add(
                    f"{place}: rate is a percentage above 0 and up to 100, or words; it is '{axes['rate']}'"
                )
            axes["rate"] = label
        if column.dataset:
            axes = {"dataset": column.dataset, **axes}
        if column.method:
            axes["method"] = column.method
        if not all(axes.values()) or not metric:
            return None
        return self.cells.setdefault((metric, *axes.values()), Gathered(metric, axes, column.is_average))

    def _add(self, cell: Gathered, row: int, fields: Sequence[str], seed: Seed, column: ValueColumn) -> None:
        """Sort one value into its cell, or note what is wrong with it."""
        place, text = self.rows.place(row), fields[column.at].strip()
        is_quoted = self._is_quoted(place, fields, seed)
        state = fields[self.roles["state"]].strip().lower() if self.states else ""
        if state in _GOING:
            self.going += [] if row in self.going[-1:] else [row]
            return
        if has_failed(text) or (is_missing(text) and state in _ENDED):
            if is_quoted:
                self.problems.add(f"{place}: a quoted number cannot have failed")
            cell.failed.append(seed)
        elif is_missing(text):
            self.missing.append(row)
            if not is_quoted:
                cell.missing.append(seed)
        elif (number := read_number(text, self.rows.commas)) is None:
            self.problems.add(f"{place}: value must be a finite number, or failed or diverged; it is '{text}'")
        else:
            if number.is_percent:
                self.percent.add(cell.metric)
            if state in _ENDED:
                self.crashed += [] if row in self.crashed[-1:] else [row]
            if is_quoted and "quoted" not in self.roles:
                self.seedless += [] if row in self.seedless[-1:] else [row]
            self._add_number(cell, row, fields, seed, column, number, is_quoted)

    def _add_number(
        self,
        cell: Gathered,
        row: int,
        fields: Sequence[str],
        seed: Seed,
        column: ValueColumn,
        number: Number,
        is_quoted: bool,
    ) -> None:
        place = self.rows.place(row)
        number = self._with_std(number, place, fields, column)
        is_mean = bool(number.std) or (self.is_summed and not any(seed))
        if not is_quoted and not (is_mean and not any(seed)):
            if number.std and column.std is None and "std" not in self.roles:
                text = fields[column.at].strip()
                self.problems.add(f"{place}: a run has one number, not '{text}'; leave the seed of a mean empty")
            self.has_unused_std = self.has_unused_std or bool(number.std)
            cell.seeds.append(seed)
            cell.values.append(number.value)
            cell.rows.append(row)
            return
        mean = Mean(number, self._n(place, fields), row)
        earlier = cell.quoted if is_quoted else cell.stated
        if earlier is not None:
            what = "quoted number" if is_quoted else "mean"
            where = ", ".join(cell.axes.values())
            line = self.rows.place(earlier.row).rpartition(self.rows.word)[2]
            self.problems.add(f"{place}: a second value of {where}, {what}; the first is in line {line}")
        if is_quoted:
            cell.quoted = mean
        else:
            cell.stated = mean
        if cell.stated and cell.values:
            self.problems.add(f"{place}: {', '.join(cell.axes.values())} has single runs, and here their mean")

    def _with_std(self, number: Number, place: str, fields: Sequence[str], column: ValueColumn) -> Number:
        at = self.roles.get("std") if column.std is None else column.std
        text = "" if at is None else fields[at].strip().lstrip("±").strip()
        if is_missing(text):
            return number
        std = read_number(text, self.rows.commas)
        if std is None or std.std or std.value < 0:
            self.problems.add(f"{place}: a deviation is a number, 0 or more; it is '{text}'")
            return number
        return Number(number.digits, std.digits, number.is_percent)

    def _n(self, place: str, fields: Sequence[str]) -> int | None:
        text = fields[self.roles["n"]].strip() if "n" in self.roles else ""
        if is_missing(text):
            return self.reading.n
        whole = WHOLE.fullmatch(text)
        if whole is None or int(whole[1]) < 1:
            self.problems.add(f"{place}: n is how many runs a mean is of, 1 or more; it is '{text}'")
            return None
        return int(whole[1])

    def _is_quoted(self, place: str, fields: Sequence[str], seed: Seed) -> bool:
        text = fields[self.roles["quoted"]].strip() if "quoted" in self.roles else ""
        quoted, is_seedless = text.lower(), bool(self.seeded) and not any(seed)
        if quoted not in (*YES, *NO):
            self.problems.add(f"{place}: quoted is yes or no, not '{text}'")
        if any(seed) and quoted in YES:
            self.problems.add(f"{place}: a quoted number has no seed; it has '{' '.join(seed)}'")
        if is_seedless and quoted in NO[1:]:
            self.problems.add(f"{place}: seed is empty, and quoted is {quoted}")
        elif is_seedless and self.states and quoted not in YES:
            self.problems.add(f"{place}: seed is empty; a run of a tracker has one")
        elif not is_seedless and self.seeded and not all(seed):
            self.problems.add(f"{place}: seed or fold is empty")
        return quoted in YES or is_seedless


def _same(seed: Seed, _: Sequence[str]) -> Seed:
    return seed


def _texts(places: Sequence[int], fields: Sequence[str]) -> Seed:
    return tuple([fields[at].strip() for at in places])


def _seeds(places: Sequence[int], fields: Sequence[str]) -> Seed:
    """As ``_texts``; a whole number is the same seed however it is written: 0, 0.0 and 00."""
    return tuple([str(int(whole[1])) if (whole := WHOLE.fullmatch(text)) else text for text in _texts(places, fields)])


def _ignored(columns: Columns) -> Iterator[str]:
    if columns.ignored:
        more = len(columns.ignored) - 8
        names = ", ".join(columns.ignored[:8]) + (f" and {more} more" if more > 0 else "")
        yield f"columns that are not used: {names}"
    lacking = [role for role in NAMES if role not in columns.roles]
    for name in columns.ignored:
        if near := get_close_matches(name.lower(), lacking, 1, cutoff=0.8):
            yield f"column '{name}' is not used; if it is the {near[0]}: --columns {near[0]}={name}"


def _unnamed(gatherer: _Gatherer) -> Iterator[str]:
    """What is said of a file that names no metric, and does not call its numbers values.

    Raises ``InputError`` where the numbers do not look like accuracies either: these are above ``LIKELY`` somewhere.
    """
    rows, columns, directions = gatherer.rows, gatherer.columns, gatherer.reading.directions
    unnamed = [column for column in columns.values if not column.metric]
    is_named = directions.of_all or directions.names or "metric" in columns.roles
    if is_named or all(rows.header[column.at].lower() == "value" for column in unnamed):
        return
    cells = gatherer.cells.values()
    means = [mean.number.value for cell in cells for mean in (cell.stated, cell.quoted) if mean]
    largest = max([*means, *(value for cell in cells for value in cell.values)], default=math.inf)
    if largest <= LIKELY and not gatherer.percent:
        raise InputError(
            f"{rows.path}: no metric is named, and no value is above {LIKELY:g}: --higher accuracy, if they are that, "
            "or --higher NAME or --lower NAME"
        )
    yield f"no metric is named: it is taken for {DEFAULT}; --lower NAME or --higher NAME names another one"


def _count(rows: Sequence[int], what: str) -> str:
    return f"{len(rows)} {what}{'s are' if len(rows) > 1 else ' is'}"


def _places(rows: Rows, places: Sequence[int]) -> str:
    lines = list(dict.fromkeys(rows.place(row).rpartition(rows.word)[2] for row in places[:50]))
    what = "line" if rows.word == ":" else "record"
    shown_lines = ", ".join(lines[:4]) + ", ..." * (len(lines) > 4 or len(places) > 50)
    return f"{what}{'s' * (len(lines) > 1)} {shown_lines}"

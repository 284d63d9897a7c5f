"""Which run each value of a file is of: seeds as numbers, folds, and several values of one run."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import combinations

from bench.errors import InputError
from bench.imports.columns import Columns
from bench.imports.gathered import Gathered, Reading, Seed
from bench.imports.numbers import read_number
from bench.imports.rows import Rows

WHOLE = re.compile(r"(\d{1,18})(?:\.0+)?", re.ASCII)
"""A whole number, as a seed is written; also as pandas writes it where one is missing."""

MOST_TELLING = 12
"""Unused columns that are looked at, to see whether they tell runs apart."""

_BEHIND = re.compile(r"[A-Za-z#]+[\s_:.-]*(\d{1,18})", re.ASCII)


def numbered(cells: Iterable[Gathered]) -> tuple[dict[Seed, int], str]:
    """A number for each run of a cell: its seed where that is one, else by the order of the file, and what to say."""
    seeds = dict.fromkeys(seed for cell in cells for seeds in (cell.seeds, cell.missing, cell.failed) for seed in seeds)
    if any(len(seed) > 1 for seed in seeds):
        return {seed: number for number, seed in enumerate(seeds)}, ""
    for pattern in (WHOLE, _BEHIND):
        matches = [pattern.fullmatch(seed[0]) for seed in seeds]
        numbers = [int(match[1]) for match in matches if match]
        if len({*numbers}) == len(seeds):
            return dict(zip(seeds, numbers, strict=True)), ""
    labels = ", ".join(f"{seed[0]} = {number}" for number, seed in zip(range(4), seeds, strict=False))
    more = ", ..." * (len(seeds) > 4)
    return {seed: number for number, seed in enumerate(seeds)}, f"seeds are numbered in their order: {labels}{more}"


def settle_repeats(rows: Rows, columns: Columns, cells: Sequence[Gathered], reading: Reading) -> Iterator[str]:
    """Settle several values of one run as it is asked; a run that failed and has a value has been run again."""
    again, repeated = 0, list[int]()
    first = ""
    for cell in cells:
        valued = {*cell.seeds}
        again += len(valued & {*cell.failed, *cell.missing})
        cell.failed = [seed for seed in dict.fromkeys(cell.failed) if seed not in valued]
        cell.missing = [seed for seed in dict.fromkeys(cell.missing) if seed not in {*valued, *cell.failed}]
        if len(valued) == len(cell.seeds):
            continue
        places: dict[Seed, list[int]] = {}
        for at, seed in enumerate(cell.seeds):
            places.setdefault(seed, []).append(at)
        several = {seed: each for seed, each in places.items() if len(each) > 1}
        repeated.append(len(several))
        if not reading.duplicates:
            seed, (one_at, next_at, *_) = next(iter(several.items()))
            line = rows.place(cell.rows[one_at]).rpartition(rows.word)[2]
            where = f"{', '.join(cell.axes.values())}, {'seed' if len(seed) == 1 else 'seed and fold'} {' '.join(seed)}"
            first = first or f"{rows.place(cell.rows[next_at])}: a second value of {where}; the first is in line {line}"
            continue
        _settle(cell, places, reading.duplicates)
    if first:
        count = sum(repeated)
        how = f"{count} runs have several values; " if count > 1 else ""
        unused = ", ".join(columns.ignored[:4]) + ", ..." * (len(columns.ignored) > 4)
        told_by = f"; or a column that is not used tells them apart ({unused})" if unused else ""
        raise InputError(f"{first}; {how}--duplicates mean, first or last says what counts{told_by}")
    if repeated:
        counts = f"{sum(repeated)} run{'s have' if sum(repeated) > 1 else ' has'} several values"
        yield f"{counts}: the {reading.duplicates} counts"
    if again:
        yield f"{again} run{'s that failed have' if again > 1 else ' that failed has'} a value too, which counts"


def _settle(cell: Gathered, places: Mapping[Seed, Sequence[int]], how: str) -> None:
    values = []
    for each in places.values():
        numbers = [cell.values[at] for at in each]
        values.append({"first": numbers[0], "last": numbers[-1], "mean": sum(numbers) / len(numbers)}[how])
    cell.rows = [cell.rows[each[0]] for each in places.values()]
    cell.seeds, cell.values = [*places], values


def say_unseeded(rows: Rows, columns: Columns, cells: Sequence[Gathered]) -> Iterator[str]:
    """What has to be known of runs of which nobody says the seed.

    Raises ``InputError`` where a column that is not used tells the rows of every method apart: they are no repetitions.
    """
    repeated = [cell.rows for cell in cells if len(cell.rows) > 1]
    if len(repeated) > 1 and (names := _telling(rows, columns.ignored[:MOST_TELLING], repeated)):
        if len(names) == 1:
            remedy = f"--columns backbone={names[0]} (or dataset, rate), or seed={names[0]} where they are its runs"
        else:
            remedy = f"--columns says what they are, such as dataset='{names[0]}',seed='{names[1]}'"
        differ = " and ".join(names)
        raise InputError(
            f"{rows.top}: rows that repeat a method differ in {differ}, and there is no column of seeds: {remedy}"
        )
    if any(len(cell.values) > 1 for cell in cells):
        yield (
            "there is no column of seeds: rows that repeat a method are its runs, numbered as they stand; "
            "they are no pairs"
        )


def _telling(rows: Rows, unused: Sequence[str], repeated: Sequence[Sequence[int]]) -> tuple[str, ...]:
    """The unused column, or two together, that tell the rows of each method apart in about the same way; or none."""
    for size in (1, 2):
        telling = []
        for names in combinations(unused, size):
            places = [rows.header.index(name) for name in names]
            texts = [[tuple(rows.fields[row][at].strip() for at in places) for row in each] for each in repeated]
            if _tells_apart(texts):
                are_numbers = all(read_number(text) for text in texts[0][0])
                telling.append((are_numbers, names))  # words before numbers
        if telling:
            return min(telling)[1]
    return ()


def _tells_apart(texts: Sequence[Sequence[tuple[str, ...]]]) -> bool:
    """Whether no two rows of a method have the same texts, and every method has half of all the texts there are."""
    if any(len({*each}) < len(each) for each in texts):
        return False
    every = {text for each in texts for text in each}
    return all(2 * len(each) >= len(every) for each in texts)


def folds_of(rows: Rows, columns: Columns, reading: Reading) -> int:
    """How many folds there are; 0 where the seeds are seeds. Raises ``InputError`` where there is nothing to fold."""
    if reading.folds and any(each.fold or each.seed for each in columns.values):
        return reading.folds
    if folds := {each.fold for each in columns.values if each.fold}:
        return len(folds)
    if "fold" not in columns.roles:
        if reading.folds and "seed" not in columns.roles:
            raise InputError(f"--folds {reading.folds}: no column says which fold a row is; --columns fold=NAME")
        return reading.folds
    at = columns.roles["fold"]
    count = len({row[at].strip() for row in rows.fields} - {""})
    if reading.folds and count > reading.folds:
        raise InputError(f"--folds {reading.folds}: {rows.header[at]} has {count} folds")
    if reading.folds:
        return reading.folds
    if count < 2:
        raise InputError(f"{rows.top}: {rows.header[at]} has only one fold; --folds K says of how many it is")
    return count

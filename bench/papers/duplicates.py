"""Rows and columns of a table that print the same numbers, with the chance that they would.

Two rows are compared cell by cell as printed, their numbers and their ± each for itself. How likely a cell is to print
alike is judged by the other rows in its column (``bench.stats.chance``: ``alike_near`` of numbers, since some methods
are alike everywhere, ``alike_among`` of ±), and cells are taken as independent. A pair is a finding where at least
``FEWEST`` cells are alike and chance explains their count, or a row of neighbouring ones, with less than ``LEVEL``,
corrected for both and for all pairs that are compared. Columns are compared likewise. What is alike by definition is
left out: averages, numbers without decimals (sizes, epochs, counts), and rows of one label, in another block too.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from bench.papers.average import is_average, is_average_label
from bench.papers.findings import FINDING, NOT_CHECKED, Audit, Finding
from bench.papers.published import Key, Printed, PublishedTable
from bench.stats.chance import alike_among, alike_near, at_least, in_a_row

FEWEST, LEVEL, MOST = 3, 0.001, 100
_NEAR = 2
"""Cells in which a copy may differ, so that it says nothing about chance."""

Texts = Sequence[Sequence[str]]
Chance = Callable[[float, Sequence[float], float], float]


@dataclass(frozen=True)
class Alike:
    """Two lines (rows or columns) by their places, the cells that are alike, of how many, and the chance of that.

    ``p`` is corrected for ``pairs``, the number of pairs of lines with enough numbers to be compared.
    """

    first: int
    second: int
    places: tuple[int, ...]
    count: int
    p: float
    pairs: int


def check_duplicates(table: PublishedTable, result: Audit) -> None:
    """Note the rows and columns of a table that repeat others; of a table in print, so none with hundreds."""
    if max(len(table.rows), len(table.columns)) > MOST:
        verdict = f"it has more than {MOST} rows or columns"
        result.findings.append(Finding(table.name, (), (), "duplicate", "", "", verdict, NOT_CHECKED))
        return
    for number_of, what, chance in ((_value, "numbers", alike_near), (_deviation, "±", alike_among)):
        rows = _texts(table, number_of)
        columns = list(zip(*rows, strict=True))
        result.checked["duplicate"] += sum(bool(text) for line in rows for text in line)
        row_names = [_without_block(table, key) for key in table.rows]
        for lines, keys, names, kind in (
            (rows, table.rows, row_names, "row"),
            (columns, table.columns, table.columns, "column"),
        ):
            for alike in alike_lines(lines, names, chance):
                result.findings.append(_finding(table.name, keys, lines, alike, kind, what))


def alike_lines(lines: Texts, names: Sequence[Key], chance: Chance) -> list[Alike]:
    """The lines that repeat an earlier one, each with the first such; lines of one name are not compared.

    Args:
        lines: (k, w), numbers as printed, all of them with as many decimals as they have in print; empty: none.
        names: (k,), what each line is.
        chance: that a number prints alike, of its value, the others at its place, and a step of its last digit.
    """
    numbered = [at for at, line in enumerate(lines) if sum(map(bool, line)) >= FEWEST]
    pairs = len(numbered) * (len(numbered) - 1) // 2
    repeats = dict[int, Alike]()
    for (first, second), same in sorted(_sharing(lines, numbered).items()):
        if len(same) < FEWEST or second in repeats or names[first] == names[second]:
            continue
        places = [place for place, text in enumerate(lines[second]) if text and lines[first][place]]
        rest = [line for at, line in enumerate(lines) if at not in (first, second)]
        rest = [line for line in rest if not _is_copy(line, lines[first], lines[second])]
        chances = [_chance(lines[first][place], lines[second][place], rest, place, chance) for place in places]
        longest = _longest_run([place in same for place in places])
        by_chance = [at_least(len(same), chances)]
        if longest >= FEWEST:
            by_chance.append(in_a_row(longest, chances))
        p = min(1.0, 2 * pairs * min(by_chance))
        if p < LEVEL:
            repeats[second] = Alike(first, second, tuple(same), len(places), p, pairs)
    return list(repeats.values())


def _sharing(lines: Texts, numbered: Sequence[int]) -> dict[tuple[int, int], list[int]]:
    """The places at which both lines of a pair print the same."""
    sharing = dict[tuple[int, int], list[int]]()
    for place in range(len(lines[0]) if lines else 0):
        by_text = dict[str, list[int]]()
        for second in numbered:
            if text := lines[second][place]:
                earlier = by_text.setdefault(text, [])
                for first in earlier:
                    sharing.setdefault((first, second), []).append(place)
                earlier.append(second)
    return sharing


def _chance(first: str, second: str, rest: Texts, place: int, chance: Chance) -> float:
    """The chance that two numbers print alike at a place, judged by lines that are copies of neither."""
    numbers = [float(line[place]) for line in rest if line[place]]
    step = max(10.0 ** -len(text.partition(".")[2]) for text in (first, second))
    return max(chance(float(text), numbers, step) for text in (first, second))


def _is_copy(line: Sequence[str], *originals: Sequence[str]) -> bool:
    for original in originals:
        both = [text == again for text, again in zip(line, original, strict=True) if text and again]
        if sum(both) >= max(FEWEST, len(both) - _NEAR):
            return True
    return False


def _longest_run(same: Sequence[bool]) -> int:
    longest = length = 0
    for is_same in same:
        length = length + 1 if is_same else 0
        longest = max(longest, length)
    return longest


def _texts(table: PublishedTable, number_of: Callable[[Printed], str]) -> list[list[str]]:
    """The numbers that are compared; empty where a cell has none, or one that follows from others."""
    texts = [[number_of(cell) for cell in line] for line in table.cells]
    skipped = {column for column in range(len(table.columns)) if is_average(table, column)}
    skipped |= {column for column in range(len(table.columns)) if not any("." in line[column] for line in texts)}
    for row, line in enumerate(texts):
        is_mean = any(map(is_average_label, table.rows[row]))
        texts[row] = ["" if is_mean or column in skipped else text for column, text in enumerate(line)]
    return texts


def _value(cell: Printed) -> str:
    return "" if math.isnan(cell.number) else cell.digits


def _deviation(cell: Printed) -> str:
    return cell.std


def _without_block(table: PublishedTable, row: Key) -> Key:
    """By what a row is known in any block: its labels but those of the levels within which rows are compared."""
    within = table.ranking.within if table.ranking else ()
    blocks = {level for level, name in enumerate(table.stub) if name in within}
    return tuple(label for level, label in enumerate(row) if level not in blocks)


def _finding(name: str, keys: Sequence[Key], lines: Texts, alike: Alike, kind: str, what: str) -> Finding:
    original = " / ".join(filter(None, keys[alike.first])) or f"{kind} {alike.first + 1}"
    printed = ", ".join(lines[alike.second][place] for place in alike.places)
    number = len(alike.places)
    verdict = (
        f"{number} of its {alike.count} {what} are those of the {kind} {original}: {printed}; "
        f"by chance p = {alike.p:.1g} over {alike.pairs} pair{'s' * (alike.pairs > 1)} of {kind}s, "
        f"with the gaps to the other {kind}s' {what} at these places"
    )
    row, column = (keys[alike.second], ()) if kind == "row" else ((), keys[alike.second])
    return Finding(name, row, column, "duplicate", printed, f"{alike.p:.1g}", verdict, FINDING)

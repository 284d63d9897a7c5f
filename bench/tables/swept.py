"""What captions say of choices on the validation split: values at the edge of what was tried, ties, who chooses."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from bench.notation import listed
from bench.papers.published import telling_labels
from bench.plan.table import Candidate, Place
from bench.tables.candidates import as_good, short_labels
from bench.tables.compare import Entry, Table

FEW = 4
"""So many rows, cells or candidates are named in a sentence, and the others counted."""


def choices(table: Table) -> Iterator[str]:
    """A sentence on the values at an edge and one on equal scores, of choices by the validation split."""
    if table.plan.rules.sweep != "best-val":
        return
    chosen = [(place, entry) for place, entry in table.places() if entry.cell.chosen]
    if at_edge := _rows(table, [(place, _edges(entry)) for place, entry in chosen]):
        yield f"At the edge of what was tried, so that a better value may lie beyond it: {at_edge}."
    if equal := _rows(table, [(place, _ties(entry)) for place, entry in chosen]):
        yield f"Candidates with equal scores on the validation split, of which the first counts: {equal}."


def choosing_runs(table: Table) -> Iterator[str]:
    """Whose runs choose on the validation split by themselves, beside what sweeps and selection rules do."""
    names = dict[str, None]()
    for _, planned in table.plan.places():
        if any(candidate.chooses for candidate in planned.candidates):
            names[planned.name] = None
    if names:
        yield f"{_few([*names])}: each run chooses among what it trained on the validation split itself."


def _edges(entry: Entry) -> str:
    """The values of the candidate that counts which are the least or the largest of their list; empty without any."""
    tried = [dict(candidate.swept) for candidate in entry.planned.candidates]
    edges = list[str]()
    for name, value in _chosen(entry).swept:
        numbers = {values[name] for values in tried if _is_number(values.get(name))}
        if len(numbers) < 2 or value not in (min(numbers), max(numbers)):
            continue
        if value == 0 and value == min(numbers):  # nothing is tried below none of it
            continue
        edges.append(f"{name}={value}")
    return ", ".join(edges)


def _ties(entry: Entry) -> str:
    """The candidates that scored as the one that counts, which is the first of them; empty where none did."""
    means = dict(entry.cell.tried)
    best = means[entry.cell.chosen]
    short = short_labels([candidate.label for candidate in entry.planned.candidates])
    equal = [short[label] for label, mean in means.items() if as_good(mean, best)]
    return _few(equal) if len(equal) > 1 else ""


def _chosen(entry: Entry) -> Candidate:
    return next(candidate for candidate in entry.planned.candidates if candidate.label == entry.cell.chosen)


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _rows(table: Table, noted: Sequence[tuple[Place, str]]) -> str:
    """What is noted of cells, row by row, with the columns where it is not all of a row; empty where nothing is."""
    rows = dict[int, dict[str, list[int]]]()
    sweeps = dict[int, int]()
    for (row, column), words in noted:
        sweeps[row] = sweeps.get(row, 0) + 1
        if words:
            rows.setdefault(row, {}).setdefault(words, []).append(column)
    clauses = list[str]()
    for row, columns_of in rows.items():
        parts = list[str]()
        for words, columns in columns_of.items():
            names = [_column(table, column) for column in columns] if len(columns) < sweeps[row] else []
            parts.append(", ".join(filter(None, (words, _few([*filter(None, names)])))))
        clauses.append(f"{' / '.join(filter(None, table.plan.rows[row]))} ({'; '.join(parts)})")
    more = len(clauses) - FEW
    return "; ".join(clauses[:FEW]) + (f" and {more} more" if more > 0 else "")


def _column(table: Table, column: int) -> str:
    return " / ".join(filter(None, telling_labels(table.plan.columns, column)))


def _few(names: Sequence[str]) -> str:
    """The first few as English lists them, and how many more there are."""
    more = len(names) - FEW
    return listed((*names[:FEW], f"{more} more") if more > 1 else (*names,))

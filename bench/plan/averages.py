"""Averages over datasets in an experiment's table: by group, of groups, and over all."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from bench.cards import DatasetCard
from bench.errors import Problems, choose
from bench.metrics import Metric
from bench.papers.published import Key
from bench.plan.settings import section_of
from bench.plan.table import PlannedCell, TablePlan
from bench.reading.document import Section

EVERY, DATASET = "all", "dataset"
MOST_NAMED = 5
"""Of more datasets a note gives the number in the place of the names."""


@dataclass(frozen=True)
class Average:
    """A mean over datasets, for each seed, which stands behind them.

    Attributes:
        over: titles of datasets, or labels of averages before it.
        metric: theirs; None where none of them is there.
        complete: whether all that it is over is there, two or more, so that it is shown; a command line may lack some.
    """

    label: str
    over: Key
    metric: Metric | None
    complete: bool = True


def notes_of(averages: Sequence[Average]) -> tuple[str, ...]:
    """What stands below the table: what each average is over, and which are not shown."""
    notes = []
    for average in averages:
        if average.complete:
            count = len(average.over)
            names = f"{count} datasets" if count > MOST_NAMED else ", ".join(average.over)
            notes.append(f"{average.label}: for each seed the mean over {names}.")
    if absent := [average.label for average in averages if not average.complete]:
        notes.append(f"Left out, since not all of what they are over is here: {', '.join(absent)}.")
    return tuple(notes)


def read_averages(
    layout: Section,
    datasets: Sequence[DatasetCard],
    metrics: Mapping[str, Metric],
    is_typed: bool,
    problems: Problems,
) -> tuple[Average, ...]:
    """The averages that a table declares: by label a list of datasets or of averages before it, or ``all``.

    ``metrics`` are by the name of the dataset; ``is_typed`` says that the command line gives the datasets, so that some
    of what is averaged may not be there.
    """
    written, averages = section_of(layout, "averages"), dict[str, Average]()
    titles = _titles(datasets)
    measured = {card.title: metrics[card.name] for card in datasets if card.name in metrics}
    for label, listed in written.items():
        names = [card.name for card in datasets] if listed == EVERY else listed
        if not isinstance(names, list) or not isinstance(label, str) or label in titles:
            form = "a label that no dataset has, with a list of datasets or of averages before it, or with all"
            problems.add(f"{written.place(label)}: an average is {form}")
            continue
        known_as = {**titles, **{name: name for name, each in averages.items() if each.complete}}
        names = [str(name) for name in names]
        averages[label] = average = _average(label, names, known_as, measured)
        if average.metric is not None:
            measured[label] = average.metric
        strangers = [name for name in names if name not in known_as]
        if problem := _problem(average, strangers, known_as, measured, is_typed):
            problems.add(f"{written.place(label)}: {problem}")
    return tuple(averages.values())


def _titles(datasets: Sequence[DatasetCard]) -> dict[str, str]:
    """The titles of datasets by what they may be called: name, title, or the name without what is chosen of it."""
    plain = Counter(card.plain_name for card in datasets)
    titles = {card.plain_name: card.title for card in datasets if plain[card.plain_name] == 1}
    return {**titles, **{name: card.title for card in datasets for name in (card.name, card.title)}}


def _average(label: str, names: Sequence[str], known_as: Mapping[str, str], measured: Mapping[str, Metric]) -> Average:
    over = tuple(known_as[name] for name in names if name in known_as)
    metrics = [measured[each] for each in over if each in measured]
    return Average(label, over, metrics[0] if metrics else None, complete=len(names) == len(over) >= 2)


def _problem(
    average: Average,
    strangers: Sequence[str],
    known_as: Mapping[str, str],
    measured: Mapping[str, Metric],
    is_typed: bool,
) -> str:
    """What is wrong with an average; empty where nothing is. Datasets that are typed may leave some of them out.

    ``strangers`` is what it is over and nothing is known as.
    """
    if strangers and not is_typed:
        return choose(strangers[0], known_as, "dataset or average before it")
    if len({*average.over}) < max(2, len(average.over)) and not is_typed:
        return f"'{average.label}' must be over two or more, each once"
    metrics = dict.fromkeys(measured[each].name for each in average.over if each in measured)
    if len(metrics) > 1 and average.complete:
        remedy = "one 'metric' in the table, or --metric, makes them alike"
        return f"'{average.label}' is over several metrics, {', '.join(metrics)}; {remedy}"
    return ""


def average_cells(averages: Sequence[Average], cells: Sequence[PlannedCell]) -> list[PlannedCell]:
    """A cell of each average for every cell of a dataset; what it is the mean of is told once they have places."""
    of_one = [cell for cell in cells if cell.axes[DATASET] == cells[0].axes[DATASET]]
    return [
        PlannedCell(
            {**cell.axes, DATASET: average.label}, cell.name, metric=average.metric, decimals=average.metric.decimals
        )
        for average in averages
        for cell in of_one
        if average.metric is not None
    ]


def with_places(table: TablePlan, averages: Sequence[Average]) -> TablePlan:
    """The table whose cells of averages know what they are the mean of; they are of no dataset then."""
    over = {average.label: average.over for average in averages}
    places = {frozenset(cell.axes.items()): place for place, cell in table.places()}

    def averaged(cell: PlannedCell) -> PlannedCell:
        members = over.get(cell.axes.get(DATASET, ""), ())
        if not members:
            return cell
        of_members = (places[frozenset({**cell.axes, DATASET: member}.items())] for member in members)
        axes = {axis: label for axis, label in cell.axes.items() if axis != DATASET}
        return replace(cell, axes=axes, averages=tuple(of_members))

    return replace(table, cells=tuple(tuple(map(averaged, line)) for line in table.cells))

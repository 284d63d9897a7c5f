"""What a published table's ``runs`` assign to its labels, checked, and by which names its cells go."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from bench.errors import Problems, choose
from bench.notation import listed
from bench.papers.labels import TOGETHER
from bench.papers.published import Key as Labels
from bench.papers.published import PublishedTable, telling_labels
from bench.papers.stated import OTHERS
from bench.plan.facts import FACTS
from bench.plan.overrides import find_at, read_seeds
from bench.plan.settings import noted, plain_settings, section_of
from bench.rate import read_rate, refuse_shares
from bench.reading.document import Section
from bench.reading.keys import Key, check_keys
from bench.registry import Registry, unknown

AXES = ("method", "backbone", "dataset", "rate")

KEYS = (
    Key("axes", (dict,), "what all cells are of: `{backbone: vit_base, rate: 100}`"),
    Key("labels", (dict,), "what a label stands for: `{CUB: {dataset: cub200}}`; `A & B` is a cell that has both"),
    Key("columns", (dict,), "the same for a label that is a row too, of the column alone"),
    Key("baseline", (str, list), "the row, or rows, that others are compared with; of several the nearest above"),
    Key("settings", (dict,), "of the protocol, in the place of the paper's"),
    Key("seeds", (int,), "how many", default="the protocol's"),
    Key("note", (str,), "what has to be known about our runs"),
)
ASSIGNABLE = (
    *(Key(axis, (str, dict) if axis == "method" else (str, int, float), f"the {axis}") for axis in AXES),
    Key("hyper", (dict,), "hyper-parameters of a method, beside those it has: `{gta: {weight: 1}}` (see *Values*)"),
    Key("settings", (dict,), "settings of the protocol (see *Values*)"),
    Key("seeds", (int,), "how many"),
    Key("metric", (str,), "what is measured (`bench list metrics`)", default="the table's"),
    Key("fact", (str,), f"a number that needs no run, as cards have it: {listed(tuple(FACTS))}"),
    Key("average", (bool,), "the mean of the row's other cells of its kind"),
    Key("not_run", (str,), "why nothing is run for it"),
    *OTHERS,
)


class Assignments:
    """What a table's labels are assigned; what is wrong with it is noted, so that all is told at once."""

    def __init__(self, table: PublishedTable, registry: Registry, problems: Problems) -> None:
        self.table, self.registry, self.problems = table, registry, problems
        runs = table.runs
        self.declared = runs if isinstance(runs, Section) else Section(table.place, 1)
        check_keys(self.declared, KEYS, "key of runs", problems)
        self.labels, self.columns = section_of(self.declared, "labels"), section_of(self.declared, "columns")

    def check(self) -> None:
        """Note whatever is wrong with labels, values and rates."""
        self.check_labels()
        self.check_values(section_of(self.declared, "axes"))
        self.check_rates()

    def check_labels(self) -> None:
        """Every label that is assigned something is one of the table, in one sense, and what it is assigned can be."""
        rows, columns = ({label for key in keys for label in key} for keys in (self.table.rows, self.table.columns))
        for label in self.labels:
            if label in rows & columns and label not in self.columns:
                place = self.labels.place(label)
                self.problems.add(f"{place}: '{label}' is a row and a column; its column stands under 'columns'")
        self.check_section(self.labels, (rows | columns) - {""})
        self.check_section(self.columns, columns - {""})

    def check_section(self, section: Section, table_labels: set[str]) -> None:
        """What a section assigns to labels, one of the known or several together."""
        cells = [{*row, *column} for row in self.table.rows for column in self.table.columns]
        for key, meaning in section.items():
            place, labels = section.place(key), key.split(TOGETHER)
            for label in {*labels} - table_labels:
                self.problems.add(f"{place}: {choose(label, table_labels, 'label of this table')}")
            if table_labels.issuperset(labels) and not any(cell.issuperset(labels) for cell in cells):
                self.problems.add(f"{place}: no cell has the labels {' and '.join(labels)} together")
            if isinstance(meaning, Section):
                self.check_values(meaning)
                self.check_hyper(meaning.get("hyper") or {}, place)
            else:
                self.problems.add(f"{place}: a label is assigned a mapping, such as {{method: ce}}, not {meaning!r}")

    def check_hyper(self, hyper: Mapping[str, Any], place: str) -> None:
        for name, values in hyper.items():
            if not isinstance(values, dict):
                self.problems.add(f"{place}: hyper must be a mapping of a method to a mapping, not {hyper!r}")
            elif name not in self.registry.method_files:
                self.problems.add(f"{place}: {unknown(str(name), self.registry.method_files, 'method')}")

    def check_values(self, values: Section) -> None:
        check_keys(values, ASSIGNABLE, "axis", self.problems)
        readers: dict[str, Callable[[Any, str], object]] = {
            "rate": read_rate,
            "seeds": read_seeds,
            "metric": lambda name, place: find_at(name, self.registry.metrics, place),
            "settings": plain_settings,
        }
        for key in [key for key in readers if key in values]:
            with noted(self.problems):
                readers[key](values[key], values.place(key))

    def check_rates(self) -> None:
        """The rates of a table are in percent or in images, and no shares, all of them together."""
        owners = [section_of(self.declared, "axes"), *self.labels.values(), *self.columns.values()]
        rates = [owner["rate"] for owner in owners if isinstance(owner, Section) and "rate" in owner]
        with noted(self.problems):
            refuse_shares(rates, self.declared.place("labels"))

    def baselines(self) -> list[str]:
        declared = self.declared.get("baseline") or []
        labels = declared if isinstance(declared, list) else [declared]
        row_labels = {label for row in self.table.rows for label in row if label}
        for label in labels:
            if not isinstance(label, str) or label not in row_labels:
                self.problems.add(f"{self.declared.place('baseline')}: {choose(str(label), row_labels, 'row')}")
        return [label for label in labels if isinstance(label, str)]

    def named(self, row: int, at: int, axis: str) -> set[str]:
        """The labels of a cell that stand for a method, a backbone, a dataset or a rate."""
        of_row = {label for label in self.table.rows[row] if axis in (self.labels.get(label) or {})}
        return of_row | {label for label in self.table.columns[at] if axis in self.of_column(label)}

    def of_column(self, label: str) -> Mapping[str, Any]:
        """What a label of a column is assigned; a row of that name may mean something else."""
        return self.columns.get(label) or self.labels.get(label) or {}

    def unassigned(self, row: int, at: int) -> list[str]:
        """The labels of a cell that are assigned nothing, alone or together with others."""
        assigned_labels = {label for key in (*self.labels, *self.columns) for label in key.split(TOGETHER)}
        labels = (*self.table.rows[row], *self.table.columns[at])
        return [label for label in labels if label and label not in assigned_labels]

    def name(self, row: int) -> str:
        within = self.table.group_of(row)
        labels = [label for label in self.no_dataset(self.table.rows[row]) if label not in within]
        return " / ".join(labels or self.table.rows[row])

    def where(self, row: int, at: int) -> Labels:
        """The labels that a claim over datasets holds equal."""
        columns = [label for label in telling_labels(self.table.columns, at) if label]
        columns = [label for label in columns if "dataset" not in self.of_column(label)]
        return (*self.no_dataset(self.table.group_of(row)), *columns)

    def no_dataset(self, row: Iterable[str]) -> Labels:
        """Labels of a row without those that stand for a dataset, and without empty ones."""
        return tuple(label for label in row if label and "dataset" not in (self.labels.get(label) or {}))

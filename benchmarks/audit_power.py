"""What ``bench audit`` finds of faults planted in made-up tables: measures the table of docs/statistics.md, writes it.

    python benchmarks/audit_power.py

Each table has methods by datasets with a ± and the average, as a CSV; the fault is planted in its text. A fault counts
as found where the audit has a finding that names its row or its column. Draws are seeded, so the same versions give the
same numbers. It takes a few minutes on one core.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bench.papers.attainable import POPULATION, SAMPLE, deviation_is_attainable, rounded, totals
from bench.papers.audit import audit_tables
from bench.papers.findings import FINDING, Finding
from bench.papers.loose import read_loose
from bench.papers.typed import Typed, TypedSamples
from bench.registry import Registry
from benchmarks.page import machine, measure

BEGIN, END = "<!-- audit power: begin -->", "<!-- audit power: end -->"
REPLICATES = 200
IMAGES = (3669, 5794, 8041, 3333, 8580, 10000, 4000, 6149)
"""Test images of the datasets, in their order."""

Rng = np.random.Generator
REGISTRY = Registry()


@dataclass(frozen=True)
class Setting:
    """How large a made-up table is, of how many runs and with how many decimals, and whether these are typed."""

    methods: int
    datasets: int
    runs: int
    decimals: int
    is_typed: bool = True

    @property
    def title(self) -> str:
        runs = f"{self.runs} run{'s' * (self.runs > 1)}"
        suffix = "" if self.is_typed else ", nothing typed"
        return f"{self.methods} × {self.datasets}, {runs}, {self.decimals} decimal{'s' * (self.decimals > 1)}{suffix}"


SETTINGS = (
    Setting(4, 4, 3, 2),
    Setting(4, 4, 3, 2, is_typed=False),
    Setting(4, 4, 3, 3),
    Setting(4, 4, 1, 2),
    Setting(6, 6, 3, 1),
    Setting(8, 8, 3, 2),
    Setting(8, 8, 5, 2),
)


@dataclass
class Made:
    """A made-up table: texts by method and dataset of the means, the ± (empty: one run) and the averages."""

    setting: Setting
    means: list[list[str]]
    deviations: list[list[str]]
    averages: list[str]

    def average(self, row: int) -> None:
        """Print the average that follows from the row's printed means."""
        self.averages[row] = self.printed(np.mean([float(text) for text in self.means[row]]))

    def printed(self, value: float | np.floating) -> str:
        return f"{value:.{self.setting.decimals}f}"

    def moved(self, text: str, units: int) -> str:
        """A number changed by units of its last digit."""
        return self.printed(float(text) + units * 10.0**-self.setting.decimals)

    def text(self) -> str:
        """As CSV."""
        lines = [
            ["method", *(f"D{number}" for number in range(self.setting.datasets)), *["Avg."] * bool(self.averages)]
        ]
        for row, (means, deviations) in enumerate(zip(self.means, self.deviations, strict=True)):
            cells = [f"{mean} ± {std}" if std else mean for mean, std in zip(means, deviations, strict=True)]
            lines.append([f"M{row}", *cells, *self.averages[row : row + 1]])
        return "\n".join(map(",".join, lines))


def made(rng: Rng, setting: Setting) -> Made:
    """A true table: some methods are alike everywhere; noise differs by dataset, method and cell, up to threefold."""
    level = rng.uniform(40, 97, setting.datasets)
    skill = rng.normal(0, 1, setting.methods) * rng.choice([0.1, 1.0], setting.methods)
    gain = skill[:, None] + 0.5 * np.abs(skill[:, None]) * rng.normal(size=(setting.methods, setting.datasets))
    true = np.minimum(level + gain * (100 - level) / 15, 99.5)
    noise = rng.uniform(0.15, 0.5, setting.datasets) * np.exp(rng.normal(0, 0.2, (setting.methods, 1)))
    noise = noise * np.exp(rng.normal(0, 0.25, true.shape))
    images = np.array(IMAGES[: setting.datasets])
    drawn = true + noise * rng.normal(size=(setting.runs, *true.shape))
    accuracies = 100 * np.clip(np.rint(drawn * images / 100), 0, images) / images
    table = Made(setting, [], [], [""] * setting.methods)
    means = accuracies.mean(0)
    table.means = [[table.printed(value) for value in row] for row in means]
    table.deviations = [["" for _ in row] for row in means]
    if setting.runs > 1:
        table.deviations = [[table.printed(value) for value in row] for row in accuracies.std(0, ddof=1)]
    rounds_late = rng.random() < 0.5
    for row in range(setting.methods):
        table.average(row)
        if rounds_late:
            table.averages[row] = table.printed(means[row].mean())
    return table


Plant = Callable[[Rng, Made], tuple[str, str]]
"""Changes a made-up table; gives the labels of the row and the column that it changed (empty: none in particular)."""


def row_copied(rng: Rng, table: Made, but: int = 0) -> tuple[str, str]:
    """A row's numbers are those of another one, but for some cells; its average follows, its ± are its own."""
    source, row = rng.choice(table.setting.methods, 2, replace=False)
    keep = rng.choice(table.setting.datasets, but, replace=False)
    table.means[row] = [
        mean if at in keep else again
        for at, (mean, again) in enumerate(zip(table.means[row], table.means[source], strict=True))
    ]
    table.average(row)
    return named(min(source, row), max(source, row))


def named(first: int, second: int) -> tuple[str, str]:
    """The row that a finding about two rows is of: the lower one."""
    return f"M{second}", ""


def column_copied(rng: Rng, table: Made) -> tuple[str, str]:
    """A column's numbers are those of another one; the averages follow."""
    source, column = rng.choice(table.setting.datasets, 2, replace=False)
    for row, means in enumerate(table.means):
        means[column] = means[source]
        table.average(row)
    return "", f"D{max(source, column)}"


def deviations_copied(rng: Rng, table: Made) -> tuple[str, str]:
    """A row's ± are those of another one."""
    source, row = rng.choice(table.setting.methods, 2, replace=False)
    table.deviations[row] = list(table.deviations[source])
    return named(min(source, row), max(source, row))


def cell_copied(rng: Rng, table: Made) -> tuple[str, str]:
    """A number is that of the next row; the average stays."""
    row, column = cell(rng, table)
    table.means[row][column] = table.means[(row + 1) % table.setting.methods][column]
    return f"M{row}", f"D{column}"


def deviation_times(factor: float) -> Plant:
    """One ± is so many times what it was."""

    def plant(rng: Rng, table: Made) -> tuple[str, str]:
        row, column = cell(rng, table)
        table.deviations[row][column] = table.printed(factor * float(table.deviations[row][column]))
        return f"M{row}", f"D{column}"

    return plant


def deviations_made_up(rng: Rng, table: Made) -> tuple[str, str]:
    """The ± of a row are drawn between 0.1 and 0.6."""
    row, _ = cell(rng, table)
    table.deviations[row] = [table.printed(rng.uniform(0.1, 0.6)) for _ in table.deviations[row]]
    return f"M{row}", ""


def average_off(rng: Rng, table: Made) -> tuple[str, str]:
    """An average is 5 units of the last digit off."""
    row, _ = cell(rng, table)
    table.averages[row] = table.moved(table.averages[row], int(rng.choice([-5, 5])))
    return f"M{row}", "Avg."


def typo(least: int, most: int, with_average: bool = True) -> Plant:
    """A number is off by so many units of its last digit; the average stays, or none is printed."""

    def plant(rng: Rng, table: Made) -> tuple[str, str]:
        row, column = cell(rng, table)
        units = int(rng.integers(least, most + 1) * rng.choice([-1, 1]))
        table.means[row][column] = table.moved(table.means[row][column], units)
        if not with_average:
            table.averages = []
        return f"M{row}", f"D{column}"

    return plant


def digits_swapped(rng: Rng, table: Made) -> tuple[str, str]:
    """The two digits before the point are swapped in a number in which they differ; the average stays."""
    row, column = cell(rng, table)
    text = table.means[row][column]
    table.means[row][column] = text[1] + text[0] + text[2:] if text[0] != text[1] else table.moved(text, 90)
    return f"M{row}", f"D{column}"


def row_made_up(rng: Rng, table: Made) -> tuple[str, str]:
    """A row's numbers are drawn near the best ones; the average follows."""
    row, _ = cell(rng, table)
    best = np.array(table.means, dtype=float).max(0)
    table.means[row] = [table.printed(value) for value in np.minimum(best + rng.uniform(0, 2, best.shape), 99.9)]
    table.average(row)
    return f"M{row}", ""


def nothing(rng: Rng, table: Made) -> tuple[str, str]:
    """The table stays true."""
    return "", ""


def cell(rng: Rng, table: Made) -> tuple[int, int]:
    """A cell by its place."""
    return int(rng.integers(table.setting.methods)), int(rng.integers(table.setting.datasets))


@dataclass(frozen=True)
class Fault:
    """What is planted, what it is called, and whether it needs a ±."""

    name: str
    plant: Plant
    needs_deviations: bool = False


TRUE = Fault("none: tables with a finding", nothing)
FAULTS = (
    Fault("a row copied whole, average adapted", row_copied),
    Fault("a row copied but for one cell, average adapted", lambda rng, table: row_copied(rng, table, 1)),
    Fault("a column copied whole, averages adapted", column_copied),
    Fault("the ± of a row copied whole", deviations_copied, needs_deviations=True),
    Fault("a cell copied from the next row", cell_copied),
    Fault("a ± ten times as large", deviation_times(10), needs_deviations=True),
    Fault("a ± a tenth as large", deviation_times(0.1), needs_deviations=True),
    Fault("the ± of a row made up", deviations_made_up, needs_deviations=True),
    Fault("an average 5 units off", average_off),
    Fault("a number with its first two digits swapped", digits_swapped),
    Fault("a number 10 to 90 units off", typo(10, 90)),
    Fault("a number 10 to 90 units off, no average printed", typo(10, 90, with_average=False)),
    Fault("a number 1 to 4 units off", typo(1, 4)),
    Fault("a number 1 to 4 units off, no average printed", typo(1, 4, with_average=False)),
    Fault("a row made up, average adapted", row_made_up),
)


def findings(text: str, setting: Setting) -> list[Finding]:
    """What the audit finds in a table's text."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "made.csv"
        path.write_text(text, encoding="utf-8")
        table = read_loose(path)
    images = {f"D{number}": count for number, count in enumerate(IMAGES[: setting.datasets])}
    typed = Typed(setting.runs, images) if setting.is_typed else Typed()
    return audit_tables([table], TypedSamples(REGISTRY, typed, table)).of(FINDING)


def counted(fault: Fault, setting: Setting, replicates: int) -> int:
    """In how many made-up tables the planted fault is found; of none, how many have a finding."""
    rng = np.random.default_rng([*fault.name.encode(), *setting.title.encode()])
    count = 0
    for _ in range(replicates):
        table = made(rng, setting)
        row, column = fault.plant(rng, table)
        count += any(_names(each, row, column) for each in findings(table.text(), setting))
    return count


def _names(finding: Finding, row: str, column: str) -> bool:
    """Whether a finding is of the row or the column; of any where none is asked."""
    return not (row or column) or (row,) == finding.row or (column,) == finding.column


def deviations_that_can_be(images: int, runs: int, decimals: int, replicates: int) -> int:
    """Of so many ± between 0.1 and 0.6 beside a mean that can be, how many can be with n - 1 or with n."""
    rng = np.random.default_rng([images, runs, decimals])
    count = 0
    for _ in range(replicates):
        right = int(rng.integers(images * runs // 2, images * runs * 95 // 100))
        mean = f"{100 * right / (images * runs):.{decimals}f}"
        std = rounded(f"{rng.uniform(0.1, 0.6):.{decimals}f}")
        count += any(
            deviation_is_attainable(total, std, images, runs, less)
            for total in totals(rounded(mean), images, runs)
            for less in (SAMPLE, POPULATION)
        )
    return count


def reach(replicates: int) -> list[str]:
    """What share of printed ± can be at all, as Markdown."""
    decimals = (1, 2, 3)
    lines = [
        "| ± that can be, percent | " + " | ".join(f"{d} decimal{'s' * (d > 1)}" for d in decimals) + " |",
        "|---|" + "---:|" * len(decimals),
    ]
    for images in (810, 3669, 5794, 10000):
        for runs in (2, 3, 5):
            shares = [round(100 * deviations_that_can_be(images, runs, d, replicates) / replicates) for d in decimals]
            lines.append(f"| {runs} runs on {images:,} images | {' | '.join(map(str, shares))} |")
    return lines


def measured(share: float = 1.0) -> str:
    """The tables as Markdown, with the command and the machine; ``share`` of the replicates."""
    started = time.process_time()
    replicates = max(1, round(share * REPLICATES))
    lines = [
        "| planted | " + " | ".join(setting.title for setting in SETTINGS) + " |",
        "|---|" + "---:|" * len(SETTINGS),
    ]
    for fault in (TRUE, *FAULTS):
        cells = [
            "" if fault.needs_deviations and setting.runs == 1 else str(counted(fault, setting, replicates))
            for setting in SETTINGS
        ]
        lines.append(f"| {fault.name} | {' | '.join(cells)} |")
        print(lines[-1], flush=True)
    lines += ["", *reach(5 * replicates)]
    summary = (
        f"Above: tables of {replicates} in which it is found; the first row counts false alarms. Below: of "
        f"{5 * replicates:,} drawn from 0.1 to 0.6 beside a mean that can be. "
        f"`python benchmarks/audit_power.py`, {machine(time.process_time() - started)}"
    )
    return "\n".join([*lines, "", summary])


if __name__ == "__main__":
    measure(__doc__, measured, BEGIN, END)

"""A page of results while it is made: the tables of some targets, with their runs and every way to look at them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import bench
from bench.commands.request import Request
from bench.commands.standings import duration
from bench.errors import InputError
from bench.launch.launcher import Queued
from bench.launch.status import Snapshot, state
from bench.notation import counted, listed
from bench.plan.table import Place, Plan, TablePlan
from bench.report.choices import Viewpoint, cells_in, sources_of, viewpoints
from bench.report.contents import PageChoice, PageClasses, PageHead, PageImageSets, PageTable
from bench.report.page import part
from bench.report.runs import COSTS, MANY, Gathering
from bench.report.sheets import page_cells, page_sheet
from bench.rules import AUTO, SELECTIONS, TESTS
from bench.sheets.view import Look, sheet_of
from bench.tables.compare import Table, fill_table
from bench.tables.results import Results, results_of

SEVERAL = ("metric", "selection", "test")
"""Options of which a page can hold several."""


def alone(request: Request, target: str) -> Request:
    """A request about one of its targets, or a table of one."""
    if request.targets == (target,):
        return request
    return replace(request, targets=(target,))


@dataclass
class PageInMaking:
    """A page while it is gathered.

    Attributes:
        typed: what is asked for beside the first of each, by option; what is not there has its usual choices.
        parts: what the page opens later, by name.
    """

    request: Request
    typed: dict[str, tuple[str, ...]]
    tables: list[PageTable] = field(default_factory=list)
    parts: dict[str, bytes] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        count = len(self.request.plan.unique)
        self.store = Snapshot(self.request.results)
        self.gathering = Gathering(self.store, many=count > MANY)
        if self.gathering.many:
            self.notes.append(f"Of {counted(count, 'run')} the last point of each curve is here, and no log.")

    def add(self, request: Request) -> None:
        """Add the tables of one target."""
        plan = request.plan
        results = results_of(plan, self.store)
        for table in plan.tables:
            each = alone(request, table.name) if len(plan.tables) > 1 else request
            self.tables.append(self.table(each, table, results))

    def table(self, request: Request, planned: TablePlan, results: Results) -> PageTable:
        """A table with its runs and all ways to look at it."""
        usual = fill_table(planned, results)
        classes, images = self.answers(usual, results)
        places = dict[Place, str]()
        for inside, runs in self.gathering.parts_of(planned, results, classes):
            places |= dict.fromkeys(inside, self.put(part(runs)))
        cells, along = page_cells(planned, places)
        choices = [*self.choices(request, usual, results)]
        return PageTable(planned.name, planned.title, choices, cells, along, images)

    def answers(self, table: Table, results: Results) -> tuple[dict[Place, PageClasses], str]:
        """How the runs of each cell did by class, and the part with how all did by image, where the runs are few."""
        from bench.report.classes import UP_TO, KeptAnswers

        if len(self.request.plan.unique) > UP_TO:
            return {}, ""
        answers = KeptAnswers(table, results)
        sets = [*answers.images()]
        return answers.classes(), self.put(part(PageImageSets(sets))) if sets else ""

    def choices(self, request: Request, usual: Table, results: Results) -> Iterator[PageChoice]:
        """Every way to look at a table, with a sheet for each."""
        for view in self.viewpoints(usual):
            asked = request.with_overrides(
                **{name: getattr(view, name) or getattr(request.overrides, name) for name in SEVERAL}
            )
            try:
                table = usual if not view.changes else _filled(asked.plan, usual, results)
            except InputError:  # too many seeds for an exact test, or a metric that the target has not
                if self.is_typed(view):
                    raise
                continue
            for source in sources_of(table):
                look = Look(source, command=asked.command("run"))
                sheet = sheet_of(table, look, source)
                typed = f" --source {source}" if table.plan.is_published else ""
                yield PageChoice(
                    metric=table.plan.measured,
                    selection=table.plan.rules.selection,
                    test=table.test_name if any(True for _ in table.pairs()) else "",
                    source=source,
                    command=asked.command("table") + typed,
                    part=self.put(part(page_sheet(sheet, table, source, results, self.gathering.costs))),
                )

    def viewpoints(self, table: Table) -> list[Viewpoint]:
        """What the page answers of a table."""
        if not table.finished:
            return [Viewpoint()]
        measured = {entry.planned.metric.name for entry in table.finished}
        metrics_here = self.request.registry.metrics
        scored = [name for name in self.gathering.metrics if name in metrics_here]
        metrics = self.typed.get("metric", (*scored, *COSTS.values()))
        selections = self.typed.get("selection", SELECTIONS if self.gathering.has_validation else ("last", "best-test"))
        tests = self.typed.get("test", TESTS if any(True for _ in table.pairs()) else ())
        rules = table.plan.rules
        each = (
            [name for name in metrics if {name} != measured],
            [rule for rule in selections if rule != rules.selection],
            [test for test in tests if test not in (AUTO, rules.test)],
        )
        answered = viewpoints(*each, cells=cells_in([table.plan]), is_typed=self.is_typed)
        kinds = [kind for kind, values in zip(SEVERAL, each, strict=True) if values and kind not in self.typed]
        absent = [kind for kind in kinds if not any(getattr(view, kind) for view in answered)]
        if absent:
            options = " ".join(f"--{kind} A,B" for kind in absent)
            self.notes.append(
                f"{table.plan.name} is large: to switch {listed((*absent,))}, write the page with {options}."
            )
        return answered

    def is_typed(self, view: Viewpoint) -> bool:
        """Whether a way to look is made of what was typed alone."""
        return all(not getattr(view, name) or getattr(view, name) in self.typed.get(name, ()) for name in SEVERAL)

    def put(self, content: bytes) -> str:
        """Put something into the page. Returns its name."""
        name = f"part-{len(self.parts)}"
        self.parts[name] = content
        return name

    def progress(self, queued: Queued | None = None) -> tuple[str, bool]:
        """How far the runs are, in words, and whether some run or wait; ``queued`` is what a cluster says."""
        progress = state(self.request.plan.unique, self.store, queued)
        counts = {
            "in training": progress.running,
            "in a queue": progress.queued,
            "failed": len(progress.failed),
            "missing": progress.missing,
        }
        words = [f"{progress.done:,} of {counted(progress.runs, 'run')} done"]
        words += [f"{count:,} {what}" for what, count in counts.items() if count]
        words += [f"about {duration(progress.seconds_left)} left"] if progress.seconds_left else []
        return ", ".join(words), bool(progress.running or progress.queued)

    @property
    def units(self) -> dict[str, str]:
        """What the metrics that runs were scored by are called, those of further tests and models too."""
        units = dict[str, str]()
        for name in self.gathering.metrics:
            plain, _, where = name.partition("@")
            if metric := self.request.registry.metrics.get(plain):
                units[name] = (metric.at(where) if where else metric).heading
        return units

    def head(self, progress: str) -> PageHead:
        """What the page opens with."""
        titles = [table.title for table in self.tables]
        return PageHead(
            title=titles[0] if len(titles) == 1 else f"{counted(len(titles), 'table')}: {self.request.target}",
            command=self.request.command("report"),
            version=bench.__version__,
            tables=self.tables,
            versions=self.gathering.versions.items,
            hardware=self.gathering.hardware.items,
            notes=self.notes,
            progress=progress,
            units=self.units,
        )


def _filled(plan: Plan, like: Table, results: Results) -> Table:
    """The table of another plan that is in the place of one."""
    (planned,) = [table for table in plan.tables if table.name == like.plan.name]
    return fill_table(planned, results)

"""A page in which people look at their results: ``report``."""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import bench
from bench.commands.request import Request, add_target_command, add_tests, collecting_later, request_of, say_damaged
from bench.errors import InputError
from bench.metrics import METRICS
from bench.notation import counted, listed
from bench.plan.table import Plan, TablePlan
from bench.records.files import write_file
from bench.report.choices import Wish, cells_in, names_of, sources_of, wishes
from bench.report.contents import PageChoice, PageTable, Report
from bench.report.page import Link, index_page, part, write_page
from bench.report.runs import COSTS, MANY, Gathering
from bench.report.sheets import page_cells, page_sheet
from bench.rules import AUTO, SELECTIONS, TESTS
from bench.sheets.view import Look, sheet_of
from bench.tables.compare import Table, fill_table
from bench.tables.results import Results, results_of

EXAMPLES = """
The page needs no server and no network: it opens from a mail. It has the table, alive, with the runs behind each cell.

examples:
  bench report demo                            RESULTS/reports/demo.html
  bench report demo --output demo.html
  bench report demo gta/table2                 several targets in one page
  bench report demo gta --folder pages         a page for each target, and one that lists them
  bench report demo --metric top1,nll,seconds  metrics to switch to (default: as many as are soon computed)
  bench report demo --selection last,best-val --test auto,welch   likewise rules and tests
"""
SEVERAL = ("metric", "selection", "test")
"""Options of which the page can hold several."""


def add(commands: Any) -> None:
    """Add the command to a parser's."""
    about = "a page in which to look at results: one file, to be opened in a browser and handed on"
    report = add_target_command(commands, "report", report_command, about, EXAMPLES, several=True)
    add_tests(report)
    report.add_argument("--output", type=Path, metavar="FILE", help="the page (default: RESULTS/reports/TARGET.html)")
    report.add_argument("--folder", type=Path, metavar="DIR", help="a page for each target there, and index.html")


def report_command(options: argparse.Namespace) -> int:
    """Write the page, or one for each target."""
    _check(options)
    typed = {name: [*names_of(getattr(options, name))] for name in SEVERAL}
    for name in SEVERAL:
        setattr(options, name, next(iter(typed[name]), ""))
    request = request_of(options)
    for name, values in typed.items():
        for value in values:
            request.with_overrides(**{name: value}).overrides.check(request.registry.metrics)
    more = {name: tuple(values[1:]) for name, values in typed.items() if values}
    if options.folder is not None:
        return _write_folder(request, more, options.folder)
    if options.output is None:
        request.store.check_writable()
    output = options.output or request.results / "reports" / f"{_stem(request.plan.variant)}.html"
    _write(output, _gathered(request, more))
    print(output)
    return 0


def _gathered(request: Request, typed: dict[str, tuple[str, ...]]) -> Page:
    """The page of some targets, from the records there are."""
    page = Page(request, typed)
    with collecting_later():
        for target in request.targets:
            page.add(_alone(request, target))
    say_damaged(page.gathering.store)
    return page


def _write_folder(request: Request, typed: dict[str, tuple[str, ...]], folder: Path) -> int:
    """A page for each target, and one that lists them."""
    links = list[Link]()
    for target in request.targets:
        alone = _alone(request, target)
        page, name = _gathered(alone, typed), f"{_stem(alone.plan.variant)}.html"
        if name in {link.file for link in links}:
            name = f"{len(links) + 1}-{name}"
        _write(folder / name, page)
        links.append(Link(name, target, page.report.title, len(alone.plan.unique)))
        print(folder / name)
    _write_text(folder / "index.html", index_page(links, request.command("report")))
    print(folder / "index.html")
    return 0


def _check(options: argparse.Namespace) -> None:
    """Refuse places where no page can be written."""
    if options.output is not None and options.folder is not None:
        raise InputError("--output and --folder: a page is one file, or a folder has a page for each target; give one")
    if options.output is not None and options.output.suffix not in (".html", ".htm"):
        raise InputError(f"--output {options.output}: a page is an .html file")
    if options.output is not None and not options.output.parent.is_dir():
        raise InputError(f"--output {options.output}: there is no folder {options.output.parent}")


def _alone(request: Request, target: str) -> Request:
    """A request about one of its targets, or a table of one."""
    if request.targets == (target,):
        return request
    return Request((target,), request.overrides, request.registry, request.results, request.plugins, request.place)


def _stem(name: str) -> str:
    """What a page's file is called."""
    return re.sub(r"[^\w.]+", "-", name).strip("-.")[:100] or "report"


def _write(path: Path, page: Page) -> None:
    _write_text(path, "".join(write_page(page.report, page.parts)))


def _write_text(path: Path, text: str) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_file(path, text)
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}") from None


@dataclass
class Page:
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
        self.gathering = Gathering(self.request.store, many=count > MANY)
        if self.gathering.many:
            self.notes.append(f"Of {counted(count, 'run')} the last point of each curve is here, and no log.")

    def add(self, request: Request) -> None:
        """Add the tables of one target."""
        plan = request.plan
        results = results_of(plan, self.gathering.store)
        for table in plan.tables:
            each = _alone(request, table.name) if len(plan.tables) > 1 else request
            self.tables.append(self.table(each, table, results))

    def table(self, request: Request, planned: TablePlan, results: Results) -> PageTable:
        """A table with its runs and all ways to look at it."""
        usual = fill_table(planned, results)
        classes = self.classes(usual, results)
        places = dict[tuple[int, int], str]()
        for inside, runs in self.gathering.parts_of(planned, results, classes):
            places |= dict.fromkeys(inside, self.put(part(runs)))
        cells, along = page_cells(planned, places)
        choices = [*self.choices(request, usual, results)]
        return PageTable(planned.name, planned.title, choices, cells, along)

    def classes(self, table: Table, results: Results) -> dict[tuple[int, int], Any]:
        """How the runs of each cell did by class, where there are so few runs that it is soon known."""
        from bench.report.classes import UP_TO, classes_of_cells

        if len(self.request.plan.unique) > UP_TO:
            return {}
        return dict(classes_of_cells(table, results))

    def choices(self, request: Request, usual: Table, results: Results) -> Iterator[PageChoice]:
        """Every way to look at a table, with a sheet for each."""
        for wish in self.wishes(usual):
            asked = request.with_overrides(
                **{name: getattr(wish, name) or getattr(request.overrides, name) for name in SEVERAL}
            )
            try:
                table = usual if not wish.changes else _filled(asked.plan, usual, results)
            except InputError:  # too many seeds for an exact test, or a metric that the target has not
                if self.is_typed(wish):
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

    def wishes(self, table: Table) -> list[Wish]:
        """What the page answers of a table."""
        if not table.finished:
            return [Wish()]
        measured = {entry.planned.metric.name for entry in table.finished}
        scored = [name for name in self.gathering.metrics if name in METRICS]
        metrics = self.typed.get("metric", (*scored, *COSTS.values()))
        selections = self.typed.get("selection", SELECTIONS if self.gathering.has_validation else ("last", "best-test"))
        tests = self.typed.get("test", TESTS if any(True for _ in table.pairs()) else ())
        rules = table.plan.rules
        each = (
            [name for name in metrics if {name} != measured],
            [rule for rule in selections if rule != rules.selection],
            [test for test in tests if test not in (AUTO, rules.test)],
        )
        typed = [wish for wish in wishes(*each, cells=1, most=MANY) if self.is_typed(wish)]
        answered = wishes(*each, cells=cells_in([table.plan]), typed=typed)
        kinds = [kind for kind, values in zip(SEVERAL, each, strict=True) if values and kind not in self.typed]
        absent = [kind for kind in kinds if not any(getattr(wish, kind) for wish in answered)]
        if absent:
            options = " ".join(f"--{kind} A,B" for kind in absent)
            self.notes.append(
                f"{table.plan.name} is large: to switch {listed((*absent,))}, write the page with {options}."
            )
        return answered

    def is_typed(self, wish: Wish) -> bool:
        """Whether a way to look is made of what was typed alone."""
        return all(not getattr(wish, name) or getattr(wish, name) in self.typed.get(name, ()) for name in SEVERAL)

    def put(self, content: bytes) -> str:
        """Put something into the page. Returns its name."""
        name = f"part-{len(self.parts)}"
        self.parts[name] = content
        return name

    @property
    def report(self) -> Report:
        """What the page opens with."""
        titles = [table.title for table in self.tables]
        return Report(
            title=titles[0] if len(titles) == 1 else f"{counted(len(titles), 'table')}: {self.request.target}",
            command=self.request.command("report"),
            version=bench.__version__,
            tables=self.tables,
            versions=self.gathering.versions.items,
            hardware=self.gathering.hardware.items,
            notes=self.notes,
            units={metric.name: metric.heading for metric in METRICS.values()},
        )


def _filled(plan: Plan, like: Table, results: Results) -> Table:
    """The table of another plan that is in the place of one."""
    (planned,) = [table for table in plan.tables if table.name == like.plan.name]
    return fill_table(planned, results)

"""A page in which people look at their results: ``report``."""

from __future__ import annotations

import argparse
import re
import time
from pathlib import Path
from typing import Any

from bench.commands.launching import ask_queues
from bench.commands.options import add_watch, check_watch
from bench.commands.page_making import SEVERAL, PageInMaking, alone
from bench.commands.request import Request, add_target_command, add_tests, collecting_later, request_of, say_damaged
from bench.errors import InputError
from bench.reading.syntax import split_list
from bench.records.files import write_file
from bench.report.page import PageLink, index_page, write_page

EXAMPLES = """
The page needs no server and no network: it opens from a mail. It has the table, alive, with the runs behind each cell.

examples:
  bench report demo                            RESULTS/reports/demo.html
  bench report demo --output demo.html
  bench report demo gta/table2                 several targets in one page
  bench report demo gta --folder pages         a page for each target, and one that lists them
  bench report demo --watch                    while 'bench run demo' trains: again every ten seconds
  bench report demo --metric top1,nll,seconds  metrics to switch to (default: as many as are soon computed)
  bench report demo --selection last,best-val --test auto,welch   likewise rules and tests
"""


def add(commands: Any) -> None:
    """Add the command to a parser's."""
    about = "a page in which to look at results: one file, to be opened in a browser and handed on"
    report = add_target_command(commands, "report", report_command, about, EXAMPLES, several=True)
    add_tests(report)
    report.add_argument("--output", type=Path, metavar="FILE", help="the page (default: RESULTS/reports/TARGET.html)")
    add_watch(report, "write it again and again until nothing runs; a browser that shows it reads it again")
    report.add_argument("--folder", type=Path, metavar="DIR", help="a page for each target there, and index.html")


def report_command(options: argparse.Namespace) -> int:
    """Write the page, or one for each target."""
    _check(options)
    typed = {name: split_list(getattr(options, name)) for name in SEVERAL}
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
    while _write(request, more, output, options.watch):
        time.sleep(options.watch)
    print(output)
    return 0


def _write(request: Request, typed: dict[str, tuple[str, ...]], path: Path, seconds: float | None = None) -> bool:
    """Write a page, which browsers read again after some seconds while runs are trained. Whether it is to be again."""
    page = _gathered(request, typed)
    queued = None
    if seconds is not None:
        unfinished = request.plan.unique.keys() - page.store.finished().keys()
        queued = ask_queues(request.registry, page.store.root, unfinished)
    progress, goes_on = page.progress(queued)
    refresh = seconds if seconds is not None and goes_on else None
    _write_text(path, "".join(write_page(page.head(progress), page.parts, refresh)))
    return refresh is not None


def _gathered(request: Request, typed: dict[str, tuple[str, ...]]) -> PageInMaking:
    """The page of some targets, from the records there are."""
    page = PageInMaking(request, typed)
    with collecting_later():
        for target in request.targets:
            page.add(alone(request, target))
    say_damaged(page.store)
    return page


def _write_folder(request: Request, typed: dict[str, tuple[str, ...]], folder: Path) -> int:
    """A page for each target, and one that lists them."""
    links = list[PageLink]()
    for target in request.targets:
        each = alone(request, target)
        name = f"{_stem(each.plan.variant)}.html"
        if name in {link.file for link in links}:
            name = f"{len(links) + 1}-{name}"
        _write(each, typed, folder / name)
        links.append(PageLink(name, target, each.plan.title or target, len(each.plan.unique)))
        print(folder / name)
    _write_text(folder / "index.html", index_page(links, request.command("report")))
    print(folder / "index.html")
    return 0


def _check(options: argparse.Namespace) -> None:
    """Refuse places where no page can be written."""
    check_watch(options)
    if options.watch is not None and options.folder is not None:
        raise InputError("--watch and --folder: one page is watched; name it with --output")
    if options.output is not None and options.folder is not None:
        raise InputError("--output and --folder: a page is one file, or a folder has a page for each target; give one")
    if options.output is not None and options.output.suffix not in (".html", ".htm"):
        raise InputError(f"--output {options.output}: a page is an .html file")
    if options.output is not None and not options.output.parent.is_dir():
        raise InputError(f"--output {options.output}: there is no folder {options.output.parent}")


def _stem(name: str) -> str:
    """What a page's file is called."""
    return re.sub(r"[^\w.]+", "-", name).strip("-.")[:100] or "report"


def _write_text(path: Path, text: str) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_file(path, text)
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}") from None

"""A page of tables that have no runs of ours behind them: somebody's own numbers."""

from __future__ import annotations

from collections.abc import Sequence

import bench
from bench.notation import counted
from bench.report.choices import sources_of
from bench.report.contents import PageChoice, PageHead, PageTable
from bench.report.page import part
from bench.report.sheets import page_cells, page_sheet
from bench.sheets.view import Look, sheet_of
from bench.tables.compare import Table


def imported_page(
    tables: Sequence[Table], look: Look, command: str, written_by: str
) -> tuple[PageHead, dict[str, bytes]]:
    """What a page of tables opens with, and its parts.

    Args:
        tables: one a metric.
        look: how they are shown.
        command: that prints them.
        written_by: the command that writes the page.
    """
    parts, pages = dict[str, bytes](), list[PageTable]()
    for table in tables:
        choices = list[PageChoice]()
        for source in (look.source,) if look.source else sources_of(table):
            name = f"part-{len(parts)}"
            parts[name] = part(page_sheet(sheet_of(table, look, source), table, source, None, {}))
            rules, typed = table.plan.rules, f" --source {source}" if table.plan.is_published else ""
            choices.append(
                PageChoice(table.plan.measured, rules.selection, table.test_name, source, command + typed, name)
            )
        pages.append(PageTable(table.plan.name, table.plan.title, choices, *page_cells(table.plan, {})))
    title = pages[0].title if len(pages) == 1 else f"{pages[0].title}: {counted(len(pages), 'metric')}"
    return PageHead(title, written_by, bench.__version__, pages, [], [], [], {}), parts

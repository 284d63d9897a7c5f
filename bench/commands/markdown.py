"""Tables in Markdown, for the pages that commands print."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

Cells = Sequence[str]
"""Of one line of a table."""


def markdown_table(head: Cells, rows: Iterable[Cells]) -> str:
    """A table in Markdown; a column in which nothing stands is left out."""
    body = list(rows)
    filled = [at for at in range(len(head)) if any(row[at] for row in body)]
    lines = [head, ["---"] * len(head), *([cell.replace("|", r"\|") for cell in row] for row in body)]
    return "\n".join(f"| {' | '.join(line[at] for at in filled)} |" for line in lines)

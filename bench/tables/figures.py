"""Figures of tables as files; matplotlib is imported when something is drawn."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from bench.errors import InputError
from bench.papers.published import Key
from bench.stats.reach import refusal
from bench.tables.across import Group, complete
from bench.tables.compare import Table


def write_figure(table: Table, folder: Path, name: str) -> list[Path]:
    """Draw the metric against the sampling rate, as PNG and PDF. Returns the paths."""
    from bench.tables.figure import figure

    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{name}.png", folder / f"{name}.pdf"]
    figure(table, paths)
    return paths


def write_gaps(table: Table, name: str, folder: Path, output: Path | None = None) -> list[Path]:
    """Draw the difference of each method to its baseline, with intervals, as PNG and PDF. Returns the paths.

    Args:
        table: with a baseline.
        name: what it is of, and of the files: ``NAME-gaps.png``.
        folder: where they are written.
        output: one file instead, .png or .pdf.

    Raises:
        InputError: the table has no baseline, or no method has finished where its baseline has, or there are too many
            for a page; nothing is written.
    """
    if not table.plan.baseline:
        raise InputError(f"{name}: a figure of gaps is of differences to a baseline, and the table names none")
    from bench.tables.gaps import gaps, page_of  # matplotlib: only when something is drawn

    try:
        page_of(table)
    except ValueError as error:
        raise InputError(f"{name}: {error}") from None
    if output is None:
        folder.mkdir(parents=True, exist_ok=True)
    files = [output] if output else [folder / f"{name}-gaps{suffix}" for suffix in (".png", ".pdf")]
    gaps(table, files)
    return files


def write_diagrams(
    groups: Mapping[Key, Group],
    name: str,
    folder: Path,
    output: Path | None = None,
    alpha: float = 0.05,
    lower: bool = False,
) -> list[Path]:
    """Draw a critical-difference diagram of the mean ranks over the datasets, one for each group. Returns the paths.

    Args:
        groups: the values by method and dataset, by the labels that a group has in common (a backbone, a rate).
        name: what it is of; with the labels the names of the files.
        folder: where PNG and PDF are written.
        output: one file instead, .png or .pdf; there must then be one group.
        alpha: level of the critical difference.
        lower: whether less is better.

    Raises:
        InputError: there are fewer than two methods or too few datasets for a claim about datasets like these, or
            several groups and one file; nothing is written.
    """
    completed = {where: complete(group) for where, group in groups.items()}
    if not completed:
        raise InputError(f"{name}: nothing to draw: there are no numbers of methods on datasets")
    for where, (methods, common, _) in completed.items():
        place = f"{name}, {' / '.join(where)}" if where else name
        if len(methods) < 2:
            raise InputError(f"{place}: ranks take two methods or more; {len(methods)} has finished runs")
        if hopeless := refusal("wilcoxon", len(common), alpha=alpha):
            raise InputError(
                f"{place}: a critical-difference diagram is about datasets like these, on which all {len(methods)} "
                f"methods have finished: {hopeless}"
            )
    if output is not None and len(completed) > 1:
        places = "; ".join(" / ".join(where) for where in completed)
        raise InputError(f"--output {output}: there is a diagram for each of {places}; choose one with --rates")
    from bench.tables.diagram import diagram  # matplotlib: only when something is drawn

    paths: list[Path] = []
    for where, (methods, _, means) in completed.items():
        stem = re.sub(r"[^A-Za-z0-9._]+", "-", "-".join(["cd", *where])).strip("-") if len(completed) > 1 else "cd"
        files = [output] if output else [folder / f"{name}-{stem}{suffix}" for suffix in (".png", ".pdf")]
        files[0].parent.mkdir(parents=True, exist_ok=True)
        diagram(-means if lower else means, methods, files, alpha)
        paths += files
    return paths

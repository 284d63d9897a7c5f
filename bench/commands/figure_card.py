"""What ``bench show`` says of a paper's figure and of a kind of figure: nothing that draws is loaded."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from bench.errors import to_type
from bench.figures.figure import KINDS, about
from bench.papers.figure import EVERY, MODEL, PaperFigure, paper_figure
from bench.registry import Registry
from bench.rules import SOURCE

OF_MODEL = {MODEL: (), SOURCE: ("--of", SOURCE), EVERY: ("--points", "all")}
"""How it is typed which models are measured."""


def figure_cards(name: str, registry: Registry) -> Iterator[tuple[str, dict[str, Any]]]:
    """What there is to say of a paper's figure, or of a kind of figure, of that name: for people, and as plain data."""
    if name in registry.figure_files:
        figure = paper_figure(name, registry)
        lines = [f"figure {figure.name}: {figure.title}", *(f"  {line}" for line in figure_lines(figure))]
        yield "\n".join(lines), {"kind": "figure", "about": figure.title, **asdict(figure)}
    if name in KINDS:
        drawn = f"bench figure TARGET --kind {name}"
        facts = {"kind": "kind of figure", "name": name, "about": about(name), "drawn by": drawn}
        yield f"kind of figure {name}: {about(name)}\n  drawn by: {drawn}", facts


def figure_lines(figure: PaperFigure) -> list[str]:
    """What a figure shows, what is not there of it, and the commands that make it, a line each."""
    keep = f"the trained models that it needs are kept ({figure.keep})" if figure.keep else "no model is kept"
    lines = [f"the paper's: {figure.shows}", f"not there: {figure.lacks}"]
    for drawing in figure.drawings:
        cells = f" ({'; '.join(drawing.cells)})" if drawing.cells else ""
        named = f"{drawing.name}: " if drawing.name else ""
        lines.append(f"{named}{drawing.kind} of {drawing.table}{cells}")
    lines.append(f"{to_type('run', figure.name)} trains its runs; {keep}")
    lines += [f"{command} measures them" for command in dict.fromkeys(_measuring(figure))]
    lines.append(f"{to_type('figure', figure.name)} draws it")
    if figure.printed is None:
        return [*lines, "published: the paper prints no numbers of it"]
    printed = to_type("figure", figure.name, "--source", "published")
    return [*lines, f"{printed} draws what the paper prints: {figure.printed.measured} ({figure.printed.source})"]


def _measuring(figure: PaperFigure) -> Iterator[str]:
    """The commands that measure what a figure needs."""
    for drawing in figure.drawings:
        split = ["--split", drawing.split] if drawing.split else []
        for model in drawing.models if drawing.measures else ():
            yield to_type("measure", figure.name, *drawing.measures, *split, *OF_MODEL[model])

"""Figures of papers: what one shows, and which of our runs draw the like (``paper_tables/PAPER/figures/figN.yaml``).

A figure has one drawing or several. Each is a kind of ``bench list figures``, of some cells of one of the paper's
tables; what they need of kept models is named, so that what is missing is told with the command that makes it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from bench.errors import InputError, Problems, choose
from bench.papers.labels import matches
from bench.papers.published import mapping
from bench.papers.stated import read_stated
from bench.reading.document import Section, read_document
from bench.reading.keys import Key, check_keys
from bench.records.kept import KEEPS, NOTHING, Keep, read_keep
from bench.registry import Registry
from bench.rules import SELECTIONS, SOURCE, SPLITS, TRAIN

MODEL, EVERY = "model", "all"
POINTS = (MODEL, SOURCE, EVERY)
"""Which models are measured: the one that a table counts, the one that runs started from, those of every point."""

KEYS = (
    Key("title", (str,), "what the figure shows, with its number"),
    Key("shows", (str,), "what the paper's figure shows, in one's own words"),
    Key("lacks", (str,), "what of it is not there, and why"),
    Key("keep", (str,), f"the trained models that it needs: {', '.join(KEEPS)}", default="none"),
    Key("drawings", (list,), "what is drawn of our runs (see below)"),
    Key("printed", (dict,), "the numbers that the paper prints, for `--source published` (see below)"),
)
DRAWING_KEYS = (
    Key("name", (str,), "of its file, where there are several"),
    Key("kind", (str,), "what it shows (`bench list figures`)"),
    Key("table", (str,), "the table of the paper whose runs are drawn, by its file's name"),
    Key("cells", (list,), "labels of the cells that are drawn; `GTA & 15%` has both", default="all"),
    Key("hyper", (dict,), "in the place of the table's: `{gta: {weight: {value: [0.1, 1], source: paper 4.5}}}`"),
    Key("metric", (str,), "what is drawn (`bench list metrics`)", default="the table's"),
    Key("selection", (str,), "the point of a run's curve", SELECTIONS, "the paper's; `last` where models are measured"),
    Key("split", (str,), "whose images are drawn", (*SPLITS, TRAIN), "test"),
    Key("measures", (list,), "what has to be measured of kept models (`bench list measures`)"),
    Key("models", (list,), "of which models", POINTS, f"[{MODEL}]"),
    Key("width", (str,), "of the figure", ("column", "page"), "what suits"),
)
PRINTED_KEYS = (
    Key("measured", (str,), "what the numbers are"),
    Key("lower", (bool,), "whether less is better", default="false"),
    Key("source", (str,), "where in the paper they are printed"),
    Key("values", (dict,), "by label; by group and label where there are groups: `{DINO: {after: 83.8}}`"),
)


@dataclass(frozen=True)
class DeclaredDrawing:
    """One drawing of a figure; what is not written is empty.

    Attributes:
        name: of its file, where a figure has several.
        table: ``paper/table``.
        cells: selectors of cells by their labels; none keeps all.
        hyper: hyper-parameters by method, in the place of the table's.
        measures: of kept models; ``models`` says of which.
    """

    name: str
    kind: str
    table: str
    cells: tuple[str, ...] = ()
    hyper: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    metric: str = ""
    selection: str = ""
    split: str = ""
    measures: tuple[str, ...] = ()
    models: tuple[str, ...] = (MODEL,)
    width: str = ""
    place: str = ""


@dataclass(frozen=True)
class PrintedNumbers:
    """Numbers that a paper prints of a figure, by group and label; a group without a name where there is one alone."""

    measured: str
    lower: bool
    source: str
    values: Mapping[str, Mapping[str, float]]


@dataclass(frozen=True)
class PaperFigure:
    """A figure of a paper, named ``paper/figN``; ``printed`` is None where the paper prints no number of it."""

    name: str
    title: str
    shows: str
    lacks: str
    drawings: tuple[DeclaredDrawing, ...]
    keep: Keep = NOTHING
    printed: PrintedNumbers | None = None

    @property
    def paper(self) -> str:
        return self.name.partition("/")[0]


def paper_figure(name: str, registry: Registry) -> PaperFigure:
    """A paper's figure. Raises ``InputError``: there is none of that name, or all that is wrong with its file."""
    if name not in registry.figure_files:
        raise InputError(choose(name, registry.figure_files, "figure"))
    document, problems = read_document(registry.figure_files[name]), Problems()
    check_keys(document, KEYS, "key of a figure", problems)
    texts = {key: _text(document, key, problems) for key in ("title", "shows", "lacks")}
    drawings = [_drawing(each, document, name, registry, problems) for each in document.get("drawings") or [None]]
    if len({drawing.name for drawing in drawings}) < len(drawings):
        problems.add(f"{document.place('drawings')}: each of several drawings has a 'name' of its own")
    keep = NOTHING
    try:
        keep = read_keep(document["keep"], document.place("keep")) if "keep" in document else NOTHING
    except InputError as error:
        problems.add(error)
    printed = _printed(document["printed"], problems) if "printed" in document else None
    problems.stop()
    return PaperFigure(name, **texts, drawings=tuple(drawings), keep=keep, printed=printed)


def _text(section: Section, key: str, problems: Problems) -> str:
    if key not in section:
        problems.add(f"{section.place()}: '{key}' is missing")
    return " ".join(str(section.get(key, "")).split())


def _drawing(
    written: object, document: Section, figure: str, registry: Registry, problems: Problems
) -> DeclaredDrawing:
    if not isinstance(written, Section):
        problems.add(f"{document.place('drawings')}: 'drawings' is a list of mappings, such as [{{kind: sweep}}]")
        return DeclaredDrawing("", "", "")
    check_keys(written, DRAWING_KEYS, "key of a drawing", problems)
    kind, table = (_text(written, key, problems) for key in ("kind", "table"))
    paper = figure.partition("/")[0]
    if table and f"{paper}/{table}" not in registry.table_files:
        tables = [each.partition("/")[2] for each in registry.tables_of([paper])] if paper in registry.papers else []
        problems.add(f"{written.place('table')}: {choose(table, tables, f'table of {paper}')}")
    for key in ("cells", "measures"):
        if not all(isinstance(word, str) for word in written.get(key, [])):
            problems.add(f"{written.place(key)}: '{key}' is a list of texts")
    measures = tuple(written.get("measures", ()))
    return DeclaredDrawing(
        name=str(written.get("name", "")),
        kind=kind,
        table=f"{paper}/{table}",
        cells=tuple(written.get("cells", ())),
        hyper=_hyper(written, problems),
        metric=str(written.get("metric", "")),
        selection=str(written.get("selection", "last" if measures else "")),
        split=str(written.get("split", "")),
        measures=measures,
        models=tuple(written.get("models", (MODEL,))),
        width=str(written.get("width", "")),
        place=written.place(),
    )


def _hyper(written: Section, problems: Problems) -> dict[str, dict[str, Any]]:
    """The plain values of a drawing's hyper-parameters, each of which has a source."""
    hyper = dict[str, dict[str, Any]]()
    for method, values in written.get("hyper", {}).items():
        if isinstance(values, Section):
            hyper[method] = {name: read_stated(values, name, problems).value for name in values}
        else:
            problems.add(f"{written.place('hyper')}: hyper must be a mapping of a method to a mapping, not {values!r}")
    return hyper


def _printed(written: Section, problems: Problems) -> PrintedNumbers:
    check_keys(written, PRINTED_KEYS, "key of printed numbers", problems)
    measured, source = (_text(written, key, problems) for key in ("measured", "source"))
    values = written.get("values") or {}
    groups = values if any(isinstance(value, Mapping) for value in values.values()) else {"": values}
    for group, numbers in groups.items():
        if not mapping(numbers) or not all(map(_is_number, mapping(numbers).values())):
            where = f" of {group}" if group else ""
            problems.add(f"{written.place('values')}: the values{where} are numbers by label, such as {{GTA: 0.4}}")
    plain = {group: dict(mapping(numbers)) for group, numbers in groups.items()}
    return PrintedNumbers(measured, bool(written.get("lower")), source, plain)


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def is_selected(labels: tuple[str, ...], cells: tuple[str, ...]) -> bool:
    """Whether a cell of some labels is drawn."""
    return not cells or any(matches(labels, cell) for cell in cells)

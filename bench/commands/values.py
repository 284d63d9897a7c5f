"""The values of the papers' protocols and of presets as ``show`` lists them, and as a page of Markdown."""

from __future__ import annotations

import itertools
import textwrap
from collections.abc import Iterable, Iterator, Sequence

import bench
from bench.commands.markdown import markdown_table
from bench.papers.preset import read_preset
from bench.papers.values import PaperValue, counts, counts_in_words, others_of, values_of, values_of_preset
from bench.reading.document import read_document
from bench.registry import Registry

HEAD = """
Every value with which the runs of the papers' tables are trained and scored, and who states it: the paper, its released
code, another paper that it follows, or nobody, so that it is our choice. A value that several labels have from the same
source is one. What no protocol and no table gives of a method, such as a temperature that is not varied, is a value of
the method's own, with its source: `bench show METHOD`. `bench show gta` lists these values of one paper, also of a
plug-in's, and `bench reference --protocols` prints this page.
"""
PRESETS = """
Protocols by name, for experiments (`protocol: {preset: mae}`) and behind `--set preset=mae`. What is written beside a
name is in the place of a preset's value; what a preset does not give is as without it. `bench show mae` lists one.
"""
DIFFERS = "What its authors do and no setting says:"
OTHERS = "Not what the paper did, so that these cells are not compared with what is printed:"


def value_lines(values: Iterable[PaperValue]) -> Iterator[str]:
    """Each value in a line, with its source; in a second one which labels of which tables have it."""
    for value in values:
        yield f"{value.name} = {value.value}  ({value.source or 'no source'})"
        if value.because:
            yield f"  not the paper's: {value.because}"
        if any(value.places):
            yield f"  in {_where(value.places)}"


def other_lines(paper: str, registry: Registry) -> list[str]:
    """Which labels of a paper's tables are not what the paper did, and why, a reason a line."""
    return [f"{_where(places)}: {because}" for because, places in others_of(paper, registry).items()]


def protocols() -> str:
    """The page of the papers and presets of the suite."""
    registry = bench.Registry()
    values = {paper: values_of(paper, registry) for paper in registry.protocol_files}
    numbers = [(paper, *map(str, counts(of_paper).values()), str(len(of_paper))) for paper, of_paper in values.items()]
    kinds = [kind or "without a source" for kind in counts(())]
    blocks = ["# The papers' protocols", _filled(HEAD), markdown_table(("protocol of", *kinds, "values"), numbers)]
    for paper, of_paper in values.items():
        title = read_document(registry.protocol_files[paper]).text("title")
        rows = [(f"`{value.name}` = {value.value}", _source(value), _where(value.places)) for value in of_paper]
        blocks += [f"## {paper}", _filled(f"{title}. Values by who states them: {counts_in_words(of_paper)}.")]
        blocks.append(markdown_table(("value", "who states it", "where"), rows))
        if others := other_lines(paper, registry):
            blocks += [OTHERS, "\n".join(f"- {line}" for line in others)]
    blocks += ["# Presets", _filled(PRESETS)]
    for preset in (read_preset(name, registry) for name in registry.preset_files):
        of_preset = values_of_preset(preset)
        stated = [(f"`{value.name}` = {value.value}", value.source) for value in of_preset]
        blocks += [
            f"## {preset.name}",
            _filled(f"{preset.title}. Values by who states them: {counts_in_words(of_preset)}."),
        ]
        blocks += [markdown_table(("value", "who states it"), stated), DIFFERS]
        blocks.append("\n".join(f"- {line}" for line in preset.differs))
    return "\n\n".join(blocks) + "\n"


def _source(value: PaperValue) -> str:
    return f"{value.source}; not the paper's: {value.because}" if value.because else value.source


def _where(places: Sequence[tuple[str, str]]) -> str:
    """``protocol``, or tables with their labels: ``table1 (FD-DINO & f.t.), table2 (DINO; DeiT)``."""
    tables = []
    for table, of_table in itertools.groupby(places, key=lambda place: place[0]):
        labels = "; ".join(filter(None, (label for _, label in of_table)))
        tables.append(f"{table} ({labels})" if labels else table)
    return ", ".join(tables) or "protocol"


def _filled(text: str) -> str:
    return textwrap.fill(" ".join(text.split()), 120, break_on_hyphens=False)

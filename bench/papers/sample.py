"""What a published cell is measured on: how many test images and runs, who says so, which cell is the same."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from bench.entry import read_entries
from bench.errors import InputError
from bench.papers.labels import assigned, matches, method_parts
from bench.papers.protocol import PaperProtocol, read_paper_protocol
from bench.papers.published import PublishedTable, mapping, published_table
from bench.reading.document import read_document
from bench.registry import Registry

_ACCURACY = re.compile(r"top-?1|acc", re.IGNORECASE)


@dataclass(frozen=True)
class Sample:
    """What an accuracy is the mean of, and who states it; ``reason`` says why something of it is not known."""

    images: int = 0
    runs: int = 0
    source: str = ""
    reason: str = ""


class Samples:
    """Looks up what the cells of papers are measured on; cards and protocols are read once.

    A table's ``audit`` section may say it where it cannot be inferred: ``test`` (images by label), ``runs`` (how many)
    and ``not_checked`` (a reason by label).
    """

    def __init__(self, registry: Registry) -> None:
        self.registry = registry
        self._dataset = cache(registry.dataset)
        self.protocol = cache(self._read_protocol)
        self._stated = cache(self._read_stated)
        self._methods = dict[str, str]()

    def of(self, table: PublishedTable, row: Sequence[str], column: Sequence[str]) -> Sample:
        axes, labels = assigned(table, row, column), (*row, *column)
        for selector, reason in (table.audit.get("not_checked") or {}).items():
            if matches(labels, selector):
                return Sample(reason=str(reason))
        runs, who = self.runs_of(table, axes)
        if images := self.declared_images(table, labels, axes):
            reason = "" if runs else "how many runs a value is the mean of is not stated"
            return Sample(images, runs, f"{images} images as declared for {table.name}; {who}", reason)
        if axes.get("not_run"):
            return Sample(reason=str(axes["not_run"]))
        if axes.get("average") or "fact" in axes or "dataset" not in axes:
            return Sample(reason="it is not the accuracy on one dataset")
        if axes.get("metric") not in (None, "top1"):
            return Sample(reason=f"it is no accuracy but the metric {axes['metric']}")
        if table.metric_as_printed and not _ACCURACY.search(table.metric_as_printed):
            return Sample(reason=f"it is no accuracy but {table.metric_as_printed}")
        images, source, reason = self._images(table, str(axes["dataset"]))
        if not reason and not runs:
            reason = "the paper does not say how many runs a value is the mean of"
        return Sample(images, runs, f"{source}; {who}", reason)

    def declared_images(self, table: PublishedTable, labels: Sequence[str], axes: Mapping[str, Any]) -> int:
        """How many test images the table says that a cell with these labels and axes is of; 0 where it does not."""
        declared = mapping(table.audit.get("test")).items()
        return next((images for selector, images in declared if matches(labels, selector)), 0)

    def identity(self, table: PublishedTable, row: Sequence[str], column: Sequence[str]) -> tuple[str, str]:
        """Two texts by which a cell is known again in another table of the paper: its name in print; what is trained.

        The second is empty where no method is declared, both where it is not said on what the cell is measured.
        """
        axes, protocol = assigned(table, row, column), self.protocol(table.paper)
        if axes.get("average") or not {"dataset", "backbone", "rate"} <= {*axes}:
            return "", ""
        settings = {key: stated.value for key, stated in protocol.settings.items()} if protocol else {}
        shared = [axes[axis] for axis in ("backbone", "dataset", "rate", "metric") if axes.get(axis)]
        setting = (shared, sorted((settings | axes["settings"]).items()))
        labels = table.runs.get("labels") or {}
        names = [label for label in (*row, *column) if {"method", "not_run"} & {*(labels.get(label) or ())}]
        trained = "method" in axes and not (axes.get("not_run") or "fact" in axes)
        method = f"{self._method(axes['method'], axes['hyper'])} {setting}" if trained else ""
        return f"{names} {setting}" if names else "", method

    def _images(self, table: PublishedTable, name: str) -> tuple[int, str, str]:
        """The size of the test set, who states it, and why it is not known."""
        try:
            card = self._dataset(name)
        except InputError as error:
            return 0, "", error.problems[0]
        in_paper = (card.facts.get("papers") or {}).get(table.paper) or {}
        images = card.splits.get("test")
        if in_paper.get("as") == "other":
            source = " ".join(str(in_paper.get("source")).split())
            return 0, "", f"the paper took another split of {card.title}: {source}"
        if card.metric == "mean_per_class":
            return 0, "", f"{card.title} is scored by the mean per class, which is not k/n"
        if images is None:
            return 0, "", f"the card of {card.name} does not say how many test images there are"
        stated = self._stated(table.paper)
        if stated and images not in stated.values():
            return 0, "", f"{', '.join(stated)} has no test set of {images} images, the official size of {card.title}"
        where = next((at for at, size in stated.items() if size == images), "")
        return images, f"{images} images: {where or 'the official test split, as the paper states no size'}", ""

    def _read_stated(self, paper: str) -> Mapping[str, int]:
        """The test sizes in a paper's statistics tables, by table and row."""
        sizes = dict[str, int]()
        names = self.registry.tables_of([paper]) if paper in self.registry.papers else []  # a file has no paper
        tables = [published_table(name, self.registry) for name in names]
        for table in tables:
            tested = [at for at, column in enumerate(table.columns) if "test" in " ".join(column).lower()]
            if table.kind == "statistics":
                for row, cells in zip(table.rows, table.cells, strict=True):
                    sizes |= {f"{table.name}, {' '.join(filter(None, row))}": int(cells[at].number) for at in tested}
        return sizes

    def runs_of(self, table: PublishedTable, axes: Mapping[str, Any]) -> tuple[int, str]:
        """Of how many runs a published value is the mean, and who says so; 0 where nobody does."""
        protocol = self.protocol(table.paper)
        if declared := table.audit.get("runs") or axes.get("seeds"):
            runs, who = int(declared), f"as declared for {table.name}"
        elif protocol and not protocol.seeds.is_ours:
            runs, who = int(protocol.seeds.value), protocol.seeds.source
        else:
            return 0, ""
        return runs, f"{runs} run{'s' * (runs != 1)}: {who}"

    def _read_protocol(self, paper: str) -> PaperProtocol | None:
        path = self.registry.protocol_files.get(paper)
        return read_paper_protocol(read_document(path)) if path else None

    def _method(self, method: Any, hyper: Mapping[str, Mapping[str, Any]]) -> str:
        """A method with all its hyper-parameters, so that a default and the same value written out are one."""
        parts = method_parts(method, hyper)
        key = repr(parts)
        if key not in self._methods:
            try:
                specs = [entry.spec for entry in read_entries("+".join(parts), parts, "", self.registry)]
                self._methods[key] = repr(specs)
            except InputError:
                self._methods[key] = key
        return self._methods[key]

"""What a page of results holds, part by part, in the form in which its script reads it.

A page opens with its ``PageHead``. Whatever is long lies in parts of its own, each by its name, that are read when
somebody looks at them: a sheet for each choice (``PageSheet``), and the runs of neighbouring cells (``PageRuns``).
What many runs have in common stands once, and runs name it by its place.
"""

from __future__ import annotations

from typing import Any

from msgspec import Struct

Place = tuple[int, int]
"""Row and column of a cell in the plan of its table, counted from 0."""


class PageSheet(Struct, frozen=True, omit_defaults=True):
    """A table under one choice, as ``bench table`` shows it.

    Attributes:
        cells: by row and column; the fields of ``bench.sheets.sheet.Shown`` in their order, empty ones at the end cut.
        numbers: which fact of a cell each column shows, by turns: ``("published", "mean")`` where both stand there.
        notes: the sentences below it.
        emphasis: how a look is shown: ``b`` for bold, ``u`` for underlined, or both letters.
        places: where the cells stand that have facts, in the plan's rows and columns.
        facts: of these cells, a list for each name that ``--format csv`` has a column for.
        seeds: of these cells, the value of each seed.
        intervals: of these cells, the 95 % interval of the mean over runs; None of fewer than two.
        costs: of these cells, the mean over runs by the name of a metric.
        copies: the bytes of ``bench table``, by format.
        provenance: what was compared and how, in one line.
        signatures: the same with a digest, as ``bench table`` prints it and ``bench show`` reads it.
        ranks: critical-difference diagrams.
        sweeps: what each candidate scored.
    """

    title: str
    stub: tuple[str, ...]
    columns: tuple[tuple[str, ...], ...]
    rows: tuple[tuple[str, ...], ...]
    cells: list[list[list[Any]]]
    numbers: tuple[str, ...]
    notes: tuple[str, ...] = ()
    emphasis: dict[str, str] = {}
    places: list[Place] = []
    facts: dict[str, list[Any]] = {}
    seeds: list[dict[int, float]] = []
    intervals: list[tuple[float, float] | None] = []
    costs: dict[str, list[float | None]] = {}
    copies: dict[str, str] = {}
    provenance: str = ""
    signatures: tuple[str, ...] = ()
    ranks: list[PageRanks] = []
    sweeps: list[PageCandidate] = []


class PageRanks(Struct, frozen=True):
    """Mean ranks over datasets: groups are of methods that the critical difference cannot separate, by place."""

    title: str
    methods: list[str]
    ranks: list[float]
    difference: float
    groups: list[list[int]]


class PageCandidate(Struct, frozen=True, omit_defaults=True):
    """A candidate of a swept cell on a split; what it scored is None where no run has finished."""

    cell: str
    label: str
    split: str
    mean: float | None
    std: float | None
    n: int
    chosen: bool = False


class PageChoice(Struct, frozen=True):
    """A way to look at a table.

    Attributes:
        command: that prints it.
        part: the name of its ``PageSheet``.
    """

    metric: str
    selection: str
    test: str
    source: str
    command: str
    part: str


class PageCell(Struct, frozen=True, omit_defaults=True):
    """A cell of a table's plan.

    Attributes:
        name: by its labels.
        axes: what it is of.
        x: the number of its rate, for a figure along it.
        part: the name of its ``PageRuns``; empty where it has none of its own.
    """

    place: Place
    name: str
    axes: dict[str, str]
    x: float | None = None
    part: str = ""


class PageTable(Struct, frozen=True):
    """A table with all ways to look at it, the usual one first.

    Attributes:
        along: what the rates are numbers of.
        images: the name of its ``PageImageSets``; empty where no predictions are read.
    """

    name: str
    title: str
    choices: list[PageChoice]
    cells: list[PageCell]
    along: str = ""
    images: str = ""


class PagePoint(Struct, frozen=True, omit_defaults=True):
    """A point of a curve: ``bench.records.record.Point``, rounded to what can be seen."""

    step: int
    test: dict[str, float | None]
    val: dict[str, float | None] = {}
    loss: dict[str, float | None] = {}
    learning_rate: float | None = None
    seconds: float | None = None


class PageRun(Struct, frozen=True, omit_defaults=True):
    """A run.

    Attributes:
        status: ``done``, ``failed``, ``missing``.
        seeds: of its draws.
        spec: the place of what it is among the part's ``specs``.
        versions: likewise among the report's.
        hardware: likewise.
        made: likewise among the part's: launcher, commit and such.
        took: seconds, memory and such, by the title of a metric.
        picked: by selection rule, the place in its curve of the point that it picks.
        repeat: the command that repeats it.
        log: its last lines.
        failure: class, kind, message and trace.
        facts: what else its record says.
    """

    id: str
    seed: int
    status: str
    spec: int = -1
    seeds: dict[str, int] = {}
    versions: int = -1
    hardware: int = -1
    made: int = -1
    curve: list[PagePoint] = []
    score: str = ""
    took: dict[str, float] = {}
    picked: dict[str, int] = {}
    command: str = ""
    repeat: str = ""
    log: str = ""
    failure: dict[str, str] = {}
    facts: dict[str, Any] = {}


class PageCandidateRuns(Struct, frozen=True, omit_defaults=True):
    """The runs of a candidate of a cell; ``label`` is empty where there is one candidate alone."""

    label: str
    runs: list[PageRun]


class PageClasses(Struct, frozen=True, omit_defaults=True):
    """How the runs of a cell did by class, the mean over its seeds.

    Attributes:
        accuracy: of each class, in percent; None where the split has no image of it.
        confused: true class, predicted class, and the percent of the images of the true one; the most confused first.
    """

    labels: list[str]
    accuracy: list[float | None]
    confused: list[tuple[int, int, float]]
    split: str
    runs: int


class PageImage(Struct, frozen=True):
    """An image of a test split.

    Attributes:
        at: its place in the split, counted from 0.
        label: its class.
        taken: for what it is taken most often where it is got wrong.
        wrong: by how many of all runs, in percent.
        right: by how many runs of each method, in percent.
    """

    at: int
    label: str
    taken: str
    wrong: float
    right: list[float]


class PageImages(Struct, frozen=True):
    """The images of a test split that are got wrong most often, and those that methods disagree on most."""

    where: str
    methods: list[str]
    images: int
    runs: int
    hardest: list[PageImage]
    disputed: list[PageImage]


class PageImageSets(Struct, frozen=True):
    """The images of all test splits of a table."""

    sets: list[PageImages]


class PageCellRuns(Struct, frozen=True, omit_defaults=True):
    """The runs of a cell, and how they did by class where that is kept."""

    place: Place
    candidates: list[PageCandidateRuns]
    classes: PageClasses | None = None


class PageRuns(Struct, frozen=True):
    """The runs of some cells, and what several of them have in common."""

    cells: list[PageCellRuns]
    specs: list[dict[str, Any]]
    made: list[dict[str, Any]]


class PageHead(Struct, frozen=True):
    """What a page opens with.

    Attributes:
        command: that writes it.
        version: of the suite.
        notes: what is left out, and why.
        units: what metrics are called, by name.
        progress: how far the runs are, in words.
    """

    title: str
    command: str
    version: str
    tables: list[PageTable]
    versions: list[dict[str, Any]]
    hardware: list[dict[str, Any]]
    notes: list[str]
    units: dict[str, str]
    progress: str = ""

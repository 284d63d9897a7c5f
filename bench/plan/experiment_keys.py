"""The keys of an experiment's file, and of its table, with what each means."""

from __future__ import annotations

from bench.reading.keys import Key
from bench.records.kept import KEEPS, WAYS
from bench.rules import ACROSS, FAMILIES, SELECTIONS, SPLITS, SWEEPS, TESTS
from bench.spec import AXES

CELL_AXES = AXES[:4]
ROWS = "rows"
"""The sweep that is none: every candidate is a row of its own."""

KEYS = (
    Key("title", (str,), "first words of the table", default="the file's name"),
    Key("about", (str,), "what it is for, as `bench show` prints it"),
    Key(
        "methods",
        (list, dict, str),
        "what is compared: `all`, every method that is found (`all: {settings: {lr: [...]}}`: those of no other row); "
        "or names, or `LABEL: name`, or `LABEL: {name: {hyper-parameter: value}}`; a list of values is "
        "swept; `settings: {lr: [...]}` beside the name gives the row settings of its own, swept likewise; "
        "`gta+transmix` and further names are policies",
    ),
    Key("backbones", (list, str), "names, `timm:NAME`, `timm:NAME@none`, `timm:NAME@FILE.safetensors`"),
    Key("datasets", (list, str), "names, `NAME@VARIANT`, `NAME@LISTFILE`, `folder:PATH` (see images.md)"),
    Key(
        "rates",
        (list, int, float, str),
        "sampling rates in percent of each class: `[15, 30]`; `[0.5%, 1%]` where none is above 1; or in images: "
        "`16-shot` (of each class), `1000-images` (in all)",
    ),
    Key("seeds", (list, int), "how many, or which", default="3"),
    Key(
        "protocol",
        (dict, str),
        "settings that all methods share, such as `{steps: 100, lr: 1e-3}` (see *Settings*); `{preset: mae, steps: "
        "100}`, or the name of a preset alone (`bench list presets`)",
    ),
    Key("vary", (dict,), "along which axes subset, init and order are drawn anew: `{subset: [dataset]}`"),
    Key("exclude", (list,), "cells to leave out: `{method: gta, dataset: digits, because: '...'}`"),
    Key("baseline", (str,), "the method that the others are compared with"),
    Key(
        "sweep",
        (str,),
        "on which split one of several candidates of a row is chosen; `rows`: every candidate is a row, "
        "in whose label `{weight}` stands for its value (`'GTA, λ = {weight}': {gta: {weight: [0.1, 1]}}`)",
        (ROWS, *SWEEPS),
        "best-val",
    ),
    Key("table", (dict,), "how it is laid out and tested (see below)"),
    Key(
        "keep",
        (str,),
        f"trained models beside the records: {', '.join(KEEPS)}; {' and '.join(WAYS)} make them smaller: `last,half`",
        default="none",
    ),
    Key("next", (list,), "commands that `bench run` names at its end"),
)
TABLE_KEYS = (
    Key("rows", (list,), "axes along the rows, outermost first", default="[dataset, backbone, method]"),
    Key("columns", (list,), "axes along the columns, outermost first", default="[rate]"),
    Key(
        "averages",
        (dict,),
        "means over datasets, for each seed, behind the datasets: `{Natural: [a, b], Structured: [c, d], "
        "Groups: [Natural, Structured], Mean: all}`",
    ),
    Key("metric", (str,), "what is shown (`bench list metrics`)", default="the usual one of each dataset"),
    Key("selection", (str,), "the point of its curve at which a run is scored", SELECTIONS, "last"),
    Key("split", (str,), "whose scores are shown", SPLITS, "test"),
    Key("test", (str,), "by which methods are compared", TESTS, "what the design asks for"),
    Key("family", (str,), "what Holm's correction is over", FAMILIES, "column"),
    Key("alpha", (float,), "level of the tests", default="0.05"),
    Key("across", (str,), "the claim over the datasets", ACROSS),
    Key("margin", (float,), "for tables of papers: what is no difference to a published number, in points"),
)

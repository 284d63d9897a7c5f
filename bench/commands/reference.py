"""The reference of all that people write in files, from what their readers accept: ``reference``."""

from __future__ import annotations

import argparse
import itertools
import textwrap
from collections.abc import Iterable
from typing import Any

from bench.commands.markdown import markdown_table
from bench.commands.options import add_command
from bench.reading.keys import Key

EXAMPLES = """
examples:
  bench reference > reference.md
  bench reference --record > record.schema.json     the JSON schema of RESULTS/runs/*/record.json
  bench reference --protocols > protocols.md        every value of papers' protocols and presets, and who states it
"""


def add(commands: Any) -> None:
    """Add the command to a parser's."""
    about = "all keys of experiments, tables, protocols, claims, cards and profiles, as Markdown"
    parser = add_command(commands, "reference", reference_command, about, EXAMPLES)
    pages = parser.add_mutually_exclusive_group()
    pages.add_argument("--record", action="store_true", help="the JSON schema of a record in its place")
    about = "every value of the papers' protocols and of presets with who states it, in its place"
    pages.add_argument("--protocols", action="store_true", help=about)


def reference_command(options: argparse.Namespace) -> int:
    """Print the page, the schema, or the page of the papers' values."""
    from bench.commands.values import protocols
    from bench.records.record import json_schema

    pages = {"record": json_schema, "protocols": protocols}
    page = next((pages[name] for name in pages if getattr(options, name)), reference)
    print(page(), end="")
    return 0


def reference() -> str:
    """The page, in Markdown."""
    wrapper = textwrap.TextWrapper(120, break_on_hyphens=False)
    return "\n\n".join(block if block.startswith("|") else wrapper.fill(block) for block in _blocks()) + "\n"


def _blocks() -> list[str]:
    """Headings, paragraphs and tables, in the order of the page."""
    from bench.cards.forms import DOWNLOAD, FURTHER
    from bench.cards.forms import KEYS as DATASET
    from bench.cards.method import ARGUMENTS
    from bench.entry import FORMS, MOST_CANDIDATES
    from bench.launch import profile
    from bench.metrics import METRICS
    from bench.papers import audit, claim_keys, figure, preset, protocol, published, stated
    from bench.plan import assignments, experiment, experiment_keys
    from bench.protocol import Protocol, Recipe, declared
    from bench.reading.settings import FILE, VARIABLES
    from bench.registry import Registry
    from bench.spec import AXES
    from bench.tables.testing import DRAWS

    axes = _code(experiment_keys.CELL_AXES)
    draws = [(f"`{draw}`", DRAWS[draw], f"`[{', '.join(along)}]`") for draw, along in experiment.VARY.items()]
    settings = {**declared(Recipe), **declared(Protocol)}.values()
    named_once = {
        "plugin": "plug-in files or folders: a path, or a list of paths",
        "results": "the folder of records: a path",
    }
    own_keys = [(f"`{kind}` has also", _keys(keys)) for kind, keys in claim_keys.OWN.items()]
    metrics = [(f"`{each.name}`", each.heading, "lower" if each.lower else "higher") for each in METRICS.values()]
    registry = Registry()
    measures = [registry.measure(name) for name in registry.measure_files]
    measured = [
        (f"`{each.name}`", each.heading, "lower" if each.lower else "higher", f"`{measure.name}`")
        for measure in measures
        for each in measure.gives
    ]
    measure_options = [
        (f"`{measure.name}`", f"`{option}`", f"`{default}`" if default != "" else "–")
        for measure in measures
        for option, default in measure.options.items()
    ]
    options = (*profile.OPTIONS, *profile.PROFILE_ONLY)
    return [
        "# Reference",
        "Every key that a file of yours may have. This page is what `bench reference` prints: it is made from the "
        "declarations by which the files are read, and by which mistakes in them are told.",
        "## An experiment",
        "A YAML file: `bench run mine.yaml`, or `experiments/NAME.yaml` in a plug-in folder: `bench run NAME`.",
        _keys(experiment_keys.KEYS),
        "### `table` of an experiment",
        f"The axes of `rows` and `columns` are {axes}, each once.",
        _keys(experiment_keys.TABLE_KEYS),
        "### `vary` of an experiment",
        f"By draw, the axes along which it changes: some of {_code(AXES)}.",
        markdown_table(("key", "what is drawn", "if left out"), draws),
        "### `exclude` of an experiment",
        f"A list. An entry has one or more of {axes}, each a value or a list of values, and `because`, a text.",
        "## A method",
        "Behind its label in an experiment, and behind `method` in the runs of a paper's table. `bench show NAME` "
        f"lists its hyper-parameters. Lists of values span candidates, at most {MOST_CANDIDATES:,}.",
        markdown_table(("written", "means"), [(f"`{form}`", about) for form, about in FORMS]),
        "### `hyper` in a method's file",
        'A field of the class, `weight: float = hyper(1.0, low=0, source="our choice")`, of type `float`, `int`, '
        '`bool` or `str`. With `by="variant"` the default is `{"paper": 1.0, "released": 4.0}`: a weight belongs to '
        "the formula for which it was published. Writing a default and leaving it out are the same run.",
        markdown_table(("argument", "means"), [(f"`{name}`", about) for name, (_, about) in ARGUMENTS.items()]),
        "## Settings",
        "Under `protocol` of an experiment, `settings` of a method, a paper's protocol, a table or a label, and behind "
        "`--set`: `--set KEY=VALUE`. A protocol has either `steps` or `epochs`.",
        markdown_table(
            ("key", "what", "about", "if left out"),
            [(f"`{key.name}`", key.allowed, key.source, f"`{key.default}`".lower()) for key in settings],
        ),
        "## A preset",
        "A protocol by name, `bench/presets/NAME.yaml` or `presets/NAME.yaml` in a plug-in folder; a name may have "
        "hyphens. `preset: NAME` stands among an experiment's settings, a row's, or typed ones (`--set preset=NAME`), "
        "and what stands beside it wins. Where `steps` stand in the place of its epochs, its warm-up keeps its share.",
        _keys(preset.KEYS),
        "## Metrics",
        "Names for `metric` and `--metric`; a plug-in folder brings `metrics/NAME.py`. `seconds_to_90` is the training "
        "time until top-1 first reaches 90 %.",
        markdown_table(("name", "what", "better"), metrics),
        "### Of trained models",
        "Measured by `bench measure TARGET MEASURE` of models that were kept ([measures.md](measures.md)); a plug-in "
        "folder brings `measures/NAME.py`.",
        markdown_table(("name", "what", "better", "measure"), measured),
        "Options of measures, chosen by `--option KEY=VALUE`:",
        markdown_table(("measure", "option", "if left out"), measure_options),
        "## A paper's table",
        "`paper_tables/PAPER/TABLE.yaml`, in a plug-in folder: `bench table PAPER/TABLE`. Labels and cells are texts.",
        _keys(published.KEYS),
        "### Rows",
        _keys(published.ROW_KEYS),
        "### Rank",
        _keys(published.RANK_KEYS),
        "### Runs",
        _keys(assignments.KEYS),
        "### What `axes` and a label may be assigned",
        "A cell has what its column's labels, its row's, and several together are assigned; of a key the last one "
        "counts, `settings` and `hyper` add up.",
        _keys(assignments.ASSIGNABLE),
        "### Values",
        "A setting, a hyper-parameter or a number of seeds is a plain value, or has who states it beside it: `{value: "
        "0.1, source: paper 4}`. So under `settings` and `seeds` of `runs` and of a label, under `hyper`, and within a "
        "`method`.",
        _keys(stated.KEYS),
        "### Audit",
        _keys(audit.KEYS),
        "## A paper's protocol",
        "`paper_tables/PAPER/protocol.yaml`. Every value is written `{value: ..., source: '...'}`: who states it.",
        _keys(protocol.KEYS),
        "## A paper's claims",
        "`paper_tables/PAPER/claims.yaml` has one key, `claims`, a list. A claim has these keys,",
        _keys(claim_keys.CLAIM),
        "and one of these statements,",
        _keys(claim_keys.STATEMENTS),
        f"of which {_code(claim_keys.OWN)} take numbers from a table:",
        _keys(claim_keys.QUANTITY),
        *itertools.chain(*own_keys),
        "## A paper's figure",
        "`paper_tables/PAPER/figures/NAME.yaml`. `title`, `shows` and `lacks` are needed, and a list of `drawings`.",
        _keys(figure.KEYS),
        "Each of `drawings` has",
        _keys(figure.DRAWING_KEYS),
        "and `printed` has",
        _keys(figure.PRINTED_KEYS),
        "## A dataset's card",
        "`datasets/NAME.yaml`, in a plug-in folder. `title` and `reader` are needed.",
        markdown_table(
            ("key", "what", "about", "in a variant"),
            [(f"`{key.name}`", key.form, key.about, "yes" if key.variant else "") for key in DATASET],
        ),
        "### `download` of a dataset",
        markdown_table(("key", "what", "about"), [(f"`{key.name}`", key.form, key.about) for key in DOWNLOAD]),
        "### `also` of a dataset",
        "By the name behind the `@`: a further test, with one of `corrupt`, `dataset`, `reader` and `path`.",
        markdown_table(("key", "what", "about"), [(f"`{key.name}`", key.form, key.about) for key in FURTHER]),
        "## A cluster's profile",
        "`~/.config/finetune-bench/clusters/NAME.toml`, or any file: `--cluster NAME`. `[[match]]` tables hold for the "
        f"runs that fit patterns of {_code(profile.AXES)}, and have all keys but `max_running`; the last one that fits "
        "wins.",
        markdown_table(("key", "what", "about"), [(f"`{key.key}`", _expected(key.read), key.about) for key in options]),
        f"## `{FILE}`",
        "In the folder where commands are typed; an environment variable of the same meaning wins over it.",
        markdown_table(
            ("key", "what", "variable"),
            [(f"`{key}`", named_once[key], f"`{name}`") for key, name in VARIABLES.items()],
        ),
    ]


def _keys(keys: Iterable[Key]) -> str:
    rows = []
    for key in keys:
        about = f"{key.about}; one of {_code(key.choices)}" if key.choices else key.about
        rows.append((f"`{key.name}`", key.form, about, key.default))
    return markdown_table(("key", "what", "about", "if left out"), rows)


def _expected(read: Any) -> str:
    """What a reader of values expects, in the words of its own message."""
    try:
        read(None)
    except ValueError as expected:
        return str(expected)
    raise AssertionError(f"{read} takes anything")


def _code(words: Iterable[str]) -> str:
    return ", ".join(f"`{word}`" for word in words)

"""The reference of all that people write in files, from what their readers accept: ``reference``."""

from __future__ import annotations

import argparse
import textwrap
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from bench.commands.options import add_command

EXAMPLES = """
examples:
  bench reference > reference.md
  bench reference --record > record.schema.json     the JSON schema of RESULTS/runs/*/record.json
"""

Cells = Sequence[str]
"""Of one line of a table."""


def add(commands: Any) -> None:
    """Add the command to a parser's."""
    about = "all keys of experiments, tables, protocols, claims, cards and profiles, as Markdown"
    parser = add_command(commands, "reference", reference_command, about, EXAMPLES)
    parser.add_argument("--record", action="store_true", help="the JSON schema of a record in its place")


def reference_command(options: argparse.Namespace) -> int:
    """Print the page, or the schema."""
    from bench.records.record import json_schema

    print(json_schema() if options.record else reference(), end="")
    return 0


def reference() -> str:
    """The page, in Markdown."""
    sections = (_experiment, _methods, _settings, _metrics, _published, _runs, _protocol, _claims, _dataset, _profile)
    head = [
        "# Reference",
        "Every key that a file of yours may have. This page is what `bench reference` prints: it is made from the "
        "declarations by which the files are read, and by which mistakes in them are told.",
    ]
    blocks = [*head, *(block for section in sections for block in section()), *_named_once()]
    return "\n\n".join(map(_wrapped, blocks)) + "\n"


def _experiment() -> Iterator[str]:
    from bench.plan.experiment import CELL_AXES, KEYS, TABLE_KEYS, VARY
    from bench.spec import AXES
    from bench.tables.testing import DRAWS

    yield "## An experiment"
    yield "A YAML file: `bench run mine.yaml`, or `experiments/NAME.yaml` in a plug-in folder: `bench run NAME`."
    yield _keys(KEYS)
    yield "### `table` of an experiment"
    yield f"The axes of `rows` and `columns` are {_code(CELL_AXES)}, each once."
    yield _keys(TABLE_KEYS)
    yield "### `vary` of an experiment"
    yield f"By draw, the axes along which it changes: some of {_code(AXES)}."
    draws = ((f"`{draw}`", DRAWS[draw], f"`[{', '.join(axes)}]`") for draw, axes in VARY.items())
    yield _table(("key", "what is drawn", "if left out"), draws)
    yield "### `exclude` of an experiment"
    axes = _code(CELL_AXES)
    yield f"A list. An entry has one or more of {axes}, each a value or a list of values, and `because`, a text."


def _methods() -> Iterator[str]:
    from bench.entry import FORMS, MOST_CANDIDATES

    yield "## A method"
    yield (
        "Behind its label in an experiment, and behind `method` in the runs of a paper's table. `bench show NAME` "
        f"lists its hyper-parameters. Lists of values span candidates, at most {MOST_CANDIDATES:,}."
    )
    yield _table(("written", "means"), ((f"`{form}`", about) for form, about in FORMS))


def _settings() -> Iterator[str]:
    from bench.protocol import Protocol, Recipe, declared

    yield "## Settings"
    yield (
        "Under `protocol` of an experiment, `settings` of a method, a paper's protocol, a table or a label, and behind "
        "`--set`: `--set KEY=VALUE`. A protocol has either `steps` or `epochs`."
    )
    every = {**declared(Recipe), **declared(Protocol)}.values()
    rows = ((f"`{one.name}`", one.allowed, one.source, f"`{one.default}`".lower()) for one in every)
    yield _table(("key", "what", "about", "if left out"), rows)


def _metrics() -> Iterator[str]:
    from bench.metrics import METRICS

    yield "## Metrics"
    yield (
        "Names for `metric` and `--metric`; a plug-in folder brings `metrics/NAME.py`. `seconds_to_90` is the training "
        "time until top-1 first reaches 90 %."
    )
    rows = ((f"`{one.name}`", one.heading, "lower" if one.lower else "higher") for one in METRICS.values())
    yield _table(("name", "what", "better"), rows)


def _published() -> Iterator[str]:
    from bench.papers.published import KEYS, RANK_KEYS, ROW_KEYS

    yield "## A paper's table"
    yield "`paper_tables/PAPER/TABLE.yaml`, in a plug-in folder: `bench table PAPER/TABLE`. Labels and cells are texts."
    yield _keys(KEYS)
    yield "### Rows"
    yield _keys(ROW_KEYS)
    yield "### Rank"
    yield _keys(RANK_KEYS)


def _runs() -> Iterator[str]:
    from bench.papers.audit import KEYS as AUDIT
    from bench.plan.paper import ASSIGNABLE, KEYS

    yield "### Runs"
    yield _keys(KEYS)
    yield "### What `axes` and a label may be assigned"
    yield (
        "A cell has what its column's labels, its row's, and several together are assigned; of a key the last one "
        "counts, `settings` and `hyper` add up."
    )
    yield _keys(ASSIGNABLE)
    yield "### Audit"
    yield _keys(AUDIT)


def _protocol() -> Iterator[str]:
    from bench.papers.protocol import KEYS

    yield "## A paper's protocol"
    yield "`paper_tables/PAPER/protocol.yaml`. Every value is written `{value: ..., source: '...'}`: who states it."
    yield _keys(KEYS)


def _claims() -> Iterator[str]:
    from bench.papers.claim_keys import CLAIM, OWN, QUANTITY, STATEMENTS

    yield "## A paper's claims"
    yield "`paper_tables/PAPER/claims.yaml` has one key, `claims`, a list. A claim has these keys,"
    yield _keys(CLAIM)
    yield "and one of these statements,"
    yield _keys(STATEMENTS)
    yield f"of which {_code(OWN)} take numbers from a table:"
    yield _keys(QUANTITY)
    for kind, keys in OWN.items():
        yield f"`{kind}` has also"
        yield _keys(keys)


def _dataset() -> Iterator[str]:
    from bench.cards.forms import DOWNLOAD, KEYS

    yield "## A dataset's card"
    yield "`datasets/NAME.yaml`, in a plug-in folder. `title` and `reader` are needed."
    rows = ((f"`{one.name}`", one.form, one.about, "yes" if one.variant else "") for one in KEYS)
    yield _table(("key", "what", "about", "in a variant"), rows)
    yield "### `download` of a dataset"
    yield _table(("key", "what", "about"), ((f"`{one.name}`", one.form, one.about) for one in DOWNLOAD))


def _profile() -> Iterator[str]:
    from bench.launch.profile import AXES, OPTIONS, PROFILE_ONLY

    yield "## A cluster's profile"
    yield (
        "`~/.config/finetune-bench/clusters/NAME.toml`, or any file: `--cluster NAME`. `[[match]]` tables hold for the "
        f"runs that fit patterns of {_code(AXES)}, and have all keys but `max_running`; the last one that fits wins."
    )
    rows = ((f"`{one.key}`", _expected(one.read), one.about) for one in (*OPTIONS, *PROFILE_ONLY))
    yield _table(("key", "what", "about"), rows)


def _named_once() -> Iterator[str]:
    from bench.reading.settings import FILE, VARIABLES

    yield f"## `{FILE}`"
    yield "In the folder where commands are typed; an environment variable of the same meaning wins over it."
    about = {
        "plugin": "plug-in files or folders: a path, or a list of paths",
        "results": "the folder of records: a path",
    }
    yield _table(
        ("key", "what", "variable"), ((f"`{key}`", about[key], f"`{name}`") for key, name in VARIABLES.items())
    )


def _wrapped(block: str) -> str:
    """A paragraph in lines of the docs' length; a table as it is."""
    return block if block.startswith("|") else textwrap.fill(block, 120, break_on_hyphens=False)


def _keys(keys: Iterable[Any]) -> str:
    """A table of ``bench.reading.keys.Key``."""
    rows = ((f"`{key.name}`", key.form, _about(key), key.default) for key in keys)
    return _table(("key", "what", "about", "if left out"), rows)


def _about(key: Any) -> str:
    return f"{key.about}; one of {_code(key.choices)}" if key.choices else str(key.about)


def _expected(read: Any) -> str:
    """What a reader of values expects, in the words of its own message."""
    try:
        read(None)
    except ValueError as expected:
        return str(expected)
    raise AssertionError(f"{read} takes anything")


def _code(words: Iterable[str]) -> str:
    return ", ".join(f"`{word}`" for word in words)


def _table(head: Cells, rows: Iterable[Cells]) -> str:
    """A table in Markdown; a column in which nothing stands is left out."""
    lines = [tuple(cell.replace("|", r"\|") for cell in row) for row in rows]
    kept = [at for at in range(len(head)) if any(line[at] for line in lines)]
    text = [[line[at] for at in kept] for line in (tuple(head), *lines)]
    text.insert(1, ["---"] * len(kept))
    return "\n".join(f"| {' | '.join(line)} |" for line in text)

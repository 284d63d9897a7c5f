"""What ``bench show`` says of the signature of a table: its parts in words, and whether the records here agree."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msgspec import UnsetType

import bench
from bench.errors import InputError, in_sentence
from bench.notation import counted, listed
from bench.plan.overrides import Overrides
from bench.plan.target import read_plans
from bench.records.record import Environment
from bench.registry import Registry
from bench.tables.signature import SCHEME, Signature, differences, read_signature, signature_of

if TYPE_CHECKING:
    from bench.tables.compare import Table

VERSIONS = ("torch", "torchvision", "timm")
"""The packages whose versions are told of the runs."""


def is_signature(name: str) -> bool:
    """Whether a name can only be the signature of a table."""
    return name.startswith(f"{SCHEME}:")


def signature_card(text: str, registry: Registry, store: bench.Store) -> tuple[str, dict[str, Any]]:
    """What there is to say of a signature: for people, and as plain data. Raises ``InputError`` where it is none."""
    signature = read_signature(text)
    facts = {"kind": "signature", "name": str(signature), **_in_words(signature)}
    facts |= _here(signature, registry, store)
    lines = [f"signature {signature}", *(f"  {key}: {value}" for key, value in list(facts.items())[2:])]
    return "\n".join(lines), facts


def _in_words(signature: Signature) -> dict[str, str]:
    """Its parts, one after the other."""
    test = "none: nothing is compared, or too few seeds have finished"
    if signature.test:
        within = "each column" if signature.family == "column" else "the whole table"
        test = f"{signature.test}, Holm-corrected over the comparisons of {within}, at {signature.alpha}"
    swept = {"values swept": f"chosen by {signature.sweep}"} if signature.sweep else {}
    return {
        "table": signature.table,
        "metric": f"{signature.metric.replace('+', ', ')} on the {signature.split} split",
        "point of a run's curve": signature.selection,
        **swept,
        "test": test,
        "values a cell": signature.seeds,
        "version of the suite": signature.version,
        "digest": f"{signature.digest}, of the id and the score of each run",
    }


def _here(signature: Signature, registry: Registry, store: bench.Store) -> dict[str, str]:
    """What the records of a store say of the same table."""
    command = _command(signature)
    try:
        table = _table(signature, registry, store)
    except InputError as error:
        reason = str(error).splitlines()[0]
        return {
            "here": f"not known: {reason}; {in_sentence(command)} with your own target prints the signature of today"
        }
    present = signature_of(table)
    if present is None:
        return {"here": f"no run of it has finished in {store.root}"}
    if present.digest == signature.digest and not differences(signature, present):
        return {"here": f"the records in {store.root} give these very numbers", "made with": _made_with(table, store)}
    differing = differences(signature, present)
    return {"here": f"the records in {store.root} give others: {listed(tuple(differing))}; theirs is {present}"}


def _command(signature: Signature) -> str:
    """What prints the table."""
    words = ["bench", "table", signature.table, "--selection", signature.selection, "--split", signature.split]
    words += ["--test", signature.test] if signature.test else []
    return " ".join(words)


def _table(signature: Signature, registry: Registry, store: bench.Store) -> Table:
    """The table of a signature with what the store has of it, by the metric that it shows unasked if that is the one.

    It is that of a file of this folder, if one has its name. Raises ``InputError`` where there is none of that name.
    """
    from bench.tables.compare import fill

    file = Path(f"{signature.table}.yaml")
    target = [str(file) if file.is_file() else signature.table]
    typed = Overrides(selection=signature.selection, split=signature.split, test=signature.test)
    (table, *_) = fill(read_plans(target, registry, typed), store)
    present = signature_of(table)
    if present is None or present.metric == signature.metric or "+" in signature.metric:
        return table
    return fill(read_plans(target, registry, replace(typed, metric=signature.metric)), store)[0]


def _made_with(table: Table, store: bench.Store) -> str:
    """The versions and the hardware of the runs in a table, each with how many runs it made."""
    finished = store.finished()
    folders = dict.fromkeys(finished[run.id].folder for _, entry in table.places() for run in entry.cell.runs)
    counts = Counter(_described(record.environment) for record, _ in store.records(folders))
    return "; ".join(f"{words} ({counted(count, 'run')})" for words, count in counts.most_common())


def _described(environment: Environment) -> str:
    """The versions and the hardware of a run, as far as its record says."""
    packages = {} if isinstance(environment.packages, UnsetType) else environment.packages
    words = [f"{name} {packages[name]}" for name in VERSIONS if packages.get(name)]
    gpus = [] if isinstance(environment.gpus, UnsetType) else environment.gpus
    hardware = [str(gpu.get("name")) for gpu in gpus] or [str(environment.processor)]
    return ", ".join([*words, *hardware])

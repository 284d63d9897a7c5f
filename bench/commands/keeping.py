"""Which trained models a launch keeps: ``--keep``, what they take on disk, and which runs have none."""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from typing import Any

import bench
from bench.commands.options import say
from bench.errors import InputError
from bench.launch import untrained
from bench.notation import counted
from bench.plan.table import Plan
from bench.records.kept import KEEPS, WAYS, Keep, kept_models, read_keep
from bench.spec import RunSpec


def add_keep(parser: argparse.ArgumentParser) -> None:
    """``--keep``."""
    smaller = " and ".join(WAYS)
    parser.add_argument(
        "--keep",
        default="",
        metavar="WHICH",
        help=f"trained models to keep beside the records: {', '.join(KEEPS)} (default: the target's, or else none); "
        f"{smaller} behind a comma make them smaller: last,half",
    )


def keep_of(options: argparse.Namespace, plan: Plan) -> Keep:
    """Which models are kept: what was typed, or else what the targets say.

    Raises ``InputError``: what was typed is no such choice, or the targets say different things.
    """
    if options.keep:
        return read_keep(options.keep, "--keep")
    if plan.keep is None:
        choices = ", ".join(f"{part.name} {part.keep}" for part in plan.parts)
        raise InputError(f"{plan.name}: they do not keep the same models ({choices}); say it with --keep")
    return plan.keep


def require_choice(keep: Keep, runs: Iterable[RunSpec], registry: bench.Registry) -> None:
    """Raise ``InputError`` where the best point is to be kept of runs that have no validation split to choose it by."""
    if keep.points != "best-val":
        return
    unvalidated = {spec.dataset.name for spec in runs if not spec.protocol.validation}
    for name in sorted(unvalidated):
        if "val" not in registry.dataset(name).splits:
            raise InputError(
                f"--keep best-val: {name} has no validation split; --set validation=0.1 holds one out, which makes "
                "other runs; or keep the last model"
            )


def disk_of(options: argparse.Namespace, plan: Plan, registry: bench.Registry, store: bench.Store) -> dict[str, Any]:
    """What the models of the runs that are to be trained take, as plain data; empty where none is kept."""
    keep = keep_of(options, plan)
    missing = untrained(plan.unique.values(), store) if keep else []
    if not keep:
        return {}
    from bench.cost.disk import models_on_disk

    require_choice(keep, missing, registry)
    size = models_on_disk(missing, keep, registry)
    return {"keep": str(keep), "files": size.files, "bytes": size.bytes}


def print_disk(disk: dict[str, Any]) -> None:
    """The same in a line."""
    if disk:
        most = "at most " if "changes" in disk["keep"] else ""
        files = counted(disk["files"], "file")
        print(f"trained models (--keep {disk['keep']}): {files}, {most}{in_bytes(disk['bytes'])} on disk")


def in_bytes(count: int) -> str:
    """``1.2 MB``."""
    for unit, size in (("GB", 1e9), ("MB", 1e6)):
        if count >= size:
            return f"{count / size:,.1f} {unit}"
    return f"{count / 1e3:,.0f} kB"


def say_unkept(keep: Keep, runs: Iterable[RunSpec], store: bench.Store) -> None:
    """Say how many finished runs lack a model that is to be kept, and how it is had."""
    finished = store.finished() if keep else {}
    lacking = []
    for spec in runs:
        if (run := finished.get(spec.id)) is None:
            continue
        kept, steps = kept_models(store.root / "runs" / run.folder), [step for step, _, _ in run.values]
        needed = {"all": steps, "last": steps[-1:]}.get(keep.points, [])
        if not kept or not kept.keys() >= set(needed):
            lacking.append(spec)
    if lacking:
        count = "1 finished run has" if len(lacking) == 1 else f"{len(lacking)} finished runs have"
        say(
            f"{count} no model of --keep {keep.points}, as training began without it; "
            f"'bench export {lacking[0].id} model.safetensors' trains one again"
        )

"""Cards and lists in words: what there is, and what each thing says of itself."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import msgspec

from bench.cards import BackboneCard, DatasetCard, MethodCard
from bench.errors import InputError, choose
from bench.metrics import Metric
from bench.reading.document import read_document
from bench.records.record import Record, Stored, status_of
from bench.records.store import Store
from bench.registry import Registry

KINDS = ("methods", "backbones", "datasets", "metrics", "papers", "tables", "experiments")


@dataclass(frozen=True)
class Shown:
    """A card as a text for people and as plain data for programs."""

    text: str
    facts: dict[str, Any]


def list_kind(kind: str, registry: Registry) -> list[dict[str, str]]:
    """Name and one line of everything of a kind."""
    if kind == "methods":
        return [{"name": name, "about": registry.method(name).summary} for name in registry.method_files]
    if kind == "metrics":
        return [{"name": metric.name, "about": metric.heading} for metric in registry.metrics.values()]
    files = {
        "backbones": registry.backbone_files,
        "datasets": registry.dataset_files,
        "papers": registry.protocol_files,
        "tables": registry.table_files,
        "experiments": registry.experiment_files,
    }[kind]
    return [{"name": name, "about": str(read_document(path).get("title", ""))} for name, path in files.items()]


def describe(name: str, registry: Registry, store: Store) -> list[Shown]:
    """Every card of that name: a method, a backbone, a dataset, a paper, an experiment; or else a run, by its id.

    Raises:
        InputError: nothing has that name.
    """
    plain = name.partition("@")[0]
    found = []
    if name in registry.method_files:
        found.append(_method(registry.method(name)))
    if plain in registry.backbone_files or name.startswith("timm:"):
        found.append(_backbone(registry.backbone(name)))
    if plain in registry.dataset_files or name.startswith("folder:"):
        found.append(_dataset(registry.dataset(name)))
    if name in registry.metrics:
        found.append(_metric(registry.metrics[name]))
    declared = registry.experiment_files | registry.table_files
    if name in registry.protocol_files:
        found.append(_paper(name, registry))
    if name in declared:
        found.append(_experiment(name, declared[name]))
    if not found and re.fullmatch(r"[0-9a-f]{4,12}", name):
        found.append(_run(store.record(name)))
    if not found:
        known = {*registry.method_files, *registry.backbone_files, *registry.dataset_files, *declared, *registry.papers}
        known |= {*registry.metrics}
        raise InputError(choose(name, known, "method, backbone, dataset, metric, paper, experiment or run"))
    return found


def _method(card: MethodCard) -> Shown:
    lines = [f"method {card.name}: {card.summary}"]
    lines += [f"  {line}".rstrip() for line in card.text.splitlines()]
    lines.append(f"  paper: {card.paper or 'not stated'}")
    if card.needs:
        lines.append(f"  needs of the backbone: {', '.join(sorted(card.needs))}")
    lines.append("  hyper-parameters:" if card.hypers else "  hyper-parameters: none")
    for hyper in card.hypers.values():
        lines += [f"    {hyper.name} = {hyper.default}  ({hyper.allowed})", f"      from: {hyper.source}"]
    lines.append(f"  file: {card.path}")
    facts = {
        "kind": "method",
        "name": card.name,
        "about": card.summary,
        "details": card.text,
        "paper": card.paper,
        "needs": sorted(card.needs),
        "hyper_parameters": [asdict(hyper) for hyper in card.hypers.values()],
        "file": str(card.path),
    }
    return Shown("\n".join(lines), facts)


def _backbone(card: BackboneCard) -> Shown:
    weights = {"none": "random", "pretrained": "timm's own, downloaded when first used"}
    facts = {
        "kind": "backbone",
        "name": card.name,
        "about": card.title,
        "architecture": card.model,
        **({"arguments": card.arguments} if card.arguments else {}),
        "weights": weights.get(card.weights, card.weights),
        "offers": sorted(card.offers),
        **{key: value for key, value in card.facts.items() if key not in ("title", "model", "arguments", "offers")},
    }
    return Shown(_listed(facts), facts)


def _dataset(card: DatasetCard) -> Shown:
    rest = {key: value for key, value in card.facts.items() if key not in ("title", "about")}
    facts = {"kind": "dataset", "name": card.name, "about": card.title, **rest}
    if "about" in card.facts:
        facts["details"] = card.facts["about"]
    if card.path:
        facts["folder"] = card.path
        get = "" if card.name.startswith("folder:") else f" ('bench data prepare {card.name}' gets it, or says how)"
        facts["there"] = f"no: lacks {', '.join(card.missing)}{get}" if card.missing else "yes"
    told = {key: value for key, value in facts.items() if key not in _LISTED_APART}
    lines = [_listed(told)]
    for key in _LISTED_APART:
        if facts.get(key):
            lines.append(f"  {key}:")
            lines += [f"    {line}" for line in _entries(facts[key])]
    return Shown("\n".join(lines), facts)


_LISTED_APART = ("variants", "papers", "traps", "steps", "download", "checksums")


def _entries(value: Any) -> list[str]:
    """A line for each entry of a list or mapping."""
    if isinstance(value, list):
        return [f"- {_flat(entry)}" for entry in value]
    return [f"{key}: {_flat(entry)}" for key, entry in value.items()]


def _flat(value: Any) -> str:
    """A value in one line."""
    if isinstance(value, dict):
        return ", ".join(f"{key} {_flat(entry)}" for key, entry in value.items())
    if isinstance(value, list):
        return " + ".join(_flat(entry) for entry in value)
    return " ".join(str(value).split())


def _paper(name: str, registry: Registry) -> Shown:
    """How a paper trains, with the source of each setting, and its tables."""
    protocol = read_document(registry.protocol_files[name])
    tables = [table for table in registry.table_files if table.partition("/")[0] == name]
    titles = {table: str(read_document(registry.table_files[table]).get("title", "")) for table in tables}
    facts = {"kind": "paper", "name": name, "about": str(protocol.get("title", "")), "tables": titles}
    lines = [f"paper {name}: {facts['about']}", "  protocol:"]
    stated = {**protocol.get("settings", {}), **{key: protocol[key] for key in _STATED if key in protocol}}
    for key, given in stated.items():
        lines.append(f"    {key} = {given['value']}  ({given['source']})")
    lines += ["  notes:", *_noted(protocol["notes"])] if protocol.get("notes") else []
    lines += ["  tables:", *(f"    {table}: {title}" for table, title in titles.items())]
    lines.append(f"  'bench table {name}', 'bench plan {name}', 'bench audit {name}', 'bench claims {name}'")
    return Shown("\n".join(lines), {**facts, "protocol": dict(protocol)})


_STATED = ("seeds", "selection", "sweep")


def _noted(notes: list[str]) -> list[str]:
    return [f"    - {' '.join(str(note).split())}" for note in notes]


def _experiment(name: str, path: Path) -> Shown:
    text = read_document(path)
    facts = {"kind": "experiment", "name": name, "about": text.get("title", ""), "file": str(path)}
    return Shown(f"{_listed(facts)}\n\n{path.read_text(encoding='utf-8').rstrip()}", {**facts, "declared": text})


def _run(stored: Stored) -> Shown:
    record, folder = stored
    status = status_of(record)
    facts: dict[str, Any] = {"kind": "run", "name": record.id, "about": record.label, "status": status}
    if isinstance(record, Record):
        last = record.curve[-1]
        facts["test top-1"] = f"{last.test['top1']:.2f} % after {last.step} steps"
        facts["seconds"] = record.timing.seconds
    else:
        facts["error"] = f"{record.error.kind}: {record.error.message}"
    facts |= {"command": record.command or None, "folder": str(folder)}
    return Shown(_listed(facts), {**msgspec.to_builtins(record), "folder": str(folder)})


def _metric(metric: Metric) -> Shown:
    bounds = ["any" if bound is None else f"{bound:g}" for bound in (metric.low, metric.high)]
    about = metric.compute or metric.of_run
    facts = {
        "kind": "metric",
        "name": metric.name,
        "about": metric.heading,
        "details": (about.__doc__ or "").strip().partition("\n")[0],
        "better": "lower" if metric.lower else "higher",
        "from": bounds[0],
        "to": bounds[1],
        "of": "a point of the curve" if metric.of_curve else "the whole run",
    }
    return Shown(_listed({key: value for key, value in facts.items() if value}), facts)


def _listed(facts: Mapping[str, Any]) -> str:
    """``kind name: about`` and the other facts, one a line."""
    lines = [f"{facts['kind']} {facts['name']}: {facts['about']}"]
    for key, value in facts.items():
        if key not in ("kind", "name", "about"):
            lines.append(f"  {key.replace('_', ' ')}: {_said(value)}")
    return "\n".join(lines)


def _said(value: Any) -> str:
    """A fact in words: lists and mappings without the signs of a programming language."""
    if isinstance(value, list):
        return ", ".join(map(_said, value))
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {_said(entry)}" for key, entry in value.items())
    return "no" if value is False else "yes" if value is True else " ".join(str(value).split())

"""What there is, and what each thing says of itself: ``list``, ``show``, ``completion``."""

from __future__ import annotations

import argparse
import contextlib
import math
import re
import shutil
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import msgspec

import bench
from bench.cards import BackboneCard, DatasetCard, MethodCard
from bench.cards.backbone import DRAWN
from bench.commands.figure_card import figure_cards
from bench.commands.folders import sentences
from bench.commands.measure_card import docstring, measure_cards
from bench.commands.options import add_command, add_format, add_plugin, add_results, print_json
from bench.commands.preset_card import preset_cards
from bench.commands.signature_card import is_signature, signature_card
from bench.commands.task_card import task_cards, task_rows
from bench.commands.values import other_lines, value_lines
from bench.errors import InputError, choose, to_type, visible
from bench.figures.figure import KINDS as FIGURES
from bench.figures.figure import about
from bench.hyper import Hyper
from bench.metrics import Cost, Metric
from bench.notation import counted
from bench.papers.values import counts_in_words, values_of
from bench.reading.document import read_document
from bench.records.kept import kept_models
from bench.records.record import Record, Stored, status_of
from bench.records.store import UNSOUND, Store
from bench.registry import Registry, in_this_folder
from bench.task import tasks, tasks_of

KINDS = (
    *("methods", "backbones", "datasets", "tasks", "metrics"),
    *("measures", "figures", "papers", "tables", "experiments", "presets"),
)
WHAT = "method, backbone, dataset, task, metric, measure, paper, table, figure, experiment, preset, run or signature"
"""What has a card."""

LIST = """
examples:
  bench list methods
  bench list tasks                     what is asked of images, and what there is for each
  bench list measures                  what 'bench measure' finds out about trained models
  bench list experiments --format json
  bench list methods --plugin ~/mine
"""
SHOW = """
examples:
  bench show gta               a method: hyper-parameters and where each value comes from; and the paper of that name
  bench show fd                a paper: every value of its protocol and tables, who states it, and how many of each
  bench show fd/released       a table: its file, with the runs that give its cells
  bench show gta/fig4          a figure of a paper: what it shows, what it needs, and what makes that
  bench show s_dbw             what is measured of trained models, and the numbers that it gives
  bench show all               an experiment
  bench show mae               a protocol by name: its values, who states each, and what no setting says of it
  bench show segmentation      a task: its metrics and settings, which methods are for it, and why others are not
  bench show timm:vit_tiny_patch16_224
  bench show 3f9a1c2b7d10      a run, by the beginning of its id
  bench show bench:demo:top1:on-test:at-last:untested:n3:v0.1.0:9f3c2a71b0de   the signature below a table: do these
                               records give its numbers
"""
COMPLETION = """
examples:
  bench completion bash      what to put into ~/.bashrc: eval "$(bench completion bash)"; zsh and fish likewise
"""


def add(commands: Any) -> None:
    """Add these commands to a parser's."""
    listing = add_command(commands, "list", list_command, "what there is", LIST)
    listing.add_argument("kind", choices=KINDS, metavar="KIND", help=", ".join(KINDS))
    add_plugin(listing)
    add_format(listing, ("text", "json"))
    show = add_command(commands, "show", show_command, f"the card of a {WHAT}", SHOW)
    show.add_argument("name", metavar="NAME")
    add_plugin(show)
    add_results(show)
    add_format(show, ("text", "json"))
    completion = add_command(commands, "completion", completion_command, "how Tab completes names", COMPLETION)
    completion.add_argument("shell", choices=("bash", "zsh", "fish"), metavar="SHELL", help="bash, zsh, fish")


def list_command(options: argparse.Namespace) -> int:
    """Print what there is of a kind."""
    rows = list_kind(options.kind, bench.Registry(options.plugin))
    if options.format == "json":
        print_json(rows)
        return 0
    if not rows:
        print(f"there are no {options.kind} yet")
    wide = max((len(row["name"]) for row in rows), default=0)
    room = max(20, shutil.get_terminal_size().columns - wide - 2) if sys.stdout.isatty() else 10_000
    for row in rows:
        about = " ".join(visible(row["about"]).split())
        print(f"{row['name']:{wide}}  {about if len(about) <= room else about[: room - 3] + '...'}")
    return 0


def show_command(options: argparse.Namespace) -> int:
    """Print a card."""
    cards = describe(options.name, bench.Registry(options.plugin), bench.Store(options.results))
    if options.format == "json":
        print_json([card.facts for card in cards])
        return 0
    print("\n\n".join(visible(card.text) for card in cards))
    return 0


def completion_command(options: argparse.Namespace) -> int:
    """Print the line that switches completion on."""
    import argcomplete

    print(argcomplete.shellcode(["bench"], shell=options.shell), end="")
    return 0


@dataclass(frozen=True)
class Description:
    """A card as a text for people and as plain data for programs."""

    text: str
    facts: dict[str, Any]


def list_kind(kind: str, registry: Registry) -> list[dict[str, str]]:
    """Name and one line of everything of a kind."""
    if kind == "methods":
        return [{"name": name, "about": registry.method(name).summary} for name in registry.method_files]
    if kind == "tasks":
        return task_rows(registry)
    if kind == "metrics":
        return [{"name": metric.name, "about": metric.heading} for metric in registry.metrics.values()]
    if kind == "measures":
        files = registry.measure_files
        return [{"name": name, "about": docstring(path).partition("\n")[0]} for name, path in files.items()]
    if kind == "figures":
        kinds = [{"name": name, "about": about(name)} for name in FIGURES]
        return kinds + [{"name": name, "about": _title(path)} for name, path in registry.figure_files.items()]
    files = {
        "backbones": registry.backbone_files,
        "datasets": registry.dataset_files,
        "papers": registry.protocol_files,
        "tables": registry.table_files,
        "experiments": registry.experiment_files,
        "presets": registry.preset_files,
    }[kind]
    return [{"name": name, "about": _title(path)} for name, path in files.items()]


def _title(path: Path) -> str:
    return str(read_document(path).get("title", ""))


def describe(name: str, registry: Registry, store: Store) -> list[Description]:
    """Every card of that name, of whatever kind; or else that of a run, by its id, or of a signature.

    Raises ``InputError`` where nothing has that name.
    """
    if is_signature(name):
        return [Description(*signature_card(name, registry, store))]
    plain = name.partition("@")[0]
    declared = registry.experiment_files | registry.table_files
    cards = []
    if name in registry.method_files:
        cards.append(_method(registry.method(name)))
    if plain in registry.backbone_files or name.startswith("timm:"):
        cards.append(_backbone(registry.backbone(name)))
    if plain in registry.dataset_files or name.startswith("folder:"):
        cards.append(_dataset(registry.dataset(name)))
    cards += [Description(*card) for card in measure_cards(name, registry)]
    if name in registry.metrics:
        cards.append(_metric(registry.metrics[name]))
    if name in registry.protocol_files:
        cards.append(_paper(name, registry))
    if name in declared:
        cards.append(_experiment(name, declared[name]))
    of_files = (task_cards, figure_cards, preset_cards)
    cards += [Description(*card) for cards_of in of_files for card in cards_of(name, registry)]
    if not cards and re.fullmatch(r"[0-9a-f]{4,12}", name):
        cards.append(_run(store.record(name)))
    if not cards:
        names = {*registry.method_files, *registry.backbone_files, *registry.dataset_files, *registry.metrics}
        names |= {*registry.measure_files, *declared, *registry.papers, *registry.figure_files, *FIGURES, *tasks()}
        names |= registry.preset_files.keys()
        for what in ("method", "dataset", "backbone", "metric", "measure"):
            if nearby := in_this_folder(name, what):
                raise InputError(f"no {what} is called '{name}': {nearby}")
        raise InputError(choose(name, names, WHAT))
    return cards


def _method(card: MethodCard) -> Description:
    lines = [f"method {card.name}: {card.summary}"]
    lines += [f"  {line}".rstrip() for line in card.text.splitlines()]
    lines.append(f"  paper: {card.paper or 'not stated'}")
    if card.needs:
        lines.append(f"  needs of the backbone: {', '.join(sorted(card.needs))}")
    for_tasks = [task for task, reason in tasks_of(card).items() if not reason]
    lines.append(f"  tasks: {', '.join(for_tasks)}")
    lines.append("  hyper-parameters:" if card.hypers else "  hyper-parameters: none")
    for hyper in card.hypers.values():
        lines += [f"    {hyper.name} = {_default(hyper)}  ({hyper.allowed})", f"      from: {hyper.source}"]
    lines.append(f"  file: {card.path}")
    facts = {
        "kind": "method",
        "name": card.name,
        "about": card.summary,
        "details": card.text,
        "paper": card.paper,
        "needs": sorted(card.needs),
        "tasks": for_tasks,
        "hyper_parameters": [asdict(hyper) for hyper in card.hypers.values()],
        "file": str(card.path),
    }
    return Description("\n".join(lines), facts)


def _default(hyper: Hyper) -> str:
    """What is used where nothing is written: ``1.0``, or ``1.0 with variant=paper, 4.0 with variant=released``."""
    if not hyper.by:
        return str(hyper.default)
    return ", ".join(f"{default} with {hyper.by}={value}" for value, default in hyper.defaults.items())


def _backbone(card: BackboneCard) -> Description:
    weights = {"none": "random", DRAWN: "random, as is the head of its pre-training, for rehearsals"}
    weights["pretrained"] = "timm's own, downloaded when first used"
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
    return Description(_listed(facts), facts)


def _dataset(card: DatasetCard) -> Description:
    rest = {key: value for key, value in card.facts.items() if key not in ("title", "about")}
    facts = {"kind": "dataset", "name": card.name, "about": card.title, **rest}
    if "about" in card.facts:
        facts["details"] = card.facts["about"]
    if seen := sentences(card):
        facts["seen"] = seen
    if card.path:
        facts["folder"] = card.path
        get = "" if card.name.startswith("folder:") else f" ({card.how_to_fetch})"
        facts["there"] = f"no: lacks {', '.join(card.missing)}{get}" if card.missing else "yes"
    keys = ("seen", "variants", "also", "papers", "traps", "steps", "download", "checksums")
    apart = [key for key in keys if facts.get(key)]
    lines = [_listed({key: value for key, value in facts.items() if key not in apart})]
    for key in apart:
        entries = facts[key]
        named = [("-", entry) for entry in entries]
        if isinstance(entries, Mapping):
            named = [(f"{entry}:", value) for entry, value in entries.items()]
        lines += [f"  {key}:", *(f"    {sign} {in_words(entry, ' + ')}" for sign, entry in named)]
    return Description("\n".join(lines), facts)


def _paper(name: str, registry: Registry) -> Description:
    """How a paper trains, with the source of each setting, and its tables."""
    protocol = read_document(registry.protocol_files[name])
    tables = [table for table in registry.table_files if table.partition("/")[0] == name]
    titles = {table: str(read_document(registry.table_files[table]).get("title", "")) for table in tables}
    facts = {"kind": "paper", "name": name, "about": str(protocol.get("title", "")), "tables": titles}
    lines = [f"paper {name}: {facts['about']}", "  protocol:"]
    values = values_of(name, registry)
    lines += [f"    {line}" for line in value_lines(value for value in values if not value.places)]
    if in_tables := [value for value in values if value.places]:
        lines += ["  in its tables:", *(f"    {line}" for line in value_lines(in_tables))]
    if others := other_lines(name, registry):
        lines += ["  not what the paper did, and not compared with it:", *(f"    {line}" for line in others)]
    lines.append(f"  values by who states them: {counts_in_words(values)}")
    if notes := protocol.get("notes"):
        lines += ["  notes:", *(f"    - {in_words(note)}" for note in (notes if isinstance(notes, list) else [notes]))]
    lines += ["  tables:", *(f"    {table}: {title}" for table, title in titles.items())]
    lines.append("  " + ", ".join(to_type(command, name) for command in ("table", "plan", "audit", "claims")))
    listed = [{**asdict(value), "kind": value.kind} for value in values]
    return Description("\n".join(lines), {**facts, "protocol": dict(protocol), "values": listed})


def _experiment(name: str, path: Path) -> Description:
    text = read_document(path)
    kind = "table" if "/" in name else "experiment"
    facts = {"kind": kind, "name": name, "about": text.get("title", ""), "file": str(path)}
    return Description(f"{_listed(facts)}\n\n{path.read_text(encoding='utf-8').rstrip()}", {**facts, "declared": text})


def _run(stored: Stored) -> Description:
    from bench.records.scores import cost_of  # NumPy

    record, folder = stored
    facts: dict[str, Any] = {"kind": "run", "name": record.id, "about": record.label, "status": status_of(record)}
    if isinstance(record, Record):
        last = record.curve[-1]
        facts[f"test {record.metric.title}"] = f"{record.scored(last.test)} after {counted(last.step, 'step')}"
        facts["seconds"] = record.timing.seconds
        facts |= _weights(cost_of(record)) | record.choice
        if kept := kept_models(folder):
            facts["trained models"] = f"after {', '.join(map(str, kept))} steps (bench export, bench predict)"
    else:
        facts["error"] = f"{record.error.kind}: {record.error.message}"
    with contextlib.suppress(*UNSOUND):
        if (meant := record.run.id) != record.id:
            facts["doubt"] = (
                f"its spec is that of another run, {meant}: it was edited, or a version that trains otherwise wrote it"
            )
    facts |= {"command": record.command or None, "folder": str(folder)}
    return Description(_listed(facts), {**msgspec.to_builtins(record), "folder": str(folder)})


def _weights(cost: Cost) -> dict[str, str]:
    """How many numbers a model has and how many were trained; a dash where a record does not say it."""
    counts = {"parameters": cost.parameters, "trained weights": cost.trained}
    facts = {name: "–" if math.isnan(count) else f"{count:,.0f}" for name, count in counts.items()}
    if cost.trained <= cost.parameters:  # a method may train heads that the model is not left with
        facts["trained weights"] += f" ({100 * cost.trained / cost.parameters:.3g} %)"
    return facts


def _metric(metric: Metric) -> Description:
    bounds = ["any" if bound is None else f"{bound:g}" for bound in (metric.low, metric.high)]
    about = metric.compute or metric.of_run
    of = "a point of the curve" if metric.of_curve else "the whole run"
    if metric.measure:
        of = f"a kept model, by {to_type('measure', 'TARGET', metric.measure)}"
    facts = {
        "kind": "metric",
        "name": metric.name,
        "about": metric.heading,
        "details": (about.__doc__ or "").strip().partition("\n")[0],
        "better": "lower" if metric.lower else "higher",
        "from": bounds[0],
        "to": bounds[1],
        "of": of,
    }
    return Description(_listed({key: value for key, value in facts.items() if value}), facts)


def _listed(facts: Mapping[str, Any]) -> str:
    """``kind name: about`` and the other facts, one a line."""
    lines = [f"{facts['kind']} {facts['name']}: {facts['about']}"]
    for key, value in facts.items():
        if key not in ("kind", "name", "about"):
            lines.append(f"  {key.replace('_', ' ')}: {in_words(value)}")
    return "\n".join(lines)


def in_words(value: Any, between: str = ", ") -> str:
    """Plain data in one line, lists and mappings without the signs of a programming language; None says nothing."""
    if isinstance(value, list):
        return between.join(in_words(entry, between) for entry in value)
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {in_words(entry, between)}" for key, entry in value.items() if entry is not None)
    return {True: "yes", False: "no"}[value] if isinstance(value, bool) else " ".join(str(value).split())

"""Pages of the site's reference: every card and every command, from what the code declares, without importing torch."""

from __future__ import annotations

import argparse
import functools
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import bench
from bench.cards import MethodCard
from bench.cli import build_parser
from bench.commands.markdown import markdown_table
from bench.commands.options import Parser
from bench.commands.show import describe, in_words, list_kind
from bench.hyper import Hyper

ROOT = Path(__file__).parent.parent

HERE = ("kind", "name", "about", "details", "folder", "there", "seen", "hyper_parameters")
"""What a card's table leaves out: it stands above it, or is of the machine on which the site is built."""


def methods() -> str:
    """Every method, with its hyper-parameters and who states their defaults."""
    about = (
        "`bench show NAME` prints a method's card. In an experiment, or behind `--methods`, a method has this name; a "
        "hyper-parameter stands behind it: `gta(weight=0.3)`. [How a method is written](../first/method.md)."
    )
    return "\n\n".join(["# Methods", about, *_contents("methods"), *_cards("methods")]) + "\n"


def _hypers(card: MethodCard) -> str:
    rows = [(f"`{each.name}`", _default(each), each.allowed, _plain(each.source)) for each in card.hypers.values()]
    return markdown_table(("hyper-parameter", "if left out", "allowed", "who states it"), rows)


def _default(hyper: Hyper) -> str:
    if not hyper.by:
        return f"`{hyper.default}`"
    return ", ".join(f"`{default}` with `{hyper.by}={value}`" for value, default in hyper.defaults.items())


def backbones() -> str:
    """Every backbone that has a card."""
    about = (
        "Backbones with a card. `timm:NAME` is any model of timm's with its weights, `timm:NAME@none` one from "
        "scratch. [Other weights](../weights.md)."
    )
    return "\n\n".join(["# Backbones", about, *_contents("backbones"), *_cards("backbones")]) + "\n"


def datasets() -> str:
    """Every dataset that has a card."""
    about = (
        "Datasets with a card. `bench data prepare NAME` fetches one or says how, `bench data check NAME` verifies it. "
        "[A folder of your own](../images.md) needs no card."
    )
    return "\n\n".join(["# Datasets", about, *_contents("datasets"), *_cards("datasets")]) + "\n"


def tasks() -> str:
    """What is asked of images, with the methods that can answer."""
    about = "What may be asked of an image. A dataset's card says for which task it is."
    return "\n\n".join(["# Tasks", about, *_cards("tasks")]) + "\n"


def metrics() -> str:
    """Every metric of a run; those of kept models are with the measures."""
    about = (
        "Names for `--metric`, and for `metric` in a file. Those that `bench measure` gives stand with the "
        "[measures](measures.md). [How one is added](../first/method.md#a-number-of-your-own)."
    )
    facts = [_facts(name, "metric") for name, metric in _registry().metrics.items() if not metric.measure]
    head = ("name", "heading", "what", "better", "from", "to", "of")
    rows = [(f"`{each['name']}`", *(_plain(each[key]) for key in ("about", "details", *head[3:]))) for each in facts]
    return "\n\n".join(["# Metrics", about, markdown_table(head, rows)]) + "\n"


def measures() -> str:
    """Every measure of kept models, with the numbers that it gives."""
    about = "What `bench measure TARGET NAME` finds out about kept models. [How they are used](../measures.md)."
    return "\n\n".join(["# Measures", about, *_contents("measures"), *_cards("measures")]) + "\n"


def figures() -> str:
    """Every kind of figure, and the figures of papers."""
    about = "Kinds for `bench figure TARGET --kind NAME`, and figures of papers. [The gallery](../gallery.md)."
    return "\n\n".join(["# Figures", about, *_contents("figures")]) + "\n"


def experiments() -> str:
    """The experiments and the presets that are shipped, as they are."""
    registry = bench.Registry()
    blocks = ["# Experiments", "What `bench run NAME` trains; each is a file like one of your own."]
    for name, path in registry.experiment_files.items():
        blocks += [f"## `{name}`", f"```yaml\n{path.read_text(encoding='utf-8')}```"]
    blocks += ["## Presets", "Protocols by name: `--set preset=NAME`. [Their values](../protocols.md#presets).\n"]
    return "\n\n".join([*blocks, *_contents("presets")]) + "\n"


def papers() -> str:
    """The papers whose tables are here, with these."""
    blocks = [
        "# Papers and their tables",
        "`bench table NAME` prints a table as published, `bench plan NAME` the runs that regenerate it. [Every value "
        "of the protocols](../protocols.md) says who states it; [one more paper](../sixth_paper.md) is three files.",
    ]
    tables = list_kind("tables", _registry())
    for paper in list_kind("papers", _registry()):
        of_paper = [table for table in tables if table["name"].startswith(f"{paper['name']}/")]
        rows = [(f"`{table['name']}`", _plain(table["about"])) for table in of_paper]
        blocks += [f"## `{paper['name']}`", f"**{_plain(paper['about'])}**", markdown_table(("table", "what"), rows)]
    return "\n\n".join(blocks) + "\n"


def commands() -> str:
    """Every command with its options and examples, as ``--help`` has them."""
    about = "Every command with its options, as `bench COMMAND --help` prints them. [By purpose](../commands.md)."
    return "\n\n".join(["# Commands", about, *_commands(build_parser(), 2)]) + "\n"


def _commands(parser: argparse.ArgumentParser, level: int) -> Iterator[str]:
    for command in _parts(parser):
        if isinstance(command, Parser) and command.prepare is not None:
            command.prepare(command, ())
        yield f"{'#' * level} `{command.prog}`"
        yield _plain(command.description or "")
        for group in command._action_groups:
            rows = [(_typed(action), _plain(_help(action))) for action in group._group_actions if _is_told(action)]
            if rows:
                yield markdown_table((group.title or "", "what"), rows)
        text, _, examples = (command.epilog or "").partition("examples:\n")
        if text.strip():
            yield _plain(text.strip())
        if examples:
            yield f"```bash\n{_unindented(examples)}\n```"
        yield from _commands(command, level + 1)


def _parts(parser: argparse.ArgumentParser) -> list[argparse.ArgumentParser]:
    """A parser's commands."""
    groups = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    return [command for group in groups for command in group.choices.values()]


def _is_told(action: argparse.Action) -> bool:
    of_no_use = (argparse._HelpAction, argparse._SubParsersAction)
    return not isinstance(action, of_no_use) and action.help != argparse.SUPPRESS


def _typed(action: argparse.Action) -> str:
    name = action.metavar if isinstance(action.metavar, str) else action.dest
    if not action.option_strings:
        return f"`{name}`"
    value = "" if action.nargs == 0 else f" {name}"
    return f"`{', '.join(action.option_strings)}{value}`"


def _help(action: argparse.Action) -> str:
    return (action.help or "").replace("%%", "%")


def _unindented(examples: str) -> str:
    lines = examples.rstrip().splitlines()
    return "\n".join(line.removeprefix("  ") if line.startswith("  ") else f"# {line}" for line in lines)


def _contents(kind: str) -> list[str]:
    """A table of all of a kind, in a line each; those whose card is on the page lead to it."""
    with_cards = kind in ("methods", "backbones", "datasets", "measures")
    form = "[`{0}`](#{0})" if with_cards else "`{0}`"
    rows = [(form.format(row["name"]), _plain(row["about"])) for row in list_kind(kind, _registry())]
    return [markdown_table(("name", "what"), rows)]


def _cards(kind: str) -> Iterator[str]:
    """The cards of all of a kind, one after the other."""
    for row in list_kind(kind, _registry()):
        facts = _facts(row["name"], kind.removesuffix("s"))
        yield f"## `{facts['name']}`"
        yield f"**{_plain(facts['about'])}**"
        if facts.get("details"):
            yield facts["details"]
        if facts.get("hyper_parameters"):
            yield _hypers(_registry().method(row["name"]))
        rows = [(key.replace("_", " "), _value(value)) for key, value in facts.items() if key not in HERE and value]
        yield markdown_table(("fact", "value"), rows)


def _facts(name: str, kind: str) -> dict[str, Any]:
    cards = describe(name, _registry(), bench.Store("results"))
    return next(card.facts for card in cards if card.facts["kind"] == kind)


@functools.cache
def _registry() -> bench.Registry:
    return bench.Registry()


def _value(value: Any) -> str:
    """What stands in a card, an entry of a list or a mapping a line; paths begin in the repository."""
    if isinstance(value, Mapping):
        lines = [f"{key}: {in_words(entry)}" for key, entry in value.items()]
    elif isinstance(value, list) and any(not isinstance(entry, str) or " " in entry for entry in value):
        lines = [in_words(entry) for entry in value]
    else:
        lines = [in_words(value)]
    return "<br>".join(_plain(line.replace(f"{ROOT}/", "")) for line in lines)


def _plain(text: str) -> str:
    """A text in which nothing is Markdown, but for what is between backticks."""
    parts = re.split(r"(`[^`]*`)", " ".join(text.split()))
    return "".join(part if part.startswith("`") else _escaped(part) for part in parts)


def _escaped(text: str) -> str:
    return re.sub(r"([\\*_\[\]])", r"\\\1", text).replace("&", "&amp;").replace("<", "&lt;")


PAGES: dict[str, Callable[[], str]] = {
    f"reference/{page.__name__}.md": page
    for page in (methods, backbones, datasets, tasks, metrics, measures, figures, experiments, papers, commands)
}
"""The pages that are made when the site is built, by their place in it."""

"""The models that timm has, by their names: read without timm, whose import takes seconds and brings torch.

timm itself is asked, in a process of its own, the first time that somebody names one of its models; what it says is
kept by its version in the user's cache folder. timm's files could be parsed instead, but many of its names and tags are
made by loops and functions there, so a parse would miss some and refuse what timm has.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import subprocess
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from bench.cards import BackboneCard
from bench.cards.folders import user_cache
from bench.cards.offers import OWN_OFFERS
from bench.errors import InputError, Problems, nearest, shortened
from bench.process import environment, program
from bench.records.files import write_file
from bench.spec import digest


@dataclass(frozen=True)
class Architectures:
    """The models of one version of timm.

    Attributes:
        tags: of the weights of each model; of those that timm fetches and of others.
        fetched: models, alone and with a tag, whose weights timm fetches.
    """

    version: str
    tags: Mapping[str, tuple[str, ...]]
    fetched: frozenset[str]

    def problem(self, card: BackboneCard) -> str:
        """Why timm cannot build a card's model, or has no weights of it; empty where it can."""
        model, _, tag = card.model.partition(".")
        if model not in self.tags:
            problem = f"timm {self.version} has no model '{shortened(model)}'"
            return f"{card.name}: {problem}{nearest(model, self.tags)}"
        if tag and tag not in self.tags[model]:
            has = ", ".join(self.tags[model]) or "none"
            return f"{card.name}: timm's {model} has no weights '{shortened(tag)}'; it has {has}"
        if card.weights == "pretrained" and card.model not in self.fetched:
            plain = card.name.partition("@")[0]
            instead = f"give a file ({plain}@FILE.safetensors) or train from scratch ({plain}@none)"
            return f"{card.name}: timm has no pre-trained weights of it; {instead}"
        return ""


def require_known_models(cards: Iterable[BackboneCard], say: Callable[[str], None] = print) -> None:
    """Raise ``InputError`` that tells of each card whose model or weights timm does not have, with near names.

    Of ``timm:NAME`` and of cards that name one of timm's models. What takes seconds, once for a version of timm, is
    said.
    """
    problems = Problems()
    for card in cards:
        if (card.model not in OWN_OFFERS or card.name.startswith("timm:")) and (
            problem := architectures(say).problem(card)
        ):
            problems.add(problem)
    problems.stop()


@lru_cache(maxsize=1)
def architectures(say: Callable[[str], None]) -> Architectures:
    """The models of the timm that is installed here. Raises ``InputError`` where there is none that can be imported."""
    version, file = _installed()
    kept = _read(file)
    if kept is None:
        say(f"asking timm {version} for the names of its models, once")
        kept = _ask()
        with contextlib.suppress(OSError):  # a folder that cannot be written costs the time again
            write_file(file, json.dumps(kept))
    tags = {name: tuple(tags) for name, tags in kept["tags"].items()}
    return Architectures(version, tags, frozenset(kept["fetched"]))


def _installed() -> tuple[str, Path]:
    """The version of timm, and the file in which its names are kept; another timm has another file."""
    from importlib import metadata  # takes a tenth of the start of commands that need no version

    try:
        version, package = metadata.version("timm"), importlib.util.find_spec("timm")
    except (metadata.PackageNotFoundError, ImportError):
        version, package = "", None
    if package is None or package.origin is None:
        raise InputError("timm is not installed, which backbones are built with: pip install timm")
    listing = Path(package.origin).parent / "models"
    changed = listing.stat().st_mtime_ns if listing.is_dir() else 0
    return version, user_cache() / f"timm-{version}-{digest([str(listing), changed])}.json"


def _read(file: Path) -> dict[str, dict[str, list[str]]] | None:
    """What is kept in a file; None where there is nothing, or something else."""
    try:
        kept = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    is_whole = isinstance(kept, dict) and kept.keys() == {"tags", "fetched"} and isinstance(kept["tags"], dict)
    return kept if is_whole and kept["tags"] else None


def _ask() -> dict[str, dict[str, list[str]]]:
    """What timm says, in a process of its own."""
    asked = subprocess.run(
        program("bench.plan.architectures"), capture_output=True, text=True, env=environment(""), check=False
    )
    if asked.returncode:
        lines = [line for line in asked.stderr.splitlines() if line.strip()]
        raise InputError(f"timm cannot be imported: {lines[-1] if lines else f'exit code {asked.returncode}'}")
    answer: dict[str, dict[str, list[str]]] = json.loads(asked.stdout.splitlines()[-1])
    return answer


def main() -> None:
    """The process: writes a JSON line with every model's tags, and what of it has weights that timm fetches."""
    import timm
    from timm.models import get_deprecated_models

    tags: dict[str, list[str]] = {name: [] for name in (*timm.list_models(), *get_deprecated_models())}
    for name in timm.list_models(include_tags=True):
        model, _, tag = name.partition(".")
        tags[model] += [tag] if tag else []
    fetched = timm.list_pretrained()
    # an old name stands for a newer one with its weights; whether these can be had is seen when they are fetched
    plain = [name.partition(".")[0] for name in fetched]
    print(json.dumps({"tags": tags, "fetched": sorted({*fetched, *plain, *get_deprecated_models()})}))

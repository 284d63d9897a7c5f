"""A trained model in somebody else's form, with the facts and the card that lie beside it."""

from __future__ import annotations

import importlib
import json
import pkgutil
import shutil
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

import msgspec
from torch import Tensor

from bench.backbones import Model
from bench.cards import BackboneCard
from bench.data.augment import PHOTO
from bench.errors import InputError, choose
from bench.models import forms
from bench.models.scorer import Scorer, scorer_of
from bench.records.files import sync
from bench.records.kept import ModelFacts
from bench.spec import short_name

TOLERANCE = 1e-4
"""Largest difference of logits between a model and what was written of it, as a share of the largest logit."""


@dataclass(frozen=True)
class Export:
    """A model that is to be written.

    Attributes:
        facts: what its file says of itself.
        backbone: the card of what it was trained from.
    """

    model: Model
    facts: ModelFacts
    backbone: BackboneCard

    @property
    def scorer(self) -> Scorer:
        return scorer_of(self.model)


@dataclass(frozen=True)
class Written:
    """What a form has written.

    Attributes:
        usage: how it is loaded, in Python, from where it lies.
        config: what a program that loads it must be told, beside what every form says.
    """

    usage: Callable[[Path], str]
    config: dict[str, Any] = field(default_factory=dict)


def form_names() -> list[str]:
    """The forms there are: the modules of ``bench.models.forms``."""
    return sorted(module.name for module in pkgutil.iter_modules(forms.__path__))


def find_form(name: str) -> ModuleType:
    """A form by its name. Raises ``InputError`` where there is none, or a library that it needs is not installed."""
    if name not in form_names():
        raise InputError(f"--to: {choose(name, form_names(), 'form')}")
    form = importlib.import_module(f"bench.models.forms.{name}")
    for library in form.NEEDS:
        try:
            importlib.import_module(library)
        except ImportError:
            needs = ", ".join(form.NEEDS)
            raise InputError(f"--to {name} needs {needs}: pip install 'finetune-bench[export]'") from None
    return form


def beside(out: Path, name: str) -> tuple[Path, Path]:
    """Where the facts and the card of what is written lie."""
    if find_form(name).FOLDER:
        return out / "config.json", out / "README.md"
    return with_end(out, "json"), with_end(out, "md")


def with_end(out: Path, end: str) -> Path:
    return out.with_name(f"{out.stem}.{end}")


def require_out(out: Path, name: str) -> None:
    """Raise ``InputError`` where something is in the way, or the name does not end as a file of this form does."""
    form = find_form(name)
    if out.suffix != form.SUFFIX and not form.FOLDER:
        raise InputError(f"{out}: a file of --to {name} ends in {form.SUFFIX}")
    for path in {out, *(beside(out, name) if not form.FOLDER else ())}:
        if path.exists():
            raise InputError(f"{path}: exists already; name another file, or remove it")
    if not out.absolute().parent.is_dir():
        raise InputError(f"{out}: there is no folder {out.parent}")
    try:
        draft_folder(out).rmdir()  # a run that is trained again for it may take hours
    except OSError as error:
        raise InputError(f"{out}: nothing can be written in {out.parent}: {error.strerror}") from None


def draft_folder(out: Path) -> Path:
    """A new folder beside what is to be written, for drafts of it. Raises ``OSError``."""
    return Path(tempfile.mkdtemp(prefix=".export-", dir=out.absolute().parent))


def write(export: Export, out: Path, name: str, card: Callable[[str], str]) -> Written:
    """Write a model in a form, with its facts and its card; all of it or nothing.

    ``card`` makes Markdown of how the model is loaded. Raises ``InputError`` where the form cannot hold the model.
    """
    form = find_form(name)
    draft = draft_folder(out)
    try:
        written: Written = form.write(export, draft / out.name)
        config = json.dumps({**config_of(export), **written.config}, indent=1, ensure_ascii=False) + "\n"
        facts_path, card_path = beside(draft / out.name, name)
        facts_path.write_text(config, encoding="utf-8")
        card_path.write_text(card(written.usage(Path(out.name)).rstrip()), encoding="utf-8")
        for path in (path for path in draft.rglob("*") if path.is_file()):
            sync(path)
        for path in sorted(draft.iterdir(), key=lambda path: path.name == out.name):  # the model itself comes last
            path.replace(out.absolute().parent / path.name)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return written


def config_of(export: Export) -> dict[str, Any]:
    """What every form says: classes, and how an image is brought to what the network takes, in timm's words."""
    facts = export.facts
    photo = facts.augmentation in PHOTO
    view = {
        "input_size": [facts.channels, facts.image_size, facts.image_size],
        "mean": facts.mean,
        "std": facts.std,
        "crop_pct": 0.875 if photo else 1.0,
        "crop_mode": "center" if photo else "squash",
        "interpolation": "bicubic" if photo else "bilinear",
        "num_classes": len(facts.classes),
    }
    return {
        "num_classes": len(facts.classes),
        "num_features": export.model.dim,
        "label_names": facts.classes,
        "pretrained_cfg": view,
        "bench": msgspec.to_builtins(without_places(facts)),
    }


def view_in_words(facts: ModelFacts) -> str:
    """How an image is brought to what the network takes."""
    size = facts.image_size
    if facts.augmentation in PHOTO:
        side = round(size * 8 / 7)
        return f"scaled to a shorter side of {side} pixels (bicubic), of which the centre of {size} × {size} is taken"
    return f"squeezed to {size} × {size} pixels (bilinear)"


def without_places(facts: ModelFacts) -> ModelFacts:
    """The same without the names of folders on this machine, as a file that is handed over has it."""
    spec = dict(facts.spec)
    for key in ("backbone", "dataset"):
        spec[key] = {**spec[key], "name": short_name(spec[key]["name"])}
    return msgspec.structs.replace(facts, spec=spec, left_out={})


def require_same(expected: Tensor, logits: Tensor, what: str) -> None:
    """Raise ``InputError`` where something written gives other logits than the model."""
    gap = float((expected - logits).abs().max()) / max(1.0, float(expected.abs().max()))
    if not gap <= TOLERANCE:
        raise InputError(f"{what}: it gives other logits than the model: they differ by {gap:.2g}; nothing was written")


def refused(name: str, label: str, error: Exception, instead: Sequence[str]) -> InputError:
    """The error of a form that cannot hold a model, with the first line of its reason."""
    reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
    return InputError(f"--to {name}: {label} cannot be written so: {reason}; try --to {' or --to '.join(instead)}")

"""A trained model to ask about images: of a kept file, of an exported one, or of a run that kept one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import timm
import torch
from torch import nn

from bench.errors import InputError
from bench.models.export import with_end
from bench.models.kept import load_model, read_tensors, tensor_names
from bench.models.scorer import Scorer, probe_images, scorer_of
from bench.records.kept import ModelFacts, parse_facts, read_facts
from bench.registry import Registry

_REFUSED = ("pretrained", "pretrained_cfg", "pretrained_cfg_overlay", "checkpoint_path", "cache_dir", "num_classes")
"""What a config may not tell timm: where weights are fetched from is nobody else's choice."""


def load_scorer(path: Path, registry: Registry) -> tuple[Scorer, ModelFacts]:
    """The model in a file that ``bench run --keep`` or ``bench export`` wrote, or in a folder of the latter.

    Raises ``InputError`` where it cannot be read, or is no such file.
    """
    weights, config = path, with_end(path, "json")
    if path.is_dir():
        weights, config = path / "model.safetensors", path / "config.json"
    if weights.suffix != ".safetensors" or not weights.is_file():
        raise InputError(f"{path}: a model is a run's id, or a .safetensors file or a folder that 'bench export' wrote")
    if config.is_file():
        return _exported(weights, config)
    facts = read_facts(weights)
    _require_one_class(facts)
    if not any(name.startswith("backbone.") for name in tensor_names(weights)):
        raise InputError(f"{weights}: {config.name}, which 'bench export' wrote beside it, is not there")
    return scorer_of(load_model(weights, facts, registry)), facts


def _require_one_class(facts: ModelFacts) -> None:
    """Raise ``InputError`` where a model does not say of which class an image is."""
    if facts.task:
        raise InputError(f"{facts.label}: its model is of {facts.task}, and predict says the one class of an image")


def _exported(weights: Path, config: Path) -> tuple[Scorer, ModelFacts]:
    """The model that timm builds by a config; nothing that it says is fetched or run."""
    try:
        content: Any = json.loads(config.read_text(encoding="utf-8"))
        facts = parse_facts(msgspec.json.encode(content["bench"]), config)
        architecture, arguments = str(content["architecture"]), dict(content["model_args"])
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        raise InputError(f"{config}: it is not what 'bench export' writes beside a file of weights") from None
    _require_one_class(facts)
    if odd := sorted({*arguments} & {*_REFUSED}):
        raise InputError(f"{config}: 'model_args' may not say {', '.join(odd)}")
    if not timm.is_model(architecture):
        raise InputError(f"{config}: timm has no architecture '{architecture}'")
    try:
        network: nn.Module = timm.create_model(architecture, num_classes=len(facts.classes), **arguments)
        network.load_state_dict(read_tensors(weights))
        scorer = Scorer(network, facts.mean, facts.std)
        with torch.inference_mode():
            logits = scorer(probe_images(facts.channels, facts.image_size, 1))
        if logits.shape != (1, len(facts.classes)):
            raise ValueError(f"it gives {tuple(logits.shape)} for an image, not a logit for each class")
    except InputError:
        raise
    except Exception as error:  # whatever timm raises of arguments that do not fit
        lines = [line.strip() for line in str(error).splitlines()] or [type(error).__name__]
        reason = " ".join(lines[:2])  # torch heads a list of what does not fit with a line that says nothing
        raise InputError(f"{weights}: it does not fit {config.name}: {reason}") from None
    return scorer, facts

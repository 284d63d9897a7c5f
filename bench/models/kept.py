"""From the file of a kept model back to the model: the network is built again, and its tensors are checked."""

from __future__ import annotations

import contextlib
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import Tensor, nn

from bench.backbones import Model
from bench.backbones.head import CosineLinear, Foldable
from bench.cards import BackboneCard, DatasetCard
from bench.cards.further import without_further
from bench.device.distributed import draws_apart
from bench.errors import InputError
from bench.metrics import CLASSIFICATION
from bench.records.kept import ModelFacts
from bench.records.store import UNSOUND
from bench.registry import Registry
from bench.spec import RunSpec, from_json
from bench.task import find_task
from bench.training.choosing import with_validation
from bench.training.features import Untold, with_features
from bench.training.fit import move
from bench.training.keeping import NOT_SCORED, digest_of
from bench.training.shelf import checksum_of
from bench.training.trial import build_method, equip_model, splits

CPU = torch.device("cpu")


def load_model(path: Path, facts: ModelFacts, registry: Registry) -> Model:
    """The model in a file, in single precision and in eval mode.

    Raises ``InputError``: the file is damaged, or what its network is built with is not here or no longer the same.
    """
    try:
        spec = from_json(facts.spec)
    except UNSOUND:
        raise InputError(f"{path}: what it says of its run cannot be read") from None
    tensors = read_tensors(path)
    with draws_apart():
        model = _built(spec, facts, registry, source=bool(facts.left_out))
        if facts.left_out:
            tensors |= _left_out(model, facts, path)
        if (projection := tensors.get("head.projection")) is not None:
            model.head = CosineLinear(nn.Parameter(projection), model.classes)
        if not _fits(model, tensors):
            model = _last_model(spec, model, registry)
    if not _fits(model, tensors):
        raise InputError(f"{path}: its weights do not fit what {facts.label} trains now; use the version that wrote it")
    model.source_head, model.text_tower = None, None
    model.load_state_dict(tensors)
    return model.eval().requires_grad_(False)


def backbone_of(facts: ModelFacts, registry: Registry) -> BackboneCard:
    """The card of what a model was trained from; without its weights, where their file is no longer here."""
    name = str(facts.spec["backbone"]["name"])
    try:
        return registry.backbone(name)
    except InputError:
        return registry.backbone(f"{name.partition('@')[0]}@none")


def dataset_of(name: str, registry: Registry) -> DatasetCard | None:
    """The card of a run's dataset; None for a folder of images, of which there is none, and where it is not here."""
    if name.startswith("folder:"):
        return None
    with contextlib.suppress(InputError):
        return registry.dataset(without_further(name))
    return None


def tensor_names(path: Path) -> list[str]:
    """The names of the tensors in a file. Raises ``InputError`` where it is damaged."""
    try:
        with safe_open(path, "pt") as file:
            return list(file.keys())
    except (SafetensorError, OSError) as error:
        raise InputError(f"{path}: it cannot be read as safetensors: {error}") from None


def read_tensors(path: Path) -> dict[str, Tensor]:
    """The tensors in a file, those in half precision made single. Raises ``InputError`` where it is damaged."""
    try:
        with safe_open(path, "pt") as file:
            checksum = (file.metadata() or {}).get("crc32")
        tensors = load_file(path)
    except (SafetensorError, OSError) as error:
        raise InputError(f"{path}: it cannot be read as safetensors: {error}") from None
    if checksum not in (None, str(checksum_of(tensors))):
        raise InputError(f"{path}: it is damaged: its checksum is not the one that was written")
    return {name: tensor.float() if tensor.dtype == torch.half else tensor for name, tensor in tensors.items()}


def _built(spec: RunSpec, facts: ModelFacts, registry: Registry, source: bool) -> Model:
    """The backbone of a run with a new head; with its published weights where they are needed."""
    name = spec.backbone.name if source else f"{spec.backbone.name.partition('@')[0]}@none"
    protocol = spec.protocol
    return find_task(facts.task or CLASSIFICATION).build(registry.backbone(name), len(facts.classes), protocol)


def _left_out(model: Model, facts: ModelFacts, path: Path) -> dict[str, Tensor]:
    """The tensors that a file leaves out, from the published weights. Raises ``InputError`` where these changed."""
    published = model.state_dict()
    for name, digest in facts.left_out.items():
        if name not in published or digest_of(published[name]) != digest:
            backbone = facts.spec["backbone"]["name"]
            raise InputError(
                f"{path}: it leaves out {name} as {backbone} has it, and the weights of that are others now"
            )
    return {name: published[name].clone() for name in facts.left_out}


def _fits(model: Model, tensors: dict[str, Tensor]) -> bool:
    """Whether names and shapes are those of a model without what of its pre-training lies beside it."""
    shapes = {name: tensor.shape for name, tensor in model.state_dict().items() if not name.startswith(NOT_SCORED)}
    return shapes == {name: tensor.shape for name, tensor in tensors.items()}


def _last_model(spec: RunSpec, model: Model, registry: Registry) -> Model:
    """The model of a method's last stage, where that is another network: its stages are gone through untrained.

    Raises ``InputError`` where the method or the dataset that it may look at is not here.
    """
    card = registry.dataset(without_further(spec.dataset.name))
    card.require_files()
    task = find_task(card.task)
    dataset = task.read(card)
    train, val, _ = splits(dataset, spec)
    data = with_features(with_validation(task.images(spec, dataset, train, model, CPU), val, task), Untold(spec))
    recipe = spec.protocol.recipe.resolved(len(data), spec.protocol.batch_size)
    equip_model(model, registry.backbone(spec.backbone.name), spec, registry)
    for stage in build_method(spec, registry).stages(model, recipe, data):
        move(stage, CPU)
        model = stage.model
    if isinstance(model.head, Foldable):
        model.answer_with(model.head.folded())
    return model

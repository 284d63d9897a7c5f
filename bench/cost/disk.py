"""What kept models take on disk; a short process builds each backbone without values, so that a plan needs no torch."""

from __future__ import annotations

import json
import math
import sys
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from bench.cards import BackboneCard
from bench.cards.offers import HEADS
from bench.errors import InputError
from bench.metrics import CLASSIFICATION
from bench.process import answer_of
from bench.protocol import Protocol
from bench.records.kept import Keep
from bench.registry import Registry
from bench.spec import RunSpec
from bench.task import find_task

SAID_OF_ITSELF = 8_000
"""Bytes of a file that are not weights, about: what it says of itself, and the names of its tensors."""


@dataclass(frozen=True)
class SizedBackbone:
    """A backbone as a run builds it, with what answers for so many classes at a task on it."""

    backbone: str
    image_size: int
    classes: int
    task: str = CLASSIFICATION
    decoder: int = Protocol.decoder


@dataclass(frozen=True)
class ModelsOnDisk:
    """What the models that runs keep take: files and bytes, at most."""

    files: int
    bytes: int


def models_on_disk(runs: Iterable[RunSpec], keep: Keep, registry: Registry) -> ModelsOnDisk:
    """What the kept models of some runs take at most: where training leaves weights alone, ``changes`` takes less.

    A method that trains another network than the backbone's is counted as if it did not. Raises ``InputError`` where a
    backbone cannot be built.
    """
    networks, files = Counter[SizedBackbone](), 0
    wanted = list(runs) if keep else []
    names = dict.fromkeys(spec.dataset.name for spec in wanted)
    cards = {name: registry.dataset(name) for name in names}
    for spec in wanted:
        card, protocol = cards[spec.dataset.name], spec.protocol
        points = protocol.evaluations if keep.points == "all" else 1
        network = SizedBackbone(spec.backbone.name, protocol.image_size, card.class_count, card.task, protocol.decoder)
        networks[network] += points
        files += points
    weights = {network: _in_file(network, registry) for network in networks}
    if unknown := [network for network, count in weights.items() if count is None]:
        weights |= zip(unknown, _in_process(unknown, registry), strict=True)
    width = 2 if keep.half else 4
    sizes = (count * (width * (weights[network] or 0) + SAID_OF_ITSELF) for network, count in networks.items())
    return ModelsOnDisk(files, sum(sizes))


def _in_file(network: SizedBackbone, registry: Registry) -> int | None:
    """The numbers in the file of a backbone's weights and in a head; None where it has no file, or one without a head.

    They are those of the network, but for a position embedding that is resized.
    """
    path = Path(registry.backbone(network.backbone).weights)
    if not path.is_file() or not find_task(network.task).linear_head:
        return None
    from safetensors import safe_open

    with safe_open(path, "np") as file:
        names = file.keys()
        shapes = {name: file.get_slice(name).get_shape() for name in names}
    heads = {name: shape for name, shape in shapes.items() if name.rpartition(".")[0] in HEADS}
    width = next((shape[-1] for shape in heads.values() if len(shape) == 2), None)
    if width is None:
        return None
    backbone: int = sum(math.prod(shape) for name, shape in shapes.items() if name not in heads)
    return backbone + (int(width) + 1) * network.classes


def _in_process(networks: list[SizedBackbone], registry: Registry) -> list[int]:
    """The numbers in each network, as the process says."""
    task = {"plugins": [str(plugin) for plugin in registry.plugins], "networks": [asdict(each) for each in networks]}
    answer = answer_of("bench.cost.disk", task, "builds the backbones")
    if "problem" in answer:
        raise InputError(answer["problem"])
    return list(answer["weights"])


def _decoded(network: SizedBackbone, card: BackboneCard) -> int:
    """The numbers in a backbone and in the decoder on it, which are built without values."""
    import torch

    protocol = Protocol(image_size=network.image_size, decoder=network.decoder)
    with torch.device("meta"):
        model = find_task(network.task).build(replace(card, weights="none"), network.classes, protocol)
    return sum(tensor.numel() for tensor in model.state_dict().values())


def main() -> None:
    """The process: standard input says of which networks the weights are counted."""
    from bench.backbones.build import sketch

    task = json.load(sys.stdin)
    registry, weights = Registry(task["plugins"]), []
    try:
        for network in (SizedBackbone(**each) for each in task["networks"]):
            card = registry.backbone(network.backbone)
            if not find_task(network.task).linear_head:
                weights.append(_decoded(network, card))
                continue
            model = sketch(card, network.image_size)
            backbone = sum(tensor.numel() for tensor in model.backbone.state_dict().values())
            weights.append(backbone + (model.dim + 1) * network.classes)
        print(json.dumps({"weights": weights}))
    except InputError as error:
        print(json.dumps({"problem": str(error)}))

"""What kept models take on disk; a short process builds each backbone without values, so that a plan needs no torch."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

from bench.cards.offers import HEADS
from bench.errors import InputError
from bench.process import environment, last_line, program
from bench.records.kept import Keep
from bench.registry import Registry
from bench.spec import RunSpec

SAID_OF_ITSELF = 8_000
"""Bytes of a file that are not weights, about: what it says of itself, and the names of its tensors."""


@dataclass(frozen=True)
class SizedBackbone:
    """A backbone as a run builds it, with a head of so many classes."""

    backbone: str
    image_size: int
    classes: int


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
    classes_of = {name: int(registry.dataset(name).facts.get("classes", 0)) for name in names}
    for spec in wanted:
        classes = classes_of[spec.dataset.name]
        points = spec.protocol.evaluations if keep.points == "all" else 1
        networks[SizedBackbone(spec.backbone.name, spec.protocol.image_size, classes)] += points
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
    if not path.is_file():
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
    done = subprocess.run(
        program("bench.cost.disk"), input=json.dumps(task), capture_output=True, text=True, env=environment("")
    )
    if done.returncode:
        raise InputError(f"the process that builds the backbones ended: {last_line(done.stderr)}")
    answer = json.loads(done.stdout.splitlines()[-1])
    if "problem" in answer:
        raise InputError(answer["problem"])
    return list(answer["weights"])


def main() -> None:
    """The process: standard input says of which networks the weights are counted."""
    from bench.backbones.build import sketch

    task = json.load(sys.stdin)
    registry, weights = Registry(task["plugins"]), []
    try:
        for network in (SizedBackbone(**each) for each in task["networks"]):
            model = sketch(registry.backbone(network.backbone), network.image_size)
            backbone = sum(tensor.numel() for tensor in model.backbone.state_dict().values())
            weights.append(backbone + (model.dim + 1) * network.classes)
        print(json.dumps({"weights": weights}))
    except InputError as error:
        print(json.dumps({"problem": str(error)}))

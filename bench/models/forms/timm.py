"""A safetensors file that ``timm.create_model(..., checkpoint_path=...)`` loads, by timm's names, head included."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from bench.models.export import Export, Written, config_of, with_end, without_places
from bench.models.timm_network import TimmNetwork, timm_network
from bench.training.keeping import write_tensors

SUFFIX, FOLDER, NEEDS = ".safetensors", False, ("timm",)


def write(export: Export, path: Path) -> Written:
    """Raises ``InputError`` where timm builds no such network."""
    built = network_of(export)
    write_tensors(contiguous(built), path, without_places(export.facts))

    def usage(path: Path) -> str:
        words = [repr(built.architecture), f"num_classes={export.model.classes}", f"checkpoint_path={str(path)!r}"]
        words += [f"{name}={value!r}" for name, value in built.arguments.items()]
        return (
            "import json, pathlib, timm\n\n"
            f"model = timm.create_model({', '.join(words)}).eval()\n"
            f"facts = json.loads(pathlib.Path({str(with_end(path, 'json'))!r}).read_text(encoding='utf-8'))\n"
            "view = timm.data.resolve_data_config(pretrained_cfg=facts['pretrained_cfg'])\n"
            "transform = timm.data.create_transform(**view)\n"
        )

    return Written(usage, config(export, built))


def network_of(export: Export) -> TimmNetwork:
    """timm's network of an export."""
    size = int(export.facts.spec["protocol"]["image_size"])
    return timm_network(export.model, export.backbone, size, export.facts.label)


def contiguous(built: TimmNetwork) -> dict[str, Any]:
    """The network's tensors, each in memory of its own."""
    return {name: tensor.contiguous().clone() for name, tensor in built.network.state_dict().items()}


def config(export: Export, built: TimmNetwork) -> dict[str, Any]:
    """What timm's own configs say of a network, beside what every form says."""
    network: Any = built.network
    facts = getattr(network, "pretrained_cfg", {})
    view = {**config_of(export)["pretrained_cfg"], "classifier": built.classifier}
    view |= {key: facts[key] for key in ("first_conv", "fixed_input_size", "pool_size") if key in facts}
    pool = getattr(network, "global_pool", "")
    return {
        "architecture": built.architecture,
        "global_pool": pool if isinstance(pool, str) else "avg",
        "model_args": built.arguments,
        "pretrained_cfg": view,
    }

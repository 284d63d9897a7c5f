"""The network of timm's that a trained model is, head included: by which call it is built, and with its weights."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import timm
import torch
from timm.models.beit import Beit
from timm.models.swin_transformer_v2 import SwinTransformerV2
from torch import nn

from bench.backbones import Model
from bench.backbones.build import input_size
from bench.cards import BackboneCard
from bench.device.distributed import draws_apart
from bench.models.export import TOLERANCE, refused
from bench.models.scorer import probe_images

Call = tuple[str, dict[str, Any]]


@dataclass(frozen=True)
class TimmNetwork:
    """A network that timm builds.

    Attributes:
        architecture: what ``timm.create_model`` is asked for, without the tag of any weights.
        arguments: what it is given beside the number of classes.
        classifier: the name of the head in it.
        network: with the weights of the model; takes normalised images.
    """

    architecture: str
    arguments: dict[str, Any]
    classifier: str
    network: nn.Module


def timm_network(model: Model, card: BackboneCard, image_size: int, label: str) -> TimmNetwork:
    """timm's network that gives a model's logits.

    Args:
        model: of the run.
        card: of its backbone.
        image_size: what the run's protocol says of it; 0: the backbone's own.
        label: of the run, for messages.

    Raises:
        InputError: timm builds none that does, with the reason.
    """
    problem = f"timm builds no network like {card.model}"
    with draws_apart():
        for architecture, arguments in _calls(model, card, image_size):
            try:
                network: Any = timm.create_model(architecture, num_classes=model.classes, **arguments)
            except Exception as error:  # timm's architectures raise what they like of arguments that are not theirs
                problem = f"timm's {architecture}: {error}"
                continue
            classifier = _classifier(network)
            if not classifier:
                problem = f"the classifier of timm's {architecture} is not one linear layer"
            elif gap := _filled(network, classifier, model):
                problem = f"timm's {architecture} {gap}"
            else:
                return TimmNetwork(architecture, arguments, classifier, network.eval().requires_grad_(False))
    raise refused("timm", label, ValueError(problem), ("torchscript", "onnx"))


def _calls(model: Model, card: BackboneCard, image_size: int) -> Iterator[Call]:
    """By which calls timm may build the network, the likeliest first."""
    backbone: Any = model.backbone
    name = card.model.partition(".")[0]
    arguments = {key: value for key, value in card.arguments.items() if key != "weight_init"}
    sized = {**arguments, "img_size": image_size} if image_size else arguments
    if card.model == "vision_transformer":
        yield "vit_tiny_patch16_224", sized
    elif timm.is_model(name):
        yield name, sized
        yield name, arguments  # a network that takes images of any size is not told one
    if isinstance(backbone, Beit):  # what a method may train in the backbone's place (``bench.backbones.student``)
        yield "beit_base_patch16_224", {**_sizes(backbone, backbone.blocks[0]), **_of_beit(backbone)}
    if isinstance(backbone, SwinTransformerV2):
        yield "swinv2_tiny_window8_256", {**_sizes(backbone, backbone.layers[0].blocks[0]), **_of_swin(backbone)}


def _sizes(backbone: Any, block: Any) -> dict[str, Any]:
    patches, last = backbone.patch_embed, block.mlp.fc2
    return {
        "img_size": list(patches.img_size),
        "patch_size": list(patches.patch_size),
        "in_chans": patches.proj.in_channels,
        "mlp_ratio": last.in_features / last.out_features * (1 + 1e-9),  # timm rounds its product with the width down
    }


def _of_beit(backbone: Any) -> dict[str, Any]:
    block = backbone.blocks[0]
    return {
        "embed_dim": int(backbone.embed_dim),
        "depth": len(backbone.blocks),
        "num_heads": block.attn.num_heads,
        "qkv_bias": block.attn.q_bias is not None,
        "init_values": None if block.gamma_1 is None else 0.1,
        "use_abs_pos_emb": backbone.pos_embed is not None,
        "use_rel_pos_bias": block.attn.relative_position_bias_table is not None,
        "use_shared_rel_pos_bias": backbone.rel_pos_bias is not None,
    }


def _of_swin(backbone: Any) -> dict[str, Any]:
    stages = list(backbone.layers)
    return {
        "embed_dim": backbone.patch_embed.proj.out_channels,
        "depths": [len(stage.blocks) for stage in stages],
        "num_heads": [stage.blocks[0].attn.num_heads for stage in stages],
        "window_size": list(stages[0].blocks[0].window_size),
    }


def _classifier(network: Any) -> str:
    """The name of the head of a network of timm's; empty where it is not a linear layer."""
    head = network.get_classifier()
    names = (name for name, module in network.named_modules() if module is head)
    return next(names, "") if isinstance(head, nn.Linear) else ""


def _filled(network: nn.Module, classifier: str, model: Model) -> str:
    """Give a network the weights of a model; how it differs from the model, in words, or nothing where it does not."""
    tensors = {name: tensor.clone() for name, tensor in model.backbone.state_dict().items()}
    tensors |= {f"{classifier}.{name}": tensor.clone() for name, tensor in model.head.state_dict().items()}
    shapes = {name: tensor.shape for name, tensor in network.state_dict().items()}
    if shapes != {name: tensor.shape for name, tensor in tensors.items()}:
        odd = sorted(
            name for name in {*shapes, *tensors} if shapes.get(name) != getattr(tensors.get(name), "shape", None)
        )
        return f"has other weights ({', '.join(odd[:3])}{', ...' * (len(odd) > 3)})"
    network.load_state_dict(tensors)
    network.eval()
    images = probe_images(len(model.mean), input_size(model))
    with torch.inference_mode():
        expected, logits = model.head(model.backbone(images)), network(images)
    gap = float((expected - logits).abs().max()) / max(1.0, float(expected.abs().max()))
    return "" if gap <= TOLERANCE else f"gives other logits (they differ by {gap:.2g})"

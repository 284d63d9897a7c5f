"""From a backbone's card to a model with a new head."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import timm
import torch
from torch import nn

from bench.backbones.cifar_resnet import CifarResNet
from bench.backbones.cvt import ConvolutionalViT
from bench.backbones.families import family_of
from bench.backbones.model import Model
from bench.backbones.resnet import build_resnet
from bench.backbones.t2t import T2TViT
from bench.backbones.weights import load_weights, read_weights
from bench.cards.backbone import BackboneCard, file_sha256
from bench.errors import InputError, choose

_OWN: dict[str, Callable[..., nn.Module]] = {
    "resnet": build_resnet,
    "t2t_vit": T2TViT,
    "cvt": ConvolutionalViT,
    "cifar_resnet": CifarResNet,
}
"""Architectures that timm does not have, by what a card calls them."""


def build_model(card: BackboneCard, classes: int, image_size: int = 0, drop_path: float = 0.0) -> Model:
    """The card's backbone with its weights, and a head drawn from torch's global generator.

    Args:
        card: the backbone.
        classes: of the new head.
        image_size: pixels a side; 0: the backbone's own. Position embeddings are resampled to it; convolutional
            networks take any.
        drop_path: stochastic depth.

    Raises:
        InputError: timm does not know the model, or its weights cannot be had or do not fit.
    """
    card.require_weights()
    arguments: dict[str, Any] = dict(card.arguments)
    if image_size:
        arguments["img_size"] = image_size
    if drop_path or card.model.startswith("swin"):  # timm's Swin has 0.1 of it where nothing is said
        arguments["drop_path_rate"] = drop_path
    backbone = _create(card, arguments)
    facts = getattr(backbone, "pretrained_cfg", None)
    if image_size and facts:  # networks that are built alike for every size, as convolutional ones are, must be told
        backbone.pretrained_cfg = {**facts, "input_size": (facts["input_size"][0], image_size, image_size)}
    if card.facts.get("position") == "sincos":
        _lay_out_position(backbone)
    if card.weights not in ("none", "pretrained"):
        _load(backbone, card)
    pixels = card.facts.get("pixels") or backbone.pretrained_cfg
    family = family_of(backbone)
    dim = int(getattr(backbone, "head_hidden_size", None) or backbone.num_features)
    return Model(backbone, family, dim, classes, list(pixels["mean"]), list(pixels["std"]))


def build_source_head(card: BackboneCard) -> nn.Linear:
    """The linear head that the card's backbone was pre-trained with; torch's generator is left as it is.

    Raises:
        InputError: the weights hold no linear head.
    """
    with torch.random.fork_rng():
        if card.weights == "pretrained":
            found = _fetched(card, dict(card.arguments)).get_classifier()
            if isinstance(found, nn.Linear):
                return found
        elif card.weights != "none":
            given = {name.rpartition(".")[2]: value for name, value in read_weights(Path(card.weights))[1].items()}
            if "weight" in given and given["weight"].ndim == 2:
                weight = given["weight"]
                head = nn.Linear(weight.shape[1], weight.shape[0])
                head.load_state_dict({"weight": weight, "bias": given.get("bias", torch.zeros(len(weight)))})
                return head
    raise InputError(f"{card.name}: its weights hold no head of the pre-training, which the method needs")


def input_size(model: Model) -> int:
    """Pixels a side that the model was built for."""
    patches = getattr(model.backbone, "patch_embed", None)
    size = getattr(patches, "img_size", None)
    return int(size[0]) if size else int(model.backbone.pretrained_cfg["input_size"][-1])  # type: ignore[index]


def _create(card: BackboneCard, arguments: dict[str, Any]) -> Any:
    if card.model == "vision_transformer":
        return timm.models.VisionTransformer(num_classes=0, **arguments)
    if card.model in _OWN:
        return _OWN[card.model](**arguments)
    if not timm.is_model(card.model.split(".")[0]):
        raise InputError(f"{card.name}: {choose(card.model.split('.')[0], timm.list_models(), 'timm model')}")
    try:
        if card.weights == "pretrained":
            return _pretrained(card, arguments)
        return timm.create_model(card.model, num_classes=0, **arguments)
    except TypeError as error:
        if "img_size" in arguments and not timm.get_pretrained_cfg(card.model).fixed_input_size:
            return _create(card, {name: value for name, value in arguments.items() if name != "img_size"})
        raise InputError(f"{card.name}: {error}; leave image_size at 0 for models of a fixed input size") from None


def _pretrained(card: BackboneCard, arguments: dict[str, Any]) -> Any:
    """timm's model with timm's weights; with mean pooling where the card asks for it, the norm behind it new.

    timm itself refuses weights of a class token's norm for a model that pools the mean of the patches.
    """
    if arguments.get("global_pool") != "avg":
        return _fetched(card, arguments, num_classes=0)
    published = _fetched(
        card, {name: value for name, value in arguments.items() if name != "global_pool"}, num_classes=0
    )
    backbone = timm.create_model(card.model, num_classes=0, **arguments)
    given = {name: value for name, value in published.state_dict().items() if not name.startswith("norm.")}
    load_weights(backbone, given, card.name, fresh=r"fc_norm\..+")
    return backbone


def _fetched(card: BackboneCard, arguments: dict[str, Any], **more: Any) -> Any:
    """timm's model with the weights that timm fetches."""
    try:
        return timm.create_model(card.model, pretrained=True, **arguments, **more)
    except (OSError, RuntimeError) as error:
        raise InputError(
            f"{card.name}: its pre-trained weights could not be fetched ({type(error).__name__}); "
            f"give a file ({card.name.partition('@')[0]}@FILE.safetensors) or train from scratch "
            f"({card.name.partition('@')[0]}@none)"
        ) from error


def _load(backbone: nn.Module, card: BackboneCard) -> None:
    """Load a safetensors file; only a head may be left over, nothing may be missing."""
    path = Path(card.weights)
    if card.sha256 and file_sha256(path) != card.sha256:
        raise InputError(f"{card.name}: {path.name} has another checksum than its card says ({card.sha256[:12]}...)")
    plain = card.name.partition("@")[0]
    hint = f" ('bench convert {plain} {path}' reads published names)" if "convert" in card.facts else ""
    load_weights(backbone, read_weights(path)[0], f"{plain}: {path.name}{hint}")


def _lay_out_position(backbone: Any) -> None:
    """Start the position embedding as sines and cosines of the place, of standard deviation 1.

    timm's start, noise of standard deviation 0.02, trains far worse at the size of the micro ViT.
    """
    grid, width = backbone.patch_embed.grid_size, backbone.embed_dim
    waves = timm.layers.build_sincos2d_pos_embed(grid, dim=width, temperature=10.0)
    with torch.no_grad():
        backbone.pos_embed.normal_(std=1.0)
        backbone.pos_embed[0, backbone.num_prefix_tokens :] = math.sqrt(2) * waves

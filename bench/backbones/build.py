"""From a backbone's card to a model with a new head."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import timm
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from bench.backbones.cvt import ConvolutionalViT
from bench.backbones.families import family_of
from bench.backbones.model import Model
from bench.backbones.resnet import build_resnet
from bench.backbones.t2t import T2TViT
from bench.cards.backbone import BackboneCard, file_sha256
from bench.errors import InputError, choose

_HEADS = ("head.", "classifier.")
"""What the classifier of the pre-training is called in files of weights."""


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
            whole: Any = timm.create_model(card.model, pretrained=True, **card.arguments)
            found = whole.get_classifier()
            if isinstance(found, nn.Linear):
                return found
        elif card.weights != "none":
            given = load_file(Path(card.weights))
            if "head.weight" in given and given["head.weight"].ndim == 2:
                weight = given["head.weight"]
                head = nn.Linear(weight.shape[1], weight.shape[0])
                head.load_state_dict({"weight": weight, "bias": given.get("head.bias", torch.zeros(len(weight)))})
                return head
    raise InputError(f"{card.name}: its weights hold no head of the pre-training, which the method needs")


def input_size(model: Model) -> int:
    """Pixels a side that the model was built for."""
    patches = getattr(model.backbone, "patch_embed", None)
    size = getattr(patches, "img_size", None)
    return int(size[0]) if size else int(model.backbone.pretrained_cfg["input_size"][-1])  # type: ignore[index]


def _create(card: BackboneCard, arguments: dict[str, Any]) -> Any:
    pretrained = card.weights == "pretrained"
    if card.model == "vision_transformer":
        return timm.models.VisionTransformer(num_classes=0, **arguments)
    if card.model == "resnet":
        return build_resnet(**arguments)
    if card.model in ("t2t_vit", "cvt"):
        return (T2TViT if card.model == "t2t_vit" else ConvolutionalViT)(**arguments)
    if not timm.is_model(card.model.split(".")[0]):
        raise InputError(f"{card.name}: {choose(card.model.split('.')[0], timm.list_models(), 'timm model')}")
    try:
        return timm.create_model(card.model, pretrained=pretrained, num_classes=0, **arguments)
    except TypeError as error:
        if "img_size" in arguments and not timm.get_pretrained_cfg(card.model).fixed_input_size:
            return _create(card, {name: value for name, value in arguments.items() if name != "img_size"})
        raise InputError(f"{card.name}: {error}; leave image_size at 0 for models of a fixed input size") from None
    except (OSError, RuntimeError) as error:
        if not pretrained:
            raise
        raise InputError(
            f"{card.name}: its pre-trained weights could not be fetched ({type(error).__name__}); "
            f"give a file ({card.name}@FILE.safetensors) or train from scratch ({card.name}@none)"
        ) from error


def _load(backbone: nn.Module, card: BackboneCard) -> None:
    """Load a safetensors file; only a head may be left over, nothing may be missing."""
    path = Path(card.weights)
    if card.sha256 and file_sha256(path) != card.sha256:
        raise InputError(f"{card.name}: {path.name} has another checksum than its card says ({card.sha256[:12]}...)")
    given = {name: value for name, value in load_file(path).items() if not name.startswith(_HEADS)}
    expected = backbone.state_dict()
    if "pos_embed" in given and "pos_embed" in expected and given["pos_embed"].shape != expected["pos_embed"].shape:
        given["pos_embed"] = _resampled(given["pos_embed"], expected["pos_embed"], backbone)
    missing, unexpected = sorted(expected.keys() - given.keys()), sorted(given.keys() - expected.keys())
    if missing or unexpected:
        raise InputError(f"{card.name}: {path.name} does not fit: missing {missing[:5]}, unexpected {unexpected[:5]}")
    backbone.load_state_dict(given)


def _resampled(given: Tensor, expected: Tensor, backbone: Any) -> Tensor:
    prefix = backbone.num_prefix_tokens if not backbone.no_embed_class else 0
    old, new = math.isqrt(given.shape[1] - prefix), math.isqrt(expected.shape[1] - prefix)
    sizes = {"new_size": [new, new], "old_size": [old, old]}
    return timm.layers.resample_abs_pos_embed(given, **sizes, num_prefix_tokens=prefix)  # type: ignore


def _lay_out_position(backbone: Any) -> None:
    """Start the position embedding as sines and cosines of the place, of standard deviation 1.

    timm's start, noise of standard deviation 0.02, trains far worse at the size of the micro ViT.
    """
    grid, width = backbone.patch_embed.grid_size, backbone.embed_dim
    waves = timm.layers.build_sincos2d_pos_embed(grid, dim=width, temperature=10.0)
    with torch.no_grad():
        backbone.pos_embed.normal_(std=1.0)
        backbone.pos_embed[0, backbone.num_prefix_tokens :] = math.sqrt(2) * waves

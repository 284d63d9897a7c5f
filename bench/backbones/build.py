"""From a backbone's card to a model with a new head."""

from __future__ import annotations

import math
import os
import warnings
from collections.abc import Callable, Collection
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import timm
import timm.models
import torch
from huggingface_hub import try_to_load_from_cache
from torch import nn

from bench.backbones.cifar_resnet import CifarResNet
from bench.backbones.cvt import ConvolutionalViT
from bench.backbones.families import family_of
from bench.backbones.model import Model
from bench.backbones.resnet import build_resnet
from bench.backbones.t2t import T2TViT
from bench.backbones.text_tower import build_text_tower
from bench.backbones.weights import load_weights, read_weights, require_fit
from bench.cards.backbone import DRAWN, RANDOM, BackboneCard, file_sha256
from bench.cards.patches import unseen
from bench.cards.text_towers import TEXT_TOWER
from bench.device.distributed import draws_apart
from bench.errors import InputError, nearest, shortened, to_type

_OWN: dict[str, Callable[..., nn.Module]] = {
    "vision_transformer": partial(timm.models.VisionTransformer, num_classes=0),
    "resnet": build_resnet,
    "t2t_vit": T2TViT,
    "cvt": ConvolutionalViT,
    "cifar_resnet": CifarResNet,
}
"""Architectures that are not built by a name of timm's, by what a card calls them."""

DRAWN_CLASSES = 100
"""Of the head that drawn weights come with."""


def build_model(card: BackboneCard, classes: int, image_size: int = 0, drop_path: float = 0.0) -> Model:
    """The card's backbone with its weights, and a head of so many classes drawn from torch's global generator.

    The image size is in pixels a side; 0: the backbone's own. Position embeddings are resampled to it; convolutional
    networks take any. Where its patches do not divide it, a warning says what would not be seen.

    Raises:
        InputError: timm does not know the model, an image is smaller than a patch, or the weights cannot be had or do
            not fit.
    """
    card.require_weights()
    arguments: dict[str, Any] = dict(card.arguments)
    if image_size:
        arguments["img_size"] = image_size
    if drop_path or card.model.startswith("swin"):  # timm's Swin has 0.1 of it where nothing is said
        arguments["drop_path_rate"] = drop_path
    backbone = _create(card, arguments)
    _require_patches(card, backbone, image_size)
    if problem := unseen(card, image_size):  # plans refuse it; a run of a record can be repeated
        warnings.warn(problem, stacklevel=2)
    facts = getattr(backbone, "pretrained_cfg", None)
    if image_size and facts:  # networks that are built alike for every size, as convolutional ones are, must be told
        backbone.pretrained_cfg = {**facts, "input_size": (facts["input_size"][0], image_size, image_size)}
    if card.facts.get("position") == "sincos":
        _lay_out_position(backbone)
    if card.weights not in (*RANDOM, "pretrained"):
        _load(backbone, card)
    family = family_of(backbone)
    dim = int(getattr(backbone, "head_hidden_size", None) or backbone.num_features)
    return Model(backbone, family, dim, classes, *pixels_of(card, backbone))


def pixels_of(card: BackboneCard, backbone: Any) -> tuple[list[float], list[float]]:
    """Mean and standard deviation of the pixels, per channel, that a card's backbone was pre-trained with."""
    pixels = card.facts.get("pixels") or backbone.pretrained_cfg
    return list(pixels["mean"]), list(pixels["std"])


def sketch(card: BackboneCard, image_size: int = 0, drop_path: float = 0.0) -> Model:
    """The card's backbone as ``build_model`` builds it, with no values in it: it takes no memory, and little time.

    Its weights are not asked for. Raises ``InputError`` where it cannot be built.
    """
    bare = replace(card, weights="none")
    try:
        with torch.device("meta"):
            return build_model(bare, 1, image_size, drop_path)
    except InputError:
        raise
    except Exception:  # an architecture may need values to be built
        return build_model(bare, 1, image_size, drop_path)


def weights_source(backbone: Any) -> str:
    """From where timm fetches the weights of one of its models, in words; empty where it has none."""
    facts = backbone.pretrained_cfg
    if hub := facts.get("hf_hub_id"):
        return f"{hub} of the Hugging Face hub"
    return str(facts.get("url") or facts.get("file") or "")


def fetch_weights(card: BackboneCard, backbone: Any) -> None:
    """Have timm's weights of a card in the cache from which every process reads them; nothing of it is built.

    ``backbone`` is timm's model of it, for instance of its ``sketch``.

    Raises:
        InputError: timm has no weights of it, or they cannot be had.
    """
    if not weights_source(backbone):
        raise InputError(f"{card.name}: timm has no pre-trained weights of it; {_instead(card)}")
    facts = backbone.pretrained_cfg
    hub, url = facts.get("hf_hub_id"), facts.get("url")
    if _cached(facts):
        return
    if not _is_plain(facts):
        _fetched(card, card.arguments)
        return
    try:
        if hub:
            timm.models.load_state_dict_from_hf(hub)
        else:
            torch.hub.load_state_dict_from_url(url, map_location="cpu", progress=False, weights_only=True)
    except Exception as error:  # whatever a connection, a library that has one, or a torn file raises
        raise _unfetched(card, error) from error


def equip(model: Model, card: BackboneCard, beside: Collection[str]) -> None:
    """Give a model what of its pre-training its method takes (``bench.cards.method.beside``).

    Raises ``InputError`` as ``build_source_head`` and ``build_text_tower`` do.
    """
    if "source_head" in beside:
        model.source_head = build_source_head(card)
    if TEXT_TOWER in beside:
        model.text_tower = build_text_tower(card, model.backbone, model.dim)


def build_source_head(card: BackboneCard) -> nn.Linear:
    """The linear head that the card's backbone was pre-trained with; torch's generator is left as it is.

    Of drawn weights it is drawn, too.

    Raises:
        InputError: the weights hold no linear head.
    """
    with draws_apart():
        if card.weights == "pretrained":
            classifier = _fetched(card, card.arguments).get_classifier()
            if isinstance(classifier, nn.Linear):
                return classifier
        elif card.weights == DRAWN:
            return nn.Linear(sketch(card).dim, DRAWN_CLASSES)
        elif card.weights not in RANDOM:
            tensors = {name.rpartition(".")[2]: value for name, value in read_weights(Path(card.weights))[1].items()}
            weight = tensors.get("weight")
            if weight is not None and weight.ndim == 2:
                head = nn.Linear(weight.shape[1], weight.shape[0])
                head.load_state_dict({"weight": weight, "bias": tensors.get("bias", torch.zeros(len(weight)))})
                return head
    raise InputError(f"{card.name}: its weights hold no head of the pre-training, which the method needs")


def input_size(model: Model) -> int:
    """Pixels a side that the model was built for."""
    patches = getattr(model.backbone, "patch_embed", None)
    size = getattr(patches, "img_size", None)
    return int(size[0]) if size else int(model.backbone.pretrained_cfg["input_size"][-1])  # type: ignore[index]


def _create(card: BackboneCard, arguments: dict[str, Any]) -> Any:
    if card.model in _OWN and not card.name.startswith("timm:"):
        return _OWN[card.model](**arguments)
    _require_known(card)
    try:
        if card.weights == "pretrained":
            return _pretrained(card, arguments)
        return timm.create_model(card.model, num_classes=0, **arguments)
    except TypeError as error:
        if "img_size" in arguments and not timm.get_pretrained_cfg(card.model).fixed_input_size:
            return _create(card, {name: value for name, value in arguments.items() if name != "img_size"})
        raise InputError(f"{card.name}: {error}; leave image_size at 0 for models of a fixed input size") from None


def _require_patches(card: BackboneCard, backbone: Any, image_size: int) -> None:
    """Raise ``InputError`` where an image has not one patch: such a network would be built and see nothing."""
    patches = getattr(backbone, "patch_embed", None)
    if 0 in (getattr(patches, "grid_size", None) or ()):
        raise InputError(
            f"{card.name}: images of {image_size} pixels a side are smaller than its patches, of "
            f"{max(patches.patch_size)}; make image_size larger, or --set image_size=0 for its own"  # type: ignore[union-attr]
        )


def _pretrained(card: BackboneCard, arguments: dict[str, Any]) -> Any:
    """timm's model with timm's weights; with mean pooling where the card asks for it, the norm behind it new.

    timm itself refuses weights of a class token's norm for a model that pools the mean of the patches.
    """
    if arguments.get("global_pool") != "avg":
        return _fetched(card, arguments, num_classes=0)
    with_token = {name: value for name, value in arguments.items() if name != "global_pool"}
    published = _fetched(card, with_token, num_classes=0).state_dict()
    backbone = timm.create_model(card.model, num_classes=0, **arguments)
    weights = {name: value for name, value in published.items() if not name.startswith("norm.")}
    load_weights(backbone, weights, card.name, fresh=r"fc_norm\..+")
    return backbone


def _fetched(card: BackboneCard, arguments: dict[str, Any], **more: Any) -> Any:
    """timm's model with the weights that timm fetches; the hub is not asked for what its cache has.

    timm asks it every time, and waits long for an answer where there is no internet.
    """
    facts = timm.get_pretrained_cfg(card.model)
    path = _cached(facts.to_dict()) if facts else ""
    overlay = {"file": path, "custom_load": False} if path else None
    try:
        return timm.create_model(card.model, pretrained=True, pretrained_cfg_overlay=overlay, **arguments, **more)
    except (OSError, RuntimeError) as error:
        if path:
            raise InputError(f"{card.name}: timm cannot build it with the weights in {path}: {error}") from error
        raise _unfetched(card, error) from error


def _cached(facts: dict[str, Any]) -> str:
    """The file of a model's weights in the hub's cache, by what timm says of them; empty where there is none."""
    hub = facts.get("hf_hub_id") or ""
    if not hub or "@" in hub or not _is_plain(facts):
        return ""
    path = try_to_load_from_cache(hub, "model.safetensors")
    return path if isinstance(path, str) else ""


def _is_plain(facts: dict[str, Any]) -> bool:
    """Whether a model's weights are one file of the hub or of a URL; timm has ways of its own with others."""
    if facts.get("hf_hub_filename") or facts.get("file") or os.environ.get("TIMM_USE_OLD_CACHE"):
        return False
    return bool(facts.get("hf_hub_id")) or not facts.get("custom_load")


def _unfetched(card: BackboneCard, error: Exception) -> InputError:
    return InputError(
        f"{card.name}: its pre-trained weights could not be fetched ({type(error).__name__}); {_instead(card)}"
    )


def _instead(card: BackboneCard) -> str:
    plain = card.name.partition("@")[0]
    return f"give a file ({plain}@FILE.safetensors) or train from scratch ({plain}@none)"


def _require_known(card: BackboneCard) -> None:
    """Raise ``InputError`` where timm has no such model, or no weights of such a tag; it names what is nearest."""
    model, _, tag = card.model.partition(".")
    if not timm.is_model(model):
        problem = f"timm {timm.__version__} has no model '{shortened(model)}'"
        raise InputError(f"{card.name}: {problem}{nearest(model, timm.list_models())}")
    try:
        timm.get_pretrained_cfg(card.model)
    except RuntimeError:
        tags = [name.partition(".")[2] for name in timm.list_pretrained(f"{model}.*")]
        problem = f"timm's {model} has no weights '{shortened(tag)}'"
        raise InputError(f"{card.name}: {problem}; it has {', '.join(tags) or 'none'}") from None


def require_weights_fit(card: BackboneCard, backbone: nn.Module) -> None:
    """Raise ``InputError`` where the file of weights of a card is none of its backbone; no value of it is read."""
    require_fit(backbone, Path(card.weights), _source(card))


def _load(backbone: nn.Module, card: BackboneCard) -> None:
    """Load a safetensors file; only a head may be left over, nothing may be missing."""
    path = Path(card.weights)
    if card.sha256 and file_sha256(path) != card.sha256:
        raise InputError(f"{card.name}: {path.name} has another checksum than its card says ({card.sha256[:12]}...)")
    load_weights(backbone, read_weights(path)[0], _source(card))


def _source(card: BackboneCard) -> str:
    """A card's file of weights, with what makes one that fits of another file, for messages."""
    plain, path = card.name.partition("@")[0], Path(card.weights)
    out = [] if "published" in card.facts else ["OUT.safetensors"]
    return f"{plain}: {path.name} ({to_type('convert', plain, str(path), *out)} reads other names)"


def _lay_out_position(backbone: Any) -> None:
    """Start the position embedding as sines and cosines of the place, of standard deviation 1.

    timm's start, noise of standard deviation 0.02, trains far worse at the size of the micro ViT.
    """
    grid, width = backbone.patch_embed.grid_size, backbone.embed_dim
    waves = timm.layers.build_sincos2d_pos_embed(grid, dim=width, temperature=10.0)
    with torch.no_grad():
        backbone.pos_embed.normal_(std=1.0)
        backbone.pos_embed[0, backbone.num_prefix_tokens :] = math.sqrt(2) * waves

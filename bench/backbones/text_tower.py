"""CLIP's text tower, as open_clip builds it: what a backbone that was pre-trained with texts says of a class's name."""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import huggingface_hub
import torch
import torch.nn.functional as F
from huggingface_hub import try_to_load_from_cache
from huggingface_hub.errors import EntryNotFoundError
from timm.models.vision_transformer import checkpoint_filter_fn
from torch import Tensor, nn

from bench.backbones.checkpoints import read_checkpoint
from bench.cards.backbone import DRAWN, BackboneCard
from bench.cards.text_towers import PACKAGE, lacking_package
from bench.device.distributed import draws_apart
from bench.errors import InputError

HUB_FILES = ("open_clip_model.safetensors", "open_clip_pytorch_model.bin")
"""What open_clip's weights are called on the Hugging Face hub, the first that is there."""

VISUAL, PROJECTION = "visual.", "visual.proj"
"""How the names of the visual tower begin in open_clip's weights, and its projection into the space of texts."""

TEXTS_AT_ONCE = 256
"""How many texts are embedded at once where no gradient is asked for."""


class TextTower(nn.Module):
    """Embeds texts where images lie: in the space that both towers of a CLIP project into.

    Attributes:
        clip: open_clip's CLIP without its visual tower, in whose place the backbone stands.
        projection: (E, D), from the backbone's features to that space; of the visual tower, and without a bias.

    Args:
        clip: open_clip's CLIP.
        width: D, the backbone's.
    """

    def __init__(self, clip: nn.Module, width: int) -> None:
        super().__init__()
        self.clip: Any = clip
        to_space: Any = clip.text_projection
        space = int(to_space.shape[-1])
        self.projection = nn.Parameter(width**-0.5 * torch.randn(space, width))

    @property
    def scale(self) -> Tensor:
        """(), by which cosines become logits: one over CLIP's temperature, which it learns."""
        scale: Tensor = self.clip.logit_scale.exp()
        return scale

    def tokens(self, texts: Sequence[str]) -> Tensor:
        """(N, length) of texts, on the CPU; a text that is too long is cut."""
        tokenizer = importlib.import_module(f"{PACKAGE}.tokenizer").SimpleTokenizer
        numbers: Tensor = tokenizer(context_length=int(self.clip.context_length))(list(texts))
        return numbers

    def forward(self, tokens: Tensor) -> Tensor:
        """(N, E) of unit length, of texts as tokens (N, length)."""
        return F.normalize(_at_least_float32(self.clip.encode_text(tokens)), dim=-1)

    @torch.no_grad()
    def class_weights(self, tokens: Tensor) -> Tensor:
        """The rows of CLIP's zero-shot classifier (Radford et al., 2021, section 3.1.4): (K, E).

        Args:
            tokens: (K, T, length), of T prompts for each class.

        Returns:
            Of each class, the mean of its prompts' embeddings, brought to unit length, times ``scale``.
        """
        flat = tokens.flatten(0, 1).to(self.projection.device)
        with torch.autocast(flat.device.type, enabled=False):
            embedded = torch.cat([self(flat[at : at + TEXTS_AT_ONCE]) for at in range(0, len(flat), TEXTS_AT_ONCE)])
        means = embedded.view(*tokens.shape[:2], -1).mean(1)
        return self.scale * F.normalize(means, dim=-1)


def build_text_tower(card: BackboneCard, backbone: nn.Module, width: int) -> TextTower:
    """The text tower of a card's backbone; torch's generator is left as it is.

    Of drawn weights it is drawn, too. Of those that timm fetches it is what open_clip publishes, if its visual tower is
    that very backbone.

    Args:
        card: of the backbone; it has a text tower.
        backbone: with the card's weights.
        width: of its features.

    Raises:
        InputError: open_clip is not installed, the weights cannot be had, or they are of another backbone.
    """
    if problem := lacking_package():
        raise InputError(f"{card.name}: {problem}")
    assert card.text_tower is not None
    config, layers = open_clip_config(card.text_tower.config), card.arguments.get("depth")
    if card.weights == DRAWN and layers:  # a rehearsal's few layers
        config["text_cfg"] = {**config["text_cfg"], "layers": layers}
    with draws_apart():
        tower = TextTower(_open_clip(config), width)
    if card.weights != DRAWN:
        load_text_tower(tower, read_open_clip(card), backbone, card.name)
    return tower


def load_text_tower(tower: TextTower, published: Mapping[str, Tensor], backbone: nn.Module, name: str) -> None:
    """Give a text tower open_clip's weights of a whole CLIP, by its names.

    Its visual tower is the backbone where they agree to half precision, in which either may have been published.

    Raises ``InputError``: they do not fit, or their visual tower is another one.
    """
    seen: dict[str, Tensor] = checkpoint_filter_fn(dict(published), backbone)
    weights = dict(backbone.state_dict())
    strange = [key for key, value in weights.items() if key not in seen or not _are_same(seen[key].to(value), value)]
    if strange:
        count = f"{len(strange)} of {len(weights)} weights differ, {strange[0]} for one"
        raise InputError(f"{name}: the text tower that open_clip publishes is of another backbone: {count}")
    texts = {key: value for key, value in published.items() if not key.startswith(VISUAL)}
    try:
        tower.clip.load_state_dict(texts)
        with torch.no_grad():
            tower.projection.copy_(published[PROJECTION].T)
    except (RuntimeError, KeyError) as error:
        reason = " ".join(str(error).split())[:200]
        raise InputError(f"{name}: the text tower that open_clip publishes does not fit: {reason}") from None


def read_open_clip(card: BackboneCard) -> dict[str, Tensor]:
    """open_clip's weights of the CLIP that a card's backbone is the visual tower of.

    Raises ``InputError`` where they are neither in the hub's cache nor can be fetched, or cannot be read.
    """
    content = read_checkpoint(fetch_text_tower(card))
    return {name: value for name, value in content.items() if isinstance(value, Tensor)}


def fetch_text_tower(card: BackboneCard) -> Path:
    """The file of ``read_open_clip`` in the hub's cache, where it is fetched to if it is not there.

    Raises ``InputError`` where it cannot be had.
    """
    hub = text_tower_hub(card)
    for file in HUB_FILES:  # the hub would be asked for what is here, too
        if isinstance(path := try_to_load_from_cache(hub, file), str):
            return Path(path)
    try:
        return Path(_downloaded(hub))
    except Exception as error:  # whatever a connection, or a library that has one, raises
        raise InputError(
            f"{card.name}: its text tower could not be fetched ({type(error).__name__}): with internet, 'hf download "
            f"{hub} {HUB_FILES[0]}' puts it into the cache of the Hugging Face hub, which can be copied here (HF_HOME)"
        ) from error


def _downloaded(hub: str) -> str:
    try:
        return huggingface_hub.hf_hub_download(hub, HUB_FILES[0])
    except EntryNotFoundError:
        return huggingface_hub.hf_hub_download(hub, HUB_FILES[1])


def text_tower_hub(card: BackboneCard) -> str:
    """The repository of the Hugging Face hub in which open_clip publishes a card's CLIP.

    Raises ``InputError`` where open_clip publishes no such weights there.
    """
    tower = card.text_tower
    assert tower is not None
    published = importlib.import_module(f"{PACKAGE}.pretrained").get_pretrained_cfg(tower.config, tower.weights)
    if not published.get("hf_hub"):
        raise InputError(
            f"{card.name}: {PACKAGE} has no weights '{tower.weights}' of {tower.config} in the Hugging Face hub; a "
            f"newer one may: pip install -U open_clip_torch"
        )
    return str(published["hf_hub"]).rstrip("/")


def open_clip_config(config: str | Mapping[str, Any]) -> dict[str, Any]:
    """What open_clip builds of a text tower: ``embed_dim``, ``text_cfg`` and ``quick_gelu``, by its name for a model.

    Raises ``InputError`` where open_clip has no such model.
    """
    whole: Any = importlib.import_module(PACKAGE).get_model_config(config) if isinstance(config, str) else config
    if whole is None:
        raise InputError(f"{PACKAGE} has no model '{config}'; a newer one may: pip install -U open_clip_torch")
    return {key: whole[key] for key in ("embed_dim", "text_cfg", "quick_gelu") if key in whole}


def _open_clip(config: Mapping[str, Any]) -> nn.Module:
    """open_clip's CLIP with new weights and no visual tower: the least that it builds is taken out again."""
    least = {"layers": 1, "width": 64, "patch_size": 16, "image_size": 16}
    clip: nn.Module = importlib.import_module(PACKAGE).CLIP(vision_cfg=least, **config)
    del clip.visual
    return clip


def _are_same(left: Tensor, right: Tensor) -> bool:
    return left.shape == right.shape and torch.allclose(left, right, rtol=1e-2, atol=1e-4)


def _at_least_float32(values: Tensor) -> Tensor:
    return values if values.dtype == torch.double else values.float()

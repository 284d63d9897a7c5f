"""A decoder on a backbone, which tells the class of every pixel: UPerNet's head, and an auxiliary one for training.

Both heads are those of Hugging Face's transformers: they are well kept, compute what mmsegmentation's do, and take any
list of feature maps, so those of timm's backbones too.
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from bench.backbones.build import build_model, pixels_of
from bench.backbones.model import Family, Model, Output, Probe
from bench.backbones.pyramid import COUNT, Maps, maps_of
from bench.cards.backbone import BackboneCard
from bench.device.norm_groups import has_batch_norm, no_lone_value
from bench.errors import InputError

MAPS = tuple(f"map_{number}" for number in range(1, COUNT + 1))
"""Probes of a ``DenseModel``: the maps that its head is given, before the pyramid is made of them."""

POOL_SCALES = (1, 2, 3, 6)

DROPOUT = 0.1
"""The share of channels that mmsegmentation drops before a classifier."""

HIDDEN, AUXILIARY = 512, 256
"""Channels of UPerNet's head and of the auxiliary one, in the recipes of BEiT, MAE and Swin."""


@dataclass(frozen=True)
class DenseOutput(Output):
    """One forward pass of a ``DenseModel``.

    Attributes:
        logits: (B, K, H, W), at the size of the images.
        auxiliary: those of the auxiliary head, likewise; None at evaluation.
    """

    auxiliary: Tensor | None = None


class DenseHead(nn.Module):
    """A pyramid of feature maps, UPerNet's decode head (Xiao et al., ECCV 2018) and an auxiliary FCN on the third map.

    Convolutions are drawn as in mmsegmentation (He's normal draws by fan-out, classifiers of sd 0.01), what makes the
    pyramid as torch draws it, all from torch's global generator. Whole channels are dropped before the
    classifiers, as there. Batch norms take all images of a batch.

    Args:
        maps: of the backbone.
        classes: K.
        hidden: channels of the decoder.
        auxiliary: channels of the auxiliary head.

    Raises:
        InputError: transformers is not installed.
    """

    def __init__(self, maps: Maps, classes: int, hidden: int = HIDDEN, auxiliary: int = AUXILIARY) -> None:
        super().__init__()
        library = _upernet()
        config = library.UperNetConfig(
            hidden_size=hidden, pool_scales=POOL_SCALES, auxiliary_channels=auxiliary, num_labels=classes
        )
        self.levels = maps.levels()
        self.decoder: nn.Module = library.UperNetHead(config, in_channels=maps.widths)
        self.auxiliary: nn.Module = library.UperNetFCNHead(config, in_channels=maps.widths)
        for head in (self.decoder, self.auxiliary):
            _draw(head)
            head.classifier = nn.Sequential(nn.Dropout2d(DROPOUT), head.classifier)

    def forward(self, maps: Sequence[Tensor]) -> tuple[Tensor, Tensor | None]:
        """Logits (B, K, h, w) of maps (B, D_k, h_k, w_k), and in training those of the auxiliary head.

        The logits have the places of the first level of the pyramid, the auxiliary ones those of the third.
        """
        levels = self.levels(maps)
        return self.decoder(levels), self.auxiliary(levels) if self.training else None


class DenseModel(Model):
    """A backbone with a decoder in the place of the linear head; one forward gives a class for every pixel.

    The final norm of the backbone is not between the maps and the loss, as in the released code of BEiT, MAE and Swin:
    it is part of ``features`` alone, and a loss of the logits does not train it.

    Attributes:
        head: the decoder.

    Args:
        backbone, family, dim, classes, mean, std: as of ``Model``.
        hidden, auxiliary: as of ``DenseHead``.

    Raises:
        KeyError: with the reason, where the backbone has no maps that a decoder takes.
        InputError: transformers is not installed.
    """

    head: DenseHead  # type: ignore[assignment]  # methods treat a head as a module; what needs a linear one is refused

    def __init__(
        self,
        backbone: nn.Module,
        family: Family,
        dim: int,
        classes: int,
        mean: list[float],
        std: list[float],
        hidden: int = HIDDEN,
        auxiliary: int = AUXILIARY,
    ) -> None:
        maps = maps_of(backbone, family)
        super().__init__(backbone, family, dim, classes, mean, std)
        self.channels = hidden, auxiliary
        self.head = DenseHead(maps, classes, hidden, auxiliary)

    def forward(self, images: Tensor, probe: str | Sequence[str] = ()) -> DenseOutput:
        """Logits (B, K, H, W) and pooled features (B, D) of images (B, C, H, W) in 0..1, and probes as of ``Model``.

        Raises ``InputError``: in training there is one image, of which a batch norm has no variance.
        """
        asked = {*self.watched, *([probe] if isinstance(probe, str) else probe)}
        features, seen = self._read(images, [*asked, *MAPS])
        with no_lone_value():
            logits, auxiliary = self.head([seen[name] for name in MAPS])
        return DenseOutput(
            _enlarged(logits, images),
            features,
            {name: value for name, value in seen.items() if name in asked},
            None if auxiliary is None else _enlarged(auxiliary, images),
        )

    def reader(self, name: str) -> Probe:
        """As of ``Model``; ``map_1`` to ``map_4`` (B, D_k, h_k, w_k) are the maps that the head is given."""
        if name in MAPS:
            return maps_of(self.backbone, self.family).probe(MAPS.index(name))
        return super().reader(name)

    @property
    def per_image(self) -> bool:
        """Whether an image's logits in training are of the image alone."""
        return not has_batch_norm(self.head) and not has_batch_norm(self.backbone)

    def norm_features(self) -> None:
        """Raises ``InputError``: a decoder is given maps, not pooled features."""
        raise InputError("a batch norm of the features stands before a linear head, not before a decoder; leave it out")

    def with_backbone(self, backbone: nn.Module, family: Family) -> DenseModel:
        """As of ``Model``, with a decoder of as many channels."""
        mean, std = self.mean.flatten().tolist(), self.std.flatten().tolist()
        dim = int(backbone.num_features)  # type: ignore[arg-type]
        model = DenseModel(backbone, family, dim, self.classes, mean, std, *self.channels)
        return model.to(self.mean.device)


def build_dense(
    card: BackboneCard,
    classes: int,
    image_size: int = 0,
    drop_path: float = 0.0,
    hidden: int = HIDDEN,
    auxiliary: int = AUXILIARY,
) -> DenseModel:
    """The card's backbone with its weights, as ``build_model`` builds it, and a decoder of so many classes.

    Args:
        card: of the backbone.
        classes: K.
        image_size: of a crop, in pixels a side; 0: the backbone's own.
        drop_path: stochastic depth of the last block.
        hidden: channels of the decoder.
        auxiliary: channels of the auxiliary head.

    Raises:
        InputError: as of ``build_model``, the backbone has no maps that a decoder takes, or transformers is not
            installed.
    """
    plain = build_model(card, classes, image_size, drop_path)
    mean, std = pixels_of(card, plain.backbone)
    try:
        return DenseModel(plain.backbone, plain.family, plain.dim, classes, mean, std, hidden, auxiliary)
    except KeyError as error:
        raise InputError(f"{card.name}: {error.args[0]}") from None


def _enlarged(logits: Tensor, images: Tensor) -> Tensor:
    """Logits (B, K, h, w) at the size of images (B, C, H, W)."""
    return F.interpolate(logits, size=images.shape[-2:], mode="bilinear", align_corners=False)


def _draw(head: Any) -> None:
    """Draw a head anew, its classifier last."""
    convolutions = [layer for layer in head.modules() if isinstance(layer, nn.Conv2d) and layer is not head.classifier]
    for layer in convolutions:
        nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
    nn.init.normal_(head.classifier.weight, std=0.01)
    nn.init.zeros_(head.classifier.bias)


def _upernet() -> Any:
    """transformers' module of UPerNet."""
    try:
        return importlib.import_module("transformers.models.upernet.modeling_upernet")
    except ImportError:
        raise InputError("a decoder needs transformers: pip install 'finetune-bench[transformers]'") from None

"""CvT (Wu et al., ICCV 2021) through Hugging Face transformers, and what methods ask of it."""

from __future__ import annotations

import importlib
import re
from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from timm.data import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD
from timm.layers import DropPath
from torch import Tensor, nn

from bench.backbones.model import Family, Parts, Probe, norms_outside
from bench.cards.lacking import OF_CVT
from bench.errors import InputError


class ConvolutionalViT(nn.Module):
    """CvT without its classifier; parameters are named as in the published ``CvtForImageClassification``.

    The defaults are CvT-13. Nothing is downloaded. Stochastic depth acts on the branches of each block as in the
    paper's code; that of transformers drops whole images with their residual, so it is left out.

    Args:
        img_size: pixels a side that it is meant for; CvT itself takes any.
        pooling: ``"cls"``, the class token of the last stage after the final norm, as published; or ``"mean"`` over
            the places of a last stage without class token and final norm, as in DRLoc's released code.
        embed_dim: width of each stage.
        depth: blocks of each stage; transformers wants at least k of them in the k-th.
        mlp_ratio: of each stage, hidden width of the FFN over that of the stage.
        drop_path_rate: stochastic depth of the last block; it rises from 0 over the blocks of the last stage.

    Raises:
        InputError: transformers is not installed, or ``pooling`` is neither of the two.
    """

    def __init__(
        self,
        img_size: int = 224,
        pooling: str = "cls",
        num_channels: int = 3,
        embed_dim: Sequence[int] = (64, 192, 384),
        num_heads: Sequence[int] = (1, 3, 6),
        depth: Sequence[int] = (1, 2, 10),
        mlp_ratio: Sequence[float] = (4.0, 4.0, 4.0),
        drop_path_rate: float = 0.0,
    ) -> None:
        super().__init__()
        if pooling not in ("cls", "mean"):
            raise InputError(f"CvT: pooling = {pooling!r} is not allowed; it is 'cls' or 'mean'")
        self.num_features = embed_dim[-1]
        self.pretrained_cfg: dict[str, Any] = {
            "input_size": (num_channels, img_size, img_size),
            "mean": IMAGENET_DEFAULT_MEAN,
            "std": IMAGENET_DEFAULT_STD,
        }
        self.cvt: Any = _cvt_model(
            num_channels=num_channels,
            embed_dim=list(embed_dim),
            num_heads=list(num_heads),
            depth=list(depth),
            mlp_ratio=list(map(float, mlp_ratio)),  # transformers takes no whole numbers here
            drop_path_rate=[0.0] * len(depth),
            cls_token=[False] * (len(depth) - 1) + [pooling == "cls"],
        )
        stages = enumerate(embed_dim)
        self.feature_info = [{"module": f"cvt.encoder.stages.{at}", "num_chs": width} for at, width in stages]
        self.layernorm = nn.LayerNorm(self.num_features) if pooling == "cls" else None
        if drop_path_rate:
            last = self.cvt.encoder.stages[-1].layers
            rates = torch.linspace(0, drop_path_rate, len(last), device="cpu").tolist()
            for block, rate in zip(last, rates, strict=True):
                for branch in (block.attention.output, block.output):
                    branch.dropout = DropPath(rate)  # the last step of a branch before the residual is added

    def forward(self, images: Tensor) -> Tensor:
        """(B, D) for normalised images (B, C, H, W)."""
        grid, *cls_token = self.cvt(images, return_dict=False)
        out: Tensor = grid.mean((2, 3)) if self.layernorm is None else self.layernorm(cls_token[0])[:, 0]
        return out


class CvT(Family):
    """``ConvolutionalViT``."""

    lacks: ClassVar = OF_CVT

    def probe(self, name: str, backbone: nn.Module) -> Probe:
        """``grid`` (B, D, h, w): last stage's map without [cls], before any norm (DRLoc's released code)."""
        assert isinstance(backbone, ConvolutionalViT)
        if name == "grid":  # without [cls], which the stage gives beside it
            return Probe([backbone.cvt.encoder.stages[-1]], lambda _, output: output[0].contiguous())
        return super().probe(name, backbone)

    def part(self, name: str, backbone: nn.Module) -> Parts:
        """``attention`` (with its convolutional projections), ``ffn``: the branches of all blocks, with their
        stochastic depth; ``norms``: those outside them; ``embeddings``: the convolutions into each stage and the class
        token; ``position``: none, the convolutions take its place (section 3).
        """
        assert isinstance(backbone, ConvolutionalViT)
        blocks: list[Any] = [block for stage in backbone.cvt.encoder.stages for block in stage.layers]
        if name == "attention":
            return [block.attention for block in blocks]
        if name == "ffn":
            return [module for block in blocks for module in (block.intermediate, block.output)]
        stages: list[Any] = list(backbone.cvt.encoder.stages)
        if name == "embeddings":
            tokens = [stage.cls_token for stage in stages if hasattr(stage, "cls_token")]
            return [stage.embedding.convolution_embeddings.projection for stage in stages] + tokens
        if name == "norms":
            return norms_outside(backbone, self.part("attention", backbone) + self.part("ffn", backbone))
        return [] if name == "position" else super().part(name, backbone)

    def layer(self, parameter: str, backbone: nn.Module) -> tuple[int, int]:
        """The first token embedding is layer 0, blocks are counted from 1 through all stages; the norm lies above.

        The other token embeddings and [cls] have the layer of the block that they lead into (our choice).
        """
        assert isinstance(backbone, ConvolutionalViT)
        depths = [len(stage.layers) for stage in backbone.cvt.encoder.stages]
        top = sum(depths) + 1
        if parameter.startswith("layernorm."):
            return top, top
        if parameter.startswith("cvt.encoder.stages.0.embedding."):
            return 0, top
        place = re.fullmatch(r"cvt\.encoder\.stages\.(\d+)\.(?:layers\.(\d+))?.+", parameter)
        assert place is not None, parameter
        stage, block = place.groups(default=0)
        return sum(depths[: int(stage)]) + int(block) + 1, top


def _cvt_model(**settings: Any) -> Any:
    """transformers' CvtModel of random weights."""
    try:
        transformers = importlib.import_module("transformers")
    except ImportError:
        raise InputError("CvT needs transformers: pip install 'finetune-bench[transformers]'") from None
    return transformers.CvtModel(transformers.CvtConfig(**settings), add_pooling_layer=False)

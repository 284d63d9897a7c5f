"""What methods ask of timm's VisionTransformer: attention of the [cls] query, tokens, attention and FFN parts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from timm.layers import Attention
from timm.models import VisionTransformer
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from bench.backbones.model import Family, Probe


def cls_attention_logits(qkv: Tensor, attention: Any, prefix: int) -> Tensor:
    """Scaled attention logits of the [cls] query before the softmax, without its own key (GTA, eq. 2).

    Only this row is computed: B·H·N products, no N×N map, whatever the attention kernel is.

    Args:
        qkv: (B, T, 3·H·d), the output of the block's query-key-value projection.
        attention: the block's attention module, for its heads, scale and query/key norms.
        prefix: tokens before the patches ([cls] and registers), whose keys are left out.

    Returns:
        (B, H, N) over the N patches.
    """
    batch, tokens, _ = qkv.shape
    split = qkv.view(batch, tokens, 3, attention.num_heads, attention.head_dim)
    query = attention.q_norm(split[:, :1, 0].transpose(1, 2))
    keys = attention.k_norm(split[:, prefix:, 1].transpose(1, 2))
    logits: Tensor = query * attention.scale @ keys.transpose(-2, -1)
    return logits.squeeze(2)


class _Hooked(Probe):
    """A probe that reads the outputs of some modules, one tensor each, in the order they run."""

    def __init__(
        self, modules: list[Any], read: Callable[[int, Tensor], Tensor], join: Callable[[list[Tensor]], Tensor]
    ) -> None:
        self.modules, self.read, self.join = modules, read, join
        self.seen: list[Tensor] = []
        self.hooks: list[RemovableHandle] = []

    def __enter__(self) -> Probe:
        for number, module in enumerate(self.modules):
            self.hooks.append(module.register_forward_hook(self._hook(number)))
        return self

    def _hook(self, number: int) -> Callable[[nn.Module, Any, Tensor], None]:
        def keep(module: nn.Module, inputs: Any, output: Tensor) -> None:
            self.seen.append(self.read(number, output))

        return keep

    def __exit__(self, *exception: object) -> None:
        for hook in self.hooks:
            hook.remove()

    def value(self) -> Tensor:
        return self.join(self.seen)

    def done(self) -> bool:
        return len(self.seen) == len(self.modules)


class ViT(Family):
    """timm's VisionTransformer (ViT, DeiT, MAE, DINO, iBOT, CLIP) with a class token and standard attention."""

    def probe(self, name: str, backbone: nn.Module) -> Probe:
        """What can be read, over L blocks, B images, H heads, N patches, T tokens and width D.

        ``tokens`` (B, T, D) after the last norm; ``grid`` (B, D, h, w), its patches in their places; ``cls_attention``
        (L, B, H, N) logits; ``cls_attention_map`` (B, H, N) of the last block, after the softmax over all keys;
        ``msa_output`` and ``block_output`` (L, B, T, D), the first after the output projection and before the residual
        is added, the second after the FFN's.
        """
        assert isinstance(backbone, VisionTransformer)
        blocks: list[Any] = list(backbone.blocks)
        prefix = backbone.num_prefix_tokens
        if name == "tokens":
            return _Hooked([backbone.norm], lambda _, output: output, lambda seen: seen[0])
        if name == "grid":
            height, width = backbone.patch_embed.grid_size

            def lay_out(_: int, output: Tensor) -> Tensor:
                return output[:, prefix:].transpose(1, 2).reshape(len(output), -1, height, width)

            return _Hooked([backbone.norm], lay_out, lambda seen: seen[0])
        if name == "cls_attention":
            return _Hooked(
                [block.attn.qkv for block in blocks],
                lambda number, qkv: cls_attention_logits(qkv, blocks[number].attn, prefix),
                torch.stack,
            )
        if name == "cls_attention_map":
            last = blocks[-1].attn

            def row(_: int, qkv: Tensor) -> Tensor:
                return cls_attention_logits(qkv, last, 0).softmax(-1)[..., prefix:]

            return _Hooked([last.qkv], row, lambda seen: seen[0])
        if name in ("msa_output", "block_output"):
            modules = [block.attn for block in blocks] if name == "msa_output" else blocks
            return _Hooked(modules, lambda _, output: output, torch.stack)
        return super().probe(name, backbone)

    def part(self, name: str, backbone: nn.Module) -> list[nn.Module | nn.Parameter]:
        """``attention``, ``ffn``: the branches of all blocks, with their stochastic depth; ``position``."""
        assert isinstance(backbone, VisionTransformer)
        blocks: list[Any] = list(backbone.blocks)
        if name == "attention":
            return [module for block in blocks for module in (block.attn, block.drop_path1)]
        if name == "ffn":
            return [module for block in blocks for module in (block.mlp, block.drop_path2)]
        if name == "position":
            return [] if backbone.pos_embed is None else [backbone.pos_embed]
        return super().part(name, backbone)

    def layer(self, parameter: str, backbone: nn.Module) -> tuple[int, int]:
        """Embeddings are layer 0, block i is layer i + 1, the final norm and the head lie above (BEiT, 2022)."""
        assert isinstance(backbone, VisionTransformer)
        depth = len(backbone.blocks)
        if parameter.startswith("blocks."):
            return int(parameter.split(".")[1]) + 1, depth + 1
        return (depth + 1 if parameter.startswith(("norm", "fc_norm")) else 0), depth + 1


def is_vit(backbone: nn.Module) -> bool:
    """Whether ``ViT`` serves this model: its class, a class token and timm's standard attention in every block."""
    return (
        isinstance(backbone, VisionTransformer)
        and backbone.cls_token is not None
        and all(isinstance(getattr(block, "attn", None), Attention) for block in backbone.blocks)
    )

"""Fresh networks of a pre-trained one's size, for methods that distil it (Feature Distillation, section 2)."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from timm.layers import DropPath, HybridEmbed, trunc_normal_
from timm.models.beit import Attention, Beit, Block
from timm.models.swin_transformer import SwinTransformer
from timm.models.swin_transformer_v2 import SwinTransformerV2
from torch import Tensor, nn

from bench.backbones.beit import PatchesOfBEiT
from bench.backbones.families import family_of
from bench.backbones.model import Model
from bench.backbones.t2t import T2TViT
from bench.backbones.vit import ViT
from bench.device.distributed import draws_apart, ranks
from bench.errors import InputError, choose

_POSITIONS: dict[str, dict[str, bool]] = {
    "shared": {"use_shared_rel_pos_bias": True},
    "non_shared": {"use_rel_pos_bias": True},
    "absolute": {"use_abs_pos_emb": True},
    "none": {},
}


class SkippingBlock(Block):  # type: ignore[misc]
    """timm's block of ``Beit``, which computes a branch only for the images that keep it: the same, for less work."""

    def forward(self, x: Tensor, shared_rel_pos_bias: Tensor | None = None) -> Tensor:
        """Tokens (B, T, D) after attention and MLP, with a bias (H, T, T) that all blocks share."""
        bias = shared_rel_pos_bias
        x = with_branch(x, lambda x: self.gamma_1 * self.attn(self.norm1(x), shared_rel_pos_bias=bias), self.drop_path1)
        return with_branch(x, lambda x: self.gamma_2 * self.mlp(self.norm2(x)), self.drop_path2)


def with_branch(x: Tensor, branch: Callable[[Tensor], Tensor], drop_path: nn.Module) -> Tensor:
    """x + drop_path(branch(x)), where the branch is computed only for the images that keep it.

    Args:
        x: (B, ...), the residual stream.
        branch: treats every image alone; (B', ...) to (B', ...).
        drop_path: timm's ``DropPath``, or anything else for a branch that is never dropped.

    Returns:
        Like ``x``. The branch of an image is dropped with the module's probability p in training, and divided by
        1 − p where it is kept. Where it is dropped for all, a process that shares the run computes it for one image all
        the same and adds none of it: its weights have a gradient, as they have in the others, who average it.
    """
    rate = float(drop_path.drop_prob or 0) if isinstance(drop_path, DropPath) and drop_path.training else 0.0
    if not rate:
        return x + branch(x)
    rows = (torch.rand(len(x)) >= rate).nonzero()[:, 0].to(x.device)
    if not len(rows):
        return x if ranks() == 1 else x.index_add(0, rows.new_zeros(1), branch(x[:1]).to(x.dtype), alpha=0)
    return x.index_add(0, rows, branch(x.index_select(0, rows)).to(x.dtype), alpha=1 / (1 - rate))


def build_student(model: Model, position: str = "shared", drop_path: float = 0.0) -> Model:
    """A student from scratch with the teacher's input, patches, width, depth, heads and pixel statistics.

    A ViT's student is timm's ``Beit``: biases of queries and values only, layer scale 0.1, mean pooling of the patches
    with a norm of the pooled features and none of the tokens. A Swin's is SwinV2, whatever the teacher's version, with
    the windows of the teacher's first stage. Where a teacher has no class token, only the patches of a student are
    distilled, though timm's ``Beit`` has one. Everything is drawn from torch's global generator, as the released code
    draws it, the head last.

    Args:
        model: the teacher.
        position: of a ViT's student: relative position bias ``"shared"`` by all blocks or ``"non_shared"``,
            ``"absolute"`` embeddings, or ``"none"``. SwinV2 has a bias of its own kind, and takes only ``"shared"``,
            the default.
        drop_path: stochastic depth of the last block, growing linearly from 0.

    Raises:
        InputError: there is no student for such a teacher, or not with such positions.
    """
    teacher = model.backbone
    if position not in _POSITIONS:
        raise InputError(choose(position, _POSITIONS, "position of a student"))
    backbone: Any
    if isinstance(model.family, ViT) and not isinstance(teacher, T2TViT):
        backbone = _beit(teacher, position)
    elif isinstance(teacher, (SwinTransformer, SwinTransformerV2)):
        if position != "shared":
            raise InputError(
                f"position {position}: a Swin's student has SwinV2's position bias; leave position at 'shared'"
            )
        backbone = _swin_v2(teacher)
    else:
        raise InputError(
            f"no student is known for {type(teacher).__name__}; a teacher is one of timm's VisionTransformer, Eva, "
            "Beit, SwinTransformer and SwinTransformerV2"
        )
    set_drop_path(backbone, drop_path)
    classless = isinstance(backbone, Beit) and not prefix_tokens(model)
    return model.with_backbone(backbone, PatchesOfBEiT() if classless else family_of(backbone))


def set_drop_path(backbone: nn.Module, rate: float) -> list[DropPath]:
    """Give every block stochastic depth, growing linearly from 0 to ``rate`` at the last block; 0 takes it away.

    Blocks have ``drop_path1`` and ``drop_path2``, as timm's transformers do. Gives the new modules, in the mode of
    their blocks, those of the first block first.
    """
    blocks: list[Any] = [module for module in backbone.modules() if hasattr(module, "drop_path1")]
    made = []
    for number, block in enumerate(blocks):
        share = rate * number / max(1, len(blocks) - 1)
        for name in ("drop_path1", "drop_path2"):
            branch = (DropPath(share) if share else nn.Identity()).train(block.training)
            setattr(block, name, branch)
            made += [branch] if isinstance(branch, DropPath) else []
    return made


def unshare_position_bias(backbone: nn.Module) -> None:
    """Give each block its own copy of a relative position bias that all share, in place (released code).

    The network computes what it did before; a backbone without a shared bias is left as it is.
    """
    if not isinstance(backbone, Beit) or backbone.rel_pos_bias is None:
        return
    table = backbone.rel_pos_bias.relative_position_bias_table
    blocks: list[Any] = list(backbone.blocks)
    for block in blocks:
        old = block.attn
        with draws_apart():  # what is drawn is overwritten
            new = Attention(
                old.proj.out_features,
                num_heads=old.num_heads,
                qkv_bias=old.q_bias is not None,
                window_size=backbone.patch_embed.grid_size,
                attn_head_dim=old.proj.in_features // old.num_heads,
            ).to(table)
        new.load_state_dict({**old.state_dict(), "relative_position_bias_table": table.detach()})
        new.fused_attn = old.fused_attn
        block.attn = new.train(old.training)
    backbone.rel_pos_bias = None


def source_head_of(model: Model) -> nn.Linear:
    """The head that the backbone was pre-trained with. Raises ``InputError`` where the model has none."""
    if model.source_head is None:
        raise InputError(
            "the logits of the teacher need the classifier of its pre-training, which it does not have; "
            "distil its map, gap or cls"
        )
    return model.source_head


def require_class_token(model: Model) -> None:
    """Raises ``InputError`` where the tokens of a model do not start with [cls]."""
    if not prefix_tokens(model):
        raise InputError(f"{type(model.backbone).__name__} has no class token to distil; distil its map or gap")


def prefix_tokens(model: Model) -> int:
    """How many tokens stand before the patches in the probe ``tokens``: [cls] first; none where there is no [cls]."""
    return 0 if getattr(model.family, "classless", False) else int(getattr(model.backbone, "num_prefix_tokens", 0))


def _beit(teacher: Any, position: str) -> Beit:
    student = Beit(
        **_sizes(teacher, teacher.blocks[0]),
        embed_dim=int(teacher.embed_dim),
        depth=len(teacher.blocks),
        num_heads=teacher.blocks[0].attn.num_heads,
        init_values=0.1,
        **{"use_abs_pos_emb": False, **_POSITIONS[position]},
    )
    _draw(student)
    for block in student.blocks:
        block.__class__ = SkippingBlock  # Beit takes no class of blocks
    return student


@torch.no_grad()
def _draw(student: Beit) -> None:
    """Normal draws of sd 0.02 cut at ±0.02, not timm's cut at ±2, with the last layers of branches scaled by depth."""
    layers = [module.weight for module in student.modules() if isinstance(module, (nn.Linear, nn.Conv2d))]
    embeddings = [student.cls_token] + ([] if student.pos_embed is None else [student.pos_embed])
    for weight in (*layers, *embeddings):
        trunc_normal_(weight, std=0.02, a=-0.02, b=0.02)
    nn.init.zeros_(student.patch_embed.proj.bias)
    _scale_branches(list(student.blocks))


@torch.no_grad()
def _draw_swin(student: SwinTransformerV2) -> None:
    """What the released code draws otherwise than timm: patches of sd 0.02, branches scaled, their norms at 1e-5."""
    nn.init.trunc_normal_(student.patch_embed.proj.weight, std=0.02)
    nn.init.zeros_(student.patch_embed.proj.bias)
    blocks: list[Any] = [block for stage in student.layers for block in stage.blocks]
    _scale_branches(blocks)
    for block in blocks:
        for norm in (block.norm1, block.norm2):
            nn.init.constant_(norm.weight, 1e-5)


def _scale_branches(blocks: list[Any]) -> None:
    """Divide the last layer of each branch by √(2·number) of its block, counted from 1."""
    for number, block in enumerate(blocks, start=1):
        for layer in (block.attn.proj, block.mlp.fc2):
            layer.weight /= math.sqrt(2 * number)


def _swin_v2(teacher: Any) -> SwinTransformerV2:
    stages: list[Any] = list(teacher.layers)
    first = stages[0].blocks[0]
    student = SwinTransformerV2(
        **_sizes(teacher, first),
        embed_dim=teacher.patch_embed.proj.out_channels,
        depths=tuple(len(stage.blocks) for stage in stages),
        num_heads=tuple(stage.blocks[0].attn.num_heads for stage in stages),
        window_size=tuple(first.window_size),
    )
    _draw_swin(student)
    return student


def _sizes(teacher: Any, block: Any) -> dict[str, Any]:
    """What a student has of any teacher, of which one block is given."""
    patches, last = teacher.patch_embed, block.mlp.fc2
    patch, first = patches.patch_size, next(layer for layer in patches.modules() if isinstance(layer, nn.Conv2d))
    if isinstance(patches, HybridEmbed):  # it cuts a map of convolutions
        patch = tuple(side // places for side, places in zip(patches.img_size, patches.grid_size, strict=True))
    return {
        "img_size": patches.img_size,
        "patch_size": patch,
        "in_chans": first.in_channels,
        "num_classes": 0,
        "mlp_ratio": last.in_features / last.out_features * (1 + 1e-9),  # timm rounds its product with the width down
    }

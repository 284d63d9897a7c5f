"""Why a kind of backbone cannot have what methods ask for, in words; what is in no list is only not written yet."""

from __future__ import annotations

from collections.abc import Mapping

Reasons = Mapping[str, str]
"""A reason for each probe or part."""

MAPS = ("conv_map_1", "conv_map_2", "conv_map_3", "conv_map_4", "last_convs")
"""What reads or trains the last convolutions of stages."""

OF_BLOCKS: Reasons = {
    **dict.fromkeys(MAPS, "it has no stages of convolutions"),
    "batch_norm": "it has no batch norms",
}
"""Of transformers whose blocks are alike."""

OF_BEIT: Reasons = {
    **OF_BLOCKS,
    "linears": "a Beit applies the projection of its attention as a function of its weights, not as a module",
    "token_blocks": "the position bias of a Beit is of a fixed number of tokens",
}

NO_CLASS: Reasons = {
    **OF_BLOCKS,
    "cls_attention": "it has no class token, whose attention that is",
    "cls_attention_map": "it has no class token, whose attention that is",
}
"""Of those without a class token."""

_BIASED: Reasons = {
    "linears": "its queries and values have biases of their own, which timm adds outside of any linear layer",
}

OF_BIASED_ROTARY: Reasons = {**OF_BLOCKS, **_BIASED}
NO_CLASS_BIASED_ROTARY: Reasons = {**NO_CLASS, **_BIASED}

OF_SWIN: Reasons = {
    **OF_BLOCKS,
    "cls_attention": "a Swin has no class token",
    "cls_attention_map": "a Swin has no class token",
    "attention_maps": "a Swin attends inside windows, of which each stage has another number",
    "msa_output": "the stages of a Swin differ in tokens and width",
    "block_output": "the stages of a Swin differ in tokens and width",
}

OF_CVT: Reasons = {
    "tokens": "the class token of a CvT joins in its last stage alone; ask for the grid",
    "cls_attention": "the class token of a CvT joins in its last stage alone",
    "cls_attention_map": "the keys of a CvT are strided, so none belongs to one patch",
    "attention_maps": "the stages of a CvT differ in queries, keys and heads",
    "msa_output": "the stages of a CvT differ in tokens and width",
    "block_output": "the stages of a CvT differ in tokens and width",
}

OF_RESNET: Reasons = {
    **dict.fromkeys(("tokens", "cls_attention", "cls_attention_map"), "a ResNet has no tokens; ask for the grid"),
    **dict.fromkeys(("attention_maps", "msa_output", "attention", "ffn"), "a ResNet has no attention and no FFN"),
    **dict.fromkeys(("embeddings", "position"), "a ResNet embeds neither patches nor places"),
    "block_output": "the stages of a ResNet differ in size and channels",
    "batch_norm": "this one has norms of another kind",
    "conv_map_4": "this one has three stages",
}

OF_POOLED_MAPS: Reasons = {
    "cls_attention": "it has no class token, whose attention that is",
    "cls_attention_map": "it has no class token, whose attention that is",
    "msa_output": "its stages differ in places and width",
    "block_output": "its stages differ in places and width",
}
"""Of networks that pool their last map."""

"""Which kind of backbone a model of timm's is, by its name: nothing that plans builds a model.

Every name that timm has pre-trained weights of is here, those too whose kind is not served (a test goes through them).
"""

from __future__ import annotations

import re

from bench.cards.kinds import (
    BEIT,
    BIASED_ROTARY,
    CLASSLESS,
    CLASSLESS_BIASED_ROTARY,
    CLASSLESS_ROTARY,
    GROUP_NORM_RESNET,
    POOLED_MAPS,
    RESNET,
    ROTARY,
    ROTARY_APART,
    SWIN,
    SWIN_V2,
    VIT,
    BackboneKind,
)

_SIZE = r"(tiny|xsmall|small|little|medium|mediumd|betwixt|wee|base|large|huge|giant|giantopt|gigantic|so\w+|intern\w+)"

_UNSERVED = {
    r"vit_s?relpos_\w+|test_vit_relpos": "ViTs with relative positions",
    r"vit_\w+_(18x2|xp)_\w+|vit_(dlittle|dpwee|dwee|pwee)_\w+": "ViTs with blocks of another kind",
    r"naflexvit_\w+": "ViTs for images of any shape (NaFlexViT)",
    r"resnet\d+(x\d+)?_clip": "ResNets that pool by attention",
    r"test_mambaout|mambaout_\w+": "MambaOut",
    r"(gmixer|gmlp|mixer|resmlp)_\w+": "MLP-Mixers",
    r"efficientformer(v2)?_\w+": "EfficientFormers",
    r"sam2_hiera\w+|hieradet_\w+": "SAM 2's Hiera",
    r"qwen3_vit\w+|deepseek_vit\w+|gemma4_vit\w+|mobilenetv5_300m_enc": "image encoders of language models",
    **{
        rf"{name}_?\w+": title
        for name, title in {
            "cait": "CaiT",
            "coat_": "CoaT",
            "convit": "ConViT",
            "cpubone": "CPUBone",
            "crossvit": "CrossViT",
            "efficientvim": "EfficientViM",
            "iformer": "iFormer",
            "levit": "LeViT",
            "mvitv2": "MViTv2",
            "pit": "PiT",
            "pvt_v2": "PVTv2",
            "repvit": "RepViT",
            "swiftformer": "SwiftFormer",
            "tnt": "TNT",
            "twins": "Twins",
            "vgg": "VGGs",
            "volo": "VOLO",
            "xcit": "XCiT",
        }.items()
    },
}
"""What names of timm's look like that no kind serves, and what these are."""

_SERVED: tuple[tuple[str, BackboneKind], ...] = (
    (r"vit_(?!mediumd)\w+_rope_reg\d_gap_\w+", CLASSLESS_BIASED_ROTARY),
    (
        r"eva02_(tiny|small|enormous)_\w+|eva_giant_\w+|vit_\w+_dinov3_qkvb|vit_(?!giant)\w+_lingbot|test_eva\w*",
        BIASED_ROTARY,
    ),
    (r"eva02_\w+|vit_\w+_sapiens2", ROTARY_APART),
    (r"vit_\w+_rope_reg\d_gap_\w+|vit_pe_\w+_gigantic_\w+", CLASSLESS_ROTARY),
    (r"vit_pe_\w+|vit_\w+_(dinov3|lingbot)\w*|vit_\w+_rope_\w+", ROTARY),
    (r"aimv2_\w+|vitamin_\w+|vit_\w+_(gap|map|rpn|siglip)_\w+|test_vit[234]", CLASSLESS),
    (rf"(vit|deit)3?_{_SIZE}_\w+|flexivit_\w+|eva_large_\w+|beit3_\w+|test_vit", VIT),
    (r"beit(v2)?_(base|large)_\w+", BEIT),
    (r"resnet\d+_gn", GROUP_NORM_RESNET),
    (
        r"(wide_)?resnet(aa|blur|rs)?\d+[cdst]?(_2|_gn)?|resnext\d+d?_\d+x\d+d|ecaresne\w+"
        r"|seresnet(aa)?\d+[dt]?|seresnext(aa)?\d+[dt]?_\d+x\d+d|senet154|test_resnet",
        RESNET,
    ),
    (r"swin_\w+", SWIN),
    (r"swinv2_(?!cr_)\w+", SWIN_V2),
    (r"resnet\d+(x\d+)?_clip_gap|test_(byobnet|coatnet|convnext\w*|efficientnet\w*|maxvit|nfnet)", POOLED_MAPS),
)

_WITH_POOLED_MAPS = re.compile(
    # convolutions
    r"convnext|convmixer|cs3|csatv2|csp|darknet|sedarknet|davit|densenet|dla|dpn|inception_next|inception_|"
    r"efficientnet|tf_efficientnet|efficientnetv2|gc_efficientnet|mixnet|tf_mixnet|mnasnet|tf_mnasnet|spnasnet|"
    r"fbnet|mobilenet|tf_mobilenet|semnasnet|lcnet|hardcorenas|rexnet|rexnetr|tinynet|ghostnet|repghost|fasternet|"
    r"focalnet|hgnet|hrnet|lowformer|edgenext|xception|legacy_|nasnet|pnasnet|nfnet|dm_nfnet|eca_nfnet|nf_|"
    r"res2net|res2next|resnest|resnetv2|skres|regnet|tresnet|rdnet|starnet|selecsls|ese_vovnet|vovnet|"
    r"shvit|nextvit|sequencer2d_|"
    # of blocks to choose from (timm's byobnet)
    r"bat_res|bot|eca_|gcres|halo|lambda_|lamhalo|sebot|sehalo|gernet|mobileone|repvgg|resnet32ts|resnet33ts|"
    r"resnet50_mlp|resnet51q|resnet61q|resnext26ts|seresnet33ts|seresnext26ts|"
    # with attention
    r"coatnet|coatnext|maxvit|maxxvit|caformer|convformer|poolformer|mobilevit|efficientvit|fastvit|gcvit|hiera_|"
    r"nest_|tiny_vit|visformer|swinv2_cr_|samvit_"
)
"""How names begin of networks that pool their last map, behind all others."""

_UNGROUPED = re.compile(r"csatv2\w*|(caformer|convformer|poolformer(v2)?|pit)_\w+")
"""Models that do not tell timm which of their weights are of one layer."""


def kind_of_timm(model: str) -> BackboneKind | None:
    """The kind of a timm model by its name, tag or none; None where no kind serves it, or the name is not known."""
    name = model.partition(".")[0]
    if unserved_by_name(name):
        return None
    named = next((kind for pattern, kind in _SERVED if re.fullmatch(pattern, name)), None)
    return named or (POOLED_MAPS if _WITH_POOLED_MAPS.match(name) else None)


def unserved_by_name(model: str) -> str:
    """What a model of timm's is that no kind serves, in words; empty where one does, and where nobody knows it."""
    name = model.partition(".")[0]
    return next((title for pattern, title in _UNSERVED.items() if re.fullmatch(pattern, name)), "")


def is_ungrouped(model: str) -> bool:
    """Whether a model of timm's, by its name, has no layers by which a learning rate could decay."""
    return bool(_UNGROUPED.fullmatch(model.partition(".")[0]))

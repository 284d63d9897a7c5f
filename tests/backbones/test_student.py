"""Students: timm's architectures of a teacher's size, how they are drawn, and what is done to them."""

from __future__ import annotations

import math
import re
from typing import Any

import pytest
import timm
import torch
from timm.layers import DropPath
from timm.models import VisionTransformer
from timm.models.beit import Beit
from timm.models.eva import Eva
from timm.models.swin_transformer import SwinTransformer
from timm.models.swin_transformer_v2 import SwinTransformerV2
from torch import Tensor, nn

from bench.backbones import Model, build_model
from bench.backbones import student as students
from bench.backbones.beit import BEiT
from bench.backbones.families import family_of
from bench.backbones.student import (
    build_student,
    prefix_tokens,
    require_class_token,
    set_drop_path,
    source_head_of,
    unshare_position_bias,
    with_branch,
)
from bench.errors import InputError
from bench.registry import Registry

SIZE: dict[str, Any] = {"img_size": 12, "patch_size": 4, "in_chans": 1, "embed_dim": 24, "depth": 3, "num_heads": 3}
POSITIONS: dict[str, dict[str, bool]] = {
    "shared": {"use_abs_pos_emb": False, "use_rel_pos_bias": False, "use_shared_rel_pos_bias": True},
    "non_shared": {"use_abs_pos_emb": False, "use_rel_pos_bias": True, "use_shared_rel_pos_bias": False},
    "absolute": {"use_abs_pos_emb": True, "use_rel_pos_bias": False, "use_shared_rel_pos_bias": False},
    "none": {"use_abs_pos_emb": False, "use_rel_pos_bias": False, "use_shared_rel_pos_bias": False},
}


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)


def wrapped(backbone: Any, channels: int = 1) -> Model:
    return Model(backbone, family_of(backbone), backbone.num_features, 5, [0.4] * channels, [0.3] * channels)


def teacher(**changes: Any) -> Model:
    return wrapped(VisionTransformer(num_classes=0, mlp_ratio=2, **{**SIZE, **changes}))


def swin(kind: Any = SwinTransformer, **changes: Any) -> Model:
    arguments = {
        "img_size": 32,
        "patch_size": 2,
        "window_size": 4,
        "embed_dim": 12,
        "depths": (1, 2),
        "num_heads": (2, 4),
    }
    return wrapped(kind(num_classes=0, in_chans=3, **{**arguments, **changes}), channels=3)


@torch.no_grad()
def shaken(model: nn.Module) -> None:
    for weight in model.parameters():
        weight.add_(torch.randn_like(weight), alpha=0.2)


# ---- architectures


@pytest.mark.parametrize("position", POSITIONS)
def test_a_vits_student_is_timms_beit(position: str) -> None:
    """The same names and shapes as ``beit_base_patch16_224`` made small, and the same outputs for the same weights."""
    student = build_student(teacher(), position)
    arguments = {**SIZE, **POSITIONS[position], "init_values": 0.1, "mlp_ratio": 2}
    oracle = timm.create_model("beit_base_patch16_224", num_classes=0, **arguments)
    shaken(student)
    oracle.load_state_dict(student.backbone.state_dict())
    images = torch.rand(2, 1, 12, 12)
    for model in (student, oracle):
        model.eval()
    torch.testing.assert_close(student(images).features, oracle(student.normalised(images)))
    tokens = oracle.forward_features(student.normalised(images))
    torch.testing.assert_close(student.probe(images, "tokens"), tokens)


def test_without_drop_path_it_trains_as_timms_beit_does() -> None:
    student = build_student(teacher())
    oracle = Beit(num_classes=0, init_values=0.1, mlp_ratio=2, **SIZE, **POSITIONS["shared"])
    shaken(student)
    oracle.load_state_dict(student.backbone.state_dict())
    images = torch.rand(2, 1, 12, 12)
    student.train()(images).features.square().sum().backward()
    oracle.train()(student.normalised(images)).square().sum().backward()
    expected = {name: weight.grad for name, weight in oracle.named_parameters()}
    for name, weight in student.backbone.named_parameters():
        torch.testing.assert_close(weight.grad, expected[name], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    "changes",
    [
        {"img_size": (8, 16)},
        {"patch_size": 2, "depth": 1},
        {"embed_dim": 36, "num_heads": 4},
        {"in_chans": 3},
        {"reg_tokens": 2, "dynamic_img_size": False},
    ],
    ids=str,
)
def test_it_has_the_teachers_size(changes: dict[str, Any]) -> None:
    channels = changes.get("in_chans", 1)
    source = wrapped(VisionTransformer(num_classes=0, mlp_ratio=2.4, **{**SIZE, **changes}), channels)
    student = build_student(source)
    one, other = (dict(model.backbone.named_parameters()) for model in (source, student))
    for name in ("patch_embed.proj.weight", "cls_token", "blocks.0.mlp.fc1.weight", "blocks.0.attn.qkv.weight"):
        assert one[name].shape == other[name].shape
    height, width = changes.get("img_size", (12, 12))
    images = torch.rand(2, channels, height, width)
    registers = changes.get("reg_tokens", 0)
    assert student.probe(images, "tokens").shape[1] == source.probe(images, "tokens").shape[1] - registers
    assert len(list(student.part("ffn"))) == len(list(source.part("ffn")))
    heads = [model.backbone.blocks[0].attn.num_heads for model in (source, student)]  # type: ignore[index,union-attr]
    assert heads[0] == heads[1]
    assert prefix_tokens(student) == 1
    assert prefix_tokens(source) == 1 + registers


def test_it_has_the_teachers_pixels_classes_and_a_new_head() -> None:
    source = teacher()
    student = build_student(source)
    assert torch.equal(student.mean, source.mean)
    assert torch.equal(student.std, source.std)
    assert student.head.weight.shape == source.head.weight.shape
    assert not torch.equal(student.head.weight, source.head.weight)
    assert student.source_head is None
    assert isinstance(student.family, BEiT)


def test_the_student_of_a_beit_is_a_beit() -> None:
    source = build_student(teacher(), "absolute")
    assert build_student(source).backbone.state_dict().keys() == build_student(teacher()).backbone.state_dict().keys()


@pytest.mark.parametrize("kind", [SwinTransformer, SwinTransformerV2])
def test_a_swins_student_is_timms_swin_v2(kind: Any) -> None:
    source = swin(kind)
    student = build_student(source)
    arguments = {
        "img_size": 32,
        "patch_size": 2,
        "window_size": 4,
        "embed_dim": 12,
        "depths": (1, 2),
        "num_heads": (2, 4),
    }
    oracle = timm.create_model("swinv2_base_window16_256", num_classes=0, **arguments)
    shaken(student)
    oracle.load_state_dict(student.backbone.state_dict())
    images = torch.rand(2, 3, 32, 32)
    for model in (student, oracle):
        model.eval()
    torch.testing.assert_close(student(images).features, oracle(student.normalised(images)))
    assert student.probe(images, "tokens").shape == source.probe(images, "tokens").shape == (2, 64, 24)
    assert prefix_tokens(student) == 0


def test_a_swins_windows_are_kept_where_they_are_smaller_than_the_grid() -> None:
    student: Any = build_student(swin(window_size=8)).backbone
    windows = [tuple(block.window_size) for stage in student.layers for block in stage.blocks]
    assert windows == [(8, 8), (8, 8), (8, 8)]


@pytest.mark.parametrize(
    "network",
    [
        VisionTransformer(num_classes=0, class_token=False, reg_tokens=2, global_pool="avg", **SIZE),
        VisionTransformer(num_classes=0, class_token=False, global_pool="map", **SIZE),
        Eva(num_classes=0, class_token=False, use_rot_pos_emb=True, **{**SIZE, "num_heads": 6}),
    ],
    ids=["registers", "map", "rotary"],
)
def test_without_a_class_token_patches_alone_are_distilled(network: nn.Module) -> None:
    source = wrapped(network).eval()
    student = build_student(source).eval()
    images = torch.rand(2, 1, 12, 12)
    assert student.probe(images, "tokens").shape == source.probe(images, "tokens").shape == (2, 9, 24)
    assert prefix_tokens(source) == prefix_tokens(student) == 0
    with pytest.raises(InputError, match="has no class token to distil"):
        require_class_token(source)


def test_with_rotary_positions_registers_alone_are_left_out() -> None:
    turned: dict[str, Any] = {"use_rot_pos_emb": True, "num_reg_tokens": 4, "swiglu_mlp": True}
    source = wrapped(Eva(num_classes=0, **{**SIZE, "num_heads": 6}, **turned)).eval()
    student = build_student(source).eval()
    images = torch.rand(2, 1, 12, 12)
    assert (prefix_tokens(source), prefix_tokens(student)) == (5, 1)
    assert source.probe(images, "tokens").shape[1] - 4 == student.probe(images, "tokens").shape[1] == 10
    assert (len(student.backbone.blocks), student.dim) == (3, 24)  # type: ignore[arg-type]


def test_teachers_without_a_student_are_told() -> None:
    network = build_model(Registry().backbone("timm:resnet18@none"), 5)
    with pytest.raises(
        InputError, match="no student is known for ResNet; a teacher is one of timm's VisionTransformer"
    ):
        build_student(network)
    with pytest.raises(InputError, match="a Swin's student has SwinV2's position bias"):
        build_student(swin(), "absolute")
    with pytest.raises(InputError, match="no position of a student is called 'shard'; did you mean 'shared'"):
        build_student(teacher(), "shard")


def test_what_a_teacher_lacks_is_told() -> None:
    with pytest.raises(InputError, match="need the classifier of its pre-training"):
        source_head_of(teacher())
    with pytest.raises(InputError, match="SwinTransformer has no class token"):
        require_class_token(swin())
    model = teacher()
    require_class_token(model)
    model.source_head = nn.Linear(24, 7)
    assert source_head_of(model) is model.source_head


# ---- how they are drawn


DRAWN = r"cls_token|pos_embed|patch_embed\.proj\.weight|blocks\.\d\.(attn\.qkv|mlp\.fc1)\.weight"
SCALED = r"blocks\.(\d)\.(attn\.proj|mlp\.fc2)\.weight"


def test_weights_are_cut_normal_draws_with_branches_scaled_by_depth() -> None:
    """A normal distribution of sd 0.02 cut at one sd has an sd of 0.54 × 0.02."""
    drawn = 0
    for name, weight in build_student(teacher(embed_dim=96), "absolute").backbone.state_dict().items():
        scaled = re.fullmatch(SCALED, name)
        if not scaled and not re.fullmatch(DRAWN, name):
            continue
        scale = 1 / math.sqrt(2 * (int(scaled[1]) + 1)) if scaled else 1.0
        assert 0.015 * scale < weight.abs().max() <= 0.02 * scale * (1 + 1e-6)
        if weight.numel() > 5000:
            drawn += 1
            assert float(weight.std()) == pytest.approx(0.5396 * 0.02 * scale, rel=0.03)
    assert drawn == 4 * 3


def test_everything_else_starts_at_zero_or_one_and_layer_scale_at_a_tenth() -> None:
    for position in POSITIONS:
        for name, weight in build_student(teacher(), position).backbone.named_parameters():
            if re.fullmatch(f"{DRAWN}|{SCALED}", name):
                continue
            norm = re.search(r"norm\d?\.weight", name)
            start = 0.1 if re.search(r"gamma_[12]", name) else 1.0 if norm else 0.0
            assert torch.equal(weight, torch.full_like(weight, start)), name


def test_a_vits_patch_embedding_is_drawn_as_released() -> None:
    """0.0108, where PyTorch's own draw of 16 × 16 × 3 inputs would be uniform of sd 1 / √(3 · 768) = 0.0208."""
    torch.manual_seed(0)
    patches: Any = build_student(teacher(img_size=32, patch_size=16, in_chans=3, embed_dim=192)).backbone.patch_embed
    assert patches.proj.weight.numel() == 192 * 3 * 16 * 16
    assert float(patches.proj.weight.detach().std()) == pytest.approx(0.0108, abs=1e-4)
    assert float(patches.proj.weight.detach().abs().max()) <= 0.02 * (1 + 1e-6)
    assert not patches.proj.bias.any()


def test_a_swins_student_is_drawn_as_released() -> None:
    """Not cut at one sd; the last layers of branches scaled by depth, the norms behind them at 1e-5, no biases."""
    torch.manual_seed(0)
    student: Any = build_student(swin(SwinTransformer, embed_dim=96)).backbone.requires_grad_(False)
    patches = student.patch_embed.proj
    assert float(patches.weight.std()) == pytest.approx(0.02, rel=0.05)
    assert 0.04 < float(patches.weight.abs().max()) < 0.12
    blocks = [block for stage in student.layers for block in stage.blocks]
    for number, block in enumerate(blocks, start=1):
        for layer in (block.attn.proj, block.mlp.fc2):
            assert float(layer.weight.std()) == pytest.approx(0.02 / math.sqrt(2 * number), rel=0.05)
        for norm in (block.norm1, block.norm2):
            assert torch.equal(norm.weight, torch.full_like(norm.weight, 1e-5))
        for bias in (block.attn.proj.bias, block.mlp.fc2.bias, block.norm1.bias, block.norm2.bias):
            assert not bias.any()
    assert not patches.bias.any()


def test_position_biases_start_at_zero_and_keys_have_no_bias() -> None:
    shared = dict(build_student(teacher(), "shared").backbone.named_parameters())
    assert shared["rel_pos_bias.relative_position_bias_table"].shape == (5 * 5 + 3, 3)
    assert not shared["rel_pos_bias.relative_position_bias_table"].any()
    assert "blocks.0.attn.q_bias" in shared
    assert "blocks.0.attn.k_bias" not in shared
    assert "pos_embed" not in shared
    tables = [n for n, _ in build_student(teacher(), "non_shared").backbone.named_parameters() if "table" in n]
    assert len(tables) == 3


def test_the_generator_alone_decides() -> None:
    made = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        made.append(build_student(teacher()).state_dict())
    assert all(torch.equal(made[0][name], made[1][name]) for name in made[0])
    assert not torch.equal(made[0]["backbone.cls_token"], made[2]["backbone.cls_token"])


# ---- stochastic depth


def test_stochastic_depth_grows_as_timm_lets_it() -> None:
    for student, oracle in (
        (build_student(teacher(), drop_path=0.3).backbone, Beit(num_classes=0, drop_path_rate=0.3, **SIZE)),
        (build_student(swin(), drop_path=0.3).backbone, swin(SwinTransformerV2, drop_path_rate=0.3).backbone),
    ):
        rates = [[m.drop_prob for m in one.modules() if isinstance(m, DropPath)] for one in (student, oracle)]
        assert rates[0] == pytest.approx(rates[1])
        assert max(rates[0]) == pytest.approx(0.3)


def test_stochastic_depth_can_be_changed_and_taken_away() -> None:
    model = teacher(drop_path_rate=0.2)
    branches = set_drop_path(model.backbone, 0.4)
    assert [branch.drop_prob for branch in branches] == pytest.approx([0.2, 0.2, 0.4, 0.4])
    assert [m for m in model.modules() if isinstance(m, DropPath)] == branches
    assert set_drop_path(model.backbone, 0.0) == []
    assert not any(isinstance(module, DropPath) for module in model.modules())
    single = teacher(depth=1)
    assert set_drop_path(single.backbone, 0.4) == []


def test_a_branch_is_dropped_or_scaled_image_by_image() -> None:
    x = torch.randn(4000, 2, 3, dtype=torch.float64)
    given: list[int] = []

    def branch(kept: Tensor) -> Tensor:
        given.append(len(kept))
        return 2 * kept + 1

    found = with_branch(x, branch, DropPath(0.3).train())
    dropped = (found == x).all((1, 2))
    torch.testing.assert_close(found[~dropped], (x + (2 * x + 1) / 0.7)[~dropped], rtol=1e-12, atol=1e-12)
    assert given == [int((~dropped).sum())]
    assert int(dropped.sum()) / 4000 == pytest.approx(0.3, abs=4 * math.sqrt(0.21 / 4000))


def test_its_gradient_is_that_of_timms_drop_path_with_the_same_draw() -> None:
    x = torch.randn(8, 2, 3, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(3, 3, dtype=torch.float64, requires_grad=True)
    out = with_branch(x, lambda kept: (kept @ weight).tanh(), DropPath(0.5).train())
    kept = (out != x).any(2).any(1).double()[:, None, None]
    assert 0 < kept.sum() < 8
    by_mask = x + kept / 0.5 * (x @ weight).tanh()
    for one, other in zip(
        torch.autograd.grad(out.square().sum(), [x, weight]),
        torch.autograd.grad(by_mask.square().sum(), [x, weight]),
        strict=True,
    ):
        torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("drop_path", [nn.Identity(), DropPath(0.0).train(), DropPath(0.9).eval()], ids=str)
def test_a_branch_that_is_never_dropped_is_added(drop_path: nn.Module) -> None:
    x = torch.randn(5, 2)
    state = torch.get_rng_state()
    assert torch.equal(with_branch(x, torch.exp, drop_path), x + torch.exp(x))
    assert torch.equal(torch.get_rng_state(), state)


def test_where_every_image_drops_it_the_branch_is_not_run() -> None:
    x = torch.randn(3, 2)

    def branch(kept: Tensor) -> Tensor:
        raise AssertionError("the branch was run")

    assert torch.equal(with_branch(x, branch, DropPath(1.0).train()), x)


def test_where_every_image_of_a_process_drops_it_its_weights_have_a_gradient_as_in_the_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(students, "ranks", lambda: 2)
    x, weight = torch.randn(3, 2), torch.randn(2, 2, requires_grad=True)
    out = with_branch(x, lambda kept: kept @ weight, DropPath(1.0).train())
    assert torch.equal(out, x)
    (gradient,) = torch.autograd.grad(out.square().sum(), weight)
    assert torch.equal(gradient, torch.zeros(2, 2))


def test_a_student_in_training_drops_and_in_evaluation_does_not() -> None:
    student, images = build_student(teacher(), drop_path=0.6), torch.rand(16, 1, 12, 12)
    shaken(student)
    student.eval()
    assert torch.equal(student(images).features, student(images).features)
    student.train()
    assert not torch.equal(student(images).features, student(images).features)


def test_half_precision_keeps_the_type_of_the_stream() -> None:
    student, images = build_student(teacher(), drop_path=0.5).train(), torch.rand(6, 1, 12, 12)
    with torch.autocast("cpu", torch.bfloat16):
        features = student(images).features
    features.float().sum().backward()
    assert features.isfinite().all()


# ---- the shared bias, unshared


def test_unsharing_copies_the_bias_to_every_block_and_changes_no_output() -> None:
    student, images = build_student(teacher(), drop_path=0.3), torch.rand(2, 1, 12, 12)
    shaken(student)
    student.eval()
    backbone: Any = student.backbone
    table = backbone.rel_pos_bias.relative_position_bias_table.detach().clone()
    before, state = student(images).features.detach(), torch.get_rng_state()
    kept = {name: weight for name, weight in backbone.state_dict().items() if "rel_pos_bias" not in name}
    unshare_position_bias(backbone)
    assert torch.equal(torch.get_rng_state(), state)
    torch.testing.assert_close(student(images).features, before)
    own = [block.attn.relative_position_bias_table for block in backbone.blocks]
    assert len({id(one) for one in own}) == 3
    assert all(torch.equal(one, table) for one in own)
    assert all(torch.equal(weight, backbone.state_dict()[name]) for name, weight in kept.items())
    assert not any(name.startswith("rel_pos_bias") for name, _ in backbone.named_parameters())
    expected = build_student(teacher(), "non_shared").backbone.state_dict()
    assert backbone.state_dict().keys() == expected.keys()


def test_the_gradient_of_the_shared_bias_is_the_sum_of_those_of_its_copies() -> None:
    student, images = build_student(teacher()).double(), torch.rand(2, 1, 12, 12).double()
    shaken(student)
    backbone: Any = student.backbone
    (whole,) = torch.autograd.grad(
        student(images).features.square().sum(), [backbone.rel_pos_bias.relative_position_bias_table]
    )
    unshare_position_bias(backbone)
    parts = torch.autograd.grad(
        student(images).features.square().sum(),
        [block.attn.relative_position_bias_table for block in backbone.blocks],
    )
    torch.testing.assert_close(torch.stack(parts).sum(0), whole, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("position", ["non_shared", "absolute", "none"])
def test_what_shares_nothing_is_left_as_it_is(position: str) -> None:
    for model in (build_student(teacher(), position), build_student(swin())):
        before = dict(model.named_parameters())
        unshare_position_bias(model.backbone)
        assert dict(model.named_parameters()).keys() == before.keys()
        assert all(weight is before[name] for name, weight in model.named_parameters())

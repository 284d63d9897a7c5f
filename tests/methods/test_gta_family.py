"""GTA's switches, and what it is compared and combined with: guides of other outputs (Table 3), TransMix (Table 5)."""

from __future__ import annotations

import copy
import dataclasses
import math
from typing import Any

import pytest
import torch
from bench.methods.gta import GTA, attention_distance
from bench.methods.output_guide import OutputGuide, output_distance
from bench.methods.transmix import MixedBatch, TransMix, attention_share, cut_box
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from bench.backbones import Model, build_model
from bench.data import ArrayImages, Split, TrainingImages
from bench.method import Batch, Method, Terms
from bench.plan.overrides import Overrides
from bench.plan.target import read_plan
from bench.protocol import Protocol, Recipe
from bench.registry import Registry
from bench.training.fit import fit, set_modes
from bench.training.trial import run_trial
from tests.scenes import as_plain

CLASSES = 10


@pytest.fixture
def model() -> Model:
    torch.manual_seed(0)
    return build_model(Registry().backbone("micro_vit@none"), CLASSES)


@pytest.fixture
def data() -> TrainingImages:
    return images_of_noise()


def images_of_noise() -> TrainingImages:
    generator = torch.Generator().manual_seed(1)
    pixels = torch.randint(256, (16, 12, 12, 1), generator=generator, dtype=torch.uint8).numpy()
    labels = torch.randint(CLASSES, (16,), generator=generator).numpy()
    protocol = Protocol(recipe=Recipe(steps=4, lr=1e-3), batch_size=8, augmentation="none")
    indices = torch.arange(16).numpy()
    return TrainingImages(Split(ArrayImages(pixels), labels), indices, CLASSES, protocol, 12, 0, torch.device("cpu"))


# ---- GTA's reduction


def distance_by_hand(student: Tensor, source: Tensor, over: tuple[int, ...]) -> Tensor:
    """Element by element: the sum over all, divided by the sizes of the dimensions that are averaged."""
    total = student.new_zeros(())
    for at in torch.cartesian_prod(*(torch.arange(size) for size in student.shape)).tolist():
        total = total + (student[tuple(at)] - source[tuple(at)]) ** 2
    return total / math.prod(student.shape[dimension] for dimension in over)


REDUCTIONS = {"mean": (0, 1, 2, 3), "patches": (0, 1, 2), "image": (1,)}


@pytest.mark.parametrize("images", [1, 3])
@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_attention_distance_sums_and_averages_as_it_says(reduction: str, images: int) -> None:
    student = torch.randn(2, images, 3, 4, dtype=torch.float64, requires_grad=True)
    source = torch.randn(2, images, 3, 4, dtype=torch.float64)
    found = attention_distance(student, source, reduction)
    expected = distance_by_hand(student, source, REDUCTIONS[reduction])
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=0)
    one, other = (torch.autograd.grad(value, student)[0] for value in (found, expected))
    torch.testing.assert_close(one, other, rtol=1e-6, atol=0)
    assert torch.autograd.gradcheck(lambda s: attention_distance(s, source, reduction), student)
    assert attention_distance(source, source, reduction).item() == 0


@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_attention_distance_of_half_precision_is_computed_in_float32(reduction: str) -> None:
    student, source = (torch.randn(4, 8, 3, 196).bfloat16() for _ in range(2))
    with torch.autocast("cpu", torch.bfloat16):
        found = attention_distance(student, source, reduction)
    assert found.dtype == torch.float32
    assert found.item() == pytest.approx(
        attention_distance(student.double(), source.double(), reduction).item(), rel=1e-5
    )


def test_attention_distance_refuses_an_unknown_reduction() -> None:
    with pytest.raises(ValueError, match="mean, patches or image, not 'sum'"):
        attention_distance(torch.zeros(1, 1, 1, 1), torch.zeros(1, 1, 1, 1), "sum")


@pytest.mark.parametrize(("reduction", "times"), [("mean", 1), ("patches", 36), ("image", 4 * 3 * 36)])
def test_the_term_has_the_reduction_that_was_asked_for(
    model: Model, data: TrainingImages, reduction: str, times: int
) -> None:
    batch, terms = data.batch(0), []
    for chosen in ("mean", reduction):
        student = copy.deepcopy(model)
        (stage,) = GTA(weight=0.5, reduction=chosen).stages(student, data.protocol.recipe.resolved(16, 8), data)
        terms.append(stage.loss(moved(student), batch)["gta"].item())
    assert terms[0] > 0
    assert terms[1] == pytest.approx(times * terms[0], rel=1e-5)


@torch.no_grad()
def moved(model: Model) -> Model:
    """Every weight of the backbone a little elsewhere, the same way at each call."""
    generator = torch.Generator().manual_seed(5)
    for parameter in model.backbone.parameters():
        parameter.add_(torch.randn(parameter.shape, generator=generator), alpha=0.02)
    return model


# ---- GTA's source in bf16


def test_a_source_in_bf16_changes_the_term_by_no_more_than_its_rounding(model: Model, data: TrainingImages) -> None:
    """With distance d and source logits b in root mean square, rounding them by r b shifts d² by 2 r d b + r² b²."""
    batch, terms = data.batch(0), {}
    start = copy.deepcopy(model).eval()
    for precision in ("as_run", "bf16"):
        student = copy.deepcopy(model)
        method = GTA(source_precision=precision)
        (stage,) = method.stages(student, data.protocol.recipe.resolved(16, 8), data)
        terms[precision] = stage.loss(moved(student).eval(), batch)
    with torch.no_grad():
        logits = start.probe(batch.images, "cls_attention").square().mean().sqrt().item()
    exact, rounded = terms["as_run"]["gta"].item(), terms["bf16"]["gta"].item()
    rounding = 0.01 * logits
    assert rounded != exact
    assert abs(rounded - exact) <= 2 * rounding * math.sqrt(exact) + rounding**2
    assert torch.equal(terms["as_run"]["ce"], terms["bf16"]["ce"])


@pytest.mark.parametrize(("precision", "dtype"), [("as_run", torch.float32), ("bf16", torch.bfloat16)])
def test_the_source_runs_in_its_precision(
    model: Model, data: TrainingImages, precision: str, dtype: torch.dtype
) -> None:
    """And under the protocol's autocast it is bf16 either way."""
    method, images = GTA(source_precision=precision), data.batch(0).images
    with torch.no_grad():
        assert method.target(model, images).dtype == dtype
        with torch.autocast("cpu", torch.bfloat16):
            assert method.target(model, images).dtype == torch.bfloat16


class Kernels(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts fused attention forward and results that are maps of all tokens by all tokens."""

    def __init__(self, tokens: int) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.tokens, self.fused, self.maps = tokens, 0, 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        self.fused += str(func).startswith("aten._scaled_dot_product") and "backward" not in str(func)
        shapes = [leaf.shape for leaf in tree_leaves(result) if isinstance(leaf, Tensor)]
        self.maps += sum(tuple(shape[-2:]) == (self.tokens, self.tokens) for shape in shapes)
        return result


@pytest.mark.parametrize("precision", ["as_run", "bf16"])
def test_student_and_source_keep_fused_attention(model: Model, data: TrainingImages, precision: str) -> None:
    """Four blocks of the student; three of the source, which ends at the fourth's logits.

    On a CPU a source in bf16 has timm's explicit attention, whose maps have no gradient to wait for.
    """
    (stage,) = GTA(source_precision=precision).stages(model, data.protocol.recipe.resolved(16, 8), data)
    set_modes(stage)
    with Kernels(tokens=37) as seen:
        torch.stack(list(stage.loss(model, data.batch(0)).values())).sum().backward()  # type: ignore[no-untyped-call]
    assert (seen.fused, seen.maps > 0) == ((7, False) if precision == "as_run" else (4, True))


@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_weight_0_is_plain_fine_tuning_bit_for_bit_whatever_the_switches(model: Model, reduction: str) -> None:
    ends = [trained(method, model) for method in (Method(), GTA(0, reduction, "bf16"))]
    assert all(torch.equal(one, other) for one, other in zip(*ends, strict=True))


@pytest.mark.slow
def test_a_source_in_bf16_gives_the_same_bits_every_time_and_other_ones_than_float32(model: Model) -> None:
    once, again, other = (trained(GTA(1.0, "mean", precision), model) for precision in ("bf16", "bf16", "as_run"))
    assert all(torch.equal(first, second) for first, second in zip(once, again, strict=True))
    assert not all(torch.equal(first, second) for first, second in zip(once, other, strict=True))


def trained(method: Method, start: Model) -> list[Tensor]:
    """The weights after four steps from a copy of the model."""
    torch.manual_seed(7)
    data = images_of_noise()
    model = copy.deepcopy(start)
    (stage,) = method.stages(model, data.protocol.recipe.resolved(16, 8), data)
    fit(stage, data, start=0, stops=lambda _: False, at_stop=lambda _: None)
    return [parameter.detach() for parameter in model.parameters()]


# ---- guides of MSA and block outputs


@pytest.mark.parametrize(("tokens", "first", "last"), [("all", 0, 4), ("cls", 0, 1), ("patches", 1, 4)])
def test_output_distance_is_the_mean_of_squares(tokens: str, first: int, last: int) -> None:
    student = torch.randn(2, 3, 4, 5, dtype=torch.float64, requires_grad=True)
    source = torch.randn(2, 3, 4, 5, dtype=torch.float64)
    total, count = 0.0, 0
    for block in range(2):
        for image in range(3):
            for token in range(first, last):
                for channel in range(5):
                    at = (block, image, token, channel)
                    total += float(student.detach()[at] - source[at]) ** 2
                    count += 1
    assert float(output_distance(student.detach(), source, tokens)) == pytest.approx(total / count, rel=1e-12)
    assert torch.autograd.gradcheck(lambda s: output_distance(s, source, tokens), student)


def test_output_distance_refuses_what_does_not_fit() -> None:
    with pytest.raises(ValueError, match="must have one shape"):
        output_distance(torch.zeros(1, 2, 3, 4), torch.zeros(1, 2, 3, 5))
    with pytest.raises(ValueError, match="all, cls, patches"):
        output_distance(torch.zeros(1, 2, 3, 4), torch.zeros(1, 2, 3, 4), "first")


def test_the_probes_are_what_the_blocks_give(model: Model) -> None:
    """Block by block by hand: the MSA output before the residual is added, the block's after its FFN's."""
    images = torch.rand(2, 1, 12, 12)
    backbone = model.eval().backbone
    tokens = backbone._pos_embed(backbone.patch_embed(model.normalised(images)))  # type: ignore[operator]
    msa, out = [], []
    for block in backbone.blocks:  # type: ignore[union-attr]
        msa.append(block.attn(block.norm1(tokens)))
        tokens = tokens + msa[-1]
        tokens = tokens + block.mlp(block.norm2(tokens))
        out.append(tokens)
    torch.testing.assert_close(model.probe(images, "msa_output"), torch.stack(msa))
    torch.testing.assert_close(model.probe(images, "block_output"), torch.stack(out))


@pytest.mark.parametrize("guide", ["msa", "block"])
def test_a_guide_starts_at_nothing_and_pulls_back(model: Model, data: TrainingImages, guide: str) -> None:
    (stage,) = OutputGuide(guide=guide).stages(model, data.protocol.recipe.resolved(16, 8), data)
    batch = data.batch(0)
    assert float(stage.loss(model, batch)["guide"].detach()) == 0
    with torch.no_grad():
        for parameter in model.backbone.parameters():
            parameter.add_(0.01)
    term = stage.loss(model, batch)["guide"]
    term.backward()
    assert float(term.detach()) > 0
    assert model.head.weight.grad is None
    assert all(p.grad is not None for name, p in model.backbone.named_parameters() if "blocks.0.attn" in name)


# ---- TransMix


def test_attention_share_by_hand() -> None:
    attention = torch.rand(3, 2, 16)
    mask = torch.zeros(8, 8)
    mask[0:4, 2:6] = 1
    share = attention_share(attention, mask)
    for image in range(3):
        inside = total = 0.0
        for patch in range(16):
            row, column = divmod(patch, 4)
            mean = sum(float(attention[image, head, patch]) for head in range(2)) / 2
            total += mean
            inside += mean * float(mask[row * 2, column * 2])  # the nearest pixel is the patch's first
        assert float(share[image]) == pytest.approx(inside / total, rel=1e-6)


@pytest.mark.parametrize(("value", "expected"), [(0.0, 0.0), (1.0, 1.0)])
def test_attention_share_of_nothing_and_of_all(value: float, expected: float) -> None:
    assert attention_share(torch.rand(2, 3, 9), torch.full((6, 6), value)).tolist() == pytest.approx([expected] * 2)


def test_attention_share_needs_a_square_grid_and_has_no_gradient() -> None:
    with pytest.raises(ValueError, match="square"):
        attention_share(torch.rand(2, 3, 8), torch.ones(4, 4))
    assert not attention_share(torch.rand(2, 3, 9, requires_grad=True), torch.ones(3, 3)).requires_grad


def test_cut_box_has_the_area_it_should_where_it_is_not_clipped() -> None:
    torch.manual_seed(0)
    sides = set()
    for _ in range(300):
        rows, columns = cut_box(32, 0.75)
        assert 0 <= rows.start <= rows.stop <= 32
        assert 0 <= columns.start <= columns.stop <= 32
        sides.add((rows.stop - rows.start, columns.stop - columns.start))
    assert (16, 16) in sides  # a quarter of the area
    assert max(max(pair) for pair in sides) == 16
    assert (lambda box: box[0].stop - box[0].start)(cut_box(32, 1.0)) == 0


def test_the_attention_map_is_a_part_of_the_softmax_over_all_keys(model: Model) -> None:
    images = torch.rand(2, 1, 12, 12)
    model.eval()
    last = model.backbone.blocks[-1]  # type: ignore[index]
    seen: list[Tensor] = []
    hook = last.norm1.register_forward_hook(lambda module, inputs, output: seen.append(output))  # type: ignore[union-attr]
    found = model(images, probe="cls_attention_map")["cls_attention_map"]
    hook.remove()
    attention = last.attn  # type: ignore[union-attr]
    for head in range(3):
        rows = slice(head * 16, head * 16 + 16)
        query = seen[0][:, 0] @ attention.qkv.weight[:48][rows].T + attention.qkv.bias[:48][rows]
        keys = seen[0] @ attention.qkv.weight[48:96][rows].T + attention.qkv.bias[48:96][rows]
        logits = (keys @ query[:, :, None]).squeeze(-1) / math.sqrt(16)
        torch.testing.assert_close(found[:, head], logits.softmax(-1)[:, 1:])


def recorded(batches: list[Batch]) -> Method:
    class Recorder(Method):
        def loss(self, model: Model, batch: Batch) -> Terms:
            batches.append(batch)
            return {"ce": batch.cross_entropy(model(batch.images))}

    return Recorder()


@pytest.mark.parametrize("labels", ["mean", "attention"])
def test_cutmix_labels_follow_the_attention_of_the_same_pass(model: Model, data: TrainingImages, labels: str) -> None:
    batches: list[Batch] = []
    policy = TransMix(inner=recorded(batches), switch=1.0, labels=labels)
    (stage,) = policy.stages(model.eval(), data.protocol.recipe.resolved(16, 8), data)
    plain = data.batch(0)
    torch.manual_seed(3)
    term = stage.loss(model, plain)["ce"]
    (mixed,) = batches
    assert isinstance(mixed, MixedBatch)
    inside = mixed.mask.bool()
    assert 0 < int(inside.sum()) < inside.numel()
    assert torch.equal(mixed.images[..., inside], plain.images.flip(0)[..., inside])
    assert torch.equal(mixed.images[..., ~inside], plain.images[..., ~inside])
    with torch.no_grad():
        output = model(mixed.images, probe="cls_attention_map")
    share = attention_share(output["cls_attention_map"], mixed.mask)
    if labels == "mean":
        share = (share + float(mixed.mask.mean())) / 2
    logs, expected = output.logits.log_softmax(-1), 0.0
    for image in range(8):
        own, other = int(plain.labels[image]), int(plain.labels[7 - image])
        expected -= float((1 - share[image]) * logs[image, own] + share[image] * logs[image, other])
    assert float(term.detach()) == pytest.approx(expected / 8, rel=1e-5)
    assert model.watched == ()


def test_mixup_batches_have_the_ordinary_soft_label(model: Model, data: TrainingImages) -> None:
    batches: list[Batch] = []
    (stage,) = TransMix(inner=recorded(batches), switch=0.0).stages(model, data.protocol.recipe.resolved(16, 8), data)
    plain = data.batch(0)
    stage.loss(model, plain)
    (mixed,) = batches
    assert not isinstance(mixed, MixedBatch)
    ratio = float(mixed.targets[0, plain.labels[0]] if plain.labels[0] != plain.labels[7] else torch.tensor(1.0))
    torch.testing.assert_close(mixed.images, ratio * plain.images + (1 - ratio) * plain.images.flip(0))
    torch.testing.assert_close(mixed.targets, ratio * plain.targets + (1 - ratio) * plain.targets.flip(0))
    torch.testing.assert_close(mixed.targets.sum(1), torch.ones(8))


def test_it_composes_with_gta_and_keeps_its_stages(model: Model, data: TrainingImages) -> None:
    registry = Registry()
    gta = registry.load_method(registry.method("gta"))(weight=1.0)
    recipe = data.protocol.recipe.resolved(16, 8)
    (stage,) = TransMix(inner=gta, switch=1.0).stages(model, recipe, data)
    assert set(stage.loss(model, data.batch(0))) == {"ce", "gta"}
    before = [parameter.detach().clone() for parameter in model.parameters()]
    fit(dataclasses.replace(stage), data, start=0, stops=lambda step: False, at_stop=lambda progress: None)
    assert not any(torch.equal(old, new) for old, new in zip(before, model.parameters(), strict=True))


@pytest.mark.slow
@pytest.mark.parametrize("method", ["gta+transmix", "output_guide", "output_guide(guide=block)", "ce+transmix"])
def test_it_trains_on_digits(method: str) -> None:
    registry = Registry()
    overrides = Overrides(methods=method, rates="100", seeds="1", settings=("steps=60", "warmup=6", "evaluations=1"))
    plan = read_plan("digits", registry, overrides)
    record = as_plain(run_trial(next(iter(plan.unique.values())), registry, torch.device("cpu")).record)
    assert record["curve"][-1]["test"]["top1"] > 60

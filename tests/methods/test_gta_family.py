"""What GTA is compared and combined with: guides of other outputs (Table 3) and TransMix (Table 5)."""

from __future__ import annotations

import dataclasses
import math

import pytest
import torch
from bench.methods.output_guide import OutputGuide, output_distance
from bench.methods.transmix import MixedBatch, TransMix, attention_share, cut_box
from torch import Tensor

from bench.backbones import Model, build_model
from bench.data import ArrayImages, Split, TrainingImages
from bench.experiment import Overrides, read_experiment
from bench.fit import fit
from bench.grid import expand
from bench.method import Batch, Method, Terms
from bench.protocol import Protocol, Recipe
from bench.registry import Registry
from bench.trial import run_trial

CLASSES = 10


@pytest.fixture
def model() -> Model:
    torch.manual_seed(0)
    return build_model(Registry().backbone("micro_vit@none"), CLASSES)


@pytest.fixture
def data() -> TrainingImages:
    generator = torch.Generator().manual_seed(1)
    pixels = torch.randint(256, (16, 12, 12, 1), generator=generator, dtype=torch.uint8).numpy()
    labels = torch.randint(CLASSES, (16,), generator=generator).numpy()
    protocol = Protocol(recipe=Recipe(steps=4, lr=1e-3), batch_size=8, augmentation="none")
    indices = torch.arange(16).numpy()
    return TrainingImages(Split(ArrayImages(pixels), labels), indices, CLASSES, protocol, 12, 0, torch.device("cpu"))


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


@pytest.mark.parametrize("variant", ["paper", "released"])
def test_cutmix_labels_follow_the_attention_of_the_same_pass(model: Model, data: TrainingImages, variant: str) -> None:
    batches: list[Batch] = []
    policy = TransMix(inner=recorded(batches), switch=1.0, variant=variant)
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
    if variant == "released":
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
    plan = expand(read_experiment("digits", registry, overrides))
    record = run_trial(plan.runs[0].spec, registry, torch.device("cpu")).record
    assert record["curve"][-1]["test"]["top1"] > 60

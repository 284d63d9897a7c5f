"""What every method file promises, and the formulas of the built-in ones against the same written out by hand."""

from __future__ import annotations

import copy
import dataclasses
import importlib
import math
import re
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from timm.models import VisionTransformer
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from bench import conformance
from bench.backbones import Model, build_model
from bench.backbones.model import Family
from bench.backbones.vit import ViT
from bench.conformance import CHECKS, Examined, find_examined
from bench.data import ArrayImages, Split, TrainingImages
from bench.errors import InputError
from bench.method import Method, frozen
from bench.protocol import Protocol, Recipe
from bench.registry import Registry
from bench.training.fit import fit, set_modes

REGISTRY = Registry()
METHODS = sorted(REGISTRY.method_files)
CLASSES, SIDE = 10, 12

MOVES = {
    "attention_only": r"backbone\.(pos_embed|blocks\.\d+\.attn\.(qkv|proj)\.(weight|bias))|head\.(weight|bias)",
    "ffn_only": r"backbone\.(pos_embed|blocks\.\d+\.mlp\.fc[12]\.(weight|bias))|head\.(weight|bias)",
    "bss": r".*",
    "ce": r".*",
    "gta": r".*",
    "l2sp": r".*",
}
"""The weights that training must move; all others must stay as they are."""

gta: Any = importlib.import_module("bench.methods.gta")
bss: Any = importlib.import_module("bench.methods.bss")
l2sp: Any = importlib.import_module("bench.methods.l2sp")


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)


@pytest.fixture(scope="module")
def data() -> TrainingImages:
    """Forty images of noise."""
    state = np.random.RandomState(0)
    images = ArrayImages(state.randint(0, 256, (50, SIDE, SIDE, 1)).astype(np.uint8))
    split = Split(images, state.randint(0, CLASSES, 50))
    protocol = Protocol(batch_size=16, augmentation="shift", label_smoothing=0.1)
    return TrainingImages(split, np.arange(40), CLASSES, protocol, SIDE, seed=5, device=torch.device("cpu"))


def micro_vit(drop_path: float = 0.0) -> Model:
    return build_model(REGISTRY.backbone("micro_vit@none"), CLASSES, drop_path=drop_path)


def wrapped(**changes: Any) -> Model:
    """A ViT of 9 patches, width 24 and depth 2 in float64, every weight random, biases and norms included."""
    arguments: dict[str, Any] = {"img_size": 12, "patch_size": 4, "in_chans": 1, "embed_dim": 24, "depth": 2}
    backbone = VisionTransformer(num_heads=3, num_classes=0, **{**arguments, **changes})
    model = Model(backbone, ViT(), 24, CLASSES, [0.5], [0.25]).double()
    return shaken(model)


def shaken(model: Model) -> Model:
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(torch.randn_like(weight), alpha=0.2)
    return model


def a_recipe(data: TrainingImages, steps: int = 6, **changes: Any) -> Recipe:
    return Recipe(steps=steps, warmup=1, lr=1e-3, **changes).resolved(len(data), data.protocol.batch_size)


def train(method: Method, model: Model, recipe: Recipe, data: TrainingImages) -> Model:
    """What a run does with a method, without the curve."""
    done, optimizer = 0, None
    for stage in method.stages(model, recipe, data):
        optimizer = fit(stage, data, start=done, stops=lambda _: False, at_stop=lambda _: None, previous=optimizer)
        done, model = done + stage.recipe.last - stage.recipe.first, stage.model
    assert done <= recipe.steps
    return model


def built(name: str, **given: object) -> Method:
    card = REGISTRY.method(name)
    method = REGISTRY.load_method(card)(**dict(card.resolve(given)))
    assert isinstance(method, Method)
    return method


# ---- every method file

SHORTER: dict[str, dict[str, object]] = {"delta": {"batches": 1}}
"""Hyper-parameters with which a method does the same in less time, where it is trained several times."""

WITH_DEFAULTS = {
    "its card, read from the text, is what Python makes of the file",
    "after training the model gives finite logits",
}
"""Promises that are checked of every method as it is."""


class Shortened(Examined):
    """A method file under examination, of which a method is built that takes less time."""

    def built(self) -> Method:
        return built(self.card.name, **SHORTER[self.card.name])


_trained: dict[tuple[str, type], Any] = {}
"""What the last training of a method that nothing disturbed has ended with."""


@pytest.fixture
def trained_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first undisturbed training that a promise asks for is the one that another promise has asked for already."""
    usual, asked = conformance._trained, list[object]()

    def trained(subject: Examined, keeper: Any = None) -> Any:
        asked.append(keeper)
        if keeper is not None or len(asked) > 1:
            return usual(subject, keeper)
        key = (subject.card.name, type(subject))
        if key not in _trained:
            _trained.clear()
            _trained[key] = usual(subject)
        return _trained[key]

    monkeypatch.setattr(conformance, "_trained", trained)


QUICK = ("ce", "coin", "drloc", "feature_distillation", "gta", "lacvit")
"""Of which each promise is among the quick tests; of the others it is among the slow ones."""

EACH = [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in METHODS]


def test_methods_whose_promises_are_quick_exist() -> None:
    assert {*QUICK} <= {*METHODS}


@pytest.mark.usefixtures("trained_once")
@pytest.mark.parametrize("promise", CHECKS)
@pytest.mark.parametrize("name", EACH)
def test_method_keeps_what_every_method_promises(name: str, promise: str) -> None:
    torch.set_num_threads(1)
    subject = find_examined(REGISTRY.method(name), REGISTRY)
    if name in SHORTER and promise not in WITH_DEFAULTS:
        subject = Shortened(subject.card, subject.backbone, subject.registry)
    CHECKS[promise](subject)


@pytest.mark.parametrize("name", METHODS)
def test_card_says_where_everything_comes_from(name: str) -> None:
    card = REGISTRY.method(name)
    assert card.summary.strip()
    assert all(hyper.source.strip() for hyper in card.hypers.values())


@pytest.mark.parametrize("name", METHODS)
def test_resolve_refuses_what_is_not_declared_and_tells_all_at_once(name: str) -> None:
    card = REGISTRY.method(name)
    wrong: dict[str, object] = {"no_such_thing": 1, **{key: [] for key in card.hypers}}
    with pytest.raises(InputError) as caught:
        card.resolve(wrong, "here:1")
    assert len(caught.value.problems) == len(wrong)
    assert all(problem.startswith(f"here:1: {name}") for problem in caught.value.problems)


@pytest.mark.parametrize("name", MOVES)
def test_built_in_method_moves_exactly_these_weights(name: str, data: TrainingImages) -> None:
    model = micro_vit()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    after = train(built(name), model, a_recipe(data), data).state_dict()
    moved = {key for key in before if not torch.equal(before[key], after[key])}
    assert moved == {key for key in before if re.fullmatch(MOVES[name], key)}


# ---- formulas


def test_attention_distance_is_the_mean_over_all_dimensions() -> None:
    student, source = torch.randn(2, 3, 2, 5, dtype=torch.float64), torch.randn(2, 3, 2, 5, dtype=torch.float64)
    total, count = 0.0, 0
    for block in range(2):
        for image in range(3):
            for head in range(2):
                for patch in range(5):
                    at = block, image, head, patch
                    total += (student[at].item() - source[at].item()) ** 2
                    count += 1
    assert gta.attention_distance(student, source).item() == pytest.approx(total / count, rel=1e-12)
    assert gta.attention_distance(source, source).item() == 0


@pytest.mark.parametrize("shape", [(2, 3, 2, 4), (1, 3, 2, 5), (2, 3, 5)])
def test_attention_distance_refuses_other_shapes(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="one shape"):
        gta.attention_distance(torch.zeros(2, 3, 2, 5), torch.zeros(shape))


VARIANTS: dict[str, dict[str, Any]] = {
    "plain": {},
    "query and key norms": {"qk_norm": True},
    "registers": {"reg_tokens": 2},
    "no qkv bias": {"qkv_bias": False},
}


@pytest.mark.parametrize("variant", VARIANTS)
def test_cls_attention_is_the_logits_of_the_real_weights(variant: str) -> None:
    check_cls_attention(wrapped(**VARIANTS[variant]).eval(), prefix=3 if variant == "registers" else 1)


def test_cls_attention_of_the_micro_vit() -> None:
    check_cls_attention(shaken(micro_vit().double()).eval(), prefix=1, images=1)


def check_cls_attention(model: Model, prefix: int, images: int = 2) -> None:
    """The probe against attention by hand, which in its turn must reproduce what the blocks put out."""
    seen: list[tuple[Tensor, Tensor]] = []
    backbone: Any = model.backbone
    hooks = [
        block.attn.register_forward_hook(lambda _, given, output: seen.append((given[0], output)))
        for block in backbone.blocks
    ]
    with torch.no_grad():
        probed = model(torch.rand(images, 1, SIDE, SIDE), probe="cls_attention")["cls_attention"]
    for hook in hooks:
        hook.remove()
    heads, tokens = backbone.blocks[0].attn.num_heads, seen[0][0].shape[1]
    assert probed.shape == (len(backbone.blocks), images, heads, tokens - prefix)
    for number, (block, (given, output)) in enumerate(zip(backbone.blocks, seen, strict=True)):
        for image in range(images):
            logits, made = attention_by_hand(block.attn, given[image].tolist())
            np.testing.assert_allclose(output[image].numpy(), made, rtol=1e-8, atol=1e-10)
            row = [[logits[head][0][key] for key in range(prefix, tokens)] for head in range(heads)]
            np.testing.assert_allclose(probed[number, image].numpy(), row, rtol=1e-8, atol=1e-10)


def attention_by_hand(attention: Any, tokens: list[list[float]]) -> tuple[list[list[list[float]]], list[list[float]]]:
    """Scaled logits (H, T, T) before the softmax and the output (T, D) of an attention layer, number by number."""
    heads, size = attention.num_heads, attention.head_dim
    projected = [linear_by_hand(attention.qkv, token) for token in tokens]
    all_logits, mixed = [], [[0.0] * (heads * size) for _ in tokens]
    for head in range(heads):
        queries, keys, values = (
            [row[(part * heads + head) * size : (part * heads + head + 1) * size] for row in projected]
            for part in range(3)
        )
        queries = [norm_by_hand(attention.q_norm, query) for query in queries]
        keys = [norm_by_hand(attention.k_norm, key) for key in keys]
        logits = [[sum(map(float.__mul__, query, key)) / math.sqrt(size) for key in keys] for query in queries]
        for at, row in enumerate(logits):
            largest = max(row)
            exponentials = [math.exp(logit - largest) for logit in row]
            for share, value in zip(exponentials, values, strict=True):
                for channel in range(size):
                    mixed[at][head * size + channel] += share / sum(exponentials) * value[channel]
        all_logits.append(logits)
    return all_logits, [linear_by_hand(attention.proj, token) for token in mixed]


def linear_by_hand(layer: Any, given: list[float]) -> list[float]:
    bias = layer.bias.tolist() if layer.bias is not None else [0.0] * layer.out_features
    return [b + sum(map(float.__mul__, row, given)) for row, b in zip(layer.weight.tolist(), bias, strict=True)]


def norm_by_hand(layer: Any, given: list[float]) -> list[float]:
    if isinstance(layer, nn.Identity):
        return given
    mean = sum(given) / len(given)
    variance = sum((value - mean) ** 2 for value in given) / len(given)
    scaled = [(value - mean) / math.sqrt(variance + layer.eps) for value in given]
    return [w * s + b for w, s, b in zip(layer.weight.tolist(), scaled, layer.bias.tolist(), strict=True)]


def test_squared_distance_and_norm_are_half_the_sum_over_all_elements() -> None:
    shapes: list[tuple[int, ...]] = [(3, 4), (5,), (2, 2, 3), ()]
    weights = [torch.randn(shape, dtype=torch.float64) for shape in shapes]
    start = [torch.randn(shape, dtype=torch.float64) for shape in shapes]
    assert l2sp.squared_distance(weights, start).item() == pytest.approx(half_squares(weights, start), rel=1e-12)
    assert l2sp.squared_norm(weights).item() == pytest.approx(half_squares(weights), rel=1e-12)
    assert l2sp.squared_distance(weights, weights).item() == 0


def half_squares(weights: Sequence[Tensor], start: Sequence[Tensor] | None = None) -> float:
    total = 0.0
    for number, weight in enumerate(weights):
        values = weight.detach().double().flatten().tolist()
        origins = start[number].detach().double().flatten().tolist() if start else [0.0] * len(values)
        for value, origin in zip(values, origins, strict=True):
            total += (value - origin) ** 2 / 2
    return total


def test_gradient_of_the_distance_is_the_way_from_the_start() -> None:
    weight, start = torch.randn(3, 4, dtype=torch.float64, requires_grad=True), torch.randn(3, 4, dtype=torch.float64)
    (gradient,) = torch.autograd.grad(l2sp.squared_distance([weight], [start]), [weight])
    torch.testing.assert_close(gradient, weight.detach() - start, rtol=1e-12, atol=0)


def test_squared_distance_refuses_lists_of_different_lengths() -> None:
    with pytest.raises(ValueError, match="zip"):
        l2sp.squared_distance([torch.zeros(2)], [torch.zeros(2), torch.zeros(2)])


@pytest.mark.parametrize("k", [1, 3])
@pytest.mark.parametrize("shape", [(7, 4), (4, 7)], ids=["B > D", "B < D"])
def test_spectral_shrinkage_is_the_sum_of_the_smallest_squared_singular_values(shape: tuple[int, int], k: int) -> None:
    features = torch.randn(shape, dtype=torch.float64, requires_grad=True)
    total = 0.0
    for value in sorted(np.linalg.svd(features.detach().numpy(), compute_uv=False).tolist())[:k]:
        total += value**2
    assert bss.spectral_shrinkage(features, k).item() == pytest.approx(total, rel=1e-10)
    assert torch.autograd.gradcheck(lambda given: bss.spectral_shrinkage(given, k), (features,), rtol=1e-6)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_spectral_shrinkage_is_computed_in_float32_under_autocast(dtype: torch.dtype) -> None:
    features = torch.randn(12, 6).to(dtype)
    with torch.autocast("cpu", torch.bfloat16):
        found = bss.spectral_shrinkage(features, 2)
    exact = np.linalg.svd(features.double().numpy(), compute_uv=False)
    assert found.dtype == torch.float32
    assert found.item() == pytest.approx(float((exact[-2:] ** 2).sum()), rel=1e-5)


@pytest.mark.parametrize("shape", [(7, 4), (4, 7)])
def test_spectral_shrinkage_refuses_more_values_than_there_are(shape: tuple[int, int]) -> None:
    assert bss.spectral_shrinkage(torch.randn(shape), 4).item() > 0
    with pytest.raises(ValueError, match="k = 5 exceeds"):
        bss.spectral_shrinkage(torch.randn(shape), 5)


# ---- the formulas inside the methods


def test_gta_measures_the_distance_to_the_weights_before_training(data: TrainingImages) -> None:
    model = wrapped()
    start, recipe = copy.deepcopy(model).eval(), a_recipe(data)
    (stage,) = built("gta", weight=0.25).stages(model, recipe, data)
    batch = data.batch(0)
    assert stage.loss(model, batch)["gta"].item() == 0
    fit(stage, data, start=0, stops=lambda _: False, at_stop=lambda _: None)
    with torch.no_grad():
        now = model(batch.images, probe="cls_attention")["cls_attention"].flatten().tolist()
        then = start(batch.images, probe="cls_attention")["cls_attention"].flatten().tolist()
    total = 0.0
    for one, other in zip(now, then, strict=True):
        total += (one - other) ** 2
    assert total > 1e-4
    assert stage.loss(model, batch)["gta"].item() == pytest.approx(0.25 * total / len(now), rel=1e-9)


def test_l2sp_penalises_the_backbone_by_its_way_and_the_head_by_its_size(data: TrainingImages) -> None:
    model = wrapped()
    start = [weight.detach().clone() for weight in model.backbone.parameters()]
    (stage,) = built("l2sp", alpha=0.3, beta=0.7).stages(model, a_recipe(data), data)
    fit(stage, data, start=0, stops=lambda _: False, at_stop=lambda _: None)
    terms = stage.loss(model, data.batch(0))
    way, size = half_squares(list(model.backbone.parameters()), start), half_squares(list(model.head.parameters()))
    assert way > 1e-4
    assert terms["l2sp"].item() == pytest.approx(0.3 * way, rel=1e-9)
    assert terms["l2"].item() == pytest.approx(0.7 * size, rel=1e-9)


@pytest.mark.parametrize(("replaces", "decay"), [(True, 0.0), (False, 0.05)])
def test_l2sp_stands_in_the_place_of_weight_decay(data: TrainingImages, replaces: bool, decay: float) -> None:
    recipe = a_recipe(data, weight_decay=0.05)
    (stage,) = built("l2sp", replaces_decay=replaces).stages(micro_vit(), recipe, data)
    assert stage.recipe == dataclasses.replace(recipe, weight_decay=decay)


def test_bss_shrinks_the_features_that_the_head_is_given(data: TrainingImages) -> None:
    model, batch = wrapped(), data.batch(0)
    (stage,) = built("bss", eta=0.5, k=2).stages(model, a_recipe(data), data)
    features = model(batch.images).features
    by_hand = np.linalg.svd(features.detach().numpy(), compute_uv=False)[-2:]
    assert stage.loss(model, batch)["bss"].item() == pytest.approx(0.5 * float((by_hand**2).sum()), rel=1e-9)
    torch.testing.assert_close(model.head(features), model(batch.images).logits, rtol=0, atol=0)


@pytest.mark.parametrize("name", MOVES)
def test_first_term_is_cross_entropy_in_nats(name: str, data: TrainingImages) -> None:
    model, batch = micro_vit(), data.batch(0)
    (stage,) = built(name).stages(model, a_recipe(data), data)
    total = 0.0
    for logits, targets in zip(model(batch.images).logits.tolist(), batch.targets.tolist(), strict=True):
        normaliser = math.log(sum(math.exp(logit) for logit in logits))
        for logit, target in zip(logits, targets, strict=True):
            total -= target * (logit - normaliser)
    assert stage.loss(model, batch)["ce"].item() == pytest.approx(total / len(batch.labels), rel=1e-5)


OFF: dict[str, dict[str, object]] = {
    "gta": {"weight": 0},
    "bss": {"eta": 0},
    "l2sp": {"alpha": 0, "beta": 0, "replaces_decay": False},
}


@pytest.mark.slow
@pytest.mark.parametrize("drop_path", [0.0, 0.2])
@pytest.mark.parametrize("name", OFF)
def test_a_method_switched_off_is_plain_fine_tuning_bit_for_bit(
    name: str, drop_path: float, data: TrainingImages
) -> None:
    trained = {}
    for method in (built("ce"), built(name, **OFF[name])):
        torch.manual_seed(7)
        model = train(method, micro_vit(drop_path), a_recipe(data, steps=12), data)
        trained[type(method).__name__] = model.state_dict()
    plain, switched_off = trained.values()
    assert plain.keys() == switched_off.keys()
    assert all(torch.equal(plain[key], switched_off[key]) for key in plain)


@pytest.mark.slow
def test_a_method_switched_on_is_not_plain_fine_tuning(data: TrainingImages) -> None:
    """So that the test above can fail."""
    heads = []
    for method in (built("ce"), built("gta"), built("bss", eta=1), built("l2sp")):
        torch.manual_seed(7)
        heads.append(train(method, micro_vit(), a_recipe(data, steps=12), data).head.weight)
    assert not any(torch.equal(heads[0], other) for other in heads[1:])


# ---- probes


class Operations(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Notes what is computed below autograd: names of operations and shapes of their results."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.names: list[str] = []
        self.shapes: list[tuple[int, ...]] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        self.names.append(str(func))
        self.shapes += [tuple(leaf.shape) for leaf in tree_leaves(result) if isinstance(leaf, Tensor)]
        return result

    def attention_maps(self, tokens: int) -> list[tuple[int, ...]]:
        """The shapes that end in (N, N), with or without the tokens before the patches."""
        sides = {tokens, tokens - 1}
        return [shape for shape in self.shapes if len(shape) > 1 and set(shape[-2:]) <= sides]

    def fused(self) -> int:
        return sum(name.startswith("aten._scaled_dot_product") and "backward" not in name for name in self.names)


@pytest.mark.parametrize("fused", [True, False])
def test_gta_makes_no_attention_map(fused: bool, data: TrainingImages) -> None:
    """With fused attention there is none, forward and backward; with plain attention the same check finds some."""
    model = micro_vit()
    backbone: Any = model.backbone
    for block in backbone.blocks:
        block.attn.fused_attn = fused
    (stage,) = built("gta").stages(model, a_recipe(data), data)
    set_modes(stage)
    with Operations() as seen:
        torch.stack(list(stage.loss(model, data.batch(0)).values())).sum().backward()  # type: ignore[no-untyped-call]
    assert bool(seen.attention_maps(tokens=37)) is not fused
    assert seen.fused() == (2 * len(backbone.blocks) - 1 if fused else 0)


def test_student_runs_the_same_fused_attention_with_and_without_the_probe(data: TrainingImages) -> None:
    model, images = micro_vit().train(), data.batch(0).images
    with Operations() as without:
        plain = model(images)
    with Operations() as with_probe:
        probed = model(images, probe="cls_attention")
    assert without.fused() == with_probe.fused() == 4
    assert torch.equal(plain.logits, probed.logits)


def test_probe_alone_gives_the_same_rows_and_ends_early() -> None:
    source, images = frozen(micro_vit()), torch.rand(3, 1, SIDE, SIDE)
    backbone: Any = source.backbone
    ran: list[int] = []
    hooks = [
        block.mlp.register_forward_hook(lambda *_, number=number: ran.append(number))
        for number, block in enumerate(backbone.blocks)
    ]
    whole = source(images, probe="cls_attention")["cls_attention"]
    assert ran == [0, 1, 2, 3]
    ran.clear()
    rows = source.probe(images, "cls_attention")
    assert ran == [0, 1, 2]
    assert torch.equal(rows, whole)
    assert not rows.requires_grad
    for hook in hooks:
        hook.remove()


@pytest.mark.parametrize("name", ["cls_attention", "tokens"])
def test_probes_leave_nothing_behind(name: str) -> None:
    model, images = wrapped().eval(), torch.rand(2, 1, SIDE, SIDE)
    before = model(images).logits
    model(images, probe=name)
    model.probe(images, name)
    assert not any(module._forward_hooks for module in model.modules())
    assert torch.equal(model(images).logits, before)


def test_tokens_are_those_after_the_last_norm() -> None:
    model, images = wrapped().eval(), torch.rand(2, 1, SIDE, SIDE)
    backbone: Any = model.backbone
    tokens = model(images, probe="tokens")["tokens"]
    assert torch.equal(tokens, backbone.forward_features(model.normalised(images)))
    assert torch.equal(tokens, model.probe(images, "tokens"))


@pytest.mark.parametrize("family", [ViT(), Family()])
def test_what_a_family_does_not_have_is_a_key_error(family: Family) -> None:
    backbone = wrapped().backbone
    with pytest.raises(KeyError, match="no_such_thing"):
        family.probe("no_such_thing", backbone)
    with pytest.raises(KeyError, match="no_such_thing"):
        family.part("no_such_thing", backbone)

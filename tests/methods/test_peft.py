"""The kinds of peft against each formula written out in plain torch, merged, counted, and kept as plain networks."""

from __future__ import annotations

import importlib
import math
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from bench.backbones import Model
from bench.data import ArrayImages, Split, TrainingImages
from bench.errors import InputError
from bench.method import Batch, frozen
from bench.protocol import Protocol, Recipe
from bench.training.fit import fit
from bench.training.fit import trained as trained_of
from tests.methods.by_hand import DEPTH, DIM, RECIPE, ByHand, begun, blocks_of, small, some_images, trained_of_vit_base
from tests.methods.of_eva import require_trained_and_merged
from tests.training.test_checkpoint import stopped_every

peft: Any = importlib.import_module("bench.methods.peft")

KINDS = ("lora", "rslora", "dora", "pissa", "loha", "vera", "fourierft", "oft", "boft", "hra", "ia3", "adalora")
RANK, ALPHA, FACTORS = 4, 3.0, 2
TARGETS = {"qkv": ["attn.qkv"], "all": ["attn.qkv", "attn.proj", "mlp.fc1", "mlp.fc2"]}

Parts = Callable[[str], Tensor]
"""A tensor of an adapted layer by the first parts of its name."""


def method(kind: str, targets: str = "all", **changes: Any) -> Any:
    return peft.PEFT(kind=kind, targets=targets, **{"rank": RANK, "alpha": ALPHA, "factors": FACTORS, **changes})


def adapted(kind: str, targets: str = "all") -> tuple[Model, Any]:
    """In float64, but that PiSSA is decomposed in float32, as peft wants it."""
    model = small(torch.float32 if kind == "pissa" else torch.float64)
    _, stages = begun(method(kind, targets), model)
    return model.double(), stages


def lora(weight: Tensor, part: Parts) -> Tensor:
    added: Tensor = ALPHA / RANK * part("lora_B") @ part("lora_A")
    return weight + added


def rslora(weight: Tensor, part: Parts) -> Tensor:
    added: Tensor = ALPHA / math.sqrt(RANK) * part("lora_B") @ part("lora_A")
    return weight + added


def dora(weight: Tensor, part: Parts) -> Tensor:
    moved = lora(weight, part)
    return part("lora_magnitude_vector")[:, None] * moved / moved.square().sum(1, keepdim=True).sqrt()


def loha(weight: Tensor, part: Parts) -> Tensor:
    first, second = (part(f"hada_w{at}_a") @ part(f"hada_w{at}_b") for at in (1, 2))
    return weight + ALPHA / RANK * first * second


def vera(weight: Tensor, part: Parts) -> Tensor:
    out, inputs = weight.shape
    shared_a, shared_b = part("vera_A")[:, :inputs], part("vera_B")[:out]
    return weight + part("vera_lambda_b")[:, None] * shared_b @ (part("vera_lambda_d")[:, None] * shared_a)


def hra(weight: Tensor, part: Parts) -> Tensor:
    turned = weight
    for column in part("hra_u").T:
        unit = column / column.norm()
        turned = turned - 2 * torch.outer(turned @ unit, unit)
    return turned


def adalora(weight: Tensor, part: Parts) -> Tensor:
    """P Λ Q of one and a half times as many singular values as are to stay."""
    assert part("lora_E").shape == (6, 1)
    return weight + ALPHA / 6 * part("lora_B") @ torch.diag(part("lora_E").flatten()) @ part("lora_A")


def boft(weight: Tensor, part: Parts) -> Tensor:
    """(I − Q)(I + Q)⁻¹ of blocks of 4 inputs, then of 4 that are 2 and 2 neighbours out of 8; and a scale of outputs.

    A second factor has its blocks of inputs of which half are from each block of the first: 0, 1 of each eight with 4,
    5, and 2, 3 with 6, 7.
    """
    out, inputs = weight.shape
    apart = torch.arange(inputs).view(-1, 2, 2, 2).transpose(1, 2).flatten()
    turned = torch.eye(inputs, dtype=torch.float64)
    for order, blocks in zip((torch.arange(inputs), apart), part("boft_R"), strict=True):
        factor = torch.zeros(inputs, inputs, dtype=torch.float64)
        for number, block in enumerate(blocks):
            skew, identity = (block - block.T) / 2, torch.eye(RANK, dtype=torch.float64)
            places = order[number * RANK : (number + 1) * RANK]
            factor[places[:, None], places] = (identity - skew) @ torch.linalg.inv(identity + skew)
        turned = factor @ turned
    assert part("boft_s").shape == (out, 1)
    return part("boft_s") * (weight @ turned.T)


FORMULAS: dict[str, Callable[[Tensor, Parts], Tensor]] = {
    "lora": lora,
    "rslora": rslora,
    "dora": dora,
    "pissa": lora,
    "loha": loha,
    "vera": vera,
    "boft": boft,
    "hra": hra,
    "adalora": adalora,
}


class Adapted(ByHand):
    """Each adapted layer has the weight that a formula makes of it and of what was added."""

    def __init__(self, model: Model, kind: str) -> None:
        super().__init__(model)
        for name in [name for name in self.weights if name.endswith(".base_layer.weight")]:
            layer = name.removesuffix(".base_layer.weight")
            self.weights[f"{layer}.bias"] = self.weights[f"{layer}.base_layer.bias"]
            if kind == "ia3":
                (of_inputs, by) = (layer.endswith("fc2"), self.part(layer, "ia3_l").flatten())
                self.weights[f"{layer}.weight"] = self.weights[name] * (by if of_inputs else by[:, None])
                self.weights[f"{layer}.bias"] = self.weights[f"{layer}.bias"] * (1 if of_inputs else by)
            else:
                self.weights[f"{layer}.weight"] = FORMULAS[kind](self.weights[name], partial(self.part, layer))

    def part(self, layer: str, start: str) -> Tensor:
        (value,) = (value for name, value in self.weights.items() if name.startswith(f"{layer}.{start}."))
        return value


@pytest.mark.parametrize("targets", TARGETS)
@pytest.mark.parametrize("kind", [*FORMULAS, "ia3"])
def test_a_kind_is_its_papers_formula(kind: str, targets: str) -> None:
    plain = ByHand(small())
    model, _ = adapted(kind, targets)
    names = {name.partition(".base_layer")[0] for name in model.backbone.state_dict() if "base_layer" in name}
    assert names == {f"blocks.{number}.{layer}" for number in range(DEPTH) for layer in TARGETS[targets]}
    expected = Adapted(model, kind)(some_images())
    assert (expected - plain(some_images())).abs().max() > 1e-3
    atol = 1e-5 if kind == "adalora" else 1e-9  # peft adds 1e-5 to AdaLoRA's divisor
    torch.testing.assert_close(model(some_images()).features, expected, rtol=0, atol=atol)


def test_pissa_starts_from_the_first_singular_vectors() -> None:
    model = small(torch.float32)
    block, *_ = blocks_of(model)
    weight = block.attn.qkv.weight.detach().clone()
    next(method("pissa").stages(model, RECIPE, None))
    left, values, right = torch.linalg.svd(weight, full_matrices=False)
    first = left[:, :RANK] * values[:RANK] @ right[:RANK]
    layer = block.attn.qkv
    added = ALPHA / RANK * layer.lora_B["default"].weight @ layer.lora_A["default"].weight
    torch.testing.assert_close(added, first, rtol=0, atol=1e-5)
    torch.testing.assert_close(layer.base_layer.weight, weight - first, rtol=0, atol=1e-5)


def test_oft_turns_each_block_of_inputs_nearly_rigidly() -> None:
    """peft sums a series of five terms, of which a small Q gives nearly Cayley's matrix, (I + Q)(I − Q)⁻¹."""
    model = small()
    next(method("oft", "qkv").stages(model, RECIPE, None))
    block, *_ = blocks_of(model)
    layer = block.attn.qkv
    weight, entries = layer.base_layer.weight.detach().clone(), layer.oft_R["default"].weight
    assert entries.shape == (DIM // RANK, RANK * (RANK - 1) // 2)
    with torch.no_grad():
        entries.copy_(0.01 * torch.randn_like(entries))
    skew = torch.zeros(DIM // RANK, RANK, RANK, dtype=torch.float64)
    rows, columns = torch.triu_indices(RANK, RANK, 1)
    skew[:, rows, columns] = entries.detach()
    skew = skew - skew.transpose(1, 2)
    identity = torch.eye(RANK, dtype=torch.float64)
    turned = (identity + skew) @ torch.linalg.inv(identity - skew)
    blocks = weight.unflatten(1, (DIM // RANK, RANK))
    layer.merge()
    merged = layer.base_layer.weight
    expected = torch.einsum("obi,bji->obj", blocks, turned).flatten(1)
    torch.testing.assert_close(merged, expected, rtol=0, atol=1e-5)
    assert (merged - weight).abs().max() > 1e-2


def test_fourierft_adds_the_real_part_of_a_sparse_spectrum() -> None:
    model, _ = adapted("fourierft", "qkv")
    block, *_ = blocks_of(model)
    layer = block.attn.qkv
    rows, columns = layer.indices["default"]
    assert len({*zip(rows.tolist(), columns.tolist(), strict=True)}) == RANK
    weight, coefficients = layer.base_layer.weight.detach().clone(), layer.fourierft_spectrum["default"].detach()
    out, inputs = weight.shape
    expected = torch.zeros_like(weight)
    for row, column, value in zip(rows.tolist(), columns.tolist(), coefficients, strict=True):
        down, along = torch.arange(out).double() * row / out, torch.arange(inputs).double() * column / inputs
        expected += value * torch.cos(2 * math.pi * (down[:, None] + along)) / (out * inputs)
    layer.merge()
    torch.testing.assert_close(layer.base_layer.weight - weight, ALPHA * expected, rtol=0, atol=1e-8)


@pytest.mark.parametrize("kind", KINDS)
def test_merged_weights_give_the_same_logits(kind: str) -> None:
    plain = {name: value.shape for name, value in small().state_dict().items()}
    model, stages = adapted(kind)
    copied, kept, before = frozen(model), model.scored_state(), model(some_images()).logits
    assert list(stages) == []
    torch.testing.assert_close(model(some_images()).logits, before, rtol=0, atol=1e-6)
    assert {name: value.shape for name, value in model.state_dict().items()} == plain
    assert all(torch.equal(kept[name], value) for name, value in model.state_dict().items())
    assert torch.equal(copied(some_images()).logits, before)


def test_an_eva_is_adapted_trained_and_merged() -> None:
    require_trained_and_merged(method("lora"), 1e-6)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "fourierft"])
def test_training_begins_at_the_pre_trained_network(kind: str) -> None:
    """FourierFT begins elsewhere: its coefficients are drawn."""
    model = small(torch.float32)
    images = some_images(2, torch.float32)
    logits = model(images).logits
    next(method(kind, rank=4 if kind == "boft" else 8).stages(model, RECIPE, None))
    torch.testing.assert_close(model.eval()(images).logits, logits, rtol=0, atol=1e-4)


@pytest.mark.parametrize("kind", ["lora", "vera", "fourierft"])
def test_what_is_drawn_depends_on_the_runs_seed_alone(kind: str) -> None:
    states = []
    for seed in (3, 3, 4):
        model = small()
        torch.manual_seed(seed)
        next(method(kind).stages(model, RECIPE, None))
        layer = blocks_of(model)[0].attn.qkv
        drawn = {"lora": "lora_A", "vera": "vera_A", "fourierft": "indices"}[kind]
        value = getattr(layer, drawn)["default"]
        states.append(value.weight if kind == "lora" else value)
    assert torch.equal(states[0], states[1])
    assert not torch.equal(states[0], states[2])


@pytest.mark.parametrize(
    ("changes", "numbers"),
    [
        ({}, 12 * 8 * (768 + 2304)),
        ({"targets": "all", "rank": 4}, 12 * 4 * (768 + 2304 + 2 * 768 + 2 * (768 + 3072))),
        ({"kind": "dora"}, 12 * (8 * (768 + 2304) + 2304)),
        ({"kind": "ia3", "targets": "all"}, 12 * (2304 + 768 + 3072 + 3072)),
        ({"kind": "fourierft", "rank": 3000}, 12 * 3000),
        ({"kind": "hra"}, 12 * 8 * 768),
        ({"kind": "adalora"}, 12 * 12 * (768 + 2304 + 1)),
    ],
)
def test_it_trains_as_many_numbers_as_the_formulas_have(changes: dict[str, Any], numbers: int) -> None:
    """LoRA of rank 8 on qkv of a ViT-B/16: 0.29 M."""
    assert trained_of_vit_base(peft.PEFT(**changes)) == numbers


def test_a_block_that_does_not_divide_a_layer_is_refused() -> None:
    """peft itself would take another one, silently."""
    with pytest.raises(InputError, match="blocks of 32 do not divide the 24 inputs of a layer; change rank"):
        next(peft.PEFT(kind="oft").stages(small(), RECIPE, None))


def test_more_frequencies_than_a_layer_has_are_refused_in_one_line() -> None:
    with pytest.raises(InputError, match="peft: fourierft of rank 9000: "):
        next(peft.PEFT(kind="fourierft", rank=9000).stages(small(), RECIPE, None))


def test_without_the_library_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> Any:
        raise ImportError(name)

    monkeypatch.setattr(peft.importlib, "import_module", missing)
    with pytest.raises(InputError, match=r"pip install 'finetune-bench\[peft\]'"):
        next(peft.PEFT().stages(small(), RECIPE, None))


# ---- BOFT without a compiler


def test_what_is_compiled_for_boft_is_written_in_torch() -> None:
    """Its gradient is that of putting blocks on a diagonal, by finite differences."""
    blocks = torch.randn(2, 3, 4, 4, dtype=torch.float64, requires_grad=True)
    (whole,) = peft.BlockDiagonal.forward(blocks)
    assert whole.shape == (2, 12, 12)
    assert torch.equal(whole[1, 4:8, 4:8], blocks[1, 1])
    assert whole.count_nonzero() == blocks.numel()
    weights = torch.randn(2, 12, 12, dtype=torch.float64)
    (expected,) = torch.autograd.grad((whole * weights).sum(), blocks)
    (found,) = peft.BlockDiagonal.backward(weights, blocks)
    assert torch.equal(found, expected)


def test_boft_trains_every_factor_without_compiling(monkeypatch: pytest.MonkeyPatch) -> None:
    """peft would take one factor alone where it cannot compile."""

    def compiled(*arguments: Any, **options: Any) -> Any:
        raise AssertionError("it compiles")

    monkeypatch.setattr("torch.utils.cpp_extension.load", compiled)
    model = small(torch.float32)
    stage = next(method("boft").stages(model, RECIPE, None))
    layer = blocks_of(model)[0].attn.qkv
    numbers = sum(weight.numel() for name, weight in trained_of(stage) if not name.startswith("head."))
    assert numbers == DEPTH * (FACTORS * (24 + 24 + 24 + 96) * RANK + 72 + 24 + 96 + 24)
    assert layer.boft_R["default"].shape == (FACTORS, DIM // RANK, RANK, RANK)
    model(some_images(dtype=torch.float32)).logits.square().sum().backward()
    assert all(bool(factor.any()) for factor in layer.boft_R["default"].grad)


def test_factors_that_do_not_fit_a_layer_are_refused_in_one_line() -> None:
    with pytest.raises(InputError, match="peft: boft of rank 4: Invalid combination of in_features"):
        next(method("boft", factors=5).stages(small(), RECIPE, None))


# ---- AdaLoRA


def trained(kind: str, steps: int, keeper: Any = None) -> tuple[Model, list[list[Tensor]]]:
    """A training of some steps on noise; with the singular values of each layer after each of them."""
    model = small(torch.float32)
    state = np.random.RandomState(0)
    images = ArrayImages(state.randint(0, 256, (40, 12, 12, 3)).astype(np.uint8))
    split, protocol = Split(images, state.randint(0, 5, 40)), Protocol(batch_size=8, augmentation="none")
    data = TrainingImages(split, np.arange(40), 5, protocol, 12, seed=5, device=torch.device("cpu"))
    recipe = Recipe(steps=steps, lr=1e-2, weight_decay=0.0).resolved(40, 8)
    torch.manual_seed(2)
    seen: list[list[Tensor]] = []
    for number, stage in enumerate(method(kind).stages(model, recipe, data)):

        def note(_: object) -> None:
            layers: list[Any] = [module for module in model.modules() if hasattr(module, "lora_E")]
            values = [layer.lora_E["default"] for layer in layers]
            seen.append([value.detach().flatten().clone() for value in values])

        if keeper is None or not keeper.enter(number, stage):
            fit(stage, data, start=0, stops=lambda _: True, at_stop=note, keeper=keeper)
    return model, seen


def left(values: list[Tensor]) -> int:
    """How many singular values of all layers are not 0."""
    return sum(int(value.count_nonzero()) for value in values)


def test_adalora_takes_singular_values_away_until_the_rank_is_left_in_the_mean() -> None:
    """Of 20 steps: 2 with all, then fewer by the cube of what is left (eq. 12), and from step 10 on the final ones."""
    _, seen = trained("adalora", 20)
    layers = 4 * DEPTH
    counts = [left(values) for values in seen]
    first, last = 6 * layers, RANK * layers
    assert counts[:2] == [first, first]
    by_hand = [int((first - last) * (1 - (step - 2) / 8) ** 3 + last) for step in range(3, 11)]
    assert counts[2:10] == by_hand
    assert set(counts[10:]) == {last}
    kept = [[value != 0 for value in values] for values in seen[9:]]
    assert all(torch.equal(one, two) for values in kept for one, two in zip(values, kept[0], strict=True))
    assert len({int(value.count_nonzero()) for value in seen[-1]}) > 1, "layers keep as many as matter there"


def test_adalora_takes_away_what_is_of_least_importance() -> None:
    """Of a triplet: that of λ, and the mean of each of its vectors; of each number Ī Ū (eq. 8 to 11), after the update.

    Of 18 values of three layers 13 are left after step 1 and 12 after step 2, of the 3 in which they are taken away.
    """
    model = small(torch.float32)
    recipe = Recipe(steps=6, lr=1e-2).resolved(1, 1)
    stage = next(method("adalora", "qkv").stages(model, recipe, None))
    layers = [block.attn.qkv for block in blocks_of(model)]
    named = [(name, getattr(layer, f"lora_{name}")["default"]) for layer in layers for name in "AEB"]
    smooth, unsure = ([torch.zeros(part.shape, dtype=torch.float64) for _, part in named] for _ in range(2))
    scores: list[Tensor] = []

    def gradients() -> dict[str, Tensor]:
        for _, part in named:
            part.grad = torch.randn_like(part)
        return {}

    def update() -> None:
        of_parts = []
        for at, (name, part) in enumerate(named):
            part.data = torch.randn_like(part)
            sensitivity = (part.detach().double() * part.grad.double()).abs()
            smooth[at] = 0.85 * smooth[at] + 0.15 * sensitivity
            unsure[at] = 0.85 * unsure[at] + 0.15 * (sensitivity - smooth[at]).abs()
            of_parts.append((smooth[at] * unsure[at]).mean(0 if name == "B" else 1))
        scores[:] = [torch.stack(of_parts[at : at + 3]).sum(0) for at in (0, 3, 6)]

    for number_left in (13, 12):
        stage.step(gradients, update)
        of_all = torch.cat(scores)
        best = of_all.argsort(descending=True)[:number_left]
        kept = torch.cat([part.detach().flatten() for name, part in named if name == "E"]).nonzero().flatten()
        assert sorted(kept.tolist()) == sorted(best.tolist())


def test_adalora_keeps_its_vectors_orthonormal_by_a_term_of_the_loss() -> None:
    model = small()
    next(method("adalora", "qkv").stages(model, RECIPE, None))
    layers = [block.attn.qkv for block in blocks_of(model)]
    lengths = []
    for layer in layers:
        for rows in (layer.lora_A["default"].detach(), layer.lora_B["default"].detach().T):
            products = [[float((one * two).sum()) for two in rows] for one in rows]
            apart = [products[i][j] - (i == j) for i in range(6) for j in range(6)]
            lengths.append(math.hypot(*apart))
    assert float(peft.orthogonality(model.backbone).detach()) == pytest.approx(sum(lengths) / 6, rel=1e-5)
    batch = Batch(some_images(), torch.zeros(3, dtype=torch.long), torch.eye(5, dtype=torch.float64)[:3], 0.0)
    terms = method("adalora").loss(model, batch)
    assert float(terms["orthogonal"].detach()) == pytest.approx(0.5 * sum(lengths) / 6, rel=1e-5)
    assert set(method("lora").loss(model, batch)) == {"ce"}


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["adalora", "boft"])
def test_a_training_that_is_taken_up_ends_in_the_same_bits(kind: str, tmp_path: Path) -> None:
    """Of AdaLoRA: with what it knows of the importance of each value, and which are left."""
    whole, _ = trained(kind, 8)
    (taken_up, _), stops = stopped_every(3, partial(trained, kind, 8), tmp_path)
    assert stops == 2
    assert taken_up.state_dict().keys() == whole.state_dict().keys()
    assert all(torch.equal(value, whole.state_dict()[name]) for name, value in taken_up.state_dict().items())


def test_adalora_of_too_few_steps_is_refused() -> None:
    with pytest.raises(InputError, match="peft: adalora needs 3 steps or more"):
        next(method("adalora").stages(small(), Recipe(steps=2).resolved(1, 1), None))

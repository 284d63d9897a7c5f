"""The kinds of peft against each formula written out in plain torch, merged, counted, and kept as plain networks."""

from __future__ import annotations

import importlib
import math
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor

from bench.backbones import Model
from bench.errors import InputError
from bench.method import frozen
from tests.methods.by_hand import DEPTH, DIM, RECIPE, ByHand, begun, blocks_of, small, some_images, trained_of_vit_base

peft: Any = importlib.import_module("bench.methods.peft")

KINDS = ("lora", "rslora", "dora", "pissa", "loha", "vera", "fourierft", "oft", "hra", "ia3")
RANK, ALPHA = 4, 3.0
TARGETS = {"qkv": ["attn.qkv"], "all": ["attn.qkv", "attn.proj", "mlp.fc1", "mlp.fc2"]}

Parts = Callable[[str], Tensor]
"""A tensor of an adapted layer by the first parts of its name."""


def method(kind: str, targets: str = "all", **changes: Any) -> Any:
    return peft.PEFT(kind=kind, targets=targets, **{"rank": RANK, "alpha": ALPHA, **changes})


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


FORMULAS: dict[str, Callable[[Tensor, Parts], Tensor]] = {
    "lora": lora,
    "rslora": rslora,
    "dora": dora,
    "pissa": lora,
    "loha": loha,
    "vera": vera,
    "hra": hra,
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
    torch.testing.assert_close(model(some_images()).features, expected, rtol=0, atol=1e-9)


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
    stage = next(method("oft", "qkv").stages(model, RECIPE, None))
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
    assert stage.model is model


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


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "fourierft"])
def test_training_begins_at_the_pre_trained_network(kind: str) -> None:
    """FourierFT begins elsewhere: its coefficients are drawn."""
    model = small(torch.float32)
    images = some_images(2, torch.float32)
    logits = model(images).logits
    next(method(kind, rank=8).stages(model, RECIPE, None))
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

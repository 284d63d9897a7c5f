"""Linear probes: what their batch norm computes, what is kept of it, and that it sees the whole batch."""

from __future__ import annotations

import importlib
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from bench.backbones import Model
from bench.backbones.head import NormedLinear
from bench.backbones.model import Family
from bench.conformance import Examined, find_examined, taken_up_same_bits
from bench.errors import InputError
from bench.method import Method, Stage
from bench.models.kept import load_model, read_tensors
from bench.protocol import Recipe
from bench.records.kept import kept_models, read_facts
from bench.registry import Registry
from bench.training.fit import set_modes
from bench.training.trial import run_trial
from tests.models.trained import CPU, confidences, planned, recorded, train
from tests.scenes import curve_of

linear: Any = importlib.import_module("bench.methods.linear")

FEATURES = [[1.0, 0.0], [3.0, 0.0], [5.0, 4.0]]
WEIGHT, BIAS = [[0.2, -0.4], [1.0, 0.6]], [0.1, -0.3]


def head() -> NormedLinear:
    """Two features, two classes; half of the weights is what it starts with."""
    plain = nn.Linear(2, 2)
    with torch.no_grad():
        plain.weight.copy_(torch.tensor(WEIGHT))
        plain.bias.copy_(torch.tensor(BIAS))
    return NormedLinear(plain)


def logits(features: list[list[float]], mean: list[float], variance: list[float]) -> list[list[float]]:
    """Number by number, with half the weights above."""
    rows = []
    for row in features:
        normed = [(x - m) / math.sqrt(v + 1e-6) for x, m, v in zip(row, mean, variance, strict=True)]
        rows.append(
            [sum(w / 2 * x for w, x in zip(ws, normed, strict=True)) + b for ws, b in zip(WEIGHT, BIAS, strict=True)]
        )
    return rows


def close(found: Tensor, expected: list[list[float]]) -> None:
    np.testing.assert_allclose(found.detach().numpy(), expected, rtol=1e-5, atol=1e-6)


def test_in_training_features_are_normed_by_their_batch_and_at_evaluation_by_running_statistics() -> None:
    normed, batch = head(), torch.tensor(FEATURES)
    close(normed(batch), logits(FEATURES, [3.0, 4 / 3], [8 / 3, 32 / 9]))  # variances over 3 images
    # one step of momentum .1 from mean 0 and variance 1, of variances over 2
    mean, variance = [0.3, 0.4 / 3], [0.9 + 0.1 * 4.0, 0.9 + 0.1 * 16 / 3]
    normed.eval()
    close(normed(batch), logits(FEATURES, mean, variance))
    close(normed(batch[:1]), logits(FEATURES[:1], mean, variance))
    close(normed.folded()(batch), logits(FEATURES, mean, variance))


def test_of_one_image_it_says_that_there_is_no_variance() -> None:
    normed = head()
    with pytest.raises(InputError, match=r"one value of each channel .* take 2 images or more"):
        normed(torch.tensor(FEATURES[:1]))
    normed.eval()(torch.tensor(FEATURES[:1]))


def test_the_folded_layer_is_the_same_function_to_rounding() -> None:
    torch.manual_seed(0)
    normed = NormedLinear(nn.Linear(64, 10)).double()
    for _ in range(20):
        normed(3 * torch.randn(32, 64, dtype=torch.double) + 5)
    normed.eval()
    images = torch.randn(7, 64, dtype=torch.double)
    folded = normed.folded().double()
    assert type(folded) is nn.Linear
    torch.testing.assert_close(folded(images).float(), normed(images).float(), rtol=1e-5, atol=1e-5)


def test_it_draws_nothing_and_starts_at_half_the_heads_weights() -> None:
    torch.manual_seed(0)
    plain = nn.Linear(8, 3)
    state = torch.get_rng_state()
    normed = NormedLinear(plain)
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(normed.weight, plain.weight / 2)
    assert torch.equal(normed.bias, plain.bias)
    assert {name for name, _ in normed.named_parameters()} == {"weight", "bias"}
    assert normed(torch.randn(4, 8).bfloat16().float()).dtype == torch.float32


def small() -> Model:
    torch.manual_seed(0)
    return Model(nn.Sequential(nn.Flatten(), nn.Linear(4, 8)), Family(), 8, 3, [0.5], [0.25])


def staged(model: Model, **hyper: Any) -> Stage:
    (stage,) = linear.LinearProbe(**hyper).stages(model, Recipe(steps=2).resolved(4, 4), None)
    assert isinstance(stage, Stage)
    return stage


def test_a_probe_has_a_batch_norm_where_it_is_asked_for() -> None:
    plain, normed = small(), small()
    assert type(staged(plain).model.head) is nn.Linear
    stage = staged(normed, batch_norm=True)
    assert isinstance(stage.model.head, NormedLinear)
    set_modes(stage)
    assert stage.model.head.training
    assert not stage.model.backbone.training
    assert (plain.per_image, normed.per_image) == (True, False)
    assert plain.scored_state().keys() == normed.scored_state().keys() == plain.state_dict().keys()


PROBE = "linear(batch_norm=yes)"
LARS = ("optimizer=lars", "lr=0.3", "weight_decay=0", "momentum=0.9")


@pytest.mark.slow
@pytest.mark.parametrize("method", [PROBE, "feature_distillation(then=linear,batch_norm=yes,share=0.5)"])
def test_a_kept_model_gives_what_the_run_was_scored_with(method: str, tmp_path: Path) -> None:
    spec = planned(method, *LARS)
    _, folder = train(spec, tmp_path)
    scored = recorded(folder)
    for number, step in enumerate(kept_models(folder)):
        classes, confidence = confidences(folder, step, spec)
        assert np.array_equal(classes, scored["test"][number])
        levels = scored["test_confidence"][number].astype(float)  # a folded norm may round to the next step
        np.testing.assert_allclose(np.asarray(confidence, float), levels, rtol=0, atol=1)
    path = kept_models(folder)[step]
    assert {name for name in read_tensors(path) if name.startswith("head.")} == {"head.weight", "head.bias"}
    assert type(load_model(path, read_facts(path), Registry()).head) is nn.Linear


@pytest.mark.slow
def test_where_memory_is_short_the_batch_norm_sees_the_whole_batch() -> None:
    spec = planned(PROBE, *LARS)
    whole, parts = (curve_of(run_trial(spec, Registry(), CPU, parts=count).record) for count in (1, 3))
    for once, again in zip(whole, parts, strict=True):
        assert again["loss"] == pytest.approx(once["loss"], rel=1e-4)
        assert again["test"]["nll"] == pytest.approx(once["test"]["nll"], rel=1e-4)


class Normed(Examined):
    """The probe with its batch norm, whatever the defaults are."""

    def built(self) -> Method:
        method = linear.LinearProbe(batch_norm=True)
        assert isinstance(method, Method)
        return method


def test_a_probe_with_batch_norm_is_taken_up_with_the_same_bits() -> None:
    registry = Registry()
    subject = find_examined(registry.method("linear"), registry)
    taken_up_same_bits(Normed(subject.card, subject.backbone, registry))

"""LP-FT and LDIFS: a linear probe before everything is trained."""

from __future__ import annotations

import copy
import importlib
import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from bench.backbones import Model
from bench.training.fit import fit
from tests.methods.test_baselines import a_recipe, noise, same, small, state, trained_stages
from tests.methods.test_frozen_parts import model as everything
from tests.methods.test_frozen_parts import noise as noise_of_twelve

ldifs: Any = importlib.import_module("bench.methods.ldifs")
lp_ft: Any = importlib.import_module("bench.methods.lp_ft")
wise_ft: Any = importlib.import_module("bench.methods.wise_ft")


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)


def trained(method: Any, start: Model) -> list[dict[str, Tensor]]:
    """The weights after each stage."""
    torch.manual_seed(1)
    model = copy.deepcopy(start)
    ends = [state(stage.model) for stage, _, _ in trained_stages(method, model, a_recipe(), noise())]
    return [*ends[:-1], state(model)]


@pytest.mark.parametrize("share", [0.0, 0.25])
def test_lp_ft_is_wise_ft_that_ends_at_the_tuned_weights_bit_for_bit(share: float) -> None:
    start = small()
    ours, theirs = trained(lp_ft.LPFT(share=share), start), trained(wise_ft.WiSEFT(alpha=1.0, share=share), start)
    assert len(ours) == len(theirs) == 2
    assert all(map(same, ours, theirs))
    assert not same(ours[-1], trained(wise_ft.WiSEFT(alpha=0.5, share=share), start)[-1])


def test_lp_ft_probes_and_then_trains_everything() -> None:
    start = small()
    probed, tuned = trained(lp_ft.LPFT(share=0.25), start)
    first = state(start)
    assert {name for name in first if not torch.equal(first[name], probed[name])} == {"head.weight", "head.bias"}
    assert not any(torch.equal(probed[name], tuned[name]) for name in probed)


def test_in_val_mode_batch_norms_stay_as_the_probe_saw_them() -> None:
    probed, tuned = trained(lp_ft.LPFT(share=0.25, val_mode=True), small())
    still = {name for name in probed if torch.equal(probed[name], tuned[name])}
    assert still == {name for name in probed if "running" in name or "num_batches" in name} != set()


# ---- LDIFS


def by_hand(student: Tensor, source: Tensor) -> float:
    """Number by number: channels of unit length over tokens, then the mean of squared differences."""
    layers, images, tokens, channels = student.shape
    total = 0.0
    for layer in range(layers):
        for image in range(images):
            for channel in range(channels):
                now, before = (each[layer, image, :, channel].tolist() for each in (student, source))
                lengths = [math.sqrt(sum(value**2 for value in values)) for values in (now, before)]
                for one, other in zip(now, before, strict=True):
                    total += (one / lengths[0] - other / lengths[1]) ** 2
    return total / (layers * images * tokens * channels)


def test_feature_distance_by_hand() -> None:
    student, source = torch.randn(2, 2, 3, 5, 4, dtype=torch.float64).unbind()
    assert ldifs.feature_distance(student, source).item() == pytest.approx(by_hand(student, source), rel=1e-12)
    assert ldifs.feature_distance(3 * source, source).item() == pytest.approx(0, abs=1e-15)
    assert ldifs.feature_distance(-source, source).item() == pytest.approx(4 / 5, rel=1e-12)
    half = ldifs.feature_distance(student.bfloat16(), source.bfloat16())
    assert half.dtype == torch.float32


@pytest.mark.parametrize("shape", [(2, 3, 5), (2, 3, 5, 3), (1, 3, 5, 4)])
def test_feature_distance_refuses_other_shapes(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="one shape"):
        ldifs.feature_distance(torch.zeros(2, 3, 5, 4), torch.zeros(shape))


def test_ldifs_probes_and_then_stays_near_the_features_before_training() -> None:
    model, data = everything().double(), noise_of_twelve()
    for block in model.backbone.blocks:  # type: ignore[union-attr]
        block.drop_path1.drop_prob = block.drop_path2.drop_prob = 0.0
    source, batch = copy.deepcopy(model).eval(), data.batch(0)
    stages = ldifs.LDIFS(weight=3.0, share=0.5).stages(model, a_recipe(), data)
    probe = next(stages)
    assert list(probe.train) == [model.head]
    assert set(probe.loss(model, batch)) == {"ce"}
    fit(probe, data, start=0)
    tuning = next(stages)
    assert tuning.loss(model, batch)["ldifs"].item() == 0
    fit(tuning, data, start=6)
    with torch.no_grad():
        now, before = (each(batch.images, probe="block_output")["block_output"] for each in (model, source))
    distance = by_hand(now, before)
    assert distance > 1e-4
    terms = tuning.loss(model, batch)
    assert terms["ldifs"].item() == pytest.approx(3 * distance, rel=1e-9)
    assert np.isfinite(terms["ce"].item())
    assert next(stages, None) is None

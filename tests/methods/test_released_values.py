"""What the released functions gave for fixed numbers, once, as numbers: ours give the same, or what the equation says.

Each was run on the tensors below at the commit that the project's references name; none of their code is here.
"""

from __future__ import annotations

import importlib
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bench.losses import supervised_contrastive

core_tuning: Any = importlib.import_module("bench.methods.core_tuning")
lacvit: Any = importlib.import_module("bench.methods.lacvit")
lwf: Any = importlib.import_module("bench.methods.lwf")
simclr: Any = importlib.import_module("bench.methods.simclr")
stochnorm: Any = importlib.import_module("bench.methods.stochnorm")
transmix: Any = importlib.import_module("bench.methods.transmix")

LABELS = torch.tensor([0, 0, 1, 1, 1, 2, 3, 0])
"""Two of the eight have no partner."""


def waves(*shape: int) -> Tensor:
    """sin(0), sin(1), sin(2), ... in this shape, in float64."""
    return torch.arange(torch.Size(shape).numel(), dtype=torch.float64).reshape(shape).sin()


def rows() -> Tensor:
    return F.normalize(waves(8, 5), dim=1).requires_grad_()


def check(loss: Tensor, value: float, length: float, wrt: Tensor) -> None:
    """The value, and the length of the gradient."""
    (gradient,) = torch.autograd.grad(loss, [wrt])
    assert loss.item() == pytest.approx(value, rel=1e-6)
    assert gradient.norm().item() == pytest.approx(length, rel=1e-6)


def test_eq_1_of_coin_is_the_mean_over_all_rows_as_in_supcontrast() -> None:
    """SupContrast's loss (since December 2023) with its base temperature at tau; the equation by loops is the same."""
    z = rows()
    check(supervised_contrastive(z, LABELS, 0.3), 2.7391599121931716, 2.11601605266087, z)


def test_the_mean_over_rows_with_a_partner_is_larger_by_their_share() -> None:
    z = rows()
    found = supervised_contrastive(z, LABELS, 0.3, paired_only=True)
    check(found, 2.7391599121931716 * 8 / 6, 2.11601605266087 * 8 / 6, z)


def test_coins_code_is_four_times_less_already_on_eight_rows() -> None:
    z = rows()
    found = supervised_contrastive(z, LABELS, 0.3, self_positive=True, over_batch=True)
    check(found, 0.6786580194487405, 0.5118081718498781, z)
    alone = supervised_contrastive(z, LABELS, 0.3, self_positive=True, over_batch=True, paired_only=True)
    assert alone.item() == found.item()  # each row is its own partner there


@pytest.mark.parametrize(
    ("method", "value", "length"),
    [("lacvit", 7.7575568793013, 10.64323429802872), ("simclr", 6.7316090149633165, 11.686420543358917)],
)
def test_lacvits_code_with_and_without_labels(method: str, value: float, length: float) -> None:
    """Two views of four images, tau 0.1: its mean is over all rows, and each has a partner, its other view."""
    z = rows()
    built = {"lacvit": lacvit.LaCViT, "simclr": simclr.SimCLR}[method](variant="released")
    loss = built.contrast(z.reshape(2, 4, -1), torch.tensor([0, 0, 1, 2]))
    check(built.temperature / 0.07 * loss, value, length, z)


def test_core_tunings_focal_loss_and_how_much_larger_the_papers_is() -> None:
    z = rows()
    positives = core_tuning.alike(F.one_hot(LABELS, 10).double())
    check(core_tuning.focal_contrastive(z, positives, 0.07, over_rows=True), 3.3864614963531494, 3.413856267929077, z)
    check(core_tuning.focal_contrastive(z, positives, 0.07), 13.545846792034434, 13.655424788889869, z)


def test_transmix_gives_the_mean_of_attention_and_area() -> None:
    attention, mask = 1.5 + waves(2, 1, 16), torch.zeros(16, 16)
    mask[3:11, 5:16] = 1
    shares = transmix.attention_share(attention, mask)
    assert ((shares + mask.mean()) / 2).tolist() == pytest.approx([0.26505856775638026, 0.3282961695351634], rel=1e-6)
    assert transmix.TransMix().labels == "mean"


@pytest.mark.parametrize(
    ("temperature", "value", "length"),
    [(2.0, 1.121284223761153, 0.19026292092662234), (3.0, 0.5545062833094913, 0.09395413472054692)],
)
def test_tllibs_distillation_shrinks_with_the_temperature(temperature: float, value: float, length: float) -> None:
    """So that its weight of 4 at T = 3 is one of 2 at T = 2."""
    logits, source = (4 * waves(3, 4)).requires_grad_(), 4 * torch.arange(12, dtype=torch.float64).reshape(3, 4).cos()
    check(lwf.distillation(logits, source, temperature), value, length, logits)


def test_stochnorms_output_is_the_released_one_and_its_gradient_the_formulas() -> None:
    """All channels on the running branch, whose statistics are (0.5, 0.5), (1, 1) and (1.5, 2) before the step."""
    norm = nn.BatchNorm2d(3).double()
    assert norm.running_mean is not None
    assert norm.running_var is not None
    norm.running_mean.copy_(torch.tensor([0.5, 1.0, 1.5]))
    norm.running_var.copy_(torch.tensor([0.5, 1.0, 2.0]))
    maps = (2 * waves(4, 3, 2, 2) + 1).requires_grad_()
    weights = torch.arange(48, dtype=torch.float64).reshape(4, 3, 2, 2).cos()
    layer = stochnorm.StochNorm2d(norm, 0.0)
    out = layer(maps)
    assert (out * weights).sum().item() == pytest.approx(4.008711022618776, rel=1e-9)
    to_maps, to_scale = torch.autograd.grad(out, [maps, layer.weight], weights)
    released = 4.952342750876237, [0.9123488756994599, -0.18522615552421262, 2.4861911999331014]
    assert to_maps.norm().item() == pytest.approx(5.318648313780575, rel=1e-9)
    assert to_scale.tolist() == pytest.approx([1.7038657218396378, -0.15912620848938736, 2.4639715092685246], rel=1e-9)
    assert to_maps.norm().item() != pytest.approx(released[0], rel=0.05)
    assert to_scale.tolist() != pytest.approx(released[1], rel=0.005)

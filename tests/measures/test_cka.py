"""Linear CKA and drift: what they are of matrices, and of models that were trained or not."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from bench.measures.cka import Moments
from bench.measures.drift import relative

torch.manual_seed(0)
X = torch.randn(90, 6) @ torch.randn(6, 6) + 5
Y = torch.randn(90, 4) + X[:, :4]


def of(x: Tensor, y: Tensor, size: int = 32) -> float:
    """As a measure adds batches up."""
    moments = Moments()
    for begin in range(0, len(x), size):
        moments.add(x[begin : begin + size], y[begin : begin + size])
    return moments.cka()


def by_kernels(x: Tensor, y: Tensor) -> float:
    """By the N × N kernels, centred (Kornblith et al., section 3)."""
    centring = torch.eye(len(x)).double() - 1 / len(x)
    k, m = (centring @ a.double() @ a.double().T @ centring for a in (x, y))
    return float((k * m).sum() / (k.norm() * m.norm()))


def test_it_is_that_of_the_kernels_however_images_come() -> None:
    expected = by_kernels(X, Y)
    assert 0.1 < expected < 0.99
    for size in (7, 32, 90):
        assert of(X, Y, size) == pytest.approx(expected, abs=1e-9)
    assert of(Y, X) == pytest.approx(expected, abs=1e-9)


def test_a_rotated_copy_is_one() -> None:
    rotation, _ = torch.linalg.qr(torch.randn(6, 6).double())
    assert of(X, 3 * X.double() @ rotation + 7) == pytest.approx(1, abs=1e-9)
    assert of(X, X) == pytest.approx(1, abs=1e-9)


def test_what_says_nothing_of_it_is_near_zero() -> None:
    torch.manual_seed(1)
    assert of(torch.randn(4000, 3), torch.randn(4000, 3)) < 0.01


def test_features_far_from_zero_lose_nothing() -> None:
    assert of(X.double() + 1e6, Y.double() - 1e6) == pytest.approx(by_kernels(X, Y), abs=1e-6)


def test_constant_features_have_none() -> None:
    assert math.isnan(of(torch.ones(10, 3), torch.randn(10, 3)))


def test_memory_is_of_the_widths_alone() -> None:
    moments = Moments()
    sizes = []
    for _ in range(3):
        moments.add(X, Y)
        held = (value for value in vars(moments).values() if isinstance(value, Tensor))
        sizes.append(sum(value.numel() for value in held))
    assert sizes == [6 + 4 + 36 + 24 + 16] * 3
    assert moments.widths == (6, 4)


def test_drift_is_relative_to_the_lengths() -> None:
    moved, lengths = float((X - 1.5 * X).square().sum()), float(X.square().sum())
    assert relative(moved, lengths) == pytest.approx(0.5)
    assert relative(0.0, lengths) == 0
    assert math.isnan(relative(1.0, 0.0))

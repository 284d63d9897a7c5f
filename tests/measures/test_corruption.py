"""Corruptions: of every severity, drawn by image and seed, and counted as they are."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import Tensor

from bench.measure import CannotMeasure
from bench.measures.corruption import KINDS, SEVERITIES, Draws, corrupted, measure
from tests.measures.small import subject_of


def pictures(images: int = 4, side: int = 64, channels: int = 3) -> Tensor:
    """Smooth shapes with edges, so that blur and blocks have something to change."""
    generator = torch.Generator().manual_seed(0)
    coarse = torch.rand((images, channels, 6, 6), generator=generator)
    smooth = torch.nn.functional.interpolate(coarse, (side, side), mode="bicubic").clamp(0, 1)
    smooth[:, :, side // 4 : side // 2, side // 3 : side // 2] *= 0.2
    return (230 * smooth + 10).to(torch.uint8)


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_changes_images_more_with_severity_and_keeps_their_form(kind: str) -> None:
    clean = pictures()
    distances = []
    for severity in range(SEVERITIES + 1):
        changed = corrupted(clean, kind, severity)
        assert changed.shape == clean.shape
        assert changed.dtype == torch.uint8
        distances.append(float((changed.float() - clean.float()).abs().mean()))
    assert distances[0] == 0
    assert all(less < more for less, more in pairwise(distances)), distances


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("side", "channels"), [(12, 1), (33, 3)])
def test_small_and_grey_images_are_corrupted_too(kind: str, side: int, channels: int) -> None:
    clean = pictures(side=side, channels=channels)
    changed = corrupted(clean, kind, SEVERITIES)
    assert changed.shape == clean.shape
    assert torch.equal(changed, clean) == (kind == "saturation" and channels == 1)


@pytest.mark.parametrize("kind", KINDS)
def test_an_image_is_corrupted_alike_in_every_batch(kind: str) -> None:
    clean = pictures()
    together = corrupted(clean, kind, 3)
    alone = torch.cat([corrupted(image[None], kind, 3) for image in clean])
    assert (together.int() - alone.int()).abs().max() <= 1  # convolutions of a batch may round otherwise
    assert torch.equal(together, corrupted(clean, kind, 3))


def test_noise_is_drawn_by_image_and_seed() -> None:
    clean = torch.full((2, 3, 16, 16), 128, dtype=torch.uint8)
    clean[1, 0, 0, 0] = 127
    noise = corrupted(clean, "gaussian_noise", 2)
    assert not torch.equal(noise[0], noise[1])
    again, another = (corrupted(clean, "gaussian_noise", 2, [Draws(i, seed) for i in clean]) for seed in (0, 1))
    assert torch.equal(noise, again)
    assert not torch.equal(noise, another)


@pytest.mark.slow
def test_severity_0_is_the_clean_accuracy_and_the_numbers_are_means_of_the_array() -> None:
    subject = subject_of("micro_vit", "corruption", images=15, channels=1)
    measured = measure(subject)
    ((images, labels),) = subject.batches()
    clean = 100 * float((subject.model(images).logits.argmax(1) == labels).double().mean())
    top1 = measured.arrays["top1"]
    assert top1.shape == (len(KINDS), SEVERITIES + 1)
    assert measured.arrays["kinds"].tolist() == list(KINDS)
    assert measured.numbers["clean_top1"] == pytest.approx(clean)
    is_used = ~np.isnan(top1[:, 0])
    assert top1[is_used, 0] == pytest.approx(np.full(is_used.sum(), clean))
    assert measured.numbers["corrupted_top1"] == pytest.approx(top1[is_used, 1:].mean())
    assert measured.numbers["robustness"] == pytest.approx(100 * top1[is_used, 1:].mean() / clean)
    assert [kind for kind, used in zip(KINDS, is_used, strict=True) if not used] == ["saturation"]
    assert measured.remarks == ("left out, since it changes none of these images: saturation",)


def test_a_model_that_does_not_look_loses_nothing() -> None:
    subject = subject_of("micro_vit", "corruption", images=10, channels=3)
    with torch.no_grad():
        subject.model.head.weight.zero_()
        subject.model.head.bias.copy_(torch.arange(5.0))
    measured = measure(subject)
    assert measured.numbers == {"clean_top1": 20, "corrupted_top1": 20, "robustness": 100}
    assert measured.remarks == ()


def test_a_model_whose_head_is_not_trained_is_refused() -> None:
    subject = subject_of("micro_vit", "corruption")
    subject.of_source = True
    with pytest.raises(CannotMeasure, match="head is not trained"):
        measure(subject)

"""Landscapes: directions have the norms of filters, the model is put back bit for bit, and at 0 it is its own."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from bench.measure import CannotMeasure, Option
from bench.measures.landscape import (
    draw_direction,
    filters_of,
    half_widths,
    measure,
    normalised,
    positions_of,
    put_back,
    second_difference,
    surface,
)
from bench.models.subject import Subject
from tests.measures.small import subject_of

QUICK: dict[str, Option] = {"directions": 2, "points": 3, "range": 0.5}


def scored(subject: Subject) -> tuple[float, float]:
    """Loss and accuracy of a model as it is."""
    ((images, labels),) = subject.batches()
    logits = subject.model(images).logits
    loss = nn.functional.cross_entropy(logits.double(), labels)
    return float(loss), 100 * float((logits.argmax(1) == labels).double().mean())


def state_of(model: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in (*model.named_parameters(), *model.named_buffers())}


# ---- directions


@pytest.mark.parametrize("backbone", ["micro_vit", "micro_resnet"])
def test_each_filter_of_a_direction_has_the_norm_of_that_filter_and_biases_and_norms_have_none(backbone: str) -> None:
    model = subject_of(backbone, "landscape").model
    direction = draw_direction(model, 0)
    for name, weight in model.named_parameters():
        if weight.dim() < 2:
            assert name not in direction
            continue
        lengths, filters = (filters_of(tensor) for tensor in (direction[name], weight))
        assert lengths is not None
        assert filters is not None
        assert lengths.norm(dim=1) == pytest.approx(filters.norm(dim=1), rel=1e-5, abs=1e-7)
    assert "head.weight" in direction


def test_a_filter_is_a_row_of_a_weight_and_each_token_of_a_transformer_is_one() -> None:
    for shape, filters in (
        ((8, 3, 3, 3), (8, 27)),
        ((1, 17, 6), (17, 6)),
        ((1, 1, 6), (1, 6)),
        ((6, 1, 1), None),
        ((6,), None),
    ):
        rows = filters_of(torch.ones(shape))
        assert (rows if rows is None else tuple(rows.shape)) == filters
    assert not normalised(torch.ones(6), torch.ones(6)).any()
    assert not normalised(torch.ones(2, 3), torch.zeros(2, 3)).any()


def test_directions_depend_on_their_number_alone() -> None:
    model = subject_of("micro_vit", "landscape").model
    first, again, second = (draw_direction(model, number) for number in (0, 0, 1))
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not any(torch.equal(first[name], second[name]) for name in first)


# ---- the model


@pytest.mark.parametrize(("backbone", "norms"), [("micro_vit", "kept"), ("micro_resnet", "estimated")])
def test_the_model_is_put_back_bit_for_bit(backbone: str, norms: str) -> None:
    subject = subject_of(backbone, "landscape", {**QUICK, "norms": norms})
    model = subject.model
    before, momenta = state_of(model), [getattr(module, "momentum", None) for module in model.modules()]
    measure(subject)
    after = state_of(model)
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert not any(module.training for module in model.modules())
    assert momenta == [getattr(module, "momentum", None) for module in model.modules()]


def test_the_model_is_put_back_where_a_pass_fails() -> None:
    subject = subject_of("micro_vit", "landscape")
    before = state_of(subject.model)

    def fail() -> None:
        with torch.no_grad(), put_back(subject.model):
            subject.model.head.weight.zero_()
            raise RuntimeError("lost")

    with pytest.raises(RuntimeError, match="lost"):
        fail()
    assert torch.equal(subject.model.head.weight, before["head.weight"])


@pytest.mark.parametrize("backbone", ["micro_vit", "micro_resnet"])
def test_at_0_the_landscape_is_the_models_own_loss_and_accuracy(backbone: str) -> None:
    subject = subject_of(backbone, "landscape", QUICK)
    loss, accuracy = scored(subject)
    measured = measure(subject)
    assert measured.arrays["positions"].tolist() == [-0.5, 0, 0.5]
    assert measured.arrays["loss"].shape == measured.arrays["accuracy"].shape == (2, 3)
    assert measured.arrays["loss"][:, 1] == pytest.approx([loss, loss], rel=1e-12)
    assert measured.arrays["accuracy"][:, 1] == pytest.approx([accuracy, accuracy])
    assert abs(measured.arrays["loss"][0, 0] - loss) > 1e-3


def test_a_point_is_the_model_with_its_weights_moved() -> None:
    subject = subject_of("micro_vit", "landscape")
    direction = draw_direction(subject.model, 3)
    loss, _ = surface(subject, [direction], [(0.25,)])
    with torch.no_grad(), put_back(subject.model) as kept:
        for name, weight in subject.model.named_parameters():
            weight.copy_(kept[name] + 0.25 * direction.get(name, torch.zeros_like(weight)))
        assert loss[0] == pytest.approx(scored(subject)[0], rel=1e-6)


def test_the_axes_of_a_plane_are_the_lines_of_its_two_directions() -> None:
    lines = measure(subject_of("micro_vit", "landscape", QUICK))
    plane = measure(subject_of("micro_vit", "landscape", {**QUICK, "dimensions": 2}))
    assert plane.arrays["loss"].shape == plane.arrays["accuracy"].shape == (3, 3)
    assert plane.arrays["loss"][:, 1] == pytest.approx(lines.arrays["loss"][0])
    assert plane.arrays["loss"][1] == pytest.approx(lines.arrays["loss"][1])
    assert plane.numbers == pytest.approx(lines.numbers)


def test_statistics_of_batch_norms_are_estimated_with_the_weights_of_a_point() -> None:
    subject = subject_of("micro_resnet", "landscape")
    direction = draw_direction(subject.model, 0)
    loss, _ = surface(subject, [direction], [(0.0,), (0.3,)], "estimated")
    ((images, _),) = subject.batches()
    norms: list[Any] = [module for module in subject.model.modules() if isinstance(module, nn.BatchNorm2d)]
    for at, position in enumerate((0.0, 0.3)):
        with torch.no_grad(), put_back(subject.model) as kept:
            for name in direction:
                subject.model.get_parameter(name).copy_(kept[name] + position * direction[name])
            for norm in norms:
                norm.train()
                norm.momentum = 1.0
            subject.model(images)
            for norm in norms:
                norm.eval()
                norm.momentum = 0.1
            assert loss[at] == pytest.approx(scored(subject)[0], rel=1e-5)
    kept_loss, _ = surface(subject, [direction], [(0.0,)])
    assert abs(kept_loss[0] - loss[0]) > 1e-3


def test_whoever_has_batch_norms_is_told_whose_statistics_count() -> None:
    remark = measure(subject_of("micro_resnet", "landscape", QUICK)).remarks[-1]
    assert remark.startswith("batch norms: statistics at each point are as they were kept")
    assert "norms=estimated" in remark
    assert not any("batch norms" in remark for remark in measure(subject_of("micro_vit", "landscape", QUICK)).remarks)


# ---- numbers


def test_half_widths_are_where_nine_tenths_of_the_accuracy_are_left() -> None:
    positions = positions_of(5, 1.0)
    assert positions.tolist() == [-1, -0.5, 0, 0.5, 1]
    (left, right) = half_widths(positions, np.array([79.0, 80, 80, 64, 0]))
    assert left == (1.0, False)  # 79 of 80 are left at the end of the range
    assert right[0] == pytest.approx(0.25)  # 72 lie halfway between 80 and 64
    assert right[1]


def test_the_curvature_of_a_parabola_is_its_second_derivative() -> None:
    positions = positions_of(7, 0.3)
    assert second_difference(positions, 2 + positions + 3 * positions**2) == pytest.approx(6)


def test_what_never_falls_counts_as_wide_as_the_range_and_is_remarked() -> None:
    subject = subject_of("micro_vit", "landscape", {**QUICK, "range": 1e-9})
    measured = measure(subject)
    assert measured.numbers["flat_width"] == pytest.approx(1e-9)
    assert "4 of 4 sides" in measured.remarks[0]


@pytest.mark.parametrize(
    "option", [{"points": 4}, {"directions": 0}, {"range": 0.0}, {"dimensions": 3}, {"norms": "none"}]
)
def test_an_option_without_a_meaning_is_refused_in_a_line(option: dict[str, Option]) -> None:
    with pytest.raises(CannotMeasure, match=f"^{next(iter(option))}="):
        measure(subject_of("micro_vit", "landscape", option))


def test_a_model_whose_head_is_not_trained_is_refused() -> None:
    subject = subject_of("micro_vit", "landscape")
    subject.of_source = True
    with pytest.raises(CannotMeasure, match="head is not trained"):
        measure(subject)

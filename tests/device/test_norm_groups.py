"""Batch norms over batches of their own: each group is torch's own batch norm, however the groups are divided."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from bench.backbones import Model, build_model
from bench.backbones.build import input_size
from bench.backbones.cvt import ConvolutionalViT
from bench.backbones.families import family_of
from bench.backbones.model import Family
from bench.device.chunks import chunked
from bench.device.norm_groups import NormGroups, no_lone_value
from bench.errors import InputError
from bench.method import frozen
from bench.registry import Registry
from methods.stochnorm import StochNorm2d


@pytest.fixture(autouse=True)
def _float64() -> Iterator[None]:
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def one_norm(norm_batch: int, momentum: float | None = 0.25) -> Model:
    """A batch norm whose outputs are averaged over places."""
    norm = nn.BatchNorm2d(3, momentum=momentum)
    model = Model(nn.Sequential(norm, nn.Flatten(2), nn.AdaptiveAvgPool1d(1), nn.Flatten()), Family(), 3, 2, [0.5], [1])
    model.mean, model.std = torch.zeros(3, 1, 1), torch.ones(3, 1, 1)
    model.norm_batch = norm_batch
    return model


def resnet(norm_batch: int) -> tuple[Model, Tensor]:
    torch.manual_seed(0)
    model = build_model(Registry().backbone("micro_resnet"), 5).double()
    model.norm_batch = norm_batch
    return model, torch.rand(12, len(model.mean), input_size(model) // 2, input_size(model) // 2)


def cvt(norm_batch: int) -> tuple[Model, Tensor]:
    torch.manual_seed(0)
    sizes: dict[str, Any] = {
        "embed_dim": [8, 12, 16],
        "num_heads": [1, 2, 4],
        "depth": [1, 2, 3],
        "mlp_ratio": [2, 2, 2],
    }
    backbone = ConvolutionalViT(32, pooling="cls", drop_path_rate=0.3, **sizes)
    model = Model(backbone, family_of(backbone), 16, 5, [0.5] * 3, [0.25] * 3).double()
    model.norm_batch = norm_batch
    return model, torch.rand(12, 3, 32, 32)


def statistics(model: nn.Module) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in model.named_buffers()}


def trained_on(model: Model, images: Tensor) -> dict[str, Tensor]:
    """Two steps of a loss that compares the images; weights and buffers after them."""
    model.train()
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    for seed in range(2):
        torch.manual_seed(seed)
        optimizer.zero_grad()
        output = model(images, probe="grid")
        loss = (output.features @ output.features.T).logsumexp(1).mean() + output["grid"].std() + output.logits.std()
        loss.backward()
        optimizer.step()
    return {name: value.clone() for name, value in model.state_dict().items()}


class TestOneNorm:
    def test_each_group_is_normalised_by_itself_and_the_running_statistics_move_once(self) -> None:
        model, images = one_norm(4), torch.rand(10, 3, 5, 5)
        model.train()
        norm = model.backbone[0]  # type: ignore[index]
        features = model(images).features
        means, variances = list[Any](), list[Any]()
        for group in (images[:4], images[4:8], images[8:]):  # the last one has what is left
            plain = nn.BatchNorm2d(3, momentum=1.0)
            expected = plain(group).mean((2, 3))
            torch.testing.assert_close(features[: len(group)], expected)
            features = features[len(group) :]
            means.append(plain.running_mean)
            variances.append(plain.running_var)
        torch.testing.assert_close(norm.running_mean, 0.25 * torch.stack(means).mean(0))
        torch.testing.assert_close(norm.running_var, 0.75 + 0.25 * torch.stack(variances).mean(0))
        assert int(norm.num_batches_tracked) == 1
        assert norm.momentum == 0.25

    @pytest.mark.parametrize("momentum", [0.1, None])
    @pytest.mark.parametrize("norm_batch", [6, 100])
    def test_a_group_of_all_images_is_the_whole_batch(self, norm_batch: int, momentum: float | None) -> None:
        grouped, whole, images = one_norm(norm_batch, momentum), one_norm(0, momentum), torch.rand(6, 3, 5, 5)
        for _ in range(3):
            torch.testing.assert_close(grouped.train()(images).features, whole.train()(images).features)
        for name, value in statistics(whole).items():
            torch.testing.assert_close(statistics(grouped)[name], value)

    def test_nothing_moves_in_eval_mode(self) -> None:
        model, images = one_norm(4).eval(), torch.rand(10, 3, 5, 5)
        before = statistics(model)
        torch.testing.assert_close(
            model(images).features, replace_norm_batch(model, 0)(images).features, rtol=0, atol=0
        )
        assert all(torch.equal(before[name], value) for name, value in statistics(model).items())

    def test_a_frozen_copy_computes_all_together(self) -> None:
        model, sizes = one_norm(4).train(), list[int]()
        source = frozen(model)
        source.backbone.register_forward_pre_hook(lambda module, inputs: sizes.append(len(inputs[0])))
        source(torch.rand(10, 3, 5, 5))
        assert sizes == [10]

    def test_an_error_in_a_pass_leaves_the_norms_as_they_were(self) -> None:
        model, images = one_norm(4).train(), torch.rand(8, 3, 5, 5)
        before, norm = statistics(model), model.backbone[0]  # type: ignore[index]
        model.backbone[1].forward = lambda input: 1 / 0  # type: ignore[index]
        with pytest.raises(ZeroDivisionError):
            model(images)
        assert norm.momentum == 0.25
        assert all(torch.equal(before[name], value) for name, value in statistics(model).items())


def replace_norm_batch(model: Model, norm_batch: int) -> Model:
    model.norm_batch = norm_batch
    return model


@pytest.mark.parametrize("build", [resnet, cvt])
@pytest.mark.parametrize("count", [2, 3, 40])
def test_in_parts_the_bits_are_those_of_the_whole(build: type, count: int) -> None:
    """Weights and running statistics, though the way back computes each part again, draws included."""
    model, images = build(3)
    whole = trained_on(model, images)
    with chunked(count):
        parts = trained_on(build(3)[0], images)
    for name, value in whole.items():
        assert torch.equal(parts[name], value), name


def test_a_part_is_whole_groups() -> None:
    model, images = resnet(3)
    sizes: list[int] = []
    model.train().backbone.register_forward_pre_hook(lambda module, inputs: sizes.append(len(inputs[0])))
    for count in (1, 2, 3, 4, 12):
        with chunked(count), torch.no_grad():
            model(images)
    assert sizes == [3] * 4 * 5


def test_the_running_statistics_of_processes_are_those_of_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each computes its groups, and all are gathered in the order of the batch."""
    images, alone = torch.rand(8, 3, 5, 5), one_norm(2)
    alone.train()(images)
    models, passes = [one_norm(2).train() for _ in range(2)], list[NormGroups]()
    for model, part in zip(models, images.chunk(2), strict=True):
        passes.append(NormGroups(model.backbone, 2))
        passes[-1].by_group(lambda group, model=model: [model.backbone(group)])(part)  # type: ignore[misc]
    rows = torch.cat([row for each in passes for row in each.seen])
    monkeypatch.setattr("bench.device.norm_groups.gathered", lambda part: rows)
    for model, each in zip(models, passes, strict=True):
        each.end(divided=True)
        for name, value in statistics(alone).items():
            assert torch.equal(statistics(model)[name], value), name


def test_a_pass_that_ends_early_moves_what_it_came_through() -> None:
    model, images = resnet(4)
    model.train()
    before = statistics(model)
    with torch.no_grad():
        model.probe(images, "grid")
    moved = {name for name, value in statistics(model).items() if not torch.equal(value, before[name])}
    assert "backbone.bn1.running_mean" in moved
    assert "backbone.bn1.num_batches_tracked" in moved


def test_a_stochastic_norm_draws_for_each_group_and_keeps_to_the_statistics_from_the_start() -> None:
    model, images = one_norm(4), torch.rand(8, 3, 5, 5)
    norm = model.backbone[0]  # type: ignore[index]
    norm.running_mean.uniform_()
    start = norm.running_mean.clone()
    model.backbone[0] = StochNorm2d(norm, 0.0)  # type: ignore[operator]
    expected = ((images - start[:, None, None]) / (1 + norm.eps) ** 0.5).mean((2, 3))
    model.train().requires_grad_(True)
    with chunked(2):
        features = model(images).features
    torch.testing.assert_close(features, expected)
    (features**2).sum().backward()
    # the scale's gradient by hand, with the statistics as they were before the step
    by_hand = (2 * expected * expected).sum(0)
    torch.testing.assert_close(model.backbone[0].weight.grad, by_hand)  # type: ignore[index]
    assert not torch.equal(norm.running_mean, start)


@pytest.mark.parametrize("norm_batch", [0, 1])
def test_a_norm_of_one_value_says_what_to_do_and_every_other_fault_is_left_as_it_is(norm_batch: int) -> None:
    model = one_norm(norm_batch)
    model(torch.rand(1, 3, 2, 2))
    with pytest.raises(InputError, match=r"one value of each channel .* take 2 images or more \(batch_size, and norm_"):
        model(torch.rand(1, 3, 1, 1))
    model.eval()(torch.rand(1, 3, 1, 1))
    with pytest.raises(ValueError, match="of something else"), no_lone_value():
        raise ValueError("of something else")

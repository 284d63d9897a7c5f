"""A pass computed in chunks: the gradient is that of the whole batch, and memory holds one chunk's activations."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from bench.backbones import Model, build_model
from bench.backbones.build import input_size
from bench.device.chunks import chunked
from bench.registry import Registry

IMAGES = 11


@pytest.fixture(autouse=True)
def _float64() -> Iterator[None]:
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def micro(drop_path: float = 0.0) -> tuple[Model, Tensor]:
    torch.manual_seed(0)
    model = build_model(Registry().backbone("micro_vit"), 10, drop_path=drop_path).double()
    return model, torch.rand(IMAGES, len(model.mean), input_size(model), input_size(model))


def compared(model: Model, images: Tensor) -> Tensor:
    """Compares the images with each other, and reads probes."""
    output = model(images, probe=["cls_attention", "tokens"])
    contrast = (output.features @ output.features.T).logsumexp(1).mean()
    probed: Tensor = output["cls_attention"].std() + model.probe(images, "tokens").abs().mean()
    both: Tensor = contrast + probed
    return both


def gradients(model: Model, loss: Tensor) -> dict[str, Tensor]:
    model.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]
    return {name: weights.grad.clone() for name, weights in model.named_parameters() if weights.grad is not None}


@pytest.mark.parametrize("count", [2, 3, 11, 40])
def test_loss_and_gradient_are_those_of_the_whole_batch(count: int) -> None:
    model, images = micro()
    whole = compared(model, images)
    with chunked(count):
        parts = compared(model, images)
    assert parts.item() == pytest.approx(whole.item(), rel=1e-12)
    expected, found = gradients(model, whole), gradients(model, parts)
    assert expected.keys() == found.keys()
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, rtol=1e-9, atol=1e-12)


def test_what_is_drawn_on_the_way_back_is_what_was_drawn_on_the_way() -> None:
    """With stochastic depth, the gradient is the slope of the loss that was computed, draws included."""
    model, images = micro(drop_path=0.5)
    model.train()

    def loss() -> Tensor:
        torch.manual_seed(4)
        with chunked(4):
            return compared(model, images)

    weights = model.backbone.get_parameter("blocks.0.mlp.fc1.weight")
    found = gradients(model, loss())["backbone.blocks.0.mlp.fc1.weight"]
    direction, step = torch.randn_like(weights), 1e-5
    slopes = []
    for sign in (1, -1):
        with torch.no_grad():
            weights.add_(sign * step * direction)
            slopes.append(loss().item())
            weights.sub_(sign * step * direction)
    assert (slopes[0] - slopes[1]) / (2 * step) == pytest.approx((found * direction).sum().item(), rel=1e-5)


def test_the_backbone_sees_one_chunk_at_a_time_and_again_on_the_way_back() -> None:
    model, images = micro()
    sizes: list[int] = []
    model.backbone.register_forward_pre_hook(lambda module, inputs: sizes.append(len(inputs[0])))
    with chunked(4):
        features = model(images).features
    assert sizes == [3, 3, 3, 2]
    features.sum().backward()
    assert sorted(sizes) == sorted([3, 3, 3, 2] * 2)
    sizes.clear()
    with torch.no_grad(), chunked(4):
        model(images)
    model(images)
    assert sizes == [3, 3, 3, 2, 11], "without gradient once; and outside of it all together"

"""Attention under bf16 on a CPU is timm's explicit one; everywhere else it is torch's."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from torch import nn

from bench.backbones import Model, build_model
from bench.backbones.attention_kernel import explicit_on_cpu
from bench.device.precision import mixed_precision
from bench.method import Batch, frozen
from bench.registry import Registry

REGISTRY, CPU = Registry(), torch.device("cpu")


def micro() -> Model:
    torch.manual_seed(0)
    return build_model(REGISTRY.backbone("micro_vit"), 10).eval()


def fused_calls(monkeypatch: pytest.MonkeyPatch, run: Callable[[], Any]) -> int:
    """How often torch's fused attention is called."""
    calls, fused = list[int](), nn.functional.scaled_dot_product_attention

    def count(*args: Any, **more: Any) -> Any:
        calls.append(1)
        return fused(*args, **more)

    with monkeypatch.context() as patch:
        patch.setattr(nn.functional, "scaled_dot_product_attention", count)
        run()
    return len(calls)


def test_the_kernel_by_precision(monkeypatch: pytest.MonkeyPatch) -> None:
    model, images = micro(), torch.rand(4, 1, 12, 12)

    def run(precision: str) -> None:
        with mixed_precision(precision, CPU):
            model(images)

    depth = model.depth
    assert fused_calls(monkeypatch, lambda: run("fp32")) == depth
    assert fused_calls(monkeypatch, lambda: run("bf16")) == 0
    assert fused_calls(monkeypatch, lambda: run("auto")) == depth


def test_the_source_of_gta_in_bf16(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beside a model in single precision, whose attention is torch's; the source's ends in its last block."""
    model, images = micro(), torch.rand(4, 1, 12, 12)
    source = frozen(model)
    card = REGISTRY.method("gta")
    batch = Batch(images, torch.zeros(4, dtype=torch.long), torch.eye(10)[:4], 0.0)
    for precision, of_source in (("as_run", model.depth - 1), ("bf16", 0)):
        gta: Any = REGISTRY.load_method(card)(source_precision=precision)
        assert fused_calls(monkeypatch, partial(gta.target, source, batch.images)) == of_source


def test_answers_are_those_of_bf16_and_the_model_is_as_it_was() -> None:
    model, images = micro(), torch.rand(32, 1, 12, 12)
    with torch.inference_mode():
        exact = model(images).logits
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        rough = model(images).logits
    assert float((rough - exact).abs().max()) < 0.05 * float(exact.abs().max())
    assert all(block.attn.fused_attn for block in model.backbone.blocks)  # type: ignore[union-attr]


def test_a_gpu_keeps_its_kernel() -> None:
    model = micro()
    there = torch.empty(1, device="meta")
    with torch.autocast("cpu", torch.bfloat16), explicit_on_cpu(model.backbone, there):
        assert all(block.attn.fused_attn for block in model.backbone.blocks)  # type: ignore[union-attr]


def test_attention_that_was_explicit_already_stays_so_and_an_error_changes_nothing() -> None:
    model = micro()
    attentions: list[Any] = [block.attn for block in model.backbone.blocks]  # type: ignore[union-attr]
    attentions[0].fused_attn = False
    with torch.autocast("cpu", torch.bfloat16):
        with explicit_on_cpu(model.backbone, torch.zeros(1)):
            assert not any(attention.fused_attn for attention in attentions)
        with pytest.raises(AttributeError):
            model(None)
    assert [attention.fused_attn for attention in attentions] == [False, *[True] * (len(attentions) - 1)]

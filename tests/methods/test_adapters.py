"""Methods that set something into a backbone: what is kept of their models, and where they are left out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from safetensors.torch import load_file

from bench.backbones import build_model
from bench.models.kept import load_model
from bench.plan.overrides import Overrides
from bench.plan.target import read_plan
from bench.records.kept import kept_models, read_facts
from bench.registry import Registry
from tests.models.trained import confidences, planned, recorded, train
from tests.scenes import left_out

MERGED = ("ssf", "peft", "peft(kind=vera,rank=8,targets=all)")
SET_IN = ("adaptformer(variant=released)", "vpt", "vpt(depth=shallow)+transmix")


@pytest.mark.slow
@pytest.mark.parametrize("method", MERGED + SET_IN)
def test_a_kept_model_is_the_one_that_was_scored(method: str, tmp_path: Path) -> None:
    """At the end to the bit; what is merged at an earlier point is rounded otherwise than it was in training."""
    spec = planned(method)
    record, folder = train(spec, tmp_path)
    scored = recorded(folder)
    assert list(kept_models(folder)) == [point.step for point in record.curve] == [2, 4]
    for place, point in enumerate(record.curve):
        predicted, confidence = confidences(folder, point.step, spec)
        expected = scored["test_confidence"][place]
        assert np.abs(confidence.astype(int) - expected.astype(int)).max() <= 1  # ten-thousandths
        if place == 1 or method in SET_IN:
            assert np.array_equal(predicted, scored["test"][place])
            assert np.array_equal(confidence, expected)


@pytest.mark.slow
@pytest.mark.parametrize("method", MERGED)
def test_what_is_kept_of_a_merged_model_is_the_plain_network(method: str, tmp_path: Path) -> None:
    _, folder = train(planned(method), tmp_path)
    plain = build_model(Registry().backbone("micro_vit"), 10)
    shapes = {name: value.shape for name, value in plain.state_dict().items()}
    for path in kept_models(folder).values():
        assert {name: value.shape for name, value in load_file(path).items()} == shapes
        kept = load_model(path, read_facts(path), Registry())
        assert [type(module) for module in kept.modules()] == [type(module) for module in plain.modules()]


@pytest.mark.slow
@pytest.mark.parametrize("method", ["adaptformer(middle=4)", "vpt"])
def test_frozen_weights_may_be_left_out_of_what_is_kept(method: str, tmp_path: Path) -> None:
    spec = planned(method)
    _, folder = train(spec, tmp_path, "last,changes")
    (path,) = kept_models(folder).values()
    assert all(name.startswith(("head.", "backbone.blocks.")) for name in load_file(path))
    assert not any(name.endswith("qkv.weight") for name in load_file(path))
    predicted, _ = confidences(folder, 4, spec)
    assert np.array_equal(predicted, recorded(folder)["test"][-1])


@pytest.mark.parametrize(
    ("method", "backbone", "lacks"),
    [
        ("ssf", "timm:beit_base_patch16_224@none", "linears"),
        ("peft", "timm:swinv2_tiny_window8_256@none", "linears"),
        ("vpt", "timm:beit_base_patch16_224@none", "token_blocks"),
        ("vpt", "timm:swin_tiny_patch4_window7_224@none", "token_blocks"),
        ("adaptformer", "timm:swin_tiny_patch4_window7_224@none", "block_output"),
    ],
)
def test_a_backbone_that_has_no_place_for_it_is_left_out_of_the_plan(method: str, backbone: str, lacks: str) -> None:
    overrides = Overrides(methods=f"ce,{method}", backbones=backbone, rates="15", seeds="1")
    (cell,) = left_out(read_plan("digits", Registry(), overrides))
    assert cell.reason.startswith(f"{method} needs {lacks}, which {backbone} lacks (")


@pytest.mark.parametrize(("method", "backbone"), [("ssf", "swin_tiny"), ("peft", "swin_tiny"), ("vpt", "t2t_vit_14")])
def test_others_are_not(method: str, backbone: str) -> None:
    overrides = Overrides(methods=f"ce,{method}", backbones=f"{backbone}@none", rates="15", seeds="1")
    assert left_out(read_plan("digits", Registry(), overrides)) == []

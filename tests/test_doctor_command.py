"""``bench doctor``: which run is measured, what is told of it, and that nothing is written."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

import bench
from bench.cli import main
from bench.commands import doctor
from bench.cost.limits import Clocked, Probed
from bench.errors import InputError
from bench.spec import RunSpec

MEASURED = Probed(
    hardware="AMD EPYC",
    gpu=False,
    gpu_bytes=0,
    torch_cuda="",
    batch_size=32,
    precision="auto",
    start=Clocked(5.0, 5.5),
    memory=900_000_000,
    compute=Clocked(0.020, 0.080),
    loop=Clocked(0.025, 0.100),
    plain=Clocked(0.020, 0.020),
    feed=Clocked(0.004, 0.016),
    image=Clocked(0.001, 0.001),
)


@pytest.fixture
def asked(here: Path, monkeypatch: pytest.MonkeyPatch) -> list[RunSpec]:
    """The runs that were measured, in a working folder where nothing is."""
    specs: list[RunSpec] = []

    def measured_of(spec: RunSpec, registry: bench.Registry) -> Probed:
        specs.append(spec)
        return MEASURED

    monkeypatch.setattr(doctor, "measured_of", measured_of)
    return specs


def test_without_a_target_it_is_digits(asked: list[RunSpec], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor"]) == 0
    out = capsys.readouterr().out
    assert (asked[0].dataset.name, asked[0].backbone.name, asked[0].method.name) == ("digits", "micro_vit", "ce")
    assert "measured on one core: ce micro_vit digits 15 % seed 0, a batch of 32 images" in out
    assert re.search(r"the loop, with both +25 ms +1,280 images/s +80 % of computing alone", out)
    assert "this machine was busy: a step took 20 ms of a core's time and 80 ms on the clock\n" in out
    assert "feed: a step waits for its images 20 % of the time" in out
    assert list(Path().iterdir()) == [], "nothing is written"


def test_a_backbone_of_ones_own_is_measured_on_photographs(asked: list[RunSpec]) -> None:
    backbone = "timm:vit_tiny_patch16_224@none"
    assert main(["doctor", "--backbones", backbone, "--datasets", "digits", "--methods", "gta"]) == 0
    assert (asked[0].method.name, asked[0].backbone.name) == ("gta", backbone)
    assert (asked[0].protocol.augmentation, asked[0].protocol.image_size) == ("randaugment", 0)


def test_plain_data_has_what_limits_with_what_to_type(asked: list[RunSpec], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "demo", "--rates", "15", "--format", "json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert asked[0].dataset.name == "cluttered_digits"
    assert told["measured"]["loop_share"] == pytest.approx(0.8)
    assert told["grid"]["target"] == "demo --rates 15"
    assert {"what", "sentence", "command"} == set(told["limits"][0])


def test_what_cannot_be_measured_is_an_error_in_one_line(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fails(spec: RunSpec, registry: bench.Registry) -> Probed:
        raise InputError(f"{spec.label}: it cannot be measured: no")

    monkeypatch.setattr(doctor, "measured_of", fails)
    assert main(["doctor"]) == 2
    assert capsys.readouterr().err == "bench: ce micro_vit digits 15 % seed 0: it cannot be measured: no\n"

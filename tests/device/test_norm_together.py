"""What three processes compute together: batch norms of the whole batch, gradients, a vote, a share of the cores."""

from __future__ import annotations

import copy
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from timm.layers import BatchNormAct2d
from torch import Tensor, nn

from bench.backbones import Model
from bench.backbones.model import Family
from bench.device import distributed, norm_together
from bench.device.averaged import Averaged
from bench.device.vote import APART, Vote
from bench.launch import ranks as sharing
from bench.process import environment
from methods.stochnorm import StochNorm2d
from tests.faults.nursery import started

RANKS = 3
CASES: dict[str, Callable[[], nn.Module]] = {
    "plain": lambda: nn.BatchNorm2d(4),
    "no weights": lambda: nn.BatchNorm2d(4, affine=False),
    "mean of all steps": lambda: nn.BatchNorm2d(4, momentum=None),
    "no statistics": lambda: nn.BatchNorm2d(4, track_running_stats=False),
    "with activation": lambda: BatchNormAct2d(4),
    "stochastic": lambda: StochNorm2d(nn.BatchNorm2d(4), 1.0),
}
"""Norms between two convolutions; each is torch's batch norm, however it is called."""


def model_of(case: str) -> Model:
    """Two convolutions with a norm behind each, on images (B, 3, 6, 6) in float64."""
    torch.manual_seed(1)
    layers = nn.Sequential(
        nn.Conv2d(3, 4, 3), CASES[case](), nn.Conv2d(4, 4, 3), CASES[case](), nn.Flatten(2), nn.AdaptiveAvgPool1d(1)
    )
    return Model(nn.Sequential(layers, nn.Flatten()), Family(), 4, 3, [0.5] * 3, [0.25] * 3).double().train()


class Loss(nn.Module):
    """Compares the images of a batch, and may leave weights out."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model, self.beside = model, nn.Linear(3, 1).double()

    def forward(self, batch: tuple[Tensor, bool]) -> dict[str, Tensor]:
        images, all_weights = batch
        logits = self.model(images).logits
        loss = (logits @ logits.T).logsumexp(1).mean() + (logits * torch.arange(3)).sin().mean()
        return {"loss": loss + self.beside(logits).square().mean() if all_weights else loss}


class Alone(nn.Module):
    """A model that computes all images in one process."""

    def __init__(self, model: Model) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: Tensor) -> Any:
        return type("Whole", (), {"logits": self.model.head(self.model.backbone(self.model.normalised(images)))})


def state_after(loss: Averaged, steps: int) -> dict[str, Tensor]:
    """Gradients of the last step, and buffers, of steps of which every other one leaves weights out."""
    for step in range(steps):
        images = torch.rand(8 - step, 3, 6, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(step))
        loss.module.zero_grad(set_to_none=True)
        sum(loss((images, step % 2 == 0)).values()).backward()  # type: ignore[union-attr]
        loss.settle()
    found = dict(loss.module.named_buffers())
    found |= {name: weights.grad for name, weights in loss.module.named_parameters() if weights.grad is not None}
    return {name.replace("model.model.", "model."): value.clone() for name, value in found.items()}


def farthest(case: str, steps: int) -> dict[str, float]:
    """How far what three processes have lies from what one has, relatively."""
    model = model_of(case)
    shared, alone = Loss(model), Loss(Alone(copy.deepcopy(model)))
    alone.beside.load_state_dict(shared.beside.state_dict())
    together, whole = state_after(Averaged(shared), steps), state_after(_on_its_own(alone), steps)
    assert together.keys() == whole.keys()
    return {
        name: float((together[name] - value).abs().max() / value.abs().max().clamp(min=1e-3))
        for name, value in whole.items()
    }


def _on_its_own(module: nn.Module) -> Averaged:
    loss = Averaged.__new__(Averaged)
    loss.module = loss.loss = module
    loss.weights, loss.looks = [], True
    return loss


def lone_value() -> str:
    """What is said where a batch norm has one value of each channel in all processes."""
    images = torch.rand(int(distributed.rank() == 1), 2, 1, 1)
    try:
        norm_together._batch_norm(images, None, None, training=True)
    except ValueError as error:
        return str(error)
    return "nothing"


def stops() -> list[int]:
    """After which of 40 steps all stop, where one is asked to after the 20th, and five pass between votes."""
    now = [0.0]
    vote = Vote(lambda: now[0])
    for step in range(1, 41):
        now[0] += APART / 5
        if vote(step >= 20 and distributed.rank() == 1):
            return [step]
    return []


def be_one_of_three(rank: int, port: str, folder: Path) -> None:
    os.environ.update(environment("", **sharing._place(rank, RANKS, port)))
    torch.set_num_threads(1)
    distributed.join()
    said = {
        "far": {case: farthest(case, 1) for case in CASES},
        "after four": farthest("plain", 4),
        "lone": lone_value(),
        "stops": stops(),
        "cores": distributed._on_these_cores,
    }
    (folder / f"{rank}.json").write_text(json.dumps(said), encoding="utf-8")


@pytest.fixture(scope="module")
def said(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """What each of three processes has seen."""
    folder, port = tmp_path_factory.mktemp("three"), str(sharing._free_port())
    processes = [started(rank, port, folder, target=be_one_of_three) for rank in range(RANKS)]
    try:
        for process in processes:
            process.join(240)
        assert [process.exitcode for process in processes] == [0] * RANKS
    finally:
        for process in processes:
            process.kill()
            process.join()
    return [json.loads((folder / f"{rank}.json").read_text(encoding="utf-8")) for rank in range(RANKS)]


three = pytest.mark.xdist_group("three processes")


@three
@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_a_batch_norm_of_several_processes_is_that_of_the_whole_batch(case: str, said: list[dict[str, Any]]) -> None:
    """Eight images over three processes: the gradients of a loss that compares them, and running statistics."""
    for each in said:
        assert {name: far for name, far in each["far"][case].items() if far > 1e-12} == {}
        assert any(name.endswith("0.weight") for name in each["far"][case])


@three
@pytest.mark.slow
def test_steps_in_which_weights_have_no_gradient_are_averaged_like_the_others(said: list[dict[str, Any]]) -> None:
    """Four steps, of which the second and the last have none for a layer: the last one's gradients are the mean."""
    for each in said:
        assert {name: far for name, far in each["after four"].items() if far > 1e-12} == {}
        assert any(name.startswith("beside") for name in each["far"]["plain"])
        assert not any(name.startswith("beside") for name in each["after four"])


@three
@pytest.mark.slow
def test_one_value_in_all_processes_has_no_variance(said: list[dict[str, Any]]) -> None:
    assert all(each["lone"].startswith("Expected more than 1 value per channel") for each in said)


def test_no_value_is_read_where_there_are_several_since_that_waits_for_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(norm_together, "gathered", lambda rows: rows)
    images = torch.empty(2, 3, 4, 4, device="meta")  # whose values cannot be read
    assert norm_together._batch_norm(images, None, None, training=True).shape == images.shape


@three
@pytest.mark.slow
def test_all_processes_stop_after_the_same_step_and_soon(said: list[dict[str, Any]]) -> None:
    first, *others = [each["stops"] for each in said]
    assert all(other == first for other in others)
    assert 20 <= first[0] < 26, "asked about every five steps"


@three
@pytest.mark.slow
def test_processes_know_who_is_on_their_cores(said: list[dict[str, Any]]) -> None:
    assert [each["cores"] for each in said] == [RANKS] * RANKS


def test_a_process_has_its_share_of_the_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(distributed, "usable_cores", lambda: 16)
    monkeypatch.setattr(distributed, "_on_these_cores", 3)
    assert distributed.own_cores() == 16, "which is all where nobody shares the run"
    monkeypatch.setattr(distributed, "ranks", lambda: 3)
    assert distributed.own_cores() == 5
    monkeypatch.setattr(distributed, "_on_these_cores", 20)
    assert distributed.own_cores() == 1


def test_one_process_hears_its_own_word_at_once() -> None:
    vote = Vote()
    assert [vote(flag) for flag in (False, True, False)] == [False, True, False]

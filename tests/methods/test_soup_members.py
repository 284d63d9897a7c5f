"""What a soup leaves of its members: nothing scored beside them, nothing that they chose, and a head that follows."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import nn

from bench.backbones import Model
from bench.data import TrainingImages, Validation
from bench.method import Method, Stage
from bench.protocol import Recipe
from tests.methods.test_baselines import noise, small, state
from tests.methods.test_soup import trained

soup: Any = importlib.import_module("bench.methods.soup")
ema: Any = importlib.import_module("bench.methods.ema")


def test_only_the_soup_is_scored_and_nothing_beside_it() -> None:
    for members in (1, 2):
        method = soup.Soup(kind="uniform", members=members, inner=ema.EMA())
        assert not any(stage.beside for stage, _, _ in trained(method, small(), noise()))


class Choosing(Method):
    """Chooses something on the validation split."""

    def stages(self, model: Model, recipe: Recipe, data: TrainingImages) -> Iterator[Stage]:
        yield Stage(model, self.loss, recipe)
        data.validation.chose(rate=recipe.lr)


def test_what_members_choose_is_not_the_runs_choice() -> None:
    validation = Validation(noise(), lambda model: 1.0)
    trained(soup.Soup(members=2, inner=Choosing()), small(), replace(noise(), held_out=validation))
    assert {*validation.chosen} == {"soup"}
    one = Validation(noise(), lambda model: 1.0)
    trained(soup.Soup(members=1, inner=Choosing()), small(), replace(noise(), held_out=one))
    assert {*one.chosen} == {"rate"}


class Following(Method):
    """Its head is the square of a weight of its backbone, wherever it is scored."""

    def stages(self, model: Model, recipe: Recipe, data: TrainingImages) -> Iterator[Stage]:
        model.settling = follow
        yield Stage(model, self.loss, recipe, train=(model.backbone,))
        model.settle()
        model.settling = None


def follow(model: Model) -> None:
    assert isinstance(model.head, nn.Linear)
    model.head.bias.fill_(next(model.backbone.parameters()).flatten()[0].square().item())


@pytest.mark.parametrize("kind", ["uniform", "greedy"])
def test_a_head_that_follows_the_weights_follows_their_average(kind: str) -> None:
    scored = []

    def scorer(model: Model) -> float:
        scored.append(state(model))
        return 1.0

    data = replace(noise(), held_out=Validation(noise(), scorer))
    seen = trained(soup.Soup(kind=kind, members=2, inner=Following()), small(), data)
    model = seen[-1][0].model
    for each in (*scored, state(model)):
        first = next(value for name, value in each.items() if name.startswith("backbone"))
        assert torch.equal(each["head.bias"], first.flatten()[0].square().expand_as(each["head.bias"]))
    assert model.settling is None

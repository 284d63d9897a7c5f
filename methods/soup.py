"""Model soups: average the weights of several trainings from one start (Wortsman et al., ICML 2022)."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from bench.backbones import Model
from bench.data import TrainingImages, Validation
from bench.errors import InputError
from bench.method import Policy, Shared, Stage, hyper, replace, seeded
from bench.protocol import Recipe

Weights = Mapping[str, Tensor]
Settling = Callable[[Model], None]


def averaged(ingredients: Sequence[Weights]) -> dict[str, Tensor]:
    """The mean of each entry of some states of one network, in float64, of the entry's own type.

    What counts (integers) is not averaged but taken from the first.
    """
    first = ingredients[0]
    return {
        name: torch.stack([each[name].double() for each in ingredients]).mean(0).to(value.dtype)
        if value.is_floating_point()
        else value
        for name, value in first.items()
    }


def shapes(weights: Weights) -> dict[str, torch.Size]:
    """What makes two states those of one network."""
    return {name: value.shape for name, value in weights.items()}


def put(model: Model, settling: Settling | None, ingredients: Sequence[Weights]) -> None:
    """Give a model the average of some states, and what follows its weights (``Model.settling``) by these."""
    model.load_state_dict(averaged(ingredients))
    model.settling = settling
    model.settle()
    model.settling = None


def by_themselves(data: TrainingImages) -> TrainingImages:
    """The images of a run for a member, whose choices on the validation split are not the run's."""
    if data.held_out is None:
        return data
    return replace(data, held_out=replace(data.held_out, chosen={}))


def greedy(scores: Sequence[float], score_of: Callable[[Sequence[int]], float]) -> list[int]:
    """Recipe 1 of the paper: by falling score, each that does not make the average worse, by number.

    Args:
        scores: of the ingredients by themselves; larger is better. Of equal ones the earlier comes first.
        score_of: gives that of the average of some.
    """
    ranked = sorted(range(len(scores)), key=lambda number: -scores[number])
    chosen, best = ranked[:1], scores[ranked[0]]
    for number in ranked[1:]:
        score = score_of([*chosen, number])
        if score >= best:
            chosen, best = [*chosen, number], score
    return chosen


@dataclass(frozen=True)
class Soup(Policy):
    """Whole trainings of the method it acts on, from the same weights and head, of which the weights are averaged.

    Members differ in their learning rate, in equal ratios around the protocol's, and in the order of their images and
    all else that is drawn. Each has the run's whole budget, on top of which the others come, so that a soup costs as
    much as its members; they are trained once for all runs that have them, as uniform and greedy soups of one grid do.
    ``greedy`` chooses among them on the validation split and needs one. One member is the method's own training.

    Every entry of the state is averaged, running statistics of batch norms too, as in the released code; its networks
    have none. What follows the weights of a model (FLYP's head) follows their average. Policies that change how members
    are trained stand before it: ``ce+ema+soup``; behind it those that leave shared stages as they are (EMA, SAM) change
    nothing. Methods that continue one optimiser over their stages (COIN, RIFLE, SWA) are refused. The curve has one
    point, that of the soup alone; what members chose on the validation split is not the run's choice.
    """

    paper = (
        "Wortsman et al., 'Model soups: averaging weights of multiple fine-tuned models improves accuracy without "
        "increasing inference time', ICML 2022, section 2, recipe 1"
    )
    per_image = True

    kind: str = hyper(
        "greedy",
        choices=("greedy", "uniform"),
        source="paper section 2: greedy is its main recipe; uniform: the average of all",
    )
    members: int = hyper(
        3, low=1, high=100, source="our choice, for its cost: a training each (paper: 72 of CLIP, 12 of ALIGN)"
    )
    spread: float = hyper(
        4.0,
        low=1,
        source="the largest learning rate over the smallest; 1: members differ in what is drawn alone; our choice (the "
        "paper draws rates, decays, augmentation and lengths)",
    )

    def stages(self, model: Model, recipe: Recipe, data: TrainingImages) -> Iterator[Stage]:
        """The stages of every member, and then the average in the place of the last one."""
        validation: Validation | None = None
        if self.kind == "greedy":
            validation = data.validation
        if self.members == 1:
            for stage in self.inner.stages(model, recipe, data):
                yield replace(stage, beside={})
            return
        ingredients, last, settling = list[Weights](), model, model.settling
        for member in range(self.members):
            for stage in self.training(member, copy.deepcopy(model), recipe, by_themselves(data)):
                yield stage
                last, settling = stage.model, stage.model.settling
            if last is model:
                raise InputError(
                    f"soup: {type(self.inner).__name__} trains nothing, so that there is nothing to average"
                )
            ingredients.append({name: value.to("cpu", copy=True) for name, value in last.state_dict().items()})
            if shapes(ingredients[0]) != shapes(ingredients[-1]):
                raise InputError(
                    f"soup: members of {type(self.inner).__name__} end as other networks, which have no average"
                )
        chosen: Sequence[int] = range(self.members)
        if validation is not None:
            chosen = self.selected(last, settling, ingredients, validation)
        put(last, settling, [ingredients[number] for number in chosen])

    def training(self, member: int, model: Model, recipe: Recipe, data: TrainingImages) -> Iterator[Stage]:
        """The stages of a member, counted from 0, as stages that runs share."""
        factor = self.factor(member)
        stages = self.inner.stages(model, replace(recipe, lr=factor * recipe.lr, min_lr=factor * recipe.min_lr), data)
        with seeded(data.seed):  # what a method draws for its start is the same for all members
            stage = next(stages, None)
        place = 0
        while stage:
            if stage.continues:
                raise InputError(
                    f"soup: {type(self.inner).__name__} continues one optimiser over its stages, and a member's are "
                    "kept without it; take another method, or members = 1"
                )
            shared = Shared({}, data.seed, extra=True, apart=(member, place), policy=self.number)
            if stage.shared:
                shared = replace(stage.shared, extra=True)
            yield replace(stage, shared=shared, beside={})
            stage, place = next(stages, None), place + 1

    def factor(self, member: int) -> float:
        """Of the learning rate of a member, counted from 0: in equal ratios from 1/√spread to √spread."""
        return float(self.spread ** (member / (self.members - 1) - 0.5))

    def selected(
        self, model: Model, settling: Settling | None, ingredients: Sequence[Weights], validation: Validation
    ) -> Sequence[int]:
        """The members of a greedy soup, in the order in which they came in; the model is used to score with."""

        def score_of(numbers: Sequence[int]) -> float:
            put(model, settling, [ingredients[number] for number in numbers])
            return validation.score(model)

        chosen = greedy([score_of([number]) for number in range(len(ingredients))], score_of)
        validation.chose(soup=", ".join(map(str, chosen)))
        return chosen

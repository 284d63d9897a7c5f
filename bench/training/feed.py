"""What a stage is fed with: the protocol's batches, or batches of its own."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from bench.data import TrainingImages
from bench.method import Stage


def fed(stage: Stage, data: TrainingImages) -> tuple[Stage, TrainingImages]:
    """A stage with its steps, which its method counts in the protocol's batches, in its own; and the images it is fed.

    It makes as many passes over the sampled images in its own batches, each of as many steps as a loader would make of
    it (``Recipe.in_batches``). Where all images are fewer than one of its batches, a batch is all of them, each once;
    else the last batch of a pass is filled with the first images of the next one, as the protocol's batches are.

    Raises:
        InputError: the stage has too few steps for one of its batches.
    """
    images = stage.data or data
    of = data.protocol.batch_size
    size = min(images.protocol.batch_size, max(len(images), of))
    if size < images.protocol.batch_size:
        images = replace(images, protocol=replace(images.protocol, batch_size=size))
    recipes = {module: recipe.in_batches(size, of, len(images)) for module, recipe in stage.recipes.items()}
    return replace(stage, recipe=stage.recipe.in_batches(size, of, len(images)), recipes=recipes), images


@dataclass(frozen=True)
class StageSpan:
    """Where a stage lies in a run.

    Attributes:
        done: steps made before it.
        steps: that it makes, in its own batches.
        spent: of the budget, which counts in the protocol's batches, before it.
        budget: of it, for the stage.
    """

    done: int
    steps: int
    spent: int
    budget: int

    def of_budget(self, number: int) -> int:
        """How much of the run's budget is spent after so many steps of the stage."""
        return self.spent + number * self.budget // max(1, self.steps)

    def at(self, points: Iterable[int]) -> set[int]:
        """The steps of the run, in this stage, by which so much of the budget is spent: where the curve has a point."""
        inside = (point - self.spent for point in points if self.spent < point <= self.spent + self.budget)
        return {self.done + -(-point * self.steps // self.budget) for point in inside}

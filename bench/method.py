"""The interface of a method: how a pre-trained model is turned into stages of training.

If the paper is a formula, override ``loss``; if it is an algorithm, override the generator ``stages``. A method
calls the model; it never touches optimiser, device, precision, logging, seeds, test data or metric.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, ClassVar, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bench.device.distributed import draws_apart
from bench.hyper import Value, completed, hyper
from bench.protocol import Recipe, declared

if TYPE_CHECKING:
    from bench.backbones import Model, Output
    from bench.data import TrainingImages

__all__ = [
    "Batch",
    "Loss",
    "Method",
    "Policy",
    "Shared",
    "Stage",
    "Step",
    "Terms",
    "frozen",
    "hyper",
    "replace",
    "seeded",
]

Terms = Mapping[str, Tensor]
"""Named scalar terms of a loss; the loop minimises their sum and logs each."""

AnyModule = TypeVar("AnyModule", bound=nn.Module)
AnyBatch = TypeVar("AnyBatch", bound="Batch")


@dataclass(frozen=True)
class Batch:
    """What a loss is given at one step.

    Attributes:
        images: (B, C, H, W) in 0..1, or (V, B, C, H, W) for a stage with V > 1 views; or features (B, D) that stand
            for them (``data.features``).
        labels: (B,) class indices; None at a task whose images have no label, so that nothing can be made of it.
        targets: (B, K) what cross-entropy aims at: one-hot, smoothed or mixed.
        progress: share of the stage that is done, from 0 to 1, for weights that ramp.
    """

    images: Tensor
    labels: Tensor
    targets: Tensor
    progress: float

    def cross_entropy(self, output: Output) -> Tensor:
        """Mean cross-entropy of the logits (B, K) against ``targets``, in nats."""
        return F.cross_entropy(output.logits.float(), self.targets)

    def __len__(self) -> int:
        """The number of images, B."""
        return self.images.shape[1 if self.images.ndim == 5 else 0]

    def divided(self: AnyBatch, parts: int) -> Iterator[AnyBatch]:
        """The batch in so many parts, as even as they can be; at most one an image."""
        for chosen in torch.arange(len(self), device=self.images.device).chunk(parts):
            yield self.part(chosen)

    def part(self: AnyBatch, chosen: Tensor) -> AnyBatch:
        """The images of these indices, and what is said of them."""
        images = self.images[:, chosen] if self.images.ndim == 5 else self.images[chosen]
        labels, targets = (value if value is None else value[chosen] for value in (self.labels, self.targets))
        return replace(self, images=images, labels=labels, targets=targets)


Loss = Callable[["Model", Batch], Terms]

Step = Callable[[Callable[[], Terms], Callable[[], None]], Terms]
"""How a step is made of its two halves; it gives the terms of the loss that are logged.

- The first, ``gradients()``, computes those of the batch, of the weights as they are, in the place of those there are,
  and gives the terms of the loss. Every pass of a step begins with the random draws, buffers and ``state`` of the first
  one, and what that makes of them is what stays.
- The second, ``update()``, has the optimiser change the weights by the gradients there are, clipped where the recipe
  says so.
"""


def one_pass(gradients: Callable[[], Terms], update: Callable[[], None]) -> Terms:
    """The usual step: one pass over the batch, and an update."""
    terms = gradients()
    update()
    return terms


@dataclass(frozen=True)
class Shared:
    """Makes a stage one that is trained once and then taken by every run whose stage would be the same.

    It is the same where backbone, images, recipe, code, the start of the trained weights and these are. Such a stage
    has batches and random draws of its own, is not evaluated, and leaves no optimiser to continue.

    Attributes:
        depends: the hyper-parameters that the stage depends on, by name.
        seed: of its batches and random draws.
        extra: its steps come on top of the run's budget, as pre-training does.
        apart: its numbers among stages of the same seed, where each of these is to have draws of its own.
        policy: which of the run's policies made it shared, counted from 1, so that ``depends`` stands for that one's
            hyper-parameters (``Policy.number``); 0: the method itself.
    """

    depends: Mapping[str, Value]
    seed: int
    extra: bool = False
    apart: tuple[int, ...] = ()
    policy: int = 0


@dataclass(frozen=True)
class Stage:
    """One phase of training.

    Attributes:
        model: the classifier; the last stage's is the one evaluated.
        loss: called once a step with the model and a batch.
        recipe: optimiser, schedule and steps.
        train: modules and parameters that are trained, backbone and head by default; the rest of the model is frozen,
            in eval mode.
        frozen_drops: what is frozen is in training mode like what is trained, so that it drops paths and units; its
            batch norms keep to eval mode.
        state: further modules that the loss keeps (a queue, a momentum encoder): moved and saved with the run,
            never trained.
        views: augmented views of each image.
        continues: keep the optimiser's moments of the parameters that the stage before trained too.
        recipes: modules with a learning rate, schedule and weight decay of their own, over as many steps.
        shared: given for a stage whose result other runs may take.
        data: what it is fed with, where that is not the protocol's batches: ``data.fed(batch_size=..., ...)``. Its
            recipe's steps still count in the protocol's batches; it makes as many passes over the images in its own.
        scored: the model that points of the curve on the way are of, where that is not ``model``: an average of its
            weights. The last point is of ``model``, when the method has ended.
        beside: further models that are scored at each point, by what stands behind the @ of their scores: ``raw`` as
            ``top1@raw``. Of the last stage, what a method has put into it by its end is scored at the last point. A
            method that has them names them in its class (``Method.beside``).
        step: how a step is made, where it is not one pass over the batch and an update (see ``Step``).
    """

    model: Model
    loss: Loss
    recipe: Recipe
    train: Collection[nn.Module | nn.Parameter] = ()
    frozen_drops: bool = False
    state: Collection[nn.Module] = ()
    views: int = 1
    continues: bool = False
    recipes: Mapping[nn.Module, Recipe] = field(default_factory=dict)
    shared: Shared | None = None
    data: TrainingImages | None = None
    scored: Model | None = None
    beside: Mapping[str, Model] = field(default_factory=dict)
    step: Step = one_pass

    @property
    def items(self) -> Collection[nn.Module | nn.Parameter]:
        """What is trained: ``train``, or else the model's backbone and head."""
        return self.train or (self.model.backbone, self.model.head)


@dataclass(frozen=True)
class Method:
    """A way to fine-tune, as a value: its fields are its hyper-parameters, each declared with ``hyper``."""

    paper: ClassVar[str] = ""
    """The citation, with the equation or section."""

    needs: ClassVar[Collection[str]] = frozenset()
    """Probes and parts that a backbone must offer; a cell without them is left out with this reason."""

    uses: ClassVar[Collection[str]] = frozenset()
    """What is taken where a backbone offers it: ``source_head``, for a method of which some settings need one."""

    per_image: ClassVar[bool] = False
    """Whether every loss is a mean over images, so that a batch may be computed in parts where memory is short. Not for
    one that compares the images of a batch or draws random numbers for it."""

    packages: ClassVar[Collection[str]] = frozenset()
    """Packages that it needs beside those of the suite, each an extra of this one by its own name (``peft``): without
    one its runs wait, and those of other methods are trained."""

    tasks: ClassVar[Collection[str]] = frozenset()
    """The tasks that it is for, by name, where the use that its code makes of batches and models does not tell it: one
    that uses labels, several views or a linear head is for those that have them, any other for all."""

    beside: ClassVar[Collection[str]] = frozenset()
    """The names of the further models that its stages score: ``raw``, where the points are of averaged weights."""

    def __post_init__(self) -> None:
        """Gives what is not written its default where another hyper-parameter decides it."""
        declaration = declared(type(self))
        written = {name: getattr(self, name) for name in declaration if getattr(self, name) is not None}
        for name, value in completed(written, declaration).items():
            object.__setattr__(self, name, value)

    def stages(self, model: Model, recipe: Recipe, data: TrainingImages) -> Iterator[Stage]:
        """The phases of training, in order; the code before the first ``yield`` runs once, at the start.

        Args:
            model: the pre-trained backbone with a new head.
            recipe: the protocol's; its steps are the budget of all stages together.
            data: the sampled training images, for methods that look at them first.
        """
        yield Stage(model, self.loss, recipe)

    def loss(self, model: Model, batch: Batch) -> Terms:
        """The terms to minimise: plain fine-tuning unless overridden."""
        return {"ce": batch.cross_entropy(model(batch.images))}


@dataclass(frozen=True)
class Policy(Method):
    """A method that changes how another one trains; written ``gta+transmix``: the method first, then its policies.

    It overrides ``stages`` and takes those of ``inner`` as they are, or changed:
    ``for stage in self.inner.stages(model, recipe, data): yield replace(stage, loss=...)``.
    """

    inner: Method = Method()
    """The method it acts on: plain fine-tuning where none is named."""

    @property
    def number(self) -> int:
        """Which of a method's policies it is, counted from 1: ``gta+transmix``."""
        return 1 + (self.inner.number if isinstance(self.inner, Policy) else 0)


def splittable(method: Method) -> bool:
    """Whether a batch may be computed in parts: the method and its policies are ``per_image``."""
    per_image = method.per_image or type(method) is Method  # the base is plain fine-tuning; others have to say so
    return per_image and (not isinstance(method, Policy) or splittable(method.inner))


def frozen(module: AnyModule) -> AnyModule:
    """A copy that is never trained: eval mode, no gradient. A frozen model is a method's source."""
    return copy.deepcopy(module).eval().requires_grad_(False)


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """What is drawn from torch's generators inside depends on the seed alone, and draws outside do not notice."""
    with draws_apart():
        torch.manual_seed(seed)
        yield


def soft_targets(labels: Tensor, classes: int, smoothing: float) -> Tensor:
    """(B, K) targets: 1 − s on the label and s / K spread over all K classes (Szegedy et al., 2016)."""
    hard = F.one_hot(labels, classes).to(torch.get_default_dtype())
    return hard * (1 - smoothing) + smoothing / classes

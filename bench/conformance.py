"""What every method file promises; the tests check it of the suite's own, ``bench check-method`` of anybody's."""

from __future__ import annotations

import dataclasses
import math
import tempfile
import traceback
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from timm.layers import DropPath
from torch import Tensor, nn

from bench.backbones import Model
from bench.backbones.build import equip, input_size
from bench.cards import BackboneCard, MethodCard
from bench.cards.method import beside
from bench.data import ArrayImages, Dataset, TrainingImages
from bench.device.chunks import chunked
from bench.errors import InputError
from bench.hyper import another
from bench.method import Method, Stage, Terms, splittable
from bench.metrics import CLASSIFICATION
from bench.protocol import Protocol, Recipe, declared
from bench.reading.document import parse_document
from bench.registry import Registry
from bench.spec import MethodSpec, Named, RunSpec, Seeds
from bench.task import find_task, tasks_of
from bench.training.checkpoint import Checkpoint
from bench.training.choosing import with_validation
from bench.training.features import Features, with_features
from bench.training.feed import fed
from bench.training.fit import StageLoss, fit, gradients, no_terms, set_modes, trained
from bench.training.fit import Terms as RunningTerms
from bench.training.passes import Passes

CLASSES, IMAGES, BATCH, STEPS = 10, 40, 16, 6
SHIPPED = ("micro_vit", "micro_resnet", "micro_clip")
"""Backbones that come with weights, or need none, so that a check needs no download."""


class Broken(Exception):
    """A promise is not kept; the message says which and how."""


@dataclass(frozen=True)
class Examined:
    """A method file under examination, a backbone that has what it needs, and the task that it is tried at."""

    card: MethodCard
    backbone: BackboneCard
    registry: Registry
    task: str = CLASSIFICATION

    def built(self) -> Method:
        """The method with its defaults."""
        method = self.registry.load_method(self.card)(**dict(self.card.resolve({})))
        assert isinstance(method, Method)
        return method

    def model(self) -> Model:
        """The backbone with what gives the task's predictions, always drawn alike."""
        torch.manual_seed(0)
        model = find_task(self.task).build(self.backbone, CLASSES, self.protocol)
        equip(model, self.backbone, beside([self.card], self.backbone))
        return model

    def data(self) -> TrainingImages:
        """Forty images of noise of the size and channels that the backbone takes, with what is to be said of them."""
        model, state, task = self.model(), np.random.RandomState(0), find_task(self.task)
        size, channels = input_size(model), model.mean.shape[0]
        pixels = ArrayImages(state.randint(0, 256, (IMAGES, size, size, channels)).astype(np.uint8))
        split = task.noise(pixels, CLASSES, state)
        dataset, seeds = Dataset([*map(str, range(CLASSES))], split, None, split), Seeds(subset=5, init=5, order=5)
        method = MethodSpec(self.card.name, self.card.means, self.card.resolve({}))
        backbone = Named(self.backbone.name, self.backbone.means)
        spec = RunSpec(method, backbone, Named("noise", "noise"), 100.0, self.protocol, seeds, seed=5)
        images = task.images(spec, dataset, np.arange(IMAGES), model, torch.device("cpu"))
        return with_features(with_validation(images, split, task), Features(spec))

    @property
    def protocol(self) -> Protocol:
        """Of small batches; of a small decoder, where the task has one."""
        if self.task == CLASSIFICATION:
            return Protocol(batch_size=BATCH, augmentation="shift", label_smoothing=0.1)
        least = Protocol(batch_size=BATCH, augmentation="none")
        return dataclasses.replace(least, decoder=8) if "decoder" in find_task(self.task).settings else least

    def stages(self, model: Model, data: TrainingImages) -> Iterator[Stage]:
        """The stages of a short training with the method's defaults, as the method plans them (see ``fed``)."""
        torch.manual_seed(1)
        recipe = Recipe(steps=STEPS, warmup=1, lr=1e-3).resolved(len(data), BATCH)
        return self.built().stages(model, recipe, data)


Checks = Mapping[str, Callable[[Examined], None]]
"""Promises as sentences, each with what checks it."""


def find_examined(card: MethodCard, registry: Registry, backbone: str = "") -> Examined:
    """The method with the backbone that is named, or else with the first shipped one that has what it needs.

    It is tried at classification, or else at the first task that it is for.

    Raises:
        InputError: the backbone lacks something that the method or its task needs, or every shipped one does.
    """
    task = next(name for name, reason in tasks_of(card).items() if not reason)
    lacking: dict[str, list[str]] = {}
    for name in [backbone] if backbone else [name for name in SHIPPED if name in registry.backbone_files]:
        backbone_card = registry.backbone(name)
        lacking[name] = sorted(card.needs - backbone_card.offers)
        if reason := find_task(task).why_not_backbone(backbone_card):
            raise InputError(f"{card.name} is for {task}: {reason}")
        if not lacking[name]:
            return Examined(card, backbone_card, registry, task)
    reasons = "; ".join(f"{name} does not offer {', '.join(items)}" for name, items in lacking.items())
    raise InputError(f"{card.name}: {reasons}; name a backbone that does with --backbone")


def examine(subject: Examined, promises: Checks | None = None) -> Iterator[tuple[str, str]]:
    """Each promise, as a sentence, with what is wrong: an empty text where it is kept. All of them, or those given."""
    for promise, check in (CHECKS if promises is None else promises).items():
        try:
            check(subject)
        except (Broken, InputError) as problem:
            yield promise, str(problem)
        except Exception as error:
            yield promise, f"{type(error).__name__}: {error}{_place(error, subject.card.path)}"
        else:
            yield promise, ""


def card_is_class(subject: Examined) -> None:
    """The card read from the text agrees with the class that Python makes of the file."""
    card = subject.card
    method_class: Any = subject.registry.load_method(card)
    if not getattr(getattr(method_class, "__dataclass_params__", None), "frozen", False):
        raise Broken(f"{card.class_name} must be decorated with @dataclass(frozen=True)")
    fields = [field.name for field in dataclasses.fields(method_class)]
    if list(card.hypers) != [name for name in fields if not (name == "inner" and card.policy)]:
        raise Broken(f"its fields are {fields}, the file declares {list(card.hypers)}")
    if card.hypers != declared(method_class):
        raise Broken("a hyper-parameter has another declaration when the file is run than when it is read")
    declared_needs = frozenset(method_class.needs), frozenset(method_class.uses)
    if (card.needs, card.uses) != declared_needs or card.paper != method_class.paper:
        raise Broken("'needs', 'uses' or 'paper' is another when the file is run than when it is read")
    for name in ("tasks", "beside", "packages"):
        if getattr(card, name) != frozenset(getattr(method_class, name)):
            raise Broken(f"'{name}' is another when the file is run than when it is read")
    if not card.paper.strip():
        raise Broken("it has no paper: paper = 'authors, title, where' (or who made it up)")
    if method_class() != subject.built():
        raise Broken("the class's defaults are not the declared ones")


def hypers_survive_yaml(subject: Examined) -> None:
    """Hyper-parameters written into an experiment come back with their values and types."""
    card = subject.card
    others = {key: another(hyper) for key, hyper in card.hypers.items()}
    deciding = {hyper.by: others[hyper.by] for hyper in card.hypers.values() if hyper.by}
    for values in ({}, deciding, others):
        resolved = card.resolve(dict(values))
        text = yaml.safe_dump({card.name: dict(resolved)})
        again = card.resolve(dict(parse_document(text, "experiment")[card.name]))
        if again != resolved or [type(value) for _, value in again] != [type(value) for _, value in resolved]:
            raise Broken(f"{dict(resolved)} becomes {dict(again)}")


def loss_is_finite(subject: Examined) -> None:
    """In each stage the loss gives named scalars, finite, at least one with a gradient; under bf16 autocast too."""
    data = subject.data()
    for number, planned in enumerate(subject.stages(subject.model(), data), start=1):
        stage, images = fed(planned, data)
        set_modes(stage)
        for precision in ("fp32", "bf16"):
            with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
                terms = stage.loss(stage.model, images.batch(0, stage.views))
            if not isinstance(terms, Mapping) or not all(isinstance(term, Tensor) for term in terms.values()):
                raise Broken(no_terms(stage.loss, terms))
            place = f"stage {number}, {precision}"
            if not terms or not all(isinstance(name, str) and name for name in terms):
                raise Broken(f"{place}: a loss gives a dictionary of named terms, such as {{'ce': ...}}")
            for name, term in terms.items():
                if term.shape != () or not math.isfinite(term.item()):
                    raise Broken(f"{place}: the term {name} must be one finite number, it is {term.detach()}")
            if not any(term.requires_grad for term in terms.values()):
                raise Broken(f"{place}: no term has a gradient: nothing would be trained")


def only_listed_weights_move(subject: Examined) -> None:
    """In each stage what is listed in ``train`` moves, and all else stays as it is, bit for bit."""
    data, done = subject.data(), 0
    for number, planned in enumerate(subject.stages(subject.model(), data), start=1):
        stage, images = fed(planned, data)
        tensors = [(*module.parameters(False), *module.buffers(False)) for module in _modules(stage)]
        listed = {id(tensor) for of_module in tensors for tensor in of_module}
        listed |= {id(item) for item in stage.items if isinstance(item, nn.Parameter)}
        named = [*stage.model.named_parameters(), *stage.model.named_buffers()]
        start = {name: value.detach().clone() for name, value in named}
        fit(stage, images, start=done)
        done += stage.recipe.last - stage.recipe.first
        moved = {name for name, value in named if not torch.equal(value, start[name])}
        stray = sorted(name for name, value in named if name in moved and id(value) not in listed)
        if stray:
            raise Broken(f"stage {number} moves {', '.join(stray[:3])}, which it does not list in train")
        if not moved:
            raise Broken(f"stage {number} trains nothing of its model")


def budget_is_kept(subject: Examined) -> None:
    """The stages together take no more steps than the protocol gives."""
    stages = [stage for stage in _trained(subject)[0] if not (stage.shared and stage.shared.extra)]
    total = sum(stage.recipe.last - stage.recipe.first for stage in stages)
    if total > STEPS:
        raise Broken(f"they take {total} of {STEPS} steps; cut them with recipe.window, recipe.share and recipe.rest")


def beside_is_named(subject: Examined) -> None:
    """Each stage has beside its model the further models that the class names; what is scored is kept in ``state``."""
    named = subject.card.beside
    for number, stage in enumerate(subject.stages(subject.model(), subject.data()), start=1):
        if not stage.shared and {*stage.beside} != named:
            has = ", ".join(stage.beside) or "nothing"
            raise Broken(f"stage {number} has {has} beside its model; the class names them all: beside = {{'raw'}}")
        kept = {id(module) for item in (stage.model, *stage.state) for module in item.modules()}
        if stage.scored is not None and id(stage.scored) not in kept:
            raise Broken(f"stage {number}: what is 'scored' is no module of 'state', so it is not kept with the run")


def same_seed_same_bits(subject: Examined) -> None:
    """Two trainings from the same seeds end in the same weights."""
    advice = "draw from torch's global generator, and from nothing else"
    _require_same(_ends(subject), _ends(subject), advice)


def taken_up_same_bits(subject: Examined) -> None:
    """A training that is stopped after every other step, and taken up by a new process, ends in the same weights."""
    stages, model = _trained(subject)
    whole, steps = _state(model), sum(stage.recipe.last - stage.recipe.first for stage in stages)
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(max(steps, STEPS) + 1):
            try:
                taken_up = _ends(subject, _Stopping(Path(folder)))
                break
            except _Stop:
                continue
        else:
            raise Broken("it takes more steps when it is taken up than without a stop")
    advice = "what a loss changes must be tensors of modules listed in 'state' or 'train'"
    _require_same(whole, taken_up, advice)


def _require_same(first: dict[str, Tensor], second: dict[str, Tensor], advice: str) -> None:
    for name, value in first.items():
        if not torch.equal(value, second[name]):
            raise Broken(f"{name} differs: {advice}")


def parts_add_up(subject: Examined) -> None:
    """A batch computed in parts has the gradients of the batch.

    A method that says it is ``per_image`` is given each part for itself; any other the whole batch, of which the model
    computes a part at a time.
    """
    alone = splittable(subject.built())
    advice = "say per_image = False" if alone else "what the model computes must depend on its images and weights alone"
    of_stages = zip(_gradients(subject, 1, alone), _gradients(subject, 3, alone), strict=True)
    for number, (whole, parts) in enumerate(of_stages, start=1):
        largest = max((float(value.abs().max()) for value in whole.values()), default=0.0)
        for name, value in whole.items():
            # the sums are in another order, and no more; what is nothing but rounding may be any such
            least = max(1e-4 * float(value.abs().max()), 1e-6 * largest)
            if not torch.allclose(value, parts[name], rtol=1e-3, atol=least):
                raise Broken(f"stage {number}: the gradient of {name} differs; {advice}")


def weights_stay_finite(subject: Examined) -> None:
    """The model at the end of a short training gives finite logits of the right shape."""
    data = subject.data()
    model = _trained(subject)[1].eval()
    with torch.no_grad():
        logits = model(data.batch(0).images).logits
    if logits.shape[:2] != (BATCH, CLASSES) or not torch.isfinite(logits).all():
        raise Broken(f"logits {tuple(logits.shape)}, finite: {bool(torch.isfinite(logits).all())}")


CHECKS: Checks = {
    "its card, read from the text, is what Python makes of the file": card_is_class,
    "its hyper-parameters survive being written into an experiment": hypers_survive_yaml,
    "its loss gives finite named terms with a gradient, in fp32 and under bf16 autocast": loss_is_finite,
    "what a stage lists is trained and nothing else moves, bit for bit": only_listed_weights_move,
    "its stages keep within the budget of steps": budget_is_kept,
    "what is scored beside its model is what its class names": beside_is_named,
    "the same seeds give the same weights, bit for bit": same_seed_same_bits,
    "a training that is stopped and taken up again ends in the same weights, bit for bit": taken_up_same_bits,
    "a batch may be computed in parts": parts_add_up,
    "after training the model gives finite logits": weights_stay_finite,
}
"""The promises as sentences, each with what checks it."""

OF_EACH_TASK: Checks = {
    promise: check for promise, check in CHECKS.items() if check in (loss_is_finite, only_listed_weights_move)
}
"""Those that are checked at every task that a method is for; the others, once they are kept at one, follow."""


def _gradients(subject: Examined, parts: int, alone: bool) -> list[dict[str, Tensor]]:
    """The gradient of each stage, untrained, of a batch in so many parts."""
    data, by_stage = subject.data(), []
    for planned in subject.stages(subject.model(), data):
        torch.manual_seed(2)
        with chunked(1 if alone else parts):
            by_stage.append(_gradient(*fed(planned, data), parts if alone else 1))
    return by_stage


def _gradient(stage: Stage, data: TrainingImages, parts: int) -> dict[str, Tensor]:
    set_modes(stage)
    for module in {*_modules(stage), *stage.model.modules()}:
        if isinstance(module, (nn.Dropout, DropPath, nn.modules.batchnorm._BatchNorm)):
            module.eval()  # it draws, or looks at the whole batch, whatever the loss
    named = dict(trained(stage))
    batch, loss = data.batch(0, stage.views), StageLoss(stage)

    def a_pass() -> Terms:
        for weights in named.values():
            weights.grad = None
        return gradients(loss, batch, parts)

    stage.step(Passes(stage, a_pass), lambda: None)
    return {name: weights.grad.clone() for name, weights in named.items() if weights.grad is not None}


def _modules(stage: Stage) -> Iterator[nn.Module]:
    """Every module of what a stage trains, those inside of others too."""
    for item in stage.items:
        if isinstance(item, nn.Module):
            yield from item.modules()


class _Stop(Exception):
    """Ends a training as a killed process would."""


class _Stopping(Checkpoint):
    """Keeps the state after every step, and stops the training after every other one."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, "conformance", 0.0)
        self.steps = 0

    def step(self, stage: Stage, number: int, optimizer: torch.optim.Optimizer, terms: RunningTerms) -> None:
        super().step(stage, number, optimizer, terms)
        self.steps += 1
        if self.steps == 2:
            raise _Stop


def _trained(subject: Examined, keeper: Checkpoint | None = None) -> tuple[list[Stage], Model]:
    """Every stage, each trained before the next is asked for; and the model that is evaluated."""
    model, data, done, stages, optimizer = subject.model(), subject.data(), 0, list[Stage](), None
    for number, planned in enumerate(subject.stages(model, data)):
        stage, images = fed(planned, data)
        if not (keeper and keeper.enter(number, stage)):
            optimizer = fit(stage, images, start=done, previous=optimizer, keeper=keeper)
        if keeper:
            keeper.end(stage)
        done += stage.recipe.last - stage.recipe.first
        stages.append(planned)
        model = stage.model
    return stages, model


def _ends(subject: Examined, keeper: Checkpoint | None = None) -> dict[str, Tensor]:
    return _state(_trained(subject, keeper)[1])


def _state(model: Model) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in model.state_dict().items()}


def _place(error: BaseException, path: Path) -> str:
    """Where in the method's file an error came up, if it did there."""
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(path)]
    return f" ({path.name}:{lines[-1]})" if lines else ""

"""How strong what a method adds to cross-entropy is: the norm of its gradient over that of cross-entropy's.

    python benchmarks/gradient_ratios.py > results/shown/gradient_ratios.md

One line for each stage of each method that has a term beside cross-entropy, at its defaults and with each value of each
hyper-parameter that changes the formula. A weight that was published for another divisor shows as a factor here.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor, nn

from bench.backbones import Model, build_model
from bench.backbones.build import equip
from bench.cards import BackboneCard, MethodCard
from bench.cards.method import beside
from bench.conformance import find_examined
from bench.data import Split, TrainingImages, Validation, read_data
from bench.hyper import Hyper, Value
from bench.method import Batch, Method, Stage
from bench.protocol import Protocol, Recipe
from bench.registry import Registry
from bench.training.fit import fit, set_modes

BATCH, IMAGES, STEPS, BATCHES, DIGITS = 64, 640, 20, 5, 10
PROGRESS = 20 / 300
"""The share of training that is done where the terms are looked at: the peak of the only weight that ramps, DRLoc's."""
FINE = 100
"""Classes of the second column: each digit's images are divided at random into ten."""

NOT_THE_FORMULA = {
    "batch_norm",
    "contrast_augmentation",
    "distil_augmentation",
    "on_top",
    "position",
    "replaces_decay",
    "schedule",
    "source_precision",
    "then",
    "unshare",
}
"""Hyper-parameters with a list of values that say how a model is fed, built or optimised, and not what the loss is."""


@dataclass(frozen=True)
class Case:
    """A method with what is written of its hyper-parameters."""

    card: MethodCard
    settings: tuple[tuple[str, Value], ...] = ()

    @property
    def written(self) -> str:
        """As on the command line: ``coin(variant=released)``."""
        inside = ",".join(f"{name}={str(value).lower()}" for name, value in self.settings)
        return f"{self.card.name}({inside})" if inside else self.card.name

    def built(self, registry: Registry) -> Method:
        """The method, with every other hyper-parameter at its default."""
        method = registry.load_method(self.card)(**dict(self.card.resolve(dict(self.settings))))
        assert isinstance(method, Method)
        return method


@dataclass(frozen=True)
class Ratio:
    """What one stage adds, as shares of the gradient of cross-entropy on the same batch."""

    stage: int
    terms: tuple[str, ...]
    backbone: float
    head: float


def cases(card: MethodCard) -> list[Case]:
    """A method at its defaults, and with each other value that changes its formula, one at a time."""
    defaults, found = dict(card.resolve({})), [Case(card)]
    for name, declared in card.hypers.items():
        values = () if name in NOT_THE_FORMULA else _listed(declared)
        found += [Case(card, ((name, value),)) for value in values if value != defaults[name]]
    return found


def _listed(declared: Hyper) -> Sequence[Value]:
    return (False, True) if declared.type == "bool" else declared.choices or ()


def measured(case: Case, classes: int, registry: Registry) -> list[Ratio]:
    """The ratio of each stage that has a term beside cross-entropy: the median over batches.

    The method begins with the pre-trained weights, of which it may make its source; its terms are looked at where plain
    fine-tuning has come after some steps, since at the start a distance to the source is zero.
    """
    backbone = find_examined(case.card, registry).backbone
    data, model = images(backbone.name, classes), built_model(backbone, classes, case.card)
    recipe = Recipe(steps=100, lr=1e-3).resolved(len(data), BATCH)
    torch.manual_seed(1)
    ratios = []
    for number, stage in enumerate(case.built(registry).stages(model, recipe, data), start=1):
        if stage.model is model:
            model.load_state_dict(tuned(backbone.name, classes), strict=False)
        set_modes(stage)
        batches = [data.batch(STEPS + batch, stage.views) for batch in range(BATCHES)]
        shares = [of_batch(stage, replace(batch, progress=PROGRESS)) for batch in batches]
        if terms := shares[0][0]:
            backbones, heads = zip(*(share[1:] for share in shares), strict=True)
            ratios.append(Ratio(number, terms, statistics.median(backbones), statistics.median(heads)))
    return ratios


def of_batch(stage: Stage, batch: Batch) -> tuple[tuple[str, ...], float, float]:
    """The terms beside cross-entropy, and the norm of their gradient over its: of the backbone, and of the head."""
    terms = stage.loss(stage.model, batch)
    added = {name: term for name, term in terms.items() if name != "ce"}
    if not added:
        return (), 0.0, 0.0
    plain = terms.get("ce")
    if plain is None:
        plain = batch.cross_entropy(stage.model(batch.images[0] if stage.views > 1 else batch.images))
    parts = (stage.model.backbone, stage.model.head)
    of_added = norms(torch.stack(list(added.values())).sum(), parts)
    of_plain = norms(plain, parts)
    return tuple(added), of_added[0] / of_plain[0], of_added[1] / of_plain[1] if of_plain[1] else 0.0


def norms(loss: Tensor, parts: Sequence[nn.Module]) -> list[float]:
    """The norm of a loss's gradient in each part; 0 where it does not reach it."""
    lengths = []
    for part in parts:
        weights = [weight for weight in part.parameters() if weight.requires_grad]
        reached = torch.autograd.grad(loss, weights, retain_graph=True, allow_unused=True) if weights else ()
        squares = [gradient.square().sum().item() for gradient in reached if gradient is not None]
        lengths.append(sum(squares) ** 0.5)
    return lengths


def built_model(backbone: BackboneCard, classes: int, card: MethodCard | None = None) -> Model:
    """A shipped backbone with a new head, always drawn alike."""
    torch.manual_seed(0)
    model = build_model(backbone, classes)
    if card:
        equip(model, backbone, beside([card], backbone))
    return model


@lru_cache
def tuned(backbone: str, classes: int) -> Mapping[str, Tensor]:
    """The weights of a shipped backbone with its head after some steps of plain fine-tuning."""
    data, model = images(backbone, classes), built_model(Registry().backbone(backbone), classes)
    (stage,) = Method().stages(model, Recipe(steps=STEPS, lr=1e-3).resolved(len(data), BATCH), data)
    fit(stage, data, start=0)
    return {name: value.clone() for name, value in model.state_dict().items()}


@lru_cache
def images(backbone: str, classes: int) -> TrainingImages:
    """Cluttered digits, as they are; with more classes than digits, the images of each are divided at random."""
    whole = read_data(Registry().dataset("cluttered_digits")).train
    labels = whole.labels
    if classes > DIGITS:
        labels = labels * (classes // DIGITS) + np.random.RandomState(0).randint(0, classes // DIGITS, len(labels))
    protocol = Protocol(batch_size=BATCH, augmentation="none")
    split = Split(whole.images, labels)
    names = tuple(f"number {label}" for label in range(classes))
    data = TrainingImages(split, np.arange(IMAGES), classes, protocol, 12, 0, torch.device("cpu"), names)
    return replace(data, held_out=Validation(data, lambda model: 0.0))  # what is chosen there changes no gradient


PAGE = """# How strong what a method adds is

Made by `python benchmarks/gradient_ratios.py > results/shown/gradient_ratios.md` in float32 on one core (no GPU),
torch {torch}. The norm of the gradient of what a method adds, over that of cross-entropy on the same batch: of the
backbone's weights with 10 classes and with 100, and of the head's with 10. The median of {batches} batches of
{batch} cluttered digits, on the micro ViT, or for a method that needs one on the micro ResNet or the micro CLIP (whose
weights are random), after {steps} steps of plain fine-tuning from the pre-trained weights (AdamW, 1e-3). With 100
classes, a digit's images are divided at random into ten. Where a stage has no cross-entropy of its own, it is that of
the model as it is.

A method stands at its defaults, and with each value of each hyper-parameter that changes its formula. The numbers
are of this model and batch: a sum over a batch (`delta`), over weights (`l2sp`) or over singular values (`bss`)
grows with what it is of. They are here to be compared with one another: two forms of one loss that differ by a
factor need two weights, and where both were published with one number (`coin`, `scl`), whoever changes the form
changes the strength.

| method | stage | terms | 10 classes | 100 classes | head |
|---|---:|---|---:|---:|---:|"""


def lines(registry: Registry) -> Iterator[str]:
    """The page: what was measured, the table, and the methods that add nothing."""
    yield PAGE.format(torch=torch.__version__.partition("+")[0], batches=BATCHES, batch=BATCH, steps=STEPS)
    plain = []
    for name in registry.method_files:
        card = registry.method(name)
        for case in cases(card):
            coarse, fine = (measured(case, classes, registry) for classes in (DIGITS, FINE))
            if not coarse:
                plain.append(name)
                break
            for few, many in zip(coarse, fine, strict=True):
                shares = [_two_digits(share) for share in (few.backbone, many.backbone, few.head)]
                yield f"| {' | '.join([f'`{case.written}`', str(few.stage), ', '.join(few.terms), *shares])} |"
    yield ""
    yield f"Cross-entropy alone: {', '.join(plain)}."


def _two_digits(share: float) -> str:
    return np.format_float_positional(share, precision=2, fractional=False, trim="-") if share else "–"


def main() -> None:
    """Print the page."""
    torch.set_num_threads(1)
    for line in lines(Registry()):
        print(line, flush=True)


if __name__ == "__main__":
    main()

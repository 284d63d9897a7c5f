"""A rehearsal: a plan made small, so that what would fail in it is found before the GPU-weeks.

From a plan to a smaller one, whatever it was declared as. Everything that counts images of a step is scaled by one
factor; steps, warm-ups, image sizes and datasets become small; backbones stay the whole architectures, with the weights
that are here or drawn ones. Nothing here trains, or imports torch.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

from bench.cards import BackboneCard, DatasetCard
from bench.cards.backbone import DRAWN, RANDOM, TO_BE_GIVEN
from bench.cards.drawn import SMALL, drawn_backbone
from bench.cards.patches import least_size
from bench.cards.rehearsal import MOST_IMAGES, MOST_SEED, REHEARSAL, Excerpt, rehearsal_dataset
from bench.errors import InputError
from bench.plan.cover import covering
from bench.plan.table import REHEARSED, Candidate, Ground, Plan, PlannedCell, TablePlan
from bench.protocol import Protocol, Recipe
from bench.rate import WHOLE, budget_of
from bench.registry import Registry
from bench.spec import MethodSpec, Named, RunSpec
from bench.task import find_task

ELSEWHERE = "its row and its column are rehearsed in other cells (--whole rehearses every cell)"
PER_FILTER = "last_convs"
"""What a method needs that judges every filter by itself: of a whole network that takes thousands of passes."""

LEAST_HELD_OUT = 0.25
"""Share of each class for validation where some is held out: of four images one."""

FEW_CHANNELS = 16
"""Of a decoder, at most: it is as deep as the planned one, and computed in no time."""

Swept = tuple[Candidate, ...]


@dataclass(frozen=True)
class Scale:
    """How small a rehearsal is.

    Attributes:
        images: training images of a dataset at most; ``test_images``: of each other split.
        steps: of a run.
        batch: images of a step at most.
        seed: of the images that are taken or drawn.
        small: whether backbones have few layers and drawn weights.
        whole: whether every cell is trained, with all candidates, and not only as many as every label needs.
    """

    images: int = 64
    test_images: int = 16
    steps: int = 4
    batch: int = 8
    seed: int = 0
    small: bool = False
    whole: bool = False

    def check(self) -> None:
        """Raise ``InputError`` where so little cannot be trained on, or so much not be written."""
        least = {"images": 8, "test_images": 1, "steps": 2, "batch": 2, "seed": 0}
        most = {"images": MOST_IMAGES, "test_images": MOST_IMAGES, "seed": MOST_SEED}
        for name, low in least.items():
            value, flag = getattr(self, name), f"--{name.replace('_', '-')}"
            if value < low:
                raise InputError(f"{flag} {value}: a rehearsal needs {low} or more")
            if value > (high := most.get(name, value)):
                raise InputError(f"{flag} {value}: a rehearsal takes {high:,} at most")


class RehearsalRegistry(Registry):
    """A registry whose backbones have drawn weights where their own are not here, so that every cell can be planned."""

    def __init__(self, plugins: Iterable[str | Path], small: bool) -> None:
        super().__init__(plugins)
        self._plain, self._small = Registry(self.plugins), small

    def backbone(self, name: str) -> BackboneCard:
        """As the registry's; a name with weights behind it is taken as it stands."""
        card = self._plain.backbone(name)
        if "@" in name or (not self._small and _weights_are_here(card)):
            return card
        return drawn_backbone(card, SMALL if self._small else DRAWN)


def rehearse(plan: Plan, registry: Registry, scale: Scale) -> Plan:
    """The plan made small. Published numbers, comparisons and what follows from them are left out of it.

    Raises ``InputError``: the scale is too small, or larger than names of datasets can say.
    """
    scale.check()
    smaller = _Smaller(registry, scale)
    chosen = None if scale.whole else covering(plan)
    tables = []
    for number, table in enumerate(plan.tables):
        cells = [
            [smaller.cell(cell, chosen is None or (number, (row, at)) in chosen) for at, cell in enumerate(line)]
            for row, line in enumerate(table.cells)
        ]
        tables.append(_marked(table, tuple(map(tuple, cells)), scale))
    return Plan(f"{REHEARSED}{plan.name}", f"Rehearsal of {plan.title or plan.name}", tuple(tables))


def _marked(table: TablePlan, cells: tuple[tuple[PlannedCell, ...], ...], scale: Scale) -> TablePlan:
    """A table that says in its name, its title and its first note what it is, and compares nothing."""
    note = (
        f"A rehearsal: {scale.steps} steps of at most {scale.batch} images on a few or drawn images, most of them with "
        "drawn weights. Its numbers say that the runs train, and nothing else."
    )
    return replace(
        table,
        name=f"{REHEARSED}{table.name}",
        title=f"REHEARSAL of {table.title}",
        cells=cells,
        contests=(),
        baseline="",
        rules=replace(table.rules, across="", margin=None),
        notes=(note, *table.notes),
        published_note="",
        published_measured="",
    )


class _Smaller:
    """Makes cells and runs small; what several share is worked out once."""

    def __init__(self, registry: Registry, scale: Scale) -> None:
        self.registry, self.scale = registry, scale
        self.dataset = cache(self._dataset)
        self.size = cache(self._size)
        self.counts = cache(lambda name: registry.method(name).batches)

    def cell(self, cell: PlannedCell, is_chosen: bool) -> PlannedCell:
        """A cell that is trained, or one that is left to others; without what was published."""
        bare = replace(cell, printed=None, ground=Ground(), unlike=False, lack="")
        if cell.quoted:
            return replace(bare, quoted=False, candidates=(), reason="quoted, not run")
        if not cell.candidates:
            return bare
        if not is_chosen:
            return replace(bare, candidates=(), reason=ELSEWHERE)
        candidates = tuple(
            replace(candidate, runs=tuple(map(self.run, candidate.runs))) for candidate in self.kept(cell.candidates)
        )
        run = candidates[0].runs[0]
        return replace(
            bare, candidates=candidates, axes={**cell.axes, "dataset": run.dataset.name, "backbone": run.backbone.name}
        )

    def kept(self, candidates: Swept) -> Swept:
        """The two ends of a sweep, so that one of them is chosen as in the plan itself."""
        return candidates if self.scale.whole or len(candidates) < 3 else (candidates[0], candidates[-1])

    def run(self, spec: RunSpec) -> RunSpec:
        """A run made small."""
        factor = min(1.0, self.scale.batch / spec.protocol.batch_size)
        return replace(
            spec,
            method=self.method(spec.method, factor),
            backbone=self.backbone(spec),
            dataset=self.dataset(spec.dataset.name).named,
            rate=WHOLE if budget_of(spec.rate) else spec.rate,  # of so few images there may be no budget
            protocol=self.protocol(spec, factor),
        )

    def backbone(self, spec: RunSpec) -> Named:
        """The backbone of a run; few layers of it where its weights are drawn and the method judges each filter."""
        name, at, weights = spec.backbone.name.partition("@")
        if weights == DRAWN and PER_FILTER in self.registry.method(spec.method.name).needs:
            return self.registry.backbone(f"{name}{at}{SMALL}").named
        return spec.backbone

    def method(self, method: MethodSpec, factor: float) -> MethodSpec:
        """A method whose own batches are scaled as the protocol's."""
        counts = self.counts(method.name)
        hyper = tuple(
            (name, self.images(int(value or 0), factor) if name in counts else value) for name, value in method.hyper
        )
        return replace(method, hyper=hyper, policies=tuple(self.method(policy, factor) for policy in method.policies))

    def images(self, count: int, factor: float) -> int:
        """So many images of a step, scaled; 0 stays 0. At most two batches, which a stage of few steps can fill."""
        return max(min(count, 2), min(round(count * factor), 2 * self.scale.batch))

    def protocol(self, spec: RunSpec, factor: float) -> Protocol:
        """The protocol of a run, made small."""
        protocol, has_decoder = spec.protocol, not find_task(self.registry.dataset(spec.dataset.name).task).linear_head
        # whatever counts images of a step is called so, as a method's own batches are
        counts = {
            field.name: self.images(getattr(protocol, field.name), factor)
            for field in dataclasses.fields(protocol)
            if field.name.endswith("_batch")
        }
        changes: dict[str, Any] = {
            **counts,
            "recipe": smaller_recipe(protocol.recipe, self.scale.steps),
            "batch_size": min(protocol.batch_size, self.scale.batch),
            "image_size": self.size(spec.backbone.name, protocol.image_size, has_decoder),
            "evaluations": min(protocol.evaluations, 2),
            "validation": max(protocol.validation, LEAST_HELD_OUT) if protocol.validation else 0.0,
        }
        if has_decoder:
            changes["decoder"] = min(protocol.decoder, FEW_CHANNELS)
        return replace(protocol, **changes)

    def _size(self, backbone: str, planned: int, has_decoder: bool) -> int:
        """Pixels a side of the images of a backbone: few, unless those planned are fewer or nobody knows what fits."""
        card = self.registry.backbone(backbone)
        least, planned_size = least_size(card, has_decoder), planned or int(card.arguments.get("img_size") or 224)
        return least if 0 < least < planned_size else planned

    def _dataset(self, name: str) -> DatasetCard:
        return cut_down(self.registry.dataset(name), self.scale)


def cut_down(card: DatasetCard, scale: Scale) -> DatasetCard:
    """What a rehearsal takes of a dataset, or puts in its place where it is not here."""
    excerpt = Excerpt(scale.images, scale.test_images, scale.seed, drawn=bool(card.missing))
    return rehearsal_dataset(card, excerpt)


def smaller_recipe(recipe: Recipe, steps: int) -> Recipe:
    """A recipe of so many steps, with the share of them that its warm-up has; epochs become steps."""
    share = recipe.warmup / recipe.steps if recipe.steps else recipe.warmup_epochs / max(1, recipe.epochs)
    if recipe.epochs and recipe.warmup:
        share = 0.5  # steps of a schedule in epochs: how many these are depends on the images
    warmup = min(max(1, round(share * steps)), steps - 1) if share else 0
    return replace(recipe, steps=steps, epochs=0, warmup=warmup, warmup_epochs=0.0)


@dataclass(frozen=True)
class Substitutes:
    """What a rehearsal puts in the place of what, each name once.

    Attributes:
        drawn_datasets: those that are not here; ``cut_datasets``: those of which some images are taken.
        drawn_weights: backbones whose weights are drawn; ``weights``: those that have their own.
        few_layers: those of which some runs have few layers.
        sizes: pixels a side.
    """

    drawn_datasets: tuple[str, ...]
    cut_datasets: tuple[str, ...]
    drawn_weights: tuple[str, ...]
    weights: tuple[str, ...]
    few_layers: tuple[str, ...]
    sizes: tuple[int, ...]


def substitutes(plan: Plan, rehearsed: Plan, registry: Registry) -> Substitutes:
    """What stands in a rehearsal in the place of what its plan has."""
    names = dict.fromkeys(spec.dataset.name for table in rehearsed.tables for spec in table.runs())
    planned = dict.fromkeys(spec.dataset.name for spec in plan.unique.values())
    cards = {name: registry.dataset(name) for name in planned}
    runs = rehearsed.unique.values()
    backbones = [registry.backbone(name) for name in dict.fromkeys(spec.backbone.name for spec in runs)]
    is_met = {name.removeprefix(REHEARSAL).partition(":")[2] for name in names}
    return Substitutes(
        drawn_datasets=tuple(name for name, card in cards.items() if card.missing and name in is_met),
        cut_datasets=tuple(name for name, card in cards.items() if not card.missing and name in is_met),
        drawn_weights=tuple(dict.fromkeys(card.name.partition("@")[0] for card in backbones if card.weights == DRAWN)),
        few_layers=tuple(card.name.partition("@")[0] for card in backbones if card.name.endswith(f"@{SMALL}")),
        weights=tuple(card.name for card in backbones if card.weights not in RANDOM),
        sizes=tuple(sorted({spec.protocol.image_size for spec in runs})),
    )


def _weights_are_here(card: BackboneCard) -> bool:
    """Whether a backbone's own weights can be had without a network."""
    if card.weights == TO_BE_GIVEN:
        return False
    if card.weights == "pretrained":
        return _is_in_cache(card.model)
    return True


def _is_in_cache(model: str) -> bool:
    """Whether the cache of the Hugging Face hub has timm's weights of a model, by the name that timm has for them."""
    home = os.environ.get("HF_HOME") or Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache", "huggingface")
    hub = Path(os.environ.get("HF_HUB_CACHE") or Path(home, "hub")).expanduser()
    return any(hub.glob(f"models--timm--{model}/snapshots/*/model.safetensors"))

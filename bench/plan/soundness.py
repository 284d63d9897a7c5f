"""What is refused of runs that could be trained, and would not be what was meant; nothing here imports torch.

Asked where runs are planned or trained, and not where they are shown: records of such runs stay readable.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import cache

from bench.cards import BackboneCard, DatasetCard
from bench.cards.acting import EACH, IDLE, LEAVES, SHARES
from bench.cards.demands import VALIDATION
from bench.cards.patches import unseen
from bench.cards.reasons import without_layers
from bench.errors import Problems
from bench.plan.architectures import require_known_models
from bench.plan.budgets import unmet_budgets
from bench.plan.settings import noted
from bench.protocol import NOT_COMPILED, NOT_SHARED, REDUCE_OVERHEAD
from bench.rate import most_images, rate_label
from bench.registry import Registry
from bench.spec import RunSpec
from bench.task import Task, find_task


def require_sound(runs: Iterable[RunSpec], registry: Registry, say: Callable[[str], None], ranks: int = 1) -> list[str]:
    """Refuse what of some runs cannot have been meant, and give in lines what may not have been.

    That timm is asked, which takes seconds, is said. ``ranks`` processes share each run. Raises ``InputError`` that
    tells of each: a model that timm does not have, an image size that its patches do not divide, a decay of
    learning rates by layers where nobody knows them, a batch of one for a loss over the images of a batch, a protocol,
    method or backbone that a dataset's task cannot be trained with, a method that chooses by a validation split which
    its runs lack, a policy that would change nothing, a budget of images that its dataset cannot meet, passes that
    cannot be compiled.
    """
    problems, runs = Problems(), list(runs)
    backbone, dataset = cache(registry.backbone), cache(registry.dataset)  # of a folder each look-up lists its files
    with noted(problems):
        require_known_models({spec.backbone.name: backbone(spec.backbone.name) for spec in runs}.values(), say)
    for name, size in dict.fromkeys((spec.backbone.name, spec.protocol.image_size) for spec in runs):
        if problem := unseen(backbone(name), size):
            problems.add(problem)
    for name in dict.fromkeys(spec.backbone.name for spec in runs if spec.protocol.recipe.layer_decay != 1):
        if problem := without_layers(backbone(name)):
            problems.add(problem)
    for problem in (*_not_of_task(runs, registry, backbone, dataset), *unmet_budgets(runs, dataset)):
        problems.add(problem)
    for problem in (*_without_choice(runs, registry, dataset), *_without_effect(runs, registry)):
        problems.add(problem)
    for problem in _not_compiled(runs, ranks, backbone):
        problems.add(problem)
    lone = [spec for spec in runs if spec.protocol.batch_size == 1]
    alone = [spec for spec in runs if 1 in (spec.protocol.batch_size, spec.protocol.norm_batch)]
    for method in dict.fromkeys(spec.method.full_name for spec in lone):
        cards = [registry.method(part) for part in method.split("+")]
        if strict := [card.name for card in cards if not card.per_image]:
            problems.add(
                f"{'+'.join(strict)}: its loss is over the images of a batch, and batch_size = 1 leaves it none to "
                "compare; take 2 or more (a loss that is a mean over images says so: per_image = True)"
            )
    problems.stop()
    return [*_lone_norms(alone, backbone), *_repeats(runs, dataset)]


def _not_of_task(
    runs: Iterable[RunSpec],
    registry: Registry,
    backbone: Callable[[str], BackboneCard],
    dataset: Callable[[str], DatasetCard],
) -> dict[str, None]:
    """Why the tasks of some runs' datasets cannot be trained with their protocols, methods or backbones, each once."""
    problems = dict[str, None]()

    def task_of(name: str) -> Task:
        return find_task(dataset(name).task)

    for name, protocol in dict.fromkeys((spec.dataset.name, spec.protocol) for spec in runs):
        if reason := task_of(name).why_not(protocol):
            problems[f"{name} is for {task_of(name).name}: {reason}"] = None
    for name, method in dict.fromkeys((spec.dataset.name, spec.method) for spec in runs):
        for part in (method, *method.policies):
            problems[task_of(name).why_not_method(registry.method(part.name), dict(part.hyper))] = None
    for name, of in dict.fromkeys((spec.dataset.name, spec.backbone.name) for spec in runs):
        problems[task_of(name).why_not_backbone(backbone(of))] = None
    problems.pop("", None)
    return problems


def _without_choice(
    runs: Iterable[RunSpec], registry: Registry, dataset: Callable[[str], DatasetCard]
) -> dict[str, None]:
    """Of methods that choose on the validation split, why some of their runs have none, each once."""
    problems = dict[str, None]()
    bare = [spec for spec in runs if not spec.protocol.validation]
    for name, method in dict.fromkeys((spec.dataset.name, spec.method) for spec in bare):
        if dataset(name).splits.get("val"):
            continue
        for part in (method, *method.policies):
            demands = [each for each in registry.method(part.name).demands if each.of == VALIDATION]
            if reached := [each for each in demands if each.reached(dict(part.hyper))]:
                problems[
                    f"{part.name}: {reached[0].place} {reached[0].what}, and {name} has no validation split with "
                    "validation = 0; hold out some training images, such as --set validation=0.1"
                ] = None
    return problems


def _without_effect(runs: Iterable[RunSpec], registry: Registry) -> dict[str, None]:
    """Of methods with policies, why some of these would change nothing, each once."""
    problems = dict[str, None]()
    for method in dict.fromkeys(spec.method for spec in runs):
        named = method.full_name
        for number, policy in enumerate(method.policies):
            acting = registry.method(policy.name).acting
            if IDLE in registry.method(method.name).acting and EACH in acting:
                problems[f"{named}: {method.name} trains nothing, so that {policy.name} has nothing to act on"] = None
            elif LEAVES in acting:
                named_before = dict.fromkeys(each.name for each in method.policies[:number])
                for name in [name for name in named_before if SHARES in registry.method(name).acting]:
                    problems[
                        f"{named}: {policy.name} leaves the stages that {name} shares as they are, and would change "
                        f"nothing; name it before: +{policy.name}+{name}"
                    ] = None
    return problems


def _not_compiled(runs: Iterable[RunSpec], ranks: int, backbone: Callable[[str], BackboneCard]) -> dict[str, None]:
    """Why some runs cannot be compiled as their protocols want it, each once."""
    problems = dict[str, None]()
    for spec in runs:
        mode = spec.protocol.compile
        if mode == REDUCE_OVERHEAD and ranks > 1:
            problems[f"compile = {mode}: {NOT_SHARED}"] = None
        group = spec.protocol.norm_batch
        if mode != NOT_COMPILED and group and _has_batch_norm(backbone(spec.backbone.name)):
            problems[
                f"{spec.backbone.name}: compile = {mode} is of a pass over a whole batch, and its batch norms would "
                f"see {group} images at a time; take norm_batch = 0 or compile = {NOT_COMPILED}"
            ] = None
    return problems


def _lone_norms(alone: Iterable[RunSpec], backbone: Callable[[str], BackboneCard]) -> list[str]:
    """Of runs whose batch norms would see each image alone, the backbones that have some."""
    setting_of = {}
    for spec in alone:
        setting_of[spec.backbone.name] = "batch_size" if spec.protocol.batch_size == 1 else "norm_batch"
    return [
        f"{name}: with {setting} = 1 its batch norms see one image at a time, whose places are all that they average"
        for name, setting in setting_of.items()
        if _has_batch_norm(backbone(name))
    ]


def _has_batch_norm(card: BackboneCard) -> bool:
    return "batch_norm" in card.offers


def _repeats(runs: Iterable[RunSpec], dataset: Callable[[str], DatasetCard]) -> list[str]:
    """Of batches that are larger than the images to train on: each would hold some of them twice or more."""
    lines: dict[str, None] = {}
    for name, rate, batch in dict.fromkeys((run.dataset.name, run.rate, run.protocol.batch_size) for run in runs):
        card = dataset(name)
        images, classes = card.splits.get("train", 0), int(card.facts.get("classes") or 0)
        most = most_images(rate, images, classes)
        if 0 < most < batch:
            line = f"{card.title} at {rate_label(rate)} has at most {most:,} images to train on"
            lines[f"{line}: a batch of {batch:,} holds some of them more than once"] = None
    return list(lines)

"""The card of an exported model: what it is, what it was trained on, how well it does, and what may be done with it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from bench.cards import BackboneCard, DatasetCard, MethodCard
from bench.errors import visible
from bench.models.accuracy import share_in_words
from bench.models.export import Export, view_in_words
from bench.models.kept import dataset_of
from bench.notation import counted
from bench.rate import budget_of, rate_label
from bench.records.record import Point, Record
from bench.registry import Registry
from bench.spec import MethodSpec, RunSpec, from_json, short_name, to_json, written

NOT_STATED = "not stated"


def model_card(export: Export, record: Record, registry: Registry, usage: str, notes: tuple[str, ...] = ()) -> str:
    """Markdown, with the lines of Python that load the model.

    ``record`` is that of the run whose model it is; ``notes`` are further sentences about the model.
    """
    spec, facts = from_json(record.spec), export.facts
    dataset = dataset_of(spec.dataset.name, registry)
    title = dataset.title if dataset else short_name(spec.dataset.name)
    point = next(point for point in record.curve if point.step == facts.step)
    lines = [f"# {plain(facts.label)}", ""]
    method, classes = plain(spec.method.full_name), len(facts.classes)
    lines += [
        f"Trained with {method} from {plain(export.backbone.title)}, for the {classes} classes of {plain(title)}."
    ]
    lines += [
        f"Run `{record.id}` of finetune-bench, after {point.step} of {counted(record.curve[-1].step, 'step')}.",
        "",
    ]
    lines += [*notes, *[""] * bool(notes)]
    lines += ["## Accuracy", "", *_accuracy(record, point), ""]
    lines += ["## Use", "", "```python", usage, "```", "", *_view(export), ""]
    lines += ["## Data", "", *_data(record, title, dataset), ""]
    lines += ["## Method", "", *_methods(spec.method, registry), ""]
    lines += ["## Backbone", "", *_backbone(export.backbone), ""]
    lines += ["## Protocol", "", *_protocol(record, spec), ""]
    lines += ["## Licences", ""]
    lines += [f"- weights it was trained from: {plain(export.backbone.facts.get('licence') or NOT_STATED)}"]
    lines += [f"- data: {plain((dataset and dataset.facts.get('licence')) or NOT_STATED)}", ""]
    lines += ["## Made with", "", *_environment(record.environment.facts), ""]
    return "\n".join(lines)


def plain(text: object) -> str:
    """Somebody's text in a line of Markdown, in which it opens no link, picture, tag or code."""
    line = visible(" ".join(str(text).split()))
    return "".join(f"\\{sign}" if sign in "<>[]`*|\\" else sign for sign in line)


def _accuracy(record: Record, point: Point) -> Iterator[str]:
    images, title = record.test_images or 0, record.metric.title
    if images and record.metric.per_image:
        right = round(float(point.test[record.score] or 0) * images / 100)
        yield f"- {title} on the test split: {share_in_words(right, images)}"
        yield "- the interval is of this one model on images like these; runs of other seeds differ by more or less"
    else:
        yield f"- {title} on the test split: {record.scored(point.test)}"
    if point.val and point.val.get(record.score) is not None:
        yield f"- {title} on the validation split: {record.scored(point.val)}"
    values = {name: value for name, value in point.test.items() if name != record.score and value is not None}
    if values:
        yield "- test: " + ", ".join(f"{name} {value:.4g}" for name, value in values.items())


def _view(export: Export) -> list[str]:
    facts = export.facts
    mean, std = (", ".join(f"{value:.4g}" for value in values) for values in (facts.mean, facts.std))
    colour = "grey (the mean of the colours)" if facts.channels == 1 else "RGB"
    return [
        f"An image is {view_in_words(facts)}, {colour}, and divided by 255. Its pixels are normalised with mean {mean} "
        f"and standard deviation {std}; ONNX and TorchScript do that inside the file. The names of the classes, in the "
        "order of the logits, are in the JSON file beside it.",
    ]


def _data(record: Record, title: str, dataset: DatasetCard | None) -> Iterator[str]:
    yield f"- {plain(title)}" + (f" (`{plain(dataset.name)}`)" if dataset else ", a folder of images")
    if record.subset:
        rate = record.spec["rate"]
        drawn = rate_label(rate) + ("" if budget_of(rate) else " of each class")
        yield f"- trained on {record.subset.images} of {record.subset.of} training images ({drawn})"
    yield f"- validated on {record.validation_images or 'no'} images, tested on {record.test_images or '?'}"
    if dataset and (source := dataset.facts.get("source")):
        yield f"- from: {plain(source)}"


def _methods(spec: MethodSpec, registry: Registry) -> Iterator[str]:
    for entry in (spec, *spec.policies):
        card: MethodCard = registry.method(entry.name)
        yield f"- {entry.name}: {plain(card.summary)}"
        yield f"  - paper: {plain(card.paper or NOT_STATED)}"
        if entry.hyper:
            yield "  - " + ", ".join(f"{plain(name)} = {plain(value)}" for name, value in entry.hyper)


def _backbone(card: BackboneCard) -> Iterator[str]:
    yield f"- {plain(card.title)} (`{plain(short_name(card.name))}`)"
    for key in ("paper", "pretraining", "pretraining_data", "published"):
        if key in card.facts:
            yield f"- {key.replace('_', ' ')}: {plain(card.facts[key])}"


def _protocol(record: Record, spec: RunSpec) -> Iterator[str]:
    set_here = {**written(spec.protocol), **written(spec.protocol.recipe)}
    protocol = to_json(spec)["protocol"]
    everything = {**protocol, **protocol["recipe"]}
    main = (
        "steps",
        "epochs",
        "batch_size",
        "lr",
        "optimizer",
        "schedule",
        "weight_decay",
        "augmentation",
        "image_size",
    )
    names = [*(name for name in main if name in everything), *(name for name in set_here if name not in main)]
    yield "- " + ", ".join(f"{name} = {plain(everything[name])}" for name in names)
    for number, stage in enumerate(record.stages, 1):
        trained = f"{counted(stage.trained_weights, 'weight')} trained"
        yield f"- stage {number}: {counted(stage.steps, 'step')} of {counted(stage.batch_size, 'image')}, {trained}"
    yield "- settings that are not named have the suite's defaults (docs/reference.md)"


def _environment(facts: Mapping[str, Any]) -> Iterator[str]:
    packages = {name: version for name, version in (facts.get("packages") or {}).items() if version}
    named = ("finetune-bench", "torch", "torchvision", "timm")
    versions = ", ".join(f"{name} {packages[name]}" for name in named if name in packages)
    gpus = ", ".join(str(gpu.get("name")) for gpu in facts.get("gpus") or []) or "no GPU"
    yield f"- {plain(versions or NOT_STATED)}; {plain(gpus)}"

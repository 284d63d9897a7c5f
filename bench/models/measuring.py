"""Measures a trained model, and writes what was found beside its record."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from bench.backbones import Model, build_model
from bench.cards.code import file_digest
from bench.data import Split, read_data
from bench.data.dataset import SomeImages
from bench.data.surveyed import without_damaged
from bench.errors import InputError
from bench.measure import CannotMeasure, Measure, Option
from bench.models.kept import load_model
from bench.models.masked import is_of_folder, masked_images
from bench.models.subject import Subject, drawn
from bench.notation import counted
from bench.records.environment import describe
from bench.records.kept import ModelFacts, kept_models, read_facts
from bench.records.measured import SOURCE, Measurement, folder_of, read_measurement, stem_of, write_measurement
from bench.records.record import Record, Stored
from bench.registry import Registry
from bench.spec import RunSpec
from bench.training.trial import splits


@dataclass(frozen=True)
class Asked:
    """What is to be measured.

    Attributes:
        measure: its name.
        step: of the kept model.
        of_source: whether the pre-trained model that the run started from is measured instead.
        split: whose images.
        images: how many; None for the measure's own number.
        options: what was chosen of the measure's own.
    """

    measure: str
    step: int
    of_source: bool = False
    split: str = "test"
    images: int | None = None
    options: Mapping[str, Option] | None = None

    @property
    def point(self) -> str:
        return SOURCE if self.of_source else str(self.step)


def path_of(asked: Asked, declared: Measure, run: str, results: Path) -> Path:
    """Where a measurement lies, or would."""
    chosen: dict[str, Option] = {
        name: value for name, value in (asked.options or {}).items() if value != declared.options[name]
    }
    if asked.images not in (None, declared.images):
        chosen["images"] = int(asked.images or 0)
    return folder_of(results, run) / f"{stem_of(declared.name, asked.point, asked.split, chosen)}.json"


def measure_run(
    asked: Asked,
    stored: Stored,
    registry: Registry,
    results: Path,
    model_file: Path | None = None,
    progress: Callable[[int, int], None] = lambda done, of: None,
) -> tuple[Measurement, Path]:
    """Measure a kept model and write what was found; what was measured already, by the same code, is read.

    ``model_file`` is that of the model, where it is not the one beside the record.

    Raises:
        InputError: the model was not kept, its data is not here, or the measure has no meaning for it.
        OSError: the measurement cannot be written.
    """
    declared, record = registry.measure(asked.measure), stored.record
    assert isinstance(record, Record)
    code = file_digest(registry.measure_files[asked.measure])
    path = path_of(asked, declared, record.id, results)
    may_change = declared.masks and is_of_folder(str((asked.options or {}).get("masks", "")), registry)
    if path.is_file() and (former := read_measurement(path)).code == code and not may_change:
        return former, path
    weights = model_file or kept_models(stored.folder).get(asked.step)
    if weights is None:
        step = counted(asked.step, "step")
        raise InputError(
            f"{record.label}: its model after {step} was not kept (bench run --keep last); --train trains it again"
        )
    subject = _subject(asked, declared, record.run, read_facts(weights), weights, registry, results)
    subject.progress = progress
    started = time.perf_counter()
    try:
        measured = registry.load_measure(asked.measure)(subject)
    except CannotMeasure as error:
        raise InputError(f"{asked.measure} of {record.label}: {error}") from None
    values = {metric.name: float(measured.numbers.get(metric.name, math.nan)) for metric in declared.gives}
    measurement = Measurement(
        measure=declared.name,
        code=code,
        run=record.id,
        label=record.label,
        point=asked.point,
        split=asked.split,
        images=len(subject.split),
        of=subject.of,
        options=subject.options,
        numbers={name: value if math.isfinite(value) else None for name, value in values.items()},
        remarks=list(measured.remarks),
        seconds=round(time.perf_counter() - started, 3),
        environment=describe(tuple(map(str, registry.plugins)), "local"),
        arrays=bool(measured.arrays),
    )
    write_measurement(path, measurement, measured.arrays)
    return measurement, path


def _subject(
    asked: Asked,
    declared: Measure,
    spec: RunSpec,
    facts: ModelFacts,
    weights: Path,
    registry: Registry,
    results: Path,
) -> Subject:
    """The model and the images that are asked for."""
    options = {**declared.options, **(asked.options or {})}
    masks = None
    if declared.masks:
        masked = masked_images(str(options["masks"]), asked.split, spec, registry)
        whole, masks = Split(masked.images, np.zeros(len(masked), np.int64)), masked.masks
    else:
        whole = _images_of(spec, asked.split, registry, results)
    model = _source(spec, facts, registry) if asked.of_source else load_model(weights, facts, registry)
    _check_needs(declared, model, spec.backbone.name)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    chosen = drawn(len(whole), declared.images if asked.images is None else asked.images)
    return Subject(
        model=model.to(device),
        facts=facts,
        spec=spec,
        split=Split(SomeImages(whole.images, chosen), whole.labels[chosen]),
        of=len(whole),
        device=device,
        masks=masks.some(chosen) if masks else None,
        options=options,
        load_source=lambda: _source(spec, facts, registry),
        load_training=lambda: _images_of(replace(spec, rate=100.0), "train", registry, results),
        of_source=asked.of_source,
    )


def _images_of(spec: RunSpec, split: str, registry: Registry, results: Path) -> Split:
    """A split of a run's dataset, as the run scored it. Raises ``InputError`` where there is none."""
    card = registry.dataset(spec.dataset.name)
    card.require_files()
    if card.means != spec.dataset.means:
        raise InputError(f"{card.name}: its images are not those of the run")
    dataset = without_damaged(read_data(card), card, results)
    train, val, test = splits(dataset, spec)
    images = {
        "train": Split(SomeImages(dataset.train.images, train), dataset.train.labels[train]),
        "val": val,
        "test": test,
    }
    if (chosen := images[split]) is None:
        raise InputError(f"--split {split}: {spec.label} has no validation split")
    return chosen


def _source(spec: RunSpec, facts: ModelFacts, registry: Registry) -> Model:
    """The pre-trained model that a run started from; the head is untrained, and drawn by the run's seed."""
    torch.manual_seed(spec.seeds.init)
    card = registry.backbone(spec.backbone.name)
    model = build_model(card, len(facts.classes), spec.protocol.image_size, spec.protocol.drop_path)
    return model.eval().requires_grad_(False)


def _check_needs(declared: Measure, model: Model, backbone: str) -> None:
    """Raise ``InputError`` where a backbone does not let be read what a measure needs."""
    for probe in declared.needs:
        try:
            model.family.probe(probe, model.backbone)
        except KeyError as lacking:
            why = lacking.args[0]
            raise InputError(f"{declared.name}: it needs {probe}, and {backbone} has none ({why})") from None

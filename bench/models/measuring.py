"""Measures a trained model, and writes what was found beside its record."""

from __future__ import annotations

import math
import numbers
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from bench.backbones import Model, build_model
from bench.cards.further import without_further
from bench.data import Split
from bench.data.official import file_checksum
from bench.errors import InputError
from bench.measure import CannotMeasure, Measure, Measured, Option
from bench.metrics.metric import unusual
from bench.models.kept import load_model
from bench.models.masked import is_of_folder, masked_images
from bench.models.subject import Subject, drawn
from bench.notation import counted
from bench.rate import WHOLE
from bench.records.environment import describe
from bench.records.kept import ModelFacts, kept_models, read_facts
from bench.records.measured import (
    Measurement,
    NotMeasured,
    believed,
    folder_of,
    read_arrays,
    stem_of,
    write_measurement,
)
from bench.records.record import Record, Stored
from bench.registry import Registry
from bench.rules import SOURCE
from bench.spec import RunSpec
from bench.training.trial import opened, splits


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
    images = {} if asked.images is None else {"images": asked.images}
    chosen = unusual({**(asked.options or {}), **images}, declared.usual)
    return folder_of(results, run) / f"{stem_of(declared.name, asked.point, asked.split, chosen)}.json"


def measure_run(
    asked: Asked,
    stored: Stored,
    registry: Registry,
    results: Path,
    model_file: Path | None = None,
    progress: Callable[[int, int], None] = lambda done, of: None,
) -> tuple[Measurement, Path, bool]:
    """Measure a kept model and write what was found; what was measured already, by the same code, is read.

    ``model_file`` is that of the model, where it is not the one beside the record. Gives what was found, its file, and
    whether it was measured now.

    Raises:
        InputError: the model was not kept, its data is not here, or the measure has no meaning for it.
        OSError: the measurement cannot be written.
    """
    declared, record = registry.measure(asked.measure), stored.record
    assert isinstance(record, Record)
    if declared.task != (task := record.metric.task):
        raise InputError(f"{declared.name}: it is of models for {declared.task}, and {record.label} is for {task}")
    code, top1 = registry.measure_code(asked.measure), _score(record, asked.step)
    path = path_of(asked, declared, record.id, results)
    weights = model_file or kept_models(stored.folder).get(asked.step)
    if weights is None:
        step = counted(asked.step, "step")
        raise InputError(
            f"{record.label}: its model after {step} was not kept; --train trains it again, for these measures alone"
        )
    require_split(asked.split, stored)
    model = file_checksum(weights, "sha256")
    may_change = declared.masks and is_of_folder(str((asked.options or {}).get("masks", "")), registry)
    former = _former(path, top1, code, model)
    if former is not None and not may_change:
        return former, path, False
    try:
        facts = read_facts(weights)
    except InputError as error:
        raise InputError(f"{error}; delete the file, and --train trains the run again") from None
    subject = _subject(asked, declared, record.run, facts, weights, registry, results)
    subject.progress = progress
    started = time.perf_counter()
    measured = _measured(registry, subject, declared, record.label)
    values = {metric.name: float(measured.numbers.get(metric.name, math.nan)) for metric in declared.gives}
    measurement = Measurement(
        measure=declared.name,
        code=code,
        model=model,
        top1=top1,
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
    return measurement, path, True


def require_split(split: str, stored: Stored) -> None:
    """Raise ``InputError`` where a run has no such split."""
    record = stored.record
    if split == "val" and isinstance(record, Record) and record.curve[-1].val is None:
        raise InputError(f"--split val: {record.label} has no validation split")


def _score(record: Record, step: int) -> float | None:
    """What a record has on the test split at a step of its curve; None where it has no such point."""
    return next((point.test[record.score] for point in record.curve if point.step == step), None)


def _former(path: Path, top1: float | None, code: str, model: str) -> Measurement | None:
    """The measurement that is there already, with its arrays, if it is of this model by this code."""
    try:
        former = believed(path, top1, code)
        if former.arrays:
            read_arrays(path)
    except (NotMeasured, InputError):
        return None
    return former if former.model == model else None


def _measured(registry: Registry, subject: Subject, declared: Measure, label: str) -> Measured:
    """What a measure says of a model. Raises ``InputError`` where it fails, whoever wrote it, or says nonsense."""
    name = declared.name
    try:
        measured = registry.load_measure(name)(subject)
    except CannotMeasure as error:
        raise InputError(f"{name} of {label}: {error}") from None
    except InputError:
        raise
    except (Exception, SystemExit) as error:  # the measure may be anybody's
        raise InputError(f"{name} of {label}: it failed: {type(error).__name__}: {error}") from error
    if not isinstance(measured, Measured):
        raise InputError(f"measure {name}: it must return Measured(...), from bench.measure import Measured")
    names = {metric.name for metric in declared.gives}
    if odd := sorted(measured.numbers.keys() - names):
        raise InputError(f"measure {name}: it gives {odd[0]}, and 'gives' of its MEASURE has no such metric")
    if not all(isinstance(value, numbers.Real) for value in measured.numbers.values()):
        raise InputError(f"measure {name}: what it gives of a metric must be a number")
    arrays = {key: np.asarray(array) for key, array in measured.arrays.items()}
    if any(array.dtype.hasobject for array in arrays.values()):
        raise InputError(f"measure {name}: its arrays must hold numbers or words, no objects")
    remarks = (measured.remarks,) if isinstance(measured.remarks, str) else tuple(map(str, measured.remarks))
    return Measured(measured.numbers, arrays, remarks)


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
    whole: Split
    if declared.masks:
        whole = masked_images(str(options["masks"]), asked.split, spec, registry)
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
        split=whole.part(chosen),
        of=len(whole),
        device=device,
        options=options,
        load_source=lambda: _source(spec, facts, registry),
        load_training=lambda: _images_of(replace(spec, rate=WHOLE), "train", registry, results),
        of_source=asked.of_source,
    )


def _images_of(spec: RunSpec, split: str, registry: Registry, results: Path) -> Split:
    """A split of a run's dataset, as the run scored it. Raises ``InputError`` where its images are others now."""
    card = registry.dataset(without_further(spec.dataset.name))
    card.require_files()
    if card.means != spec.dataset.means:
        raise InputError(f"{card.name}: its images are not those of the run")
    dataset = opened(card, results)
    train, val, test = splits(dataset, spec)
    chosen = {"train": dataset.train.part(train), "val": val, "test": test}[split]
    assert chosen is not None, "require_split has looked"
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

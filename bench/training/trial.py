"""One run, from its spec to what its record keeps."""

from __future__ import annotations

import gc
import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from msgspec import UNSET, UnsetType

from bench.backbones import Model
from bench.backbones.build import equip, input_size
from bench.cards import BackboneCard, DatasetCard
from bench.cards.method import beside
from bench.data import Dataset, Split, hold_out, sample
from bench.data.dataset import Indices
from bench.data.further import alone, open_further
from bench.device import neighbours
from bench.device.distributed import begin_draws, ranks
from bench.device.norm_groups import has_batch_norm
from bench.errors import InputError
from bench.method import Method
from bench.metrics import CLASSIFICATION
from bench.metrics.predictions import CLASS_NAMES
from bench.notation import counted
from bench.protocol import COMPILED, NOT_COMPILED, NOT_SHARED, REDUCE_OVERHEAD
from bench.rate import besides, rate_label, shortfall
from bench.records.kept import NOTHING, Keep, ModelFacts, validation_metric
from bench.records.record import Record, Subset
from bench.registry import Registry
from bench.spec import MethodSpec, Named, RunSpec, derive, digest, to_json
from bench.task import find_task
from bench.training.choosing import with_validation
from bench.training.keeping import Keeping
from bench.training.stages import Storage, Training
from bench.training.trackers import Observer
from bench.training.usage import Meter


@dataclass(frozen=True)
class TrainedRun:
    """What a run leaves behind.

    Attributes:
        record: what was measured; where and how it was made is not in it yet.
        predictions: class indices (points, images) for ``test`` and, where there is one, ``val``; ``test_labels``; the
            arrays of ``bench.metrics.predictions``, as ``test_confidence``; the same of further tests and further
            models, as ``test@noise``; the ``training_indices`` that were sampled; and the names of the classes, by
            label.
        models: files of the trained models that are to lie beside the record.
    """

    record: Record
    predictions: dict[str, npt.NDArray[Any]]
    models: tuple[Path, ...] = ()


def run_trial(
    spec: RunSpec,
    registry: Registry,
    device: torch.device,
    keep: Path | None = None,
    *,
    checkpoint_every: float = math.inf,
    parts: int = 1,
    observer: Observer | None = None,
    models: Keep = NOTHING,
) -> TrainedRun:
    """Train and evaluate one run, from where it was if it has a checkpoint.

    In the folder ``keep`` lies what runs share, trained stages and decoded images, and a checkpoint every so many
    seconds; without it a run does everything itself, in one go. Each batch is computed in so many parts: one after the
    other where the method is ``per_image``, else, and where the model has batch norm, in the model alone, so that the
    loss has the whole batch (``bench.device.chunks``). ``models`` says which trained models are kept, in ``keep`` too.

    Raises:
        InputError: something is no longer what the spec was planned with.
        Diverged: the loss is not finite.
        Interrupted: a stop was asked for; the checkpoint is written.
    """
    method = build_method(spec, registry)
    try:
        with Meter() as meter:
            return _trial(
                spec, registry, method, device, keep, checkpoint_every, parts, observer or Observer(), meter, models
            )
    except _TooLarge as error:
        parts = 2 * error.parts  # all that is kept of it: its frames hold the GPU's memory
    gc.collect()
    torch.cuda.empty_cache()
    print(f"out of memory: each batch is computed in {parts} parts from here on", flush=True)
    return run_trial(
        spec,
        registry,
        device,
        keep,
        checkpoint_every=checkpoint_every,
        parts=parts,
        observer=observer,
        models=models,
    )


class _TooLarge(Exception):
    """A batch does not fit into memory in so many parts, and may be computed in more."""

    def __init__(self, parts: int) -> None:
        self.parts = parts


def why_whole(model: Model, batch_size: int, parts: int, compiled: str = NOT_COMPILED) -> str:
    """Why a batch cannot be computed in more parts than it is; empty where it can."""
    grouped = has_batch_norm(model.backbone)
    if grouped and not model.norm_batch:
        return f"a batch cannot be computed in parts: the backbone has batch norm; {_ITS_OWN}; {_SHARED}"
    if ranks() > 1:
        return "several processes share the run: give it more of them with --gpus-per-run"
    if compiled == REDUCE_OVERHEAD:
        return f"a batch cannot be computed in parts: CUDA graphs hold a whole pass; {_COMPILED_ONLY}"
    if 2 * parts <= batch_size // (model.norm_batch if grouped else 1):
        return ""
    return "a part is norm_batch images already" if grouped else "a part is a single image already"


_COMPILED_ONLY = f"--set compile={COMPILED} compiles without CUDA graphs, which is another run"

_ITS_OWN = "--set norm_batch=N gives its batch norms N images at a time, which is another run"
_SHARED = "more processes share its batch as it is (--gpus-per-run)"


def _require_whole_groups(model: Model, name: str, batch_size: int) -> None:
    """Raise ``InputError`` where processes that share a run would divide what a batch norm is to see together."""
    size = model.norm_batch
    if not size or not has_batch_norm(model.backbone):
        return
    if batch_size % (size * ranks()):
        groups = math.ceil(batch_size / size)
        counts = [str(count) for count in range(1, groups + 1) if groups % count == 0]
        raise InputError(
            f"{name}: with norm_batch {size} its batch norms see {counted(groups, 'part')} of a batch of {batch_size}, "
            f"which {ranks()} processes cannot share evenly; a run can have {', '.join(counts)} (--gpus-per-run)"
        )


def _trial(
    spec: RunSpec,
    registry: Registry,
    method: Method,
    device: torch.device,
    keep: Path | None,
    checkpoint_every: float,
    parts: int,
    observer: Observer,
    meter: Meter,
    models: Keep,
) -> TrainedRun:
    card = registry.backbone(spec.backbone.name)
    data_card = registry.dataset(spec.dataset.name)
    _unchanged(spec.backbone, card)
    _unchanged(spec.dataset, data_card)
    observer.phase("opening data")
    task, dataset = find_task(data_card.task), opened(data_card, keep)
    if data_card.further_means != spec.further:
        raise InputError(f"{spec.dataset.name}: its further tests changed since the run was planned; plan again")
    further = open_further(data_card, dataset, lambda of: find_task(of.task).read(of, keep), keep)
    named = UNSET if task.name == CLASSIFICATION else task.name
    observer.phase("building model")
    begin_draws(spec.seeds.init)
    model = task.build(card, len(dataset.classes), spec.protocol)
    model.norm_batch = spec.protocol.norm_batch
    _require_whole_groups(model, card.name, spec.protocol.batch_size)
    if ranks() > 1 and spec.protocol.compile == REDUCE_OVERHEAD:
        raise InputError(f"compile = {REDUCE_OVERHEAD}: {NOT_SHARED}")
    equip_model(model, card, spec, registry)
    model.to(device)
    size = input_size(model)
    if keep:
        cache = (keep / "cache", size, spec.protocol.augmentation, observer.phase)
        dataset = task.cached(dataset, data_card, *cache)
        for each in data_card.further:
            scored, of_test = alone(further[each.name], dataset.classes), replace(data_card, means=each.means)
            further[each.name] = task.cached(scored, of_test, *cache).test
    train, val, test = splits(dataset, spec)
    data = with_validation(task.images(spec, dataset, train, model, device), val, task)
    storage = Storage(keep, checkpoint_every) if keep else None
    keeping = None
    if keep and models:
        metric = validation_metric(data_card.metric)
        folder = keep / "checkpoints" / spec.id
        keeping = Keeping(models, folder, _facts(spec, model, dataset, size, named), metric, model)
    run = Training(
        spec,
        task,
        data,
        val,
        test,
        further=further,
        observer=observer,
        meter=meter,
        storage=storage,
        parts=parts,
        keeping=keeping,
    )
    try:
        run.train(method, model)
    except torch.OutOfMemoryError as error:
        if neighbours.most() > 1:  # in parts it would have other bits than alone
            raise
        if whole := why_whole(model, run.batch_size, run.parts, spec.protocol.compile):
            raise torch.OutOfMemoryError(f"{str(error).splitlines()[0]} ({whole})") from error
        raise _TooLarge(run.parts) from None
    record = Record(
        id=spec.id,
        label=spec.label,
        spec=to_json(spec),
        task=named,
        curve=run.curve,
        stages=run.stages,
        parameters=run.parameters,
        subset=Subset(digest(train.tolist()), len(train), len(data.split)),
        validation_images=len(val) if val else 0,
        test_images=len(test),
        left_out=dict(dataset.left_out) or UNSET,
        chosen=(data.held_out and data.held_out.chosen) or UNSET,
        timing=run.timing(),
        usage=meter.read(),
        taken_up=run.taken_up,
        ranks=ranks(),
        parts=run.parts,
        compiled=run.compiled(),
    )
    for what, choice in record.choice.items():
        print(f"{what}: {choice}", flush=True)
    names = np.asarray(dataset.classes, dtype=np.str_)
    kept = keeping.files(run.curve) if keeping else ()
    return TrainedRun(record, {**run.stacked_predictions(), "training_indices": train, CLASS_NAMES: names}, kept)


def _facts(spec: RunSpec, model: Model, dataset: Dataset, size: int, task: str | UnsetType) -> ModelFacts:
    """What the files of a run's trained models say of themselves, whatever point they are of."""
    return ModelFacts(
        run=spec.id,
        label=spec.label,
        spec=to_json(spec),
        step=0,
        classes=list(dataset.classes),
        image_size=size,
        mean=model.mean.flatten().tolist(),
        std=model.std.flatten().tolist(),
        augmentation=spec.protocol.augmentation,
        precision=spec.protocol.precision,
        task=task,
    )


def equip_model(model: Model, card: BackboneCard, spec: RunSpec, registry: Registry) -> None:
    """Give a model what of its pre-training the run's method takes, and its backbone has.

    Raises ``InputError`` where that cannot be had.
    """
    equip(model, card, beside([registry.method(entry.name) for entry in (spec.method, *spec.method.policies)], card))


def build_method(spec: RunSpec, registry: Registry) -> Method:
    """The spec's method with its policies, as a value. Raises ``InputError`` where a file changed since the plan."""
    method = _built(spec.method, registry)
    for policy in spec.method.policies:
        method = _built(policy, registry, inner=method)
    return method


def _built(spec: MethodSpec, registry: Registry, **inner: Method) -> Method:
    card = registry.method(spec.name)
    if card.means != spec.means:
        raise InputError(f"{card.path}: the method changed since the run was planned; plan again")
    method = registry.load_method(card)(**dict(spec.hyper), **inner)
    assert isinstance(method, Method)
    return method


def splits(dataset: Dataset, spec: RunSpec) -> tuple[Indices, Split | None, Split]:
    """The sampled training indices, the validation split and the test split of a run.

    Where the dataset has no validation split, a share of each class of the training split is held out first, by a
    seed that depends on the dataset alone. Raises ``InputError``: a budget of images cannot be met by what is left.
    """
    pool, val = np.arange(len(dataset.train)), dataset.val
    share = spec.protocol.validation if val is None else 0.0
    if share:
        pool, out = hold_out(dataset.train.labels, share, derive("hold out", spec.dataset.means))
        val = dataset.train.part(out)
    labels = dataset.train.labels[pool]
    counts = np.bincount(labels, minlength=len(dataset.classes)).tolist()
    if problem := shortfall(spec.rate, dict(zip(dataset.classes, counts, strict=True))):
        raise InputError(f"{spec.dataset.name} at {rate_label(spec.rate)}: {problem}{besides(share)}")
    sampled = sample(labels, spec.rate, spec.seeds.subset)
    return pool[sampled], val if val is not None and len(val) else None, dataset.test


def _unchanged(planned: Named, card: BackboneCard | DatasetCard) -> None:
    if planned.means != card.means:
        raise InputError(f"{planned.name}: it changed since the run was planned; plan again")


_OPEN: dict[str, Dataset] = {}


def opened(card: DatasetCard, keep: Path | None) -> Dataset:
    """The dataset without its damaged images where they are to be left out, kept open between the runs of a process."""
    if card.means not in _OPEN:
        _OPEN.clear()
        _OPEN[card.means] = find_task(card.task).read(card, keep)
    return _OPEN[card.means]

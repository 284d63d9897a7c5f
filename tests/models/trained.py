"""A small run with kept models, as the tests of trained models need it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from bench.data import TrainingImages, read_data
from bench.launch import Job
from bench.launch.worker import prepare, work
from bench.models.kept import load_model
from bench.plan.overrides import Overrides
from bench.plan.target import read_plan
from bench.records.kept import kept_models, read_facts
from bench.records.record import Record
from bench.records.store import Store
from bench.registry import Registry
from bench.spec import RunSpec
from bench.training.answers import predict

USUAL = ("steps=4", "warmup=1", "evaluations=2", "batch_size=8")
CPU = torch.device("cpu")


def planned(methods: str = "ce", *settings: str, backbones: str = "micro_vit", datasets: str = "digits") -> RunSpec:
    """A run of four steps with two points."""
    overrides = Overrides(
        methods=methods,
        rates="15",
        seeds="1",
        backbones=backbones,
        datasets=datasets,
        settings=(*USUAL, *settings),
    )
    (spec,) = read_plan("demo", Registry(), overrides).unique.values()
    return spec


def train(spec: RunSpec, results: Path, keep: str = "all") -> tuple[Record, Path]:
    """The run's record and its folder, trained in this process."""
    prepare()
    answer = work(spec, Job(results, keep=keep))
    assert answer["status"] == "done", answer
    record, folder = Store(results).record(spec.id)
    assert isinstance(record, Record)
    return record, folder


def recorded(folder: Path) -> dict[str, npt.NDArray[np.float64]]:
    """What a record has of each test image, by point."""
    with np.load(folder / "predictions.npz") as arrays:
        return {name: arrays[name] for name in arrays.files}


def confidences(folder: Path, step: int, spec: RunSpec) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    """Predicted classes and stored confidence of a kept model, scored again as the run scored it."""
    path = kept_models(folder)[step]
    facts = read_facts(path)
    model = load_model(path, facts, Registry())
    dataset = read_data(Registry().dataset(spec.dataset.name))
    data = TrainingImages(dataset.train, np.arange(8), len(facts.classes), spec.protocol, facts.image_size, 0, CPU)
    predictions = predict(model, dataset.test, data)
    return predictions.predicted, predictions.stored["confidence"]

"""What a task is: what is asked of an image, how models are trained and scored at it.

Its metrics are a module of ``bench.metrics``, which also says what is kept of each image.

A task is a file of ``bench/tasks``, found by its name, with ``TASK``, an object of a class derived from `Task`. The
file is read where plans are, so what needs torch is imported inside its methods.
"""

from __future__ import annotations

import importlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from bench.errors import InputError, choose
from bench.metrics import TaskPredictions

if TYPE_CHECKING:
    import torch

    from bench.backbones import Model
    from bench.cards import BackboneCard, DatasetCard
    from bench.data import Dataset, Split, TrainingImages
    from bench.data.dataset import Indices
    from bench.protocol import Protocol
    from bench.spec import RunSpec

Phase = Callable[[str, int, int], None]
"""Is told what is done, how much of it is through, and of how much."""

CLASSIFICATION = "classification"
"""The task of a dataset, and of a record, that names none."""


class Task(ABC):
    """What is asked of an image.

    Attributes:
        name: as dataset cards and records have it, and the task's file is called.
        about: what is asked, in a line.
        one_label: whether each image has one label, which methods may read (``Batch.labels``, ``Batch.targets``).
    """

    name: ClassVar[str]
    about: ClassVar[str]
    one_label: ClassVar[bool] = False

    def why_not(self, protocol: Protocol) -> str:
        """Why nothing can be trained at it by a protocol, in words; empty where it can."""
        return ""

    @abstractmethod
    def read(self, card: DatasetCard, results: Path | None = None) -> Dataset:
        """The images of a dataset with what is to be said of them; a results folder has the survey of its images.

        Raises ``InputError`` as its reader does.
        """

    def opened(self, card: DatasetCard) -> Dataset:
        """As ``read``, with images that are damaged: for who looks whether some are. Raises as ``read``."""
        return self.read(card)

    def cached(
        self, dataset: Dataset, card: DatasetCard, folder: Path, size: int, augmentation: str, progress: Phase
    ) -> Dataset:
        """The dataset with its image files decoded once, in a folder; as it is where that is not done."""
        return dataset

    @abstractmethod
    def build(self, card: BackboneCard, classes: int, protocol: Protocol) -> Model:
        """A backbone with what gives the task's predictions on it, drawn from torch's generator."""

    @abstractmethod
    def images(
        self, spec: RunSpec, dataset: Dataset, indices: Indices, model: Model, device: torch.device
    ) -> TrainingImages:
        """The training images of a run, in batches whose ``cross_entropy`` is the task's loss."""

    @abstractmethod
    def predict(
        self, model: Model, split: Split, data: TrainingImages, progress: Callable[[int], None] = lambda images: None
    ) -> TaskPredictions:
        """What a model says of every image of a split, in order; it is left in eval mode.

        ``progress`` is told after each batch how many images are through.
        """


@lru_cache
def find_task(name: str) -> Task:
    """A task by its name. Raises ``InputError`` where there is none."""
    if name not in tasks():
        raise InputError(choose(name, tasks(), "task"))
    task: Task = importlib.import_module(f"bench.tasks.{name}").TASK
    return task


@lru_cache
def tasks() -> Collection[str]:
    """The names of all tasks."""
    files = sorted(Path(__file__).with_name("tasks").glob("*.py"))
    return [CLASSIFICATION, *(file.stem for file in files if file.stem not in (CLASSIFICATION, "__init__"))]

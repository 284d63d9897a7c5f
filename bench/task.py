"""What a task is: what is asked of an image, how models are trained and scored at it.

Its metrics are a module of ``bench.metrics``, which also says what is kept of each image.

A task is a file of ``bench/tasks``, found by its name, with ``TASK``, an object of a class derived from `Task`. The
file is read where plans are, so what needs torch is imported inside its methods.
"""

from __future__ import annotations

import importlib
import importlib.util
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from bench.cards.demands import LABEL, OF_IMAGES, Demand
from bench.errors import InputError, choose
from bench.hyper import Value
from bench.metrics import CLASSIFICATION, TaskPredictions

if TYPE_CHECKING:
    import numpy as np
    import torch

    from bench.backbones import Model
    from bench.cards import BackboneCard, DatasetCard, MethodCard
    from bench.data import Dataset, Split, TrainingImages
    from bench.data.dataset import Images, Indices
    from bench.protocol import Protocol
    from bench.spec import RunSpec

Phase = Callable[[str, int, int], None]
"""Is told what is done, how much of it is through, and of how much."""


class Task(ABC):
    """What is asked of an image.

    Attributes:
        name: as dataset cards and records have it, and the task's file is called.
        about: what is asked, in a line.
        one_label: whether each image has one label, which methods may read (``Batch.labels``, ``Batch.targets``).
        linear_head: whether a linear head on pooled features answers for the image as a whole, which may be shown in
            several views.
        packages: that it needs and not everybody has; each is an extra of the same name.
        augmentations: of its training images.
        settings: of a protocol, what means something for it and not for every task.
    """

    name: ClassVar[str]
    about: ClassVar[str]
    one_label: ClassVar[bool] = False
    linear_head: ClassVar[bool] = True
    packages: ClassVar[Sequence[str]] = ()
    augmentations: ClassVar[Sequence[str]] = ()
    settings: ClassVar[Sequence[str]] = ()

    def why_not(self, protocol: Protocol) -> str:
        """Why nothing can be trained at it by a protocol, in words; empty where it can."""
        return ""

    def lacking(self) -> str:
        """Which of its packages are not installed, and how they are, in words; empty where all are."""
        names = [name for name in self.packages if importlib.util.find_spec(name) is None]
        extras = ",".join(names)
        return f"{self.name} needs {', '.join(names)}: pip install 'finetune-bench[{extras}]'" if names else ""

    def why_not_backbone(self, card: BackboneCard) -> str:
        """Why a backbone cannot be trained at it, as far as its card tells; empty where it can."""
        return ""

    def why_not_method(self, card: MethodCard, values: Mapping[str, Value] | None = None) -> str:
        """Why a method is not for it, and where its code says so; empty where it is.

        With these hyper-parameters, or else its defaults.
        """
        values = dict(card.resolve({})) if values is None else values
        if card.tasks:
            meant = f"{card.name} says that it is for {', '.join(sorted(card.tasks))}, not for {self.name}"
            return "" if self.name in card.tasks else meant
        reached = [demand for demand in self.unserved(card) if demand.reached(values)]
        return f"{card.name}: {self.lack(reached[0])}" if reached else ""

    def unserved(self, card: MethodCard) -> Sequence[Demand]:
        """What a method demands, with some hyper-parameters at least, that it does not have; what tells most first."""
        order = (*(() if self.one_label else (LABEL,)), *(() if self.linear_head else OF_IMAGES))
        lacking = [demand for demand in card.demands if demand.of in order]
        return sorted(lacking, key=lambda demand: order.index(demand.of))

    def lack(self, demand: Demand) -> str:
        """What stands in a method's code, and that it does not have it, in words."""
        return f"{demand.place} {demand.what}: it needs {demand.of}, and {self.name} has none"

    @abstractmethod
    def noise(self, images: Images, classes: int, state: np.random.RandomState) -> Split:
        """Images with something drawn to be said of each, on which a method is tried."""

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


def tasks_of(card: MethodCard) -> dict[str, str]:
    """Every task by name, with why a method at its defaults is not for it; empty where it is."""
    return {name: find_task(name).why_not_method(card) for name in tasks()}

"""The metrics of classification: what torchmetrics computes, what hand and eye see, and what never changes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from torch import Tensor
from torchmetrics.functional import mean_squared_error
from torchmetrics.functional.classification import multiclass_accuracy, multiclass_calibration_error
from torchmetrics.functional.text import perplexity

from bench.backbones import Model
from bench.data import ArrayImages, Split, TrainingImages
from bench.metrics import METRICS, NotKept, Predictions, scores
from bench.metrics.predictions import SHARES
from bench.protocol import Protocol
from bench.training.answers import predict

OF_CURVE = [name for name, metric in METRICS.items() if metric.of_curve and metric.task == "classification"]
QUICK = settings(max_examples=40, deadline=None)
STEP = 1 / SHARES
"""How much too high a kept share can be."""

Labels = npt.NDArray[np.int64]


class Fixed:
    """Says what it is told to, of one image after the other."""

    def __init__(self, logits: Tensor) -> None:
        self.logits, self.at = logits, 0

    def eval(self) -> None:
        """Does nothing."""

    def __call__(self, images: Tensor) -> SimpleNamespace:
        self.at += len(images)
        return SimpleNamespace(logits=self.logits[self.at - len(images) : self.at])


def kept(logits: npt.NDArray[Any], labels: Sequence[int] | Labels) -> Predictions:
    """What a run keeps of images of which a model says this."""
    count, classes = logits.shape
    split = Split(ArrayImages(np.zeros((count, 2, 2, 1), np.uint8)), np.asarray(labels))
    protocol = Protocol(augmentation="none")
    data = TrainingImages(split, np.arange(count), classes, protocol, 2, seed=0, device=torch.device("cpu"))
    return predict(cast(Model, Fixed(torch.from_numpy(logits))), split, data)


def oracle(logits: npt.NDArray[Any], labels: Labels) -> dict[str, float]:
    """The same by torchmetrics; of its top-5, equal probabilities are in no order."""
    probabilities, true = torch.from_numpy(logits).softmax(1), torch.from_numpy(labels)
    classes = logits.shape[1]
    one_hot = torch.nn.functional.one_hot(true, classes).double()
    top5 = multiclass_accuracy(probabilities, true, classes, average="micro", top_k=min(5, classes))
    found = {
        "top1": 100 * multiclass_accuracy(probabilities, true, classes, average="micro"),
        "top5": 100 * top5,
        "mean_per_class": 100 * multiclass_accuracy(probabilities, true, classes, average="macro"),
        "nll": perplexity(probabilities.log()[None], true[None]).log(),
        "ece": 100 * multiclass_calibration_error(probabilities, true, classes, n_bins=15, norm="l1"),
        "brier": classes * mean_squared_error(probabilities, one_hot),
    }
    return {name: float(value) for name, value in found.items()}


def random(classes: int, images: int, spread: float, seed: int = 0) -> tuple[npt.NDArray[Any], Labels]:
    """Logits, and labels that they often hit; every class has an image."""
    state = np.random.RandomState(seed)
    labels = np.concatenate([np.arange(classes), state.randint(0, classes, images - classes)]).astype(np.int64)
    return spread * state.standard_normal((images, classes)) + 2 * np.eye(classes)[labels], labels


def agree(found: dict[str, float], wanted: dict[str, float]) -> None:
    """Up to the steps in which shares are kept, and the float32 of a logarithm."""
    allowed = {"top1": 1e-4, "top5": 1e-4, "mean_per_class": 1e-4, "nll": 1e-5, "ece": 100 * STEP + 1e-4, "brier": 3e-5}
    assert found.keys() == wanted.keys() == allowed.keys()
    for name, value in wanted.items():
        assert found[name] == pytest.approx(value, abs=allowed[name], rel=1e-5), name


@pytest.mark.parametrize("spread", [0.3, 3.0, 12.0])
@pytest.mark.parametrize(("classes", "images"), [(2, 70), (3, 10), (5, 130), (17, 500), (200, 400)])
def test_all_six_are_those_of_torchmetrics(classes: int, images: int, spread: float) -> None:
    logits, labels = random(classes, images, spread)
    agree(scores(kept(logits, labels)), oracle(logits, labels))


@pytest.mark.parametrize("name", [name for name in OF_CURVE if name != "top5"])
def test_of_equal_probabilities_too(name: str) -> None:
    logits, labels = random(4, 200, 1.0)
    rounded = np.round(logits)
    assert (np.sort(rounded, 1)[:, -1] == np.sort(rounded, 1)[:, -2]).sum() > 20
    assert scores(kept(rounded, labels))[name] == pytest.approx(oracle(rounded, labels)[name], abs=2e-3, rel=1e-5)


@given(st.integers(2, 12), st.integers(0, 2**31 - 1), st.floats(0.1, 20))
@QUICK
def test_on_whatever_is_drawn(classes: int, seed: int, spread: float) -> None:
    logits, labels = random(classes, 40, spread, seed)
    agree(scores(kept(logits, labels)), oracle(logits, labels))


# ---- by hand


def test_a_classifier_that_is_always_right_and_sure_of_it() -> None:
    labels = np.arange(70) % 7
    found = scores(kept(200.0 * np.eye(7)[labels], labels))
    assert found == {"top1": 100, "top5": 100, "mean_per_class": 100, "nll": 0, "ece": 0, "brier": 0}


def test_a_classifier_that_is_always_wrong_and_sure_of_it() -> None:
    labels = np.arange(60) % 6
    found = scores(kept(200.0 * np.eye(6)[(labels + 1) % 6], labels))
    assert found.pop("top5") == pytest.approx(400 / 6)  # of equals the first classes: 4 and 5 come sixth
    assert found == {"top1": 0, "mean_per_class": 0, "nll": 200, "ece": 100, "brier": 2}


def test_a_classifier_that_says_the_same_of_every_image() -> None:
    labels = np.array([0] * 6 + [1] * 3 + [2])
    found = scores(kept(np.zeros((10, 3)), labels))
    assert found["top1"] == pytest.approx(60)  # of equals the first class
    assert found["mean_per_class"] == pytest.approx(100 / 3)
    assert found["nll"] == pytest.approx(math.log(3))
    assert found["ece"] == pytest.approx(60 - 100 / 3, abs=100 * STEP)
    assert found["brier"] == pytest.approx(2 / 3, abs=STEP)


def test_of_equal_logits_the_first_class_is_predicted_and_ranked_first() -> None:
    predictions = kept(np.zeros((8, 8)), range(8))
    assert predictions.predicted.tolist() == [0] * 8
    assert predictions.rank.tolist() == [1, 2, 3, 4, 5, 6, 7, 8]
    assert scores(predictions)["top5"] == 100 * 5 / 8


def test_a_class_without_an_image_is_not_in_the_mean_per_class() -> None:
    logits = np.eye(4)[[0, 0, 0, 3]]  # the last is mistaken for a class that no image has
    assert scores(kept(logits, [0, 0, 0, 1]))["mean_per_class"] == 50


def test_a_confidence_on_the_edge_of_a_bin_is_in_the_lower_one() -> None:
    steps = SHARES // 15 * 9  # 0.6, the upper edge of the ninth bin
    confidence = np.array([steps] * 6 + [steps + 1] * 6, np.uint16)
    predictions = Predictions(np.array([0] * 6 + [1] * 6), np.zeros(12, np.int64), {"confidence": confidence})
    assert METRICS["ece"].of(predictions) == pytest.approx(100 * (0.4 + 0.6) / 2, abs=100 * STEP)  # in one bin, 10


def test_what_is_no_number_is_nan_where_probabilities_count() -> None:
    logits = np.eye(3)[[0, 1, 2]]
    logits[0, 0] = math.nan
    found = scores(kept(logits, [0, 1, 2]))
    assert {name for name, value in found.items() if math.isnan(value)} == {"nll", "ece", "brier"}


def test_what_an_older_run_did_not_keep_is_said() -> None:
    old = Predictions(np.array([0, 1, 1]), np.array([0, 1, 0]))
    assert METRICS["top1"].of(old) == pytest.approx(200 / 3)
    assert METRICS["mean_per_class"].of(old) == pytest.approx(75)
    for name in ("top5", "nll", "ece", "brier"):
        with pytest.raises(NotKept, match=r"the run kept no [a-z ]+ of its images"):
            METRICS[name].of(old)


# ---- what never changes

LOGITS = arrays(np.float64, (9, 5), elements=st.floats(-20, 20, width=32))
LABELS = st.lists(st.integers(0, 4), min_size=9, max_size=9)


@given(LOGITS, LABELS)
@QUICK
def test_each_lies_between_its_bounds_and_takes_few_bytes(logits: npt.NDArray[Any], labels: list[int]) -> None:
    predictions = kept(logits, labels)
    for name, value in scores(predictions).items():
        metric = METRICS[name]
        assert metric.low is not None
        assert metric.low - 3 * STEP <= value <= (math.inf if metric.high is None else metric.high + 100 * STEP)
    size = sum(array.itemsize for array in (predictions.predicted, *predictions.stored.values()))
    assert size <= 12


@given(LOGITS, LABELS, st.permutations(range(9)))
@QUICK
def test_the_order_of_images_and_having_each_twice_change_nothing(
    logits: npt.NDArray[Any], labels: list[int], order: list[int]
) -> None:
    plain = scores(kept(logits, labels))
    mixed = np.array([*order, *order])
    assert scores(kept(logits[mixed], np.array(labels)[mixed])) == pytest.approx(plain, abs=1e-9)


@given(LOGITS, LABELS, st.permutations(range(5)), st.floats(-50, 50))
@QUICK
def test_neither_do_the_names_of_classes_nor_what_all_logits_share(
    logits: npt.NDArray[Any], labels: list[int], names: list[int], shift: float
) -> None:
    logits = logits + 1e-3 * np.arange(5)  # hardly any equals, of which the first class comes first
    if min(np.diff(np.sort(row)).min() for row in logits) < 1e-6:
        return
    renamed = np.empty_like(logits)
    renamed[:, names] = logits
    found = scores(kept(renamed + shift, [names[label] for label in labels]))
    assert found == pytest.approx(scores(kept(logits, labels)), abs=100 * STEP)


@given(LOGITS, LABELS)
@QUICK
def test_what_is_kept_is_never_below_the_true_share_and_at_most_a_step_above(
    logits: npt.NDArray[Any], labels: list[int]
) -> None:
    predictions = kept(logits, labels)
    probabilities = torch.from_numpy(logits).softmax(1).numpy()
    for share, exact in (
        (predictions.confidence, probabilities.max(1)),
        (predictions.squares, np.square(probabilities).sum(1)),
    ):
        assert ((share - exact > -1e-9) & (share - exact <= STEP + 1e-9)).all()
    assert np.allclose(predictions.probability, probabilities[np.arange(9), labels], rtol=1e-5)
    assert ((predictions.rank == 1) == predictions.right).all()

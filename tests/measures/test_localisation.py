"""Localisation: what tokens say of places is read from them, and what they do not say is not."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
import torch

from bench.measure import CannotMeasure, Option
from bench.measures.localisation import Guesses, constant_error, draw_places, measure, trained_probe
from tests.measures.small import subject_of

SIDE = 5
QUICK: dict[str, Option] = {"steps": 20, "pairs": 4, "training_images": 10}


def grid_of(images: torch.Tensor, name: str, shape: tuple[int, int]) -> torch.Tensor:
    """Tokens on a grid of some shape."""
    return torch.ones(len(images), 8, *shape)


def guesses_about(tokens: torch.Tensor, steps: int = 100) -> Guesses:
    """A probe of tokens, asked about them."""
    probe = trained_probe(tokens, steps, 8, seed=0)
    places = draw_places(len(tokens), 64, SIDE, torch.Generator().manual_seed(1))
    guesses = Guesses(SIDE)
    guesses.add(probe.distances(tokens, places), (places[0] - places[1]).abs())
    return guesses


@pytest.mark.slow
def test_places_are_told_from_tokens_that_encode_them() -> None:
    rows, columns = torch.meshgrid(torch.arange(SIDE), torch.arange(SIDE), indexing="ij")
    one_hot = torch.cat([torch.nn.functional.one_hot(each, SIDE) for each in (rows, columns)], -1).float()
    measured = guesses_about(one_hot.expand(20, SIDE, SIDE, 2 * SIDE)).measured()
    assert measured.numbers["localisation_error"] < 0.15
    assert measured.numbers["localisation_accuracy"] > 99
    assert np.nanmax(measured.arrays["error"]) < 0.4


def test_of_tokens_that_are_all_alike_nobody_errs_less_than_who_says_the_median() -> None:
    measured = guesses_about(torch.full((20, SIDE, SIDE, 8), 3.0), steps=60).measured()
    constant = float(measured.arrays["constant_error"])
    assert constant == pytest.approx(measured.numbers["localisation_error"], rel=0.05)
    assert measured.numbers["localisation_error"] >= constant - 1e-6


def test_a_probe_depends_on_its_seed_alone_and_leaves_the_generator_as_it_was() -> None:
    tokens = torch.randn(6, SIDE, SIDE, 4, generator=torch.Generator().manual_seed(0))
    places = draw_places(6, 3, SIDE, torch.Generator().manual_seed(0))
    torch.manual_seed(5)
    expected = torch.rand(1)
    told = []
    for seed in (1, 1, 2):
        torch.manual_seed(5)
        told.append(trained_probe(tokens, 3, 4, seed).distances(tokens, places))
        assert torch.equal(torch.rand(1), expected)
    assert torch.equal(told[0], told[1])
    assert not torch.equal(told[0], told[2])


def test_errors_are_sorted_by_true_distance() -> None:
    true = torch.tensor([[[0, 0], [1, 0], [2, 2], [2, 2]]])
    told = torch.tensor([[[0.2, 0.1], [1.4, -0.4], [2.0, 1.0], [2.6, 2.0]]])
    guesses = Guesses(3)
    guesses.add(told, true)
    measured = guesses.measured()
    assert measured.arrays["distance"].tolist() == [0, 1, 2, 3, 4]
    assert measured.arrays["count"].tolist() == [1, 1, 0, 0, 2]
    error = measured.arrays["error"]
    assert [error[0], error[1], error[4]] == pytest.approx([0.3, 0.8, 0.8])
    assert np.isnan(error[2:4]).all()
    assert measured.arrays["accuracy"][[0, 1, 4]].tolist() == [100, 100, 0]
    assert measured.numbers == pytest.approx({"localisation_error": 2.7 / 4, "localisation_accuracy": 50})
    # distances along an axis: 3 of 0, 1 of 1, 4 of 2; the median is 1, which errs by (3 + 4) / 8 along an axis
    assert float(measured.arrays["constant_error"]) == pytest.approx(2 * constant_error(np.array([3, 1, 4])))
    assert constant_error(np.array([3.0, 1, 4])) == pytest.approx(7 / 8)


def test_fine_grids_are_averaged_as_in_the_paper(monkeypatch: pytest.MonkeyPatch) -> None:
    for side, pooled in ((14, 7), (16, 8), (13, 13)):
        subject = subject_of("micro_vit", "localisation", {**QUICK, "steps": 1})
        monkeypatch.setattr(subject.model, "probe", partial(grid_of, shape=(side, side)))
        assert measure(subject).arrays["side"] == pooled


def test_it_is_measured_of_a_model_and_twice_alike() -> None:
    first, again = (measure(subject_of("micro_vit", "localisation", QUICK)) for _ in range(2))
    assert first.numbers == again.numbers
    assert first.arrays["side"] == 6
    assert first.arrays["count"].sum() == 20 * 4
    assert 0 < first.numbers["localisation_error"] < 10
    assert "6 × 6 places" in first.remarks[0]


def test_a_grid_without_distances_and_an_option_without_a_meaning_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    for shape in ((1, 1), (2, 3)):
        subject = subject_of("micro_vit", "localisation", QUICK)
        monkeypatch.setattr(subject.model, "probe", partial(grid_of, shape=shape))
        with pytest.raises(CannotMeasure, match=f"{shape[0]} × {shape[1]}"):
            measure(subject)
    with pytest.raises(CannotMeasure, match=r"^pairs=0"):
        measure(subject_of("micro_vit", "localisation", {**QUICK, "pairs": 0}))

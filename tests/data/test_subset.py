"""Sampling rates keep what they say, and no image is ever on two sides."""

from __future__ import annotations

import math
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from bench.data import Dataset, Split, hold_out, read_data, sample
from bench.data.dataset import Indices
from bench.data.subset import take_each
from bench.errors import InputError
from bench.launch.budgets import require_budgets, unmet_here
from bench.plan.overrides import Overrides
from bench.plan.target import read_plan
from bench.rate import Rate
from bench.registry import Registry
from bench.spec import RunSpec
from bench.training.trial import splits

REGISTRY = Registry()

LABELS = st.lists(st.integers(0, 5), min_size=1, max_size=80).map(lambda drawn: np.array(drawn, np.int64))
RATES = st.integers(1, 100_000).map(lambda thousandths: thousandths / 1000)  # percent, as somebody would write them
SEEDS = st.integers(0, 2**31 - 1)
QUICK = settings(max_examples=60, deadline=None)

PINNED = [1, 4, 7, 10, 15, 33, 36, 38]
"""15 % of 40 images in four classes, seed 0: two of each ten."""


def exactly(rate: Rate) -> Fraction:
    """The rate as the decimal number that was written, not as its binary neighbour."""
    return Fraction(repr(rate)) / 100


@QUICK
@given(LABELS, RATES, SEEDS)
def test_a_rate_keeps_the_ceiling_of_its_share_of_each_class(labels: Indices, rate: float, seed: int) -> None:
    kept = sample(labels, rate, seed)
    for label in np.unique(labels):
        of_class = int((labels == label).sum())
        assert (labels[kept] == label).sum() == math.ceil(exactly(rate) * of_class)


@QUICK
@given(LABELS, RATES, SEEDS)
def test_a_sample_is_sorted_without_duplicates_and_repeatable(labels: Indices, rate: float, seed: int) -> None:
    kept = sample(labels, rate, seed)
    assert (np.diff(kept) > 0).all()
    assert kept.min() >= 0
    assert kept.max() < len(labels)
    assert np.array_equal(kept, sample(labels.copy(), rate, seed))


@QUICK
@given(LABELS, RATES, RATES, SEEDS)
def test_a_smaller_rate_is_a_part_of_a_larger_one(labels: Indices, one: float, other: float, seed: int) -> None:
    smaller, larger = sorted((one, other))
    assert set(sample(labels, smaller, seed)) <= set(sample(labels, larger, seed))


@QUICK
@given(LABELS, SEEDS)
def test_the_whole_rate_keeps_everything(labels: Indices, seed: int) -> None:
    assert np.array_equal(sample(labels, 100, seed), np.arange(len(labels)))


@pytest.mark.parametrize(
    ("rate", "of", "kept"), [(7.0, 100, 7), (15.0, 20, 3), (14.0, 50, 7), (0.1, 1000, 1), (0.07, 10, 1)]
)
def test_floating_point_keeps_no_image_too_many(rate: float, of: int, kept: int) -> None:
    """0.07 · 100 is a little more than 7 in floating point."""
    assert len(sample(np.zeros(of, np.int64), rate, 0)) == kept


def test_what_a_seed_keeps_is_fixed_for_ever() -> None:
    labels = np.arange(40) % 4
    assert sample(labels, 15, 0).tolist() == PINNED
    assert sample(labels, 15, 1).tolist() != PINNED


def test_seeds_keep_different_images() -> None:
    labels = np.arange(960) % 10
    assert len({tuple(sample(labels, 15, seed)) for seed in range(20)}) == 20


@QUICK
@given(LABELS, st.integers(0, 99).map(lambda percent: percent / 100), SEEDS)
def test_hold_out_divides_each_class_and_rounds_down(labels: Indices, share: float, seed: int) -> None:
    kept, out = hold_out(labels, share, seed)
    assert np.array_equal(np.sort(np.concatenate([kept, out])), np.arange(len(labels)))
    assert (np.diff(kept) > 0).all()
    assert (np.diff(out) > 0).all()
    for label in np.unique(labels):
        held = math.floor(Fraction(repr(share)) * int((labels == label).sum()))
        assert (labels[out] == label).sum() == held
        assert (labels[kept] == label).sum() >= 1
    assert all(map(np.array_equal, (kept, out), hold_out(labels, share, seed)))


@QUICK
@given(LABELS, SEEDS)
def test_take_each_takes_as_many_of_every_class_and_leaves_the_rest(labels: Indices, seed: int) -> None:
    fewest = min(int((labels == label).sum()) for label in np.unique(labels))
    if fewest == 1:
        with pytest.raises(ValueError, match="some must be left"):
            take_each(labels, 1, seed)
        return
    taken, rest = take_each(labels, fewest - 1, seed)
    assert np.array_equal(np.sort(np.concatenate([taken, rest])), np.arange(len(labels)))
    assert all((labels[taken] == label).sum() == fewest - 1 for label in np.unique(labels))
    assert all(map(np.array_equal, (taken, rest), take_each(labels, fewest - 1, seed)))


# ---- budgets of images


def counts(labels: Indices, kept: Indices) -> list[int]:
    """How many are kept of each class that there is."""
    return [int((labels[kept] == label).sum()) for label in np.unique(labels)]


@QUICK
@given(LABELS, st.integers(1, 5), SEEDS)
def test_shots_are_exactly_so_many_of_each_class_or_refused(labels: Indices, shots: int, seed: int) -> None:
    fewest = min(counts(labels, np.arange(len(labels))))
    if fewest < shots:
        with pytest.raises(ValueError, match=f"ha.* fewer images to train on: .* at most {fewest}-shot"):
            sample(labels, f"{shots}-shot", seed)
        return
    kept = sample(labels, f"{shots}-shot", seed)
    assert {*counts(labels, kept)} == {shots}
    assert set(sample(labels, "1-shot", seed)) <= set(kept)
    assert np.array_equal(kept, sample(labels.copy(), f"{shots}-shot", seed))


@QUICK
@given(LABELS, RATES, SEEDS)
def test_as_many_images_as_a_rate_keeps_are_those_that_it_keeps(labels: Indices, rate: float, seed: int) -> None:
    kept = sample(labels, rate, seed)
    assert np.array_equal(sample(labels, f"{len(kept)}-images", seed), kept)


@QUICK
@given(LABELS, SEEDS)
def test_images_in_all_are_so_many_and_each_number_is_a_part_of_the_next(labels: Indices, seed: int) -> None:
    before: set[int] = set()
    for images in range(len(np.unique(labels)), len(labels) + 1):
        kept = set(sample(labels, f"{images}-images", seed).tolist())
        assert len(kept) == images
        assert before < kept
        before = kept


def test_images_in_all_are_divided_as_a_growing_rate_divides_them() -> None:
    """By hand, of 10, 6 and 3 images: images enter where a rate is above 0, 1/10, 1/6, 2/10, 3/10, 1/3 and 2/6, ..."""
    labels = np.repeat([0, 1, 2], [10, 6, 3])
    divided = [counts(labels, sample(labels, f"{images}-images", 0)) for images in (3, 4, 5, 6, 7, 9)]
    assert divided == [[1, 1, 1], [2, 1, 1], [2, 2, 1], [3, 2, 1], [4, 2, 1], [4, 3, 2]]


def test_what_is_left_over_goes_to_classes_in_a_drawn_order() -> None:
    labels = np.arange(100) % 10
    extra = {tuple(counts(labels, sample(labels, "13-images", seed))) for seed in range(9)}
    assert len(extra) > 1
    assert all(sorted(each) == [1] * 7 + [2] * 3 for each in extra)


def test_what_a_seed_keeps_of_a_budget_is_fixed_for_ever() -> None:
    labels = np.arange(40) % 4
    assert sample(labels, "2-shot", 0).tolist() == PINNED
    assert sample(labels, "8-images", 0).tolist() == PINNED
    assert len(set(sample(labels, "10-images", 0)) - set(PINNED)) == 2


@pytest.mark.parametrize(
    ("rate", "problem"), [("41-images", "there are 40 images"), ("3-images", "each of 4 classes has an image at least")]
)
def test_a_budget_that_cannot_be_met_is_refused(rate: str, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        sample(np.arange(40) % 4, rate, 0)


# ---- the splits of a run


def specs(dataset: str, rates: str, seeds: str, *changed: str) -> list[RunSpec]:
    overrides = Overrides(methods="ce", datasets=dataset, rates=rates, seeds=seeds, settings=changed)
    return list(read_plan("demo", REGISTRY, overrides).unique.values())


def pixels(split: Split, indices: Indices | None = None) -> list[bytes]:
    """Each image as its bytes, so that no index can hide a shared one."""
    taken = split.images.take(np.arange(len(split)) if indices is None else indices)
    return [image.numpy().tobytes() for image in taken]


def check_apart(dataset: Dataset, spec: RunSpec) -> tuple[set[bytes], set[bytes], set[bytes]]:
    """The images of training, validation and test, checked to be different ones."""
    train, val, test = splits(dataset, spec)
    found = pixels(dataset.train, train), pixels(val) if val else [], pixels(test)
    union = set().union(*map(set, found))
    assert len(union) == sum(map(len, found))
    return set(found[0]), set(found[1]), set(found[2])


@pytest.fixture(scope="module")
def cluttered() -> Dataset:
    return read_data(REGISTRY.dataset("cluttered_digits"))


def test_cluttered_digits_are_never_on_two_sides(cluttered: Dataset) -> None:
    found = {(s.rate, s.seed): check_apart(cluttered, s) for s in specs("cluttered_digits", "1,15,30,50,100", "0,1,7")}
    assert len({frozenset(val) for _, val, _ in found.values()}) == 1
    assert len({frozenset(test) for _, _, test in found.values()}) == 1
    assert all(found[15, seed][0] < found[30, seed][0] < found[100, seed][0] for seed in (0, 1, 7))
    assert found[15, 0][0] != found[15, 1][0]
    assert {len(found[100, seed][0]) for seed in (0, 1, 7)} == {960}
    assert len(found[15, 0][1]) == 240


def test_every_method_is_given_the_same_images(cluttered: Dataset) -> None:
    overrides = Overrides(rates="15", seeds="2")
    runs = list(read_plan("demo", REGISTRY, overrides).unique.values())
    by_seed: dict[int, set[tuple[int, ...]]] = {}
    for spec in runs:
        by_seed.setdefault(spec.seed, set()).add(tuple(splits(cluttered, spec)[0].tolist()))
    assert len({spec.method.name for spec in runs}) == 6
    assert [len(subsets) for subsets in by_seed.values()] == [1, 1]
    assert by_seed[0] != by_seed[1]


def folder(root: Path, val: bool) -> str:
    """A dataset of grey images, each of a level of its own, in classes of 13 and 7."""
    level = 0
    for split, share in (("train", 1.0), ("val", 0.5), ("test", 0.5)) if val else (("train", 1.0), ("test", 0.5)):
        for name, count in (("ape", 13), ("bee", 7)):
            place = root / split / name
            place.mkdir(parents=True)
            for number in range(round(count * share)):
                Image.new("L", (5, 5), level).save(place / f"{number}.png")
                level += 1
    return f"folder:{root}"


def test_a_folder_with_val_is_validated_on_it_whatever_the_protocol(tmp_path: Path) -> None:
    name = folder(tmp_path / "data", val=True)
    dataset = read_data(REGISTRY.dataset(name))
    assert dataset.val is not None
    for spec in specs(name, "15,50,100", "3", "validation=0.3"):
        train, val, _ = check_apart(dataset, spec)
        assert val == set(pixels(dataset.val))
        assert len(train) == sum(math.ceil(exactly(spec.rate) * count) for count in (13, 7))


def test_a_folder_without_val_holds_out_the_same_images_for_every_seed_and_rate(tmp_path: Path) -> None:
    name = folder(tmp_path / "data", val=False)
    dataset = read_data(REGISTRY.dataset(name))
    assert dataset.val is None
    found = {(s.rate, s.seed): check_apart(dataset, s) for s in specs(name, "15,50,100", "5", "validation=0.3")}
    (held_out,) = {frozenset(val) for _, val, _ in found.values()}
    assert len(held_out) == math.floor(0.3 * 13) + math.floor(0.3 * 7)
    everything = set(pixels(dataset.train))
    for (rate, _), (train, _, _) in found.items():
        assert train | held_out <= everything
        assert len(train) == sum(math.ceil(exactly(rate) * count) for count in (13 - 3, 7 - 2))
    assert len({frozenset(found[50, seed][0]) for seed in range(5)}) > 1


def test_the_held_out_images_are_those_of_other_methods_and_backbones_too(tmp_path: Path) -> None:
    name = folder(tmp_path / "data", val=False)
    dataset = read_data(REGISTRY.dataset(name))
    overrides = Overrides(datasets=name, backbones="micro_vit,micro_vit@none", rates="50", seeds="1")
    held_out = set()
    for spec in read_plan("demo", REGISTRY, overrides).unique.values():
        _, val, _ = splits(dataset, spec)
        assert val is not None
        held_out.add(frozenset(pixels(val)))
    assert len(held_out) == 1


def test_a_budget_is_taken_of_what_is_not_held_out(tmp_path: Path) -> None:
    name = folder(tmp_path / "data", val=False)
    dataset = read_data(REGISTRY.dataset(name))
    found = {s.rate: check_apart(dataset, s) for s in specs(name, "2-shot,5-shot,12-images,100", "1", "validation=0.3")}
    assert [len(train) for train, _, _ in found.values()] == [4, 10, 12, 15]
    assert found["2-shot"][0] < found["5-shot"][0] < found[100.0][0]
    assert found["2-shot"][0] < found["12-images"][0] < found[100.0][0]
    assert len({frozenset(val) for _, val, _ in found.values()}) == 1


@pytest.mark.slow
@pytest.mark.usefixtures("warm")
def test_a_class_with_too_few_images_is_named_when_a_run_draws_them(tmp_path: Path) -> None:
    name = folder(tmp_path / "data", val=False)
    specs_of = specs(name, "6-shot", "1", "validation=0.3")
    problem = (
        f"{name} at 6-shot: 1 of 2 classes has fewer images to train on: 'bee' has 5; at most 5-shot, or a rate in "
        "percent (beside the 0.3 of each class that is held out for validation)"
    )
    assert unmet_here(specs_of, REGISTRY) == [problem]
    with pytest.raises(InputError) as caught:
        require_budgets(specs_of, REGISTRY)
    assert caught.value.problems == (problem,)
    require_budgets(specs(name, "100", "1"), REGISTRY)


@pytest.mark.parametrize("share", ["0", "0.05"])
def test_nothing_is_held_out_where_the_share_is_none_or_less_than_an_image(tmp_path: Path, share: str) -> None:
    name = folder(tmp_path / "data", val=False)
    (spec,) = specs(name, "100", "1", f"validation={share}")
    train, val, _ = splits(read_data(REGISTRY.dataset(name)), spec)
    assert val is None
    assert len(train) == 20

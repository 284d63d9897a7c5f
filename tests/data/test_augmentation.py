"""What is drawn for augmentation, beside torchvision's and timm's draws, and batches that are mixed and erased."""

from __future__ import annotations

import collections
import math
import random
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from scipy import stats
from timm.data import Mixup
from timm.data.auto_augment import rand_augment_transform
from timm.data.mixup import cutmix_bbox_and_lam
from timm.data.random_erasing import RandomErasing
from torch import Tensor
from torchvision.transforms import AutoAugmentPolicy, v2
from torchvision.transforms.v2 import functional as V

from bench.data import ArrayImages, Split, TrainingImages
from bench.data.ahead import made
from bench.data.augment import POLICIES, draw_view, training_view
from bench.data.autoaugment import draw_autoaugment
from bench.data.crop import draw_crops, draw_flips
from bench.data.erase import Erasing, draw_erased
from bench.data.jitter import draw_grayscale, draw_jitter
from bench.data.mix import Mix, draw_mix
from bench.data.operations import Draw
from bench.data.randaugment import INCREASING, LISTED, draw_randaugment, draw_timm_randaugment
from bench.protocol import Protocol, Recipe
from bench.spec import derive, written

DRAWS = 4000
UNLIKELY = 1e-3
"""A test with a fixed seed whose probability, were the distributions the same, is below this fails."""

Numbers = npt.NDArray[np.float64]


def state(seed: int = 0) -> np.random.RandomState:
    return np.random.RandomState(seed)


def assert_same_distribution(found: Any, expected: Any) -> None:
    """The two-sample test of Kolmogorov and Smirnov."""
    assert stats.ks_2samp(np.asarray(found, float), np.asarray(expected, float)).pvalue > UNLIKELY


def assert_share(found: npt.NDArray[np.bool_], expected: float) -> None:
    assert stats.binomtest(int(found.sum()), len(found), expected).pvalue > UNLIKELY


def as_torchvision(name: str) -> str:
    """``translate_x`` → ``TranslateX``."""
    special = {"saturation": "Color", "autocontrast": "AutoContrast"}
    return special.get(name, "".join(part.capitalize() for part in name.split("_")))


# ---- crops and flips


@pytest.mark.parametrize("scale", [(0.08, 1.0), (0.2, 1.0)])
@pytest.mark.parametrize("sizes", [(300, 400), (500, 190)])
def test_crops_are_distributed_as_torchvisions(scale: tuple[float, float], sizes: tuple[int, int]) -> None:
    boxes = draw_crops(DRAWS, state(), scale).boxes(np.array([sizes] * DRAWS), np.arange(DRAWS))
    torch.manual_seed(0)
    transform = v2.RandomResizedCrop(8, scale)
    expected = [transform.make_params([torch.empty(3, *sizes)]) for _ in range(DRAWS)]
    for column, name in enumerate(("top", "left", "height", "width")):
        assert_same_distribution(boxes[:, column], [drawn[name] for drawn in expected])
    area, ratio = boxes[:, 2] * boxes[:, 3], boxes[:, 3] / boxes[:, 2]
    assert_same_distribution(area, [drawn["height"] * drawn["width"] for drawn in expected])
    assert_same_distribution(ratio, [drawn["width"] / drawn["height"] for drawn in expected])
    assert (boxes[:, :2] >= 0).all()
    assert (boxes[:, :2] + boxes[:, 2:] <= np.array(sizes)).all()
    assert scale[0] * 0.97 < area.min() / math.prod(sizes) < scale[0] * 1.05


@pytest.mark.parametrize("sizes", [(10, 400), (400, 10), (30, 30), (31, 33)])
def test_an_image_into_which_no_crop_fits_keeps_its_centre(sizes: tuple[int, int]) -> None:
    """All draws ask for more than the image has."""
    (box,) = draw_crops(1, state(), (1.5, 2.0)).boxes(np.array([sizes]), np.arange(1)).tolist()
    drawn = v2.RandomResizedCrop(8, (1.5, 2.0)).make_params([torch.empty(3, *sizes)])
    assert box == [drawn["top"], drawn["left"], drawn["height"], drawn["width"]]


def test_every_place_of_a_crop_is_reached_with_equal_chance() -> None:
    boxes = draw_crops(DRAWS, state(), (0.25, 0.25), (1.0, 1.0)).boxes(np.array([(6, 6)] * DRAWS), np.arange(DRAWS))
    assert (boxes[:, 2:] == 3).all()
    places = collections.Counter(map(tuple, boxes[:, :2].tolist()))
    assert len(places) == 16
    assert stats.chisquare(list(places.values())).pvalue > UNLIKELY


def test_half_of_the_images_are_flipped() -> None:
    assert_share(draw_flips(DRAWS, state()), 0.5)


# ---- RandAugment and AutoAugment


def values_by_name(draws: list[Draw]) -> dict[str, Numbers]:
    names, values = (np.concatenate(column) for column in zip(*draws, strict=True))
    return {str(name): values[names == name] for name in np.unique(names)}


def argument(name: str, magnitude: float) -> float:
    """What torchvision's operation does with a magnitude, in the terms of ours."""
    if name in ("brightness", "saturation", "contrast", "sharpness"):
        return 1 + magnitude
    return float(int(magnitude)) if name.startswith("translate") else magnitude * (255 if name == "solarize" else 1)


@pytest.mark.parametrize(("magnitude", "size"), [(9, 224), (15, 97), (30, 32), (0, 224)])
def test_randaugment_has_torchvisions_operations_and_magnitudes(magnitude: int, size: int) -> None:
    draws = draw_randaugment(DRAWS, size, state(), 2, magnitude)
    assert len(draws) == 2
    space = v2.RandAugment._AUGMENTATION_SPACE
    assert {as_torchvision(name) for name in LISTED} == set(space)
    for name, values in values_by_name(draws).items():
        levels, signed = space[as_torchvision(name)]
        all_levels = levels(31, size, size)
        expected = {0.0}
        if all_levels is not None:
            level = float(all_levels[magnitude])
            expected = {argument(name, sign * level) for sign in ((1, -1) if signed else (1,))}
        assert sorted(set(values.round(4) + 0.0)) == pytest.approx(sorted({round(value, 4) for value in expected})), (
            name
        )
        if len(expected) == 2:
            assert_share(values > np.mean(list(expected)), 0.5)


def test_randaugment_draws_each_operation_with_equal_chance_for_each_image() -> None:
    draws = draw_randaugment(DRAWS, 224, state(), 3)
    assert len(draws) == 3
    for names, _ in draws:
        assert stats.chisquare([int((names == name).sum()) for name in LISTED]).pvalue > UNLIKELY
    together = stats.contingency.crosstab(draws[0][0], draws[1][0]).count
    assert stats.chi2_contingency(together).pvalue > UNLIKELY


OURS = {
    "Color": "saturation",
    "TranslateXRel": "translate_x",
    "TranslateYRel": "translate_y",
    "SolarizeAdd": "solarize_add",
}


def timms_draws(count: int, size: int, monkeypatch: pytest.MonkeyPatch) -> tuple[dict[str, Numbers], int]:
    """What timm's operations are called with, by our names, and the number of operations it draws for an image."""
    transform = rand_augment_transform("rand-m9-mstd0.5-inc1", {"img_mean": (124, 116, 104)})
    random.seed(0)
    np.random.seed(0)
    found = collections.defaultdict(list)
    for operation in transform.ops:
        name = operation.name.removesuffix("Increasing")
        name = OURS.get(name, {"ShearX": "shear_x", "ShearY": "shear_y"}.get(name, name.lower()))

        def record(image: object, *values: float, _name: str = name, **options: object) -> object:
            found[_name].append((values or (0.0,))[0])
            return image

        monkeypatch.setattr(operation, "aug_fn", record)
    for _ in range(count):
        transform(None)
    relative = {
        name: size * np.array(values) if name.startswith("tr") else np.array(values) for name, values in found.items()
    }
    return relative, transform.num_layers


@pytest.mark.slow
def test_rand_m9_is_distributed_as_timms(monkeypatch: pytest.MonkeyPatch) -> None:
    count, size = 30_000, 224
    expected, layers = timms_draws(count, size, monkeypatch)
    draws = draw_timm_randaugment(count, size, state())
    assert len(draws) == layers
    found = values_by_name(draws)
    left_out = np.concatenate([names == "identity" for names, _ in draws])
    assert_share(left_out, 0.5)
    assert set(found) == {*expected, "identity"} == {*INCREASING, "identity"}
    counts = [[len(each[name]) for name in INCREASING] for each in (found, expected)]
    assert stats.chi2_contingency(counts).pvalue > UNLIKELY
    for name in INCREASING:
        assert_same_distribution(found[name], expected[name])
        assert found[name].min() == pytest.approx(expected[name].min(), rel=0.05, abs=2)
        assert found[name].max() == pytest.approx(expected[name].max(), rel=0.05, abs=2)


@pytest.mark.slow
@pytest.mark.parametrize("policy", ["imagenet", "cifar10"])
def test_autoaugment_is_distributed_as_torchvisions(policy: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pairs of what is applied, with magnitudes and signs."""
    count, size = 20_000, 32
    torch.manual_seed(0)
    transform = v2.AutoAugment(AutoAugmentPolicy(policy))
    applied: list[tuple[str, float]] = []

    def record(image: object, name: str, magnitude: float, **options: object) -> object:
        applied.append((name, magnitude))
        return image

    monkeypatch.setattr(transform, "_apply_image_or_video_transform", record)
    monkeypatch.setattr(torch, "linspace", _memory(torch.linspace))
    expected: collections.Counter[Any] = collections.Counter()
    image = torch.empty(3, size, size, dtype=torch.uint8)
    for _ in range(count):
        applied.clear()
        transform(image)
        expected[tuple(applied)] += 1
    found: collections.Counter[Any] = collections.Counter()
    (first, values), (second, others) = draw_autoaugment(count, size, state(), policy)
    for pair in zip(zip(first, values, strict=True), zip(second, others, strict=True), strict=True):
        found[tuple((name, value) for name, value in pair if name != "identity")] += 1
    assert_same_counts(_keyed(found, False), _keyed(expected, True))


def _memory(function: Any) -> Any:
    """The function with its results kept, since torchvision asks for the same few again and again."""
    known: dict[Any, Any] = {}

    def remembered(*arguments: Any) -> Any:
        if arguments not in known:
            known[arguments] = function(*arguments)
        return known[arguments]

    return remembered


def _key(applied: Any, torchvisions: bool) -> Any:
    back = {as_torchvision(name): name for name in (*LISTED, "invert")}
    found = []
    for name, value in applied:
        ours = back[name] if torchvisions else str(name)
        bare = ours in ("autocontrast", "equalize", "invert")
        found.append((ours, 0.0 if bare else round(argument(ours, value) if torchvisions else float(value), 3) + 0.0))
    return tuple(found)


def _keyed(counts: collections.Counter[Any], torchvisions: bool) -> collections.Counter[Any]:
    merged: collections.Counter[Any] = collections.Counter()
    for applied, count in counts.items():
        merged[_key(applied, torchvisions)] += count
    return merged


def assert_same_counts(found: collections.Counter[Any], expected: collections.Counter[Any]) -> None:
    rare = {key for key in {*found, *expected} if found[key] + expected[key] < 20}
    assert sum(found[key] + expected[key] for key in rare) < 0.01 * (found.total() + expected.total())
    common = sorted({*found, *expected} - rare, key=repr)
    assert len(common) > 40
    table = [[counts[key] for key in common] for counts in (found, expected)]
    assert stats.chi2_contingency(table).pvalue > UNLIKELY


# ---- colours


def test_jitter_is_distributed_as_torchvisions() -> None:
    draws = draw_jitter(DRAWS, state())
    torch.manual_seed(0)
    transform = v2.ColorJitter(0.4, 0.4, 0.4, 0.1)
    expected = [transform.make_params([]) for _ in range(DRAWS)]
    found = values_by_name(draws)
    for name in ("brightness", "contrast", "saturation", "hue"):
        assert_same_distribution(found[name], [drawn[f"{name}_factor"] for drawn in expected])
    jittered = draws[0][0] != "identity"
    assert_share(jittered, 0.8)
    assert all(np.array_equal(names != "identity", jittered) for names, _ in draws)
    orders = collections.Counter(zip(*(names[jittered].tolist() for names, _ in draws), strict=True))
    assert len(orders) == 24
    assert all(len(set(order)) == 4 for order in orders)
    assert stats.chisquare(list(orders.values())).pvalue > UNLIKELY
    wide = values_by_name(draw_jitter(DRAWS, state(), (1.5, 0.4, 0.4, 0.1)))["brightness"]
    assert 0 <= wide.min() < 0.01
    assert 2.49 < wide.max() <= 2.5


def test_a_fifth_of_the_images_lose_their_colour() -> None:
    names, _ = draw_grayscale(DRAWS, state())
    assert set(names) == {"grayscale", "identity"}
    assert_share(names == "grayscale", 0.2)


# ---- erasing


@pytest.mark.slow
def test_erased_rectangles_are_distributed_as_timms() -> None:
    height, width, probability, count = 48, 64, 0.25, 12_000
    boxes = draw_erased(count, height, width, state(), probability)
    random.seed(0)
    torch.manual_seed(0)
    eraser = RandomErasing(probability, mode="pixel", max_count=1, device="cpu")
    expected = []
    for image in eraser(torch.zeros(count, 1, height, width)):
        rows, columns = (np.flatnonzero(image[0].any(dim).numpy()) for dim in (1, 0))
        if len(rows):
            expected.append((rows[0], columns[0], len(rows), len(columns)))
    wanted = np.array(expected)
    whole = boxes[:, 2] > 0
    assert_share(whole, probability)
    assert not boxes[~whole].any()
    for column in range(4):
        assert_same_distribution(boxes[whole, column], wanted[:, column])
    area, ratio = boxes[whole, 2] * boxes[whole, 3], boxes[whole, 2] / boxes[whole, 3]
    assert_same_distribution(area, wanted[:, 2] * wanted[:, 3])
    assert_same_distribution(ratio, wanted[:, 2] / wanted[:, 3])


def test_what_is_erased_is_normal_noise_once_it_is_normalised() -> None:
    images = torch.zeros(4, 3, 40, 50)
    boxes = np.array([[0, 0, 40, 40], [5, 7, 30, 43], [0, 0, 0, 0], [39, 49, 1, 1]])
    found = Erasing.of(boxes, 3).applied(images.clone())
    assert not found[2].any()
    changed = found != 0
    for row, (top, left, height, width) in enumerate(boxes.tolist()):
        inside = torch.zeros(40, 50, dtype=torch.bool)
        inside[top : top + height, left : left + width] = True
        assert torch.equal(changed[row], inside.expand(3, -1, -1))
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    normalised = (found[0, :, :, :40].permute(1, 2, 0) - mean) / std
    assert stats.kstest(normalised.flatten().numpy(), "norm").pvalue > UNLIKELY
    grey = Erasing.of(np.array([[0, 0, 40, 40]]), 3).applied(torch.zeros(1, 1, 40, 40))
    assert float(grey.mean()) == pytest.approx(0.449, abs=0.02)


def test_noise_depends_on_its_seed_alone_and_leaves_the_global_generator_alone() -> None:
    boxes, kept = np.array([[0, 0, 9, 9], [0, 0, 0, 0], [3, 4, 5, 6]]), torch.get_rng_state()
    first, again, other = (Erasing.of(boxes, seed).applied(torch.zeros(3, 3, 12, 12)) for seed in (3, 3, 4))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert not torch.equal(first[0, :, 3:8, 4:9], first[2, :, 3:8, 4:9])
    assert torch.equal(torch.get_rng_state(), kept)
    untouched = torch.rand(3, 3, 12, 12)
    assert torch.equal(Erasing.of(np.zeros((3, 4), np.int64), 3).applied(untouched.clone()), untouched)


# ---- Mixup and CutMix


CLASSES = 5


@pytest.mark.parametrize(
    ("mixup", "cutmix", "probability"), [(0.8, 1.0, 1.0), (0.8, 0.0, 0.6), (0.0, 1.0, 1.0), (0.2, 0.3, 0.5)]
)
def test_mixes_are_distributed_as_timms(mixup: float, cutmix: float, probability: float) -> None:
    drawn = state()
    mixes = [draw_mix(48, 64, drawn, mixup, cutmix, probability) for _ in range(DRAWS)]
    np.random.seed(0)
    timms = Mixup(mixup, cutmix, prob=probability, switch_prob=0.5, num_classes=CLASSES)
    expected = []
    for _ in range(DRAWS):
        share, cuts = timms._params_per_batch()
        box = None
        if cuts:
            box, share = cutmix_bbox_and_lam((1, 3, 48, 64), share)
        expected.append((share, box))
    for cuts in (False, True):
        ours = [mix.share for mix in mixes if (mix.box is not None) == cuts]
        theirs = [share for share, box in expected if (box is not None) == cuts]
        assert bool(ours) == bool(theirs)
        if ours:
            assert_same_distribution(ours, theirs)
            assert_share(np.arange(DRAWS) < len(ours), likely(cuts, mixup, cutmix, probability))
    for column in range(4):
        boxes = [mix.box[column] for mix in mixes if mix.box], [box[column] for _, box in expected if box]
        if boxes[0]:
            assert_same_distribution(*boxes)


def likely(cuts: bool, mixup: float, cutmix: float, probability: float) -> float:
    """The probability of CutMix, or of anything else."""
    share = probability * (0.0 if not cutmix else 0.5 if mixup else 1.0)
    return share if cuts else 1 - share


@pytest.mark.parametrize("mix", [Mix(), Mix(0.3), Mix(1 - 12 * 7 / 256, (2, 14, 9, 16)), Mix(1.0, (3, 3, 0, 4))])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_images_and_targets_are_mixed_as_timm_mixes_them(
    mix: Mix, smoothing: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    images, labels = torch.rand(6, 3, 16, 16, generator=torch.Generator().manual_seed(0)), torch.arange(6) % CLASSES
    timms = Mixup(0.8, 1.0, label_smoothing=smoothing, num_classes=CLASSES)
    share = 0.123 if mix.box else mix.share  # of CutMix, the box decides
    monkeypatch.setattr(timms, "_params_per_batch", lambda: (share, mix.box is not None))
    monkeypatch.setattr("timm.data.mixup.rand_bbox", lambda *_, **__: mix.box)
    mixed_images, mixed_targets = timms(images.clone(), labels)
    before = images.clone()
    torch.testing.assert_close(mix.images(images), mixed_images, rtol=0, atol=1e-6)
    assert torch.equal(images, before)
    hard = torch.nn.functional.one_hot(labels, CLASSES).float()
    targets = mix.targets(hard * (1 - smoothing) + smoothing / CLASSES)
    torch.testing.assert_close(targets, mixed_targets, rtol=0, atol=1e-6)
    views = torch.stack([images, images.flip(-1)])
    assert torch.equal(mix.images(views)[0], mix.images(images))
    assert torch.equal(mix.images(views)[1], mix.images(views[1]))


# ---- batches of a run


def data(**protocol: Any) -> TrainingImages:
    """Smooth pictures of two sizes' worth of structure, 24 x 24."""
    rows, columns = np.mgrid[:24, :24] / 24
    waves = [np.sin(3 * rows * (n % 5 + 1) + n) + np.cos(4 * columns * (n % 3 + 1)) for n in range(40 * 3)]
    pixels = (127 + 60 * np.stack(waves)).astype(np.uint8).reshape(40, 3, 24, 24).transpose(0, 2, 3, 1)
    split = Split(ArrayImages(np.ascontiguousarray(pixels)), np.arange(40) % CLASSES)
    held = Protocol(recipe=Recipe(steps=10), **{"batch_size": 8, **protocol})
    return TrainingImages(split, np.arange(40), CLASSES, held, 16, 7, torch.device("cpu"))


PLAIN = data(augmentation="none")


def recovered(batch_images: Tensor, plain: Tensor) -> float:
    """λ of Mixup by least squares."""
    other = plain.flip(0)
    return float(((batch_images - other) * (plain - other)).sum() / (plain - other).square().sum())


def test_mixup_of_a_batch_is_in_its_images_and_its_targets() -> None:
    mixing = data(augmentation="none", mixup=0.8, label_smoothing=0.1)
    shares = []
    for step in range(6):
        batch, plain = mixing.batch(step), data(augmentation="none", label_smoothing=0.1).batch(step)
        share = recovered(batch.images, plain.images)
        shares.append(share)
        expected = share * plain.targets + (1 - share) * plain.targets.flip(0)
        torch.testing.assert_close(batch.targets, expected, rtol=0, atol=1e-5)
        assert torch.equal(batch.labels, plain.labels)
        torch.testing.assert_close(batch.targets.sum(1), torch.ones(8))
    assert len({round(share, 4) for share in shares}) == 6


def test_cutmix_of_a_batch_is_in_its_images_and_its_targets() -> None:
    cutting = data(augmentation="none", cutmix=1.0)
    for step in range(6):
        batch, plain = cutting.batch(step), PLAIN.batch(step)
        pasted = (batch.images != plain.images).any(0).any(0)
        share = 1 - float(pasted.float().mean())
        assert torch.equal(batch.images[..., pasted], plain.images.flip(0)[..., pasted])
        expected = share * plain.targets + (1 - share) * plain.targets.flip(0)
        torch.testing.assert_close(batch.targets, expected, rtol=0, atol=1e-6)


def test_views_are_mixed_alike_and_erased_apart() -> None:
    mixing = data(augmentation="none", mixup=0.8, cutmix=1.0)
    for step in range(4):
        batch = mixing.batch(step, views=2)
        assert torch.equal(batch.images[0], batch.images[1])
        assert torch.equal(batch.images[0], mixing.batch(step).images)
        assert torch.equal(batch.targets, mixing.batch(step).targets)
    first, second = data(augmentation="none", erasing=1.0).batch(0, views=2).images
    plain = PLAIN.batch(0).images
    assert not torch.equal(first, second)
    for view in (first, second):
        share = (view != plain).any(1).float().mean((1, 2))
        assert share.min() > 0
        assert share.max() < 0.4


@pytest.mark.parametrize("probability", [0.0, 0.5])
def test_so_many_batches_are_mixed_as_the_protocol_says(probability: float) -> None:
    mixing = data(augmentation="none", mixup=1.0, cutmix=1.0, mix_probability=probability, batch_size=2)
    hard = np.array([float(mixing.batch(step).targets.max(1).values.min()) == 1 for step in range(200)])
    same = np.array([len(set(mixing.batch(step).labels.tolist())) == 1 for step in range(200)])
    if probability == 0:
        assert hard.all()
    else:
        assert_share(~hard[~same], probability)


@pytest.mark.parametrize("augmentation", sorted(POLICIES))
def test_a_batch_depends_on_its_seed_and_step_alone(augmentation: str) -> None:
    settings: dict[str, Any] = {"augmentation": augmentation, "erasing": 0.5, "mixup": 0.8, "cutmix": 1.0}
    forwards = [data(**settings).batch(step, views=2) for step in range(4)]
    for step in (3, 0, 2, 2, 1):
        torch.manual_seed(step)
        np.random.seed(step)
        again = data(**settings).batch(step, views=2)
        assert torch.equal(again.images, forwards[step].images)
        assert torch.equal(again.targets, forwards[step].targets)
        assert not torch.equal(again.images[0], again.images[1])
    other = replace(data(**settings), seed=8).batch(0, views=2)
    assert not torch.equal(other.images, forwards[0].images)


def test_deit_is_rand_m9_mixed_as_deit_does() -> None:
    assert Protocol(augmentation="deit").mixing == (0.8, 1.0)
    assert Protocol(augmentation="deit", mixup=0.2).mixing == (0.2, 0.0)
    assert Protocol(augmentation="rand_m9").mixing == (0.0, 0.0)
    batches = data(augmentation="deit"), data(augmentation="deit", mixup=0.8, cutmix=1.0)
    assert torch.equal(batches[0].batch(1).images, batches[1].batch(1).images)
    assert float(batches[0].batch(1).targets.max(1).values.min()) < 1
    unmixed = data(augmentation="deit", mix_probability=0.0).batch(1)
    assert torch.equal(unmixed.images, data(augmentation="rand_m9").batch(1).images)


def test_settings_that_were_added_later_leave_run_ids_alone() -> None:
    assert written(Protocol()) == {}
    assert written(Protocol(mixup=0.8)) == {"mixup": 0.8}


def photographs(count: int = 48) -> list[Tensor]:
    """Of several sizes."""
    return [torch.from_numpy(np.random.RandomState(n).randint(0, 256, (3, 40 + n, 60))).byte() for n in range(count)]


def test_crops_and_flips_are_torchvisions_own_bit_for_bit() -> None:
    images, view = photographs(), draw_view(48, 32, "crop_flip", 11)
    assert view.crops is not None
    assert view.flips is not None
    expected = []
    for number, (image, flip) in enumerate(zip(images, view.flips, strict=True)):
        (box,) = view.crops.boxes(np.array([image.shape[-2:]]), np.array([number])).tolist()
        cropped = V.resized_crop(image, *box, [32, 32], v2.InterpolationMode.BICUBIC, antialias=True)
        expected.append(V.horizontal_flip(cropped) if flip else cropped)
    assert torch.equal(training_view(images, 32, "crop_flip", 11), torch.stack(expected).float() / 255)


def test_randaugment_does_to_a_batch_what_torchvisions_does_to_each_image() -> None:
    """Forced to the operations and signs that were drawn; means over an image differ by their rounding at most."""
    images, view = photographs(), draw_view(48, 32, "randaugment", 11)
    state = np.random.RandomState(derive("photo", 11))
    draw_crops(48, state)
    draw_flips(48, state)
    draws = draw_randaugment(48, 32, state)
    expected, transform = view.cut(images, np.arange(48)), v2.RandAugment()
    for names, values in draws:
        for row, (name, value) in enumerate(zip(names.tolist(), values.tolist(), strict=True)):
            magnitude = forced(name, value)
            expected[row] = transform._apply_image_or_video_transform(
                expected[row], as_torchvision(name), magnitude, v2.InterpolationMode.NEAREST, {Tensor: None}
            )
    found = training_view(images, 32, "randaugment", 11) * 255
    away = (found - expected.float()).abs().round()
    assert {name for names, _ in draws for name in names.tolist()} == set(LISTED)
    assert (away <= 1).float().mean() > 0.999
    assert (away == 0).float().mean() > 0.98


def forced(name: str, value: float) -> float:
    """What torchvision's operation takes for a value of ours (see ``argument``)."""
    if name in ("brightness", "saturation", "contrast", "sharpness"):
        return value - 1
    return value / 255 if name == "solarize" else value


@pytest.mark.parametrize("augmentation", ["none", "shift", "crop_flip", *sorted(POLICIES)])
def test_a_part_of_a_batch_is_cut_as_in_the_whole(augmentation: str) -> None:
    images, view = photographs(12), draw_view(12, 16, augmentation, 5)
    whole = view.cut(images, np.arange(12))
    for rows in (np.arange(5), np.array([5]), np.array([9, 0, 11])):
        assert torch.equal(view.cut([images[row] for row in rows], rows), whole[torch.from_numpy(rows)])


@pytest.mark.parametrize("augmentation", ["shift", "randaugment", "deit"])
@pytest.mark.parametrize("rows", [[0, 1, 2], [7, 3], [5]])
def test_some_images_of_a_batch_are_prepared_as_in_the_whole(augmentation: str, rows: list[int]) -> None:
    images = data(augmentation=augmentation, erasing=0.6, mix_probability=0.0)
    for step in range(4):
        batch, own = images.batch(step, 2), np.array(rows)
        some = images.batch(step, 2, 0.0, made(images.preparation(step, 2, own)))
        assert torch.equal(some.images, batch.images[:, torch.from_numpy(own)])
        assert torch.equal(some.labels, batch.labels)
        assert torch.equal(some.targets, batch.targets)


@pytest.mark.parametrize("augmentation", ["crop_flip", "randaugment", "shift", "deit"])
def test_global_generators_are_left_alone(augmentation: str) -> None:
    torch.manual_seed(1)
    np.random.seed(1)
    kept, position = torch.get_rng_state(), np.random.get_state(legacy=False)["state"]["pos"]
    data(augmentation=augmentation, erasing=0.5, mixup=0.8).batch(0)
    assert torch.equal(torch.get_rng_state(), kept)
    assert np.random.get_state(legacy=False)["state"]["pos"] == position


@pytest.mark.parametrize("augmentation", sorted(POLICIES))
def test_policies_change_the_images_that_they_crop(augmentation: str) -> None:
    """The crops of ``randaugment_batched`` and others are not all that is seen: few images are as a crop left them."""
    picture = torch.full((3, 40, 40), 90, dtype=torch.uint8)
    picture[0] = 160
    views = training_view([picture] * 40, 16, augmentation, 0) * 255
    untouched = ((views - picture[:, :16, :16]).abs() < 0.5).flatten(1).all(1).float().mean()
    assert untouched < 0.7

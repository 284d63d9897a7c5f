"""Images with masks: they move alike, masks keep their levels, and windows are put together to whole images."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torchvision.transforms.v2 import functional as V

from bench.data.dataset import IGNORED
from bench.data.dense import (
    TRIES,
    Distortion,
    distorted,
    draw_distortions,
    draw_places,
    draw_ratios,
    labelled,
    scaled_size,
    shown_in,
    sliding_view,
    stitched,
    training_pairs,
    varied_box,
    whole_view,
    windows,
)
from bench.errors import InputError
from bench.protocol import MASK_AUGMENTATIONS
from bench.spec import derive

QUICK = settings(max_examples=40, deadline=None)
MOVING = ("none", "scale_crop_flip")
sides = st.integers(1, 90)
seeds = st.integers(0, 10**6)


def state(seed: int = 0) -> np.random.RandomState:
    return np.random.RandomState(seed)


def ramps(height: int, width: int) -> tuple[Tensor, Tensor, Tensor]:
    """An image whose levels say the column, the row and 200, and masks that say the column and the row."""
    rows = torch.arange(height, dtype=torch.uint8)[:, None].expand(height, width)
    columns = torch.arange(width, dtype=torch.uint8)[None].expand(height, width)
    return torch.stack([columns, rows, torch.full_like(rows, 200)]), columns, rows


def noise(height: int, width: int, seed: int, classes: int = 4) -> tuple[Tensor, Tensor]:
    drawn = state(seed)
    image = torch.from_numpy(drawn.randint(0, 256, (3, height, width)).astype(np.uint8))
    return image, torch.from_numpy(drawn.randint(0, classes, (height, width)).astype(np.uint8))


# ---- training


@QUICK
@given(height=sides, width=sides, size=st.integers(8, 48), augmentation=st.sampled_from(MOVING), seed=seeds)
def test_images_and_masks_move_alike(height: int, width: int, size: int, augmentation: str, seed: int) -> None:
    """Levels are coordinates: where a mask says a column or row, its image says it too, but for half a pixel."""
    image, columns, rows = ramps(height, width)
    for channel, mask in enumerate((columns, rows)):
        view, levels = (batch[0] for batch in training_pairs([image], [mask], size, augmentation, seed))
        inside = levels != IGNORED
        # smoothing takes a mean that is lopsided at the border; elsewhere it is of the same place
        away = 2 + max(height, width) // size if augmentation == "none" else 1
        apart = (view[channel].int() - levels.int()).abs()[inside]
        assert apart.max() <= away
        assert (view[2][inside] == 200).all()


@QUICK
@given(height=sides, width=sides, size=st.integers(8, 48), seed=seeds)
def test_half_of_the_views_are_mirrored(height: int, width: int, size: int, seed: int) -> None:
    image, columns, _ = ramps(height, width)
    count = 64
    _, levels = training_pairs([image] * count, [columns] * count, size, "scale_crop_flip", seed)
    for mask in levels:
        row = mask[0][mask[0] != IGNORED].int().diff()
        assert (row >= 0).all() or (row <= 0).all()
    if width >= 16:
        seen = [mask[0][mask[0] != IGNORED].int() for mask in levels]
        mirrored = sum(bool(row[0] > row[-1]) for row in seen)
        assert 10 <= mirrored <= 54


@QUICK
@given(height=sides, width=sides, augmentation=st.sampled_from(MASK_AUGMENTATIONS), seed=seeds)
def test_nothing_appears_in_a_mask_but_its_levels_and_padding(
    height: int, width: int, augmentation: str, seed: int
) -> None:
    """Padding is 0 in the image, whatever became of its colours, and ``IGNORED`` in the mask, at the same pixels."""
    image, mask = torch.full((3, height, width), 150, dtype=torch.uint8), 80 * noise(height, width, seed)[1]
    views, levels = training_pairs([image] * 4, [mask] * 4, 32, augmentation, seed)
    assert views.dtype == levels.dtype == torch.uint8
    assert views.shape == (4, 3, 32, 32)
    assert levels.shape == (4, 32, 32)
    assert set(np.unique(levels)) <= {*np.unique(mask), IGNORED}
    assert torch.equal(levels == IGNORED, (views == 0).all(1))
    for outside in levels == IGNORED:
        inside = ~outside
        high, wide = int(inside.any(1).sum()), int(inside.any(0).sum())
        assert inside[:high, :wide].all()
        assert inside.sum() == high * wide


@pytest.mark.parametrize("augmentation", MASK_AUGMENTATIONS)
def test_the_same_seed_gives_the_same_bits_in_any_thread(augmentation: str) -> None:
    images, masks = zip(*[noise(30 + n, 50 - n, n) for n in range(6)], strict=True)
    views, levels = training_pairs(images, masks, 32, augmentation, 3)
    torch.manual_seed(0)
    with ThreadPoolExecutor(3) as pool:
        again = list(pool.map(lambda _: training_pairs(images, masks, 32, augmentation, 3), range(6)))
    assert all(torch.equal(v, views) and torch.equal(m, levels) for v, m in again)
    another = training_pairs(images, masks, 32, augmentation, 4)
    assert torch.equal(another[0], views) is (augmentation == "none")


def test_images_in_one_tensor_are_taken_too() -> None:
    image, mask = noise(32, 32, 0)
    views, levels = training_pairs(torch.stack([image, image]), [mask, mask], 32, "none", 0)
    assert torch.equal(views[1], image)
    assert torch.equal(levels[1], mask)


def test_distortion_moves_nothing_and_leaves_masks_alone() -> None:
    images, masks = zip(*[noise(40, 60, n) for n in range(8)], strict=True)
    plain, moved = training_pairs(images, masks, 32, "scale_crop_flip", 5)
    coloured, same = training_pairs(images, masks, 32, "mmseg", 5)
    assert torch.equal(moved, same)
    assert not torch.equal(plain, coloured)
    drawn = draw_distortions(8, _after_moves(5))
    for view, changed, mask, by in zip(plain, coloured, moved, drawn, strict=True):
        inside = mask != IGNORED
        assert torch.equal(distorted(view, by)[:, inside], changed[:, inside])


def _after_moves(seed: int) -> np.random.RandomState:
    """The state from which the distortions of 8 images are drawn."""
    drawn = state(derive("dense", seed))
    draw_ratios(8, drawn)
    draw_places(8, drawn)
    drawn.uniform(size=8)
    return drawn


def test_a_mask_of_another_size_is_refused() -> None:
    with pytest.raises(InputError, match="an image of 8 × 6 pixels has a mask of 6 × 8"):
        training_pairs([torch.zeros(3, 6, 8, dtype=torch.uint8)], [torch.zeros(8, 6, dtype=torch.uint8)], 8, "none", 0)


def test_an_augmentation_that_is_not_for_masks_is_refused() -> None:
    image, mask = noise(8, 8, 0)
    with pytest.raises(ValueError, match="no augmentation 'deit', only none, scale_crop_flip, mmseg"):
        training_pairs([image], [mask], 8, "deit", 0)


# ---- scales and crops


@pytest.mark.parametrize(
    ("height", "width", "ratio", "expected"),
    [
        (512, 683, 1.0, (512, 683)),
        (256, 256, 2.0, (1024, 1024)),
        (1024, 2048, 0.5, (256, 512)),
        (100, 1000, 1.0, (205, 2048)),
        (1000, 100, 2.0, (4096, 410)),
        (1, 9000, 0.5, (1, 1024)),
    ],
)
def test_images_are_scaled_between_two_bounds(height: int, width: int, ratio: float, expected: tuple[int, int]) -> None:
    """As mmcv's ``rescale_size`` does for a scale of (2048, 512)."""
    assert scaled_size(height, width, 512, ratio) == expected


def test_ratios_lie_evenly_from_a_half_to_two() -> None:
    ratios = draw_ratios(4000, state())
    assert ratios.min() >= 0.5
    assert ratios.max() <= 2
    assert ratios.mean() == pytest.approx(1.25, abs=0.03)


@QUICK
@given(height=st.integers(12, 40), width=st.integers(12, 40), first=st.integers(1, 30), seed=seeds)
def test_no_class_fills_a_crop_where_a_try_allows(height: int, width: int, first: int, seed: int) -> None:
    """The box is the first of the tries that is varied enough, else the last draw."""
    mask = torch.zeros(height, width, dtype=torch.uint8)
    mask[:, :first] = 1
    mask[0] = IGNORED
    places = draw_places(1, state(seed))[0]
    fill = [_filled(mask, place, 12) for place in places]
    good = [number for number in range(TRIES) if fill[number] < 0.75]
    top, left, high, wide = varied_box(mask, places, 12)
    assert (high, wide) == (12, 12)
    expected = places[good[0] if good else TRIES]
    assert (top, left) == _corner(mask, expected, 12)


def _corner(mask: Tensor, place: np.ndarray, size: int) -> tuple[int, int]:
    height, width = mask.shape
    return int(place[0] * (height - size + 1)), int(place[1] * (width - size + 1))


def _filled(mask: Tensor, place: np.ndarray, size: int) -> float:
    """The share of the most frequent class among the pixels that have one."""
    top, left = _corner(mask, place, size)
    part = mask[top : top + size, left : left + size]
    counts = np.unique(part[part != IGNORED], return_counts=True)[1]
    return float(counts.max() / counts.sum())


def test_crops_reach_every_corner_and_end_with_a_small_image() -> None:
    mask = torch.arange(4, dtype=torch.uint8).repeat_interleave(3).expand(9, 12)
    boxes = {varied_box(mask, places, 8)[:2] for places in draw_places(200, state())}
    assert boxes == {(top, left) for top in (0, 1) for left in range(5)}
    smaller = {varied_box(mask, places, 10) for places in draw_places(50, state())}
    assert smaller == {(0, left, 9, 10) for left in range(3)}


def test_a_mask_of_which_nothing_counts_is_cropped_all_the_same() -> None:
    mask = torch.full((10, 10), IGNORED, dtype=torch.uint8)
    assert varied_box(mask, draw_places(1, state())[0], 4)[2:] == (4, 4)


# ---- colours


def test_each_distortion_is_made_half_of_the_time_within_its_bounds() -> None:
    drawn = draw_distortions(2000, state())
    for name, neutral, low, high in (
        ("brightness", 0.0, -32, 32),
        ("contrast", 1.0, 0.5, 1.5),
        ("saturation", 1.0, 0.5, 1.5),
        ("hue", 0.0, -0.1, 17 / 180),
    ):
        changed = [value for by in drawn if (value := getattr(by, name)) != neutral]
        assert 900 <= len(changed) <= 1100
        assert low <= min(changed) < max(changed) <= high
        assert min(changed) < low + 0.05 * (high - low)
        assert max(changed) > high - 0.05 * (high - low)
    assert 900 <= sum(by.contrast_first for by in drawn) <= 1100


def test_distortions_do_what_their_names_say() -> None:
    image = torch.tensor([200, 100, 50], dtype=torch.uint8)[:, None, None]
    levels = [
        distorted(image, by).flatten().tolist()
        for by in (
            Distortion(),
            Distortion(brightness=100),
            Distortion(brightness=-60),
            Distortion(contrast=1.5),
            Distortion(saturation=0.5),
            Distortion(saturation=1.2),
            Distortion(saturation=1.5),
            Distortion(hue=1 / 3),
        )
    ]
    assert levels == [
        [200, 100, 50],
        [255, 200, 150],
        [140, 40, 0],
        [255, 150, 75],
        [200, 150, 125],
        [200, 80, 20],
        [200, 67, 0],
        [50, 200, 100],
    ]


def test_contrast_comes_first_or_last() -> None:
    image = torch.tensor([240, 100, 50], dtype=torch.uint8)[:, None, None]
    first = distorted(image, Distortion(contrast=1.5, saturation=0.5)).flatten().tolist()
    last = distorted(image, Distortion(contrast=1.5, contrast_first=False, saturation=0.5)).flatten().tolist()
    assert first == [255, 202, 165]
    assert last == [255, 255, 217]


def test_grey_stays_grey() -> None:
    grey = noise(8, 8, 0)[0][:1].expand(3, 8, 8)
    changed = distorted(grey, Distortion(saturation=1.5, hue=0.1))
    assert torch.equal(changed, grey)
    assert torch.equal(distorted(grey[:1], Distortion(saturation=0.5, hue=0.1)), grey[:1])


# ---- test


@QUICK
@given(height=sides, width=sides, size=st.integers(1, 40), part=st.floats(0, 1))
def test_windows_cover_every_pixel_and_stay_inside(height: int, width: int, size: int, part: float) -> None:
    stride = max(1, round(part * size))
    seen = torch.zeros(height, width, dtype=torch.int64)
    boxes = windows(height, width, size, stride)
    for top, left, high, wide in boxes:
        assert (high, wide) == (min(size, height), min(size, width))
        assert 0 <= top <= height - high
        assert 0 <= left <= width - wide
        seen[top : top + high, left : left + wide] += 1
    assert seen.min() >= 1
    assert len(set(boxes)) == len(boxes)


def test_windows_are_those_of_mmsegmentation() -> None:
    assert windows(512, 512, 512) == [(0, 0, 512, 512)]
    assert windows(512, 683, 512) == [(0, 0, 512, 512), (0, 171, 512, 512)]
    assert windows(512, 853, 512) == [(0, 0, 512, 512), (0, 341, 512, 512)]
    assert [box[1] for box in windows(512, 1000, 512)] == [0, 341, 488]
    assert windows(205, 300, 512) == [(0, 0, 205, 300)]
    for stride in (0, 9):
        with pytest.raises(ValueError, match=f"a stride from 1 to 8, not {stride}"):
            windows(20, 20, 8, stride)


def test_a_sliding_window_is_the_whole_image_where_one_covers_it() -> None:
    image = noise(50, 50, 0)[0]
    sliding, whole = sliding_view(image, 50), whole_view(image, 50)
    boxes = windows(50, 50, 50)
    shown = shown_in(sliding, boxes, 50)
    assert torch.equal(shown, whole)
    logits = torch.randn(1, 5, 50, 50, generator=torch.Generator().manual_seed(0))
    assert torch.equal(stitched(logits, boxes, 50, 50), logits[0])


@QUICK
@given(height=sides, width=sides, size=st.integers(6, 40), value=st.floats(-9, 9))
def test_constant_logits_stay_constant(height: int, width: int, size: int, value: float) -> None:
    boxes = windows(height, width, size)
    together = stitched(torch.full((len(boxes), 2, size, size), value), boxes, height, width)
    assert together.shape == (2, height, width)
    torch.testing.assert_close(together, torch.full((2, height, width), value))


@QUICK
@given(height=sides, width=sides, size=st.integers(6, 40), seed=seeds)
def test_windows_of_an_image_are_put_together_to_it(height: int, width: int, size: int, seed: int) -> None:
    """Also where windows are smaller than their square, whose rest is 0 and counts for nothing."""
    image = noise(height, width, seed)[0]
    boxes = windows(height, width, size)
    shown = shown_in(image, boxes, size)
    assert shown.shape == (len(boxes), 3, size, size)
    torch.testing.assert_close(stitched(shown.float(), boxes, height, width), image.float())


def test_logits_are_averaged_where_windows_overlap() -> None:
    logits = torch.tensor([1.0, 4.0])[:, None, None, None].expand(2, 1, 3, 3)
    together = stitched(logits, windows(3, 4, 3, 2), 3, 4)
    assert together[0, 0].tolist() == [1, 2.5, 2.5, 4]


def test_views_have_their_sizes() -> None:
    image = noise(30, 300, 0)[0]
    assert sliding_view(image, 20).shape == (3, 8, 80)
    assert sliding_view(image[:, :, :60], 20).shape == (3, 20, 40)
    assert whole_view(image, 20).shape == (1, 3, 20, 20)


@pytest.mark.parametrize("classes", [1, 5, 16, 40, 150])
def test_classes_are_those_of_the_highest_logits_at_the_size_of_the_mask(classes: int) -> None:
    logits = torch.randn(classes, 6, 7, generator=torch.Generator().manual_seed(1))
    given = labelled(logits, 11, 9)
    expected = torch.nn.functional.interpolate(logits[None], (11, 9), mode="bilinear")[0].argmax(0)
    assert given.dtype == torch.uint8
    assert torch.equal(given.long(), expected)
    assert torch.equal(labelled(logits, 6, 7).long(), logits.argmax(0))


def test_of_equal_logits_the_first_class_is_taken() -> None:
    assert not labelled(torch.zeros(40, 3, 3), 5, 5).any()


def test_a_mask_that_is_shown_as_logits_is_given_back() -> None:
    """The whole way of a test: scaled, in windows, together, and at the mask's size again, away from borders."""
    mask = torch.zeros(60, 90, dtype=torch.uint8)
    mask[15:, 20:60] = 1
    mask[40:, 50:] = 2
    view = V.resize(mask[None], scaled_size(60, 90, 30), V.InterpolationMode.NEAREST_EXACT)
    boxes = windows(view.shape[1], view.shape[2], 30)
    shown = shown_in(view, boxes, 30)[:, 0].long()
    logits = torch.nn.functional.one_hot(shown, 3).permute(0, 3, 1, 2).float()
    predicted = labelled(stitched(logits, boxes, *view.shape[-2:]), 60, 90)
    assert (predicted == mask).float().mean() > 0.97

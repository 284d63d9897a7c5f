"""Each operation of the augmentations on photographs, beside torchvision's and timm's, image by image."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.datasets import load_sample_image
from timm.data import auto_augment
from torch import Tensor
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional as V

from bench.data.crop import cropped
from bench.data.operations import MOVES, OPERATIONS, operate
from bench.data.randaugment import TIMM_FILL

NEAREST = V.InterpolationMode.NEAREST
HEIGHT, WIDTH = 96, 120


def photographs(channels: int = 3) -> Tensor:
    """Six parts of real photographs, one dark and one of low contrast, uint8 (6, C, 96, 120)."""
    found = []
    for name in ("china.jpg", "flower.jpg"):
        whole = torch.from_numpy(np.array(load_sample_image(name))).permute(2, 0, 1)
        for top, left, height in ((0, 0, 427), (100, 200, 200), (250, 300, 96)):
            box = (top, left, height, height * WIDTH // HEIGHT)
            found.append(V.resized_crop(whole, *box, [HEIGHT, WIDTH], antialias=True))
    images = torch.stack(found)
    images[1] //= 4
    images[4] = images[4] // 3 + 90
    return images[:, :channels].contiguous()


PHOTOS = photographs()


def together(name: str, values: list[float], images: Tensor = PHOTOS, **options: bool | tuple[int, ...]) -> Tensor:
    """The operation on all images in one call, each with its own value."""
    names = np.array([name] * len(images))
    return operate(images, [(names, np.array(values, dtype=np.float64))], **options)  # type: ignore[arg-type]


def assert_close(found: Tensor, expected: list[Tensor], levels: int = 1, astray: float = 0.0) -> None:
    """Equal to so many grey levels, but for a share of pixels; each image apart."""
    assert found.dtype == torch.uint8
    for one, other in zip(found, expected, strict=True):
        different = (one.int() - other.int()).abs() > levels
        assert different.float().mean() <= astray, f"{different.float().mean():.4%} of the levels differ"


COLOURS: dict[str, tuple[list[float], Callable[[Tensor, float], Tensor]]] = {
    "identity": ([0] * 6, lambda image, _: image),
    "brightness": ([0.1, 0.73, 1.0, 1.27, 1.9, 0.0], V.adjust_brightness),
    "saturation": ([0.1, 0.73, 1.0, 1.27, 1.9, 0.0], V.adjust_saturation),
    "contrast": ([0.1, 0.73, 1.0, 1.27, 1.9, 0.0], V.adjust_contrast),
    "sharpness": ([0.1, 0.73, 1.0, 1.27, 1.9, 0.0], V.adjust_sharpness),
    "hue": ([-0.5, -0.1, 0.0, 0.03, 0.1, 0.41], V.adjust_hue),
    "posterize": ([8, 7, 6, 4, 2, 1], lambda image, bits: V.posterize(image, int(bits))),
    "solarize": ([0, 178.5, 255, 76.5, 128, 255 * (1 - 9 / 30)], V.solarize),
    "invert": ([0] * 6, lambda image, _: V.invert(image)),
    "autocontrast": ([0] * 6, lambda image, _: V.autocontrast(image)),
    "equalize": ([0] * 6, lambda image, _: V.equalize(image)),
    "grayscale": ([0] * 6, lambda image, _: V.rgb_to_grayscale(image, image.shape[0])),
}


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("name", COLOURS)
def test_colours_are_torchvisions_to_a_grey_level(name: str, channels: int) -> None:
    values, reference = COLOURS[name]
    images = photographs(channels)
    found = together(name, values, images)
    assert_close(found, [reference(image, value) for image, value in zip(images, values, strict=True)])
    assert torch.equal(images, photographs(channels))


def test_every_operation_is_compared() -> None:
    assert {*OPERATIONS, "identity"} == {*COLOURS, "solarize_add"}


def moved_by_torchvision(image: Tensor, name: str, value: float) -> Tensor:
    """As torchvision's policies move images."""
    if name == "rotate":
        return V.rotate(image, value, NEAREST)  # type: ignore[no-any-return]
    shift = [int(value), 0] if name == "translate_x" else [0, int(value)] if name == "translate_y" else [0, 0]
    angle = math.degrees(math.atan(value)) if name.startswith("shear") else 0.0
    shear = [angle, 0.0] if name == "shear_x" else [0.0, angle]
    centre = [0, 0] if name.startswith("shear") else None
    return V.affine(image, 0.0, shift, 1.0, shear, NEAREST, center=centre)  # type: ignore[no-any-return]


MOVED: dict[str, list[float]] = {
    "shear_x": [-0.3, -0.09, 0.0, 0.04, 0.17, 0.3],
    "shear_y": [-0.3, -0.09, 0.0, 0.04, 0.17, 0.3],
    "translate_x": [-54, -9, 0, 1, 30, 54],
    "translate_y": [-54, -9, 0, 1, 30, 54],
    "rotate": [-30, -9, 0, 1.5, 22, 30],
}


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("name", MOVES)
def test_moves_are_torchvisions(name: str, channels: int) -> None:
    """But for the few pixels whose place lies between two others to the last bit of a float."""
    images = photographs(channels)
    expected = [moved_by_torchvision(image, name, value) for image, value in zip(images, MOVED[name], strict=True)]
    assert_close(together(name, MOVED[name], images), expected, levels=0, astray=0.002)


# ---- timm, which works on Pillow's images


def by_timm(image: Tensor, operation: Callable[..., Image.Image], value: float) -> Tensor:
    picture = Image.fromarray(image.permute(1, 2, 0).numpy())
    done = operation(picture, value, resample=Image.Resampling.BILINEAR, fillcolor=TIMM_FILL)
    return torch.from_numpy(np.array(done)).permute(2, 0, 1)


TIMM_COLOURS: dict[str, tuple[Callable[..., Image.Image], list[float]]] = {
    "brightness": (auto_augment.brightness, [0.1, 0.19, 0.9, 1.0, 1.5, 1.9]),
    "saturation": (auto_augment.color, [0.1, 0.19, 0.9, 1.0, 1.5, 1.9]),
    "contrast": (auto_augment.contrast, [0.1, 0.19, 0.9, 1.0, 1.5, 1.9]),
    "sharpness": (auto_augment.sharpness, [0.1, 0.19, 0.9, 1.0, 1.5, 1.9]),
    "posterize": (lambda picture, bits, **_: auto_augment.posterize(picture, int(bits)), [4, 3, 2, 1, 8, 5]),
    "solarize": (auto_augment.solarize, [26, 0, 1, 128, 255, 256]),
    "solarize_add": (
        lambda picture, added, **_: auto_augment.solarize_add(picture, int(added)),
        [0, 1, 99, 110, 50, 90],
    ),
    "autocontrast": (lambda picture, _, **__: auto_augment.auto_contrast(picture), [0] * 6),
    "equalize": (lambda picture, _, **__: auto_augment.equalize(picture), [0] * 6),
    "invert": (lambda picture, _, **__: auto_augment.invert(picture), [0] * 6),
}


@pytest.mark.parametrize("name", TIMM_COLOURS)
def test_colours_are_timms_to_a_grey_level(name: str) -> None:
    operation, values = TIMM_COLOURS[name]
    expected = [by_timm(image, operation, value) for image, value in zip(PHOTOS, values, strict=True)]
    assert_close(together(name, values), expected)


TIMM_MOVES: dict[str, Callable[..., Image.Image]] = {
    "shear_x": auto_augment.shear_x,
    "shear_y": auto_augment.shear_y,
    "translate_x": lambda picture, pixels, **given: auto_augment.translate_x_abs(picture, -pixels, **given),
    "translate_y": lambda picture, pixels, **given: auto_augment.translate_y_abs(picture, -pixels, **given),
    "rotate": auto_augment.rotate,
}


@pytest.mark.parametrize("name", TIMM_MOVES)
def test_moves_are_timms_with_its_fill_and_between_pixels(name: str) -> None:
    values = [value + 0.37 * name.startswith("translate") for value in MOVED[name]]
    expected = [by_timm(image, TIMM_MOVES[name], value) for image, value in zip(PHOTOS, values, strict=True)]
    found = together(name, values, bilinear=True, fill=TIMM_FILL)
    assert_close(found, expected, astray=0.001)


def test_black_comes_in_where_no_fill_is_given_and_a_grey_image_takes_the_mean() -> None:
    white = torch.full((1, 1, 8, 8), 255, dtype=torch.uint8)
    assert together("translate_x", [3], white)[0, 0, 0].tolist() == [0, 0, 0, 255, 255, 255, 255, 255]
    filled = together("translate_y", [-2], white, bilinear=True, fill=(10, 20, 60))
    assert filled[0, 0, :, 0].tolist() == [255] * 6 + [30, 30]


def test_a_posterized_image_of_no_bits_is_black() -> None:
    """timm's magnitude 10; Pillow refuses it."""
    assert not together("posterize", [0] * 6).any()


# ---- batches


@pytest.mark.parametrize("device", ["cpu", *["cuda"] * torch.cuda.is_available()])
@pytest.mark.parametrize("name", [*COLOURS, *MOVES])
def test_every_device_gives_what_the_cpu_gives_an_image_at_a_time(name: str, device: str) -> None:
    values = MOVED[name] if name in MOVES else COLOURS[name][0]
    alone = [together(name, [value], image[None])[0] for image, value in zip(PHOTOS, values, strict=True)]
    assert_close(together(name, values, PHOTOS.to(device)).cpu(), alone, astray=0.001)


def test_each_image_gets_its_own_operations_in_order() -> None:
    first = np.array(["rotate", "invert", "hue", "identity", "rotate", "equalize"])
    second = np.array(["invert", "rotate", "equalize", "contrast", "brightness", "rotate"])
    values = np.array([10, 0, 0.1, 0, -20, 0.0]), np.array([0, 10, 0, 1.5, 0.5, -5.0])
    whole = operate(PHOTOS, [(first, values[0]), (second, values[1])])
    for row in range(6):
        alone = PHOTOS[row : row + 1]
        for names, value in ((first, values[0]), (second, values[1])):
            alone = operate(alone, [(names[row : row + 1], value[row : row + 1])])
        assert_close(whole[row : row + 1], list(alone), levels=0, astray=0.001)


def test_no_operation_changes_what_it_is_given() -> None:
    for name in (*OPERATIONS, *MOVES):
        images = PHOTOS.clone()
        together(name, [1.0] * 6, images)
        assert torch.equal(images, PHOTOS), name


# ---- crops


def test_crops_are_torchvisions_bit_for_bit() -> None:
    images = [PHOTOS[0], PHOTOS[1, :, :50], PHOTOS[2, :, :, :31]]
    boxes = np.array([[3, 5, 60, 70], [0, 0, 50, 120], [10, 1, 80, 30]])
    flips = np.array([True, False, True])
    found = cropped(images, boxes, flips, 32)
    for image, box, flip, view in zip(images, boxes.tolist(), flips, found, strict=True):
        top, left, height, width = box
        part = image[:, top : top + height, left : left + width]
        expected = v2.Resize([32, 32], V.InterpolationMode.BICUBIC, antialias=True)(part)
        assert torch.equal(view, V.horizontal_flip(expected) if flip else expected)

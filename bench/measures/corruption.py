"""Robustness: top-1 on corrupted test images, fifteen kinds of corruption at five severities each.

After ImageNet-C (Hendrycks and Dietterich, ICLR 2019): of noise, blur, light and weather, and what digital processing
does. They are its kinds and not its images: computed here by plain operations of torch and torchvision, so that no
download is needed and any dataset can be measured, and so the numbers are not those of ImageNet-C. Lengths are given
for images of 224 pixels a side and grow by the square root of the side. What is drawn (noise, a direction, a field) is
drawn for each image by its pixels, the kind and a seed: the same for every model, and the same at every severity.

``corrupted_top1`` is the mean over kinds and severities, ``robustness`` that in percent of ``clean_top1``, all of the
images that are measured. A kind that changes none of them (saturation of grey ones) is left out.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from bench.measure import CannotMeasure, Measure, Measured
from bench.metrics import Metric
from bench.spec import derive

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from bench.models.subject import Subject

MEASURE = Measure(
    "corruption",
    gives=(
        Metric("clean_top1", "clean top-1", "%", low=0, high=100, measure="corruption"),
        Metric("corrupted_top1", "top-1 on corrupted images", "%", low=0, high=100, measure="corruption"),
        Metric("robustness", "relative robustness", "%", low=0, measure="corruption"),
    ),
    images=500,
    options={"seed": 0},
    source="after Hendrycks and Dietterich, ICLR 2019; the kinds, not the images",
)

SEVERITIES = 5


def measure(subject: Subject) -> Measured:
    """Score the images as they are, and corrupted in each way.

    Arrays: ``kinds`` (K,), ``severities`` (6,) from 0, and ``top1`` (K, 6), nan for a kind that is left out.

    Raises:
        CannotMeasure: the model's head is not trained.
    """
    import torch

    if subject.of_source:
        raise CannotMeasure("the pre-trained model's head is not trained, so that it has no accuracy to lose")
    seed = int(subject.options["seed"])
    right = np.zeros((len(KINDS), SEVERITIES + 1))
    changes = np.zeros(len(KINDS), bool)
    with torch.inference_mode():
        for images, labels in subject.batches():
            clean = (255 * images.cpu()).round().to(torch.uint8)
            draws = [Draws(image, seed) for image in clean]
            right[:, 0] += _right(subject, clean, labels)
            for row, kind in enumerate(KINDS):
                for severity in range(1, SEVERITIES + 1):
                    changed = corrupted(clean, kind, severity, draws)
                    changes[row] |= not torch.equal(changed, clean)
                    right[row, severity] += _right(subject, changed, labels)
    top1 = 100 * right / len(subject.split)
    top1[~changes] = np.nan
    clean_top1 = 100 * float(right[0, 0]) / len(subject.split)
    mean = float(top1[changes, 1:].mean()) if changes.any() else math.nan
    numbers = {
        "clean_top1": clean_top1,
        "corrupted_top1": mean,
        "robustness": 100 * mean / clean_top1 if clean_top1 else math.nan,
    }
    idle = [kind for kind, is_changing in zip(KINDS, changes, strict=True) if not is_changing]
    remark = f"left out, since it changes none of these images: {', '.join(idle)}"
    arrays = {"kinds": np.array(list(KINDS)), "severities": np.arange(SEVERITIES + 1), "top1": top1}
    return Measured(numbers, arrays, (remark,) if idle else ())


def _right(subject: Subject, images: Tensor, labels: Tensor) -> int:
    """How many images, uint8, a model tells right."""
    from bench.data.augment import unit

    with subject.precision():
        logits = subject.model(unit(images.to(subject.device))).logits
    return int((logits.argmax(1) == labels).sum())


class Draws:
    """What is drawn for an image: by its pixels, a kind and a seed, and by nothing else."""

    def __init__(self, image: Tensor, seed: int) -> None:
        self.image = zlib.crc32(image.contiguous().numpy().tobytes())
        self.seed = seed

    def generator(self, kind: str) -> torch.Generator:
        """Of the draws for a kind, from their beginning."""
        import torch

        return torch.Generator().manual_seed(derive("corruption", kind, self.image, self.seed))


def corrupted(images: Tensor, kind: str, severity: int, draws: Sequence[Draws] | None = None) -> Tensor:
    """Images corrupted in a way of that name, as they would be stored.

    Args:
        images: uint8 (B, C, S, S), C = 1 or 3.
        kind: one of ``KINDS``.
        severity: 1 to 5; 0 leaves the images as they are.
        draws: of each image; by default those of seed 0.

    Returns:
        uint8, of the same shape.
    """
    import torch

    if not severity:
        return images
    corruption = KINDS[kind]
    level = corruption.levels[severity - 1]
    if corruption.is_length:
        level *= math.sqrt(images.shape[-1] / 224)
    generators = [draw.generator(kind) for draw in draws or [Draws(image, 0) for image in images]]
    unit = images.float() / 255
    changed: Tensor = corruption.change(unit, level, generators)
    return (255 * changed.clamp(0, 1)).round().to(torch.uint8)


Generators = Sequence["torch.Generator"]


@dataclass(frozen=True)
class Corruption:
    """A kind of corruption.

    Attributes:
        levels: one a severity.
        change: images in 0..1, a level and the draws of each image to images, which may leave 0..1.
        is_length: whether the levels are pixels of an image of 224 a side.
    """

    levels: tuple[float, ...]
    change: Callable[[Tensor, float, Generators], Tensor]
    is_length: bool = False


# ---- noise


def _normal(images: Tensor, generators: Generators) -> Tensor:
    import torch

    return torch.stack([torch.randn(images.shape[1:], generator=generator) for generator in generators])


def _gaussian_noise(images: Tensor, level: float, generators: Generators) -> Tensor:
    return images + level * _normal(images, generators)


def _speckle_noise(images: Tensor, level: float, generators: Generators) -> Tensor:
    return images + images * level * _normal(images, generators)


def _shot_noise(images: Tensor, level: float, generators: Generators) -> Tensor:
    """Photons are counted, ``level`` of them for white."""
    import torch

    counted = zip(images, generators, strict=True)
    return torch.stack([torch.poisson(image * level, generator=generator) / level for image, generator in counted])


def _impulse_noise(images: Tensor, level: float, generators: Generators) -> Tensor:
    """A share of the values becomes black or white."""
    import torch

    drawn = torch.stack([torch.rand((2, *images.shape[1:]), generator=generator) for generator in generators])
    return torch.where(drawn[:, 0] < level, (drawn[:, 1] < 0.5).float(), images)


# ---- blur


def _gaussian_blur(images: Tensor, sigma: float, generators: Generators) -> Tensor:
    import torch
    import torch.nn.functional as F

    sigma = max(sigma, 0.4)  # less would move no level of a small image
    reach = max(1, math.ceil(3 * sigma))
    weights = torch.exp(-0.5 * (torch.arange(-reach, reach + 1) / sigma) ** 2)
    weights /= weights.sum()
    batch, channels, side, _ = images.shape
    flat = F.pad(images.reshape(batch * channels, 1, side, -1), [reach] * 4, mode="replicate")
    flat = F.conv2d(F.conv2d(flat, weights.view(1, 1, 1, -1)), weights.view(1, 1, -1, 1))
    return flat.reshape(images.shape)


def _motion_blur(images: Tensor, length: float, generators: Generators) -> Tensor:
    """Smeared along one of eight directions, drawn by image."""
    import torch

    chosen = torch.tensor([int(torch.randint(8, (), generator=generator)) for generator in generators])
    angle = chosen.float() * math.pi / 8
    reach = max(1, math.ceil(length / 2))
    offsets = torch.linspace(-length / 2, length / 2, 2 * reach + 1)
    total = torch.zeros_like(images)
    for offset in offsets.tolist():
        total += _sampled(images, offset * angle.cos(), offset * angle.sin())
    return total / len(offsets)


def _zoom_blur(images: Tensor, most: float, generators: Generators) -> Tensor:
    """The mean of the image and of zooms into its middle, up to the greatest."""
    import torch
    import torch.nn.functional as F

    zooms = torch.linspace(1, most, 12).tolist()
    total = torch.zeros_like(images)
    for zoom in zooms:
        theta = torch.tensor([[1 / zoom, 0, 0], [0, 1 / zoom, 0]]).expand(len(images), 2, 3)
        places = F.affine_grid(theta, list(images.shape), align_corners=False)
        total += F.grid_sample(images, places, padding_mode="border", align_corners=False)
    return total / len(zooms)


def _sampled(images: Tensor, right: Tensor, down: Tensor) -> Tensor:
    """Each pixel from a place so many pixels to the right and down, (B,) or (B, S, S); borders are repeated."""
    import torch
    import torch.nn.functional as F

    batch, _, height, width = images.shape
    rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    right, down = (moved.view(batch, *moved.shape[1:] or (1, 1)) for moved in (right, down))
    x, y = (2 * (columns + right) + 1) / width - 1, (2 * (rows + down) + 1) / height - 1
    places = torch.stack([x.expand(batch, height, width), y.expand(batch, height, width)], -1)
    return F.grid_sample(images, places, padding_mode="border", align_corners=False)


# ---- light and weather


def _brightness(images: Tensor, level: float, generators: Generators) -> Tensor:
    return images + level


def _contrast(images: Tensor, factor: float, generators: Generators) -> Tensor:
    from torchvision.transforms.v2 import functional as V

    return V.adjust_contrast(images, factor)  # type: ignore[no-any-return]


def _saturation(images: Tensor, factor: float, generators: Generators) -> Tensor:
    from torchvision.transforms.v2 import functional as V

    return V.adjust_saturation(images, factor)  # type: ignore[no-any-return]


def _fog(images: Tensor, level: float, generators: Generators) -> Tensor:
    """A veil of light greys, mixed in: a sum of smooth fields, each twice as fine and half as strong as the last."""
    import torch

    fields = [_field(images, cells, 1, generators) / cells for cells in (2, 4, 8, 16)]
    veil = torch.stack(fields).sum(0)
    low, high = veil.amin((2, 3), keepdim=True), veil.amax((2, 3), keepdim=True)
    return (1 - level) * images + level * (0.6 + 0.4 * (veil - low) / (high - low))


# ---- digital


def _pixelate(images: Tensor, share: float, generators: Generators) -> Tensor:
    """As coarse as if it had that share of its pixels a side."""
    import torch.nn.functional as F

    side = max(1, round(share * images.shape[-1]))
    return F.interpolate(F.adaptive_avg_pool2d(images, side), images.shape[-2:], mode="nearest-exact")


def _jpeg(images: Tensor, quality: float, generators: Generators) -> Tensor:
    import torch
    from torchvision.transforms.v2 import functional as V

    levels = (255 * images).round().to(torch.uint8)
    return torch.stack([V.jpeg(image, int(quality)) for image in levels]).float() / 255


def _posterize(images: Tensor, bits: float, generators: Generators) -> Tensor:
    import torch
    from torchvision.transforms.v2 import functional as V

    return V.posterize((255 * images).round().to(torch.uint8), int(bits)).float() / 255  # type: ignore[no-any-return]


def _elastic(images: Tensor, length: float, generators: Generators) -> Tensor:
    """Moved by a smooth field, by as many pixels on average."""
    right, down = _field(images, 5, 2, generators).unbind(1)
    away = (right.square() + down.square()).sqrt().mean((1, 2), keepdim=True)
    return _sampled(images, length * right / away, length * down / away)


def _field(images: Tensor, cells: int, channels: int, generators: Generators) -> Tensor:
    """Smooth random fields of so many cells a side, (B, channels, S, S)."""
    import torch
    import torch.nn.functional as F

    drawn = [torch.randn((channels, cells, cells), generator=generator) for generator in generators]
    return F.interpolate(torch.stack(drawn), images.shape[-2:], mode="bicubic", align_corners=False)


KINDS = {
    "gaussian_noise": Corruption((0.08, 0.12, 0.18, 0.26, 0.38), _gaussian_noise),
    "shot_noise": Corruption((60, 25, 12, 5, 3), _shot_noise),
    "impulse_noise": Corruption((0.03, 0.06, 0.09, 0.17, 0.27), _impulse_noise),
    "speckle_noise": Corruption((0.15, 0.2, 0.35, 0.45, 0.6), _speckle_noise),
    "gaussian_blur": Corruption((1, 2, 3, 4, 6), _gaussian_blur, is_length=True),
    "motion_blur": Corruption((8, 12, 17, 23, 30), _motion_blur, is_length=True),
    "zoom_blur": Corruption((1.1, 1.16, 1.22, 1.3, 1.4), _zoom_blur),
    "brightness": Corruption((0.1, 0.2, 0.3, 0.4, 0.5), _brightness),
    "contrast": Corruption((0.4, 0.3, 0.2, 0.1, 0.05), _contrast),
    "saturation": Corruption((0.7, 0.5, 0.3, 0.15, 0), _saturation),
    "fog": Corruption((0.2, 0.35, 0.5, 0.65, 0.8), _fog),
    "pixelate": Corruption((1 / 2, 2 / 5, 1 / 3, 1 / 4, 1 / 6), _pixelate),
    "jpeg": Corruption((25, 18, 15, 10, 7), _jpeg),
    "posterize": Corruption((5, 4, 3, 2, 1), _posterize),
    "elastic": Corruption((2, 3.5, 5, 7, 9), _elastic, is_length=True),
}
"""Kinds of corruption; noise, Gaussian blur, brightness, contrast and jpeg have the levels of ImageNet-C."""

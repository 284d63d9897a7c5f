"""The operations of the augmentation policies, on a batch in which every image has an operation and a value of its own.

Images that share an operation are changed together. torchvision's functions are used where they take no value. Others
take one value for all images of a call, so that drawn magnitudes and jittered factors would mean a call an image, of
ten or more kernels on a GPU; those are written here with a value an image, and give what torchvision gives to a grey
level.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision.transforms.v2 import functional as V

from bench.device.transfer import mapped

Names = npt.NDArray[np.str_]
Values = npt.NDArray[np.float64]

Draw = tuple[Names, Values]
"""The operation of each image of a batch (B,), and its value (B,)."""


@dataclass(frozen=True)
class Operations:
    """Drawn operations of a batch in the form in which they are applied, of which only tensors go to its device.

    Attributes:
        spans: of each draw the names of its operations, but for ``identity``, and which of ``rows`` have them.
        rows: int64 (draws, B): the images, those with the same operation together.
        values: float32 (draws, B), in the order of ``rows``, as are matrices.
        matrices: float32 (draws, B, 2, 3): of moves, from a pixel to where it is taken from.
        bilinear: see ``operate``; so is ``fill``.
    """

    spans: tuple[tuple[tuple[str, int, int], ...], ...]
    rows: Tensor
    values: Tensor
    matrices: Tensor
    bilinear: bool = False
    fill: tuple[int, ...] = ()

    @classmethod
    def of(
        cls, draws: Sequence[Draw], height: int, width: int, bilinear: bool = False, fill: Sequence[int] = ()
    ) -> Operations:
        """Those of some draws, for images so many pixels high and wide; on the CPU."""
        spans, rows, values, matrices = [], [], [], []
        for names, drawn in draws:
            order = np.argsort(names, kind="stable")
            kinds, starts = np.unique(names[order], return_index=True)
            bounds = zip(kinds.tolist(), starts.tolist(), [*starts[1:].tolist(), len(order)], strict=True)
            inside = tuple(span for span in bounds if span[0] != "identity")
            moves = np.zeros((len(order), 2, 3), np.float32)
            for name, start, stop in inside:
                if name in MOVES:
                    moves[start:stop] = _matrices(name, drawn[order[start:stop]], height, width)
            spans.append(inside)
            rows.append(order)
            values.append(drawn[order].astype(np.float32))
            matrices.append(moves)
        which, numbers, places = (torch.from_numpy(np.stack(arrays)) for arrays in (rows, values, matrices))
        return cls(tuple(spans), which, numbers, places, bilinear, tuple(fill))

    def applied(self, images: Tensor) -> Tensor:
        """Images with the operations of all draws applied, one draw after the other: uint8 (B, C, H, W) both.

        These and the images are on one device, which is not waited for.
        """
        images = images.clone()
        for number, spans in enumerate(self.spans):
            for name, start, stop in spans:
                rows = self.rows[number, start:stop]
                batch = images.index_select(0, rows)  # many times quicker than images[rows]
                if name in MOVES:
                    changed = _moved(batch, self.matrices[number, start:stop], self.bilinear, self.fill)
                else:
                    changed = OPERATIONS[name](batch, self.values[number, start:stop, None, None, None])
                images.index_copy_(0, rows, changed)
        return images


def operate(images: Tensor, draws: Sequence[Draw], *, bilinear: bool = False, fill: Sequence[int] = ()) -> Tensor:
    """Images with an operation applied to each, then the next one.

    Args:
        images: uint8 (B, C, H, W), C = 1 or 3, on any device.
        draws: names of operations and their values, in order. Shears take the tangent of their angle; translations
            pixels to the right or down; rotations degrees counter-clockwise; brightness, saturation, contrast and
            sharpness a factor; hue a share of the circle; posterize the bits to keep; solarize the level from which
            it inverts; solarize_add what it adds to levels below 128; the others, and ``identity``, nothing.
        bilinear: interpolate between pixels when they move, and repeat the outermost half pixel, as Pillow does;
            otherwise the nearest is taken, as torchvision's policies do.
        fill: the grey level of each channel of what comes in from outside; black if empty.

    Returns:
        uint8 (B, C, H, W).
    """
    operations = Operations.of(draws, images.shape[-2], images.shape[-1], bilinear, fill)
    return mapped(operations, lambda tensor: tensor.to(images.device)).applied(images)


# ---- colours: images (B, C, H, W) uint8 and values (B, 1, 1, 1)


def _saturation(images: Tensor, factor: Tensor) -> Tensor:
    return _blend(images, _grey(images), factor) if images.shape[1] == 3 else images


def _sharpness(images: Tensor, factor: Tensor) -> Tensor:
    """Away from the mean over 3 x 3 pixels in which the middle one counts five times; the border is left alone."""
    if min(images.shape[-2:]) < 3:
        return images
    levels = images.to(torch.int16)
    columns = levels[..., :-2] + levels[..., 1:-1] + levels[..., 2:]
    sums = columns[..., :-2, :] + columns[..., 1:-1, :] + columns[..., 2:, :] + 4 * levels[..., 1:-1, 1:-1]
    sharper = images.clone()
    sharper[..., 1:-1, 1:-1] = _blend(images[..., 1:-1, 1:-1], (sums / 13).round_(), factor)
    return sharper


def _hue(images: Tensor, shift: Tensor) -> Tensor:
    """Through hue, saturation and value; hue in sixths of the circle."""
    if images.shape[1] == 1:
        return images
    scaled = images.float().div_(255)
    low, high = torch.aminmax(scaled, dim=1)
    chroma, (red, green, blue) = high - low, scaled.unbind(1)
    not_red = torch.where(high == green, (blue - red).add_(2 * chroma), (red - green).add_(4 * chroma))
    hue = torch.where(high == red, green - blue, not_red).div_(torch.where(chroma == 0, 1.0, chroma))
    hue = hue.add_(6 * shift[:, 0]).remainder_(6)
    shares = ((hue - 3).abs_().sub_(1), 2 - (hue - 2).abs_(), 2 - (hue - 4).abs_())
    turned = [share.clamp_(0, 1).mul_(chroma).add_(low) for share in shares]
    return torch.stack(turned, 1).mul_(255.999).to(torch.uint8)


def _grey(images: Tensor) -> Tensor:
    """The luma (ITU-R 601) of images, rounded down: float (B, 1, H, W)."""
    if images.shape[1] == 1:
        return images.float()
    red, green, blue = images.unbind(1)
    return (0.2989 * red + 0.587 * green + 0.114 * blue)[:, None].floor()


def _blend(images: Tensor, base: Tensor, factor: Tensor) -> Tensor:
    return _levels((images * factor).add_(base * (1 - factor)))


def _levels(images: Tensor) -> Tensor:
    """Changes what it is given."""
    return images.clamp_(0, 255).to(torch.uint8)


OPERATIONS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "brightness": lambda images, factor: _levels(images * factor),
    "saturation": _saturation,
    "contrast": lambda images, factor: _blend(images, _grey(images).mean((1, 2, 3), keepdim=True), factor),
    "sharpness": _sharpness,
    "hue": _hue,
    "posterize": lambda images, bits: images & (256 - 2 ** (8 - bits)).clamp(0, 255).to(torch.uint8),
    "solarize": lambda images, threshold: torch.where(images >= threshold, 255 - images, images),
    "solarize_add": lambda images, added: torch.where(images < 128, _levels(images + added), images),
    "invert": lambda images, _: 255 - images,
    "autocontrast": lambda images, _: V.autocontrast(images),
    "equalize": lambda images, _: V.equalize(images),
    "grayscale": lambda images, _: _grey(images).to(torch.uint8).expand_as(images),
}

MOVES = ("shear_x", "shear_y", "translate_x", "translate_y", "rotate")


# ---- moves


def _moved(images: Tensor, matrices: Tensor, bilinear: bool, fill: Sequence[int]) -> Tensor:
    """Each output pixel taken from where its matrix says; coordinates are pixels from the centre of the image."""
    height, width = images.shape[-2:]
    rows = torch.arange(height, device=images.device) - (height - 1) / 2
    columns = torch.arange(width, device=images.device) - (width - 1) / 2
    across, down, origin = matrices[:, None, None].unbind(-1)  # (B, 1, 1, 2) each
    grid = (columns[:, None] * across).add(rows[:, None, None] * down).add_(origin)
    mode = "bilinear" if bilinear else "nearest"
    padding = "border" if fill else "zeros"
    sampled = F.grid_sample(images.float(), grid, mode, padding, align_corners=False)
    if fill:
        inside = ((grid >= -1) & (grid < 1)).all(-1)[:, None]
        sampled = torch.where(inside, sampled, _fill(fill, images))
    return (sampled.round_() if bilinear else sampled).to(torch.uint8)


def _matrices(name: str, values: Values, height: int, width: int) -> npt.NDArray[np.float32]:
    """(B, 2, 3) from output to input, whose half height and width are 1. Shears keep the upper left corner in place."""
    zeros, ones = np.zeros_like(values), np.ones_like(values)
    cos, sin = np.cos(np.radians(values)), np.sin(np.radians(values))
    rows = {
        "shear_x": ([ones, values, values * height / 2], [zeros, ones, zeros]),
        "shear_y": ([ones, zeros, zeros], [values, ones, values * width / 2]),
        "translate_x": ([ones, zeros, -values], [zeros, ones, zeros]),
        "translate_y": ([ones, zeros, zeros], [zeros, ones, -values]),
        "rotate": ([cos, -sin, zeros], [sin, cos, zeros]),
    }[name]
    # in this order and precision, as in torchvision, so that places halfway between two pixels go the same way
    matrices = np.stack([np.stack(row, 1) for row in rows], 1).astype(np.float32)
    matrices /= np.array([[width / 2], [height / 2]], dtype=np.float32)
    return matrices


def _fill(levels: Sequence[int], images: Tensor) -> Tensor:
    """(1, C, 1, 1), made where the images are; a grey image takes the mean."""
    values = levels if images.shape[1] == len(levels) else [sum(levels) / len(levels)]
    return torch.cat([torch.full((1, 1, 1, 1), float(value), device=images.device) for value in values], 1)

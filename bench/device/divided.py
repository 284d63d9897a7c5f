"""A batch of images of which a process has its part, and whoever looks at the others is given them all the same."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_map_only

from bench.device.division import Division, divided

_aten = torch.ops.aten
_SAME_ROWS = {_aten.flatten, _aten.view, _aten.reshape, _aten._unsafe_view, _aten._reshape_alias}


class DividedImages(Tensor):
    """Images (B, C, H, W), or (V, B, C, H, W) in several views, of which this process has computed its own alone.

    A model takes its part of them (``own_part``), which is all that most losses ask for. Shape, type and device are
    those of the whole; one view of them, or all views behind one another, are still divided. Whatever else is done with
    them is done with the whole: it is made then, in this process alone, so that no process waits for another.

    Args:
        part: the own rows, (b, C, H, W) or (V, b, C, H, W).
        division: which rows of the B are whose.
        make: gives the whole.
    """

    division: Division

    @staticmethod
    def __new__(cls, part: Tensor, division: Division, make: Callable[[], Tensor]) -> DividedImages:
        shape = (*part.shape[:-4], division.count, *part.shape[-3:])
        images: DividedImages = Tensor._make_wrapper_subclass(cls, shape, dtype=part.dtype, device=part.device)
        return images

    def __init__(self, part: Tensor, division: Division, make: Callable[[], Tensor]) -> None:
        self._part, self.division, self._make = part, division, make
        self._made: Tensor | None = None
        self._origin: DividedImages | None = None

    def whole(self) -> Tensor:
        """All of them, made now if they are not yet; a loss may change them in place."""
        if self._made is None:
            self._made = self._make()
        return self._made

    @property
    def is_read(self) -> bool:
        """Whether somebody has looked at the whole."""
        return self._origin.is_read if self._origin is not None else self._made is not None

    @property
    def part(self) -> Tensor:
        """The own rows, as they are now."""
        return self.division.of(self.whole(), self.ndim - 4) if self.is_read else self._part

    def _seen(self, look: Callable[[Tensor], Tensor], division: Division) -> DividedImages:
        """The same images looked at in another way, which takes whole and part alike."""
        with torch.inference_mode(self.is_inference()):  # a view is of the kind of what it is of
            seen = DividedImages(look(self._part), division, lambda: look(self.whole()))
        seen._origin = self
        return seen

    def __repr__(self, **options: Any) -> str:  # type: ignore[override]
        return f"DividedImages({tuple(self.shape)}, {len(self.division.ours)} of them here)"

    @classmethod
    def __torch_dispatch__(  # type: ignore[override]
        cls, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        images, operation = args[0] if args else None, func.overloadpacket
        if isinstance(images, DividedImages) and images.ndim == 5:
            if operation is _aten.select and args[1] == 0:
                return images._seen(lambda views: views[args[2]], images.division)
            if operation is _aten.unbind and not any(args[1:]):
                return [images[view] for view in range(len(images))]
            if operation is _aten.flatten and args[1:] == (0, 1):
                args = (images, [-1, *images.shape[2:]])
            if operation in _SAME_ROWS and tuple(args[1]) == (-1, *images.shape[2:]):
                args = (images, [images.shape[0] * images.shape[1], *images.shape[2:]])
            if operation in _SAME_ROWS and tuple(args[1]) == (images.shape[0] * images.shape[1], *images.shape[2:]):
                return images._seen(lambda views: views.flatten(0, 1), images.division.repeated(len(images)))
        args, kwargs = tree_map_only(DividedImages, DividedImages.whole, (args, kwargs or {}))
        return func(*args, **kwargs)

    __torch_function__ = torch._C._disabled_torch_function_impl  # type: ignore[assignment]


def was_read(images: Tensor) -> bool:
    """Whether somebody has looked at all images of a batch of which each process has a part."""
    return isinstance(images, DividedImages) and images.is_read


def own_part(images: Tensor, unit: int = 1) -> tuple[Tensor, Division | None]:
    """This process's part of a batch; the whole of it and None where it cannot be divided, or nobody shares it.

    Every ``unit`` consecutive images are in one part.
    """
    if isinstance(images, DividedImages):
        if images.division.unit % unit == 0:
            return images.part, images.division
        images = images.whole()
    division = divided(len(images), unit)
    return (images, None) if division is None else (division.of(images), division)

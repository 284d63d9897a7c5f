"""A forward pass that ends as soon as what is asked for is known."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn

from bench.device.compiled import reading_of
from bench.device.memory_format import laid_out


class _Done(Exception):
    """Ends a forward pass of which nothing more is needed."""


def partial_pass(backbone: nn.Module) -> Callable[[Tensor, Callable[[], bool]], None]:
    """What runs a backbone on images for what hooks read of it, up to the linear layer behind which that is done.

    A compiled pass has no end of its own: what nobody reads is no part of it.
    """
    compiled = reading_of(backbone)
    if compiled is not None:
        return lambda images, done: compiled(images)

    def compute(images: Tensor, done: Callable[[], bool]) -> None:
        def check(*_: object) -> None:
            if done():
                raise _Done

        hooks = [module.register_forward_hook(check) for module in backbone.modules() if isinstance(module, nn.Linear)]
        try:
            backbone(laid_out(backbone, images))
        except _Done:
            pass
        finally:
            for hook in hooks:
                hook.remove()

    return compute

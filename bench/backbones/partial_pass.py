"""A forward pass that ends as soon as what is asked for is known."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from torch import nn


class _Done(Exception):
    """Ends a forward pass of which nothing more is needed."""


@contextmanager
def until_done(backbone: nn.Module, done: Callable[[], bool]) -> Iterator[None]:
    """A forward pass of a backbone inside ends behind the linear layer at which it is done."""

    def check(*_: object) -> None:
        if done():
            raise _Done

    hooks = [module.register_forward_hook(check) for module in backbone.modules() if isinstance(module, nn.Linear)]
    try:
        yield
    except _Done:
        pass
    finally:
        for hook in hooks:
            hook.remove()

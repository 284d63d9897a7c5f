"""Passes of a backbone in training, compiled by ``torch.compile`` where a protocol asks for it.

What is compiled is the backbone with what reads it, as methods ask for it: a pass whose probes are read, and a pass for
its probes alone, of which nothing is computed that nobody reads. Losses, heads and optimisers stay as they are, and so
does evaluation. Modules keep their names, as nothing is wrapped: the compiled functions are given the backbone.

Hooks are looked at each time (torch's own default would run the hooks of the first pass for ever), and random numbers
are drawn as without compiling. What is compiled is forgotten with each stage, so that neither earlier runs of a process
nor an interruption decide what a stage runs. Kernels are chosen without timing them, so that the choice is always one.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from bench.device.memory_format import laid_out
from bench.errors import InputError
from bench.protocol import NOT_COMPILED, REDUCE_OVERHEAD

BACKEND = "inductor"
"""What turns graphs into kernels; torch's ``eager`` only traces them."""

KINDS = 8
"""Kinds of passes of a stage that are compiled, by sizes, modes and probes: a further one ends the run."""


@dataclass(frozen=True)
class Spent:
    """What compiling took.

    Attributes:
        seconds: in which nothing was trained.
        graphs: that were compiled, each for one kind of pass or a piece of one.
        breaks: places at which a pass was cut into pieces, as torch cannot trace them; they run as without compiling.
    """

    seconds: float = 0.0
    graphs: int = 0
    breaks: int = 0

    def __add__(self, more: Spent) -> Spent:
        return Spent(self.seconds + more.seconds, self.graphs + more.graphs, self.breaks + more.breaks)

    def since(self, earlier: Spent) -> Spent:
        """What came after an earlier moment."""
        return Spent(self.seconds - earlier.seconds, self.graphs - earlier.graphs, self.breaks - earlier.breaks)


_spent = Spent()
"""By this process so far."""


def spent() -> Spent:
    """What compiling took in this process so far."""
    return _spent


class CompiledPasses:
    """The compiled passes of a stage: one function for all its backbones, the source among them."""

    def __init__(self, mode: str) -> None:
        self.mode = mode
        options = None
        if BACKEND == "inductor":
            options = {"deterministic": True, "fallback_random": True, "triton.cudagraphs": mode == REDUCE_OVERHEAD}
        compiled = partial(torch.compile, backend=BACKEND, dynamic=False, options=options)
        self.whole: Callable[[nn.Module, Tensor], Tensor] = compiled(_features)
        self.read: Callable[[nn.Module, Tensor], None] = compiled(_nothing)

    def __call__(self, run: Callable[[nn.Module, Tensor], Any], backbone: nn.Module, images: Tensor) -> Any:
        """What one of the two gives. Raises ``InputError`` where it cannot be compiled."""
        from torch._dynamo.exc import FailOnRecompileLimitHit, TorchDynamoException, TorchRuntimeError

        try:
            return run(backbone, laid_out(backbone, images))
        except FailOnRecompileLimitHit as error:
            why = f"a stage has more than {KINDS} kinds of passes, as where a method changes its backbone at each step"
            raise InputError(f"compile = {self.mode}: {why}; train it with --set compile={NOT_COMPILED}") from error
        except TorchDynamoException as error:
            if isinstance(error, TorchRuntimeError):
                backbone(images)  # an operation that fails is no fault of the compiler, and fails here too
            inner = getattr(error, "inner_exception", None)
            if isinstance(inner, torch.OutOfMemoryError):
                raise inner from None
            why = f"{type(inner or error).__name__}: {_first_line(inner or error)}"
            raise InputError(
                f"compile = {self.mode}: torch cannot compile the backbone ({why}); train it with --set "
                f"compile={NOT_COMPILED}"
            ) from error


_PASSES = ContextVar[CompiledPasses | None]("compiled passes", default=None)


@contextmanager
def compiling(mode: str) -> Iterator[None]:
    """Inside, for a stage, the passes of models are compiled, but for those in inference mode."""
    if mode == NOT_COMPILED:
        yield
        return
    with ExitStack() as stack:
        stack.enter_context(_configured())
        torch.compiler.reset()
        stack.callback(torch.compiler.reset)  # recorded passes hold memory
        stack.enter_context(_counted())  # which ends first: a reset forgets who counts
        token = _PASSES.set(CompiledPasses(mode))
        try:
            yield
        finally:
            _PASSES.reset(token)


def next_step() -> None:
    """A step begins: a recorded one may write over what the one before it gave."""
    passes = _PASSES.get()
    if passes is not None and passes.mode == REDUCE_OVERHEAD:
        torch.compiler.cudagraph_mark_step_begin()  # type: ignore[no-untyped-call]


def pass_of(backbone: nn.Module) -> Callable[[Tensor], Tensor]:
    """What gives the features of images; asked for before a pass, which may be made again on the way back."""
    passes = _here()
    if passes is not None:
        return partial(passes, passes.whole, backbone)
    return lambda images: backbone(laid_out(backbone, images))


def reading_of(backbone: nn.Module) -> Callable[[Tensor], None] | None:
    """What runs a backbone for what hooks read alone; None where it is not compiled."""
    passes = _here()
    return None if passes is None else partial(passes, passes.read, backbone)


def _here() -> CompiledPasses | None:
    return None if torch.is_inference_mode_enabled() else _PASSES.get()


def _features(backbone: nn.Module, images: Tensor) -> Tensor:
    features: Tensor = backbone(images)
    return features


def _nothing(backbone: nn.Module, images: Tensor) -> None:
    backbone(images)


@contextmanager
def _configured() -> Iterator[None]:
    """Inside, torch compiles as this module promises."""
    import torch._dynamo.config
    import torch._functorch.config
    import torch._inductor.config

    with ExitStack() as stack:
        stack.enter_context(
            torch._dynamo.config.patch(
                skip_nnmodule_hook_guards=False,
                recompile_limit=KINDS,
                fail_on_recompile_limit_hit=True,
                optimize_ddp=False,  # it cuts graphs for a module that is itself compiled as data parallel
            )
        )
        if not torch.cuda.is_available():  # where it starts processes that compile, of which nobody here knows
            stack.enter_context(torch._inductor.config.patch(compile_threads=1))
        # a method may go back through a pass twice
        stack.enter_context(torch._functorch.config.patch(donated_buffer=False))
        yield


@contextmanager
def _counted() -> Iterator[None]:
    """Inside, what compiling takes is counted."""
    from torch._dynamo.callback import CallbackArgs, callback_handler
    from torch._dynamo.utils import counters

    def now() -> Spent:
        return Spent(time.perf_counter(), counters["stats"]["unique_graphs"], sum(counters["graph_break"].values()))

    started = now()

    def start(_: CallbackArgs) -> None:
        nonlocal started
        started = now()

    def end(_: CallbackArgs) -> None:
        global _spent
        _spent += now().since(started)

    callback_handler.register_start_callback(start)
    callback_handler.register_end_callback(end)
    try:
        yield
    finally:
        callback_handler.remove_start_callback(start)
        callback_handler.remove_end_callback(end)


def _first_line(error: BaseException) -> str:
    return next(iter(str(error).strip().splitlines()), "no message")

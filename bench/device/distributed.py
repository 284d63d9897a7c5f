"""Several processes that share a run, one a GPU: the images of a batch are divided, the batch is not.

``Model`` computes its part of the images in each process and gathers what all computed, with gradient. So a loss sees
the outputs of the whole batch in every process: the contrast set of a contrastive loss, the spectrum of a batch's
features, a queue, are those of one process, whatever the method. Each process then has the gradient of the whole loss
through its own part. ``all_gather`` adds up the gradients of all processes on the way back, which makes it the number
of processes times its share; and torch's DistributedDataParallel takes the mean over processes. So a weight behind the
gathering (a head or a projector, computed alike everywhere) and one before it (the backbone) both end with the whole
gradient.
"""

from __future__ import annotations

import atexit
import hashlib
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager

import torch
import torch.distributed as dist
from torch import Tensor, nn

from bench.device.limits import usable_cores


def ranks() -> int:
    """Processes that share the run."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def rank() -> int:
    """The number of this one."""
    return dist.get_rank() if ranks() > 1 else 0


def first_rank() -> bool:
    """Whether this process is the one that writes."""
    return rank() == 0


def join() -> None:
    """Make this process one of those that share its runs, as torchrun's environment says; once is enough.

    Raises:
        ValueError: the environment does not say which process this is.
    """
    if dist.is_initialized():
        return
    wanted = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")
    if missing := [name for name in wanted if name not in os.environ]:
        raise ValueError(f"processes that share a run are started by torchrun or SLURM, which set {', '.join(missing)}")
    cuda = torch.cuda.is_available()
    if cuda:
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]) % torch.cuda.device_count())
    dist.init_process_group("cpu:gloo,cuda:nccl" if cuda else "gloo")
    atexit.register(dist.destroy_process_group)
    _share_cores()


_on_these_cores = 1
"""Processes that share the run on the cores of this one, itself among them."""


def own_cores() -> int:
    """The cores that are this process's share of those that it may use: at least one."""
    return max(1, usable_cores() // (_on_these_cores if ranks() > 1 else 1))


def _share_cores() -> None:
    """Find out how many processes of the run may use a core of this one's, on this machine.

    A batch system may have given each process cores of its own.
    """
    global _on_these_cores
    cores = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else range(os.cpu_count() or 1)
    place = torch.zeros(1 + _CORES, dtype=torch.int64)
    place[0] = int(hashlib.sha256(socket.gethostname().encode()).hexdigest()[:15], 16)
    place[[1 + core % _CORES for core in cores]] = 1
    places = torch.stack([torch.empty_like(place) for _ in range(ranks())])
    dist.all_gather(list(places), place)
    both = (places[:, 0] == place[0]) & (places[:, 1:] & place[1:]).any(1)
    _on_these_cores = int(both.sum())


_CORES = 4096
"""Cores of a machine that are told apart."""


def gathered(part: Tensor) -> Tensor:
    """What all processes computed, (b, ...) of each, one behind the other; with gradient."""
    from torch.distributed.nn.functional import all_gather

    if torch.is_grad_enabled() and part.requires_grad:
        whole = torch.cat(all_gather(part.contiguous()))  # type: ignore[no-untyped-call]
        # on the way back the memory of the gradient is sent as it lies, which must be in the order of its indices
        whole.register_hook(lambda gradient: gradient.contiguous())  # type: ignore[no-untyped-call]
        return whole
    parts = [torch.empty_like(part) for _ in range(ranks())]
    dist.all_gather(parts, part.detach().contiguous())
    return torch.cat(parts)


@contextmanager
def draws_apart() -> Iterator[None]:
    """Random draws inside leave the generators as they are, that of the CPU and that of this process's GPU."""
    with torch.random.fork_rng([torch.cuda.current_device()] if torch.cuda.is_available() else []):
        yield


_forwards = 0
"""Forward passes of this process that had draws of their own."""


@contextmanager
def own_draws(module: nn.Module) -> Iterator[None]:
    """Random draws inside (dropout, stochastic depth) differ between processes; draws outside stay alike.

    Where no part of the module is in training mode nothing is drawn. A model may be in eval mode and parts of it not,
    as in a stage that trains these alone; what they draw for fewer images would move the common stream on by less.
    """
    global _forwards
    if ranks() == 1 or not any(each.training for each in module.modules()):
        yield
        return
    _forwards += 1
    with draws_apart():
        # the common stream is read but not moved on, as it is not by a backbone that draws nothing
        torch.manual_seed((int(torch.randint(2**48, (1,)).item()) + _forwards) * ranks() + rank())
        yield


def begin_draws(seed: int) -> None:
    """Have all draws of this process from here on depend on a seed alone, whatever it trained earlier."""
    global _forwards
    torch.manual_seed(seed)
    _forwards = 0


def random_state() -> tuple[Tensor, Tensor | None, int]:
    """What decides the next random draws of this process, of its CPU and its GPU."""
    cuda = torch.cuda.get_rng_state() if torch.cuda.is_available() else None
    return torch.get_rng_state(), cuda, _forwards


def set_random_state(state: tuple[Tensor, Tensor | None, int]) -> None:
    """Have this process draw what it drew, or would have drawn, from a ``random_state`` on."""
    global _forwards
    cpu, cuda, _forwards = state
    torch.set_rng_state(cpu)
    if cuda is not None:
        torch.cuda.set_rng_state(cuda)


def agreed(flag: bool) -> bool:
    """Whether any process says yes; every process has to ask."""
    if ranks() == 1:
        return flag
    votes = torch.tensor([int(flag)])
    dist.all_reduce(votes, dist.ReduceOp.MAX)
    return bool(votes.item())


def together() -> None:
    """Wait for every process."""
    if ranks() > 1:
        dist.barrier()

"""A backbone and a linear head behind one interface."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Output:
    """One forward pass.

    Attributes:
        logits: (B, K).
        features: (B, D), pooled, what the head is given.
        probes: what was asked for by name; ``output["cls_attention"]`` reads it.
    """

    logits: Tensor
    features: Tensor
    probes: Mapping[str, Tensor]

    def __getitem__(self, probe: str) -> Tensor:
        return self.probes[probe]


class Probe:
    """Reads something out of a backbone while it runs; a context, so that it costs nothing when not asked for."""

    def __enter__(self) -> Probe:
        raise NotImplementedError

    def __exit__(self, *exception: object) -> None:
        raise NotImplementedError

    def value(self) -> Tensor:
        """What was read in the forward pass just made."""
        raise NotImplementedError

    def done(self) -> bool:
        """Whether the rest of the forward pass is not needed for it."""
        raise NotImplementedError


class Family:
    """What methods can ask of a kind of backbone; a kind that is not known offers nothing."""

    def probe(self, name: str, backbone: nn.Module) -> Probe:
        """A probe by its name. Raises ``KeyError`` where the family has none of that name."""
        raise KeyError(name)

    def part(self, name: str, backbone: nn.Module) -> list[nn.Module | nn.Parameter]:
        """The modules and parameters of a part. Raises ``KeyError`` where the family has no such part."""
        raise KeyError(name)

    def layer(self, parameter: str, backbone: nn.Module) -> tuple[int, int]:
        """The layer of a parameter counted from the input, and that of the head (for layer-wise decay)."""
        raise KeyError(parameter)


class Model(nn.Module):
    """A backbone with a linear head; one forward gives logits, features and what is probed.

    Attributes:
        source_head: the linear head that the backbone was pre-trained with, where it has one and a method asked for it
            (``needs = {"source_head"}``); takes ``features``, and is trained only by a stage that lists it.

    Args:
        backbone: gives (B, D) pooled features for normalised images.
        family: how parts and probes are found in it.
        dim: D.
        classes: K.
        mean: of the pixels, per channel, as the backbone was pre-trained.
        std: of the pixels, per channel.
    """

    backbone: nn.Module
    head: nn.Linear
    source_head: nn.Linear | None
    mean: Tensor
    std: Tensor

    def __init__(
        self, backbone: nn.Module, family: Family, dim: int, classes: int, mean: list[float], std: list[float]
    ) -> None:
        super().__init__()
        self.backbone, self.family, self.dim, self.classes = backbone, family, dim, classes
        self.watched: tuple[str, ...] = ()
        self.head, self.source_head = nn.Linear(dim, classes), None
        nn.init.trunc_normal_(self.head.weight, std=0.02)
        nn.init.zeros_(self.head.bias)
        self.register_buffer("mean", torch.tensor(mean).view(-1, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(-1, 1, 1), persistent=False)

    def forward(self, images: Tensor, probe: str | Sequence[str] = ()) -> Output:
        """Logits and features of images (B, C, H, W) in 0..1, the probe or probes named, and those being watched."""
        names = dict.fromkeys([*self.watched, *([probe] if isinstance(probe, str) else probe)])
        with ExitStack() as stack:
            readers = {name: stack.enter_context(self.family.probe(name, self.backbone)) for name in names}
            features = self.backbone(self.normalised(images))
            return Output(self.head(features), features, {name: reader.value() for name, reader in readers.items()})

    @contextmanager
    def watching(self, probe: str) -> Iterator[None]:
        """Every forward pass inside reads this probe too: for policies around another method's loss."""
        before, self.watched = self.watched, (*self.watched, probe)
        try:
            yield
        finally:
            self.watched = before

    def probe(self, images: Tensor, name: str) -> Tensor:
        """Only a probe: the forward pass ends as soon as it is known."""
        with self.family.probe(name, self.backbone) as reader, _until_done(self.backbone, reader):
            self.backbone(self.normalised(images))
        return reader.value()

    def part(self, name: str) -> list[nn.Module | nn.Parameter]:
        """The modules and parameters of a part: ``"attention"``, ``"ffn"``, ``"position"`` on a ViT."""
        return self.family.part(name, self.backbone)

    def normalised(self, images: Tensor) -> Tensor:
        """Images in the pixel statistics of the pre-training; grey and colour are turned into each other."""
        channels = self.mean.shape[0]
        if images.shape[1] != channels:
            images = images.mean(1, keepdim=True) if channels == 1 else images.expand(-1, channels, -1, -1)
        return (images - self.mean) / self.std


class _Done(Exception):
    """Ends a forward pass of which nothing more is needed."""


@contextmanager
def _until_done(backbone: nn.Module, probe: Probe) -> Iterator[None]:
    def check(*_: object) -> None:
        if probe.done():
            raise _Done

    hooks = [module.register_forward_hook(check) for module in backbone.modules() if isinstance(module, nn.Linear)]
    try:
        yield
    except _Done:
        pass
    finally:
        for hook in hooks:
            hook.remove()

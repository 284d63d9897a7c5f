"""A backbone and a linear head behind one interface."""

from __future__ import annotations

import copy
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

import torch
from timm.layers import RmsNorm
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from bench.backbones.attention_kernel import explicit_on_cpu
from bench.backbones.head import Foldable, NormedLinear
from bench.backbones.last_blocks import LastBlocks, no_blocks
from bench.backbones.layer_groups import biases, largest, timm_layer
from bench.backbones.partial_pass import partial_pass
from bench.backbones.text_tower import TextTower
from bench.device.chunks import in_chunks
from bench.device.compiled import pass_of
from bench.device.distributed import own_draws
from bench.device.divided import own_part
from bench.device.norm_groups import NormGroups, Run, has_batch_norm, no_lone_value
from bench.errors import InputError

_NORMS = (nn.LayerNorm, nn.GroupNorm, nn.modules.batchnorm._BatchNorm, RmsNorm)


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


Parts = list[nn.Module | nn.Parameter]


class Probe:
    """Reads the outputs of some modules while a backbone runs; a context, so that it costs nothing when not asked for.

    Args:
        modules: whose outputs are read, one tensor each, as they follow one another in a forward pass.
        read: what is kept of the output of the module of that number.
        stacked: its value is all that was kept, (modules, B, ...); else it is the only one, (B, ...).

    Attributes:
        images_at: the dimension of its value along which the images lie.
    """

    def __init__(
        self,
        modules: Sequence[nn.Module],
        read: Callable[[int, Any], Tensor] = lambda _, output: output,
        stacked: bool = False,
    ) -> None:
        self.modules, self.read, self.stacked = modules, read, stacked
        self.images_at = int(stacked)
        self.seen: list[Tensor] = []
        self.hooks: list[RemovableHandle] = []

    def __enter__(self) -> Probe:
        for number, module in enumerate(self.modules):
            self.hooks.append(module.register_forward_hook(partial(self._keep, number)))
        return self

    def _keep(self, number: int, module: nn.Module, inputs: Any, output: Any) -> None:
        self.seen.append(self.read(number, output))

    def __exit__(self, *exception: object) -> None:
        for hook in self.hooks:
            hook.remove()

    def value(self) -> Tensor:
        """What was read in the forward pass just made."""
        return torch.stack(self.seen) if self.stacked else self.seen[0]

    def done(self) -> bool:
        """Whether the rest of the forward pass is not needed for it."""
        return len(self.seen) == len(self.modules)


class CallProbe(Probe):
    """Reads what modules are called with: ``read`` is given the number, and the arguments by place and by name."""

    def __enter__(self) -> CallProbe:
        for number, module in enumerate(self.modules):
            self.hooks.append(module.register_forward_pre_hook(partial(self._keep_call, number), with_kwargs=True))
        return self

    def _keep_call(self, number: int, module: nn.Module, inputs: Any, named: Mapping[str, Any]) -> None:
        self.seen.append(self.read(number, (inputs, named)))


class Family:
    """What methods can ask of a kind of backbone; a kind that is not known offers nothing.

    Attributes:
        lacks: probes and parts that other kinds have and this one cannot, each with the reason.
        undecayed: last parts of the names of weights without decay, beside biases and norms: DeiT's, Swin's and Swin
            V2's lists.
    """

    lacks: ClassVar[Mapping[str, str]] = {}
    undecayed: ClassVar[Collection[str]] = (
        "cls_token",
        "pos_embed",
        "reg_token",
        "dist_token",
        "relative_position_bias_table",
        "logit_scale",
    )

    def probe(self, name: str, backbone: nn.Module) -> Probe:
        """A probe by its name. Raises ``KeyError``, with the reason, where the family has none of that name."""
        raise KeyError(self._refusal(name))

    def part(self, name: str, backbone: nn.Module) -> Parts:
        """The modules and parameters of a part. Raises ``KeyError``, as ``probe``, where it has no such part."""
        raise KeyError(self._refusal(name))

    def pooling(self, backbone: nn.Module) -> AbstractContextManager[object]:
        """Inside, a pass may leave out what neither the pooled features nor a hook takes; here nothing is left out."""
        return nullcontext()

    def _refusal(self, name: str) -> str:
        return f"{name}: {self.lacks[name]}" if name in self.lacks else name

    def layer(self, parameter: str, backbone: nn.Module) -> tuple[int, int]:
        """The layer of a parameter counted from the input, and that of the head (for layer-wise decay).

        Of a kind that is not known it is timm's. Raises ``KeyError`` where timm names no layers of it either.
        """
        return timm_layer(parameter, backbone)


class Model(nn.Module):
    """A backbone with a linear head; one forward gives logits, features and what is probed.

    Attributes:
        source_head: the linear head that the backbone was pre-trained with, where it has one and a method asked for it
            (``needs = {"source_head"}``); takes ``features``, and is trained only by a stage that lists it.
        text_tower: what the backbone was pre-trained with to read texts, likewise (``needs = {"text_tower"}``).
        norm_batch: images of which the backbone's batch norms take statistics in training; 0: all of a batch.
        reading: what its features are, where they are not what the backbone pools (``read_last_blocks``).
        merging: puts what a method set into the backbone for training into its weights, in place; None where there is
            nothing such. What is kept of the model is the plain network (``scored_state``).
        settling: puts into the model what its logits take from elsewhere, as the rows of a head from a text tower, in
            place; None where there is nothing such. Asked for wherever the model is scored (``settle``).

    Args:
        backbone: gives (B, dim) pooled features for normalised images.
        family: how parts and probes are found in it.
        mean: of the pixels, per channel, as the backbone was pre-trained; so is ``std``.
    """

    backbone: nn.Module
    head: nn.Linear
    source_head: nn.Linear | None
    text_tower: TextTower | None
    mean: Tensor
    std: Tensor

    def __init__(
        self, backbone: nn.Module, family: Family, dim: int, classes: int, mean: list[float], std: list[float]
    ) -> None:
        super().__init__()
        self.backbone, self.family, self.dim, self.classes = backbone, family, dim, classes
        self.watched: tuple[str, ...] = ()
        self.norm_batch, self.reading = 0, ""
        self.merging: Callable[[nn.Module], None] | None = None
        self.settling: Callable[[Model], None] | None = None
        self.head, self.source_head, self.text_tower = nn.Linear(dim, classes), None, None
        nn.init.trunc_normal_(self.head.weight, std=0.02)
        nn.init.zeros_(self.head.bias)
        self.register_buffer("mean", torch.tensor(mean).view(-1, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(-1, 1, 1), persistent=False)

    def forward(self, images: Tensor, probe: str | Sequence[str] = ()) -> Output:
        """Logits and features of images (B, C, H, W) in 0..1, the probe or probes named, and those being watched.

        Where features (B, D) stand for images, as ``data.features`` has them, only the head is computed; they have no
        probes.
        """
        features, probes = self._read(images, [probe] if isinstance(probe, str) else probe)
        return Output(self.head(features), features, probes)

    def pooled(self, images: Tensor) -> Tensor:
        """The features of images alone, (B, D); features that stand for them are given as they are."""
        return self._read(images, ())[0]

    def _read(self, images: Tensor, asked: Sequence[str]) -> tuple[Tensor, dict[str, Tensor]]:
        """The features of images, and what was probed of the backbone: what is asked for and what is watched."""
        names = dict.fromkeys([*self.watched, *asked])
        if images.ndim == 2 and not names:
            return images, {}
        at = {name: self.reader(name).images_at for name in names}
        compute = pass_of(self.backbone)

        def run(images: Tensor) -> list[Tensor]:
            with ExitStack() as stack:
                readers = [stack.enter_context(self.reader(name)) for name in at]
                stack.enter_context(explicit_on_cpu(self.backbone, images))
                stack.enter_context(self.family.pooling(self.backbone))  # behind the readers, which it heeds
                features = compute(self.normalised(images))
                return [features, *(reader.value().movedim(reader.images_at, 0) for reader in readers)]

        with own_draws(self.backbone):
            features, *probes = self._computed(run, images)
        return features, {name: probe.movedim(0, at[name]) for name, probe in zip(at, probes, strict=True)}

    def _computed(self, run: Run, images: Tensor) -> Sequence[Tensor]:
        """What a pass gives for images: of a batch that processes share, each computes its part.

        Raises ``InputError``: a batch norm is given a single value to take statistics of.
        """
        groups = NormGroups(self.backbone, self.norm_batch)
        part, division = own_part(images, groups.size or 1)
        with no_lone_value():
            outputs = in_chunks(groups.by_group(run, division is not None), part, groups.size or 1)
        groups.end(divided=division is not None)
        return outputs if division is None else [division.gathered(output) for output in outputs]

    def with_backbone(self, backbone: nn.Module, family: Family) -> Model:
        """A model of another backbone for the same images and classes, on the same device; the head is drawn anew."""
        mean, std = self.mean.flatten().tolist(), self.std.flatten().tolist()
        dim = int(backbone.num_features)  # type: ignore[arg-type]
        return Model(backbone, family, dim, self.classes, mean, std).to(self.mean.device)

    def norm_features(self) -> None:
        """Put a batch norm without scale and shift before the head, whose weights are halved (``NormedLinear``)."""
        self.head = NormedLinear(self.head)

    def answer_with(self, head: nn.Module) -> None:
        """Have another module give logits (B, K) of features (B, D); one that is ``Foldable`` is kept as a layer."""
        self.head = head  # type: ignore[assignment]

    def read_last_blocks(self, count: int) -> None:
        """Make the features those of the last so many blocks, (B, (count + 1) · D): see ``LastBlocks``.

        Raises ``InputError``: the backbone has fewer blocks.
        """
        if count > self.depth:
            raise InputError(f"the last {count} blocks are read, and the backbone has {self.depth}")
        self.dim = LastBlocks(self.backbone, count, bool(getattr(self.family, "classless", False))).join_in(self.dim)
        self.reading = f"last {count} blocks"

    def merge(self) -> None:
        """Make the backbone a plain network that computes the same, where ``merging`` says how."""
        if self.merging is not None:
            with torch.no_grad():
                self.merging(self.backbone)
            self.merging = None

    def settle(self) -> None:
        """Bring what ``settling`` puts into the model up to date."""
        if self.settling is not None:
            with torch.no_grad():
                self.settling(self)

    @property
    def per_image(self) -> bool:
        """Whether an image's logits are of the image alone; the batch's others count where it has batch norm."""
        return not isinstance(self.head, NormedLinear) and not has_batch_norm(self.backbone)

    def scored_state(self) -> dict[str, Tensor]:
        """The tensors that give its logits at evaluation: those of a plain network with a linear head.

        What a method set into the backbone is merged (``merging``), and a batch norm before the head is folded.
        """
        if self.merging is not None:
            merged = copy.deepcopy(self)
            merged.merge()
            return merged.scored_state()
        state: dict[str, Tensor] = self.state_dict()
        if isinstance(self.head, Foldable):
            state = {name: tensor for name, tensor in state.items() if not name.startswith("head.")}
            state |= {f"head.{name}": tensor for name, tensor in self.head.folded().state_dict().items()}
        return state

    @contextmanager
    def watching(self, probe: str) -> Iterator[None]:
        """Every forward pass inside reads this probe too: for policies around another method's loss."""
        outside, self.watched = self.watched, (*self.watched, probe)
        try:
            yield
        finally:
            self.watched = outside

    def probe(self, images: Tensor, name: str) -> Tensor:
        """Only a probe: the forward pass ends as soon as it is known."""
        compute = partial_pass(self.backbone)

        def run(images: Tensor) -> list[Tensor]:
            with explicit_on_cpu(self.backbone, images), self.reader(name) as reader:
                compute(self.normalised(images), reader.done)
            return [reader.value().movedim(reader.images_at, 0)]

        with own_draws(self.backbone):
            (value,) = self._computed(run, images)
        return value.movedim(0, self.reader(name).images_at)

    def reader(self, name: str) -> Probe:
        """A probe of the backbone by its name. Raises ``KeyError``, with the reason, where it has none of that name."""
        return self.family.probe(name, self.backbone)

    def part(self, name: str) -> Parts:
        """The modules and parameters of a part: ``"head"``, and what the backbone's family has.

        Any backbone has ``"all_norms"``, those inside of other parts too, and ``"biases"``: vectors that are called so,
        of linear layers, convolutions and norms, and of queries, keys and values alone (no table of position biases).
        ``"attention"``, ``"ffn"``, ``"norms"`` and ``"embeddings"`` of a transformer hold every weight of the
        backbone once; ``"position"`` lies in one or another of them.

        Raises:
            KeyError: with the reason, where the family has no such part.
            InputError: the backbone has no biases, or no norms.
        """
        if name == "head":
            return [self.head]
        if name not in ("all_norms", "biases"):
            return self.family.part(name, self.backbone)
        parts = norms_outside(self.backbone, ()) if name == "all_norms" else biases(self.backbone)
        if not parts:
            raise InputError(f"the backbone has no {name.removeprefix('all_')}, so that only the head would be trained")
        return parts

    @property
    def depth(self) -> int:
        """How many blocks the backbone's stages have together. Raises ``KeyError`` where its family counts none."""
        name, _ = next(self.backbone.named_parameters())
        return self.family.layer(name, self.backbone)[1] - 1

    def blocks(self, first: int, last: int, stem: bool = False, end: bool = False) -> Parts:
        """The modules and parameters of consecutive blocks of the backbone, counted from 1 at the input.

        What lies between two blocks (a downsampling) is part of one of them, as layer-wise decay has it.

        Args:
            first: of these blocks.
            last: of these blocks, at most ``depth``.
            stem: with what comes before all blocks, embeddings included.
            end: with what comes behind all blocks, a transformer's last norm.

        Raises:
            KeyError: the backbone's family counts no blocks.
            InputError: there are no such blocks.
        """
        if not 1 <= first <= last <= self.depth:
            raise InputError(no_blocks(first, last, self.depth))
        wanted = {*range(first, last + 1), *((0,) if stem else ()), *((self.depth + 1,) if end else ())}
        chosen, begun = set[nn.Parameter](), False
        for name, weights in self.backbone.named_parameters():
            layer, top = self.family.layer(name, self.backbone)
            begun = begun or 0 < layer < top
            # before the first block lies also what decay counts with the top: CLIP's first norm, BEiT's shared bias
            if (layer if begun else 0) in wanted:
                chosen.add(weights)
        return largest(self.backbone, chosen)

    def normalised(self, images: Tensor) -> Tensor:
        """Images in the pixel statistics of the pre-training; grey and colour are turned into each other."""
        channels = self.mean.shape[0]
        if images.shape[1] != channels:
            images = images.mean(1, keepdim=True) if channels == 1 else images.expand(-1, channels, -1, -1)
        return (images - self.mean) / self.std


def norms_outside(backbone: nn.Module, owners: Iterable[nn.Module | nn.Parameter]) -> Parts:
    """The norms of a backbone with weights, in the order they are declared, but for those inside some modules."""
    inside = {module for owner in owners if isinstance(owner, nn.Module) for module in owner.modules()}
    norms = (module for module in backbone.modules() if isinstance(module, _NORMS) and module not in inside)
    return [norm for norm in norms if next(norm.parameters(), None) is not None]


def linears(*modules: nn.Module) -> Parts:
    """The linear layers inside of modules, in the order they are declared."""
    return [layer for module in modules for layer in module.modules() if isinstance(layer, nn.Linear)]

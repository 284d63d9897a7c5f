"""LoRA and its kin: small trained matrices beside frozen linear layers, as Hugging Face's peft library has them."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from bench.backbones import Model
from bench.data import TrainingImages
from bench.errors import InputError
from bench.method import Method, Stage, hyper
from bench.protocol import Recipe

TARGETS = {
    "qkv": ("qkv",),
    "attention": ("qkv", "proj"),
    "mlp": ("fc1", "fc2"),
    "all": ("qkv", "proj", "fc1", "fc2"),
}
"""Linear layers of a block, by what timm calls them."""


def merge(backbone: nn.Module) -> None:
    """Put what every adapted layer has learnt into its weights; the layers are plain ones then."""
    layer_of = importlib.import_module("peft.tuners.tuners_utils").BaseTunerLayer
    for parent in list(backbone.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, layer_of):
                adapted: Any = child
                adapted.merge()
                setattr(parent, name, adapted.get_base_layer())


@dataclass(frozen=True)
class PEFT(Method):
    """A frozen backbone with adapted linear layers: what is added to them is trained, and the head.

    Each kind is peft's, with its defaults but for the hyper-parameters here. ``kind``, its paper, and what ``rank`` and
    ``alpha`` are of it:

    - ``lora`` (Hu et al., ICLR 2022): W + α/r · BA. ``rslora`` (Kalajdzievski, 2023): α/√r. ``dora`` (Liu et al., ICML
      2024): the columns' norms are trained apart. ``pissa`` (Meng et al., NeurIPS 2024): A and B start as the r first
      singular vectors of W. ``loha`` (Hyeon-Woo et al., ICLR 2022): α/r times the entrywise product of two BA.
    - ``vera`` (Kopiczko et al., ICLR 2024): A and B of rank r are drawn and shared by all layers, two vectors of each
      layer are trained. ``fourierft`` (Gao et al., ICML 2024): ``rank`` frequencies of ΔW are, α is its scale; drawn
      first, they change the network at the start.
    - ``oft`` (Qiu et al., NeurIPS 2023): W is turned, by blocks of ``rank`` inputs. ``hra`` (Yuan et al., NeurIPS
      2024): by ``rank`` reflections. ``ia3`` (Liu et al., NeurIPS 2022): channels are scaled, the inputs of ``fc2``,
      the outputs of all others. ``alpha`` is of no use to these and to ``vera``, nor ``rank`` to ``ia3``.

    timm has query, key and value in one layer, ``qkv``: adapted, its A is shared by all three, which is not LoRA on two
    layers of their own. At the end, and in every kept model, what was learnt is merged into the weights: the network is
    the plain one. What is drawn depends on the run's seeds, of ``vera`` and ``fourierft`` too. Nothing is fetched. The
    frozen backbone drops paths as the protocol says, as everything does in training mode. Not there: AdaLoRA, which
    looks at gradients between the steps, and BOFT, for which peft compiles code when a layer is made.
    """

    paper = "Mangrulkar et al., 'PEFT: State-of-the-art Parameter-Efficient Fine-Tuning methods', 2022; Hu et al., LoRA"
    needs = {"linears"}
    per_image = True

    kind: str = hyper(
        "lora",
        choices=("lora", "rslora", "dora", "pissa", "loha", "vera", "fourierft", "oft", "hra", "ia3"),
        source="LoRA, the usual one; the papers above",
    )
    targets: str = hyper(
        "qkv",
        choices=("qkv", "attention", "mlp", "all"),
        source="the attention's projections of tokens, as in LoRA's paper (section 4.2: its weights alone); attention: "
        "its output too; mlp: fc1 and fc2; all: the four",
    )
    rank: int = hyper(
        {
            "lora": 8,
            "rslora": 8,
            "dora": 8,
            "pissa": 8,
            "loha": 8,
            "vera": 256,
            "fourierft": 1000,
            "oft": 32,
            "hra": 8,
            "ia3": 1,
        },
        by="kind",
        low=1,
        source="peft's default of each kind",
    )
    alpha: float = hyper(
        {
            "lora": 8.0,
            "rslora": 8.0,
            "dora": 8.0,
            "pissa": 8.0,
            "loha": 8.0,
            "vera": 1.0,
            "fourierft": 150.0,
            "oft": 1.0,
            "hra": 1.0,
            "ia3": 1.0,
        },
        by="kind",
        low=0,
        source="peft's default of each kind",
    )

    def stages(self, model: Model, recipe: Recipe, data: TrainingImages) -> Iterator[Stage]:
        """One stage that trains what is added and the head; then it is merged.

        Raises ``InputError``: peft is not installed, the rank does not fit a layer, or none has a name of the targets.
        """
        try:
            library = importlib.import_module("peft")
        except ImportError:
            raise InputError("peft needs the library peft: pip install 'finetune-bench[peft]'") from None
        linears, called = set(model.part("linears")), TARGETS[self.targets]
        modules: Any = model.backbone.named_modules()
        layers = {name: layer for name, layer in modules if layer in linears and name.rpartition(".")[2] in called}
        if not layers:
            raise InputError(f"peft: no linear layer of this backbone is called {' or '.join(called)}")
        uneven = [
            layer.in_features for layer in layers.values() if self.kind == "oft" and layer.in_features % self.rank
        ]
        if uneven:
            raise InputError(
                f"peft: blocks of {self.rank} do not divide the {uneven[0]} inputs of a layer; change rank"
            )
        try:
            library.get_peft_model(model.backbone, self.config(library, [*layers]))
        except (ValueError, AssertionError) as error:
            raise InputError(f"peft: {self.kind} of rank {self.rank}: {error}") from None
        model.merging = merge
        added = [weight for weight in model.backbone.parameters() if weight.requires_grad]
        yield Stage(model, self.loss, recipe, train=(*added, model.head), frozen_drops=True)
        model.merge()

    def config(self, library: Any, names: list[str]) -> Any:
        """What peft is told of the kind, for the layers of these names."""
        kind = self.kind
        common: dict[str, Any] = {"target_modules": names}
        if kind in ("vera", "fourierft"):
            draws = int(torch.randint(2**31, (), device="cpu"))
        if kind == "vera":
            return library.VeraConfig(r=self.rank, projection_prng_key=draws, **common)
        if kind == "fourierft":
            return library.FourierFTConfig(n_frequency=self.rank, scaling=self.alpha, random_loc_seed=draws, **common)
        if kind == "oft":
            return library.OFTConfig(r=0, oft_block_size=self.rank, **common)
        if kind == "hra":
            return library.HRAConfig(r=self.rank, **common)
        if kind == "ia3":
            return library.IA3Config(feedforward_modules=[name for name in names if name.endswith("fc2")], **common)
        if kind == "loha":
            return library.LoHaConfig(r=self.rank, alpha=self.alpha, **common)
        variants: dict[str, dict[str, Any]] = {
            "rslora": {"use_rslora": True},
            "dora": {"use_dora": True},
            "pissa": {"init_lora_weights": "pissa"},
        }
        return library.LoraConfig(r=self.rank, lora_alpha=self.alpha, **variants.get(kind, {}), **common)

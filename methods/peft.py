"""LoRA and its kin: small trained matrices beside frozen linear layers, as Hugging Face's peft library has them."""

from __future__ import annotations

import importlib
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from bench.backbones import Model
from bench.data import TrainingImages
from bench.errors import InputError
from bench.method import Batch, Method, Stage, Terms, hyper, replace
from bench.protocol import Recipe

TARGETS = {
    "qkv": ("qkv",),
    "attention": ("qkv", "proj"),
    "mlp": ("fc1", "fc2"),
    "all": ("qkv", "proj", "fc1", "fc2"),
}
"""Linear layers of a block, by what timm calls them."""

OF_RANKS = ("ipt", "exp_avg_ipt", "exp_avg_unc")
"""What peft's allocator of ranks knows of each weight: its sensitivity, and the smoothed one with its uncertainty."""

ORTHOGONAL = 0.5
"""The weight of AdaLoRA's regulariser: peft's default; the paper has 0.1, 0.3 or 0.5."""

BEGIN, END = 0.1, 0.5
"""The shares of the steps at which AdaLoRA begins to take singular values away and ends: about those of the paper's
appendix (t_i of 9 to 12 %, t_f of 44 to 58 % of the steps of GLUE). peft's defaults are 0 and 1."""


def merge(backbone: nn.Module) -> None:
    """Put what every adapted layer has learnt into its weights; the layers are plain ones then."""
    layer_of = importlib.import_module("peft.tuners.tuners_utils").BaseTunerLayer
    for parent in list(backbone.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, layer_of):
                adapted: Any = child
                adapted.merge()
                setattr(parent, name, adapted.get_base_layer())


class Ranks(nn.Module):
    """AdaLoRA's choice of the singular values that stay: peft's, with what it knows of them kept with the run.

    Attributes:
        made: steps made so far.
        tuner: peft's model, whose layers are those of the backbone.
    """

    def __init__(self, tuner: Any) -> None:
        super().__init__()
        self.made = 0
        self.tuner = (tuner,)  # in a tuple: its weights are the backbone's, and no part of this

    def step(self, gradients: Callable[[], Terms], update: Callable[[], None]) -> Terms:
        """A step, after which the importance of each value is known anew, and those of least importance are 0."""
        terms = gradients()
        update()
        self.made += 1
        self.tuner[0].update_and_allocate(self.made)
        return terms

    def get_extra_state(self) -> dict[str, Any]:
        (tuner,) = self.tuner
        importance = {name: getattr(tuner.rankallocator, name) for name in OF_RANKS}
        return {"made": self.made, "importance": importance, "kept": tuner.peft_config["default"].rank_pattern}

    def set_extra_state(self, state: dict[str, Any]) -> None:
        (tuner,) = self.tuner
        weights = dict(tuner.model.named_parameters())
        self.made, tuner.peft_config["default"].rank_pattern = state["made"], state["kept"]
        for name, of_weights in state["importance"].items():
            moved = {weight: value.to(weights[weight].device) for weight, value in of_weights.items()}
            setattr(tuner.rankallocator, name, moved)


def orthogonality(backbone: nn.Module) -> Tensor:
    """How far AdaLoRA's P and Q are from orthonormal: the mean of ‖PᵀP − I‖ and ‖QQᵀ − I‖ over all layers.

    The paper has the sum of their squares (eq. 4); its released code and peft's have this. Never in bfloat16.
    """
    lengths = []
    for name, weight in backbone.named_parameters():
        if ".lora_A." in name or ".lora_B." in name:
            rows = weight if ".lora_A." in name else weight.T
            with torch.autocast(weight.device.type, enabled=False):
                lengths.append((rows @ rows.T - torch.eye(len(rows), dtype=rows.dtype, device=rows.device)).norm())
    return torch.stack(lengths).mean()


class BlockDiagonal:
    """What peft would compile for BOFT on a GPU, in torch: blocks (N, D, b, b) as the diagonals of (N, D b, D b)."""

    @staticmethod
    def forward(blocks: Tensor) -> list[Tensor]:
        count, size = blocks.shape[1:3]
        whole = torch.zeros(len(blocks), count, size, count, size, dtype=blocks.dtype, device=blocks.device)
        whole.diagonal(dim1=1, dim2=3).copy_(blocks.movedim(1, -1))
        return [whole.flatten(3, 4).flatten(1, 2)]

    @staticmethod
    def backward(gradient: Tensor, blocks: Tensor) -> list[Tensor]:
        count, size = blocks.shape[1:3]
        cut = gradient.reshape(len(blocks), count, size, count, size)
        return [cut.diagonal(dim1=1, dim2=3).movedim(-1, 1)]


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
    - ``oft`` (Qiu et al., NeurIPS 2023): W is turned, by blocks of ``rank`` inputs. ``boft`` (Liu et al., ICLR 2024):
      by a product of ``factors`` such turns, whose blocks are of other inputs each time, exactly (Cayley's matrix), and
      its outputs are scaled. ``hra`` (Yuan et al., NeurIPS 2024): by ``rank`` reflections. ``ia3`` (Liu et al.,
      NeurIPS 2022): channels are scaled, the inputs of ``fc2``, the outputs of all others. ``alpha`` is of no use to
      these and to ``vera``, nor ``rank`` to ``ia3``.
    - ``adalora`` (Zhang et al., ICLR 2023): W + α/r₀ · P Λ Q, of which a layer begins with r₀ = 1.5 ``rank`` singular
      values. After each step those of least importance are set to 0, until ``rank`` a layer are left in the mean: more
      where they matter. Its loss has a term that keeps P and Q orthonormal.

    timm has query, key and value in one layer, ``qkv``: adapted, its A is shared by all three, which is not LoRA on two
    layers of their own. At the end, and in every kept model, what was learnt is merged into the weights: the network is
    the plain one. What is drawn depends on the run's seeds, of ``vera`` and ``fourierft`` too. Nothing is fetched. The
    frozen backbone drops paths as the protocol says, as everything does in training mode. Nothing is compiled for
    ``boft``, as peft would: what that does is done in torch.
    """

    paper = "Mangrulkar et al., 'PEFT: State-of-the-art Parameter-Efficient Fine-Tuning methods', 2022; Hu et al., LoRA"
    needs = {"linears"}
    packages = {"peft"}
    per_image = True

    kind: str = hyper(
        "lora",
        choices=(
            "lora",
            "rslora",
            "dora",
            "pissa",
            "loha",
            "vera",
            "fourierft",
            "oft",
            "boft",
            "hra",
            "ia3",
            "adalora",
        ),
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
            "boft": 4,
            "hra": 8,
            "ia3": 1,
            "adalora": 8,
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
            "boft": 1.0,
            "hra": 1.0,
            "ia3": 1.0,
            "adalora": 8.0,
        },
        by="kind",
        low=0,
        source="peft's default of each kind",
    )
    factors: int = hyper(
        4,
        low=1,
        source="m of boft, of no use to the others: its paper's on VTAB-1k, with blocks of 4; peft's default: 1",
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
        if self.kind == "adalora" and recipe.last - recipe.first < 3:
            raise InputError("peft: adalora needs 3 steps or more, of which it takes ranks away in the middle ones")
        if self.kind == "boft":
            vars(importlib.import_module("peft.tuners.boft.layer"))["_FBD_CUDA"] = BlockDiagonal
        uneven = [
            layer.in_features for layer in layers.values() if self.kind == "oft" and layer.in_features % self.rank
        ]
        if uneven:
            raise InputError(
                f"peft: blocks of {self.rank} do not divide the {uneven[0]} inputs of a layer; change rank"
            )
        try:
            adapted = library.get_peft_model(model.backbone, self.config(library, [*layers], recipe))
        except (ValueError, AssertionError) as error:
            raise InputError(f"peft: {self.kind} of rank {self.rank}: {error}") from None
        model.merging = merge
        named = model.backbone.named_parameters()  # AdaLoRA's r₀ is a constant, of which peft makes a weight on a GPU
        added = [weight for name, weight in named if weight.requires_grad and ".ranknum." not in name]
        stage = Stage(model, self.loss, recipe, train=(*added, model.head), frozen_drops=True)
        if self.kind == "adalora":
            ranks = Ranks(adapted.base_model)
            stage = replace(stage, state=(ranks,), step=ranks.step)
        yield stage
        model.merge()

    def loss(self, model: Model, batch: Batch) -> Terms:
        """Cross-entropy; AdaLoRA's regulariser beside it."""
        terms = {"ce": batch.cross_entropy(model(batch.images))}
        if self.kind == "adalora":
            terms["orthogonal"] = ORTHOGONAL * orthogonality(model.backbone)
        return terms

    def config(self, library: Any, names: list[str], recipe: Recipe) -> Any:
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
        if kind == "boft":
            return library.BOFTConfig(boft_block_size=self.rank, boft_n_butterfly_factor=self.factors, **common)
        if kind == "adalora":
            steps = recipe.last - recipe.first
            spans = {"total_step": steps, "tinit": int(BEGIN * steps), "tfinal": steps - math.ceil(END * steps)}
            first = math.ceil(1.5 * self.rank)
            return library.AdaLoraConfig(
                init_r=first, target_r=self.rank, lora_alpha=self.alpha, orth_reg_weight=ORTHOGONAL, **spans, **common
            )
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

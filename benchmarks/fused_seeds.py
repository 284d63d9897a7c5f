"""What a step costs where the seeds of a cell are one model with stacked weights, beside a step of each of them alone.

    python benchmarks/fused_seeds.py --seeds 3,8
    python benchmarks/fused_seeds.py --seeds 3,8 --device cuda

The stacked step is `torch.func` (`stack_module_state`, `functional_call`, `vmap`) with one AdamW over the stacked
weights, eager and compiled. All variants take turns, each on the same batches; printed is the median of the ratios to
one seed after the other, with the least and the most: of CPU seconds on one thread, or of seconds on a GPU. The parity
is the largest difference of a logit after some steps from the same start, as a share of the largest logit. Images are
noise, each seed has batches of its own. Torch has no rule for its attention kernel of CPUs under `vmap`; `--explicit`
has all variants compute attention from matrix products.
"""

from __future__ import annotations

import argparse
import copy
import statistics
import time
from collections.abc import Callable, Iterable, Sequence

import torch
from timm.layers import set_fused_attn
from torch import Tensor
from torch.func import functional_call, stack_module_state, vmap
from torch.nn import functional as F

from bench.backbones import Model, build_model
from bench.backbones.build import input_size
from bench.registry import Registry

CLASSES = 100
STEPS = 5
"""Steps of each variant in a round, and those after which logits are compared."""

Step = Callable[[Tensor, Tensor], None]
"""A step of all seeds: images (seeds, batch, channels, side, side), labels (seeds, batch)."""

Answers = Callable[[Tensor], Tensor]
"""The logits of all seeds (seeds, batch, classes) for images."""


def main() -> None:
    """Measure each number of seeds that is named on the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", default="3,8", metavar="LIST")
    parser.add_argument("--backbone", default="micro_vit", metavar="NAME")
    parser.add_argument("--batch", type=int, default=32, metavar="N")
    parser.add_argument("--rounds", type=int, default=7, metavar="N", help="rounds of each variant (default: 7)")
    parser.add_argument("--device", default="cpu", metavar="NAME")
    parser.add_argument("--explicit", action="store_true", help="attention from matrix products, in every variant")
    parser.add_argument("--no-compile", action="store_true", help="leave the compiled variant out")
    options = parser.parse_args()
    torch.set_num_threads(1)
    set_fused_attn(not options.explicit)
    device = torch.device(options.device)
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "one thread"
    print(f"{options.backbone}, batch {options.batch}, {options.rounds} rounds of {STEPS} steps, {name}")
    for seeds in map(int, options.seeds.split(",")):
        measure(seeds, options.backbone, options.batch, options.rounds, device, not options.no_compile)


def measure(seeds: int, backbone: str, batch: int, rounds: int, device: torch.device, compiles: bool) -> None:
    """Print what a step of stacked seeds takes in steps of one seed after the other."""
    models = [seeded(backbone, seed, device) for seed in range(seeds)]
    size, channels = input_size(models[0]), models[0].mean.shape[0]
    images = torch.rand(STEPS, seeds, batch, channels, size, size, device=device)
    labels = torch.randint(CLASSES, (STEPS, seeds, batch), device=device)
    apart = [copy.deepcopy(model) for model in models]
    trainings = {"one seed after the other": one_by_one(apart), "stacked": stacked(models, compiles=False)}
    if compiles:
        trainings["stacked, compiled"] = stacked(models, compiles=True)
    variants = {variant: step for variant, (step, _) in trainings.items()}
    firsts = {variant: timed(step, images, labels) for variant, step in variants.items()}
    logits = {variant: answers(images[0]) for variant, (_, answers) in trainings.items()}
    reference = logits.pop("one seed after the other")
    parities = {
        variant: float((theirs - reference).abs().max() / reference.abs().max()) for variant, theirs in logits.items()
    }
    seconds: dict[str, list[float]] = {variant: [] for variant in variants}
    for number in range(rounds):
        order = list(variants) if number % 2 else list(reversed(variants))
        for variant in order:
            seconds[variant].append(timed(variants[variant], images, labels))
    base = seconds["one seed after the other"]
    print(f"{seeds} seeds: {1000 * statistics.median(base) / STEPS:.1f} ms a step of all, one after the other")
    for variant, parity in parities.items():
        ratios = [mine / theirs for mine, theirs in zip(seconds[variant], base, strict=True)]
        told = f"{statistics.median(ratios):.2f} [{min(ratios):.2f}..{max(ratios):.2f}]"
        begins = f"the first {STEPS} steps {firsts[variant]:.1f} s"
        print(f"  {variant}: {told}, parity {parity:.1e} after {STEPS} steps, {begins}", flush=True)


def seeded(backbone: str, seed: int, device: torch.device) -> Model:
    """The backbone with a head of a seed's own."""
    torch.manual_seed(seed)
    model = build_model(Registry().backbone(backbone), CLASSES).to(device)
    model.train()
    return model


def one_by_one(models: Sequence[Model]) -> tuple[Step, Answers]:
    """A step of each model with its own optimiser."""
    optimizers = [adamw(model.named_parameters()) for model in models]

    def step(images: Tensor, labels: Tensor) -> None:
        for model, optimizer, own, of_own in zip(models, optimizers, images, labels, strict=True):
            optimizer.zero_grad(set_to_none=True)
            F.cross_entropy(model(own).logits, of_own).backward()  # type: ignore[no-untyped-call]
            optimizer.step()

    def answers(images: Tensor) -> Tensor:
        with torch.no_grad():
            return torch.stack([model(own).logits for model, own in zip(models, images, strict=True)])

    return step, answers


def stacked(models: Sequence[Model], *, compiles: bool) -> tuple[Step, Answers]:
    """A step of all models at once, with one optimiser over their stacked weights."""
    weights, buffers = stack_module_state([*models])
    shell = copy.deepcopy(models[0])
    matrices = {name for name, weight in models[0].named_parameters() if weight.ndim > 1}
    optimizer = adamw(weights.items(), matrices)

    def logits(own: dict[str, Tensor], fixed: dict[str, Tensor], images: Tensor) -> Tensor:
        answer: Tensor = functional_call(shell, (own, fixed), (images,)).logits
        return answer

    def loss(own: dict[str, Tensor], fixed: dict[str, Tensor], images: Tensor, labels: Tensor) -> Tensor:
        return F.cross_entropy(logits(own, fixed, images), labels)

    losses = vmap(loss, randomness="different")
    losses = torch.compile(losses) if compiles else losses

    def step(images: Tensor, labels: Tensor) -> None:
        optimizer.zero_grad(set_to_none=True)
        losses(weights, buffers, images, labels).sum().backward()  # type: ignore[no-untyped-call]
        optimizer.step()

    def answers(images: Tensor) -> Tensor:
        with torch.no_grad():
            return vmap(logits)(weights, buffers, images)

    return step, answers


def adamw(named: Iterable[tuple[str, Tensor]], matrices: set[str] | None = None) -> torch.optim.Optimizer:
    """AdamW that decays matrices alone: those that are named, or by their dimensions."""
    pairs = list(named)
    decayed = {name for name, weight in pairs if weight.ndim > 1} if matrices is None else matrices
    groups = [
        {"params": [weight for name, weight in pairs if name in decayed], "weight_decay": 0.05},
        {"params": [weight for name, weight in pairs if name not in decayed], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=1e-3, fused=True)


def timed(step: Step, images: Tensor, labels: Tensor) -> float:
    """Seconds of some steps: of the processor, or, on a GPU, until that is done."""
    on_gpu = images.device.type == "cuda"
    clock = time.perf_counter if on_gpu else time.process_time
    if on_gpu:
        torch.cuda.synchronize()
    started = clock()
    for own, of_own in zip(images, labels, strict=True):
        step(own, of_own)
    if on_gpu:
        torch.cuda.synchronize()
    return clock() - started


if __name__ == "__main__":
    main()

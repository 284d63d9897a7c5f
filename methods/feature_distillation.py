"""Feature Distillation: distil the backbone's features into a fresh student, which is then tuned (Wei et al., 2022)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import floor

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bench.backbones import Model
from bench.backbones import student as students
from bench.data import TrainingImages
from bench.losses import at_least_float32
from bench.method import Batch, Method, Shared, Stage, Terms, frozen, hyper, replace, seeded
from bench.protocol import Recipe


def whitened(features: Tensor) -> Tensor:
    """Features (..., D) of mean 0 and variance 1 each: layer normalisation without scale and shift (section 2).

    The variance is over D, without Bessel's correction, plus 1e-5 (released code). Equal features give 0. Computed in
    float32 at least.
    """
    return F.layer_norm(at_least_float32(features), features.shape[-1:])


def normalised(features: Tensor, normalisation: str) -> Tensor:
    """The teacher's features as they are to be met (Table 3).

    Args:
        features: (..., D).
        normalisation: ``"whiten"``; ``"l2"``, each feature vector of length 1 (our reading: the paper names no axis);
            or ``"none"``.

    Returns:
        (..., D), float32 at least.

    Raises:
        ValueError: another normalisation.
    """
    if normalisation == "whiten":
        return whitened(features)
    if normalisation not in ("l2", "none"):
        raise ValueError(f"normalisation must be whiten, l2 or none, not {normalisation!r}")
    features = at_least_float32(features)
    return F.normalize(features, dim=-1) if normalisation == "l2" else features


def smooth_l1(student: Tensor, teacher: Tensor, beta: float) -> Tensor:
    """Smooth L1 distance (eq. 1): e² / (2 β) where |e| ≤ β, |e| − β / 2 beyond; β = 0 is the L1 distance.

    Args:
        student: g(s), of any shape.
        teacher: of the same shape.
        beta: β ≥ 0, in units of the features.

    Returns:
        (), the mean over all dimensions (images, tokens, channels); the paper writes one element's. Float32 at least.

    Raises:
        ValueError: the shapes differ.
    """
    if student.shape != teacher.shape:
        raise ValueError(f"student {tuple(student.shape)} and teacher {tuple(teacher.shape)} must have one shape")
    return F.smooth_l1_loss(at_least_float32(student), at_least_float32(teacher), beta=beta)


def logit_distance(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """Classical distillation of logits (Hinton et al., 2015): T² KL(softmax(teacher / T) ‖ softmax(student / T)).

    Args:
        student: (B, C) logits.
        teacher: (B, C) logits.
        temperature: T > 0.

    Returns:
        (), in nats, the mean over images; 0 where the two are the same. Float32 at least.

    Raises:
        ValueError: the shapes differ.
    """
    if student.shape != teacher.shape:
        raise ValueError(f"student {tuple(student.shape)} and teacher {tuple(teacher.shape)} must have one shape")
    guess = (at_least_float32(student) / temperature).log_softmax(-1)
    aim = (at_least_float32(teacher) / temperature).log_softmax(-1)
    return temperature**2 * F.kl_div(guess, aim, reduction="batchmean", log_target=True)


def reduced(tokens: Tensor, target: str, prefix: int) -> Tensor:
    """The part of the tokens that is distilled (Table 2).

    Args:
        tokens: (B, T, D), ``prefix`` of them before the patches, [cls] first.
        target: ``"map"``, the patches with [cls] before them where there is one, (B, T', D); further prefix tokens
            (registers) are left out; ``"cls"`` (B, D); or the mean of the patches, ``"gap"`` or ``"logit"``, (B, D).
        prefix: tokens before the patches.

    Returns:
        What is asked for.
    """
    if target == "cls":
        return tokens[:, 0]
    if target == "map":
        return tokens if prefix <= 1 else torch.cat([tokens[:, :1], tokens[:, prefix:]], 1)
    return tokens[:, prefix:].mean(1)


class Projection(nn.Module):
    """g after the student's last norm: a 1 × 1 convolution over the tokens, which is a linear layer for each.

    Args:
        student: gives tokens (B, T, D); a Beit that pools has no norm over them, so it comes with g and goes with it.
        out: channels of the target, d_t.
        target: as in ``reduced``.
    """

    def __init__(self, student: Model, out: int, target: str) -> None:
        super().__init__()
        normed = not isinstance(getattr(student.backbone, "norm", None), nn.Identity)
        self.norm = nn.Identity() if normed else nn.LayerNorm(student.dim, eps=1e-6)
        self.project, self.target, self.prefix = nn.Linear(student.dim, out), target, students.prefix_tokens(student)

    def forward(self, tokens: Tensor) -> Tensor:
        guessed: Tensor = self.project(reduced(self.norm(tokens), self.target, self.prefix))
        return guessed


@dataclass(frozen=True)
class FeatureDistillation(Method):
    """A student from scratch learns the features of the frozen backbone, then is fine-tuned in its place.

    Starting from nothing, it needs many more steps than the backbone's own fine-tuning; with few, it stays far behind.
    The first stage needs no labels. It sees only the sampled images (the paper: all of ImageNet-1K), in the protocol's
    augmentation and batch unless it is given its own. It is trained once for all runs that would train
    the same, from a seed of its own: with ``student_seed`` 0, runs of several seeds on the same images tune one
    student, as in the paper, and ± does not hold the chance in distillation; -1 gives each run one of its own. The
    head is always the run's own. A ViT's student is tuned with mean pooling and a fresh norm; the norm that it was
    distilled with goes with g, as in the released code. ``logit`` needs a backbone with the head of its pre-training.
    ``batch_norm`` is of ``then=linear`` alone: fine-tuning makes nothing of it, though the run's id does.
    """

    paper = (
        "Wei et al., 'Contrastive Learning Rivals Masked Image Modeling in Fine-tuning via Feature Distillation', "
        "arXiv:2205.14141, eq. 1"
    )
    needs = {"tokens"}
    per_image = True
    uses = {"source_head"}

    target: str = hyper("map", choices=("map", "cls", "gap", "logit"), source="paper Table 2: the full map is best")
    normalisation: str = hyper("whiten", choices=("whiten", "l2", "none"), source="of the target; paper Table 3")
    position: str = hyper(
        "shared",
        choices=("shared", "non_shared", "absolute", "none"),
        source="the student's; paper Table 4: shared relative position bias is best (a Swin's student: SwinV2's own)",
    )
    unshare: bool = hyper(
        True, source="released code: for fine-tuning, each block is given a copy of the shared bias of its own"
    )
    beta: float = hyper(2.0, low=0, source="of the smooth L1 distance; paper eq. 1")
    temperature: float = hyper(1.0, low=0.01, source="of target logit; our choice: the paper names none")
    student_drop_path: float = hyper(
        0.2, low=0, high=0.99, source="in distillation; paper Table 5: 0.2 is best for DINO and DeiT, 0.1 for CLIP"
    )
    teacher_drop_path: float = hyper(0.0, low=0, high=0.99, source="paper Table 5: none is best")
    share: float = hyper(
        0.75, low=0, high=0.99, source="of all steps for distillation; paper: 300 epochs, then 100 (Tables 6 and 7)"
    )
    on_top: bool = hyper(
        False, source="our choice: distillation is paid from the run's budget; the paper's comes on top of it"
    )
    distil_lr: float = hyper(1.2e-3, low=0, source="peak; paper Table 6, at a batch of 2,048, not scaled here")
    distil_min_lr: float = hyper(2e-5, low=0, source="paper Table 6")
    distil_weight_decay: float = hyper(0.05, low=0, source="paper Table 6")
    distil_clip: float = hyper(3.0, low=0, source="largest gradient norm, 0 for none; paper Table 6")
    distil_warmup: float = hyper(
        0.033, low=0, high=0.99, source="share of the distillation's steps; paper Table 6: 10 of 300 epochs"
    )
    distil_batch: int = hyper(
        0, low=0, source="images of a step of distillation; 0: the protocol's; paper Table 6: 2,048"
    )
    distil_augmentation: str = hyper(
        "protocol",
        choices=("protocol", "crop_flip"),
        source="of the images to distil; paper Table 6: random crops and flips, without mixing or erasing",
    )
    student_seed: int = hyper(0, low=-1, source="our choice: one student for all seeds; -1: each run's own")
    then: str = hyper("fine_tune", choices=("fine_tune", "linear"), source="paper 4.1: fine-tuning or linear probe")
    batch_norm: bool = hyper(False, source="of a linear probe, as method linear has it; released code: with")

    def stages(self, model: Model, recipe: Recipe, data: TrainingImages) -> Iterator[Stage]:
        """The shared distillation, then fine-tuning or a linear probe of the student."""
        seed = data.seed if self.student_seed < 0 else self.student_seed
        teacher = self.teacher(model)
        out = students.source_head_of(teacher).out_features if self.target == "logit" else model.dim
        with seeded(seed):
            student = students.build_student(model, self.position, self.student_drop_path)
            g = Projection(student, out, self.target).to(data.device)
        student.head.load_state_dict(model.head.state_dict())

        def distil(student: Model, batch: Batch) -> Terms:
            aim = self.aim(teacher, batch.images)
            guess = g(student.probe(batch.images, "tokens"))
            if self.target == "logit":
                return {"distil": logit_distance(guess, aim, self.temperature)}
            return {"distil": smooth_l1(guess, aim, self.beta)}

        first = self.distillation_recipe(recipe)
        if first.steps:
            shared = Shared(depends=self.decides(), seed=seed, extra=self.on_top)
            images = data.fed(self.distil_batch, self.distil_augmentation, label_smoothing=0.0)
            yield Stage(student, distil, first, train=(student.backbone, g), shared=shared, data=images)
        rest = recipe if self.on_top else recipe.rest(self.share)
        if self.then == "linear":
            if self.batch_norm:
                student.norm_features()
            yield Stage(student, self.loss, rest, train=(student.head,))
            return
        if self.unshare:
            students.unshare_position_bias(student.backbone)
        students.set_drop_path(student.backbone, data.protocol.drop_path)
        yield Stage(student, self.loss, rest)

    def teacher(self, model: Model) -> Model:
        """The frozen backbone, in eval mode but for the drop path that it may be given."""
        if self.target == "cls":
            students.require_class_token(model)
        teacher = frozen(model)
        for branch in students.set_drop_path(teacher.backbone, self.teacher_drop_path):
            branch.train()
        return teacher

    def aim(self, teacher: Model, images: Tensor) -> Tensor:
        """What g of the student is to meet for images (B, C, H, W), after the teacher's last norm (Tables 2 and 3)."""
        if self.target == "logit":
            return at_least_float32(students.source_head_of(teacher)(teacher(images).features))
        tokens = teacher.probe(images, "tokens")
        return normalised(reduced(tokens, self.target, students.prefix_tokens(teacher)), self.normalisation)

    def distillation_recipe(self, recipe: Recipe) -> Recipe:
        """The first stage's recipe: ``share`` of the steps, or as many more that they are this share of all."""
        budget = recipe.last - recipe.first
        steps = round(budget * self.share / (1 - self.share)) if self.on_top else recipe.share(self.share).last
        return replace(
            recipe,
            steps=steps,
            first=0,
            last=steps,
            warmup=floor(self.distil_warmup * steps),
            optimizer="adamw",
            schedule="cosine",
            lr=self.distil_lr,
            min_lr=self.distil_min_lr,
            weight_decay=self.distil_weight_decay,
            momentum=0.9,
            beta2=0.999,
            clip_norm=self.distil_clip,
            layer_decay=1.0,
            head_lr=1.0,
        )

    def decides(self) -> dict[str, str | float | int | bool | None]:
        """The hyper-parameters that the distilled student depends on, beside its recipe."""
        names = ("target", "normalisation", "position", "beta", "temperature", "student_drop_path", "teacher_drop_path")
        return {name: getattr(self, name) for name in names}

"""Feature Distillation against the same written out number by number, and what its two stages do."""

from __future__ import annotations

import copy
import dataclasses
import math
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from bench.methods.feature_distillation import (
    FeatureDistillation,
    Projection,
    logit_distance,
    normalised,
    reduced,
    smooth_l1,
    whitened,
)
from timm.layers import DropPath
from timm.models.swin_transformer import SwinTransformer
from torch import Tensor, nn

from bench.backbones import Model, build_model
from bench.backbones.families import family_of
from bench.backbones.student import build_student
from bench.data import ArrayImages, Split, TrainingImages
from bench.errors import InputError
from bench.method import Batch, Shared, Stage
from bench.plan.overrides import Overrides
from bench.plan.target import read_plan
from bench.protocol import Protocol, Recipe
from bench.registry import Registry
from bench.training.fit import fit, set_modes
from bench.training.trial import run_trial
from tests.scenes import as_plain, left_out

STEPS = 8


@pytest.fixture
def model() -> Model:
    torch.manual_seed(0)
    return build_model(Registry().backbone("micro_vit"), 10)


@pytest.fixture
def data() -> TrainingImages:
    return some_data()


def some_data(**changes: Any) -> TrainingImages:
    generator = torch.Generator().manual_seed(1)
    pixels = torch.randint(256, (16, 12, 12, 1), generator=generator, dtype=torch.uint8).numpy()
    labels = torch.randint(10, (16,), generator=generator).numpy()
    protocol = Protocol(recipe=a_recipe(), **{"batch_size": 8, "augmentation": "shift", "drop_path": 0.1, **changes})
    indices = torch.arange(16).numpy()
    return TrainingImages(Split(ArrayImages(pixels), labels), indices, 10, protocol, 12, 7, torch.device("cpu"))


def a_recipe(**changes: Any) -> Recipe:
    return Recipe(**{"steps": STEPS, "lr": 1e-3, "warmup": 4, "layer_decay": 0.65, **changes}).resolved(16, 8)


def stages(method: FeatureDistillation, model: Model, data: TrainingImages) -> Iterator[Stage]:
    found: Iterator[Stage] = method.stages(model, data.protocol.recipe, data)
    return found


def run(stage: Stage, data: TrainingImages) -> None:
    fit(stage, data, start=0, stops=lambda _: False, at_stop=lambda _: None)


def weights(module: nn.Module) -> dict[str, Tensor]:
    return {name: value.detach().clone() for name, value in module.state_dict().items()}


def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


# ---- formulas


def test_whitening_number_by_number_and_as_torchs_layer_norm() -> None:
    torch.manual_seed(0)
    features = (3 * torch.randn(2, 3, 5, dtype=torch.float64) + 7).requires_grad_()
    for image in range(2):
        for token in range(3):
            values = features[image, token].tolist()
            mean = sum(values) / 5
            variance = sum((value - mean) ** 2 for value in values) / 5
            expected = [(value - mean) / math.sqrt(variance + 1e-5) for value in values]
            assert whitened(features)[image, token].tolist() == pytest.approx(expected, rel=1e-9)
    oracle = nn.LayerNorm(5, elementwise_affine=False).double()
    torch.testing.assert_close(whitened(features), oracle(features), rtol=1e-12, atol=1e-12)
    assert torch.autograd.gradcheck(whitened, features)


def test_whitening_leaves_neither_scale_nor_shift_and_equal_features_give_zero() -> None:
    features = torch.randn(4, 8, dtype=torch.float64)
    torch.testing.assert_close(whitened(50 * features + 3), whitened(features), rtol=1e-4, atol=1e-4)
    assert not whitened(torch.full((2, 8), 3.0)).any()
    assert whitened(features.bfloat16()).dtype == torch.float32


def test_the_other_normalisations_number_by_number() -> None:
    features = torch.randn(2, 3, 5, dtype=torch.float64)
    assert torch.equal(normalised(features, "none"), features)
    assert torch.equal(normalised(features, "whiten"), whitened(features))
    for image in range(2):
        for token in range(3):
            values = features[image, token].tolist()
            length = math.sqrt(sum(value**2 for value in values))
            expected = [value / length for value in values]
            assert normalised(features, "l2")[image, token].tolist() == pytest.approx(expected, rel=1e-9)
    assert not normalised(torch.zeros(1, 4), "l2").any()
    with pytest.raises(ValueError, match="must be whiten, l2 or none, not 'l3'"):
        normalised(features, "l3")


@pytest.mark.parametrize("beta", [2.0, 0.5])
def test_smooth_l1_element_by_element(beta: float) -> None:
    torch.manual_seed(0)
    student = (3 * torch.randn(2, 3, 4, dtype=torch.float64)).requires_grad_()
    teacher = torch.randn(2, 3, 4, dtype=torch.float64)
    with torch.no_grad():
        student[0, 0] = teacher[0, 0] + torch.tensor([beta, -beta, 0.0, 2 * beta])
    total, slopes = 0.0, []
    for guess, aim in zip(student.flatten().tolist(), teacher.flatten().tolist(), strict=True):
        error = guess - aim
        inside = abs(error) <= beta
        total += 0.5 * error**2 / beta if inside else abs(error) - 0.5 * beta
        slopes.append((error / beta if inside else math.copysign(1, error)) / 24)
    loss = smooth_l1(student, teacher, beta)
    (gradient,) = torch.autograd.grad(loss, [student])
    assert float(loss.detach()) == pytest.approx(total / 24, rel=1e-9)
    assert gradient.flatten().tolist() == pytest.approx(slopes, rel=1e-9, abs=1e-15)
    huber = torch.nn.functional.huber_loss(student, teacher, delta=beta) / beta
    torch.testing.assert_close(loss, huber, rtol=1e-12, atol=0)
    torch.testing.assert_close(loss, nn.SmoothL1Loss(beta=beta)(student, teacher), rtol=1e-12, atol=0)
    smooth = student.detach() + 0.01
    assert torch.autograd.gradcheck(lambda guess: smooth_l1(guess, teacher, beta), smooth.requires_grad_())


def test_with_the_papers_beta_it_is_a_quarter_of_the_square_then_the_way_less_one() -> None:
    at = {error: float(smooth_l1(torch.tensor([error]), torch.zeros(1), 2.0)) for error in (-3.0, -1.0, 0.0, 2.0, 5.0)}
    assert at == {-3.0: 2.0, -1.0: 0.25, 0.0: 0.0, 2.0: 1.0, 5.0: 4.0}
    assert float(smooth_l1(torch.tensor([-3.0, 1.0]), torch.zeros(2), 0.0)) == 2.0


def test_logit_distance_number_by_number() -> None:
    torch.manual_seed(0)
    student = torch.randn(3, 4, dtype=torch.float64, requires_grad=True)
    teacher = torch.randn(3, 4, dtype=torch.float64)
    total = 0.0
    for guess, aim in zip(student.tolist(), teacher.tolist(), strict=True):
        p = [math.exp(value / 2.5) / sum(math.exp(v / 2.5) for v in aim) for value in aim]
        q = [math.exp(value / 2.5) / sum(math.exp(v / 2.5) for v in guess) for value in guess]
        total += sum(one * math.log(one / other) for one, other in zip(p, q, strict=True))
    assert float(logit_distance(student.detach(), teacher, 2.5)) == pytest.approx(2.5**2 * total / 3, rel=1e-9)
    assert float(logit_distance(teacher, teacher + 3, 1.0)) == pytest.approx(0, abs=1e-12)
    assert torch.autograd.gradcheck(lambda guess: logit_distance(guess, teacher, 2.5), student)


def test_distances_want_one_shape_and_are_computed_in_float32() -> None:
    for distance in (smooth_l1, logit_distance):
        with pytest.raises(ValueError, match="must have one shape"):
            distance(torch.zeros(2, 3), torch.zeros(2, 1), 1.0)
        one, other = torch.randn(1, 5).bfloat16(), torch.randn(1, 5).bfloat16()
        with torch.autocast("cpu", torch.bfloat16):
            found = distance(one, other, 1.0)
        assert found.dtype == torch.float32
        assert float(found) == pytest.approx(float(distance(one.double(), other.double(), 1.0)), rel=1e-6)


@pytest.mark.parametrize("prefix", [0, 1, 3])
def test_targets_are_these_tokens(prefix: int) -> None:
    tokens = torch.randn(2, prefix + 4, 3)
    patches = tokens[:, prefix:]
    for target in ("gap", "logit"):
        torch.testing.assert_close(reduced(tokens, target, prefix), (patches.cumsum(1)[:, -1]) / 4)
    whole = reduced(tokens, "map", prefix)
    assert torch.equal(whole[:, -4:], patches)
    assert whole.shape[1] == 4 + min(prefix, 1)
    if prefix:
        assert torch.equal(whole[:, 0], tokens[:, 0])
        assert torch.equal(reduced(tokens, "cls", prefix), tokens[:, 0])


def test_g_is_a_convolution_of_size_one_after_a_norm(model: Model) -> None:
    g = Projection(build_student(model), 7, "map").double()
    tokens = torch.randn(2, 37, 48, dtype=torch.float64)
    oracle = nn.Conv1d(48, 7, 1).double()
    with torch.no_grad():
        oracle.weight.copy_(g.project.weight[..., None])
        oracle.bias.copy_(g.project.bias)  # type: ignore[union-attr]
    normed = (tokens - tokens.mean(-1, keepdim=True)) / (tokens.var(-1, correction=0, keepdim=True) + 1e-6).sqrt()
    torch.testing.assert_close(g(tokens), oracle(normed.transpose(1, 2)).transpose(1, 2))


def test_g_brings_no_second_norm_to_a_student_that_has_one() -> None:
    student = build_student(a_swin())
    assert isinstance(Projection(student, 7, "map").norm, nn.Identity)


def a_swin() -> Model:
    backbone = SwinTransformer(
        img_size=16,
        patch_size=2,
        window_size=4,
        in_chans=1,
        embed_dim=12,
        depths=(1, 1),
        num_heads=(2, 2),
        num_classes=0,
    )
    return Model(backbone, family_of(backbone), 24, 10, [0.5], [0.5])


# ---- the distillation stage


def test_the_term_is_equation_1_on_the_whole_map(model: Model, data: TrainingImages) -> None:
    """The teacher's tokens after its own norm, [cls] included, whitened, against g of the student's; one image."""
    model = model.double()
    stage = next(stages(FeatureDistillation(student_drop_path=0.0), model, data))
    student, g = stage.model.double(), projection(stage).double()
    images = torch.rand(1, 1, 12, 12, dtype=torch.float64)
    one: Any = model.backbone
    other: Any = student.backbone
    target = one.forward_features((images - 0.5) / 0.5)[0].tolist()
    guess = g(other.forward_features((images - 0.5) / 0.5))[0].tolist()
    assert len(target) == len(guess) == 37
    total = 0.0
    for aims, guesses in zip(target, guess, strict=True):
        mean = sum(aims) / 48
        sd = math.sqrt(sum((aim - mean) ** 2 for aim in aims) / 48 + 1e-5)
        for aim, guessed in zip(aims, guesses, strict=True):
            error = abs(guessed - (aim - mean) / sd)
            total += 0.25 * error**2 if error <= 2 else error - 1
    found = stage.loss(student, Batch(images, torch.zeros(1), torch.zeros(1, 10), 0.0))
    assert set(found) == {"distil"}
    assert found["distil"].item() == pytest.approx(total / (37 * 48), rel=1e-9)


def projection(stage: Stage) -> Projection:
    (g,) = (item for item in stage.train if isinstance(item, Projection))
    return g


@pytest.mark.parametrize("target", ["map", "cls", "gap", "logit"])
@pytest.mark.parametrize("normalisation", ["whiten", "l2", "none"])
@pytest.mark.parametrize("position", ["shared", "absolute"])
def test_every_variant_reaches_the_whole_student_and_nothing_else(
    model: Model, data: TrainingImages, target: str, normalisation: str, position: str
) -> None:
    model.source_head = nn.Linear(48, 26)
    before = weights(model)
    method = FeatureDistillation(target=target, normalisation=normalisation, position=position, student_drop_path=0.0)
    stage = next(stages(method, model, data))
    set_modes(stage)
    torch.nn.init.normal_(projection(stage).project.weight)
    stage.loss(stage.model, data.batch(0))["distil"].backward()  # type: ignore[no-untyped-call]
    for item in stage.train:
        assert isinstance(item, nn.Module)
        for name, weight in item.named_parameters():
            if not name.startswith("fc_norm"):
                assert weight.grad is not None, name
                assert weight.grad.abs().sum() > 0, name
    assert stage.model.head.weight.grad is None
    assert all(weight.grad is None for weight in model.parameters())
    assert projection(stage).project.out_features == (26 if target == "logit" else 48)
    assert same(weights(model), before)


def test_teacher_and_student_see_the_same_view_in_the_teachers_pixels(model: Model, data: TrainingImages) -> None:
    model.mean.fill_(0.2)
    model.std.fill_(0.7)
    seen: list[Tensor] = []
    method = FeatureDistillation()
    teacher = method.teacher(model)
    stage = next(stages(method, model, data))
    for backbone in (teacher.backbone, stage.model.backbone):
        backbone.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    batch = data.batch(0)
    method.aim(teacher, batch.images)
    stage.loss(stage.model, batch)
    torch.testing.assert_close(seen[0], (batch.images - 0.2) / 0.7)
    assert torch.equal(seen[0], seen[1])


def test_it_sees_no_labels(model: Model, data: TrainingImages) -> None:
    stage = next(stages(FeatureDistillation(student_drop_path=0.0), model, data))
    batch = data.batch(0)
    blind = dataclasses.replace(batch, labels=batch.labels * 0 - 1, targets=batch.targets * float("nan"))
    assert torch.equal(stage.loss(stage.model, batch)["distil"], stage.loss(stage.model, blind)["distil"])


def test_the_teacher_is_frozen_in_eval_mode(model: Model, data: TrainingImages) -> None:
    model.train()
    before = weights(model)
    method = FeatureDistillation()
    teacher = method.teacher(model)
    assert not any(module.training for module in teacher.modules())
    assert not any(weight.requires_grad for weight in teacher.parameters())
    assert not method.aim(teacher, data.batch(0).images).requires_grad
    for stage in stages(method, model, data):
        run(stage, data)
        assert stage.model is not model
    assert same(weights(model), before)


def test_drop_path_of_teacher_and_student_are_separate(model: Model) -> None:
    images = torch.rand(16, 1, 12, 12)
    still, noisy = (FeatureDistillation(teacher_drop_path=rate) for rate in (0.0, 0.5))
    teacher = still.teacher(model)
    assert torch.equal(still.aim(teacher, images), still.aim(teacher, images))
    teacher = noisy.teacher(model)
    assert not torch.equal(noisy.aim(teacher, images), noisy.aim(teacher, images))
    assert [type(module) for module in teacher.modules() if module.training] == [DropPath] * 6
    stage = next(stages(FeatureDistillation(student_drop_path=0.3), model, some_data()))
    rates = [module.drop_prob for module in stage.model.modules() if isinstance(module, DropPath)]
    assert max(rates) == pytest.approx(0.3)


@pytest.mark.slow
def test_distillation_brings_the_student_nearer_to_the_teacher(model: Model, data: TrainingImages) -> None:
    method = FeatureDistillation(share=0.99, distil_lr=5e-3, student_drop_path=0.0)
    stage = next(method.stages(model, a_recipe(steps=80), data))
    batch = data.batch(1000)
    before = float(stage.loss(stage.model.eval(), batch)["distil"].detach())
    run(stage, data)
    after = float(stage.loss(stage.model.eval(), batch)["distil"].detach())
    assert after < 0.8 * before


def test_half_precision(model: Model, data: TrainingImages) -> None:
    stage = next(stages(FeatureDistillation(), model, data))
    set_modes(stage)
    with torch.autocast("cpu", torch.bfloat16):
        term = stage.loss(stage.model, data.batch(0))["distil"]
    assert term.dtype == torch.float32
    assert term.isfinite()
    term.backward()  # type: ignore[no-untyped-call]


# ---- what is shared


def test_the_student_is_one_for_all_runs_but_the_head_is_the_runs(data: TrainingImages) -> None:
    firsts = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        model = build_model(Registry().backbone("micro_vit"), 10)
        state = torch.get_rng_state()
        stage = next(stages(FeatureDistillation(), model, data))
        assert torch.equal(torch.get_rng_state(), state)
        assert torch.equal(stage.model.head.weight, model.head.weight)
        firsts.append(stage)
    one, other = firsts
    assert same(weights(one.model.backbone), weights(other.model.backbone))
    assert same(weights(projection(one)), weights(projection(other)))
    assert not torch.equal(one.model.head.weight, other.model.head.weight)
    assert one.shared == other.shared


def test_each_run_can_have_a_student_of_its_own(model: Model, data: TrainingImages) -> None:
    method = FeatureDistillation(student_seed=-1)
    one = next(stages(method, model, data))
    other = next(stages(method, model, dataclasses.replace(data, seed=8)))
    assert (one.shared, other.shared) == (Shared(method.decides(), 7), Shared(method.decides(), 8))
    assert not same(weights(one.model.backbone), weights(other.model.backbone))


def test_it_depends_on_all_that_changes_distillation_and_on_nothing_else(model: Model, data: TrainingImages) -> None:
    """Every hyper-parameter is among what the stage depends on, in its recipe, in its seed, or of the second stage."""
    base, model.source_head = FeatureDistillation(on_top=True, share=0.5), nn.Linear(48, 26)
    usual = next(stages(base, model, data))
    told = {
        "recipe": {"share", "distil_lr", "distil_min_lr", "distil_weight_decay", "distil_clip", "distil_warmup"},
        "shared": {"on_top", "student_seed", *base.decides()},
        "data": {"distil_batch", "distil_augmentation"},
        "nothing": {"unshare", "then", "batch_norm"},
    }
    fields = {field.name for field in dataclasses.fields(base)}
    assert fields == set().union(*told.values())
    for field in dataclasses.fields(base):
        value = getattr(base, field.name)
        changed = next((v for v in field.metadata["choices"] or () if v != value), None) or (
            not value if isinstance(value, bool) else value + 1 if isinstance(value, int) else value * 0.7 + 0.2
        )
        other = next(stages(dataclasses.replace(base, **{field.name: changed}), model, data))
        assert (other.recipe != usual.recipe) == (field.name in told["recipe"] or field.name == "on_top"), field.name
        assert (other.shared != usual.shared) == (field.name in told["shared"]), field.name
        fed = [stage.data.protocol for stage in (other, usual) if stage.data]
        assert (fed[0] != fed[1]) == (field.name in told["data"]), field.name


# ---- budget and recipe


def test_the_distillation_has_the_papers_recipe_over_its_share(model: Model, data: TrainingImages) -> None:
    recipe = a_recipe(steps=400, warmup=20, optimizer="sgd", schedule="constant", clip_norm=5.0, head_lr=10)
    first = FeatureDistillation().distillation_recipe(recipe)
    assert (first.steps, first.first, first.last, first.warmup) == (300, 0, 300, 9)
    assert (first.lr, first.min_lr, first.weight_decay, first.clip_norm) == (1.2e-3, 2e-5, 0.05, 3.0)
    assert (first.optimizer, first.schedule, first.momentum, first.beta2) == ("adamw", "cosine", 0.9, 0.999)
    assert (first.layer_decay, first.head_lr) == (1, 1)
    assert first.learning_rate(299) == pytest.approx(2e-5, rel=0.01)


@pytest.mark.parametrize(("on_top", "spans"), [(False, [6, 2]), (True, [24, 8])])
def test_its_steps_are_a_share_of_all_within_the_budget_or_on_top(
    model: Model, data: TrainingImages, on_top: bool, spans: list[int]
) -> None:
    method = FeatureDistillation(on_top=on_top)
    found = [(stage.recipe.last - stage.recipe.first, stage.shared) for stage in stages(method, model, data)]
    assert [span for span, _ in found] == spans
    assert found[0][1] == Shared(method.decides(), 0, extra=on_top)
    assert found[1][1] is None


def test_without_a_share_the_student_is_fine_tuned_from_scratch(model: Model, data: TrainingImages) -> None:
    (stage,) = stages(FeatureDistillation(share=0.0), model, data)
    assert stage.recipe == data.protocol.recipe


# ---- the second stage


def test_fine_tuning_starts_from_the_student_with_a_fresh_norm_and_biases_of_its_own(
    model: Model, data: TrainingImages
) -> None:
    generator = stages(FeatureDistillation(), model, data)
    first = next(generator)
    run(first, data)
    distilled = weights(first.model.backbone)
    second = next(generator)
    tuned: Any = second.model.backbone
    table = distilled.pop("rel_pos_bias.relative_position_bias_table")
    assert table.any()
    assert all(torch.equal(block.attn.relative_position_bias_table, table) for block in tuned.blocks)
    assert all(torch.equal(tuned.state_dict()[name], value) for name, value in distilled.items())
    assert torch.equal(tuned.fc_norm.weight, torch.ones(48))
    assert not tuned.fc_norm.bias.any()
    assert torch.equal(second.model.head.weight, model.head.weight)
    assert max(m.drop_prob for m in tuned.modules() if isinstance(m, DropPath)) == pytest.approx(0.1)
    assert second.recipe == data.protocol.recipe.rest(0.75)
    assert set(second.items) == {second.model.backbone, second.model.head}
    batch = data.batch(0)
    second.model.eval()
    expected = torch.nn.functional.cross_entropy(second.model(batch.images).logits, batch.labels)
    torch.testing.assert_close(second.loss(second.model, batch)["ce"], expected)
    before = weights(second.model)
    run(second, data)
    assert all(not torch.equal(before[name], value) for name, value in second.model.state_dict().items())


def test_the_bias_can_stay_shared(model: Model, data: TrainingImages) -> None:
    *_, second = stages(FeatureDistillation(unshare=False), model, data)
    names = [name for name, _ in second.model.named_parameters() if "relative_position" in name]
    assert names == ["backbone.rel_pos_bias.relative_position_bias_table"]


def test_a_linear_probe_trains_the_head_alone(model: Model, data: TrainingImages) -> None:
    generator = stages(FeatureDistillation(then="linear"), model, data)
    run(next(generator), data)
    second = next(generator)
    before = weights(second.model)
    run(second, data)
    moved = {name for name, value in second.model.state_dict().items() if not torch.equal(before[name], value)}
    assert moved == {"head.weight", "head.bias"}
    assert next(generator, None) is None


# ---- teachers


def test_logits_are_those_of_the_head_of_the_pre_training(model: Model, data: TrainingImages) -> None:
    method = FeatureDistillation(target="logit", student_drop_path=0.0)
    with pytest.raises(InputError, match="logits of the teacher need the classifier of its pre-training"):
        next(stages(method, model, data))
    model.source_head = nn.Linear(48, 26)
    stage = next(stages(method, model, data))
    batch, g = data.batch(0), projection(stage)
    aim = model.source_head(model.eval()(batch.images).features)
    guess = g.project(g.norm(stage.model.probe(batch.images, "tokens"))[:, 1:].mean(1))
    torch.testing.assert_close(stage.loss(stage.model, batch)["distil"], logit_distance(guess, aim, 1.0))


def test_a_swin_is_distilled_into_swin_v2() -> None:
    torch.manual_seed(0)
    model = a_swin()
    data = dataclasses.replace(some_data(), size=16)
    for target in ("map", "gap"):
        for stage in stages(FeatureDistillation(target=target), copy.deepcopy(model), data):
            run(stage, data)
        assert stage.model(torch.rand(2, 1, 16, 16)).logits.shape == (2, 10)
    with pytest.raises(InputError, match="SwinTransformer has no class token to distil; distil its map or gap"):
        next(stages(FeatureDistillation(target="cls"), model, data))


def test_a_backbone_without_tokens_is_left_out() -> None:
    overrides = Overrides(methods="ce,feature_distillation", backbones="timm:resnet18@none", rates="15", seeds="1")
    plan = read_plan("demo", Registry(), overrides)
    assert [cell.reason.startswith("feature_distillation needs tokens") for cell in left_out(plan)] == [True]


@pytest.mark.slow
def test_it_trains_on_digits_and_distilling_helps() -> None:
    """The same student, tuned for the same 100 steps: with distillation before it and without."""
    registry, found = Registry(), []
    settings = ("steps=100", "warmup=6", "evaluations=1")
    for method in ("feature_distillation(on_top=true,distil_lr=5e-3)", "feature_distillation(share=0)"):
        overrides = Overrides(methods=method, rates="100", seeds="1", settings=settings)
        plan = read_plan("digits", registry, overrides)
        record = as_plain(run_trial(next(iter(plan.unique.values())), registry, torch.device("cpu")).record)
        found.append(record["curve"][-1]["test"]["top1"])
    assert found[0] > found[1] + 10

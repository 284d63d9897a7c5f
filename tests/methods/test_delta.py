"""DELTA against the same written out channel by channel, its two stages, and what it leaves alone."""

from __future__ import annotations

import copy
import math
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from bench.methods.delta import (
    DELTA,
    MAPS,
    attentive_distance,
    channel_weights,
    first_share,
    loss_increases,
    plain_distance,
)
from torch import Tensor, nn

from bench.backbones import Model, build_model
from bench.data import ArrayImages, Split, TrainingImages
from bench.method import Stage
from bench.plan.overrides import Overrides
from bench.plan.target import read_plan
from bench.protocol import Protocol, Recipe
from bench.registry import Registry
from bench.training.fit import fit, set_modes
from bench.training.trial import run_trial
from tests.scenes import as_plain, left_out

SHAPES = [(3, 4, 5, 5), (3, 6, 3, 2), (3, 1, 1, 1)]


@pytest.fixture
def model() -> Model:
    torch.manual_seed(0)
    return build_model(Registry().backbone("micro_resnet"), 10, image_size=8)


@pytest.fixture
def data() -> TrainingImages:
    state = np.random.RandomState(1)
    split = Split(ArrayImages(state.randint(0, 256, (24, 8, 8, 1)).astype(np.uint8)), state.randint(0, 10, 24))
    protocol = Protocol(recipe=Recipe(steps=10, lr=1e-2), batch_size=8, augmentation="shift")
    return TrainingImages(split, np.arange(24), 10, protocol, 8, 0, torch.device("cpu"))


def maps(seed: int, dtype: torch.dtype = torch.float64, grad: bool = False) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(shape, generator=generator, dtype=dtype).requires_grad_(grad) for shape in SHAPES]


def some_weights() -> list[Tensor]:
    generator = torch.Generator().manual_seed(9)
    return [torch.randn(shape[1], generator=generator, dtype=torch.float64).softmax(0) for shape in SHAPES]


def a_recipe(data: TrainingImages) -> Recipe:
    return data.protocol.recipe.resolved(len(data), data.protocol.batch_size)


def train(stage: Stage, data: TrainingImages, start: int = 0) -> None:
    fit(stage, data, start=start, stops=lambda _: False, at_stop=lambda _: None)


class TestDistances:
    def test_with_attention_channel_by_channel(self) -> None:
        student, source, weights = maps(0), maps(1), some_weights()
        total = 0.0
        for layer, (images, channels, height, width) in enumerate(SHAPES):
            for image in range(images):
                for channel in range(channels):
                    norm = 0.0
                    for row in range(height):
                        for column in range(width):
                            at = image, channel, row, column
                            norm += (float(student[layer][at]) - float(source[layer][at])) ** 2
                    total += 0.5 * channels * float(weights[layer][channel]) * norm / (height * width)
        assert float(attentive_distance(student, source, weights)) == pytest.approx(total, rel=1e-12)

    def test_without_attention_number_by_number(self) -> None:
        student, source = maps(0), maps(1)
        total = 0.0
        for now, before in zip(student, source, strict=True):
            for one, other in zip(now.flatten().tolist(), before.flatten().tolist(), strict=True):
                total += 0.5 * (one - other) ** 2
        assert float(plain_distance(student, source)) == pytest.approx(total, rel=1e-12)

    def test_gradients(self) -> None:
        student, source, weights = maps(0, grad=True), maps(1), some_weights()
        assert torch.autograd.gradcheck(lambda *given: attentive_distance(given, source, weights), student)
        assert torch.autograd.gradcheck(lambda *given: plain_distance(given, source), student)
        attentive_distance(student, source, weights).backward()
        for now, before, weight in zip(student, source, weights, strict=True):
            channels, places = now.shape[1], now.shape[2] * now.shape[3]
            by_hand = (now.detach() - before) * weight[:, None, None] * channels / places
            torch.testing.assert_close(now.grad, by_hand, rtol=1e-12, atol=0)

    def test_it_is_a_sum_over_the_batch(self) -> None:
        student, source, weights = maps(0), maps(1), some_weights()
        twice = [torch.cat([tensor, tensor]) for tensor in student], [torch.cat([tensor, tensor]) for tensor in source]
        once = float(attentive_distance(student, source, weights))
        assert float(attentive_distance(*twice, weights)) == pytest.approx(2 * once, rel=1e-12)
        single = [float(attentive_distance(_one(student, n), _one(source, n), weights)) for n in range(3)]
        assert sum(single) == pytest.approx(once, rel=1e-12)

    def test_with_equal_weights_and_single_places_both_are_one(self) -> None:
        """C · 1/C = 1 and H W = 1: nothing but the scaling tells the two apart."""
        student, source = torch.randn(2, 5, 1, 1), torch.randn(2, 5, 1, 1)
        weights = [torch.full((5,), 0.2)]
        torch.testing.assert_close(
            attentive_distance([student], [source], weights), plain_distance([student], [source])
        )

    def test_alike_is_0_with_a_gradient_of_0(self) -> None:
        student, source = maps(0, grad=True), [tensor.detach() for tensor in maps(0)]
        distance = attentive_distance(student, source, some_weights()) + plain_distance(student, source)
        distance.backward()
        assert distance.item() == 0
        assert all(tensor.grad is not None and not tensor.grad.any() for tensor in student)

    def test_half_precision_is_summed_in_float32(self) -> None:
        student, source = maps(0, torch.bfloat16), maps(1, torch.bfloat16)
        weights = [weight.float() for weight in some_weights()]
        with torch.autocast("cpu", torch.bfloat16):
            found = attentive_distance(student, source, weights)
        exact = attentive_distance([t.double() for t in student], [t.double() for t in source], some_weights())
        assert found.dtype == torch.float32
        assert float(found) == pytest.approx(float(exact), rel=1e-5)

    @pytest.mark.parametrize("shape", [(3, 4, 5, 4), (2, 4, 5, 5), (3, 4, 5)])
    def test_other_shapes_are_refused(self, shape: tuple[int, ...]) -> None:
        given, other, weights = [torch.zeros(3, 4, 5, 5)], [torch.zeros(shape)], [torch.ones(4)]
        with pytest.raises(ValueError, match="one shape"):
            attentive_distance(given, other, weights)
        with pytest.raises(ValueError, match="one shape"):
            plain_distance(given, other)

    def test_weights_of_other_channels_are_refused(self) -> None:
        with pytest.raises(ValueError, match=r"weights \(3,\) must be"):
            attentive_distance([torch.zeros(2, 4, 1, 1)], [torch.zeros(2, 4, 1, 1)], [torch.ones(3)])
        with pytest.raises(ValueError, match="zip"):
            attentive_distance(maps(0), maps(1), some_weights()[:2])


class TestChannelWeights:
    def test_by_hand(self) -> None:
        increases = [0.3, -0.1, 0.0, 1.2, 0.05]
        mean = sum(increases) / 5
        spread = math.sqrt(sum((value - mean) ** 2 for value in increases) / 5)
        scores = [math.exp((value - mean) / spread / 5) for value in increases]
        by_hand = [score / sum(scores) for score in scores]
        found = channel_weights(torch.tensor(increases, dtype=torch.float64))
        assert found.tolist() == pytest.approx(by_hand, rel=1e-12)

    @pytest.mark.parametrize("count", [1, 7])
    def test_where_no_filter_matters_more_all_weigh_alike(self, count: int) -> None:
        torch.testing.assert_close(channel_weights(torch.full((count,), 0.1)), torch.full((count,), 1 / count))

    def test_neither_scale_nor_shift_of_the_loss_matters(self) -> None:
        increases = torch.randn(20, dtype=torch.float64)
        torch.testing.assert_close(channel_weights(1e-4 * increases + 3), channel_weights(increases))

    def test_of_more_than_one_dimension_is_refused(self) -> None:
        with pytest.raises(ValueError, match=r"must be \(C,\)"):
            channel_weights(torch.zeros(2, 2))


class TestLossIncreases:
    def test_filter_by_filter_and_the_filters_stay(self, model: Model, data: TrainingImages) -> None:
        """Against copies of the model, each with one filter zeroed."""
        model.eval()
        batch, backbone = data.batch(0), model.backbone
        weight = backbone.get_parameter("layer3.0.conv2.weight")
        before = weight.detach().clone()

        def loss() -> Tensor:
            return F.cross_entropy(model(batch.images).logits, batch.labels)

        found = loss_increases(weight, loss)
        assert torch.equal(weight, before)
        assert found.shape == (64,)
        for number in (0, 17, 63):
            damaged = copy.deepcopy(model)
            with torch.no_grad():
                damaged.backbone.get_parameter("layer3.0.conv2.weight")[number] = 0
                worse = F.cross_entropy(damaged(batch.images).logits, batch.labels)
                assert float(found[number]) == pytest.approx(float(worse - loss()), abs=1e-6)
        assert found.abs().max() > 1e-4


class TestStages:
    @pytest.mark.slow
    def test_the_head_that_judges_is_trained_first_and_thrown_away(self, model: Model, data: TrainingImages) -> None:
        before = {name: value.clone() for name, value in model.state_dict().items()}
        stages = DELTA(share=0.3).stages(model, a_recipe(data), data)
        first = next(stages)
        assert (first.recipe.steps, first.recipe.first, first.recipe.last) == (3, 0, 3)
        judge = {name: value.clone() for name, value in first.model.state_dict().items()}
        train(first, data)
        moved = {name for name, value in first.model.state_dict().items() if not torch.equal(value, judge[name])}
        assert moved == {"head.weight", "head.bias"}
        second = next(stages)
        assert second.model is model
        assert (second.recipe.steps, second.recipe.last) == (7, 7)
        assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
        assert next(stages, None) is None

    @pytest.mark.slow
    def test_in_the_released_variant_running_statistics_drift_with_the_first_head(
        self, model: Model, data: TrainingImages
    ) -> None:
        before = {name: value.clone() for name, value in model.state_dict().items()}
        stages = DELTA(share=0.3, variant="released").stages(model, a_recipe(data), data)
        first = next(stages)
        train(first, data)
        moved = {name for name, value in first.model.state_dict().items() if not torch.equal(value, before[name])}
        statistics = {name for name in before if name.rpartition(".")[2] in ("running_mean", "running_var")}
        counts = {name for name in before if name.endswith("num_batches_tracked")}
        assert moved == {"head.weight", "head.bias", *statistics, *counts}
        next(stages)
        assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())

    @pytest.mark.slow
    def test_terms_are_the_formulas(self, model: Model, data: TrainingImages) -> None:
        """After the training of both stages, with weights and distances computed here again."""
        source = copy.deepcopy(model).eval()
        method = DELTA(alpha=0.2, beta=0.3, batches=2)
        stages = method.stages(model, a_recipe(data), data)
        first = next(stages)
        train(first, data)
        judge, second = copy.deepcopy(first.model).eval(), next(stages)
        train(second, data, start=1)
        set_modes(second)
        batch = data.batch(5)
        terms = second.loss(model, batch)
        weights = []
        for number in range(4):
            convolution: Any = judge.part("last_convs")[number]
            increases = torch.zeros(len(convolution.weight))
            for step in range(2):
                given = data.batch(step)

                def loss(images: Tensor = given.images, labels: Tensor = given.labels) -> Tensor:
                    return F.cross_entropy(judge(images).logits, labels)

                increases += loss_increases(convolution.weight, loss) / 2
            weights.append(channel_weights(increases))
        with torch.no_grad():
            now, then = model(batch.images, probe=MAPS), source(batch.images, probe=MAPS)
        distance = attentive_distance([now[name] for name in MAPS], [then[name] for name in MAPS], weights)
        head = (model.head.weight.square().sum() + model.head.bias.square().sum()).item()
        assert float(distance) > 0
        assert terms["delta"].item() == pytest.approx(0.2 * float(distance), rel=1e-4)
        assert terms["l2"].item() == pytest.approx(0.3 * head / 2, rel=1e-6)
        assert terms["ce"].item() == pytest.approx(float(F.cross_entropy(now.logits, batch.targets)), rel=1e-6)
        assert set(terms) == {"ce", "delta", "l2"}

    def test_without_attention_there_is_one_stage_of_the_whole_budget(self, model: Model, data: TrainingImages) -> None:
        source, recipe = copy.deepcopy(model).eval(), a_recipe(data)
        (stage,) = DELTA(attention=False, alpha=0.5).stages(model, recipe, data)
        assert (stage.recipe.steps, stage.recipe.last) == (recipe.steps, recipe.last)
        set_modes(stage)
        batch = data.batch(0)
        terms = stage.loss(model, batch)
        with torch.no_grad():
            now, then = model(batch.images, probe=MAPS), source(batch.images, probe=MAPS)
        distance = sum(float((now[name] - then[name]).square().sum()) / 2 for name in MAPS)
        assert terms["delta"].item() == pytest.approx(0.5 * distance, rel=1e-5)

    @pytest.mark.slow
    def test_the_source_gets_no_gradient_and_the_student_does(self, model: Model, data: TrainingImages) -> None:
        *_, stage = _stages_after_training(DELTA(), model, data)
        set_modes(stage)
        stage.loss(model, data.batch(3))["delta"].backward()  # type: ignore[no-untyped-call]
        assert model.head.weight.grad is None
        convolutions: list[Any] = model.part("last_convs")
        assert all(convolution.weight.grad.abs().sum() > 0 for convolution in convolutions)

    @pytest.mark.slow
    def test_it_stands_in_the_place_of_weight_decay(self, model: Model, data: TrainingImages) -> None:
        for replaces, decay in ((True, 0.0), (False, 0.05)):
            *_, stage = _stages_after_training(DELTA(replaces_decay=replaces), copy.deepcopy(model), data)
            assert stage.recipe.weight_decay == decay

    @pytest.mark.slow
    def test_no_test_image_is_looked_at(self, model: Model, data: TrainingImages) -> None:
        """The weights are a function of the sampled training images: others may be anything."""
        other = np.concatenate([data.split.images.pixels, np.full((5, 8, 8, 1), 255, np.uint8)])  # type: ignore[attr-defined]
        split = Split(ArrayImages(other), np.concatenate([data.split.labels, np.zeros(5, np.int64)]))
        more = TrainingImages(split, data.indices, 10, data.protocol, 8, 0, data.device)
        judge = copy.deepcopy(model).eval()
        one, two = DELTA().weights(judge, data), DELTA().weights(judge, more)
        assert all(torch.equal(a, b) for a, b in zip(one, two, strict=True))

    def test_the_weights_favour_the_filter_that_matters(self, model: Model, data: TrainingImages) -> None:
        """A head that reads one channel of the last stage alone."""
        model.eval()
        norm: Any = model.backbone.get_submodule("layer4.0.bn2")
        nn.init.zeros_(model.head.weight)
        with torch.no_grad():
            norm.weight[7], norm.bias[7] = 30.0, 30.0
            model.head.weight[:, 7] = torch.linspace(-1, 1, 10)
        weights = DELTA(batches=1).weights(model, data)[3]
        others = torch.cat([weights[:7], weights[8:]])
        assert abs(float(weights[7] - others.mean())) > 10 * float(others.std())


@pytest.mark.parametrize(("share", "steps", "first"), [(0.1, 100, 10), (0.1, 6, 1), (0.0, 7, 1), (0.1, 1, 1)])
def test_the_first_head_has_a_step_at_least(share: float, steps: int, first: int) -> None:
    recipe, part = Recipe(steps=steps).resolved(8, 8), first_share(share, steps)
    assert (recipe.share(part).last, recipe.rest(part).last) == (first, steps - first)


class TestRuns:
    def test_a_vit_is_left_out_and_told_why(self) -> None:
        plan = read_plan("digits", Registry(), Overrides(methods="ce,delta", rates="15", seeds="1"))
        (cell,) = left_out(plan)
        assert cell.reason.endswith("last_convs, which micro_vit lacks (cannot be: it has no stages of convolutions)")

    @pytest.mark.slow
    @pytest.mark.parametrize("method", ["delta", "delta(variant=released)", "delta(attention=false,alpha=0.001)"])
    def test_it_trains_on_digits(self, method: str) -> None:
        registry = Registry()
        settings = ("steps=60", "warmup=6", "evaluations=2")
        overrides = Overrides(methods=method, backbones="micro_resnet", rates="100", seeds="1", settings=settings)
        spec = next(iter(read_plan("digits", registry, overrides).unique.values()))
        record = as_plain(run_trial(spec, registry, torch.device("cpu")).record)
        assert record["curve"][-1]["test"]["top1"] > 60
        assert sum(stage["steps"] for stage in record["stages"]) == 60


def _one(tensors: list[Tensor], number: int) -> list[Tensor]:
    return [tensor[number : number + 1] for tensor in tensors]


def _stages_after_training(method: DELTA, model: Model, data: TrainingImages) -> list[Stage]:
    """Its stages, each but the last one trained."""
    found = []
    for stage in method.stages(model, Recipe(steps=10, weight_decay=0.05).resolved(24, 8), data):
        if stage.model is not model:
            train(stage, data)
        found.append(stage)
    return found

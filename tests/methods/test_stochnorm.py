"""StochNorm against batch norm written out channel by channel, and against torch's own at both ends of p."""

from __future__ import annotations

import copy
import math
from typing import Any

import numpy as np
import pytest
import torch
from bench.methods.stochnorm import StochNorm, StochNorm2d, chosen_branches
from torch import Tensor, nn

from bench.backbones import Model, build_model
from bench.data import ArrayImages, Split, TrainingImages
from bench.method import Method
from bench.plan.overrides import Overrides
from bench.plan.target import read_plan
from bench.protocol import Protocol, Recipe
from bench.registry import Registry
from bench.training.answers import predict
from bench.training.fit import fit
from bench.training.trial import run_trial
from tests.scenes import as_plain, left_out

DEVICES = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]


@pytest.fixture
def model() -> Model:
    torch.manual_seed(0)
    return build_model(Registry().backbone("micro_resnet"), 10, image_size=8)


@pytest.fixture
def data() -> TrainingImages:
    state = np.random.RandomState(1)
    split = Split(ArrayImages(state.randint(0, 256, (24, 8, 8, 1)).astype(np.uint8)), state.randint(0, 10, 24))
    protocol = Protocol(recipe=Recipe(steps=6, lr=1e-2), batch_size=8, augmentation="shift")
    return TrainingImages(split, np.arange(24), 10, protocol, 8, 0, torch.device("cpu"))


def a_recipe(data: TrainingImages) -> Recipe:
    return data.protocol.recipe.resolved(len(data), data.protocol.batch_size)


def a_norm(channels: int = 5, dtype: torch.dtype = torch.float32, **changes: Any) -> nn.BatchNorm2d:
    """A batch norm that has seen other images, of random affine weights."""
    torch.manual_seed(1)
    norm = nn.BatchNorm2d(channels, **changes).to(dtype)
    with torch.no_grad():
        for tensor in norm.state_dict().values():
            if tensor.is_floating_point():
                tensor.copy_(0.5 + torch.rand_like(tensor))
    return norm


def some_maps(dtype: torch.dtype = torch.float32, batch: int = 4) -> Tensor:
    return torch.randn(batch, 5, 3, 2, generator=torch.Generator().manual_seed(2), dtype=dtype) * 2 + 1


def stochnorm_by_hand(given: Tensor, s: list[bool], norm: nn.BatchNorm2d) -> tuple[Tensor, list[float], list[float]]:
    """The output, and running mean and variance after it, number by number."""
    assert norm.running_mean is not None
    assert norm.running_var is not None
    out, means, variances = torch.zeros_like(given), [], []
    for channel in range(given.shape[1]):
        values = given[:, channel].flatten().tolist()
        mean = sum(values) / len(values)
        squares = sum((value - mean) ** 2 for value in values)
        before = float(norm.running_mean[channel]), float(norm.running_var[channel])
        used = (mean, squares / len(values)) if s[channel] else before
        for image in range(len(given)):
            for row in range(given.shape[2]):
                for column in range(given.shape[3]):
                    at = image, channel, row, column
                    scaled = (float(given[at]) - used[0]) / math.sqrt(used[1] + norm.eps)
                    out[at] = norm.weight[channel].item() * scaled + norm.bias[channel].item()
        means.append(0.9 * before[0] + 0.1 * mean)
        variances.append(0.9 * before[1] + 0.1 * squares / (len(values) - 1))
    return out, means, variances


class TestFormula:
    def test_each_channel_comes_from_the_branch_that_is_drawn(self) -> None:
        by_running, by_batch = torch.randn(2, 3, 4, 4), torch.randn(2, 3, 4, 4)
        found = chosen_branches(by_running, by_batch, torch.tensor([True, False, True]))
        assert torch.equal(found[:, 0], by_batch[:, 0])
        assert torch.equal(found[:, 1], by_running[:, 1])
        assert torch.equal(found[:, 2], by_batch[:, 2])

    def test_gradient(self) -> None:
        given = [torch.randn(2, 3, 2, 2, dtype=torch.float64, requires_grad=True) for _ in range(2)]
        s = torch.tensor([1.0, 0.0, 1.0])
        assert torch.autograd.gradcheck(lambda a, b: chosen_branches(a, b, s), given)

    @pytest.mark.parametrize(("other", "s"), [((2, 3, 4, 5), 3), ((2, 3, 4, 4), 4), ((2, 3, 4), 3)])
    def test_other_shapes_are_refused(self, other: tuple[int, ...], s: int) -> None:
        with pytest.raises(ValueError, match=r"must be \(B, C, H, W\) twice and \(C,\)"):
            chosen_branches(torch.zeros(other), torch.zeros(2, 3, 4, 4), torch.ones(s))


class TestModule:
    @pytest.mark.parametrize("seed", range(4))
    def test_number_by_number(self, seed: int) -> None:
        norm, given = a_norm(dtype=torch.float64), some_maps(torch.float64)
        stochastic = StochNorm2d(copy.deepcopy(norm), 0.5)
        torch.manual_seed(seed)
        s = (torch.rand(5) < 0.5).tolist()
        torch.manual_seed(seed)
        out, means, variances = stochnorm_by_hand(given, s, norm)
        torch.testing.assert_close(stochastic(given), out, rtol=1e-10, atol=1e-12)
        assert stochastic.running_mean is not None
        assert stochastic.running_var is not None
        assert stochastic.running_mean.tolist() == pytest.approx(means, rel=1e-10)
        assert stochastic.running_var.tolist() == pytest.approx(variances, rel=1e-10)

    def test_gradients_of_both_branches_at_once(self) -> None:
        """The running branch is a fixed affine map of its input, with the statistics of before the step."""
        norm, given = a_norm(dtype=torch.float64), some_maps(torch.float64).requires_grad_()
        stochastic, fixed, batch = (StochNorm2d(copy.deepcopy(norm), 0.5), copy.deepcopy(norm).eval(), norm)
        cotangent = torch.randn(given.shape, dtype=torch.float64)
        torch.manual_seed(0)
        s = torch.rand(5) < 0.5
        assert 0 < int(s.sum()) < 5
        torch.manual_seed(0)
        wanted = [given, stochastic.weight, stochastic.bias]
        found = torch.autograd.grad(stochastic(given), wanted, cotangent)
        by_batch = torch.autograd.grad(batch(given), [given, batch.weight, batch.bias], cotangent)
        by_running = torch.autograd.grad(fixed(given), [given, fixed.weight, fixed.bias], cotangent)
        for got, one, other in zip(found, by_batch, by_running, strict=True):
            mask = s[:, None, None] if got.ndim == 4 else s
            torch.testing.assert_close(got, torch.where(mask, one, other), rtol=1e-12, atol=1e-14)

    def test_p_1_is_batch_norm_bit_for_bit(self) -> None:
        plain, given = a_norm(), some_maps()
        stochastic = StochNorm2d(copy.deepcopy(plain), 1.0)
        for _ in range(3):
            inputs = [given.clone().requires_grad_() for _ in range(2)]
            outs = stochastic(inputs[0]), plain(inputs[1])
            assert torch.equal(*outs)
            for out in outs:
                out.square().sum().backward()
            assert inputs[0].grad is not None
            assert inputs[1].grad is not None
            assert torch.equal(inputs[0].grad, inputs[1].grad)
            assert torch.equal(stochastic.weight.grad, plain.weight.grad)  # type: ignore[arg-type]
        assert all(torch.equal(value, plain.state_dict()[name]) for name, value in stochastic.state_dict().items())

    def test_p_0_keeps_to_the_running_statistics_and_still_updates_them(self) -> None:
        plain, given = a_norm(), some_maps()
        stochastic, fixed = StochNorm2d(copy.deepcopy(plain), 0.0), copy.deepcopy(plain).eval()
        assert torch.equal(stochastic(given), fixed(given))
        plain(given)
        assert all(torch.equal(value, plain.state_dict()[name]) for name, value in stochastic.state_dict().items())

    @pytest.mark.parametrize("p", [0.0, 0.5, 1.0])
    def test_in_eval_mode_it_is_batch_norm_bit_for_bit(self, p: float) -> None:
        plain, given = a_norm().eval(), some_maps()
        stochastic = StochNorm2d(copy.deepcopy(plain), p)
        before = {name: value.clone() for name, value in stochastic.state_dict().items()}
        assert torch.equal(stochastic(given), plain(given))
        assert all(torch.equal(value, before[name]) for name, value in stochastic.state_dict().items())

    @pytest.mark.parametrize("changes", [{"affine": False}, {"momentum": None}, {"eps": 0.1, "momentum": 0.3}])
    def test_settings_of_the_batch_norm_are_kept(self, changes: dict[str, Any]) -> None:
        plain, given = a_norm(**changes), some_maps()
        stochastic = StochNorm2d(copy.deepcopy(plain), 1.0)
        assert list(stochastic.state_dict()) == list(plain.state_dict())
        for _ in range(2):
            assert torch.equal(stochastic(given), plain(given))
        assert torch.equal(stochastic.eval()(given), plain.eval()(given))

    def test_it_has_the_very_weights_of_the_norm_whose_place_it_takes(self) -> None:
        plain = a_norm()
        stochastic = StochNorm2d(plain, 0.5)
        assert stochastic.weight is plain.weight
        assert stochastic.running_mean is plain.running_mean
        assert stochastic.num_batches_tracked is plain.num_batches_tracked

    def test_the_share_of_batch_statistics_is_p(self) -> None:
        torch.manual_seed(0)
        norm = nn.BatchNorm2d(4000)
        stochastic, given = StochNorm2d(norm, 0.3), torch.randn(2, 4000, 1, 2) + 5
        by_batch = given.var((0, 2, 3), correction=0)
        out = stochastic(given).mean((0, 2, 3)).abs() < 1e-3  # the batch's own statistics make every mean 0
        assert float(by_batch.min()) > 0
        assert float(out.float().mean()) == pytest.approx(0.3, abs=0.03)

    def test_draws_follow_torch_s_generator(self) -> None:
        norm, given = a_norm(), some_maps()
        outs = []
        for seed in (0, 0, 1):
            torch.manual_seed(seed)
            outs.append(StochNorm2d(copy.deepcopy(norm), 0.5)(given))
        assert torch.equal(outs[0], outs[1])
        assert not torch.equal(outs[0], outs[2])

    def test_a_single_image(self) -> None:
        norm, given = a_norm(dtype=torch.float64), some_maps(torch.float64, batch=1)
        torch.manual_seed(0)
        s = (torch.rand(5) < 0.5).tolist()
        torch.manual_seed(0)
        out, _, _ = stochnorm_by_hand(given, s, norm)
        torch.testing.assert_close(StochNorm2d(copy.deepcopy(norm), 0.5)(given), out, rtol=1e-10, atol=1e-12)

    def test_identical_values_stay_finite(self) -> None:
        stochastic, given = StochNorm2d(a_norm(), 0.5), torch.ones(4, 5, 3, 2, requires_grad=True)
        stochastic(given).sum().backward()
        assert given.grad is not None
        assert given.grad.isfinite().all()

    def test_half_precision_under_autocast(self) -> None:
        norm, given = a_norm(), some_maps().bfloat16()
        torch.manual_seed(0)
        with torch.autocast("cpu", torch.bfloat16):
            found = StochNorm2d(copy.deepcopy(norm), 0.5)(given)
        torch.manual_seed(0)
        exact = StochNorm2d(copy.deepcopy(norm), 0.5)(given.float())
        torch.testing.assert_close(found.float(), exact, rtol=0.02, atol=0.02)

    @pytest.mark.parametrize("device", DEVICES)
    def test_it_runs_where_its_input_is(self, device: str) -> None:
        stochastic = StochNorm2d(a_norm().to(device), 0.5)
        norm = a_norm()
        torch.manual_seed(0)
        s = (torch.rand(5, device=device) < 0.5).tolist()
        torch.manual_seed(0)
        out, _, _ = stochnorm_by_hand(some_maps(), s, norm)
        torch.testing.assert_close(stochastic(some_maps().to(device)).cpu(), out, rtol=1e-4, atol=1e-4)


class TestMethod:
    def test_every_batch_norm_of_the_backbone_is_replaced(self, model: Model, data: TrainingImages) -> None:
        names, weights = list(model.state_dict()), {id(weight) for weight in model.parameters()}
        batch_norms = [name for name, part in model.named_modules() if type(part) is nn.BatchNorm2d]
        (stage,) = StochNorm(p=0.25).stages(model, a_recipe(data), data)
        assert stage.model is model
        assert [name for name, part in model.named_modules() if type(part) is StochNorm2d] == batch_norms
        assert len(batch_norms) == 12
        assert {part.p for part in model.modules() if isinstance(part, StochNorm2d)} == {0.25}
        assert list(model.state_dict()) == names
        assert {id(weight) for weight in model.parameters()} == weights

    def test_p_1_trains_as_plain_fine_tuning_does(self, model: Model, data: TrainingImages) -> None:
        plain = copy.deepcopy(model)
        (stage,) = StochNorm(p=1.0).stages(model, a_recipe(data), data)
        fit(stage, data, start=0, stops=lambda _: False, at_stop=lambda _: None)
        (other,) = Method().stages(plain, a_recipe(data), data)
        fit(other, data, start=0, stops=lambda _: False, at_stop=lambda _: None)
        assert all(torch.equal(value, plain.state_dict()[name]) for name, value in model.state_dict().items())

    def test_p_changes_what_is_learned(self, model: Model, data: TrainingImages) -> None:
        found = []
        for p in (0.0, 0.5, 1.0):
            torch.manual_seed(0)
            trained = copy.deepcopy(model)
            (stage,) = StochNorm(p=p).stages(trained, a_recipe(data), data)
            fit(stage, data, start=0, stops=lambda _: False, at_stop=lambda _: None)
            found.append(trained.head.weight.detach())
        assert not torch.equal(found[0], found[1])
        assert not torch.equal(found[1], found[2])

    def test_what_is_evaluated_is_an_ordinary_network_of_the_same_weights(
        self, model: Model, data: TrainingImages
    ) -> None:
        ordinary = copy.deepcopy(model)
        (stage,) = StochNorm().stages(model, a_recipe(data), data)
        fit(stage, data, start=0, stops=lambda _: False, at_stop=lambda _: None)
        ordinary.load_state_dict(model.state_dict())
        assert np.array_equal(predict(model, data.split, data).predicted, predict(ordinary, data.split, data).predicted)


class TestRuns:
    @pytest.mark.parametrize("backbone", ["micro_vit", "timm:resnet50_gn@none"])
    def test_without_batch_norms_it_is_left_out_and_told_why(self, backbone: str) -> None:
        overrides = Overrides(methods="ce,stochnorm", backbones=backbone, rates="15", seeds="1")
        (cell,) = left_out(read_plan("digits", Registry(), overrides))
        assert cell.reason.startswith(f"stochnorm needs batch_norm, which {backbone} lacks (cannot be: ")

    @pytest.mark.slow
    def test_it_trains_on_digits(self) -> None:
        registry = Registry()
        settings = ("steps=60", "warmup=6", "evaluations=1")
        overrides = Overrides(methods="stochnorm", backbones="micro_resnet", rates="100", seeds="1", settings=settings)
        spec = next(iter(read_plan("digits", registry, overrides).unique.values()))
        record = as_plain(run_trial(spec, registry, torch.device("cpu")).record)
        assert record["curve"][-1]["test"]["top1"] > 60

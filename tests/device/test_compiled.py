"""Compiled passes give what others give: logits, probes, gradients, whatever hooks a method sets; and nothing stays."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from bench.backbones import Model, build_model
from bench.device import compiled
from bench.device.chunks import chunked
from bench.device.compiled import KINDS, compiling, spent
from bench.errors import InputError
from bench.protocol import COMPILED, NOT_COMPILED, REDUCE_OVERHEAD
from bench.registry import Registry
from bench.training import trial
from bench.training.trial import run_trial, why_whole
from tests.training.test_checkpoint import CPU, in_pieces, planned


@pytest.fixture(autouse=True)
def _traced_only(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Graphs are traced as always and run by torch's own kernels, so that what they give has the same bits."""
    monkeypatch.setattr(compiled, "BACKEND", "eager")
    yield
    torch.compiler.reset()


def micro(name: str = "micro_vit") -> tuple[Model, Tensor]:
    torch.manual_seed(0)
    model = build_model(Registry().backbone(name), 5)
    return model, torch.rand(4, len(model.mean), 12, 12)


def gradients(model: Model, value: Tensor) -> list[Tensor]:
    given = torch.autograd.grad(value, list(model.parameters()), allow_unused=True)
    return [gradient for gradient in given if gradient is not None]


def pieces(since: compiled.Spent) -> tuple[int, int]:
    """Graphs that were compiled since a moment, and breaks."""
    taken = spent().since(since)
    return taken.graphs, taken.breaks


class TestPasses:
    @pytest.mark.slow
    def test_logits_probes_and_gradients_are_those_of_a_pass_that_is_not_compiled(self) -> None:
        model, images = micro()

        def both() -> list[Tensor]:
            output = model(images, ("cls_attention", "block_output"))
            value = output.logits.sum() + output["cls_attention"].square().sum() + output["block_output"].sum()
            return [output.logits, output.features, *output.probes.values(), *gradients(model, value)]

        plain, before = both(), spent()
        with compiling(COMPILED):
            first, second = both(), both()
        assert pieces(before) == (1, 0)
        for expected, *given in zip(plain, first, second, strict=True):
            for each in given:
                torch.testing.assert_close(each, expected, rtol=0, atol=0)

    @pytest.mark.slow
    def test_a_probe_alone_is_one_graph_that_has_no_end_of_its_own(self) -> None:
        model, images = micro()
        with torch.no_grad():
            expected, before = model.probe(images, "cls_attention"), spent()
            with compiling(COMPILED):
                for _ in range(3):
                    torch.testing.assert_close(model.probe(images, "cls_attention"), expected, rtol=0, atol=0)
        assert pieces(before) == (1, 0)

    @pytest.mark.slow
    def test_what_is_read_is_looked_at_each_time(self) -> None:
        model, images = micro()
        with compiling(COMPILED), torch.no_grad():
            plain = model(images).logits
            assert set(model(images, "cls_attention").probes) == {"cls_attention"}
            handle = model.backbone.get_submodule("blocks.0").register_forward_hook(lambda *given: given[-1] + 1)
            moved = model(images).logits
            handle.remove()
            torch.testing.assert_close(model(images).logits, plain, rtol=0, atol=0)
        assert not torch.equal(moved, plain)

    @pytest.mark.slow
    def test_modes_and_drops_are_those_of_each_pass(self) -> None:
        torch.manual_seed(0)
        model = build_model(Registry().backbone("micro_vit"), 5, drop_path=0.5)
        images = torch.rand(8, 3, 12, 12)

        def pair() -> list[Tensor]:
            torch.manual_seed(1)
            drawn = [model.train()(images).logits, model.eval()(images).logits]
            return [*drawn, torch.rand(3)]

        plain = pair()
        with compiling(COMPILED):
            for expected, given in zip(plain, pair(), strict=True):
                torch.testing.assert_close(given, expected, rtol=0, atol=0)
        assert not torch.equal(plain[0], plain[1])

    @pytest.mark.slow
    def test_running_statistics_move_alike(self) -> None:
        model, images = micro("micro_resnet")
        twin = copy.deepcopy(model)
        plain = model.train()(images).logits
        with compiling(COMPILED):
            torch.testing.assert_close(twin.train()(images).logits, plain, rtol=0, atol=0)
        for (name, buffer), other in zip(model.named_buffers(), twin.buffers(), strict=True):
            torch.testing.assert_close(other, buffer, rtol=0, atol=0, msg=name)

    @pytest.mark.slow
    def test_chunks_that_are_computed_again_have_the_same_gradients(self) -> None:
        model, images = micro()

        def chunks() -> list[Tensor]:
            with chunked(2):
                return gradients(model, model(images, "cls_attention")["cls_attention"].square().sum())

        plain, before = chunks(), spent()
        with compiling(COMPILED):
            for given, expected in zip(chunks(), plain, strict=True):
                torch.testing.assert_close(given, expected, rtol=0, atol=0)
        assert pieces(before) == (1, 0)

    @pytest.mark.slow
    def test_names_copies_and_hooks_of_a_model_stay_as_they_are(self) -> None:
        model, images = micro()
        names = list(model.state_dict())
        with compiling(COMPILED):
            model(images, "cls_attention")
            twin = copy.deepcopy(model)
            torch.testing.assert_close(twin(images).logits, model(images).logits, rtol=0, atol=0)
        assert list(model.state_dict()) == list(twin.state_dict()) == names
        assert not any(module._forward_hooks for module in model.modules())

    def test_evaluation_and_what_is_outside_is_not_compiled(self) -> None:
        model, images = micro()
        before = spent()
        with compiling(NOT_COMPILED):
            model(images)
        with compiling(COMPILED), torch.inference_mode():
            model(images)
        model(images)
        assert pieces(before) == (0, 0)


class TestRefusals:
    @pytest.mark.slow
    def test_a_backbone_that_is_another_one_at_each_step_ends_the_run(self) -> None:
        model, images = micro()
        gain = {"now": 0.0}
        model.backbone.register_forward_hook(lambda *given: given[-1] * gain["now"])

        def step(number: int) -> None:
            gain["now"] = number / 7
            model(images)

        with compiling(COMPILED), torch.no_grad():
            for number in range(KINDS):
                step(number)
            with pytest.raises(InputError, match=f"more than {KINDS} kinds of passes") as error:
                step(KINDS)
        assert str(error.value).endswith("train it with --set compile=none")

    @pytest.mark.slow
    def test_a_kernel_that_cannot_be_made_is_said_in_a_line(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def broken(graph: Any, inputs: Any) -> Callable[..., Any]:
            raise ValueError("no such kernel\nand more of it")

        monkeypatch.setattr(compiled, "BACKEND", broken)
        model, images = micro()
        with compiling(COMPILED), pytest.raises(InputError) as error:
            model(images)
        assert str(error.value) == (
            "compile = default: torch cannot compile the backbone (ValueError: no such kernel); "
            "train it with --set compile=none"
        )

    @pytest.mark.slow
    def test_memory_that_is_short_is_that_and_no_fault_of_the_backbone(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def large(graph: Any, inputs: Any) -> Callable[..., Any]:
            raise torch.OutOfMemoryError("CUDA out of memory")

        monkeypatch.setattr(compiled, "BACKEND", large)
        model, images = micro()
        with compiling(COMPILED), pytest.raises(torch.OutOfMemoryError):
            model(images)

    def test_cuda_graphs_are_of_a_whole_batch_on_one_gpu(self, monkeypatch: pytest.MonkeyPatch) -> None:
        model, _ = micro()
        assert why_whole(model, 8, 1, COMPILED) == ""
        assert why_whole(model, 8, 1, REDUCE_OVERHEAD) == (
            "a batch cannot be computed in parts: CUDA graphs hold a whole pass; --set compile=default compiles "
            "without CUDA graphs, which is another run"
        )
        monkeypatch.setattr(trial, "ranks", lambda: 2)
        with pytest.raises(InputError, match="compile = reduce-overhead: CUDA graphs hold no exchange between"):
            run_trial(planned("ce", "compile=reduce-overhead"), Registry(), CPU)

    def test_a_fault_of_a_module_stays_what_it_is(self) -> None:
        norm = nn.Sequential(nn.BatchNorm2d(3), nn.AdaptiveAvgPool2d(1), nn.Flatten())
        model, _ = micro()
        model = Model(norm, model.family, 3, 2, [0.5] * 3, [1.0] * 3)
        with compiling(COMPILED), pytest.raises(InputError, match="a batch norm in training was given one value"):
            model(torch.rand(1, 3, 1, 1))


class TestModes:
    def test_cuda_graphs_are_asked_for_by_their_mode_alone(self, monkeypatch: pytest.MonkeyPatch) -> None:
        asked: list[Any] = []

        def compile_with(function: Any, **settings: Any) -> Any:
            asked.append(settings)
            return function

        monkeypatch.setattr(compiled, "BACKEND", "inductor")
        monkeypatch.setattr(torch, "compile", compile_with)
        for mode in (COMPILED, REDUCE_OVERHEAD):
            with compiling(mode):
                pass
        options = [settings["options"] for settings in asked]
        assert [each["triton.cudagraphs"] for each in options] == [False, False, True, True]
        assert all(each["deterministic"] and each["fallback_random"] for each in options)
        assert not any(settings["dynamic"] for settings in asked)

    def test_a_recorded_step_is_told_where_it_begins(self, monkeypatch: pytest.MonkeyPatch) -> None:
        told: list[str] = []
        monkeypatch.setattr(torch.compiler, "cudagraph_mark_step_begin", lambda: told.append("step"))
        for mode in (NOT_COMPILED, COMPILED, REDUCE_OVERHEAD):
            with compiling(mode):
                compiled.next_step()
        assert told == ["step"]


class TestRuns:
    SETTINGS = ("steps=6", "warmup=0", "evaluations=2")

    @pytest.mark.slow
    def test_a_run_is_what_it_is_without_kernels_of_its_own_and_says_what_was_compiled(self) -> None:
        plain = run_trial(planned("gta", *self.SETTINGS), Registry(), CPU)
        traced = run_trial(planned("gta", *self.SETTINGS, "compile=default"), Registry(), CPU)
        assert [point.loss for point in traced.record.curve] == [point.loss for point in plain.record.curve]
        assert not plain.record.compiled
        assert traced.record.compiled
        assert (traced.record.compiled.mode, traced.record.compiled.graphs, traced.record.compiled.breaks) == (
            "default",
            2,  # the model that is trained, and its source
            0,
        )
        assert 0 < traced.record.compiled.seconds < traced.record.timing.seconds

    @pytest.mark.slow
    def test_one_that_is_taken_up_has_the_same_bits(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        spec = planned("ce", *self.SETTINGS, "compile=default")
        whole = run_trial(spec, Registry(), CPU)
        pieces, stops = in_pieces(spec, tmp_path, 4, monkeypatch)
        assert stops == 1
        for name, array in whole.predictions.items():
            np.testing.assert_array_equal(array, pieces.predictions[name])
        assert pieces.record.compiled
        assert pieces.record.compiled.graphs == 2  # once in each part


@pytest.mark.slow
@pytest.mark.usefixtures("compiler")
def test_kernels_round_otherwise_and_always_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiled, "BACKEND", "inductor")
    settings = ("steps=5", "warmup=0", "evaluations=5")
    for method in ("ce", "gta"):
        plain = run_trial(planned(method, *settings), Registry(), CPU)
        first, second = (run_trial(planned(method, *settings, "compile=default"), Registry(), CPU) for _ in range(2))
        for one, two in zip(plain.record.curve, first.record.curve, strict=True):
            assert two.loss == pytest.approx(one.loss, abs=1e-4)
        for name, array in first.predictions.items():
            np.testing.assert_array_equal(array, second.predictions[name])


def test_it_is_in_the_id_and_without_it_a_run_is_what_it_was() -> None:
    plain = planned("ce")
    assert planned("ce", "compile=none").id == plain.id
    assert len({plain.id, planned("ce", "compile=default").id, planned("ce", "compile=reduce-overhead").id}) == 3

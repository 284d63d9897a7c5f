"""FLYP and zero-shot classification: prompts and heads by hand, the loss against two others, whole runs, refusals."""

from __future__ import annotations

import importlib
import io
import math
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import pytest
import torch
from open_clip.loss import ClipLoss
from torch import Tensor

from bench.backbones import Model, build_model, text_tower
from bench.backbones.build import equip
from bench.backbones.head import CosineLinear
from bench.cli import main
from bench.conformance import Examined, find_examined
from bench.data import TrainingImages
from bench.errors import InputError
from bench.launch import preflight
from bench.launch.preflight import require_backbones
from bench.method import Stage, frozen, splittable
from bench.models.kept import load_model
from bench.models.scorer import scorer_of
from bench.plan.overrides import Overrides
from bench.plan.target import read_plan
from bench.protocol import Recipe
from bench.records.kept import kept_models, read_facts
from bench.registry import Registry
from bench.spec import Named, RunSpec
from bench.training.fit import fit, trained
from bench.training.trial import run_trial
from tests.images.pictures import save
from tests.models.trained import CPU, confidences, recorded, train
from tests.scenes import left_out
from tests.training.test_checkpoint import in_pieces

flyp: Any = importlib.import_module("bench.methods.flyp")
soup: Any = importlib.import_module("bench.methods.soup")
zero_shot: Any = importlib.import_module("bench.methods.zero_shot")
REGISTRY = Registry()
NAMES = ("cat", "dog", "barn_owl")


def unit(count: int, width: int, seed: int) -> Tensor:
    drawn = torch.randn(count, width, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return drawn / drawn.square().sum(1, keepdim=True).sqrt()


def subject(name: str = "flyp") -> Examined:
    return find_examined(REGISTRY.method(name), REGISTRY)


def begun(method: Any) -> tuple[Model, TrainingImages, Iterator[Stage]]:
    """A small CLIP and images of noise with ten classes called after numbers, and the method's stages."""
    examined = subject()
    model, data = examined.model(), examined.data()
    data = replace(data, names=tuple(f"thing_{label}" for label in range(10)))
    return model, data, method.stages(model, Recipe(steps=4, warmup=1, lr=1e-2).resolved(40, 16), data)


def rows_by_hand(model: Model, texts: list[list[str]]) -> Tensor:
    """Of each class the mean of unit embeddings, of unit length, times exp(logit_scale)."""
    tower = model.text_tower
    assert tower is not None
    rows = []
    for of_class in texts:
        embedded = [tower.clip.encode_text(open_clip.tokenize([text], context_length=24))[0] for text in of_class]
        mean = torch.stack([each / each.square().sum().sqrt() for each in embedded]).mean(0)
        rows.append(mean / mean.square().sum().sqrt())
    rows_of_all: Tensor = torch.stack(rows) * math.exp(tower.clip.logit_scale.item())
    return rows_of_all.detach()


class TestLoss:
    @pytest.mark.parametrize("scale", [1.0, 14.3, 100.0])
    def test_it_is_the_formula_written_out(self, scale: float) -> None:
        images, texts = unit(5, 7, 0), unit(5, 7, 1)
        total = 0.0
        for i in range(5):
            same = math.exp(scale * float(images[i] @ texts[i]))
            over_texts = sum(math.exp(scale * float(images[i] @ texts[j])) for j in range(5))
            over_images = sum(math.exp(scale * float(images[j] @ texts[i])) for j in range(5))
            total -= math.log(same / over_texts) + math.log(same / over_images)
        found = flyp.image_text_contrast(images, texts, torch.tensor(scale, dtype=torch.float64))
        assert found.item() == pytest.approx(total / 10, rel=1e-10)

    def test_it_is_open_clips_with_the_same_gradients(self) -> None:
        inputs = [unit(6, 9, 0), unit(6, 9, 1), torch.tensor(20.0, dtype=torch.float64)]
        ours, theirs = ([each.clone().requires_grad_() for each in inputs] for _ in range(2))
        first, second = flyp.image_text_contrast(*ours), ClipLoss()(*theirs)
        torch.testing.assert_close(first, second, rtol=1e-12, atol=0)
        first.backward()
        second.backward()
        for one, other in zip(ours, theirs, strict=True):
            torch.testing.assert_close(one.grad, other.grad, rtol=1e-10, atol=1e-14)

    def test_the_same_text_twice_is_a_negative_of_the_other_image(self) -> None:
        """Two images with one text: neither can tell its own apart, so the loss is at least log 2."""
        text, image = unit(1, 4, 0), unit(1, 4, 1)
        loss = flyp.image_text_contrast(image.repeat(2, 1), text.repeat(2, 1), torch.tensor(50.0))
        assert loss.item() == pytest.approx(math.log(2))

    @pytest.mark.parametrize("shapes", [((3, 4), (2, 4)), ((3, 4), (3, 5)), ((4,), (4,))])
    def test_other_shapes_are_refused(self, shapes: tuple[tuple[int, ...], tuple[int, ...]]) -> None:
        images, texts = map(torch.zeros, shapes)
        with pytest.raises(ValueError, match="one shape"):
            flyp.image_text_contrast(images, texts, torch.tensor(1.0))


class TestPrompts:
    def test_one_template_and_several(self) -> None:
        assert zero_shot.prompts("a photo of a {}.", ["cat", "dog"]) == [["a photo of a cat."], ["a photo of a dog."]]
        assert zero_shot.prompts("{} | a {}, {}", ["cat"]) == [["cat", "a cat, cat"]]

    def test_clips_lists_for_imagenet(self) -> None:
        (eighty,), (seven,) = (zero_shot.prompts(name, ["cat"]) for name in ("imagenet", "imagenet7"))
        assert (len({*eighty}), len({*seven})) == (80, 7)
        assert (eighty[0], eighty[-1]) == ("a bad photo of a cat.", "a tattoo of the cat.")
        assert seven[0] == "itap of a cat."

    @pytest.mark.parametrize("template", ["a photo", "a {} | a photo", ""])
    def test_a_template_without_a_place_for_the_name_is_refused(self, template: str) -> None:
        with pytest.raises(
            InputError, match=r"has no \{\} for the name of a class; lists of templates are imagenet, im"
        ):
            zero_shot.prompts(template, ["cat"])


class TestZeroShot:
    def test_the_head_is_clips_of_the_names_and_nothing_is_trained(self) -> None:
        model, data, stages = begun(zero_shot.ZeroShot(template="a {}. | one {}!"))
        assert list(stages) == []
        texts = [[f"a thing {label}.", f"one thing {label}!"] for label in range(10)]
        torch.testing.assert_close(model.head.weight.data, rows_by_hand(model, texts), rtol=1e-5, atol=1e-5)
        assert torch.equal(model.head.bias, torch.zeros(10))
        output = model.eval()(data.batch(0).images)
        assert model.text_tower is not None
        seen = output.features @ model.text_tower.projection.T
        expected = seen / seen.square().sum(1, keepdim=True).sqrt() @ rows_by_hand(model, texts).T
        torch.testing.assert_close(output.logits, expected, rtol=1e-4, atol=1e-4)

    def test_its_head_is_no_draw(self) -> None:
        _, _, stages = begun(zero_shot.ZeroShot())
        state = torch.random.get_rng_state()
        list(stages)
        assert torch.equal(torch.random.get_rng_state(), state)


class TestFLYP:
    def test_it_begins_as_zero_shot_classification(self) -> None:
        model, data, stages = begun(flyp.FLYP())
        next(stages)
        other, _, none = begun(zero_shot.ZeroShot())
        assert list(none) == []
        images = data.batch(0).images
        assert torch.equal(model.eval()(images).logits, other.eval()(images).logits)

    def test_both_towers_the_projection_and_the_scale_are_trained_and_nothing_else(self) -> None:
        model, _, stages = begun(flyp.FLYP())
        stage = next(stages)
        listed = {name for name, _ in trained(stage)}
        named = dict(model.named_parameters())
        assert named.keys() - listed == {"head.weight", "head.bias"}
        assert "head.projection" in listed
        assert "text_tower.clip.logit_scale" in listed

    def test_the_loss_of_a_batch_is_open_clips_for_the_texts_of_its_classes(self) -> None:
        model, data, stages = begun(flyp.FLYP())
        stage, batch = next(stages), data.batch(0)
        assert len({*batch.labels.tolist()}) < len(batch.labels)
        model.eval()
        tower = model.text_tower
        assert tower is not None
        texts = [f"a photo of a thing {label}." for label in batch.labels.tolist()]
        text = tower.clip.encode_text(open_clip.tokenize(texts, context_length=24), normalize=True)
        seen = model(batch.images).features @ tower.projection.T
        seen = seen / seen.norm(dim=1, keepdim=True)
        terms = stage.loss(model, batch)
        assert list(terms) == ["contrast"]
        expected = ClipLoss()(seen, text, tower.clip.logit_scale.exp())
        torch.testing.assert_close(terms["contrast"], expected, rtol=1e-5, atol=1e-6)

    def test_each_image_has_one_of_the_templates_drawn_anew(self) -> None:
        """Of two templates that say the same the loss is always one number, of two that do not it changes."""
        for template, count in (("a {} | a {}", 1), ("a {} | not at all a {}, by no means", 8)):
            model, data, stages = begun(flyp.FLYP(template=template))
            stage, batch = next(stages), data.batch(0)
            losses = {stage.loss(model.eval(), batch)["contrast"].item() for _ in range(8)}
            assert len(losses) == count

    def test_wherever_it_is_scored_the_rows_are_of_the_text_tower_as_it_is_by_then(self) -> None:
        model, data, stages = begun(flyp.FLYP())
        stage = next(stages)
        start = model.head.weight.clone()
        fit(stage, data, start=0)
        assert torch.equal(model.head.weight, start)
        texts = [[f"a photo of a thing {label}."] for label in range(10)]
        by_then = rows_by_hand(model.eval(), texts)
        assert (by_then - start).abs().max() > 1e-3
        model.settle()
        torch.testing.assert_close(model.head.weight.data, by_then, rtol=1e-5, atol=1e-5)
        assert list(stages) == []
        assert model.settling is None

    def test_an_average_of_the_model_classifies_by_its_averaged_texts(self) -> None:
        """A copy has a text tower of its own, from which its head is made."""
        model, _, stages = begun(flyp.FLYP())
        next(stages)
        copied = frozen(model)
        assert copied.text_tower is not None
        with torch.no_grad():
            copied.text_tower.clip.text_projection.mul_(-1)
        copied.settle()
        torch.testing.assert_close(copied.head.weight, -model.head.weight, rtol=1e-5, atol=1e-5)

    def test_the_head_of_a_soup_is_that_of_the_averaged_tower(self) -> None:
        model, data, stages = begun(soup.Soup(kind="uniform", members=2, inner=flyp.FLYP()))
        projections = list[Tensor]()
        for stage in stages:
            fit(stage, replace(data, seed=len(projections)), start=0)
            model = stage.model
            assert model.text_tower is not None
            projections.append(model.text_tower.clip.text_projection.detach().double().clone())
        assert model.text_tower is not None
        anew = frozen(model)
        flyp.FLYP().zero_shot_head(anew, data)
        torch.testing.assert_close(model.head.weight, anew.head.weight)
        mean = torch.stack(projections).mean(0)
        torch.testing.assert_close(model.text_tower.clip.text_projection.double(), mean, rtol=1e-6, atol=1e-8)

    def test_it_compares_the_images_of_a_batch(self) -> None:
        assert not splittable(flyp.FLYP())
        assert not REGISTRY.method("flyp").per_image


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pictures of three classes with names."""
    root, seed = tmp_path_factory.mktemp("named"), 0
    for split, count in (("train", 6), ("val", 2), ("test", 3)):
        for name in NAMES:
            for number in range(count):
                save(root / split / name / f"{number}.png", seed := seed + 1, 20, 20)
    return root


def planned(images: Path, methods: str = "flyp", *settings: str) -> RunSpec:
    usual = ("steps=4", "warmup=1", "evaluations=2", "batch_size=6", "augmentation=crop_flip")
    overrides = Overrides(
        methods=methods,
        rates="100",
        seeds="1",
        backbones="micro_clip",
        datasets=f"folder:{images}",
        settings=(*usual, *settings),
    )
    (spec,) = read_plan("demo", REGISTRY, overrides).unique.values()
    return spec


class TestRuns:
    @pytest.mark.parametrize("method", ["flyp", "zero_shot", "flyp+ema"])
    def test_kept_models_are_plain_classifiers_that_give_the_scored_logits(
        self, images: Path, tmp_path: Path, method: str
    ) -> None:
        spec = planned(images, method)
        record, folder = train(spec, tmp_path)
        told, kept = recorded(folder), kept_models(folder)
        assert list(kept) == [point.step for point in record.curve] == ([0] if method == "zero_shot" else [2, 4])
        model = build_model(REGISTRY.backbone("micro_clip"), 3)
        assert record.parameters == sum(weight.numel() for weight in model.backbone.parameters()) + 32 * 32 + 3 * 33
        for place, (step, path) in enumerate(kept.items()):
            loaded = load_model(path, read_facts(path), REGISTRY)
            assert (loaded.text_tower, loaded.settling) == (None, None)
            assert isinstance(loaded.head, CosineLinear)
            predicted, confidence = confidences(folder, step, spec)
            assert np.array_equal(predicted, told["test"][place])
            assert np.abs(confidence - told["test_confidence"][place]).max() < 1e-6

    @pytest.mark.slow
    def test_a_run_in_pieces_ends_with_the_bits_of_one_in_one_go(
        self, images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        spec = planned(images, "flyp(template=a {} | one {})")
        whole = run_trial(spec, REGISTRY, CPU, tmp_path / "whole")
        pieces, _ = in_pieces(spec, tmp_path / "pieces", 1, monkeypatch)
        assert pieces.record.taken_up >= 4
        assert [point.test for point in pieces.record.curve] == [point.test for point in whole.record.curve]
        for name, array in whole.predictions.items():
            assert np.array_equal(array, pieces.predictions[name])

    def test_an_export_holds_the_same_logits_and_timms_form_says_why_not(
        self, images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        record, folder = train(planned(images), tmp_path / "results", keep="last")
        place = ["--results", str(tmp_path / "results")]
        assert main(["export", record.id, str(tmp_path / "m.pt"), "--to", "torchscript", *place]) == 0
        (path,) = kept_models(folder).values()
        scorer = scorer_of(load_model(path, read_facts(path), REGISTRY))
        views = torch.rand(4, 1, 12, 12)
        written = torch.jit.load(str(tmp_path / "m.pt"))(views)  # type: ignore[no-untyped-call]
        torch.testing.assert_close(written, scorer(views), rtol=1e-5, atol=1e-5)
        assert main(["export", record.id, str(tmp_path / "timms.safetensors"), "--to", "timm", *place]) == 2
        assert "has other weights (head.projection" in capsys.readouterr().err


class TestRefusals:
    def left_out(self, backbones: str, datasets: str) -> set[str]:
        """Why the cells of both are left out, beside one that is not."""
        axes = {"backbones": backbones, "datasets": datasets, "rates": "15", "seeds": "1"}
        plan = read_plan("demo", REGISTRY, replace(Overrides(methods="ce,flyp,zero_shot"), **axes))  # type: ignore[arg-type]
        assert len(plan.unique) == 1
        return {cell.reason for cell in left_out(plan)}

    def test_a_backbone_without_a_text_tower_is_left_out_with_the_reason(self, images: Path) -> None:
        assert self.left_out(backbones="micro_vit", datasets=f"folder:{images}") == {
            f"{name} needs text_tower, which micro_vit lacks (cannot be: it was not pre-trained with texts)"
            for name in ("flyp", "zero_shot")
        }

    @pytest.mark.parametrize("dataset", ["digits", "cluttered_digits", "svhn"])
    def test_a_dataset_whose_classes_are_numbers_is_left_out_with_the_reason(self, dataset: str) -> None:
        assert self.left_out(backbones="micro_clip", datasets=dataset) == {
            f"{name} needs texts about images: the classes of {dataset} are called by numbers, of which no text can be "
            "made"
            for name in ("flyp", "zero_shot")
        }

    def test_so_is_a_folder_with_numbers_for_names(self, tmp_path: Path) -> None:
        for split in ("train", "test"):
            for name in ("0", "1"):
                save(tmp_path / split / name / "a.png", 1)
        reasons = self.left_out(backbones="micro_clip", datasets=f"folder:{tmp_path}")
        assert len(reasons) == 2
        assert all("are called by numbers, of which no text can be made" in reason for reason in reasons)

    def test_without_open_clip_the_launch_says_what_to_install(
        self, images: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        run = planned(images)
        monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
        with pytest.raises(InputError) as caught:
            require_backbones([run], REGISTRY, lambda line: None)
        assert str(caught.value) == (
            "flyp: texts are read by open_clip, which is not installed: pip install 'finetune-bench[clip]'"
        )

    @pytest.mark.parametrize("with_text", [True, False])
    def test_a_launch_fetches_the_text_tower_where_a_method_takes_it(
        self, with_text: bool, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        fetched: list[str] = []
        monkeypatch.setattr("bench.backbones.build.fetch_weights", lambda card, backbone: fetched.append("backbone"))
        monkeypatch.setattr(text_tower, "fetch_text_tower", lambda card: fetched.append("text tower"))
        answers, card = io.StringIO(), REGISTRY.backbone("clip_vit_base")
        build = preflight.Build(card.name, 0, 0.0, with_text=with_text)
        for _ in range(2):
            preflight._answer(build, card, fetching := preflight._Fetching(answers), answers)
            preflight._answer(build, card, fetching, answers)
        assert fetched == ["backbone", *["text tower"] * with_text] * 2

    def test_a_build_knows_whether_its_method_takes_a_text_tower(self, images: Path) -> None:
        runs = [replace(planned(images, name), backbone=Named("clip_vit_base", "x")) for name in ("flyp", "ce")]
        assert [build.with_text for build in preflight.builds_of(runs, REGISTRY)] == [True, False]

    @pytest.mark.slow
    def test_nothing_else_imports_open_clip(self) -> None:
        """What a run of any other method imports."""
        code = (
            "import sys, bench.training.trial, bench.launch.worker, bench.models.kept; "
            "from bench.registry import Registry; from bench.backbones import build_model; "
            "build_model(Registry().backbone('micro_vit'), 3); "
            "sys.exit('open_clip' in sys.modules or 'ftfy' in sys.modules)"
        )
        assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_model_is_equipped_with_what_its_method_takes_alone() -> None:
    card = REGISTRY.backbone("micro_clip")
    model = build_model(card, 3)
    equip(model, card, set())
    assert (model.text_tower, model.source_head) == (None, None)

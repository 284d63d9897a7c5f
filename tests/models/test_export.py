"""Trained models in others' forms: what a stranger's program computes with them is what the run was scored with."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch

from bench.backbones import Model, build_model
from bench.backbones.families import family_of
from bench.backbones.student import build_student
from bench.cli import main
from bench.data import read_data
from bench.data.augment import test_view as as_scored
from bench.errors import InputError
from bench.launch import rerun
from bench.launch.worker import work
from bench.models.export import form_names
from bench.models.kept import load_model
from bench.models.reading import load_scorer
from bench.models.scorer import Scorer, scorer_of
from bench.models.timm_network import timm_network
from bench.records.kept import Keep, kept_models, read_facts
from bench.records.record import Record
from bench.registry import Registry
from bench.training.trackers import Observer, no_loss
from bench.training.trial import run_trial
from tests.models.trained import CPU, planned, recorded, train

Tensor = torch.Tensor

STRANGER = """
import json, sys
import numpy as np, timm, torch
from torchvision.transforms.v2 import functional as V

model = timm.create_model({architecture!r}, num_classes=10, checkpoint_path="model.safetensors", **{arguments!r}).eval()
view = json.load(open("model.json"))["pretrained_cfg"]
size = view["input_size"][1:]
images = torch.from_numpy(np.load("images.npy"))
images = V.resize(images, size, V.InterpolationMode.BILINEAR, antialias=True).float() / 255
mean, std = (torch.tensor(view[name]).view(-1, 1, 1) for name in ("mean", "std"))
with torch.inference_mode():
    logits = model((images - mean) / std)
np.save("logits.npy", logits.numpy())
assert not [name for name in sys.modules if name.partition(".")[0] == "bench"]
"""


@dataclass(frozen=True)
class Trained:
    """A run with two kept models, and how it was scored."""

    results: Path
    folder: Path
    record: Record

    @property
    def id(self) -> str:
        return self.record.id

    def scorer(self, step: int = 4) -> Scorer:
        path = kept_models(self.folder)[step]
        return scorer_of(load_model(path, read_facts(path), Registry()))


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    results = tmp_path_factory.mktemp("results")
    record, folder = train(planned(), results)
    return Trained(results, folder, record)


@pytest.fixture(scope="module")
def resnet(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    results = tmp_path_factory.mktemp("resnet")
    record, folder = train(planned(backbones="micro_resnet"), results)
    return Trained(results, folder, record)


@pytest.fixture
def export(here: Path) -> Callable[..., int]:
    def called(run: Trained, out: str, *words: str) -> int:
        try:
            return main(["export", run.id, out, "--results", str(run.results), *words])
        except SystemExit as stop:
            return int(stop.code or 0)

    return called


Exporter = Callable[..., int]


def pixels() -> Any:
    """The test images of the run, uint8 (N, 1, 8, 8), with their labels."""
    test = read_data(Registry().dataset("digits")).test
    return test.images.take(np.arange(len(test))), test.labels


def images() -> Tensor:
    return as_scored(pixels()[0], 12, "shift")


class TestTimm:
    @pytest.mark.slow
    def test_a_process_without_the_suite_gets_the_runs_accuracy(self, trained: Trained, export: Exporter) -> None:
        assert export(trained, "model.safetensors") == 0
        config = json.loads(Path("model.json").read_text(encoding="utf-8"))
        stored, labels = pixels()
        np.save("images.npy", stored.numpy())
        script = STRANGER.format(architecture=config["architecture"], arguments=config["model_args"])
        subprocess.run([sys.executable, "-I", "-c", script], check=True)
        logits = np.load("logits.npy")
        top1 = 100 * float((logits.argmax(1) == labels).mean())
        assert top1 == pytest.approx(trained.record.curve[-1].test["top1"])
        assert np.array_equal(logits.argmax(1), recorded(trained.folder)["test"][-1])
        with torch.inference_mode():
            assert np.abs(logits - trained.scorer()(images()).numpy()).max() < 1e-5

    @pytest.mark.slow
    def test_says_how_it_is_loaded(
        self, trained: Trained, export: Exporter, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert export(trained, "model.safetensors", "--point", "2") == 0
        out = capsys.readouterr().out
        top1 = trained.record.curve[0].test["top1"]
        assert f"after 2 steps: top-1 {top1:.2f} % on 597 test images" in out
        code = [
            line.strip() for line in out.splitlines() if line.startswith("  ") and not line.startswith("  model.json")
        ]
        names: dict[str, Any] = {}
        exec("\n".join(code), names)
        with torch.inference_mode():
            normalised = (images() - 0.5) / 0.5
            assert torch.equal(names["model"](normalised), trained.scorer(2)(images()))
        assert "interpolation=bilinear" in str(names["transform"])

    def test_a_network_that_timm_does_not_build_is_refused(
        self, resnet: Trained, export: Exporter, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert export(resnet, "model.safetensors") == 2
        assert "timm builds no network like resnet; try --to torchscript or --to onnx" in capsys.readouterr().err
        assert list(Path().iterdir()) == []

    @pytest.mark.parametrize(
        "name",
        ["test_vit", "test_vit2", "test_resnet", "test_convnext", "test_efficientnet", "test_byobnet", "test_nfnet"],
    )
    def test_networks_of_many_kinds(self, name: str) -> None:
        torch.manual_seed(0)
        card = Registry().backbone(f"timm:{name}@none")
        model = build_model(card, 7, 64).eval()
        built = timm_network(model, card, 64, "a run")
        assert built.architecture == name
        assert built.network.get_classifier().out_features == 7  # type: ignore[operator]

    @pytest.mark.parametrize("kind", ["SwinTransformer", "VisionTransformer", "Beit"])
    def test_the_students_of_many_teachers(self, kind: str) -> None:
        sizes: dict[str, Any] = {"img_size": 32, "patch_size": 4, "num_classes": 0, "embed_dim": 24}
        if kind == "SwinTransformer":
            sizes |= {"depths": (1, 1), "num_heads": (2, 2), "window_size": 4}
        else:
            sizes |= {"depth": 2, "num_heads": 2}
        backbone = getattr(timm.models, kind)(**sizes)
        teacher = Model(backbone, family_of(backbone), backbone.num_features, 5, [0.5] * 3, [0.5] * 3)
        student = build_student(teacher).eval()
        built = timm_network(student, Registry().backbone("vit_small@none"), 32, "a run")
        assert built.architecture.startswith("swinv2" if kind == "SwinTransformer" else "beit")

    @pytest.mark.slow
    @pytest.mark.parametrize("method", ["feature_distillation", "feature_distillation(unshare=no)"])
    def test_a_student_of_another_kind(self, method: str, tmp_path: Path, export: Exporter) -> None:
        record, folder = train(planned(method), tmp_path / "results")
        assert export(Trained(tmp_path / "results", folder, record), "model.safetensors") == 0
        config = json.loads(Path("model.json").read_text(encoding="utf-8"))
        assert config["architecture"] == "beit_base_patch16_224"
        scorer, _ = load_scorer(Path("model.safetensors"), Registry())
        with torch.inference_mode():
            predicted = scorer(images()).argmax(1).numpy()
        assert np.array_equal(predicted, recorded(folder)["test"][-1])


class TestOnnx:
    @pytest.mark.slow
    @pytest.mark.parametrize("run", ["trained", "resnet"])
    def test_gives_the_runs_logits(self, run: str, export: Exporter, request: pytest.FixtureRequest) -> None:
        import onnxruntime

        trained: Trained = request.getfixturevalue(run)
        assert export(trained, "model.onnx", "--to", "onnx") == 0
        session = onnxruntime.InferenceSession("model.onnx", providers=["CPUExecutionProvider"])
        for count in (1, 7, 597):
            some = images()[:count]
            (logits,) = session.run(None, {"images": some.numpy()})
            with torch.inference_mode():
                assert np.abs(logits - trained.scorer()(some).numpy()).max() < 1e-4
        assert json.loads(session.get_modelmeta().custom_metadata_map["label_names"]) == list("0123456789")
        assert "in 0..1, not normalised" in Path("model.md").read_text(encoding="utf-8")

    def test_needs_its_libraries(
        self, trained: Trained, export: Exporter, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.setitem(sys.modules, "onnxscript", None)
        assert export(trained, "model.onnx", "--to", "onnx") == 2
        assert "pip install 'finetune-bench[export]'" in capsys.readouterr().err


def test_torchscript_gives_the_runs_logits(resnet: Trained, export: Exporter) -> None:
    assert export(resnet, "model.pt", "--to", "torchscript") == 0
    with warnings.catch_warnings(), torch.inference_mode():
        warnings.simplefilter("ignore")
        loaded = torch.jit.load("model.pt")  # type: ignore[no-untyped-call]
        for count in (1, 7):
            assert torch.allclose(loaded(images()[:count]), resnet.scorer()(images()[:count]), atol=1e-6)


@pytest.mark.slow
def test_transformers_and_timm_load_the_folder(trained: Trained, export: Exporter) -> None:
    from transformers import AutoImageProcessor, AutoModelForImageClassification

    assert export(trained, "folder", "--to", "transformers") == 0
    normalised = (images() - 0.5) / 0.5
    with warnings.catch_warnings(), torch.inference_mode():
        warnings.simplefilter("ignore")
        expected = trained.scorer()(images())
        model = AutoModelForImageClassification.from_pretrained("folder").eval()
        assert torch.equal(model(normalised).logits, expected)
        assert model.config.id2label == dict(enumerate("0123456789"))
        assert AutoImageProcessor.from_pretrained("folder") is not None
        assert torch.equal(timm.create_model("local-dir:folder", pretrained=True).eval()(normalised), expected)


class TestRefuses:
    @pytest.mark.parametrize(
        ("words", "problem"),
        [
            (["model.safetensors", "--to", "onx"], "did you mean 'onnx'"),
            (["model.pth"], "a file of --to timm ends in .safetensors"),
            (["there/model.safetensors"], "there is no folder there"),
            (["model.safetensors", "--point", "3"], "a step at which ce micro_vit digits 15 % seed 0 was scored: 2, 4"),
            (["model.safetensors", "--point", "first"], "write last, best-val or a step"),
        ],
    )
    def test_what_makes_no_sense(
        self, trained: Trained, export: Exporter, words: list[str], problem: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert export(trained, *words) == 2
        assert problem in capsys.readouterr().err

    def test_to_write_over_anything(
        self, trained: Trained, export: Exporter, capsys: pytest.CaptureFixture[str]
    ) -> None:
        Path("model.md").write_text("mine", encoding="utf-8")
        assert export(trained, "model.safetensors") == 2
        assert "model.md: exists already" in capsys.readouterr().err
        assert [path.name for path in Path().iterdir()] == ["model.md"]

    def test_to_begin_where_nothing_can_be_written(
        self,
        trained: Trained,
        export: Exporter,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        def refuse(**_: object) -> str:
            raise PermissionError(13, "Permission denied")

        monkeypatch.setattr("tempfile.mkdtemp", refuse)
        monkeypatch.setattr("bench.models.source.source_of", None)  # no model is read, and none trained again
        assert export(trained, "model.safetensors") == 2
        assert "model.safetensors: nothing can be written in .: Permission denied" in capsys.readouterr().err

    def test_every_form_says_what_it_writes(self) -> None:
        assert form_names() == ["onnx", "timm", "torchscript", "transformers"]


@pytest.fixture
def unkept(trained: Trained, tmp_path: Path) -> Trained:
    """The same run, of which no model was kept."""
    results = tmp_path / "unkept"
    shutil.copytree(trained.results, results)
    folder = results / "runs" / trained.folder.name
    for path in kept_models(folder).values():
        path.unlink()
    return Trained(results, folder, trained.record)


@pytest.fixture
def worker(monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs are trained in this process: a worker of its own takes seconds to start."""

    def launch(runs: list[Any], job: Any, executor: object, report: object) -> None:
        for spec in runs:
            work(spec, job)

    monkeypatch.setattr(rerun, "launch", launch)


class TestTrainedAgain:
    @pytest.mark.slow
    @pytest.mark.parametrize("point", ["last", "2"])
    def test_has_the_bits_that_would_have_been_kept(
        self,
        point: str,
        trained: Trained,
        unkept: Trained,
        worker: None,
        export: Exporter,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        assert export(unkept, "again.safetensors", "--point", point) == 0
        assert "no model of it was kept: training it again (it took " in capsys.readouterr().err
        assert export(trained, "kept.safetensors", "--point", point) == 0
        again, kept = (
            load_scorer(Path(f"{name}.safetensors"), Registry())[0].state_dict() for name in ("again", "kept")
        )
        assert again.keys() == kept.keys()
        assert all(torch.equal(again[name], kept[name]) for name in kept)
        assert "The run was trained again" not in Path("again.md").read_text(encoding="utf-8")
        assert not list((unkept.results / "drafts").glob("export-*"))
        assert not kept_models(unkept.folder)

    @pytest.mark.slow
    def test_one_that_is_stopped_goes_on_where_it_was(
        self, unkept: Trained, export: Exporter, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        taken_up = []

        class Killing(Observer):
            def step(self, step: int, of: int, images: int = 0, loss: Callable[[], float] = no_loss) -> None:
                if step == 3:
                    raise KeyboardInterrupt

        def launch(runs: list[Any], job: Any, executor: object, report: object) -> None:
            (spec,), folder = runs, Path(job.results)
            if not folder.exists():
                run_trial(spec, Registry(), CPU, folder, checkpoint_every=0, observer=Killing(), models=Keep(job.keep))
            work(spec, job)
            taken_up.append(json.loads(next(folder.glob("runs/*/record.json")).read_text())["taken_up"])

        monkeypatch.setattr(rerun, "launch", launch)
        assert export(unkept, "again.safetensors") == 130
        assert not list(Path().iterdir())
        assert export(unkept, "again.safetensors") == 0
        assert taken_up == [1]

    def test_other_numbers_are_told(
        self, unkept: Trained, worker: None, export: Exporter, capsys: pytest.CaptureFixture[str]
    ) -> None:
        arrays = recorded(unkept.folder)
        arrays["test"] = (arrays["test"] + 1) % 10
        np.savez_compressed(unkept.folder / "predictions.npz", **arrays)  # type: ignore[arg-type]
        assert export(unkept, "again.safetensors") == 0
        note = (
            "this is the model of the repetition, whose numbers are not those of the record (predictions.test: 100.00 %"
        )
        assert note in capsys.readouterr().err
        assert note in Path("again.md").read_text(encoding="utf-8")

    def test_a_run_that_cannot_be_repeated_is_refused(
        self, unkept: Trained, export: Exporter, capsys: pytest.CaptureFixture[str]
    ) -> None:
        path = unkept.folder / "record.json"
        path.write_text(path.read_text(encoding="utf-8").replace('"rate": 15.0', '"rate": 20.0'), encoding="utf-8")
        assert export(unkept, "again.safetensors") == 2
        assert "it was changed after it was written" in capsys.readouterr().err


@pytest.mark.slow
def test_a_model_in_half_precision_says_so(tmp_path: Path, export: Exporter) -> None:
    record, folder = train(planned(), tmp_path / "results", "last,half")
    assert export(Trained(tmp_path / "results", folder, record), "model.safetensors") == 0
    assert "kept in half precision" in Path("model.md").read_text(encoding="utf-8")


def test_a_form_that_writes_something_else_is_refused(
    trained: Trained, export: Exporter, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    usual, calls = Scorer.forward, iter((0, 1, 2))  # the first is traced
    monkeypatch.setattr(Scorer, "forward", lambda self, images: usual(self, images) + next(calls))
    assert export(trained, "model.pt", "--to", "torchscript") == 2
    assert "it gives other logits than the model" in capsys.readouterr().err
    assert list(Path().iterdir()) == []


@pytest.mark.slow
def test_a_file_of_weights_that_went_leaves_the_card_of_the_backbone(tmp_path: Path) -> None:
    from bench.models.kept import backbone_of

    _, folder = train(planned(), tmp_path)
    facts = read_facts(kept_models(folder)[4])
    spec = {**facts.spec, "backbone": {"name": "micro_vit@/gone/weights.safetensors", "means": "x"}}
    from msgspec.structs import replace

    assert backbone_of(replace(facts, spec=spec), Registry()).name == "micro_vit@none"
    with pytest.raises(InputError):
        backbone_of(replace(facts, spec={**spec, "backbone": {"name": "nobodys_vit"}}), Registry())

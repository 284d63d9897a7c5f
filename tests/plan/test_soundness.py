"""What is refused of runs that could be trained and would not be what was meant, where they are planned."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from bench.cli import main
from bench.errors import InputError
from bench.plan import architectures
from bench.plan.architectures import Architectures, require_known_models
from bench.plan.overrides import Overrides
from bench.plan.soundness import require_sound
from bench.plan.target import read_plan
from bench.registry import Registry
from bench.spec import RunSpec

VIT = "vit_tiny_patch16_224"
TIMM = Architectures(
    "9.9",
    {VIT: ("augreg_in21k", "own"), "vit_small_patch16_224": (), "resnet18": ("a1_in1k",)},
    frozenset({VIT, f"{VIT}.augreg_in21k", "resnet18", "resnet18.a1_in1k"}),
)


@pytest.fixture(autouse=True)
def timm(monkeypatch: pytest.MonkeyPatch) -> None:
    """A timm of three models."""
    monkeypatch.setattr(architectures, "architectures", lambda say: TIMM)


def runs(**overrides: object) -> list[RunSpec]:
    chosen = {"methods": "ce", "backbones": "micro_vit", "rates": "15", "seeds": "1", **overrides}
    return list(read_plan("digits", Registry(), Overrides(**chosen)).unique.values())  # type: ignore[arg-type]


def refused(registry: Registry | None = None, **overrides: object) -> tuple[str, ...]:
    with pytest.raises(InputError) as caught:
        require_sound(runs(**overrides), registry or Registry(), print)
    return caught.value.problems


def told(**overrides: object) -> list[str]:
    return require_sound(runs(**overrides), Registry(), print)


class TestNamesOfTimm:
    def test_a_model_that_there_is_not_is_told_with_near_ones(self) -> None:
        assert refused(backbones="timm:vit_tyny", settings=("image_size=0",)) == (
            f"timm:vit_tyny: timm 9.9 has no model 'vit_tyny'; the nearest names: {VIT}",
        )

    @pytest.mark.parametrize("weights", ["", "@none"])
    def test_weights_that_there_are_not_are_told_with_those_that_there_are(self, weights: str) -> None:
        name = f"timm:{VIT}.nope{weights}"
        assert refused(backbones=name, settings=("image_size=0",)) == (
            f"{name}: timm's {VIT} has no weights 'nope'; it has augreg_in21k, own",
        )

    @pytest.mark.parametrize("name", [f"timm:{VIT}.own", "timm:vit_small_patch16_224"])
    def test_weights_that_timm_does_not_fetch(self, name: str) -> None:
        assert refused(backbones=name, settings=("image_size=0",)) == (
            f"{name}: timm has no pre-trained weights of it; give a file ({name}@FILE.safetensors) or train from "
            f"scratch ({name}@none)",
        )

    @pytest.mark.parametrize("name", [f"timm:{VIT}", f"timm:{VIT}.augreg_in21k", f"timm:{VIT}.own@none", "micro_vit"])
    def test_what_there_is(self, name: str) -> None:
        assert told(backbones=name, settings=("image_size=0",)) == []

    def test_a_card_of_ones_own_that_names_one(self, tmp_path: Path) -> None:
        (tmp_path / "backbones").mkdir()
        text = "title: Mine\nmodel: resnet81\nweights: timm\n"
        (tmp_path / "backbones" / "mine.yaml").write_text(text, encoding="utf-8")
        with pytest.raises(InputError, match=r"mine: timm 9\.9 has no model 'resnet81'; the nearest names: resnet18"):
            require_known_models([Registry([tmp_path]).backbone("mine")])


class TestWhatTimmSays:
    @pytest.fixture(autouse=True)
    def cache(self, timm: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        monkeypatch.undo()
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
        architectures.architectures.cache_clear()
        return tmp_path

    def answering(self, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
        monkeypatch.setattr(architectures, "program", lambda module: [sys.executable, "-c", script])

    ANSWER = 'print(\'noise\\n{"tags": {"a": ["b"]}, "fetched": ["a"]}\')'

    def test_it_is_asked_once_for_its_version(self, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.answering(monkeypatch, self.ANSWER)
        said: list[str] = []
        first = architectures.architectures(said.append)
        assert first.tags == {"a": ("b",)}
        assert first.fetched == {"a"}
        assert said == [f"asking timm {first.version} for the names of its models, once"]
        self.answering(monkeypatch, "raise SystemExit(3)")
        architectures.architectures.cache_clear()
        assert architectures.architectures(said.append) == first
        assert len(said) == 1
        monkeypatch.setattr("importlib.metadata.version", lambda name: "0.0.1")
        architectures.architectures.cache_clear()
        with pytest.raises(InputError, match="timm cannot be imported: exit code 3"):
            architectures.architectures(said.append)

    @pytest.mark.parametrize("content", ["", "[]", "{}", '{"tags": {}, "fetched": []}', '{"tags": 5, "fetched": []}'])
    def test_a_file_that_is_torn_is_asked_for_anew(
        self, content: str, cache: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        self.answering(monkeypatch, self.ANSWER)
        architectures.architectures(print)
        (file,) = (cache / "finetune-bench").iterdir()
        file.write_text(content, encoding="utf-8")
        architectures.architectures.cache_clear()
        assert architectures.architectures(print).tags == {"a": ("b",)}
        assert '"b"' in file.read_text(encoding="utf-8")

    def test_a_folder_that_cannot_be_written_costs_time_alone(
        self, cache: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (cache / "finetune-bench").write_text("a file", encoding="utf-8")
        self.answering(monkeypatch, self.ANSWER)
        assert architectures.architectures(print).tags == {"a": ("b",)}

    def test_a_timm_that_breaks_is_told_in_its_words(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.answering(monkeypatch, "raise ImportError('no torch')")
        with pytest.raises(InputError, match="timm cannot be imported: ImportError: no torch"):
            architectures.architectures(print)

    @pytest.mark.slow
    def test_what_it_says_is_what_timm_knows(self) -> None:
        import timm

        known = architectures.architectures(print)
        for name in ("vit_tiny_patch16_224", "resnet18", "test_vit", "vit_giant_patch14_224"):
            assert known.tags[name] == tuple(
                each.partition(".")[2] for each in timm.list_models(f"{name}.*", include_tags=True) if "." in each
            )
            assert (name in known.fetched) == bool(timm.list_pretrained(f"{name}.*"))
        assert all(timm.is_model(name) for name in known.tags)
        assert "vit_tyny" not in known.tags


class TestSizes:
    def test_of_a_backbone_of_patches(self) -> None:
        (problem,) = refused(backbones=f"timm:{VIT}@none", settings=("image_size=100",))
        assert problem.endswith("the last 4 rows and columns would not be seen; take 96 or 112")

    def test_of_the_suite_s_own(self) -> None:
        (problem,) = refused(backbones="micro_vit,micro_resnet@none", settings=("image_size=13",))
        assert problem.startswith("micro_vit: image_size = 13 is no multiple of its patches, of 2 pixels: ")

    def test_a_size_that_fits(self) -> None:
        assert told(backbones=f"micro_vit,timm:{VIT}@none", settings=("image_size=96",)) == []


class TestBatches:
    def test_a_loss_over_a_batch_is_given_more_than_one_image(self) -> None:
        names = ("bi_tuning", "bss", "coin", "lacvit", "npair", "scl", "simclr")
        problems = refused(methods=",".join(("ce", "l2sp", *names)), settings=("batch_size=1",))
        assert [problem.partition(":")[0] for problem in problems] == list(names)
        assert all("batch_size = 1 leaves it none to compare; take 2 or more" in problem for problem in problems)

    def test_a_policy_that_mixes_images_is_one(self) -> None:
        (problem,) = refused(methods="gta+transmix", settings=("batch_size=1",))
        assert problem.startswith("transmix: its loss is over the images of a batch")

    def test_two_are_enough(self) -> None:
        assert told(methods="scl,npair", settings=("batch_size=2",)) == []

    @pytest.mark.parametrize("setting", ["batch_size", "norm_batch"])
    def test_a_batch_norm_with_one_image_is_told(self, setting: str) -> None:
        (line,) = told(backbones="micro_resnet", settings=(f"{setting}=1",))
        assert line.startswith(f"micro_resnet: with {setting} = 1 its batch norms see one image at a time")

    def test_more_than_there_are_images_is_told_once(self) -> None:
        (line,) = told(methods="ce,l2", rates="15", seeds="3", settings=("batch_size=512",))
        assert line == (
            "Digits at 15 % has at most 154 images to train on: a batch of 512 holds some of them more than once"
        )


class TestCompiling:
    def test_batch_norms_in_groups_are_not_compiled(self) -> None:
        settings = ("compile=default", "norm_batch=8")
        assert refused(backbones="micro_resnet", settings=settings) == (
            "micro_resnet: compile = default is of a pass over a whole batch, and its batch norms would see 8 images "
            "at a time; take norm_batch = 0 or compile = none",
        )
        assert told(backbones="micro_vit", settings=settings) == []

    def test_cuda_graphs_are_of_one_process(self) -> None:
        specs = runs(settings=("compile=reduce-overhead",))
        require_sound(specs, Registry(), print)
        with pytest.raises(InputError, match="compile = reduce-overhead: CUDA graphs hold no exchange"):
            require_sound(specs, Registry(), print, ranks=2)


class TestCommands:
    @pytest.mark.parametrize("command", ["plan", "run"])
    def test_nothing_is_done(self, command: str, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
        words = ("--methods", "scl", "--rates", "15", "--seeds", "1", "--set", "batch_size=1")
        assert main([command, "demo", *words, "--backbones", "timm:vit_tyny,micro_vit"]) == 2
        captured = capsys.readouterr()
        assert captured.out == ""
        told = [line.split()[1] for line in captured.err.splitlines() if line.startswith("bench: ")]
        assert told == ["timm:vit_tyny:", "scl:"]
        assert not list(here.iterdir())

    def test_what_may_not_be_meant_stands_in_the_plan(self, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["plan", "digits", "--rates", "15", "--set", "batch_size=512"]) == 0
        captured = capsys.readouterr()
        assert captured.out.splitlines()[-1].endswith("a batch of 512 holds some of them more than once")
        assert captured.err == ""

    def test_a_table_of_what_was_trained_is_shown(self, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
        words = ("--methods", "scl", "--rates", "15", "--seeds", "1", "--set", "batch_size=1")
        assert main(["table", "demo", *words, "--backbones", f"timm:{VIT}@none", "--set", "image_size=100"]) == 0


class TestRates:
    @pytest.mark.parametrize(
        ("written", "asked"),
        [
            ("0.15,0.5,1", "write 15, 50, 100 if shares are meant, or 0.15%, 0.5%, 1%"),
            ("1", "or 1%"),
            (".07", "write 7 "),
        ],
    )
    def test_shares_are_asked_about(self, written: str, asked: str) -> None:
        with pytest.raises(InputError) as caught:
            runs(rates=written)
        (problem,) = caught.value.problems
        assert problem.startswith("--rates: rates are in percent, and none is above 1: ")
        assert asked in problem

    @pytest.mark.parametrize(
        ("written", "rates"),
        [("1,15", {1, 15}), ("0.5,100", {0.5, 100}), ("1%", {1}), ("0.5 %,1%", {0.5, 1}), ("15%", {15}), ("2", {2})],
    )
    def test_percent_are_not(self, written: str, rates: set[float]) -> None:
        assert {spec.rate for spec in runs(rates=written)} == rates


@pytest.mark.parametrize(
    ("word", "truth"), [("yes", True), ("no", False), ("on", True), ("Off", False), ("true", True)]
)
def test_a_setting_that_is_true_or_false_takes_the_words_for_it(word: str, truth: bool) -> None:
    (spec,) = runs(settings=(f"nesterov={word}", "optimizer=sgd"))
    assert spec.protocol.recipe.nesterov is truth


class TestPoliciesWithoutEffect:
    @pytest.mark.parametrize("policy", ["sam", "ema", "transmix", "soup"])
    def test_of_a_method_that_trains_nothing(self, policy: str) -> None:
        refusals = refused(methods=f"knn+{policy}")
        assert f"knn+{policy}: knn trains nothing, so that {policy} has nothing to act on" in refusals

    @pytest.mark.parametrize("policy", ["sam", "ema"])
    def test_behind_one_that_shares_all_stages(self, policy: str) -> None:
        (refusal,) = refused(methods=f"ce+soup+{policy}")
        assert refusal.startswith(f"ce+soup+{policy}: {policy} leaves the stages that soup shares as they are")
        assert refusal.endswith(f"name it before: +{policy}+soup")

    @pytest.mark.parametrize(
        "method", ["ce+ema+soup", "ce+sam+soup", "ce+sam+ema", "knn+noisy_tune", "feature_distillation+sam"]
    )
    def test_others_are_taken(self, method: str) -> None:
        assert told(methods=method) == []

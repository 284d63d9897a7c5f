"""Before any run: what cannot be built is refused at once, and weights are fetched once, for every worker."""

from __future__ import annotations

import importlib.util
import io
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from safetensors.torch import save

from bench import process
from bench.cli import main
from bench.errors import InputError
from bench.launch import LocalExecutor, preflight
from bench.launch.preflight import Build, builds_of, require_backbones
from bench.plan.overrides import Overrides
from bench.plan.target import read_plan
from bench.records.store import Store
from bench.registry import Registry
from bench.spec import RunSpec
from tests.launch.conftest import Fake
from tests.launch.hub import Hub

BENCH = Path(sys.executable).with_name("bench")
SMALL = "timm:test_vit.r160_in1k"
WEIGHTS = "timm/test_vit.r160_in1k/model.safetensors"
SHORT = ("--methods", "ce", "--rates", "15", "--set", "steps=2", "--set", "warmup=0", "--set", "image_size=32")


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working folder, with no weights of anybody's near it."""
    folder = tmp_path / "work"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hub"))
    return folder


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """A hub that has the weights of one small network of timm's."""
    hub = Hub()
    hub.files[WEIGHTS] = save(timm.create_model(SMALL.removeprefix("timm:")).state_dict())
    monkeypatch.setenv("HF_ENDPOINT", hub.url)
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    yield hub
    hub.close()


def runs(backbones: str, registry: Registry | None = None, **overrides: Any) -> list[RunSpec]:
    """Runs of the demo on some backbones."""
    chosen = Overrides(methods="ce", backbones=backbones, rates="15", **overrides)
    return list(read_plan("demo", registry or Registry(), chosen).unique.values())


def plugin(folder: Path, card: str) -> Registry:
    """The suite with a backbone of one's own, ``mine``."""
    (folder / "own" / "backbones").mkdir(parents=True)
    (folder / "own" / "backbones" / "mine.yaml").write_text(card, encoding="utf-8")
    return Registry([folder / "own"])


def answering(monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    """Put a script in the place of the process that answers."""
    monkeypatch.setattr(process, "program", lambda module: [sys.executable, "-u", "-c", script])


class TestWhatIsAsked:
    @pytest.mark.parametrize(
        "name",
        [
            *("micro_vit", "micro_resnet", "micro_vit@none", "deit_small@none", "resnet50@none", "cifar_resnet20@none"),
            *("timm:resnet50@none", "timm:vit_base_patch16_224@none", "timm:vit_base_patch16_224.mae@none"),
        ],
    )
    def test_nothing_about_what_is_known(self, name: str, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def refuse(*_: object, **__: object) -> None:
            raise AssertionError("a process would be started")

        monkeypatch.setattr(subprocess, "Popen", refuse)
        require_backbones(runs(name), Registry(), print)

    def test_whether_a_file_of_weights_fits_a_known_backbone(self, here: Path) -> None:
        Path("w.safetensors").write_bytes(b"x")
        names = "micro_vit@w.safetensors,timm:resnet50@w.safetensors"
        assert [build.backbone for build in builds_of(runs(names), Registry())] == names.split(",")

    @pytest.mark.parametrize(
        "name",
        [
            *("deit_small", "resnet50", "timm:resnet50", "timm:resnet18@none", "timm:vit_tinny@none"),
            *("timm:vit_base_patch16_224.typo@none", "timm:resnet@none"),
        ],
    )
    def test_what_timm_has_to_say_or_to_fetch(self, name: str, here: Path) -> None:
        assert [build.backbone for build in builds_of(runs(name), Registry())] == [name]

    def test_a_file_of_weights_makes_no_name_known(self, here: Path) -> None:
        Path("w.safetensors").write_bytes(b"x")
        (build,) = builds_of(runs("timm:vit_tinny@w.safetensors"), Registry())
        assert build.backbone.startswith("timm:vit_tinny@")

    def test_a_card_of_ones_own(self, here: Path) -> None:
        registry = plugin(here, "title: Mine\nmodel: vit_tinny_patch16_224\nweights: timm\n")
        for name in ("mine", "mine@none"):
            assert [build.backbone for build in builds_of(runs(name, registry), registry)] == [name]

    def test_each_backbone_once(self, here: Path) -> None:
        found = builds_of(runs("micro_vit,timm:resnet18@none,deit_small", seeds="5"), Registry())
        size = runs("micro_vit")[0].protocol.image_size
        assert found == [Build("timm:resnet18@none", size, 0.0), Build("deit_small", size, 0.0)]

    def test_each_size_that_it_is_built_for(self, here: Path) -> None:
        both = [*runs("timm:resnet18@none"), *runs("timm:resnet18@none", settings=("image_size=64",))]
        assert len(builds_of(both, Registry())) == 2


class TestAnswers:
    def test_every_problem_is_told_and_what_is_fetched_is_said(
        self, here: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        answering(monkeypatch, 'print(\'{"fetching": "a file"}\\n{"problem": "one"}\\n{"problem": "two"}\')')
        said: list[str] = []
        with pytest.raises(InputError) as caught:
            require_backbones(runs("deit_small"), Registry(), said.append)
        assert (caught.value.problems, said) == (("one", "two"), ["a file"])

    def test_a_process_that_breaks(self, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        answering(monkeypatch, "raise OSError('no room')")
        with pytest.raises(InputError) as caught:
            require_backbones(runs("deit_small"), Registry(), print)
        assert caught.value.problems == ("the process that checks the backbones ended: exit code 1: OSError: no room",)

    def test_after_a_long_wait_for_nothing_no_other_weights_are_waited_for(
        self, here: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        tried: list[str] = []

        def fail(name: str) -> None:
            tried.append(name)
            for timer in [thread for thread in threading.enumerate() if isinstance(thread, threading.Timer)]:
                if name == "resnet50":
                    timer.join()
            raise InputError("no connection")

        answers = io.StringIO()
        fetching = preflight._Fetching(answers)
        for name, slow in (("deit_small", 3600.0), ("resnet50", 0.01)):
            monkeypatch.setattr(preflight, "SLOW", slow)
            with pytest.raises(InputError, match="no connection"):
                fetching.fetch(f"the weights of {name}", partial(fail, name))
        for name in ("swin_tiny", "resnet50"):
            fetching.fetch(f"the weights of {name}", partial(fail, name))
        assert tried == ["deit_small", "resnet50"]
        assert answers.getvalue() == '{"fetching": "fetching the weights of resnet50"}\n'

    @pytest.mark.parametrize("launcher", [(), ("--launcher", "slurm")], ids=["local", "slurm"])
    @pytest.mark.parametrize("command", ["run", "retry"])
    def test_no_run_is_started_or_submitted_and_nothing_is_written(
        self,
        command: str,
        launcher: tuple[str, ...],
        here: Path,
        fake: Fake,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        def refuse(*_: object) -> None:
            raise AssertionError("runs would be trained")

        store, (spec, *_) = Store("results"), runs("deit_small", seeds="1")
        if command == "retry":
            with store.draft() as draft:
                told = {"class": "code", "kind": "died", "message": "it broke"}
                store.publish_failure(draft, spec, {"status": "failed", "error": told})
        before = sorted(here.rglob("*"))
        monkeypatch.setattr(LocalExecutor, "execute", refuse)
        answering(monkeypatch, 'print(\'{"problem": "deit_small: no"}\')')
        chosen = ("demo", "--methods", "ce", "--backbones", "deit_small", "--rates", "15", "--seeds", "1")
        classes = ("--class", "code") if command == "retry" else ()
        assert main([command, *chosen, *classes, *launcher]) == 2
        captured = capsys.readouterr()
        *planned, refused = captured.err.splitlines()
        assert (captured.out, refused) == ("", "bench: deit_small: no")
        assert planned[0].startswith("demo: 1 run: ")
        assert fake.scripts == []
        assert sorted(here.rglob("*")) == before


class TestWhatIsFound:
    """What the process tells of a backbone once it is built without values."""

    def told(self, name: str, image_size: int = 0) -> list[dict[str, str]]:
        answers = io.StringIO()
        card = Registry().backbone(name)
        preflight._answer(Build(name, image_size, 0.0), card, preflight._Fetching(answers), answers)
        return [json.loads(line) for line in answers.getvalue().splitlines()]

    def file(self, **changes: Any) -> str:
        """A file of weights of the small ViT, with some changed; None: without them."""
        weights = {**timm.create_model("test_vit").state_dict(), **changes}
        Path("w.safetensors").write_bytes(save({name: value for name, value in weights.items() if value is not None}))
        return "timm:test_vit@w.safetensors"

    def test_a_file_that_fits(self, here: Path) -> None:
        assert self.told(self.file()) == []

    def test_places_that_are_resized_to_the_images(self, here: Path) -> None:
        assert self.told(self.file(), 64) == []

    @pytest.mark.parametrize(
        ("changes", "told"),
        [
            ({"norm.weight": None}, "missing: norm.weight"),
            ({"blocks.9.odd": torch.zeros(1)}, "unexpected: blocks.9.odd"),
            ({"norm.bias": torch.zeros(5)}, "of another shape: norm.bias is (5,), not (64,)"),
            ({"pos_embed": torch.zeros(1, 92, 64)}, "of another shape: pos_embed is (1, 92, 64), not (1, 101, 64)"),
        ],
    )
    def test_a_file_that_does_not_fit(self, here: Path, changes: dict[str, Any], told: str) -> None:
        name = self.file(**changes)
        with pytest.raises(InputError) as caught:
            self.told(name)
        (problem,) = caught.value.problems
        assert problem.startswith("timm:test_vit: w.safetensors ('bench convert timm:test_vit ")
        assert problem.endswith(f"reads other names) does not fit; {told}")

    def test_a_file_that_is_none(self, here: Path) -> None:
        Path("w.safetensors").write_bytes(b"x")
        with pytest.raises(InputError, match=r"w\.safetensors: cannot be read as safetensors: "):
            self.told("micro_vit@w.safetensors")

    def test_rows_that_are_not_seen(self, here: Path) -> None:
        (note,) = self.told("timm:test_convnext@none", 33)
        assert note == {
            "note": "timm:test_convnext@none: of images of 33 pixels a side it does not see the last row and column"
        }
        assert self.told("timm:test_convnext@none", 64) == []

    def test_a_size_that_a_network_does_not_take(self, here: Path) -> None:
        with pytest.raises(InputError, match=r"timm:test_vit@none: it takes no images of 33 pixels a side: .*patch"):
            self.told("timm:test_vit@none", 33)


def bench(*arguments: str) -> subprocess.CompletedProcess[str]:
    """``bench`` in a process of its own, as somebody types it."""
    return subprocess.run([BENCH, *arguments], capture_output=True, text=True, check=False)


def refusals(text: str) -> list[str]:
    """What is said beside what is planned."""
    return [line for line in text.splitlines() if line.startswith("bench: ")]


@pytest.mark.slow
class TestInAProcess:
    @pytest.mark.usefixtures("warm")
    def test_names_that_timm_does_not_have_and_cards_of_ones_own(self, here: Path) -> None:
        plugin(here, "title: Mine\nmodel: vision_transformer\narguments: {patch_sise: 4}\n")
        before = sorted(here.rglob("*"))
        names = "timm:vit_tinny_patch16_224@none,timm:resnet18@none,timm:vit_tiny_patch16_224.augreg"
        done = bench("run", "demo", "--methods", "ce", "--backbones", names, "--set", "image_size=0")
        assert (done.returncode, done.stdout) == (2, "")
        wrong, tag = done.stderr.splitlines()[-2:]
        assert wrong.startswith("bench: timm:vit_tinny_patch16_224@none: timm ")
        assert "has no model 'vit_tinny_patch16_224'; the nearest names: vit_tiny_patch16_224, " in wrong
        assert tag == (
            "bench: timm:vit_tiny_patch16_224.augreg: timm's vit_tiny_patch16_224 has no weights 'augreg'; "
            "it has augreg_in21k, augreg_in21k_ft_in1k"
        )
        done = bench("run", "demo", "--plugin", "own", "--methods", "ce", "--backbones", "mine@none")
        assert (done.returncode, done.stdout) == (2, "")
        (own,) = refusals(done.stderr)
        assert own.startswith("bench: mine@none: it cannot be built: TypeError: ")
        assert "patch_sise" in own
        assert sorted(here.rglob("*")) == before

    def test_weights_without_a_connection(self, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("HF_HUB_OFFLINE", "1")
        done = bench("run", "demo", "--methods", "ce", "--backbones", "deit_small,resnet50")
        assert (done.returncode, done.stdout) == (2, "")
        lines = refusals(done.stderr)
        for name, line in zip(("deit_small", "resnet50"), lines, strict=True):
            assert line.startswith(f"bench: {name}: its pre-trained weights could not be fetched (")
            assert line.endswith(f"give a file ({name}@FILE.safetensors) or train from scratch ({name}@none)")
        assert not list(here.iterdir())

    def test_weights_are_fetched_once_for_every_worker(self, here: Path, hub: Hub) -> None:
        done = bench("run", "digits", "--backbones", SMALL, *SHORT, "--seeds", "2", "--jobs", "2")
        assert done.returncode == 0, done.stderr
        assert "2 of 2 are done" in done.stdout
        assert hub.fetched(WEIGHTS) == 1
        assert sum(WEIGHTS in asked for asked in hub.asked) == 2, "of a file that is here, the hub was asked again"

    @pytest.mark.parametrize(("ending", "code"), [(signal.SIGINT, 130), (signal.SIGKILL, -signal.SIGKILL)])
    def test_what_takes_long_is_said_and_ends_with_the_launch(
        self, ending: signal.Signals, code: int, here: Path, hub: Hub
    ) -> None:
        hub.silent = True
        with subprocess.Popen(
            [BENCH, "run", "digits", "--backbones", SMALL, *SHORT],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
            preexec_fn=lambda: signal.signal(
                signal.SIGINT, signal.default_int_handler
            ),  # where tests run with it ignored
        ) as front:
            try:
                assert front.stderr is not None
                line = next(line for line in front.stderr if line.startswith("bench: "))
                os.killpg(front.pid, ending)
                out, err = front.communicate(timeout=120)  # the hub never answers
            finally:
                front.kill()
        told = f"bench: fetching the weights of {SMALL} ({WEIGHTS.removesuffix('/model.safetensors')} of the"
        assert line == f"{told} Hugging Face hub)\n"
        assert (front.returncode, out, err) == (code, "", "bench: stopped\n" * (code == 130))
        assert hub.gone.wait(60), "the process that fetches lives on"
        assert not list(here.iterdir())


def test_a_package_that_a_task_needs_is_asked_for_before_anything_is_launched(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    usual = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "transformers" else usual(name))
    assert main(["run", "shapes", "--methods", "ce", "--seeds", "1", "--results", str(tmp_path / "r")]) == 2
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("bench: ")]
    assert line == "bench: segmentation needs transformers: pip install 'finetune-bench[transformers]'"
    assert not (tmp_path / "r" / "runs").exists()

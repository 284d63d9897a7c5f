"""Before any run: a method that refuses the backbone or the steps of its runs is refused at once."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from bench import process
from bench.cli import main
from bench.launch import LocalExecutor, refusals
from bench.launch.refusals import in_words, to_try
from bench.plan.overrides import Overrides
from bench.plan.target import read_plan
from bench.registry import Registry
from bench.spec import RunSpec

REGISTRY = Registry()
SHORT = ("steps=2", "warmup=0")
REFUSED = {
    "surgical(block=9)": "there is no block 9: the backbone has 4, counted from 1",
    "surgical(block=3,count=3)": "there are no blocks 3 to 5: the backbone has 4, counted from 1",
    "last_blocks(k=99)": "there are no 99 last blocks: the backbone has 4, so 4 is the most",
    "coin+soup": "soup: COIN continues one optimiser over its stages, and a member's are kept without it; take another "
    "method, or members = 1",
    "knn+soup": "soup: NearestNeighbourVotes trains nothing, so that there is nothing to average",
    "peft(kind=oft)": "peft: blocks of 32 do not divide the 48 inputs of a layer; change rank",
    "peft(kind=adalora)": "peft: adalora needs 3 steps or more, of which it takes ranks away in the middle ones",
}
FINE = ("surgical(block=4)", "last_blocks(k=4)", "ce+soup", "coin+soup(members=1)", "peft(kind=oft,rank=16)", "peft")


def runs(methods: str, settings: tuple[str, ...] = SHORT, **more: str) -> list[RunSpec]:
    """Runs on digits, of one seed on all images where nothing else is said."""
    axes: dict[str, Any] = {"rates": "100", "seeds": "1", "backbones": "micro_vit", **more}
    return list(read_plan("digits", REGISTRY, Overrides(methods=methods, settings=settings, **axes)).unique.values())


def reasons(specs: list[RunSpec]) -> dict[str, str]:
    """What is refused, by method."""
    return {each["refused"]: each["reason"] for each in refusals.refusals(to_try(specs, REGISTRY), REGISTRY)}


class TestWhatIsTried:
    def test_no_method_whose_code_refuses_nothing(self) -> None:
        assert to_try(runs("ce,gta,linear,l2sp,gta+transmix"), REGISTRY) == []

    def test_a_method_that_derives_from_such_a_one(self, tmp_path: Path) -> None:
        folder = tmp_path / "methods"
        folder.mkdir()
        (folder / "mine.py").write_text(
            "from dataclasses import dataclass\nfrom bench.methods.surgical import Surgical\n\n\n"
            "@dataclass(frozen=True)\nclass Mine(Surgical):\n    pass\n"
        )
        registry = Registry([tmp_path])
        assert [registry.method(name).refuses for name in ("mine", "surgical", "soup", "peft", "ce")] == [
            *(True, True, True, True),
            False,
        ]

    def test_one_run_of_a_method_and_backbone_that_of_fewest_steps(self) -> None:
        many = runs("last_blocks,last_blocks(k=2),ce", ("epochs=2", "steps=0", "warmup=0"), rates="15,100", seeds="5")
        tried = to_try(many, REGISTRY)
        assert [(spec.method.name, dict(spec.method.hyper)["k"], spec.rate) for spec in tried] == [
            ("last_blocks", 1, 15),
            ("last_blocks", 2, 15),
        ]


class TestRefusals:
    @pytest.mark.parametrize("method", REFUSED)
    def test_what_cannot_be_trained(self, method: str) -> None:
        assert reasons(runs(method)) == {method: REFUSED[method]}

    @pytest.mark.parametrize("method", FINE)
    def test_what_can(self, method: str) -> None:
        assert reasons(runs(method)) == {}

    def test_as_many_steps_as_are_needed(self) -> None:
        assert reasons(runs("peft(kind=adalora)", ("steps=3", "warmup=0"))) == {}

    def test_each_backbone_is_built_once(self, monkeypatch: pytest.MonkeyPatch) -> None:
        built = []
        build = refusals._sketched

        def counting(spec: RunSpec, registry: Registry) -> Any:
            built.append(spec.backbone.name)
            return build(spec, registry)

        monkeypatch.setattr(refusals, "_sketched", counting)
        methods = "surgical(block=9),last_blocks(k=3),last_blocks(k=9),surgical,ce+soup"
        specs = runs(methods, backbones="micro_vit,micro_resnet", rates="15,100", seeds="3")
        refused = [(each["refused"], each["backbone"]) for each in refusals.refusals(to_try(specs, REGISTRY), REGISTRY)]
        assert built == ["micro_vit", "micro_resnet"]
        assert ("last_blocks(k=9)", "micro_vit") in refused
        assert "surgical" not in {name for name, _ in refused}

    def test_what_breaks_without_values_is_left_to_the_run(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def broken(*_: object) -> None:
            raise RuntimeError("it looks at values")

        monkeypatch.setattr("bench.training.trial.build_method", broken)
        assert reasons(runs("surgical(block=9)")) == {}


def test_a_method_in_words_names_what_is_not_at_its_default() -> None:
    (spec,) = runs("peft(kind=oft)+soup(members=2)")
    assert in_words(spec.method, REGISTRY) == "peft(kind=oft)+soup(members=2)"


class TestLaunching:
    CHOSEN = ("digits", "--rates", "100", "--seeds", "1", "--set", "steps=2", "--set", "warmup=0", "--results", "r")

    @pytest.fixture(autouse=True)
    def _here(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def refuse(*_: object) -> None:
            raise AssertionError("runs would be trained")

        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(LocalExecutor, "execute", refuse)

    def refused(self, capsys: pytest.CaptureFixture[str]) -> list[str]:
        assert not Path("r").exists()
        return [line for line in capsys.readouterr().err.splitlines() if line.startswith("bench: ")]

    def test_a_line_for_each_method_and_nothing_is_trained(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        said = [{"refused": "last_blocks(k=9)", "backbone": name, "reason": "no"} for name in ("one", "two")]
        said.append({"refused": "surgical(block=9)", "backbone": "one", "reason": "neither"})
        script = f"print({chr(10).join(map(json.dumps, said))!r})"
        monkeypatch.setattr(process, "program", lambda module: [sys.executable, "-u", "-c", script])
        assert main(["run", *self.CHOSEN, "--methods", "last_blocks(k=9)", "--backbones", "micro_vit"]) == 2
        assert self.refused(capsys) == [
            "bench: last_blocks(k=9) on one, two: no",
            "bench: surgical(block=9) on one: neither",
        ]

    @pytest.mark.slow
    @pytest.mark.usefixtures("warm")
    def test_in_a_process(self, capsys: pytest.CaptureFixture[str]) -> None:
        methods = "surgical(block=9),last_blocks(k=99),coin+soup,ce,last_blocks(k=4)"
        assert main(["run", *self.CHOSEN, "--methods", methods, "--backbones", "micro_vit"]) == 2
        assert self.refused(capsys) == [
            f"bench: {method} on micro_vit: {REFUSED[method]}"
            for method in ("surgical(block=9)", "last_blocks(k=99)", "coin+soup")
        ]

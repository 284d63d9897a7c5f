"""Cards of backbones whose weights are published elsewhere and given as a file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from bench.backbones import build_model
from bench.cards.backbone import TO_BE_GIVEN, file_sha256
from bench.commands.show import describe
from bench.errors import InputError
from bench.plan.overrides import Overrides
from bench.plan.table import Plan
from bench.plan.target import read_plan
from bench.reading.document import read_document
from bench.records.store import Store
from bench.registry import Registry

NAMES = ["t2t_vit_14", "cvt_13"]


def refused(action: Callable[[], object]) -> str:
    """What the one problem of an action says, in one line."""
    with pytest.raises(InputError) as caught:
        action()
    (problem,) = caught.value.problems
    assert "\n" not in problem
    return problem


def plan(backbone: str, registry: Registry | None = None) -> Plan:
    overrides = Overrides(methods="ce", backbones=backbone, rates="15", seeds="1")
    registry = registry or Registry()
    return read_plan("demo", registry, overrides)


def card_file(folder: Path, *lines: str) -> Registry:
    (folder / "backbones").mkdir()
    text = "\n".join(("title: t", "model: resnet18", *lines, ""))
    (folder / "backbones" / "mine.yaml").write_text(text, encoding="utf-8")
    return Registry([folder])


@pytest.mark.parametrize("name", NAMES)
class TestWhatIsShipped:
    def test_the_name_alone_is_planned_and_has_no_run(self, name: str) -> None:
        planned = plan(name)
        assert list(planned.lacks) == [name]
        assert (len(planned.unique), planned.trainable) == (1, {})
        problem = refused(Registry().backbone(name).require_weights)
        assert problem.startswith(f"{name}: its weights are not shipped; write {name}@FILE.safetensors ")
        assert f"with what 'bench convert {name} CHECKPOINT' makes of the one published at https://" in problem
        assert problem.endswith(f"or {name}@none for random ones")

    def test_the_name_alone_cannot_be_built(self, name: str) -> None:
        assert "@FILE.safetensors" in refused(lambda: build_model(Registry().backbone(name), 3))

    def test_the_name_alone_can_be_shown(self, name: str, tmp_path: Path) -> None:
        (shown,) = describe(name, Registry(), Store(tmp_path))
        assert f"weights: {TO_BE_GIVEN}" in shown.text
        assert "https://" in shown.text

    def test_with_random_or_given_weights_it_is_planned(self, name: str, tmp_path: Path) -> None:
        file = tmp_path / "w.safetensors"
        file.write_bytes(b"weights")
        for chosen in ("none", str(file)):
            assert plan(f"{name}@{chosen}")
        registry = Registry()
        given = registry.backbone(f"{name}@{file}")
        assert (given.weights, given.sha256) == (str(file), file_sha256(file))
        assert len({registry.backbone(f"{name}{chosen}").means for chosen in ("", "@none", f"@{file}")}) == 3

    def test_it_says_where_its_weights_come_from(self, name: str) -> None:
        facts = read_document(Registry().backbone_files[name])
        assert {"paper", "pretraining", "pretraining_data", "published", "licence"} <= set(facts)


class TestTheFormat:
    def test_weights_beside_the_card_are_its_own_wherever_they_are_published(self, tmp_path: Path) -> None:
        registry = card_file(tmp_path, "published: somewhere")
        own = tmp_path / "backbones" / "mine.safetensors"
        save_file({"x": torch.zeros(1)}, own)
        assert registry.backbone("mine").weights == str(own)
        assert plan("mine", registry)

    def test_without_a_layout_the_published_file_is_taken_as_it_is(self, tmp_path: Path) -> None:
        problem = refused(lambda: build_model(card_file(tmp_path, "published: https://x").backbone("mine"), 3))
        assert problem.startswith("mine: its weights are not shipped; write mine@FILE.safetensors with those published")

    def test_where_they_are_published_is_a_text(self, tmp_path: Path) -> None:
        problem = refused(lambda: card_file(tmp_path, "published: 5").backbone("mine"))
        assert problem.endswith("mine.yaml:3: 'published' is missing or is not a text")

    def test_a_card_that_says_nothing_of_its_weights_lacks_their_checksum(self, tmp_path: Path) -> None:
        assert "'sha256' is missing" in refused(lambda: card_file(tmp_path).backbone("mine"))

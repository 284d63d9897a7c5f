"""Policies act on any method: they are written behind it, are part of the run's id, and train with it."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from bench.cards.code import code_digest
from bench.entry import MethodEntry, read_entries, typed_entry
from bench.errors import InputError
from bench.plan.overrides import Overrides
from bench.plan.table import Plan
from bench.plan.target import read_plan
from bench.registry import Registry
from bench.spec import RunSpec, from_json, identity, to_json
from bench.training.trial import build_method, run_trial

SCALE = '''
"""A policy for tests."""
from dataclasses import dataclass
from bench.method import Policy, hyper, replace

@dataclass(frozen=True)
class Scale(Policy):
    """Every term of the inner loss, times a factor."""
    paper = "none"
    needs = {"tokens"}
    factor: float = hyper(2.0, low=0, source="our choice")

    def stages(self, model, recipe, data):
        for stage in self.inner.stages(model, recipe, data):
            def loss(model, batch, inner=stage.loss):
                return {name: self.factor * term for name, term in inner(model, batch).items()}
            yield replace(stage, loss=loss)
'''

FORGET = '''
"""Spoils the head after the last stage."""
from dataclasses import dataclass
from bench.method import Method

@dataclass(frozen=True)
class Forget(Method):
    """Plain fine-tuning, and then a head that says class 3 of everything."""
    paper = "none"

    def stages(self, model, recipe, data):
        yield from super().stages(model, recipe, data)
        model.head.weight.data.zero_()
        model.head.bias.data.zero_()
        model.head.bias.data[3] = 1
'''


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    (tmp_path / "scale.py").write_text(SCALE.lstrip())
    (tmp_path / "forget.py").write_text(FORGET.lstrip())
    return Registry([tmp_path / "scale.py", tmp_path / "forget.py"])


def planned(registry: Registry, methods: str, backbone: str = "") -> Plan:
    settings = ("steps=6", "warmup=1", "evaluations=2")
    overrides = Overrides(methods=methods, backbones=backbone, rates="15", seeds="1", settings=settings)
    return read_plan("demo", registry, overrides)


def spec(registry: Registry, method: str) -> RunSpec:
    (only,) = planned(registry, method).unique.values()
    return only


def test_a_chain_is_written_on_the_command_line_or_in_a_file(registry: Registry) -> None:
    def told(entry: MethodEntry) -> tuple[object, ...]:
        return (
            entry.card.name,
            dict(entry.hyper)["weight"],
            [(card.name, dict(hyper)) for card, hyper in entry.policies],
        )

    expected = ("gta", 10.0, [("scale", {"factor": 2.0})])
    assert told(typed_entry("gta(weight=10)+scale", registry)) == expected
    (entry,) = read_entries("A", {"gta": {"weight": 10}, "scale": {}}, "f:1", registry)
    assert told(entry) == expected
    swept = read_entries("A", {"gta": {"weight": [1, 10]}, "scale": {"factor": [2, 3]}}, "f:1", registry)
    assert [entry.label for entry in swept] == [
        f"A (weight={weight}, factor={factor})" for weight in (1, 10) for factor in (2, 3)
    ]
    (plain,) = read_entries("B", "l2sp+scale", "f:1", registry)
    assert plain.spec.full_name == "l2sp+scale"


def test_only_a_policy_can_follow(registry: Registry) -> None:
    with pytest.raises(InputError, match=r"l2sp cannot act on another method; policies can \(.*scale.*\)"):
        typed_entry("gta+l2sp", registry)
    with pytest.raises(InputError, match="scale: factor = -1 is not allowed"):
        typed_entry("gta+scale(factor=-1)", registry)


def test_it_is_part_of_the_id_and_a_method_without_one_keeps_its_id(registry: Registry) -> None:
    ids = {text: spec(registry, text).id for text in ("gta", "gta+scale", "gta+scale(factor=3)", "ce+scale", "scale")}
    assert len(set(ids.values())) == len(ids)
    assert "policies" not in identity(spec(registry, "gta"))["method"]
    chained = spec(registry, "gta+scale+scale(factor=0)")
    assert from_json(to_json(chained)) == chained
    assert chained.label.startswith("gta+scale+scale ")


def test_needs_of_both_are_asked_for(registry: Registry) -> None:
    with pytest.raises(InputError, match=r"ce\+scale needs tokens"):
        planned(registry, "ce+scale", "timm:resnet18@none")


def test_it_acts_on_the_method_before_it(registry: Registry) -> None:
    method = build_method(spec(registry, "gta(weight=10)+scale(factor=3)+scale(factor=5)"), registry)
    assert (method.factor, method.inner.factor, method.inner.inner.weight) == (5, 3, 10)  # type: ignore[attr-defined]


@pytest.mark.slow
def test_its_terms_are_trained(registry: Registry) -> None:
    device = torch.device("cpu")
    losses = [run_trial(spec(registry, text), registry, device).record.curve[0].loss for text in ("ce", "ce+scale")]
    plain, scaled = (loss["ce"] or 0.0 for loss in losses)
    assert scaled > 1.5 * plain > 0


def test_what_a_method_does_after_its_last_stage_is_evaluated(registry: Registry) -> None:
    outcome = run_trial(spec(registry, "forget"), registry, torch.device("cpu"))
    first, last = outcome.predictions["test"]
    assert (last == 3).all()
    assert not (first == 3).all()
    assert outcome.record.curve[-1].step == 6
    assert outcome.record.curve[-1].loss


def test_formulas_that_methods_share_count_as_their_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else an edit of bench/losses.py would leave old records standing for new code."""
    before = {name: Registry().method(name).means for name in ("gta", "ce")}
    other = tmp_path / "losses.py"
    other.write_text("CHANGED = True\n")
    monkeypatch.setattr("bench.cards.method.LOSSES", other)
    after = {name: Registry().method(name).means for name in ("gta", "ce")}
    assert after["gta"] != before["gta"]
    assert after["ce"] == before["ce"] == code_digest((Registry().method_files["ce"]).read_text())

"""What a method demands of a task, told from the text of its file."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.cards import MethodCard
from bench.cards.demands import ANSWER, HEAD, LABEL, VIEWS
from bench.registry import Registry

FILE = '''
"""Mine."""

from dataclasses import dataclass

from bench.method import Batch, Method, Stage, hyper, soft_targets


@dataclass(frozen=True)
class Mine(Method):
    """Mine."""

    paper = "a test"

    labels: str = hyper("a", choices=("a", "b"), source="a test")
    on: bool = hyper(False, source="a test")
    n: int = hyper(1, low=0, source="a test")

    def stages(self, model, recipe, data):
        yield Stage(model, self.loss, recipe)

    def loss(self, model, batch):
        {line}
        return {"ce": batch.cross_entropy(model(batch.images))}
'''

DEMANDS = {
    "x = batch.labels": (LABEL, "reads batch.labels"),
    "x = some(batch).targets[0]": (LABEL, "reads some(batch).targets"),
    "x = getattr(batch, 'labels')": (LABEL, "reads labels"),
    "x = soft_targets(y, 3, 0.1)": (LABEL, "makes targets of labels"),
    "x = model(batch.images).logits": (ANSWER, "uses model(batch.images).logits"),
    "x = model.head.weight": (HEAD, "uses model.head.weight"),
    "x = model.head(y)": (HEAD, "calls model.head"),
    "model.head = y": (HEAD, "replaces model.head"),
    "model.norm_features()": (HEAD, "uses model.norm_features"),
    "x = model.source_head": (ANSWER, "uses model.source_head"),
    "x = Stage(model, y, z, views=2)": (VIEWS, "has views=2"),
    "x = Stage(model, y, z, views=self.n + 1)": (VIEWS, "has views=self.n + 1"),
}
NOTHING = [
    "x = model(batch.images).features, batch.progress, batch.images",
    "x = self.labels",
    "x = model.head.parameters()",
    "x = projector.weight",
    "x = Stage(model, y, z, views=1, train=(model.head,))",
    "x = 'batch.labels'  # batch.labels",
    "batch.cross_entropy(model(batch.images))",
    "x = getattr(batch)",
]
GUARDED = {
    "x = batch.labels if self.on else 1": {"on": True},
    "x = 1 if not self.on else batch.labels": {"on": True},
    "x = batch.labels if self.on and self.n > 3 else 1": {"on": True, "n": 4},
    "x = batch.labels if self.labels in ('b', 'c') else 1": {"labels": "b"},
    "x = batch.labels if 2 <= self.n < 5 else 1": {"n": 2},
    "x = Stage(model, y, z, views=self.n)": {"n": 2},
}


def method(folder: Path, line: str) -> MethodCard:
    path = folder / "mine.py"
    path.write_text(FILE.replace("{line}", line), encoding="utf-8")
    return Registry([path]).method("mine")


@pytest.mark.parametrize("line", DEMANDS)
def test_what_not_every_task_has_is_seen(line: str, tmp_path: Path) -> None:
    (demand,) = method(tmp_path, line).demands
    assert (demand.of, demand.what) == DEMANDS[line]
    place = FILE.splitlines().index("        {line}") + 1
    assert demand.place == f"{tmp_path.name}/mine.py:{place}"
    assert demand.reached({"n": 1})


def test_a_name_that_is_given_to_the_head_is_it(tmp_path: Path) -> None:
    (demand,) = method(tmp_path, "h = model.head; x = h.bias").demands
    assert demand.what == "uses h.bias"


@pytest.mark.parametrize("line", NOTHING)
def test_what_every_task_has_is_none(line: str, tmp_path: Path) -> None:
    assert method(tmp_path, line).demands == ()


@pytest.mark.parametrize("line", GUARDED)
def test_hyper_parameters_decide_whether_it_is_reached(line: str, tmp_path: Path) -> None:
    card = method(tmp_path, line)
    (demand,) = card.demands
    assert not demand.reached(dict(card.resolve({})))
    assert demand.reached(dict(card.resolve(GUARDED[line])))  # type: ignore[arg-type]


def test_what_a_child_overrides_is_not_its_demand(tmp_path: Path) -> None:
    method(tmp_path, "x = batch.labels")
    text = """
from dataclasses import dataclass
from bench.method import Method
from bench.methods.mine import Mine

@dataclass(frozen=True)
class Child(Mine):
    paper = "a test"

    def loss(self, model, batch):
        return {body}
"""
    for body, count in (('{"ce": batch.cross_entropy(model(batch.images))}', 0), ("super().loss(model, batch)", 1)):
        child = tmp_path / "child.py"
        child.write_text(text.replace("{body}", body), encoding="utf-8")
        assert len(Registry([tmp_path / "mine.py", child]).method("child").demands) == count


def test_code_that_is_nested_deeply_is_read(tmp_path: Path) -> None:
    sums = " + ".join(["1"] * 800)
    demands = method(tmp_path, f"x = batch.labels if {sums} else ({sums})").demands
    assert [demand.what for demand in demands] == ["reads batch.labels"]
    assert demands[0].reached({})


def test_a_card_can_be_compared(tmp_path: Path) -> None:
    line = "x = batch.labels if self.on else 1"
    assert method(tmp_path, line) == method(tmp_path, line)

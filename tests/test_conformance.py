"""The promises of a method: each check notices a method that breaks it, and says what to do."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.cli import main
from bench.conformance import CHECKS, OF_EACH_TASK, examine, find_examined
from bench.errors import InputError
from bench.notices import counts, look_at, notices
from bench.registry import Registry
from bench.task import tasks

SOUND = '''
"""A method that keeps every promise."""

from dataclasses import dataclass

import torch

from bench.method import Method, Stage, hyper


@dataclass(frozen=True)
class Mine(Method):
    """It is plain fine-tuning with a weight."""

    paper = "a test"

    weight: float = hyper(1.0, low=0, source="a test")

    def stages(self, model, recipe, data):
        yield Stage(model, self.loss, recipe)

    def loss(self, model, batch):
        return {"ce": self.weight * batch.cross_entropy(model(batch.images))}
'''

BROKEN = {
    "not frozen": ("@dataclass(frozen=True)", "@dataclass", "its card", "cannot inherit non-frozen dataclass"),
    "no paper": ('paper = "a test"', 'paper = ""', "its card", "it has no paper"),
    "not finite": ("self.weight * batch", "float('inf') * batch", "its loss", "the term ce must be one finite number"),
    "no gradient": ("model(batch.images))", "model(batch.images)).detach()", "its loss", "no term has a gradient"),
    "not named": ('{"ce": self', "{0: self", "its loss", "dictionary of named terms"),
    "a vector": ("self.weight * batch", "torch.ones(2) * batch", "its loss", "must be one finite number"),
    "stray": (
        "        yield Stage(model, self.loss, recipe)",
        "        def loss(model, batch):\n"
        "            with torch.no_grad():\n"
        "                model.backbone.pos_embed.add_(1)\n"
        "            return self.loss(model, batch)\n"
        "        yield Stage(model, loss, recipe, train=(model.head,))",
        "what a stage lists",
        "moves backbone.pos_embed, which it does not list",
    ),
    "nothing trained": (
        "        yield Stage(model, self.loss, recipe)",
        "        other = torch.nn.Linear(1, 1)\n"
        "        def loss(model, batch):\n"
        "            return {'other': other(torch.ones(1, 1)).sum()}\n"
        "        yield Stage(model, loss, recipe, train=(other,))",
        "what a stage lists",
        "trains nothing of its model",
    ),
    "over budget": (
        "        yield Stage(model, self.loss, recipe)",
        "        yield Stage(model, self.loss, recipe)\n        yield Stage(model, self.loss, recipe)",
        "its stages keep within",
        "they take 12 of 6 steps",
    ),
    "a model beside": (
        "        yield Stage(model, self.loss, recipe)",
        "        yield Stage(model, self.loss, recipe, beside={'twin': model})",
        "what is scored beside its model",
        "stage 1 has twin beside its model; the class names them all",
    ),
    "scored and not kept": (
        "        yield Stage(model, self.loss, recipe)",
        "        import copy\n        yield Stage(model, self.loss, recipe, scored=copy.deepcopy(model))",
        "what is scored beside its model",
        "no module of 'state'",
    ),
    "other draws": (
        "self.weight * batch",
        "torch.rand((), generator=self.generator()) * batch",
        "the same seeds",
        "differs: draw from torch's global generator",
    ),
    "a counter": (
        "        yield Stage(model, self.loss, recipe)",
        "        steps = []\n"
        "        def loss(model, batch):\n"
        "            steps.append(1)\n"
        "            return {'ce': len(steps) * batch.cross_entropy(model(batch.images))}\n"
        "        yield Stage(model, loss, recipe)",
        "a training that is stopped",
        "differs: what a loss changes must be tensors of modules listed in 'state'",
    ),
    "no mean": (
        '    def loss(self, model, batch):\n        return {"ce": self.weight * batch',
        '    per_image = True\n\n    def loss(self, model, batch):\n        return {"ce": len(batch.labels) * batch',
        "a batch may be computed in parts",
        "differs; say per_image = False",
    ),
    "a look at the batch": (
        "        yield Stage(model, self.loss, recipe)",
        "        model.backbone.register_forward_hook(lambda module, images, found: found - found.mean(0))\n"
        "        yield Stage(model, self.loss, recipe)",
        "a batch may be computed in parts",
        "differs; what the model computes must depend on its images and weights alone",
    ),
    "raises": ("return {", "raise KeyError('no such thing')\n        return {", "its loss", "(mine.py:"),
}


def broken(tmp_path: Path, old: str, new: str) -> Path:
    assert old in SOUND
    path = tmp_path / "mine.py"
    unseeded = (
        "\n    def generator(self):\n        made = torch.Generator()\n        made.seed()\n        return made\n"
    )
    path.write_text(SOUND.replace(old, new) + unseeded, encoding="utf-8")
    return path


def findings(path: Path) -> dict[str, str]:
    registry = Registry([path])
    return dict(examine(find_examined(registry.method("mine"), registry)))


@pytest.mark.slow
def test_a_sound_method_keeps_all_promises(tmp_path: Path) -> None:
    found = findings(broken(tmp_path, "Mine", "Mine"))
    assert list(found) == list(CHECKS)
    assert not any(found.values())


@pytest.mark.parametrize("fault", BROKEN)
@pytest.mark.slow
def test_a_broken_promise_is_noticed_and_named(fault: str, tmp_path: Path) -> None:
    old, new, promise, message = BROKEN[fault]
    found = findings(broken(tmp_path, old, new))
    (problem,) = (told for sentence, told in found.items() if sentence.startswith(promise))
    assert message in problem


def test_a_backbone_that_lacks_something_is_refused_with_the_reason() -> None:
    registry = Registry()
    with pytest.raises(InputError, match=r"gta: timm:resnet18@none does not offer cls_attention; name a backbone"):
        find_examined(registry.method("gta"), registry, "timm:resnet18@none")


@pytest.mark.slow
def test_the_command_tells_each_promise_and_fails_where_one_is_broken(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["check-method", str(broken(tmp_path, "Mine", "Mine"))]) == 0
    out = capsys.readouterr().out
    assert out.count("\n  kept ") == len(CHECKS) + len(OF_EACH_TASK) * (len(tasks()) - 1)
    assert out.endswith("all promises are kept\n")
    assert main(["check-method", str(broken(tmp_path, "self.weight * batch", "float('nan') * batch"))]) == 1
    assert "  broken  its loss gives finite named terms" in capsys.readouterr().out


@pytest.mark.parametrize("given", ["nowhere.py", "no_such_method"])
def test_the_command_refuses_what_is_not_there(given: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check-method", given]) == 2
    assert capsys.readouterr().err.startswith("bench: ")


def noticed(path: Path) -> tuple[list[str], list[str]]:
    registry = Registry([path])
    subject = find_examined(registry.method("mine"), registry)
    looks = look_at(subject)
    return list(counts(looks)), list(notices(subject, looks))


STAGE = "        yield Stage(model, self.loss, recipe)"
AUX = (
    "        aux = torch.nn.Linear(model.dim, 10)\n"
    "        def loss(model, batch):\n"
    "            out = model(batch.images)\n"
    "            return {'ce': batch.cross_entropy(out), 'aux': aux(out.features).square().mean()}\n"
    "        yield Stage(model, loss, recipe"
)
EMPTY = STAGE[:-1] + ", train=(model.head, torch.nn.ParameterList([])))"
UNUSED = STAGE[:-1] + ", train=(model, torch.nn.Linear(3, 3)))"
NOTICED = {
    "a head that no stage trains": (AUX + ")", "no stage trains aux.bias, aux.weight, though the loss depends on it"),
    "an adapter that matches no module": (EMPTY, "stage 1 lists a ParameterList without weights: what it was to adapt"),
    "a linear probe in disguise": (EMPTY, "every stage trains the head alone: on this backbone it is a linear probe"),
    "weights that nothing uses": (UNUSED, "stage 1 lists a Linear of 12 weights on which its loss does not depend"),
}
CLEAN = {
    "a head that is trained": AUX + ", train=(model, aux))",
    "a head that is kept": AUX + ", state=(aux,))",
    "a head that an earlier stage trained": (
        AUX + ".window(0, 0.5), train=(model, aux))\n        yield Stage(model, loss, recipe.window(0.5, 1))"
    ),
    "a part of the model without weights": STAGE[:-1] + ", train=(model, model.backbone.pos_drop))",
}


@pytest.mark.parametrize("kind", NOTICED)
def test_what_may_not_be_meant_is_noticed(kind: str, tmp_path: Path) -> None:
    stages, notice = NOTICED[kind]
    _, found = noticed(broken(tmp_path, STAGE, stages))
    assert any(sentence.startswith(notice) for sentence in found)


@pytest.mark.parametrize("kind", CLEAN)
def test_what_is_meant_is_not_noticed(kind: str, tmp_path: Path) -> None:
    assert noticed(broken(tmp_path, STAGE, CLEAN[kind]))[1] == []


@pytest.mark.slow
def test_how_many_weights_each_stage_trains_is_told_by_part(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Weights of micro_vit as its own parameters count them; ten classes on 48 features are 490."""
    told, _ = noticed(broken(tmp_path, STAGE, AUX + ", train=(model, aux))"))
    assert told == ["stage 1 trains 78,980 weights: backbone 78,000, head 490, its own 490"]
    stages = f"{STAGE[:-1]}.window(0, 0.5))\n{STAGE[:-1]}.window(0.5, 1))"
    assert main(["check-method", str(broken(tmp_path, STAGE, stages))]) == 0
    assert "  stages 1 to 2 train 78,490 weights: backbone 78,000, head 490\n" in capsys.readouterr().out


@pytest.mark.parametrize("gives", ["batch.cross_entropy(model(batch.images))", "{'ce': 0.5}", "None"])
def test_a_loss_that_gives_no_terms_is_one_line_with_its_place(
    gives: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = broken(tmp_path, '{"ce": self.weight * batch.cross_entropy(model(batch.images))}', gives)
    assert main(["check-method", str(path)]) == 1
    lines = [line for line in capsys.readouterr().out.splitlines() if "a loss gives a dictionary" in line]
    assert len([line for line in lines if "notice" not in line]) == 1
    line = next(at for at, text in enumerate(SOUND.splitlines(), start=1) if "def loss" in text)
    assert f"{path}:{line}: a loss gives a dictionary of named terms" in lines[0]


@pytest.mark.slow
def test_nothing_of_the_suites_own_methods_is_noticed() -> None:
    registry = Registry()
    for name in registry.method_files:
        subject = find_examined(registry.method(name), registry)
        looks = look_at(subject)
        assert (name, list(notices(subject, looks))) == (name, [])


@pytest.mark.slow
def test_a_method_is_tried_at_each_task_that_it_is_for(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One that reads the size of logits says so where they are of pixels; what reads labels is not for masks."""
    path = broken(tmp_path, 'paper = "a test"', 'paper = "a test"\n    tasks = {"classification", "segmentation"}')
    text = path.read_text(encoding="utf-8")
    pixels = "        assert model(batch.images).logits.ndim == 2, 'pixels'\n        return {"
    path.write_text(text.replace("        return {", pixels), encoding="utf-8")
    assert main(["check-method", str(path)]) == 1
    out = capsys.readouterr().out
    assert out.count("  broken  at segmentation, ") == 2
    assert out.count("AssertionError: pixels (mine.py:") == 1
    assert out.endswith("2 of its promises are broken\n")


@pytest.mark.slow
def test_why_a_method_is_not_for_a_task_is_told_with_its_place(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = broken(tmp_path, '{"ce": self.weight *', '{"ce": 0 * batch.labels.sum() + self.weight *')
    assert main(["check-method", str(path)]) == 0
    line = next(at for at, text in enumerate(path.read_text().splitlines(), start=1) if "batch.labels" in text)
    why = f"mine: {tmp_path.name}/mine.py:{line} reads batch.labels: it needs one label an image"
    out = capsys.readouterr().out
    assert "  task    classification\n" in out
    for task in ("multilabel", "segmentation"):
        assert f"  task    {task}: no, {why}, and {task} has none\n" in out


@pytest.mark.slow
def test_a_method_for_segmentation_alone_is_examined_there(tmp_path: Path) -> None:
    path = broken(tmp_path, 'paper = "a test"', 'paper = "a test"\n    tasks = {"segmentation"}')
    registry = Registry([path])
    subject = find_examined(registry.method("mine"), registry)
    assert subject.task == "segmentation"
    assert set(dict(examine(subject)).values()) == {""}
    with pytest.raises(InputError, match="mine is for segmentation: cvt_13@none: not written yet: a CvT has no"):
        find_examined(registry.method("mine"), registry, "cvt_13@none")


def test_a_task_that_is_not_there_is_refused_with_its_line(tmp_path: Path) -> None:
    path = broken(tmp_path, 'paper = "a test"', 'paper = "a test"\n    tasks = {"segmentaton"}')
    with pytest.raises(
        InputError, match=r"mine\.py:\d+: tasks must be a set of tasks, of classification, multilabel, segmentation"
    ):
        Registry([path]).method("mine")

"""Which methods are for which task: told from their code, and tried."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from bench.conformance import OF_EACH_TASK, examine, find_examined
from bench.errors import InputError
from bench.method import Terms
from bench.registry import Registry
from bench.task import find_task, tasks_of
from bench.training.feed import fed
from bench.training.fit import set_modes

REGISTRY = Registry()
SEGMENTATION = find_task("segmentation")
LABEL, HEAD, ANSWER = "it needs one label an image", "it needs a linear head", "it needs one answer an image"

SERVING = [
    *("attention_only", "bss", "ce", "delta", "drloc", "feature_distillation", "ffn_only", "gta", "l2", "l2sp"),
    *("linear", "noisy_tune", "output_guide", "stochnorm", "wise_ft"),
    *("bitfit", "ema", "last_blocks", "ldifs", "lp_ft", "norm_tuning", "sam", "surgical", "swa"),
    *("adaptformer", "peft", "soup", "ssf", "vpt"),
]
"""The methods that train a decoder as they are."""

REFUSED = {
    "bi_tuning": ("bi_tuning.py", "reads batch.labels", LABEL),
    "co_tuning": ("co_tuning.py", "reads batch.labels", LABEL),
    "coin": ("coin.py", "reads batch.labels", LABEL),
    "core_tuning": ("core_tuning.py", "reads batch.targets", LABEL),
    "flyp": ("flyp.py", "reads batch.labels", LABEL),
    "knn": ("knn.py", "reads batch.labels", LABEL),
    "lacvit": ("lacvit.py", "reads batch.labels", LABEL),
    "linear_sweep": ("linear_sweep.py", "reads batch.targets", LABEL),
    "lwf": ("lwf.py", "uses model.source_head", ANSWER),
    "mix_and_match": ("mix_and_match.py", "reads batch.labels", LABEL),
    "npair": ("npair.py", "reads batch.labels", LABEL),
    "rifle": ("rifle.py", "uses model.head.reset_parameters", HEAD),
    "scl": ("scl.py", "reads batch.labels", LABEL),
    "simclr": ("lacvit.py", "reads batch.labels", LABEL),
    "transmix": ("transmix.py", "reads batch.targets", LABEL),
    "zero_shot": ("zero_shot.py", "replaces model.head", HEAD),
}
"""The others: the file that says so (SimCLR's stages are LaCViT's), what stands there, and what it needs."""

LIMITS: list[tuple[str, dict[str, object], bool]] = [
    ("linear", {"batch_norm": True}, False),
    ("feature_distillation", {"then": "linear"}, True),
    ("feature_distillation", {"batch_norm": True}, True),
    ("feature_distillation", {"then": "linear", "batch_norm": True}, False),
    ("feature_distillation", {"target": "logit"}, False),
    ("feature_distillation", {"target": "cls"}, True),
]
"""Where the hyper-parameters decide."""


def test_every_method_is_told() -> None:
    assert sorted([*SERVING, *REFUSED]) == sorted(REGISTRY.method_files)


@pytest.mark.parametrize("name", REGISTRY.method_files)
def test_all_are_for_images_with_a_label(name: str) -> None:
    assert tasks_of(REGISTRY.method(name))["classification"] == ""


@pytest.mark.parametrize("name", SERVING)
def test_a_method_of_images_alone_is_for_masks(name: str) -> None:
    assert tasks_of(REGISTRY.method(name))["segmentation"] == ""


@pytest.mark.parametrize("name", REFUSED)
def test_a_method_of_labels_or_a_linear_head_is_not_and_the_line_says_so(name: str) -> None:
    file, what, needs = REFUSED[name]
    reason = tasks_of(REGISTRY.method(name))["segmentation"]
    place, _, rest = reason.removeprefix(f"{name}: methods/{file}:").partition(" ")
    assert rest == f"{what}: {needs}, and segmentation has none"
    lines = REGISTRY.method_files[Path(file).stem].read_text(encoding="utf-8").splitlines()
    assert what.partition(" ")[2] in lines[int(place) - 1]


@pytest.mark.parametrize(("name", "values", "serves"), LIMITS, ids=str)
def test_hyper_parameters_may_decide(name: str, values: dict[str, object], serves: bool) -> None:
    card = REGISTRY.method(name)
    assert (SEGMENTATION.why_not_method(card, dict(card.resolve(values))) == "") == serves


def terms(name: str, **values: object) -> list[Terms]:
    """What the loss of each stage gives for a batch of images with masks of noise, untrained."""
    card = REGISTRY.method(name)
    subject = replace(find_examined(card, REGISTRY), task="segmentation")
    data, method = subject.data(), REGISTRY.load_method(card)(**dict(card.resolve(values)))
    given = []
    for planned in method.stages(subject.model(), data.protocol.recipe.resolved(len(data), 16), data):
        stage, images = fed(planned, data)
        set_modes(stage)
        given.append(stage.loss(stage.model, images.batch(0, stage.views)))
    return given


@pytest.mark.slow
@pytest.mark.parametrize("name", SERVING)
def test_what_is_told_is_so(name: str) -> None:
    """Each stage of such a method is trained there for some steps, and moves what it lists."""
    subject = replace(find_examined(REGISTRY.method(name), REGISTRY), task="segmentation")
    assert set(dict(examine(subject, OF_EACH_TASK)).values()) == {""}


@pytest.mark.parametrize(("name", "values"), [(name, values) for name, values, serves in LIMITS if serves], ids=str)
def test_forms_that_serve_are_trained_there(name: str, values: dict[str, object]) -> None:
    assert all(terms(name, **values))


BREAKING: list[tuple[str, dict[str, object], str]] = [
    ("linear", {"batch_norm": True}, "not before a decoder"),
    ("feature_distillation", {"then": "linear", "batch_norm": True}, "not before a decoder"),
    ("rifle", {}, "reset_parameters"),
    ("bi_tuning", {}, "2 views of an image"),
    ("lacvit", {}, "2 views of an image"),
    *((name, {}, "NoneType") for name in ("core_tuning", "coin", "npair", "scl")),  # who reads labels finds none
]


@pytest.mark.parametrize(("name", "values", "why"), BREAKING, ids=str)
def test_forms_that_are_refused_would_break_in_training(name: str, values: dict[str, object], why: str) -> None:
    with pytest.raises((InputError, AttributeError, ValueError, RuntimeError, TypeError), match=why):
        terms(name, **values)

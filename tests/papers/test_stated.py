"""Values of tables with who states them: read into plain values, listed with their sources, refused where malformed."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.errors import InputError, Problems
from bench.papers.stated import LabelValue, Stated, read_runs
from bench.plan.paper import plan_paper
from bench.reading.document import parse_document
from tests.plan.test_paper import mini, problems

LEARNING_RATE = '{value: 1e-3, source: "paper 4", as: other, because: "it names LARS, and this is SGD"}'
WEIGHTS = '{value: [0.1, 1], source: "our choice: three powers of ten"}'
CHANGES = (
    ("settings: {lr: 1e-3}", f"settings: {{lr: {LEARNING_RATE}}}"),
    ("weight: [0.1, 1]", f"weight: {WEIGHTS}"),
    ('"15%": {rate: 15}', '"15%": {rate: 15, hyper: {gta: {reduction: {value: image, source: released code}}}}'),
    ("  baseline: Fine-tune", "  settings: {warmup: {value: 3, source: paper 5}, clip_norm: 1}\n  baseline: Fine-tune"),
)


def runs_of(folder: Path, *changes: tuple[str, str]) -> dict[str, object]:
    """The runs of the small paper, by their id."""
    return dict(plan_paper("mini", mini(folder, *changes)).unique)


def test_a_value_with_its_source_is_the_plain_value(tmp_path: Path) -> None:
    plain = (
        ('"15%": {rate: 15}', '"15%": {rate: 15, hyper: {gta: {reduction: image}}}'),
        ("  baseline: Fine-tune", "  settings: {warmup: 3, clip_norm: 1}\n  baseline: Fine-tune"),
    )
    assert runs_of(tmp_path, *CHANGES) == runs_of(tmp_path, *plain)


def test_sources_are_kept_with_their_places(tmp_path: Path) -> None:
    path = mini(tmp_path, *CHANGES).table_files["mini/table1"]
    found = Problems()
    runs = read_runs(parse_document(path.read_text(encoding="utf-8"), "table1.yaml")["runs"], found)
    assert not found.found
    assert runs.values == (
        LabelValue("settings", "", ("settings", "warmup"), Stated(3, "paper 5"), "table1.yaml:7"),
        LabelValue("settings", "", ("settings", "clip_norm"), Stated(1, ""), "table1.yaml:7"),
        LabelValue(
            "labels",
            "Clutter",
            ("settings", "lr"),
            Stated(1e-3, "paper 4", "it names LARS, and this is SGD"),
            "table1.yaml:11",
        ),
        LabelValue("labels", "15%", ("hyper", "gta", "reduction"), Stated("image", "released code"), "table1.yaml:12"),
        LabelValue(
            "labels",
            "GTA",
            ("method", "gta", "weight"),
            Stated([0.1, 1], "our choice: three powers of ten"),
            "table1.yaml:16",
        ),
    )
    assert [each.stated.is_ours for each in runs.values] == [False, False, False, False, True]


def test_settings_of_a_method_have_sources_too(tmp_path: Path) -> None:
    stated = "{method: {linear: {}, settings: {lr: {value: [1e-3, 1e-2], source: paper 4}}}}"
    (plan,) = plan_paper("mini", mini(tmp_path, ("{method: {gta: {weight: [0.1, 1]}}}", stated))).tables
    assert [each.runs[0].protocol.recipe.lr for each in plan.cells[1][0].candidates] == [1e-3, 1e-2]


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("{value: 1e-3}", "'lr' must be {value: ..., source: 'paper ...'}"),
        ("{source: paper 4}", "'lr' must be {value: ..., source: 'paper ...'}"),
        ("{value: 1e-3, source: 4}", "'lr' must be {value: ..., source: 'paper ...'}"),
        ("{value: 1e-3, source: ''}", "'lr' must be {value: ..., source: 'paper ...'}"),
        ("{a: 1e-3}", "'lr' must be {value: ..., source: 'paper ...'}"),
        ("{value: {a: 1}, source: paper 4}", "'value' must be"),
        ("{value: 1, source: paper 4, page: 3}", "no key beside the value of 'lr' is called 'page'"),
        ("{value: 1, source: paper 4, as: others, because: x}", "no as is called 'others'"),
        ("{value: 1, source: paper 4, as: other}", "'lr' must be as: other, because: '...', both"),
        ("{value: 1, source: paper 4, as: other, because: ' '}", "'lr' must be as: other, because: '...', both"),
        ("{value: 1, source: paper 4, because: it is}", "'lr' must be as: other, because: '...', both"),
    ],
)
def test_a_value_of_another_form_is_refused_with_its_place(tmp_path: Path, value: str, message: str) -> None:
    told = problems(tmp_path, ("settings: {lr: 1e-3}", f"settings: {{lr: {value}}}"))
    assert told.startswith("table1.yaml:10: ")
    assert message in told


@pytest.mark.parametrize(
    "value",
    ["[{value: 1, source: paper 4}, 2]", "{value: [{value: 1, source: paper 4}], source: paper 4}", "[[0.1], 1]"],
)
def test_a_list_that_is_swept_has_plain_values(tmp_path: Path, value: str) -> None:
    told = problems(tmp_path, ("weight: [0.1, 1]", f"weight: {value}"))
    assert told.endswith(": in 'weight' a list has plain values, and who states them stands beside it")


def test_a_setting_that_cannot_be_is_told_where_it_stands(tmp_path: Path) -> None:
    told = problems(tmp_path, ("settings: {lr: 1e-3}", "settings: {lr: {value: fast, source: paper 4}}"))
    assert told == "table1.yaml:10: protocol: lr = 'fast' is not allowed; it must be a number of at least 0"


@pytest.mark.parametrize("wrong", ["as: other", "because: it is", "as: same, because: it is", "as: other, because: 3"])
def test_a_label_is_other_with_its_reason_or_not_at_all(tmp_path: Path, wrong: str) -> None:
    told = problems(tmp_path, ("{dataset: digits}", f"{{dataset: digits, {wrong}}}"))
    assert told == "table1.yaml:9: this label must be as: other, because: '...', both"


def test_only_settings_of_a_protocol_may_be_other(tmp_path: Path) -> None:
    is_other = "as: other, because: it is not"
    told = problems(
        tmp_path, protocol=[("seeds: {value: 2, source: paper 4", "seeds: {value: 2, source: paper 4, " + is_other)]
    )
    assert told == "protocol.yaml:6: 'seeds' must be {value: ..., source: 'paper ...'}, without as and because"
    registry = mini(
        tmp_path,
        protocol=[("lr: {value: 2e-3, source: released code", "lr: {value: 2e-3, source: released code, " + is_other)],
    )
    assert plan_paper("mini", registry).unique
    with pytest.raises(InputError, match="'lr' must be as: other"):
        plan_paper("mini", mini(tmp_path, protocol=[("lr: {value: 2e-3", "lr: {as: other, value: 2e-3")]))

"""The list of how strong what each method adds is: it holds every form of every method, and its numbers come again."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from bench.registry import Registry
from benchmarks import gradient_ratios as ratios

PAGE = (Path(__file__).parents[2] / "results" / "shown" / "gradient_ratios.md").read_text(encoding="utf-8")
ROW = re.compile(r"\| `(\S+)` \| (\d) \| (.+) \| (\S+) \| (\S+) \| (\S+) \|")
Printed = dict[tuple[str, int], tuple[tuple[str, ...], float, float]]


def printed() -> Printed:
    """What stands in the table: by method and stage, the terms and the ratios with few and with many classes."""
    found: Printed = {}
    for written, stage, terms, few, many, _ in ROW.findall(PAGE):
        numbers = [float(number.replace("–", "0")) for number in (few, many)]
        found[written, int(stage)] = tuple(terms.split(", ")), numbers[0], numbers[1]
    return found


def alone() -> set[str]:
    """The methods that add nothing to cross-entropy, as the page has them."""
    (names,) = re.findall(r"Cross-entropy alone: (.+)\.", PAGE)
    return set(names.split(", "))


def test_every_form_of_every_method_is_there() -> None:
    registry, there = Registry(), {written for written, _ in printed()}
    forms = {name: {case.written for case in ratios.cases(registry.method(name))} for name in registry.method_files}
    assert there == {written for name in forms.keys() - alone() for written in forms[name]}
    assert alone() <= forms.keys()


def test_what_is_left_out_of_the_forms_is_a_hyper_parameter_of_some_method() -> None:
    registry = Registry()
    assert {
        name for method in registry.method_files for name in registry.method(method).hypers
    } > ratios.NOT_THE_FORMULA


@pytest.mark.parametrize("name", sorted(alone()))
def test_a_method_of_cross_entropy_alone_adds_nothing(name: str) -> None:
    registry = Registry()
    assert ratios.measured(ratios.Case(registry.method(name)), ratios.DIGITS, registry) == []


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("coin", {}),
        ("coin", {"variant": "released"}),
        ("core_tuning", {}),
        ("core_tuning", {"variant": "released"}),
        ("lwf", {}),
        ("lwf", {"variant": "released"}),
        ("drloc", {"variant": "released"}),
        ("scl", {"weighting": "convex"}),
        ("gta", {"reduction": "image"}),
    ],
)
def test_the_numbers_come_again(name: str, settings: dict[str, str]) -> None:
    """To a fifth: processors and versions round differently, and what is looked for are factors."""
    registry, page = Registry(), printed()
    case = ratios.Case(registry.method(name), tuple(settings.items()))
    found = ratios.measured(case, ratios.DIGITS, registry)
    assert found
    for ratio in found:
        terms, few, _ = page[case.written, ratio.stage]
        assert ratio.terms == terms
        assert ratio.backbone == pytest.approx(few, rel=0.2)


SAID = {"coin", "scl"}
"""Published with one number beside both forms; the cards say how much they differ."""


def test_variants_are_of_one_strength_where_no_card_says_otherwise() -> None:
    """A weight that is run beside a formula it was not published for shows as a factor of 8 to 38."""
    page = printed()
    for (written, stage), (_, few, many) in page.items():
        name, _, form = written.partition("(")
        if form == "variant=released)" and name not in SAID:
            _, plain_few, plain_many = page[name, stage]
            assert few / plain_few == pytest.approx(1, abs=3), written
            assert plain_few / few == pytest.approx(1, abs=3), written
            assert many / plain_many == pytest.approx(1, abs=3), written
            assert plain_many / many == pytest.approx(1, abs=3), written


@pytest.mark.parametrize("name", sorted(SAID))
def test_cards_say_how_much_less_coins_code_does(name: str) -> None:
    page = printed()
    stage = 2 if name == "coin" else 1
    _, few, many = page[name, stage]
    _, released_few, released_many = page[f"{name}(variant=released)", stage]
    assert 5 < few / released_few < many / released_many < 99
    assert "11 (10 classes) to 99" in Registry().method("coin").text
    assert "card of COIN" in Registry().method("scl").text

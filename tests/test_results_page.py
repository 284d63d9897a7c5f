"""The page of speed: each section is one that its command makes, and says with what."""

from __future__ import annotations

import importlib.util
import shlex
import sys
from pathlib import Path
from types import ModuleType

import pytest

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"


@pytest.fixture(scope="module")
def results() -> ModuleType:
    spec = importlib.util.spec_from_file_location("results_page", BENCHMARKS / "results.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # where dataclasses look for the names of types
    spec.loader.exec_module(module)
    return module


def test_each_section_is_made_by_a_script_that_is_here(results: ModuleType) -> None:
    for section in results.SECTIONS:
        python, script, *_ = shlex.split(section.command)
        assert python == "python"
        assert (BENCHMARKS.parent / script).is_file(), section.command


def test_the_page_has_every_section_with_its_command_and_the_hardware(results: ModuleType) -> None:
    texts = results.read(results.PAGE.read_text(encoding="utf-8"))
    assert list(texts) == [*(section.title for section in results.SECTIONS), "Tried and not taken"]
    for section in results.SECTIONS:
        assert f"    $ {section.command}\n" in texts[section.title]
        assert "Made on " in texts[section.title]


def test_what_was_made_stays_where_a_section_is_made_anew(results: ModuleType) -> None:
    first, second, *_ = (section.title for section in results.SECTIONS)
    page = results.page({first: "one", second: "two"})
    texts = results.read(page)
    assert (texts[first], texts[second]) == ("one", "two")
    assert results.page({first: "one", second: "two", "Gone": "three"}) == page

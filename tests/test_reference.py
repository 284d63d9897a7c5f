"""The reference: it is what the readers accept now, nothing that is shipped is missing, and its examples are read."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

import bench
from bench.cards.forms import DOWNLOAD, KEYS, OF_A_VARIANT
from bench.cli import main
from bench.commands.reference import reference
from bench.commands.values import protocols
from bench.entry import FORMS, read_entries
from bench.launch.profile import OPTIONS, PROFILE_ONLY, Resources
from bench.launchers.slurm import Slurm
from bench.papers.claims import KINDS
from bench.protocol import Protocol, Recipe, declared
from bench.reading.document import parse_document, read_document
from bench.reading.keys import Key, check_keys
from bench.records.record import json_schema

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"


@pytest.mark.parametrize(
    ("page", "option", "text"),
    [
        ("reference.md", "", reference),
        ("record.schema.json", " --record", json_schema),
        ("protocols.md", " --protocols", protocols),
    ],
)
def test_the_page_is_of_this_version(page: str, option: str, text: Any) -> None:
    again = f"bench reference{option} > docs/{page}"
    assert (DOCS / page).read_text(encoding="utf-8") == text(), f"make it anew: {again}"


@pytest.mark.parametrize(
    ("options", "first"), [([], "# Reference"), (["--record"], "{"), (["--protocols"], "# The papers' protocols")]
)
def test_the_command_prints_it(options: list[str], first: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["reference", *options]) == 0
    assert capsys.readouterr().out.splitlines()[0] == first


SHIPPED = sorted(
    path
    for folder in ("bench/experiments", "bench/presets", "datasets", "paper_tables")
    for path in (ROOT / folder).rglob("*.yaml")
    if path.is_file()
)


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_every_key_that_is_shipped_is_in_it(path: Path) -> None:
    known = set(re.findall(r"^\| `(\w+)`", reference(), re.MULTILINE)) | {"claims"}
    lacking = {key for key in _keys(read_document(path)) if key not in known}
    assert not lacking


def _keys(section: Mapping[str, Any]) -> Iterator[str]:
    """The keys at the top of a file, and those of what its lists hold."""
    for key, value in section.items():
        yield key
        for part in value if isinstance(value, list) else ():
            yield from part if isinstance(part, Mapping) and key != "exclude" else ()


def test_a_setting_is_read_as_it_is_explained() -> None:
    page = reference()
    for name, setting in {**declared(Recipe), **declared(Protocol)}.items():
        assert f"| `{name}` | {setting.allowed} | {setting.source} |" in page


@pytest.mark.parametrize(("form", "about"), FORMS)
def test_every_form_of_a_method_is_read(form: str, about: str) -> None:
    value = parse_document(f"value: {form}", "page")["value"]
    entries = read_entries("label", value, "page:1", bench.Registry())
    assert ("swept" in about) == (len(entries) > 1)
    assert "three" not in about or len(entries) == 3


def test_a_profile_has_a_key_for_each_resource() -> None:
    keys = [option.key for option in (*OPTIONS, *PROFILE_ONLY)]
    assert sorted(keys) == sorted(Resources.__dataclass_fields__)
    assert {option.key for option in OPTIONS} < {option.key for option in Slurm.options}


def test_a_card_says_what_its_parts_may_say() -> None:
    names = [entry.name for entry in (*KEYS, *DOWNLOAD)]
    assert len(names) == len({*names})
    assert {"classes", "official", "use"} < OF_A_VARIANT
    assert not {"reader", "variants"} & OF_A_VARIANT


def test_every_statement_of_a_claim_is_in_it() -> None:
    page = reference()
    assert all(f"| `{kind}` |" in page for kind in KINDS)


def test_a_key_says_in_words_what_may_stand_behind_it() -> None:
    from bench.errors import Problems

    key = Key("rates", (list, float), "rates")
    section, problems = parse_document("rates: much\n", "mine.yaml"), Problems()
    check_keys(section, [key], "key", problems)
    assert problems.found == [f"mine.yaml:1: 'rates' must be {key.form}, not 'much'"]

"""The signature below a table: what it says, when it changes, and what is said of it."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from bench.cli import main
from bench.errors import InputError
from bench.plan.target import read_plan
from bench.records.store import Store
from bench.registry import Registry
from bench.tables.compare import Table, fill
from bench.tables.signature import Signature, differences, read_signature, signature_of
from tests.test_cli import publish

EXPERIMENT = """\
methods: {CE: ce, GTA: gta}
backbones: [micro_vit]
datasets: [digits]
rates: [15, 100]
seeds: 3
protocol: {steps: 10}
baseline: CE
"""


@pytest.fixture
def mine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.chdir(tmp_path)
    Path("mine.yaml").write_text(EXPERIMENT, encoding="utf-8")
    for spec in read_plan("mine.yaml", Registry()).unique.values():
        publish(Store("results"), spec)
    return "mine.yaml"


def table_of(target: str, results: str = "results") -> Table:
    (table,) = fill(read_plan(target, Registry()), Store(results))
    return table


def signed(target: str, results: str = "results") -> Signature:
    signature = signature_of(table_of(target, results))
    assert signature is not None
    return signature


def printed(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    assert main([*words]) == 0
    return capsys.readouterr().out


def test_it_says_how_the_table_is_made(mine: str) -> None:
    text = str(signed(mine))
    assert text.startswith("bench:mine:top1:on-test:at-last:pooled-holm-column-0.05:n3:v")
    assert read_signature(text) == signed(mine)
    assert not set(text) & set(" '\"$&|;<>()*?[]{}\\!#~`"), "a shell takes it as one plain word"


def test_nothing_is_signed_before_a_run_has_finished(mine: str) -> None:
    shutil.rmtree("results")
    assert signature_of(table_of(mine)) is None


def test_the_same_numbers_have_the_same_digest_in_whatever_order(mine: str) -> None:
    table = table_of(mine)
    rows = replace(table.plan, rows=table.plan.rows[::-1], contests=())
    turned = replace(table, plan=rows, entries=table.entries[::-1])
    assert signature_of(turned).digest == signed(mine).digest  # type: ignore[union-attr]


def test_another_score_or_another_run_has_another_digest(mine: str) -> None:
    digests = {signed(mine).digest}
    gone = next(iter(Path("results/runs").iterdir()))
    shutil.rmtree(gone)
    digests.add(signed(mine).digest)
    Path("mine.yaml").write_text(EXPERIMENT.replace("steps: 10", "steps: 11"), encoding="utf-8")
    for spec in read_plan("mine.yaml", Registry()).unique.values():
        publish(Store("results"), spec)
    digests.add(signed(mine).digest)
    assert len(digests) == 3


@pytest.mark.parametrize("format", ["text", "markdown", "html", "latex", "latex-siunitx", "json"])
def test_it_stands_below_the_table_in_one_piece(mine: str, capsys: pytest.CaptureFixture[str], format: str) -> None:
    text = str(signed(mine))
    assert text in printed(capsys, "table", mine, "--format", format, *(["--width", "120"] if format == "text" else []))
    if format != "json":
        assert text not in printed(capsys, "table", mine, "--format", format, "--no-notes")


def test_in_a_narrow_terminal_it_is_broken_and_still_read(mine: str, capsys: pytest.CaptureFixture[str]) -> None:
    out = printed(capsys, "table", mine, "--width", "40")
    assert max(map(len, out.splitlines())) <= 40
    broken = out.partition("Signature:\n")[2]
    assert broken.count("\n") > 1
    assert read_signature(broken) == signed(mine)


def test_rules_side_by_side_have_one_each(mine: str, capsys: pytest.CaptureFixture[str]) -> None:
    out = printed(capsys, "table", mine, "--selection", "last,best-test", "--width", "120")
    assert out.count("Signature: ") == 2
    assert ":at-last:untested:" in out
    assert ":at-best-test:untested:" in out


def test_what_there_is_to_say_of_it(mine: str, capsys: pytest.CaptureFixture[str]) -> None:
    text = printed(capsys, "show", str(signed(mine)))
    assert "metric: top1 on the test split" in text
    assert "test: pooled, Holm-corrected over the comparisons of each column, at 0.05" in text
    assert "here: the records in results give these very numbers" in text
    (facts,) = json.loads(printed(capsys, "show", str(signed(mine)), "--format", "json"))
    assert facts["values a cell"] == "3"
    assert "(12 runs)" in facts["made with"]


def test_where_the_records_give_other_numbers(mine: str, capsys: pytest.CaptureFixture[str]) -> None:
    text = str(signed(mine))
    shutil.rmtree(next(iter(Path("results/runs").iterdir())))
    assert "the records in results give others: seeds and digest; theirs is bench:mine:" in printed(
        capsys, "show", text
    )
    shutil.rmtree("results/runs")
    assert "no run of it has finished in results" in printed(capsys, "show", text)
    Path("mine.yaml").unlink()
    assert "here: not known: " in printed(capsys, "show", text)


def test_another_version_of_the_suite_is_no_difference(mine: str) -> None:
    signature = signed(mine)
    assert differences(signature, replace(signature, version="9.9")) == []
    assert differences(signature, replace(signature, metric="nll")) == ["metric"]


@pytest.mark.parametrize(
    "text", ["bench:", "bench:demo:top1", "bench:a:b:on-test:at-last:untested:n3:v1:short", "demo"]
)
def test_what_is_no_signature_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="no whole signature of a table, which has the form bench:TABLE:METRIC"):
        read_signature(text)


def test_it_is_refused_in_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", "bench:demo:top1"]) == 2
    assert capsys.readouterr().err.count("\n") == 1

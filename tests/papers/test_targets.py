"""``bench claims`` and ``bench audit`` of the papers and tables that are named, as a user reads them."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from bench.cli import main
from bench.papers.claims import NOT_TESTABLE, Judgement
from bench.registry import Registry

REGISTRY = Registry()
PAPERS = ("coin", "drloc", "fd", "gta", "lacvit")

# ---- claims


def output(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert main(["claims", *arguments]) == 0
    return capsys.readouterr().out


@pytest.mark.slow
def test_json_is_a_list_of_claims(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    entries = json.loads(output(capsys, "--format", "json", "--results", str(tmp_path)))
    assert len(entries) >= 60
    assert {entry["paper"] for entry in entries} == set(PAPERS)
    for entry in entries:
        assert entry["table"] in REGISTRY.table_files
        assert all(entry[key] for key in ("table", "sentence", "section", "computed", "verdict"))
        assert entry["ours"]["verdict"] == NOT_TESTABLE
        assert entry["ours"]["computed"]


def test_text_has_both_verdicts_of_a_claim(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = output(capsys, "lacvit", "--results", str(tmp_path))
    assert "lacvit/table1 (4): ViT-B gains 3.88 points on CIFAR-100\n  published: borne out: the number is 3.88" in out
    assert "\n  our runs: not testable: " in out
    assert out.splitlines()[-1] == "our runs: 22 not testable"


@pytest.mark.slow
def test_a_reason_that_several_claims_share_is_said_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = output(capsys, "--results", str(tmp_path))
    entries = json.loads(output(capsys, "--format", "json", "--results", str(tmp_path)))
    weights = "the weights of ibot_vit_small are not here"
    assert sum(weights in entry["ours"]["computed"] for entry in entries) > 10
    assert out.count(weights) == 1
    (note,) = (line for line in out.splitlines() if weights in line)
    number = note.partition(" ")[0]
    assert f"  our runs: not testable: CUB / GTA / 15% {number}\n" in out
    notes = [line.partition(" ")[2] for line in out.splitlines() if re.match(r"\[\d+\] ", line)]
    assert len({*notes}) == len(notes)
    assert all(f" [{at}]\n" in out for at in range(1, len(notes) + 1))


def test_a_reason_of_one_claim_stands_beside_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = output(capsys, "lacvit/table1", "--results", str(tmp_path))
    verdict = Judgement(NOT_TESTABLE, "a / b: it was not run", reason="it was not run")
    assert verdict.line_with({}) == "not testable: a / b: it was not run"
    assert verdict.line_with({"it was not run": 2}) == "not testable: a / b [2]"
    assert Judgement(NOT_TESTABLE, "no", reason="no").line_with({"no": 1}) == "not testable [1]"
    assert "[1] no run has finished\n" in out


# ---- which tables


@pytest.mark.slow
def test_claims_are_of_the_tables_and_papers_that_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    results = ("--format", "json", "--results", str(tmp_path))
    of_table = json.loads(output(capsys, "gta/table2", *results))
    of_paper = json.loads(output(capsys, "gta", *results))
    assert of_table == [entry for entry in of_paper if "gta/table2" in entry["tables"]]
    assert 0 < len(of_table) < len(of_paper)
    assert json.loads(output(capsys, "gta/table2", "gta", *results)) == of_paper
    several = json.loads(output(capsys, "lacvit", "gta/table2", *results))
    assert [entry for entry in several if entry["paper"] == "gta"] == of_table
    assert {entry["paper"] for entry in several} == {"gta", "lacvit"}


def test_a_table_without_claims_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert output(capsys, "gta/table1", "--results", str(tmp_path)) == "no claims are written down about these tables\n"


@pytest.mark.slow
def test_an_audit_is_of_the_tables_and_papers_that_are_named(capsys: pytest.CaptureFixture[str]) -> None:
    def audited(*targets: str) -> list[dict[str, str]]:
        assert main(["audit", *targets, "--format", "json"]) == 0
        return list(json.loads(capsys.readouterr().out))

    both = audited("gta/appendix_a", "coin/table3")
    assert both == audited("coin/table3", "gta/appendix_a")
    assert {finding["table"] for finding in both} == {"gta/appendix_a", "coin/table3"}
    assert audited("gta", "gta/appendix_a") == audited("gta")


@pytest.mark.parametrize("command", ["claims", "audit"])
def test_what_no_table_is_called_is_refused(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([command, "gta", "gts"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "no paper or table is called 'gts'; did you mean 'gta'?" in line


def test_tables_are_named_once_and_in_order() -> None:
    assert REGISTRY.tables_of(["fd/table2", "gta/table3", "gta/table3"]) == ["fd/table2", "gta/table3"]
    assert REGISTRY.tables_of([]) == list(REGISTRY.table_files)


@pytest.mark.slow
def test_torch_is_not_imported(tmp_path: Path) -> None:
    code = f"import sys; from bench.cli import main; main(['claims', '--results', {str(tmp_path)!r}]); "
    subprocess.run([sys.executable, "-c", code + "assert 'torch' not in sys.modules"], check=True, capture_output=True)

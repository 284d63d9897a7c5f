"""Verdicts on published numbers: what each rests on, how it is shown, and where nothing can be judged."""

from __future__ import annotations

import csv
import io
import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest

from bench.cli import main
from bench.plan.overrides import Overrides
from bench.plan.paper import plan_paper
from bench.plan.table import Ground, TablePlan
from bench.records.store import Finished, Store
from bench.registry import Registry
from bench.sheets.formats import render_sheet
from bench.sheets.sheet import Sheet
from bench.sheets.view import Look, sheet_of
from bench.stats.verdict import Claimed, judge
from bench.tables.judging import SIGNS
from tests.tables.small import facts, filled, plain, results

PROTOCOL = """\
title: a protocol for a test
settings:
  steps: {value: 40, source: paper 4}
  lr: {value: 0.001, source: our choice}
seeds: {value: 3, source: paper 4}
selection: {value: last, source: paper 4}
sweep: {value: best-test, source: our choice}
"""

TABLE = """\
title: "Table 1: a small one"
paper: mini
kind: results
metric: top1
rank: {within: [Dataset]}
runs:
  axes: {backbone: micro_vit}
  baseline: Fine-tune
  labels:
    Digits: {dataset: digits}
    Clutter: {dataset: cluttered_digits}
    "15%": {rate: 15}
    "100%": {rate: 100}
    Avg.: {average: true}
    Fine-tune: {method: ce}
    BSS: {method: bss}
    L2: {method: l2sp}
    Quoted: {not_run: quoted from another paper}
stub: [Dataset, Method]
columns: [["15%"], ["100%"], ["Avg."]]
rows:
  - {label: [Digits, Fine-tune], cells: ["90.0 ± 1.0", "95.25", "92.6"]}
  - {label: [Digits, BSS], cells: ["90.5", "95.30", "92.9"]}
  - {label: [Digits, L2], cells: ["91.0", "N/A", "90.0"]}
  - {label: [Digits, Quoted], cells: ["80.0", "", "80.0"]}
  - {label: [Clutter, Fine-tune], cells: ["50.0", "60.00", "55.0"]}
  - {label: [Clutter, BSS], cells: ["51.0", "61.00", "56.0"]}
"""

CARD = """\
title: Digits
about: a card for a test
reader: digits
task: classification
classes: 10
splits: {train: 1200, test: 597}
papers:
  mini: {as: other, source: "another draw"}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    place = tmp_path / "paper_tables" / "mini"
    place.mkdir(parents=True)
    (place / "table1.yaml").write_text(TABLE, encoding="utf-8")
    (place / "protocol.yaml").write_text(PROTOCOL, encoding="utf-8")
    return tmp_path


def planned(folder: Path, **overrides: object) -> TablePlan:
    (found,) = plan_paper("mini", Registry([folder]), Overrides(**overrides)).tables  # type: ignore[arg-type]
    return found


def grounds(folder: Path, **overrides: object) -> list[list[Ground]]:
    return [[cell.ground for cell in row] for row in planned(folder, **overrides).cells]


def scored(plan: TablePlan, values: dict[tuple[int, int], Sequence[float]]) -> dict[str, Finished]:
    found: dict[str, Finished] = {}
    for (row, at), numbers in values.items():
        found |= results(plan.cells[row][at], numbers)
    return found


VALUES: dict[tuple[int, int], Sequence[float]] = {
    (0, 0): [89.0, 90.0, 91.5],
    (0, 1): [70.0, 70.1, 70.2],
    (1, 0): [89.1, 89.2, 89.3],
    (1, 1): [95.0, 95.2, 95.5],
    (2, 1): [90.0, 91.0, 92.0],
    (4, 0): [50.5],
}


def sheet(
    folder: Path, source: str = "both", values: dict[tuple[int, int], Sequence[float]] = VALUES, **overrides: object
) -> Sheet:
    plan = planned(folder, **overrides)
    return sheet_of(filled(plan, scored(plan, values)), Look(source))


# ---- what verdicts rest on


def test_runs_and_images_are_those_of_the_paper_and_the_card(folder: Path) -> None:
    found = grounds(folder)
    assert found[0][0] == Ground(runs=3, images=597)
    assert {ground.differs for row in found for ground in row} == {""}
    assert grounds(folder, seeds="5")[0][0] == found[0][0]  # it is the paper's runs that count
    unstated = PROTOCOL.replace("seeds: {value: 3, source: paper 4}", "seeds: {value: 3, source: our choice}")
    (folder / "paper_tables" / "mini" / "protocol.yaml").write_text(unstated, encoding="utf-8")
    assert grounds(folder)[0][0].runs == 1


def test_a_changed_setting_makes_incomparable_and_says_how(folder: Path) -> None:
    assert grounds(folder, settings=("steps=20",))[0][0].differs == "steps=20 in place of steps=40"
    assert grounds(folder, settings=("epochs=2",))[0][0].differs == "epochs=2 in place of steps=40"


def test_what_only_we_chose_is_no_difference_to_the_paper(folder: Path) -> None:
    assert grounds(folder, settings=("lr=0.01",))[0][0].differs == ""
    assert grounds(folder, seeds="5")[0][0].differs == ""


def test_another_selection_rule_makes_incomparable(folder: Path) -> None:
    assert grounds(folder, selection="best-test")[0][0].differs == "scored at best-test in place of last"
    ours = PROTOCOL.replace("selection: {value: last, source: paper 4}", "selection: {value: last, source: our choice}")
    (folder / "paper_tables" / "mini" / "protocol.yaml").write_text(ours, encoding="utf-8")
    assert grounds(folder, selection="best-test")[0][0].differs == ""


def test_other_weights_make_incomparable(folder: Path) -> None:
    assert grounds(folder, backbones="micro_vit@none")[0][0].differs == (
        "weights of micro_vit@none in place of micro_vit's"
    )


def test_another_split_in_the_paper_makes_incomparable(folder: Path) -> None:
    (folder / "datasets").mkdir()
    (folder / "datasets" / "other_digits.yaml").write_text(CARD, encoding="utf-8")
    table = folder / "paper_tables" / "mini" / "table1.yaml"
    table.write_text(TABLE.replace("{dataset: digits}", "{dataset: other_digits}"), encoding="utf-8")
    found = grounds(folder)
    assert found[0][0] == Ground(3, 597, "the paper took another split of Digits")
    assert found[4][0].differs == ""


# ---- what is shown


def verdict(found: Sheet, row: str, column: str) -> dict[str, object]:
    return {name: facts(found, row, column)[name] for name in ("verdict", "reason", "gap", "low", "high")}


def test_a_cell_has_the_verdict_of_judge(folder: Path) -> None:
    found = sheet(folder, "ours")
    expected = judge(VALUES[0, 0], Claimed(90.0, 1.0, 3, 1), test_images=597)
    assert verdict(found, "Digits / Fine-tune", "15%") == {
        "verdict": "reproduced",
        "reason": expected.reason.replace("−", "-").replace("±", "+-"),
        "gap": expected.gap,
        "low": expected.low,
        "high": expected.high,
    }
    assert plain(found.cells[0][0]) == "90.2 ± 1.3 ="
    for row, column, word in (
        ("Digits / Fine-tune", "100%", "differs"),
        ("Digits / BSS", "15%", "within test-set noise"),
        ("Digits / BSS", "100%", "reproduced"),
        ("Digits / L2", "100%", None),  # no number is printed
        ("Digits / Quoted", "15%", "not run"),
        ("Clutter / BSS", "15%", "not run"),
    ):
        assert facts(found, row, column)["verdict"] == word
    assert facts(found, "Digits / Quoted", "15%")["reason"] == "quoted from another paper"


def test_published_cells_have_none_and_ours_keep_theirs_beside_them(folder: Path) -> None:
    found = sheet(folder)
    assert plain(found.cells[0][0]) == "90.0 ± 1.0"
    assert plain(found.cells[0][1]) == "90.2 ± 1.3 +0.2 ="
    assert plain(found.cells[0][3]) == "70.10 ± 0.10 −25.15 ≠"
    assert not any(cell.sign for row in found.cells for cell in row[::2])


@pytest.mark.parametrize("seeds", [3, 2])
def test_an_average_is_judged_by_the_averages_of_the_seeds_that_all_its_columns_have(folder: Path, seeds: int) -> None:
    found = sheet(folder, "ours", {**VALUES, (1, 1): VALUES[1, 1][:seeds]})
    means = [(a + b) / 2 for a, b in zip(VALUES[1, 0], VALUES[1, 1][:seeds], strict=False)]
    expected = judge(means, Claimed(92.9, runs=3, decimals=1), test_images=597)
    assert len(means) == seeds
    assert facts(found, "Digits / BSS", "Avg.")["verdict"] == expected.word
    assert [facts(found, "Digits / BSS", "Avg.")[end] for end in ("gap", "low", "high")] == pytest.approx(
        [expected.gap, expected.low, expected.high]
    )
    assert facts(found, "Clutter / Fine-tune", "Avg.")["verdict"] == "not run"  # one of its columns has not run


def test_csv_and_json_have_the_verdict_in_columns(folder: Path) -> None:
    found = sheet(folder)
    rows = list(csv.DictReader(io.StringIO(render_sheet(found, "csv"))))
    assert list(rows[0])[-5:] == ["verdict", "reason", "gap", "low", "high"]
    first = next(row for row in rows if row["verdict"] == "reproduced")
    assert float(first["gap"]) == pytest.approx(90.1666667 - 90.0)
    cells = json.loads(render_sheet(found, "json"))["cells"]
    assert [cell["verdict"] or "" for cell in cells] == [row["verdict"] for row in rows]
    assert isinstance(next(cell["low"] for cell in cells if cell["verdict"] == "reproduced"), float)
    assert next(cell["low"] for cell in cells if cell["verdict"] == "not run") is None


@pytest.mark.parametrize("format", ["text", "markdown", "html", "latex", "latex-siunitx"])
def test_signs_and_their_legend_are_in_every_format_for_people(folder: Path, format: str) -> None:
    text = " ".join(render_sheet(sheet(folder), format, 200).split())
    differs = "$\\neq$" if "latex" in format else "≠"
    shown = sum(cell.sign == "≠" for row in sheet(folder).cells for cell in row)
    assert shown >= 1
    assert text.count(differs) >= shown + 1  # and the legend
    assert "latex" in format or text.count(differs) == shown + 1  # LaTeX leaves room for it elsewhere
    assert f"{differs} differs" in text
    assert "is the verdict on the published number" in text


def test_remarks_count_verdicts_and_compare_ranks(folder: Path) -> None:
    found = sheet(folder)
    words = Counter(record["verdict"] for record in found.records if record["verdict"])
    (counts,) = [note for note in found.remarks if note.startswith("Verdicts: ")]
    assert sum(words.values()) == 16  # numbers in print
    assert all(f"{count} {word}" in counts for word, count in words.items())
    assert "would miss the seeds' interval by chance" in counts
    (signs,) = [note for note in found.remarks if note.startswith("The sign behind ours")]
    assert all(f"{SIGNS[str(word)]} {word}" in signs for word in ("reproduced", "within test-set noise", "differs"))
    assert "Of 3 columns of two rows, 2 have them in the order of print." in found.remarks


def test_taus_are_told_for_each_column(folder: Path) -> None:
    remarks = sheet(folder, "ours", {(row, 0): [90.0 + row, 90.5 + row] for row in range(3)}).remarks
    assert "Rank agreement with print (Kendall's τ, 3 rows a column): Digits: 15% 1.00." in remarks
    assert any(note.startswith("Of the ranks, n = 3 methods: the smallest possible p") for note in remarks)


def test_why_not_comparable_is_said_once_with_the_count(folder: Path) -> None:
    found = sheet(folder, "ours", settings=("steps=20",))
    assert facts(found, "Digits / Fine-tune", "15%")["verdict"] == "not comparable"
    assert facts(found, "Digits / BSS", "Avg.")["verdict"] == "not comparable"
    assert "Not comparable: steps=20 in place of steps=40 (7 cells)." in found.remarks


def test_one_seed_beside_no_spread_is_not_comparable_for_that_reason(folder: Path) -> None:
    reason = "one seed here and no ± printed: how much seeds differ is not known"
    assert f"Not comparable: {reason} (1 cell)." in sheet(folder, "ours", {(4, 0): [80.0]}).remarks


def test_nothing_run_has_no_sentences_of_verdicts_and_published_is_untouched(folder: Path) -> None:
    assert not any("erdict" in note for note in (*sheet(folder, values={}).notes, *sheet(folder, values={}).remarks))
    for format in ("text", "csv", "json", "latex"):
        bare = render_sheet(sheet(folder, "published", {}), format, 100)
        assert render_sheet(sheet(folder, "published"), format, 100) == bare


@pytest.mark.latex
@pytest.mark.parametrize("format", ["latex", "latex-siunitx"])
def test_published_and_ours_compile(folder: Path, tmp_path: Path, format: str) -> None:
    from tests.test_latex import compiled, require_siunitx

    if format == "latex-siunitx":
        require_siunitx()
    packages = r"\usepackage{siunitx}" if format == "latex-siunitx" else ""
    assert compiled(tmp_path, render_sheet(sheet(folder), format), packages).stat().st_size > 1000


# ---- the command


def test_the_command_judges(folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(folder)
    store = Store("results")
    for plan in (planned(folder), planned(folder, settings=("steps=20",))):
        for (row, at), numbers in VALUES.items():
            for spec, number in zip(plan.cells[row][at].candidates[0].runs, numbers, strict=False):
                curve = [{"step": 1, "val": None, "test": {"top1": number}}]
                with store.draft() as draft:
                    store.publish(draft, spec, {"curve": curve, "timing": {"seconds": 1.0}})
    asked = ["table", "mini/table1", "--plugin", str(folder), "--format", "csv"]
    for more, expected in (
        ([], {"reproduced", "differs", "within test-set noise", "not run"}),
        (["--set", "steps=20"], {"not comparable", "not run"}),
        (["--source", "published"], set()),
    ):
        assert main([*asked, *more]) == 0
        rows = csv.DictReader(io.StringIO(capsys.readouterr().out))
        assert {row["verdict"] for row in rows} - {""} == expected
    assert main([*asked, "--source", "published", "--test", "paired"]) == 2
    assert "--test: published numbers are shown as printed" in capsys.readouterr().err


def test_signs_are_of_every_word_and_differ() -> None:
    shown = [sign for sign in SIGNS.values() if sign]
    assert len(set(shown)) == len(shown) == len(SIGNS) - 1

"""Verdicts on published numbers: what each rests on, how it is shown, and where nothing can be judged."""

from __future__ import annotations

import csv
import io
import json
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from bench.papers.judging import SIGNS, Ground, grounds_of
from bench.papers.table import Rules, both_sheet, our_sheet, paper_sheet

from bench.cli import main
from bench.plan.overrides import Overrides
from bench.plan.paper import TablePlan, plan_paper
from bench.records.store import Finished, Point, Store
from bench.registry import Registry
from bench.sheets import Sheet, render_sheet
from bench.stats.verdict import Claimed, judge
from tests.test_latex import compiled, require_siunitx

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
metric: top-1 (%)
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


def planned(folder: Path, overrides: Overrides | None = None) -> TablePlan:
    return plan_paper("mini", Registry([folder]), overrides).tables[0]


def grounds(folder: Path, **overrides: object) -> list[list[Ground]]:
    return grounds_of(planned(folder, Overrides(**overrides)), planned(folder), Registry([folder]))  # type: ignore[arg-type]


def scored(plan: TablePlan, values: dict[tuple[int, int], Sequence[float]]) -> dict[str, Finished]:
    found = {}
    for (row, at), numbers in values.items():
        for spec, number in zip(plan.cells[row][at].candidates[0].runs, numbers, strict=False):
            found[spec.id] = Finished(spec.id, spec.id, (Point(1, math.nan, number),), 1.0)
    return found


VALUES: dict[tuple[int, int], Sequence[float]] = {
    (0, 0): [89.0, 90.0, 91.5],
    (0, 1): [70.0, 70.1, 70.2],
    (1, 0): [89.1, 89.2, 89.3],
    (1, 1): [95.0, 95.2, 95.5],
    (2, 1): [90.0, 91.0, 92.0],
    (4, 0): [50.5],
}


def sheet(folder: Path, source: str = "both") -> Sheet:
    plan = planned(folder)
    rules = Rules(grounds=grounds_of(plan, plan, Registry([folder])))
    return paper_sheet(plan, source, scored(plan, VALUES), rules)


def facts(found: Sheet, row: int, at: int) -> dict[str, object]:
    return dict(found.cells[row][at].facts)


# ---- what verdicts rest on


def test_runs_and_images_are_those_of_the_paper_and_the_card(folder: Path) -> None:
    found = grounds(folder)
    assert found[0][0] == Ground(runs=3, images=597)
    assert {ground.differs for row in found for ground in row} == {""}
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


def test_a_cell_has_the_verdict_of_judge(folder: Path) -> None:
    found = sheet(folder, "ours")
    expected = judge(VALUES[0, 0], Claimed(90.0, 1.0, 3, 1), test_images=597)
    assert facts(found, 0, 0) == {
        "verdict": "reproduced",
        "reason": expected.reason,
        "gap": expected.gap,
        "low": expected.low,
        "high": expected.high,
    }
    assert found.cells[0][0].plain == "90.2 ± 1.3 ="
    words = {place: facts(found, *place).get("verdict") for place in ((0, 1), (1, 0), (1, 1), (2, 1), (3, 0), (5, 0))}
    assert words == {
        (0, 1): "differs",
        (1, 0): "within test-set noise",
        (1, 1): "reproduced",
        (2, 1): None,  # no number is printed
        (3, 0): "not run",
        (5, 0): "not run",
    }
    assert facts(found, 3, 0)["reason"] == "quoted from another paper"


def test_published_cells_have_none_and_ours_keep_theirs_beside_them(folder: Path) -> None:
    found = sheet(folder)
    assert found.cells[0][0].facts == ()
    assert found.cells[0][1].plain == "90.2 ± 1.3 (+0.2) ="
    assert found.cells[0][3].plain == "70.10 ± 0.10 (−25.15) ≠"


def test_an_average_is_judged_by_the_averages_of_each_seed(folder: Path) -> None:
    found = sheet(folder, "ours")
    means = [(a + b) / 2 for a, b in zip(VALUES[1, 0], VALUES[1, 1], strict=True)]
    expected = judge(means, Claimed(92.9, runs=3, decimals=1), test_images=597)
    assert facts(found, 1, 2)["reason"] == expected.reason
    assert facts(found, 1, 2)["gap"] == pytest.approx(expected.gap)
    assert facts(found, 4, 2)["verdict"] == "not run"  # one of its columns has not run


def test_an_average_is_judged_by_the_seeds_that_all_of_its_columns_have(folder: Path) -> None:
    plan = planned(folder)
    rules = Rules(grounds=grounds_of(plan, plan, Registry([folder])))
    found = our_sheet(plan, scored(plan, {(1, 0): [89.1, 89.2, 89.3], (1, 1): [95.0, 95.2]}), rules)
    expected = judge([(89.1 + 95.0) / 2, (89.2 + 95.2) / 2], Claimed(92.9, runs=3, decimals=1), test_images=597)
    assert facts(found, 1, 2)["reason"] == expected.reason
    assert facts(found, 1, 2)["gap"] == pytest.approx(expected.gap)


def test_csv_and_json_have_the_verdict_in_columns(folder: Path) -> None:
    found = sheet(folder)
    rows = list(csv.DictReader(io.StringIO(render_sheet(found, "csv"))))
    assert list(rows[0])[-5:] == ["verdict", "reason", "gap", "low", "high"]
    own = next(row for row in rows if row["verdict"] == "reproduced")
    assert float(own["gap"]) == pytest.approx(90.1666667 - 90.0)
    assert {row["verdict"] for row in rows if row["column"].endswith("published")} == {""}
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


def test_notes_count_verdicts_and_compare_ranks(folder: Path) -> None:
    notes, cells = sheet(folder).notes, sheet(folder).cells
    words = Counter(dict(cell.facts).get("verdict") for row in cells for cell in row if cell.facts)
    (counts,) = [note for note in notes if note.startswith("Verdicts: ")]
    assert sum(words.values()) == 16  # numbers in print
    assert all(f"{count} {word}" in counts for word, count in words.items())
    assert "would miss the seeds' interval by chance" in counts
    (signs,) = [note for note in notes if note.startswith("The sign behind ours")]
    assert all(f"{SIGNS[word]} {word}" in signs for word in ("reproduced", "within test-set noise", "differs"))
    assert "Of 3 columns of two rows, 2 have them in the order of print." in notes


def test_taus_are_told_for_each_column(folder: Path) -> None:
    plan = planned(folder)
    values: dict[tuple[int, int], Sequence[float]] = {(row, 0): [90.0 + row, 90.5 + row] for row in range(3)}
    rules = Rules(grounds=grounds_of(plan, plan, Registry([folder])))
    notes = our_sheet(plan, scored(plan, values), rules).notes
    assert "Rank agreement with print (Kendall's τ, 3 rows a column): Digits: 15% 1.00." in notes
    assert any(note.startswith("Of the ranks, n = 3 methods: the smallest possible p") for note in notes)


def test_why_not_comparable_is_said_once_with_the_count(folder: Path) -> None:
    plan = planned(folder, Overrides(settings=("steps=20",)))
    rules = Rules(grounds=grounds_of(plan, planned(folder), Registry([folder])))
    found = our_sheet(plan, scored(plan, VALUES), rules)
    assert {facts(found, row, at)["verdict"] for row, at in ((0, 0), (1, 1))} == {"not comparable"}
    assert "Not comparable: steps=20 in place of steps=40 (7 cells)." in found.notes


def test_one_seed_beside_no_spread_is_not_comparable_for_that_reason(folder: Path) -> None:
    plan = planned(folder)
    rules = Rules(grounds=grounds_of(plan, plan, Registry([folder])))
    found = our_sheet(plan, scored(plan, {(4, 0): [80.0]}), rules)
    reason = "one seed here and no ± printed: how much seeds differ is not known"
    assert f"Not comparable: {reason} (1 cell)." in found.notes


def test_nothing_run_has_no_notes_of_verdicts_and_published_is_untouched(folder: Path) -> None:
    plan = planned(folder)
    rules = Rules(grounds=grounds_of(plan, plan, Registry([folder])))
    assert both_sheet(plan, {}, rules).notes == both_sheet(plan, {}).notes
    finished = scored(plan, VALUES)
    for format in ("text", "csv", "json", "latex"):
        plain = render_sheet(paper_sheet(plan, "published", finished), format, 100)
        assert render_sheet(paper_sheet(plan, "published", finished, rules), format, 100) == plain


@pytest.mark.latex
@pytest.mark.parametrize("format", ["latex", "latex-siunitx"])
def test_published_and_ours_compile(folder: Path, tmp_path: Path, format: str) -> None:
    if format == "latex-siunitx":
        require_siunitx()
    packages = r"\usepackage{siunitx}" if format == "latex-siunitx" else ""
    assert compiled(tmp_path, render_sheet(sheet(folder), format), packages).stat().st_size > 1000


# ---- the command


def test_the_command_judges(folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(folder)
    store, plan = Store("results"), planned(folder)
    short = planned(folder, Overrides(settings=("steps=20",)))
    for own in (plan, short):
        for (row, at), numbers in VALUES.items():
            for spec, number in zip(own.cells[row][at].candidates[0].runs, numbers, strict=False):
                curve = [{"step": 1, "val": None, "test": {"top1": number}}]
                with store.draft() as draft:
                    store.publish(draft, spec, {"status": "done", "curve": curve, "timing": {"seconds": 1.0}})
    asked = ["table", "mini/table1", "--plugin", str(folder), "--format", "csv"]
    for more, expected in (
        ([], {"reproduced", "differs", "within test-set noise", "not run"}),
        (["--set", "steps=20"], {"not comparable", "not run"}),
    ):
        assert main([*asked, *more]) == 0
        rows = csv.DictReader(io.StringIO(capsys.readouterr().out))
        assert {row["verdict"] for row in rows} - {""} == expected
    assert main([*asked, "--source", "published"]) == 0
    assert "verdict" not in capsys.readouterr().out
    assert main([*asked, "--source", "published", "--test", "paired"]) == 2
    assert "--test: published numbers are shown as printed" in capsys.readouterr().err


def test_signs_are_of_every_word_and_differ() -> None:
    shown = [sign for sign in SIGNS.values() if sign]
    assert len(set(shown)) == len(shown) == len(SIGNS) - 1
    assert replace(Ground(), runs=2) == Ground(2)

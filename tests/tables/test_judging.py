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
from bench.stats.pooling import pooled
from bench.stats.samples import summary
from bench.stats.verdict import Claimed, ImageSets, judge, of_runs
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
  - {label: [Digits, Fine-tune], cells: ["90.0 ± 0.1", "95.25", "92.6"]}
  - {label: [Digits, BSS], cells: ["90.5", "95.30", "92.9"]}
  - {label: [Digits, L2], cells: ["91.0", "> 90", "90.0"]}
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
    (0, 0): [89.9, 90.0, 90.1],
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


JUDGED = ("verdict", "reason", "gap", "low", "high", "margin", "half_width", "seeds_to_decide")


def verdict(found: Sheet, row: str, column: str) -> dict[str, object]:
    return {name: facts(found, row, column)[name] for name in JUDGED}


def test_a_cell_has_the_verdict_of_judge(folder: Path) -> None:
    found = sheet(folder, "ours")
    expected = judge(summary(VALUES[0, 0]), Claimed(90.0, 0.1, 3, 1), 0.25, images=ImageSets(597))
    assert verdict(found, "Digits / Fine-tune", "15%") == {
        "verdict": "same",
        "reason": expected.reason.replace("−", "-").replace("±", "+-"),
        "gap": expected.gap,
        "low": expected.low,
        "high": expected.high,
        "margin": 0.25,
        "half_width": expected.half_width,
        "seeds_to_decide": None,
    }
    assert plain(found.cells[0][0]) == "90.0 ± 0.1 ="
    half = facts(found, "Digits / BSS", "100%")["half_width"]
    assert plain(found.cells[1][1]) == f"95.23 ± 0.25 +25.13 ‡ ? ±{half:.2f}"
    for row, column, word in (
        ("Digits / Fine-tune", "100%", "differs"),
        ("Digits / BSS", "15%", "differs"),
        ("Digits / BSS", "100%", "cannot tell"),
        ("Clutter / Fine-tune", "15%", "cannot tell"),
        ("Digits / L2", "100%", None),  # no number is printed
        ("Digits / Quoted", "15%", "not run"),
        ("Clutter / BSS", "15%", "not run"),
    ):
        assert facts(found, row, column)["verdict"] == word
    assert facts(found, "Digits / Quoted", "15%")["reason"] == "quoted from another paper"


def test_published_cells_have_none_and_ours_keep_theirs_beside_them(folder: Path) -> None:
    found = sheet(folder)
    assert plain(found.cells[0][0]) == "90.0 ± 0.1"
    assert plain(found.cells[0][1]) == "90.0 ± 0.1 +0.0 ="
    assert plain(found.cells[0][3]) == "70.10 ± 0.10 −25.15 ≠"
    assert not any(cell.sign for row in found.cells for cell in row[::2])


@pytest.mark.parametrize("seeds", [3, 2])
def test_an_average_is_judged_by_the_averages_of_the_seeds_that_all_its_columns_have(folder: Path, seeds: int) -> None:
    found = sheet(folder, "ours", {**VALUES, (1, 1): VALUES[1, 1][:seeds]})
    means = [(a + b) / 2 for a, b in zip(VALUES[1, 0], VALUES[1, 1][:seeds], strict=False)]
    base = summary([(a + b) / 2 for a, b in zip(VALUES[0, 0], VALUES[0, 1], strict=True)])
    claimed = Claimed(92.9, runs=3, decimals=1)
    spreads = [of_runs(ours, claimed) for ours in (summary(means), base)]  # averages are pooled with averages
    table = pooled([spread.std for spread in spreads], [spread.freedom for spread in spreads])
    expected = judge(summary(means), claimed, 0.15, table=table, images=ImageSets(597))
    assert len(means) == seeds
    assert facts(found, "Digits / BSS", "Avg.")["verdict"] == expected.word
    assert [facts(found, "Digits / BSS", "Avg.")[end] for end in ("gap", "low", "high")] == pytest.approx(
        [expected.gap, expected.low, expected.high]
    )
    assert facts(found, "Clutter / Fine-tune", "Avg.")["verdict"] == "not run"  # one of its columns has not run


def test_csv_and_json_have_the_verdict_in_columns(folder: Path) -> None:
    found = sheet(folder)
    rows = list(csv.DictReader(io.StringIO(render_sheet(found, "csv"))))
    assert list(rows[0])[-10:] == [*JUDGED, "claimed_gain", "claim"]
    first = next(row for row in rows if row["verdict"] == "differs")
    assert float(first["gap"]) == pytest.approx(70.1 - 95.25)
    cells = json.loads(render_sheet(found, "json"))["cells"]
    assert [cell["verdict"] or "" for cell in cells] == [row["verdict"] for row in rows]
    assert isinstance(next(cell["low"] for cell in cells if cell["verdict"] == "same"), float)
    assert next(cell["low"] for cell in cells if cell["verdict"] == "not run") is None


@pytest.mark.parametrize("format", ["text", "markdown", "html", "latex", "latex-siunitx"])
def test_signs_and_their_legend_are_in_every_format_for_people(folder: Path, format: str) -> None:
    text = " ".join(render_sheet(sheet(folder), format, 200).split())
    differs = "$\\neq$" if "latex" in format else "≠"
    shown = sum(cell.sign == "≠" for row in sheet(folder).cells for cell in row)
    assert shown >= 1
    assert text.count(differs) >= shown + 2  # the legend, and what the margin is for
    assert "latex" in format or text.count(differs) == shown + 2  # LaTeX leaves room for it elsewhere
    assert f"{differs} differs" in text
    assert "is the verdict on the published number" in text


def test_remarks_count_verdicts_and_compare_ranks(folder: Path) -> None:
    found = sheet(folder)
    words = Counter(record["verdict"] for record in found.records if record["verdict"])
    (counts,) = [note for note in found.remarks if note.startswith("Verdicts: ")]
    assert sum(words.values()) == 16  # numbers in print
    assert all(f"{count} {word}" in counts for word, count in words.items())
    (signs,) = [note for note in found.remarks if note.startswith("The sign behind ours")]
    assert all(f"{SIGNS[str(word)]} {word}" in signs for word in ("same", "differs", "cannot tell"))
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
    (gains,) = [note for note in found.remarks if note.startswith("Claimed gains")]
    assert gains.endswith("in the order of print in 2 of 3; 3 under a protocol that is not the paper's.")


def test_one_seed_without_any_spread_in_the_table_cannot_be_told_for_that_reason(folder: Path) -> None:
    found = sheet(folder, "ours", {(4, 0): [80.0]})
    assert plain(found.cells[4][0]) == "80.0 ?"
    assert "one seed here and no +- printed" in str(facts(found, "Clutter / Fine-tune", "15%")["reason"])
    assert any("nothing says how much seeds differ in 1 cell" in note for note in found.remarks)


def test_one_seed_has_the_spread_of_the_other_cells(folder: Path) -> None:
    found = sheet(folder, "ours", {(0, 0): VALUES[0, 0], (4, 0): [80.0]})
    assert plain(found.cells[4][0]) == "80.0 n=1/3 ≠"
    assert "s = 0.10 with 1 df" in str(facts(found, "Clutter / Fine-tune", "15%")["reason"])


def test_what_is_not_comparable_lends_no_noise(folder: Path) -> None:
    """Of another protocol only the noise could be taken, and nobody knows whether it is the same."""
    values: dict[tuple[int, int], Sequence[float]] = {(0, 0): [80.0, 90.0, 100.0], (4, 0): [80.0]}
    found = sheet(folder, "ours", values, settings=("steps=20",))
    assert {record["half_width"] for record in found.records} == {None}


def test_the_margin_is_told_and_may_be_declared(folder: Path) -> None:
    (claimed,) = [note for note in sheet(folder).remarks if note.startswith("Margin: ")]
    assert claimed.startswith(
        "Margin: half of the printed gain of each row, at least a printed step and at most a point, 0.03 to 0.50 "
        "points; = lies within it"
    )
    (typed,) = [note for note in sheet(folder, margin="0.5").remarks if note.startswith("Margin: ")]
    assert typed.startswith("Margin: 0.5 points; ")
    assert {record["margin"] for record in sheet(folder, margin="0.5").records} == {None, 0.5}
    protocol = folder / "paper_tables" / "mini" / "protocol.yaml"
    protocol.write_text(PROTOCOL + "margin: {value: 2, source: our choice}\n", encoding="utf-8")
    assert {record["margin"] for record in sheet(folder).records} == {None, 2}
    assert {record["margin"] for record in sheet(folder, margin="0.5").records} == {None, 0.5}


def test_what_cannot_be_told_says_how_many_seeds_would(folder: Path) -> None:
    values: dict[tuple[int, int], Sequence[float]]
    values = {(0, 1): [95.2, 95.25, 95.3], (1, 0): [90.3, 90.5, 90.7], (1, 1): [95.3, 95.3, 95.3]}
    found = sheet(folder, values=values, margin="0.25")
    assert facts(found, "Digits / BSS", "15%")["verdict"] == "cannot tell"
    seeds = facts(found, "Digits / BSS", "15%")["seeds_to_decide"]
    assert isinstance(seeds, int)
    expected = f"Of what cannot be told (? and ± half of the interval), {seeds} seeds of ours would tell in 1 cell if"
    assert any(note.startswith(expected) for note in found.remarks)
    assert any("no number of seeds would in 2 cells, as the published" in note for note in sheet(folder).remarks)


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
        ([], {"same", "differs", "cannot tell", "not run"}),
        (["--set", "steps=20"], {"not comparable", "not run"}),
        (["--source", "published"], set()),
    ):
        assert main([*asked, *more]) == 0
        rows = csv.DictReader(io.StringIO(capsys.readouterr().out))
        assert {row["verdict"] for row in rows} - {""} == expected
    for option, value in (("--test", "paired"), ("--margin", "1")):
        assert main([*asked, "--source", "published", option, value]) == 2
        assert f"{option}: published numbers are shown as printed" in capsys.readouterr().err
    assert main([*asked, "--selection", "last,best-test", "--margin", "1"]) == 2
    assert "--margin: selection rules side by side" in capsys.readouterr().err


def test_signs_are_of_every_word_and_differ() -> None:
    shown = [sign for sign in SIGNS.values() if sign]
    assert len(set(shown)) == len(shown) == len(SIGNS) - 1

"""The audit: what it finds in the papers, its silence on tables that are right, and that it misses no planted error."""

from __future__ import annotations

import itertools
import json
import math
import subprocess
import sys
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from bench.cli import main
from bench.errors import InputError
from bench.papers.attainable import (
    POPULATION,
    SAMPLE,
    deviation_is_attainable,
    nearest_accuracy,
    nearest_deviation,
    rounded,
    totals,
)
from bench.papers.audit import audit, audit_tables
from bench.papers.findings import EXPLAINED, FINDING, NOT_CHECKED, Audit, Finding
from bench.papers.published import PublishedTable, read_published
from bench.papers.sample import Samples
from bench.reading.document import parse_document
from bench.registry import Registry

REGISTRY = Registry()
DATASETS = {"first": 3669, "second": 5794, "third": 810}


def found(result: Audit, kind: str = FINDING) -> list[tuple[str, str, str]]:
    return [(each.table, each.check, each.printed) for each in result.of(kind)]


# ---- the papers


def test_it_finds_an_average_of_coin() -> None:
    (finding,) = audit(["coin/table3"], REGISTRY).of(FINDING)
    assert (finding.check, finding.printed, finding.computed) == ("average", "97.70", "97.498")
    assert finding.verdict == (
        "the mean of the 5 printed values is 97.498; printed is 97.70; they differ by 0.202, and rounding explains at "
        "most 0.01"
    )


def test_it_finds_a_difference_of_drloc_and_leaves_the_one_that_rounding_explains() -> None:
    result = audit(["drloc/table4"], REGISTRY)
    (finding,) = result.of(FINDING)
    assert (finding.check, finding.printed, finding.computed, finding.column) == ("delta", "+0.68", "+0.72", ("Real",))
    assert found(result, EXPLAINED) == [("drloc/table4", "delta", "+0.67")]


def test_it_finds_an_accuracy_of_gta_that_three_runs_cannot_have() -> None:
    (finding,) = audit(["gta/appendix_a"], REGISTRY).of(FINDING)
    assert (finding.check, finding.printed, finding.computed) == ("accuracy", "84.711", "84.70832")
    assert "3 runs on 5794 test images" in finding.verdict
    assert "gta/table1" in finding.verdict


def test_every_other_accuracy_and_deviation_of_gta_is_attainable() -> None:
    result = audit(["gta"], REGISTRY)
    assert found(result) == [("gta/appendix_a", "accuracy", "84.711")]
    assert result.checked["accuracy"] == 280
    assert result.checked["deviation"] == 120
    assert (result.sample_only, result.population_only) == (39, 0)


def test_the_findings_of_all_papers() -> None:
    assert sorted(found(audit([], REGISTRY))) == [
        ("coin/table1", "accuracy", "88.83"),
        ("coin/table1", "accuracy", "88.86"),
        ("coin/table1", "accuracy", "90.91"),
        ("coin/table3", "average", "97.70"),
        ("coin/table5", "accuracy", "94.80"),
        ("coin/table5", "repeated", "89.60"),
        ("coin/table5", "repeated", "93.84"),
        ("coin/table6", "accuracy", "94.61"),
        ("drloc/table4", "delta", "+0.68"),
        ("drloc/table5", "accuracy", "96.59"),
        ("drloc/table5", "accuracy", "96.72"),
        ("gta/appendix_a", "accuracy", "84.711"),
    ]


def test_the_differences_of_coin_are_to_the_row_that_its_caption_means() -> None:
    result = audit(["coin/table1"], REGISTRY)
    assert result.checked["delta"] == 10
    assert not [each for each in result.findings if each.check == "delta"]


@pytest.mark.parametrize(
    ("target", "reason"),
    [
        ("lacvit", "does not say how many runs"),
        ("coin/table1", "another split of Caltech-101"),
        ("coin/table1", "another split of Oxford Flowers-102"),
        ("coin/table1", "quoted from Core-Tuning's paper"),
        ("fd/table1", "it is no accuracy but the metric miou"),
    ],
)
def test_what_cannot_be_checked_is_said_with_the_reason(target: str, reason: str) -> None:
    assert any(reason in each.verdict for each in audit([target], REGISTRY).of(NOT_CHECKED))


def test_a_mean_over_classes_is_no_share_of_images() -> None:
    table = made_up([("base", ["50.001", "", "", ""])], 1, RUNS.replace("NAME", "base").replace("digits", "caltech101"))
    table = PublishedTable(**{**vars(table), "audit": {"runs": 1}})
    (entry,) = audit_tables([table], Samples(REGISTRY)).of(NOT_CHECKED)
    assert "scored by the mean per class, which is not k/n" in entry.verdict


# ---- arithmetic against brute force


@pytest.mark.parametrize(("images", "runs"), [(7, 1), (7, 2), (13, 3), (6, 4)])
@pytest.mark.parametrize("decimals", [0, 1, 2])
def test_the_attainable_means_are_those_of_all_counts(images: int, runs: int, decimals: int) -> None:
    for units in range(0, 100 * 10**decimals + 1, max(1, 10**decimals // 3)):
        printed = f"{Fraction(units, 10**decimals).__float__():.{decimals}f}"
        half = Fraction(1, 2 * 10**decimals)
        wanted = [
            total
            for total in range(images * runs + 1)
            if abs(Fraction(100 * total, images * runs) - Fraction(printed)) <= half
        ]
        assert list(totals(rounded(printed), images, runs)) == wanted


@pytest.mark.parametrize(("images", "runs"), [(9, 2), (8, 3), (5, 4), (4, 5)])
@pytest.mark.parametrize("less", [SAMPLE, POPULATION])
def test_the_attainable_deviations_are_those_of_all_counts(images: int, runs: int, less: int) -> None:
    deviations: dict[int, set[float]] = {}
    for counts in itertools.product(range(images + 1), repeat=runs):
        deviations.setdefault(sum(counts), set()).add(100 / images * float(np.std(counts, ddof=less)))
    total = images * runs // 2 + 1
    most = max(deviations[total])
    for units in range(0, int(10 * most) - 20):  # near the largest, counts would have to leave 0 to n
        printed = f"{units / 10:.1f}"
        wanted = any(abs(each - float(printed)) <= 0.05 + 1e-9 for each in deviations[total])
        assert deviation_is_attainable(total, rounded(printed), images, runs, less) >= wanted
    for each in sorted(deviations[total])[:5]:
        assert nearest_deviation(total, Fraction(each), images, runs, less) == pytest.approx(each, abs=1e-9)


def test_a_deviation_between_two_attainable_ones_is_not_attainable() -> None:
    """Two of ten images apart in two runs: 7.07 (n - 1) or 5 (n) for one, and nothing below but zero."""
    assert deviation_is_attainable(11, rounded("7.07"), 10, 2, SAMPLE)
    assert deviation_is_attainable(11, rounded("5.00"), 10, 2, POPULATION)
    assert not deviation_is_attainable(11, rounded("3.00"), 10, 2, SAMPLE)
    assert not deviation_is_attainable(11, rounded("0.00"), 10, 2, SAMPLE)
    assert deviation_is_attainable(10, rounded("0.00"), 10, 2, SAMPLE)
    assert not deviation_is_attainable(10, rounded("7.07"), 10, 2, SAMPLE)


def test_the_nearest_accuracy() -> None:
    assert nearest_accuracy(Fraction("84.711"), 5794, 3) == (14724, Fraction(1472400, 17382))
    assert nearest_accuracy(Fraction(101), 10, 1)[0] == 10


# ---- made-up tables


def made_up(
    rows: Sequence[tuple[str, Sequence[str]]], runs: int, extra: str = "", name: str = "mini/t"
) -> PublishedTable:
    """A table of three datasets and their average."""
    lines = [
        "title: made up",
        "kind: results",
        "metric: top-1 (%)",
        'stub: ["Method"]',
        'columns: [["first"], ["second"], ["third"], ["Avg."]]',
        f"audit: {{runs: {runs}, test: {json.dumps(DATASETS)}}}",
        extra,
        "rows:",
    ]
    lines += [f"  - {{label: {json.dumps([label])}, cells: {json.dumps(cells)}}}" for label, cells in rows]
    return read_published(name, parse_document("\n".join(lines), "mini.yaml"))


def audited(*tables: PublishedTable) -> list[Finding]:
    return audit_tables(tables, Samples(REGISTRY)).of(FINDING)


def consistent(rng: np.random.Generator) -> tuple[list[list[str]], int, int]:
    """Cells of two rows as an honest author may print them: each number rounded early or late, n - 1 or n."""
    runs, decimals = int(rng.integers(1, 6)), int(rng.integers(1, 4))
    early, less = bool(rng.integers(2)), int(rng.integers(2))
    means, cells = [], []
    for _ in range(2):
        row, printed = [], []
        for images in DATASETS.values():
            counts = np.clip(rng.integers(images // 3, images) + rng.integers(-30, 31, runs), 0, images)
            accuracies = 100 * counts / images
            row.append(float(accuracies.mean()))
            std = f" ± {np.std(accuracies, ddof=less):.{decimals}f}" if runs > 1 else ""
            printed.append(f"{row[-1]:.{decimals}f}{std}")
        shown = [float(text.split()[0]) for text in printed]
        average = float(np.mean(shown if early else row))
        means.append([*(shown if early else row), float(f"{average:.{decimals}f}") if early else average])
        cells.append([*printed, f"{average:.{decimals}f}"])
    for at in range(4):
        cells[1][at] += f" ({means[1][at] - means[0][at]:+.{decimals}f})"
    return cells, runs, decimals


@pytest.mark.parametrize("draw", range(150))
def test_a_consistent_table_has_no_finding(draw: int) -> None:
    cells, runs, decimals = consistent(np.random.default_rng(draw))
    result = audit_tables([made_up([("base", cells[0]), ("ours", cells[1])], runs)], Samples(REGISTRY))
    assert found(result) == []
    assert result.checked["average"] == 2
    assert result.checked["delta"] == 4
    telling = sum(images * runs < 10 ** (decimals + 2) for images in DATASETS.values())
    assert result.checked["accuracy"] == 2 * telling
    assert sum(each.check == "accuracy" for each in result.of(NOT_CHECKED)) == 2 * (4 - telling)
    assert result.checked["deviation"] == (6 if runs > 1 else 0)


def changed(text: str, part: str, by: float, decimals: int) -> str:
    """A cell with one of its numbers changed."""
    value, _, rest = text.partition(" ")
    if part == "value":
        return f"{float(value) + by:.{decimals}f} {rest}".strip()
    inner = text[text.index("(") + 1 : -1]
    return text.replace(f"({inner})", f"({float(inner) + by:+.{decimals}f})")


@pytest.mark.parametrize("draw", range(40))
@pytest.mark.parametrize(("part", "column", "check"), [("value", 3, "average"), ("delta", 1, "delta")])
def test_a_planted_error_is_found(draw: int, part: str, column: int, check: str) -> None:
    cells, runs, decimals = consistent(np.random.default_rng(draw))
    row, by = (0, 3 * 10**-decimals) if part == "value" else (1, -4 * 10**-decimals)
    cells[row][column] = changed(cells[row][column], part, by, decimals)
    findings = audited(made_up([("base", cells[0]), ("ours", cells[1])], runs))
    assert check in {each.check for each in findings}
    hit = next(each for each in findings if each.check == check)
    assert hit.row == (("base",) if row == 0 else ("ours",))
    assert hit.column == (("Avg.",) if column == 3 else ("second",))


@pytest.mark.parametrize("draw", range(40))
def test_a_planted_accuracy_that_no_count_gives_is_found(draw: int) -> None:
    rng = np.random.default_rng(draw)
    runs = int(rng.integers(1, 4))
    total = int(rng.integers(400 * runs, 800 * runs))
    accuracy = Fraction(100 * total, 810 * runs) + Fraction(100, 2 * 810 * runs)  # half way to the next one
    cells = ["50.000", "50.000", f"{float(accuracy):.3f}", ""]
    findings = audited(made_up([("base", cells)], runs))
    assert [(each.check, each.column) for each in findings if each.column == ("third",)] == [("accuracy", ("third",))]


@pytest.mark.parametrize("runs", [2, 3, 4])
def test_a_planted_deviation_that_no_counts_give_is_found(runs: int) -> None:
    total = 600 * runs
    spread = [0, 1, -1, 0][:runs] if runs > 2 else [1, -1]
    right = float(np.std(100 / 810 * (600 + np.array(spread)), ddof=1))
    mean = f"{100 * total / (810 * runs):.3f}"
    sound, wrong = (["", "", f"{mean} ± {std:.3f}", ""] for std in (right, right / 3))
    assert audited(made_up([("base", sound)], runs)) == []
    (finding,) = audited(made_up([("base", wrong)], runs))
    assert (finding.check, finding.printed) == ("deviation", f"{right / 3:.3f}")
    assert "standard deviation" in finding.verdict


RUNS = """
runs:
  axes: {backbone: micro_vit, rate: 100}
  labels: {first: {dataset: digits}, NAME: {method: ce}}
"""


def test_a_cell_that_another_table_shows_with_another_value_is_found() -> None:
    first = made_up([("base", ["83.892", "", "", ""])], 1, RUNS.replace("NAME", "base"), "mini/a")
    alike = made_up([("plain", ["83.892", "", "", ""])], 1, RUNS.replace("NAME", "plain"), "mini/b")
    other = made_up([("plain", ["84.001", "", "", ""])], 1, RUNS.replace("NAME", "plain"), "mini/c")
    assert [each.check for each in audited(first, alike) if each.check == "repeated"] == []
    (finding,) = (each for each in audited(first, other) if each.check == "repeated")
    assert (finding.table, finding.printed, finding.computed) == ("mini/c", "84.001", "83.892")


def test_runs_that_were_rounded_before_their_mean_are_explained() -> None:
    """The mean of three runs is 1.4403; 1.45 is more than half a unit away, and less than a whole one."""
    mean = Fraction(100 * 35, 810 * 3) + Fraction(7, 1000)
    result = audit_tables([made_up([("base", ["", "", f"{float(mean):.2f}", ""])], 3)], Samples(REGISTRY))
    assert found(result) == []
    assert [each.check for each in result.of(EXPLAINED)] == ["accuracy"]


def test_lower_arrows_and_minus_signs_are_differences_too() -> None:
    rows = [("base", ["50.00", "", "", ""]), ("ours", ["49.00 (↓1.00)", "", "", ""])]
    assert audited_deltas(rows) == []
    assert audited_deltas([rows[0], ("ours", ["49.00 (−1.50)", "", "", ""])]) == ["−1.50"]


def audited_deltas(rows: Sequence[tuple[str, Sequence[str]]]) -> list[str]:
    return [each.printed for each in audited(made_up(rows, 1)) if each.check == "delta"]


def test_an_average_over_a_value_that_is_not_printed_is_not_checked() -> None:
    result = audit_tables([made_up([("base", ["50.000", "-", "60.000", "55.000"])], 1)], Samples(REGISTRY))
    assert ("mini/t", "average", "55.000") in found(result, NOT_CHECKED)


# ---- declarations


def test_a_declared_reference_is_taken() -> None:
    rows = [("base", ["50.00"] + [""] * 3), ("other", ["40.00"] + [""] * 3), ("ours", ["51.00 (+1.00)"] + [""] * 3)]
    table = made_up(rows, 1)
    assert [each.check for each in audited(table) if each.check == "delta"] == ["delta"]
    declared = {**table.audit, "delta": {"ours": "base"}}
    table = PublishedTable(**{**vars(table), "audit": declared})
    assert [each.check for each in audited(table) if each.check == "delta"] == []


@pytest.mark.parametrize(
    ("declared", "message"),
    [
        ({"deltas": {}}, "no key is called 'deltas'; did you mean 'delta'?"),
        ({"delta": {"ours": "bass"}}, "no label of this table is called 'bass'; did you mean 'base'?"),
        ({"not_checked": {"fourth": "unknown"}}, "no label of this table is called 'fourth'"),
    ],
)
def test_a_declaration_that_names_what_is_not_there_is_refused(declared: dict[str, object], message: str) -> None:
    table = made_up([("base", ["50.00", "", "", ""]), ("ours", ["50.00", "", "", ""])], 1)
    with pytest.raises(InputError) as caught:
        audited(PublishedTable(**{**vars(table), "audit": declared}))
    assert caught.value.problems[0].startswith(f"mini.yaml: audit: {message}")


# ---- the command


def output(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert main(["audit", *arguments]) == 0
    return capsys.readouterr().out


def test_json_is_a_list_of_findings(capsys: pytest.CaptureFixture[str]) -> None:
    entries = json.loads(output(capsys, "drloc", "--format", "json"))
    assert {entry["kind"] for entry in entries} == {FINDING}
    for entry in entries:
        assert {"table", "row", "column", "check", "printed", "computed", "verdict"} <= set(entry)
        assert all(entry[key] for key in ("table", "printed", "computed", "verdict"))
    with_reasons = json.loads(output(capsys, "drloc", "--format", "json", "--all"))
    assert {entry["kind"] for entry in with_reasons} == {FINDING, EXPLAINED, NOT_CHECKED}


def test_text_says_what_was_checked(capsys: pytest.CaptureFixture[str]) -> None:
    out = output(capsys, "gta")
    assert "gta/appendix_a: CUB / GTA (DINO) / Sampling Rates / 100%" in out
    assert "cells checked: 280 by accuracy, 120 by deviation" in out
    assert "120 printed deviations: 39 fit only a division by n - 1, 0 only one by n" in out
    assert "not checked: 3 cells of gta/table4 by accuracy: it is no accuracy but the metric jaccard" in output(
        capsys, "gta", "--all"
    )


def test_words_are_those_of_arithmetic() -> None:
    for finding in audit([], REGISTRY).of(FINDING):
        words = finding.verdict.lower()
        assert not any(word in words for word in ("wrong", "error", "mistake", "fals", "fabricat", "suspicious"))
        assert "rounding explains at most" in words
        assert math.isfinite(float(finding.computed))


def test_an_unknown_paper_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["audit", "coins"]) == 2
    assert "no paper or table is called 'coins'; did you mean 'coin'?" in capsys.readouterr().err


def test_a_plugins_tables_are_audited(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "paper_tables" / "mini"
    folder.mkdir(parents=True)
    (folder / "t.yaml").write_text(
        'title: t\nkind: results\nmetric: top-1 (%)\nstub: ["M"]\ncolumns: [["d"]]\naudit: {runs: 1, test: {d: 810}}\n'
        'rows:\n  - {label: ["base"], cells: ["50.06"]}\n',
        encoding="utf-8",
    )
    (entry,) = json.loads(output(capsys, "mini", "--plugin", str(tmp_path), "--format", "json"))
    assert (entry["table"], entry["check"], entry["printed"]) == ("mini/t", "accuracy", "50.06")


def test_torch_is_not_imported() -> None:
    code = "import sys; from bench.cli import main; main(['audit', 'gta']); assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)

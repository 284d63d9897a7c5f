"""Tables from somebody's own numbers: the same statistics, quoted numbers apart, bad input said in one line."""

from __future__ import annotations

import csv
import io
import json
import re
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import permutation_test, ttest_ind, ttest_rel

from bench.cli import main
from bench.errors import InputError
from bench.imports.results import read_results
from bench.sheets.view import render
from bench.stats.across import stratified_permutation
from bench.stats.family import holm
from bench.tables.compare import Entry, Table
from bench.tables.imported import Wish, measures_of, tables
from tests.tables.laid import Layout, Measured, laid, rules

HEADER = "method,dataset,rate,seed,value"
LINES = """
ce,CUB,15,0,41.4
ce,CUB,15,1,41.9
ce,CUB,15,2,42.1
GTA,CUB,15,0,51.5
GTA,CUB,15,1,52.5
GTA,CUB,15,2,51.0
ce,CUB,100,0,81.4
ce,CUB,100,1,81.9
ce,CUB,100,2,81.7
GTA,CUB,100,0,84.5
GTA,CUB,100,1,82.5
GTA,CUB,100,2,failed
L2-SP,CUB,15,,60.554
L2-SP,CUB,100,,80.1
""".strip().splitlines()

labels = st.text(st.characters(codec="utf-8", exclude_characters="\x00"), min_size=1).filter(
    lambda text: text.strip() == text and "\r" not in text and "\n" not in text
)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write(path: Path, lines: list[str], header: str = HEADER) -> Path:
    path.write_text("\n".join([header, *lines]) + "\n", encoding="utf-8")
    return path


def records(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def tables_of(path: Path, baseline: str | None = None) -> list[Table]:
    imported = read_results(path)
    return tables(imported, measures_of(imported), Wish("t", baseline))


def told(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert main(["import", *arguments]) == 0
    return capsys.readouterr().out


class TestTable:
    def test_is_that_of_the_suite(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        own = [line for line in LINES if "L2-SP" not in line and "failed" not in line]
        write(folder / "r.csv", own)
        values: dict[tuple[str, str], list[float]] = {}
        for method, _, rate, _, value in (line.split(",") for line in own):
            values.setdefault((method, rate), []).append(float(value))
        cells = [
            Measured({"dataset": "CUB", "rate": f"{rate} %", "method": method}, tuple(numbers), 3)
            for (method, rate), numbers in values.items()
        ]
        table = laid(cells, Layout("r", ("dataset", "method"), ("rate",), "ce"))
        for format in ("text", "markdown", "latex", "csv", "json", "html", "macros"):
            out = told(capsys, "r.csv", "--baseline", "ce", "--format", format, "--width", "90")
            assert out == render(table, format, width=90)

    def test_tests_against_the_baseline(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        write(folder / "r.csv", LINES)
        found = records(told(capsys, "r.csv", "--baseline", "ce", "--format", "csv"))
        gta = next(record for record in found if record["method"] == "GTA" and record["rate"] == "15 %")
        expected = ttest_ind([51.5, 52.5, 51.0], [41.4, 41.9, 42.1], equal_var=False).pvalue
        assert float(gta["p"]) == pytest.approx(expected, abs=1e-12)
        assert gta["significant"] == "true"

    def test_failed_seeds_are_counted_and_not_averaged(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        write(folder / "r.csv", LINES)
        found = records(told(capsys, "r.csv", "--format", "csv"))
        gta = next(record for record in found if record["method"] == "GTA" and record["rate"] == "100 %")
        assert (gta["mean"], gta["n"], gta["failed"], gta["planned"]) == ("83.5", "2", "1", "3")
        assert "n=2/3!" in told(capsys, "r.csv")
        assert "bench retry" not in told(capsys, "r.csv")

    def test_a_metric_of_a_plugin_has_its_direction(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        write(folder / "r.csv", ["a,X,0,wer,6", "b,X,0,wer,4"], "method,dataset,seed,metric,value")
        assert main(["import", "r.csv"]) == 2
        assert "wer: is more better, or less? --higher wer or --lower wer" in capsys.readouterr().err
        (folder / "mine" / "metrics").mkdir(parents=True)
        declared = 'from bench.metrics import Metric\nMETRIC = Metric("wer", "errors", "", lower=True, compute=sum)\n'
        (folder / "mine" / "metrics" / "wer.py").write_text(declared, encoding="utf-8")
        assert "● 4.0" in told(capsys, "r.csv", "--plugin", "mine")

    def test_less_time_is_better(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        write(folder / "r.csv", ["a,X,0,seconds_to_90,6", "b,X,0,seconds_to_90,4"], "method,dataset,seed,metric,value")
        assert "the lowest mean" in told(capsys, "r.csv")

    def test_decimals_are_those_of_the_metric(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        write(folder / "r.csv", ["a,X,0,nll,0.6123", "b,X,0,nll,0.4123"], "method,dataset,seed,metric,value")
        assert "● 0.412" in told(capsys, "r.csv")
        assert "● 0.41\n" in told(capsys, "r.csv", "--decimals", "2")

    def test_an_incomplete_cell_is_marked(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        """Seeds that the method has elsewhere count as planned."""
        write(folder / "r.csv", LINES[:5] + LINES[6:12])
        found = records(told(capsys, "r.csv", "--format", "csv"))
        assert [(record["n"], record["planned"]) for record in found] == [("3", "3")] * 2 + [("2", "3")] * 2
        assert "n=2/3 " in told(capsys, "r.csv")

    def test_what_nobody_planned_is_not_missing(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        """More seeds of another method leave nothing open, and other seeds of the same one neither."""
        lines = [*(f"A,X,{seed},{70 + seed}" for seed in (0, 1, 2)), "B,X,5,70", "B,X,6,71"]
        write(
            folder / "r.csv", [*lines, *(f"B,Y,{seed},{70 + seed}" for seed in (7, 8, 9))], "method,dataset,seed,value"
        )
        found = records(told(capsys, "r.csv", "--format", "csv"))
        planned = {(record["method"], record["dataset"]): record["planned"] for record in found}
        assert planned == {("A", "X"): "3", ("A", "Y"): "0", ("B", "X"): "2", ("B", "Y"): "3"}
        assert "2/" not in told(capsys, "r.csv")

    def test_datasets_are_columns_where_no_rate_varies(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        write(folder / "r.csv", ["a,X,0,1", "a,Y,0,2"], "method,dataset,seed,value")
        first, *_ = json.loads(told(capsys, "r.csv", "--format", "json"))["cells"]
        assert (first["row"], first["column"]) == ("a", "X")

    def test_a_table_a_metric(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        write(folder / "r.csv", ["a,X,0,top-1 (%),50", "a,X,0,score,1234.5"], "method,dataset,seed,metric,value")
        out = told(capsys, "r.csv", "--higher", "score")
        assert "r – top-1 (%), dataset X" in out
        assert "r – score, dataset X" in out
        assert told(capsys, "r.csv", "--metric", "score", "--higher", "score").count("–") == 1
        assert told(capsys, "r.csv", "--metric", "top1") == told(capsys, "r.csv", "--metric", "top-1 (%)")
        assert main(["import", "r.csv", "--higher", "score", "--format", "json"]) == 2

    def test_columns_and_lines_may_stand_in_any_order(self, folder: Path) -> None:
        write(folder / "a.csv", LINES)
        turned = [",".join(reversed(line.split(","))) for line in LINES]
        write(folder / "b.csv", turned, ",".join(reversed(HEADER.split(","))))
        (a,), (b,) = (tables_of(folder / name, "ce") for name in ("a.csv", "b.csv"))
        assert render(a, "json") == render(b, "json")

    def test_order_of_seeds_changes_nothing(self, folder: Path) -> None:
        write(folder / "a.csv", LINES)
        write(folder / "b.csv", [LINES[i] for i in (2, 1, 0, 5, 3, 4, 7, 6, 8, 11, 10, 9, 12, 13)])
        (a,), (b,) = (tables_of(folder / name, "ce") for name in ("a.csv", "b.csv"))
        assert render(a, "json") == render(b, "json")

    def test_a_byte_order_mark_blank_lines_and_spaces_are_no_matter(self, folder: Path) -> None:
        write(folder / "a.csv", LINES)
        spaced = "\r\n\r\n".join([HEADER, *(line.replace(",", " , ") for line in LINES)])
        (folder / "b.csv").write_bytes(b"\xef\xbb\xbf" + spaced.encode())
        (a,), (b,) = tables_of(folder / "a.csv"), tables_of(folder / "b.csv")
        assert render(a, "json") == render(b, "json")

    @pytest.mark.slow
    @given(name=labels)
    @settings(max_examples=30)
    def test_any_label_survives(self, name: str, tmp_path_factory: pytest.TempPathFactory) -> None:
        path = tmp_path_factory.mktemp("labels") / "r.csv"
        with path.open("w", encoding="utf-8", newline="") as file:
            csv.writer(file).writerows([["method", "dataset", "seed", "value"], [name, "X", "0", "5"]])
        assert read_results(path).cells[0].axes["method"] == name

    def test_over_datasets_names_the_claims(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        rng = np.random.default_rng(0)
        lines = [
            f"{method},{dataset},{seed},{70 + 3 * (method == 'GTA') + rng.normal():.2f}"
            for method in ("ce", "GTA", "BSS")
            for dataset in "ABCDEF"
            for seed in range(3)
        ]
        write(folder / "r.csv", [*lines, "quoted,A,,80"], "method,dataset,seed,value")
        out = told(capsys, "r.csv", "--baseline", "ce", "--across", "these", "--width", "1000")
        cells: dict[tuple[str, str], list[float]] = {}
        for method, dataset, _, value in (line.split(",") for line in lines):
            cells.setdefault((method, dataset), []).append(float(value))
        gta, bss, base = ([cells[method, dataset] for dataset in "ABCDEF"] for method in ("GTA", "BSS", "ce"))
        these = holm([stratified_permutation(gta, base), stratified_permutation(bss, base)])
        gaps = [np.mean(values) - np.mean(base) for values in (gta, bss)]
        texts = [f"{gap:+.2f} (p = {p:.3g})" for gap, p in zip(gaps, these, strict=True)]
        assert f"On these datasets: GTA {texts[0]} and BSS {texts[1]} against ce over 6 datasets" in out
        like = told(capsys, "r.csv", "--baseline", "ce", "--across", "like-these", "--width", "1000")
        assert "On datasets like these: GTA +" in like
        assert "p = 0.0625" in like
        assert "quoted (quoted) +" not in out + like

    @pytest.mark.parametrize(("terminal", "lines"), [(True, 1), (False, 0)])
    def test_a_long_test_over_datasets_is_announced_in_a_terminal(
        self,
        terminal: bool,
        lines: int,
        folder: Path,
        capsys: pytest.CaptureFixture[str],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setattr("bench.commands.imported.MANY", 4)
        monkeypatch.setattr(sys.stderr, "isatty", lambda: terminal)
        results = [
            f"{method},{dataset},{seed},{seed}" for method in ("ce", "GTA") for dataset in "AB" for seed in (1, 2)
        ]
        write(folder / "r.csv", results, "method,dataset,seed,value")
        assert main(["import", "r.csv", "--baseline", "ce", "--across", "these"]) == 0
        notes = capsys.readouterr().err.splitlines()
        assert len(notes) == lines
        assert all(note.startswith("bench: 8 values are compared over datasets") for note in notes)

    def test_over_five_datasets_is_refused_with_the_arithmetic(
        self, folder: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        lines = [f"{method},{dataset},{seed},{70 + seed}" for method in "ab" for dataset in "ABCDE" for seed in (0, 1)]
        write(folder / "r.csv", lines, "method,dataset,seed,value")
        out = told(capsys, "r.csv", "--baseline", "a", "--across", "like-these", "--width", "1000")
        assert "On datasets like these: not testable: n = 5 datasets: the smallest possible p of" in out

    @pytest.mark.parametrize(
        ("arguments", "sentence"),
        [
            ([], "Nothing is claimed over datasets: there is no baseline to compare with."),
            (["--baseline", "ce"], "On these datasets, 15 % and 100 %: not testable: it takes two datasets or more"),
        ],
    )
    def test_why_nothing_is_claimed_over_datasets(
        self, arguments: list[str], sentence: str, folder: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        write(folder / "r.csv", LINES)
        assert sentence in told(capsys, "r.csv", "--across", "these", "--width", "1000", *arguments)

    @pytest.mark.parametrize("format", ["csv", "macros"])
    def test_formats_without_sentences_hold_no_claims(
        self, format: str, folder: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        write(folder / "r.csv", LINES)
        assert main(["import", "r.csv", "--across", "these", "--format", format]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert line.startswith(f"bench: --across: --format {format} has cells alone")

    @pytest.mark.parametrize("test", ["welch", "paired", "permutation"])
    def test_the_test_can_be_chosen(self, test: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        own, base = (51.5, 52.5, 51.0, 50.5), (41.4, 41.9, 42.1, 52.0)
        lines = [f"GTA,X,{seed},{value}" for seed, value in zip((3, 1, 0, 2), own, strict=True)]
        lines += [f"ce,X,{seed},{value}" for seed, value in zip((3, 1, 0, 2), base, strict=True)]
        write(folder / "r.csv", lines, "method,dataset,seed,value")
        expected = {
            "welch": ttest_ind(own, base, equal_var=False).pvalue,
            "paired": ttest_rel(own, base).pvalue,
            "permutation": permutation_test((own, base), lambda a, b: np.mean(a) - np.mean(b), n_resamples=999).pvalue,
        }[test]
        (gta,) = [
            r for r in records(told(capsys, "r.csv", "--baseline", "ce", "--test", test, "--format", "csv")) if r["p"]
        ]
        assert float(gta["p"]) == pytest.approx(float(expected), abs=1e-9)
        text = told(capsys, "r.csv", "--baseline", "ce", "--test", test)
        assert ("Pairs are runs of one seed." in text) == (test == "paired")

    def test_a_test_that_cannot_reach_alpha_says_so(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        write(folder / "r.csv", LINES[:6])
        text = " ".join(told(capsys, "r.csv", "--baseline", "ce", "--test", "permutation").split())
        assert "No † can stand: n = 3 and 3 seeds: the smallest possible p of the permutation test is 0.1" in text

    def test_too_many_seeds_for_the_exact_test_are_one_line(
        self, folder: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        lines = [f"{method},X,{seed},{seed}" for method in "ab" for seed in range(21)]
        write(folder / "r.csv", lines, "method,dataset,seed,value")
        assert main(["import", "r.csv", "--baseline", "a", "--test", "permutation"]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert line == "bench: r.csv: the exact test is for at most 40 values; with 42, use a t-test"

    def test_is_written_where_it_is_asked_for(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        write(folder / "r.csv", LINES)
        (folder / "out").mkdir()
        shown = told(capsys, "r.csv", "--format", "latex")
        assert told(capsys, "r.csv", "--format", "latex", "--output", "out/t.tex") == "out/t.tex\n"
        assert (folder / "out" / "t.tex").read_text(encoding="utf-8") == shown


def measured(table: Table) -> list[Entry]:
    """What the runs of a table come to, without quoted numbers."""
    return [entry for _, entry in table.places() if not entry.planned.quoted]


class TestQuoted:
    def test_is_labelled_and_never_tested(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        write(folder / "r.csv", LINES)
        out = told(capsys, "r.csv", "--baseline", "ce")
        assert "L2-SP (quoted)" in out
        assert "Quoted: published numbers" in out
        assert "not run, or not finished" not in out
        lines = records(told(capsys, "r.csv", "--baseline", "ce", "--format", "csv"))
        quoted = [line for line in lines if "quoted" in line["method"]]
        assert [line["published"] for line in quoted] == ["60.554", "80.1"]
        judged = {(line["mean"], line["delta"], line["p"], line["best"], line["indistinguishable"]) for line in quoted}
        assert judged == {("", "", "", "false", "false")}

    def test_changes_nothing_of_the_others(self, folder: Path) -> None:
        """The quoted number is the highest at one rate, and yet the best of the runs stays marked."""
        write(folder / "a.csv", LINES)
        write(folder / "b.csv", LINES[:-2])
        (mixed,), (own,) = (tables_of(folder / name, "ce") for name in ("a.csv", "b.csv"))
        assert measured(mixed) == measured(own)
        assert any("n=3 seeds" in sentence for sentence in rules(mixed))

    def test_stands_beside_own_runs_of_the_method(self, folder: Path) -> None:
        write(folder / "r.csv", ["a,X,0,1", "a,X,,2"], "method,dataset,seed,value")
        (table,) = tables_of(folder / "r.csv")
        assert table.plan.rows == (("a",),)
        assert table.at((0, 0)).planned.published == 2

    def test_by_a_column(self, folder: Path) -> None:
        write(folder / "r.csv", ["a,X,0,1,no", "b,X,,2,yes"], "method,dataset,seed,value,quoted")
        a, b = read_results(folder / "r.csv").cells
        assert (a.values, a.quoted) == ([1], None)
        assert b.quoted
        assert (b.values, b.quoted.number.value) == ([], 2)

    def test_is_no_baseline(self, folder: Path) -> None:
        write(folder / "r.csv", LINES)
        with pytest.raises(InputError, match="L2-SP: it is only quoted"):
            tables_of(folder / "r.csv", "L2-SP")

    def test_alone_makes_a_table(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        write(folder / "r.csv", ["L2-SP,CUB,15,,60.554 ± 0.25", "GTA,CUB,15,,61.2"])
        out = told(capsys, "r.csv")
        assert "L2-SP (quoted)  60.6 ± 0.2" in out
        assert "No run" not in out
        assert out.rstrip().endswith("Quoted: published numbers as they are; not compared and never tested.")

    def test_a_method_that_has_runs_gets_a_verdict(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        """As for a paper's table, within a point."""
        runs = ["a,X,0,79.0", "a,X,1,79.4", "a,X,2,79.2", "a,Y,0,60.0", "a,Y,1,60.2", "a,Y,2,60.1"]
        write(folder / "r.csv", [*runs, "a,X,,79.5 ± 0.3", "a,Y,,70.1", "b,X,,81"], "method,dataset,seed,value")
        found = records(told(capsys, "r.csv", "--format", "csv"))
        x, y = (record for record in found if record["method"] == "a")
        assert (x["verdict"], y["verdict"]) == ("same", "differs")
        assert float(x["gap"]) == pytest.approx(-0.3)
        assert float(y["gap"]) == pytest.approx(-10)
        assert (x["published"], x["published_std"]) == ("79.5", "0.3")
        assert "(published and ours)" in told(capsys, "r.csv")
        assert "70.1" not in told(capsys, "r.csv", "--source", "ours")
        assert "60.1" not in told(capsys, "r.csv", "--source", "published")
        assert "b (quoted)" in told(capsys, "r.csv")
        assert "–" not in told(capsys, "r.csv").partition("b (quoted)")[2].partition("\n")[0]

    def test_without_runs_has_no_source(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        write(folder / "r.csv", LINES)
        assert main(["import", "r.csv", "--source", "both"]) == 2
        assert "--source both: no number is quoted of a method that has runs" in capsys.readouterr().err


class TestBadInput:
    def test_commas_within_values_are_asked_about(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        path = tmp_path / "r.csv"
        path.write_text("method,dataset,seed,value\n" + "".join(f"a,X,{seed},80,{seed}\n" for seed in range(9)))
        assert main(["import", str(path)]) == 2
        *rows, more, remedy = capsys.readouterr().err.splitlines()
        assert [row.partition(": ")[2] for row in rows] == [
            f"{path}:{line}: 5 fields for the 4 columns method, dataset, seed, value" for line in (2, 3)
        ]
        assert more == f"bench: {path}: and 7 more lines like that"
        assert remedy.endswith("a value with a comma in it, as 80,1, needs quotes, or semicolons between the columns")

    @pytest.mark.parametrize(
        ("content", "said"),
        [
            (b"", r"r\.csv:1: the file is empty"),
            (b" \n\n", r"r\.csv:1: the file is empty"),
            (b"method,dataset,seed,value\n", r"r\.csv:1: there are no results"),
            (
                b"metod,dataset,seed,value\na,X,0,1\n",
                r"r\.csv:1: no column is called method or model; --columns method=",
            ),
            (b"method,dataset,seed,note\na,X,0,b\n", r"r\.csv:1: no column holds numbers; --columns value=NAME"),
            (
                b"method,dataset,seed,p,q\na,X,0,1,2\n",
                r"r\.csv:1: which columns hold the results\? --columns value=NAME",
            ),
            (b"model,approach,seed,value\na,X,0,1\n", r"r\.csv:1: model, approach may all be the method: --columns"),
            (b"method,model,value\na,b,1\na,c,2\n", r"r\.csv:1: method and model may both be the method: --columns"),
            (b"method,dataset,seed,value,value\na,X,0,1,1\n", r"r\.csv:1: a column stands there twice: value"),
            (b"method,dataset,seed,value\na,X,0,1\na,X,0\n", r"r\.csv:3: 3 fields for the 4 columns"),
            (
                b"method,dataset,seed,value\na,X,0,1\n\na,X,0,2\n",
                r"r\.csv:4: a second value of X, a, seed 0; .* line 2; --duplicates mean, first or last",
            ),
            (b"method,dataset,seed,value\na,X,,1\na,X,,2\n", r"r\.csv:3: a second value of X, a, quoted number"),
            (b"method,dataset,seed,value\na,X,0,inf\n", r"r\.csv:2: value must be a finite number"),
            (b"method,dataset,seed,value\na,X,0,1e999\n", r"r\.csv:2: value must be a finite number"),
            (b"method,dataset,seed,value\na,X,0,8_1\n", r"r\.csv:2: value must be a finite number.* it is '8_1'"),
            (b'method,dataset,seed,value\na,X,0,"1,234"\n', r"r\.csv:2: value must be a finite number.* it is '1,234'"),
            (b"method,dataset,seed,value\na,X,0,80 \xc2\xb1 1\n", r"r\.csv:2: a run has one number, not '80 \xb1 1'"),
            (b"method,dataset,seed,value\na,X,0,100.01\n", r"r\.csv:2: top-1 \(%\) is 0 to 100; value is 100\.01"),
            (b"method,dataset,seed,value\na,X,0,-1\n", r"r\.csv:2: top-1 \(%\) is 0 to 100.*--higher NAME or --lower"),
            (b"method,dataset,seed,metric,value\na,X,0,accuracy,101\n", r"r\.csv:2: accuracy is 0 to 100"),
            (
                b"method,dataset,seed,metric,value\na,X,0,regret,1\n",
                r"r\.csv: metric regret: is more better, or less\?",
            ),
            (b"method,dataset,rate,seed,value\na,X,0,0,1\n", r"r\.csv:2: rate is a percentage above 0"),
            (b"method,dataset,rate,seed,value\na,X,101,0,1\n", r"r\.csv:2: rate is a percentage above 0"),
            (b"method,dataset,seed,value\n,X,0,1\n", r"r\.csv:2: method is empty"),
            (b"method,mean,std,n\na,1,x,3\n", r"r\.csv:2: a deviation is a number, 0 or more; it is 'x'"),
            (b"method,mean,std,n\na,1,1,0\n", r"r\.csv:2: n is how many runs a mean is of, 1 or more; it is '0'"),
            (b"method,dataset,seed,value,quoted\na,X,0,1,maybe\n", r"r\.csv:2: quoted is yes or no, not 'maybe'"),
            (b"method,dataset,seed,value,quoted\na,X,0,1,yes\n", r"r\.csv:2: a quoted number has no seed"),
            (b"method,dataset,seed,value,quoted\na,X,,1,no\n", r"r\.csv:2: seed is empty, and quoted is no"),
            (b"method,seed,acc,State\na,,1,finished\n", r"r\.csv:2: seed is empty; a run of a tracker has one"),
            (b"method,dataset,seed,value\na,X,,failed\n", r"r\.csv:2: a quoted number cannot have failed"),
            (b"method,fold,value\na,0,1\n", r"r\.csv:1: fold has only one fold; --folds K"),
            (b"method,dataset,seed,value\na,X,0,1\na,\xff,0,1\n", r"r\.csv:3: it is not UTF-8 \(byte 0xff\)"),
            (b'method,dataset,seed,value\na,"X,0,1\n', r"r\.csv:2: it is not CSV"),
        ],
    )
    def test_is_one_line_with_its_place_and_writes_nothing(
        self, content: bytes, said: str, folder: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        (folder / "r.csv").write_bytes(content)
        assert main(["import", "r.csv", "--output", "t.tex", "--format", "latex"]) == 2
        captured = capsys.readouterr()
        assert captured.out == ""
        (line,) = captured.err.splitlines()
        assert re.match(f"bench: {said}", line), line
        assert [path.name for path in folder.iterdir()] == ["r.csv"]

    def test_everything_wrong_is_said_at_once_up_to_a_limit(self, folder: Path) -> None:
        write(folder / "r.csv", [f"a,CUB,15,{seed},x" for seed in range(30)])
        with pytest.raises(InputError) as caught:
            read_results(folder / "r.csv")
        assert len(caught.value.problems) == 20
        assert caught.value.problems[-1].endswith("and 11 more problems of the kind")

    @pytest.mark.parametrize(
        ("arguments", "said"),
        [
            (["none.csv"], "none.csv: it cannot be read"),
            (["r.csv", "--baseline", "cee"], "--baseline: no method is called 'cee'; did you mean 'ce'?"),
            (["r.csv", "--alpha", "1.5"], "--alpha 1.5"),
            (["r.csv", "--decimals", "-1"], "--decimals -1"),
            (["r.csv", "--metric", "f1"], "--metric: no metric is called 'f1'"),
            (["r.csv", "--output", "r.csv"], "--output r.csv: the results themselves lie there"),
            (["r.csv", "--columns", "methd=ce"], "--columns methd=ce: no role of a column is called 'methd'; did you"),
            (["r.csv", "--columns", "method=metod"], "r.csv:1: --columns: no column is called 'metod'; did you mean"),
            (["r.csv", "--columns", "rate=a,b"], "--columns rate=a,b: one column is the rate"),
            (["r.csv", "--columns", "method"], "--columns method: it is ROLE=COLUMN"),
            (["r.csv", "--separator", "ab"], "--separator: one character, or comma, semicolon, tab, bar; not 'ab'"),
            (["r.csv", "--n", "0"], "--n 0: of how many runs a mean is"),
            (["r.csv", "--folds", "1"], "--folds 1: a cross-validation has 2 folds or more"),
            (["r.csv", "--lower", "a", "--higher", "a"], "--lower and --higher: a metric goes one way"),
            (["r.csv", "--power"], "--power: nothing is compared; --baseline NAME"),
            (["r.csv", "--figure", "cd"], "--figure cd: --output FILE names a .png, .pdf or .svg file"),
            (["r.csv", "--folds", "3", "--test", "welch"], "--test welch: folds share their training images"),
            (["r.csv", "--folds", "3", "--across", "these"], "--across these: folds share their training images"),
        ],
    )
    def test_of_options(
        self, arguments: list[str], said: str, folder: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        write(folder / "r.csv", LINES)
        before = (folder / "r.csv").read_bytes()
        assert main(["import", *arguments]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert line.startswith(f"bench: {said}")
        assert (folder / "r.csv").read_bytes() == before

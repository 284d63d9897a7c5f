"""Tables: what is compared with what, and that every format says it in full."""

from __future__ import annotations

import csv
import io
import json
import math
import re
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.errors import InputError
from bench.figures.figure import draw_table
from bench.notation import fixed, listed, signed
from bench.sheets.formats import FORMATS
from bench.sheets.tex import escape
from bench.sheets.view import render as written
from bench.stats.two import welch
from bench.tables.caption import Caption
from bench.tables.cells import Cell
from bench.tables.compare import Entry, Table
from tests.tables.laid import Layout, Measured, entries, laid, rules

NASTY = [
    "L2-SP & BSS",
    "15%",
    "a_b*c*",
    r"back\slash",
    "$x^2$ {~} #1",
    "a|b",
    "<b>",
    "two\nlines",
    'say "x", y',
    "[cls]",
]
LAYOUT = Layout("Demo", baseline="CE")
METHODS = {"CE": (70.0, 71.0, 72.0), "GTA": (75.0, 76.0, 77.0)}


def cell(method: str, *values: float, rate: str = "15 %", planned: int = 3, failed: int = 0, reason: str = "",
         dataset: str = "CUB", backbone: str = "vit") -> Measured:  # fmt: skip
    axes = {"dataset": dataset, "backbone": backbone, "rate": rate, "method": method}
    return Measured(axes, values, planned, failed, reason)


def render(table: Table, format: str = "text", width: int | None = None) -> str:
    return written(table, format, width=width)


def demo() -> list[Measured]:
    shifted = [cell(name, *(value + 9.06 for value in values), rate="30 %") for name, values in METHODS.items()]
    return [cell(name, *values) for name, values in METHODS.items()] + shifted


def holes() -> list[Measured]:
    """Two datasets with everything that can be missing, and labels that break careless writers."""
    cells = [
        cell(label, 60 + i, 61 + i, 62.5 + i, rate=rate, dataset=dataset)
        for dataset in ("CUB", "Cars_196")
        for rate in ("15 %", "100 %")
        for i, label in enumerate(NASTY)
        if (label, dataset) != ("15%", "CUB")
    ]
    cells[0] = replace(cells[0], values=(60.0,))
    cells[1] = replace(cells[1], values=(9.5, 61.25), failed=1)
    cells[2] = replace(cells[2], values=(), failed=2)
    cells[3] = replace(cells[3], values=())
    cells[4] = replace(cells[4], values=(), reason="vit gives no cls_attention & costs 100%")
    return cells


def entry(table: Table, method: str, **axes: str) -> Entry:
    (found,) = [
        e
        for e in entries(table)
        if e.planned.axes["method"] == method and all(e.planned.axes[axis] == label for axis, label in axes.items())
    ]
    return found


def by_axes(table: Table) -> dict[tuple[str, ...], Entry]:
    return {tuple(e.planned.axes.values()): e for e in entries(table)}


def latex_columns(line: str) -> int:
    spans = sum(int(span) - 1 for span in re.findall(r"\\multicolumn\{(\d+)\}", line))
    return len(re.findall(r"(?<!\\)&", line)) + 1 + spans


# ---- what is compared -------------------------------------------------------------------------------------------


def test_an_entry_by_hand() -> None:
    gta = entry(laid(demo(), LAYOUT), "GTA", rate="15 %")
    assert (gta.n, gta.mean, gta.std, gta.delta) == (3, 76.0, 1.0, 5.0)
    assert gta.p == welch(METHODS["GTA"], METHODS["CE"]) == gta.p_holm
    assert gta.significant
    assert gta.rank == 1
    assert gta.near
    ce = entry(laid(demo(), LAYOUT), "CE", rate="15 %")
    assert (ce.delta, ce.p, ce.p_holm) == (None, None, None)
    assert (ce.significant, ce.rank == 1, ce.near) == (False, False, False)


def test_the_family_is_one_column_or_the_whole_table() -> None:
    cells = [*demo(), cell("L2-SP", 71, 72, 73.5), cell("L2-SP", 70, 80, 83, rate="30 %")]
    column, table = laid(cells, LAYOUT), laid(cells, replace(LAYOUT, family="table"))
    smallest = entry(column, "GTA", rate="15 %")
    assert smallest.p is not None
    assert smallest.p_holm == pytest.approx(2 * smallest.p)
    assert entry(table, "GTA", rate="15 %").p_holm == pytest.approx(4 * smallest.p)
    assert any("the 2 comparisons within one rate" in rule for rule in rules(column))
    assert any("all 4 comparisons of the table" in rule for rule in rules(table))


def test_comparisons_stay_within_one_dataset_backbone_and_rate() -> None:
    cells = [cell("CE", 1, 2, 3, dataset="A"), cell("GTA", 1, 2, 3, dataset="A"), cell("GTA", 9, 9, 8, dataset="B")]
    alone = entry(laid(cells, LAYOUT), "GTA", dataset="B")
    assert (alone.delta, alone.p, alone.rank == 1) == (None, None, False)


@given(st.permutations(holes()))
@settings(max_examples=15, deadline=None)
def test_order_of_cells_changes_no_result(cells: list[Measured]) -> None:
    layout = replace(LAYOUT, baseline="<b>", family="table")
    assert by_axes(laid(cells, layout)) == by_axes(laid(holes(), layout))


def test_rows_that_share_an_outer_label_stand_together() -> None:
    cells = [cell(m, 1.0, dataset=d, rate=r) for r in ("15 %", "5 %") for m in ("b", "a") for d in ("Y", "X")]
    table = laid(cells, Layout("t"))
    assert table.plan.rows == (("Y", "b"), ("Y", "a"), ("X", "b"), ("X", "a"))
    assert table.plan.columns == (("15 %",), ("5 %",))
    assert table.plan.common == ("backbone vit",)
    assert "backbone vit" in table.heading


def test_method_stays_even_when_it_is_one() -> None:
    table = laid([cell("CE", 1.0, 2.0)], LAYOUT)
    assert table.plan.stub == ("method",)
    assert table.plan.columns == (("top-1 (%)",),)
    assert "top-1 (%)" in render(table, "text", 80).splitlines()[2]


@pytest.mark.parametrize("format", FORMATS)
def test_methods_along_the_columns(format: str) -> None:
    layout = Layout("t", rows=("dataset", "backbone"), columns=("rate", "method"))
    table = laid(demo(), layout)
    assert table.plan.rows == (("top-1 (%)",),)
    assert "76.0" in render(table, format, 80)


def test_printed_ties_share_the_mark() -> None:
    ties = [cell("A", 83.14, 83.14), cell("B", 83.06, 83.06), cell("C", 83.0, 83.0)]
    table = laid(ties, Layout("t"))
    assert [e.rank == 1 for e in entries(table)] == [True, True, False]
    finer = laid(ties, Layout("t", decimals=2))
    assert [e.rank == 1 for e in entries(finer)] == [True, False, False]
    lines = render(table, "text", 80).splitlines()
    assert [line.count("●") for line in lines if "83." in line] == [1, 1, 0]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda: laid([*demo(), demo()[1]], Layout("t", columns=())), "two cells at row"),
        (lambda: Cell((math.nan,), (0,), 1), "finite"),
        (lambda: Cell((1.0,), (0,), 0), "contradict"),
        (lambda: Cell((1.0,), (0,), 1, reason="why"), "left out (why)"),
        (lambda: Cell((1.0, 2.0), (0, 0), 2), "a seed of its own"),
        (lambda: render(laid(demo(), LAYOUT), "docx"), "csv, html, json, latex, latex-siunitx, macros, markdown, text"),
        (lambda: render(laid(demo(), LAYOUT), "text", 0), "width"),
    ],
)
def test_bad_input_is_named(change: object, message: str) -> None:
    assert callable(change)
    with pytest.raises(ValueError, match=re.escape(message)):
        change()


# ---- what is said -----------------------------------------------------------------------------------------------


def test_text_golden() -> None:
    assert render(laid(demo(), LAYOUT), "text", 80) == (
        "Demo – top-1 (%), dataset CUB, backbone vit\n\n"
        "method    15 %                 30 %\n"
        "--------  -------------------  -------------------\n"
        "CE          71.0 ± 1.0           80.1 ± 1.0\n"
        "GTA       ● 76.0 ± 1.0  +5.0‡  ● 85.1 ± 1.0  +5.0‡\n\n"
        "± is the sample standard deviation over n=3 seeds.\n"
        "Signed numbers are differences of means to CE, taken before rounding.\n"
        "† p ≤ 0.05, ‡ p ≤ 0.01: two-sided Welch t-test against CE, one comparison within\n"
        "  one rate.\n"
        "●: the highest mean within one rate, shared by printed ties.\n"
        "○: too near to be told from it, which takes 1.7 points; what has no mark is not\n"
        "  the best (Hsu, 95 % within one rate, one spread for all).\n"
        "Signature:\n"
        "  bench:Demo:top1:on-test:at-last:welch-holm-column-0.05:n3:v0.1.0:dacdac69192c\n"
    )


def test_text_folds_and_then_splits() -> None:
    lines = render(laid(demo(), LAYOUT), "text", 40).splitlines()
    at = next(i for i, line in enumerate(lines) if line.startswith("GTA"))
    assert lines[at] == "GTA       ● 76.0 ± 1.0  ● 85.1 ± 1.0"
    assert lines[at + 1] == "            +5.0‡         +5.0‡"
    split = render(laid(demo(), LAYOUT), "text", 30).splitlines()
    assert [line for line in split if line.startswith("method")] == ["method    15 %", "method    30 %"]


def test_markdown_golden() -> None:
    lines = render(laid(demo()[:2], replace(LAYOUT, title="a_b")), "markdown").splitlines()
    assert lines[:6] == [
        r"**a\_b – top-1 (%), dataset CUB, backbone vit, rate 15 %**",
        "",
        "| method   |            top-1 (%) |",
        "|:---------|---------------------:|",
        "| CE       |           71.0 ± 1.0 |",
        "| GTA      | **76.0 ± 1.0** +5.0‡ |",
    ]


def test_latex_golden() -> None:
    cells = [
        cell(m, *v, dataset=d, rate=r) for d in ("CUB", "Cars") for r in ("15%", "30%") for m, v in METHODS.items()
    ]
    layout = Layout("Demo", rows=("backbone", "method"), columns=("dataset", "rate"), baseline="CE")
    lines = render(laid(cells, layout), "latex").splitlines()
    assert lines[0] == r"% needs \usepackage{booktabs}, \usepackage{multirow} and \usepackage{adjustbox}"
    head = lines.index(r"\toprule") + 1
    assert lines[head : head + 3] == [
        r" & \multicolumn{2}{c}{CUB} & \multicolumn{2}{c}{Cars} \\",
        r"\cmidrule(lr){2-3} \cmidrule(lr){4-5}",
        r"method & " + " & ".join([r"\multicolumn{1}{c}{15\%}", r"\multicolumn{1}{c}{30\%}"] * 2) + r" \\",
    ]
    ce = r"71.0 {\scriptsize$\pm$ 1.0}\hphantom{ {\scriptsize +5.0}}\hphantom{$^{\ddagger}$}"
    gta = r"\underline{\textbf{76.0}} {\scriptsize$\pm$ 1.0} {\scriptsize +5.0}$^{\ddagger}$"
    body = lines.index(r"\midrule") + 1
    assert lines[body : body + 2] == [
        "CE & " + " & ".join([ce] * 4) + r" \\",
        "GTA & " + " & ".join([gta] * 4) + r" \\",
    ]
    assert lines[body + 2 : body + 5] == [r"\bottomrule", r"\end{tabular}", r"\end{adjustbox}"]


def test_latex_groups_rows() -> None:
    cells = [cell(m, *v, dataset=d) for d in ("CUB", "Cars") for m, v in METHODS.items()]
    text = render(laid(cells, LAYOUT), "latex")
    assert r"\multirow{2}{*}{CUB} & CE & " in text
    assert text.count(r"\midrule") == 2


@pytest.mark.parametrize(
    ("label", "escaped"),
    [
        ("15% & #1 $5 a_b {c}", r"15\% \& \#1 \$5 a\_b \{c\}"),
        ("\\~^", r"\textbackslash{}\textasciitilde{}\textasciicircum{}"),
        ("<|>", r"\textless{}\textbar{}\textgreater{}"),
        ("[cls]*", "{[}cls]{*}"),
        ("−1 ± α", r"$-$1 $\pm$ $\alpha$"),
        ("a\n\tb", "a b"),
    ],
)
def test_latex_escapes(label: str, escaped: str) -> None:
    assert escape(label) == escaped


@pytest.mark.parametrize("columns", [("rate",), ("dataset", "rate"), ("dataset", "rate", "method")])
def test_latex_is_well_formed(columns: tuple[str, ...]) -> None:
    rows = tuple(axis for axis in ("backbone", "dataset", "method") if axis not in columns)
    text = render(laid(holes(), Layout("50% of _#1_", rows, columns, baseline="<b>")), "latex")
    plain = re.sub(r"\\[{}\\%&#$_]", "", text)
    assert plain.count("{") == plain.count("}")
    assert plain.count("$") % 2 == 0
    assert "%" not in "".join(line for line in plain.splitlines() if not line.startswith(("% needs ", "% signature: ")))
    for block in text.split(r"\toprule")[1:]:
        lines = [line for line in block.split(r"\bottomrule")[0].splitlines() if line.endswith(r"\\")]
        assert len({latex_columns(line) for line in lines}) == 1
    assert not any(line.lstrip().startswith(("[", "*")) for line in text.splitlines())


def test_markdown_labels_stay_literal() -> None:
    text = render(laid(holes(), LAYOUT_HOLES), "markdown")
    rows = [line for line in text.splitlines() if line.startswith("|")]
    split = [re.split(r"(?<!\\)\|", row)[1:-1] for row in rows]
    assert {len(row) for row in split} == {4}
    labels = {re.sub(r"\\(.)", r"\1", row[1].strip()) for row in split[2:]}
    assert labels == {label.replace("\n", " ") for label in NASTY}
    assert not re.search(r"(?<!\\)[<_$]", "".join(rows))


LAYOUT_HOLES = Layout("Holes", baseline="<b>")


def test_csv_reads_back() -> None:
    table = laid(holes(), LAYOUT_HOLES)
    records = list(csv.DictReader(io.StringIO(render(table, "csv"), newline="")))
    assert ",".join(records[0]) == (
        "row,column,dataset,backbone,rate,method,metric,mean,std,n,planned,failed,delta,p,p_holm,"
        "delta_low,delta_high,superiority,significant,best,"
        "indistinguishable,chosen,note,published,published_std,printed,verdict,reason,gap,low,high,"
        "margin,half_width,seeds_to_decide,claimed_gain,claim"
    )
    wanted = [e for e in entries(table) if e.planned.axes]
    assert len(records) == len(wanted)
    for record, e in zip(records, wanted, strict=True):
        assert record["method"] == e.planned.axes["method"]
        for name, number in {"mean": e.mean, "std": e.std, "delta": e.delta, "p": e.p, "p_holm": e.p_holm}.items():
            assert record[name] == ("" if number is None else repr(number))
        assert record["best"] == str(e.rank == 1).lower()
        assert (int(record["n"]), int(record["failed"])) == (e.n, e.cell.failed)
    notes = {record["note"] for record in records}
    assert {"", "1 of 3 runs failed (code)", "2 of 3 runs failed (code)", "no run has finished"} <= notes


@pytest.mark.parametrize("label", ["=1+1", "+1", "-x", "@SUM(A1)", "\t=1", "\r=1"])
def test_csv_labels_are_no_formulas(label: str) -> None:
    record = next(csv.DictReader(io.StringIO(render(laid([cell(label, 1.0)], Layout("t")), "csv"), newline="")))
    assert record["method"] == "'" + label
    assert record["row"] == "'" + label
    assert record["mean"] == "1.0"


def test_negative_numbers_in_csv_stay_numbers() -> None:
    cells = [cell("CE", 3, 4), cell("GTA", 1, 2)]
    record = list(csv.DictReader(io.StringIO(render(laid(cells, LAYOUT), "csv"))))[1]
    assert record["delta"] == "-2.0"


def test_json_has_the_fields_of_csv() -> None:
    table = laid(holes(), LAYOUT_HOLES)
    content = json.loads(render(table, "json"))
    assert list(content) == ["name", "title", "notes", "metric", "baseline", "rules", "signatures", "cells"]
    assert set(table.plan.rules.__dict__) == set(content["rules"])
    header = render(table, "csv").splitlines()[0].split(",")
    assert all(list(record) == header for record in content["cells"])


@pytest.mark.parametrize("format", FORMATS)
def test_every_format_is_stable_ends_once_and_prints_no_nan(format: str) -> None:
    first, second = (render(laid(holes(), LAYOUT_HOLES), format, 80) for _ in range(2))
    assert first == second
    assert first.endswith("\n")
    assert not first.endswith("\n\n")
    assert not re.search(r"\b(nan|none|inf)\b", first, re.IGNORECASE)
    assert not re.search(r"[ \t]$", first, re.MULTILINE)


def test_what_is_absent_is_said() -> None:
    cells = [
        cell("CE", 1, 2, 3),
        cell("a"),
        cell("b", failed=1),
        cell("c", reason="no source"),
        cell("d", reason="no source"),
    ]
    lines = render(laid([*cells, cell("e", 4, 5, failed=1), cell("f", 9)], Layout("t")), "text", 100).splitlines()
    found = {line.split()[0]: line.split(maxsplit=1)[1] for line in lines if re.match(r"(CE|[a-f]) ", line)}
    assert found == {
        "CE": "2.0 ± 1.0", "a": "–", "b": "failed", "c": "n/a [1]", "d": "n/a [1]", "e": "4.5 ± 0.7 n=2/3!",
        "f": "● 9.0       n=1/3",
    }  # fmt: skip
    said = ["–: not run, or not finished.", "failed: every seed that ran failed.", "[1] no source"]
    assert [line for line in lines if line in said] == said
    assert any("over n=3 seeds, or the n in the cell" in line for line in lines)


def test_one_seed_prints_no_deviation_and_no_test() -> None:
    table = laid([cell("CE", 70, planned=1), cell("GTA", 75, planned=1)], LAYOUT)
    text = render(table, "text", 80)
    assert "n=1 seed a cell: no ± and no test." in text
    assert "No test against CE" in text
    body = text.split("\n\n")[1]
    assert "± " not in body
    assert "● 75.0  +5.0" in body
    assert "†" not in text


def test_nothing_finished_still_makes_a_table() -> None:
    table = laid([cell("CE"), cell("GTA", failed=3)], LAYOUT)
    for format in FORMATS:
        assert "No run has finished." in render(table, format, 60) or format in ("csv", "macros")


def test_daggers_have_two_levels() -> None:
    cells = [cell("CE", 70, 71, 72), cell("a", 73, 74, 75), cell("b", 90, 91, 92), cell("c", 70, 71, 73)]
    table = laid(cells, LAYOUT)
    assert {e.planned.name: Caption(table).dagger(e) for e in entries(table)} == {
        "CE": "",
        "a": "†",
        "b": "‡",
        "c": "",
    }


def test_what_rounds_to_zero_has_no_minus() -> None:
    text = render(laid([cell("CE", 70, 71), cell("a", 69.99, 70.99), cell("b", 60, 61)], LAYOUT), "text", 80)
    assert "+0.0" in text
    assert "−0.0" not in text
    assert "−10.0" in text
    assert (fixed(-0.04, 1), fixed(-0.06, 1), signed(-0.04, 1), signed(0.04, 1)) == ("0.0", "-0.1", "+0.0", "+0.0")


def test_words_are_listed_as_in_english() -> None:
    assert [listed(words) for words in [("a",), ("a", "b"), ("a", "b", "c")]] == ["a", "a and b", "a, b and c"]


def test_a_failed_seed_shows_even_where_n_is_the_usual_one() -> None:
    table = laid([cell("CE", 1, 2), cell("GTA", 3, 4, failed=1)], LAYOUT)
    assert [Caption(table).count(e) for e in entries(table)] == ["", "n=2/3!"]
    assert "n=2 seeds (up to 3 planned)" in rules(table)[0]
    assert "!: a seed failed" in rules(table)[0]


def test_a_p_without_any_spread_is_explained() -> None:
    flat = laid([cell("CE", 70, 70, 70), cell("GTA", 75, 75, 75)], LAYOUT)
    assert any("p is its limit" in rule for rule in rules(flat))
    assert not any("p is its limit" in rule for rule in rules(laid(demo(), LAYOUT)))


labels = st.lists(st.text("abc_-é", min_size=1, max_size=36), min_size=1, max_size=3, unique=True)


@pytest.mark.slow
@given(labels, labels, labels, labels, st.sampled_from([40, 60, 80, 120]))
@settings(max_examples=40, deadline=None)
def test_text_is_never_wider_than_asked(methods: list[str], datasets: list[str], backbones: list[str], rates: list[str],
                                        width: int) -> None:  # fmt: skip
    cells = [
        cell(m, 70, 71.5, 72, dataset=d, backbone=b, rate=r)
        for m in methods
        for d in datasets
        for b in backbones
        for r in rates
    ]
    text = render(laid(cells, Layout("Title", baseline=methods[0])), "text", width)
    assert max(map(len, text.splitlines())) <= width
    for label in [*methods, *(rates if len(rates) > 1 else [])]:
        assert label in text


@pytest.mark.parametrize("width", [60, 80])
def test_a_table_with_holes_fits(width: int) -> None:
    text = render(laid(holes(), LAYOUT_HOLES), "text", width)
    assert max(map(len, text.splitlines())) <= width
    assert text.count("n/a [1]") == 1


def test_terminal_controls_do_not_reach_the_terminal() -> None:
    assert "\x1b" not in render(laid([cell("\x1b[31mred", 1.0)], Layout("t\x1b[2J")), "text", 80)


# ---- the figure -------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_figure_has_the_same_bytes_again(tmp_path: Path) -> None:
    table = laid(holes(), LAYOUT_HOLES)
    paths = [tmp_path / name for name in ("a.png", "b.png", "a.pdf", "b.pdf", "a.svg", "b.svg")]
    draw_table("rates", table, paths[::2])
    draw_table("rates", table, paths[1::2])
    assert paths[0].read_bytes() == paths[1].read_bytes()
    assert paths[2].read_bytes() == paths[3].read_bytes()
    assert paths[4].read_bytes() == paths[5].read_bytes()
    assert paths[0].read_bytes().startswith(b"\x89PNG")
    assert paths[2].read_bytes().startswith(b"%PDF")


def test_figure_refuses_what_it_cannot_draw(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    without = laid([Measured({"method": "CE"}, (1.0,), 1)], Layout("t", ("method",), ()))
    cases = {
        "axis 'rate'": (without, path),
        "no run has finished": (laid([cell("CE")], LAYOUT), path),
        "'all' has none": (laid([cell("CE", 1.0, rate="all")], LAYOUT), path),
        "a.bmp": (laid(demo(), LAYOUT), tmp_path / "a.bmp"),
    }
    for message, (table, target) in cases.items():
        with pytest.raises(InputError, match=message):
            draw_table("rates", table, [target])
    assert not list(tmp_path.iterdir())

"""What a reader asks of a layout: turned, in blocks, in another size, with another label; and what is refused."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from bench.cli import main
from bench.plan.target import read_plan
from bench.records.store import Store
from bench.registry import Registry
from bench.sheets.formats import FORMATS, render_sheet
from bench.sheets.layout import SheetLayout
from bench.sheets.sheet import BEST, CLOSE, Sheet, Shown, turned
from tests.test_cli import publish

PAGE = (Path(__file__).parents[2] / "docs" / "running.md").read_text(encoding="utf-8")

NUMBERS = "".join(
    f"{method},{dataset},{seed},{50 + 2 * number + seed + offset}\n"
    for number, method in enumerate(("CE", "BSS", "GTA"))
    for offset, dataset in enumerate(("CUB", "Cars"))
    for seed in range(3)
)
SHEET = Sheet(
    "a/b",
    "title",
    ("dataset", "method"),
    (("x", "p"), ("x", "q"), ("y", "p")),
    (("CUB", "CE"), ("CUB", "GTA")),
    ((Shown("1.0"), Shown("2.0", "0.1"), Shown("3.0")), (Shown("4.0", look=BEST), Shown("5.0"), Shown("6.0"))),
    notes=("a note",),
    legend=((BEST, "the best"), (CLOSE, "not far from it")),
    remarks=("a remark",),
)


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.chdir(tmp_path)
    Path("numbers.csv").write_text("method,dataset,seed,value\n" + NUMBERS, encoding="utf-8")
    return "numbers.csv"


def shown(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    capsys.readouterr()
    assert main(list(arguments)) == 0
    return capsys.readouterr().out


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    capsys.readouterr()
    assert main(list(arguments)) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    (line,) = captured.err.splitlines()
    return line


def test_turned_twice_is_as_before_but_for_the_names_of_levels() -> None:
    once, twice = turned(SHEET), turned(turned(SHEET))
    assert (once.rows, once.columns) == (SHEET.columns, SHEET.rows)
    assert [line[1].value for line in once.cells] == ["4.0", "5.0", "6.0"]
    assert (twice.rows, twice.columns, twice.cells) == (SHEET.rows, SHEET.columns, SHEET.cells)


@pytest.mark.parametrize(
    ("format", "row"),
    [
        ("text", r"p  +1\.0 +● 4\.0"),
        ("markdown", r"\| x +\| p +\| +1\.0 +\| +\*\*4\.0\*\* +\|"),
        ("html", r"<th scope=\"row\">p</th><td>1\.0</td><td><b><u>4\.0</u></b></td>"),
        ("latex", r"\{x\} & p & 1\.0.* & \\underline\{\\textbf\{4\.0\}\}.* \\\\"),
        ("latex-siunitx", r"\{x\} & p & 1\.0.* & \\bfseries 4\.0.* \\\\"),
    ],
)
def test_of_every_format_with_cells_rows_become_columns(format: str, row: str) -> None:
    assert re.search(row, render_sheet(SHEET, format, 100, SheetLayout(transpose=True)))


def test_a_caption_and_no_notes() -> None:
    for format in ("text", "markdown", "html", "latex", "latex-siunitx"):
        plain, bare = (
            render_sheet(SHEET, format, 100, layout)
            for layout in (SheetLayout(), SheetLayout(caption="Mine & yours", notes=False))
        )
        for sentence in ("a note", "the best", "not far from it", "a remark"):
            assert sentence in plain
            assert sentence not in bare, format
        assert "title" in plain
        assert "Mine" in bare
    bare = render_sheet(SHEET, "latex", layout=SheetLayout(caption="Mine & yours", notes=False))
    assert r"\caption{Mine \& yours.}" in bare
    assert r"\underline{\textbf{4.0}}" in bare  # what stands out does, said or not


def test_columns_of_a_block() -> None:
    layout = SheetLayout(columns_per_block=2)
    assert re.findall(r"\{tabular\}\{@\{\}(l\w+)@\{\}\}", render_sheet(SHEET, "latex", layout=layout)) == [
        "llrr",
        "llr",
    ]
    text = render_sheet(SHEET, "text", 100, layout)
    assert text.count("dataset    method") == 2
    assert len(re.findall(r"\d\.0", text)) == 6


def test_the_size_of_letters_label_and_float_that_are_asked_for() -> None:
    text = render_sheet(SHEET, "latex", layout=SheetLayout(font_size="tiny", label="tab:x", fit="page"))
    lines = text.splitlines()
    assert r"\begin{table*}" in lines
    assert r"\end{table*}" in lines
    assert r"\tiny" in lines
    assert r"\label{tab:x}" in lines
    assert r"{\tiny$\pm$ 0.1}" in text  # what is small is not larger than the rest
    assert r"\scriptsize" not in text
    long = render_sheet(SHEET, "latex", layout=SheetLayout(longtable=True))
    assert r"\usepackage{longtable}" in long.splitlines()[0]
    assert r"\begin{longtable}{@{}llrrr@{}}" in long
    assert r"\multirow" not in long  # a page may end among the rows of a group


def test_the_first_line_names_what_is_needed() -> None:
    (line, *_) = render_sheet(SHEET, "latex").splitlines()
    assert line.startswith("% needs ")
    layout = SheetLayout(longtable=True)
    assert render_sheet(SHEET, "latex-siunitx", layout=layout).splitlines()[0].count("usepackage") == 5


def test_of_a_command_line(file: str, capsys: pytest.CaptureFixture[str]) -> None:
    document = shown(capsys, "import", file, "--format", "latex-siunitx", "--standalone", "--fit", "column")
    head, _, body = document.partition("\\begin{document}\n")
    assert head.splitlines() == [
        "% needs pdflatex",
        r"\documentclass[twocolumn]{article}",
        *(rf"\usepackage{{{name}}}" for name in ("booktabs", "multirow", "adjustbox", "siunitx")),
    ]
    assert body.endswith("\\end{table}\n\\end{document}\n")
    turned_text = shown(capsys, "import", file, "--transpose", "--no-notes", "--caption", "Mine", "--width", "80")
    assert turned_text.splitlines()[0] == "Mine"
    assert [line.split()[0] for line in turned_text.splitlines()[4:]] == ["CUB", "Cars"]
    assert "tab:mine" in shown(capsys, "import", file, "--format", "latex", "--label", "tab:mine")


@pytest.mark.parametrize(
    ("format", "option", "able"),
    [
        ("csv", ("--transpose",), "text, markdown, html, latex, latex-siunitx"),
        ("json", ("--columns-per-block", "2"), "text, latex, latex-siunitx"),
        ("markdown", ("--columns-per-block", "2"), "text, latex, latex-siunitx"),
        ("html", ("--font-size", "tiny"), "latex, latex-siunitx"),
        ("text", ("--longtable",), "latex, latex-siunitx"),
        ("text", ("--label", "tab:x"), "latex, latex-siunitx"),
        ("macros", ("--standalone",), "latex, latex-siunitx"),
        ("markdown", ("--fit", "page"), "latex, latex-siunitx"),
        ("csv", ("--no-notes",), "text, markdown, json, html, latex, latex-siunitx"),
        ("csv", ("--caption", "x"), "text, markdown, json, html, latex, latex-siunitx, macros"),
    ],
)
def test_what_a_format_does_not_have_is_refused_with_those_that_do(
    file: str, capsys: pytest.CaptureFixture[str], format: str, option: tuple[str, ...], able: str
) -> None:
    for target in (("import", file), ("table", "demo")):
        line = refused(capsys, *target, "--format", format, *option)
        assert line == f"bench: {option[0]}: --format {format} does not have it; these do: {able}"


def test_every_option_is_of_some_format() -> None:
    taken = frozenset().union(*(format.takes for format in FORMATS.values()))
    assert taken == set(SheetLayout.__dataclass_fields__)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--columns-per-block", "-1"), "--columns-per-block -1: it takes one column at least"),
        (("--label", "tab:a}b"), "--label tab:a}b: letters, digits and : . _ / + - , as in tab:results"),
        (
            ("--longtable", "--fit", "column"),
            "--longtable: it needs pages of one column; --fit page sets it on them",
        ),
    ],
)
def test_what_cannot_be(file: str, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], says: str) -> None:
    assert refused(capsys, "import", file, "--format", "latex", *arguments) == f"bench: {says}"


def test_one_label_is_not_of_several_tables(file: str, capsys: pytest.CaptureFixture[str]) -> None:
    line = refused(capsys, "table", "fd", "--format", "latex", "--label", "tab:x")
    assert line == "bench: --label: there are 6 tables; name one of them"


def test_a_format_of_a_plug_in_has_what_is_done_to_sheets(file: str, capsys: pytest.CaptureFixture[str]) -> None:
    path = Path("mine") / "formats" / "rows.py"
    path.parent.mkdir(parents=True)
    path.write_text("def write(sheet):\n    return repr(sheet.rows)\n", encoding="utf-8")
    plug_in = ("import", file, "--plugin", "mine", "--format", "rows")
    assert shown(capsys, *plug_in) == "(('CE',), ('BSS',), ('GTA',))\n"
    assert shown(capsys, *plug_in, "--transpose") == "(('CUB',), ('Cars',))\n"
    assert "--longtable: --format rows does not have it" in refused(capsys, *plug_in, "--longtable")


def test_what_pdflatex_cannot_print_is_said_once(file: str, capsys: pytest.CaptureFixture[str]) -> None:
    Path(file).write_text(
        "method,dataset,seed,value\n方法,CUB,0,51\n方法,Ｃars,0,51\né × †,CUB,0,51\n", encoding="utf-8"
    )
    options = ("import", file, "--baseline", "方法")
    for format in ("latex", "latex-siunitx", "macros"):
        assert main([*options, "--format", format]) == 0
        captured = capsys.readouterr()
        assert captured.err == (
            "bench: pdflatex cannot print 方 法: their numbers stand in their place; "
            "--standalone writes them for lualatex or xelatex\n"
        )
        assert "(U+65B9)(U+6CD5)" in captured.out or format == "macros"
    assert main([*options, "--format", "latex", "--standalone"]) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    assert captured.out.startswith("% needs lualatex or xelatex")
    assert r"\benchcjk{方法}" in captured.out
    assert captured.out.count(r"\newcommand{\benchcjk}") == 1
    assert r"\benchright" not in captured.out
    assert main([*options, "--format", "text"]) == 0
    assert capsys.readouterr().err == ""
    assert main([*options, "--format", "latex", "--caption", "表"]) == 0
    assert "pdflatex cannot print 表 方 法: " in capsys.readouterr().err


def test_the_commands_of_the_page_work(file: str, capsys: pytest.CaptureFixture[str]) -> None:
    for spec in read_plan("demo", Registry()).unique.values():
        publish(Store("results"), spec)
    section = PAGE.partition("## A table for a paper")[2].partition("\n## ")[0]
    commands = re.findall(r"^bench ([^>#\n]*[^>#\n ])", section, re.MULTILINE)
    assert len(commands) == 5
    for command in commands:
        assert shown(capsys, *shlex.split(command)).strip()

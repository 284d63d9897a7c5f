"""LaTeX tables compile and fit. Needs pdflatex; in CI its absence is a failure, not a skip."""

from __future__ import annotations

import os
import random
import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from bench.registry import Registry
from bench.sheets.formats import FORMATS, render_sheet, render_sheets
from bench.sheets.layout import SheetLayout
from bench.sheets.sheet import Sheet
from bench.sheets.view import render, sheet_of
from bench.tables.totals import extended
from tests.scenes import published_sheet
from tests.tables.laid import Layout, Measured, laid

NASTY = ["L2-SP & BSS ϵ 漢 é", "15% of_#1 $x$ {y} ~z ^w \\ back", "Fine-tune [41]", "*star"]
HEAD = r"\documentclass{article}\usepackage{booktabs}\usepackage{multirow}\usepackage{adjustbox}"
SMALLEST = 6.4
"""Points of the smallest letters in a table: \\scriptsize, which adjustbox may shrink by 7 percent where that helps."""


def compiled(folder: Path, body: str, packages: str = "") -> Path:
    """The PDF of a document with this body, made in a folder."""
    return typeset(folder, f"{HEAD}{packages}\\begin{{document}}{body}\\end{{document}}")


def typeset(folder: Path, document: str) -> Path:
    """The PDF of a document, made in a folder by one run of pdflatex."""
    pdflatex = shutil.which("pdflatex")
    if pdflatex is None and os.environ.get("CI"):
        pytest.fail("CI must have pdflatex (texlive-latex-base, -recommended, -extra)")
    if pdflatex is None:
        pytest.skip(
            "pdflatex is not installed (Debian: texlive-latex-base texlive-latex-recommended texlive-latex-extra)"
        )
    (folder / "paper.tex").write_text(document, encoding="utf-8")
    command = [pdflatex, "-interaction=nonstopmode", "-halt-on-error", "paper.tex"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, errors="replace")
    assert done.returncode == 0, done.stdout[-2000:]
    return folder / "paper.pdf"


def pages_that_fit(folder: Path, sheet: Sheet, layout: SheetLayout, format: str = "latex") -> int:
    """How many pages a sheet takes as a document of its own, of which nothing is wider than its line or page."""
    if format == "latex-siunitx":
        require_siunitx()
    typeset(folder, render_sheets([sheet], FORMATS[format], None, replace(layout, standalone=True)))
    log = (folder / "paper.log").read_text(encoding="utf-8", errors="replace")
    assert re.findall(r"^Overfull .*|.*Float too large.*|.*not in 1-column.*", log, re.MULTILINE) == []
    (pages,) = re.findall(r"\((\d+) pages?,", log)
    return int(pages)


def require_siunitx() -> None:
    """Debian has siunitx in a package of its own, which the other tables do not need."""
    finder = shutil.which("kpsewhich")
    found = finder and subprocess.run([finder, "siunitx.sty"], capture_output=True).returncode == 0
    if not found and os.environ.get("CI"):
        pytest.fail("CI must have siunitx (texlive-science)")
    if not found:
        pytest.skip("siunitx is not installed (Debian: texlive-science)")


@pytest.mark.latex
@pytest.mark.parametrize("datasets", [["CUB"], ["CUB", "Cars & more"]])
@pytest.mark.parametrize("columns", [("rate",), ("backbone", "rate"), ("method",)])
@pytest.mark.parametrize("format", ["latex", "latex-siunitx"])
def test_tables_compile(tmp_path: Path, format: str, datasets: list[str], columns: tuple[str, ...]) -> None:
    if format == "latex-siunitx":
        require_siunitx()
    cells = [
        Measured({"dataset": dataset, "backbone": backbone, "rate": rate, "method": method}, values, 3)
        for dataset in datasets
        for backbone in ("micro_vit", "timm:vit_tiny_patch16_224@none")
        for rate in ("15 %", "100 %")
        for number, method in enumerate(NASTY)
        for values in [(70.0 + number, 71.5, 72.0)[: 3 - number % 3]]
    ]
    cells[3] = Measured(cells[3].axes, (), 3, failed=3)
    cells[2] = Measured(cells[2].axes, (), 0, reason="gta needs cls_attention & more")
    rows = tuple(axis for axis in ("dataset", "backbone", "method") if axis not in columns)
    rows = rows if "rate" in columns else ("rate", *rows)
    layout = Layout("Demo of 100% & _more_", rows=rows, columns=columns, baseline=NASTY[0])
    packages = r"\usepackage{longtable}" + r"\usepackage{siunitx}" * (format == "latex-siunitx")
    assert compiled(tmp_path, render(laid(cells, layout), format), packages).stat().st_size > 1000


@pytest.mark.latex
@pytest.mark.slow
def test_tables_of_papers_compile_with_siunitx(tmp_path: Path) -> None:
    require_siunitx()
    sheets = [published_sheet(name) for name in Registry().table_files]
    body = "\\clearpage ".join(render_sheet(sheet, "latex-siunitx") for sheet in sheets)
    assert compiled(tmp_path, body, r"\usepackage{longtable}\usepackage{siunitx}").stat().st_size > 10_000


def numbers(datasets: int, methods: int, seeds: int = 3, names: tuple[str, str] = ("dataset", "method")) -> Sheet:
    """A sheet of so many datasets and methods, of which every second is really better than the first."""
    draw = random.Random(0)
    cells = []
    for column in range(datasets):
        for row in range(methods):
            axes = {"dataset": f"{names[0]} {column}", "rate": "100 %", "method": f"{names[1]} {row}"}
            mean = 70 + 9 * (row % 2)
            cells.append(Measured(axes, tuple(mean + draw.gauss(0, 1.2) for _ in range(seeds)), seeds))
    return sheet_of(laid(cells, Layout("numbers", ("rate", "method"), ("dataset",), f"{names[1]} 0")))


def demo() -> Sheet:
    """A sheet as wide as the demo's: six methods at four rates."""
    draw = random.Random(0)
    methods = ("Fine-tune (baseline)", "L2-SP", "BSS", "Attention only", "FFN only", "GTA")
    cells = [
        Measured(
            {"dataset": "Cluttered digits", "backbone": "micro_vit", "rate": f"{rate} %", "method": method},
            tuple(80 + rate / 10 + draw.gauss(0, 1.2) for _ in range(3)),
            3,
        )
        for rate in (15, 30, 50, 100)
        for method in methods
    ]
    table = laid(cells, Layout("demo", ("dataset", "backbone", "method"), ("rate",), methods[0]))
    return sheet_of(extended(table, with_average=True, with_ranks=True))


ASKED = {
    "plain": SheetLayout(),
    "column": SheetLayout(fit="column"),
    "page": SheetLayout(fit="page"),
    "turned": SheetLayout(transpose=True),
    "turned column": SheetLayout(transpose=True, fit="column"),
    "long": SheetLayout(longtable=True),
    "tiny": SheetLayout(font_size="tiny"),
}


@pytest.mark.latex
@pytest.mark.parametrize("format", ["latex", "latex-siunitx"])
@pytest.mark.parametrize("asked", ASKED)
@pytest.mark.slow
def test_the_demos_table_and_that_of_12_datasets_fit_a_page(tmp_path: Path, format: str, asked: str) -> None:
    for each in (demo(), numbers(12, 8)):
        assert pages_that_fit(tmp_path, each, ASKED[asked], format) == 1


@pytest.mark.latex
@pytest.mark.parametrize("asked", ["plain", "column", "turned"])
@pytest.mark.slow
def test_that_of_128_datasets_goes_on_from_page_to_page(tmp_path: Path, asked: str) -> None:
    assert 3 < pages_that_fit(tmp_path, numbers(128, 8), ASKED[asked]) < 12


@pytest.mark.latex
@pytest.mark.slow
def test_that_of_2000_rows_goes_on_from_page_to_page(tmp_path: Path) -> None:
    assert 20 < pages_that_fit(tmp_path, numbers(4, 2000, seeds=1), SheetLayout()) < 50


@pytest.mark.latex
@pytest.mark.slow
def test_that_of_200_rows_does_with_siunitx_too(tmp_path: Path) -> None:
    assert 2 < pages_that_fit(tmp_path, numbers(4, 200), SheetLayout(fit="page"), "latex-siunitx") < 9


@pytest.mark.latex
@pytest.mark.parametrize("format", ["latex", "latex-siunitx"])
@pytest.mark.parametrize("asked", ASKED)
def test_whatever_the_labels_are_nothing_is_wider_than_its_line(tmp_path: Path, format: str, asked: str) -> None:
    long = ["vit_small_patch16_224.augreg_in21k_ft_in1k", "x" * 90, "several words of one label " * 5, *NASTY[1:]]
    cells = [
        Measured({"dataset": f"{dataset}.{at}", "backbone": backbone, "method": method}, (999.5 - at, 81.25, 70.0), 3)
        for at, dataset in enumerate(long)
        for backbone in ("micro_vit", "timm:vit_tiny_patch16_224@none")
        for method in long
    ]
    table = laid(cells, Layout("of & long_" + "y" * 80, ("backbone", "method"), ("dataset",), long[0]))
    assert pages_that_fit(tmp_path, sheet_of(table), ASKED[asked], format) > 0


@pytest.mark.latex
@pytest.mark.slow
def test_letters_are_no_smaller_than_scriptsize(tmp_path: Path) -> None:
    r"""What is small is 7 pt; adjustbox makes it smaller where the table is wider than the line."""
    for each in (demo(), numbers(12, 8)):
        for asked in ("plain", "column", "turned"):
            text = render_sheet(each, "latex", layout=ASKED[asked])
            assert r"\tiny" not in text
            natural = text.replace(r"\begin{adjustbox}{max width=\linewidth}", r"\setbox0\hbox{\kern0pt")
            natural = natural.replace(r"\end{adjustbox}", r"}\typeout{IS=\the\wd0 OF=\the\linewidth}\box0")
            head = HEAD.replace("{article}", "[twocolumn]{article}", 1) if asked == "column" else HEAD
            typeset(tmp_path, rf"{head}\begin{{document}}{natural}\end{{document}}")
            log = (tmp_path / "paper.log").read_text(encoding="utf-8", errors="replace")
            ((wide, line),) = re.findall(r"IS=([\d.]+)pt ?OF=([\d.]+)pt", log)
            assert 7 * min(1.0, float(line) / float(wide)) > SMALLEST

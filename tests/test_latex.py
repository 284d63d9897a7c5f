"""LaTeX tables compile. Needs pdflatex; in CI its absence is a failure, not a skip."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from bench.registry import Registry
from bench.sheets.formats import render_sheet
from bench.sheets.view import render
from tests.scenes import published_sheet
from tests.tables.laid import Layout, Measured, laid

NASTY = ["L2-SP & BSS ϵ 漢 é", "15% of_#1 $x$ {y} ~z ^w \\ back", "Fine-tune [41]", "*star"]
HEAD = r"\documentclass{article}\usepackage{booktabs}\usepackage{multirow}\usepackage{adjustbox}"


def compiled(folder: Path, body: str, packages: str = "") -> Path:
    """The PDF of a document with this body, made in a folder."""
    pdflatex = shutil.which("pdflatex")
    if pdflatex is None and os.environ.get("CI"):
        pytest.fail("CI must have pdflatex (texlive-latex-base, -recommended, -extra)")
    if pdflatex is None:
        pytest.skip(
            "pdflatex is not installed (Debian: texlive-latex-base texlive-latex-recommended texlive-latex-extra)"
        )
    written = f"{HEAD}{packages}\\begin{{document}}{body}\\end{{document}}"
    (folder / "paper.tex").write_text(written, encoding="utf-8")
    command = [pdflatex, "-interaction=nonstopmode", "-halt-on-error", "paper.tex"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, errors="replace")
    assert done.returncode == 0, done.stdout[-2000:]
    return folder / "paper.pdf"


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
    packages = r"\usepackage{siunitx}" if format == "latex-siunitx" else ""
    assert compiled(tmp_path, render(laid(cells, layout), format), packages).stat().st_size > 1000


@pytest.mark.latex
@pytest.mark.slow
def test_tables_of_papers_compile_with_siunitx(tmp_path: Path) -> None:
    require_siunitx()
    sheets = [published_sheet(name) for name in Registry().table_files]
    body = "\\clearpage ".join(render_sheet(sheet, "latex-siunitx") for sheet in sheets)
    assert compiled(tmp_path, body, r"\usepackage{siunitx}").stat().st_size > 10_000

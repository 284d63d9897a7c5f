"""LaTeX tables compile. Needs pdflatex; in CI its absence is a failure, not a skip."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from bench.tables import Cell, Layout, compare, render

NASTY = ["L2-SP & BSS ϵ 漢 é", "15% of_#1 $x$ {y} ~z ^w \\ back", "Fine-tune [41]", "*star"]
HEAD = r"\documentclass{article}\usepackage{booktabs}\usepackage{multirow}\usepackage{adjustbox}\begin{document}"


def compiled(folder: Path, body: str) -> Path:
    """The PDF of a document with this body, made in a folder."""
    pdflatex = shutil.which("pdflatex")
    if pdflatex is None and os.environ.get("CI"):
        pytest.fail("CI must have pdflatex (texlive-latex-base, -recommended, -extra)")
    if pdflatex is None:
        pytest.skip(
            "pdflatex is not installed (Debian: texlive-latex-base texlive-latex-recommended texlive-latex-extra)"
        )
    (folder / "paper.tex").write_text(f"{HEAD}{body}\\end{{document}}", encoding="utf-8")
    command = [pdflatex, "-interaction=nonstopmode", "-halt-on-error", "paper.tex"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, errors="replace")
    assert done.returncode == 0, done.stdout[-2000:]
    return folder / "paper.pdf"


@pytest.mark.latex
@pytest.mark.parametrize("datasets", [["CUB"], ["CUB", "Cars & more"]])
@pytest.mark.parametrize("columns", [("rate",), ("backbone", "rate"), ("method",)])
def test_tables_compile(tmp_path: Path, datasets: list[str], columns: tuple[str, ...]) -> None:
    cells = [
        Cell({"dataset": dataset, "backbone": backbone, "rate": rate, "method": method}, values, 3, reason=reason)
        for dataset in datasets
        for backbone in ("micro_vit", "timm:vit_tiny_patch16_224@none")
        for rate in ("15 %", "100 %")
        for number, method in enumerate(NASTY)
        for values, reason in [(((70.0 + number, 71.5, 72.0)[: 3 - number % 3], "needs x_y" if number == 9 else None))]
    ]
    cells[3] = Cell(cells[3].axes, (), 3, failed=3)
    cells[2] = Cell(cells[2].axes, (), 0, reason="gta needs cls_attention & more")
    rows = tuple(axis for axis in ("dataset", "backbone", "method") if axis not in columns)
    rows = rows if "rate" in columns else ("rate", *rows)
    layout = Layout("Demo of 100% & _more_", rows=rows, columns=columns, baseline=NASTY[0])
    assert compiled(tmp_path, render(compare(cells, layout), "latex")).stat().st_size > 1000

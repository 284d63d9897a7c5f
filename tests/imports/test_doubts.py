"""What an import asks for where a table would mislead: scales, metrics without a name, runs that are none."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.cli import main


@pytest.mark.parametrize(
    ("text", "arguments", "expected"),
    [
        (
            "model,seed,Elec,Traffic\nQR,0,0.46,0.73\nNN,0,0.41,0.70\n",
            (),
            "no metric is named, and no value is above 20",
        ),
        ("model,dataset,seed,score\nQR,E,0,3.1\nNN,E,0,2.5\n", (), "no metric is named, and no value is above 20"),
        ("method,dataset,seed,value\na,E,0,0.71\nb,E,0,0.64\n", (), "no metric is named, and all values are 0 to 1"),
        ("method,dataset,seed,acc\na,E,0,0.80\nb,E,0,81.0\n", (), "shares and percent mixed? --scale 1 says"),
        (
            "algo,Benchmark task,rng,acc\n"
            + "".join(f"{m},{t},{s},{70 + s}\n" for m in "ab" for t in ("x", "y") for s in (0, 1)),
            (),
            "rows that repeat a method differ in Benchmark task and rng",
        ),
    ],
)
def test_is_asked_in_one_line(
    text: str, arguments: tuple[str, ...], expected: str, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("r.csv").write_text(text, encoding="utf-8")
    assert main(["import", "r.csv", *arguments]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    (line,) = captured.err.splitlines()
    assert expected in line


@pytest.mark.parametrize(
    ("text", "arguments", "best"),
    [
        ("model,seed,Elec,Traffic\nQR,0,0.46,0.73\nNN,0,0.41,0.70\n", ("--lower", "rmse"), "NN"),
        ("method,dataset,seed,value\na,E,0,0.71\nb,E,0,0.64\n", ("--higher", "accuracy"), "a"),
        ("method,dataset,seed,acc\na,E,0,0.80\nb,E,0,81.0\n", ("--scale", "1"), "b"),
    ],
)
def test_and_is_right_once_it_is_answered(
    text: str, arguments: tuple[str, ...], best: str, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("r.csv").write_text(text, encoding="utf-8")
    assert main(["import", "r.csv", *arguments]) == 0
    marked = [line for line in capsys.readouterr().out.splitlines() if "●" in line and not line.startswith("●")]
    assert marked
    assert all(line.startswith(best) for line in marked)

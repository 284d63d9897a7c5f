"""What measures say of themselves: ``bench list measures``, ``bench show``, and docs/measures.md."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import pytest

from bench.cli import build_parser, main
from bench.registry import Registry

PAGE = (Path(__file__).parents[2] / "docs" / "measures.md").read_text(encoding="utf-8")
MINE = '''
"""Mine: how wide features are."""
from bench.measure import Measure, Measured
from bench.metrics import Metric

MEASURE = Measure(
    "mine",
    gives=(Metric("mine_wide", "width", "px", high=9, measure="mine"),),
    images=500,
    needs=("attention_maps",),
    masks=True,
    options={"mass": 0.9, "masks": ""},
)


def measure(subject):
    return Measured({"mine_wide": 1.0})
'''


def test_the_list_has_a_line_of_each(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", "measures", "--format", "json"]) == 0
    listed = {row["name"]: row["about"] for row in json.loads(capsys.readouterr().out)}
    assert {"s_dbw", "silhouette", "uniformity", "cka", "drift"} <= {*listed} == {*Registry().measure_files}
    assert all(20 < len(about) < 140 for about in listed.values())


@pytest.mark.parametrize("name", Registry().measure_files)
def test_a_card_names_what_it_gives(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", name]) == 0
    out = capsys.readouterr().out
    assert out.startswith(f"measure {name}: ")
    for metric in Registry().measure(name).gives:
        assert f"    {metric.name}: {metric.heading}, {'lower' if metric.lower else 'higher'}\n" in out
    assert f"'bench measure TARGET {name}'" in out


def test_a_metric_says_what_measures_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", "s_dbw_tong"]) == 0
    assert "of: a kept model, by 'bench measure TARGET s_dbw'" in capsys.readouterr().out


def test_a_measure_of_a_plug_in(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "measures").mkdir()
    (tmp_path / "measures" / "mine.py").write_text(MINE, encoding="utf-8")
    assert main(["list", "measures", "--plugin", str(tmp_path)]) == 0
    assert re.search(r"^mine +Mine: how wide features are\.$", capsys.readouterr().out, re.MULTILINE)
    assert main(["show", "mine", "--plugin", str(tmp_path)]) == 0
    out = capsys.readouterr().out
    for line in (
        "    mine_wide: width (px), higher",
        "  images of the split: 500, drawn (--images N)",
        "  needs: attention_maps, masks",
        "  options: mass=0.9, masks= (--option)",
        "  source: not stated",
    ):
        assert line in out.splitlines()


def test_a_measure_that_is_not_there(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", "s_dbwx"]) == 2
    assert "did you mean 's_dbw'?" in capsys.readouterr().err


class TestThePage:
    def test_its_commands_exist(self) -> None:
        parser = build_parser()
        blocks = re.findall(r"```bash\n(.*?)```", PAGE, re.DOTALL)
        lines = [line.split("#")[0] for block in blocks for line in block.splitlines()]
        assert len(lines) >= 6
        for line in lines:
            parser.parse_args(shlex.split(line)[1:])

    def test_every_measure_and_its_numbers_are_described(self) -> None:
        for name in Registry().measure_files:
            (row,) = re.findall(rf"^\| `{name}` \|.*$", PAGE, re.MULTILINE)
            for metric in Registry().measure(name).gives:
                assert f"`{metric.name}`" in row

    def test_its_example_of_a_file_is_one(self, tmp_path: Path) -> None:
        (example,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
        (tmp_path / "measures").mkdir()
        (tmp_path / "measures" / "spread.py").write_text(example, encoding="utf-8")
        assert Registry([tmp_path]).measure("spread").gives[0].name == "spread"

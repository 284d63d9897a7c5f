"""benchmarks/gpu.py on the CPU: every part leaves its figures or says why it has none."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from bench.backbones import build_model
from bench.registry import Registry
from benchmarks.device_figures import Figure, Machine, as_json, markdown
from benchmarks.gpu import PARTS, Found, measure

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "gpu.py"


def machine(seconds: float) -> Machine:
    return Machine(torch.device("cpu"), True, time.monotonic() + seconds)


class TestMachine:
    def test_a_part_that_fails_is_told_and_the_next_goes_on(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def broken(machine: Machine) -> Found:
            yield Figure("broken", "half", 1.0, "s")
            raise RuntimeError("no more of it")

        def sound(machine: Machine) -> Found:
            yield Figure("sound", "all", 2.0, "images/s", 1.0, 3.0)

        monkeypatch.setattr("benchmarks.gpu.PARTS", (("broken", 5, broken), ("sound", 5, sound)))
        one = machine(100)
        measure(one)
        assert [figure.what for figure in one.figures] == ["half", "all"]
        assert one.without == {"broken": "failed: RuntimeError: no more of it"}
        assert "| sound | all | 2 | 1 | 3 | images/s |" in markdown(one)
        assert "broken: failed: RuntimeError: no more of it" in markdown(one)
        assert [each["value"] for each in json.loads(as_json(one))["figures"]] == [1.0, 2.0]

    def test_without_time_nothing_is_begun_and_nothing_is_a_figure(self) -> None:
        one = machine(0)
        measure(one)
        assert one.figures == []
        assert one.without == {name: "left out: no time was left" for name, _, _ in PARTS}

    def test_the_budgets_are_those_of_eight_minutes(self) -> None:
        assert sum(budget for _, budget, _ in PARTS) <= 8 * 60


@pytest.mark.slow
@pytest.mark.usefixtures("compiler")
def test_every_part_has_its_figures_on_the_cpu_or_says_what_it_needs(tmp_path: Path) -> None:
    for split in ("train", "test"):
        for kind in ("one", "two"):
            folder = tmp_path / "images" / split / kind
            folder.mkdir(parents=True)
            for number in range(8):
                pixels = np.random.RandomState(number).randint(0, 256, (16, 16, 3)).astype(np.uint8)
                pixels[0, 0] = (len(split), len(kind) * (kind == "two"), number)
                Image.fromarray(pixels).save(folder / f"{number}.png")
    weights = build_model(Registry().backbone("micro_vit@none"), 2).backbone.state_dict()
    save_file(weights, tmp_path / "weights.safetensors")
    words = ("--device", "cpu", "--small", "--json", str(tmp_path / "gpu.json"))
    images = ("--images", str(tmp_path / "images"), "--weights", str(tmp_path / "weights.safetensors"))
    done = subprocess.run((sys.executable, str(SCRIPT), *words, *images), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found = json.loads((tmp_path / "gpu.json").read_text())
    assert found["without"] == {"synchronisations": "needs a GPU", "memory": "needs a GPU"}
    values = {(figure["part"], figure["what"]): figure["value"] for figure in found["figures"]}
    assert {part for part, _ in values} == {name for name, _, _ in PARTS} - found["without"].keys()
    for method in ("ce", "gta"):
        assert values["losses", f"{method} on the CPU twice"] == "equal bits"
        assert values["losses", f"{method} on the CPU, compiled beside eager"] < 1e-4
        for kind in ("eager", "compiled"):
            assert 0 < values["steps", f"{method} {kind}: share of matrices"] < 1
    assert values["killed", "taken up after SIGKILL"] == "equal bits"
    assert "synchronisations: needs a GPU" in done.stdout

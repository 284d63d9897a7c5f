"""The means of these tests: what each takes is measured, and they are spread so that nothing is made twice."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.spread import CLUSTER, LONG, ByFile

ROOT = Path(__file__).parent.parent

BUSY = """
import subprocess
import sys
import time

import pytest

CODE = "import time\\nwhile time.process_time() < {seconds}: pass"


@pytest.mark.slow
def test_of_a_child():
    subprocess.run([sys.executable, "-c", CODE.format(seconds=0.4)], check=True)


def test_of_its_own():
    end = time.process_time() + 0.2
    while time.process_time() < end:
        pass


def test_of_nothing():
    pass
"""


@pytest.mark.slow
@pytest.mark.parametrize("processes", ["0", "1"])
def test_the_cpu_that_each_test_takes_is_told(tmp_path: Path, processes: str) -> None:
    (tmp_path / "test_busy.py").write_text(BUSY, encoding="utf-8")
    (tmp_path / "pytest.ini").write_text("[pytest]\nmarkers = slow\n", encoding="utf-8")
    asked = ["-p", "tests.cpu", "-p", "no:cacheprovider", "-n", processes, "--cpu-to", "cpu.jsonl", "test_busy.py"]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *asked],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    rows = [json.loads(line) for line in (tmp_path / "cpu.jsonl").read_text().splitlines()]
    told = {name.partition("::test_of_")[2]: (part, cpu) for name, part, cpu, _ in rows}
    assert {name: part for name, (part, _) in told.items()} == {
        "a_child": "slow",
        "its_own": "quick",
        "nothing": "quick",
    }
    assert told["a_child"][1] > 0.35
    assert told["its_own"][1] > 0.15
    assert told["nothing"][1] < told["its_own"][1]
    lines = done.stdout.splitlines()
    first = lines[lines.index("by test") + 1]
    assert first.endswith("test_busy.py::test_of_a_child")


def test_a_file_is_one_piece_of_work_and_all_tests_with_a_cluster_are_one() -> None:
    scheduler = object.__new__(ByFile)
    pieces = {
        "tests/test_cli.py": ["tests/test_cli.py::TestHelp::test_a[x::y@z]", "tests/test_cli.py::test_b"],
        CLUSTER: ["tests/slurm/test_cluster.py::test_a", "tests/slurm/test_launcher.py::test_b"],
        "tests/test_spec.py": ["tests/test_spec.py::test_a"],
        "tests/test_rate.py": ["tests/test_rate.py::test_a", "tests/test_rate.py::test_b"],
    }
    assert {scheduler._split_scope(name) for names in pieces.values() for name in names} == set(pieces)
    scheduler.workqueue = {file: dict.fromkeys(names, False) for file, names in pieces.items()}
    order = sorted(pieces, key=scheduler._place)
    assert order == [CLUSTER, "tests/test_cli.py", "tests/test_rate.py", "tests/test_spec.py"]


def test_what_is_begun_first_is_there() -> None:
    assert all((ROOT / name).exists() for name in LONG)

"""Which GPUs there are on a machine, whole or divided, and which of them a process sees."""

from __future__ import annotations

import stat
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from bench.launch import gpus
from bench.launch.gpus import gpus_of, usable_gpus

WHOLE = """\
GPU 0: NVIDIA A100-SXM4-40GB (UUID: GPU-11111111-aaaa)
GPU 1: NVIDIA GeForce GT 1030 (UUID: GPU-22222222-bbbb)
"""
DIVIDED = """\
GPU 0: NVIDIA A100-SXM4-40GB (UUID: GPU-11111111-aaaa)
  MIG 3g.20gb     Device  0: (UUID: MIG-c6d4f1ef-1)
  MIG 1c.3g.20gb  Device  1: (UUID: MIG-cba663e8-2)
GPU 1: NVIDIA A100-SXM4-40GB (UUID: GPU-22222222-bbbb)
"""
OLD_DRIVER = """\
GPU 0: A100-SXM4-40GB (UUID: GPU-5d5ba0d6)
  MIG 1g.5gb Device 0: (UUID: MIG-GPU-5d5ba0d6/7/0)
"""
ONE_LOST = """\
Unable to determine the device handle for gpu 0000:02:00.0: GPU is lost.  Reboot the system to recover this GPU
GPU 0: NVIDIA A100-SXM4-40GB (UUID: GPU-11111111-aaaa)
"""

Machine = Callable[..., None]


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Machine]:
    """A machine with some device files, whose nvidia-smi says what it is given."""
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)

    def make(files: int, says: str | None = None, code: int = 0) -> None:
        devices, programs = tmp_path / "dev", tmp_path / "bin"
        devices.mkdir()
        programs.mkdir()
        for name in ("nvidiactl", "nvidia-uvm", *(f"nvidia{number}" for number in range(files))):
            (devices / name).touch()
        if says is not None:
            (tmp_path / "said").write_text(says, encoding="utf-8")
            program = programs / "nvidia-smi"
            asked = f"echo \"$@\" >> '{tmp_path}/asked'"
            program.write_text(f"#!/bin/sh\n{asked}\n/bin/cat '{tmp_path}/said'\nexit {code}\n", encoding="utf-8")
            program.chmod(program.stat().st_mode | stat.S_IXUSR)
        monkeypatch.setenv("PATH", str(programs))
        monkeypatch.setattr(gpus, "DEVICES", devices)

    yield make
    gpus._of_this_machine.cache_clear()


@pytest.mark.parametrize(
    ("visible", "found"),
    [
        ("0,1", ["0", "1"]),
        ("3, 5", ["3", "5"]),
        ("GPU-8a2f,MIG-9c1e", ["GPU-8a2f", "MIG-9c1e"]),
        ("MIG-GPU-8932f937/1/2", ["MIG-GPU-8932f937/1/2"]),
        ("", []),
        ("-1", []),
        ("NoDevFiles", []),
        ("2,-1,3", ["2"]),
    ],
)
def test_those_that_are_named_count(
    visible: str, found: list[str], machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine(2, DIVIDED)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert usable_gpus() == found
    assert not (tmp_path / "asked").exists()


@pytest.mark.parametrize(
    ("files", "says", "found"),
    [
        (2, WHOLE, ["0", "1"]),
        (2, DIVIDED, ["MIG-c6d4f1ef-1", "MIG-cba663e8-2", "GPU-22222222-bbbb"]),
        (1, OLD_DRIVER, ["MIG-GPU-5d5ba0d6/7/0"]),
        (2, ONE_LOST, ["0"]),
        (2, "", []),
        (2, None, ["0", "1"]),
        (0, WHOLE, []),
    ],
    ids=["unequal", "divided", "divided, old driver", "one lost", "none of them works", "no nvidia-smi", "no driver"],
)
def test_else_those_of_the_machine(files: int, says: str | None, found: list[str], machine: Machine) -> None:
    machine(files, says)
    assert usable_gpus() == found


def test_a_program_that_fails_is_not_believed(machine: Machine) -> None:
    machine(2, "NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver.\n", 9)
    assert usable_gpus() == ["0", "1"]


def test_the_machine_is_asked_once(machine: Machine, tmp_path: Path) -> None:
    machine(2, WHOLE)
    assert usable_gpus() == usable_gpus()
    assert (tmp_path / "asked").read_text() == "-L\n"


def test_each_process_of_a_run_sees_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of two parts of a GPU that are named, CUDA would show the first alone."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "MIG-a,MIG-b")
    assert [gpus_of(rank) for rank in range(3)] == ["MIG-a", "MIG-b", "MIG-a"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert gpus_of(1) is None

"""What is missing or odd about a machine, each put in."""

from __future__ import annotations

import importlib.util
import shlex
from pathlib import Path

import pytest

import bench
from bench.launch import surroundings
from bench.launch.surroundings import Oddity, filesystem, remarks


def of(what: str, results: Path, torch_cuda: str = "", sees_gpu: bool = False) -> list[Oddity]:
    return [each for each in remarks(results, bench.Registry(), torch_cuda, sees_gpu) if each.what == what]


def test_cpu_torch_on_a_machine_with_a_gpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda name: f"/usr/bin/{name}" if name == "nvidia-smi" else None)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    (remark,) = of("torch", tmp_path)
    assert "built for CPUs alone" in remark.sentence
    assert remark.command.startswith("pip install --force-reinstall torch")
    assert not of("torch", tmp_path, "13.0", sees_gpu=True)


def test_torch_with_cuda_that_sees_no_gpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda name: f"/usr/bin/{name}")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    assert "sees none of the GPUs here" in of("gpu", tmp_path, "13.0")[0].sentence
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert of("gpu", tmp_path, "13.0")[0].command == "unset CUDA_VISIBLE_DEVICES"


def test_results_that_cannot_be_written_or_lie_where_renames_are_not_seen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert not of("results", tmp_path)
    monkeypatch.setattr("os.access", lambda path, mode: False)
    assert "nothing can be written there" in of("results", tmp_path / "deep" / "er")[0].sentence
    monkeypatch.undo()
    monkeypatch.setattr(surroundings, "filesystem", lambda place, mounts: "fuse.sshfs")
    assert "lies on fuse.sshfs" in of("results", tmp_path)[0].sentence
    assert not list(tmp_path.iterdir())


def test_the_file_system_is_that_of_the_nearest_mount(tmp_path: Path) -> None:
    mounts = tmp_path / "mounts"
    mounts.write_text(f"/dev/a / ext4 rw 0 0\nserver:/x {tmp_path}/a\\040b nfs4 rw 0 0\n", encoding="utf-8")
    (tmp_path / "a b" / "c").mkdir(parents=True)
    assert filesystem(tmp_path / "a b" / "c", mounts) == "nfs4"
    assert filesystem(tmp_path, mounts) == "ext4"
    assert filesystem(tmp_path, tmp_path / "none") == ""


def test_a_disk_with_little_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(surroundings, "ROOM", float("inf"))
    assert "GB free" in of("disk", tmp_path)[0].sentence
    (tmp_path / "my disk").mkdir()
    assert shlex.split(of("disk", tmp_path / "my disk")[0].command) == ["df", "-h", f"{tmp_path}/my disk"]


def test_programs_and_the_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert of("hub", tmp_path)[0].command == "unset HF_HUB_OFFLINE"
    assert [each.what for each in surroundings._of_programs(lambda name: None)] == ["latex", "slurm"]
    assert not list(surroundings._of_programs(lambda name: name))


def test_packages_that_are_not_installed_are_told_with_who_needs_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    told = {each.command: each.sentence for each in of("package", tmp_path)}
    assert "peft" in told["pip install 'finetune-bench[peft]'"]
    assert "segmentation" in told["pip install 'finetune-bench[transformers]'"]
    assert "open_clip is not installed; it is for " in told["pip install 'finetune-bench[clip]'"]
    assert "HEIC" in told["pip install 'finetune-bench[heif]'"]

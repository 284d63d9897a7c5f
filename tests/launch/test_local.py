"""Which GPUs there are on this machine, and how many of them a run may have."""

from __future__ import annotations

import argparse

import pytest

from bench.commands.options import ranks_of
from bench.errors import InputError
from bench.launch.local import default_jobs, usable_gpus


@pytest.mark.parametrize(
    ("visible", "gpus"),
    [
        ("0,1", ["0", "1"]),
        ("3, 5", ["3", "5"]),
        ("GPU-8a2f,MIG-9c1e", ["GPU-8a2f", "MIG-9c1e"]),
        ("", []),
        ("-1", []),
        ("NoDevFiles", []),
        ("2,-1,3", ["2"]),
    ],
)
def test_gpus_are_those_that_cuda_sees(visible: str, gpus: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert usable_gpus() == gpus


def test_runs_that_several_gpus_share_are_fewer_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1,2,3,4")
    assert [default_jobs(ranks) for ranks in (1, 2, 5)] == [5, 2, 1]


def test_a_run_has_no_more_gpus_than_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    options = argparse.Namespace(gpus_per_run="3", launcher="local")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    with pytest.raises(InputError, match="--gpus-per-run 3: only 2 can be used here"):
        ranks_of(options)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")  # processes may share the cores
    assert ranks_of(options) == 3

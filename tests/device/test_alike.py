"""Computing alike: what a worker sets, and that memory which nobody fills changes no run."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch

from bench.launch.worker import prepare
from bench.registry import Registry
from bench.training.trial import run_trial
from tests.training.test_checkpoint import CPU, planned


@pytest.fixture(autouse=True)
def _as_it_was() -> Iterator[None]:
    threads, strict = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    filled = torch.utils.deterministic.fill_uninitialized_memory  # type: ignore[attr-defined]
    yield
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(strict)
    torch.utils.deterministic.fill_uninitialized_memory = filled  # type: ignore[attr-defined]


def test_a_worker_is_deterministic_on_one_core_and_fills_no_memory() -> None:
    torch.utils.deterministic.fill_uninitialized_memory = True  # type: ignore[attr-defined]
    prepare()
    assert torch.get_num_threads() == 1
    assert torch.are_deterministic_algorithms_enabled()
    assert torch.utils.deterministic.fill_uninitialized_memory is False  # type: ignore[attr-defined]
    assert not torch.empty(64).isnan().all()


@pytest.mark.slow
@pytest.mark.parametrize("backbone", ["micro_vit", "micro_resnet"])
def test_a_run_has_the_bits_that_it_has_where_memory_is_filled(backbone: str) -> None:
    spec = planned("gta" if backbone == "micro_vit" else "l2sp", "steps=4", "warmup=0", backbones=backbone)
    prepare()
    plain = run_trial(spec, Registry(), CPU).predictions
    torch.utils.deterministic.fill_uninitialized_memory = True  # type: ignore[attr-defined]
    filled = run_trial(spec, Registry(), CPU).predictions
    for name, array in plain.items():
        np.testing.assert_array_equal(array, filled[name])

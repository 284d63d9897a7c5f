"""What the draws of a step come from."""

from __future__ import annotations

import numpy as np
import pytest

from bench.data.generator import generator


@pytest.mark.parametrize("seed", [0, 1, 2**31 - 1])
def test_it_draws_what_numpys_own_does(seed: int) -> None:
    ours, numpys = generator(seed), np.random.RandomState(seed)
    for draw in ("standard_normal", "random_sample", "permutation"):
        assert np.array_equal(getattr(ours, draw)(1000), getattr(numpys, draw)(1000)), draw
    assert np.array_equal(ours.randint(0, 3, 1000), numpys.randint(0, 3, 1000))
    assert np.array_equal(ours.beta(0.8, 0.8, 1000), numpys.beta(0.8, 0.8, 1000))


def test_two_are_apart() -> None:
    first, second = generator(1), generator(2)
    first.random_sample(10)
    assert np.array_equal(second.random_sample(10), np.random.RandomState(2).random_sample(10))

"""Having torch compute alike every time."""

from __future__ import annotations

import torch


def compute_alike() -> None:
    """Deterministic kernels, on one core; what cannot be had on a GPU is only warned of.

    Memory that nobody has written yet is left as it is: filling it, as torch does then by default, finds what reads it
    and changes no other number.
    """
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True, warn_only=torch.cuda.is_available())
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]

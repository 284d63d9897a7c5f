"""The GPUs of this machine, as CUDA_VISIBLE_DEVICES names them; found without importing torch."""

from __future__ import annotations

import functools
import os
import re
import subprocess
from pathlib import Path

DEVICES = Path("/dev")
"""Where the driver's device files are."""

_LISTED = re.compile(r"^(?:GPU \d+:|\s+MIG ).*\(UUID: ((?:GPU|MIG)-[^)\s]+)\)", re.MULTILINE)


def usable_gpus() -> list[str]:
    """The GPUs that processes started here may use, one name each.

    Where CUDA_VISIBLE_DEVICES is set, they are those that it names, up to the first that is none ("", "-1" and
    "NoDevFiles" are none), as CUDA reads it. Else they are those of the machine: their numbers, or, where a GPU is
    divided (MIG), the UUIDs of its parts and of the GPUs that are whole, since parts have no numbers.

    Unequal GPUs all count, and each run is given one of them; to leave out a weak one is for CUDA_VISIBLE_DEVICES.
    """
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is None:
        return list(_of_this_machine(DEVICES))
    names = [name.strip() for name in visible.split(",")]
    ends = [at for at, name in enumerate(names) if name in ("", "-1", "NoDevFiles")]
    return names[: ends[0]] if ends else names


def gpu_of_rank(rank: int) -> str | None:
    """The GPU of one of the processes that share a run; None where there are none.

    Each sees its own alone: of the parts of a divided GPU, CUDA shows a process only the first that is named.
    """
    gpus = usable_gpus()
    return gpus[rank % len(gpus)] if gpus else None


@functools.cache
def _of_this_machine(devices: Path) -> tuple[str, ...]:
    """All GPUs that nvidia-smi lists; where it is not there or fails, as many as have a device file."""
    files = list(devices.glob("nvidia[0-9]*"))
    if not files:
        return ()
    try:
        asked = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, timeout=20, check=True)
    except (OSError, subprocess.SubprocessError):
        return tuple(str(number) for number in range(len(files)))
    listed = _LISTED.findall(asked.stdout)
    if not any(name.startswith("MIG-") for name in listed):
        return tuple(str(number) for number in range(len(listed)))
    followed = [*listed[1:], ""]  # the parts of a GPU are listed behind it; it cannot be used beside them
    return tuple(name for name, after in zip(listed, followed, strict=True) if _is_whole(name, after))


def _is_whole(name: str, after: str) -> bool:
    """Whether a listed device is a part, or a GPU without parts."""
    return name.startswith("MIG-") or not after.startswith("MIG-")

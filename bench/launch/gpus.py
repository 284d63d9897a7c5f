"""The GPUs of this machine, as CUDA_VISIBLE_DEVICES names them; found without importing torch."""

from __future__ import annotations

import functools
import itertools
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


def gpus_of(number: int, each: int = 1) -> str | None:
    """The GPUs of the process of a number, as CUDA_VISIBLE_DEVICES has them; None where there are none.

    Of the processes that share a run, each sees its own alone: of the parts of a divided GPU, CUDA shows a process only
    the first that is named.
    """
    gpus = usable_gpus()
    taken = [gpus[(number * each + at) % len(gpus)] for at in range(each)] if gpus else []
    return ",".join(dict.fromkeys(taken)) or None


@functools.cache
def _of_this_machine(devices: Path) -> tuple[str, ...]:
    """All GPUs that nvidia-smi lists; where it is not there or fails, as many as have a device file."""
    files = list(devices.glob("nvidia[0-9]*"))
    if not files:
        return ()
    try:
        listing = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, timeout=20, check=True)
    except (OSError, subprocess.SubprocessError):
        return tuple(str(number) for number in range(len(files)))
    listed = _LISTED.findall(listing.stdout)
    if not any(name.startswith("MIG-") for name in listed):
        return tuple(str(number) for number in range(len(listed)))
    # the parts of a GPU are listed behind it; it cannot be used beside them
    divided = {name for name, next_one in itertools.pairwise(listed) if next_one.startswith("MIG-")}
    return tuple(name for name in listed if name.startswith("MIG-") or name not in divided)

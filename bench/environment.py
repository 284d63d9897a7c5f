"""Where a run was made: versions, hardware and the state of the code; nothing of it is in a run's id."""

from __future__ import annotations

import functools
import importlib.metadata
import platform
import subprocess
from pathlib import Path
from typing import Any

import bench

PACKAGES = ("torch", "torchvision", "timm", "numpy", "pillow", "scikit-learn", "finetune-bench")


@functools.lru_cache(maxsize=1)
def describe() -> dict[str, Any]:
    """Python, packages, machine and git state of this process, as plain data."""
    import torch

    return {
        "python": platform.python_version(),
        "packages": {name: _version(name) for name in PACKAGES},
        "platform": platform.platform(),
        "processor": _processor(),
        "threads": torch.get_num_threads(),
        "gpu": torch.cuda.get_device_name(0) if torch.cuda.is_available() else None,
        "git": _git(),
    }


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())


def _git() -> dict[str, Any] | None:
    """Commit of the suite's checkout and whether it was changed since; None outside a checkout."""
    root = Path(bench.__file__).parent.parent
    if not (root / ".git").exists():
        return None
    try:
        commit = _output(root, "rev-parse", "HEAD")
        return {"commit": commit, "changed": bool(_output(root, "status", "--porcelain", "--untracked-files=no"))}
    except (OSError, subprocess.SubprocessError):
        return None


def _output(root: Path, *command: str) -> str:
    run = subprocess.run(("git", "-C", str(root), *command), capture_output=True, text=True, timeout=10, check=True)
    return run.stdout.strip()

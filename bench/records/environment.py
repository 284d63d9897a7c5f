"""Where a run was made and how it is repeated: versions, hardware, state of the code; nothing of it is in a run's id.

Records are shared and published, so no secret is in them: what looks like a credential is masked in every text.
"""

from __future__ import annotations

import functools
import hashlib
import os
import platform
import re
import shlex
import subprocess
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import bench
from bench.records.secrets import redacted, without_values

PACKAGES = (
    "torch",
    "torchvision",
    "timm",
    "numpy",
    "scipy",
    "pillow",
    "scikit-learn",
    "safetensors",
    "transformers",
    "peft",
    "finetune-bench",
)
"""The packages whose version can change a run's numbers."""

_SLURM = {
    "job": "SLURM_JOB_ID",
    "array_job": "SLURM_ARRAY_JOB_ID",
    "array_task": "SLURM_ARRAY_TASK_ID",
    "restarts": "SLURM_RESTART_COUNT",
    "partition": "SLURM_JOB_PARTITION",
    "tasks": "SLURM_NTASKS",
}


def provenance(
    run_id: str,
    command: str,
    results: str | Path,
    plugins: Iterable[str | Path] = (),
    launcher: str = "local",
    on_gpu: int = 1,
) -> dict[str, Any]:
    """What a record keeps of where it comes from: ``command`` without secrets, ``repeat`` and ``environment``.

    ``on_gpu``: the most runs that were on its GPU at a time.
    """
    paths = tuple(str(plugin) for plugin in plugins)
    repeat = repeat_command(run_id, results, paths)
    sharing = {"runs": on_gpu, "mps": "CUDA_MPS_PIPE_DIRECTORY" in os.environ}
    facts = {**describe(paths, launcher), **({"gpu_sharing": sharing} if on_gpu > 1 else {})}
    return {"command": redacted(command), "repeat": repeat, "environment": _masked(facts)}


def repeat_command(run: str | Path, results: str | Path = "", plugins: Iterable[str | Path] = ()) -> str:
    """The command that trains a finished run, by its id or the path of its record, again and compares."""
    words = ["bench", "rerun", str(run), "--check", *(["--results", str(results)] if str(results) else [])]
    return redacted(shlex.join([*words, *(word for plugin in plugins for word in ("--plugin", str(plugin)))]))


def _masked(facts: Any) -> Any:
    """Plain data without secrets in its texts."""
    if isinstance(facts, dict):
        return {name: _masked(value) for name, value in facts.items()}
    if isinstance(facts, list):
        return [_masked(value) for value in facts]
    return without_values(facts) if isinstance(facts, str) else facts


@functools.lru_cache(maxsize=8)
def describe(plugins: tuple[str, ...] = (), launcher: str = "local") -> dict[str, Any]:
    """Python, packages, machine, job and state of the code of this process, as plain data.

    The machine's name is left out, not digested: it decides no number, a digest of so short a name is undone by trying
    names, and whoever owns the cluster finds the node by the job's number. Of a plug-in's path the last part is kept.
    What torch knows is left out where this process has not imported it: the process in front of the runs records the
    death of a worker, and would stand still for seconds meanwhile, and take a gigabyte.
    """
    checkout = Path(bench.__file__).parent.parent
    return {
        "python": platform.python_version(),
        "packages": {name: _version(name) for name in PACKAGES},
        "platform": platform.platform(),
        "processor": processor(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "memory_bytes": _memory(),
        **(_of_torch() if "torch" in sys.modules else {}),
        # an environment may lie inside somebody else's checkout
        "git": code_state(checkout) if (checkout / ".git").exists() else None,
        "plugins": [{"name": Path(plugin).name, "git": code_state(Path(plugin))} for plugin in plugins],
        "launcher": launcher,
        "slurm": slurm_job(os.environ),
    }


def slurm_job(environ: Mapping[str, str]) -> dict[str, str] | None:
    """Job, array task, restart count and partition, where SLURM says them; None outside a job."""
    job = {name: environ[variable] for name, variable in _SLURM.items() if environ.get(variable)}
    return job if "job" in job else None


def code_state(path: Path) -> dict[str, Any] | None:
    """The commit that a file, or a folder with all that git knows in it, is checked out from, and what was changed.

    Returns:
        ``commit``, ``changed`` and ``diff``: 12 hexadecimal digits of the SHA-256 of what changed, or None where
        nothing did; None where there is no git or no commit. A file that git does not know counts as changed and is
        digested whole; in a folder such files count for nothing.
    """
    folder, name = (path, ".") if path.is_dir() else (path.parent, path.name)
    try:
        commit = _git(folder, "rev-parse", "--verify", "HEAD").decode().strip()
        changed = _git(folder, "diff", "HEAD", "--binary", "--no-ext-diff", "--no-textconv", "--", name)
        if path.is_file() and not _git(folder, "ls-files", "--", name):
            changed = path.read_bytes()
    except (OSError, subprocess.SubprocessError):
        return None
    digest = hashlib.sha256(changed).hexdigest()[:12] if changed else None
    return {"commit": commit, "changed": bool(changed), "diff": digest}


def _version(package: str) -> str | None:
    from importlib import metadata  # takes a tenth of the start of commands that need no version

    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def processor() -> str:
    """The kind of this machine's, as its system calls it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())


def _memory() -> int | None:
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):  # not known on every system
        return None


def _of_torch() -> dict[str, Any]:
    """Instructions and threads that torch uses, and the GPUs that it finds."""
    import torch

    instructions = torch.backends.cpu.get_cpu_capability()
    return {"instructions": instructions, "threads": torch.get_num_threads(), **_gpus()}


def _gpus() -> dict[str, Any]:
    """Name, memory and compute capability of each GPU that this process may use, and the versions that drive them."""
    import torch

    if not torch.cuda.is_available():
        return {"gpus": [], "cuda": None}
    gpus = [torch.cuda.get_device_properties(number) for number in range(torch.cuda.device_count())]
    cudnn = torch.backends.cudnn.version()  # type: ignore[no-untyped-call]
    return {
        "gpus": [
            {"name": gpu.name, "memory_bytes": gpu.total_memory, "capability": f"{gpu.major}.{gpu.minor}"}
            for gpu in gpus
        ],
        "cuda": {"version": torch.version.cuda, "cudnn": cudnn, "driver": _driver()},
    }


def _driver(path: Path = Path("/proc/driver/nvidia/version")) -> str | None:
    """The version of NVIDIA's driver: from the kernel, or else from its own tool."""
    try:
        if version := re.search(r"\b\d{3,}\.\d+(?:\.\d+)*\b", path.read_text(encoding="utf-8")):
            return version[0]
    except OSError:
        pass
    query = ("nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader")
    try:
        run = subprocess.run(query, capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return next(iter(run.stdout.split()), None)


def _git(folder: Path, *command: str) -> bytes:
    """What git says. Its index is left alone: several processes may ask at once."""
    run = subprocess.run(
        ("git", "-C", str(folder), *command),
        capture_output=True,
        timeout=30,
        check=True,
        env={**os.environ, "GIT_OPTIONAL_LOCKS": "0"},
    )
    return run.stdout

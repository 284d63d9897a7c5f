"""Where a run was made and how it is repeated: versions, hardware, state of the code; nothing of it is in a run's id.

Records are shared and published, so no secret is in them: what looks like a credential is masked in every text.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.metadata
import os
import platform
import re
import shlex
import subprocess
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import bench

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
_MASK = "***"
_CREDENTIAL = (
    r"(?:token|secret|passwords?|passwd|passphrase|credentials?|cookie|authorization"
    r"|(?:api|access|account|auth|encryption|private|secret|ssh)[_-]?key)"
)
_OPTION = re.compile(rf"-{{1,2}}[\w.-]*?{_CREDENTIAL}", re.IGNORECASE)
_ASSIGNED = re.compile(rf"{_CREDENTIAL}['\"]?\s*[=:]", re.IGNORECASE)
_VARIABLE = re.compile(rf".*(?:{_CREDENTIAL}|_pass|key)", re.IGNORECASE)
_HARMLESS = re.compile(r"(?:true|false|none|null|[-+.\d]{1,3})[\s,;)\]}'\"]*", re.IGNORECASE)
_LOGIN = re.compile(r"(?<=://)[^\s/?#'\"]*@")
_WORD = re.compile(r"""(?:'[^'\n]*'|"[^"\n]*"|\S)+""")  # as a shell cuts a command
_SHAPES = re.compile(
    r"\b(?:gh[opsur]_|github_pat_|glpat-|hf_|sk-|pypi-|xox[abeprs]-|AKIA|ASIA|AIza|eyJ)[\w.=-]{12,}"
    r"|-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)",
    re.DOTALL,
)


def provenance(
    run_id: str, command: str, results: str | Path, plugins: Iterable[str | Path] = (), launcher: str = "local"
) -> dict[str, Any]:
    """What a record keeps of where it comes from: ``command`` without secrets, ``repeat`` and ``environment``."""
    paths = tuple(str(plugin) for plugin in plugins)
    repeat = repeat_command(run_id, results, paths)
    return {"command": redacted(command), "repeat": repeat, "environment": describe(paths, launcher)}


def repeat_command(run: str | Path, results: str | Path = "", plugins: Iterable[str | Path] = ()) -> str:
    """The command that trains a finished run, by its id or the path of its record, again and compares."""
    words = ["bench", "rerun", str(run), "--check", *(["--results", str(results)] if str(results) else [])]
    return redacted(shlex.join([*words, *(word for plugin in plugins for word in ("--plugin", str(plugin)))]))


@functools.lru_cache(maxsize=8)
def describe(plugins: tuple[str, ...] = (), launcher: str = "local") -> dict[str, Any]:
    """Python, packages, machine, job and state of the code of this process, as plain data.

    The machine's name is left out, not digested: it decides no number, a digest of so short a name is undone by trying
    names, and whoever owns the cluster finds the node by the job's number. Of a plug-in's path the last part is kept.
    """
    import torch

    checkout = Path(bench.__file__).parent.parent
    return {
        "python": platform.python_version(),
        "packages": {name: _version(name) for name in PACKAGES},
        "platform": platform.platform(),
        "processor": _processor(),
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "memory_bytes": _memory(),
        "threads": torch.get_num_threads(),
        **_gpus(),
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


def redacted(text: str, environ: Mapping[str, str] | None = None) -> str:
    """A text, such as a command or a trace, with ``***`` in the place of what looks like a credential.

    Masked are: the value after a name such as ``--api-key``, ``HF_TOKEN=`` or ``"password":``; a login in a URL; what
    has the form of a known service's token, or of a private key; and, wherever they stand, the values of environment
    variables (by default of this process) that are named like credentials. Quotes as a shell reads them keep words
    together.
    """
    for name, value in (os.environ if environ is None else environ).items():
        if len(value) >= 6 and _VARIABLE.fullmatch(name):
            text = text.replace(value, _MASK)
    text = _LOGIN.sub(f"{_MASK}@", _SHAPES.sub(_MASK, text))
    previous = ""

    def masked(match: re.Match[str]) -> str:
        nonlocal previous
        word, preceding = match[0], previous
        previous = preceding + word if word in ("=", ":") else word
        return _masked_word(word, preceding)

    return _WORD.sub(masked, text)


def _masked_word(word: str, preceding: str) -> str:
    bare = preceding.strip("'\"")
    opened = _OPTION.fullmatch(bare) and not word.startswith("--")
    assigns = any(name.end() == len(bare) for name in _ASSIGNED.finditer(bare))
    if opened or assigns or bare.lower() in ("bearer", "basic"):
        return word if _HARMLESS.fullmatch(word) else _MASK
    name = _ASSIGNED.search(word)
    if name is None or name.end() == len(word) or _HARMLESS.fullmatch(word[name.end() :]):
        return word
    return word[: name.end()].replace("'", "").replace('"', "") + _MASK


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


def _memory() -> int | None:
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):  # not known on every system
        return None


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

"""What is missing or odd about a machine, found without torch and without writing anything: for ``bench doctor``."""

from __future__ import annotations

import importlib.util
import os
import shlex
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from bench.cards.text_towers import EXTRA as CLIP
from bench.cards.text_towers import PACKAGE, TEXT_TOWER
from bench.launch.gpus import DEVICES, usable_gpus
from bench.registry import Registry
from bench.task import find_task, tasks

ROOM = 5e9
"""Free bytes below which a disk is called small: decoded images, checkpoints and kept models take gigabytes."""

EXTRAS: Mapping[str, tuple[str, str]] = {
    "energy": ("pynvml", "the energy of NVIDIA GPUs in records"),
    "export": ("onnx", "bench export --to onnx"),
    "heif": ("pillow_heif", "HEIC images"),
    "tensorboard": ("tensorboard", "--track tensorboard"),
    "umap": ("umap", "UMAP in 'bench measure TARGET embedding' and its figure"),
    "wandb": ("wandb", "--track wandb"),
}
"""Extras of the suite that no method or task names: a module of each, and what needs it."""

LOOSE = ("9p", "afs", "cifs", "drvfs", "fuse.gcsfuse", "fuse.rclone", "fuse.s3fs", "fuse.sshfs", "smb3", "vboxsf")
"""File systems of networks and of other systems, on which files may not be renamed or linked at once for all."""

SHARED = ("nfs", "nfs4", "lustre", "gpfs", "beegfs", "ceph", "fuse.ceph", "fuse.glusterfs", "panfs", "wekafs")
"""File systems of clusters, on which results may lie, and small files take their time."""


@dataclass(frozen=True)
class Oddity:
    """What is missing or odd: a word for it, a sentence, and what to type; empty where nothing can be."""

    what: str
    sentence: str
    command: str = ""


def remarks(results: Path, registry: Registry, torch_cuda: str, sees_gpu: bool) -> list[Oddity]:
    """All that is missing or odd: ``torch_cuda`` is what torch was built with, empty where it is for CPUs alone."""
    return [
        *_of_gpus(torch_cuda, sees_gpu),
        *_of_results(results),
        *_of_programs(),
        *_of_hub(),
        *_of_packages(registry),
    ]


def _of_gpus(torch_cuda: str, sees_gpu: bool, devices: Path = DEVICES) -> Iterator[Oddity]:
    if sees_gpu:
        return
    is_there = bool(list(devices.glob("nvidia[0-9]*"))) or shutil.which("nvidia-smi") is not None
    if not torch_cuda and is_there:
        install = "pip install --force-reinstall torch torchvision --index-url https://download.pytorch.org/whl/cu130"
        yield Oddity("torch", "this machine has a GPU, and torch is built for CPUs alone", install)
    elif torch_cuda and is_there and not usable_gpus():
        yield Oddity("gpu", "CUDA_VISIBLE_DEVICES hides this machine's GPUs", "unset CUDA_VISIBLE_DEVICES")
    elif torch_cuda and is_there:
        sentence = f"torch is built with CUDA {torch_cuda}, and sees none of the GPUs here: their driver may be older"
        yield Oddity("gpu", sentence, "nvidia-smi")
    elif torch_cuda:
        sentence = f"torch is built with CUDA {torch_cuda}, and this machine has no GPU: everything runs on its cores"
        yield Oddity("gpu", sentence)


def _of_results(results: Path, mounts: Path = Path("/proc/mounts")) -> Iterator[Oddity]:
    place = _existing(results)
    if not os.access(place, os.W_OK | os.X_OK):
        what = f"{results}: nothing can be written there; give another folder to every command"
        yield Oddity("results", what, "export BENCH_RESULTS=~/results")
    kind = filesystem(place, mounts)
    if kind in LOOSE:
        sentence = (
            f"{results} lies on {kind}, where what one process writes others may see late, or in part: "
            "several must not train into it at a time"
        )
        yield Oddity("results", sentence, "export BENCH_RESULTS=~/results")
    elif kind in SHARED:
        sentence = f"{results} lies on {kind}: that is good for results, and slower than a disk for decoded images"
        yield Oddity("results", sentence)
    folder = results / "cache"
    if (free := shutil.disk_usage(_existing(folder)).free) < ROOM:
        sentence = f"{folder}: its disk has {free / 1e9:.2g} GB free, for decoded images, checkpoints and kept models"
        yield Oddity("disk", sentence, f"df -h {shlex.quote(str(_existing(folder)))}")


def _existing(path: Path) -> Path:
    """A folder, or the nearest one around it that is there."""
    path = path.expanduser().absolute()
    return next(place for place in (path, *path.parents) if place.is_dir())


def filesystem(path: Path, mounts: Path = Path("/proc/mounts")) -> str:
    """The kind of file system that a path lies on; empty where that is not known."""
    kinds: dict[str, str] = {}
    try:
        lines = mounts.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return ""
    for line in lines:
        fields = line.split()
        if len(fields) > 2:
            kinds[fields[1].replace("\\040", " ")] = fields[2]  # of two on one place the last one counts
    real = path.resolve()
    return next((kinds[str(place)] for place in (real, *real.parents) if str(place) in kinds), "")


def has_slurm(which: Callable[[str], str | None] = shutil.which) -> bool:
    """Whether there is a cluster to submit to, by its commands."""
    return not _lacking_of_slurm(which)


def _lacking_of_slurm(which: Callable[[str], str | None]) -> list[str]:
    return [name for name in ("sbatch", "squeue", "scancel") if which(name) is None]


def _of_programs(which: Callable[[str], str | None] = shutil.which) -> Iterator[Oddity]:
    if which("pdflatex") is None and which("lualatex") is None:
        yield Oddity("latex", "LaTeX is not installed: tables can be written for it, and not compiled here")
    if lacking := _lacking_of_slurm(which):
        sentence = f"SLURM's {', '.join(lacking)} are not here: --launcher slurm works on a cluster's login node"
        yield Oddity("slurm", sentence)


def _of_hub() -> Iterator[Oddity]:
    for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"):
        if os.environ.get(name, "").upper() in ("1", "ON", "YES", "TRUE"):
            sentence = f"{name} is set: weights that are not in the cache of the Hugging Face hub are not fetched"
            yield Oddity("hub", sentence, f"unset {name}")


def _of_packages(registry: Registry) -> Iterator[Oddity]:
    """Of each extra that is not installed, what needs it."""
    needed: dict[str, list[str]] = {}
    modules = {CLIP: PACKAGE, **{extra: module for extra, (module, _) in EXTRAS.items()}}
    for name in registry.method_files:
        card = registry.method(name)
        for package in sorted(card.packages):
            needed.setdefault(package, []).append(name)
        if TEXT_TOWER in card.needs:
            needed.setdefault(CLIP, []).append(name)
    for name in tasks():
        for package in find_task(name).packages:
            needed.setdefault(package, []).append(name)
    for extra, (_, what) in EXTRAS.items():
        needed.setdefault(extra, []).append(what)
    for extra, users in needed.items():
        module = modules.get(extra, extra)
        if importlib.util.find_spec(module) is None:
            yield Oddity(
                "package",
                f"{module} is not installed; it is for {', '.join(users)}",
                f"pip install 'finetune-bench[{extra}]'",
            )

"""The shelf: trained stages that several runs share, each trained once and stored under a digest of what decides it."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import uuid
import zlib
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import Tensor

from bench.backbones.weights import save_tensors
from bench.device.distributed import agreed, first_rank, ranks, together
from bench.records.lease import claimed, wait_for

Tensors = dict[str, Tensor]


class Shelf:
    """A folder of trained stages, or of what else is computed once; made when the first is stored.

    Args:
        root: the folder.
        making: what another process does that is waited for, in words.
    """

    def __init__(self, root: Path, making: str = "training the shared stage") -> None:
        self.root, self.making = root, making

    def get(
        self,
        key: str,
        make: Callable[[], Tensors],
        meaning: Mapping[str, Any],
        waiting: Callable[[], None] = lambda: None,
    ) -> tuple[Tensors, bool]:
        """The tensors of a stage, and whether they were there: the stored ones, or those of ``make``, stored now.

        Where another process is making the same, its result is waited for, and ``waiting`` called now and then
        meanwhile. The key is the digest of everything that decides the result; its meaning, what it stands for, is kept
        in the file, for people.
        """
        path, claim = self.path(key), self.root / f"{key}.claim"

        def arrived() -> bool:
            waiting()
            return path.is_file()

        if ranks() > 1:
            return self._together(path, make, meaning)
        while True:
            if (tensors := self._read(path)) is not None:
                return tensors, True
            with claimed(claim) as ours:
                if ours and not path.is_file():
                    tensors = make()
                    self._write(path, tensors, meaning)
                    return tensors, False
            if not path.is_file():
                print(f"another run is {self.making} {key}: waiting for it", flush=True)
                wait_for(arrived, claim)

    def _together(self, path: Path, make: Callable[[], Tensors], meaning: Mapping[str, Any]) -> tuple[Tensors, bool]:
        """As ``get``, by several processes that share the run and train together: no claim, each has to do its part."""
        tensors = self._read(path) if first_rank() else None
        if agreed(tensors is not None):
            together()
            tensors = tensors or self._read(path)
            assert tensors is not None
            return tensors, True
        tensors = make()
        if first_rank():
            self._write(path, tensors, meaning)
        return tensors, False

    def path(self, key: str) -> Path:
        """The file of a stage."""
        return self.root / f"{key}.safetensors"

    def _read(self, path: Path) -> Tensors | None:
        """The tensors in a file; a damaged one is set aside."""
        if not path.is_file():
            return None
        try:
            with safe_open(path, "pt") as file:
                checksum = (file.metadata() or {}).get("crc32")
            tensors = load_file(path)
            if checksum in (None, str(checksum_of(tensors))):
                return tensors
        except FileNotFoundError:  # another process has set it aside
            return None
        except (SafetensorError, ValueError):
            pass
        with contextlib.suppress(FileNotFoundError):
            path.rename(path.with_name(f"{path.name}.damaged.{uuid.uuid4().hex[:6]}"))
        return None

    def _write(self, path: Path, tensors: Tensors, meaning: Mapping[str, Any]) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}")
        try:
            contiguous = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
            stage = json.dumps(meaning, sort_keys=True)
            save_tensors(contiguous, draft, {"stage": stage, "crc32": str(checksum_of(contiguous))})
            with draft.open("rb") as file:
                os.fsync(file.fileno())  # on disk before it has its name
            draft.replace(path)
        finally:
            draft.unlink(missing_ok=True)


def checksum_of(tensors: Tensors) -> int:
    """Of names and contents, in an order that does not matter to the file."""
    running = 0
    for name in sorted(tensors):
        running = zlib.crc32(name.encode(), running)
        running = zlib.crc32(tensors[name].reshape(-1).view(torch.uint8).numpy().data, running)
    return running


def digest_of_tensors(named: Iterable[tuple[str, Tensor]]) -> str:
    """Of names, shapes, types and contents, in their order: what decides the key of something that starts from them."""
    running = hashlib.sha256()
    for name, tensor in named:
        running.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode())
        running.update(tensor.detach().cpu().reshape(-1).view(torch.uint8).numpy().data)
    return running.hexdigest()[:16]

"""Reading checkpoints as they are published: tensors and plain settings, never code."""

from __future__ import annotations

import os
import pickle
import re
import struct
import warnings
from argparse import Namespace
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import load_file
from torch import Tensor

from bench.errors import InputError

MOST_BYTES = 1 << 30
"""How large a tensor may be whose values are not all in the file: one number can stand for any count of them."""


class NumberForm:
    """What numpy keeps of the type of a number; of it, only the code (``f8``) is read."""

    def __init__(self, code: str, *_: object) -> None:
        self.code = str(code)

    def __setstate__(self, state: object) -> None:
        """Byte order and such, which numbers beside the weights need not have right."""


def _number(form: NumberForm, content: object = b"") -> object:
    """A number that numpy wrote; its bytes where it is of another kind."""
    data = content.encode("latin-1") if isinstance(content, str) else content
    code = {"f8": "d", "f4": "f", "i8": "q", "i4": "i", "b1": "?"}.get(form.code, "")
    if not code or not isinstance(data, bytes) or len(data) != struct.calcsize(code):
        return data
    return struct.unpack(f"<{code}", data)[0]


def _path(*parts: object) -> str:
    return os.path.join(*map(str, parts)) if parts else ""


_HARMLESS: list[Any] = [
    Namespace,
    *((OrderedDict, f"{fabric}.utilities.data.AttributeDict") for fabric in ("lightning_fabric", "lightning.fabric")),
    *(
        (OrderedDict, f"{owner}.utilities.parsing.AttributeDict")
        for owner in ("pytorch_lightning", "lightning.pytorch")
    ),
    (OrderedDict, "yacs.config.CfgNode"),
    *((_number, f"numpy.{core}.multiarray.scalar") for core in ("core", "_core")),
    (NumberForm, "numpy.dtype"),
    *((_path, f"pathlib.{kind}") for kind in ("PosixPath", "WindowsPath", "PurePosixPath")),
]
"""What training scripts keep beside the weights: settings, numbers and paths, which run nothing when they are read.

Nothing of the library that wrote them runs, and none has to be installed: those of yacs and Lightning are read as plain
dictionaries, numpy's numbers as Python's, paths as texts.
"""


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Everything in a checkpoint: tensors by name, and the dictionaries of them that it may hold.

    It is a safetensors file, or one of ``torch.save``, of which only tensors, numbers, texts, containers and settings
    are read.

    Raises:
        InputError: there is no such file, it holds code, or it is neither of the two.
    """
    if not path.is_file():
        raise InputError(f"{path}: there is no such file")
    if path.suffix == ".safetensors":
        return dict(read_safetensors(path))
    try:
        with torch.serialization.safe_globals(_HARMLESS), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise InputError(_refused(path, str(error))) from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror or error}") from None
    except (RuntimeError, EOFError, ValueError, KeyError, TypeError, AttributeError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise InputError(f"{path}: cannot be read as a checkpoint of torch.save: {reason}") from None
    if not isinstance(content, Mapping):
        raise InputError(f"{path}: it holds a {type(content).__name__}, not tensors by name")
    return {str(name): value for name, value in content.items()}


def read_safetensors(path: Path) -> dict[str, Tensor]:
    """The tensors in a safetensors file. Raises ``InputError`` where it is none."""
    try:
        return load_file(path)
    except Exception as error:  # safetensors has one class for all that is wrong with a file, and it is private
        raise InputError(f"{path}: cannot be read as safetensors: {str(error).splitlines()[0]}") from None


def read_shapes(path: Path) -> dict[str, tuple[int, ...]]:
    """The shape of each tensor in a safetensors file, from its header. Raises ``InputError`` where it is none."""
    try:
        with safe_open(path, "pt") as file:
            return {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
    except Exception as error:  # as above
        raise InputError(f"{path}: cannot be read as safetensors: {str(error).splitlines()[0]}") from None


def tensors(entry: object) -> dict[str, Tensor]:
    """The tensors of a dictionary by name; empty for what is none.

    Raises:
        InputError: a tensor claims to be far larger than what is stored of it.
    """
    if not isinstance(entry, Mapping):
        return {}
    named = {str(name): value for name, value in entry.items() if isinstance(value, Tensor)}
    for name, value in named.items():
        if (size := value.numel() * value.element_size()) > max(MOST_BYTES, value.untyped_storage().nbytes()):
            raise InputError(f"the tensor {name} of {size:,} bytes is not in the file: its values only repeat others")
    return named


def _refused(path: Path, problem: str) -> str:
    if code := re.search(r"GLOBAL ([\w.]+)", problem):
        problem = f"{path}: it holds code ({code[1]}), which is not run; only tensors and plain settings are read"
        is_network = code[1].rpartition(".")[2][:1].isupper()
        return problem + ("; of a whole model, save model.state_dict()" if is_network else "")
    match = re.search(r"WeightsUnpickler error:\s*(.+)", problem)
    reason = match[1] if match else problem.partition("\n")[0]
    return f"{path}: cannot be read as a checkpoint of torch.save: {reason}"

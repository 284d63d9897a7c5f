"""What a run failed of: which class a failure is of, and which of several processes that share a run is to blame."""

from __future__ import annotations

import contextlib
import errno
import signal
import traceback
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from bench.errors import InputError
from bench.process import how_ended
from bench.records.secrets import redacted

CLASSES = ("oom", "time", "node", "diverged", "code", "data")
"""What a run can fail of: memory, its time limit, the machine, its loss, its code, its data.

A run whose job is preempted or cancelled has not failed: it goes on, or is missing."""

TAKEN_UP = ("oom", "time", "node")
"""Of them, those after which a run goes on from its checkpoint when it is tried again."""

LASTING = ("code", "data")
"""Of them, those that come again until something is mended: the experiment, the code or the data."""

TAIL = 20000
"""Characters of a log, or of a trace, that are kept of a failure; the last ones."""

_LAST = 2000
"""Characters of a log in which the last words of a process are looked for: a stack may follow them."""

_NO_MEMORY = ("outofmemory", "out of memory", "can't allocate", "status_alloc_failed")
"""What torch, and the libraries of a GPU, say where there is too little memory."""

_BROKEN = (
    "gloo/transport/",
    "remote process exited or there was a network error",
    "ncclremoteerror",
    "distnetworkerror",
    "did the remote server shutdown or crash",
)
"""What a process says when another one that shares its run is gone, or the network between them.

In order: gloo names its own source file in every error of a connection (``[.../gloo/transport/tcp/pair.cc:534]
Connection closed by peer``, ``Read error ...: Connection reset by peer``, ``Timed out waiting``); NCCL's text for
``ncclRemoteError`` and that name, which torch adds; torch's error of its store, and what that says (TCPStore.cpp)."""

_MACHINE = (
    *_BROKEN,
    "uncorrectable ecc error",
    "uncorrectable nvlink error",
    "no cuda-capable device",
    "cuda-capable device(s) is/are busy or unavailable",
    "system not yet initialized",
    "fallen off the bus",
    "gpu is lost",
    "device is lost",
    "nvrm: xid",
    "unhandled system error",
    "ncclsystemerror",
    "watchdog caught collective operation timeout",
    "mps client",
    "mps server",
    "bus error",
)
"""What is said of a fault of the machine, in small letters.

The first five beside ``_BROKEN`` are what ``cudaGetErrorString`` says (libcudart 13) for ``cudaErrorECCUncorrectable``,
``NvlinkUncorrectable``, ``NoDevice``, ``DevicesUnavailable`` and ``SystemNotReady``, behind torch's "CUDA error: ". The
four after them are of NVIDIA's driver: its kernel log (Xid 79 is "GPU has fallen off the bus"), NVML and Vulkan. Then
NCCL's text for ``ncclSystemError`` and that name; torch's watchdog of NCCL (ProcessGroupNCCL.cpp); what CUDA says
of its multi-process service (``cudaErrorMpsClientTerminated`` and its like: a neighbour's fault, or the server's); and
torch's DataLoader, for a process of its own that was killed by SIGBUS.

Not there: "device-side assert triggered", "an illegal memory access was encountered", "unspecified launch failure". A
kernel that is given a wrong index says so too, and would again."""


class PartFailed(SystemExit):
    """A process's part of a run failed; the others need it for theirs, so they end too."""

    def __init__(self, label: str, failure: Failure) -> None:
        super().__init__(f"{label}: {failure.message}")
        self.failure = failure


@dataclass(frozen=True)
class Failure:
    """Why a run, or a process's part of it, failed.

    Attributes:
        message: one line.
        kind: one of ``CLASSES``.
        log: the last of what the process printed, where it died.
    """

    message: str
    kind: str = "code"
    trace: str = ""
    log: str = ""

    def to_json(self) -> dict[str, str]:
        """As plain data, shortened to ``TAIL``; with nothing in it that is secret."""
        return {name: redacted(value)[-TAIL:] for name, value in asdict(self).items()}

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> Failure:
        """What ``to_json`` wrote."""
        return cls(**{name: str(content[name]) for name in ("message", "kind", "trace", "log")})


def failure_class(error: BaseException) -> str:
    """Which of ``CLASSES`` a failure is of."""
    kind = _class_of(f"{type(error).__name__} {error}")
    if isinstance(error, MemoryError) or kind == "oom":
        return "oom"
    if type(error).__name__ == "Diverged":
        return "diverged"
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.ESTALE, errno.EROFS):
        return "node"
    if kind and not isinstance(error, InputError):
        return kind
    return "data" if isinstance(error, (InputError, OSError)) else "code"


def failure_of(error: BaseException) -> Failure:
    """What an exception that is being handled says, in one line and whole."""
    message = (str(error).strip().splitlines() or ["no message"])[0]
    if not isinstance(error, InputError):
        message = f"{type(error).__name__}: {message}"
    return Failure(message, failure_class(error), traceback.format_exc())


def printed(log: Path) -> str:
    """The last of what a process printed to its log."""
    with contextlib.suppress(FileNotFoundError):
        return log.read_text(encoding="utf-8", errors="replace")[-TAIL:]
    return ""


def death(code: int, log: str, who: str = "its worker process") -> Failure:
    """What a process failed of that ended without an answer, by its exit code (minus the signal's number) and its log.

    SIGKILL is what the kernel sends where memory is short, and SIGBUS what a process gets that writes to memory which
    has no place behind it. SIGTERM, which a worker answers with a checkpoint and exit code 0, is what some watchdogs of
    memory send, and people. An exception that nobody handled (exit code 1) or an abort is of what was printed last, as
    where a watchdog ends a process whose GPU no longer answers. Any other signal or exit code is the code's own doing.
    """
    message = f"{who} ended: {how_ended(code)}"
    if code == -signal.SIGKILL:
        return Failure(f"{message} (out of memory?)", "oom", log=log)
    if code in (0, -signal.SIGTERM):
        return Failure(f"{message} (somebody else's SIGTERM?)", "node", log=log)
    if code == -signal.SIGBUS:
        return Failure(f"{message} (is /dev/shm full? 'df -h /dev/shm' says)", "node", log=log)
    last = log[-_LAST:] if code in (1, -signal.SIGABRT) else ""
    return Failure(message, _class_of(last) or "code", log=log)


def is_broken(failure: Failure) -> bool:
    """Whether a process lost the others that share its run: what they failed of is the cause then, if it is known."""
    text = f"{failure.message} {failure.trace} {failure.log[-_LAST:]}".lower()
    return failure.kind == "node" and any(phrase in text for phrase in _BROKEN)


def blamed(failures: Sequence[Failure]) -> Failure:
    """Of the failures of processes that share a run, at least one, the first that is no consequence of another."""
    return next((failure for failure in failures if not is_broken(failure)), failures[0])


def _class_of(text: str) -> str:
    """The class that a text tells of: memory or the machine; empty where it tells of neither."""
    small = text.lower()
    if any(phrase in small for phrase in _NO_MEMORY):
        return "oom"
    return "node" if any(phrase in small for phrase in _MACHINE) else ""

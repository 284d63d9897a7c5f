"""What a failure is of, by the words of those who say it, and what becomes of the checkpoint of a run that failed."""

from __future__ import annotations

import errno
import signal
from pathlib import Path

import pytest

from bench.errors import InputError
from bench.launch import Job
from bench.launch.failures import CLASSES, TAKEN_UP, Failure, blamed, death, failure_class, failure_of, is_broken
from bench.launch.worker import died
from bench.records.store import Store
from tests.launch.runs import spec
from tests.scenes import as_plain

HINT = "\nCUDA kernel errors might be asynchronously reported at some other API call, so the stack may be wrong."
NCCL = "NCCL error in: /pytorch/torch/csrc/distributed/c10d/ProcessGroupNCCL.cpp:3763, "
CLOSED = "[/pytorch/third_party/gloo/gloo/transport/tcp/pair.cc:561] Connection closed by peer [127.0.0.1]:29595."
RESET = "[/pytorch/third_party/gloo/gloo/transport/tcp/pair.cc:545] Read error [::1]:37283: Connection reset by peer"
REMOTE = f"{NCCL}remote process exited or there was a network error, NCCL version 2.28.8"


class DistNetworkError(RuntimeError):
    """As torch.distributed names it."""


MACHINE = [
    RuntimeError(f"CUDA error: uncorrectable ECC error encountered{HINT}"),
    RuntimeError("CUDA error: uncorrectable NVLink error detected during the execution"),
    RuntimeError("No CUDA-capable device is detected"),
    RuntimeError("CUDA error: CUDA-capable device(s) is/are busy or unavailable"),
    RuntimeError("CUDA error: system not yet initialized"),
    RuntimeError("Unable to determine the device handle for GPU 0000:03:00.0: GPU is lost. Reboot the system"),
    RuntimeError("NVRM: Xid (PCI:0000:03:00): 79, GPU has fallen off the bus."),
    RuntimeError(REMOTE),
    RuntimeError(f"{NCCL}unhandled system error (run with NCCL_DEBUG=INFO for details), NCCL version 2.28.8"),
    RuntimeError("[Rank 1] Watchdog caught collective operation timeout: WorkNCCL(SeqNum=3) ran for 600003 ms"),
    RuntimeError(CLOSED),
    RuntimeError(RESET),
    DistNetworkError("Failed to recv, got 0 bytes. Connection was likely closed."),
    RuntimeError("DataLoader worker (pid 7) is killed by signal: Bus error. It is possible that ... shared memory."),
    OSError(errno.EIO, "Input/output error"),
]
NOT_THE_MACHINE = [
    (RuntimeError("CUDA error: device-side assert triggered"), "code"),
    (RuntimeError("CUDA error: an illegal memory access was encountered"), "code"),
    (RuntimeError("CUDA error: unspecified launch failure"), "code"),
    (RuntimeError(f"{NCCL}invalid usage, NCCL version 2.28.8"), "code"),
    (RuntimeError(f"{NCCL}unhandled cuda error\nLast error:\nCuda failure 2 'out of memory'"), "oom"),
    (InputError("photos/bus error/7.jpg: it cannot be read; remove it"), "data"),
    (ConnectionResetError(errno.ECONNRESET, "Connection reset by peer"), "data"),
    (ValueError("the method's watchdog says no"), "code"),
]


@pytest.mark.parametrize("error", MACHINE, ids=lambda error: str(error)[:50])
def test_faults_of_the_machine(error: Exception) -> None:
    assert failure_class(error) == "node"


@pytest.mark.parametrize(("error", "kind"), NOT_THE_MACHINE, ids=lambda value: str(value)[:50])
def test_what_is_not_one(error: Exception, kind: str) -> None:
    assert failure_class(error) == kind


def test_an_exception_is_told_in_one_line_and_whole() -> None:
    try:
        raise ValueError("the shapes differ\nby much")
    except ValueError as error:
        failure = failure_of(error)
    assert (failure.message, failure.kind) == ("ValueError: the shapes differ", "code")
    assert failure.trace.startswith("Traceback")
    assert failure.trace.endswith("by much\n")
    assert failure_of(InputError("a.jpg: it is damaged")).message == "a.jpg: it is damaged"


class TestDeaths:
    @pytest.mark.parametrize(
        ("code", "log", "kind", "says"),
        [
            (-signal.SIGKILL, "", "oom", "killed by signal 9 (SIGKILL) (out of memory?)"),
            (-signal.SIGBUS, "", "node", "killed by signal 7 (SIGBUS) (is /dev/shm full?"),
            (-signal.SIGSEGV, "", "code", "killed by signal 11 (SIGSEGV)"),
            (-signal.SIGSEGV, f"RuntimeError: {CLOSED}", "code", "SIGSEGV"),
            (-signal.SIGABRT, "", "code", "SIGABRT"),
            (-signal.SIGABRT, f"terminate called after throwing ...\n what(): {REMOTE}\n#0 frame", "node", "SIGABRT"),
            (-signal.SIGABRT, "what(): CUDA out of memory", "oom", "SIGABRT"),
            (1, f"Traceback ...\nRuntimeError: {CLOSED}", "node", "exit code 1"),
            (1, "Traceback ...\nImportError: no module named torch", "code", "exit code 1"),
            (1, REMOTE + "\nit went on" * 1000, "code", "exit code 1"),
            (7, REMOTE, "code", "exit code 7"),
            (0, "", "node", "exit code 0 (somebody else's SIGTERM?)"),
            (-15, "", "node", "SIGTERM"),
        ],
    )
    def test_are_of_what_killed_or_was_said_last(self, code: int, log: str, kind: str, says: str) -> None:
        failure = death(code, log)
        assert failure.kind == kind
        assert failure.message.startswith("its worker process ended: ")
        assert says in failure.message
        assert failure.log == log


class TestBlame:
    def test_is_of_the_cause(self) -> None:
        lost, crash = Failure(f"process 0 of 3: RuntimeError: {CLOSED}", "node"), Failure("it ended", "code")
        assert blamed([lost, crash, lost]) == crash
        assert blamed([lost, replaced := Failure("an ECC error", "node")]) == replaced, "a fault is a cause"
        assert blamed([lost, lost]) == lost

    def test_one_whose_connection_broke_is_known_by_its_words(self) -> None:
        assert is_broken(death(1, f"RuntimeError: {RESET}"))
        assert is_broken(Failure("it ended", "node", trace=REMOTE))
        assert not is_broken(Failure("CUDA error: uncorrectable ECC error encountered", "node"))
        assert not is_broken(Failure("CUDA out of memory", "oom", log=REMOTE))

    def test_what_is_said_to_others_has_no_secret(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("WANDB_API_KEY", "0123456789abcdef")
        told = Failure("no 0123456789abcdef", "code", "0123456789abcdef", "0123456789abcdef").to_json()
        assert "0123456789abcdef" not in str(told)
        assert Failure.from_json(told).kind == "code"


@pytest.mark.parametrize("kind", CLASSES)
def test_the_checkpoint_stays_where_a_run_goes_on_from_it(kind: str, tmp_path: Path) -> None:
    """However its process ended: one rule for what raised and for what died."""
    store, run = Store(tmp_path), spec(0)
    kept = tmp_path / "checkpoints" / run.id / "current.pt"
    kept.parent.mkdir(parents=True)
    kept.touch()
    answer = died(run, Job(tmp_path), Failure("it died", kind, log="the reason"))
    assert (answer["status"], answer["class"]) == ("failed", kind)
    assert kept.exists() == (kind in TAKEN_UP)
    failure = as_plain(store.failures()[run.id])
    assert failure["error"] == {"class": kind, "kind": "died", "message": "it died"}
    assert (Path(failure["folder"]) / "log.txt").read_text(encoding="utf-8") == "the reason"

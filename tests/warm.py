"""Processes of bench that are forked from one that has imported everything: the import alone takes 5 seconds of CPU.

The fixture ``warm`` has every ``subprocess.Popen`` that would start Python with bench do this, and what those start in
turn. All else is as it was: pipes, signals, sessions, exit codes and environments are those of real processes. A test
of the start itself does without it.
"""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import functools
import gc
import io
import json
import multiprocessing
import os
import runpy
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import traceback
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

BENCH = Path(sys.executable).with_name("bench")
PYTHON = sys.executable
REAPER = 36
"""PR_SET_CHILD_SUBREAPER."""

COMMAND = "import sys; from bench.cli import main; sys.exit(main())"
_asking = threading.Lock()


def code_of(words: Sequence[str]) -> tuple[str, list[str]] | None:
    """What a command line has Python do, and its ``sys.argv``; none where it is not ours to fork."""
    first, *rest = words
    if first == str(BENCH):
        return COMMAND, [first, *rest]
    if first == PYTHON:
        match rest[1:] if rest[:1] == ["-u"] else rest:
            case ["-c", code, *more]:
                return code, ["-c", *more]
            case ["-m", "bench", *more]:
                return COMMAND, [str(BENCH), *more]
        return None
    with contextlib.suppress(OSError), open(first, "rb") as script:
        if script.readline() == f"#!{PYTHON}\n".encode():
            return "", [first, *rest]
    return None


def become(
    code: str, words: Sequence[str], handles: Sequence[int], folder: str, variables: Mapping[str, str], detached: bool
) -> None:
    """Be a new Python in a process that was just forked, from its first line to its end; never returns."""
    ending = 1
    try:
        if detached:
            os.setsid()
        for number, handle in enumerate([os.dup(handle) for handle in handles]):
            os.dup2(handle, number)
        # what the parent tidies up at its end is not ours: its temporary folders, say
        weakref.finalize._registry.clear()  # type: ignore[attr-defined]
        gc.freeze()  # what the parent held must not be closed here later, under numbers that are others' by then
        for number in map(int, os.listdir("/proc/self/fd")):
            if number > 2:
                with contextlib.suppress(OSError):  # that of the listing is closed already
                    os.close(number)
        for number in (signal.SIGTERM, signal.SIGCHLD):
            signal.signal(number, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        os.chdir(folder)
        os.environ.clear()
        os.environ.update(variables)
        sys.stdin = os.fdopen(0, encoding="utf-8", closefd=False)
        sys.stdout = os.fdopen(1, "w", 1, encoding="utf-8", closefd=False)
        sys.stderr = os.fdopen(2, "w", 1, encoding="utf-8", closefd=False)
        sys.argv = list(words)
        ending = _ran(code)
    finally:
        with contextlib.suppress(BaseException):
            threading._shutdown()  # type: ignore[attr-defined]
            atexit._run_exitfuncs()
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(ending)


def _ran(code: str) -> int:
    """The exit code of Python's own for what a piece of code ends with."""
    try:
        if code:
            exec(code, {"__name__": "__main__"})
        else:
            runpy.run_path(sys.argv[0], run_name="__main__")
    except SystemExit as end:
        if end.code is None or isinstance(end.code, int):
            return end.code or 0
        print(end.code, file=sys.stderr)
        return 1
    except BaseException:
        traceback.print_exc()
        return 1
    return 0


class Forked(subprocess.Popen[Any]):
    """A process that is forked from this one, or from ``nest`` where there is one, in the place of a started one."""

    nest: Callable[[], socket.socket] | None = None

    def _execute_child(self, args: Any, executable: Any, preexec_fn: Any, *more: Any) -> None:
        _, _, cwd, env, _, _, shell, *pipes = more
        ends, new_session = pipes[:6], pipes[11]
        words = [os.fsdecode(word) for word in ([args] if isinstance(args, (str, os.PathLike)) else args)]
        ours = None if shell or executable else code_of(words)
        if ours is None:
            super()._execute_child(args, executable, preexec_fn, *more)  # type: ignore[misc]
            return
        inherited = [ends[0], ends[3], ends[5]]
        handles = [number if handle == -1 else handle for number, handle in enumerate(inherited)]
        variables = {
            os.fsdecode(name): os.fsdecode(value) for name, value in (os.environ if env is None else env).items()
        }
        folder = os.fsdecode(cwd or os.getcwd())
        what = (*ours, handles, folder, variables, bool(new_session))
        self.pid = forked(*what) if Forked.nest is None else asked(Forked.nest(), *what)
        self._child_created = True
        self._close_pipe_fds(*ends)  # type: ignore[attr-defined]


def forked(
    code: str, words: Sequence[str], handles: Sequence[int], folder: str, variables: Mapping[str, str], detached: bool
) -> int:
    """The id of a child of this process that is at work, and has a session of its own where that was asked for."""
    pid = os.fork()
    if pid == 0:
        become(code, words, handles, folder, variables, detached)
    if detached:
        with contextlib.suppress(OSError):
            while os.getsid(pid) != pid:
                os.sched_yield()
    return pid


def asked(
    nest: socket.socket, code: str, words: Sequence[str], handles: Sequence[int], *more: str | bool | Mapping[str, str]
) -> int:
    """The id of a child of this process that the nest has forked; the nest's own until its parent there has ended."""
    request = json.dumps([code, words, *more]).encode("utf-8", "surrogateescape")
    with _asking:
        _reap(True)
        try:
            socket.send_fds(nest, [len(request).to_bytes(8, "big")], list(handles))
            nest.sendall(request)
            return int.from_bytes(_received(nest, 8), "big")
        finally:
            _reap(False)


def _reap(orphans: bool) -> None:
    """Have this process be the parent of those below it whose own has ended, or not."""
    ctypes.CDLL(None).prctl(REAPER, int(orphans), 0, 0, 0)


def _received(end: socket.socket, size: int) -> bytes:
    content = b""
    while len(content) < size:
        part = end.recv(size - len(content))
        if not part:
            raise EOFError
        content += part
    return content


@functools.cache
def nest() -> socket.socket:
    """A process that has imported everything, trained a run and forks what it is asked for; one for this process."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.faults.warm"])
    with tempfile.TemporaryDirectory() as folder, socket.socket(socket.AF_UNIX) as door:
        door.bind(f"{folder}/door")
        door.listen()
        door.settimeout(600)
        context.Process(target=serve, args=(f"{folder}/door",), daemon=True).start()
        return door.accept()[0]


def serve(door: str) -> None:
    """Be the nest, until nobody asks any more."""
    from bench.cli import main

    with tempfile.TemporaryDirectory() as results, contextlib.redirect_stdout(io.StringIO()):
        main(["table", "demo", "--results", results])
    subprocess.Popen = Forked  # type: ignore[misc]
    with socket.socket(socket.AF_UNIX) as end, contextlib.suppress(EOFError):
        end.connect(door)
        while True:
            head, handles, _, _ = socket.recv_fds(end, 8, 3)
            if not head:
                return
            code, words, *more = json.loads(_received(end, int.from_bytes(head, "big")))
            told, tell = os.pipe()
            parent = os.fork()
            if parent == 0:  # at its end its child is handed on to who asked
                os.write(tell, forked(code, words, handles, *more).to_bytes(8, "big"))
                os._exit(0)
            os.waitpid(parent, 0)
            end.sendall(os.read(told, 8))
            for number in (*handles, told, tell):
                os.close(number)


@contextlib.contextmanager
def forking() -> Iterator[None]:
    """Inside, processes are forked that would be started; on Linux alone, where a process can be handed on."""
    if sys.platform != "linux":
        yield
        return
    usual, Forked.nest = subprocess.Popen, nest
    subprocess.Popen = Forked  # type: ignore[misc]
    try:
        yield
    finally:
        subprocess.Popen = usual  # type: ignore[misc]

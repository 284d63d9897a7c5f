"""A run that several processes share, one a GPU: started here on one machine, or by SLURM as the tasks of a job."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import bench
from bench.claim import claimed
from bench.launch import worker
from bench.launch.executor import Job
from bench.spec import RunSpec, from_json, to_json
from bench.store import Store
from bench.training import interrupt

_START = """\
import sys
sys.path[:] = [sys.argv.pop(1), *filter(None, sys.path)]
from bench.launch.ranks import main
main()
"""


def work_together(spec: RunSpec, job: Job) -> dict[str, Any]:
    """As ``worker.work``, by ``job.ranks`` processes: those that SLURM has started, or else new ones here."""
    return work_as_rank(spec, job) if "RANK" in os.environ else _start_ranks(spec, job)


def work_as_rank(spec: RunSpec, job: Job) -> dict[str, Any]:
    """This process's part of a run; the first process has the claim and writes the record.

    Raises:
        SystemExit: the run failed here. The others are in the middle of something that needs this process, so it ends,
            and they with it.
        Interrupted: a stop was asked for; the run's checkpoint is written and its claim given back.
        Unwritable: the disk is full or read-only.
    """
    from bench.training.distributed import agreed, first_rank, join

    join()
    store = Store(job.results)
    with worker.writing_to(store.root), contextlib.ExitStack() as stack:
        ours = first_rank() and stack.enter_context(claimed(store.root / "claims" / spec.id))
        if not agreed(ours and not store.holds(spec)):
            return worker.elsewhere()
        answer = worker.train(spec, job, store) if first_rank() else worker.train_along(spec, job, store)
    if answer["status"] == "failed":
        raise SystemExit(f"{spec.label}: {answer['message']}")
    return answer


def _start_ranks(spec: RunSpec, job: Job) -> dict[str, Any]:
    """Start the processes of a run and wait for them; one that fails takes the others with it.

    Raises:
        Interrupted: a stop was asked for, and heard by the processes.
    """
    with tempfile.TemporaryDirectory() as folder:
        answer, logs = Path(folder) / "answer.json", [Path(folder) / f"{rank}.log" for rank in range(job.ranks)]
        port = str(_free_port())
        processes = []
        try:
            for rank, log in enumerate(logs):
                with log.open("wb") as file:
                    processes.append(
                        subprocess.Popen(
                            [sys.executable, "-c", _START, str(Path(bench.__file__).parent.parent)],
                            stdin=subprocess.PIPE,
                            stdout=file,
                            stderr=file,
                            env={**os.environ, **_place(rank, job.ranks, port)},
                        )
                    )
                given = {"job": worker.job_to_json(job), "spec": to_json(spec), "answer": str(answer)}
                pipe = processes[-1].stdin
                assert pipe is not None
                pipe.write(json.dumps(given).encode() + b"\n")
                pipe.flush()  # and stays open: its end tells the process that this one is gone
            with interrupt.deferred():
                codes = _wait(processes)
        finally:
            for process in processes:
                process.kill()
                process.wait()
                if process.stdin:
                    process.stdin.close()
        if answer.is_file():
            return dict(json.loads(answer.read_text(encoding="utf-8")))
        if interrupt.requested():
            raise interrupt.Interrupted(interrupt.requested())
        number = next((rank for rank, code in enumerate(codes) if code), 0)
        told = logs[number].read_text(encoding="utf-8", errors="replace")
        return worker.died(spec, job, f"process {number} of {job.ranks} ended: {_last_line(told)}", told)


def _wait(processes: Sequence[subprocess.Popen[bytes]]) -> list[int | None]:
    """The exit codes once all have ended well or one has not; a stop that is asked for is passed on to them."""
    told = False
    while True:
        if interrupt.requested() and not told:
            told = True
            for process in processes:
                process.terminate()
        codes = [process.poll() for process in processes]
        if any(codes) or None not in codes:
            return codes
        time.sleep(0.05)


def main() -> None:
    """One of the processes of a run: its part is told on standard input, whose end means that nobody waits for it."""
    given = json.loads(sys.stdin.readline())
    threading.Thread(target=_end_with_parent, daemon=True).start()
    answer_path = Path(given["answer"])
    try:
        interrupt.on_signals([signal.SIGTERM])
        worker.prepare()
        answer = work_as_rank(from_json(given["spec"]), worker.job_from_json(given["job"]))
    except SystemExit as end:
        if os.environ["RANK"] == "0":
            failed = {"status": "failed", "message": str(end), "seconds": 0.0, "top1": float("nan")}
            answer_path.write_text(json.dumps(failed), encoding="utf-8")
        print(end, flush=True)
        os._exit(1)
    except interrupt.Interrupted:
        os._exit(0)
    except worker.Unwritable as error:
        if os.environ["RANK"] != "0":
            raise
        answer_path.write_text(json.dumps(worker.unwritable(error)), encoding="utf-8")
        os._exit(1)
    if os.environ["RANK"] == "0":
        answer_path.write_text(json.dumps(answer), encoding="utf-8")


def _end_with_parent() -> None:
    sys.stdin.read()
    os._exit(1)


def _place(rank: int, ranks: int, port: str) -> dict[str, str]:
    """What torch's distributed package reads from the environment."""
    return {
        "RANK": str(rank),
        "LOCAL_RANK": str(rank),
        "WORLD_SIZE": str(ranks),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": port,
    }


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def _last_line(text: str) -> str:
    return (text.strip().splitlines() or ["no message"])[-1]

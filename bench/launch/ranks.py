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
from dataclasses import replace
from pathlib import Path
from typing import Any

from bench.device import interrupt
from bench.launch import worker
from bench.launch.executor import Job
from bench.launch.failures import TAIL, Failure, PartFailed, blamed, death
from bench.launch.gpus import gpu_of_rank
from bench.process import environment, program
from bench.records.files import write_file
from bench.records.lease import claimed
from bench.records.store import Store
from bench.spec import RunSpec, from_json, to_json


def work_together(spec: RunSpec, job: Job) -> dict[str, Any]:
    """As ``worker.work``, by ``job.ranks`` processes: those that SLURM has started, or else new ones here."""
    return work_as_rank(spec, job) if "RANK" in os.environ else _start_ranks(spec, job)


def work_as_rank(spec: RunSpec, job: Job) -> dict[str, Any]:
    """This process's part of a run; the first process has the claim and writes the record.

    Raises:
        PartFailed: the run failed here.
        Interrupted: a stop was asked for; the run's checkpoint is written and its claim given back.
        Unwritable: the disk is full or read-only.
    """
    from bench.device.distributed import agreed, first_rank, join

    join()
    store = Store(job.results)
    with worker.writing_to(store.root), contextlib.ExitStack() as stack:
        ours = first_rank() and stack.enter_context(claimed(store.root / "claims" / spec.id))
        if not agreed(ours and not store.holds(spec)):
            return worker.elsewhere()
        answer = worker.train(spec, job, store) if first_rank() else worker.train_along(spec, job, store)
    if answer["status"] == "failed":
        told = answer.get("failure")
        raise PartFailed(spec.label, Failure.from_json(told) if told else Failure(answer["message"], answer["class"]))
    return answer


def _start_ranks(spec: RunSpec, job: Job) -> dict[str, Any]:
    """Start the processes of a run and wait for them; one that fails takes the others with it.

    Raises:
        Interrupted: a stop was asked for, and heard by the processes.
    """
    with tempfile.TemporaryDirectory() as folder:
        logs = [Path(folder) / f"{rank}.log" for rank in range(job.ranks)]
        port, before = str(_free_port()), Store(job.results).attempts()
        processes = []
        try:
            for rank, log in enumerate(logs):
                with log.open("wb") as file:
                    processes.append(
                        subprocess.Popen(
                            program("bench.launch.ranks"),
                            stdin=subprocess.PIPE,
                            stdout=file,
                            stderr=file,
                            env=environment(gpu_of_rank(rank), **_place(rank, job.ranks, port)),
                        )
                    )
                given = {"job": worker.job_to_json(job), "spec": to_json(spec), "answer": str(_answer_path(log))}
                pipe = processes[-1].stdin
                assert pipe is not None
                pipe.write(json.dumps(given).encode() + b"\n")
                pipe.flush()  # and stays open: its end tells the process that this one is gone
            with interrupt.deferred():
                codes = _wait(processes, logs)
        finally:
            for process in processes:
                process.kill()
                process.wait()
                if process.stdin:
                    with contextlib.suppress(BrokenPipeError):  # it ended before it read what it was told
                        process.stdin.close()
        if answer := _answer_of(logs[0]):
            return answer
        if interrupt.requested():
            raise interrupt.Interrupted(interrupt.requested())
        failure = blamed(_failures(codes, logs))
        if Store(job.results).attempts().get(spec.id, 0) > before.get(spec.id, 0):  # the first one has still written it
            return worker.failed(failure.message)
        return worker.died(spec, job, failure)


def _failures(codes: Sequence[int | None], logs: Sequence[Path]) -> list[Failure]:
    """What the processes of a run failed of, as those say that could, and as the others ended."""
    found = []
    for rank, (code, log) in enumerate(zip(codes, logs, strict=True)):
        printed, who = log.read_text(encoding="utf-8", errors="replace")[-TAIL:], f"process {rank} of {len(logs)}"
        if told := (_answer_of(log) or {}).get("failure"):
            failure = Failure.from_json(told)
            found.append(replace(failure, message=f"{who}: {failure.message}", log=printed))
        elif code:
            found.append(death(code, printed, who))
    return found or [Failure("its processes ended without an answer")]


def _wait(processes: Sequence[subprocess.Popen[bytes]], logs: Sequence[Path]) -> list[int | None]:
    """The exit codes once all have ended well or one has failed; a stop that is asked for is passed on to them."""
    told = False
    while True:
        if interrupt.requested() and not told:
            told = True
            for process in processes:
                process.terminate()
        said = any(_part_failed(rank, log) for rank, log in enumerate(logs))
        codes = [process.poll() for process in processes]  # asked last: another's end may be what it was said of
        if said or any(codes) or None not in codes:
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
    except PartFailed as end:
        if os.environ["RANK"] != "0":  # the record is written by the first process, or by who started this one
            write_file(answer_path, json.dumps(worker.answer_of(end.failure)))
            time.sleep(worker.PATIENCE)
        else:
            write_file(answer_path, json.dumps({**worker.failed(end.failure.message), "class": end.failure.kind}))
        os._exit(1)
    except interrupt.Interrupted:
        os._exit(0)
    except worker.Unwritable as error:
        if os.environ["RANK"] != "0":
            raise
        write_file(answer_path, json.dumps(worker.unwritable(error)))
        os._exit(1)
    if os.environ["RANK"] == "0":
        write_file(answer_path, json.dumps(answer))


def _answer_path(log: Path) -> Path:
    """Where a process of a run answers, beside its log: the first one always, the others if their part failed."""
    return log.with_suffix(".json")


def _answer_of(log: Path) -> dict[str, Any] | None:
    with contextlib.suppress(FileNotFoundError):
        return dict(json.loads(_answer_path(log).read_text(encoding="utf-8")))
    return None


def _part_failed(rank: int, log: Path) -> bool:
    """Whether a process beside the first has said that its part failed."""
    return rank > 0 and _answer_path(log).is_file()


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

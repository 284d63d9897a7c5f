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
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from bench.device import interrupt
from bench.launch import worker
from bench.launch.executor import Job
from bench.launch.failures import Failure, PartFailed, blamed, death, printed
from bench.launch.gpus import gpus_of
from bench.process import close_pipes, end_with_parent, send, start
from bench.records.files import write_file
from bench.records.lease import claimed
from bench.records.standing import EVERY, Standing, read_standings
from bench.records.store import Store
from bench.records.unwritable import Unwritable, writing_to
from bench.spec import RunSpec, from_json, to_json


def work_as_rank(spec: RunSpec, job: Job) -> dict[str, Any]:
    """This process's part of a run; the first process has the claim and writes the record.

    Raises:
        PartFailed: the run failed here.
        Interrupted: a stop was asked for; the run's checkpoint is written and its claim given back.
        Unwritable: the folder of results has a fault.
    """
    from bench.device.distributed import agreed, first_rank, join

    join()
    store = Store(job.results)
    with writing_to(store.root), contextlib.ExitStack() as stack:
        ours = first_rank() and stack.enter_context(claimed(store.root / "claims" / spec.id))
        if not agreed(ours and not store.holds(spec)):
            return worker.answer("elsewhere")
        train = worker.train if first_rank() else worker.train_along
        answer = train(spec, job, store)
    if answer["status"] == "failed":
        if "failure" in answer:
            raise PartFailed(spec.label, Failure.from_json(answer["failure"]))
        raise PartFailed(spec.label, Failure(answer["message"], answer["class"]))
    return answer


def start_ranks(spec: RunSpec, job: Job, tell: worker.Tell | None = None) -> dict[str, Any]:
    """Start the processes of a run and wait for them; one that fails takes the others with it.

    ``tell`` is told where the run stands, as the first process writes it.

    Raises ``Interrupted`` where a stop was asked for, and heard by the processes.
    """
    with tempfile.TemporaryDirectory() as folder:
        logs = [Path(folder) / f"{rank}.log" for rank in range(job.ranks)]
        port = str(_free_port())
        attempts = Store(job.results).attempts().get(spec.id, 0)
        processes = []
        try:
            for rank, log in enumerate(logs):
                place = _place(rank, job.ranks, port)
                processes.append(start("bench.launch.ranks", log=log, devices=gpus_of(rank), variables=place))
                task = {"job": worker.job_to_json(job), "spec": to_json(spec), "answer": str(_answer_path(log))}
                send(processes[-1], task)
            with interrupt.deferred():
                codes = _wait(processes, logs, _relay(spec, job, tell) if tell else lambda: None)
        finally:
            for process in processes:
                process.kill()
                process.wait()
                close_pipes(process)
        answer = _answer_of(logs[0])
        if interrupt.requested() and (answer is None or answer["status"] == "kept"):
            stop = interrupt.Interrupted(interrupt.requested(), is_kept=answer is not None)
            if answer is not None:
                stop.step, stop.of = answer["standing"]["step"], answer["standing"]["of"]
            raise stop
        if answer is not None and answer["status"] != "kept":
            return answer
        failure = blamed(_failures(codes, logs))
        if Store(job.results).attempts().get(spec.id, 0) > attempts:  # the first one has still written it
            return worker.answer("failed", failure.message)
        return worker.died(spec, job, failure)


def _failures(codes: Sequence[int | None], logs: Sequence[Path]) -> list[Failure]:
    """What the processes of a run failed of, as those say that could, and as the others ended."""
    failures = []
    for rank, (code, log) in enumerate(zip(codes, logs, strict=True)):
        who = f"process {rank} of {len(logs)}"
        if answer := (_answer_of(log) or {}).get("failure"):
            failure = Failure.from_json(answer)
            failures.append(replace(failure, message=f"{who}: {failure.message}", log=printed(log)))
        elif code:
            failures.append(death(code, printed(log), who))
    return failures or [Failure("its processes ended without an answer")]


def _relay(spec: RunSpec, job: Job, tell: worker.Tell) -> Callable[[], None]:
    """What passes on where a run stands, whenever its file says something new; looked at every ``EVERY`` seconds."""
    root, looked, last = Store(job.results).root, time.monotonic(), Standing()

    def relay() -> None:
        nonlocal looked, last
        if time.monotonic() - looked >= EVERY:
            looked = time.monotonic()
            standing = read_standings(root, [spec.id]).get(spec.id, last)
            if standing != last:
                last = standing
                tell(standing)

    return relay


def _wait(
    processes: Sequence[subprocess.Popen[bytes]], logs: Sequence[Path], relay: Callable[[], None] = lambda: None
) -> list[int | None]:
    """The exit codes once all have ended well or one has failed; a stop that is asked for is passed on to them."""
    stopping = False
    while True:
        if interrupt.requested() and not stopping:
            stopping = True
            for process in processes:
                process.terminate()
        part_failed = any(_answer_path(log).is_file() for log in logs[1:])
        codes = [process.poll() for process in processes]  # asked last: another's end may be what a part failed of
        if part_failed or any(codes) or None not in codes:
            return codes
        relay()
        time.sleep(0.05)


def main() -> None:
    """One of the processes of a run: its part is told on standard input, whose end means that nobody waits for it."""
    task = json.loads(sys.stdin.readline())
    end_with_parent()
    os.dup2(2, 1)  # whatever prints goes to the log
    answer_path, first = Path(task["answer"]), os.environ["RANK"] == "0"
    try:
        interrupt.on_signals([signal.SIGTERM])
        worker.prepare()
        answer = work_as_rank(from_json(task["spec"]), worker.job_from_json(task["job"]))
    except PartFailed as end:
        write_file(answer_path, json.dumps(worker.answer_of(end.failure)))
        if not first:  # the record is written by the first process, or by who started this one
            time.sleep(worker.PATIENCE)
        os._exit(1)
    except interrupt.Interrupted as stop:
        if first and stop.is_kept:
            kept = {**worker.answer("kept"), "standing": {"step": stop.step, "of": stop.of}}
            write_file(answer_path, json.dumps(kept))
        os._exit(0)
    except Unwritable as error:
        if not first:
            raise
        write_file(answer_path, json.dumps(worker.answer("unwritable", str(error))))
        os._exit(1)
    if first:
        write_file(answer_path, json.dumps(answer))


def _answer_path(log: Path) -> Path:
    """Where a process of a run answers, beside its log: the first one always, the others if their part failed."""
    return log.with_suffix(".json")


def _answer_of(log: Path) -> dict[str, Any] | None:
    with contextlib.suppress(FileNotFoundError):
        return dict(json.loads(_answer_path(log).read_text(encoding="utf-8")))
    return None


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
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return int(listening.getsockname()[1])

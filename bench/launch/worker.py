"""A worker process: reads runs from standard input, a JSON line each, and answers each with a JSON line."""

from __future__ import annotations

import contextlib
import io
import json
import os
import sys
import threading
import traceback
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import numpy as np

from bench.errors import InputError
from bench.launch.executor import Job
from bench.spec import RunSpec, from_json
from bench.store import Store


def work(spec: RunSpec, job: Job) -> dict[str, Any]:
    """Train one run and write its record, or the record of its failure.

    Returns:
        ``status``, ``message``, ``seconds`` and ``top1``, as ``Event`` has them.
    """
    store = Store(job.results)
    with (
        store.draft() as draft,
        (draft / "log.txt").open("w", encoding="utf-8") as log,
        contextlib.redirect_stdout(log),
        contextlib.redirect_stderr(log),
    ):
        try:
            return _trained(spec, job, store, draft, log)
        except Exception as error:
            traceback.print_exc()
            return _failed(spec, job, store, draft, log, error)


def _trained(spec: RunSpec, job: Job, store: Store, draft: Path, log: io.TextIOBase) -> dict[str, Any]:
    import torch

    from bench.environment import describe
    from bench.registry import Registry
    from bench.trial import run_trial

    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    outcome = run_trial(spec, Registry(job.plugins), device, store.root)
    np.savez_compressed(draft / "predictions.npz", **outcome.predictions)  # type: ignore[arg-type]
    log.flush()
    store.publish(draft, spec, {**outcome.record, "command": job.command, "environment": describe()})
    seconds, top1 = outcome.record["timing"]["seconds"], outcome.record["curve"][-1]["test"]["top1"]
    return {"status": "done", "message": "", "seconds": seconds, "top1": top1}


def _failed(spec: RunSpec, job: Job, store: Store, draft: Path, log: io.TextIOBase, error: Exception) -> dict[str, Any]:
    message = (str(error).strip().splitlines() or ["no message"])[0]
    if not isinstance(error, InputError):
        message = f"{type(error).__name__}: {message}"
    log.flush()
    (draft / "predictions.npz").unlink(missing_ok=True)
    told = {"kind": type(error).__name__, "message": message, "trace": traceback.format_exc()}
    store.publish_failure(draft, spec, {"status": "failed", "error": told, "command": job.command})
    return {"status": "failed", "message": message, "seconds": 0.0, "top1": float("nan")}


def main() -> None:
    """Serve runs until standard input ends; if it ends in the middle of a run, stop at once."""
    given = json.loads(sys.argv[1])
    job = Job(Path(given["results"]), tuple(Path(plugin) for plugin in given["plugins"]), given["command"])
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # whatever prints must not disturb the answers
    _prepare_torch()
    answers.write('{"ready": true}\n')
    answers.flush()
    for line in iter(_lines().get, ""):
        answer = work(from_json(json.loads(line)), job)
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


def _lines() -> SimpleQueue[str]:
    """Lines of standard input as they come; the process ends when its front process is gone."""
    lines: SimpleQueue[str] = SimpleQueue()

    def read() -> None:
        for line in sys.stdin:
            lines.put(line)
        os._exit(0)

    threading.Thread(target=read, daemon=True).start()
    return lines


def _prepare_torch() -> None:
    import torch

    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True, warn_only=torch.cuda.is_available())

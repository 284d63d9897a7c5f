"""A worker process: reads runs from standard input, a JSON line each, and answers each with a JSON line."""

from __future__ import annotations

import contextlib
import dataclasses
import gc
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, TextIO

import msgspec
from msgspec import UNSET

from bench.device import interrupt, neighbours
from bench.launch.executor import Job
from bench.launch.failures import TAIL, TAKEN_UP, Failure, PartFailed, failure_of, is_broken
from bench.launch.sharing import peak_of
from bench.records.environment import provenance
from bench.records.files import named, place_also
from bench.records.kept import read_keep
from bench.records.lease import claimed
from bench.records.record import Error, FailedRecord
from bench.records.secrets import MaskedLog, redacted
from bench.records.standing import EVERY, Standing, StandingFile
from bench.records.store import Store
from bench.records.unwritable import Unwritable, why_unwritable, writing_to
from bench.spec import RunSpec, from_json, to_json

if TYPE_CHECKING:
    from bench.training.trackers import Observer
    from bench.training.trial import TrainedRun

PATIENCE = 10.0
"""Seconds that a process stays whose part of a shared run failed: at its end others fail too, and not of the cause."""

Tell = Callable[[Standing], None]
"""Is told now and then where a run stands."""


def work(spec: RunSpec, job: Job, tell: Tell | None = None) -> dict[str, Any]:
    """Train one run and write its record, or the record of its failure, unless another process is at it.

    Gives what ``Event`` has: ``status``, ``message``, ``seconds`` and ``score``; of a failure its ``class`` too, and of
    a run that is done its ``peak`` of memory, if it used a GPU.

    Raises:
        Interrupted: a stop was asked for; the run's checkpoint is written and its claim given back.
        Unwritable: the folder of results has a fault. Nothing is recorded, the claim is given back.
    """
    if job.ranks > 1:
        from bench.launch import ranks

        # SLURM has started the processes of a run, or else they are new ones here
        return ranks.work_as_rank(spec, job) if "RANK" in os.environ else ranks.start_ranks(spec, job, tell)
    store = Store(job.results)
    with writing_to(store.root), claimed(store.root / "claims" / spec.id) as ours:
        return train(spec, job, store, tell) if ours and not store.holds(spec) else answer("elsewhere")


def train(spec: RunSpec, job: Job, store: Store, tell: Tell | None = None) -> dict[str, Any]:
    """Train a run whose claim this process has; as ``work``."""
    with (
        store.draft(spec) as draft,
        contextlib.closing(MaskedLog(draft / "log.txt")) as log,
        contextlib.redirect_stdout(log),
        contextlib.redirect_stderr(log),
        StandingFile(store.root, spec.id, tell) as standing_file,
    ):
        try:
            return _trained(spec, job, store, draft, log, standing_file.tell)
        except (Exception, SystemExit) as error:  # a method may call sys.exit; the worker has other runs to train
            if job.ranks > 1 and interrupt.requested():  # another process of the run has heard it first, and ended
                raise interrupt.Interrupted(interrupt.requested()) from error
            if why_unwritable(error, store.root):
                raise
            failure = failure_of(error)
            print(redacted(failure.trace))
            if _is_crowded(failure):
                return answer("crowded", redacted(failure.message))
            if job.ranks > 1 and is_broken(failure):
                time.sleep(PATIENCE)  # who started the processes of the run knows what the cause is, and ends this one
            log.settle()
            for path in (draft / "predictions.npz", *draft.glob("model-*.safetensors")):
                path.unlink(missing_ok=True)
            return _record(spec, job, store, draft, failure, type(error).__name__)


def train_along(spec: RunSpec, job: Job, store: Store) -> dict[str, Any]:
    """Take part in a run that another process has the claim of, and writes the record of."""
    try:
        _outcome(spec, job, store, None)
    except (Exception, SystemExit) as error:
        failure = failure_of(error)
        print(redacted(failure.trace), file=sys.stderr, flush=True)
        return answer_of(failure)
    return answer("done")


def answer(status: str, message: str = "", seconds: float = 0.0, score: str = "") -> dict[str, Any]:
    """What is said of a run. The status is ``unwritable`` where no failure could be recorded either, and ``kept``, the
    last word of a worker that was asked to stop, where its checkpoint has ``step`` steps ``of`` all. It is ``crowded``
    where a run has failed because of others on its GPU, as far as can be told: nothing is recorded.
    """
    return {"status": status, "message": message, "seconds": seconds, "score": score}


def answer_of(failure: Failure) -> dict[str, Any]:
    """The answer of a process whose part of a run failed: who has the run records it."""
    return {**answer("failed", redacted(failure.message)), "class": failure.kind, "failure": failure.to_json()}


def died(spec: RunSpec, job: Job, failure: Failure) -> dict[str, Any]:
    """Record a run whose process ended without an answer. Raises ``Unwritable`` where that is not possible."""
    store = Store(job.results)
    with writing_to(store.root), store.draft() as draft:
        (draft / "log.txt").write_text(redacted(failure.log)[-TAIL:], encoding="utf-8")
        return _record(spec, job, store, draft, failure, "died")


def _record(spec: RunSpec, job: Job, store: Store, draft: Path, failure: Failure, kind: str) -> dict[str, Any]:
    """Publish the record of a failure, and forget the checkpoint unless the run goes on from it when it is tried again.

    What decides is the class alone, however the run ended: an exception of class ``code`` and a process that died of a
    SIGSEGV would both come again, and what was read from the checkpoint may be what they come from. A process that was
    killed where memory or the machine failed (SIGKILL is ``oom``, SIGBUS ``node``) has a sound checkpoint: it is
    written elsewhere and then renamed. A crash that came by chance costs the steps made until then, and no more.
    """
    if failure.kind not in TAKEN_UP:
        store.forget_checkpoint(spec)
    trace = redacted(failure.trace) if failure.trace else UNSET
    error = Error(kind=kind, message=redacted(failure.message), failed_of=failure.kind, trace=trace)
    record = FailedRecord(id=spec.id, label=spec.label, spec=to_json(spec), error=error, **_provenance(spec, job))
    store.publish_failure(draft, spec, record)
    return {**answer("failed", error.message), "class": failure.kind}


def _trained(spec: RunSpec, job: Job, store: Store, draft: Path, log: MaskedLog, tell: Tell) -> dict[str, Any]:
    import numpy as np

    from bench.training.pacing import Pacing
    from bench.training.trackers import tracked

    with tracked(job.track, spec, store.root) as observer:
        outcome = _outcome(spec, job, store, Pacing(observer, tell, job.progress or EVERY))
    with named(draft):
        np.savez_compressed(draft / "predictions.npz", **outcome.predictions)  # type: ignore[arg-type]
        for model in outcome.models:  # they stay with the checkpoint until the record is there
            place_also(model, draft / model.name)
        log.settle()
    record = msgspec.structs.replace(outcome.record, **_provenance(spec, job))
    store.publish(draft, spec, record)
    store.forget_checkpoint(spec)
    ending = answer("done", seconds=record.timing.seconds, score=record.scored(record.curve[-1].test, 1))
    return {**ending, "peak": peak_of(record)}


def _outcome(spec: RunSpec, job: Job, store: Store, observer: Observer | None) -> TrainedRun:
    import torch

    from bench.registry import Registry
    from bench.training.trial import run_trial

    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return run_trial(
        spec,
        Registry(job.plugins),
        device,
        store.root,
        checkpoint_every=job.checkpoint_every,
        observer=observer,
        models=read_keep(job.keep, "keep"),
    )


def _provenance(spec: RunSpec, job: Job) -> dict[str, Any]:
    return provenance(spec.id, job.command, job.results, job.plugins, job.launcher, neighbours.most())


def _is_crowded(failure: Failure) -> bool:
    """Whether a failure may be the doing of others on the GPU: too little memory, or a fault that all are given.

    Under NVIDIA's multi-process service a fault of a kernel ends whatever is on the GPU, and names nobody.
    """
    return neighbours.most() > 1 and (failure.kind == "oom" or not _gpu_computes())


def main() -> None:
    """Serve runs until standard input ends, or a stop is asked for; if it ends in the middle of a run, stop at once."""
    job = job_from_json(json.loads(sys.argv[1]))
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # whatever prints must not disturb the answers
    try:
        interrupt.on_signals([signal.SIGTERM])
        if job.ranks == 1 or "RANK" in os.environ:  # else it only starts the processes that train
            prepare()
        _serve(job, answers)
    except interrupt.Interrupted as stop:
        with contextlib.suppress(OSError):  # nobody may be there any more
            if stop.is_kept:
                answers.write(json.dumps({**answer("kept"), "standing": {"step": stop.step, "of": stop.of}}) + "\n")
                answers.flush()
        os._exit(0)  # a thread still reads standard input, which an orderly end would wait for


def _serve(job: Job, answers: TextIO) -> None:
    """Answer each run that standard input names."""

    def say(message: dict[str, Any]) -> None:
        answers.write(json.dumps(message) + "\n")
        answers.flush()

    def tell(standing: Standing) -> None:
        say({**answer("training"), "standing": msgspec.to_builtins(standing)})

    say({"ready": True, **({"free": _free_memory()} if job.shares_gpu else {})})
    for line in iter(_lines().get, ""):
        try:
            ending = work(from_json(json.loads(line)), job, tell if job.progress else None)
        except Unwritable as error:
            ending = answer("unwritable", str(error))
        except PartFailed as end:
            if os.environ["RANK"] == "0":
                raise  # its record is written
            say(answer_of(end.failure))  # and stays until it is replaced, so that no other fails of its end
            continue
        if ending["status"] in ("failed", "crowded") and not _gpu_computes():
            ending["ends"] = True
        else:
            _give_back_memory()
        say(ending)


def _free_memory() -> int | None:
    """The bytes that are free on this process's GPU; None where it has none, or CUDA does not say it."""
    import torch

    with contextlib.suppress(RuntimeError):
        if torch.cuda.is_available():
            return int(torch.cuda.mem_get_info()[0])
    if "CUDA_MPS_PIPE_DIRECTORY" in os.environ:  # else its runs would be trained on the CPU
        sys.exit("MPS gives this process no GPU")
    return None


def _give_back_memory() -> None:
    """Have torch keep no memory of a GPU for the next run: its peak is to be its own, and others may need it now."""
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        gc.collect()
        torch.cuda.empty_cache()


def _gpu_computes() -> bool:
    """Whether the GPU still computes for this process: after a fault in a kernel it does not, whatever is asked."""
    torch = sys.modules.get("torch")
    try:
        if torch is not None and torch.cuda.is_initialized():
            torch.cuda.synchronize()
    except RuntimeError:
        return False
    return True


def job_to_json(job: Job) -> dict[str, Any]:
    """The job as plain data."""
    return {**dataclasses.asdict(job), "results": str(job.results), "plugins": [str(path) for path in job.plugins]}


def job_from_json(content: dict[str, Any]) -> Job:
    """The job that ``job_to_json`` wrote."""
    plugins, track = tuple(Path(plugin) for plugin in content["plugins"]), tuple(content["track"])
    return Job(**{**content, "results": Path(content["results"]), "plugins": plugins, "track": track})


def _lines() -> SimpleQueue[str]:
    """Lines of standard input as they come; the process ends when its front process is gone."""
    lines: SimpleQueue[str] = SimpleQueue()

    def read() -> None:
        for line in sys.stdin:
            if not neighbours.note(line):
                lines.put(line)
        os._exit(0)

    threading.Thread(target=read, daemon=True).start()
    return lines


def prepare() -> None:
    """Have torch compute alike every time, on one core."""
    from bench.device.alike import compute_alike

    compute_alike()

"""Workers whose runs take no time: everything about a run is real but its training, so nothing imports torch."""

from __future__ import annotations

import os
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.launch import worker
from bench.launch.executor import Job
from bench.records.record import Record, record_of
from bench.records.store import Store
from bench.spec import RunSpec
from tests.faults.nursery import planned

ROOT = Path(__file__).parent.parent.parent


@dataclass(frozen=True)
class Cheap:
    """What a run leaves behind, as ``bench.training.trial.TrainedRun``."""

    record: Record
    predictions: dict[str, Any]
    models: tuple[Path, ...] = ()


def outcome(spec: RunSpec) -> Cheap:
    """The same for the same run, every time."""
    point = {"step": 2, "val": None, "test": {"top1": int(spec.id, 16) % 10_000 / 100}}
    return Cheap(record_of(spec, {"curve": [point], "timing": {"seconds": 1.0}}, Record), {})


def serve(trace: str, seconds: float, failing: str) -> None:
    """Be a worker.

    Args:
        trace: a file that each execution adds a line to.
        seconds: that an execution takes.
        failing: ids of runs that fail, separated by commas.
    """

    def execute(spec: RunSpec, job: Job, store: Store, observer: object) -> Cheap:
        handle = os.open(trace, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        os.write(handle, f"{spec.id} {os.getpid()}\n".encode())
        os.close(handle)
        time.sleep(seconds)
        if spec.id in failing.split(","):
            raise RuntimeError("it fails every time")
        return outcome(spec)

    worker._outcome = execute  # type: ignore[assignment]
    worker._provenance = lambda spec, job: {}
    worker.prepare = lambda: None
    sys.argv = [sys.argv[0], sys.argv[-1]]
    worker.main()


def interpreter(folder: Path, trace: Path, seconds: float = 0.0, failing: str = "") -> str:
    """A script that takes the place of the interpreter that workers are started with."""
    folder.mkdir(parents=True, exist_ok=True)
    script = folder / "python"
    script.write_text(
        f"#!{sys.executable}\nimport sys\nsys.path.insert(0, {str(ROOT)!r})\n"
        f"from tests.faults.cheap import serve\nserve({str(trace)!r}, {seconds}, {failing!r})\n",
        encoding="utf-8",
    )
    script.chmod(0o755)
    return str(script)


def front(script: str, *arguments: str) -> list[str]:
    """The command line whose workers are started with a script."""
    code = "import sys; sys.executable = sys.argv.pop(1); from bench.cli import main; sys.exit(main(sys.argv[1:]))"
    return [sys.executable, "-c", code, script, *arguments]


def grid(seeds: int) -> list[RunSpec]:
    """The runs of ``command``."""
    return list(planned("ce", 2, 1, str(seeds)).unique.values())


def command(results: Path, seeds: int) -> list[str]:
    """What is typed for the grid of as many seeds."""
    settings = ["steps=2", "warmup=1", "evaluations=1", "batch_size=8"]
    which = ["--methods", "ce", "--rates", "15", "--seeds", str(seeds), "--jobs", "1", "--results", str(results)]
    return ["run", "digits", *which, *(word for setting in settings for word in ("--set", setting))]

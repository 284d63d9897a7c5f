"""Where people look at curves: TensorBoard and Weights & Biases, told of each point of a run while it is trained.

    RESULTS/
      tensorboard/<label>-<id>/    event files
      wandb/                       offline-run-<time>-<id>/ or run-<time>-<id>/, and <label>-<id>.jsonl: what was told

A tracker is never the truth, the record is; so one that fails is dropped with a line in the run's log, and the run
goes on. A point at a step that was told before takes the place of all that was told from that step on: a resumed run,
one that starts anew, or a last point that is measured again doubles nothing.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import math
import netrc
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from bench.errors import InputError, choose
from bench.records.files import write_file
from bench.records.record import Point
from bench.records.store import folder_name
from bench.spec import RunSpec, to_json


def scalars(point: Point) -> dict[str, float]:
    """A point of a curve as named numbers."""
    named: dict[str, float | None] = {f"loss/{name}": mean for name, mean in point.loss.items()}
    for split, scores in (("val", point.val), ("test", point.test)):
        named |= {f"{metric}/{split}": value for metric, value in (scores or {}).items()}
    named |= {"learning_rate": point.learning_rate, "seconds": point.seconds}
    return {name: value for name, value in named.items() if value is not None}


def no_loss() -> float:
    """What stands for a loss where nobody has measured one."""
    return math.nan


class Observer:
    """Is told of a run in training; this one does nothing with it."""

    def point(self, point: Point) -> None:
        """A point of the curve was measured."""

    def step(self, step: int, of: int, images: int = 0, loss: Callable[[], float] = no_loss) -> None:
        """A step was made, of so many over all stages, with a batch of so many images.

        ``loss`` gives the mean of the loss since it was asked for before; asking waits for the device.
        """

    def phase(self, name: str, done: int = 0, of: int = 0) -> None:
        """Something that is no step goes on, such as an evaluation, of which so much is done."""

    def end(self, status: str = "done") -> None:
        """The run, or this part of it, has ended; told again, nothing happens."""


def tracker_names(written: str) -> tuple[str, ...]:
    """The trackers that ``--track`` lists, each once.

    Raises:
        InputError: there is none of a name, or its package is not installed.
    """
    names = tuple(dict.fromkeys(name for part in written.split(",") if (name := part.strip())))
    if written and not names:
        raise InputError(f"--track '{written}' lists nothing (there are: {', '.join(sorted(_TRACKERS))})")
    for name in names:
        if name not in _TRACKERS:
            raise InputError(f"--track: {choose(name, _TRACKERS, 'tracker')}")
        package = importlib.util.find_spec(name)
        if package is None or package.origin is None:  # a folder of that name is no package
            raise InputError(f"--track {name}: its package is not installed; install it with: pip install {name}")
    return names


@contextlib.contextmanager
def tracked(names: Sequence[str], spec: RunSpec, results: Path) -> Iterator[Observer]:
    """An observer that tells the trackers of these names; they are closed at the end, whatever ends it."""
    observer = _All({name: _TRACKERS[name](spec, results) for name in names}) if names else Observer()
    try:
        yield observer
    except BaseException:
        observer.end("failed")
        raise
    observer.end()


class _All(Observer):
    """Tells several; what raises is dropped."""

    def __init__(self, trackers: dict[str, Observer]) -> None:
        self.trackers = trackers

    def point(self, point: Point) -> None:
        self._each(lambda tracker: tracker.point(point))

    def end(self, status: str = "done") -> None:
        self._each(lambda tracker: tracker.end(status))
        self.trackers = {}

    def _each(self, tell: Callable[[Observer], None]) -> None:
        for name, tracker in list(self.trackers.items()):
            try:
                tell(tracker)
            except Exception as error:  # a tracker may raise anything; the run is worth more
                del self.trackers[name]
                reason = " ".join(str(error).split())
                print(f"tracker {name}: it failed and is told no more: {type(error).__name__}: {reason}", flush=True)


class _TensorBoard(Observer):
    """Event files in a folder of the run's own, on disk after each point."""

    def __init__(self, spec: RunSpec, results: Path) -> None:
        self.spec, self.folder = spec, results / "tensorboard" / folder_name(spec)
        self.writer: Any = None
        self.last = -1

    def point(self, point: Point) -> None:
        if self.writer is None or point.step <= self.last:
            self._open(point.step)
        for name, value in scalars(point).items():
            self.writer.add_scalar(name, value, point.step)
        self.writer.flush()
        self.last = point.step

    def end(self, status: str = "done") -> None:
        if self.writer is not None:
            self.writer.close()
            self.writer = None

    def _open(self, step: int) -> None:
        """A new file in the folder; readers drop what the files before it say from this step on."""
        from torch.utils.tensorboard import SummaryWriter

        self.end()
        first = not any(self.folder.glob("events.*"))
        self.writer = SummaryWriter(str(self.folder), purge_step=None if first else step)
        if first:
            text = json.dumps(to_json(self.spec), indent=1, ensure_ascii=False)
            self.writer.add_text("spec", "\n".join(f"    {line}" for line in text.splitlines()))


class _WandB(Observer):
    """A run of the same id. Offline unless the user is logged in or says otherwise (``WANDB_MODE``).

    What is told offline is on disk when wandb has closed its file. So all of it is kept beside it too, and a later part
    tells it again in a run folder that takes the place of the earlier ones; one that was synced already stays, and only
    what is new is told. Online, the service knows what it was told.
    """

    def __init__(self, spec: RunSpec, results: Path) -> None:
        self.spec, self.results = spec, results
        self.journal = results / "wandb" / f"{folder_name(spec)}.jsonl"
        self.run: Any = None
        self.last = -1

    def point(self, point: Point) -> None:
        row = {"step": point.step, **scalars(point)}
        if self.run is None or (point.step <= self.last and self.run.offline):
            self._open(point.step)
        with self.journal.open("a", encoding="utf-8") as journal:
            journal.write(json.dumps(row) + "\n")
        self._tell(row)

    def end(self, status: str = "done") -> None:
        if self.run is not None:
            self.run.finish(exit_code=0 if status == "done" else 1)
            self.run = None

    def _tell(self, row: Mapping[str, float]) -> None:
        step, values = int(row["step"]), {name: value for name, value in row.items() if name != "step"}
        if step > self.last:
            self.run.log(values, step=step, commit=True)
            self.last = step
        else:  # online, history cannot be taken back, but what stands in the run's summary can
            self.run.summary.update(values)

    def _open(self, step: int) -> None:
        """Begin at a step: what was told before it stays or is told again, what was told from it on is dropped."""
        import wandb

        self.end()
        earlier = [row for row in _rows(self.journal) if row["step"] < step]
        write_file(self.journal, "".join(json.dumps(row) + "\n" for row in earlier))
        folders = list(self.journal.parent.glob(f"offline-run-*-{self.spec.id}"))
        synced = [folder for folder in folders if any(folder.glob("*.synced"))]
        self.run = wandb.init(
            project=os.environ.get("WANDB_PROJECT", "finetune-bench"),
            dir=str(self.results),
            id=self.spec.id,
            name=self.spec.label,
            config=to_json(self.spec),
            resume="allow",
            settings=wandb.Settings(**_wandb_settings(_wandb_mode(), set(wandb.Settings.model_fields))),
        )
        self.last = int(self.run.starting_step) - 1
        if self.run.offline and synced:
            self.last = max((int(row["step"]) for row in earlier), default=-1)
        for row in earlier if self.run.offline and not synced else ():
            self._tell(row)
        for folder in folders if self.run.offline else ():
            if folder not in synced and folder != Path(self.run.settings.sync_dir):
                shutil.rmtree(folder, ignore_errors=True)


_TRACKERS: dict[str, Callable[[RunSpec, Path], Observer]] = {"tensorboard": _TensorBoard, "wandb": _WandB}


def _wandb_mode() -> str | None:
    """None where wandb itself shall decide: the user has said so, or is logged in."""
    return None if "WANDB_MODE" in os.environ or _logged_in() else "offline"


def _wandb_settings(mode: str | None, supported: set[str]) -> dict[str, Any]:
    """Numbers only: no console, which is the worker's; no code, no command line, no list of what is installed.

    Only those that the installed version has: some that begin with ``x_`` come and go.
    """
    wanted = {
        "mode": mode,
        "console": "off",
        "silent": True,
        "symlink": False,  # workers would race for it
        "init_timeout": 30.0,
        "finish_timeout": 60.0,
        "disable_git": True,
        "disable_code": True,
        "x_disable_meta": True,
        "x_disable_machine_info": True,
        "x_disable_stats": True,
        "x_save_requirements": False,
    }
    return {name: value for name, value in wanted.items() if name in supported and value is not None}


def _logged_in() -> bool:
    """Whether wandb would find a key of the user's."""
    if os.environ.get("WANDB_API_KEY"):
        return True
    host = urlsplit(os.environ.get("WANDB_BASE_URL") or "https://api.wandb.ai").hostname or ""
    for path in [os.environ.get("NETRC"), "~/.netrc", "~/_netrc"]:
        with contextlib.suppress(OSError, netrc.NetrcParseError, UnicodeDecodeError):
            if path and host in netrc.netrc(os.path.expanduser(path)).hosts:
                return True
    return False


def _rows(path: Path) -> list[dict[str, Any]]:
    """The whole lines of a journal; a last one that was cut is left out."""
    rows: list[dict[str, Any]] = []
    with contextlib.suppress(OSError, ValueError):
        for line in path.read_text(encoding="utf-8").splitlines():
            rows.append(json.loads(line))
    return rows

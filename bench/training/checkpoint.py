"""Checkpoints: a run in training goes on where it was, and on the CPU ends with the same bits.

A method is a generator of stages, so a run is taken up by going through its stages again: each one that had ended is
brought to its end from what was kept of it, without a step of training, and the one in progress to its last step kept.
What a method does between its stages is done again and finds what it found before. Order and augmentation of the
images are functions of seed and step and need no keeping.
"""

from __future__ import annotations

import contextlib
import os
import time
import uuid
import zipfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from bench.device import interrupt
from bench.device.distributed import agreed, first_rank, random_state, set_random_state, together
from bench.device.vote import Vote
from bench.method import Stage
from bench.training.fit import Terms

Kept = dict[str, Any]
"""Tensors, numbers, text, lists and dictionaries of them: what ``torch.load`` reads without running code."""

FORM = 2
"""The form of a checkpoint; one of another form is not used."""


class Checkpoint:
    """What is kept of a run in training.

    Args:
        folder: where it is kept; made when something is first written.
        key: what the state belongs to, such as the run's id; one of another key is not used.
        every: seconds between two writings.
        due: whether to write now, given the seconds since the last writing; instead of ``every``.
    """

    def __init__(self, folder: Path, key: str, every: float, due: Callable[[float], bool] | None = None) -> None:
        self.folder, self.key = folder, key
        self.due = due or (lambda seconds: seconds >= every)
        self.number = 0
        self.kept_by_run: Callable[[], Kept] = dict
        self.after_writing: Callable[[], None] = lambda: None
        self.ends: dict[int, Kept] = {}
        self.current = self._read()
        self.written, self.vote = time.monotonic(), Vote()

    @property
    def of_run(self) -> Kept:
        """What the run itself had kept when the state was written; empty where there is none."""
        return dict(self.current["run"]) if self.current else {}

    def enter(self, number: int, stage: Stage) -> bool:
        """Come to a stage; whether it had ended, and so was brought to its end now."""
        self.number = number
        if self.current is None or number >= self.current["stage"]:
            return False
        if number in self.ends:  # a stage that runs share has none: it is trained or taken again
            _bring(stage, self.ends[number])
        return number in self.ends

    def begin(self, stage: Stage, optimizer: torch.optim.Optimizer, terms: Terms) -> int:
        """Bring a stage, its optimiser and its running terms to where they were; the steps that are made already."""
        if self.current is None or self.current["stage"] != self.number:
            return 0
        _bring(stage, self.current["state"])
        _bring_optimizer(optimizer, self.current["optimizer"])
        device = next(stage.model.parameters()).device
        terms.sums = {name: total.to(device) for name, total in self.current["terms"].items()}
        terms.count = self.current["count"]
        step = int(self.current["step"])
        self.current = {**self.current, "stage": self.number, "state": {}, "optimizer": []}
        return step

    def step(self, stage: Stage, number: int, optimizer: torch.optim.Optimizer, terms: Terms) -> None:
        """Note that a step was made: write the state if it is time, or if a stop was asked for.

        Where it cannot be written the run goes on, with the state before: space may be free again when it has ended.

        Raises:
            Interrupted: a stop was asked for; the state is written.
        """
        stop = self.vote(bool(interrupt.requested()))
        if not stop and not self.due(time.monotonic() - self.written):
            return
        is_kept = True
        if first_rank():
            try:
                self._write(stage, number, optimizer, terms)
            except OSError as error:
                is_kept = False
                with contextlib.suppress(OSError):  # what is printed goes to the same disk
                    print(f"the checkpoint cannot be written ({error.strerror}); the run goes on", flush=True)
        self.written = time.monotonic()
        if stop:
            together()
            reason = interrupt.requested() or "another process of the run was asked to stop"
            raise interrupt.Interrupted(reason, is_kept)

    def end(self, stage: Stage) -> None:
        """Note that a stage has ended, before the method goes on: its end is kept for going through it again."""
        self.ends[self.number] = _on_cpu(_state(stage))

    def remove(self) -> None:
        """Forget everything: the run has ended."""
        for path in self.folder.glob("*.pt*"):
            path.unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            self.folder.rmdir()

    def _write(self, stage: Stage, number: int, optimizer: torch.optim.Optimizer, terms: Terms) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        for ended, state in self.ends.items():
            if not self._end(ended).is_file():
                _save(self._end(ended), self._headed({"state": state}))
        current = {
            "stage": self.number,
            "step": number,
            "ends": sorted(self.ends),
            "state": _state(stage),
            "optimizer": _optimizer_state(optimizer),
            "terms": terms.sums,
            "count": terms.count,
            "run": self.kept_by_run(),
        }
        _save(self.folder / "current.pt", self._headed(current))
        self.after_writing()

    def _read(self) -> Kept | None:
        """The state as it was written; nothing, and in words, where it cannot be used."""
        current = self._load(self.folder / "current.pt")
        for ended in current["ends"] if current else ():
            if (end := self._load(self._end(ended))) is None:
                current = None
                break
            self.ends[ended] = end["state"]
        if not agreed(current is None):
            return current
        self.ends = {}  # processes that share a run begin together, if one of them has to
        if first_rank():
            for path in self.folder.glob("end-*.pt"):  # of an attempt that ended before its first whole state
                path.unlink(missing_ok=True)
        return None

    def _load(self, path: Path) -> Kept | None:
        if not path.is_file():
            return None
        try:
            with zipfile.ZipFile(path) as parts:  # torch does not look at the checksums that it writes
                if damaged := parts.testzip():
                    raise zipfile.BadZipFile(damaged)
            content = torch.load(path, map_location="cpu", weights_only=True)
            if content["form"] == FORM and content["key"] == self.key:
                return dict(content)
            reason = "it is of another form or another run"
        except Exception as error:  # torch.load has no list of what a damaged or hostile file makes it raise
            reason = f"{type(error).__name__}"
        print(f"the checkpoint {path.name} cannot be used ({reason}); the run begins anew", flush=True)
        with contextlib.suppress(OSError):
            path.rename(path.with_name(f"{path.name}.damaged.{uuid.uuid4().hex[:6]}"))
        return None

    def _headed(self, kept: Kept) -> Kept:
        return {"form": FORM, "key": self.key, **kept}

    def _end(self, number: int) -> Path:
        return self.folder / f"end-{number}.pt"


def _parts(stage: Stage) -> Iterator[nn.Module | nn.Parameter]:
    """What a stage changes: the model, and what it trains or keeps beside it."""
    inside: set[object] = {*stage.model.modules(), *stage.model.parameters()}
    yield stage.model
    yield from (item for item in (*stage.items, *stage.state) if item not in inside)


def _state(stage: Stage) -> Kept:
    parts = [part.state_dict() if isinstance(part, nn.Module) else part.detach() for part in _parts(stage)]
    # that of the GPU of this process, which may have another number when the run goes on, and in each process
    random, cuda, passes = random_state()
    return {"parts": parts, "random": random, "cuda": [] if cuda is None else [cuda], "passes": passes}


def _bring(stage: Stage, kept: Kept) -> None:
    for part, values in zip(_parts(stage), kept["parts"], strict=True):
        if isinstance(part, nn.Module):
            part.load_state_dict(values)
        else:
            part.data.copy_(values)
    cuda = kept["cuda"][0] if kept["cuda"] and torch.cuda.is_available() else None
    set_random_state((kept["random"], cuda, kept.get("passes", 0)))


def _optimizer_state(optimizer: torch.optim.Optimizer) -> list[Kept]:
    """The moments of each parameter, in the optimiser's order."""
    return [dict(optimizer.state.get(parameter, {})) for parameter in _parameters(optimizer)]


def _bring_optimizer(optimizer: torch.optim.Optimizer, kept: list[Kept]) -> None:
    for parameter, moments in zip(_parameters(optimizer), kept, strict=True):
        if moments:
            optimizer.state[parameter] = {
                name: value.to(parameter.device) if isinstance(value, Tensor) else value
                for name, value in moments.items()
            }


def _parameters(optimizer: torch.optim.Optimizer) -> list[nn.Parameter]:
    return [parameter for group in optimizer.param_groups for parameter in group["params"]]


def _on_cpu(value: Any) -> Any:
    """A copy of nested state that training no longer changes."""
    if isinstance(value, Tensor):
        return value.detach().cpu().clone()
    if isinstance(value, Mapping):
        return {name: _on_cpu(item) for name, item in value.items()}
    return [_on_cpu(item) for item in value] if isinstance(value, list) else value


def _save(path: Path, kept: Kept) -> None:
    """Write a file whole or not at all. Raises ``OSError`` where it cannot be."""
    draft = path.with_name(f"{path.name}.draft.{uuid.uuid4().hex[:8]}")
    try:
        with draft.open("wb") as file:
            torch.save(kept, file)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    except RuntimeError as error:  # torch's word for a file that could not be written
        if isinstance(error.__context__, OSError):
            raise error.__context__ from None
        raise
    finally:
        with contextlib.suppress(OSError):
            draft.unlink()

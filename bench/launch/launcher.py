"""The interface of a launcher, which is what commands ask: it says where runs are trained, here or on a cluster.

A launcher is a file with one class in it that derives from ``Launcher``: ``bench/launchers/NAME.py``, or
``launchers/NAME.py`` in a plug-in folder. It is called by the file's name: ``bench run TARGET --launcher NAME``.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from bench.cards.code import file_digest
from bench.errors import InputError, choose
from bench.launch.executor import Executor
from bench.reading.loading import load_checked
from bench.records.store import Store
from bench.registry import Registry
from bench.spec import RunSpec

Typed = Mapping[str, Any]
"""What was typed of a launcher's options: values by key, only of those that were typed."""


def one_line(value: object) -> str:
    """Reads a text. Raises ``ValueError`` that says what is expected, as those below."""
    if not isinstance(value, str) or not value or re.search(r"[\x00-\x1f]", value):
        raise ValueError("a text of one line")
    return value


def count(low: int) -> Callable[[object], int]:
    """Reads a whole number that is not below another one."""

    def read(value: object) -> int:
        if isinstance(value, str) and re.fullmatch(r"\d{1,9}", value):
            value = int(value)
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value < 10**9:
            raise ValueError(f"a whole number of {low} or more")
        return value

    return read


def above_zero(value: object) -> float:
    """Reads a number above 0."""
    with contextlib.suppress(ValueError):
        if isinstance(value, int | float | str) and not isinstance(value, bool) and 0 < float(value) < 1e9:
            return float(value)
    raise ValueError("a number above 0")


@dataclass(frozen=True)
class Option:
    """An option of a launcher: the command line, its help and its errors are made from it.

    Attributes:
        key: the name of its value; ``cpus_per_run`` is typed as ``--cpus-per-run``.
        metavar: what stands for the value in the help; empty for a switch, whose value is True.
        read: makes the value from the text; ``one_line``, ``count(1)``, ``above_zero``, or a function like them.
        repeats: it may be typed several times, and ``read`` is given the list of texts.
    """

    key: str
    about: str
    metavar: str = ""
    read: Callable[[Any], Any] = str
    repeats: bool = False

    @property
    def flag(self) -> str:
        """As it is typed."""
        return f"--{self.key.replace('_', '-')}"

    def value(self, text: Any) -> Any:
        """The value of what was typed. Raises ``InputError``."""
        try:
            return self.read(text) if self.metavar else True
        except ValueError as error:
            raise InputError(f"{self.flag}: {text!r} is not {error}") from None
        except InputError as error:
            raise InputError(f"{self.flag}: {error}") from None


RESUBMIT = Option("resubmit", "submit what may be in a queue that cannot be asked")
"""For launchers whose queue may be out of reach."""


@dataclass(frozen=True)
class Launch:
    """What is to be launched: runs without a record that no job has, at least one, and the plan that they are of."""

    runs: Sequence[RunSpec]
    typed: Typed
    plan: Mapping[str, RunSpec]
    store: Store


@dataclass(frozen=True)
class Queued:
    """Job id and state of each run that waits or runs, by run id, and why a queue could not be asked, if it was so."""

    jobs: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    problem: str = ""


@dataclass(frozen=True)
class Cancelled:
    """The jobs that were cancelled, and those that were left, since they have other runs too."""

    jobs: Sequence[str] = ()
    shared: Sequence[str] = ()


class Launcher:
    """Says where runs are trained. Whatever it cannot do is an ``InputError``.

    Attributes:
        options: what there is to say to it on the command line.
        submits: whether its executor returns while runs wait; else it returns when all of them have ended.
        instead: for options of other launchers, by key: what there is here in their place.
    """

    options: ClassVar[tuple[Option, ...]] = ()
    submits: ClassVar[bool] = False
    instead: ClassVar[Mapping[str, str]] = {}

    def check(self, typed: Typed) -> int:
        """Refuse what makes no sense, before anything is planned. Returns the processes that share each run."""
        return 1

    def executor(self, launch: Launch) -> Executor:
        """What trains or submits the runs; whatever is against it is said here, before anything is written."""
        raise NotImplementedError

    def queue(self, root: Path, runs: Collection[str]) -> Queued:
        """Which of some runs of a results folder wait or run, by what it has submitted from there."""
        return Queued()

    def cancel(self, root: Path, runs: Collection[str]) -> Cancelled | None:
        """Cancel this user's jobs all of whose runs are among some; None where it has submitted nothing from there."""
        return None

    def logs(self, root: Path, run: str) -> Mapping[str, Path]:
        """The log of the last job of each run whose id begins so, by run id; the file need not be there yet."""
        return {}


def find_launcher(name: str, registry: Registry) -> Launcher:
    """A launcher by its name; this runs its file. Raises ``InputError`` where there is none, or it declares none."""
    if name not in registry.launcher_files:
        raise InputError(choose(name, registry.launcher_files, "launcher"))
    path = registry.launcher_files[name]
    module = load_checked("launchers", path, file_digest(path))
    classes = [value for value in vars(module).values() if isinstance(value, type) and issubclass(value, Launcher)]
    declared = [launcher for launcher in classes if launcher.__module__ == module.__name__]
    if len(declared) != 1:
        raise InputError(f"{path}:1: {len(declared)} classes derive from Launcher; a launcher's file declares one")
    return declared[0]()


def all_launchers(registry: Registry) -> list[Launcher]:
    """Every launcher there is."""
    return [find_launcher(name, registry) for name in registry.launcher_files]

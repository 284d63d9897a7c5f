"""What is asked once before any run is started or submitted: can the backbones be built, are their weights here?

One short process answers, so that the one that launches imports no torch. It builds every backbone without values,
which takes neither memory nor weights, and fetches the weights that timm has into timm's own cache: from there every
worker reads them, on nodes without internet too, and no two workers fetch the same file.

Nothing is asked of what is known: the suite's own cards with weights that are shipped, given as a file or random, and
timm's architectures that they name.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import bench
from bench.cards.offers import OWN_OFFERS
from bench.errors import InputError, Problems
from bench.process import environment, how_ended, program
from bench.reading.document import read_document
from bench.registry import Registry
from bench.spec import RunSpec

if TYPE_CHECKING:
    from typing import TextIO

    from bench.cards import BackboneCard

SLOW = 2.0
"""Seconds after which it is said what is being fetched."""


@dataclass(frozen=True)
class Build:
    """A backbone as runs build it: its name, and what their protocol says of its architecture."""

    backbone: str
    image_size: int
    drop_path: float


def require_backbones(runs: Iterable[RunSpec], registry: Registry, say: Callable[[str], None]) -> None:
    """Have every backbone of some runs ready to be trained: it can be built, and timm's weights of it are fetched.

    Args:
        runs: those that are to be trained; without any, nothing is asked.
        registry: finds the backbones' cards.
        say: is told, in a line, what is fetched where it takes long.

    Raises:
        InputError: a backbone cannot be built, or its weights cannot be had; all such are told.
    """
    builds = builds_of(runs, registry)
    if not builds:
        return
    problems = Problems()
    for answer in _answers(builds, registry.plugins):
        if "problem" in answer:
            problems.add(answer["problem"])
        else:
            say(answer["fetching"])
    problems.stop()


def builds_of(runs: Iterable[RunSpec], registry: Registry) -> list[Build]:
    """What has to be asked about some runs: each backbone that is not known to be there, once."""
    found = dict.fromkeys(Build(spec.backbone.name, spec.protocol.image_size, spec.protocol.drop_path) for spec in runs)
    asked = {name for name in dict.fromkeys(build.backbone for build in found) if _is_open(name, registry)}
    return [build for build in found if build.backbone in asked]


def _is_open(name: str, registry: Registry) -> bool:
    """Whether it is still to be found out if a backbone can be built, and its weights be had."""
    plain, chooses, _ = name.partition("@")
    if plain.startswith("timm:"):
        return not chooses or plain.removeprefix("timm:") not in _known_architectures(registry)
    path = registry.backbone_files[plain]
    return path not in _own_cards(registry) or (not chooses and "weights" in read_document(path))


def _own_cards(registry: Registry) -> list[Path]:
    """The cards of backbones that come with the suite."""
    folders = [Path(root) / "backbones" for root in bench.__path__]
    return [path for path in registry.backbone_files.values() if path.parent in folders]


def _known_architectures(registry: Registry) -> set[str]:
    """timm's architectures that the suite's own cards name, with and without the tag of the weights."""
    models = [read_document(path).text("model") for path in _own_cards(registry)]
    return {*models, *(model.partition(".")[0] for model in models)} - OWN_OFFERS.keys()


def _answers(builds: Sequence[Build], plugins: Sequence[Path]) -> Iterator[dict[str, str]]:
    """What the process says, as it says it; it is ended with the loop that reads this."""
    asked = {"plugins": [str(plugin) for plugin in plugins], "builds": [asdict(build) for build in builds]}
    with tempfile.TemporaryFile() as errors:
        process = subprocess.Popen(
            program("bench.launch.preflight"),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            env=environment("", HF_HUB_DISABLE_PROGRESS_BARS="1"),
            start_new_session=True,  # Ctrl-C reaches the front process alone, which ends this one
        )
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            with contextlib.suppress(BrokenPipeError):
                process.stdin.write(json.dumps(asked).encode() + b"\n")
                process.stdin.flush()
            for line in process.stdout:
                yield json.loads(line)
            if code := process.wait():
                errors.seek(0)
                lines = errors.read().decode(errors="replace").strip().splitlines()
                reason = lines[-1] if lines else "no message"
                raise InputError(f"the process that checks the backbones ended: {how_ended(code)}: {reason}")
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            process.stdout.close()
            with contextlib.suppress(BrokenPipeError):
                process.stdin.close()


def main() -> None:
    """The process: reads from a line of standard input what is asked; writes a JSON line for each thing to be told."""
    asked = json.loads(sys.stdin.readline())
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # whatever prints must not disturb the answers
    threading.Thread(target=_end_with_the_front, daemon=True).start()
    registry = Registry(asked["plugins"])
    fetching = _Fetching(answers)
    for build in (Build(**given) for given in asked["builds"]):
        try:
            _make_ready(registry.backbone(build.backbone), build, fetching)
        except Exception as error:
            _say(answers, problem=_told(build.backbone, error))


def _make_ready(card: BackboneCard, build: Build, fetching: _Fetching) -> None:
    from bench.backbones.build import sketch

    backbone = sketch(card, build.image_size, build.drop_path).backbone
    if card.weights == "pretrained":
        fetching.fetch(card, backbone)


class _Fetching:
    """Fetches the weights of each card once.

    After a failure that was waited for, no other is tried: without a connection each would take as long to fail.
    """

    def __init__(self, answers: TextIO) -> None:
        self._answers = answers
        self._tried: set[str] = set()
        self._hopeless = False

    def fetch(self, card: BackboneCard, backbone: Any) -> None:
        from bench.backbones.build import fetch_weights, weights_source

        if card.name in self._tried or self._hopeless:
            return
        self._tried.add(card.name)
        line = f"fetching the weights of {card.name} ({weights_source(backbone)})"
        patience = threading.Timer(SLOW, lambda: _say(self._answers, fetching=line))
        patience.daemon = True
        patience.start()
        try:
            fetch_weights(card, backbone)
        except InputError:
            self._hopeless = not patience.is_alive()
            raise
        finally:
            patience.cancel()


def _told(name: str, error: Exception) -> str:
    if isinstance(error, InputError):
        return str(error)
    reason = (str(error).strip().splitlines() or ["no message"])[0]
    return f"{name}: it cannot be built: {type(error).__name__}: {reason}"


def _say(answers: TextIO, **answer: Any) -> None:
    answers.write(json.dumps(answer) + "\n")
    answers.flush()


def _end_with_the_front() -> None:
    """Standard input ends with the process that launches, however it ends."""
    sys.stdin.read()
    os._exit(0)

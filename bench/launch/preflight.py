"""What is asked once before any run is started or submitted: can the backbones be built, are their weights here, do
files of weights fit, is the whole of an image seen?

One short process answers, so that the one that launches imports no torch. It builds every backbone without values,
which takes neither memory nor weights, and fetches the weights that timm has into timm's own cache: from there every
worker reads them, on nodes without internet too, and no two workers fetch the same file.

Nothing is asked of what is known: the suite's own cards with weights that are shipped or random, and timm's
architectures that they name; and methods whose code refuses nothing.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
import tempfile
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, TextIO

import bench
from bench.cards import BackboneCard
from bench.cards.backbone import RANDOM
from bench.cards.drawn import CHOICES
from bench.cards.method import beside
from bench.cards.offers import OWN_OFFERS
from bench.cards.patches import is_understood
from bench.cards.text_towers import TEXT_TOWER, lacking_package
from bench.errors import InputError, Problems
from bench.launch.failures import failure_of, printed
from bench.launch.refusals import refusals, to_try
from bench.process import close_pipes, end_with_parent, how_ended, last_line, send, start
from bench.reading.document import read_document
from bench.registry import Registry
from bench.spec import RunSpec, from_json, to_json
from bench.task import find_task

_DRAWN_HERE = ("none", *CHOICES)
"""What stands behind the ``@`` of a backbone whose weights are drawn when it is built."""

SLOW = 2.0
"""Seconds after which it is said what is being fetched."""


@dataclass(frozen=True)
class Build:
    """A backbone as runs build it: its name, and what their protocol says of its architecture.

    Attributes:
        by_layers: whether learning rates decay by its layers.
        with_text: whether a method takes its text tower.
    """

    backbone: str
    image_size: int
    drop_path: float
    by_layers: bool = False
    with_text: bool = False


def require_backbones(
    runs: Iterable[RunSpec], registry: Registry, say: Callable[[str], None], *, with_methods: bool = False
) -> None:
    """Have every backbone of some runs ready to be trained: it can be built, and its weights are here and fit.

    ``with_methods``: methods that may refuse a backbone or a budget are tried on it, too (``bench.launch.refusals``).
    What takes long to fetch is said, and what of an image is not seen. Raises ``InputError`` that tells of each that
    cannot be built, or fetched, or does not fit, of methods that cannot be trained on a backbone or with so few steps,
    and of packages that a task or method needs and that are not installed.
    """
    runs, problems = list(runs), Problems()
    for task in dict.fromkeys(
        registry.dataset(name).task for name in dict.fromkeys(spec.dataset.name for spec in runs)
    ):
        if lacking := find_task(task).lacking():
            problems.add(lacking)
    reading = dict.fromkeys(spec.method.full_name for spec in runs if _reads_texts(spec, registry))
    if reading and (lacking := lacking_package()):
        problems.add(f"{', '.join(reading)}: {lacking}")
    problems.stop()
    builds, tried = builds_of(runs, registry), to_try(runs, registry) if with_methods else []
    if not (builds or tried):
        return
    refused: dict[tuple[str, str], list[str]] = {}
    for answer in _answers(builds, tried, registry.plugins):
        if "problem" in answer:
            problems.add(answer["problem"])
        elif "refused" in answer:
            refused.setdefault((answer["refused"], answer["reason"]), []).append(answer["backbone"])
        else:
            say(answer.get("fetching") or answer["note"])
    for (method, reason), backbones in refused.items():
        problems.add(f"{method} on {', '.join(backbones)}: {reason}")
    problems.stop()


def builds_of(runs: Iterable[RunSpec], registry: Registry) -> list[Build]:
    """What has to be asked about some runs: each backbone that is not known to be there, once."""
    builds = dict.fromkeys(
        Build(
            spec.backbone.name,
            spec.protocol.image_size,
            spec.protocol.drop_path,
            spec.protocol.recipe.layer_decay != 1,
            _reads_texts(spec, registry),
        )
        for spec in runs
    )
    backbones = {build.backbone for build in builds}
    unknown = {name for name in backbones if _is_open(name, registry)}
    unclear = {name for name in backbones if not is_understood(registry.backbone(name))}
    return [build for build in builds if build.backbone in unknown or (build.image_size and build.backbone in unclear)]


def _reads_texts(spec: RunSpec, registry: Registry) -> bool:
    """Whether a run takes the text tower of its backbone."""
    methods = [registry.method(each.name) for each in (spec.method, *spec.method.policies)]
    return TEXT_TOWER in beside(methods, registry.backbone(spec.backbone.name))


def _is_open(name: str, registry: Registry) -> bool:
    """Whether it is still to be found out if a backbone can be built, and its weights be had and fit."""
    plain, chooses, weights = name.partition("@")
    if chooses and weights not in _DRAWN_HERE:
        return True
    if plain.startswith("timm:"):  # the suite's own cards name architectures with the tag of the weights, and without
        models = [read_document(path).text("model") for path in _own_cards(registry)]
        names = {*models, *(model.partition(".")[0] for model in models)} - OWN_OFFERS.keys()
        return not chooses or plain.removeprefix("timm:") not in names
    path = registry.backbone_files[plain]
    return path not in _own_cards(registry) or (not chooses and "weights" in read_document(path))


def _own_cards(registry: Registry) -> list[Path]:
    """The cards of backbones that come with the suite."""
    folders = [Path(root) / "backbones" for root in bench.__path__]
    return [path for path in registry.backbone_files.values() if path.parent in folders]


def _answers(builds: Sequence[Build], tried: Sequence[RunSpec], plugins: Sequence[Path]) -> Iterator[dict[str, str]]:
    """What the process says, as it says it; it is ended with the loop that reads this."""
    task = {
        "plugins": [str(plugin) for plugin in plugins],
        "builds": [asdict(build) for build in builds],
        "tried": [to_json(spec) for spec in tried],
    }
    with tempfile.NamedTemporaryFile() as file:
        log = Path(file.name)
        # Ctrl-C reaches the front process alone, which ends this one
        quiet = {"HF_HUB_DISABLE_PROGRESS_BARS": "1"}
        process = start("bench.launch.preflight", log=log, devices="", variables=quiet, detached=True)
        assert process.stdout is not None
        try:
            send(process, task)
            for line in process.stdout:
                yield json.loads(line)
            if code := process.wait():
                reason = last_line(printed(log))
                raise InputError(f"the process that checks the backbones ended: {how_ended(code)}: {reason}")
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            close_pipes(process)


def main() -> None:
    """The process: reads from a line of standard input what is asked; writes a JSON line for each thing to be told."""
    task = json.loads(sys.stdin.readline())
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # whatever prints must not disturb the answers
    end_with_parent()
    registry = Registry(task["plugins"])
    fetching, broken = _Fetching(answers), set[str]()
    for build in (Build(**values) for values in task["builds"]):
        try:
            _answer(build, registry.backbone(build.backbone), fetching, answers)
        except InputError as error:
            broken.add(build.backbone)
            _say(answers, problem=str(error))
        except Exception as error:
            broken.add(build.backbone)
            _say(answers, problem=f"{build.backbone}: it cannot be built: {failure_of(error).message}")
    tried = [from_json(spec) for spec in task["tried"]]
    for refusal in refusals([spec for spec in tried if spec.backbone.name not in broken], registry):
        _say(answers, **refusal)


def _answer(build: Build, card: BackboneCard, fetching: _Fetching, answers: TextIO) -> None:
    """What there is to tell of a backbone. Raises whatever building it does."""
    from bench.backbones.build import fetch_weights, require_weights_fit, sketch, weights_source
    from bench.backbones.text_tower import fetch_text_tower, text_tower_hub

    model = sketch(card, build.image_size, build.drop_path)
    if build.by_layers:
        _require_layers(card, model)
    if card.weights == "pretrained":
        source = weights_source(model.backbone)
        fetching.fetch(f"the weights of {card.name} ({source})", lambda: fetch_weights(card, model.backbone))
        if build.with_text:
            hub = f"{text_tower_hub(card)} of the Hugging Face hub"
            fetching.fetch(f"the text tower of {card.name} ({hub})", lambda: fetch_text_tower(card))
    elif "@" in card.name and card.weights not in RANDOM:
        require_weights_fit(card, model.backbone)
    if build.image_size and not is_understood(card) and (lost := _unseen(build, card, model)):
        last = f"the last {lost} rows and columns" if lost > 1 else "the last row and column"
        _say(answers, note=f"{card.name}: of images of {build.image_size} pixels a side it does not see {last}")


def _require_layers(card: BackboneCard, model: Any) -> None:
    """Raise ``InputError`` where a backbone does not tell the layers of its weights."""
    try:
        for name, _ in model.backbone.named_parameters():
            model.family.layer(name, model.backbone)
    except KeyError as error:
        raise InputError(f"{card.name}: layer_decay cannot be: {error.args[0]}; leave layer_decay at 1") from None


def _unseen(build: Build, card: BackboneCard, model: Any) -> int:
    """How many rows and columns of an image a network does not see. Raises ``InputError`` where it takes none."""
    from bench.backbones.build import build_model
    from bench.backbones.sight import unseen_pixels

    channels = int(model.backbone.pretrained_cfg["input_size"][0])
    try:
        return unseen_pixels(model, build.image_size, channels)
    except Exception:  # a network may need values to run
        model = build_model(replace(card, weights="none"), 1, build.image_size)
    try:
        return unseen_pixels(model, build.image_size, channels)
    except Exception as error:
        reason = failure_of(error).message
        raise InputError(f"{card.name}: it takes no images of {build.image_size} pixels a side: {reason}") from error


class _Fetching:
    """Fetches each file of weights once, and none after a failure that was waited for: each would take as long."""

    def __init__(self, answers: TextIO) -> None:
        self._answers = answers
        self._tried: set[str] = set()
        self._hopeless = False

    def fetch(self, what: str, get: Callable[[], object]) -> None:
        """Get what stands for itself in words. Raises ``InputError`` as ``get`` does."""
        if what in self._tried or self._hopeless:
            return
        self._tried.add(what)
        patience = threading.Timer(SLOW, lambda: _say(self._answers, fetching=f"fetching {what}"))
        patience.daemon = True
        patience.start()
        try:
            get()
        except InputError:
            self._hopeless = not patience.is_alive()
            raise
        finally:
            patience.cancel()


def _say(answers: TextIO, **answer: Any) -> None:
    answers.write(json.dumps(answer) + "\n")
    answers.flush()

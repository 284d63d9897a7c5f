"""The measured times that are nearest to a run, and what a step of theirs is to be multiplied by."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from bench.cost.step_times import STEPS, StepTime, Work
from bench.notation import counted
from bench.training.size import Size

RATIOS = {"ce": 1.0, "gta": 1.34, "l2sp": 1.03, "bss": 0.98, "drloc": 0.99}
"""What a step of a method costs, in steps of plain fine-tuning, measured side by side."""

RATIOS_FROM = "results/shown/step_cost.md: ViT-Ti/16, batch 16, one core of an AMD EPYC"

_SAME = "from {runs} of the same method and backbone on the same dataset"
_OTHER = "from {runs} of the same method and backbone on other datasets"
_MEASURED = "from {steps} measured steps of each method and backbone on noise: the loading of images is not in it"
_SCALED = "from {what} of another method on the same backbone, times the ratio of the methods ({origin})"
UNKNOWN = f"not known: the same command with --measure times {STEPS} steps of each method and backbone here"
UNSEEN = "not known: which stages they share depends on values that a plan does not have"
NO_SIZE = "not known: the dataset's card does not give the sizes of its splits"


class RunKind(NamedTuple):
    """Runs that cost the same; ``shared`` are the steps in stages that they share, None where that is not known."""

    work: Work
    dataset: str
    size: Size
    shared: int | None = 0


BySetting = Mapping[tuple[object, ...], Sequence[StepTime]]


def by_setting_of(times: Iterable[StepTime]) -> BySetting:
    """Times by what is equal in them but for the method."""
    by_setting: dict[tuple[object, ...], list[StepTime]] = {}
    for time in times:
        by_setting.setdefault(time.work.setting, []).append(time)
    return by_setting


def known_time(kind: RunKind, sources: Iterable[tuple[str, BySetting]]) -> tuple[str, list[StepTime], float]:
    """As ``_nearest``, by the first source that knows the time of a run; a source has words that its basis ends in."""
    if kind.size.steps is None or kind.size.images is None:
        return NO_SIZE, [], 1.0
    if kind.shared is None:
        return UNSEEN, [], 1.0
    for words, by_setting in sources:
        basis, nearest, ratio = _nearest(kind, by_setting)
        if nearest:
            return basis + words, nearest, ratio
    return UNKNOWN, [], 1.0


def in_words(basis: str, times: Sequence[StepTime]) -> str:
    """A basis with how many runs or steps it rests on."""
    steps = sorted({time.steps for time in times}) or [0]
    return basis.format(runs=_runs(len(times)), steps=" to ".join(map(str, dict.fromkeys((steps[0], steps[-1])))))


def _runs(count: int) -> str:
    return counted(count, "finished run")


def _nearest(kind: RunKind, by_setting: BySetting) -> tuple[str, list[StepTime], float]:
    """What the time of a run rests on, the times that serve it, and what a step of theirs is to be multiplied by."""
    alike = by_setting.get(kind.work.setting, [])
    basis, nearest = _first(kind, [time for time in alike if time.work.method == kind.work.method])
    if nearest:
        return basis, nearest, 1.0
    for rival in dict.fromkeys(["ce", *(time.work.method for time in alike)]):
        basis, nearest = _first(kind, [time for time in alike if time.work.method == rival])
        ratio, origin = _ratio(kind.work.method, rival, by_setting.values())
        if nearest and ratio:
            what = "{steps} measured steps" if basis == _MEASURED else "{runs}"
            return _SCALED.format(what=what, origin=origin), nearest, ratio
    return UNKNOWN, [], 1.0


def _first(kind: RunKind, times: Sequence[StepTime]) -> tuple[str, list[StepTime]]:
    """Of one method's times the nearest: runs on the dataset, other runs, measured steps; the same code first."""
    if kind.shared:
        times = [time for time in times if time.shared_seconds]
    for basis, nearest in (
        (_SAME, [time for time in times if time.dataset == kind.dataset]),
        (_OTHER, [time for time in times if time.dataset]),
        (_MEASURED, times),
    ):
        if nearest:
            return basis, [time for time in nearest if time.work.means == kind.work.means] or list(nearest)
    return UNKNOWN, []


def _ratio(method: str, rival: str, settings: Iterable[Sequence[StepTime]]) -> tuple[float | None, str]:
    """What a step of a method costs in steps of another one, and who says so; None where nobody does."""
    ratios = []
    for times in settings:
        a, b = ([time.step_seconds for time in times if time.work.method == name] for name in (method, rival))
        if a and b and statistics.median(b):
            ratios.append(statistics.median(a) / statistics.median(b))
    if ratios:
        return statistics.median(ratios), "measured on another backbone or batch, same hardware"
    if method in RATIOS and rival in RATIOS:
        return RATIOS[method] / RATIOS[rival], RATIOS_FROM
    return None, ""

"""Step times of one kind of hardware in those of another, by the ratio measured on what was timed on both."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from bench.cost.step_times import StepTime, Work
from bench.notation import counted

ByHardware = Mapping[str, Sequence[StepTime]]


@dataclass(frozen=True)
class Translation:
    """Times of other hardware as they would be, and in words how they were had."""

    times: list[StepTime]
    words: str


def by_hardware(times: Iterable[StepTime]) -> dict[str, list[StepTime]]:
    """Times by the hardware that they were measured on."""
    machines: dict[str, list[StepTime]] = {}
    for time in times:
        machines.setdefault(time.hardware, []).append(time)
    return machines


def translated(machines: ByHardware, to: str) -> list[Translation]:
    """The times of each other kind of hardware in those of one, that with the most measured on both first.

    Of each method and backbone that was timed alike on both (runs on the same dataset, or measured steps) the ratio of
    the medians counts, and of these ratios the median. Nothing is translated where nothing was timed on both.
    """
    translations = []
    for name, times in machines.items():
        ratios = _ratios(times, machines[to]) if name != to else []
        if not ratios:
            continue
        step, image = (statistics.median(values) for values in zip(*ratios, strict=True))
        moved = [
            replace(
                time,
                hardware=to,
                gpu=machines[to][0].gpu,
                step_seconds=step * time.step_seconds,
                run_seconds=step * time.run_seconds,
                shared_seconds=time.shared_seconds and step * time.shared_seconds,
                image_seconds=image * time.image_seconds,
            )
            for time in times
        ]
        works = counted(len(ratios), "method and backbone", "methods and backbones")
        words = f"; on {to} by {step:.2g} times the {name}'s, measured on {works} timed on both"
        translations.append((len(ratios), Translation(moved, words)))
    return [translation for _, translation in sorted(translations, key=lambda each: -each[0])]


def _ratios(times: Iterable[StepTime], to: Iterable[StepTime]) -> list[tuple[float, float]]:
    """Of each work timed on both, what a step and an image take there in what they take here."""
    source, target = _by_work(times), _by_work(to)
    ratios = []
    for work in source.keys() & target.keys():
        (step, image), (step_there, image_there) = (_medians(each[work]) for each in (source, target))
        if step and step_there:
            ratio = step_there / step
            ratios.append((ratio, image_there / image if image and image_there else ratio))
    return sorted(ratios)


def _by_work(times: Iterable[StepTime]) -> dict[tuple[Work, str], list[StepTime]]:
    works: dict[tuple[Work, str], list[StepTime]] = {}
    for time in times:
        works.setdefault((time.work, time.dataset), []).append(time)
    return works


def _medians(times: Sequence[StepTime]) -> tuple[float, float]:
    steps, images = zip(*((time.step_seconds, time.image_seconds) for time in times), strict=True)
    return statistics.median(steps), statistics.median(images)

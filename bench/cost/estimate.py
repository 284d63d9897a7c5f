"""What a plan would cost, from measured step times alone: hours, wall-clock and disk, each with what it rests on.

A run takes the time of the nearest match: the same method, backbone, image size, batch and precision, finished runs
before measured steps. Where only another method was timed so, its time is multiplied by a measured ratio of the two.
What has no match is not estimated: no time is guessed from the size of a model, a batch or an image, or from another
machine. A stage that runs share is counted for each of them, and not on disk.
"""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from bench.cards import DatasetCard
from bench.cost.step_times import STEPS, StepTime, Work, work_of
from bench.metrics.predictions import BYTES
from bench.notation import counted
from bench.spec import RunSpec

RATIOS = {"ce": 1.0, "gta": 1.34, "l2sp": 1.03, "bss": 0.98, "drloc": 0.99}
"""What a step of a method costs, in steps of plain fine-tuning, measured side by side."""

RATIOS_FROM = "results/shown/step_cost.md: ViT-Ti/16, batch 16, one core of an AMD EPYC"

_SAME = "from {runs} of the same method and backbone on the same dataset"
_OTHER = "from {runs} of the same method and backbone on other datasets"
_MEASURED = "from {steps} measured steps of each method and backbone on noise: the loading of images is not in it"
_SCALED = "from {what} of another method on the same backbone, times the ratio of the methods ({origin})"
_UNKNOWN = f"not known: 'bench plan TARGET --measure' times {STEPS} steps of each method and backbone here"
_NO_SIZE = "not known: the dataset's card does not give the sizes of its splits"


@dataclass(frozen=True)
class Size:
    """How much of a run there is: steps, points of the curve, and images evaluated at each; None where not known."""

    steps: int | None
    points: int
    images: int | None


@dataclass(frozen=True)
class Estimate:
    """What the runs that are to be trained would cost.

    Attributes:
        hours: of one GPU or core, of the runs of which the time is known.
        longest: hours of the longest of them, which no number of workers shortens.
        hardware: what the times were measured on; empty where nothing is known.
        bases: what the time rests on, in words, with the number of runs; those of unknown time among them.
        bytes: on disk, of the records, and of decoded images where their size follows from the cards.
    """

    runs: int
    hours: float
    longest: float
    gpu: bool
    hardware: str
    bases: Mapping[str, int]
    unknown: int
    bytes: int = 0
    disk: tuple[str, ...] = ()


class RunKind(NamedTuple):
    """Runs that cost the same."""

    work: Work
    dataset: str
    size: Size


def size_of(spec: RunSpec, card: DatasetCard) -> Size:
    """How much of a run there is, from the sizes of the splits on its dataset's card."""
    recipe = spec.protocol.recipe
    train, val, test = (card.splits.get(split) for split in ("train", "val", "test"))
    if train is None or test is None:
        return Size(recipe.steps or None, spec.protocol.evaluations, None)
    held_out = 0 if val is not None else round(spec.protocol.validation * train)
    images = max(1, round((train - held_out) * spec.rate / 100))
    steps = recipe.resolved(images, spec.protocol.batch_size).last
    return Size(steps, spec.protocol.evaluations, test + (held_out if val is None else val))


def estimate(runs: Iterable[RunSpec], dataset: Callable[[str], DatasetCard], times: Sequence[StepTime]) -> Estimate:
    """What runs to be trained would cost on the hardware on which the times of most of them are known.

    The times are those of records and of ``--measure``.
    """
    groups: dict[tuple[object, ...], list[RunSpec]] = {}
    for spec in runs:
        groups.setdefault((spec.method, spec.backbone, spec.dataset, spec.rate, spec.protocol), []).append(spec)
    firsts = [group[0] for group in groups.values()]
    cards = {name: dataset(name) for name in dict.fromkeys(spec.dataset.name for spec in firsts)}
    kinds = Counter[RunKind]()
    for first, group in zip(firsts, groups.values(), strict=True):
        kinds[RunKind(work_of(first), first.dataset.name, size_of(first, cards[first.dataset.name]))] += len(group)
    machines: dict[str, list[StepTime]] = {} if times else {"": []}
    for time in times:
        machines.setdefault(time.hardware, []).append(time)
    costs = [(_timed(kinds, timed), sum(time.steps for time in timed)) for timed in machines.values()]
    # the machine on which the fewest runs are of unknown time; of such ones that of the most timed steps
    best, _ = min(costs, key=lambda cost: (cost[0].unknown, -cost[1]))
    records, disk = _disk(kinds, times)
    pixels, decoded = _decoded(firsts, cards)
    return replace(best, bytes=records + pixels, disk=(*disk, *decoded))


def _timed(kinds: Mapping[RunKind, int], times: Sequence[StepTime]) -> Estimate:
    """What runs take by the times of one machine; nothing is said of the disk."""
    by_setting: dict[tuple[object, ...], list[StepTime]] = {}
    for time in times:
        by_setting.setdefault(time.work.setting, []).append(time)
    seconds = longest = 0.0
    runs, used = Counter[str](), dict[str, dict[int, StepTime]]()
    for kind, count in kinds.items():
        basis, nearest, ratio = _nearest(kind, by_setting)
        steps, images = kind.size.steps, kind.size.images
        if steps is None or images is None:
            basis, nearest = _NO_SIZE, []
        elif nearest:
            step = statistics.median([time.step_seconds for time in nearest])
            image = statistics.median([time.image_seconds for time in nearest])
            of_a_run = ratio * steps * step + kind.size.points * images * image
            seconds, longest = seconds + count * of_a_run, max(longest, of_a_run)
        runs[basis] += count
        used.setdefault(basis, {}).update((id(time), time) for time in nearest)
    return Estimate(
        runs=runs.total(),
        hours=seconds / 3600,
        longest=longest / 3600,
        gpu=any(time.gpu for time in times),
        hardware=times[0].hardware if seconds else "",
        bases={_in_words(basis, list(used[basis].values())): count for basis, count in runs.items()},
        unknown=runs[_UNKNOWN] + runs[_NO_SIZE],
    )


def _in_words(basis: str, times: Sequence[StepTime]) -> str:
    steps = sorted({time.steps for time in times}) or [0]
    return basis.format(runs=_runs(len(times)), steps=" to ".join(map(str, dict.fromkeys((steps[0], steps[-1])))))


def _runs(count: int) -> str:
    return counted(count, "finished run")


def _nearest(
    kind: RunKind, by_setting: Mapping[tuple[object, ...], list[StepTime]]
) -> tuple[str, list[StepTime], float]:
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
    return _UNKNOWN, [], 1.0


def _first(kind: RunKind, times: Sequence[StepTime]) -> tuple[str, list[StepTime]]:
    """Of one method's times the nearest: runs on the dataset, other runs, measured steps; the same code first."""
    for basis, nearest in (
        (_SAME, [time for time in times if time.dataset == kind.dataset]),
        (_OTHER, [time for time in times if time.dataset]),
        (_MEASURED, times),
    ):
        if nearest:
            return basis, [time for time in nearest if time.work.means == kind.work.means] or list(nearest)
    return _UNKNOWN, []


def _ratio(method: str, rival: str, settings: Iterable[Sequence[StepTime]]) -> tuple[float | None, str]:
    """What a step of a method costs in steps of another one, and who says so; None where nobody does."""
    ratios = []
    for times in settings:
        a, b = ([time.step_seconds for time in times if time.work.method == name] for name in (method, rival))
        if a and b:
            ratios.append(statistics.median(a) / statistics.median(b))
    if ratios:
        return statistics.median(ratios), "measured on another backbone or batch, same hardware"
    if method in RATIOS and rival in RATIOS:
        return RATIOS[method] / RATIOS[rival], RATIOS_FROM
    return None, ""


def _disk(kinds: Mapping[RunKind, int], times: Sequence[StepTime]) -> tuple[int, list[str]]:
    """Bytes of the records, and what they rest on."""
    sizes: dict[tuple[str, int], list[int]] = {}
    for time in times:
        if time.bytes:
            sizes.setdefault((time.dataset, time.points), []).append(time.bytes)
    total, used, words = 0.0, dict[tuple[str, int], int](), dict[str, None]()
    for kind, count in kinds.items():
        key = kind.dataset, kind.size.points
        if key in sizes:
            total += count * statistics.median(sizes[key])
            used[key] = len(sizes[key])
        elif kind.size.images is not None:
            total += count * kind.size.points * kind.size.images * BYTES
            words[f"predictions: {BYTES} bytes an image and point of the curve, before compression"] = None
        else:
            words["records of datasets whose size is not on their card are not in it"] = None
    return round(total), [*([f"records: from {_runs(sum(used.values()))}"] if used else []), *words]


def _decoded(specs: Iterable[RunSpec], cards: Mapping[str, DatasetCard]) -> tuple[int, list[str]]:
    """Bytes of decoded images, three a pixel, where they are kept at one size; a note where they are kept otherwise."""
    sizes, has_unsized = dict[tuple[str, int], int](), False
    for spec in specs:
        card, protocol = cards[spec.dataset.name], spec.protocol
        if "official" not in card.facts and card.reader != "folder":
            continue  # images in memory
        if protocol.image_size and protocol.augmentation in ("none", "shift"):
            images = sum(card.splits.values())
            sizes[spec.dataset.name, protocol.image_size] = 3 * images * protocol.image_size**2
        else:
            has_unsized = True
    words = ["decoded images: 3 bytes a pixel"] if sizes else []
    words += ["decoded images are not in it: their sizes are not on the cards"] if has_unsized else []
    return sum(sizes.values()), words


def lines(cost: Estimate, workers: int) -> list[str]:
    """An estimate in words, a line each, for so many runs at a time; none where nothing is to be trained."""
    if not cost.runs:
        return []
    if cost.hardware:
        unit = "GPU-hours" if cost.gpu else "core-hours"
        share = f" for {cost.runs - cost.unknown} of the {cost.runs} runs" if cost.unknown else ""
        wall = _duration(max(cost.hours / workers, cost.longest))
        time = f"about {_number(cost.hours)} {unit} of {cost.hardware}{share}; "
        time += f"with {workers} worker{'s' * (workers != 1)} about {wall}"
    else:
        time = f"{'GPU' if cost.gpu else 'core or GPU'}-hours: not known"
    bases = [f"  {count} run{'s' * (count != 1)}: {basis}" for basis, count in cost.bases.items()]
    size = f"about {_bytes(cost.bytes)}" if cost.bytes else "not known"
    return [time, *bases, f"disk: {size}", *(f"  {basis}" for basis in cost.disk)]


def _number(hours: float) -> str:
    return f"{hours:,.0f}" if hours >= 10 else f"{hours:.2g}"


def _duration(hours: float) -> str:
    if hours < 1:
        return f"{60 * hours:.2g} minutes"
    number, unit = (_number(hours), "hour") if hours < 48 else (_number(hours / 24), "day")
    return f"{number} {unit}{'s' * (number != '1')}"


def _bytes(size: float) -> str:
    for unit in ("B", "kB", "MB", "GB"):
        if size < 999.5:
            return f"{size:.3g} {unit}"
        size /= 1000
    return f"{size:,.3g} TB"

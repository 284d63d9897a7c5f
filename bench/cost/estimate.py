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
from dataclasses import dataclass

from bench.cards import DatasetCard
from bench.cost.step_times import STEPS, StepTime, Work, work_of
from bench.metrics.predictions import BYTES
from bench.spec import RunSpec

RATIOS = {"ce": 1.0, "gta": 1.34, "l2sp": 1.03, "bss": 0.98, "drloc": 0.99}
"""What a step of a method costs, in steps of plain fine-tuning, measured side by side."""

RATIOS_FROM = "results/shown/step_cost.md: ViT-Ti/16, batch 16, one core of an AMD EPYC"

_SAME = "from {n} of the same method and backbone on the same dataset"
_OTHER = "from {n} of the same method and backbone on other datasets"
_MEASURED = "from {steps} measured steps of each method and backbone on noise: the loading of images is not in it"
_SCALED = "from {n} of another method on the same backbone, times the ratio of the methods ({origin})"
_SCALED_STEPS = (
    "from {steps} measured steps of another method on the same backbone, times the ratio of the methods ({origin})"
)
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
        runs: how many there are.
        hours: of one GPU or core, of the runs of which the time is known.
        longest: hours of the longest of them, which no number of workers shortens.
        gpu: whether the hours are a GPU's.
        hardware: what the times were measured on; empty where nothing is known.
        bases: what the time rests on, in words, with the number of runs; those of unknown time among them.
        unknown: runs of which the time is not known.
        bytes: on disk, of the records, and of decoded images where their size follows from the cards.
        disk: what the bytes rest on, in words.
    """

    runs: int
    hours: float
    longest: float
    gpu: bool
    hardware: str
    bases: Mapping[str, int]
    unknown: int
    bytes: int
    disk: tuple[str, ...]


def size_of(spec: RunSpec, card: DatasetCard) -> Size:
    """How much of a run there is, from the sizes of the splits on its dataset's card."""
    splits, recipe = card.facts.get("splits") or {}, spec.protocol.recipe
    train, val, test = splits.get("train"), splits.get("val"), splits.get("test")
    if train is None or test is None:
        return Size(recipe.steps or None, spec.protocol.evaluations, None)
    held_out = 0 if val is not None else round(spec.protocol.validation * train)
    images = max(1, round((train - held_out) * spec.rate / 100))
    steps = recipe.resolved(images, spec.protocol.batch_size).steps
    return Size(steps, spec.protocol.evaluations, test + (held_out if val is None else val))


def estimate(runs: Iterable[RunSpec], dataset: Callable[[str], DatasetCard], times: Sequence[StepTime]) -> Estimate:
    """What runs would cost on the hardware on which the times of most of them are known.

    Args:
        runs: those to be trained.
        dataset: the card of a dataset, by its name.
        times: of records and of ``--measure``.
    """
    groups: dict[tuple[object, ...], list[RunSpec]] = {}
    for spec in runs:
        groups.setdefault((spec.method, spec.backbone, spec.dataset, spec.rate, spec.protocol), []).append(spec)
    firsts = [group[0] for group in groups.values()]
    cards = {name: dataset(name) for name in dict.fromkeys(spec.dataset.name for spec in firsts)}
    cells = Counter[Cell]()
    for first, group in zip(firsts, groups.values(), strict=True):
        cells[Cell(work_of(first), first.dataset.name, size_of(first, cards[first.dataset.name]))] += len(group)
    machines = {time.hardware: [other for other in times if other.hardware == time.hardware] for time in times}
    best = min((_timed(cells, own) for own in machines.values()), key=_order, default=_timed(cells, []))
    records, disk = _disk(cells, times)
    pixels, decoded = _decoded(firsts, cards)
    return Estimate(
        runs=cells.total(),
        hours=best.seconds / 3600,
        longest=best.longest / 3600,
        gpu=best.gpu,
        hardware=best.hardware,
        bases=best.bases,
        unknown=best.unknown,
        bytes=records + pixels,
        disk=(*disk, *decoded),
    )


@dataclass(frozen=True)
class Cell:
    """Runs that cost the same."""

    work: Work
    dataset: str
    size: Size


@dataclass(frozen=True)
class _Timed:
    """What cells take on one machine."""

    seconds: float
    longest: float
    gpu: bool
    hardware: str
    bases: Mapping[str, int]
    unknown: int
    steps: int


def _order(timed: _Timed) -> tuple[int, int]:
    """The machine on which the fewest runs are of unknown time is taken; of such ones that of the most timed steps."""
    return timed.unknown, -timed.steps


def _timed(cells: Mapping[Cell, int], times: Sequence[StepTime]) -> _Timed:
    """What cells take by the times of one machine."""
    by_setting: dict[tuple[object, ...], list[StepTime]] = {}
    for time in times:
        by_setting.setdefault(time.work.setting, []).append(time)
    seconds = longest = 0.0
    runs, used = Counter[str](), dict[str, dict[int, StepTime]]()
    for cell, count in cells.items():
        kind, found, ratio = _nearest(cell, by_setting)
        if cell.size.steps is None or cell.size.images is None:
            kind, found = _NO_SIZE, []
        runs[kind] += count
        used.setdefault(kind, {}).update((id(time), time) for time in found)
        if found:
            one = _seconds(cell.size, found, ratio)
            seconds, longest = seconds + count * one, max(longest, one)
    bases = {_said(kind, list(used[kind].values())): count for kind, count in runs.items()}
    return _Timed(
        seconds=seconds,
        longest=longest,
        gpu=any(time.gpu for time in times),
        hardware=times[0].hardware if seconds else "",
        bases=bases,
        unknown=runs[_UNKNOWN] + runs[_NO_SIZE],
        steps=sum(time.steps for time in times),
    )


def _said(kind: str, times: Sequence[StepTime]) -> str:
    steps = sorted({time.steps for time in times}) or [0]
    return kind.format(n=_listed(len(times)), steps=" to ".join(map(str, dict.fromkeys((steps[0], steps[-1])))))


def _listed(count: int) -> str:
    return f"{count} finished run{'s' * (count != 1)}"


def _seconds(size: Size, times: Sequence[StepTime], ratio: float) -> float:
    """What a run takes: its steps, and the evaluation of its images at each point."""
    assert size.steps is not None
    assert size.images is not None
    step = statistics.median([time.step_seconds for time in times])
    image = statistics.median([time.image_seconds for time in times])
    return ratio * size.steps * step + size.points * size.images * image


def _nearest(cell: Cell, by_setting: Mapping[tuple[object, ...], list[StepTime]]) -> tuple[str, list[StepTime], float]:
    """The times that serve a cell, what they are in words, and what a step of theirs is to be multiplied by."""
    alike = by_setting.get(cell.work.setting, [])
    own = [time for time in alike if time.work.method == cell.work.method]
    kind, found = _first(cell, own)
    if found:
        return kind, found, 1.0
    for other in dict.fromkeys(["ce", *(time.work.method for time in alike)]):
        kind, found = _first(cell, [time for time in alike if time.work.method == other])
        ratio, origin = _ratio(cell.work.method, other, by_setting.values())
        if found and ratio:
            words = _SCALED_STEPS if kind == _MEASURED else _SCALED
            return words.replace("{origin}", origin), found, ratio
    return _UNKNOWN, [], 1.0


def _first(cell: Cell, times: Sequence[StepTime]) -> tuple[str, list[StepTime]]:
    """Of one method's times the nearest: runs on the dataset, other runs, measured steps; the same code first."""
    for kind, found in (
        (_SAME, [time for time in times if time.dataset == cell.dataset]),
        (_OTHER, [time for time in times if time.dataset]),
        (_MEASURED, [time for time in times if not time.dataset]),
    ):
        if found:
            return kind, [time for time in found if time.work.means == cell.work.means] or found
    return _UNKNOWN, []


def _ratio(method: str, other: str, settings: Iterable[Sequence[StepTime]]) -> tuple[float | None, str]:
    """What a step of a method costs in steps of another one, and who says so; None where nobody does."""
    found = []
    for times in settings:
        a, b = ([time.step_seconds for time in times if time.work.method == name] for name in (method, other))
        if a and b:
            found.append(statistics.median(a) / statistics.median(b))
    if found:
        return statistics.median(found), "measured on another backbone or batch, same hardware"
    if method in RATIOS and other in RATIOS:
        return RATIOS[method] / RATIOS[other], RATIOS_FROM
    return None, ""


def _disk(cells: Mapping[Cell, int], times: Sequence[StepTime]) -> tuple[int, list[str]]:
    """Bytes of the records, and what they rest on."""
    sizes: dict[tuple[str, int], list[int]] = {}
    for time in times:
        if time.bytes:
            sizes.setdefault((time.dataset, time.points), []).append(time.bytes)
    total, used, counted = 0.0, 0, set[tuple[str, int]]()
    words = dict[str, None]()
    for cell, count in cells.items():
        key = cell.dataset, cell.size.points
        if key in sizes:
            total += count * statistics.median(sizes[key])
            used, counted = used + len(sizes[key]) * (key not in counted), counted | {key}
        elif cell.size.images is not None:
            total += count * cell.size.points * cell.size.images * BYTES
            words[f"predictions: {BYTES} bytes an image and point of the curve, before compression"] = None
        else:
            words["records of datasets whose size is not on their card are not in it"] = None
    return round(total), ([f"records: from {_listed(used)}"] if used else []) + list(words)


def _decoded(specs: Iterable[RunSpec], cards: Mapping[str, DatasetCard]) -> tuple[int, list[str]]:
    """Bytes of decoded images, three a pixel, where they are kept at one size; a note where they are kept otherwise."""
    kept, others = dict[tuple[str, int], int](), False
    for spec in specs:
        card, protocol = cards[spec.dataset.name], spec.protocol
        if "official" not in card.facts and card.reader != "folder":
            continue  # images in memory
        if protocol.image_size and protocol.augmentation in ("none", "shift"):
            images = sum((card.facts.get("splits") or {}).values())
            kept[spec.dataset.name, protocol.image_size] = 3 * images * protocol.image_size**2
        else:
            others = True
    words = ["decoded images: 3 bytes a pixel"] if kept else []
    return sum(kept.values()), words + ["decoded images are not in it: their sizes are not on the cards"] * others


def lines(found: Estimate, workers: int) -> list[str]:
    """An estimate in words, a line each; none where nothing is to be trained.

    Args:
        found: the estimate.
        workers: runs at a time.
    """
    if not found.runs:
        return []
    told = []
    if found.hardware:
        unit, known = "GPU-hours" if found.gpu else "core-hours", found.runs - found.unknown
        part = f" for {known} of the {found.runs} runs" if found.unknown else ""
        wall = max(found.hours / workers, found.longest)
        told.append(
            f"about {_number(found.hours)} {unit} of {found.hardware}{part}; "
            f"with {workers} worker{'s' * (workers != 1)} about {_duration(wall)}"
        )
    else:
        told.append(f"{'GPU' if found.gpu else 'core or GPU'}-hours: not known")
    told += [f"  {count} run{'s' * (count != 1)}: {basis}" for basis, count in found.bases.items()]
    size = f"about {_bytes(found.bytes)}" if found.bytes else "not known"
    return [*told, f"disk: {size}", *(f"  {basis}" for basis in found.disk)]


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

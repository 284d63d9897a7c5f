"""What a plan would cost, from measured step times alone: hours, wall-clock and disk, each with what it rests on.

A run takes the time of the nearest match: the same method, backbone, image size, batch and precision, finished runs
before measured steps. Where only another method was timed so, its time is multiplied by a measured ratio of the two.
What has no match is not estimated: no time is guessed from the size of a model, a batch or an image, or from another
machine but by a measured ratio of the two. A stage that runs share is counted once, for the first of them that is
trained, and not on disk.
"""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import NamedTuple

from bench.cards import DatasetCard
from bench.cost.hardware import Translation, by_hardware, translated
from bench.cost.shared import RunStages, SharedStage
from bench.cost.step_times import STEPS, StepTime, Work, work_of
from bench.errors import InputError
from bench.notation import counted
from bench.spec import RunSpec
from bench.training.size import Size, size_of

RATIOS = {"ce": 1.0, "gta": 1.34, "l2sp": 1.03, "bss": 0.98, "drloc": 0.99}
"""What a step of a method costs, in steps of plain fine-tuning, measured side by side."""

RATIOS_FROM = "results/shown/step_cost.md: ViT-Ti/16, batch 16, one core of an AMD EPYC"

_SAME = "from {runs} of the same method and backbone on the same dataset"
_OTHER = "from {runs} of the same method and backbone on other datasets"
_MEASURED = "from {steps} measured steps of each method and backbone on noise: the loading of images is not in it"
_SCALED = "from {what} of another method on the same backbone, times the ratio of the methods ({origin})"
_UNKNOWN = f"not known: the same command with --measure times {STEPS} steps of each method and backbone here"
_UNSEEN = "not known: which stages they share depends on values that a plan does not have"
_UNSHARED = "{count} runs on a GPU: not measured, so this is as if each run had its GPU alone"
_NO_SIZE = "not known: the dataset's card does not give the sizes of its splits"


@dataclass(frozen=True)
class Estimate:
    """What the runs that are to be trained would cost.

    Attributes:
        hours: of one GPU or core, of the runs of which the time is known.
        longest: hours of the longest of them, which no number of workers shortens.
        hardware: what the times were measured on; empty where nothing is known.
        bases: what the time rests on, in words, with the number of runs; those of unknown time among them.
        bytes: on disk, of the records, and of decoded images where their size follows from the cards.
        shared_hours: of the hours, those of ``shared_stages``, each of which is trained once for ``sharing_runs``.
        on_gpu: runs that share a GPU at a time; where their times were not measured so, ``unshared`` says it, and the
            hours are those of runs that have their GPU alone.
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
    shared_hours: float = 0.0
    shared_stages: int = 0
    sharing_runs: int = 0
    on_gpu: int = 1
    unshared: str = ""


class RunKind(NamedTuple):
    """Runs that cost the same; ``shared`` are the steps in stages that they share, None where that is not known."""

    work: Work
    dataset: str
    size: Size
    shared: int | None = 0


@dataclass(frozen=True)
class Wanted:
    """What is to be trained: how many runs of each kind, and the steps of each stage that is trained once for some."""

    runs: Counter[RunKind]
    once: dict[RunKind, list[int]]


def estimate(
    runs: Iterable[RunSpec],
    dataset: Callable[[str], DatasetCard],
    times: Sequence[StepTime],
    *,
    stages: Callable[[Sequence[RunSpec]], Sequence[RunStages | None]] | None = None,
    trained: Callable[[Container[str]], Iterable[RunSpec]] = lambda methods: (),
    hardware: str = "",
    on_gpu: int = 1,
) -> Estimate:
    """What runs to be trained would cost, on the hardware on which the times of most of them are known.

    Args:
        runs: to be trained.
        dataset: gives a dataset's card by its name.
        times: of records and of ``--measure``.
        stages: those of runs, asked where a method may share some.
        trained: gives the runs of methods whose shared stages are there, and need not be trained.
        hardware: a part of the name of the hardware that is meant.
        on_gpu: how many runs are to share a GPU at a time.

    Raises:
        InputError: nothing was timed on such hardware.
    """
    groups: dict[tuple[object, ...], list[RunSpec]] = {}
    for spec in runs:
        groups.setdefault((spec.method, spec.backbone, spec.dataset, spec.rate, spec.protocol), []).append(spec)
    firsts = [group[0] for group in groups.values()]
    cards = {name: dataset(name) for name in dict.fromkeys(spec.dataset.name for spec in firsts)}
    sharing = {time.work.method for time in times if time.shared_seconds != 0.0} if stages else set[str]()
    done = list(trained(sharing)) if sharing else []
    asked = [*(spec for spec in chain(*groups.values()) if spec.method.full_name in sharing), *done]
    answers = dict(zip([spec.id for spec in asked], stages(asked) if stages else (), strict=True))
    seen = {stage.key for spec in done for stage in _shared_of(answers.get(spec.id))}
    wanted = Wanted(Counter(), {})
    for first, group in zip(firsts, groups.values(), strict=True):
        size, answer = size_of(first, cards[first.dataset.name]), answers.get(first.id)
        steps, shared = size.steps, sum(stage.steps for stage in _shared_of(answer))
        if answer:
            steps = answer.steps
        unseen = first.id in answers and not answer
        kind = RunKind(
            work_of(first, cards[first.dataset.name].task),
            first.dataset.name,
            replace(size, steps=steps),
            None if unseen else shared,
        )
        wanted.runs[kind] += len(group)
        for stage in chain.from_iterable(_shared_of(answers.get(spec.id)) for spec in group):
            if stage.key not in seen:
                seen.add(stage.key)
                wanted.once.setdefault(kind, []).append(stage.steps)
    alone = [time for time in times if time.on_gpu == 1]
    best = _sharing(wanted, times, hardware, on_gpu) if on_gpu > 1 else None
    if best is None:
        best = replace(_on_hardware(wanted, alone, hardware), on_gpu=on_gpu)
        best = replace(best, unshared=_UNSHARED.format(count=on_gpu) if on_gpu > 1 and best.hardware else "")
    records, disk = _disk(wanted.runs, times)
    pixels, decoded = _decoded(firsts, cards)
    return replace(best, bytes=records + pixels, disk=(*disk, *decoded))


def _shared_of(stages: RunStages | None) -> tuple[SharedStage, ...]:
    return stages.shared if stages else ()


def _sharing(wanted: Wanted, times: Sequence[StepTime], hardware: str, on_gpu: int) -> Estimate | None:
    """What runs take of which so many share a GPU, where all of them were timed so: else None.

    Each has its share of the GPU's hours, and the longest still takes as long as it did.
    """
    parts = [
        replace(
            time,
            step_seconds=time.step_seconds / on_gpu,
            image_seconds=time.image_seconds / on_gpu,
            run_seconds=time.run_seconds / on_gpu,
            shared_seconds=time.shared_seconds and time.shared_seconds / on_gpu,
        )
        for time in times
        if time.on_gpu == on_gpu
    ]
    if not any(hardware.casefold() in time.hardware.casefold() for time in parts):
        return None
    cost = _on_hardware(wanted, parts, hardware)
    return None if cost.unknown else replace(cost, longest=on_gpu * cost.longest, on_gpu=on_gpu)


def _on_hardware(wanted: Wanted, times: Sequence[StepTime], hardware: str) -> Estimate:
    """What runs take on the hardware that is meant, or on that of which most is known."""
    machines = by_hardware(times)
    meant = {name: timed for name, timed in machines.items() if hardware.casefold() in name.casefold()}
    if hardware and not meant:
        names = ", ".join(machines) or "none"
        raise InputError(f"--hardware {hardware}: nothing was timed on such hardware; there are times of {names}")
    costs = [(_timed(wanted, timed), sum(time.steps for time in timed)) for timed in (meant or {"": []}).values()]
    # the machine on which the fewest runs are of unknown time; of such ones that of the most timed steps
    best, _ = min(costs, key=lambda cost: (cost[0].unknown, -cost[1]))
    name = best.hardware or next(iter(meant), "")
    if not best.unknown or (not best.hardware and not hardware):
        return best
    return _timed(wanted, machines[name], translated(machines, name))


def _timed(wanted: Wanted, times: Sequence[StepTime], translations: Sequence[Translation] = ()) -> Estimate:
    """What runs take by the times of one machine, else by translated ones; nothing is said of the disk."""
    sources = [("", _by_setting(times)), *((each.words, _by_setting(each.times)) for each in translations)]
    cost, runs, used = _Hours(), Counter[str](), dict[str, dict[int, StepTime]]()
    for kind, count in wanted.runs.items():
        basis, nearest, ratio = _known(kind, sources)
        if nearest:
            cost.add(kind, count, wanted.once.get(kind, []), nearest, ratio)
        runs[basis] += count
        used.setdefault(basis, {}).update((id(time), time) for time in nearest)
    return Estimate(
        runs=runs.total(),
        hours=cost.seconds / 3600,
        longest=cost.longest / 3600,
        gpu=any(time.gpu for time in times),
        hardware=times[0].hardware if cost.seconds else "",
        bases={_in_words(basis, list(used[basis].values())): count for basis, count in runs.items()},
        unknown=sum(runs[basis] for basis in (_UNKNOWN, _NO_SIZE, _UNSEEN)),
        shared_hours=cost.shared / 3600,
        shared_stages=cost.stages,
        sharing_runs=cost.sharing,
    )


@dataclass
class _Hours:
    """Adds up what runs take, in seconds; of them those of stages that are trained once for several runs."""

    seconds: float = 0.0
    longest: float = 0.0
    shared: float = 0.0
    stages: int = 0
    sharing: int = 0

    def add(self, kind: RunKind, count: int, once: Sequence[int], times: Sequence[StepTime], ratio: float) -> None:
        step = ratio * statistics.median([time.step_seconds for time in times])
        image = statistics.median([time.image_seconds for time in times])
        in_shared = statistics.median([time.shared_seconds or 0.0 for time in times])
        whole = statistics.median([time.run_seconds for time in times])
        of_a_run = whole + (kind.size.steps or 0) * step + kind.size.points * (kind.size.images or 0) * image
        self.seconds += count * of_a_run + sum(once) * in_shared
        self.longest = max(self.longest, of_a_run + ((kind.shared or 0) * in_shared if once else 0.0))
        self.shared += sum(once) * in_shared
        self.stages += len(once)
        self.sharing += count if kind.shared else 0


_BySetting = Mapping[tuple[object, ...], Sequence[StepTime]]


def _by_setting(times: Iterable[StepTime]) -> _BySetting:
    by_setting: dict[tuple[object, ...], list[StepTime]] = {}
    for time in times:
        by_setting.setdefault(time.work.setting, []).append(time)
    return by_setting


def _known(kind: RunKind, sources: Iterable[tuple[str, _BySetting]]) -> tuple[str, list[StepTime], float]:
    """As ``_nearest``, by the first source that knows the time of a run; a source has words that its basis ends in."""
    if kind.size.steps is None or kind.size.images is None:
        return _NO_SIZE, [], 1.0
    if kind.shared is None:
        return _UNSEEN, [], 1.0
    for words, by_setting in sources:
        basis, nearest, ratio = _nearest(kind, by_setting)
        if nearest:
            return basis + words, nearest, ratio
    return _UNKNOWN, [], 1.0


def _in_words(basis: str, times: Sequence[StepTime]) -> str:
    steps = sorted({time.steps for time in times}) or [0]
    return basis.format(runs=_runs(len(times)), steps=" to ".join(map(str, dict.fromkeys((steps[0], steps[-1])))))


def _runs(count: int) -> str:
    return counted(count, "finished run")


def _nearest(kind: RunKind, by_setting: _BySetting) -> tuple[str, list[StepTime], float]:
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
    if kind.shared:
        times = [time for time in times if time.shared_seconds]
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
        if a and b and statistics.median(b):
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
            total += count * kind.size.points * kind.size.images * kind.size.kept
            words[f"predictions: {kind.size.kept} bytes an image and point of the curve, before compression"] = None
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
        places = counted(workers, "worker")
        if cost.on_gpu > 1 and not cost.unshared:
            places = f"{counted(workers, 'GPU')}, {cost.on_gpu} runs on each,"
        time += f"with {places} about {wall}"
    else:
        time = f"{'GPU' if cost.gpu else 'core or GPU'}-hours: not known"
    bases = [f"  {counted(count, 'run')}: {basis}" for basis, count in cost.bases.items()]
    if cost.unshared:
        bases.append(f"  {cost.unshared}")
    if cost.shared_stages:
        stages, runs = counted(cost.shared_stages, "stage"), counted(cost.sharing_runs, "run")
        each = "trained once" if cost.shared_stages == 1 else "each trained once"
        hours = cost.shared_hours
        time_of_it = f"{_number(hours)} hours" if hours >= 0.1 else _duration(hours)
        bases.append(f"  of it about {time_of_it} for {stages} that {runs} share, {each}")
    size = f"about {_bytes(cost.bytes)}" if cost.bytes else "not known"
    return [time, *bases, f"disk: {size}", *(f"  {basis}" for basis in cost.disk)]


def _number(hours: float) -> str:
    return f"{hours:,.0f}" if hours >= 10 else f"{hours:.2g}"


def _duration(hours: float) -> str:
    if hours < 1 / 60:
        return f"{3600 * hours:.2g} seconds"
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

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
from dataclasses import dataclass, field, replace
from itertools import chain

from bench.cards import DatasetCard
from bench.cost.hardware import Translation, by_hardware, translated
from bench.cost.nearest import NO_SIZE, UNKNOWN, UNSEEN, RunKind, by_setting_of, in_words, known_time
from bench.cost.shared import RunStages, SharedStage
from bench.cost.step_times import StepTime, work_of
from bench.errors import InputError
from bench.notation import counted
from bench.spec import RunSpec
from bench.training.size import size_of

_UNSHARED = "{count} runs on a GPU: not measured, so this is as if each run had its GPU alone"


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


@dataclass(frozen=True)
class Wanted:
    """What is to be trained: how many runs of each kind, and the steps of each stage that is trained once for some.

    In ``groups`` are runs of a kind that differ in their seeds alone.
    """

    runs: Counter[RunKind]
    once: dict[RunKind, list[int]]
    groups: list[tuple[RunKind, list[RunSpec]]]


def estimate(
    runs: Iterable[RunSpec],
    dataset: Callable[[str], DatasetCard],
    times: Sequence[StepTime],
    *,
    stages: Callable[[Sequence[RunSpec]], Sequence[RunStages | None]] | None = None,
    trained: Callable[[Container[str]], Iterable[RunSpec]] = lambda methods: (),
    beside: Callable[[RunSpec], int] = lambda spec: 0,
    hardware: str = "",
    on_gpu: int = 1,
    by_run: bool = False,
) -> tuple[Estimate, dict[str, float]]:
    """What runs to be trained would cost, on the hardware on which the times of most of them are known.

    Args:
        runs: to be trained.
        dataset: gives a dataset's card by its name.
        times: of records and of ``--measure``.
        stages: those of runs, asked where a method may share some.
        trained: gives the runs of methods whose shared stages are there, and need not be trained.
        beside: how many further models a run scores at each point.
        hardware: a part of the name of the hardware that is meant.
        on_gpu: how many runs are to share a GPU at a time.
        by_run: whether the seconds of each run are wanted.

    Returns:
        It, and the seconds of each run of which the time is known, by its id, where they are wanted. What a shared
        stage takes is divided among the runs of its kind.

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
    wanted = Wanted(Counter(), {}, [])
    for first, group in zip(firsts, groups.values(), strict=True):
        size, answer = size_of(first, cards[first.dataset.name], beside(first)), answers.get(first.id)
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
        wanted.groups.append((kind, group))
        for stage in chain.from_iterable(_shared_of(answers.get(spec.id)) for spec in group):
            if stage.key not in seen:
                seen.add(stage.key)
                wanted.once.setdefault(kind, []).append(stage.steps)
    alone = [time for time in times if time.on_gpu == 1]
    timed = _sharing(wanted, times, hardware, on_gpu) if on_gpu > 1 else None
    if timed is None:
        best, each = _on_hardware(wanted, alone, hardware)
        best = replace(best, on_gpu=on_gpu)
        best = replace(best, unshared=_UNSHARED.format(count=on_gpu) if on_gpu > 1 and best.hardware else "")
    else:
        best, each = timed
    records, disk = _disk(wanted.runs, times)
    pixels, decoded = _decoded(firsts, cards)
    seconds = {spec.id: each[kind] for kind, group in wanted.groups if by_run and kind in each for spec in group}
    return replace(best, bytes=records + pixels, disk=(*disk, *decoded)), seconds


def _shared_of(stages: RunStages | None) -> tuple[SharedStage, ...]:
    return stages.shared if stages else ()


_Timed = tuple[Estimate, Mapping[RunKind, float]]
"""What runs take together, and seconds of a run of each kind of which the time is known."""


def _sharing(wanted: Wanted, times: Sequence[StepTime], hardware: str, on_gpu: int) -> _Timed | None:
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
    cost, each = _on_hardware(wanted, parts, hardware)
    return None if cost.unknown else (replace(cost, longest=on_gpu * cost.longest, on_gpu=on_gpu), each)


def _on_hardware(wanted: Wanted, times: Sequence[StepTime], hardware: str) -> _Timed:
    """What runs take on the hardware that is meant, or on that of which most is known."""
    machines = by_hardware(times)
    meant = {name: timed for name, timed in machines.items() if hardware.casefold() in name.casefold()}
    if hardware and not meant:
        names = ", ".join(machines) or "none"
        raise InputError(f"--hardware {hardware}: nothing was timed on such hardware; there are times of {names}")
    costs = [(_timed(wanted, timed), sum(time.steps for time in timed)) for timed in (meant or {"": []}).values()]
    # the machine on which the fewest runs are of unknown time; of such ones that of the most timed steps
    (best, each), _ = min(costs, key=lambda cost: (cost[0][0].unknown, -cost[1]))
    name = best.hardware or next(iter(meant), "")
    if not best.unknown or (not best.hardware and not hardware):
        return best, each
    return _timed(wanted, machines[name], translated(machines, name))


def _timed(wanted: Wanted, times: Sequence[StepTime], translations: Sequence[Translation] = ()) -> _Timed:
    """What runs take by the times of one machine, else by translated ones; nothing is said of the disk."""
    sources = [("", by_setting_of(times)), *((each.words, by_setting_of(each.times)) for each in translations)]
    cost, runs, used = _Hours(), Counter[str](), dict[str, dict[int, StepTime]]()
    for kind, count in wanted.runs.items():
        basis, nearest, ratio = known_time(kind, sources)
        if nearest:
            cost.add(kind, count, wanted.once.get(kind, []), nearest, ratio)
        runs[basis] += count
        used.setdefault(basis, {}).update((id(time), time) for time in nearest)
    whole = Estimate(
        runs=runs.total(),
        hours=cost.seconds / 3600,
        longest=cost.longest / 3600,
        gpu=any(time.gpu for time in times),
        hardware=times[0].hardware if cost.seconds else "",
        bases={in_words(basis, list(used[basis].values())): count for basis, count in runs.items()},
        unknown=sum(runs[basis] for basis in (UNKNOWN, NO_SIZE, UNSEEN)),
        shared_hours=cost.shared / 3600,
        shared_stages=cost.stages,
        sharing_runs=cost.sharing,
    )
    return whole, cost.each


@dataclass
class _Hours:
    """Adds up what runs take, in seconds; of them those of stages that are trained once for several runs.

    ``each`` has those of a run of each kind, with its part of such stages.
    """

    seconds: float = 0.0
    longest: float = 0.0
    shared: float = 0.0
    stages: int = 0
    sharing: int = 0
    each: dict[RunKind, float] = field(default_factory=dict)

    def add(self, kind: RunKind, count: int, once: Sequence[int], times: Sequence[StepTime], ratio: float) -> None:
        step = ratio * statistics.median([time.step_seconds for time in times])
        image = statistics.median([time.image_seconds for time in times])
        in_shared = statistics.median([time.shared_seconds or 0.0 for time in times])
        whole = statistics.median([time.run_seconds for time in times])
        of_a_run = whole + (kind.size.steps or 0) * step + kind.size.points * (kind.size.images or 0) * image
        self.seconds += count * of_a_run + sum(once) * in_shared
        self.each[kind] = of_a_run + sum(once) * in_shared / count
        self.longest = max(self.longest, of_a_run + ((kind.shared or 0) * in_shared if once else 0.0))
        self.shared += sum(once) * in_shared
        self.stages += len(once)
        self.sharing += count if kind.shared else 0


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
    return round(total), [*([f"records: from {counted(sum(used.values()), 'finished run')}"] if used else []), *words]


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

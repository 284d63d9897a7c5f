"""What a plan would cost, and which of its datasets are not here."""

from __future__ import annotations

import argparse
import contextlib
import math
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import bench
from bench.cards.dataset import absent, absent_together
from bench.cards.further import further_names
from bench.commands.options import say
from bench.errors import InputError, printable, to_type
from bench.launch import untrained
from bench.launch.gpus import usable_gpus
from bench.launch.launcher import Option, count
from bench.launch.local import default_jobs
from bench.launch.status import Snapshot
from bench.records.secrets import redacted
from bench.records.store import UNSOUND, folder_name

if TYPE_CHECKING:
    from bench.cards import DatasetCard
    from bench.commands.request import Request
    from bench.cost.estimate import Estimate
    from bench.cost.forecast import ForecastOutcome
    from bench.cost.step_times import StepTime
    from bench.launch import Job
    from bench.records.store import Store
    from bench.spec import RunSpec


RUNS_PER_GPU = Option("runs_per_gpu", "runs that share each GPU", "N", count(1))


def add_cost(parser: argparse.ArgumentParser) -> None:
    """``--measure``, ``--jobs`` and the like of ``bench plan``."""
    parser.add_argument(
        "--measure",
        action="store_true",
        help="time some steps of each method and backbone here first, without weights and data, and keep the times",
    )
    parser.add_argument(
        "--times",
        action="append",
        default=[],
        metavar="PATH",
        help="step times of another machine too: its folder of results, or the step_times.json in it; may be repeated",
    )
    parser.add_argument(
        "--hardware",
        default="",
        metavar="NAME",
        help="what the estimate is for, by a part of its name, such as H200 (default: on which most times are known)",
    )
    parser.add_argument(
        "--jobs", type=int, metavar="N", help="runs at a time, for the wall-clock (default: as 'bench run')"
    )
    parser.add_argument(
        RUNS_PER_GPU.flag,
        dest="runs_per_gpu",
        metavar="N",
        default="1",
        help="runs that share each GPU, from finished runs that shared one so (default: 1)",
    )


def data_of(runs: Iterable[RunSpec], registry: bench.Registry) -> list[DatasetCard]:
    """The datasets of some runs, but for folders of images: all of those was read when the runs were planned."""
    names = dict.fromkeys(spec.dataset.name for spec in runs)
    return [registry.dataset(name) for name in names if not name.startswith("folder:")]


def missing_data(request: Request) -> list[dict[str, str]]:
    """The datasets of a plan that are not on this machine, each with the reason and what to do."""
    lacking = absent(data_of(request.plan.unique.values(), request.registry))
    return [{"dataset": name, "reason": reason} for name, reason in lacking.items()]


def print_missing_data(request: Request) -> None:
    """Which datasets of a plan are not on this machine, and how they are had; nothing where all are."""
    if lacking := absent(data_of(request.plan.unique.values(), request.registry)):
        print(f"{absent_together(lacking)}\n  {_how_prepared(lacking, request)}")


def require_data(runs: Iterable[RunSpec], request: Request) -> None:
    """Raise ``InputError`` that names every dataset of some runs of which files are missing; nothing is opened."""
    lacking = absent(data_of(runs, request.registry))
    if len(lacking) == 1:
        ((name, absence),) = lacking.items()
        raise InputError(f"{name}: {absence}")
    if lacking:
        raise InputError(f"{absent_together(lacking)}; {_how_prepared(lacking, request)}")


def _how_prepared(names: Iterable[str], request: Request) -> str:
    """The command that fetches datasets, in words; with the user's folders where one of them is theirs."""
    theirs = {name.partition("@")[0] for name in names} - bench.Registry().dataset_files.keys()
    plugins = request.plugins if theirs else ()
    return f"{to_type('data', 'prepare', 'NAME', *plugins)} fetches one or says how"


def cost_of(request: Request, store: Store, options: argparse.Namespace) -> Estimate:
    """What the runs that a plan misses would cost; with ``--measure``, steps of them are timed first.

    Raises ``InputError`` where an option cannot be.
    """
    if options.jobs is not None and options.jobs < 1:
        raise InputError(f"--jobs {options.jobs}: at least one run at a time is needed")
    on_gpu = RUNS_PER_GPU.value(options.runs_per_gpu)
    runs = request.plan.unique.values()
    missing = untrained(runs, store)
    if options.measure:
        from bench.cost.measure import measure

        for line in measure(missing or runs, request.registry, store, say):
            print(line, file=sys.stderr, flush=True)
    return _estimated(request, store, missing, options.times, options.hardware if missing else "", on_gpu)[0]


def _estimated(
    request: Request,
    store: Store,
    missing: Sequence[RunSpec],
    elsewhere: Iterable[str] = (),
    hardware: str = "",
    on_gpu: int = 1,
    by_run: bool = False,
) -> tuple[Estimate, dict[str, float]]:
    """What runs would cost, and seconds of each, where they are wanted."""
    from bench.cost.estimate import estimate
    from bench.cost.shared import stages_of
    from bench.plan.further import further_models

    registry, runs = request.registry, request.plan.unique.values()
    return estimate(
        missing,
        registry.dataset,
        _times(missing, store, elsewhere, registry) if missing else [],
        stages=lambda runs: stages_of(runs, registry),
        trained=lambda methods: [
            spec for spec in runs if spec.method.full_name in methods and store.holds(spec) and _on_shelf(spec, store)
        ],
        beside=lambda spec: len(further_models(spec.method.names, registry)),
        hardware=hardware,
        on_gpu=on_gpu,
        by_run=by_run,
    )


def write_forecast(request: Request, store: Store, runs: Sequence[RunSpec], job: Job) -> None:
    """Write down what runs that are launched are expected to take, where anything is known of it."""
    from bench.cost.forecast import FORM, Forecast, keep_forecast

    try:
        cost, seconds = _estimated(request, store, runs, by_run=True)
    except InputError as error:  # times that cannot be read keep no run from being trained
        say(f"nothing is predicted: {error}")
        return
    if seconds:
        typed = redacted(job.command)
        forecast = Forecast(FORM, seconds, cost.gpu, cost.hardware, dict(cost.bases), job.ranks, typed)
        with contextlib.suppress(OSError):  # a fault of the folder is told by what trains
            keep_forecast(store.root, forecast)


def outcome(request: Request, store: Snapshot) -> ForecastOutcome | None:
    """How the forecasts of a plan's runs came out."""
    from bench.cost.forecast import outcome_of

    return outcome_of(store, request.plan.unique.keys(), store.finished())


def _times(
    missing: Iterable[RunSpec], store: Store, elsewhere: Iterable[str], registry: bench.Registry
) -> list[StepTime]:
    """The step times in the results, and in those of other machines."""
    from bench.cost.step_times import read_times, times_in, times_of_records

    backbones, times = {spec.backbone.name.partition("@")[0] for spec in missing}, []

    def further(dataset: str, tested: int) -> int:
        return sum(each.size(tested) for each in registry.dataset(dataset).further) if further_names(dataset) else 0

    paths = [Path(path).expanduser() for path in elsewhere]
    for path in paths:
        if not path.exists():
            raise InputError(f"--times {path}: there is no such file or folder")
        if path.is_file():
            times += times_in(path)
    for results in (store, *(Snapshot(path) for path in paths if path.is_dir())):
        finished = results.finished().values()
        times += [*times_of_records(results, finished, backbones, further), *read_times(results)]
    return times


def _on_shelf(spec: RunSpec, store: Store) -> bool:
    """Whether a run's shared stages are there for others to take."""
    keys = []
    with contextlib.suppress(*UNSOUND, KeyError):
        for record, _ in store.records([folder_name(spec)]):
            keys = [stage.shared["key"] for stage in record.stages if stage.shared]
    return bool(keys) and all((store.root / "shared" / f"{key}.safetensors").is_file() for key in keys)


def cost_lines(request: Request, store: Snapshot, options: argparse.Namespace) -> list[str]:
    """What the runs that a plan misses would cost, in words. Raises as ``cost_of``."""
    from bench.cost.estimate import lines

    cost = cost_of(request, store, options)
    here = default_jobs() if cost.gpu == bool(usable_gpus()) else 1
    jobs = math.ceil(options.jobs / cost.on_gpu) if options.jobs else here
    if (came := outcome(request, store)) is None:
        return lines(cost, jobs)
    from bench.cost.forecast import in_words

    return [printable(in_words(came)), *lines(cost, jobs)]

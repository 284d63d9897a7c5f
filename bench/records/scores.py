"""Values of runs: a metric at the point of a curve that a selection rule picks, or of the whole run."""

from __future__ import annotations

import contextlib
import glob
import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path

from bench.errors import InputError, to_type
from bench.metrics import METRICS, TOP1, Cost, Metric, NotKept, TaskPredictions, predictions_of
from bench.metrics.metric import chosen_words, option_text, unusual, words_of
from bench.metrics.predictions import CLASS_NAMES
from bench.reading.ordinary import open_ordinary
from bench.records.index import Scored
from bench.records.measured import (
    MeasuredOtherwise,
    NotMeasured,
    believed,
    folder_of,
    measured_runs,
    read_measurement,
    stem_of,
)
from bench.records.record import Record, known_by
from bench.records.store import Finished, Store
from bench.rules import SELECTIONS, kept_at


class Scores:
    """The values of runs in a folder of results.

    The score of its task, top-1 most often, is known of every run. Other metrics of a curve are in the records, and
    what these lack is computed from the predictions beside them; it is read when it is first asked for.
    """

    def __init__(self, root: Path) -> None:
        self.root = Path(root)
        self.reasons: dict[tuple[str, str, str], str] = {}
        self._computed: dict[tuple[str, str, str], list[float]] = {}
        self._last: tuple[str, Scored | None] = "", None

    def point(self, run: Finished, rule: str, selector: Metric) -> int:
        """The place in a run's curve of the point that a selection rule picks, counted from 0.

        The rules are ``last``; ``best-val``, the first point of the best validation score by the selector, in its own
        direction; and ``best-test``, an oracle that looks at the test split. Raises ``ValueError``: there is no such
        rule, or no point has a value to be picked by.
        """
        at = self._picked(run, rule, selector)
        if at is None:
            raise ValueError(f"{run.folder}: no point has {selector.title} on the {rule.removeprefix('best-')} split")
        return at

    def of(
        self, run: Finished, metric: Metric, rule: str, split: str = "test", selector: Metric | None = None
    ) -> float:
        """The value of a run; nan where there is none, and ``why_not`` says why.

        The point is picked by the selector (see ``point``), or else by the metric itself; for a metric of the whole run
        neither rule nor split matter. What is measured of models is of the one kept at the point, and in the place of
        ``best-test`` at the last.

        Raises:
            ValueError: there is no such rule.
            InputError: a plug-in's metric cannot be computed.
        """
        if metric.of_run is not None:
            cost = self.cost(run)
            value = metric.of_run(cost) if cost else math.nan
            if math.isnan(value):
                lacks = f"it was not measured, or not reached: {metric.title}" if cost else "the record cannot be read"
                self.reasons[run.folder, metric.name, ""] = lacks
            return value
        if metric.measure:
            return self._measured(run, metric, kept_at(rule), split, selector or TOP1)
        values, at = self.values(run, metric, split), self._picked(run, rule, selector or metric.plain)
        return math.nan if at is None else values[at]

    def _measured(self, run: Finished, metric: Metric, rule: str, split: str, selector: Metric) -> float:
        """What was measured of the model that was kept at a point of the curve; nan, and a reason, where it was not."""
        if (at := self._picked(run, rule, selector)) is None:
            return math.nan
        value, reason = math.nan, f"{metric.title} is no finite number"
        try:
            value = self.measured_at(run, metric, at, split)
        except MeasuredOtherwise as lacking:
            reason = str(lacking)
        except NotMeasured as lacking:
            typed = [run.id, metric.measure, *([] if rule == "last" else ["--selection", rule]), *how_chosen(metric)]
            reason = f"{lacking}; {to_type('measure', *typed)} measures the kept model"
        if math.isnan(value):
            self.reasons[run.folder, metric.name, ""] = reason
        return value

    def may_have(self, run: Finished, metric: Metric) -> bool:
        """Whether a run can have a value: the metric is of its task, or of models of which anything was measured."""
        if metric.measure:
            return run.id in self._measured_runs
        return not metric.of_curve or metric.task == METRICS[run.score].task

    @cached_property
    def _measured_runs(self) -> frozenset[str]:
        return measured_runs(self.root)

    def measured_at(self, run: Finished, metric: Metric, at: int, split: str = "test") -> float:
        """What was measured of the model that was kept at a place of a run's curve; nan where it is no finite number.

        Raises ``NotMeasured``: there is no measurement that may be believed.
        """
        step, _, top1 = run.values[at]
        folder, stem = folder_of(self.root, run.id), stem_of(metric.measure, str(step), split, {})
        path = folder / f"{stem_of(metric.measure, str(step), split, dict(metric.chosen))}.json"
        if not metric.chosen and not path.is_file() and (ways := sorted(_ways(folder, stem, metric))):
            raise MeasuredOtherwise(f"it was measured otherwise: --metric '{metric.plain_name}{ways[0]}' shows that")
        return _number(believed(path, top1, metric.code).numbers.get(metric.plain_name))

    def _picked(self, run: Finished, rule: str, selector: Metric) -> int | None:
        if rule not in SELECTIONS:
            raise ValueError(f"no selection rule is called '{rule}'")
        if rule == "last":
            return len(run.values) - 1
        values = self.values(run, selector, rule.removeprefix("best-"))
        numbers = [at for at, value in enumerate(values) if not math.isnan(value)]
        return max(numbers, key=lambda at: selector.sign * values[at], default=None)

    def values(self, run: Finished, metric: Metric, split: str = "test") -> Sequence[float]:
        """The value of a metric of the curve at each point of a run; nan where there is none."""
        if metric.name == run.score:
            if split == "test":
                return [test for _, _, test in run.values]
            return [math.nan if val is None else val for _, val, _ in run.values]
        if recorded := self._recorded(run, metric, split):
            return recorded
        key = (run.folder, metric.name, split)
        if key not in self._computed:  # many numbers of many runs are not kept in memory, but what takes long is
            self._computed[key] = self._predicted(run, metric, split)
        return self._computed[key]

    def why_not(self, run: Finished, metric: Metric, split: str = "test") -> str:
        """Why a run has no value of a metric, in words; empty where it has one or none was asked for."""
        return self.reasons.get((run.folder, metric.name, split if metric.of_curve else ""), "")

    def cost(self, run: Finished) -> Cost | None:
        """What a run took; None where its record cannot be read."""
        scored = self._of_record(run)
        return cost_of(scored) if scored else None

    @cached_property
    def _scored(self) -> Mapping[str, Scored]:
        return Store(self.root).scored()

    def _of_record(self, run: Finished) -> Scored | None:
        if self._last[0] != run.folder:  # several metrics of a run are asked for one after the other
            self._last = run.folder, self._scored.get(run.folder)
        return self._last[1]

    def _recorded(self, run: Finished, metric: Metric, split: str) -> list[float] | None:
        """The values in the record; None where it lacks one."""
        scored = self._of_record(run)
        points = [point.test if split == "test" else point.val for point in scored.curve] if scored else []
        if not points or any(scores is None or metric.name not in scores for scores in points):
            return None
        return [_number((scores or {})[metric.name]) for scores in points]

    def elsewhere(self, run: Finished) -> list[str]:
        """The names behind an ``@`` under which a run was scored: of further tests, and of further models."""
        scored = self._of_record(run)
        names = scored.curve[-1].test if scored else {}
        return list(dict.fromkeys(name.partition("@")[2] for name in names if "@" in name))

    def _recorded_scores(self, run: Finished, split: str) -> list[float]:
        """By which predictions are known: the score at each point. Raises ``NotKept`` where a run lacks it."""
        split, at, where = split.partition("@")
        if not at:
            return list(self.values(run, METRICS[run.score], split))
        values = self._recorded(run, METRICS[run.score].at(where), split)
        if values is None:
            raise NotKept(f"the run was not scored {words_of(where)}{' on the validation split' * (split == 'val')}")
        return values

    def _predicted(self, run: Finished, metric: Metric, split: str) -> list[float]:
        """The values computed from the predictions; nan, and a reason, where that cannot be."""
        try:
            at = f"{split}@{metric.where}" if metric.where else split
            return [metric.of(predictions) for predictions in self._predictions_for(metric, run, at)]
        except NotKept as lacking:
            self.reasons[run.folder, metric.name, split] = str(lacking)
            return [math.nan] * len(run.values)
        except (Exception, SystemExit) as error:  # the metric may be anybody's
            problem = f"{type(error).__name__}: {error}"
            raise InputError(f"metric {metric.name}: it cannot be computed of {run.folder}: {problem}") from error

    def _predictions_for(self, metric: Metric, run: Finished, split: str) -> list[TaskPredictions]:
        """As ``predictions``. Raises ``NotKept``: the metric is of another task."""
        task = METRICS[run.score].task
        if metric.task != task:
            raise NotKept(f"{metric.title} is of {metric.task}, and the run of {task}")
        return self.predictions(run, split)

    def predictions(self, run: Finished, split: str) -> list[TaskPredictions]:
        """What was predicted at each point of a split, or elsewhere (``test@noise``).

        Raises ``NotKept`` where there is nothing that fits the record.
        """
        import numpy as np

        from bench.records.proof import PREDICTIONS, UNREADABLE, of_points, read_predictions

        path = self.root / "runs" / run.folder / PREDICTIONS
        if split == "val" and run.values[-1][1] is None:
            raise NotKept("the run has no validation split")
        recorded = self._recorded_scores(run, split)
        if not path.exists():
            raise NotKept("the run kept no predictions")
        try:
            score = METRICS[run.score]
            kind = predictions_of(score.task)
            of_point, of_split = read_predictions(path, split, kind)
        except UNREADABLE as error:
            raise NotKept(f"{path}: it cannot be read as predictions ({error})") from None
        try:
            every = of_points(of_point, of_split, len(run.values), kind)
        except ValueError:
            raise NotKept(f"{path}: the predictions do not fit the record's curve") from None
        if not np.allclose(list(map(score.of, every)), np.asarray(recorded), rtol=0, atol=1e-6):
            raise NotKept(f"{path}: the predictions are not those of the record, by its {score.title}")
        return every

    def class_names(self, run: Finished) -> tuple[str, ...]:
        """The names of a run's classes, by label; none where it kept none, or its predictions cannot be read."""
        import numpy as np

        from bench.records.proof import PREDICTIONS, UNREADABLE

        path = self.root / "runs" / run.folder / PREDICTIONS
        with contextlib.suppress(*UNREADABLE), open_ordinary(path) as file, np.load(file, allow_pickle=False) as arrays:
            return tuple(map(str, arrays[CLASS_NAMES].tolist()))
        return ()


def how_chosen(metric: Metric) -> list[str]:
    """How it is typed that a metric is measured with what was chosen."""
    chosen = dict(metric.chosen)
    images = ["--images", str(chosen.pop("images"))] if "images" in chosen else []
    options = (["--option", f"{name}={option_text(value)}"] for name, value in chosen.items())
    return [*images, *itertools.chain(*options)]


def _ways(folder: Path, stem: str, metric: Metric) -> Iterator[str]:
    """With which options a measurement is there, in parentheses; those that cannot be read are not."""
    usual = dict(metric.options)
    for path in folder.glob(f"{glob.escape(stem)}*.json"):
        with contextlib.suppress(InputError):
            measurement = read_measurement(path)
            options = unusual(measurement.options, usual)
            for images in ({}, {"images": measurement.images}, {"images": 0}):
                if path.stem == stem_of(metric.measure, measurement.point, measurement.split, images | options):
                    yield chosen_words((images | options).items())


def cost_of(record: Record | Scored) -> Cost:
    usage, timing = record.usage, record.timing
    energy = memory = None
    if usage is not None:
        on_gpu = usage.gpu_memory_bytes is not None
        memory = usage.gpu_memory_bytes if on_gpu else usage.memory_bytes
        energy = usage.energy_joules.gpu if on_gpu else usage.energy_joules.processor
    evaluated, score = timing.evaluation_seconds, known_by(record.task).name
    return Cost(
        seconds=math.nan if evaluated is None else timing.seconds - evaluated,
        memory=_number(memory),
        trained=float(max((stage.trained_weights for stage in record.stages), default=0)) or math.nan,
        energy=_number(energy),
        parameters=_number(record.parameters),
        curve=tuple((_number(point.seconds), _number((point.val or point.test).get(score))) for point in record.curve),
    )


def _number(value: float | None) -> float:
    return math.nan if value is None else float(value)

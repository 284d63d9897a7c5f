"""How stored runs did on each test image, and two methods compared image by image."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from bench.errors import InputError
from bench.metrics import METRICS, Predictions, per_image, predictions_of
from bench.records.proof import PREDICTIONS, UNREADABLE, of_points, read_predictions
from bench.records.scores import Scores
from bench.records.store import Finished
from bench.stats.family import holm
from bench.stats.items import mcnemar, paired_bootstrap, score_bootstrap, wilcoxon
from bench.stats.reach import refusal
from bench.tables.compare import Table
from bench.tables.power import where_of

LEVEL = 0.95
"""Coverage of the intervals."""


@dataclass(frozen=True)
class Answers:
    """A run on the images of a split.

    Attributes:
        path: the file of its predictions.
        truth: (images, ...), what is kept of what was to be predicted.
        scores: (images,), whether each was predicted rightly; or, at a task where that is no matter of yes or no, a
            score in percent, nan for an image that has none.
    """

    path: Path
    truth: npt.NDArray[Any]
    scores: npt.NDArray[Any]

    @property
    def of_right(self) -> bool:
        """Whether an image is right or wrong."""
        return self.scores.dtype == bool


@dataclass(frozen=True)
class Rivals:
    """The finished runs of a method and of the baseline, by seed, with the labels that they have in common."""

    where: str
    method: str
    baseline: str
    runs: Mapping[int, Finished]
    base_runs: Mapping[int, Finished]


@dataclass(frozen=True)
class ItemTest:
    """A method against the baseline, image by image.

    Attributes:
        test: ``mcnemar`` or, of scores, ``wilcoxon``, of one pair of runs; ``bootstrap``, of the mean over seeds.
        where: the labels that both have in common.
        seeds: whose runs: one for McNemar; for the bootstrap all that have finished of either.
        gap: the method's accuracy, or mean score, less the baseline's, in points.
        low: lower end of the interval over images; nan, as ``high``, of a pair of runs.
        only_method: images that the method got right, or scored higher on, alone; 0 for the bootstrap.
        p_holm: after Holm's correction over all tests of the same kind with the same labels in common.
        note: why it cannot be significant even without correction, with the arithmetic.
    """

    test: str
    where: str
    method: str
    baseline: str
    seeds: tuple[int, ...]
    images: int
    gap: float
    low: float = math.nan
    high: float = math.nan
    only_method: int = 0
    only_baseline: int = 0
    p: float = 1.0
    p_holm: float = 1.0
    note: str = ""


def rivals_of(tables: Iterable[Table], finished: Mapping[str, Finished]) -> Iterator[Rivals]:
    """Each cell's runs against those of its baseline, where both have finished.

    In an experiment without a baseline the first method is in its place.
    """
    for table in tables:
        for contest in table.plan.contests:
            pairs = contest.pairs
            if not table.plan.baseline and not table.plan.is_published:
                pairs = tuple((place, contest.places[0]) for place in contest.places[1:])
            for place, base_place in pairs:
                entry, base = table.at(place), table.at(base_place)
                runs = {spec.seed: finished[spec.id] for spec in entry.cell.runs}
                base_runs = {spec.seed: finished[spec.id] for spec in base.cell.runs}
                if runs and base_runs:
                    yield Rivals(where_of(table, contest), entry.planned.name, base.planned.name, runs, base_runs)


def read_answers(root: Path, run: Finished, rule: str, split: str = "test") -> Answers:
    """How a run did on each image at the point of its curve that a selection rule picks (``bench.records.scores``).

    Raises:
        InputError: there are no predictions, they cannot be read, or they are not those of the record.
    """
    path = root / "runs" / run.folder / PREDICTIONS
    again = "remove the run's folder and train it again"
    if not path.is_file():
        raise InputError(f"{path}: there is no such file, and tests of images need a run's predictions; {again}")
    metric = METRICS[run.score]
    of_image, kind = per_image(metric.task), predictions_of(metric.task)
    if of_image is None:
        raise InputError(f"{path}: an image of {metric.task} has no score of its own, so there is no test of images")
    try:
        kept, truth = read_predictions(path, split, kind, least=kind is Predictions)
    except KeyError:
        raise InputError(f"{path}: it has no predictions of the {split} split; {again}") from None
    except UNREADABLE as error:
        raise InputError(f"{path}: it cannot be read as predictions ({error}); {again}") from None
    try:
        if not next(iter(truth.values())).size:
            raise ValueError("there are no images")
        points = of_points(kept, truth, len(run.values), kind)
    except ValueError:
        shapes = [f"{array.shape}" for array in (*kept.values(), *truth.values())]
        problem = f"{' and '.join(shapes)} for {len(run.values)} points"
        raise InputError(f"{path}: the predictions do not fit the record's curve: {problem}; {again}") from None
    stored = Scores(root)
    predicted = points[stored.point(run, rule, metric)]
    score, recorded = metric.of(predicted), stored.of(run, metric, rule, split)
    if not math.isclose(score, recorded, abs_tol=1e-6):
        raise InputError(
            f"{path}: {metric.title} is {score:.4f} {metric.unit}, and the record says {recorded:.4f}; {again}"
        )
    return Answers(path, next(iter(truth.values())), np.asarray(of_image(predicted)))


def item_tests(
    root: Path, rivals: Iterable[Rivals], rule: str, split: str = "test", alpha: float = 0.05
) -> list[ItemTest]:
    """A test for each pair of runs of one seed, and the paired bootstrap over images of the seeds' means.

    The first is McNemar's exact one where an image is right or wrong, else Wilcoxon's signed-rank test of its scores.

    Rivals without scored runs on both sides give nothing; ``alpha`` is the level at which a note says whether McNemar's
    p can be small at all.

    Raises:
        InputError: as ``read_answers``, or the images of two runs differ.
    """
    stored: dict[str, Answers] = {}
    scores = Scores(root)

    def answers(runs: Mapping[int, Finished]) -> dict[int, Answers]:
        scored = {
            seed: run for seed, run in runs.items() if not math.isnan(scores.of(run, METRICS[run.score], rule, split))
        }
        for run in scored.values():
            if run.id not in stored:
                stored[run.id] = read_answers(root, run, rule, split)
        return {seed: stored[run.id] for seed, run in sorted(scored.items())}

    tests: list[ItemTest] = []
    for each in rivals:
        by_seed, base_by_seed = answers(each.runs), answers(each.base_runs)
        if by_seed and base_by_seed:
            _same_images([*base_by_seed.values(), *by_seed.values()])
            tests += _pairs(each, by_seed, base_by_seed, alpha)
            tests.append(_bootstrap(each, by_seed, base_by_seed))
    return _corrected(tests)


def _pairs(
    rivals: Rivals, answers: Mapping[int, Answers], base_answers: Mapping[int, Answers], alpha: float
) -> Iterator[ItemTest]:
    for seed in sorted(answers.keys() & base_answers.keys()):
        a, b = _scored(answers[seed], base_answers[seed])
        only_a, only_b = int((a > b).sum()), int((b > a).sum())
        of_right = answers[seed].of_right
        yield ItemTest(
            "mcnemar" if of_right else "wilcoxon",
            rivals.where,
            rivals.method,
            rivals.baseline,
            (seed,),
            a.size,
            100 * (only_a - only_b) / a.size if of_right else float(a.mean() - b.mean()),
            only_method=only_a,
            only_baseline=only_b,
            p=mcnemar(a, b) if of_right else wilcoxon(a, b),
            note=refusal("mcnemar", only_a + only_b, alpha=alpha) if of_right else "",
        )


def _bootstrap(rivals: Rivals, answers: Mapping[int, Answers], base_answers: Mapping[int, Answers]) -> ItemTest:
    both = [*answers.values(), *base_answers.values()]
    drawn_of = paired_bootstrap if both[0].of_right else score_bootstrap
    scores = np.stack(_scored(*both))
    a, b = scores[: len(answers)], scores[len(answers) :]
    drawn = drawn_of(a, b, level=LEVEL)
    seeds = tuple(sorted({*answers, *base_answers}))
    names = (rivals.where, rivals.method, rivals.baseline)
    return ItemTest("bootstrap", *names, seeds, a.shape[1], drawn.gap, drawn.low, drawn.high, p=drawn.p)


def _scored(*answers: Answers) -> list[npt.NDArray[Any]]:
    """The scores of runs, each (images,), on the images that have some: that is of what was to be predicted."""
    has_score = ~np.isnan(np.stack([run.scores for run in answers]).astype(float)).any(0)
    return [run.scores[has_score] for run in answers]


def _same_images(answers: Sequence[Answers]) -> None:
    first = answers[0]
    for second in answers[1:]:
        if not np.array_equal(first.truth, second.truth):
            raise InputError(
                f"{first.path} and {second.path}: their images differ ({len(first.truth)} and {len(second.truth)}, "
                "or other labels), and an image-by-image test is about the same images"
            )


def _corrected(tests: Sequence[ItemTest]) -> list[ItemTest]:
    """The tests with p after Holm's correction over those of a kind with the same labels in common."""
    corrected = list(tests)
    for family in dict.fromkeys((test.test, test.where) for test in tests):
        places = [place for place, test in enumerate(tests) if (test.test, test.where) == family]
        for place, p in zip(places, holm([tests[place].p for place in places]), strict=True):
            corrected[place] = replace(tests[place], p_holm=float(p))
    return corrected

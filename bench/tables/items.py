"""Which test images stored runs got right, and two methods compared image by image."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from bench.errors import InputError
from bench.metrics import TOP1
from bench.records.proof import PREDICTIONS, UNREADABLE, read_predictions
from bench.records.scores import Scores
from bench.records.store import Finished
from bench.stats.family import holm
from bench.stats.items import mcnemar, paired_bootstrap
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
        labels: (images,), what was to be predicted.
        right: (images,), whether it was.
    """

    path: Path
    labels: npt.NDArray[np.int64]
    right: npt.NDArray[np.bool_]


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
        test: ``mcnemar``, of one pair of runs, or ``bootstrap``, of the mean over seeds.
        where: the labels that both have in common.
        seeds: whose runs: one for McNemar; for the bootstrap all that have finished of either.
        gap: the method's accuracy less the baseline's, in points.
        low: lower end of the interval over images; nan, as ``high``, for McNemar, which gives none.
        only_method: images that only the method got right; 0 for the bootstrap.
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
    """Which images a run got right at the point of its curve that a selection rule picks (``bench.records.scores``).

    Raises:
        InputError: there are no predictions, they cannot be read, or they are not those of the record.
    """
    path = root / "runs" / run.folder / PREDICTIONS
    again = "remove the run's folder and train it again"
    if not path.is_file():
        raise InputError(f"{path}: there is no such file, and tests of images need a run's predictions; {again}")
    if run.score != TOP1.name:
        raise InputError(f"{path}: tests of images are about right and wrong answers, and this run has none")
    try:
        of_points, of_split = read_predictions(path, split, least=True)
        predicted, labels = of_points[""], of_split["labels"]
    except KeyError:
        raise InputError(f"{path}: it has no predictions of the {split} split; {again}") from None
    except UNREADABLE as error:
        raise InputError(f"{path}: it cannot be read as predictions ({error}); {again}") from None
    if labels.ndim != 1 or not labels.size or predicted.shape != (len(run.values), labels.size):
        shapes = f"{predicted.shape} for {len(run.values)} points and {labels.shape} labels"
        raise InputError(f"{path}: the predictions do not fit the record's curve: {shapes}; {again}")
    scores = Scores(root)
    right = predicted[scores.point(run, rule, TOP1)] == labels
    accuracy, recorded = 100 * float(right.mean()), scores.of(run, TOP1, rule, split)
    if not math.isclose(accuracy, recorded, abs_tol=1e-6):
        raise InputError(f"{path}: {accuracy:.4f} % are right, and the record says {recorded:.4f} %; {again}")
    return Answers(path, labels, np.asarray(right))


def item_tests(
    root: Path, rivals: Iterable[Rivals], rule: str, split: str = "test", alpha: float = 0.05
) -> list[ItemTest]:
    """McNemar's exact test for each pair of runs of one seed, and the paired bootstrap over images of the seeds' means.

    Rivals without scored runs on both sides give nothing; ``alpha`` is the level at which a note says whether McNemar's
    p can be small at all.

    Raises:
        InputError: as ``read_answers``, or the images of two runs differ.
    """
    stored: dict[str, Answers] = {}
    scores = Scores(root)

    def answers(runs: Mapping[int, Finished]) -> dict[int, Answers]:
        scored = {seed: run for seed, run in runs.items() if not math.isnan(scores.of(run, TOP1, rule, split))}
        for run in scored.values():
            if run.id not in stored:
                stored[run.id] = read_answers(root, run, rule, split)
        return {seed: stored[run.id] for seed, run in sorted(scored.items())}

    tests: list[ItemTest] = []
    for each in rivals:
        by_seed, base_by_seed = answers(each.runs), answers(each.base_runs)
        if by_seed and base_by_seed:
            _same_images([*base_by_seed.values(), *by_seed.values()])
            tests += _mcnemar(each, by_seed, base_by_seed, alpha)
            tests.append(_bootstrap(each, by_seed, base_by_seed))
    return _corrected(tests)


def _mcnemar(
    rivals: Rivals, answers: Mapping[int, Answers], base_answers: Mapping[int, Answers], alpha: float
) -> Iterator[ItemTest]:
    for seed in sorted(answers.keys() & base_answers.keys()):
        a, b = answers[seed].right, base_answers[seed].right
        only_a, only_b = int((a & ~b).sum()), int((b & ~a).sum())
        yield ItemTest(
            "mcnemar",
            rivals.where,
            rivals.method,
            rivals.baseline,
            (seed,),
            a.size,
            100 * (only_a - only_b) / a.size,
            only_method=only_a,
            only_baseline=only_b,
            p=mcnemar(a, b),
            note=refusal("mcnemar", only_a + only_b, alpha=alpha),
        )


def _bootstrap(rivals: Rivals, answers: Mapping[int, Answers], base_answers: Mapping[int, Answers]) -> ItemTest:
    a = np.stack([run.right for run in answers.values()])
    b = np.stack([run.right for run in base_answers.values()])
    drawn = paired_bootstrap(a, b, level=LEVEL)
    seeds = tuple(sorted({*answers, *base_answers}))
    names = (rivals.where, rivals.method, rivals.baseline)
    return ItemTest("bootstrap", *names, seeds, a.shape[1], drawn.gap, drawn.low, drawn.high, p=drawn.p)


def _same_images(answers: Sequence[Answers]) -> None:
    first = answers[0]
    for second in answers[1:]:
        if not np.array_equal(first.labels, second.labels):
            raise InputError(
                f"{first.path} and {second.path}: their images differ ({first.labels.size} and {second.labels.size}, "
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

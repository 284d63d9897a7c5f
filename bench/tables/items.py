"""Which test images stored runs got right, and two methods compared image by image."""

from __future__ import annotations

import math
import zipfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from bench.errors import InputError
from bench.metrics import TOP1
from bench.records.scores import Scores
from bench.records.store import Finished
from bench.stats import holm, mcnemar, paired_bootstrap, refusal
from bench.tables.compare import Table
from bench.tables.power import where_of

PREDICTIONS = "predictions.npz"
LEVEL = 0.95
"""Coverage of the intervals."""


@dataclass(frozen=True)
class Outcome:
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
    own: Mapping[int, Finished]
    base: Mapping[int, Finished]


@dataclass(frozen=True)
class ItemTest:
    """A method against the baseline, image by image.

    Attributes:
        test: ``mcnemar``, of one pair of runs, or ``bootstrap``, of the mean over seeds.
        where: the labels that both have in common.
        method: its label.
        baseline: the baseline's.
        seeds: whose runs: one for McNemar; for the bootstrap all that have finished of either.
        images: how many.
        gap: the method's accuracy less the baseline's, in points.
        low: lower end of the interval over images; nan for McNemar, which gives none.
        high: its upper end.
        only_method: images that only the method got right; 0 for the bootstrap.
        only_baseline: images that only the baseline got right.
        p: two-sided.
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
            for entry, base in ((table.at(place), table.at(other)) for place, other in pairs):
                method, baseline = ({spec.seed: finished[spec.id] for spec in each.cell.runs} for each in (entry, base))
                if method and baseline:
                    yield Rivals(where_of(table, contest), entry.planned.name, base.planned.name, method, baseline)


def read_outcome(root: Path, run: Finished, rule: str, split: str = "test") -> Outcome:
    """Which images a run got right at the point of its curve that a selection rule picks.

    Args:
        root: the folder of results.
        run: what the store knows of it.
        rule: ``last``, ``best-val`` or ``best-test`` (see ``bench.records.scores``).
        split: ``test`` or ``val``.

    Raises:
        InputError: there are no predictions, they cannot be read, or they are not those of the record.
    """
    path = root / "runs" / run.folder / PREDICTIONS
    again = "remove the run's folder and train it again"
    if not path.is_file():
        raise InputError(f"{path}: there is no such file, and tests of images need a run's predictions; {again}")
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as stored:
            predicted, labels = np.asarray(stored[split]), np.asarray(stored[f"{split}_labels"])
    except KeyError:
        raise InputError(f"{path}: it has no predictions of the {split} split; {again}") from None
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise InputError(f"{path}: it cannot be read as predictions ({error}); {again}") from None
    if labels.ndim != 1 or not labels.size or predicted.shape != (len(run.values), labels.size):
        told = f"{predicted.shape} for {len(run.values)} points and {labels.shape} labels"
        raise InputError(f"{path}: the predictions do not fit the record's curve: {told}; {again}")
    scores = Scores(root)
    right = predicted[scores.point(run, rule, TOP1)] == labels
    accuracy, recorded = 100 * float(right.mean()), scores.of(run, TOP1, rule, split)
    if not math.isclose(accuracy, recorded, abs_tol=1e-6):
        raise InputError(f"{path}: {accuracy:.4f} % are right, and the record says {recorded:.4f} %; {again}")
    return Outcome(path, labels, np.asarray(right))


def item_tests(
    root: Path, rivals: Iterable[Rivals], rule: str, split: str = "test", alpha: float = 0.05
) -> list[ItemTest]:
    """McNemar's exact test for each pair of runs of one seed, and the paired bootstrap over images of the seeds' means.

    Args:
        root: the folder of results.
        rivals: what is compared; those without finished runs on both sides give nothing.
        rule: the selection rule.
        split: whose images.
        alpha: the level at which a note says whether McNemar's p can be small at all.

    Raises:
        InputError: as ``read_outcome``, or the images of two runs differ.
    """
    known: dict[str, Outcome] = {}
    scores = Scores(root)

    def outcomes(runs: Mapping[int, Finished]) -> dict[int, Outcome]:
        scored = {seed: run for seed, run in runs.items() if not math.isnan(scores.of(run, TOP1, rule, split))}
        for run in scored.values():
            if run.id not in known:
                known[run.id] = read_outcome(root, run, rule, split)
        return {seed: known[run.id] for seed, run in sorted(scored.items())}

    found: list[ItemTest] = []
    for each in rivals:
        own, base = outcomes(each.own), outcomes(each.base)
        if own and base:
            _same_images([*base.values(), *own.values()])
            found += [*_mcnemar(each, own, base), _bootstrap(each, own, base)]
    return _corrected(found, alpha)


def _mcnemar(rivals: Rivals, own: Mapping[int, Outcome], base: Mapping[int, Outcome]) -> Iterator[ItemTest]:
    for seed in sorted(own.keys() & base.keys()):
        a, b = own[seed].right, base[seed].right
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
        )


def _bootstrap(rivals: Rivals, own: Mapping[int, Outcome], base: Mapping[int, Outcome]) -> ItemTest:
    a, b = (np.stack([outcome.right for outcome in runs.values()]) for runs in (own, base))
    found = paired_bootstrap(a, b, level=LEVEL)
    seeds = tuple(sorted({*own, *base}))
    names = (rivals.where, rivals.method, rivals.baseline)
    return ItemTest("bootstrap", *names, seeds, a.shape[1], found.gap, found.low, found.high, p=found.p)


def _same_images(outcomes: Sequence[Outcome]) -> None:
    first = outcomes[0]
    for other in outcomes[1:]:
        if not np.array_equal(first.labels, other.labels):
            raise InputError(
                f"{first.path} and {other.path}: their images differ ({first.labels.size} and {other.labels.size}, or "
                "other labels), and an image-by-image test is about the same images"
            )


def _corrected(found: Sequence[ItemTest], alpha: float) -> list[ItemTest]:
    """The tests with p after Holm's correction, and with what those cannot say."""
    corrected = list(found)
    for family in dict.fromkeys((one.test, one.where) for one in found):
        places = [place for place, one in enumerate(found) if (one.test, one.where) == family]
        for place, p in zip(places, holm([found[place].p for place in places]), strict=True):
            one = found[place]
            differ = one.only_method + one.only_baseline
            note = refusal("mcnemar", differ, alpha=alpha) if one.test == "mcnemar" else ""
            corrected[place] = replace(one, p_holm=float(p), note=note)
    return corrected

"""How often each rule sees a difference where there is none: measures the table of docs/statistics.md and writes it.

    python benchmarks/false_positives.py

Every rule is given made-up results of methods that are equally good, thousands of times, with 3, 5 and 10 seeds. The
offered tests are called as the suite calls them, at a nominal 5 %. Draws are seeded, so the same versions give the same
numbers. It takes about a minute on one core.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bench.stats.across import (
    critical_difference,
    friedman,
    mean_ranks,
    over_datasets,
    stratified_permutation,
    stratified_signs,
)
from bench.stats.best import least_difference, within
from bench.stats.family import holm
from bench.stats.items import mcnemar, paired_bootstrap
from bench.stats.samples import Floats, summary, t_interval
from bench.stats.two import paired_permutation, paired_t, permutation, welch
from benchmarks.page import machine, measure

BEGIN, END = "<!-- measured: begin -->", "<!-- measured: end -->"
ALPHA = 0.05
SEEDS = (3, 5, 10)
NOISE = ("equal", "unequal")
LOUDER = 3.0
"""Where noise is unequal, the second method's (the baseline's) standard deviation is this many times the others'."""

METHODS, DATASETS, FEW_DATASETS, RANKED, IMAGES = 8, 8, 3, 5, 500

Rng = np.random.Generator
Trial = Callable[[Rng, int, float], bool]


@dataclass(frozen=True)
class Rule:
    """A way to see a difference: what it is called, who does it, once applied to made-up results, and how often."""

    name: str
    offered: bool
    trial: Trial
    replicates: int = 4000


def pair(rng: Rng, n: int, ratio: float) -> tuple[Floats, Floats]:
    """Seeds of two equally good methods, the second one's noise ``ratio`` times the first one's."""
    return rng.normal(size=n), ratio * rng.normal(size=n)


def shared_pair(rng: Rng, n: int, ratio: float) -> tuple[Floats, Floats]:
    """The same, with half of the first one's variance shared seed by seed."""
    common = rng.normal(size=n) / 2**0.5
    return common + rng.normal(size=n) / 2**0.5, common + rng.normal(size=n) * (ratio**2 - 0.5) ** 0.5


def column(rng: Rng, n: int, ratio: float) -> list[Floats]:
    """Seeds of ``METHODS`` equally good methods, the baseline (the first) with its own noise."""
    return [ratio * rng.normal(size=n), *(rng.normal(size=n) for _ in range(METHODS - 1))]


def datasets_pair(rng: Rng, n: int, ratio: float, spread: float = 0.0) -> tuple[list[Floats], list[Floats]]:
    """Two methods on ``FEW_DATASETS``, the noise growing with the dataset; ``spread`` of true gaps around zero."""
    a, b = [], []
    for number in range(FEW_DATASETS):
        first, second = pair(rng, n, ratio)
        a.append((1 + number) * (first + spread * rng.normal()))
        b.append((1 + number) * second)
    return a, b


def mean_scores(rng: Rng, n: int, ratio: float, methods: int) -> Floats:
    """Means over seeds on ``DATASETS`` drawn from many, where true gaps vary by one standard deviation around zero."""
    noise = np.array([ratio, *[1.0] * (methods - 1)]) / n**0.5
    return np.asarray(rng.normal(size=(DATASETS, methods)) + noise * rng.normal(size=(DATASETS, methods)))


def outcomes(rng: Rng, n: int, ratio: float) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Right or wrong of ``n`` runs of two methods with equal accuracy; images differ in difficulty, for both alike.

    Where noise is unequal, the first method is sure of each image and the second one is not.
    """
    difficulty = rng.beta(2.0, 0.7, size=IMAGES)
    sure = (rng.random(IMAGES) < difficulty).astype(float) if ratio > 1 else difficulty
    return rng.random((n, IMAGES)) < sure, rng.random((n, IMAGES)) < difficulty


def percentile_bootstrap(rng: Rng, n: int, ratio: float) -> bool:
    """The 95 % percentile interval of the difference of means, over resampled seeds, excludes zero."""
    a, b = pair(rng, n, ratio)
    first, second = (values[rng.integers(n, size=(1000, n))].mean(1) for values in (a, b))
    low, high = np.quantile(first - second, [ALPHA / 2, 1 - ALPHA / 2])
    return bool(low > 0 or high < 0)


def apart(error: Callable[[Floats], float]) -> Trial:
    """The rule that two intervals of mean ± error do not overlap."""

    def trial(rng: Rng, n: int, ratio: float) -> bool:
        a, b = pair(rng, n, ratio)
        return bool(abs(a.mean() - b.mean()) > error(a) + error(b))

    return trial


def on_pair(test: Callable[[Floats, Floats], float], draw: Callable[[Rng, int, float], tuple[Floats, Floats]]) -> Trial:
    """The rule that a test of two samples gives p <= alpha."""
    return lambda rng, n, ratio: test(*draw(rng, n, ratio)) <= ALPHA


def off_interval(rng: Rng, n: int, ratio: float) -> bool:
    """The t-interval of a mean does not cover it."""
    low, high = t_interval(ratio * rng.normal(size=n), 1 - ALPHA)
    return not low <= 0 <= high


def against_baseline(rng: Rng, n: int, ratio: float) -> Floats:
    """Welch's p of each method of a column against the baseline."""
    baseline, *others = column(rng, n, ratio)
    return np.array([welch(values, baseline) for values in others])


def best_wins(rng: Rng, n: int, ratio: float) -> bool:
    """Of two methods, ours has the higher mean and is bold."""
    a, b = pair(rng, n, ratio)
    return bool(a.mean() > b.mean())


def some_win(rng: Rng, n: int, ratio: float) -> bool:
    """The best of the methods has a higher mean than the baseline."""
    baseline, *others = column(rng, n, ratio)
    return bool(max(values.mean() for values in others) > baseline.mean())


def group(rng: Rng, n: int, ratio: float) -> NDArray[np.bool_]:
    """Which methods of a column are in the group of the best, where runs share nothing."""
    samples = column(rng, n, ratio)
    means = np.array([sample.mean() for sample in samples])
    least = least_difference(within([summary(sample) for sample in samples]), METHODS, n, n, ALPHA)
    return np.asarray(means.max() - means < least)


def left_out(rng: Rng, n: int, ratio: float) -> bool:
    """A given method is not in the group of the best, though none is better."""
    return not group(rng, n, ratio)[-1]


def some_left_out(rng: Rng, n: int, ratio: float) -> bool:
    """Some method is not in the group of the best."""
    return not group(rng, n, ratio).all()


def on_these(spread: float) -> Trial:
    """The stratified permutation test gives p <= alpha."""
    return lambda rng, n, ratio: (
        stratified_permutation(*datasets_pair(rng, n, ratio, spread), seed=int(rng.integers(2**31)), draws=499) <= ALPHA
    )


def signs_on_these(rng: Rng, n: int, ratio: float) -> bool:
    """The stratified test of signs gives p <= alpha, on datasets whose runs share half of their variance."""
    pairs = [shared_pair(rng, n, ratio) for _ in range(FEW_DATASETS)]
    samples = [[(1 + at) * side for at, side in enumerate(sides)] for sides in zip(*pairs, strict=True)]
    return stratified_signs(*samples, draws=499) <= ALPHA


def ranks_apart(rng: Rng, n: int, ratio: float) -> bool:
    """Two mean ranks differ by more than the critical difference."""
    ranks = mean_ranks(mean_scores(rng, n, ratio, RANKED))
    return bool(np.ptp(ranks) > DIFFERENCE)


def images_apart(rng: Rng, n: int, ratio: float) -> bool:
    """The paired bootstrap over images gives p <= alpha."""
    return paired_bootstrap(*outcomes(rng, n, ratio), seed=int(rng.integers(2**31)), draws=999).p <= ALPHA


DIFFERENCE = critical_difference(RANKED, DATASETS, ALPHA)

RULES: Sequence[Rule] = (
    Rule("Welch's t", True, on_pair(welch, pair)),
    Rule("paired t, on runs that share half of their variance", True, on_pair(paired_t, shared_pair)),
    Rule("exact permutation", True, on_pair(permutation, pair), 2000),
    Rule("exact paired permutation", True, on_pair(paired_permutation, shared_pair)),
    Rule(
        f"Welch and Holm, any of {METHODS - 1} against a baseline",
        True,
        lambda rng, n, ratio: bool((holm(against_baseline(rng, n, ratio)) <= ALPHA).any()),
        2000,
    ),
    Rule(f"bold group: a given one of {METHODS} equal methods is left out", True, left_out, 1000),
    Rule(f"bold group: any of {METHODS} equal methods is left out", True, some_left_out, 1000),
    Rule("95 % t-interval misses the mean", True, off_interval),
    Rule(f"stratified permutation, {FEW_DATASETS} datasets (these datasets)", True, on_these(0.0), 1000),
    Rule(f"stratified signs of pairs, {FEW_DATASETS} datasets (these datasets)", True, signs_on_these, 1000),
    Rule(
        f"Wilcoxon and Holm, any of {RANKED - 1} against a baseline, {DATASETS} datasets (datasets like these)",
        True,
        lambda rng, n, ratio: bool((over_datasets(mean_scores(rng, n, ratio, RANKED), 0).p_holm <= ALPHA).any()),
        1000,
    ),
    Rule(
        f"Wilcoxon, one comparison, {DATASETS} datasets (datasets like these)",
        True,
        lambda rng, n, ratio: bool(over_datasets(mean_scores(rng, n, ratio, 2)).p[0] <= ALPHA),
        2000,
    ),
    Rule(
        f"Friedman, {RANKED} methods, {DATASETS} datasets (datasets like these)",
        True,
        lambda rng, n, ratio: friedman(mean_scores(rng, n, ratio, RANKED)) <= ALPHA,
        1000,
    ),
    Rule(f"critical difference, any pair of {RANKED} methods, {DATASETS} datasets", True, ranks_apart),
    Rule(
        f"McNemar, one run of each, {IMAGES} images",
        True,
        lambda rng, n, ratio: mcnemar(*(right[0] for right in outcomes(rng, 1, ratio))) <= ALPHA,
    ),
    Rule(f"paired bootstrap over {IMAGES} images, n runs of each", True, images_apart, 1000),
    Rule("mean ± std do not overlap", False, apart(lambda values: float(values.std(ddof=1)))),
    Rule(
        "mean ± standard error do not overlap", False, apart(lambda v: float(v.std(ddof=1)) / float(np.size(v)) ** 0.5)
    ),
    Rule("percentile bootstrap over seeds", False, percentile_bootstrap, 2000),
    Rule("best is bold, of two, read as a win", False, best_wins),
    Rule(f"best of {METHODS - 1} beats the baseline", False, some_win),
    Rule(
        f"Welch without correction, any of {METHODS - 1} against a baseline",
        False,
        lambda rng, n, ratio: bool((against_baseline(rng, n, ratio) <= ALPHA).any()),
        2000,
    ),
    Rule("stratified permutation, taken for datasets like these", False, on_these(1.0), 500),
)


def rate(rule: Rule, n: int, noise: str, replicates: int) -> float:
    """The share of made-up results in which a rule sees a difference, in percent."""
    # each cell has its own stream, so that a rule added later leaves the others' numbers as they are
    rng = np.random.default_rng([*rule.name.encode(), n, NOISE.index(noise)])
    ratio = LOUDER if noise == "unequal" else 1.0
    return 100 * sum(rule.trial(rng, n, ratio) for _ in range(replicates)) / replicates


def measured(share: float = 1.0) -> str:
    """The table as Markdown, with the command and the machine; ``share`` of the replicates of each rule."""
    started = time.process_time()
    settings = [(noise, n) for noise in NOISE for n in SEEDS]
    lines = [
        "| rule | " + " | ".join(f"{noise} noise, n={n}" for noise, n in settings) + " |",
        "|---|" + "---:|" * len(settings),
    ]
    for offered, heading in ((True, "**offered**"), (False, "**common habits**")):
        lines.append(f"| {heading} |" + " |" * len(settings))
        for rule in RULES:
            if rule.offered == offered:
                count = max(1, round(share * rule.replicates))
                rates = [f"{rate(rule, n, noise, count):.1f}" for noise, n in settings]
                lines.append(f"| {rule.name} | {' | '.join(rates)} |")
                print(lines[-1], flush=True)
    told = (
        f"Percent of {min(r.replicates for r in RULES):,} to {max(r.replicates for r in RULES):,} made-up results; the "
        "standard error of 5 % is 0.3 to 0.7 for the offered tests. `python benchmarks/false_positives.py`, "
        f"{machine(time.process_time() - started)}"
    )
    return "\n".join([*lines, "", told])


if __name__ == "__main__":
    measure(__doc__, measured, BEGIN, END)

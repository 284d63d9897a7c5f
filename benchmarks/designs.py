"""Which test suits the design: level and power of ways to compare methods whose runs are paired by seed.

    python -m benchmarks.designs

Made-up columns of six methods, the first the baseline, whose runs share their seed's luck to a degree ρ, thousands of
times. Level: how often any of the five comparisons is significant at 0.05 after Holm's correction though all methods
are equally good, at the worst of the scenarios; how often a comparison is so by itself; power: how often one that is
two standard deviations better is. It measures the tables of docs/statistics.md and writes them; draws are seeded, so
the same versions give the same numbers. It takes about a quarter of an hour on one core; ``--share 0.05``
of it prints rough ones in less than a minute.
"""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import digamma, polygamma
from scipy.stats import t as student

from bench.stats.best import blocked, least_difference, within
from bench.stats.difference import pooled_estimates
from bench.stats.family import holm
from bench.stats.samples import Floats, summary
from bench.stats.two import paired_permutation, paired_t, welch
from benchmarks.page import machine, measure

BEGIN, END = "<!-- designs: begin -->", "<!-- designs: end -->"
ALPHA = 0.05
METHODS, BETTER = 6, 2.0
SEEDS = (2, 3, 5, 10)
LIKENESS = (0.0, 0.5, 0.8, 0.95, 0.99)
REPLICATES = 2000

Rng = np.random.Generator
Test = Callable[[Floats], Floats]
"""From values, (methods, seeds), the p of each method but the first against the first."""

NOISE: Mapping[str, ArrayLike] = {
    "equal": [1, 1, 1, 1, 1, 1],
    "baseline 3 ×": [3, 1, 1, 1, 1, 1],
    "one method 3 ×": [1, 3, 1, 1, 1, 1],
    "half of them 3 ×": [1, 3, 3, 3, 1, 1],
    "1 × to 3 ×": [1, 1.4, 1.8, 2.2, 2.6, 3],
}
"""Standard deviations of the methods, the baseline first."""


def column(rng: Rng, n: int, likeness: float, noise: ArrayLike) -> Floats:
    """Seeds of equally good methods, of whose variance a share ``likeness`` is the seed's: (methods, seeds)."""
    spread = np.asarray(noise, dtype=np.float64)[:, None]
    common, own = rng.normal(size=(1, n)), rng.normal(size=(METHODS, n))
    return np.asarray(spread * (likeness**0.5 * common + (1 - likeness) ** 0.5 * own))


def each(test: Callable[[Floats, Floats], float]) -> Test:
    """A test of two samples as one of all methods against the baseline."""
    return lambda values: np.array([test(line, values[0]) for line in values[1:]])


def pooled(values: Floats) -> Floats:
    """The test that the suite takes for pairs."""
    estimates = pooled_estimates(values[1:] - values[0])
    return np.array([math.nan if estimate is None else estimate.p for estimate in estimates])


def block_anova(values: Floats) -> Floats:
    """The t of a contrast in the two-way analysis of variance with seeds as blocks (Fisher, 1925)."""
    methods, n = values.shape
    residuals = values - values.mean(0) - values.mean(1, keepdims=True) + values.mean()
    freedom = (methods - 1) * (n - 1)
    error = math.sqrt(2 * float((residuals**2).sum()) / freedom / n)
    return np.asarray(2 * student.sf(np.abs(values[1:].mean(1) - values[0].mean()) / error, freedom))


def moderated(values: Floats) -> Floats:
    """The moderated t of limma (Smyth, 2004) on the differences to the baseline, whose variances make a prior."""
    differences = values[1:] - values[0]
    methods, n = differences.shape
    variances, freedom = differences.var(1, ddof=1), n - 1
    prior, more = prior_of(variances, freedom)
    if math.isinf(more):
        shrunk, total = np.full(methods, prior), float(methods * freedom)
    else:
        shrunk = (more * prior + freedom * variances) / (more + freedom)
        total = min(more + freedom, methods * freedom)
    return np.asarray(2 * student.sf(np.abs(differences.mean(1)) / np.sqrt(shrunk / n), total))


def prior_of(variances: Floats, freedom: float) -> tuple[float, float]:
    """The prior of variances, a scaled inverse chi-squared, by moments of their logarithms (Smyth, 2004, section 6.2).

    Returns:
        Its variance and degrees of freedom; inf where the variances differ no more than chance has it.
    """
    logs = np.log(variances) - digamma(freedom / 2) + math.log(freedom / 2)
    beyond = float(logs.var(ddof=1)) - float(polygamma(1, freedom / 2))
    if beyond <= 0:
        return math.exp(float(logs.mean())), math.inf
    more = 2 * inverse_trigamma(beyond)
    return math.exp(float(logs.mean()) + float(digamma(more / 2)) - math.log(more / 2)), more


def inverse_trigamma(value: float) -> float:
    """Where the trigamma function has this value, above 0, by Newton's method."""
    y = 0.5 + 1 / value
    for _ in range(50):
        trigamma = float(polygamma(1, y))
        step = trigamma * (1 - trigamma / value) / float(polygamma(2, y))
        y += step
        if -step / y < 1e-10:
            break
    return y


TESTS: Mapping[str, Test] = {
    "**pooled** (the default for pairs)": pooled,
    "paired t": each(paired_t),
    "Welch's t": each(welch),
    "exact paired permutation": each(paired_permutation),
    "block ANOVA": block_anova,
    "moderated t (limma)": moderated,
}


def levels(test: Test, rng: Rng, n: int, likeness: float, noise: ArrayLike, count: int) -> tuple[float, float]:
    """In how many columns any comparison is significant after Holm, and how many comparisons are by themselves."""
    any_of, single = 0, 0.0
    for _ in range(count):
        p = test(column(rng, n, likeness, noise))
        any_of += bool((holm(p) <= ALPHA).any())
        single += float((p <= ALPHA).mean())
    return 100 * any_of / count, 100 * single / count


def power(test: Test, rng: Rng, n: int, likeness: float, count: int) -> float:
    """How often a method that is better by ``BETTER`` standard deviations is significant after Holm."""
    wins = 0
    for _ in range(count):
        values = column(rng, n, likeness, NOISE["equal"])
        values[1] += BETTER
        wins += bool(holm(test(values))[0] <= ALPHA)
    return 100 * wins / count


def group(values: Floats, paired: bool) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    """Which methods are in the group of the best."""
    means, n = values.mean(1), values.shape[1]
    best = int(means.argmax())
    rest = np.delete(values, best, axis=0)
    residual = blocked(rest - values[best]) if paired else within([summary(line) for line in values])
    return np.asarray(means.max() - means < least_difference(residual, METHODS, n, n, ALPHA))


def left_out(rng: Rng, n: int, likeness: float, noise: ArrayLike, gap: float, count: int) -> Floats:
    """How often each method is not in the group of the best: with pairs; the last one is worse by ``gap``."""
    out = np.zeros(METHODS)
    for _ in range(count):
        values = column(rng, n, likeness, noise)
        values[-1] -= gap
        out += ~group(values, paired=likeness > 0)
    return 100 * out / count


def level_table(share: float) -> list[str]:
    """The worst level of each test over the likenesses, by noise and seeds: after Holm / by itself."""
    heads = [f"{noise}, n={n}" for noise in NOISE for n in SEEDS]
    lines = ["| test | " + " | ".join(heads) + " |", "|---|" + "---:|" * len(heads)]
    count = max(1, round(share * REPLICATES))
    for name, test in TESTS.items():
        cells = []
        for noise, n in itertools.product(NOISE, SEEDS):
            rng = np.random.default_rng([*name.encode(), n, *noise.encode()])
            found = np.array([levels(test, rng, n, likeness, NOISE[noise], count) for likeness in LIKENESS])
            cells.append(f"{found[:, 0].max():.1f} / {found[:, 1].max():.1f}")
        lines.append(f"| {name} | {' | '.join(cells)} |")
        print(lines[-1], flush=True)
    return lines


def power_table(share: float) -> list[str]:
    """The power of each test, by likeness and seeds."""
    settings = list(itertools.product(LIKENESS, SEEDS))
    lines = [
        "| test | " + " | ".join(f"ρ={likeness:g}, n={n}" for likeness, n in settings) + " |",
        "|---|" + "---:|" * len(settings),
    ]
    count = max(1, round(share * REPLICATES / 2))
    for name, test in TESTS.items():
        rng = np.random.default_rng([*name.encode()])
        found = [power(test, rng, n, likeness, count) for likeness, n in settings]
        lines.append(f"| {name} | " + " | ".join(f"{each:.0f}" for each in found) + " |")
        print(lines[-1], flush=True)
    return lines


def group_table(share: float) -> list[str]:
    """How often a method that is as good as the best, and one that is 2, 3 or 5 deviations worse, is left out."""
    heads = ["equal methods: a given one", "equal methods: the noisiest", *(f"{gap} sd worse" for gap in (2, 3, 5))]
    lines = ["| runs, noise, n | " + " | ".join(heads) + " |", "|---|" + "---:|" * len(heads)]
    count = max(1, round(share * REPLICATES))
    for likeness, noise, n in itertools.product((0.0, 0.65), ("equal", "one method 3 ×", "1 × to 3 ×"), SEEDS[1:]):
        rng = np.random.default_rng([round(100 * likeness), n, *noise.encode()])
        alike = left_out(rng, n, likeness, NOISE[noise], 0.0, count)
        worse = [left_out(rng, n, likeness, NOISE["equal"], gap, count)[-1] for gap in (2, 3, 5)]
        loudest = METHODS - 1 - int(np.argmax(np.asarray(NOISE[noise])[::-1]))
        cells = [f"{alike.mean():.1f}", f"{alike[loudest]:.1f}", *(f"{share:.0f}" for share in worse)]
        kind = f"paired, ρ={likeness:g}" if likeness else "that share nothing"
        lines.append(f"| {kind}, {noise}, n={n} | {' | '.join(cells)} |")
        print(lines[-1], flush=True)
    return lines


def measured(share: float = 1.0) -> str:
    """The tables as Markdown, with the command and the machine; ``share`` of the replicates of each."""
    started = time.process_time()
    level, strength, best = level_table(share), power_table(share), group_table(share)
    command = (
        f"Percent of {REPLICATES:,} columns a number ({REPLICATES // 2:,} for power), so 5 % has a standard error of "
        "0.5, and the worst of five numbers at 5 % is 5.6 on average. "
        f"`python -m benchmarks.designs`, {machine(time.process_time() - started)}"
    )
    return "\n".join(
        [
            "**Level**: any of 5 comparisons after Holm / a comparison by itself, at the worst ρ of 0 to 0.99:",
            "",
            *level,
            "",
            f"**Power**: a method {BETTER:g} standard deviations better is found, after Holm over 5:",
            "",
            *strength,
            "",
            "**The group of the best**: how often a method is left out of it:",
            "",
            *best,
            "",
            command,
        ]
    )


if __name__ == "__main__":
    measure(__doc__, measured, BEGIN, END)

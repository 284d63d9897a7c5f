"""Whether more or less of a metric is better: known of the suite's metrics and of a few words, else somebody says it.

The lists are short on purpose. A word that is not in them, one that turns another round ("1 - accuracy", "negated
error", "accuracy drop"), or words that contradict each other say nothing, and then it is asked for.
"""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace

from bench.metrics import METRICS, Metric, seconds_to


def words(text: str) -> frozenset[str]:
    """The words of a list."""
    return frozenset(text.split())


HIGHER = words("acc accuracy top1 top3 top5 top10 f1 miou iou map auc auroc auprc precision recall dice")
"""Of these more is better, and they are shares."""

LOWER = words("loss losses logloss error errors err nll ece brier mse mae rmse fid perplexity")
"""Of these less is better."""

NEUTRAL = words(
    "test val valid validation train dev eval mean avg average macro micro weighted balanced absolute squared root "
    "cross entropy rate score norm normalized best final last max at k top class per pct percent expected calibration "
    "classification log the of on in overall total"
)
"""Words that turn nothing round beside these."""

COUNTED = words("top1 top3 top5 top10")
"""Of which an error may be the rest: ``top1_err`` is an error."""

TURNING = words(
    "negated negative neg minus inverse inverted not non drop gap gain improvement reduction change delta diff "
    "difference decrease increase regret forgetting ratio relative over per time seconds steps epochs to fpr "
    "stderr se sem ci rank"
)
"""Words that make something else of what they stand beside, or may."""

DEFAULT = "top-1 (%)"
"""What the values of a file are that names no metric."""

_TOP = re.compile(r"\btop[-_ ]?(\d+)", re.IGNORECASE)
_HUMP = re.compile(r"(?<=[a-z])(?=[A-Z][a-z])")
_MARKED = re.compile(r"\s*(?:[(\[]\s*)?(?:(↓)|(↑)|(lower|less)|(higher|more))(?:\s+is\s+better)?\s*[)\]]?$", re.I)
_BRACKETED = re.compile(r"[(\[]\s*(?:lower|less|higher|more)\b|[↓↑]", re.I)
_REST = re.compile(r"^\s*[-−–]|\b\d[\d.]*\s*%?\s*[-−–]\s*(?!shot)[a-z]|\b(one|\d+)[ _]minus\b|\b1\s*/", re.I)


@dataclass(frozen=True)
class Directions:
    """Which way somebody says that metrics go, by name; ``all_lower`` or ``all_higher`` of the only one there is."""

    lower: Collection[str] = ()
    higher: Collection[str] = ()
    all_lower: bool = False
    all_higher: bool = False

    @property
    def of_all(self) -> bool:
        """Whether it is said without a name."""
        return self.all_lower or self.all_higher

    @property
    def names(self) -> set[str]:
        return {*self.lower, *self.higher}

    def says(self, name: str) -> bool | None:
        """True where less of a metric is better, False where more is, None where nobody says."""
        small = name.lower()
        if self.all_lower or small in {each.lower() for each in self.lower}:
            return True
        if self.all_higher or small in {each.lower() for each in self.higher}:
            return False
        return None


NOTHING = Directions()


def marked(name: str) -> tuple[str, bool | None]:
    """A name without ``↓``, ``↑``, ``(lower)`` or ``(higher is better)`` behind it, and whether that says lower."""
    match = _MARKED.search(name) if _BRACKETED.search(name) else None
    if match is None or not name[: match.start()].strip():
        return name, None
    return name[: match.start()].strip(), bool(match[1] or match[3])


def words_of(name: str) -> set[str]:
    """The words of a name in small letters: split at what is no letter or digit, at ``_``, and at a hump."""
    joined = _TOP.sub(r"top\1", name)
    texts = (joined.lower(), _HUMP.sub(" ", joined).lower())
    words = {word for text in texts for word in re.split(r"[^a-z0-9]+", text) if word}
    return words | {word.rstrip("0123456789") for word in words if word.rstrip("0123456789") in HIGHER | LOWER}


def _is_plain(name: str) -> bool:
    """Whether every word of a name is known, split at humps or not; a number says nothing."""
    joined = _TOP.sub(r"top\1", name)
    for text in (joined.lower(), _HUMP.sub(" ", joined).lower()):
        words = {word for word in re.split(r"[^a-z0-9]+", text) if word and not word.isdigit()} - {"shot"}
        if all({word, word.rstrip("0123456789")} & (HIGHER | LOWER | NEUTRAL) for word in words):
            return True
    return False


def in_suite(name: str, metrics: Mapping[str, Metric] = METRICS) -> Metric | None:
    """The metric of the suite or of a plug-in that has a name, a title or a heading; None where there is none."""
    small = name.lower()
    for metric in metrics.values():
        if small in (metric.name.lower(), metric.title.lower(), metric.heading.lower()):
            return metric
    return seconds_to(name)


def is_lower(name: str, metrics: Mapping[str, Metric] = METRICS) -> bool | None:
    """Whether less of a metric is better, where the suite, a plug-in or the lists know it; else None."""
    if metric := in_suite(name, metrics):
        return metric.lower
    words = words_of(name)
    if words & TURNING or not _is_plain(name) or _REST.search(_TOP.sub(r"top\1", name)):
        return None
    lower, higher = words & LOWER, words & HIGHER
    if lower and not higher - COUNTED:
        return True
    return False if higher and not lower else None


def is_share(name: str, metrics: Mapping[str, Metric] = METRICS) -> bool:
    """Whether a metric is known to be a share, printed in percent."""
    if metric := in_suite(name, metrics):
        return (metric.low, metric.high) == (0, 100)
    return is_lower(name, metrics) is False


def metric_of(name: str, metrics: Mapping[str, Metric] = METRICS, lower: bool | None = None) -> Metric:
    """The metric of a name, title or heading, or one that only has this name; what ``lower`` says goes before."""
    title, unit = (name.removesuffix("(%)").rstrip(), "%") if name.endswith("(%)") else (name, "")
    if metric := in_suite(name, metrics):
        lower = metric.lower if lower is None else lower
        return replace(metric, title=title, unit=unit, lower=lower)
    slug = re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")
    is_less = is_lower(name, metrics) if lower is None else lower
    bounds = (0, 100) if is_share(name, metrics) else (None, None)
    return Metric(
        f"metric_{slug}", title, unit, lower=bool(is_less), low=bounds[0], high=bounds[1], of_run=lambda _: math.nan
    )

"""Shares of images as they are told: with the interval that so few of them leave."""

from __future__ import annotations

LEVEL = 0.95


def interval(right: int, images: int) -> tuple[float, float]:
    """Wilson's interval of a share, in percent (Wilson, 1927), at ``LEVEL``; for one model, not over seeds."""
    from scipy.stats import binomtest

    ends = binomtest(right, images).proportion_ci(LEVEL, method="wilson")
    return 100 * ends.low, 100 * ends.high


def share_in_words(right: int, images: int) -> str:
    """``63.15 % (377 of 597; 95 % interval 59.2 to 66.9)``."""
    low, high = interval(right, images)
    return f"{100 * right / images:.2f} % ({right} of {images}; {LEVEL:.0%} interval {low:.1f} to {high:.1f})".replace(
        "95%", "95 %"
    )

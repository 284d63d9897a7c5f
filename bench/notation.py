"""How numbers and labels are written, whatever the format."""

from __future__ import annotations

import math

SPLITS = {"val": "validation", "test": "test"}
"""In words, the splits on which runs are scored."""

MEASURED = {**SPLITS, "train": "training"}
"""Those on which models may be measured."""


def none_if_nan(value: float) -> float | None:
    """A number for plain data, which has no nan: None instead."""
    return None if math.isnan(value) else value


def fixed(value: float, decimals: int) -> str:
    """A number with a fixed count of decimals; what rounds to zero has no sign."""
    text = f"{value:.{decimals}f}"
    return text if float(text) else text.lstrip("-")


def signed(value: float, decimals: int) -> str:
    """A difference with its sign (a real minus, U+2212); what rounds to zero has a plus."""
    text = f"{value:+.{decimals}f}"
    return text.replace("-", "−") if float(text) else "+" + text[1:]


def one_line(label: str) -> str:
    """A label without line breaks, tabs or control characters, which would break a table or steer a terminal."""
    return " ".join("".join(c if c.isprintable() else " " for c in label).split())


def listed(words: tuple[str, ...]) -> str:
    """Words as English lists them: "dataset, backbone and rate"."""
    return " and ".join(part for part in (", ".join(words[:-1]), *words[-1:]) if part)


def counted(count: int, noun: str, plural: str = "") -> str:
    """How many there are: "1 run", "2 runs", "1,430 images"; a noun has an s in the plural, if no other is stated."""
    return f"{count:,} {noun if count == 1 else plural or noun + 's'}"

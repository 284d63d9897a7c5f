"""What a sampling rate of a file is called: a percentage, or the words that somebody has for it."""

from __future__ import annotations

from collections.abc import Collection

from bench.imports.numbers import read_number
from bench.rate import budget_in, rate_label


def rate_labels(column: str, texts: Collection[str], commas: bool = False) -> dict[str, str]:
    """The label of each text of a column of rates.

    Numbers are percent, ``15`` and ``15%`` alike. Where all are up to 1, and 1 is among them or the column is one
    of fractions, they are shares. Of a column of shots they are ``4-shot``. Budgets are as the suite prints them,
    ``16-shot`` for ``16 shots``; other words, such as ``full`` or ``1000 examples``, stay as they are. Empty is the
    label of a number that is none of these.
    """
    numbers = {text: read_number(text, commas) for text in texts if text}
    values = [number.value for number in numbers.values() if number and not number.is_percent]
    is_share = ("fraction" in column.lower() or 1.0 in values) and bool(values) and max(values) <= 1
    is_shots = "shot" in column.lower()
    labels = {"": ""}
    for text, number in numbers.items():
        if number is None or number.std:
            budget = budget_in(text)
            labels[text] = budget.label if budget else text
            continue
        value = number.times(100 if is_share and not number.is_percent else 1).value
        if is_shots and not number.is_percent:
            labels[text] = f"{value:g}-shot"
        else:
            labels[text] = rate_label(value) if 0 < value <= 100 else ""
    return labels

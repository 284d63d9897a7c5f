"""How many of the training images a run may see: a share of each class, or a budget of images."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

from bench.errors import InputError, visible
from bench.notation import counted

Rate = float | str
"""A sampling rate: in percent, above 0 and up to 100, or the name of a budget: ``16-shot``, ``1000-images``."""

WHOLE = 100.0
"""The rate that keeps all images."""

NAMED = 3
"""Classes that a message names."""

_PERCENT = re.compile(r"(\d+(?:\.\d*)?|\.\d+) ?%")
_ZEROS = re.compile(r"0+[1-9]\d*")
_BUDGET = re.compile(r"([1-9][0-9]{0,8})[ -]?(shot|image)s?", re.IGNORECASE)


@dataclass(frozen=True)
class Budget:
    """So many training images: of each class (shots), or in all."""

    images: int
    per_class: bool

    @property
    def name(self) -> str:
        """As runs have it, whatever was written: ``16-shot``, ``1000-images``."""
        return f"{self.images}-shot" if self.per_class else f"{self.images}-images"

    @property
    def label(self) -> str:
        """As it is printed: ``16-shot``, ``1000 images``."""
        return self.name if self.per_class else f"{self.images} image{'s' * (self.images != 1)}"


def budget_in(written: str) -> Budget | None:
    """The budget that a text is: ``16-shot``, ``16 shots``, ``1000-images``, ``1000 images``; None where it is none."""
    match = _BUDGET.fullmatch(written)
    return Budget(int(match[1]), match[2].lower() == "shot") if match else None


def budget_named(name: str) -> Budget:
    """The budget of this name, which runs have. Raises ``ValueError`` where it is none."""
    budget = budget_in(name)
    if budget is None or budget.name != name:
        raise ValueError(f"'{name}' names no budget")
    return budget


def budget_of(rate: Rate) -> Budget | None:
    """The budget that a rate is; None where it is in percent. Raises ``ValueError`` where it is neither."""
    return budget_named(rate) if isinstance(rate, str) else None


def rate_label(rate: Rate) -> str:
    """A sampling rate as it is printed, every digit of it: ``15 %``, ``16-shot``, ``1000 images``."""
    budget = budget_of(rate)
    return budget.label if budget else f"{str(float(rate)).removesuffix('.0')} %"


def read_rate(written: object, place: str) -> Rate:
    """A sampling rate as it is written: a number in percent, one with a percent sign, or a budget.

    Raises ``InputError`` where it is none.
    """
    value = written
    if isinstance(written, str) and (budget := budget_in(written)):
        return budget.name
    if isinstance(written, str) and (match := _PERCENT.fullmatch(written)):
        value = float(match[1])
    if isinstance(value, (int, float)) and not isinstance(value, bool) and 0 < value <= WHOLE:
        return float(value)
    plain = f"; write {written.lstrip('0')}" if isinstance(written, str) and _ZEROS.fullmatch(written) else ""
    if type(value) is int and value > WHOLE:
        plain = f"; write {value}-images if images are meant"
    allowed = "it is in percent, above 0 and up to 100, or in images: 16-shot (of each class), 1000-images (in all)"
    raise InputError(f"{place}: the rate {visible(str(written))} is not allowed; {allowed}{plain}")


def refuse_shares(written: Sequence[object], place: str) -> None:
    """Raise ``InputError`` where rates may be shares: none is above 1, and none says by a % that it is in percent.

    Budgets among them say nothing of the others.
    """
    shares = [rate for rate in written if not (isinstance(rate, str) and budget_in(rate))]
    numbers = [rate for rate in shares if isinstance(rate, (int, float)) and not isinstance(rate, bool)]
    if numbers and len(numbers) == len(shares) and all(0 < rate <= 1 for rate in numbers):
        exact = (Fraction(str(rate)) * 100 for rate in numbers)
        percents = ", ".join(f"{float(share):g}" for share in exact)
        small = ", ".join(f"{float(rate):g}%" for rate in numbers)
        raise InputError(
            f"{place}: rates are in percent, and none is above 1: write {percents} if shares are meant, or {small}"
        )


def held_out(share: float, count: int) -> int:
    """How many of a class's images a share for validation holds out, rounded down."""
    return math.floor(Fraction(str(share)) * count)


def about_images(rate: Rate, images: int, classes: int) -> int:
    """About how many of so many training images a rate keeps; a share is rounded over all, not in each class."""
    budget = budget_of(rate)
    if budget is None:
        return round(images * float(rate) / 100)
    return min(images, budget.images * (max(1, classes) if budget.per_class else 1))


def most_images(rate: Rate, images: int, classes: int) -> int:
    """The most of so many training images that a rate keeps, however they are divided among so many classes."""
    if budget_of(rate):
        return about_images(rate, images, classes)
    return min(images, math.ceil(images * float(rate) / 100) + classes)


def shortfall(rate: Rate, counts: Mapping[str, int]) -> str:
    """Why a budget cannot be met, in words; empty where it can, and of a rate in percent.

    Args:
        rate: of the images.
        counts: by the name of each class, how many images of it there are to train on.
    """
    budget, total = budget_of(rate), sum(counts.values())
    if budget is None:
        return ""
    if budget.per_class:
        few = {name: count for name, count in counts.items() if count < budget.images}
        if not few:
            return ""
        least = sorted(few, key=lambda name: few[name])[:NAMED]
        named = ", ".join(f"'{visible(name)}' has {few[name]:,}" for name in least) + ", ..." * (len(few) > NAMED)
        has = "has" if len(few) == 1 else "have"
        whose = f"{len(few):,} of {counted(len(counts), 'class', 'classes')} {has} fewer images to train on: {named}"
        return f"{whose}; {most_shots(few[least[0]])}"
    if budget.images > total:
        return f"there are {counted(total, 'image')} to train on; at most {total}-images, or a rate in percent"
    if budget.images < (classes := sum(count > 0 for count in counts.values())):
        return least_images(classes)
    return ""


def besides(validation: float) -> str:
    """What is held out of the images that there are to train on, as the end of a message."""
    return f" (beside the {validation:g} of each class that is held out for validation)" if validation else ""


def least_images(classes: int) -> str:
    """Why a budget of images in all is too small for so many classes, and the least that is not."""
    return f"each of {classes:,} classes has an image at least: {classes}-images or more"


def most_shots(count: int) -> str:
    """What to write where the smallest class has so many images to train on, for the end of a message."""
    return f"at most {count}-shot, or a rate in percent" if count else "a rate in percent takes what there is"

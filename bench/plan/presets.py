"""Presets where settings are written: what one gives lies below what stands beside its name."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TypeGuard

from bench.errors import InputError
from bench.papers.preset import read_preset
from bench.plan.settings import overlaid
from bench.registry import Registry

PRESET = "preset"
"""Stands among settings, for those of a protocol by name."""

Layer = Mapping[str, tuple[object, str]]
"""Settings with their places."""

Parted = tuple[Layer, Layer]
"""What the preset of a layer gives, and what stands beside it."""

Settings = list[tuple[str, object, str]]
"""Settings with their places, each once."""


def layered(declared: Parted, of_row: Parted, typed: Parted) -> Settings:
    """The settings of an experiment, over them a row's own, and what is typed last; each may name a preset.

    A typed one is in the place of what the experiment says; a row's own settings stay.
    """
    (below, beside), (row_below, row_beside), (typed_below, typed_beside) = declared, of_row, typed
    settings = overlaid(below, beside, typed_below, row_below, row_beside, typed_beside)
    return in_steps(settings, (below, typed_below, row_below))


def parted(layer: Layer, registry: Registry) -> Parted:
    """What the preset of a layer gives, nothing where it names none, and what stands beside it.

    Raises ``InputError``: there is no such preset, or it is malformed.
    """
    if PRESET not in layer:
        return {}, layer
    name, place = layer[PRESET]
    try:
        preset = read_preset(str(name), registry)
    except InputError as error:
        raise InputError(*(f"{place}: {problem}" for problem in error.problems)) from None
    of_preset = {key: (stated.value, preset.places[key]) for key, stated in preset.settings.items()}
    return of_preset, {key: value for key, value in layer.items() if key != PRESET}


def in_steps(settings: Settings, presets: Iterable[Layer]) -> Settings:
    """The settings; where steps stand in the place of a preset's epochs, its warm-up has the share of them it had."""
    values = {key: (value, place) for key, value, place in settings}
    steps, _ = values.get("steps", (0, ""))
    for preset in presets:
        (epochs, _), warmup = preset.get("epochs", (0, "")), preset.get("warmup_epochs", (0, ""))
        if warmup != values.get("warmup_epochs") or not (_is_number(steps) and _is_number(epochs)):
            continue
        share = warmup[0] / epochs if _is_number(warmup[0]) else 0
        values["warmup"] = round(share * steps), values.pop("warmup_epochs")[1]
    return [(key, *value) for key, value in values.items()]


def _is_number(value: object) -> TypeGuard[float]:
    return isinstance(value, int | float) and value > 0

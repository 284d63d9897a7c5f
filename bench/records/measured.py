"""Measurements of trained models, beside the records: ``RESULTS/measures/RUN/NAME-POINT-SPLIT.json``, arrays in .npz.

A record is written once; a measurement is made of a model that was kept, later and as often as somebody likes. What is
not the default (options, another number of images) is part of the file's name, so that tables find what they mean.
"""

from __future__ import annotations

import io
import os
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import Struct

from bench.errors import InputError
from bench.metrics.metric import Option
from bench.reading.ordinary import open_ordinary, read_ordinary
from bench.records.files import write_file
from bench.records.seal import Unfit, is_sealed, sealed
from bench.spec import digest

if TYPE_CHECKING:
    import numpy.typing as npt

FORM = 1


class Measurement(Struct, frozen=True, kw_only=True):
    """What was measured of a model.

    Attributes:
        measure: its name.
        code: digest of the measure's file and of what measures share (``bench.measure.code_of``).
        model: digest of the file of the model; ``top1`` is what its record has at that point on the test split, by
            which whoever has the record alone knows that it is still the same model.
        run: id of the run whose model it is; ``label`` is what its record is called.
        point: the step of the run's curve at which the model was kept, or ``source``.
        split: whose images were measured.
        images: how many; ``of`` how many there are.
        options: all, by name.
        numbers: of its metrics, by name; None where there is none.
        remarks: what people are to be told of the numbers.
        seconds: that it took.
        environment: where it was computed, as a record has it.
        arrays: whether a file with arrays lies beside it.
    """

    form: int = FORM
    measure: str
    code: str
    model: str
    top1: float | None
    run: str
    label: str
    point: str
    split: str
    images: int
    of: int
    options: dict[str, Option]
    numbers: dict[str, float | None]
    remarks: list[str]
    seconds: float
    environment: dict[str, Any]
    arrays: bool = False


def folder_of(results: Path, run: str) -> Path:
    """Where the measurements of a run lie."""
    return results / "measures" / run


def measured_runs(results: Path) -> frozenset[str]:
    """The ids of the runs of which there are measurements."""
    try:
        return frozenset(os.listdir(results / "measures"))
    except OSError:
        return frozenset()


def stem_of(measure: str, point: str, split: str, chosen: Mapping[str, Option]) -> str:
    """What the files of a measurement are called, without their ends; ``chosen``: what is not the default."""
    stem = f"{measure}-{point}-{split}"
    return f"{stem}-{digest(dict(chosen))}" if chosen else stem


def write_measurement(path: Path, measurement: Measurement, arrays: Mapping[str, npt.NDArray[Any]]) -> None:
    """Write a measurement to a .json file, its arrays first; each whole or not at all. Raises ``OSError``."""
    import numpy as np

    if arrays:
        buffer = io.BytesIO()
        np.savez_compressed(buffer, allow_pickle=False, **dict(arrays))
        write_file(path.with_suffix(".npz"), buffer.getvalue())
    write_file(path, msgspec.json.format(sealed(msgspec.json.encode(measurement)), indent=2))


class NotMeasured(Exception):
    """There is no measurement that may be believed; the message says why, in words."""


class MeasuredOtherwise(NotMeasured):
    """There is none with these options, and one with others; the message says how that is shown."""


def believed(path: Path, top1: float | None, code: str = "") -> Measurement:
    """The measurement in a file, if it is that of a model with this top-1, by this code (empty: by any).

    Raises ``NotMeasured``: it is not there, cannot be read, or is of something else.
    """
    if not path.is_file():
        raise NotMeasured("it was not measured")
    try:
        measurement = read_measurement(path)
    except InputError as error:
        raise NotMeasured(str(error)) from None
    if odd := why_odd(measurement, (top1,), code):
        raise NotMeasured(odd)
    return measurement


def why_odd(measurement: Measurement, top1: Collection[float | None], code: str = "") -> str:
    """Why a measurement is not of a model with one of these top-1, by this code (empty: by any); empty where it is."""
    if code and measurement.code != code:
        return "it was measured by another version of the measure"
    return "" if measurement.top1 in top1 else "it was measured of another model"


def read_measurement(path: Path) -> Measurement:
    """A measurement from its file.

    Raises ``InputError`` where it is damaged, or not the one that was written there, or of a newer form.
    """
    try:
        content = read_ordinary(path)
        is_intact = is_sealed(content)
        measurement = msgspec.json.decode(content, type=Measurement)
    except (OSError, msgspec.MsgspecError, Unfit, RecursionError) as error:
        raise InputError(f"{path}: the measurement cannot be read ({error}); delete it and measure again") from None
    if measurement.form > FORM:
        raise InputError(f"{path}: written by a newer version (form {measurement.form}); update the suite")
    place = (path.parent.name, stem_of(measurement.measure, measurement.point, measurement.split, {}))
    if not is_intact or place[0] != measurement.run or not f"{path.stem}-".startswith(f"{place[1]}-"):
        raise InputError(f"{path}: it is not the measurement that was written here; delete it and measure again")
    return measurement


def read_arrays(path: Path) -> dict[str, npt.NDArray[Any]]:
    """The arrays beside a measurement's .json file, by name. Raises ``InputError`` where they cannot be read."""
    import numpy as np

    place = path.with_suffix(".npz")
    try:
        with open_ordinary(place) as file, np.load(file, allow_pickle=False) as arrays:
            return dict(arrays)
    except Exception as error:  # zipfile, zlib and numpy raise many kinds of a damaged file
        raise InputError(
            f"{place}: its arrays cannot be read ({error}); delete {path.name} and measure again"
        ) from None

"""Figures as files: which kinds there are, and what writes one."""

from __future__ import annotations

import ast
import importlib
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from bench.errors import InputError

if TYPE_CHECKING:
    from bench.figures.scene import Scene, Sketch
    from bench.tables.compare import Table

_FOLDER = Path(__file__).parent / "kinds"

KINDS = tuple(sorted(path.stem for path in _FOLDER.glob("*.py") if path.stem != "__init__"))
"""The kinds of figures, by name."""

USUAL, USUAL_OF_RUN = "rates", "curves"
"""The kinds that are drawn unless another is asked for; files of the first have the name of the target alone."""

ENDINGS = (".png", ".pdf")
"""Of the files that are written where none is named."""


def about(kind: str) -> str:
    """What a kind shows, in a line; its file is read and not run."""
    text = (_FOLDER / f"{kind}.py").read_text(encoding="utf-8")
    return (ast.get_docstring(ast.parse(text)) or "").partition("\n")[0].rstrip(".")


def is_of_run(kind: str) -> bool:
    """Whether a kind can be drawn of a run by itself."""
    return bool(getattr(_module(kind), "OF_RUN", False))


def sketches_of(kind: str, scene: Scene) -> list[Sketch]:
    """What a kind draws of a scene. Raises ``InputError``: there is nothing to draw, or too much."""
    try:
        sketches: list[Sketch] = _module(kind).sketches(scene)
    except ValueError as error:
        raise InputError(f"{scene.name}: {error}") from None
    return sketches


def write_figure(
    kind: str, scene: Scene, folder: Path, output: Path | None = None, stem: str = ""
) -> tuple[list[Path], str]:
    """Draw a figure and write it.

    Args:
        kind: one of ``KINDS``.
        scene: what it is of.
        folder: where PNG and PDF are written; it is made.
        output: one file instead, .png, .pdf or .svg; there must then be one figure, not one for each rate.
        stem: what the files are called; by default after the scene and the kind.

    Returns:
        The files, and what people are to be told beside them.

    Raises:
        InputError: there is nothing to draw, or too much for a figure, or several figures for one file; nothing is
            written.
        OSError: a file cannot be written.
    """
    sketches = sketches_of(kind, scene)
    if output is not None and len(sketches) > 1:
        places = "; ".join(" / ".join(sketch.part) for sketch in sketches)
        raise InputError(f"--output {output}: there is a diagram for each of {places}; choose one with --rates")
    if output is None:
        folder.mkdir(parents=True, exist_ok=True)
    stem = stem or (scene.name if kind == USUAL else f"{scene.name}-{kind}")
    paths, remarks = list[Path](), dict[str, None]()
    for sketch in sketches:
        files = [output] if output else [folder / f"{_named(stem, sketch.part)}{ending}" for ending in ENDINGS]
        if remark := save_sketch(sketch, files, scene.name):
            remarks[remark] = None
        paths += files
    return paths, "; ".join(remarks)


def draw_table(kind: str, table: Table, paths: Iterable[Path], width: str = "") -> str:
    """Draw a table into some files, .png, .pdf or .svg; gives what people are to be told. Raises ``InputError``."""
    from bench.figures.scene import Scene

    (sketch,) = sketches_of(kind, Scene(table.plan.name, table, width=width))
    return save_sketch(sketch, [*paths], table.plan.name)


def save_sketch(sketch: Sketch, files: Sequence[Path], name: str) -> str:
    """Draw a sketch into some files. Raises ``InputError`` where it is too large, or a file is none of a figure."""
    from bench.figures.saving import save

    try:
        return save(files, sketch.draw, sketch.labels)
    except ValueError as error:
        raise InputError(f"{name}: {error}") from None


def _module(kind: str) -> ModuleType:
    """The file of a kind; it imports matplotlib."""
    return importlib.import_module(f"bench.figures.kinds.{kind}")


def _named(stem: str, part: Sequence[str]) -> str:
    return re.sub(r"[^A-Za-z0-9._]+", "-", "-".join([stem, *part])).strip("-") if part else stem

"""What figures of measured models look like: small images that are kept, and the drawings that must look like them.

``python -m tests.tables.looks`` draws them anew, to be looked at before they are committed.
"""

from __future__ import annotations

import io
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from bench.figures.figure import sketches_of
from bench.figures.printed import printed_sketch
from bench.figures.saving import styled
from bench.figures.scene import Scene, Sketch
from bench.papers.figure import PrintedNumbers
from bench.records.measured import Measurement, folder_of, write_measurement
from bench.records.store import Store
from bench.registry import Registry
from bench.rules import SOURCE
from bench.spec import RunSpec
from tests.tables.drawn import STEPS, scene

FOLDER = Path(__file__).parent / "looks"
DPI = 60
MEASURED = {"embedding": "embedding", "cosine": "cosine", "heads": "head_similarity"}
"""The measure that each kind is of."""

TWO = """\
title: Two ways
methods: {Fine-tune: ce, GTA: {gta: {weight: 0.3}}}
backbones: [micro_vit]
datasets: [digits]
rates: [15]
seeds: 2
protocol: {steps: 30, evaluations: 3}
baseline: Fine-tune
"""

Arrays = Mapping[str, npt.NDArray[Any]]
Numbers = Mapping[str, float]


def arrays_of(measure: str, apart: float, classes: int = 10) -> Arrays:
    """What a measure might find of a model whose classes lie so far apart."""
    draws = np.random.RandomState(3)
    labels = np.repeat(np.arange(classes), 8)
    if measure == "embedding":
        centres = apart * np.stack([np.cos(0.63 * labels), np.sin(0.63 * labels)], 1)
        plane = (centres + draws.normal(size=(len(labels), 2))).astype(np.float32)
        return {"labels": labels, "pca": plane[::-1], "pca_share": np.array([0.3, 0.2]), "tsne": plane}
    if measure == "cosine":
        edges = np.linspace(-1, 1, 101)
        places = (edges[1:] + edges[:-1]) / 2
        shapes = (np.exp(-(((places - mean) / 0.15) ** 2)) for mean in (0.3 + 0.1 * apart, 0.3 - 0.1 * apart))
        positive, negative = ((1000 * shape).astype(np.int64) for shape in shapes)
        return {"classes": np.array([3, 5]), "edges": edges, "positive": positive, "negative": negative}
    return {"similarity": np.linspace(0.3, 0.9, 6) / apart}


def put(
    found: Scene, measure: str, point: str, arrays: Arrays, split: str = "test", numbers: Numbers | None = None
) -> None:
    """Lay a measurement beside every run of a scene."""
    for entry in found.table.finished:
        for spec in entry.cell.runs:
            put_beside(found.records.scores.root, spec, measure, point, arrays, split, numbers)


def put_beside(
    results: Path,
    spec: RunSpec,
    measure: str,
    point: str,
    arrays: Arrays,
    split: str = "test",
    numbers: Numbers | None = None,
) -> None:
    """Lay a measurement beside a run, as today's code makes it of the model at a point."""
    scored = {str(step): test for step, _, test in Store(results).finished()[spec.id].values}
    measurement = Measurement(
        measure=measure,
        code=Registry().measure_code(measure),
        model="",
        top1=scored.get(point, list(scored.values())[-1]),
        run=spec.id,
        label=spec.method.name,
        point=point,
        split=split,
        images=80,
        of=80,
        options={},
        numbers=dict(numbers or {}),
        remarks=[],
        seconds=1.0,
        environment={},
        arrays=bool(arrays),
    )
    path = folder_of(results, spec.id) / f"{measure}-{point}-{split}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    write_measurement(path, measurement, arrays)


def measured_scene(folder: Path, kind: str, source: bool = True) -> Scene:
    """Two methods, and the model that they started from, of which a kind's measure was taken."""
    found, measure = scene(folder, TWO), MEASURED[kind]
    means = {"cosine_positive": 0.5, "cosine_negative": 0.2} if kind == "cosine" else {}
    put(found, measure, str(STEPS[-1]), arrays_of(measure, 4.0), numbers=means)
    if source:
        put(found, measure, SOURCE, arrays_of(measure, 1.5), numbers=means)
    return found


def printed() -> Sketch:
    """Numbers as a paper prints them."""
    values = {"CLIP": {"before": 82.9, "after": 84.9}, "DINO": {"before": 82.8, "after": 83.8}}
    return printed_sketch("Figure 1: accuracy", "mine", PrintedNumbers("top-1 (%)", False, "Table 1", values))


def picture(sketch: Sketch) -> npt.NDArray[np.float64]:
    """A drawing as pixels, (H, W, 3) in 0..255."""
    with styled(sketch.labels):
        content = io.BytesIO()
        sketch.draw().savefig(content, format="png", dpi=DPI)
    return np.asarray(Image.open(content).convert("RGB"), np.float64)


def drawings(folder: Path) -> dict[str, Sketch]:
    """All that is compared, by the name of its image."""
    every = {"printed": printed()}
    for kind in MEASURED:
        (folder / kind).mkdir()
        (every[kind],) = sketches_of(kind, measured_scene(folder / kind, kind))
    return every


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as place:
        for name, sketch in drawings(Path(place)).items():
            image = Image.fromarray(picture(sketch).astype(np.uint8))
            image.quantize(64).save(FOLDER / f"{name}.png", optimize=True)
            print(FOLDER / f"{name}.png")

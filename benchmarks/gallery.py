"""docs/gallery.md: a figure of every kind, from runs on digits that this script trains, or from those of a target.

    python benchmarks/gallery.py                                             docs/gallery.md
    python benchmarks/gallery.py pets.yaml --results R --page docs/gallery_pets.md

Runs that are not in the folder of results are trained first, with the models that figures need. Measured is one seed of
each cell, at the first rate. Of a kind that cannot be drawn of them there is no picture, and the reason is printed.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import io
import multiprocessing
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

from PIL import Image

import bench
from bench.cli import main
from bench.figures.figure import KINDS, about
from bench.plan.overrides import Overrides
from bench.plan.target import read_plan
from bench.tables.compare import fill

ROOT = Path(__file__).parent.parent
TARGET = Path(__file__).with_suffix(".yaml")
MOST_BYTES = 60_000
"""Of a picture of the page: a repository keeps each of them for ever."""

PROCESSES = 2

MASKED = ["shapes", "--methods", "ce,gta", "--rates", "100", "--seeds", "1"]
"""What is typed for the kind that is of another task, whose runs are trained for it."""

SCORED = ("rates", "gaps", "sweep", "curves", "classes", "confusion", "cd", "shift")
"""The kinds that are drawn of records alone, in the order of the page; of the others models are measured."""

SHIFTED = [
    *("demo", "--datasets", "cluttered_digits@also=noise+blur", "--methods", "ce,gta", "--seeds", "2"),
    *("--rates", "15,100", "--set", "steps=30", "--set", "evaluations=2"),
]
"""What is typed for the kind that is of further tests, whose runs are trained for it."""

LINES = {
    "cd": ["lacvit/table1", "--source", "published", "--kind", "cd"],
    "confusion": ["--kind", "confusion", "--methods", "{last}", "--rates", "{rate}"],
    "curves": ["--kind", "curves", "--rates", "{rate}"],
    "classes": ["--kind", "classes", "--rates", "{rate}"],
    "masks": [*MASKED, "--kind", "masks"],
    "shift": [*SHIFTED, "--kind", "shift"],
}
"""What is typed beside the width, where it is not the kind at its rate alone; the target too, where it is another."""

MEASURES = {
    "landscape": (("landscape",),),
    "landscape_plane": (("landscape", "--option", "dimensions=2", "--option", "points=7"),),
    "layers": (("cka",), ("drift",)),
}
"""What is typed of a measure, where it is not the kind's own alone."""

WITH_SOURCE = ("attention", "average_attention", "cosine", "distance", "embedding", "heads")
"""The kinds that show the pre-trained model beside the trained ones."""


@dataclass(frozen=True)
class Drawn:
    """A kind with its picture, or with the reason why there is none; ``words`` are typed behind ``bench figure``."""

    kind: str
    words: tuple[str, ...]
    file: Path
    reason: str = ""

    @property
    def line(self) -> str:
        return " ".join(("bench figure", *map(_short, self.words)))


def measures_of(kind: str) -> tuple[tuple[str, ...], ...]:
    """What is typed behind ``bench measure`` and a run for each measure that a kind draws."""
    if kind in SCORED:
        return ()
    return MEASURES.get(kind) or ((importlib.import_module(f"bench.figures.kinds.{kind}").MEASURE,),)


def measure(target: str, results: Path, rate: str, pool: Executor) -> dict[str, str]:
    """Measure what figures draw, of the first seed of each cell at a rate; the reasons of what cannot be, by kind."""
    (table,) = fill(read_plan(target, bench.Registry(), Overrides(rates=rate)), bench.Store(results))
    runs = [entry.cell.runs[0].id for entry in table.finished]
    asked: dict[tuple[str, ...], list[str]] = {}
    for kind in (kind for kind in KINDS if kind != "masks"):
        for words in measures_of(kind):
            for run in runs:
                asked.setdefault(("measure", run, *words, "--results", str(results)), []).append(kind)
            if kind in WITH_SOURCE:
                asked.setdefault(("measure", runs[0], *words, "--of", "source", "--results", str(results)), [])
    asked[("measure", *MASKED, "predicted_masks", "--results", str(results))] = ["masks"]
    answers = pool.map(said, asked)
    return {kind: wrong for wrong, kinds in zip(answers, asked.values(), strict=True) if wrong for kind in kinds}


def said(words: Sequence[str]) -> str:
    """What a command says is wrong; empty where it was well."""
    err = io.StringIO()
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(err):
        code = main(words)
    lines = [line.removeprefix("bench: ") for line in err.getvalue().splitlines()]
    return lines[-1] if code and lines else ""


def draw(
    target: str, results: Path, folder: Path, rate: str, last: str, reasons: Mapping[str, str], pool: Executor
) -> list[Drawn]:
    """Each kind in turn."""
    drawn = [
        _asked(kind, target, folder, rate, last) for kind in (*SCORED, *(kind for kind in KINDS if kind not in SCORED))
    ]
    files = [
        (*each.words, "--width", "column", "--results", str(results), "--output", str(each.file)) for each in drawn
    ]
    every = []
    for each, wrong in zip(drawn, pool.map(said, (("figure", *words) for words in files)), strict=True):
        if not (reason := reasons.get(each.kind, "") or wrong):
            shrink(each.file)
        every.append(replace(each, reason=reason))
    return every


def _asked(kind: str, target: str, folder: Path, rate: str, last: str) -> Drawn:
    """A kind with what is typed to draw it."""
    usual = ["--kind", kind] if kind in SCORED else ["--kind", kind, "--rates", rate]
    words = [word.format(rate=rate, last=last) for word in LINES.get(kind, usual)]
    return Drawn(kind, tuple([target, *words] if words[0].startswith("--") else words), folder / f"{kind}.png")


def _short(word: str) -> str:
    """A path within the suite as seen from its folder."""
    path = Path(word)
    return path.relative_to(ROOT).as_posix() if path.is_absolute() and path.is_relative_to(ROOT) else word


def shrink(file: Path) -> None:
    """Let a picture take few bytes: with few colours, and with fewer dots where that is not enough."""
    with Image.open(file) as opened:
        picture = opened.convert("RGB")
    for share in (1.0, 0.75, 0.6, 0.5):
        size = (round(picture.width * share), round(picture.height * share))
        smaller = picture.resize(size, Image.Resampling.LANCZOS) if share < 1 else picture
        smaller.quantize(64, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE).save(file, optimize=True)
        if file.stat().st_size <= MOST_BYTES:
            return
    raise SystemExit(f"{file}: {file.stat().st_size:,} bytes are too many for the page")


def page(target: str, drawn: Sequence[Drawn], place: Path, command: str) -> str:
    """The page, in Markdown."""
    title = str(read_plan(target, bench.Registry()).title)
    blocks = [
        "# Gallery",
        f"A figure of every kind, at column width, of *{title}*: a few runs that show what a figure looks like, and "
        f"nothing about methods. `{command}` makes this page; [figures.md](figures.md) says what each kind is of.",
    ]
    for each in drawn:
        blocks += [f"## {each.kind}", f"{about(each.kind)}.", f"```\n{each.line}\n```"]
        picture = f"![{each.kind}]({each.file.relative_to(place.parent).as_posix()})"
        blocks.append("Not drawn of these runs: the script says why." if each.reason else picture)
    return "\n\n".join(blocks) + "\n"


def parser() -> argparse.ArgumentParser:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("target", nargs="?", default=str(TARGET), help="an experiment, by name or file")
    options.add_argument("--results", type=Path, default=ROOT / "results" / "gallery", help="the folder of its runs")
    options.add_argument("--page", type=Path, default=ROOT / "docs" / "gallery.md")
    return options


def make(words: Sequence[str] | None = None) -> None:
    """Train what is missing, measure, draw, and write the page."""
    options = parser().parse_args(words)
    plan = read_plan(options.target, bench.Registry())
    is_lacking = plan.unique.keys() - bench.Store(options.results).finished().keys()
    if is_lacking and (code := main(["run", options.target, "--keep", "all", "--results", str(options.results)])):
        raise SystemExit(code)
    if code := main(["run", *MASKED, "--keep", "last", "--results", str(options.results)]):
        raise SystemExit(code)
    if code := main(["run", *SHIFTED, "--results", str(options.results)]):
        raise SystemExit(code)
    folder = options.page.with_suffix("")
    folder.mkdir(parents=True, exist_ok=True)
    started = time.perf_counter()
    (table,) = plan.tables
    rates = dict.fromkeys(cell.axes["rate"] for _, cell in table.places() if cell.candidates)
    rate = next(iter(rates)).removesuffix(" %")
    last = [cell.axes["method"] for _, cell in table.places() if cell.candidates][-1]
    with ProcessPoolExecutor(PROCESSES, multiprocessing.get_context("spawn")) as pool:
        reasons = measure(options.target, options.results, rate, pool)
        drawn = draw(options.target, options.results, folder, rate, last, reasons, pool)
    command = " ".join(
        ("python benchmarks/gallery.py", *([_short(options.target)] if options.target != str(TARGET) else []))
    )
    options.page.write_text(page(options.target, drawn, options.page, command), encoding="utf-8")
    print(f"{options.page}: {sum(not each.reason for each in drawn)} figures in {time.perf_counter() - started:.0f} s")
    for each in drawn:
        if each.reason:
            print(f"  {each.kind}: {each.reason}")


if __name__ == "__main__":
    make()

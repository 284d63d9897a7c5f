"""An experiment and a paper's table whose finished runs have a metric of which less is better, and costs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from bench.plan.target import read_plan
from bench.records.store import Store
from bench.registry import Registry
from bench.spec import RunSpec
from tests.tables.small import PROTOCOL, TABLE

EXPERIMENT = """\
methods: {Fine-tune: ce, BSS: bss, GTA: {gta: {weight: [0.1, 1]}}}
backbones: [micro_vit]
datasets: [digits, cluttered_digits]
rates: [15, 100]
seeds: 3
protocol: {steps: 10}
baseline: Fine-tune
"""
TARGETS = {"experiment": ("mine.yaml",), "paper": ("mini/table1", "--plugin", ".")}
LEVEL = {"ce": 0.8, "bss": 0.9, "gta": 0.3}
"""Of the test nll at the last point: GTA is the best, BSS the worst."""


def nll(spec: RunSpec) -> float:
    """On both splits at the last point; the smaller weight is worse."""
    small = 0.1 if dict(spec.method.hyper).get("weight") == 0.1 else 0.0
    return LEVEL[spec.method.name] + small + 0.2 * (spec.dataset.name != "digits") + 0.01 * spec.seed**2


def curve(spec: RunSpec) -> list[dict[str, Any]]:
    """Three points: the nll is best at the second, top-1 at the last."""
    points = []
    for step, (worse, top1) in enumerate([(0.3, 50.0), (-0.1, 60.0), (0.0, 90.0)], 1):
        scores = {"top1": top1, "nll": nll(spec) + worse}
        points.append({"step": step, "val": scores, "test": scores, "seconds": 2.0 * step})
    return points


def publish(spec: RunSpec, points: list[dict[str, Any]]) -> None:
    """A finished run that trained for 10 s and a second more with each seed."""
    timing = {"seconds": 14.0 + spec.seed, "evaluation_seconds": 4.0}
    stages = [{"steps": 3, "trained_weights": weights} for weights in (40, 100 if spec.method.name == "gta" else 50)]
    energy = {"processor": 120.0 + spec.seed, "gpu": None}
    usage = {"parts": 1, "seconds": 20.0, "cpu_seconds": 9.0, "memory_bytes": 300_000_000, "energy_joules": energy}
    store = Store("results")
    with store.draft() as draft:
        store.publish(draft, spec, {"curve": points, "timing": timing, "stages": stages, "usage": usage})


def set_out(here: Path, kind: str) -> tuple[str, ...]:
    """One of both, with a finished run of every cell and candidate. Returns what is typed to name it."""
    (here / "mine.yaml").write_text(EXPERIMENT, encoding="utf-8")
    place = here / "paper_tables" / "mini"
    place.mkdir(parents=True)
    (place / "table1.yaml").write_text(TABLE, encoding="utf-8")
    (place / "protocol.yaml").write_text(PROTOCOL, encoding="utf-8")
    typed = TARGETS[kind]
    for spec in read_plan(typed[0], Registry(["."])).unique.values():
        publish(spec, curve(spec))
    return typed

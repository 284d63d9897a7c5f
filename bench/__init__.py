"""A benchmark suite for fine-tuning vision backbones.

    import bench

    registry = bench.Registry()
    experiment = bench.read_experiment("demo", registry, bench.Overrides(methods="ce,gta", rates="15"))
    plan = bench.expand(experiment)
    bench.run(plan.unique.values(), bench.Job("results"), bench.LocalExecutor(jobs=2))
    print(bench.render(bench.fill(plan, bench.Store("results")), "latex"))

Nothing here imports torch; the workers do.
"""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

_CHECKOUT = Path(__file__).parent.parent
if (_CHECKOUT / "pyproject.toml").is_file():
    # in a wheel methods/ and datasets/ lie inside bench/; in a checkout they lie beside it
    __path__.append(str(_CHECKOUT))

__version__ = "0.1.0"

_EXPORTS = {
    "InputError": "errors",
    "LocalExecutor": "launch",
    "Job": "launch",
    "Overrides": "plan.overrides",
    "Registry": "registry",
    "RunSpec": "spec",
    "Store": "records.store",
    "expand": "plan.grid",
    "fill": "tables.report",
    "read_experiment": "plan.experiment",
    "render": "tables",
    "run": "launch",
}

__all__ = ["__version__", *_EXPORTS]


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used: start-up stays quick."""
    if name not in _EXPORTS:
        raise AttributeError(f"module 'bench' has no attribute '{name}'")
    return getattr(importlib.import_module(f"bench.{_EXPORTS[name]}"), name)

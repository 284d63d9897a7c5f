"""A benchmark suite for fine-tuning vision backbones.

    import bench

    registry = bench.Registry()
    plan = bench.read_plan("demo", registry, bench.Overrides(methods="ce,gta", rates="15"))
    bench.run(plan.trainable.values(), bench.Job("results"), bench.LocalExecutor(jobs=2))
    (table,) = bench.fill(plan, bench.Store("results"))
    print(bench.render(table, "latex"))
    runs = bench.frame(plan, bench.Store("results"))  # pandas: one row a run

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
    "fill": "tables.compare",
    "frame": "tables.frame",
    "read_plan": "plan.target",
    "render": "sheets.view",
    "run": "launch",
}

__all__ = ["__version__", *_EXPORTS]


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used: start-up stays quick."""
    if name not in _EXPORTS:
        raise AttributeError(f"module 'bench' has no attribute '{name}'")
    return getattr(importlib.import_module(f"bench.{_EXPORTS[name]}"), name)

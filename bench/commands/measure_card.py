"""What ``bench show`` says of a measure of trained models; its file is read, and not run."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

from bench.errors import to_type
from bench.registry import Registry


def measure_cards(name: str, registry: Registry) -> list[tuple[str, dict[str, Any]]]:
    """What there is to say of a measure of that name: for people, and as plain data."""
    if name not in registry.measure_files:
        return []
    measure, path = registry.measure(name), registry.measure_files[name]
    about, _, details = docstring(path).partition("\n")
    gives = {metric.name: f"{metric.heading}, {'lower' if metric.lower else 'higher'}" for metric in measure.gives}
    needs = [*measure.needs, *(["masks"] if measure.masks else [])]
    facts = {
        "kind": "measure",
        "name": measure.name,
        "about": about,
        "details": details.strip(),
        "gives": gives,
        "images": measure.images or "all",
        "needs": needs,
        "options": dict(measure.options),
        "source": measure.source,
        "file": str(path),
    }
    lines = [f"measure {measure.name}: {about}", *(f"  {line}".rstrip() for line in details.strip().splitlines())]
    lines.append("  gives, and which values are better:" if gives else "  gives: what figures are drawn from")
    lines += [f"    {metric}: {words}" for metric, words in gives.items()]
    lines.append(f"  images of the split: {'all' if not measure.images else f'{measure.images:,}, drawn'} (--images N)")
    if needs:
        lines.append(f"  needs: {', '.join(needs)}")
    if measure.options:
        lines.append(f"  options: {', '.join(f'{key}={value}' for key, value in measure.options.items())} (--option)")
    lines += [f"  source: {measure.source or 'not stated'}", f"  file: {path}"]
    lines.append(f"  {to_type('measure', 'TARGET', measure.name)}")
    return [("\n".join(lines), facts)]


def docstring(path: Path) -> str:
    """What a file of Python says of itself."""
    return ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""

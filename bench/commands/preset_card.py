"""What ``bench show`` says of a protocol by name."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from bench.commands.values import value_lines
from bench.papers.preset import read_preset
from bench.papers.values import counts_in_words, values_of_preset
from bench.registry import Registry


def preset_cards(name: str, registry: Registry) -> Iterator[tuple[str, dict[str, Any]]]:
    """What there is to say of a preset of that name: for people, and as plain data."""
    if name not in registry.preset_files:
        return
    preset = read_preset(name, registry)
    values = values_of_preset(preset)
    lines = [f"preset {name}: {preset.title}", *(f"  {line}" for line in value_lines(values))]
    lines.append(f"  values by who states them: {counts_in_words(values)}")
    if preset.differs:
        lines += ["  what its authors do and no setting says:", *(f"    - {line}" for line in preset.differs)]
    lines.append(f"  in an experiment: protocol: {{preset: {name}}}; or typed: --set preset={name}")
    lines.append(f"  file: {registry.preset_files[name]}")
    listed = [{"name": each.name, "value": each.value, "source": each.source, "kind": each.kind} for each in values]
    facts = {"kind": "preset", "name": name, "about": preset.title, "values": listed, "differs": list(preset.differs)}
    yield "\n".join(lines), {**facts, "file": str(registry.preset_files[name])}

"""What is named once and not on each command, by variables or in ``finetune-bench.toml``: plug-ins, a results folder.

    plugin = "~/mine"             # or a list; relative to the file
    results = "/big/disk/results"

What is typed comes before ``BENCH_PLUGIN`` and ``BENCH_RESULTS``, and these before the file in the current folder.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from bench.errors import InputError, choose
from bench.reading.syntax import split_unless

FILE = "finetune-bench.toml"
VARIABLES = {"plugin": "BENCH_PLUGIN", "results": "BENCH_RESULTS"}


@dataclass(frozen=True)
class Setting:
    """Paths that are named once (of ``results`` one), and the place where they are, for messages."""

    values: tuple[str, ...]
    place: str


def read_settings(folder: Path, variables: Mapping[str, str] = os.environ) -> dict[str, Setting]:
    """What is named once, by key: ``plugin``, ``results``; in the file of a folder its relative paths start there.

    Raises ``InputError`` that says where the file is malformed, or has a key or value that is not allowed.
    """
    settings = _in_file(folder / FILE) if (folder / FILE).exists() else {}
    for key, variable in VARIABLES.items():
        if text := variables.get(variable, ""):
            settings[key] = Setting(split_paths(text) if key == "plugin" else (text,), variable)
    return settings


def split_paths(text: str) -> tuple[str, ...]:
    """Paths with commas between them; a comma in the name of something that is there does not part it."""
    return tuple(split_unless(text, os.path.exists)) or ("",)


def _in_file(path: Path) -> dict[str, Setting]:
    from bench.reading.toml import read_toml

    data, lines = read_toml(path)
    settings = {}
    for key, value in data.items():
        place = lines.place(0, key)
        if key not in VARIABLES:
            raise InputError(f"{place}: {choose(key, VARIABLES, 'key')}")
        paths = value if isinstance(value, list) and key == "plugin" else [value]
        if not all(isinstance(text, str) and text for text in paths):
            allowed = "a path or a list of paths" if key == "plugin" else "a path"
            raise InputError(f"{place}: '{key}' must be {allowed}, not {value!r}")
        # relative to the file; the home folder stays as it is written
        values = tuple(text if text.startswith("~") else str(path.parent / text) for text in paths)
        settings[key] = Setting(values, place)
    return settings

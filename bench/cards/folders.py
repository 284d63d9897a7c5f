"""Where data and weights that do not come with the package lie."""

from __future__ import annotations

import os
from pathlib import Path


def data_folder() -> Path:
    """Where datasets lie, each in a folder of its name: ``$BENCH_DATA``, or else ``data`` in the current folder."""
    return Path(os.environ.get("BENCH_DATA") or "data").expanduser().absolute()


def converted_weights(name: str) -> Path:
    """Where the converted weights of a backbone lie: ``weights/NAME.safetensors`` in the data folder."""
    return data_folder() / "weights" / f"{name}.safetensors"

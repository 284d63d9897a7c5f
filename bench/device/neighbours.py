"""How many runs share this process's GPU, as whoever started it says in lines on its standard input.

A run is told when it begins, and again whenever another one begins beside it; what counts is the most there were. So a
run knows whether memory was short because of a neighbour, and its record says that its seconds were not its alone.
"""

from __future__ import annotations

import json
from typing import Any

_MOST = [1]


def most() -> int:
    """The most runs that shared the GPU at a time while this process's run was trained, itself among them."""
    return _MOST[0]


def note(line: str) -> bool:
    """Take up what a line says of neighbours; whether it is such a line."""
    if not line.startswith('{"sharing"'):
        return False
    message: dict[str, Any] = json.loads(line)
    _MOST[0] = message["sharing"] if message["begins"] else max(_MOST[0], message["sharing"])
    return True

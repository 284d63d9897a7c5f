"""Who may state a value of a paper's protocol: a closed list of kinds, by the words with which a source begins."""

from __future__ import annotations

import re

OURS, NOBODY, UNSORTED = "our choice", "", "somebody else"
KINDS = ("paper", "released code", "another paper", OURS)
"""``another paper`` is one that the paper follows, with its released code; it is told behind the colon."""


def kind_of(source: str) -> str:
    """The kind of a source: one of ``KINDS``, ``UNSORTED`` where it begins with none of them, ``NOBODY`` if empty."""
    if not source:
        return NOBODY
    return next((kind for kind in KINDS if re.match(rf"{kind}\b", source)), UNSORTED)

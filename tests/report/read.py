"""A page read by a program, as its script reads it."""

from __future__ import annotations

import base64
import gzip
import html.parser
from pathlib import Path
from typing import Any

import msgspec


class Parts(html.parser.HTMLParser):
    """The elements of a page, and the content of its parts, by a parser that is not ours."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.parts: dict[str, bytes] = {}
        self.open = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self.open = dict(attrs).get("id") or "" if tag == "script" else ""

    def handle_data(self, data: str) -> None:
        if self.open:
            self.parts[self.open] = gzip.decompress(base64.b64decode(data))
            self.open = ""


def parts_in(page: Path) -> dict[str, Any]:
    """What a page holds, by name."""
    parser = Parts()
    parser.feed(page.read_text(encoding="utf-8"))
    return {name: msgspec.json.decode(content) for name, content in parser.parts.items()}


def tags_in(page: Path) -> list[tuple[str, dict[str, str | None]]]:
    """The elements of a page as it is written, before any script."""
    parser = Parts()
    parser.feed(page.read_text(encoding="utf-8"))
    return parser.tags

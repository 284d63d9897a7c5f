"""TOML files as plain data, and where in them each key stands, which their reader does not say."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

from bench.errors import InputError, odd_characters
from bench.reading.document import read_text

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


def read_toml(path: Path, tables: str = "") -> tuple[dict[str, Any], Lines]:
    """Read a TOML file; the keys of an array of ``[[tables]]`` are found apart.

    Raises ``InputError`` where the file is missing, unreadable or malformed; says where.
    """
    text = read_text(path)
    try:
        return tomllib.loads(text), Lines(text, str(path), tables)
    except tomllib.TOMLDecodeError as error:
        line = re.search(r"\(at line (\d+)", str(error))
        number = int(line[1]) if line else len(text.splitlines())
        odd = odd_characters("".join(text.splitlines()[number - 1 : number]))
        raise InputError(f"{path}:{number}: malformed TOML: {str(error).partition(' (at ')[0]}{odd}") from None
    except RecursionError:
        raise InputError(f"{path}:1: malformed TOML: brackets within brackets without end") from None


class Lines:
    """Where the keys of a TOML file stand; those of each of its ``[[tables]]`` apart."""

    def __init__(self, text: str, source: str, tables: str = "") -> None:
        self._source = source
        self._lines: dict[tuple[int, str], int] = {}
        number = 0
        for line, content in enumerate(text.splitlines(), start=1):
            if tables and re.match(rf"\s*\[\[\s*{tables}\s*\]\]", content):
                number += 1
                self._lines[number, ""] = line
            elif key := re.match(r"""\s*\[?\[?\s*["']?([\w-]+)["']?\s*[.=\]]""", content):
                self._lines.setdefault((number, key[1]), line)

    def place(self, number: int, key: str = "") -> str:
        """``file:line`` of a key of the file (0) or of one of its ``[[tables]]`` (1, 2, ...)."""
        line = self._lines.get((number, key)) or self._lines.get((number, ""))
        return f"{self._source}:{line or 1}"

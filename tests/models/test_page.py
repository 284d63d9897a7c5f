"""What docs/models.md shows is there."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

from bench.cli import build_parser
from bench.models.export import form_names

PAGE = (Path(__file__).parents[2] / "docs" / "models.md").read_text(encoding="utf-8")


def test_the_commands_exist() -> None:
    parser = build_parser()
    lines = [
        line.split("#")[0] for block in re.findall(r"```bash\n(.*?)```", PAGE, re.DOTALL) for line in block.splitlines()
    ]
    assert len(lines) >= 10
    for line in lines:
        parser.parse_args(shlex.split(line)[1:])


def test_every_form_is_described() -> None:
    assert sorted(re.findall(r"^\| `(\w+)` \|", PAGE, re.MULTILINE)) == form_names()

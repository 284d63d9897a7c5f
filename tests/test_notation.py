"""How counts are written."""

from __future__ import annotations

from bench.notation import counted


def test_one_is_said_in_the_singular() -> None:
    assert [counted(number, "run") for number in (0, 1, 2, 1430)] == ["0 runs", "1 run", "2 runs", "1,430 runs"]
    assert [counted(number, "class", "classes") for number in (1, 3)] == ["1 class", "3 classes"]

"""How the processes of a job that share its runs agree on the next one: a file that the first of them writes.

All of them are on one node, so what one has written the others see at once.
"""

from __future__ import annotations

import contextlib
import json
from pathlib import Path

from bench.launch.failures import Failure
from bench.records.files import write_file


class Orders:
    """The runs of a job in the order in which its processes train them, in a file for each start of the job.

    A generation is a set of workers that has joined; when one of them is lost, all are replaced.
    """

    def __init__(self, stem: Path) -> None:
        self._path = stem.with_name(f"{stem.name}.orders")

    def give(self, run: str, generation: int) -> None:
        """Say which run comes next."""
        self._add([run, generation])

    def end(self) -> None:
        """Say that there is no other."""
        self._add(None)

    def read(self) -> list[tuple[str, int] | None]:
        """What was said until now; None for the end."""
        with contextlib.suppress(FileNotFoundError):
            lines = self._path.read_text(encoding="utf-8").split("\n")[:-1]  # a last line without its end is not whole
            return [None if order is None else (order[0], order[1]) for order in map(json.loads, lines)]
        return []

    def count(self) -> int:
        """How many orders were given."""
        return len(self.read())

    def lose(self, rank: int, generation: int, failure: Failure) -> None:
        """Say what a process has failed of, whole or not at all. Raises ``OSError`` where it cannot be written."""
        write_file(self._path.with_suffix(f".lost-{generation}-{rank}"), json.dumps(failure.to_json()))

    def lost(self, generation: int) -> list[Failure]:
        """What processes have failed of since a generation began, in their order."""
        return [Failure.from_json(json.loads(path.read_text(encoding="utf-8"))) for path in self._losses(generation)]

    def forget(self, generation: int) -> None:
        """Remove what was said of failures of a generation, once it is recorded."""
        for path in self._losses(generation):
            path.unlink(missing_ok=True)

    def _losses(self, generation: int) -> list[Path]:
        paths = self._path.parent.glob(f"{self._path.stem}.lost-{generation}-*")
        return sorted(paths, key=lambda path: int(path.name.rpartition("-")[2]))

    def _add(self, order: list[object] | None) -> None:
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(order) + "\n")

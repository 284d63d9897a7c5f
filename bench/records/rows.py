"""PackedRows of an index, packed as its file has them: what is not asked for is not parsed."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Iterator, KeysView, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

_Item = TypeVar("_Item")


@dataclass
class PackedRows:
    """What is kept of some records, in the order of their folders.

    Attributes:
        folders: their names.
        stamps: a number for each that changes with the record's file.
        ends: where each row ends in ``packed``.
    """

    folders: list[str] = field(default_factory=list)
    stamps: array[int] = field(default_factory=lambda: array("q"))
    ends: array[int] = field(default_factory=lambda: array("q"))
    packed: bytearray | memoryview = field(default_factory=bytearray)

    def __len__(self) -> int:
        return len(self.folders)

    def __getitem__(self, at: int) -> bytearray | memoryview:
        """The row at a place, as MessagePack."""
        return self.packed[self.ends[at - 1] if at else 0 : self.ends[at]]

    def append(self, folder: str, stamp: int, row: bytes | bytearray | memoryview) -> None:
        assert isinstance(self.packed, bytearray), "what was read from a file is not added to"
        self.packed += row
        self.folders.append(folder)
        self.stamps.append(stamp)
        self.ends.append(len(self.packed))


class Looked(Mapping[str, _Item]):
    """What rows say, by a name for each, parsed each time that it is looked at. Of equal names the last one counts."""

    def __init__(self, names: Iterable[str], look: Callable[[int], _Item]) -> None:
        self._places = {name: at for at, name in enumerate(names)}
        self._look = look

    def __getitem__(self, name: str) -> _Item:
        return self._look(self._places[name])

    def __contains__(self, name: object) -> bool:
        return name in self._places

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def __len__(self) -> int:
        return len(self._places)

    def keys(self) -> KeysView[str]:
        return self._places.keys()


def brought_up(
    rows: PackedRows, stamps: Mapping[str, int], read: Callable[[list[str]], Iterator[bytes | None]]
) -> PackedRows:
    """The rows of what is there now, by folder, with the stamps that these have; the same ones where nothing changed.

    ``read`` gives, one after the other, the rows of folders whose stamp is another one, None for one without a row.
    """
    if rows.folders == [*stamps] and rows.stamps == array("q", stamps.values()):
        return rows
    kept = {folder: at for at, folder in enumerate(rows.folders) if stamps.get(folder) == rows.stamps[at]}
    changed = read([folder for folder in stamps if folder not in kept])
    now, is_same = PackedRows(), len(kept) == len(rows)
    for folder, stamp in stamps.items():
        row = rows[kept[folder]] if folder in kept else next(changed)
        if row is not None:
            now.append(folder, stamp, row)
            is_same &= folder in kept
    return rows if is_same else now

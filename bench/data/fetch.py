"""A dataset's files, fetched as its card says."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bench.cards.dataset import DatasetCard
from bench.data.download import download
from bench.data.official import file_checksum
from bench.data.unpack import unpack
from bench.errors import InputError


def fetch(card: DatasetCard, keep: bool = False) -> None:
    """Download and unpack whatever of a dataset is not there yet. It can be stopped and called again at any time.

    An entry of the card's ``download`` has a ``url`` and, where one was published, its ``checksum``. One that ``gives``
    files or folders is an archive, unpacked ``into`` a folder of the dataset's, with ``rename`` for things at its top
    and ``inner`` for archives in it, which are unpacked there too; any other is a file that is kept there. Archives are
    removed once they are unpacked, unless told to ``keep`` them.

    Raises:
        InputError: a file cannot be fetched, is not what was published, or is no harmless archive.
    """
    root = Path(card.path)
    for entry in card.facts.get("download", ()):
        folder, name = root / entry.get("into", "."), entry.get("file") or entry["url"].rpartition("/")[2]
        if "gives" not in entry:
            download(entry["url"], folder / name, entry.get("checksum", ""))
        elif not _is_there(root, entry):
            archive = root / name
            download(entry["url"], archive, entry.get("checksum", ""))
            unpack(archive, folder, entry.get("rename"))
            for inner in entry.get("inner", ()):
                unpack(root / inner, folder)
            if not _is_there(root, entry):
                raise InputError(f"{archive}: does not hold {', '.join(entry['gives'])}")
            if not keep:
                archive.unlink()


def fetched(card: DatasetCard) -> bool:
    """Whether everything that the card's ``download`` gives is there; files with a known checksum are verified."""
    return all(_is_there(Path(card.path), entry) for entry in card.facts.get("download", ()))


def _is_there(root: Path, entry: Mapping[str, Any]) -> bool:
    if "gives" in entry:
        return all((root / name).exists() for name in entry["gives"])
    path = root / entry.get("into", ".") / (entry.get("file") or entry["url"].rpartition("/")[2])
    checksum = entry.get("checksum", "")
    return path.is_file() and (not checksum or file_checksum(path, checksum.partition(":")[0]) == checksum)

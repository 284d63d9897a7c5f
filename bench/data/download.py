"""One file from the web: taken up where it broke off, verified, and under its name only when it is whole.

The standard library does it in a page; pooch, the usual choice, starts a broken download anew, which is no help with
the 186 GB of iNaturalist.
"""

from __future__ import annotations

import http.client
import os
import urllib.error
import urllib.request
from pathlib import Path

from tqdm import tqdm

from bench.data.official import file_checksum
from bench.errors import InputError

ATTEMPTS = 5
"""How often in turn a connection may break without having brought anything."""

_PIECE = 1 << 20
_PATIENCE = 60  # seconds without a byte


def download(url: str, target: Path, checksum: str = "") -> None:
    """Fetch a file.

    Until it is whole and verified it is called ``target`` with ``.part`` behind; where the checksum is known, a later
    call goes on where that ends. An existing ``target`` with the right checksum is left alone. A checksum is
    ``md5:...`` or ``sha256:...``, or empty if nobody published one.

    Raises:
        InputError: it cannot be fetched, or is not what was published.
    """
    if not url.startswith(("http://", "https://")):
        raise InputError(f"{url}: only http and https are fetched")
    if target.is_file():
        _verify(target, checksum, url)
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f"{target.name}.part")
    if not checksum:
        part.unlink(missing_ok=True)  # nothing could tell whether what is there is the beginning of what will come
    most, idle, reason = _size(part), 0, "the connection broke off"
    while idle < ATTEMPTS:
        try:
            if _append(url, part):
                break
        except urllib.error.HTTPError as error:
            raise InputError(f"{url}: the server answers {error.code} {error.reason}") from None
        except (OSError, http.client.HTTPException) as error:
            reason = str(error)
        idle = 0 if _size(part) > most else idle + 1
        most = max(most, _size(part))
    else:
        raise InputError(f"{url}: {reason}; {_size(part):,} bytes are there, and the same command goes on")
    try:
        _verify(part, checksum, url)
    except InputError:
        part.unlink()
        raise
    os.replace(part, target)


def _append(url: str, part: Path) -> bool:
    """Add what is missing to the part that is there; whether it is whole now."""
    have = _size(part)
    headers = {"User-Agent": "finetune-bench", **({"Range": f"bytes={have}-"} if have else {})}
    try:
        answer = urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=_PATIENCE)
    except urllib.error.HTTPError as error:
        if error.code == http.client.REQUESTED_RANGE_NOT_SATISFIABLE and have:
            return True  # nothing is left to send: the checksum will tell whether that is right
        raise
    with answer:
        goes_on = answer.status == http.client.PARTIAL_CONTENT
        if goes_on and not answer.headers.get("Content-Range", "").startswith(f"bytes {have}-"):
            raise http.client.HTTPException("the server sent another part than it was asked for")
        have = have if goes_on else 0
        length = answer.headers.get("Content-Length")
        total = have + int(length) if length else None
        bar = tqdm(total=total, initial=have, unit="B", unit_scale=True, desc=url.rpartition("/")[2], disable=None)
        with part.open("ab" if goes_on else "wb") as file, bar:
            while piece := answer.read(_PIECE):
                file.write(piece)
                bar.update(len(piece))
    return total is None or _size(part) >= total


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _verify(path: Path, checksum: str, url: str) -> None:
    if not checksum:
        return
    actual = file_checksum(path, checksum.partition(":")[0])
    if actual != checksum:
        raise InputError(
            f"{path}: has the checksum {actual}, but {url} was published with {checksum}; delete it and try again"
        )

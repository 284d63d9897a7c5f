"""The checksum that ends a record: whoever reads one knows without any cost whether it is as it was written.

It is of the record's JSON without blanks between its words, so that a file that was only laid out anew still fits.
Records of older versions have none; they are held against what else is kept (``bench.records.proof``).
"""

from __future__ import annotations

import hashlib

import msgspec

_MARK = b',"checksum":'


class Unfit(ValueError):
    """A record is not as it was written; the message says how that is known."""


def sealed(content: bytes) -> bytes:
    """A record, as JSON without blanks and without a checksum, with its checksum as the last entry."""
    return content[:-1] + _MARK + _ending(content[:-1])


def is_sealed(content: bytes) -> bool:
    """Whether a record has a checksum, which then is that of its content.

    Raises:
        Unfit: it is that of another content.
        msgspec.MsgspecError: it is no JSON.
    """
    whole, mark, ending = msgspec.json.format(content, indent=-1).rpartition(_MARK)
    if mark and ending != _ending(whole):
        raise Unfit("it was changed after it was written")
    return bool(mark)


def _ending(whole: bytes) -> bytes:
    return b'"%s"}' % hashlib.sha256(whole).hexdigest()[:16].encode()

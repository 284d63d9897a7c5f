"""What a record says of what was compiled."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct

_Count = Annotated[int, Meta(ge=0)]


class Compiled(Struct, frozen=True):
    """What was compiled of a run (``bench.device.compiled``).

    Attributes:
        mode: of ``torch.compile``.
        seconds: that it took, of those of the run over all its parts; those of shared stages leave them out.
        graphs: that were compiled.
        breaks: places at which a pass was cut and runs as without compiling.
    """

    mode: str
    seconds: float
    graphs: _Count
    breaks: _Count

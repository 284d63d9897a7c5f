"""What the command line puts in the place of an experiment's own axes, and how lists and settings are written."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Overrides:
    """Texts as they are typed; an empty one changes nothing.

    Attributes:
        methods: ``"ce,gta(weight=0.3)"``; a bare name has the experiment's hyper-parameters, if it has the method.
        backbones: ``"micro_vit,timm:vit_tiny_patch16_224@none"``.
        datasets: ``"digits,folder:PATH"``.
        rates: ``"15,100"``, in percent.
        seeds: how many (``"5"``), or which (``"0,1,7"``).
        settings: of the protocol, such as ``("steps=100", "lr=1e-4")``.
        selection: which point of the curve a table reads.
        split: whose accuracy it shows, ``"test"`` or ``"val"``.
        test: by which its methods are compared, one of ``TESTS``.
        across: the claim over its datasets, one of ``ACROSS``.
    """

    methods: str = ""
    backbones: str = ""
    datasets: str = ""
    rates: str = ""
    seeds: str = ""
    settings: Sequence[str] = ()
    selection: str = ""
    split: str = ""
    test: str = ""
    across: str = ""

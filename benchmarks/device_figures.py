"""What is measured on a device, and how it is written down."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median

import torch

WINDOWS = 3


@dataclass(frozen=True)
class Figure:
    """One thing that was measured: a number with the least and the most where it was measured several times."""

    part: str
    what: str
    value: float | str
    unit: str = ""
    least: float | None = None
    most: float | None = None


@dataclass
class Machine:
    """What is measured on, in which size, until when; and what was found so far.

    Attributes:
        backbone, size, batch: of the steps that are timed; ``size`` in pixels a side.
        window: seconds of a window of steps.
        ends: when all of it must be over, by ``time.monotonic``.
        without: why parts have no figures, or not all, by their names.
    """

    device: torch.device
    small: bool
    ends: float
    images: str = ""
    weights: str = ""
    figures: list[Figure] = field(default_factory=list)
    without: dict[str, str] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)

    @property
    def gpu(self) -> bool:
        return self.device.type == "cuda"

    @property
    def backbone(self) -> str:
        return "micro_vit" if self.small else "timm:vit_small_patch16_224@none"

    @property
    def size(self) -> int:
        return 12 if self.small else 224

    @property
    def batch(self) -> int:
        return 16 if self.small else 768

    @property
    def window(self) -> float:
        return 0.1 if self.small else 2.0

    @property
    def left(self) -> float:
        return self.ends - time.monotonic()

    def wait(self) -> None:
        """Until the device has done what it was given."""
        if self.gpu:
            torch.cuda.synchronize()

    def rate(self, step: Callable[[], object], amount: float) -> tuple[float, float, float]:
        """How much of an amount a step a second makes: the median of windows, the least and the most."""
        for _ in range(3):
            step()
        self.wait()
        started = time.perf_counter()
        step()
        self.wait()
        count = max(2, int(self.window / (time.perf_counter() - started)))
        rates = []
        for _ in range(WINDOWS):
            started = time.perf_counter()
            for _ in range(count):
                step()
            self.wait()
            rates.append(amount * count / (time.perf_counter() - started))
        return median(rates), min(rates), max(rates)

    def value(self, what: str) -> float | None:
        """A number that was measured before, if it was."""
        values = [figure.value for figure in self.figures if figure.what == what]
        return float(values[0]) if values else None


def environment() -> dict[str, str]:
    """That of this process, with this checkout first."""
    paths = (str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", ""))
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))}


def facts(machine: Machine) -> dict[str, str]:
    name = torch.cuda.get_device_name(machine.device) if machine.gpu else "the CPU"
    return {"device": name, "torch": torch.__version__, "backbone": machine.backbone, "batch": str(machine.batch)}


def markdown(machine: Machine) -> str:
    """All figures as a table, and what has none."""
    lines = [", ".join(f"{name} {value}" for name, value in facts(machine).items()), ""]
    lines += ["| part | what | value | least | most | |", "|---|---|---:|---:|---:|---|"]
    for each in machine.figures:
        values = (each.value, each.least, each.most)
        written = ["" if value is None else value if isinstance(value, str) else f"{value:.4g}" for value in values]
        lines.append(f"| {each.part} | {each.what} | {' | '.join(written)} | {each.unit} |")
    lines += ["", *(f"{name}: {reason}" for name, reason in machine.without.items())]
    return "\n".join(lines) + "\n"


def as_json(machine: Machine) -> str:
    figures = [asdict(figure) for figure in machine.figures]
    whole = {**facts(machine), "figures": figures, "without": machine.without, "seconds": machine.seconds}
    return json.dumps(whole, indent=1) + "\n"

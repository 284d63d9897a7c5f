"""How often each verdict on a published number is right and wrong: measures its table of docs/statistics.md.

    python benchmarks/verdicts.py

Papers are made up: a cell of ours has n seeds, the published number is of m runs, and the procedures behind the two
differ by a gap that is known. Each cell is judged as the suite judges it. Draws are seeded, so the same versions give
the same numbers. It takes some seconds on one core.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np

from bench.stats.pooling import guarded
from bench.stats.samples import Floats
from bench.stats.verdict import DIFFERS, LEVEL, SAME, half_width, words
from benchmarks.page import machine, share_parser, write

BEGIN, END = "<!-- verdicts: begin -->", "<!-- verdicts: end -->"
SEEDS = (1, 2, 3, 5, 10)
GAPS = (0.0, 1.0, 2.0, 3.0, 4.0, 6.0)
MARGIN, CELLS, PAPERS = 2.0, 24, 50_000
"""In standard deviations of a run of the other cells; cells of a table; made-up papers for each number."""


@dataclass(frozen=True)
class Setting:
    """What is known of a cell that is judged.

    Attributes:
        runs: of the published number; with a printed ± where there are several.
        cells: of its table, this one among them; 1 for a cell that stands alone.
        noise: standard deviations of the cells, this one first.
    """

    name: str
    runs: int
    noise: tuple[float, ...]

    @property
    def printed(self) -> str:
        return f"{self.runs} runs and ±" if self.runs > 1 else "1 run, no ±"


ALIKE = (1.0,) * CELLS
NOISIEST = (3.0, *ALIKE[1:])
RAMP = tuple(np.linspace(3, 1, CELLS).tolist())
SETTINGS = tuple(
    Setting(name, runs, noise)
    for runs in (1, 3)
    for name, noise in (
        ("alone", (1.0,)),
        ("24 cells, alike", ALIKE),
        ("24 cells, this one 3 times as noisy", NOISIEST),
        ("24 cells, noise 1 to 3, this one the noisiest", RAMP),
        ("24 cells, noise 1 to 3, this one the calmest", RAMP[::-1]),
    )
)


def made_up(setting: Setting, n: int, papers: int) -> tuple[Floats, Floats, Floats]:
    """Gaps of papers that are true, and the half-widths of the two intervals that judge them."""
    rng = np.random.default_rng([*setting.name.encode(), setting.runs, n])
    noise, m = np.array(setting.noise), setting.runs
    freedom = n - 1 + m - 1
    others = np.full(len(noise), 2 + m - 1 if n == 1 else freedom)  # a single seed stands among cells that have three
    others[0] = freedom
    variances = noise**2 * rng.chisquare(np.maximum(others, 1), (papers, len(noise))) / np.maximum(others, 1)
    pooled = np.sqrt((variances * others).sum(1) / max(others.sum(), 1))
    std, known = guarded(np.sqrt(variances[:, 0]), freedom, pooled, others.sum())
    gaps = rng.normal(0, noise[0] * (1 / n + 1 / m) ** 0.5, papers)
    return gaps, half_width(std, known, n, m), half_width(std, known, n, m, level=(1 + LEVEL) / 2)


def rates(setting: Setting, n: int, papers: int, margin: float = MARGIN) -> list[str]:
    """``same / differs`` in percent at each gap."""
    if n == setting.runs == len(setting.noise):
        return ["0 / 0"] * len(GAPS)  # nothing says how much seeds differ
    drawn, half, wider = made_up(setting, n, papers)
    cells = []
    for gap in GAPS:
        word = words(drawn + gap, half, wider, margin)
        cells.append(" / ".join(f"{100 * float((word == each).mean()):.1f}" for each in (SAME, DIFFERS)))
    return cells


def measured(share: float = 1.0, margin: float = MARGIN) -> str:
    """The table as Markdown, with the command and the machine; ``share`` of the papers."""
    started = time.process_time()
    papers = max(1, round(share * PAPERS))
    lines = [
        "| published | cell | n | " + " | ".join(f"gap {gap:g}" for gap in GAPS) + " |",
        "|---|---|---:|" + "---:|" * len(GAPS),
    ]
    for setting in SETTINGS:
        for n in SEEDS:
            cells = " | ".join(rates(setting, n, papers, margin))
            lines.append(f"| {setting.printed} | {setting.name} | {n} | {cells} |")
            print(lines[-1], flush=True)
    told = (
        f"Percent of {papers:,} made-up papers in which the verdict is *same* / *differs*; the rest cannot be told. "
        f"Gaps are in standard deviations of a run of a cell that is not noisy; the margin is {margin:g}. The standard "
        f"error of 5 % is 0.1. `python benchmarks/verdicts.py`, "
        f"{machine(time.process_time() - started)}"
    )
    return "\n".join([*lines, "", told])


def main() -> None:
    """Measure, and write the table into the page."""
    parser = share_parser(__doc__)
    parser.add_argument("--margin", type=float, default=MARGIN, metavar="M", help="another one is only printed")
    options = parser.parse_args()
    table = measured(options.share, options.margin)
    if options.share < 1 or options.margin != MARGIN:
        print(table.splitlines()[-1])
        return
    write(BEGIN, END, table)


if __name__ == "__main__":
    main()

"""Repeated rows and columns, and ± that stand out: hand-computed p, what is no finding, and silence on true tables."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from bench.papers.attainable import SAMPLE, largest_deviation
from bench.papers.audit import audit_tables
from bench.papers.findings import FINDING, NOT_CHECKED, Audit, Finding
from bench.papers.loose import read_loose
from bench.papers.typed import Typed, TypedSamples
from bench.registry import Registry

REGISTRY = Registry()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path


def audited(folder: Path, *lines: str, runs: int = 0, images: int = 0) -> Audit:
    """The audit of a CSV with these lines."""
    path = folder / "t.csv"
    path.write_text("\n".join(lines), encoding="utf-8")
    table = read_loose(path)
    typed = Typed(runs, {"": images} if images else {})
    return audit_tables([table], TypedSamples(REGISTRY, typed, table))


def of(result: Audit, check: str, kind: str = FINDING) -> list[Finding]:
    return [each for each in result.of(kind) if each.check == check]


# ---- rows and columns that are the same


def test_a_row_that_repeats_another_has_the_chance_of_its_gaps(folder: Path) -> None:
    """Gaps to the third row are 1, 5 and 0.5: steps of 0.1 have 1/20, 1/100 and 1/10, times 2 looks at 3 pairs."""
    result = audited(folder, "m,a,b,c", "CE,81.2,70.1,60.5", "GTA,81.2,70.1,60.5", "Ours,82.2,75.1,61.0")
    (finding,) = of(result, "duplicate")
    assert (finding.row, finding.column, finding.printed) == (("GTA",), (), "81.2, 70.1, 60.5")
    assert float(finding.computed) == pytest.approx(2 * 3 * (1 / 20) * (1 / 100) * (1 / 10))
    assert "3 of its 3 numbers are those of the row CE: 81.2, 70.1, 60.5; by chance p = 0.0003" in finding.verdict


def test_a_column_that_repeats_another_is_found(folder: Path) -> None:
    lines = ["m,a,b,c", "CE,81.23,70.11,81.23", "GTA,84.10,71.90,84.10", "Ours,85.77,75.15,85.77"]
    (finding,) = of(audited(folder, *lines), "duplicate")
    assert (finding.row, finding.column) == ((), ("c",))
    assert "those of the column a" in finding.verdict


def test_a_copy_with_a_changed_cell_is_found(folder: Path) -> None:
    rows = ["CE,81.23,70.11,60.57,55.02", "GTA,81.23,70.11,60.57,58.00", "Ours,85.90,73.15,64.01,57.20"]
    (finding,) = of(audited(folder, "m,a,b,c,d", *rows), "duplicate")
    assert finding.verdict.startswith("3 of its 4 numbers are those of the row CE")


def test_a_run_of_cells_is_found_where_their_count_alone_says_little(folder: Path) -> None:
    """Three of twelve cells, each with a chance of 0.01: 220 ways anywhere, 10 side by side; 2 looks at 3 pairs."""
    width = 12
    base = [f"{50 + at}.0" for at in range(width)]
    near = [f"{50 + at}.{5 if at % 2 else 6}" for at in range(width)]
    rest = [f"{45 + at}.0" for at in range(width)]
    spread = [text if at in (1, 5, 9) else low for at, (text, low) in enumerate(zip(base, near, strict=True))]
    joined = [text if 4 <= at < 7 else low for at, (text, low) in enumerate(zip(base, near, strict=True))]

    def p(copy: Sequence[str]) -> float:
        rows = [",".join([name, *line]) for name, line in (("A", base), ("B", copy), ("C", rest))]
        found = of(audited(folder, ",".join(["m", *map(str, range(width))]), *rows), "duplicate")
        return float(found[0].computed) if found else 1.0

    assert p(joined) == pytest.approx(2 * 3 * 10 * 0.01**3, rel=0.05)
    assert p(spread) == 1.0


def test_deviations_that_repeat_those_of_another_row_are_found(folder: Path) -> None:
    """Two others at each place; the further is h away: 0.001 / (4 h) with h = 0.1, 0.2, 0.25; 2 looks, 6 pairs."""
    rows = [
        "CE,81.2 ± 0.312,70.1 ± 0.405,60.5 ± 0.267",
        "GTA,82.9 ± 0.312,71.4 ± 0.405,61.5 ± 0.267",
        "L2,83.1 ± 0.412,72.2 ± 0.205,62.4 ± 0.517",
        "Ours,84.0 ± 0.352,73.3 ± 0.355,63.3 ± 0.367",
    ]
    (finding,) = of(audited(folder, "m,a,b,c", *rows), "duplicate")
    assert finding.verdict.startswith("3 of its 3 ± are those of the row CE")
    assert float(finding.computed) == pytest.approx(12 * 0.001**3 / (0.4 * 0.8 * 1.0), rel=0.1)


@pytest.mark.parametrize(
    "lines",
    [
        ["m,params,epochs,batch", "CE,86,100,256", "GTA,86,100,256", "Ours,90,300,512"],
        ["m,a,b,c", "CE,99.9,99.8,100.0", "GTA,99.9,99.8,100.0", "Ours,99.8,99.8,99.9", "X,99.9,99.7,100.0"],
        ["m,a,b", "CE,81.23,70.11", "GTA,81.23,70.11", "Ours,85.90,73.15"],
        [
            "m,a,b,c",
            "Block A,,,",
            "CE,81.2,70.1,60.5",
            "X,80,1,2",
            "Block B,,,",
            "CE,81.2,70.1,60.5",
            "Y,82.2,75.1,61.0",
        ],
        ["b,m,a,b,c", "A,CE,81.2,70.1,60.5", ",X,80,1,2", "B,CE,81.2,70.1,60.5", ",Y,82.2,75.1,61.0"],
        ["m,a,Avg.", "CE,81.23,81.23", "GTA,84.10,84.10", "Ours,85.77,85.77"],
        ["m,a,b,c", "CE,81.23,70.11,60.57", "Avg.,81.23,70.11,60.57"],
        ["m,a,b,c", "CE,-,-,-", "GTA,-,-,-", "Ours,85.90,73.15,1.00"],
    ],
    ids=["whole numbers", "few values", "two cells", "heading", "block", "average column", "average row", "nothing"],
)
def test_what_is_alike_by_definition_or_by_chance_is_no_finding(folder: Path, lines: list[str]) -> None:
    assert of(audited(folder, *lines), "duplicate") == []


def test_rows_with_the_same_last_label_are_compared_where_the_first_one_tells_them_apart(folder: Path) -> None:
    lines = ["m,b,x,y,z", "CE,ViT,81.2,70.1,60.5", "GTA,ViT,81.2,70.1,60.5", "Ours,ViT,82.2,75.1,61.0"]
    (finding,) = of(audited(folder, *lines), "duplicate")
    assert finding.row == ("GTA", "ViT")


def test_more_rows_than_are_printed_are_not_compared(folder: Path) -> None:
    result = audited(folder, "m,a", *(f"r{number},{number}.5" for number in range(101)))
    (entry,) = of(result, "duplicate", NOT_CHECKED)
    assert entry.verdict == "it has more than 100 rows or columns"


# ---- deviations that stand out


COLUMN = ["m,a", "A,80.0 ± 0.200", "B,81.0 ± 0.200", "C,82.0 ± 0.200", "D,83.0 ± 0.200"]


def test_a_deviation_above_its_column_has_the_p_of_exponentials(folder: Path) -> None:
    """Variances of 3 runs are exponential; the ratio to the third of four others is (2.9995 / 0.2005)²."""
    (finding,) = of(audited(folder, *COLUMN, "E,84.0 ± 3.000", runs=3), "spread")
    ratio = (2.9995 / 0.2005) ** 2
    p = math.prod((4 - i) / (4 - i + ratio) for i in range(3))
    assert (finding.row, finding.column, finding.printed) == (("E",), ("a",), "3.000")
    assert finding.computed == f"{2 * 5 * p:.1g}"
    assert "± 3.000 is 15.0 times the middle one of its column (0.2); of equal noise a ± of 3 runs" in finding.verdict


def test_without_the_number_of_runs_three_are_taken_and_it_is_said(folder: Path) -> None:
    stated = of(audited(folder, *COLUMN, "E,84.0 ± 3.000", runs=3), "spread")
    (finding,) = of(audited(folder, *COLUMN, "E,84.0 ± 3.000"), "spread")
    assert finding.computed == stated[0].computed
    assert "a ± of 3 runs or more (how many nobody says)" in finding.verdict


def test_a_deviation_far_below_is_found_with_many_runs_only(folder: Path) -> None:
    lines = [*COLUMN, "E,84.0 ± 0.020"]
    assert of(audited(folder, *lines, runs=3), "spread") == []
    (finding,) = of(audited(folder, *lines, runs=12), "spread")
    assert "± 0.020 is 0.10 of the middle one of its column (0.2)" in finding.verdict
    assert "so far below" in finding.verdict


def test_a_noisy_dataset_is_no_finding(folder: Path) -> None:
    lines = ["m,a,b,c,d", *(f"{name},80.0 ± 0.20,81.0 ± 0.21,82.0 ± 0.19,83.0 ± 4.00" for name in "ABCD")]
    assert of(audited(folder, *lines, runs=3), "spread") == []


def test_a_stray_deviation_hides_no_other(folder: Path) -> None:
    lines = [*COLUMN, "E,84.0 ± 0.210", "F,84.5 ± 0.190", "G,85.0 ± 3.000", "H,85.0 ± 4.000"]
    assert [each.row for each in of(audited(folder, *lines, runs=5), "spread")] == [("G",), ("H",)]


def test_with_few_neighbours_nothing_is_said(folder: Path) -> None:
    result = audited(folder, "m,a,b", "A,80.0 ± 0.20,81.0 ± 0.20", "B,80.0 ± 9.00,81.0 ± 0.20", runs=3)
    assert of(result, "spread") == []
    assert len(of(result, "spread", NOT_CHECKED)) == 4


def test_a_zero_on_few_images_is_no_finding(folder: Path) -> None:
    """How rare it is that twelve runs tie depends on the step of an accuracy, which few images make a large one."""
    lines = [*COLUMN, "E,84.0 ± 0.000"]
    assert of(audited(folder, *lines, runs=12), "spread") == []
    assert of(audited(folder, *lines, runs=12, images=100), "spread") == []
    (finding,) = of(audited(folder, *lines, runs=12, images=50_000), "spread")
    assert finding.printed == "0.000"


@pytest.mark.parametrize("draw", range(40))
def test_equal_noise_has_no_finding(folder: Path, draw: int) -> None:
    rng = np.random.default_rng(draw)
    runs = rng.normal(80, 0.3, (3, 6, 5)) + 3 * rng.normal(size=(6, 5))
    cells = zip(runs.mean(0), runs.std(0, ddof=1), strict=True)
    lines = [[f"{m:.2f} ± {s:.2f}" for m, s in zip(means, stds, strict=True)] for means, stds in cells]
    result = audited(folder, "m,a,b,c,d,e", *(f"r{at}," + ",".join(line) for at, line in enumerate(lines)), runs=3)
    assert result.of(FINDING) == []
    assert (result.checked["spread"], result.checked["duplicate"]) == (30, 60)


# ---- deviations that a mean does not allow


def test_the_largest_deviation_has_all_images_right_in_as_many_runs_as_can_be() -> None:
    """Of 10 images, 25 right in three runs: 10, 10 and 5, whose deviation is 10 · √(25 / 3)."""
    assert largest_deviation(25, 10, 3, SAMPLE) == pytest.approx(float(np.std([100, 100, 50], ddof=1)))
    assert largest_deviation(30, 10, 3, SAMPLE) == 0


def test_a_deviation_that_accuracies_near_100_cannot_have_is_found(folder: Path) -> None:
    """Three with a mean of 99.51 lack 1.47 points together, all in one run at most: 1.47 / √3 = 0.849, rounded up."""
    lines = ["m,a", "A,99.51 ± 0.84", "B,99.51 ± 0.90"]
    (finding,) = of(audited(folder, *lines, runs=3, images=100_000), "deviation")
    assert (finding.row, finding.printed) == (("B",), "0.90")
    assert (
        "3 accuracies from 0 to 100 with a mean of 99.51 have a standard deviation of at most 0.857" in finding.verdict
    )

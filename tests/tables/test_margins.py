"""The margin of each printed number, and what ours says of the printed gains."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from bench.plan.overrides import Overrides
from bench.plan.table import Place, TablePlan
from bench.tables.gains import IS_THERE, REVERSED, gain_of
from bench.tables.margins import margins_of, printed_gain
from tests.tables.small import facts, filled, ours, planned, results


def margins(plan: TablePlan) -> dict[Place, float]:
    return {place: round(margin, 6) for place, margin in margins_of(plan).items()}


class TestMargins:
    def test_are_half_of_what_the_paper_claims(self, tmp_path: Path) -> None:
        """Of a baseline half of the smallest gain over it; at least a printed step, and at most a point."""
        found = margins(planned(tmp_path))
        assert found[1, 0] == 0.25  # 90.5 against 90.0
        assert found[2, 0] == 0.5  # 91.0 against 90.0
        assert found[3, 0] == 1.0  # 80.0 against 90.0: nobody calls five points the same
        assert found[0, 0] == 0.25
        assert found[1, 1] == 0.025  # 95.30 against 95.25
        assert found[1, 2] == 0.15  # an average likewise
        assert (3, 1) not in found  # N/A
        assert (5, 1) not in found

    def test_are_never_below_a_printed_step(self, tmp_path: Path) -> None:
        found = margins(planned(tmp_path, ('"90.5", "95.30"', '"90.1", "95.25"')))
        assert found[1, 0] == 0.1
        assert found[1, 1] == 0.375  # a tie claims nothing: half of the smallest difference in the column
        assert found[0, 1] == 0.375

    def test_without_a_baseline_are_of_the_smallest_difference(self, tmp_path: Path) -> None:
        found = margins(planned(tmp_path, ("  baseline: Fine-tune\n", "")))
        assert {found[row, 0] for row in range(4)} == {0.25}
        assert {found[row, 1] for row in range(3)} == {0.025}
        assert {found[4, 0], found[5, 0]} == {0.5}

    def test_of_a_number_that_stands_alone_are_a_point(self, tmp_path: Path) -> None:
        assert margins(planned(tmp_path))[4, 1] == 1.0  # the baseline's only rival prints nothing there

    def test_of_what_is_no_percentage_have_no_such_limit(self, tmp_path: Path) -> None:
        plan = planned(
            tmp_path,
            ("metric: top1\n", "metric: seconds\n"),
            ("metric_as_printed: top-1 (%)\n", ""),
            ("rank: {within: [Dataset]}", "rank: {within: [Dataset], order: lower}"),
        )
        assert margins(plan)[3, 0] == 5.0

    def test_may_be_declared(self, tmp_path: Path) -> None:
        found = margins(planned(tmp_path, overrides=Overrides(margin="2")))
        assert {*found.values()} == {2.0}
        assert len(found) == 16

    def test_printed_gains_have_no_dust(self, tmp_path: Path) -> None:
        plan = planned(tmp_path)
        assert printed_gain(plan, (1, 1), (0, 1)) == 0.05
        assert math.isnan(printed_gain(plan, (5, 1), (4, 1)))


class TestGains:
    @pytest.mark.parametrize(
        ("printed", "low", "high", "word"),
        [
            (0.5, 0.1, 2.0, IS_THERE),
            (0.5, -0.1, 2.0, "cannot tell"),
            (0.5, -2.0, -0.1, REVERSED),
            (-0.5, -2.0, -0.1, IS_THERE),
            (-0.5, 0.1, 2.0, REVERSED),
            (0.5, math.nan, math.nan, "cannot tell"),
            (0.5, 0.0, 0.0, "cannot tell"),
        ],
    )
    def test_are_there_where_the_interval_is_on_the_printed_side(
        self, printed: float, low: float, high: float, word: str
    ) -> None:
        gain = gain_of(printed, (low + high) / 2, low, high)
        assert gain is not None
        assert gain.word == word

    def test_nothing_is_claimed_by_a_tie(self) -> None:
        assert gain_of(0.0, 1.0, 0.5, 1.5) is None
        assert gain_of(math.nan, 1.0, 0.5, 1.5) is None

    def test_stand_in_the_table_beside_the_cells(self, tmp_path: Path) -> None:
        plan = planned(tmp_path)
        cells = plan.cells
        finished = {
            **results(cells[0][0], [80.0, 80.2, 80.4]),
            **results(cells[1][0], [78.0, 78.2, 78.4]),
            **results(cells[2][0], [90.0, 90.2, 90.4], [70.0] * 3, val=[[9.0] * 3, [8.0] * 3]),
        }
        sheet = ours(plan, finished)
        words = {row: facts(sheet, f"Digits / {row}", "15%")["claim"] for row in ("Fine-tune", "BSS", "GTA", "Quoted")}
        assert words == {"Fine-tune": None, "BSS": "reversed", "GTA": "there", "Quoted": None}
        assert facts(sheet, "Digits / GTA", "15%")["claimed_gain"] == 1.0
        (told,) = [note for note in sheet.remarks if note.startswith("Claimed gains")]
        assert told == (
            "Claimed gains over the baseline, by the 95 % interval of our difference, each by itself: 1 of 2 is "
            "there, 1 is reversed, 0 cannot be told; the means are in the order of print in 1 of 2."
        )
        table = filled(plan, finished)
        gain = table.at((1, 0)).gain
        assert gain is not None
        assert (gain.printed, gain.ours) == pytest.approx((0.5, -2.0))
        assert gain.low <= gain.ours <= gain.high < 0
        assert not gain.in_order

    def test_are_none_where_the_scores_are_of_another_split(self, tmp_path: Path) -> None:
        plan = planned(tmp_path, overrides=Overrides(split="val"))
        values = [[80.0, 80.2, 80.4], [81.0, 81.2, 81.4]]
        finished = results(plan.cells[0][0], values[0], val=[values[0]])
        finished |= results(plan.cells[1][0], values[1], val=[values[1]])
        assert not any(note.startswith("Claimed gains") for note in ours(plan, finished).remarks)

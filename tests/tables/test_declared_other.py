"""What is declared not to be the paper's (``as: other``): such cells are not judged, and say why in every format."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from bench.plan.overrides import Overrides
from bench.plan.paper import plan_paper
from bench.plan.table import TablePlan
from bench.records.store import Finished
from bench.sheets.formats import FORMATS, render_sheet
from bench.sheets.view import Look, sheet_of
from tests.plan.test_paper import mini
from tests.tables.small import facts, filled, results

WHY = "as: other, because: the paper trained another thing"
REASON = "the paper trained another thing"
RATE = ("{rate: 15}", f"{{rate: 15, {WHY}}}")
CLUTTER = ("settings: {lr: 1e-3}", f"settings: {{lr: {{value: 1e-3, source: paper 4, {WHY}}}}}")
WEIGHT = ("weight: [0.1, 1]", f"weight: {{value: [0.1, 1], source: paper 4, {WHY}}}")


def planned(
    folder: Path, *changes: tuple[str, str], protocol: Sequence[tuple[str, str]] = (), **typed: object
) -> TablePlan:
    registry = mini(folder, *changes, protocol=protocol)
    (plan,) = plan_paper("mini", registry, Overrides(**typed)).tables  # type: ignore[arg-type]
    return plan


def differs(plan: TablePlan) -> list[list[str]]:
    """By row of what is run, of the columns of 15 and 100 %; an empty cell has none."""
    return [[cell.ground.differs for cell in plan.cells[row][:2]] for row in (0, 1, 3, 4)]


def test_a_label_is_other_where_it_is_used(tmp_path: Path) -> None:
    assert differs(planned(tmp_path, RATE)) == [[REASON, ""], [REASON, ""], [REASON, ""], [REASON, ""]]
    row = ("{method: ce}", f"{{method: ce, {WHY}}}")
    assert differs(planned(tmp_path, row)) == [[REASON, REASON], ["", ""], [REASON, REASON], ["", ""]]
    both = ("    Avg.:", f'    "Digits & 15%": {{{WHY}}}\n    Avg.:')
    assert differs(planned(tmp_path, both)) == [[REASON, ""], [REASON, ""], ["", ""], ["", ""]]
    axes = ("axes: {backbone: micro_vit}", f"axes: {{backbone: micro_vit, {WHY}}}")
    found = differs(planned(tmp_path, axes))
    assert found[:3] == [[REASON, REASON]] * 3


def test_a_label_that_a_later_one_replaces_says_nothing(tmp_path: Path) -> None:
    backbone = ("axes: {backbone: micro_vit}", f"axes: {{backbone: micro_vit, {WHY}}}")
    row = ("{method: ce}", "{backbone: micro_resnet, method: ce}")
    assert differs(planned(tmp_path, backbone, row))[::2] == [["", ""], ["", ""]]
    assert differs(planned(tmp_path, backbone, row))[1] == [REASON, REASON]


def test_a_setting_is_other_where_it_is_used(tmp_path: Path) -> None:
    assert differs(planned(tmp_path, CLUTTER)) == [["", ""], ["", ""], [REASON, REASON], [REASON, ""]]
    replaced = ("{method: ce}", "{method: ce, settings: {lr: 2e-3}}")
    assert differs(planned(tmp_path, CLUTTER, replaced))[2] == ["", ""]
    of_method = ("{method: ce}", "{method: {ce: {}, settings: {lr: 2e-3}}}")
    assert differs(planned(tmp_path, CLUTTER, of_method))[2] == ["", ""]
    of_method = ("{method: ce}", f"{{method: {{ce: {{}}, settings: {{lr: {{value: 2e-3, source: paper, {WHY}}}}}}}}}")
    assert differs(planned(tmp_path, of_method))[::2] == [[REASON, REASON]] * 2
    table = ("  baseline:", f"  settings: {{warmup: {{value: 1, source: paper, {WHY}}}}}\n  baseline:")
    assert {why for row in differs(planned(tmp_path, table)) for why in row} == {REASON, ""}


def test_steps_that_epochs_replace_say_nothing(tmp_path: Path) -> None:
    steps = [("steps: {value: 40, source: paper 4}", f"steps: {{value: 40, source: paper 4, {WHY}}}")]
    assert differs(planned(tmp_path, protocol=steps))[0] == [REASON, REASON]
    epochs = ("settings: {lr: 1e-3}", "settings: {epochs: 3}")
    assert differs(planned(tmp_path, epochs, protocol=steps))[2] == ["", ""]


def test_a_typed_setting_stands_in_its_place(tmp_path: Path) -> None:
    """Nobody says that it is the paper's, so nothing is judged; but what is said is what was typed."""
    typed = differs(planned(tmp_path, CLUTTER, settings=("lr=0.5",)))
    assert typed[2] == ["lr=0.5 in place of lr=0.001"] * 2
    assert differs(planned(tmp_path, CLUTTER, settings=("lr=1e-3",)))[2] == [REASON, REASON]  # the same value
    stated = 'batch_size: {value: 32, source: "our choice: it is small"}'
    ours = [(stated, f"batch_size: {{value: 32, source: our choice, {WHY}}}")]
    assert differs(planned(tmp_path, protocol=ours))[0] == [REASON, REASON]
    typed = differs(planned(tmp_path, protocol=ours, settings=("batch_size=8",)))
    assert typed[0] == ["batch_size=8 in place of batch_size=32"] * 2


def test_a_hyper_parameter_is_other_for_the_method_that_has_it(tmp_path: Path) -> None:
    assert differs(planned(tmp_path, WEIGHT)) == [["", ""], [REASON, REASON], ["", ""], [REASON, ""]]
    replaced = ('"100%": {rate: 100}', '"100%": {rate: 100, hyper: {gta: {weight: 3}}}')
    assert differs(planned(tmp_path, WEIGHT, replaced))[1] == [REASON, ""]
    other = f"{{value: 3, source: paper, {WHY}}}"
    of_column = ('"100%": {rate: 100}', f'"100%": {{rate: 100, hyper: {{gta: {{weight: {other}}}}}}}')
    assert differs(planned(tmp_path, of_column))[:2] == [["", ""], ["", REASON]]


def test_typed_weights_are_what_is_said_of_a_backbone(tmp_path: Path) -> None:
    backbone = ("axes: {backbone: micro_vit}", f"axes: {{backbone: micro_vit, {WHY}}}")
    typed = differs(planned(tmp_path, backbone, backbones="micro_vit@none"))
    assert typed[0] == ["weights of micro_vit@none in place of micro_vit's"] * 2


def test_what_is_other_is_in_no_id(tmp_path: Path) -> None:
    plain, declared = (plan_paper("mini", mini(tmp_path, *changes)) for changes in ((), (RATE, CLUTTER, WEIGHT)))
    assert plain.unique == declared.unique


VALUES: dict[tuple[int, int], Sequence[float]] = {(0, 0): [70.0, 70.2], (0, 1): [95.0, 95.1]}


@pytest.mark.parametrize("format", FORMATS)
def test_every_format_says_why_a_cell_is_not_judged(tmp_path: Path, format: str) -> None:
    plan = planned(tmp_path, RATE)
    found: dict[str, Finished] = {}
    for (row, at), numbers in VALUES.items():
        found |= results(plan.cells[row][at], numbers)
    sheet = sheet_of(filled(plan, found), Look("ours"))
    assert facts(sheet, "Digits / Fine-tune", "15%")["verdict"] == "not comparable"
    assert facts(sheet, "Digits / Fine-tune", "15%")["reason"] == REASON
    assert facts(sheet, "Digits / Fine-tune", "Avg.")["reason"] == REASON
    assert facts(sheet, "Digits / Fine-tune", "100%")["verdict"] != "not comparable"
    if format != "macros":  # numbers for prose alone
        assert REASON in " ".join(render_sheet(sheet, format).split())


def test_the_average_of_a_row_may_be_other_by_itself(tmp_path: Path) -> None:
    average = ("{average: true}", f"{{average: true, {WHY}}}")
    plan = planned(tmp_path, average)
    assert {cell.ground.differs for row in plan.cells for cell in row if cell.averages} == {REASON}
    assert {why for row in differs(plan) for why in row} == {""}

"""What is not for the task of a dataset is left out of plans, or refused, with the reason."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from bench.cards.maps import without_maps
from bench.cli import main
from bench.errors import InputError
from bench.plan.overrides import Overrides
from bench.plan.soundness import require_sound
from bench.plan.table import Plan
from bench.plan.target import read_plan
from bench.registry import Registry

TEXT = """
title: Both tasks
datasets: [{datasets}]
backbones: [{backbones}]
methods: {methods}
rates: [100]
seeds: 1
protocol: {steps: 4, augmentation: {augmentation}{more}}
"""
PETS = "oxford_pets_trimaps"
LABELS = "scl: methods/scl.py:82 reads batch.labels: it needs one label an image, and segmentation has none"


def written(folder: Path, **changes: str) -> str:
    usual = {"datasets": PETS, "backbones": "micro_vit", "methods": "{CE: ce}", "augmentation": "none", "more": ""}
    text = TEXT
    for key, value in {**usual, **changes}.items():
        text = text.replace(f"{{{key}}}", value)
    file = folder / "mine.yaml"
    file.write_text(text, encoding="utf-8")
    return str(file)


def planned(folder: Path, **changes: str) -> Plan:
    return read_plan(written(folder, **changes), Registry(), Overrides())


def reasons(plan: Plan) -> dict[tuple[str, str], str]:
    (table,) = plan.tables
    cells = [cell for _, cell in table.places()]
    return {(cell.axes["method"], cell.axes["backbone"]): cell.reason for cell in cells}


def test_methods_that_are_not_for_it_are_left_out_with_the_line_that_says_so(tmp_path: Path) -> None:
    methods = "{CE: ce, SCL: scl, Mixed: ce+transmix, Probe: {linear: {batch_norm: true}}, Frozen: linear}"
    found = reasons(planned(tmp_path, methods=methods))
    assert found["CE", "micro_vit"] == found["Frozen", "micro_vit"] == ""
    assert found["SCL", "micro_vit"] == LABELS
    assert "methods/transmix.py" in found["Mixed", "micro_vit"]
    assert "model.norm_features: it needs a linear head" in found["Probe", "micro_vit"]


def test_the_same_methods_are_planned_where_images_have_labels(tmp_path: Path) -> None:
    methods = "{CE: ce, SCL: scl, Mixed: ce+transmix, Probe: {linear: {batch_norm: true}}}"
    assert set(reasons(planned(tmp_path, datasets="digits", methods=methods)).values()) == {""}


def test_a_backbone_that_no_decoder_takes_is_left_out(tmp_path: Path) -> None:
    found = reasons(planned(tmp_path, backbones="micro_vit, cvt_13@none"))
    assert found["CE", "micro_vit"] == ""
    assert found["CE", "cvt_13@none"].startswith("cvt_13@none: not written yet: a CvT has no published recipe")


def test_where_nothing_is_left_the_reasons_are_the_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"nothing is left to run: scl: methods/scl\.py"):
        planned(tmp_path, methods="{SCL: scl}")


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"augmentation": "crop_flip"}, "augmentation is one of none, scale_crop_flip, mmseg, not crop_flip"),
        ({"more": ", mixup: 0.8"}, "masks are not mixed: mixup and cutmix must be 0"),
        ({"more": ", label_smoothing: 0.1"}, "pixels have no label_smoothing: it must be 0"),
        ({"datasets": "digits", "augmentation": "mmseg"}, "an image with a label has no augmentation mmseg"),
        ({"datasets": "digits", "more": ", decoder: 64"}, "decoder is for masks, and images have labels here"),
    ],
)
def test_settings_that_a_task_has_not_are_refused(tmp_path: Path, changes: dict[str, str], reason: str) -> None:
    plan = planned(tmp_path, **changes)
    with pytest.raises(InputError) as caught:
        require_sound(plan.unique.values(), Registry(), print)
    (problem,) = caught.value.problems
    task = "segmentation" if "datasets" not in changes else "classification"
    assert problem.startswith(f"{changes.get('datasets', PETS)} is for {task}: ")
    assert reason in problem


def test_the_reason_stands_in_the_plan_and_under_the_table(
    tmp_path: Path, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = written(tmp_path, methods="{CE: ce, SCL: scl}")
    for command in ("plan", "table"):
        assert main([command, file]) == 0
        assert LABELS in " ".join(capsys.readouterr().out.split())


def test_nothing_that_plans_loads_torch(tmp_path: Path) -> None:
    file = written(tmp_path, methods="{CE: ce, SCL: scl}", backbones="micro_vit, cvt_13@none")
    code = (
        "import sys; from bench.cli import main\n"
        f"for words in (['plan', {file!r}], ['list', 'tasks'], ['show', 'segmentation'], ['show', 'gta']):\n"
        "    assert main(words) == 0\n"
        "assert not {'torch', 'timm', 'transformers'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("name", "has_maps"),
    [
        *((name, True) for name in ("micro_vit", "micro_resnet", "vit_base", "swin_base", "beit_base", "resnet50")),
        *(
            (f"timm:{name}@none", True)
            for name in ("swinv2_tiny_window8_256", "resnet18", "vit_base_patch14_reg4_dinov2")
        ),
        *((name, False) for name in ("cifar_resnet20", "t2t_vit_14", "cvt_13")),
        *((f"timm:{name}@none", False) for name in ("convnext_tiny", "efficientnet_b0")),
    ],
)
def test_a_card_tells_which_backbones_a_decoder_takes(name: str, has_maps: bool) -> None:
    reason = without_maps(Registry().backbone(name))
    assert (reason == "") == has_maps
    assert reason == "" or reason.startswith(f"{name}: ")

"""Attention against masks: the Jaccard index, the share inside the object, and which masked images are meant."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torchmetrics.functional.classification import binary_jaccard_index

from bench.cli import main
from bench.data import read_masks
from bench.data.augment import test_mask as masks_as_seen
from bench.data.augment import test_view as images_as_seen
from bench.data.dataset import IGNORED
from bench.data.masks import read_mask_folder
from bench.data.official import files_of, mask_files_of
from bench.errors import InputError
from bench.measures.attention_inside import inside_of
from bench.measures.jaccard import indices_of, kept_mass, truth_of
from bench.records.measured import read_arrays
from bench.registry import Registry
from tests.models.trained import planned, train


def mask_of(side: int = 24, classes: int = 3, seed: int = 0) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """Coarse patches of some classes with void strewn in."""
    state = np.random.RandomState(seed)
    coarse = state.randint(0, classes + 1, (side // 3, side // 3)).repeat(3, 0).repeat(3, 1).astype(np.uint8)
    coarse[state.rand(side, side) < 0.1] = IGNORED
    return coarse


# ---- formulas


@pytest.mark.parametrize("seed", range(5))
def test_the_index_is_torchmetrics_without_void_pixels(seed: int) -> None:
    mask = mask_of(seed=seed)
    truth = truth_of(mask, (6, 6))
    kept = np.random.RandomState(seed).rand(4, 36) < 0.5
    found, as_background = indices_of(kept, truth), indices_of(kept, truth, void_counts=True)
    assert truth.classes == (1, 2, 3)
    for head, patches in enumerate(kept.reshape(4, 6, 6)):
        pixels = torch.from_numpy(patches.repeat(4, 0).repeat(4, 1)).int()
        for at, level in enumerate(truth.classes):
            target = torch.from_numpy(np.where(mask == IGNORED, -1, mask == level).astype(np.int64))
            assert found[head, at] == pytest.approx(float(binary_jaccard_index(pixels, target, ignore_index=-1)))
            known = float(binary_jaccard_index(pixels, torch.from_numpy(mask == level).int()))
            assert as_background[head, at] == pytest.approx(known)


def test_void_matters() -> None:
    mask = np.full((4, 4), IGNORED, np.uint8)
    mask[:2] = 1
    truth = truth_of(mask, (2, 2))
    assert indices_of(np.ones((1, 4), bool), truth).tolist() == [[1.0]]
    assert indices_of(np.ones((1, 4), bool), truth, void_counts=True).tolist() == [[0.5]]


def test_patches_are_kept_until_they_hold_the_mass() -> None:
    attention = np.array([[0.1, 0.4, 0.2, 0.3], [0.97, 0.01, 0.01, 0.01]])
    assert kept_mass(attention, 0.6).tolist() == [[False, True, False, True], [True, False, False, False]]
    assert kept_mass(attention, 0.69).tolist()[0] == [False, True, False, True]
    assert kept_mass(attention, 0.8).tolist()[0] == [False, True, True, True]
    assert np.array_equal(kept_mass(attention / 7, 0.6), kept_mass(attention, 0.6))  # the share, not the sum


def test_kept_patches_are_those_of_the_released_code() -> None:
    """DINO's visualize_attention.py: sort, divide by the sum, cumulate, keep what exceeds 1 − threshold."""
    attentions = torch.rand(6, 49, generator=torch.Generator().manual_seed(0)).double()
    val, idx = torch.sort(attentions)
    val /= torch.sum(val, dim=1, keepdim=True)
    th_attn = torch.cumsum(val, dim=1) > (1 - 0.6)
    idx2 = torch.argsort(idx)
    for head in range(6):
        th_attn[head] = th_attn[head][idx2[head]]
    assert np.array_equal(kept_mass(attentions.numpy(), 0.6), th_attn.numpy())


def test_inside_is_the_share_of_the_attention_and_void_is_nowhere() -> None:
    mask = np.zeros((4, 4), np.uint8)
    mask[:2, :2] = 7
    mask[2:, 2:] = IGNORED
    mask[0, 0] = IGNORED
    assert list(inside_of(np.array([[1.0, 0], [0, 0]]), mask)) == pytest.approx([1, 3 / 11])
    inside, area = inside_of(np.full((2, 2), 0.25), mask)
    assert inside == pytest.approx(area) == pytest.approx(3 / 11)  # attention that is the same everywhere
    assert inside_of(np.array([[0.4, 0.6], [0, 0]]), mask)[0] == pytest.approx(0.4 * 3 / (0.4 * 3 + 0.6 * 4))
    assert all(map(np.isnan, inside_of(np.ones((2, 2)), np.where(mask == 7, 0, mask).astype(np.uint8))))


# ---- masks as evaluation shows images


@pytest.mark.parametrize("augmentation", ["none", "crop_flip"])
@pytest.mark.parametrize("shape", [(60, 90), (90, 60), (33, 47)])
def test_masks_go_the_way_of_their_images(augmentation: str, shape: tuple[int, int]) -> None:
    mask = torch.zeros(shape, dtype=torch.uint8)
    mask[shape[0] // 4 : shape[0] // 2, shape[1] // 3 : 2 * shape[1] // 3] = 3
    image = (mask > 0).to(torch.uint8).mul(255).expand(3, -1, -1)
    view = images_as_seen([image], 28, augmentation)[0, 0] > 0.5
    seen = masks_as_seen([mask], 28, augmentation)
    assert seen.shape == (1, 28, 28)
    assert {*seen.flatten().tolist()} == {0, 3}  # nothing between two levels
    assert float(((seen[0] == 3) == view).float().mean()) > 0.97


# ---- which images


def pets(root: Path) -> Any:
    """Three animals of two breeds, each with a trimap: the left half is the animal, then the border."""
    base = root / "oxford-iiit-pet"
    (base / "images").mkdir(parents=True)
    (base / "annotations" / "trimaps").mkdir(parents=True)
    for name, lines in {"trainval": ["cat_1 1 1 1"], "test": ["cat_2 1 1 1", "dog_1 2 2 1"]}.items():
        (base / "annotations" / f"{name}.txt").write_text("\n".join(lines) + "\n")
        for stem in (line.split()[0] for line in lines):
            Image.new("RGB", (6, 4)).save(base / "images" / f"{stem}.jpg")
            levels = np.array([[1, 1, 1, 3, 2, 2]] * 4, np.uint8)
            Image.fromarray(levels).save(base / "annotations" / "trimaps" / f"{stem}.png")
    card = Registry().dataset("oxford_pets")
    facts = {**card.facts, "official": {"trainval": 1, "test": 2}, "classes": 2, "splits": {"train": 1, "test": 2}}
    return replace(card, path=str(root), facts=facts)


def test_trimaps_of_pets_are_masks(tmp_path: Path) -> None:
    card = pets(tmp_path)
    dataset = read_masks(card)
    assert [Path(path).stem for path in files_of(dataset.test)] == ["cat_2", "dog_1"]
    for mask in dataset.test.masks.take(np.array([0, 1])):
        assert mask.tolist() == [[1, 1, 1, IGNORED, 0, 0]] * 4
    (tmp_path / "oxford-iiit-pet" / "annotations" / "trimaps" / "dog_1.png").unlink()
    with pytest.raises(InputError, match=r"files are missing, the first is .*dog_1\.png"):
        read_masks(card)


def masked_folder(root: Path, count: int = 3) -> Path:
    for part in ("images", "masks"):
        (root / part).mkdir(parents=True)
    for number in range(count):
        mask = np.zeros((12, 12), np.uint8)
        mask[2:8, 3 + number : 9 + number] = 1
        mask[0] = IGNORED
        Image.fromarray(np.where(mask == 1, 200, 20).astype(np.uint8)).save(root / "images" / f"{number}.png")
        Image.fromarray(mask).save(root / "masks" / f"{number}.png")
    return root


def test_a_folder_of_ones_own(tmp_path: Path) -> None:
    found = read_mask_folder(masked_folder(tmp_path / "mine"))
    assert [Path(path).name for path in files_of(found)] == ["0.png", "1.png", "2.png"]
    assert [Path(path).name for path in mask_files_of(found)] == ["0.png", "1.png", "2.png"]
    (tmp_path / "mine" / "images" / ".DS_Store").write_bytes(b"x")
    assert len(read_mask_folder(tmp_path / "mine")) == 3


def test_what_is_wrong_with_a_folder_is_one_line(tmp_path: Path) -> None:
    folder = masked_folder(tmp_path / "mine")
    (folder / "masks" / "1.png").unlink()
    with pytest.raises(InputError, match=r"1 of 3 images have no mask, the first lacks masks/1\.png"):
        read_mask_folder(folder)
    (folder / "images" / "0.jpg").write_bytes((folder / "images" / "0.png").read_bytes())
    (folder / "images" / "1.png").unlink()
    with pytest.raises(InputError, match="two images are called 0"):
        read_mask_folder(folder)
    (tmp_path / "half" / "images").mkdir(parents=True)
    with pytest.raises(InputError, match="there is no masks/"):
        read_mask_folder(tmp_path / "half")
    (tmp_path / "half" / "masks").mkdir()
    with pytest.raises(InputError, match="it holds no image"):
        read_mask_folder(tmp_path / "half")


# ---- the command


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The results of a run with its models, and the run's id."""
    results = tmp_path_factory.mktemp("results")
    record, _ = train(planned(), results)
    return results, record.id


def measured(capsys: pytest.CaptureFixture[str], trained: tuple[Path, str], *words: str) -> Any:
    results, run = trained
    assert main(["measure", run, *words, "--results", str(results), "--format", "json"]) == 0
    (found,) = json.loads(capsys.readouterr().out)
    return found


def test_jaccard_of_a_folder(here: Path, trained: tuple[Path, str], capsys: pytest.CaptureFixture[str]) -> None:
    masks = f"masks={masked_folder(here / 'mine')}"
    found = measured(capsys, trained, "jaccard", "--option", masks)
    assert (found["images"], found["of"], found["split"]) == (3, 3, "test")
    assert 0 < found["numbers"]["jaccard_image"] <= found["numbers"]["jaccard"] < 1
    everything = measured(capsys, trained, "jaccard", "--option", masks, "--option", "mass=0.9999999")
    ignored = 12  # of 144 pixels; the object has 36
    assert everything["numbers"]["jaccard"] == pytest.approx(36 / (144 - ignored), abs=0.03)
    (path,) = [path for path in (trained[0] / "measures" / trained[1]).glob("jaccard-*.npz")][:1]
    arrays = read_arrays(path.with_suffix(".json"))
    assert arrays["image"].shape == (3,)
    assert arrays["pictures"].shape[:3] == arrays["truth"].shape == (3, 12, 12)
    assert arrays["kept"].shape == (3, 6, 6)


def test_attention_inside_is_measured_again_where_a_folder_changed(
    here: Path, trained: tuple[Path, str], capsys: pytest.CaptureFixture[str]
) -> None:
    folder = masked_folder(here / "mine")
    first = measured(capsys, trained, "attention_inside", "--option", f"masks={folder}")
    assert 0 < first["numbers"]["attention_inside"] < 100
    Image.fromarray(np.zeros((12, 12), np.uint8)).save(folder / "masks" / "0.png")
    second = measured(capsys, trained, "attention_inside", "--option", f"masks={folder}")
    assert second["remarks"] == ["1 image without an object in view left out"]
    assert second["numbers"] != first["numbers"]


def refusal(capsys: pytest.CaptureFixture[str], trained: tuple[Path, str], *words: str) -> str:
    results, run = trained
    assert main(["measure", run, *words, "--results", str(results)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    return line


def test_what_cannot_be_measured_is_one_line(
    here: Path, trained: tuple[Path, str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BENCH_DATA", str(here))
    no_voc = refusal(capsys, trained, "jaccard")
    assert no_voc.startswith(f"bench: voc2012: there is no folder {here}/voc2012")
    assert "'bench data prepare voc2012' fetches it" in no_voc
    own = refusal(capsys, trained, "attention_inside")
    assert own.startswith("bench: digits: its images have no masks; --option masks=NAME takes ade20k, drawn")
    assert "no dataset with masks is called 'voc2021'; did you mean 'voc2012'?" in refusal(
        capsys, trained, "jaccard", "--option", "masks=voc2021"
    )
    folder = f"masks={masked_folder(here / 'mine')}"
    assert "--split val" in refusal(capsys, trained, "jaccard", "--option", folder, "--split", "val")
    assert "between 0 and 1" in refusal(capsys, trained, "jaccard", "--option", folder, "--option", "mass=60")
    Image.new("L", (6, 12)).save(here / "mine" / "masks" / "1.png")
    assert "a mask of 6 × 12 pixels for an image of 12 × 12" in refusal(capsys, trained, "jaccard", "--option", folder)
    for number in range(3):
        Image.new("L", (12, 12)).save(here / "mine" / "masks" / f"{number}.png")
    assert "no image has an object in its mask" in refusal(capsys, trained, "attention_inside", "--option", folder)

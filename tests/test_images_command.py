"""What ``run``, ``plan``, ``data check`` and ``data audit`` say of people's images; nothing is trained here."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bench.cards import DatasetCard
from bench.cli import main
from bench.data import FileImages, read_data
from bench.data.surveyed import without_damaged
from bench.errors import InputError
from bench.images import survey as surveys
from bench.images.survey import survey_file
from bench.launch import LocalExecutor
from bench.registry import Registry
from tests.images.pictures import bomb, folder, save

ASKED = ("photos", "--methods", "ce", "--backbones", "micro_vit", "--rates", "100", "--seeds", "1", "--set", "steps=4")
TINY = (*ASKED, "--set", "image_size=16", "--set", "evaluations=1", "--set", "augmentation=none")


@pytest.fixture
def images(here: Path) -> Path:
    """A folder of images in the working folder."""
    return folder(here / "d", train=10, test=4)


@pytest.fixture
def damaged(images: Path) -> Path:
    """The same with what people have among their images."""
    (images / "train" / "a" / "1.png").write_bytes(b"")
    content = (images / "train" / "b" / "2.png").read_bytes()
    (images / "train" / "b" / "2.png").write_bytes(content[: len(content) // 2])
    (images / "test" / "a" / "3.png").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n")
    bomb(images / "test" / "b" / "0.png")
    return images


@pytest.fixture
def launched(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The datasets of the runs that would be trained."""
    names: list[str] = []

    def note(self: object, runs: list[object], *args: object) -> None:
        names.extend(run.dataset.name for run in runs)  # type: ignore[attr-defined]

    monkeypatch.setattr(LocalExecutor, "execute", note)
    return names


def card(name: str) -> DatasetCard:
    return Registry().dataset(name)


# ---- run and plan


def test_a_run_is_refused_before_anything_is_launched(damaged: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", *TINY, "--datasets", "folder:d"]) == 2
    said = capsys.readouterr().err.splitlines()
    refused = [line for line in said if "cannot be used" in line or ".png" in line]
    assert refused == [
        f"bench: folder:{damaged}: 4 of 28 images cannot be used",
        "bench: train/a/1.png: it is empty",
        "bench: train/b/2.png: it is damaged (image file is truncated)",
        "bench: test/a/3.png: it is no image (JPEG, PNG, WEBP, GIF, BMP, TIFF, PPM, AVIF)",
        "bench: test/b/0.png: it claims more than 160,000,000 pixels, as no photograph has",
    ]
    assert "--skip-damaged" in said[-1]
    assert not Path("results/failed").exists()
    assert not Path("results/runs").exists()


def test_many_are_told_by_the_first_five_and_a_file(images: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for path in (images / "train").glob("*/[0-6].png"):
        path.write_bytes(b"no image")
    assert main(["run", *TINY, "--datasets", "folder:d"]) == 2
    said = capsys.readouterr().err
    assert said.count("it is no image") == 5
    listed = survey_file(Path("results"), str(images), None).with_suffix(".txt")
    assert f"and 9 more; {listed} lists all" in said
    assert len(listed.read_text().splitlines()) == 14


def test_damaged_images_are_left_out_where_that_is_asked_for(
    damaged: Path, launched: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    main(["run", *TINY, "--datasets", "folder:d", "--skip-damaged"])
    assert launched == [f"folder:{damaged}@skip-damaged"]
    line = f"folder:{damaged}@skip-damaged: damaged images are left out: 2 of train, 2 of test"
    assert line in capsys.readouterr().err
    assert main(["plan", *TINY, "--datasets", "folder:d", "--skip-damaged"]) == 0
    assert line in capsys.readouterr().out


def test_what_was_decoded_once_is_not_decoded_by_the_next_command(
    damaged: Path, launched: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert main(["plan", *TINY, "--datasets", "folder:d"]) == 0

    def refuse(*args: object) -> None:
        raise AssertionError("an image would be decoded")

    monkeypatch.setattr(surveys, "_look", refuse)
    assert main(["run", *TINY, "--datasets", "folder:d"]) == 2
    main(["run", *TINY, "--datasets", "folder:d", "--skip-damaged"])
    assert launched


def test_a_plan_tells_and_goes_on(damaged: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", *TINY, "--datasets", "folder:d"]) == 0
    assert f"folder:{damaged}: 4 of 28 images cannot be used\ntrain/a/1.png: it is empty" in (capsys.readouterr().out)
    assert main(["plan", *TINY, "--datasets", "folder:d", "--format", "json"]) == 0
    (seen,) = json.loads(capsys.readouterr().out)["images"]
    assert seen["dataset"] == f"folder:{damaged}"
    assert seen["unusable"][0] == {"image": f"{damaged}/train/a/1.png", "problem": "it is empty"}
    assert (len(seen["unusable"]), seen["left_out"], seen["doubts"]) == (4, {}, [])


def test_the_id_says_whether_damaged_images_are_left_out(damaged: Path) -> None:
    plain, without = card("folder:d"), card("folder:d@skip-damaged")
    assert plain.means != without.means
    (damaged / "train" / "a" / "1.png").write_bytes(b"still no image")
    assert card("folder:d@skip-damaged").means != without.means


def test_the_next_commands_leave_them_out_too(
    damaged: Path, launched: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    for command in ("status", "table"):
        assert main([command, *TINY, "--datasets", "folder:d", "--skip-damaged"]) == 0
        assert "d@skip-damaged" in capsys.readouterr().out or command == "status"


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (["plan", "demo", "--skip-damaged"], "--skip-damaged: none of the datasets is a folder of images"),
        (["plan", "gta/table2", "--skip-damaged"], "gta/table2: published tables are of no folder of images"),
    ],
)
def test_where_there_is_no_folder_leaving_out_is_refused(
    here: Path, capsys: pytest.CaptureFixture[str], words: list[str], problem: str
) -> None:
    assert main(words) == 2
    assert problem in capsys.readouterr().err


def test_levels_without_a_range_are_refused_also_where_damage_is_left_out(
    images: Path, launched: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    Image.fromarray(np.eye(20, dtype=np.float32)).save(images / "train" / "a" / "deep.tif")
    for words in ([], ["--skip-damaged"]):
        assert main(["run", *TINY, "--datasets", "folder:d", *words]) == 2
        said = capsys.readouterr().err
        assert "train/a/deep.tif: its grey levels are floats (mode F) of no declared range" in said
        assert "folder:PATH@range=LO:HI says which grey levels are black and white" in said
    main(["run", *TINY, "--datasets", "folder:d@range=0:1"])
    assert launched == [f"folder:{images}@range=0:1"]
    dataset = read_data(card("folder:d@range=0:1"))
    deep = next(n for n, p in enumerate(dataset.train.images.paths) if str(p).endswith("deep.tif"))  # type: ignore[attr-defined]
    (pixels,) = dataset.train.images.take(np.array([deep]))
    assert np.array_equal(pixels[1], 255 * np.eye(20))


def test_doubts_about_a_folder_are_said_when_it_is_used(
    images: Path, launched: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copy(images / "train" / "a" / "0.png", images / "test" / "a" / "0.png")
    with Image.open(images / "train" / "b" / "0.png") as image:
        image.save(images / "test" / "a" / "like.jpg", quality=80)
    shutil.rmtree(images / "test" / "b")
    doubts = (
        f"folder:{images}: 1 image of test is in train too, byte for byte; 1 image of test is like one of train in all "
        "but details (1 of 1 pairs in two classes); test lacks 1 class (b) "
        f"('bench data audit folder:{images}' lists them)"
    )
    assert main(["plan", *TINY, "--datasets", "folder:d"]) == 0
    assert doubts in capsys.readouterr().out
    main(["run", *TINY, "--datasets", "folder:d"])
    assert doubts in capsys.readouterr().err
    assert launched


def test_where_jobs_are_submitted_the_first_decodes(
    images: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A front process may stand on a login node; what was surveyed is used, though."""
    from bench.commands.images import require_images
    from bench.plan.overrides import Overrides
    from bench.plan.target import read_plan

    settings = ("steps=4", "image_size=16", "evaluations=1", "augmentation=none")
    asked = Overrides("ce", "micro_vit", "folder:d", "100", "1", settings)
    (images / "train" / "a" / "1.png").write_bytes(b"")
    runs = list(read_plan("photos", Registry(), asked).unique.values())
    require_images(runs, Registry(), Path("results"), submits=True)
    assert f"'bench data check folder:{images}' does it here" in capsys.readouterr().err
    with pytest.raises(InputError, match="1 of 28 images cannot be used"):
        require_images(runs, Registry(), Path("results"), submits=False)
    with pytest.raises(InputError, match="1 of 28 images cannot be used"):
        require_images(runs, Registry(), Path("results"), submits=True)


# ---- without damaged images


def test_what_is_left_is_in_its_order_and_counted(damaged: Path) -> None:
    plain = read_data(card("folder:d"))
    left = without_damaged(plain, card("folder:d@skip-damaged"), Path("results"))
    assert left.left_out == {"train": 2, "test": 2}
    for before, after in zip(plain.splits.values(), left.splits.values(), strict=True):
        assert isinstance(before.images, FileImages)
        assert isinstance(after.images, FileImages)
        stays = [n for n, path in enumerate(before.images.paths) if path in after.images.paths]
        assert [before.images.paths[n] for n in stays] == list(after.images.paths)
        assert before.labels[stays].tolist() == after.labels.tolist()
        assert len(after.images.take(np.arange(len(after)))) == len(after)
    assert without_damaged(plain, card("folder:d")) is plain
    assert without_damaged(plain, card("folder:d@skip-damaged")).left_out == left.left_out


@pytest.mark.parametrize(
    ("pattern", "problem"),
    [
        ("test/*/*.png", "every image of 'test' is damaged"),
        ("train/a/*.png", "every training image of the class 'a' is damaged"),
    ],
)
def test_where_nothing_would_be_left_it_is_refused(images: Path, pattern: str, problem: str) -> None:
    for path in images.glob(pattern):
        path.write_bytes(b"")
    with pytest.raises(InputError, match=problem):
        without_damaged(read_data(card("folder:d")), card("folder:d@skip-damaged"))


def test_broken_links_are_left_out_where_that_is_asked_for(
    images: Path, launched: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("x.png", "y.png"):
        (images / "train" / "a" / name).symlink_to("nowhere")
    assert main(["plan", *TINY, "--datasets", "folder:d"]) == 2
    said = capsys.readouterr().err
    assert "train/a/x.png is no image file that can be read (and 1 more are none); " in said
    assert "--skip-damaged leaves it out" in said
    main(["run", *TINY, "--datasets", "folder:d", "--skip-damaged"])
    assert "  train: 2 files are not read: 2 behind broken links or in pipes" in capsys.readouterr().err
    assert launched == [f"folder:{images}@skip-damaged"]
    assert card("folder:d@skip-damaged").splits == {"train": 20, "test": 8}


def test_what_is_said_of_a_dirty_folder_fits_a_screen(images: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What cannot be used is told alone: what training would cost is told once it can be trained."""
    for path in (images / "train").glob("*/[0-6].png"):
        path.write_bytes(b"no image")
    (images / "train" / "a" / "session").mkdir()
    (images / "train" / "a" / "session" / "1.png").write_bytes(b"")
    assert main(["plan", *TINY, "--datasets", "folder:d"]) == 0
    out = capsys.readouterr().out
    assert "core or GPU-hours" not in out
    assert len(out.splitlines()) <= 20


# ---- data check, data audit


def test_check_decodes_a_folder(damaged: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "check", "folder:d"]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    headline, *named, remedy = said.err.splitlines()
    assert [line.split(": ")[1] for line in named] == [
        "train/a/1.png",
        "train/b/2.png",
        "test/a/3.png",
        "test/b/0.png",
    ]
    assert "--skip-damaged" in remedy
    assert headline == f"bench: folder:{damaged}: 4 of 28 images cannot be used"
    assert main(["data", "check", "folder:d@skip-damaged"]) == 0
    said = capsys.readouterr()
    assert "24 images decoded; 4 damaged ones are left out" in said.out
    assert "card" not in said.out, "a folder has none"
    assert not Path("results").exists()


def test_check_names_every_image_and_uses_the_survey_of_a_results_folder(
    images: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for path in (images / "train" / "a").iterdir():
        path.write_bytes(b"")
    Path("r").mkdir()
    assert main(["data", "check", "folder:d", "--results", "r"]) == 2
    assert capsys.readouterr().err.count("it is empty") == 10
    monkeypatch.setattr(surveys, "_look", None)
    assert main(["data", "check", "folder:d", "--results", "r"]) == 2
    assert main(["plan", *TINY, "--datasets", "folder:d", "--results", "r"]) == 0


def test_audit_of_a_folder(images: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "audit", "folder:d", "--image-size", "16"]) == 0
    out = capsys.readouterr().out
    assert out.startswith(f"folder:{images}: 2 classes, train 20, test 8 images\n  fine  every image can be decoded\n")
    assert "odd" not in out
    for number in range(5):
        shutil.copy(images / "train" / "a" / f"{number}.png", images / "train" / "b" / f"copy{number}.png")
    assert main(["data", "audit", "folder:d", "--image-size", "16"]) == 1
    out = capsys.readouterr().out
    assert (
        "  odd   5 images are of two classes, byte for byte\n          train/a/0.png (a) = train/b/copy0.png (b)\n"
        in out
    )
    assert "          and 2 more (--format json has all)\n" in out
    assert main(["data", "audit", "folder:d", "--image-size", "16", "--format", "json"]) == 1
    content = json.loads(capsys.readouterr().out)
    assert content["images"] == {"train": 25, "test": 8}
    remarks = {remark["kind"]: remark for remark in content["remarks"]}
    assert len(remarks["conflicting-labels"]["images"]) == 5
    assert [kind for kind, remark in remarks.items() if not remark["is_fine"]] == ["conflicting-labels", "repeated"]


def test_an_audit_uses_the_survey_of_a_results_folder(images: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert main(["plan", *TINY, "--datasets", "folder:d"]) == 0
    monkeypatch.setattr(surveys, "_look", None)
    assert main(["data", "audit", "folder:d", "--image-size", "16"]) == 0


def test_audit_of_a_dataset_in_memory(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "audit", "digits", "--image-size", "8"]) == 0
    assert "digits: 10 classes, train 960, val 240, test 597 images" in capsys.readouterr().out
    assert main(["data", "audit", "digits"]) == 1
    assert "1,797 images are smaller than 224 pixels" in capsys.readouterr().out


@pytest.mark.parametrize("words", [["folder:nowhere"], ["voc2012"], ["digits", "--image-size", "0"]])
def test_what_cannot_be_audited_is_one_line(here: Path, capsys: pytest.CaptureFixture[str], words: list[str]) -> None:
    assert main(["data", "audit", *words]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_names_steer_no_terminal(images: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save(images / "train" / "a" / "x\x1b[31m.png", 77).write_bytes(b"")
    main(["data", "check", "folder:d"])
    main(["data", "audit", "folder:d"])
    main(["plan", *TINY, "--datasets", "folder:d"])
    said = capsys.readouterr()
    assert "\x1b" not in said.out + said.err

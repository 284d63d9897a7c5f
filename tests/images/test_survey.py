"""A survey decodes each image once, names what cannot be used, and is believed only while the files are the same."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from bench.cards.backbone import file_sha256
from bench.images import survey as surveys
from bench.images.survey import NAMED, Survey, problems_of, read_survey, survey, survey_file
from tests.images.pictures import bomb, folder, save, scene


def files(root: Path) -> dict[str, list[Path]]:
    return {split: sorted((root / split).glob("*/*")) for split in ("train", "test")}


@pytest.fixture
def looked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The files that are decoded, as they are."""
    real, paths = surveys._look, list[str]()

    def look(path: str, levels: tuple[float, float] | None) -> surveys.Surveyed:
        paths.append(path)
        return real(path, levels)

    monkeypatch.setattr(surveys, "_look", look)
    return paths


def test_what_is_seen_of_an_image(tmp_path: Path) -> None:
    path = tmp_path / "x.jpg"
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(scene(0, 40, 70)).save(path, exif=exif)
    ((image,),) = survey({"train": [path]}).splits.values()
    assert (image.path, image.problem, image.damaged) == (str(path), "", False)
    assert (image.width, image.height, image.rotation) == (70, 40, 6)
    assert (image.sha256, image.size) == (file_sha256(path), path.stat().st_size)
    assert len(image.likeness) == 32


def test_a_tiff_is_turned_as_it_says_and_so_is_upright(tmp_path: Path) -> None:
    path = tmp_path / "x.tif"
    Image.fromarray(scene(0, 40, 70)).save(path, tiffinfo={274: 6})
    (image,) = survey({"train": [path]}).images
    assert (image.width, image.height, image.rotation) == (40, 70, 1)


def test_what_cannot_be_used_is_seen_beside_what_can(tmp_path: Path) -> None:
    root = folder(tmp_path / "d")
    (root / "train" / "a" / "1.png").write_bytes(b"")
    bomb(root / "test" / "b" / "0.png")
    Image.fromarray(scene(0)[..., 0].astype("float32")).save(root / "train" / "b" / "x.tif")
    seen = survey(files(root))
    assert [Path(image.path).name for image in seen.unusable] == ["1.png", "x.tif", "0.png"]
    assert [image.damaged for image in seen.unusable] == [True, False, True]
    assert (seen.damaged("train"), seen.damaged("test")) == ([1], [2])
    assert len(seen.images) == 13


def test_a_second_survey_decodes_nothing(tmp_path: Path, looked: list[str]) -> None:
    root, kept = folder(tmp_path / "d"), tmp_path / "results" / "cache" / "images.json"
    (root / "train" / "a" / "1.png").write_bytes(b"no image")
    told: list[tuple[int, int]] = []
    seen = survey(files(root), kept, progress=lambda done, count: told.append((done, count)))
    assert told == [(done, 12) for done in range(1, 13)]
    assert len(looked) == 12
    assert survey(files(root), kept, progress=lambda done, count: told.append((done, count))) == seen
    assert len(told) == len(looked) == 12
    assert sorted(path.name for path in kept.parent.iterdir()) == ["images.json"]


def test_only_what_changed_is_decoded_again(tmp_path: Path, looked: list[str]) -> None:
    root, kept = folder(tmp_path / "d"), tmp_path / "images.json"
    survey(files(root), kept)
    looked.clear()
    save(root / "train" / "a" / "0.png", 99)
    os.utime(root / "train" / "a" / "1.png", ns=(0, 12345))
    save(root / "train" / "a" / "new.png", 98)
    (root / "test" / "b" / "1.png").unlink()
    (root / "test" / "a" / "0.png").rename(root / "test" / "a" / "renamed.png")
    seen = survey(files(root), kept)
    assert sorted(Path(path).name for path in looked) == ["0.png", "1.png", "new.png", "renamed.png"]
    assert [len(images) for images in seen.splits.values()] == [9, 3]
    assert seen == survey(files(root))


def test_a_survey_that_is_stopped_goes_on_where_it_was(tmp_path: Path, looked: list[str]) -> None:
    root, kept = folder(tmp_path / "d"), tmp_path / "images.json"

    def stop(done: int, count: int) -> None:
        if done == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        survey(files(root), kept, progress=stop)
    looked.clear()
    told: list[int] = []
    seen = survey(files(root), kept, progress=lambda done, count: told.append(count))
    assert told == [7] * 7
    assert len(looked) == 7
    assert seen == survey(files(root))
    assert read_survey(kept) == seen


def test_what_was_seen_is_kept_once_a_minute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root, kept = folder(tmp_path / "d"), tmp_path / "images.json"
    monkeypatch.setattr(surveys, "KEPT_EVERY", -1.0)
    parts: list[int] = []

    def count_kept(done: int, count: int) -> None:
        part = read_survey(kept)
        parts.append(len(part.images) if part else 0)

    survey(files(root), kept, progress=count_kept)
    assert parts == list(range(12))


@pytest.mark.parametrize("damage", [b"", b"{}", b"00000000\n{}", None])
def test_a_damaged_survey_is_none(tmp_path: Path, looked: list[str], damage: bytes | None) -> None:
    root, kept = folder(tmp_path / "d"), tmp_path / "images.json"
    seen = survey(files(root), kept)
    content = kept.read_bytes()
    kept.write_bytes(content.replace(b"0.png", b"1.png", 1) if damage is None else damage)
    assert read_survey(kept) is None
    assert survey(files(root), kept) == seen
    assert len(looked) == 24
    assert kept.read_bytes() == content


def test_where_nothing_can_be_kept_the_survey_is_made_each_time(tmp_path: Path) -> None:
    root = folder(tmp_path / "d")
    (tmp_path / "file").write_text("")
    assert len(survey(files(root), tmp_path / "file" / "cache" / "images.json").images) == 12


def test_names_that_are_no_utf_8(tmp_path: Path) -> None:
    path = os.fsdecode(os.fsencode(tmp_path) + b"/\xff.png")
    save(tmp_path / "a.png").rename(path)
    assert survey({"train": [path]}, tmp_path / "k.json").unusable == []
    Path(path).write_bytes(b"")
    bad = survey({"train": [path]}, tmp_path / "k.json").unusable * 20
    assert problems_of("x", bad, 20, tmp_path / "k.json")[-2] == f"and 15 more; {tmp_path}/k.txt lists all"
    assert b"/\xff.png\tit is empty" in (tmp_path / "k.txt").read_bytes()


def test_what_the_system_cannot_read_is_raised_and_not_kept(tmp_path: Path) -> None:
    root, kept = folder(tmp_path / "d"), tmp_path / "images.json"
    wanted = files(root)
    wanted["test"][0].unlink()
    with pytest.raises(FileNotFoundError) as caught:
        survey(wanted, kept)
    assert caught.value.filename == str(wanted["test"][0])
    assert not kept.exists()


def test_each_kind_of_decoder_and_declaration_has_a_survey_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    places = {survey_file(tmp_path, "/d", levels) for levels in (None, (0.0, 1.0))} | {
        survey_file(tmp_path, "/e", None)
    }
    monkeypatch.setattr("PIL.__version__", "1.0")
    assert len(places | {survey_file(tmp_path, "/d", None)}) == 4
    assert all(place.parent == tmp_path / "cache" for place in places)


def test_images_that_look_alike_in_two_splits(tmp_path: Path) -> None:
    root = folder(tmp_path / "d")
    with Image.open(root / "train" / "b" / "2.png") as image:
        image.save(root / "test" / "a" / "0.jpg", quality=80)
    seen = survey(files(root))
    assert seen.alike == [("train", 6, "test", 0)]
    assert seen.splits["train"][6].path.endswith("b/2.png")


def test_problems_are_told_in_a_few_lines(tmp_path: Path) -> None:
    root = folder(tmp_path / "d", train=10)
    wanted = files(root)
    for path in wanted["train"][:13]:
        path.write_bytes(b"no image")
    seen = survey(wanted)
    lines = problems_of("folder:d", seen.unusable, 24, tmp_path / "cache" / "images.json")
    assert lines[0] == "folder:d: 13 of 24 images cannot be used"
    assert lines[1 : 1 + NAMED] == [f"{path}: {seen.unusable[0].problem}" for path in wanted["train"][:NAMED]]
    assert lines[-2] == f"and 8 more; {tmp_path}/cache/images.txt lists all"
    assert "--skip-damaged" in lines[-1]
    assert len((tmp_path / "cache" / "images.txt").read_text().splitlines()) == 13
    assert len(problems_of("folder:d", seen.unusable[:1], 1)) == 3


def test_a_survey_needs_no_torch(tmp_path: Path) -> None:
    code = "import sys, bench.images.audit, bench.images.folder; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_survey_of_nothing() -> None:
    assert survey({}) == Survey({}, [])

"""A dataset's card of one's own that says ``reader: folder``, and what commands say of folders."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from itertools import takewhile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bench.cards import DatasetCard
from bench.cli import main
from bench.data import read_data
from bench.errors import InputError
from bench.launch import LocalExecutor
from bench.registry import Registry

EXECUTE = LocalExecutor.execute
PAGE = (Path(__file__).parents[2] / "docs" / "images.md").read_text(encoding="utf-8")
(CARD,) = re.findall(r"```yaml\n(title: Birds.*?)```", PAGE, re.DOTALL)
PLAN = ("plan", "photos", "--methods", "ce", "--backbones", "micro_vit", "--rates", "100", "--seeds", "1")
TINY = ("--set", "steps=2", "--set", "batch_size=4", "--set", "image_size=16", "--set", "evaluations=1")


def call(*arguments: str) -> int:
    try:
        return main(list(arguments))
    except SystemExit as stop:
        return int(stop.code or 0)


def images(root: Path, *names: str) -> Path:
    for number, name in enumerate(names):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((8, 8, 3), number % 256, np.uint8)).save(root / name)
    return root


def classes(root: Path, **counts: int) -> Path:
    return images(root, *(f"{name}/{number:03}.png" for name, count in counts.items() for number in range(count)))


@pytest.fixture
def mine(here: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A plug-in folder; the data folder is ``data``."""
    monkeypatch.setenv("BENCH_DATA", str(here / "data"))
    (here / "mine" / "datasets").mkdir(parents=True)
    return here / "mine"


def write(mine: Path, text: str, name: str = "birds") -> None:
    (mine / "datasets" / f"{name}.yaml").write_text(text, encoding="utf-8")


def card(name: str = "birds") -> DatasetCard:
    return Registry(["mine"]).dataset(name)


# ---- a card of one's own


def test_the_card_of_the_page(mine: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("HOME", str(mine.parent))
    write(mine, CARD, "my_birds")
    root = classes(mine.parent / "pictures" / "birds", a=50, b=50, c=50, d=50, e=50, f=50)
    found = card("my_birds")
    assert (found.title, found.splits) == ("Birds of the garden", {"train": 240, "test": 60})
    assert found.means == Registry().dataset(f"folder:{root}@split=20,seed=3").means
    assert call("data", "check", "my_birds", "--plugin", "mine") == 0
    assert "6 classes, train 240, test 60 images, as its card says" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("line", "place"),
    [
        ("path: ../../pictures", "pictures"),
        ("folder: x/pictures", "data/x/pictures"),
        ("options: {split: 50}", "data/birds"),
        ("path: 'HERE/else, where'", "else, where"),
    ],
)
def test_where_it_lies(mine: Path, line: str, place: str) -> None:
    here = mine.parent
    options = "" if "options" in line else "options: {split: 50}\n"
    write(mine, f"title: T\nreader: folder\n{options}{line.replace('HERE', str(here))}\n")
    classes(here / place, ape=2, bee=4)
    assert card().splits == {"train": 3, "test": 3}
    data = read_data(card())
    assert (data.classes, len(data.train), len(data.test)) == (["ape", "bee"], 3, 3)


@pytest.mark.parametrize(
    ("lines", "says"),
    [
        ("splits: {train: 4, test: 2}", "birds.yaml:4: 'splits' says {'train': 4, 'test': 2}, and"),
        ("classes: 3", "birds.yaml:4: 'classes' says 3, and"),
        ("options: {split: 20, sed: 3}", "birds.yaml:4: no option of a folder is called 'sed'"),
        ("options: {split: 200}", "birds.yaml:4: split=200: it is the percent"),
        ("options: {skip-damaged: true}", "birds.yaml:4: no option of a folder is called 'skip-damaged'; did you mean"),
        ("options: {skip_damaged: 1}", "birds.yaml:4: skip_damaged is true or false"),
        ("options: {range: [1, 0]}", "birds.yaml:4: range: it is the levels"),
        ("options: {seed: 1}", "birds.yaml:4: seed=1 says nothing without split"),
        ("about: x", "birds: it has no folder 'train'"),
        ("about: x", "let its options say 'split: 20'"),
    ],
)
def test_what_the_card_says_is_checked(mine: Path, lines: str, says: str) -> None:
    options = "" if "options" in lines or "about" in lines else "options: {split: 50}\n"
    write(mine, f"title: T\nreader: folder\npath: ../../pictures\n{lines}\n{options}")
    classes(mine.parent / "pictures", ape=2, bee=4)
    with pytest.raises(InputError) as caught:
        card()
    assert says in str(caught.value)


def test_a_folder_that_is_not_here(mine: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(mine, "title: T\nreader: folder\n")
    assert call("data", "list", "--plugin", "mine") == 0
    assert re.search(r"^birds +missing: by hand +T$", capsys.readouterr().out, re.MULTILINE)
    assert call("show", "birds", "--plugin", "mine") == 0
    assert "no: lacks its images" in capsys.readouterr().out
    assert call("data", "prepare", "birds", "--plugin", "mine") == 1
    for command in (("data", "check", "birds"), (*PLAN, "--datasets", "birds")):
        assert call(*command, "--plugin", "mine") == 2
        assert (
            f"bench: birds: there is no {mine.parent / 'data' / 'birds'}; its card says where"
            in capsys.readouterr().err
        )


def test_a_variant_may_be_another_draw(mine: Path) -> None:
    write(mine, "title: T\nreader: folder\noptions: {split: 50}\nvariants:\n  again: {options: {seed: 1}}\n")
    classes(mine.parent / "data" / "birds", ape=20, bee=20)
    assert card("birds@again").options == {"split": 50, "seed": 1}
    assert card("birds@again").means != card().means


def test_a_list_of_training_images_is_for_official_lists(mine: Path) -> None:
    write(mine, "title: T\nreader: folder\noptions: {split: 50}\n")
    classes(mine.parent / "data" / "birds", ape=2, bee=2)
    Path("list.txt").write_text("ape/000.png\n", encoding="utf-8")
    with pytest.raises(InputError, match="is for official lists, and birds has none"):
        card("birds@list.txt")


# ---- what is said


def plan(capsys: pytest.CaptureFixture[str], *names: str) -> list[str]:
    """The lines about folders."""
    assert call(*PLAN, "--datasets", ",".join(names)) == 0
    said = capsys.readouterr().out.splitlines()
    first = next(number for number, line in enumerate(said) if line.startswith("folder:"))
    return list(takewhile(lambda line: line.startswith(("folder:", "  ")), said[first:]))


def test_a_plan_says_what_was_seen(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    splits = {"Train": 12, "val": 3}
    root = images(
        here / "birds",
        *(f"{split}/{name}/{n}.png" for split, count in splits.items() for name in "ab" for n in range(count)),
    )
    images(root, "Train/a/s/1.png", "Train/a/s/2.png", "Train/b/12.png")
    (root / "Train" / "a" / "clip.mp4").write_bytes(b"")
    assert plan(capsys, f"folder:{root}", "digits") == [
        f"folder:{root}: 2 classes; images: train 25 (Train/), test 6 (val/); smallest class 'a': 12 in train",
        "  Train: 3 files are not read: 2 in folders below a class, 1 *.mp4",
        "  val/ is the test split, as no other is there; 10 % of each class is held out for validation",
    ]


def test_classes_too_small_for_their_parts_are_named(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = classes(here / "birds", ape=20, bee=8, cow=1, dog=2)
    name = f"folder:{root}@split=20"
    assert plan(capsys, name)[1:] == [
        "  10 % of each class is held out for validation, but none of 3 classes (bee, cow, dog)",
        "  1 class (cow) with a single image: it is for training, and none is for testing",
    ]
    small = classes(here / "few", ape=3, bee=3)
    lines = plan(capsys, f"folder:{small}@split=20")
    assert lines[1].endswith("the classes are too small to hold out 10 % of train: there is no validation split")


def test_folders_without_images_are_named(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = classes(here / "birds", ape=5, bee=5)
    (root / "empty").mkdir()
    images(root, "unsorted/below/1.png")
    assert plan(capsys, f"folder:{root}@split=20")[1] == (
        "  1 file is not read: 1 in folders below a class; 2 folders without an image that is read (empty, unsorted)"
    )


def test_nothing_is_said_of_a_validation_split_that_is_there(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = images(here / "birds", *(f"{split}/{name}/1.png" for split in ("train", "val", "test") for name in "ab"))
    assert len(plan(capsys, f"folder:{root}")) == 1


def test_the_home_folder_is_written_short(
    here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(here))
    classes(here / "birds", ape=5, bee=5)
    assert plan(capsys, "folder:~/birds@split=20")[0].startswith("folder:~/birds@split=20: 2 classes; ")


def test_names_of_classes_steer_no_terminal(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = classes(here / "birds", **{"a\x1b[2Jb": 2, "bee": 5})
    line = plan(capsys, f"folder:{root}@split=20")[0]
    assert line.isprintable()
    assert "smallest class 'a\\x1b[2Jb'" in line


def test_show_says_it_too(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = classes(here / "birds", ape=5, bee=5)
    assert call("show", f"folder:{root}@split=20") == 0
    assert "    - 2 classes; images: train 8 (80 %), test 2 (20 % of each class, seed 0)" in capsys.readouterr().out


def test_one_class_is_refused(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = classes(here / "birds", ape=5)
    assert call(*PLAN, "--datasets", f"folder:{root}@split=20") == 2
    assert "it has one class, so every answer is right and nothing is compared" in capsys.readouterr().err
    assert call("show", f"folder:{root}@split=20") == 0


def test_plans_and_cards_import_no_torch(here: Path) -> None:
    root = classes(here / "birds", ape=5, bee=5)
    images(root, "ape/x.webp")
    code = (
        "import sys; from bench.cli import main; "
        f"main({[*PLAN, '--datasets', f'folder:{root}@split=20']}); sys.exit('torch' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL)


@pytest.mark.slow
@pytest.mark.usefixtures("warm")
def test_the_images_of_the_table_are_those_that_were_said(
    here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A dirty folder under an odd name, from the command line to the record."""
    monkeypatch.setattr(LocalExecutor, "execute", EXECUTE)
    root = classes(here / "birds, 2024", ape=25, bee=15)
    images(root, "ape/.hidden.png", "ape/below/1.png", ".ipynb_checkpoints/1.png", "@eaDir/1.png", "bee/Thumbs.png")
    (root / "bee" / "Thumbs.db").write_bytes(b"x")
    options = ("--rates", "100", "--seeds", "1", "--jobs", "1", "--set", "augmentation=none", *TINY)
    listed = f"folder:{root}@split=20,seed=4"
    assert call("run", "photos", "--methods", "ce", "--backbones", "micro_vit", "--datasets", listed, *options) == 0
    said = capsys.readouterr().err.replace("\n", " ")
    assert said.count("2 classes; images: train 33 (80 %), test 8 (20 % of each class, seed 4)") == 1
    assert "1 file is not read: 1 in folders below a class" in said
    (path,) = Path("results/runs").glob("*/record.json")
    record = json.loads(path.read_bytes())
    assert record["test_images"] == 8
    assert record["subset"]["of"] == 33
    assert record["subset"]["images"] + record["validation_images"] == 33

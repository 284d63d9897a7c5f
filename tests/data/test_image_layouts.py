"""How somebody's own images may lie on the disk: which are read, of which split they are, and what they mean."""

from __future__ import annotations

import os
import random
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bench.cards import DatasetCard, content
from bench.cards import image_files as image_files_module
from bench.cards.backbone import file_sha256
from bench.cards.folder_options import FolderOptions
from bench.cards.image_files import why_unread
from bench.cards.layout import BELOW, LOOSE, ImageLayout, drawn_count, find_layout
from bench.data import read_data
from bench.data.official import files_of
from bench.errors import InputError
from bench.registry import Registry

PLAIN = ("train/ape/1.png", "train/ape/2.png", "train/bee/1.png", "test/ape/1.png", "test/bee/1.png")
DROPPINGS = (".DS_Store", "Thumbs.db", "desktop.ini", "._1.png", ".1.png.swp", "ehthumbs.db", "Icon\r", ".hidden.jpg")
SYSTEM_FOLDERS = (
    *(".ipynb_checkpoints", "__MACOSX", "@eaDir", "#recycle", "$RECYCLE.BIN", "lost+found"),
    *("System Volume Information", ".git", ".Trash-1000", "@Recycle"),
)


def make(root: Path, *names: str) -> Path:
    """Files, each of content of its own; nothing of a layout is decoded."""
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(name.encode())
    return root


def seen(root: Path, **options: object) -> ImageLayout:
    return find_layout(root, FolderOptions(**options), "folder:X")  # type: ignore[arg-type]


def card(text: object) -> DatasetCard:
    return Registry().dataset(f"folder:{text}")


def refused(root: Path, **options: object) -> str:
    with pytest.raises(InputError) as caught:
        seen(root, **options)
    (problem,) = caught.value.problems
    assert "\n" not in problem
    return problem


def names(layout: ImageLayout, split: str) -> list[str]:
    return [image.name for image in layout.splits[split]]


def test_the_meaning_of_a_clean_folder_is_what_it_always_was(tmp_path: Path) -> None:
    """Else the runs of everybody's folders would be missing after an update."""
    files = ("train/ape/2.png", "train/ape/10.JPG", "train/bee/a b.jpeg", "validation/bee/é.webp")
    root = make(tmp_path, *files, "test/ape/1.tif", "test/bee/1.gif")
    assert card(root).means == "34b5ebc39968"


# ---- what is none of the images


@pytest.mark.parametrize("name", DROPPINGS)
def test_droppings_are_no_images(tmp_path: Path, name: str) -> None:
    root = make(tmp_path, *PLAIN)
    clean = card(root)
    make(root, name, f"train/{name}", f"train/ape/{name}", f"test/bee/{name}")
    dirty = card(root)
    assert (dirty.means, dirty.facts) == (clean.means, clean.facts)
    assert dirty.layout is not None
    assert not dirty.layout.unread


@pytest.mark.parametrize("name", SYSTEM_FOLDERS)
def test_folders_of_systems_are_no_classes(tmp_path: Path, name: str) -> None:
    root = make(tmp_path, *PLAIN)
    clean = card(root)
    make(root, f"{name}/ape/1.png", f"train/{name}/1.png", f"train/ape/{name}/1.png", f"test/{name}/1.png")
    dirty = card(root)
    assert (dirty.means, dirty.facts) == (clean.means, clean.facts)
    assert dirty.layout is not None
    assert not dirty.layout.unread


def test_what_is_not_read_is_counted_by_its_reason(tmp_path: Path) -> None:
    root = make(tmp_path, *PLAIN, "train/ape/s1/1.png", "train/ape/s1/deep/2.png", "train/ape/s1/._1.png")
    make(root, "train/ape/a.CR2", "train/ape/b.cr2", "train/bee/LICENSE", "train/loose.png", "train/README.md")
    make(root, "test/bee/notes.txt", "train/cow/s/1.png")
    (root / "train" / "empty").mkdir()
    layout = seen(root)
    reasons = {BELOW: 3, "*.cr2": 2, "without a suffix": 1, LOOSE: 1, "*.md": 1}
    assert layout.unread == {"train/": reasons, "test/": {"*.txt": 1}}
    assert layout.empty == {"train/": ["cow", "empty"]}
    assert layout.classes == ["ape", "bee"]


@pytest.mark.parametrize("suffix", [".jfif", ".jpe", ".JPG", ".pgm", ".webp"])
def test_less_common_suffixes_are_read(tmp_path: Path, suffix: str) -> None:
    layout = seen(make(tmp_path, *PLAIN, f"train/ape/x{suffix}"))
    assert f"train/ape/x{suffix}" in names(layout, "train")


@pytest.mark.parametrize("suffix", [".avif", ".heic", ".HEIF"])
def test_suffixes_whose_decoder_is_not_installed(tmp_path: Path, suffix: str, monkeypatch: pytest.MonkeyPatch) -> None:
    root = make(tmp_path, *PLAIN, f"train/ape/x{suffix}")
    monkeypatch.setattr(image_files_module, "_decodes", lambda feature: True)
    assert f"train/ape/x{suffix}" in names(seen(root), "train")
    monkeypatch.setattr(image_files_module, "_decodes", lambda feature: False)
    layout = seen(root)
    assert f"train/ape/x{suffix}" not in names(layout, "train")
    ((reason, count),) = layout.unread["train/"].items()
    assert (reason, count) == (why_unread(f"x{suffix}"), 1)
    assert "Pillow" in reason or "pip install pillow-heif" in reason


def test_what_pillow_says_of_avif_is_believed(tmp_path: Path) -> None:
    from PIL import features

    assert (why_unread("x.avif") == "") == ("avif" in features.get_supported())


@pytest.mark.parametrize("seed", range(8))
def test_of_a_dirty_tree_every_file_is_read_or_counted_or_a_dropping(tmp_path: Path, seed: int) -> None:
    """Whatever dirt there is: the number of images is right, and nothing is silently missing."""
    draw = random.Random(seed)
    clean = [
        f"{split}/{name}/{i}.png" for split in ("train", "test") for name in ("a b", "ß鳥", "-x") for i in range(3)
    ]
    read = Counter(name.partition("/")[0] for name in clean)
    make(tmp_path, *clean)
    counted = Counter[str]()
    for number in range(60):
        split, name = draw.choice(("train", "test")), draw.choice(("a b", "ß鳥", "-x"))
        kind = draw.choice(("image", "dropping", "below", "suffix", "loose", "system"))
        path = {
            "image": f"{split}/{name}/new {number}{draw.choice(('.jpg', '.JFIF', '.bmp', '.pnm'))}",
            "dropping": f"{split}/{name}/.{number}.png",
            "below": f"{split}/{name}/sub {draw.randint(0, 2)}/{number}.png",
            "suffix": f"{split}/{name}/{number}{draw.choice(('.mp4', '.xmp', '', '.jpg.part'))}",
            "loose": f"{split}/{number}.png",
            "system": f"{split}/{draw.choice(SYSTEM_FOLDERS)}/{number}.png",
        }[kind]
        make(tmp_path, path)
        read[split] += kind == "image"
        counted[f"{split}/"] += kind in ("below", "suffix", "loose")
    layout = seen(tmp_path)
    assert layout.sizes == read
    assert {source: reasons.total() for source, reasons in layout.unread.items()} == counted
    assert layout.classes == sorted(("a b", "ß鳥", "-x"))


# ---- train and test under other names


def test_val_is_for_testing_where_no_other_folder_is(tmp_path: Path) -> None:
    layout = seen(make(tmp_path, "train/ape/1.png", "val/ape/2.png"))
    assert names(layout, "test") == ["val/ape/2.png"]
    assert layout.val_is_test
    assert layout.sources == {"train": "train/", "test": "val/"}
    assert "val" not in layout.splits


def test_val_and_test_are_what_they_are_called(tmp_path: Path) -> None:
    layout = seen(make(tmp_path, *PLAIN, "val/ape/9.png"))
    assert layout.sizes == {"train": 3, "val": 1, "test": 2}
    assert not layout.val_is_test


@pytest.mark.parametrize(
    "folders", [("Train", "TEST", "Validation"), ("training", "Testing", "valid"), ("TRAIN", "test", "VAL")]
)
def test_splits_in_other_letters(tmp_path: Path, folders: tuple[str, str, str]) -> None:
    root = make(tmp_path, *(f"{folder}/ape/{number}.png" for number, folder in enumerate(folders)))
    assert seen(root).sources == {
        split: f"{folder}/" for split, folder in zip(("train", "test", "val"), folders, strict=True)
    }


@pytest.mark.parametrize("pair", [("train", "Train"), ("val", "validation"), ("test", "testing")])
def test_two_folders_of_one_split(tmp_path: Path, pair: tuple[str, str]) -> None:
    root = make(tmp_path, *PLAIN, *(f"{folder}/ape/1.png" for folder in pair))
    problem = refused(root)
    assert all(f"'{folder}'" in problem for folder in pair)
    assert "keep one" in problem


def test_a_folder_that_only_begins_like_a_split_is_none(tmp_path: Path) -> None:
    assert seen(make(tmp_path, *PLAIN, "train.old/ape/1.png", "test2/cow/1.png")).sizes == {"train": 3, "test": 2}


# ---- folders of classes without splits


def classes(root: Path, **counts: int) -> Path:
    return make(root, *(f"{name}/{number:03}.png" for name, count in counts.items() for number in range(count)))


def test_classes_without_splits_are_asked_about(tmp_path: Path) -> None:
    problem = refused(classes(tmp_path, ape=3, bee=12))
    assert "looks like 2 classes of 3 to 12 images (15 in all)" in problem
    assert "write folder:X@split=20 to test on 20 %" in problem


def test_a_drawn_split_has_its_share_of_each_class(tmp_path: Path) -> None:
    root = classes(tmp_path, ape=10, bee=25, cow=3, dog=1)
    layout = seen(root, split=20)
    assert layout.counts("test") == {"ape": 2, "bee": 5, "cow": 1}
    assert layout.counts("train") == {"ape": 8, "bee": 20, "cow": 2, "dog": 1}
    together = [*names(layout, "train"), *names(layout, "test")]
    assert sorted(together) == sorted(str(path.relative_to(root)) for path in root.glob("*/*"))
    assert layout.drawn


@pytest.mark.parametrize(
    ("count", "share", "expected"),
    [(1, 20, 0), (2, 20, 1), (2, 99, 1), (5, 20, 1), (10, 25, 3), (100, 0.1, 1), (1000, 12.5, 125), (10, 99.9, 9)],
)
def test_how_many_are_tested(count: int, share: float, expected: int) -> None:
    assert drawn_count(count, share) == expected


def test_the_draw_depends_on_the_seed_and_on_names_alone(tmp_path: Path) -> None:
    root = classes(tmp_path / "a", ape=40, bee=40)
    first = names(seen(root, split=20), "test")
    assert names(seen(root.rename(tmp_path / "b"), split=20, seed=0), "test") == first
    assert names(seen(tmp_path / "b", split=20, seed=1), "test") != first
    make(tmp_path / "b", "aardvark/1.png", "aardvark/2.png")
    kept = [name for name in names(seen(tmp_path / "b", split=20), "test") if "aardvark" not in name]
    assert kept == first


def test_what_is_chosen_is_part_of_the_meaning(tmp_path: Path) -> None:
    root = classes(tmp_path, ape=10, bee=10)
    chosen = (
        "split=20",
        "split=20,seed=1",
        "split=30",
        "split=20,skip-damaged",
        "split=20,range=0:1",
        "split=20,range=0:2",
    )
    assert len({card(f"{root}@{text}").means for text in chosen}) == len(chosen)
    assert card(f"{root}@split=20").means == card(f"{root}@seed=0,split=20.0").means
    assert card(f"{root}@split=20").name == card(f"{root}@seed=0,split=20.0").name


def test_a_divided_folder_is_not_divided_again(tmp_path: Path) -> None:
    problem = refused(make(tmp_path, *PLAIN), split=20)
    assert "it is divided already (train/, test/); leave split=20 away" in problem


def test_a_train_folder_alone_can_be_divided(tmp_path: Path) -> None:
    root = make(tmp_path / "pets", *(f"train/ape/{number}.png" for number in range(5)))
    with pytest.raises(InputError, match="it has no folder 'test'") as caught:
        card(root)
    assert f"write folder:{root}/train@split=20" in str(caught.value)
    assert card(f"{root}/train@split=20").splits == {"train": 4, "test": 1}
    with pytest.raises(InputError, match=f"write folder:{root}/train@split=20"):
        card(f"{root}@split=20")


def test_a_folder_around_the_dataset_is_noticed(tmp_path: Path) -> None:
    root = make(tmp_path / "download", *(f"pets/{name}" for name in PLAIN), "README.md")
    assert refused(root).endswith(f"did you mean folder:{root}/pets?")


def test_a_hint_is_found_at_a_glance(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody may name a home folder; nobody waits until everything below it is counted."""
    monkeypatch.setattr(os, "walk", None)
    root = make(tmp_path, "ape/1.png", "ape/2.png", "docs/deep/down/1.png", "bee/s/1.png")
    (root / "ape" / "3.png").symlink_to("nowhere")
    assert "looks like 1 class of 3 images (3 in all)" in refused(root)


def test_a_class_may_be_called_train(tmp_path: Path) -> None:
    assert seen(classes(tmp_path, train=5, bus=5), split=20).classes == ["bus", "train"]


# ---- tables of labels


def table(root: Path, text: str, *files: str, name: str = "labels.csv", encoding: str = "utf-8") -> Path:
    make(root, *files)
    (root / name).write_bytes(text.encode(encoding))
    return root / name


FOUR = ("img/1.jpg", "img/2.jpg", "img/3.jpg", "img/4.jpg")
ROWS = "path,label,split\nimg/1.jpg,ape,train\nimg/2.jpg,bee,train\nimg/3.jpg,ape,test\nimg/4.jpg,bee,val\n"


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        (ROWS, "utf-8"),
        (ROWS, "utf-8-sig"),
        (ROWS.replace("\n", "\r\n"), "utf-8-sig"),
        (ROWS.replace(",", ";"), "utf-8"),
        (ROWS.replace(",", "\t"), "utf-16"),
        (ROWS.replace("path,label,split", "Filename,Class,Subset"), "utf-8"),
        (ROWS.replace("path,label,split", '"image path","class name","set"'), "utf-8"),
        (ROWS.replace("train", "Training").replace(",val", ",valid"), "utf-8"),
        (ROWS + "\n,,\n", "utf-8"),
        (ROWS.replace("img/", "img\\"), "utf-8"),
        (ROWS.replace("img/1.jpg", "./img/1.jpg"), "utf-8"),
        (
            "label,id,path,split\nape,7,img/1.jpg,train\nbee,8,img/2.jpg,train\nape,9,img/3.jpg,test\nbee,1,img/4.jpg,val\n",
            "utf-8",
        ),
    ],
)
def test_a_table_of_paths_labels_and_splits(tmp_path: Path, text: str, encoding: str) -> None:
    layout = seen(table(tmp_path, text, *FOUR, encoding=encoding))
    assert layout.splits == {
        "train": [("img/1.jpg", "ape"), ("img/2.jpg", "bee")],
        "val": [("img/4.jpg", "bee")],
        "test": [("img/3.jpg", "ape")],
    }


def test_the_order_of_rows_and_where_the_table_lies_mean_nothing(tmp_path: Path) -> None:
    path = table(tmp_path / "a", ROWS, *FOUR)
    first = card(path).means
    head, *rows = ROWS.splitlines()
    table(tmp_path / "a", "\n".join([head, *reversed(rows)]))
    assert card(path).means == first
    moved = (tmp_path / "a").rename(tmp_path / "b")
    assert card(moved / "labels.csv").means == first
    table(moved, ROWS.replace("3.jpg,ape", "3.jpg,bee"))
    assert card(moved / "labels.csv").means != first


def test_a_table_without_splits_is_divided_by_a_draw(tmp_path: Path) -> None:
    rows = "".join(f"{number}.jpg,{'ab'[number % 2]}\n" for number in range(20))
    path = table(tmp_path, f"path,label\n{rows}", *(f"{number}.jpg" for number in range(20)))
    assert "write folder:X@split=20" in refused(path)
    assert seen(path, split=20).counts("test") == {"a": 2, "b": 2}
    data = card(f"{path}@split=20,seed=3")
    assert data.splits == {"train": 16, "test": 4}
    assert [len(split) for split in (read_data(data).train, read_data(data).test)] == [16, 4]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "the file is empty"),
        ("name,value\n1,2\n", "labels.csv:1: the header 'name,value' lacks a column for the path"),
        ("path,file,label\na,b,c\n", "labels.csv:1: the columns 'path' and 'file' could be meant"),
        ("path,label,split\nimg/1.jpg,ape,fold1\n", "labels.csv:2: 'fold1' is no split"),
        ("path,label,split\nimg/1.jpg,ape\n", "labels.csv:2: the row has 2 columns"),
        ("path,label\nimg/1.jpg,\n", "labels.csv:2: the row has no label"),
        ("path,label\nimg/1.jpg,a\nimg/9.jpg,a\nimg/8.jpg,b\n", "img/9.jpg (and 1 more are missing)"),
        ("path,label\nimg/1.jpg,a\nimg/../img/1.jpg,b\n", "labels.csv:3: img/../img/1.jpg is named again (first at"),
        ("path,label\nimg/1.jpg,a\x1b[2J\n", "labels.csv:2: the label holds the character U+001B"),
        ("path,label,split\nimg/1.jpg,a,train\n", "there are images for train alone"),
        ("path,label,split\nimg/1.jpg,a,train\nimg/2.jpg,b,test\n", "'test' has classes that 'train' lacks: ['b']"),
        ('path,label\n"img/1.jpg,a\n', "it is not CSV"),
    ],
)
def test_a_table_that_cannot_be_used(tmp_path: Path, text: str, says: str) -> None:
    assert says in refused(table(tmp_path, text, *FOUR))


def test_a_table_in_another_encoding(tmp_path: Path) -> None:
    path = table(tmp_path, "path,label\nimg/1.jpg,Möwe\n", *FOUR, encoding="latin-1")
    assert "labels.csv:2: it is not UTF-8; save it as UTF-8" in refused(path)


def test_a_table_that_is_a_link(tmp_path: Path) -> None:
    path = table(tmp_path / "a", ROWS, *FOUR)
    path.rename(tmp_path / "kept.csv")
    path.symlink_to(tmp_path / "kept.csv")
    assert card(path).splits == {"train": 2, "val": 1, "test": 1}


def test_lists_of_training_and_test_images(tmp_path: Path) -> None:
    root = make(tmp_path, *FOUR, "img/with blank.jpg")
    table(root, "img/1.jpg 0\r\nimg/2.jpg 1\r\n\r\nimg/with blank.jpg 10\r\n", name="train.txt", encoding="utf-8-sig")
    table(root, "img/3.jpg\t1\n", name="test.txt")
    layout = seen(root)
    assert layout.splits == {
        "train": [("img/1.jpg", "0"), ("img/2.jpg", "1"), ("img/with blank.jpg", "10")],
        "test": [("img/3.jpg", "1")],
    }
    assert layout.sources == {"train": "train.txt", "test": "test.txt"}


def test_a_list_and_val_for_testing(tmp_path: Path) -> None:
    root = make(tmp_path, *FOUR)
    table(root, "path,label\nimg/1.jpg,a\n", name="Train.csv")
    table(root, "path,label\nimg/2.jpg,a\n", name="Val.csv")
    layout = seen(root)
    assert (layout.sizes, layout.val_is_test) == ({"train": 1, "test": 1}, True)


def test_a_line_of_a_list_without_a_label(tmp_path: Path) -> None:
    root = make(tmp_path, *FOUR)
    table(root, "img/1.jpg\n", name="train.txt")
    table(root, "img/2.jpg 1\n", name="test.txt")
    assert "train.txt:1: 'img/1.jpg' is no line of a path and a label" in refused(root)


# ---- what is opened


def test_images_and_labels_are_those_of_the_table(tmp_path: Path) -> None:
    path = table(tmp_path, ROWS)
    (tmp_path / "img").mkdir()
    for number in range(1, 5):
        Image.fromarray(np.full((4, 4, 3), number, np.uint8)).save(tmp_path / "img" / f"{number}.jpg")
    dataset = read_data(card(path))
    assert dataset.classes == ["ape", "bee"]
    assert dataset.train.labels.tolist() == [0, 1]
    assert [Path(file).name for file in files_of(dataset.test)] == ["3.jpg"]
    assert dataset.val is not None
    assert dataset.val.images.take(np.array([0]))[0].float().mean() == 4


def test_a_file_is_hashed_anew_when_it_changes(tmp_path: Path) -> None:
    root = make(tmp_path, *PLAIN)
    path = root / "train" / "ape" / "1.png"
    os.utime(path, (1, 1))
    first = card(root).means
    path.write_bytes(b"train/ape/9.png")
    os.utime(path, (1, 1))
    assert card(root).means != first


def test_what_was_hashed_is_kept_for_other_processes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And is believed of a file only while the system says that it is the same."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(content, "_SETTLED", -1)
    root = make(tmp_path / "pets", *PLAIN)

    def anew() -> tuple[str, list[str]]:
        """The meaning as another process finds it, and which files it reads."""
        read: list[str] = []

        def hashed(path: Path) -> str:
            read.append(path.name)
            return file_sha256(path)

        monkeypatch.setattr(content, "_hashed", {})
        monkeypatch.setattr(content, "_looked_up", set())
        monkeypatch.setattr(content, "file_sha256", hashed)
        return card(root).means, read

    first, read = anew()
    assert len(read) == 5
    assert not (tmp_path / "cache").exists(), "of few bytes nothing is kept"
    monkeypatch.setattr(content, "MANY_BYTES", 1)
    assert anew() == (first, read)
    assert anew() == (first, [])
    (root / "train" / "bee" / "1.png").write_bytes(b"train/BEE/1.png")
    changed, read = anew()
    assert changed != first
    assert read == ["1.png"]
    (kept,) = (tmp_path / "cache" / "finetune-bench" / "digests").iterdir()
    for damage in (b"", b"[]", b'{"a": 1}', kept.read_bytes()[:-9]):
        kept.write_bytes(damage)
        assert anew()[0] == changed


def test_names_that_are_no_utf8(tmp_path: Path) -> None:
    root = make(tmp_path, *PLAIN)
    first = card(root).means
    with open(os.fsencode(root / "train" / "ape") + b"/\xe9.png", "wb") as file:
        file.write(b"x")
    assert card(root).splits["train"] == 4
    assert card(root).means != first

"""How folders of images are named: what may stand behind the @, commas in paths, and names of tables' rows."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.cards.dataset import read_list
from bench.cards.folder import told_apart, typed_folder
from bench.cards.folder_options import FolderOptions, folder_options, typed_options
from bench.cards.folders import user_cache
from bench.cards.names import split_names
from bench.errors import InputError
from bench.plan.experiment import read_experiment
from bench.plan.overrides import Overrides
from bench.plan.target import read_plan
from bench.registry import Registry
from bench.spec import from_json, short_name, to_json

ODD = (
    "my birds",
    "birds, 2024",
    "birds (v2)",
    "birds (v2",
    "me@lab",
    "50%_a#b",
    "Vögel–鳥",
    "a:b",
    "it's",
    'a "b"',
    "[x]",
)


def folder(root: Path, count: int = 1) -> Path:
    for split in ("train", "test"):
        for name in ("ape", "bee"):
            (root / split / name).mkdir(parents=True)
            for number in range(count):
                (root / split / name / f"{number}.png").write_bytes(f"{root.name} {split} {name} {number}".encode())
    return root


# ---- behind the @


@pytest.mark.parametrize(
    ("text", "expected", "typed"),
    [
        ("split=20", FolderOptions(split=20), "split=20"),
        ("split=20,seed=3", FolderOptions(split=20, seed=3), "split=20,seed=3"),
        ("seed=0, split=12.5", FolderOptions(split=12.5), "split=12.5"),
        ("skip-damaged", FolderOptions(skip_damaged=True), "skip-damaged"),
        ("skip_damaged", FolderOptions(skip_damaged=True), "skip-damaged"),
        ("range=0:1", FolderOptions(range=(0, 1)), "range=0:1"),
        ("range=-1:0.5", FolderOptions(range=(-1, 0.5)), "range=-1:0.5"),
        (
            "range=0:65535,skip-damaged,split=20,seed=7",
            FolderOptions(20, 7, (0, 65535), True),
            "split=20,seed=7,range=0:65535,skip-damaged",
        ),
    ],
)
def test_the_grammar(text: str, expected: FolderOptions, typed: str) -> None:
    options = typed_options(text, "folder:x")
    assert options == expected
    assert options.typed == typed
    assert typed_options(options.typed, "folder:x") == options
    assert folder_options(options.as_options, "card:1") == options


def test_what_readers_of_the_card_are_given(tmp_path: Path) -> None:
    root = folder(tmp_path / "x")
    card = Registry().dataset(f"folder:{root}@range=0:1,skip-damaged")
    assert card.options == {"range": [0.0, 1.0], "skip_damaged": True}
    assert Registry().dataset(f"folder:{root}").options == {}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("split", "'split' cannot stand behind the @; what can is split=20"),
        ("sed=3", "'sed=3' cannot stand behind the @"),
        ("split=20,,", "'' cannot stand behind the @"),
        ("skip-damaged=yes", "'skip-damaged=yes' cannot stand"),
        ("split=20,split=30", "split stands twice"),
        ("split=0", "split=0: it is the percent"),
        ("split=100", "split=100: it is the percent"),
        ("split=a", "split=a: it is the percent"),
        ("split=nan", "split=nan: it is the percent"),
        ("split=20,seed=-1", "seed=-1: a seed is a whole number"),
        ("split=20,seed=1.5", "seed=1.5: a seed is a whole number"),
        ("seed=1", "seed=1 says nothing without split"),
        ("range=1", "range: it is the levels of black and white"),
        ("range=1:0", "range: it is the levels"),
        ("range=0:inf", "range: it is the levels"),
        ("range=a:b", "range: it is the levels"),
    ],
)
def test_what_cannot_stand_there(text: str, says: str) -> None:
    with pytest.raises(InputError) as caught:
        typed_options(text, "folder:x")
    assert str(caught.value).startswith("folder:x: ")
    assert says in str(caught.value)


@pytest.mark.parametrize("name", ODD)
def test_a_path_that_is_there_is_one_whatever_its_characters(tmp_path: Path, name: str) -> None:
    root = folder(tmp_path / name)
    assert typed_folder(str(root)) == (root, FolderOptions())
    assert typed_folder(f"{root}@skip-damaged") == (root, FolderOptions(skip_damaged=True))
    assert split_names(f"folder:{root}") == [f"folder:{root}"]
    assert split_names(f"digits, folder:{root} ,micro") == ["digits", f"folder:{root}", "micro"]
    chosen = f"folder:{root}@range=0:1,skip-damaged"
    assert split_names(f"{chosen},digits,{chosen}") == [chosen, "digits", chosen]
    assert Registry().dataset(f"folder:{root}").title == name


def test_what_no_grammar_has_behind_an_at(tmp_path: Path) -> None:
    root = folder(tmp_path / "x")
    with pytest.raises(InputError, match=f"folder:{root}: 'lab' cannot stand behind the @; what can is split=20"):
        typed_folder(f"{root}@lab")


@pytest.mark.parametrize("name", ODD)
@pytest.mark.parametrize("choice", ["", "@skip-damaged", "@range=0:1,skip-damaged"])
def test_a_name_reaches_a_worker(tmp_path: Path, name: str, choice: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a spec holds of it is read again in another process and another working folder, and means the same."""
    folder(tmp_path / "far" / name)
    monkeypatch.chdir(tmp_path / "far")
    typed = Overrides(methods="ce", backbones="micro_vit", datasets=f"folder:{name}{choice}", rates="100", seeds="1")
    (spec,) = read_plan("photos", Registry(), typed).unique.values()
    monkeypatch.chdir(tmp_path)
    arrived = from_json(to_json(spec))
    assert arrived.id == spec.id
    card = Registry().dataset(arrived.dataset.name)
    assert (card.name, card.means) == (spec.dataset.name, spec.dataset.means)


# ---- commas


def test_the_longest_path_that_is_there_counts(tmp_path: Path) -> None:
    short, long = folder(tmp_path / "birds"), folder(tmp_path / "birds,digits")
    assert split_names(f"folder:{long}") == [f"folder:{long}"]
    assert split_names(f"folder:{short},folder:{long},digits") == [f"folder:{short}", f"folder:{long}", "digits"]
    assert split_names(f"folder:{short},cifar10") == [f"folder:{short}", "cifar10"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a,b", ["a", "b"]),
        (" a , ,b,", ["a", "b"]),
        (",", []),
        ("NAME (x, y),b", ["NAME (x, y)", "b"]),
        ("folder:none@split=20,seed=1,digits", ["folder:none@split=20,seed=1", "digits"]),
        ("folder:a@split=20,folder:b@split=30", ["folder:a@split=20", "folder:b@split=30"]),
        ("folder:a,seed=1", ["folder:a", "seed=1"]),
    ],
)
def test_lists_of_names(text: str, expected: list[str]) -> None:
    assert split_names(text) == expected


def test_commas_in_the_paths_of_lists_and_weights(tmp_path: Path) -> None:
    path = tmp_path / "list, new.txt"
    path.write_text("a.jpg\n", encoding="utf-8")
    assert split_names(f"cub200@{path},digits") == [f"cub200@{path}", "digits"]
    assert split_names(f"cub200@train@{path},digits") == [f"cub200@train@{path}", "digits"]
    assert split_names(f"micro_vit,timm:vit@{path}") == ["micro_vit", f"timm:vit@{path}"]


def test_a_comma_in_a_path_that_is_not_there_is_explained() -> None:
    typed = Overrides(methods="ce", backbones="micro_vit", datasets="folder:/none/birds, 2024")
    with pytest.raises(InputError, match=r"no such folder.*a comma parts two names where no file or folder"):
        read_experiment("photos", Registry(), typed)


# ---- titles


def titles(*names: object) -> list[str]:
    return [card.title for card in told_apart(Registry().dataset(f"folder:{name}") for name in names)]


def test_folders_of_one_name_are_told_apart_by_as_much_as_is_needed(tmp_path: Path) -> None:
    roots = [folder(tmp_path / name) for name in ("a/birds", "b/birds", "x/c/birds", "y/c/birds", "fish")]
    assert titles(roots[0], roots[4]) == ["birds", "fish"]
    assert titles(roots[0], roots[1]) == ["a/birds", "b/birds"]
    assert titles(*roots) == ["a/birds", "b/birds", "x/c/birds", "y/c/birds", "fish"]


def test_what_is_chosen_tells_apart_too(tmp_path: Path) -> None:
    root = folder(tmp_path / "birds")
    assert titles(root, f"{root}@skip-damaged") == ["birds", "birds@skip-damaged"]


def test_one_folder_under_two_names_is_one_dataset(tmp_path: Path) -> None:
    root = folder(tmp_path / "birds")
    (tmp_path / "link").symlink_to(root)
    assert titles(root, f"{root}/", f"{root}/../birds", tmp_path / "link") == ["birds"]


def test_in_an_experiment_they_are_two_rows(tmp_path: Path) -> None:
    roots = [folder(tmp_path / name) for name in ("a/birds", "b/birds")]
    listed = ",".join(f"folder:{root}" for root in roots)
    plan = read_plan("photos", Registry(), Overrides(methods="ce", backbones="micro_vit", datasets=listed, rates="100"))
    assert {cell.axes["dataset"] for _, cell in plan.tables[0].places()} == {"a/birds", "b/birds"}


def test_names_for_folders_of_results() -> None:
    assert short_name("folder:/x/birds, 2024@split=20,seed=3") == "birds, 2024@split=20,seed=3"


# ---- lists of training images


@pytest.mark.parametrize(
    "text", [b"\xef\xbb\xbfa/1.jpg\r\nb/2.jpg\r\n", b"a/1.jpg\n\nb/2.jpg", b"\xef\xbb\xbfa/1.jpg\nb/2.jpg\n"]
)
def test_a_list_as_windows_writes_it(tmp_path: Path, text: bytes) -> None:
    (tmp_path / "list.txt").write_bytes(text)
    assert read_list(tmp_path / "list.txt") == ["a/1.jpg", "b/2.jpg"]


@pytest.mark.parametrize("stated", ["relative", "", None])
def test_a_relative_cache_folder_counts_for_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stated: str | None
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    if stated is not None:
        monkeypatch.setenv("XDG_CACHE_HOME", stated)
    assert user_cache() == tmp_path / ".cache" / "finetune-bench"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "c"))
    assert user_cache() == tmp_path / "c" / "finetune-bench"

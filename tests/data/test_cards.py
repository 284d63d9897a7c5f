"""The cards of datasets: whole, consistent, and meaning what is verified; their variants; where data lies."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from bench.cards.dataset import read_dataset
from bench.cards.folders import data_folder
from bench.errors import InputError
from bench.metrics import METRICS
from bench.reading.document import read_document
from bench.registry import Registry
from bench.spec import digest

REGISTRY = Registry()
NAMES = list(REGISTRY.dataset_files)
PUBLISHED = [name for name in NAMES if "official" in read_document(REGISTRY.dataset_files[name])]
CHOICES = [
    f"{name}@{variant}"
    for name in PUBLISHED
    for variant in read_document(REGISTRY.dataset_files[name]).get("variants", {})
]
CHECKSUM = re.compile(r"md5:[0-9a-f]{32}|sha256:[0-9a-f]{64}")
PAPERS = {"gta", "drloc", "lacvit", "coin", "fd"}

TRAIN_AND_TEST = {
    "cifar10": (10, 50000, 10000),
    "cifar100": (100, 50000, 10000),
    "cub200": (200, 5994, 5794),
    "stanford_cars": (196, 8144, 8041),
    "fgvc_aircraft": (100, 6667, 3333),
    "stanford_dogs": (120, 12000, 8580),
    "oxford_pets": (37, 3680, 3669),
    "oxford_flowers102": (102, 2040, 6149),
    "dtd": (47, 3760, 1880),
    "caltech101": (102, 3060, 6084),
    "svhn": (10, 73257, 26032),
    "imagenet1k": (1000, 1281167, 50000),
    "imagenet100": (100, 126689, 5000),
    "imagenet20": (20, 18494, 7854),
    "places365": (365, 1803460, 36500),
    "inat2017": (5089, 579184, 95986),
    "domainnet_clipart": (345, 33525, 14604),
    "domainnet_infograph": (345, 36023, 15582),
    "domainnet_painting": (345, 50416, 21850),
    "domainnet_quickdraw": (345, 120750, 51750),
    "domainnet_real": (345, 120906, 52041),
    "domainnet_sketch": (345, 48212, 20916),
    "pacs_art_painting": (7, 1840, 208),
    "pacs_cartoon": (7, 2107, 237),
    "pacs_photo": (7, 1499, 171),
    "pacs_sketch": (7, 3531, 398),
    "voc2012": (21, 1464, 1449),
    "oxford_pets_trimaps": (2, 3680, 3669),
    "voc2012_labels": (20, 5717, 5823),
    "ade20k": (150, 20210, 2000),
    "nabirds": (555, 23929, 24633),
    "vtab_caltech101": (102, 800, 6084),
    "vtab_cifar100": (100, 800, 10000),
    "vtab_dtd": (47, 800, 1880),
    "vtab_flowers102": (102, 800, 6149),
    "vtab_pets": (37, 800, 3669),
    "vtab_svhn": (10, 800, 26032),
    "vtab_sun397": (397, 800, 21750),
    "vtab_patch_camelyon": (2, 800, 32768),
    "vtab_eurosat": (10, 800, 5400),
    "vtab_resisc45": (45, 800, 6300),
    "vtab_diabetic_retinopathy": (5, 800, 42670),
    "vtab_clevr_count": (8, 800, 15000),
    "vtab_clevr_dist": (6, 800, 15000),
    "vtab_dmlab": (6, 800, 22735),
    "vtab_kitti": (4, 800, 711),
    "vtab_dsprites_loc": (16, 800, 73728),
    "vtab_dsprites_ori": (16, 800, 73728),
    "vtab_smallnorb_azi": (18, 800, 12150),
    "vtab_smallnorb_ele": (9, 800, 12150),
}
"""Classes, training and test images, as the papers' tables and the datasets' pages give them."""

VTAB = [name for name in PUBLISHED if name.startswith("vtab_")]


def card(name: str) -> Any:
    return read_dataset(name, REGISTRY.dataset_files[name.partition("@")[0]])


def test_the_sizes_are_the_published_ones() -> None:
    found = {
        name: (c.facts["classes"], c.facts["splits"]["train"], c.facts["splits"]["test"])
        for name in PUBLISHED
        if (c := card(name))
    }
    assert found == TRAIN_AND_TEST


@pytest.mark.parametrize(
    ("name", "splits"),
    [
        ("oxford_flowers102@train", {"train": 1020, "val": 1020, "test": 6149}),
        ("fgvc_aircraft@train", {"train": 3334, "val": 3333, "test": 3333}),
        ("dtd@train", {"train": 1880, "val": 1880, "test": 1880}),
        ("dtd@p10", {"train": 3760, "test": 1880}),
        ("svhn@extra", {"train": 73257 + 531131, "test": 26032}),
        ("caltech101@no_background", {"train": 3030, "test": 5647}),
        ("places365@large", {"train": 1803460, "test": 36500}),
        ("voc2012@aug", {"train": 10582, "test": 1449}),
        ("vtab_dtd@full", {"train": 1000, "test": 1880}),
        ("vtab_caltech101@archive", {"train": 800, "val": 200, "test": 6085}),
        ("vtab_caltech101@archive_full", {"train": 1000, "test": 6085}),
    ],
)
def test_the_sizes_of_variants(name: str, splits: dict[str, int]) -> None:
    assert card(name).facts["splits"] == splits


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_card_says_all_that_is_to_be_said(name: str) -> None:
    facts = card(name).facts
    for key in ("title", "task", "image", "normalisation", "size", "source", "licence"):
        assert len(facts[key]) >= 3, key
    assert facts["task"] in ("classification", "multilabel", "segmentation")
    assert METRICS[card(name).metric].task == facts["task"]
    if facts["task"] == "segmentation":
        assert card(name).metric == "miou"
    assert facts["expects"]
    assert facts["traps"]
    of_papers = facts.get("papers", {})
    assert set(of_papers) <= PAPERS
    for told in of_papers.values():
        assert set(told) == {"as", "source"}
        assert told["as"] in {"default", "other", *facts.get("variants", {})}
    assert ("download" in facts) != ("steps" in facts)


@pytest.mark.parametrize("name", VTAB)
def test_every_task_of_vtab_has_its_lists_and_its_group(name: str) -> None:
    usual, full = card(name), card(f"{name}@full")
    assert usual.facts["splits"] == {"train": 800, "val": 200, "test": TRAIN_AND_TEST[name][2]}
    assert full.facts["splits"] == {"train": 1000, "test": TRAIN_AND_TEST[name][2]}
    assert usual.path == full.path == str(data_folder() / "vtab-1k")
    assert {path.partition("/")[0] for c in (usual, full) for path in c.facts["expects"]} == {usual.options["task"]}
    assert len(usual.options.get("names", range(usual.facts["classes"]))) == usual.facts["classes"]
    assert usual.metric == "top1"


def test_vtab_has_7_natural_4_specialized_and_8_structured_tasks() -> None:
    assert Counter(card(name).facts["group"] for name in VTAB) == {"natural": 7, "specialized": 4, "structured": 8}
    # folders as the parameter-efficient papers' code calls them (FacT, RepAdapter: vtab.py)
    assert sorted(card(name).options["task"] for name in VTAB) == sorted(
        [
            "cifar",
            "caltech101",
            "dtd",
            "oxford_flowers102",
            "oxford_iiit_pet",
            "svhn",
            "sun397",
            "patch_camelyon",
            "eurosat",
            "resisc45",
            "diabetic_retinopathy",
            "clevr_count",
            "clevr_dist",
            "dmlab",
            "kitti",
            "dsprites_loc",
            "dsprites_ori",
            "smallnorb_azi",
            "smallnorb_ele",
        ]
    )


def test_every_dataset_of_a_paper_is_there() -> None:
    used = {paper: {name for name in PUBLISHED if paper in card(name).facts.get("papers", {})} for paper in PAPERS}
    assert used["gta"] == {"cub200", "stanford_cars", "fgvc_aircraft", "stanford_dogs", "oxford_pets", "voc2012"}
    assert len(used["drloc"]) == 12
    assert used["lacvit"] == {
        *("cifar10", "cifar100", "cub200", "oxford_flowers102", "oxford_pets", "inat2017", "imagenet1k", "places365")
    }
    assert len(used["coin"]) == 9
    assert used["fd"] == {"imagenet1k", "ade20k"}


@pytest.mark.parametrize("name", [*PUBLISHED, *CHOICES])
def test_checksums_and_places_are_well_formed(name: str) -> None:
    facts = card(name).facts
    sums = list(facts.get("checksums", {}).values())
    for entry in facts.get("download", ()):
        assert set(entry) <= {"url", "file", "checksum", "into", "gives", "rename", "inner"}
        assert entry["url"].startswith(("http://", "https://"))
        sums.append(entry["checksum"])
    assert all(CHECKSUM.fullmatch(told) for told in sums)
    inside = [
        *facts["expects"],
        *facts.get("checksums", {}),
        *(f for e in facts.get("download", ()) for f in e.get("gives", ())),
    ]
    assert not [path for path in inside if Path(path).is_absolute() or ".." in Path(path).parts]


@pytest.mark.parametrize("name", [*PUBLISHED, *CHOICES])
def test_what_is_downloaded_gives_what_is_expected(name: str) -> None:
    """Each file that the reader needs is below something that an entry gives."""
    facts = card(name).facts
    given = []
    for entry in facts.get("download", ()):
        alone = (Path(entry.get("into", ".")) / entry["url"].rpartition("/")[2]).as_posix()
        given += entry.get("gives", [alone])
    if given:
        lacking = [e for e in facts["expects"] if not any(e == g or e.startswith(f"{g}/") for g in given)]
        assert not lacking


def test_names_and_meanings_are_all_different() -> None:
    cards = [card(name) for name in [*NAMES, *CHOICES]]
    assert len({c.means for c in cards}) == len(cards)
    assert len({c.title for c in cards}) == len(cards)


def test_the_list_of_imagenet100_is_the_published_one() -> None:
    facts = card("imagenet100").facts
    wnids = facts["options"]["wnids"]
    assert len(set(wnids)) == 100
    text = "".join(f"{wnid}\n" for wnid in sorted(wnids))
    assert hashlib.sha256(text.encode()).hexdigest() == facts["wnids_sha256"]
    assert card("imagenet100").path == card("imagenet1k").path


def test_generated_datasets_mean_what_they_meant() -> None:
    """Their runs keep their ids."""
    for name in ("digits", "cluttered_digits"):
        facts = read_document(REGISTRY.dataset_files[name])
        assert card(name).means == digest([facts["reader"], facts["sha256"], 1])
        assert card(name).path == ""


# ---- where data lies


def test_data_lies_where_the_environment_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("BENCH_DATA", raising=False)
    assert data_folder() == tmp_path / "data"
    assert card("cub200").path == str(tmp_path / "data" / "cub200")
    here = card("cub200").means
    monkeypatch.setenv("BENCH_DATA", "/big/disk")
    assert card("cub200").path == "/big/disk/cub200"
    assert card("domainnet_real").path == "/big/disk/domainnet"
    assert card("cub200").means == here


def test_what_is_missing_is_known_without_opening(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BENCH_DATA", str(tmp_path))
    assert card("stanford_dogs").missing == ["Images", "train_list.mat", "test_list.mat"]
    (tmp_path / "stanford_dogs" / "Images").mkdir(parents=True)
    assert card("stanford_dogs").missing == ["train_list.mat", "test_list.mat"]
    assert card("digits").missing == []


# ---- what a card means

CARD = """
title: Birds
reader: cub
classes: 2
official: {train: 6, val: 3, test: 2}
use: {train: [train], test: [test]}
options: {size: 1, shape: 2}
checksums: {a.txt: "md5:00"}
source: somewhere
variants:
  more: {use: {train: [train, val], test: [test]}, options: {shape: 3}}
  named: {title: Other birds, options: {size: 4}}
"""


def written(folder: Path, text: str = CARD, name: str = "birds") -> Any:
    (folder / "birds.yaml").write_text(text)
    return read_dataset(name, folder / "birds.yaml")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("reader: cub", "reader: pets"),
        ("classes: 2", "classes: 3"),
        ("test: 2}", "test: 1}"),
        ("train: [train]", "train: [val]"),
        ("size: 1", "size: 2"),
        ("md5:00", "md5:01"),
        ("source: somewhere", "version: 2"),
    ],
)
def test_what_is_verified_changes_the_meaning(tmp_path: Path, old: str, new: str) -> None:
    assert old in CARD
    assert written(tmp_path, CARD.replace(old, new, 1)).means != written(tmp_path).means


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("source: somewhere", "source: elsewhere\nsteps: [fly]\nexpects: [b.txt]"),
        ("title: Birds", "title: Vögel"),
        ("val: 3", "val: 4"),
        ("named:", "called:"),
    ],
)
def test_what_is_told_for_people_or_not_used_does_not(tmp_path: Path, old: str, new: str) -> None:
    assert old in CARD
    assert written(tmp_path, CARD.replace(old, new, 1)).means == written(tmp_path).means


def test_a_variant_takes_the_place_of_entries_and_adds_options(tmp_path: Path) -> None:
    more, named = written(tmp_path, name="birds@more"), written(tmp_path, name="birds@named")
    assert (more.name, more.title, more.plain_name) == ("birds@more", "Birds (more)", "birds")
    assert more.facts["splits"] == {"train": 9, "test": 2}
    assert more.options == {"size": 1, "shape": 3}
    assert more.lists == ["train", "val", "test"]
    assert named.title == "Other birds"
    assert named.options == {"size": 4, "shape": 2}
    assert named.facts["source"] == "somewhere"
    assert len({more.means, named.means, written(tmp_path).means}) == 3


def test_a_variant_and_a_list(tmp_path: Path) -> None:
    file = tmp_path / "at@home" / "list.txt"
    file.parent.mkdir()
    file.write_text("a.jpg\nb.jpg\n")
    both, alone = written(tmp_path, name=f"birds@more@{file}"), written(tmp_path, name=f"birds@{file}")
    assert both.name == f"birds@more@{file}"
    assert both.facts["splits"] == alone.facts["splits"] == {"train": 2, "test": 2}
    assert both.options == {"size": 1, "shape": 3}
    assert both.means != alone.means


@pytest.mark.parametrize("name", ["birds@mor", "birds@", "birds@none.txt", "birds@more@none.txt", "birds@/"])
def test_what_can_be_chosen_is_told(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError) as caught:
        written(tmp_path, name=name)
    (problem,) = caught.value.problems
    assert problem.startswith("birds: ")
    assert "lists training images, one path a line" in problem
    if name != "birds@":
        assert "more, named" in problem
    if name == "birds@mor":
        assert "did you mean 'more'?" in problem


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("{train: 6, val: 3, test: 2}", "{train: many}", "the size of each official list"),
        ("use: {train: [train], test: [test]}", "", "of which lists train, test and, if any, val are made"),
        ("{train: [train], test: [test]}", "{train: [train]}", "of which lists"),
        ("{train: [train], test: [test]}", "{train: [train], test: [test], extra: [val]}", "of which lists"),
        (
            "{train: [train], test: [test]}",
            "{train: [tarin], test: [test]}",
            "'train' must be a list of train, val, test",
        ),
        ("{train: [train], test: [test]}", "{train: train, test: [test]}", "'train' must be a list of"),
        ("{train: [train], test: [test]}", "{train: [train, test], test: [test]}", "a list is in two splits"),
        ("classes: 2", "classes: two", "'classes' must be their number"),
    ],
)
def test_a_card_that_cannot_be(tmp_path: Path, old: str, new: str, says: str) -> None:
    assert old in CARD
    with pytest.raises(InputError) as caught:
        written(tmp_path, CARD.replace(old, new, 1))
    assert says in str(caught.value)
    assert re.match(rf"{re.escape(str(tmp_path))}/birds.yaml:\d+: ", str(caught.value))


@pytest.mark.parametrize(
    ("variant", "says"),
    [("more: 3", "'more' must be a mapping"), ("more: {reader: pets}", "no key of a variant is called 'reader'")],
)
def test_a_variant_that_cannot_be(tmp_path: Path, variant: str, says: str) -> None:
    text = CARD[: CARD.index("  more:")] + f"  {variant}\n"
    with pytest.raises(InputError) as caught:
        written(tmp_path, text, "birds@more")
    assert says in str(caught.value)
    assert str(tmp_path) in str(caught.value)

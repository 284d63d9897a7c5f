"""Further tests: what is asked for behind a dataset's name, which of its classes there are, and what is refused."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.ndimage import gaussian_filter

from bench.cards import DatasetCard
from bench.cards.names import comma_hint, split_names
from bench.cli import main
from bench.commands.folders import sentences
from bench.data import ArrayImages, Dataset, Split, read_data
from bench.data.corrupted import KINDS, CorruptedImages, corrupted
from bench.data.further import imagenet_wnids, matched, open_further
from bench.errors import InputError
from bench.registry import Registry
from bench.spec import short_name


def card(name: str) -> DatasetCard:
    return Registry().dataset(name)


def opened(name: str) -> tuple[Dataset, dict[str, Split]]:
    dataset = read_data(card(name))
    return dataset, open_further(card(name), dataset, read_data)


def draw(folder: Path, classes: dict[str, int]) -> Path:
    """Images of noise, each of its own, in ``FOLDER/CLASS/NUMBER.png``."""
    numbers = itertools.count(1)
    for name, count in classes.items():
        (folder / name).mkdir(parents=True)
        for _ in range(count):
            number = next(numbers)
            pixels = np.random.RandomState(number).randint(0, 256, (6, 5, 3)).astype(np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{number}.png")
    return folder


def small(folder: Path, text: str, name: str = "small") -> Registry:
    """A card of somebody's own in a plug-in folder."""
    (folder / "mine" / "datasets").mkdir(parents=True, exist_ok=True)
    (folder / "mine" / "datasets" / f"{name}.yaml").write_text(text, encoding="utf-8")
    return Registry([folder / "mine"])


# ---- names and identity


def test_it_is_asked_for_behind_the_name_and_means_nothing_to_the_dataset() -> None:
    plain, asked = card("cluttered_digits"), card("cluttered_digits@also=noise+blur")
    assert (asked.means, asked.title, asked.splits) == (plain.means, plain.title, plain.splits)
    assert [test.name for test in asked.further] == ["noise", "blur"]
    assert (plain.further_means, asked.without_further, asked.plain_name) == ("", plain.name, plain.name)


def test_what_is_asked_for_is_told_apart_in_any_order() -> None:
    means = {name: card(f"digits@also={name}").further_means for name in ("noise", "blur", "noise+blur", "blur+noise")}
    assert means["noise+blur"] == means["blur+noise"]
    assert len({*means.values()}) == 3


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("digits@also=nois", "did you mean 'noise'"),
        ("digits@also=noise+noise", "noise stands there twice"),
        ("cifar10@also=noise", "declares no further tests"),
        ("digits@also=", "further test"),
    ],
)
def test_what_is_no_further_test_is_refused(name: str, problem: str) -> None:
    with pytest.raises(InputError, match=problem):
        card(name)


def test_a_card_says_one_way_to_make_it(tmp_path: Path) -> None:
    text = "title: Small\nreader: digits\nalso: {odd: {corrupt: noise, dataset: digits}}\n"
    with pytest.raises(InputError, match="corrupt and dataset"):
        small(tmp_path, text).dataset("small")
    with pytest.raises(InputError, match="one of wnids, objectnet, numbered"):
        small(tmp_path, text.replace("corrupt: noise, dataset: digits", "reader: other"), "other").dataset("other")
    registry = small(tmp_path, "title: Small\nreader: digits\nalso: {odd: {dataset: voc2012}}\n", "masks")
    with pytest.raises(InputError, match="voc2012 is for segmentation"):
        registry.dataset("masks@also=odd")


# ---- corrupted copies


@pytest.mark.slow
@pytest.mark.parametrize("name", ["digits", "cluttered_digits"])
def test_the_shipped_copies_are_those_of_their_checksums(name: str) -> None:
    dataset, further = opened(f"{name}@also=noise+blur+contrast")
    for split in further.values():
        assert np.array_equal(split.labels, dataset.test.labels)
        assert split.among is None
    others = Dataset(dataset.classes, dataset.train, None, dataset.train)
    with pytest.raises(InputError, match="its card says"):
        open_further(card(f"{name}@also=noise"), others, read_data)


def test_noise_and_contrast_are_their_formulas() -> None:
    image = torch.full((1, 64, 64), 100, dtype=torch.uint8)
    noisy = corrupted(image, "noise", 1).double()
    assert noisy.mean() == pytest.approx(100, abs=1)
    assert noisy.std() == pytest.approx(0.08 * 255, rel=0.05)
    image[:, :, 32:] = 200
    assert {*corrupted(image, "contrast", 3).flatten().tolist()} == {140, 160}  # 150 ± 0.2 · 50


def test_blur_is_scipys() -> None:
    image = torch.from_numpy(np.random.RandomState(0).randint(0, 256, (3, 40, 40)).astype(np.uint8))
    sigma = 4 * (40 / 224) ** 0.5
    reach = int(np.ceil(3 * sigma))
    expected = gaussian_filter(image.numpy().astype(float), sigma, axes=(1, 2), mode="nearest", radius=reach)
    assert np.abs(corrupted(image, "blur", 4).numpy() - expected).max() <= 0.5 + 1e-9


@pytest.mark.parametrize("kind", KINDS)
def test_an_image_is_corrupted_the_same_in_any_company_and_more_with_severity(kind: str) -> None:
    pixels = np.random.RandomState(1).randint(0, 256, (4, 16, 16, 1)).astype(np.uint8)
    images = ArrayImages(pixels)
    whole = CorruptedImages(images, kind, 3).take(np.arange(4))
    (alone,) = CorruptedImages(images, kind, 3).take(np.array([2]))
    assert torch.equal(whole[2], alone)
    clean = images.take(np.arange(4)).double()
    away = [
        float((CorruptedImages(images, kind, severity).take(np.arange(4)).double() - clean).abs().mean())  # type: ignore[union-attr]
        for severity in range(1, 6)
    ]
    assert away == sorted(away)
    assert away[0] > 0


# ---- other classes


def test_classes_are_matched_by_name_and_an_answer_is_one_of_those_there_are(
    capsys: pytest.CaptureFixture[str],
) -> None:
    split = Split(ArrayImages(np.arange(5, dtype=np.uint8).reshape(5, 1, 1, 1)), np.array([0, 1, 2, 1, 0]))
    part = matched(split, ["owl", "cat", "yak"], ["ant", "cat", "dog", "owl"], "pets: sketches")
    assert part.labels.tolist() == [3, 1, 1, 3]
    assert part.images.take(np.arange(4)).flatten().tolist() == [0, 1, 3, 4]  # type: ignore[union-attr]
    assert part.among is not None
    assert part.among.tolist() == [[1], [3]]
    assert "pets: sketches: 1 class left out, not the dataset's: yak" in capsys.readouterr().out
    assert matched(split, ["owl", "cat", "yak"], ["yak", "owl", "cat"], "pets: all").among is None
    with pytest.raises(InputError, match="none of its classes is one of the dataset's: owl"):
        matched(split, ["owl", "cat", "yak"], ["ant"], "pets: sketches")
    with pytest.raises(
        InputError, match=r"one of its classes alone is the dataset's \(cat\), so every answer is right"
    ):
        matched(split, ["owl", "cat", "yak"], ["ant", "cat"], "pets: sketches")


def test_a_part_of_it_is_of_the_same_classes() -> None:
    split = Split(ArrayImages(np.zeros((3, 1, 1, 1), np.uint8)), np.array([0, 1, 0]))
    part = matched(split, ["cat", "owl"], ["ant", "cat", "owl"], "pets").part(np.array([2]))
    assert part.labels.tolist() == [1]
    assert part.among is not None
    assert part.among.tolist() == [[1], [2]]


def test_the_test_split_of_another_dataset_is_one(tmp_path: Path) -> None:
    text = (Path(__file__).parents[2] / "datasets" / "digits.yaml").read_text(encoding="utf-8").partition("also:")[0]
    registry = small(tmp_path, text + "also: {cluttered: {title: clutter, dataset: cluttered_digits}}\n")
    asked = registry.dataset("small@also=cluttered")
    (test,) = asked.further
    assert (test.title, test.of and test.of.name) == ("clutter", "cluttered_digits")
    further = open_further(asked, read_data(asked), read_data)["cluttered"]
    theirs = read_data(card("cluttered_digits")).test
    assert torch.equal(further.images.take(np.arange(5)), theirs.images.take(np.arange(5)))  # type: ignore[arg-type]


# ---- folders


@pytest.fixture
def pets(tmp_path: Path) -> Path:
    draw(tmp_path / "pets" / "train", {"ape": 3, "bee": 3, "cow": 3})
    draw(tmp_path / "pets" / "test", {"ape": 1, "bee": 1, "cow": 1})
    draw(tmp_path / "sketches", {"bee": 2, "cow": 1, "yak": 1})
    return tmp_path


def test_somebodys_own_images_are_one(pets: Path) -> None:
    name = f"folder:{pets}/pets@also=sketches:{pets}/sketches"
    plain, asked = card(f"folder:{pets}/pets"), card(name)
    assert (asked.means, asked.title, asked.without_further) == (plain.means, plain.title, plain.name)
    _, further = opened(name)
    assert further["sketches"].labels.tolist() == [1, 1, 2]
    assert card(asked.name) == asked
    assert short_name(asked.name) == "pets@also=sketches"
    earlier = asked.further_means
    (pets / "sketches" / "yak" / "4.png").rename(pets / "sketches" / "bee" / "4.png")
    assert card(name).further_means != earlier


def test_it_may_be_chosen_with_other_options_in_a_list_of_names(pets: Path) -> None:
    name = f"folder:{pets}/pets@skip-damaged,also=a:{pets}/sketches+b:{pets}/pets/test"
    assert split_names(f"digits,{name}") == ["digits", name]
    assert [test.name for test in card(name).further] == ["a", "b"]
    assert card(name).without_further == f"folder:{pets}/pets@skip-damaged"


def test_its_path_is_that_of_the_folder_from_wherever_it_is_read(pets: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(pets)
    (pets / "linked").symlink_to(pets / "sketches")
    assert card("folder:pets@also=a:linked").name == f"folder:{pets.resolve()}/pets@also=a:{pets.resolve()}/sketches"
    (pets / "sketches").rename(pets / "a=b,c")
    (pets / "odd").symlink_to(pets / "a=b,c")
    with pytest.raises(InputError, match="cannot stand behind the @"):
        card("folder:pets@also=a:odd")


@pytest.mark.parametrize(
    ("also", "problem"),
    [
        ("sketches", "also=NAME:FOLDER"),
        ("sketches:{}/none", "there is no folder"),
        ("sketches:{}/pets", "holds no image inside a folder of its class"),
        ("raw:{}/sketches", "cannot be called raw"),
        ("test:{}/sketches", "cannot be called test: so is a split"),
        ("val:{}/sketches", "cannot be called val: so is a split"),
        ("train:{}/sketches", "cannot be called train: so is a split"),
        ("nll:{}/sketches", "cannot be called nll: so is a metric"),
        ("Big:{}/sketches", "a name of small letters, digits and _"),
        ("a@b:{}/sketches", "a name of small letters, digits and _"),
        ("a:{}/sketches@2", "none of , = @ can stand in the path"),
        ("a:{0}/sketches,also=b:{0}/sketches", r"a \+ joins further tests"),
        ("a:{0}/sketches+a:{0}/sketches", "a stands there twice"),
    ],
)
def test_a_folder_that_is_none_is_refused(pets: Path, also: str, problem: str) -> None:
    with pytest.raises(InputError, match=problem):
        card(f"folder:{pets}/pets@also={also.format(pets)}")


def test_a_card_of_a_folder_names_some_from_where_it_lies(pets: Path) -> None:
    text = "title: Pets\nreader: folder\npath: ../../pets\nalso: {sketches: {title: sketches, path: ../../sketches}}\n"
    asked = small(pets, text, "mine").dataset("mine@also=sketches")
    assert [test.folder for test in asked.further] == [str((pets / "sketches").resolve())]


def test_two_that_no_plus_joins_are_one_name_in_a_list(pets: Path) -> None:
    name = f"folder:{pets}/pets@also=a:{pets}/sketches,also=b:{pets}/sketches"
    assert split_names(f"{name},digits") == [name, "digits"]
    assert "none of , = @" in comma_hint(f"folder:{pets}/pets@also=a:{pets}/x", f"folder:{pets}/pets@also=a:{pets}/x,y")


@pytest.mark.parametrize(
    ("classes", "problem"),
    [
        ({"yak": 2, "zebu": 1}, "none of its classes is one of the dataset's: yak, zebu"),
        ({"bee": 2, "yak": 1}, "(bee)"),
    ],
)
def test_a_folder_of_less_than_two_of_the_classes_is_refused_when_a_run_is_planned(
    pets: Path, classes: dict[str, int], problem: str
) -> None:
    draw(pets / "few", classes)
    asked = card(f"folder:{pets}/pets@also=few:{pets}/few")
    with pytest.raises(InputError) as refused:
        _ = asked.named
    assert problem in str(refused.value)


def test_a_published_set_of_one_of_the_classes_is_refused_when_a_run_is_planned(part: Registry, tmp_path: Path) -> None:
    assert part.dataset("part@also=renditions").named
    (tmp_path / "data/imagenet-r" / WNIDS[1]).rename(tmp_path / "data/imagenet-r/n99999999")
    with pytest.raises(InputError, match="one of its classes alone"):
        _ = part.dataset("part@also=renditions").named


def test_what_is_scored_of_it_is_said(pets: Path) -> None:
    (_, *lines) = sentences(card(f"folder:{pets}/pets@also=sketches:{pets}/sketches"))
    (line,) = lines
    counts = "3 images of 2 of the dataset's 3 classes"
    assert line == f"further test 'sketches': {counts}; left out, as training lacks them: 1 class (yak)"


def test_its_images_are_surveyed_as_the_datasets_are_but_for_classes_that_are_left_out(
    pets: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for image in (*(pets / "sketches/yak").iterdir(), pets / "sketches/bee/1.png"):
        image.write_bytes(b"no image")
    plan = f"--datasets=folder:{pets}/pets@also=sketches:{pets}/sketches --methods ce --rates 100 --seeds 1".split()
    results = ["--results", str(pets / "results")]
    assert main(["run", "demo", *plan, *results]) == 2
    printed = capsys.readouterr()
    assert f"pets: sketches ({pets.resolve()}/sketches): 1 of 3 images cannot be used" in printed.err
    assert "bee/1.png: it is no image" in printed.err
    assert not (pets / "results/runs").exists()
    assert main(["plan", "demo", *plan, "--skip-damaged", *results]) == 0
    assert "sketches): damaged images are left out: 1 of test" in capsys.readouterr().out
    _, further = opened(f"folder:{pets}/pets@skip-damaged,also=sketches:{pets}/sketches")
    assert further["sketches"].labels.tolist() == [1, 2]
    assert "sketches): 1 damaged image left out" in capsys.readouterr().out


# ---- published layouts of ImageNet's classes

WNIDS = imagenet_wnids()[:4]
IMAGENET = f"""\
title: A part of ImageNet
reader: imagenet
classes: 3
official: {{train: 6, val: 3}}
use: {{train: [train], test: [val]}}
options: {{wnids: [{", ".join(WNIDS[1:])}]}}
folder: part
also:
  renditions: {{reader: wnids, folder: imagenet-r, images: 5}}
  matched: {{title: ImageNet-V2, reader: numbered, folder: v2, images: 4}}
"""


@pytest.fixture
def part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Registry:
    monkeypatch.setenv("BENCH_DATA", str(tmp_path / "data"))
    draw(tmp_path / "data/part/train", dict.fromkeys(WNIDS[1:], 2))
    draw(tmp_path / "data/part/val", dict.fromkeys(WNIDS[1:], 1))
    draw(tmp_path / "data/imagenet-r", {WNIDS[0]: 2, WNIDS[1]: 1, WNIDS[3]: 2})
    draw(tmp_path / "data/v2", {"0": 1, "1": 1, "2": 1, "3": 1})
    return small(tmp_path, IMAGENET, "part")


def test_folders_of_wordnet_ids_and_of_numbers_are_matched_to_the_classes_there_are(part: Registry) -> None:
    asked = part.dataset("part@also=renditions+matched")
    further = open_further(asked, read_data(asked), read_data)
    assert further["renditions"].labels.tolist() == [0, 2, 2]
    assert further["renditions"].among is not None
    assert further["renditions"].among.tolist() == [[0], [2]]
    assert (further["matched"].labels.tolist(), further["matched"].among) == ([0, 1, 2], None)


def test_an_incomplete_folder_is_refused_and_a_missing_one_is_told(part: Registry, tmp_path: Path) -> None:
    (tmp_path / "data/v2/2/3.png").unlink()
    asked = part.dataset("part@also=matched")
    with pytest.raises(InputError, match=r"its card says 4 images, and .*v2 has 3"):
        open_further(asked, read_data(asked), read_data)
    (tmp_path / "data/v2").rename(tmp_path / "data/elsewhere")
    assert part.dataset("part@also=matched").missing == [str(tmp_path / "data/v2")]
    assert part.dataset("part").missing == []


def test_objectnets_folders_stand_for_the_classes_that_its_mappings_say(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """By way of two orders of ImageNet's classes; the border of each image is cut off."""
    monkeypatch.setenv("BENCH_DATA", str(tmp_path))
    folder = tmp_path / "objectnet-1.0"
    draw(folder / "images", {"alarm_clock": 2, "banana": 1, "basket": 1, "coin": 1})
    (folder / "mappings").mkdir()
    texts = {
        "folder_to_objectnet_label.json": json.dumps(
            {"alarm_clock": "Alarm clock", "banana": "Banana", "basket": "Basket", "coin": "Coin (money)"}
        ),
        "objectnet_to_imagenet_1k.json": json.dumps(
            {"Alarm clock": "analog clock; digital clock", "Banana": "banana", "Basket": "shopping basket, hamper"}
        ),
        "pytorch_to_imagenet_2012_id.json": json.dumps({"0": 3, "1": 2, "2": 1, "3": 0}),
        "imagenet_to_label_2012_v2": "banana\ndigital clock\nshopping basket, hamper\nanalog clock\n",
    }
    for file, text in texts.items():
        (folder / "mappings" / file).write_text(text, encoding="utf-8")
    text = "title: Four\nreader: digits\nalso: {objects: {reader: objectnet, folder: objectnet-1.0, images: 5}}\n"
    asked = small(tmp_path, text, "four").dataset("four@also=objects")
    nothing = Split(ArrayImages(np.zeros((0, 1, 1, 1), np.uint8)), np.zeros(0, np.int64))
    # analog clock is class 0, basket 1, digital clock 2, banana 3, which the dataset lacks
    further = open_further(asked, Dataset([*WNIDS[:3], "n99999999"], nothing, None, nothing), read_data)["objects"]
    assert further.labels.tolist() == [0, 0, 1]
    assert further.among is not None
    assert further.among.tolist() == [[0, 2], [1, 1]]
    assert "2 classes left out, not the dataset's: banana, coin" in capsys.readouterr().out
    whole = np.asarray(Image.open(folder / "images/alarm_clock/1.png"))
    (first,) = further.images.take(np.array([0]))
    assert np.array_equal(first.permute(1, 2, 0).numpy(), whole[2:-2, 2:-2])
    (folder / "mappings" / "imagenet_to_label_2012_v2").write_text("banana\n", encoding="utf-8")
    with pytest.raises(InputError, match="is not ObjectNet's mapping of its classes"):
        open_further(asked, Dataset(WNIDS, nothing, None, nothing), read_data)


# ---- the suite's cards


@pytest.mark.parametrize("name", sorted(Registry().dataset_files))
def test_what_a_card_declares_can_be_asked_for(name: str) -> None:
    declared = card(name).facts.get("also", {})
    asked = card(f"{name}@also={'+'.join(declared)}") if declared else card(name)
    assert [test.name for test in asked.further] == [*declared]
    for test in asked.further:
        if test.of is not None:
            assert test.of.facts["classes"] == asked.facts["classes"]
            assert {*test.facts.get("splits", ["test"])} <= {*test.of.splits}
    assert asked.means == card(name).means


def test_all_images_of_another_domain_are_a_further_test_of_pacs() -> None:
    sizes = {test.name: test.size(171) for test in card("pacs_photo@also=art_painting+cartoon+sketch").further}
    assert sizes == {"art_painting": 2048, "cartoon": 2344, "sketch": 3929}  # Li et al., 2017
    assert [test.size(597) for test in card("digits@also=noise").further] == [597]
    (test,) = card("imagenet1k@also=imagenet_a").further
    assert test.size(50_000) == 7500

"""A dataset of a layout of its own that a plug-in folder brings: a card and a reader, those of docs/running.md."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bench.cli import main
from bench.data import Split, read_data
from bench.data.official import files_of
from bench.launch import LocalExecutor
from bench.registry import Registry

MINE = ("--plugin", "mine")
EXECUTE = LocalExecutor.execute

PAGE = (Path(__file__).parents[2] / "docs" / "running.md").read_text(encoding="utf-8")
CARD, READER = re.findall(r"```(?:yaml|python)\n((?:title: Dots|from pathlib).*?)```", PAGE, re.DOTALL)


def call(*arguments: str) -> int:
    try:
        return main(list(arguments))
    except SystemExit as stop:
        return int(stop.code or 0)


@pytest.fixture
def reader(here: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The reader's file, beside its card and the data."""
    monkeypatch.setenv("BENCH_DATA", str(here / "data"))
    for path, text in (("datasets/dots.yaml", CARD), ("readers/by_list.py", READER)):
        (here / "mine" / path).parent.mkdir(parents=True)
        (here / "mine" / path).write_text(text, encoding="utf-8")
    folder = here / "data" / "dots"
    folder.mkdir(parents=True)
    for number in range(6):
        Image.fromarray(np.full((8, 8, 3), 40 * number, dtype=np.uint8)).save(folder / f"{number}.png")
    sizes = ["small", "big"] * 3
    for name, numbers in (("learn", range(4)), ("exam", range(4, 6))):
        lines = [f"{number}.png {sizes[number]}\n" for number in numbers]
        (folder / f"{name}.txt").write_text("".join(lines), encoding="utf-8")
    return here / "mine" / "readers" / "by_list.py"


def means() -> str:
    return Registry(["mine"]).dataset("dots").means


def labels_by_file(split: Split) -> dict[str, int]:
    names = [Path(path).name for path in files_of(split)]
    return dict(zip(names, split.labels.tolist(), strict=True))


def test_is_opened_and_verified(reader: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call("data", "check", "dots", *MINE, "--images") == 0
    out = capsys.readouterr().out
    assert "2 classes, train 4, test 2 images, as its card says" in out
    dataset = read_data(Registry(["mine"]).dataset("dots"))
    assert list(dataset.classes) == ["big", "small"]
    assert labels_by_file(dataset.train) == {"0.png": 1, "1.png": 0, "2.png": 1, "3.png": 0}
    assert labels_by_file(dataset.test) == {"4.png": 1, "5.png": 0}


def test_is_planned(reader: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Without running the reader's file."""
    reader.write_text("raise RuntimeError\n", encoding="utf-8")
    assert call("plan", "demo", "--datasets", "dots", "--rates", "100", *MINE, "--format", "json") == 0
    datasets = {run["spec"]["dataset"]["name"] for run in json.loads(capsys.readouterr().out)["runs"]}
    assert datasets == {"dots"}


@pytest.mark.slow
@pytest.mark.usefixtures("warm")
def test_is_trained_on(reader: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """By the command, in a worker process that finds the reader by its name."""
    monkeypatch.setattr(LocalExecutor, "execute", EXECUTE)
    settings = ("steps=2", "warmup=0", "batch_size=2", "validation=0")
    typed = [*(word for setting in settings for word in ("--set", setting)), "--methods", "ce", "--seeds", "1"]
    target = ("demo", "--datasets", "dots", "--rates", "100", *typed, *MINE)
    assert call("run", *target, "--jobs", "1") == 0
    assert "1 run was trained now, 1 of 1 are done" in capsys.readouterr().out
    assert call("runs", *target, "--format", "json") == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert (row["dataset"], row["status"]) == ("dots", "done")
    assert row["test.top1"] in (0, 50, 100)  # of two images


def test_means_what_its_reader_does(reader: Path) -> None:
    before = means()
    reader.write_text("# a comment\n" + READER, encoding="utf-8")
    assert means() == before
    reader.write_text(READER.replace('["big", "small"]', '["small", "big"]'), encoding="utf-8")
    assert means() != before
    assert list(read_data(Registry(["mine"]).dataset("dots")).classes) == ["small", "big"]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("x = \n", "by_list.py:1: not valid Python"),
        ("import nothing_called_so\n", "by_list.py: cannot be loaded: ModuleNotFoundError"),
        ("read = 5\n", "by_list.py:1: no function is called 'read'; a reader's file has one (def read(card): ...)"),
        ("def read(card):\n    return {}\n", "must give an Official, not a dict"),
        ("def read(card):\n    return 1 / 0\n", "cannot be read: ZeroDivisionError: division by zero"),
        (READER.replace("CLASSES.index(size)", "5"), "'learn' has labels outside of 0 to 1"),
        (READER.replace("in rows], [", "in rows[1:]], [").replace("in rows])", "in rows[1:]])"), "{'learn': 3,"),
        (READER.replace("{card.path}/", "/etc/"), "which is not in"),
    ],
)
def test_that_is_wrong_is_told_in_one_line(
    reader: Path, capsys: pytest.CaptureFixture[str], text: str, says: str
) -> None:
    reader.write_text(text, encoding="utf-8")
    assert call("data", "check", "dots", *MINE) == 2
    captured = capsys.readouterr()
    assert says in captured.err
    assert captured.err.count("\n") == 1


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("reader: by_list", "reader: by_lists", "dots.yaml:2: no reader is called 'by_lists'; did you mean 'by_list'?"),
        ("official:", "lists:", "'official' must give the size of each official list"),
        ("classes:", "kinds:", "'classes' must be their number"),
    ],
)
def test_whose_card_is_wrong(reader: Path, capsys: pytest.CaptureFixture[str], old: str, new: str, says: str) -> None:
    (reader.parent.parent / "datasets" / "dots.yaml").write_text(CARD.replace(old, new), encoding="utf-8")
    assert call("show", "dots", *MINE) == 2
    captured = capsys.readouterr()
    assert says in captured.err
    assert captured.err.count("\n") == 1


def test_with_a_name_that_is_taken(reader: Path, capsys: pytest.CaptureFixture[str]) -> None:
    reader.rename(reader.with_name("pets.py"))
    assert call("show", "dots", *MINE) == 2
    assert "the suite has a reader called 'pets'; rename this one" in capsys.readouterr().err

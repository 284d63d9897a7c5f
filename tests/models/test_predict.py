"""A trained model asked about images: it says what the run was scored with, and what cannot be read is named."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from bench.cli import main
from bench.data import read_data
from bench.data.dataset import Split
from bench.models.accuracy import interval
from bench.models.pictures import Pictures, read_pictures
from bench.models.prediction import answers, tally
from bench.models.reading import load_scorer
from bench.records.kept import kept_models
from bench.registry import Registry
from tests.models.trained import planned, recorded, train

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the record of a run with its models."""
    return train(planned(), tmp_path_factory.mktemp("results"))[1]


@pytest.fixture
def predict(here: Path, folder: Path) -> Callable[..., int]:
    """``bench predict`` of the run."""

    def called(images: str, *words: str, model: str = "") -> int:
        typed = ["predict", model or folder.name[-12:], images, "--results", str(folder.parent.parent), *words]
        try:
            return main(typed)
        except SystemExit as stop:
            return int(stop.code or 0)

    return called


Predict = Callable[..., int]


def digits() -> Split:
    return read_data(Registry().dataset("digits")).test


def picture(path: Path, place: int) -> None:
    """A test image of the run as a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(digits().images.take(np.array([place]))[0][0].numpy()).save(path)


def rows(path: str) -> list[dict[str, str]]:
    with Path(path).open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


class TestOfARun:
    @pytest.mark.parametrize(("point", "place"), [("last", -1), ("2", 0)])
    def test_says_what_the_run_was_scored_with(self, point: str, place: int, folder: Path, predict: Predict) -> None:
        assert predict("digits", "--point", point, "--output", "said.csv") == 0
        told, stored = rows("said.csv"), recorded(folder)
        assert [int(row["predicted"]) for row in told] == stored["test"][place].tolist()
        assert [int(row["class"]) for row in told] == stored["test_labels"].tolist()
        confidence = np.array([float(row["confidence"]) for row in told])
        assert np.abs(confidence - stored["test_confidence"][place] / 65535).max() < 1e-4

    def test_tells_the_accuracy_with_its_interval(
        self, folder: Path, predict: Predict, capsys: pytest.CaptureFixture[str]
    ) -> None:
        record = json.loads((folder / "record.json").read_text(encoding="utf-8"))
        top1 = record["curve"][-1]["test"]["top1"]
        assert predict("digits") == 0
        out = capsys.readouterr().out
        right = round(top1 * 5.97)
        low, high = interval(right, 597)
        assert f"top-1: {top1:.2f} % ({right} of 597; 95 % interval {low:.1f} to {high:.1f})" in out
        of_classes = [tuple(map(int, found)) for found in re.findall(r"(\d+) of (\d+) +\d\n", out)]
        assert (len(of_classes), sum(r for r, _ in of_classes), sum(n for _, n in of_classes)) == (10, right, 597)

    def test_that_kept_none_says_how_to_get_one(
        self, folder: Path, predict: Predict, capsys: pytest.CaptureFixture[str], tmp_path: Path
    ) -> None:
        _, other = train(planned("linear"), tmp_path / "other", "none")
        assert predict("digits", "--results", str(tmp_path / "other"), model=other.name[-12:]) == 2
        said = capsys.readouterr().err
        assert "its model after 4 steps was not kept" in said
        assert f"'bench export {other.name[-12:]} model.safetensors' trains it again" in said


class TestOfAFile:
    @pytest.mark.slow
    def test_an_exported_one_says_the_same(self, folder: Path, predict: Predict) -> None:
        assert main(["export", folder.name[-12:], "m.safetensors", "--results", str(folder.parent.parent)]) == 0
        assert (
            main(["export", folder.name[-12:], "m", "--to", "transformers", "--results", str(folder.parent.parent)])
            == 0
        )
        assert predict("digits", "--output", "run.csv") == 0
        for model in ("m.safetensors", "m", str(kept_models(folder)[4])):
            assert predict("digits", "--output", "file.csv", model=model) == 0
            for one_row, another in zip(rows("run.csv"), rows("file.csv"), strict=True):
                assert one_row["predicted"] == another["predicted"]
                assert float(one_row["confidence"]) == pytest.approx(float(another["confidence"]), abs=1e-5)

    @pytest.mark.parametrize(
        ("change", "problem"),
        [
            ({"model_args": {"pretrained": True}}, "'model_args' may not say pretrained"),
            ({"architecture": "hf-hub:somebody/else"}, "timm has no architecture 'hf-hub:somebody/else'"),
            ({"model_args": {"depth": 2}}, "it does not fit m.json"),
            ({"bench": 3}, "does not say of which run its model is"),
            ({"bench": {"std": [0.0]}}, "no deviation is 0"),
            ({"bench": {"std": [0.5] * 3, "mean": [0.5] * 3}}, "it does not fit m.json"),
            ({"bench": {"classes": []}}, "it does not say of which run"),
            ({"bench": {"image_size": 10**9}}, "image_size"),
            ({"bench": {"form": 2}}, "written by a newer version (form 2)"),
            ({"model_args": 3}, "is not what 'bench export' writes"),
        ],
    )
    def test_a_config_that_says_something_else_is_refused(
        self,
        change: dict[str, object],
        problem: str,
        folder: Path,
        predict: Predict,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        assert main(["export", folder.name[-12:], "m.safetensors", "--results", str(folder.parent.parent)]) == 0
        config = json.loads(Path("m.json").read_text(encoding="utf-8"))
        if isinstance(facts := change.get("bench"), dict):
            change = {"bench": {**config["bench"], **facts}}
        Path("m.json").write_text(json.dumps({**config, **change}), encoding="utf-8")
        assert predict("digits", model="m.safetensors") == 2
        assert problem in capsys.readouterr().err

    def test_without_its_facts_is_refused(
        self, folder: Path, predict: Predict, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert main(["export", folder.name[-12:], "m.safetensors", "--results", str(folder.parent.parent)]) == 0
        Path("m.json").unlink()
        assert predict("digits", model="m.safetensors") == 2
        assert "m.json, which 'bench export' wrote beside it, is not there" in capsys.readouterr().err

    @pytest.mark.parametrize("name", ["nothing.safetensors", "zzz", "m.onnx"])
    def test_what_is_none_is_refused(self, name: str, predict: Predict, capsys: pytest.CaptureFixture[str]) -> None:
        assert predict("digits", model=name) == 2
        assert f"{name}: a model is a run's id, or a .safetensors file" in capsys.readouterr().err


class TestFolders:
    def test_of_classes_are_counted(self, folder: Path, predict: Predict, capsys: pytest.CaptureFixture[str]) -> None:
        labels = digits().labels
        for place in range(20):
            picture(Path(f"photos/{labels[place]}/{place}.png"), place)
        assert predict("folder:photos", "--format", "json") == 0
        told = json.loads(capsys.readouterr().out)
        right = int((recorded(folder)["test"][-1][:20] == labels[:20]).sum())
        assert (told["top1"]["right"], told["top1"]["images"], told["images"]) == (right, 20, 20)
        assert sum(counts["images"] for counts in told["classes"].values()) == 20

    def test_of_images_alone_are_told(self, folder: Path, predict: Predict, capsys: pytest.CaptureFixture[str]) -> None:
        for place in range(3):
            picture(Path(f"photos/{place}, here.png"), place)
        assert predict("folder:photos", "--output", "said.csv") == 0
        assert "top-1" not in capsys.readouterr().out
        told = rows("said.csv")
        assert [(row["path"], row["class"]) for row in told] == [(f"{place}, here.png", "") for place in range(3)]
        assert [int(row["predicted"]) for row in told] == recorded(folder)["test"][-1][:3].tolist()

    def test_with_splits_are_read_for_their_test_images(self, predict: Predict) -> None:
        picture(Path("photos/train/1/1.png"), 0)
        picture(Path("photos/test/1/2.png"), 1)
        assert predict("folder:photos", "--output", "said.csv") == 0
        assert [row["path"] for row in rows("said.csv")] == ["test/1/2.png"]

    def test_of_other_classes_have_no_accuracy(self, predict: Predict, capsys: pytest.CaptureFixture[str]) -> None:
        picture(Path("photos/1/1.png"), 0)
        picture(Path("photos/eleven/2.png"), 1)
        assert predict("folder:photos", "--output", "said.csv") == 0
        said = capsys.readouterr()
        assert "no accuracy: the model knows no class 'eleven' (it knows 0, 1, 2, 3, 4, 5, ...)" in said.err
        assert "top-1" not in said.out
        assert [row["class"] for row in rows("said.csv")] == ["1", "eleven"]

    def test_damaged_images_are_named_and_the_others_told(
        self, folder: Path, predict: Predict, capsys: pytest.CaptureFixture[str]
    ) -> None:
        for place in range(3):
            picture(Path(f"photos/{place}.png"), place)
        whole = Path("photos/1.png").read_bytes()
        Path("photos/1.png").write_bytes(whole[: len(whole) // 2])
        Path("photos/empty.png").write_bytes(b"")
        Path("photos/._0.png").write_bytes(b"what macOS leaves")
        assert predict("folder:photos", "--output", "said.csv") == 1
        said = capsys.readouterr()
        assert "4 images, 2 of them cannot be read" in said.out
        assert [line for line in said.err.splitlines() if "1.png: it cannot be read" in line]
        assert [line for line in said.err.splitlines() if "empty.png: it cannot be read" in line]
        told = {row["path"]: row for row in rows("said.csv")}
        stored = recorded(folder)["test"][-1]
        assert told["2.png"]["predicted"] == str(stored[2])
        assert (told["1.png"]["predicted"], bool(told["1.png"]["problem"])) == ("", True)

    def test_many_damaged_images_fit_a_screen(self, predict: Predict, capsys: pytest.CaptureFixture[str]) -> None:
        Path("photos").mkdir()
        for place in range(60):
            Path(f"photos/{place}.png").write_bytes(b"")
        assert predict("folder:photos", "--output", "said.csv") == 1
        said = capsys.readouterr().err.splitlines()
        assert len(said) <= 22
        assert said[-1] == "bench: and 40 more; --output FILE or --format json has all"
        assert len(rows("said.csv")) == 60

    def test_a_spreadsheet_takes_no_name_for_a_formula(self, predict: Predict) -> None:
        picture(Path("photos/=1+1/a,b.png"), 0)
        picture(Path('photos/@SUM/"q".png'), 0)
        assert predict("folder:photos", "--output", "said.csv") == 0
        assert [(row["path"], row["class"]) for row in rows("said.csv")] == [
            ("'=1+1/a,b.png", "'=1+1"),
            ('\'@SUM/"q".png', "'@SUM"),
        ]

    def test_of_a_model_that_gives_no_numbers_are_not_counted(self, folder: Path, here: Path) -> None:
        picture(Path("photos/1/a.png"), 0)
        scorer, facts = load_scorer(kept_models(folder)[4], Registry())
        for weights in scorer.parameters():
            weights.fill_(torch.nan)
        (said,) = answers(scorer, facts, read_pictures("folder:photos", Registry()), CPU)
        assert (said.predicted, said.problem) == ("", "the model's logits of it are not finite")
        assert tally([said], facts) is None

    def test_without_images_are_refused(self, predict: Predict, capsys: pytest.CaptureFixture[str]) -> None:
        Path("photos/.hidden").mkdir(parents=True)
        assert predict("folder:photos") == 2
        assert (
            "folder:photos: it holds no image; expected photos/IMAGE or photos/CLASS/IMAGE" in capsys.readouterr().err
        )
        assert predict("folder:nowhere") == 2
        assert "folder:nowhere: there is no such folder" in capsys.readouterr().err


def test_colour_is_made_grey_as_the_network_takes_it(folder: Path) -> None:
    """A file is decoded to three channels; a network of one is given their mean, as in training."""
    scorer, facts = load_scorer(kept_models(folder)[4], Registry())
    grey = digits().images.take(np.arange(5))

    class Colour:
        def __len__(self) -> int:
            return 5

        def take(self, indices: np.ndarray) -> list[torch.Tensor]:
            return [grey[index].expand(3, -1, -1) for index in indices]

    said = answers(scorer, facts, Pictures("colour", list("abcde"), Colour(), [""] * 5), CPU)
    assert [int(answer.predicted) for answer in said] == recorded(folder)["test"][-1][:5].tolist()


def test_the_interval_is_wilsons() -> None:
    """In closed form: of none of n it ends at z² / (n + z²), of half of n it is 1/2 ± z / (2 √(n + z²))."""
    z = 1.959964
    assert interval(0, 10) == pytest.approx((0, 100 * z**2 / (10 + z**2)), abs=1e-4)
    half = 50 * z / (100 + z**2) ** 0.5
    assert interval(50, 100) == pytest.approx((50 - half, 50 + half), abs=1e-4)

"""The card of an exported model says what one must know, and nothing of the machine that it comes from."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from bench.cli import main
from bench.records.record import Record
from tests.models.trained import planned, train

Run = tuple[Record, Path]
Exporter = Callable[..., int]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run's record and the folder of its results."""
    results = tmp_path_factory.mktemp("results")
    return train(planned(), results)[0], results


@pytest.fixture
def export(here: Path) -> Exporter:
    """``bench export`` of a run."""

    def called(run: Run, out: str, *words: str) -> int:
        record, results = run
        return main(["export", record.id, out, "--results", str(results), *words])

    return called


class TestCard:
    @pytest.mark.slow
    def test_says_what_somebody_who_is_handed_the_file_must_know(self, trained: Run, export: Exporter) -> None:
        assert export(trained, "model.safetensors") == 0
        card = Path("model.md").read_text(encoding="utf-8")
        right = round(trained[0].curve[-1].test["top1"] * 5.97)  # type: ignore[operator]
        for part in (
            "# ce micro_vit digits 15 % seed 0",
            f"Run `{trained[0].id}` of finetune-bench, after 4 of 4 steps.",
            f"({right} of 597; 95 % interval ",
            "trained on 149 of 960 training images (15 % of each class)",
            "squeezed to 12 × 12 pixels (bilinear)",
            "weights it was trained from: Apache-2.0",
            "data: CC BY 4.0 (UCI)",
            "- ce: Plain fine-tuning",
            "steps = 4",
            "checkpoint_path='model.safetensors'",
        ):
            assert part in card

    def test_names_no_folder_of_this_machine(self, trained: Run, export: Exporter) -> None:
        assert export(trained, "model.safetensors") == 0
        for file in ("model.md", "model.json"):
            text = Path(file).read_text(encoding="utf-8")
            assert str(trained[1]) not in text
            assert str(Path().absolute()) not in text

    @pytest.mark.parametrize("form", ["timm", "torchscript", "transformers"])
    def test_names_no_folder_that_was_typed(
        self, form: str, trained: Run, export: Exporter, capsys: pytest.CaptureFixture[str]
    ) -> None:
        folder = Path("it's secret").absolute()
        folder.mkdir()
        name = "a'b{usage}" + {"timm": ".safetensors", "torchscript": ".pt", "transformers": ""}[form]
        assert export(trained, str(folder / name), "--to", form) == 0
        assert repr(str(folder / name)) in capsys.readouterr().out  # what is printed can be run from here
        card = (folder / name / "README.md" if form == "transformers" else folder / "a'b{usage}.md").read_text("utf-8")
        assert repr(name) in card
        assert "secret" not in card

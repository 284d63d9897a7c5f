"""Public layouts of results, made anew with other numbers: each is imported as it is, and gives the right table."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest
from scipy.stats import ttest_ind_from_stats

from bench.cli import main
from bench.stats.two import corrected_t, paired_t

LAYOUTS = Path(__file__).parent / "layouts"
BIT_PETS, BIT_DTD, ADAPTER_PETS, ADAPTER_DTD = (88.4, 0.3), (71.0, 0.529150262), (90.1, 0.2), (72.3, 0.424264069)

VALUES: dict[str, dict[str, tuple[float, float | None]]] = {
    "long.csv": {"BiT Pets": BIT_PETS, "BiT DTD": BIT_DTD, "Adapter Pets": ADAPTER_PETS, "Adapter DTD": ADAPTER_DTD},
    "wide.csv": {
        "BiT Pets": BIT_PETS,
        "BiT DTD": BIT_DTD,
        "BiT Average": (79.7, 0.180277564),
        "Adapter Pets": ADAPTER_PETS,
        "Adapter DTD": ADAPTER_DTD,
        "Adapter Average": (81.2, 0.353553391),
    },
    "mean_std.csv": {
        "BiT Pets": (88.4, 0.3),
        "BiT DTD": (71.0, 0.5),
        "Adapter Pets": (90.1, 0.2),
        "Adapter DTD": (72.3, 0.4),
        "Prompt DTD": (69.9, 1.2),
    },
    "folds.csv": {"SVM": (81.7, 1.809696107), "GBM": (83.2, 1.317193987)},
    "wandb.csv": {
        "BiT Pets": BIT_PETS,
        "BiT DTD": BIT_DTD,
        "Adapter Pets": (90.1, 0.282842712),
        "Adapter DTD": ADAPTER_DTD,
    },
    "mlflow.csv": {"BiT": (88.4, 0.424264069), "Adapter": (89.9, None)},
    "leaderboard.json": {
        "lab/one-7b average": (61.5, None),
        "lab/one-7b mmlu": (58.0, None),
        "lab/one-7b arc": (63.2, None),
        "lab/one-7b hellaswag": (63.3, None),
        "lab/two-7b average": (64.1, None),
        "lab/two-7b mmlu": (60.4, None),
        "lab/two-7b arc": (64.7, None),
        "lab/two-7b hellaswag": (67.2, None),
        "lab/three-3b average": (52.0, None),
        "lab/three-3b mmlu": (45.1, None),
        "lab/three-3b arc": (52.9, None),
    },
    "lower.csv": {"Plain": (1.2309666667, 0.0021594752), "Long": (1.1888666667, 0.0014047538)},
    "seedless.csv": {"BiT": BIT_PETS, "Adapter": ADAPTER_PETS},
}
"""Mean and sample standard deviation of each cell, worked out by hand from the rows."""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def told(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> str:
    capsys.readouterr()
    assert main(["import", *map(str, arguments)]) == 0
    return capsys.readouterr().out


def refused(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> str:
    capsys.readouterr()
    assert main(["import", *map(str, arguments)]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    (line,) = captured.err.splitlines()
    return line


def records(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(told(capsys, *arguments, "--format", "csv"))))


def write(folder: Path, text: str) -> Path:
    (folder / "r.csv").write_text(text, encoding="utf-8")
    return folder / "r.csv"


class TestLayouts:
    @pytest.mark.parametrize("name", VALUES)
    def test_has_the_right_values(self, name: str, capsys: pytest.CaptureFixture[str]) -> None:
        cells = {}
        for record in records(capsys, LAYOUTS / name):
            column = "" if record["column"].endswith(("(%)", "better)")) else f" {record['column']}"
            if record["mean"]:
                std = float(record["std"]) if record["std"] else None
                cells[f"{record['row']}{column}"] = (float(record["mean"]), std)
        assert cells.keys() == VALUES[name].keys()
        for place, (mean, std) in VALUES[name].items():
            assert cells[place][0] == pytest.approx(mean), place
            assert cells[place][1] == (std if std is None else pytest.approx(std)), place

    def test_every_file_of_the_folder_is_tried(self) -> None:
        assert {path.name for path in LAYOUTS.iterdir()} == VALUES.keys()

    @pytest.mark.parametrize("format", ["text", "markdown", "latex", "latex-siunitx", "json", "html", "macros"])
    def test_in_every_format(self, format: str, capsys: pytest.CaptureFixture[str]) -> None:
        out = told(capsys, LAYOUTS / "wide.csv", "--baseline", "BiT", "--format", format)
        assert "88.4" in out
        assert "Selection rule" not in out

    def test_failed_and_missing_runs(self, capsys: pytest.CaptureFixture[str]) -> None:
        crashed = [record for record in records(capsys, LAYOUTS / "wandb.csv") if record["method"] == "Adapter"]
        assert [(record["n"], record["failed"], record["planned"]) for record in crashed] == [("2", "1", "3")] * 2
        missing = [record for record in records(capsys, LAYOUTS / "long.csv") if record["n"] == "2"]
        assert [(record["failed"], record["planned"]) for record in missing] == [("0", "3")]

    def test_the_lowest_loss_is_the_best(self, capsys: pytest.CaptureFixture[str]) -> None:
        out = told(capsys, LAYOUTS / "lower.csv")
        assert "val_loss (lower is better)" in out
        assert "● 1.1889 ± 0.0014" in out

    def test_an_average_is_no_dataset(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        out = told(capsys, LAYOUTS / "wide.csv", "--baseline", "BiT", "--across", "these", "--width", "1000")
        assert "over 2 datasets" in out

    def test_an_average_of_the_file_is_no_column_to_average(self, capsys: pytest.CaptureFixture[str]) -> None:
        out = told(capsys, LAYOUTS / "wide.csv", "--average", "--ranks")
        assert "the mean over the 2 columns" in " ".join(out.split())
        assert "Average" not in out


class TestMeans:
    def test_without_n_are_not_tested(self, capsys: pytest.CaptureFixture[str]) -> None:
        found = records(capsys, LAYOUTS / "mean_std.csv", "--baseline", "BiT")
        assert {(record["n"], record["p"]) for record in found if record["mean"]} == {("", "")}
        assert "nothing is tested" in told(capsys, LAYOUTS / "mean_std.csv", "--baseline", "BiT", "--width", "200")

    def test_with_n_are_tested_by_their_summaries(self, capsys: pytest.CaptureFixture[str]) -> None:
        found = records(capsys, LAYOUTS / "mean_std.csv", "--baseline", "BiT", "--n", "5")
        p = {(record["method"], record["dataset"]): record["p"] for record in found}
        expected = ttest_ind_from_stats(90.1, 0.2, 5, 88.4, 0.3, 5, equal_var=False).pvalue
        assert float(p["Adapter", "Pets"]) == pytest.approx(expected)
        assert "of n=5 runs" in told(capsys, LAYOUTS / "mean_std.csv", "--n", "5")

    def test_in_columns_of_their_own(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        path = write(folder, "method,A_mean,A_std,B_mean,B_std,n\nx,51.5,0.2,52.5,0.1,4\ny,51.9,0.3,52.4,0.2,3\n")
        found = records(capsys, path, "--columns", "dataset=A_mean,B_mean", "--baseline", "x")
        assert [(record["mean"], record["std"], record["n"]) for record in found[2:]] == [
            ("51.9", "0.3", "3"),
            ("52.4", "0.2", "3"),
        ]
        expected = ttest_ind_from_stats(51.9, 0.3, 3, 51.5, 0.2, 4, equal_var=False).pvalue
        assert float(found[2]["p"]) == pytest.approx(expected)

    def test_have_no_pairs(self, capsys: pytest.CaptureFixture[str]) -> None:
        line = refused(capsys, LAYOUTS / "mean_std.csv", "--baseline", "BiT", "--test", "paired")
        assert line == "bench: --test paired: the file does not say which runs are pairs; --columns seed=NAME"


class TestScale:
    SHARES = "method,seed,acc\nA,0,0.7132\nA,1,0.7230\nB,0,0.7301\nB,1,0.7402\n"

    def test_shares_are_shown_in_percent_and_that_is_said(
        self, folder: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        path = write(folder, self.SHARES)
        assert main(["import", str(path)]) == 0
        captured = capsys.readouterr()
        assert "acc (%)" in captured.out
        assert "71.8 ± 0.7" in captured.out
        assert "Shares of 1 are shown times 100." in captured.out
        assert captured.err.count("times 100") == 1

    def test_can_be_left(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        out = told(capsys, write(folder, self.SHARES), "--scale", "1")
        assert "0.7181 ± 0.0069" in out
        assert "(%)" not in out

    def test_never_prints_a_deviation_of_nothing(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        path = write(folder, "method,seed,acc\nA,0,90.001\nA,1,90.005\nB,0,90.1\nB,1,90.2\n")
        assert "90.003 ± 0.003" in told(capsys, path)

    @pytest.mark.parametrize(
        ("a", "b", "shows"), [("10,12", "15,19", "11.0 ± 1.4"), ("1000,1300", "1500,1900", "1150 ± 212")]
    )
    def test_decimals_follow_the_spread(
        self, a: str, b: str, shows: str, folder: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        rows = [
            f"{method},{seed},{value}\n"
            for method, text in (("A", a), ("B", b))
            for seed, value in enumerate(text.split(","))
        ]
        path = write(folder, f"method,seed,reward\n{''.join(rows)}")
        assert shows in told(capsys, path, "--higher")

    def test_what_the_test_separates_prints_apart(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        """M1: paired differences of exactly 0.01 and a spread of 2: one decimal would mark both as the best."""
        rows = [f"{m},{s},{70 + 2 * s + (0.01 + 0.0001 * s) * (m == 'B'):.4f}\n" for m in "AB" for s in range(4)]
        path = write(folder, f"method,seed,acc\n{''.join(rows)}")
        out = told(capsys, path, "--baseline", "A", "--test", "paired")
        assert out.count("●") == 2  # the cell and the legend
        assert "73.01" in out
        assert told(capsys, path, "--baseline", "A").count("●") == 3  # Welch's test cannot tell them apart


class TestDirection:
    def test_is_asked_for(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        path = write(folder, "method,dataset,seed,LPIPS\nA,X,0,0.2\nB,X,0,0.1\n")
        assert refused(capsys, path).endswith("metric LPIPS: is more better, or less? --higher LPIPS or --lower LPIPS")
        assert "● 0.1" in told(capsys, path, "--lower")
        assert "● 0.1" in told(capsys, path, "--lower", "lpips")
        assert "● 0.2" in told(capsys, path, "--higher")

    def test_may_stand_in_the_header(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        path = write(folder, "method,seed,LPIPS ↓,PSNR (higher)\nA,0,0.2,30\nB,0,0.1,20\n")
        out = told(capsys, path)
        assert "LPIPS (lower is better)" in out
        assert "● 0.1" in out
        assert "● 30" in out

    def test_of_several_is_said_by_name(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        path = write(folder, "method,seed,metric,value\nA,0,wer,2\nA,0,psnr,20\nB,0,wer,1\nB,0,psnr,30\n")
        assert "of which metric? name it: wer, psnr" in refused(capsys, path, "--lower")
        assert "metric psnr: is more better" in refused(capsys, path, "--lower", "wer")
        assert "--lower: no metric is called 'werr'; did you mean 'wer'?" in refused(capsys, path, "--lower", "werr")
        out = told(capsys, path, "--lower", "wer", "--higher", "psnr")
        assert "● 30" in out
        assert told(capsys, path, "--metric", "wer", "--lower", "wer").count("better)") == 2

    def test_names_the_metric_of_a_file_that_has_none(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        path = write(folder, "method,seed,value\nA,0,1234.5\nB,0,1200\n")
        assert "another metric is named by --higher NAME or --lower NAME" in refused(capsys, path)
        assert "cost (lower is better)" in told(capsys, path, "--lower", "cost")
        assert "r – value" in told(capsys, path, "--higher")


class TestFolds:
    def test_are_tested_with_the_correction(self, capsys: pytest.CaptureFixture[str]) -> None:
        """The value is R's: 2 pt(-|t|, 4), t = mean / sqrt((1/5 + 1/4) var)."""
        (record,) = [each for each in records(capsys, LAYOUTS / "folds.csv", "--baseline", "SVM") if each["p"]]
        assert float(record["p"]) == pytest.approx(REFERENCE, rel=1e-9)
        out = told(capsys, LAYOUTS / "folds.csv", "--baseline", "SVM", "--width", "1000")
        assert "t-test over 5 folds with Nadeau and Bengio's correction (2003) against SVM" in out
        assert "Pairs are results on one fold." in out
        assert "over n=5 folds" in out

    def test_that_are_called_seeds(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        path = write(folder, (LAYOUTS / "folds.csv").read_text(encoding="utf-8").replace("fold,", "seed,"))
        (plain,) = [each["p"] for each in records(capsys, path, "--baseline", "SVM", "--test", "paired") if each["p"]]
        (folds,) = [each["p"] for each in records(capsys, path, "--baseline", "SVM", "--folds", "5") if each["p"]]
        assert float(folds) == pytest.approx(REFERENCE, rel=1e-9)
        assert float(plain) < float(folds)

    def test_repeated_are_pairs_of_seed_and_fold(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        a, b = (70.0, 80, 75, 77, 72, 79), (71.0, 82, 76, 79.5, 72.5, 80)
        places = [(seed, fold) for seed in (1, 2) for fold in (0, 1, 2)]
        rows = [f"{m},{s},{f},{v}\n" for m, vs in (("A", a), ("B", b)) for (s, f), v in zip(places, vs, strict=True)]
        path = write(folder, f"method,seed,fold,acc\n{''.join(rows)}")
        (record,) = [each for each in records(capsys, path, "--baseline", "A") if each["p"]]
        assert record["n"] == "6"
        assert float(record["p"]) == pytest.approx(corrected_t(a, b, 1 / 2))
        assert float(record["p"]) > paired_t(a, b)

    def test_are_no_runs_to_plan(self, capsys: pytest.CaptureFixture[str]) -> None:
        line = refused(capsys, LAYOUTS / "folds.csv", "--baseline", "SVM", "--power")
        assert line.startswith("bench: --power: folds of one cross-validation are no runs of their own")


REFERENCE = 0.0118259756582647


class TestMore:
    def test_shots_and_words_are_rates(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        path = write(
            folder,
            "method,dataset,rate,seed,acc\nA,X,1-shot,0,50\nA,X,full,0,80\nA,X,15,0,60\nA,X,1000 examples,0,70\n",
        )
        columns = [record["column"] for record in records(capsys, path)]
        assert columns == ["1-shot", "full", "15 %", "1000 examples"]

    def test_few_names_are_a_hint(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        path = write(folder, "method,acc\n" + "".join(f"model-{number},{number}\n" for number in range(90)))
        assert main(["import", str(path)]) == 0
        (line,) = capsys.readouterr().err.splitlines()
        assert line.endswith("(there are: model-0, model-1, model-2, model-3, model-4, model-5, ... 90 in all)")

    def test_alone_there_is_nothing_to_test(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        path = write(folder, "method,seed,acc\n" + "".join(f"X,{seed},{70 + seed}\n" for seed in range(30)))
        assert "No test against X: nothing stands beside it." in told(capsys, path, "--baseline", "X")

    def test_a_claim_over_datasets_is_in_every_format_with_sentences(
        self, folder: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        rows = [
            f"{m},{d},{s},{70 + 3 * (m == 'B') + s + at}\n"
            for m in "AB"
            for at, d in enumerate("UVWXYZ")
            for s in (0, 1)
        ]
        path = write(folder, f"method,dataset,seed,acc\n{''.join(rows)}")
        for format in ("text", "markdown", "latex", "html", "json"):
            arguments = ("--baseline", "A", "--across", "like-these", "--format", format)
            assert "On datasets like these: B +3.00" in " ".join(told(capsys, path, *arguments).split())
        facts = json.loads(told(capsys, path, "--baseline", "A", "--across", "like-these", "--format", "json"))
        assert facts["across"]

    def test_power_prints_what_the_command_prints(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        path = write(folder, "method,seed,acc\nA,0,70\nA,1,71\nA,2,72\nB,0,71\nB,1,72\nB,2,73.5\n")
        out = told(capsys, path, "--baseline", "A", "--power")
        assert "needed for 80 %" in out
        assert "B against A" in out
        assert "bench run" not in out
        (need,) = json.loads(told(capsys, path, "--baseline", "A", "--power", "--format", "json"))["comparisons"]
        assert need["seeds"] == [3, 3]
        assert f"  {need['needed']}" in out

    def test_power_of_stated_means(self, capsys: pytest.CaptureFixture[str]) -> None:
        path = LAYOUTS / "mean_std.csv"
        assert "of how many runs the ± is, is not known" in told(capsys, path, "--baseline", "BiT", "--power")
        assert "significant" in told(capsys, path, "--baseline", "BiT", "--n", "5", "--power")

    @pytest.mark.slow
    @pytest.mark.parametrize("ending", ["png", "pdf"])
    def test_figures(self, ending: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        rows = [f"{m},{d},15,{70 + 3 * (m == 'B') + at}\n" for m in "AB" for at, d in enumerate("UVWXYZ")]
        rows += [f"{m},{d},50,{80 + 3 * (m == 'B') + at}\n" for m in "AB" for at, d in enumerate("UVWXYZ")]
        path = write(folder, f"method,dataset,rate,acc\n{''.join(rows)}")
        assert told(capsys, path, "--figure", "rates", "--output", f"f.{ending}") == f"f.{ending}\n"
        names = told(capsys, path, "--figure", "cd", "--output", f"r.{ending}").split()
        assert names == [f"r-15.{ending}", f"r-50.{ending}"]
        assert all((folder / name).stat().st_size > 1000 for name in (f"f.{ending}", *names))

    def test_a_figure_without_datasets_is_refused(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        path = write(folder, "method,seed,acc\nA,0,70\nB,0,71\n")
        line = refused(capsys, path, "--figure", "cd", "--output", "r.pdf")
        assert "no column is one; --columns dataset=NAME" in line
        assert "a figure needs the axis 'rate'" in refused(capsys, path, "--figure", "rates", "--output", "r.pdf")

"""Names and numbers that once turned an answer round: what an import makes of them, or asks."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.cli import main
from bench.imports.directions import is_lower


@pytest.mark.parametrize(
    "name",
    [
        "Avg WER", "mean_wer", "mean regret", "avg. loss drop", "100 - accuracy", "100% - acc", "1.00-acc",
        "complement of accuracy", "accuracy degradation", "accuracy variance", "attack accuracy", "missed recall",
        "error correction", "rmse skill", "accuracy (smaller is better)", "accuracy (min)",
    ],
)  # fmt: skip
def test_a_name_with_a_word_that_nobody_knows_is_asked_for(name: str) -> None:
    assert is_lower(name) is None


@pytest.mark.parametrize(
    ("name", "lower"),
    [
        ("test accuracy", False), ("top-5 acc", False), ("acc@1", False), ("f1@0.5", False), ("valAcc", False),
        ("mean class accuracy", False), ("validation loss", True), ("top1_err", True), ("cross-entropy loss", True),
    ],
)  # fmt: skip
def test_a_plain_name_is_known(name: str, lower: bool) -> None:
    assert is_lower(name) is lower


def imported(text: str, capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    Path("r.csv").write_text(text, encoding="utf-8")
    status = main(["import", "r.csv", *arguments])
    captured = capsys.readouterr()
    return status, captured.out, captured.err


def test_a_seed_is_the_same_however_it_is_written(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    twice = "method,dataset,seed,acc\n" + "".join(
        f"a,X,{seed},{70 + at}\n" for at, seed in enumerate(["0", "0.0", "1", "1.0"])
    )
    status, out, err = imported(twice, capsys)
    assert (status, out) == (2, "")
    assert "a second value of X, a, seed 0" in err
    pairs = "method,dataset,seed,acc\n" + "".join(
        f"a,X,{seed},{70 + seed}\nb,X,{seed}.0,{72 + seed}\n" for seed in range(3)
    )
    _, out, _ = imported(pairs, capsys, "--baseline", "a", "--test", "paired")
    assert "+2.0" in out
    assert "No test" not in out


def test_thousands_beside_decimal_points_are_no_decimals(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = "method\tdataset\tseed\tseconds\na\tX\t0\t1,234\nb\tX\t0\t987.5\nb\tX\t1\t985.1\n"
    status, out, err = imported(text, capsys)
    assert (status, out) == (2, "")
    assert "value must be a finite number" in err


@pytest.mark.parametrize("metric", ["acc", "error"])
def test_percent_and_shares_are_not_mixed(metric: str, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, out, err = imported(f"method,dataset,seed,{metric}\na,X,0,0.70\nb,X,0,72%\n", capsys)
    assert (status, out) == (2, "")
    assert "shares and percent mixed?" in err


def test_a_run_that_lost_its_seed_is_named(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _, _, err = imported("method,dataset,seed,acc\na,X,0,70\na,X,1,71\nb,X,0,72\nb,X,,60\n", capsys)
    assert "without a seed, and taken for published (line 5)" in err


def test_margins_of_an_accuracy_are_a_point_at_most(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [
        f"{method},X,{seed},{mean + seed / 10}," for method, mean in (("a", 40.5), ("b", 74.5)) for seed in range(5)
    ]
    text = "\n".join(["method,dataset,seed,accuracy,quoted", *rows, "a,X,,50.1,yes", "b,X,,80.3,yes"]) + "\n"
    _, out, _ = imported(text, capsys, "--baseline", "a", "--source", "both", "--n", "5")
    assert "=" not in out.partition("±")[0]
    assert "2 differs" in out


def test_folds_are_no_more_than_there_are(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = "".join(f"{method},X,{fold},{70 + fold}\n" for method in "ab" for fold in range(3))
    status, _, err = imported(f"method,dataset,fold,acc\n{rows}", capsys, "--folds", "2")
    assert status == 2
    assert "--folds 2: fold has 3 folds" in err


def test_rates_up_to_one_are_shares(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = "".join(f"a,X,{rate},0,{70 + at}\n" for at, rate in enumerate(("0.1", "0.5", "1.0")))
    _, out, _ = imported(f"method,dataset,rate,seed,acc\n{rows}", capsys)
    assert [column for column in ("10 %", "50 %", "100 %") if column in out] == ["10 %", "50 %", "100 %"]

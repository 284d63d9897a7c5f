"""What a file of results says: columns by their names, texts as numbers, directions known or asked for."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.errors import InputError
from bench.imports.columns import choose_columns, read_roles
from bench.imports.directions import Directions, is_lower, is_share, marked
from bench.imports.gathered import Reading
from bench.imports.numbers import read_number
from bench.imports.rates import rate_labels
from bench.imports.results import read_results
from bench.imports.rows import read_rows
from bench.metrics import METRICS

HIGHER = (
    "acc,test_acc,accuracy,Accuracy (%),top1,top-1,Top 5,acc@1,F1,mIoU,mAP50,AUC,macro F1,balanced_accuracy,"
    "mean per class,eval/accuracy,testAcc,1-shot accuracy"
)
ASKED = (
    "cross_entropy,WER,KID,LPIPS,ppl,latency_ms,params,hausdorff,EER,FPR95,regret,1 - accuracy,1-acc,forgetting,"
    "negated error,neg_mean_squared_error,-loss,accuracy drop,accuracy loss,reward,score,epochs to 90 acc,"
    "loss reduction,1/perplexity,lossless size"
)


def read(path: Path, text: str, name: str = "r.csv") -> Path:
    (path / name).write_text(text, encoding="utf-8")
    return path / name


class TestDirections:
    @pytest.mark.parametrize(
        "name",
        [
            "loss",
            "val_loss",
            "test_loss",
            "train/loss",
            "valLoss",
            "logloss",
            "error",
            "error_rate",
            "top1_err",
            "Top-1 error",
            "test_err",
            "nll",
            "ece",
            "brier",
            "Brier score",
            "mse",
            "mean_absolute_error",
            "mae",
            "rmse",
            "fid",
            "perplexity",
            "seconds",
            "seconds_to_90",
        ],
    )
    def test_of_these_less_is_better(self, name: str) -> None:
        assert is_lower(name) is True

    @pytest.mark.parametrize(
        "name",
        HIGHER.split(","),
    )
    def test_of_these_more_is_better(self, name: str) -> None:
        assert is_lower(name) is False

    @pytest.mark.parametrize(
        "name",
        ASKED.split(","),
    )
    def test_these_are_asked_for(self, name: str) -> None:
        assert is_lower(name) is None
        assert not is_share(name)

    @pytest.mark.parametrize(
        ("name", "bare", "lower"),
        [
            ("val_loss (lower)", "val_loss", True),
            ("wer (lower is better)", "wer", True),
            ("CER ↓", "CER", True),
            ("score(↑)", "score", False),
            ("reward [higher]", "reward", False),
            ("time (min)", "time (min)", None),
            ("accuracy (%)", "accuracy (%)", None),
            ("↓", "↓", None),
        ],
    )
    def test_a_header_may_say_it(self, name: str, bare: str, lower: bool | None) -> None:
        assert marked(name) == (bare, lower)

    def test_what_is_typed_goes_before(self) -> None:
        typed = Directions(lower=("Reward",), higher=("loss",))
        assert [typed.says(name) for name in ("reward", "loss", "acc")] == [True, False, None]


class TestNumbers:
    @pytest.mark.parametrize(
        ("text", "value", "std", "is_percent"),
        [
            ("71.3", 71.3, None, False),
            ("-0.5", -0.5, None, False),
            ("−0.5", -0.5, None, False),
            ("1e-3", 0.001, None, False),
            ("71.3%", 71.3, None, True),
            ("71.3 %", 71.3, None, True),
            ("80.1 ± 0.3", 80.1, 0.3, False),
            ("80.1±0.3%", 80.1, 0.3, True),
            ("80.1+-0.3", 80.1, 0.3, False),
            ("80.1 +/- 0.3", 80.1, 0.3, False),
            ("80.1 (0.3)", 80.1, 0.3, False),
            ("80.1(.3)", 80.1, 0.3, False),
            (r"$80.1 \pm 0.3$", 80.1, 0.3, False),
            ("71,3", 71.3, None, False),
            ("80,1 ± 0,3", 80.1, 0.3, False),
        ],
    )
    def test_as_people_write_them(self, text: str, value: float, std: float | None, is_percent: bool) -> None:
        number = read_number(text)
        assert number is not None
        assert (number.value, number.is_percent) == (value, is_percent)
        assert number.deviation == std if std is not None else math.isnan(number.deviation)

    @pytest.mark.parametrize("text", ["", "x", "1_0", "inf", "nan", "1e999", "1,234", "80.1 (+0.3)", "1 2", "٣", "--1"])
    def test_what_is_none(self, text: str) -> None:
        assert read_number(text) is None

    def test_a_comma_is_decimal_where_it_separates_nothing(self) -> None:
        number = read_number("1,234", commas=True)
        assert number is not None
        assert number.value == 1.234

    @given(st.decimals(-1000, 1000, places=4))
    def test_scaling_adds_no_digits(self, value: object) -> None:
        number = read_number(str(value))
        assert number is not None
        assert len(number.times(100).digits.partition(".")[2]) <= 2

    def test_rates(self) -> None:
        texts = {"15", "15%", "2.5", "full", "1-shot", "1000 examples", "101", "0"}
        labels = {"15": "15 %", "15%": "15 %", "2.5": "2.5 %", "101": "", "0": ""}
        assert rate_labels("rate", texts) == {"": ""} | {text: labels.get(text, text) for text in texts}
        assert rate_labels("fraction", {"0.1", "1"}) == {"": "", "0.1": "10 %", "1": "100 %"}
        assert rate_labels("shots", {"16"}) == {"": "", "16": "16-shot"}


def roles_of(path: Path, header: str, row: str, **typed: tuple[str, ...]) -> dict[str, str]:
    """The name of the column of each role, and of each column of numbers."""
    rows = read_rows(read(path, f"{header}\n{row}\n"))
    columns = choose_columns(rows, typed, METRICS, Directions())
    roles = {role: rows.header[at] for role, at in columns.roles.items()}
    numbers = {f"{value.metric}|{value.dataset}": rows.header[value.at] for value in columns.values}
    return roles | numbers


class TestColumns:
    @pytest.mark.parametrize(
        ("header", "row", "expected"),
        [
            ("Model,Task,Run,Acc", "a,X,0,1", "method=Model; dataset=Task; seed=Run; Acc|=Acc"),
            ("FRAMEWORK,benchmark,fold,AUC", "a,X,0,1", "method=FRAMEWORK; dataset=benchmark; fold=fold; AUC|=AUC"),
            (
                "algorithm,data,iteration,value,lr",
                "a,X,0,1,2",
                "method=algorithm; dataset=data; seed=iteration; |=value",
            ),
            ("config.method,config/seed,acc", "a,0,1", "method=config.method; seed=config/seed; acc|=acc"),
            (
                "params.method,metrics.acc,metrics.loss",
                "a,1,2",
                "method=params.method; acc|=metrics.acc; loss|=metrics.loss",
            ),
            ("method,seed,A,B", "a,0,1,2", "method=method; seed=seed; |A=A; |B=B"),
            (
                "method,seed,m/acc/A,m/acc/B,m/loss",
                "a,0,1,2,3",
                "method=method; seed=seed; acc|A=m/acc/A; acc|B=m/acc/B",
            ),
            ("method,A_acc,B_acc", "a,1,2", "method=method; acc|A=A_acc; acc|B=B_acc"),
            ("method,top1,top1_err,param_count,img_size", "a,1,2,3,4", "method=method; top1|=top1; top1_err|=top1_err"),
            (
                "method,ImageNet V2,ImageNet A",
                "a,1,2",
                "method=method; |ImageNet V2=ImageNet V2; |ImageNet A=ImageNet A",
            ),
            ("method,dataset,mean,std,n", "a,X,1,2,3", "method=method; dataset=dataset; std=std; n=n; |=mean"),
            ("method,dataset,acc,acc_std", "a,X,1,2", "method=method; dataset=dataset; acc|=acc"),
            ("method,acc,acc_stderr", "a,1,2", "method=method; acc|=acc"),
            (
                "method,data set,random seed,score",
                "a,X,0,1",
                "method=method; dataset=data set; seed=random seed; |=score",
            ),
        ],
    )
    def test_are_known_by_their_names(self, header: str, row: str, expected: str, tmp_path: Path) -> None:
        named = roles_of(tmp_path, header, row)
        assert "; ".join(f"{role}={name}" for role, name in named.items()) == expected

    @pytest.mark.parametrize(
        ("text", "seeds", "values", "folds"),
        [
            ("method,seed1,seed2,mean\nA,70,71,70.5\n", [("1",), ("2",)], [70, 71], 0),
            ("method,fold 0,fold 1,fold 2\nA,70,71,72\n", [("0",), ("1",), ("2",)], [70, 71, 72], 3),
        ],
    )
    def test_may_be_one_a_seed_or_a_fold(
        self, text: str, seeds: list[tuple[str]], values: list[float], folds: int, tmp_path: Path
    ) -> None:
        imported = read_results(read(tmp_path, text))
        (cell,) = imported.cells
        assert (cell.seeds, cell.values, imported.folds) == (seeds, values, folds)
        assert imported.has_seeds

    def test_a_number_that_is_none_is_told_with_its_line(self, tmp_path: Path) -> None:
        with pytest.raises(InputError, match=r"r\.csv:3: value must be a finite number.* it is '7x\.1'"):
            read_results(read(tmp_path, "method,seed,acc\nA,0,70.1\nA,1,7x.1\nA,2,70.3\n"))

    def test_may_be_one_a_method(self, tmp_path: Path) -> None:
        path = read(tmp_path, "dataset,A,B\nX,70,71\nY,80,81\n")
        with pytest.raises(InputError, match=r"--columns method=NAME, or method=A,B,\.\.\. where each is one"):
            read_results(path)
        cells = read_results(path, Reading(columns=read_roles(["method=A,B"]))).cells
        assert [(cell.axes["method"], cell.axes["dataset"], cell.values) for cell in cells] == [
            ("A", "X", [70]),
            ("A", "Y", [80]),
            ("B", "X", [71]),
            ("B", "Y", [81]),
        ]

    def test_are_those_that_are_typed(self, tmp_path: Path) -> None:
        header, row = "setup,split,A,B,acc", "a,0,1,2,3"
        typed = read_roles(["method=setup,seed=split", "dataset=A,B"])
        assert typed == {"method": ("setup",), "seed": ("split",), "dataset": ("A", "B")}
        wide = roles_of(tmp_path, header, row, **typed)
        assert wide == {"method": "setup", "seed": "split", "|A": "A", "|B": "B"}
        metrics = roles_of(tmp_path, header, row, method=("1",), metric=("A", "acc"))
        assert metrics == {"method": "setup", "A|": "A", "acc|": "acc"}
        single = roles_of(tmp_path, header, row, method=("setup",), value=("B",))
        assert single == {"method": "setup", "B|": "B"}


class TestRows:
    @pytest.mark.parametrize(
        "text",
        [
            "method;dataset;seed;value\nA;X;0;1,5\n",
            "method\tdataset\tseed\tvalue\nA\tX\t0\t1.5\n",
            "method|dataset|seed|value\nA|X|0|1.5\n",
            'sep=;\r\n"method";"dataset";"seed";"value"\r\n"A";"X";"0";"1,5"\r\n',
            "\n\nmethod,dataset,seed,value\n\nA,X,0,1.5\n,,,\n",
            'method,dataset,seed,value\nA,X,0,"1,5"\n',
            ",method,dataset,seed,value\n0,A,X,0.0,1.5\n",
        ],
    )
    def test_separators_and_decimal_commas(self, text: str, tmp_path: Path) -> None:
        for content in (text.encode(), b"\xef\xbb\xbf" + text.encode(), text.encode("utf-16")):
            (tmp_path / "r.csv").write_bytes(content)
            (cell,) = read_results(tmp_path / "r.csv").cells
            assert (cell.axes, cell.values) == ({"dataset": "X", "method": "A"}, [1.5])

    def test_a_separator_can_be_said(self, tmp_path: Path) -> None:
        path = read(tmp_path, "method:seed:value\nA:0:1\n")
        (cell,) = read_results(path, Reading(separator=":")).cells
        assert cell.values == [1]

    @pytest.mark.parametrize(
        ("name", "text"),
        [
            ("r.json", '[{"method": "A", "seed": 0, "value": 1.5}]'),
            ("r.json", '{"name": "x", "runs": [{"config": {"method": "A", "seed": 0}, "value": 1.5, "tags": []}]}'),
            ("r.jsonl", '{"method": "A", "seed": 0, "value": 1.5}\n\n'),
        ],
    )
    def test_records_in_json(self, name: str, text: str, tmp_path: Path) -> None:
        (cell,) = read_results(read(tmp_path, text, name)).cells
        assert (cell.axes, cell.seeds, cell.values) == ({"method": "A"}, [("0",)], [1.5])

    @pytest.mark.parametrize(
        ("name", "text", "problem"),
        [
            ("r.json", "[1]", "r.json: record 1: a record is an object"),
            ("r.json", "{}", "r.json: a list of records is needed"),
            ("r.json", "[", "r.json: it is not JSON"),
            ("r.json", "[]", "r.json: there are no results"),
            ("r.jsonl", '{"method": "A", "seed": 0, "value": 1}\n{', "r.jsonl:2: it is not JSON"),
            ("r.json", '[{"method": "A", "seed": 0, "value": "x"}]', "r.json: record 1: value must be a finite number"),
        ],
    )
    def test_what_is_wrong_has_its_place(self, name: str, text: str, problem: str, tmp_path: Path) -> None:
        with pytest.raises(InputError) as caught:
            read_results(read(tmp_path, text, name))
        assert problem in str(caught.value)

    def test_deep_or_broken_text_is_one_line(self, tmp_path: Path) -> None:
        deep = '{"a": ' * 100_000 + "1" + "}" * 100_000
        for record in (deep, '{"method": "\\ud800"}'):
            with pytest.raises(InputError, match=r"r\.json(: record 1)?: it is n"):
                read_results(read(tmp_path, f"[{record}]", "r.json"))

    def test_a_metric_that_is_taken_for_granted_is_said(self, tmp_path: Path) -> None:
        path = read(tmp_path, "method,seed,A,B\nx,0,70,71\n")
        remark = "no metric is named: it is taken for top-1 (%); --lower NAME or --higher NAME names another one"
        assert read_results(path).remarks == (remark,)
        assert read_results(path, Reading(directions=Directions(lower=("rmse",)))).remarks == ()


class TestSeeds:
    @pytest.mark.parametrize(
        "texts", [("0.0", "1.0"), ("s0", "s1"), ("seed_0", "seed_1"), ("0", "1"), ("run 0", "run-1")]
    )
    def test_are_numbers_however_they_are_written(self, texts: tuple[str, str], tmp_path: Path) -> None:
        path = read(tmp_path, "method,seed,value\n" + "".join(f"A,{text},{at}\n" for at, text in enumerate(texts)))
        imported = read_results(path)
        assert sorted(imported.number.values()) == [0, 1]
        assert imported.remarks == ()

    def test_other_texts_are_numbered_and_said(self, tmp_path: Path) -> None:
        imported = read_results(read(tmp_path, "method,seed,value\nA,red,1\nB,blue,2\nA,blue,3\n"))
        assert imported.number == {("red",): 0, ("blue",): 1}
        assert imported.remarks == ("seeds are numbered in their order: red = 0, blue = 1",)

    def test_two_texts_are_never_one_seed(self, tmp_path: Path) -> None:
        imported = read_results(read(tmp_path, "method,seed,value\nA,a1,1\nA,b1,2\nA,c2,3\n"))
        assert sorted(imported.number.values()) == [0, 1, 2]

    def test_rows_that_another_column_tells_apart_are_no_runs(self, tmp_path: Path) -> None:
        path = read(tmp_path, "method,lr,weights,acc\nA,1,x,70\nA,2,y,71\nB,1,x,72\nB,2,y,73\n")
        with pytest.raises(InputError, match="differ in weights, and there is no column of seeds: --columns backbone="):
            read_results(path)
        assert len(read_results(path, Reading(columns={"backbone": ("weights",)})).cells) == 4
        assert [len(cell.values) for cell in read_results(path, Reading(columns={"seed": ("lr",)})).cells] == [2, 2]

    def test_rows_without_any_are_runs_and_no_pairs(self, tmp_path: Path) -> None:
        imported = read_results(read(tmp_path, "method,value\nA,1\nA,2\nB,3\n"))
        assert [cell.values for cell in imported.cells] == [[1, 2], [3]]
        assert not imported.has_seeds
        assert "numbered as they stand; they are no pairs" in imported.remarks[0]


class TestRuns:
    TWICE = "method,seed,acc\nA,0,70\nA,0,74\nA,1,80\nB,0,60\n"

    @pytest.mark.parametrize(("how", "value"), [("mean", 72), ("first", 70), ("last", 74)])
    def test_several_values_of_one_seed(self, how: str, value: float, tmp_path: Path) -> None:
        imported = read_results(read(tmp_path, self.TWICE), Reading(duplicates=how))
        assert imported.cells[0].values == [value, 80]
        assert imported.remarks == (f"1 run has several values: the {how} counts",)

    def test_a_run_that_failed_and_was_run_again_counts_once(self, tmp_path: Path) -> None:
        text = "method,seed,acc,status\nA,0,,FAILED\nA,0,70,FINISHED\nA,1,,FAILED\nA,2,50,RUNNING\nA,3,,FINISHED\n"
        imported = read_results(read(tmp_path, text))
        (cell,) = imported.cells
        assert (cell.values, cell.failed, cell.missing) == ([70], [("1",)], [("3",)])
        assert [remark.partition(" (")[0] for remark in imported.remarks] == [
            "1 value is missing",
            "1 run is not finished, and left out",
            "1 run that failed has a value too, which counts",
        ]

    def test_a_run_that_crashed_with_a_value_is_said(self, tmp_path: Path) -> None:
        imported = read_results(read(tmp_path, "method,seed,acc,State\nA,0,70,crashed\nA,1,71,finished\n"))
        assert imported.cells[0].values == [70, 71]
        assert imported.remarks == ("1 run is marked as failed with a value, which counts (line 2)",)

    @pytest.mark.parametrize("text", ["", "nan", "NaN", "NA", "n/a", "-", "–", "None"])
    def test_what_is_missing_is_counted(self, text: str, tmp_path: Path) -> None:
        imported = read_results(read(tmp_path, f"method,seed,acc\nA,0,70\nA,1,{text}\n"))
        assert imported.cells[0].missing == [("1",)]
        assert imported.remarks == ("1 value is missing (line 3)",)

    def test_columns_that_are_not_used_are_named_once(self, tmp_path: Path) -> None:
        names = ",".join(f"c{at}" for at in range(10))
        imported = read_results(read(tmp_path, f"method,seed,acc,{names}\nA,0,70{',x' * 10}\n"))
        assert imported.remarks == ("columns that are not used: c0, c1, c2, c3, c4, c5, c6, c7 and 2 more",)

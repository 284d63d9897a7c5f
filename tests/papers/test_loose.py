"""Tables in files of their own: how a CSV is read, what is typed beside it, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bench.cli import main
from bench.errors import InputError
from bench.papers.loose import read_loose
from bench.papers.published import Printed, PublishedTable


def read(folder: Path, text: str, name: str = "t.csv") -> PublishedTable:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return read_loose(path)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("m,a,b\nCE,81.2 ± 0.3,70\nGTA,82.0 ± 0.4,71 (+1)\n", "t.csv"),
        ("m;a;b\nCE;81,2±0,3;70\nGTA;82,0 +- 0,4;71 (+1)\n", "t.csv"),
        ("m\ta\tb\nCE\t81.2 +/- 0.3\t70\nGTA\t82.0 (0.4)\t71 (+1)\n", "t.tsv"),
        ("m,a,a std,b\nCE,81.2,0.3,70\nGTA,82.0,0.4,71 (+1)\n", "t.csv"),
        ("m,a,std,b\nCE,81.2,0.3,70\nGTA,82.0,0.4,71 (+1)\n", "t.csv"),
        ("| m | a | b |\n|---|---:|---|\n| CE | **81.2** ± 0.3 | 70 |\n| GTA | 82.0 $\\pm$ 0.4 | 71% (+1) |\n", "t.md"),
        ("\ufeffm,a,b\r\n\r\nCE,$81.2_{\\pm 0.3}$,70\r\nGTA,\\textbf{82.0} \\pm 0.4,71 (+1)\r\n", "t.csv"),
    ],
    ids=["commas", "semicolons", "tabs", "column of std", "column called std", "markdown", "latex"],
)
def test_a_table_is_read_however_it_is_kept(tmp_path: Path, text: str, name: str) -> None:
    table = read(tmp_path, text, name)
    assert (table.stub, table.columns, table.rows) == (("m",), (("a",), ("b",)), (("CE",), ("GTA",)))
    assert table.cells == (
        (Printed("81.2", "0.3"), Printed("70")),
        (Printed("82.0", "0.4"), Printed("71", "", "+1")),
    )


def test_first_columns_are_labels_and_a_block_has_its_label_once(tmp_path: Path) -> None:
    table = read(tmp_path, "data,method,a\nCUB,CE,1.5\n,GTA,n/a\nCars,CE,2.5\n,GTA,3.5\n")
    assert table.rows == (("CUB", "CE"), ("Cars", "CE"), ("Cars", "GTA"))
    assert table.ranking is not None
    assert table.ranking.within == ("data",)


def test_a_first_column_of_numbers_is_labels(tmp_path: Path) -> None:
    assert read(tmp_path, "tau,a\n0.1,80.5\n0.3,81.5\n").rows == (("0.1",), ("0.3",))


def test_two_lines_of_header_are_levels(tmp_path: Path) -> None:
    table = read(tmp_path, ",CUB,,Cars\nmethod,15%,100%,15%\nCE,1.1,2.2,3.3\n")
    assert table.columns == (("CUB", "15%"), ("CUB", "100%"), ("Cars", "15%"))
    assert table.rows == (("CE",),)


def test_whole_percents_are_numbers_where_there_is_nothing_else(tmp_path: Path) -> None:
    assert read(tmp_path, "m,a,b\nCE,81%,82%\nGTA,83%,84%\n").rows == (("CE",), ("GTA",))


def test_thousands_are_no_decimals(tmp_path: Path) -> None:
    assert read(tmp_path, 'm,a\nCE,"1,234"\nGTA,"80,5"\n').cells == ((Printed("1234"),), (Printed("80.5"),))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "t.csv:1: a table has a header with a column of labels and one of numbers at least"),
        ("m\nCE\n", "t.csv:1: a table has a header with a column of labels"),
        ("m,a\nCE,x\n", "t.csv: there is no line with a label and a number below the header"),
        ("m,a\nCE,1\nGTA,2,3\n", "t.csv:3: 3 fields for the 2 columns of the header"),
        ("m,a\nC\x1b[2J,1\n", "t.csv:2: a text holds the character U+001B, which cannot be printed"),
        ('m,a\n"CE,1\n', "it is not CSV"),
        ("," * 200 + "a\nCE" + ",1" * 200, "t.csv:1: more than 200 columns; an audit is of a table as printed"),
        ("seed,value,method,dataset\n0,1,a,b\n", "one line a seed is what 'bench import' takes"),
    ],
)
def test_what_is_no_table_is_refused_with_its_line(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(InputError) as caught:
        read(tmp_path, text)
    assert message in caught.value.problems[0]


@pytest.mark.parametrize("digits", ["9" * 400, "0." + "0" * 400 + "1", "9" * 400 + ".5"])
def test_a_deviation_of_hundreds_of_digits_is_none(tmp_path: Path, digits: str) -> None:
    (line,) = read(tmp_path, f"m,a,b\nCE,1.5,81.2 ± {digits}\n").cells
    assert (line[1].std, line[1].number != line[1].number) == ("", True)


# ---- the command


TABLE = "m,CUB,Cars,Avg.\nCE,83.512,92.741,88.126\nGTA,84.711,92.886,88.799\n"


def output(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert main(["audit", *arguments]) == 0
    return capsys.readouterr().out


def test_a_bare_table_is_audited_for_what_needs_no_more(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "mine.csv"
    path.write_text(TABLE.replace("88.799", "88.999"), encoding="utf-8")
    out = output(capsys, str(path))
    assert "mine.csv: GTA / Avg.\n  average: the mean of the 2 printed values is 88.7985; printed is 88.999" in out
    assert "not checked: 4 cells of mine.csv by accuracy: nobody says of how many test images it is an accuracy " in out
    assert "(--test-images N, or LABEL=N) and of how many runs it is the mean (--runs N)" in out


def test_what_is_typed_is_what_accuracies_are_checked_by(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The number of GTA's appendix that three runs on 5,794 images cannot have."""
    path = tmp_path / "mine.csv"
    path.write_text(TABLE, encoding="utf-8")
    arguments = [str(path), "--runs", "3", "--test-images", "CUB=5794,Cars=8041", "--format", "json"]
    (entry,) = json.loads(output(capsys, *arguments))
    assert (entry["check"], entry["printed"], entry["computed"]) == ("accuracy", "84.711", "84.70832")
    assert (entry["table"], entry["row"], entry["column"]) == ("mine.csv", ["GTA"], ["CUB"])
    assert "5794 images as declared for mine.csv; 3 runs as typed" in entry["verdict"]


def test_one_number_of_images_is_of_all_columns_with_decimals(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "mine.csv"
    path.write_text("m,epochs,CUB,Avg.\nCE,30,84.711,84.711\n", encoding="utf-8")
    entries = json.loads(output(capsys, str(path), "--runs", "3", "--test-images", "5794", "--format", "json"))
    assert [(entry["check"], entry["column"]) for entry in entries] == [("accuracy", ["CUB"])]


def test_a_published_table_alone_needs_no_protocol(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "alone.yaml"
    path.write_text(
        'title: t\nkind: results\nmetric: top1\nstub: ["M"]\ncolumns: [["CUB"]]\n'
        "runs: {axes: {backbone: vit_base_in21k, rate: 100, dataset: cub200}}\n"
        'rows:\n  - {label: ["GTA"], cells: ["84.711"]}\n',
        encoding="utf-8",
    )
    assert "how many runs a value is the mean of (--runs N)" in output(capsys, str(path))
    assert "alone.yaml: GTA / CUB\n  accuracy: 3 runs on 5794 test images" in output(capsys, str(path), "--runs", "3")


def test_a_file_and_a_paper_are_audited_together(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "mine.csv"
    path.write_text(TABLE, encoding="utf-8")
    out = output(capsys, str(path), "gta/table4")
    assert "not checked: 3 cells of gta/table4" in out
    assert "2 by average" in out


def test_an_average_of_something_else_is_not_checked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Of two rows, neither is the mean of the columns; with the third column left out as whole numbers, both are."""
    path = tmp_path / "mine.csv"
    path.write_text("m,a,b,MB,Avg.\nCE,80.0,82.0,86.5,81.0\nGTA,81.0,83.0,86.5,82.0\n", encoding="utf-8")
    assert "in no row it is the mean of the other columns" in output(capsys, str(path))
    path.write_text("m,a,b,MB,Avg.\nCE,80.0,82.0,86,81.0\nGTA,81.0,83.0,86,82.5\n", encoding="utf-8")
    assert "the mean of the 2 printed values is 82.00; printed is 82.5" in output(capsys, str(path))


def test_an_average_is_of_its_block_where_that_fits(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "mine.csv"
    path.write_text("m,a,b,Avg,c,d,Mean\nCE,80.0,82.0,81.0,50.0,52.0,51.0\nGTA,81.0,83.0,82.0,51.0,53.0,53.0\n")
    out = output(capsys, str(path))
    assert "findings: 1\n" in out
    assert "mine.csv: GTA / Mean\n  average: the mean of the 2 printed values is 52.00; printed is 53.0" in out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["none.csv"], "none.csv: cannot be read: No such file or directory"),
        (["t.csv", "--test-images", "CUBB=9"], "--test-images: no row or column is called 'CUBB'; did you mean 'CUB'?"),
        (["s.csv", "--test-images", "9"], "--test-images is for accuracies in percent; no number here is above 1"),
        (["--runs", "3"], "--runs and --test-images are about a table in a file; name one (bench audit my.csv)"),
        (["gta", "--test-images", "3"], "--runs and --test-images are about a table in a file"),
        (["k.yaml"], "k.yaml: its kind is statistics; an audit is of results"),
    ],
)
def test_what_cannot_be_audited_is_refused(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("t.csv").write_text(TABLE)
    Path("s.csv").write_text("m,a\nCE,0.81\n")
    Path("k.yaml").write_text(
        'title: t\nkind: statistics\nstub: ["M"]\ncolumns: [["n"]]\nrows: [{label: [a], cells: ["1"]}]\n'
    )
    assert main(["audit", *arguments]) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    "typed", ["--runs=0", "--runs=two", "--test-images=CUB", "--test-images=CUB=-1", "--test-images="]
)
def test_no_number_is_refused(typed: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["audit", "t.csv", typed])
    assert caught.value.code == 2
    assert "is no number of" in capsys.readouterr().err

"""What is typed, and what records say, means the same for an experiment, a paper's table and an imported file."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from bench.cli import main
from bench.plan.target import read_plan
from bench.records.store import Store
from bench.registry import Registry
from bench.sheets.formats import FORMATS
from bench.spec import RunSpec
from bench.stats.family import holm
from bench.stats.two import welch
from tests.metrics.scored import EXPERIMENT, TARGETS
from tests.tables.small import PROTOCOL, TABLE

VALUES = {"ce": (80.0, 81.0, 82.0), "bss": (89.96, 91.5, 92.5), "gta": (90.0, 91.0, 93.0)}
"""Top-1 of three seeds, at every rate and on both datasets; GTA and BSS print alike."""

LABELS = {"ce": "Fine-tune", "bss": "BSS", "gta": "GTA"}
KINDS = (*TARGETS, "import")
COMMANDS = ("table", "run", "plan", "status", "power", "items", "figure", "runs", "cancel", "retry")
WITH_TESTS = ("table", "run", "power")

BAD: dict[str, tuple[tuple[str, ...], str]] = {
    "a selection": (("--selection", "bestval"), "no selection is called 'bestval'; did you mean 'best-val'?"),
    "a selection in capitals": (("--selection", "LAST"), "no selection is called 'LAST'"),
    "a split": (("--split", "nonsense"), "no split is called 'nonsense' (there are: test, val)"),
    "a metric": (("--metric", "top2"), "no metric is called 'top2'; did you mean 'top"),
    "a metric in prose": (("--metric", "mean per class"), "no metric is called 'mean per class'; did you mean"),
    "a share for a rate": (("--rates", "0.15"), "rates are in percent"),
    "a rate of nothing": (("--rates", "0"), "the rate 0 is not allowed"),
    "a rate above all": (("--rates", "15,101"), "the rate 101 is not allowed"),
    "no rates": (("--rates", " , "), "' , ' lists nothing"),
    "no seeds": (("--seeds", "0"), "seeds are how many (3) or which (0,1,2), not 0"),
    "a seed below 0": (("--seeds", "0,-1"), "seeds are how many (3) or which (0,1,2), not [0, -1]"),
    "seeds of letters": (("--seeds", "many"), "seeds are how many (3) or which (0,1,2), not many"),
    "a method": (("--methods", "cee"), "is called 'cee'; did you mean 'ce'?"),
    "a hyper-parameter": (("--methods", "gta(wieght=1)"), "wieght"),
    "a policy": (("--methods", "gta+ce"), "'gta+ce'"),
    "a dataset": (("--datasets", "digit"), "is called 'digit'; did you mean 'digits'?"),
    "a backbone": (("--backbones", "micro_vits"), "is called 'micro_vits'"),
    "a setting": (("--set", "stps=5"), "no protocol setting is called 'stps'; did you mean 'steps'?"),
    "a setting without a value": (("--set", "steps"), "'steps' is not of the form key=value"),
    "a setting of letters": (("--set", "steps=x"), "steps = 'x' is not allowed; it must be a whole number"),
}
BAD_TESTS: dict[str, tuple[tuple[str, ...], str]] = {
    "a test": (("--test", "welsh"), "--test: no test is called 'welsh'; did you mean 'welch'?"),
    "a claim": (("--across", "thes"), "--across: no claim over datasets is called 'thes'; did you mean 'these'?"),
    "a margin of letters": (("--margin", "wide"), "--margin: the margin wide is not allowed; it is in points, above 0"),
    "no margin": (("--margin", "0"), "--margin: the margin 0 is not allowed"),
    "a margin below 0": (("--margin", "-1"), "--margin: the margin -1 is not allowed"),
    "a margin without end": (("--margin", ".inf"), "--margin: the margin inf is not allowed"),
}
BAD_LOOKS: dict[str, tuple[str, ...]] = {
    "a format": ("--format", "latx"),
    "a mark": ("--mark", "mean"),
    "a width": ("--width", "5"),
    "a test": ("--test", "welsh"),
    "a claim": ("--across", "thes"),
    "a metric": ("--metric", "top2"),
}


def call(*arguments: str) -> int:
    try:
        return main(list(arguments))
    except SystemExit as stop:
        return int(stop.code or 0)


def publish(spec: RunSpec) -> None:
    """A finished run; on the validation split it is 5 better."""
    test = VALUES[spec.method.name][spec.seed]
    point = {"step": 10, "val": {"top1": min(100.0, test + 5)}, "test": {"top1": test}}
    store = Store("results")
    with store.draft() as draft:
        store.publish(draft, spec, {"curve": [point], "timing": {"seconds": 1.0}})


@pytest.fixture
def declared(here: Path) -> Path:
    """An experiment, a paper's table and a file of numbers, all of the same; nothing has run."""
    (here / "mine.yaml").write_text(EXPERIMENT, encoding="utf-8")
    place = here / "paper_tables" / "mini"
    place.mkdir(parents=True)
    (place / "table1.yaml").write_text(TABLE, encoding="utf-8")
    (place / "protocol.yaml").write_text(PROTOCOL, encoding="utf-8")
    lines = ["method,dataset,rate,seed,value"]
    for method, values in VALUES.items():
        lines += [f"{LABELS[method]},Digits,{rate},{n},{v}" for rate in (15, 100) for n, v in enumerate(values)]
    (here / "numbers.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return here


@pytest.fixture
def finished(declared: Path) -> Path:
    """With a finished run of everything."""
    for target in ("mine.yaml", "mini/table1"):
        for spec in read_plan(target, Registry(["."])).unique.values():
            if not Store("results").holds(spec):
                publish(spec)
    return declared


def table_of(kind: str, *typed: str) -> tuple[str, ...]:
    """What is typed for the table of one of ``KINDS``."""
    return (
        ("import", "numbers.csv", "--baseline", "Fine-tune", *typed)
        if kind == "import"
        else ("table", *TARGETS[kind], *typed)
    )


def cells(capsys: pytest.CaptureFixture[str], kind: str, *typed: str) -> dict[str, Mapping[str, str]]:
    """The lines of a table's CSV on Digits at 15 %, by the label of the method."""
    capsys.readouterr()
    assert call(*table_of(kind, "--format", "csv", *typed)) == 0
    lines = csv.DictReader(io.StringIO(capsys.readouterr().out))
    at = {label: label for label in LABELS.values()} | {f"Digits / {label}": label for label in LABELS.values()}
    return {
        at[line["row"]]: line
        for line in lines
        if line["row"] in at and not line["column"].startswith(("1 0", "100", "Avg"))
    }


# ---- what is typed and means nothing


@pytest.mark.parametrize("kind", TARGETS)
@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("wrong", BAD)
def test_what_means_nothing_is_refused_by_every_command(
    declared: Path, capsys: pytest.CaptureFixture[str], kind: str, command: str, wrong: str
) -> None:
    typed, says = BAD[wrong]
    before = sorted(declared.rglob("*"))
    more = ("--class", "oom") if command == "retry" else ()
    assert call(command, *TARGETS[kind], *typed, *more) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    (line,) = captured.err.splitlines()
    assert line.startswith(("bench: ", f"bench: argument {typed[0]}: "))
    assert f"{typed[0]}: " in line
    assert says in line
    assert sorted(declared.rglob("*")) == before


@pytest.mark.parametrize("kind", TARGETS)
@pytest.mark.parametrize("command", WITH_TESTS)
@pytest.mark.parametrize("wrong", BAD_TESTS)
def test_a_test_or_claim_that_there_is_not_is_refused(
    declared: Path, capsys: pytest.CaptureFixture[str], kind: str, command: str, wrong: str
) -> None:
    typed, says = BAD_TESTS[wrong]
    if command == "power" and typed[0] != "--test":
        says = f"unrecognized arguments: {typed[0]}"
    assert call(command, *TARGETS[kind], *typed) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"bench: {says}")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("wrong", BAD_LOOKS)
def test_what_a_table_cannot_be_shown_with_is_refused(
    finished: Path, capsys: pytest.CaptureFixture[str], kind: str, wrong: str
) -> None:
    option, value = BAD_LOOKS[wrong]
    assert call(*table_of(kind, option, value)) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    (line,) = captured.err.splitlines()
    assert option in line
    assert value in line


@pytest.mark.parametrize("kind", TARGETS)
def test_all_that_is_wrong_is_told_at_once(declared: Path, capsys: pytest.CaptureFixture[str], kind: str) -> None:
    typed = ("--selection", "first", "--split", "train", "--rates", "0", "--seeds", "x", "--set", "lr", "--metric", "m")
    assert call("table", *TARGETS[kind], *typed) == 2
    lines = capsys.readouterr().err.splitlines()
    assert [line.split()[1] for line in lines] == [
        "--selection:", "--split:", "--seeds:", "--rates:", "--set:", "--metric:"
    ]  # fmt: skip


# ---- what is typed and means something


@pytest.mark.parametrize("kind", TARGETS)
@pytest.mark.parametrize(
    ("typed", "wanted"),
    [
        (("--rates", "15.0"), lambda spec: spec.rate == 15),
        (("--rates", "1.5e1,15"), lambda spec: spec.rate == 15),
        (("--methods", "GTA"), lambda spec: spec.method.name == "gta"),
        (("--methods", "gta"), lambda spec: spec.method.name == "gta"),
        (("--methods", "BSS,Fine-tune"), lambda spec: spec.method.name in ("bss", "ce")),
        (("--datasets", "digits"), lambda spec: spec.dataset.name == "digits"),
        (("--seeds", "2"), lambda spec: spec.seed in (0, 1)),
        (("--seeds", "0,0,0"), lambda spec: spec.seed == 0),
        (("--seeds", "2,0,2"), lambda spec: spec.seed in (0, 2)),
        (("--split", "val"), lambda spec: True),
        (("--selection", "best-test"), lambda spec: True),
        (("--metric", "nll"), lambda spec: True),
    ],
)
def test_what_is_chosen_is_a_part_of_what_is_declared(
    declared: Path,
    capsys: pytest.CaptureFixture[str],
    kind: str,
    typed: tuple[str, ...],
    wanted: Callable[[RunSpec], bool],
) -> None:
    whole = read_plan(TARGETS[kind][0], Registry(["."])).unique
    assert call("plan", *TARGETS[kind], *typed, "--format", "json") == 0
    planned = {run["id"] for run in json.loads(capsys.readouterr().out)["runs"]}
    assert planned == {run for run, spec in whole.items() if wanted(spec)}
    assert planned


@pytest.mark.parametrize("kind", TARGETS)
def test_a_seed_that_is_typed_three_times_is_one_run(
    finished: Path, capsys: pytest.CaptureFixture[str], kind: str
) -> None:
    found = cells(capsys, kind, "--seeds", "0,0,0")
    for label in LABELS.values():
        assert (found[label]["n"], found[label]["planned"], found[label]["std"], found[label]["p"]) == (
            "1",
            "1",
            "",
            "",
        )
        assert found[label]["significant"] == "false"


@pytest.mark.parametrize("kind", TARGETS)
def test_the_validation_split_is_shown_where_it_is_typed(
    finished: Path, capsys: pytest.CaptureFixture[str], kind: str
) -> None:
    test, val = cells(capsys, kind), cells(capsys, kind, "--split", "val")
    for label in LABELS.values():
        assert float(val[label]["mean"]) == pytest.approx(float(test[label]["mean"]) + 5)


# ---- the same numbers, declared in three ways


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_numbers_give_the_same_statistics(
    finished: Path, capsys: pytest.CaptureFixture[str], kind: str
) -> None:
    found = cells(capsys, kind, "--test", "welch")
    p = [welch(VALUES[method], VALUES["ce"]) for method in ("bss", "gta")]
    for label, own, corrected in zip(("BSS", "GTA"), p, holm(p), strict=True):
        assert float(found[label]["p"]) == pytest.approx(own)
        assert float(found[label]["p_holm"]) == pytest.approx(float(corrected))
        assert (found[label]["n"], found[label]["planned"], found[label]["failed"]) == ("3", "3", "0")
        assert (found[label]["best"], found[label]["indistinguishable"]) == ("true", "true")  # they print alike
    assert float(found["GTA"]["mean"]) == pytest.approx(274 / 3)
    assert float(found["BSS"]["delta"]) == pytest.approx(273.96 / 3 - 81)
    assert (found["Fine-tune"]["best"], found["Fine-tune"]["indistinguishable"]) == ("false", "false")


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_for_programs_has_full_numbers_and_plain_signs(
    finished: Path, capsys: pytest.CaptureFixture[str], kind: str
) -> None:
    wanted = {"mean", "std", "n", "planned", "failed", "p", "p_holm", "published", "verdict"}
    for format in ("csv", "json"):
        assert call(*table_of(kind, "--format", format)) == 0
        text = capsys.readouterr().out
        records = list(csv.DictReader(io.StringIO(text))) if format == "csv" else json.loads(text)["cells"]
        assert wanted <= records[0].keys()
        assert all(str(each).isascii() for record in records for each in (record["mean"], record["printed"]))
        means = [float(record["mean"]) for record in records if record["mean"] not in ("", None)]
        assert any(mean == pytest.approx(274 / 3, abs=1e-12) for mean in means)


@pytest.mark.parametrize("kind", KINDS)
def test_bold_is_what_cannot_be_told_from_the_best_and_the_best_mean_where_that_is_asked_for(
    finished: Path, capsys: pytest.CaptureFixture[str], kind: str
) -> None:
    source = ("--source", "ours") if kind == "paper" else ()
    text = latex(capsys, kind, *source)
    assert all(r"\textbf{91." in text[label] for label in ("BSS", "GTA"))
    assert r"\textbf" not in text["Fine-tune"]
    by_means = latex(capsys, kind, *source, "--mark", "means")
    assert all(r"\textbf{91." in by_means[label] for label in ("BSS", "GTA"))  # they print alike


def latex(capsys: pytest.CaptureFixture[str], kind: str, *typed: str) -> dict[str, str]:
    """The first line of each method in the LaTeX of a table."""
    assert call(*table_of(kind, "--format", "latex", *typed)) == 0
    lines = [line for line in capsys.readouterr().out.splitlines() if line.endswith(r" \\")]
    return {label: next(line for line in lines if f"{label} " in line) for label in LABELS.values()}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("format", FORMATS)
def test_every_format_is_written_for_every_kind(
    finished: Path, capsys: pytest.CaptureFixture[str], kind: str, format: str
) -> None:
    assert call(*table_of(kind, "--format", format)) == 0
    assert "91.3" in capsys.readouterr().out

"""Claims: every statement true and false on small tables, files that are refused, and what the five papers say."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from bench.errors import InputError
from bench.papers.assertion import check
from bench.papers.claims import (
    BORNE_OUT,
    CANNOT_TELL,
    CONTRADICTED,
    NOT_SUPPORTED,
    NOT_TESTABLE,
    SUPPORTED,
    Judgement,
    Mean,
    PaperClaim,
    judge_ours,
    judge_published,
    printed_matrix,
    read_claims,
)
from bench.papers.published import published_table
from bench.papers.quantity import Untestable
from bench.registry import Registry

REGISTRY = Registry()
KINDS = "better, best, monotone, number, significant, all, not, unprinted"
PAPERS = ("coin", "drloc", "fd", "gta", "lacvit")

TABLE = """
title: made up
kind: results
metric: top1
stub: ["Dataset", "Method"]
rank: {within: ["Dataset"], columns: {cost: lower}}
columns: [["15%"], ["30%"], ["100%"], ["cost"]]
rows:
  - {label: ["birds", "base"], cells: ["40.0", "50.0", "80.0", "2.0"]}
  - {label: ["birds", "rival"], cells: ["42.0", "51.0", "81.0", "3.0"]}
  - {label: ["birds", "ours"], cells: ["50.0", "55.0", "81.0", "2.0"]}
  - {label: ["cars", "base"], cells: ["60.0", "70.0", "90.0", "2.0"]}
  - {label: ["cars", "rival"], cells: ["61.0", "69.0", "-", "3.0"]}
  - {label: ["cars", "ours"], cells: ["63.0", "72.0", "89.0", "1.0"]}
"""
RATES = 'columns: ["15%", "30%", "100%"]'


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A plug-in with one paper, its table, and a second that is turned about."""
    place = tmp_path / "paper_tables" / "mini"
    place.mkdir(parents=True)
    (place / "table1.yaml").write_text(TABLE.lstrip(), encoding="utf-8")
    (place / "table2.yaml").write_text(
        'title: t\nkind: results\nmetric: top1\nstub: ["τ"]\ncolumns: [["0.1"], ["0.5"]]\n'
        'rows:\n  - {label: ["acc"], cells: ["90.0", "91.0"]}\n',
        encoding="utf-8",
    )
    return tmp_path


def write(folder: Path, text: str) -> Registry:
    (folder / "paper_tables" / "mini" / "claims.yaml").write_text(text, encoding="utf-8")
    return Registry([folder])


def claim_of(folder: Path, statement: str, table: str = "table1") -> tuple[PaperClaim, Registry]:
    text = f"claims:\n  - claim: made up\n    section: '1'\n    table: {table}\n    {statement}\n"
    registry = write(folder, text)
    (claim,) = read_claims("mini", registry)
    return claim, registry


def judged(folder: Path, statement: str, table: str = "table1") -> Judgement:
    claim, registry = claim_of(folder, statement, table)
    return judge_published(claim, {name: published_table(name, registry) for name in claim.tables})


# ---- each statement, true and false


@pytest.mark.parametrize(
    ("statement", "holds"),
    [
        ('better: {row: ours, than: base, columns: ["15%", "30%"]}', True),
        (f"better: {{row: ours, than: base, {RATES}}}", False),  # cars at 100 %
        (f"better: {{row: ours, than: base, {RATES}, except: cars & 100%}}", True),
        (f"better: {{row: ours, than: base, {RATES}, among: birds}}", True),
        ("better: {row: ours, than: [base, rival], columns: 15%}", True),
        ("better: {pairs: {ours: base, rival: base}, columns: 30%}", False),  # the rival on cars
        ("better: {row: ours, than: rival, columns: cost}", True),  # lower is better there
        ("better: {row: rival, than: ours, columns: cost}", False),
        ("better: {row: ours, than: rival, columns: 100%}", False),  # 81.0 against 81.0
        ("better: {row: ours, than: rival, columns: 100%, or_equal: true}", True),
        ("better: {row: cars & base, than: birds & base, across: true, columns: 15%}", True),
        ("best: {row: ours, columns: 15%}", True),
        ("best: {row: rival, columns: 15%}", False),
        ("best: {row: ours, columns: 100%, among: birds}", True),  # a tie
        ("best: {row: ours, columns: 100%, among: birds, alone: true}", False),
        (f"monotone: {{row: ours, {RATES}, order: rising}}", True),
        (f"monotone: {{row: ours, {RATES}, order: falling}}", False),
        (f"monotone: {{row: ours, than: base, {RATES}, order: falling}}", True),  # 10, 5, 1 and 3, 2, -1
        (f"monotone: {{row: ours, than: base, {RATES}, order: rising}}", False),
        (f"number: {{row: ours, than: base, {RATES}, take: max, is: '10.0'}}", True),
        (f"number: {{row: ours, than: base, {RATES}, take: max, is: '10.2'}}", False),
        (f"number: {{row: ours, than: base, {RATES}, take: min, is: -1}}", True),
        ("number: {row: ours, than: base, columns: 15%, take: mean, is: '6.5'}", True),
        ("number: {row: ours, than: base, columns: 15%, take: mean, above: '6.5'}", False),
        ("number: {row: ours, than: base, columns: 15%, take: each, is: ['10.0', '3.0']}", True),
        ("number: {row: ours, than: base, columns: 15%, take: each, is: ['10.0', '3.5']}", False),
        ("number: {row: birds & ours, columns: 15%, take: each, is: '50.0'}", True),
        ("number: {row: birds & ours, columns: 15%, take: each, is: '50.1'}", False),  # a value is printed once
        (f"number: {{row: ours, than: base, {RATES}, take: count, is: 5}}", True),
        (f"number: {{row: ours, than: base, {RATES}, take: count, at_least: 6}}", False),
        (f"number: {{row: ours, than: base, {RATES}, take: count, between: [-1, 3], is: 4}}", True),
        (f"number: {{row: ours, than: base, {RATES}, take: max_abs, at_most: 10}}", True),
        ("number: {row: ours, than: base, columns: 100%, take: mean_abs, is: '1.0'}", True),
        ("number: {row: ours, than: base, columns: 100%, take: mean, is: '0.5'}", False),
        ("number: {row: ours, columns: 15%, take: spread, is: '13.0'}", True),
        ("number: {row: ours, than: others, against: best, columns: 15%, take: min, is: '2.0'}", True),
        ("number: {row: ours, than: others, against: best, columns: 15%, take: min, below: 2}", False),
        (
            "number: {row: ours, than: base, columns: 15%, take: mean, above: "
            "{row: ours, than: base, columns: 30%, take: mean}}",
            True,
        ),
        (
            "number: {row: ours, than: base, columns: 15%, take: mean, below: "
            "{row: ours, than: base, columns: 30%, take: mean}}",
            False,
        ),
        ("all: [{better: {row: ours, than: base, columns: 15%}}, {best: {row: ours, columns: 30%}}]", True),
        ("all: [{better: {row: ours, than: base, columns: 15%}}, {best: {row: base, columns: 30%}}]", False),
        ("not: {best: {row: base, columns: 15%}}", True),
        ("not: {best: {row: ours, columns: 15%}}", False),
        ("best: {table: table2, row: '0.5', transposed: true}", True),
        ("best: {table: table2, row: '0.1', transposed: true}", False),
    ],
)
def test_a_statement_holds_or_not(folder: Path, statement: str, holds: bool) -> None:
    assert judged(folder, statement).verdict == (BORNE_OUT if holds else CONTRADICTED)


DATASETS = ("birds", "cars", "dogs", "pets", "planes", "flowers")


def over_datasets(folder: Path, gains: list[float], statement: str) -> Judgement:
    """What is said of two methods on six datasets, which are columns, by how much the second is the better."""
    names = DATASETS[: len(gains)]
    labels = "".join(f"    {name}: {{dataset: digits}}\n" for name in names)
    rows = (f'["{name}"]' for name in names)
    cells = [[f'"{50 + sign * gain:.1f}"' for gain in gains] for sign in (0, 1)]
    (folder / "paper_tables" / "mini" / "table3.yaml").write_text(
        f"title: t\nkind: results\nmetric: top1\nstub: [m]\ncolumns: [{', '.join(rows)}]\nruns:\n  labels:\n{labels}"
        f"rows:\n  - {{label: [base], cells: [{', '.join(cells[0])}]}}\n"
        f"  - {{label: [ours], cells: [{', '.join(cells[1])}]}}\n",
        encoding="utf-8",
    )
    return judged(folder, statement, "table3")


SIGNIFICANT = "significant: {row: ours, than: base}"


@pytest.mark.parametrize(
    ("gains", "statement", "verdict", "p"),
    [
        ([1, 2, 3, 4, 5, 6], SIGNIFICANT, BORNE_OUT, "0.0312"),  # two ways of 2^6
        ([1, 2, 3, 4, 5, -6], SIGNIFICANT, CONTRADICTED, "0.438"),
        ([-1, -2, -3, -4, -5, -6], SIGNIFICANT, CONTRADICTED, "0.0312"),  # worse for sure
        ([-1, 2, 3, 4, 5, 6], "significant: {row: ours, than: base, alpha: 0.1}", BORNE_OUT, "0.0625"),
    ],
)
def test_significance_over_datasets(folder: Path, gains: list[float], statement: str, verdict: str, p: str) -> None:
    judgement = over_datasets(folder, gains, statement)
    assert judgement.verdict == verdict
    assert f"over 6 datasets (p = {p}), by Wilcoxon's signed-rank test at " in judgement.computed
    assert judgement.computed.endswith("it is about datasets like these, and not about the seeds on any of them")


def test_significance_out_of_reach_is_not_testable_with_the_arithmetic(folder: Path) -> None:
    judgement = over_datasets(folder, [1, 2, 3, 4, 5], SIGNIFICANT)
    assert judgement.verdict == NOT_TESTABLE
    assert "the smallest possible p of the Wilcoxon signed-rank test is 0.0625" in judgement.computed


@pytest.mark.parametrize(
    ("statement", "problem"),
    [
        ("significant: {row: ours, than: base}", "significant is tested over columns of datasets, and not 15%"),
        ("significant: {row: ours}", "significant compares rows; 'than' or 'pairs' says with which"),
        ("significant: {row: ours, than: base, alpha: 5}", "alpha is a number between 0 and 1, not 5"),
    ],
)
def test_significance_of_something_else_is_refused(folder: Path, statement: str, problem: str) -> None:
    with pytest.raises(InputError) as caught:
        claim_of(folder, statement)
    assert any(problem in each for each in caught.value.problems)


def test_what_lacvit_calls_significant_is_so_over_its_datasets_by_our_test() -> None:
    (verdict,) = [verdict for text, verdict in verdicts("lacvit").items() if "statistically significant" in text]
    assert verdict.verdict == BORNE_OUT
    assert "CE +3.56 over 7 datasets (p = 0.0234)" in verdict.computed
    assert "Holm-corrected over 3 comparisons" in verdict.computed


def test_a_contradiction_names_its_cells_with_their_numbers(folder: Path) -> None:
    verdict = judged(folder, f"better: {{row: ours, than: base, {RATES}}}")
    assert verdict.against == ("cars / ours / 100% against base: -1.0",)
    assert verdict.line == (
        "contradicted: 5 of 6 gaps are positive; the smallest is -1.0 (cars / ours / 100% against base)"
    )


def test_rounding_of_what_is_printed_is_no_contradiction(folder: Path) -> None:
    """10.0 of two printed values may be 9.9 or 10.1 before rounding, and 10.2 only with a longer stretch."""
    for stated, verdict in (("10.1", BORNE_OUT), ("9.9", BORNE_OUT), ("10.16", CONTRADICTED), ("10", BORNE_OUT)):
        statement = f"number: {{row: ours, than: base, columns: 15%, take: max, is: '{stated}'}}"
        assert judged(folder, statement).verdict == verdict


@pytest.mark.parametrize(
    ("statement", "reason"),
    [
        ("unprinted: it is in a figure", "it is in a figure"),
        ("number: {row: cars & rival, columns: 100%, take: each, is: 1}", "the table prints no such number"),
        ("monotone: {row: ours, columns: 15%, order: rising}", "there are fewer than two numbers to compare"),
        ("number: {row: ours, columns: 15%, take: each, is: [1, 2, 3]}", "3 numbers are stated and the table gives 2"),
    ],
)
def test_what_no_number_decides_is_not_testable(folder: Path, statement: str, reason: str) -> None:
    assert judged(folder, statement) == Judgement(NOT_TESTABLE, reason, reason=reason)


# ---- our runs


def ours_of(change: float, missing: bool = False, noise: float = 0.0) -> list[list[Mean]]:
    """Our means: those in print, with ``ours`` at 15 % moved."""
    rows: list[list[float]] = [[40, 50, 80, 2], [42, 51, 81, 3], [50, 55, 81, 2]]
    rows += [[60, 70, 90, 2], [61, 69, math.nan, 3], [63, 72, 89, 1]]
    for row in (2, 5):
        rows[row][0] += change
    found: list[list[Mean]] = [[(float(value), "", noise) for value in row] for row in rows]
    if missing:
        found[2][0] = (math.nan, "its weights were never published", math.nan)
    return found


@pytest.mark.parametrize(
    ("statement", "change", "verdict"),
    [
        ("better: {row: ours, than: base, columns: 15%}", 0, SUPPORTED),
        ("better: {row: ours, than: base, columns: 15%}", -5, NOT_SUPPORTED),
        ("number: {row: ours, than: base, columns: 15%, take: max, is: '10.0'}", 2, SUPPORTED),  # reached
        ("number: {row: ours, than: base, columns: 15%, take: max, is: '10.0'}", -1, NOT_SUPPORTED),
        ("number: {row: base, than: ours, columns: 15%, take: min, is: '-10.0'}", 2, SUPPORTED),
        ("not: {better: {row: ours, than: base, columns: 15%}}", 0, NOT_SUPPORTED),
    ],
)
def test_our_means_support_a_claim_or_not(folder: Path, statement: str, change: float, verdict: str) -> None:
    claim, registry = claim_of(folder, statement)
    tables = {"mini/table1": published_table("mini/table1", registry)}
    assert judge_ours(claim, tables, {"mini/table1": ours_of(change)}).verdict == verdict


@pytest.mark.parametrize(
    ("statement", "noise", "verdict"),
    [
        ("better: {row: ours, than: base, columns: 15%}", 1.0, SUPPORTED),  # gaps of 10 and 3: 1.41 is left
        ("better: {row: ours, than: base, columns: 15%}", 3.0, CANNOT_TELL),
        ("better: {row: ours, than: base, columns: 15%}", math.nan, CANNOT_TELL),
        ("better: {row: base, than: ours, columns: 15%}", 3.0, NOT_SUPPORTED),  # one gap of 10 is against it for sure
        ("better: {row: base, than: ours, columns: 15%}", 8.0, CANNOT_TELL),
        ("not: {better: {row: base, than: ours, columns: 15%}}", 3.0, SUPPORTED),
        ("not: {better: {row: base, than: ours, columns: 15%}}", 8.0, CANNOT_TELL),
        ("monotone: {row: base, columns: [15%, 30%], order: rising}", 5.0, SUPPORTED),  # steps of 10: 7.1 is left
        ("monotone: {row: base, columns: [15%, 30%], order: rising}", 8.0, CANNOT_TELL),
        ("number: {row: ours, than: base, columns: 15%, take: max, is: '9.0'}", 0.5, SUPPORTED),
        ("number: {row: ours, than: base, columns: 15%, take: max, is: '9.0'}", 1.0, CANNOT_TELL),
        ("number: {row: ours, than: base, columns: 15%, take: mean, above: 6}", 0.4, SUPPORTED),  # 6.5, of two gaps
        ("number: {row: ours, than: base, columns: 15%, take: mean, above: 6}", 0.6, CANNOT_TELL),
        ("number: {row: ours, than: base, columns: 15%, take: count, at_least: 2}", 1.0, SUPPORTED),
        ("number: {row: ours, than: base, columns: 15%, take: count, at_least: 2}", 3.0, CANNOT_TELL),
        ("number: {row: ours, than: base, columns: 15%, take: count, at_least: 1}", 3.0, SUPPORTED),
    ],
)
def test_what_seeds_could_turn_round_cannot_be_told(folder: Path, statement: str, noise: float, verdict: str) -> None:
    claim, registry = claim_of(folder, statement)
    tables = {"mini/table1": published_table("mini/table1", registry)}
    judgement = judge_ours(claim, tables, {"mini/table1": ours_of(0, noise=noise)})
    assert judgement.verdict == verdict
    assert ("by the means alone" in judgement.computed) == (verdict == CANNOT_TELL)


def test_all_hold_only_where_each_does_for_sure(folder: Path) -> None:
    """A part that fails for sure decides it whatever the others are; one that cannot be told leaves it open."""
    firm, loose = "{better: {row: ours, than: base, columns: 15%}}", "{better: {row: ours, than: base, columns: 30%}}"
    against = "{better: {row: base, than: ours, columns: 15%}}"
    for parts, verdict in (
        ([firm], SUPPORTED), ([firm, loose], CANNOT_TELL), ([loose, against], NOT_SUPPORTED)
    ):  # fmt: skip
        claim, registry = claim_of(folder, f"all: [{', '.join(parts)}]")
        tables = {"mini/table1": published_table("mini/table1", registry)}
        assert judge_ours(claim, tables, {"mini/table1": ours_of(0, noise=1.5)}).verdict == verdict


def test_a_claim_about_what_was_not_run_is_not_testable(folder: Path) -> None:
    claim, registry = claim_of(folder, "better: {row: ours, than: base, columns: 15%}")
    tables = {"mini/table1": published_table("mini/table1", registry)}
    verdict = judge_ours(claim, tables, {"mini/table1": ours_of(0, missing=True)})
    assert verdict == Judgement(
        NOT_TESTABLE, "birds / ours / 15%: its weights were never published", reason="its weights were never published"
    )
    claim, _ = claim_of(folder, "better: {row: ours, than: base, columns: 30%}")
    assert judge_ours(claim, tables, {"mini/table1": ours_of(0, missing=True)}).verdict == SUPPORTED


# ---- malformed files


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("claim: []\n", "1: the file has one key, 'claims', with a list that is not empty"),
        ("claims: []\n", "1: the file has one key, 'claims', with a list that is not empty"),
        ("claims:\n  - a sentence\n", "1: a claim is a mapping, not 'a sentence'"),
        (
            "claims:\n  - claim: c\n    section: '1'\n    table: table9\n    best: {row: ours}\n",
            "4: no table of mini is called 'table9'; did you mean 'table2'? (there are: table1, table2)",
        ),
        ("claims:\n  - claim: c\n    section: 1\n    table: table1\n", "3: 'section' is missing or is not a text"),
        (
            "claims:\n  - claim: c\n    section: '1'\n    table: table1\n",
            f"2: a claim has one of {KINDS}; this one has none",
        ),
        (
            "claims:\n  - claim: c\n    section: '1'\n    table: table1\n    best: {row: ours}\n    not: {}\n",
            f"2: a claim has one of {KINDS}; this one has ['best', 'not']",
        ),
    ],
)
def test_a_malformed_file_is_refused_with_its_line(folder: Path, text: str, problem: str) -> None:
    assert problems(folder, text)[0] == problem


@pytest.mark.parametrize(
    ("statement", "problem"),
    [
        ("bets: {row: ours}", "no key of a claim is called 'bets'; did you mean 'best'?"),
        ("best: ours", "best is a mapping, not 'ours'"),
        ("best: {rows: ours}", "no key of best is called 'rows'; did you mean 'row'?"),
        ("best: {columns: 15%}", "'row' (or 'pairs') says which rows are meant"),
        ("best: {row: hours}", "no row of this table is called 'hours'; did you mean 'ours'?"),
        ("best: {row: birds & cars}", "no row of this table is called 'birds & cars'"),
        ("best: {row: ours, columns: 60%}", "no column of this table is called '60%'"),
        ("best: {row: ours, except: dogs}", "no cell of this table is called 'dogs'"),
        ("best: {row: [1.0]}", "row is a label or a list of labels; write numbers in quotes"),
        ("better: {row: ours, than: bass}", "no row of this table is called 'bass'; did you mean 'base'?"),
        ("better: {row: ours, than: base, against: worst}", "against is each or best, not 'worst'"),
        ("monotone: {row: ours, order: rising}", "monotone names its columns, in their order"),
        ("monotone: {row: ours, columns: 15%, order: up}", "order is rising or falling, not 'up'"),
        ("number: {row: ours, take: most, is: 1}", "no take is called 'most'"),
        ("number: {row: ours, take: max}", "a number has one of is, at_least, at_most, above, below; it has none"),
        ("number: {row: ours, take: max, is: much}", "a number as printed is wanted, such as 10.78; it is 'much'"),
        ("number: {row: ours, take: max, is: .nan}", "a number as printed is wanted, such as 10.78; it is nan"),
        ("number: {row: ours, take: max, between: [1, 2], is: 1}", "between is [low, high], of a count"),
        (
            "number: {row: ours, take: max, above: {row: base, take: max, is: 3}}",
            "a number has no relation of its own; it has ['is']",
        ),
        (
            "all: [ours]",
            f"each part is a mapping with one key of {KINDS}",
        ),
        (
            "not: {}",
            f"each part is a mapping with one key of {KINDS}",
        ),
        ("best: {row: ours, table: table3}", "no table of mini is called 'table3'"),
    ],
)
def test_a_malformed_statement_is_refused_with_its_line(folder: Path, statement: str, problem: str) -> None:
    text = f"claims:\n  - claim: c\n    section: '1'\n    table: table1\n    {statement}\n"
    assert any(found.startswith(f"5: {problem}") for found in problems(folder, text)), problems(folder, text)


def test_all_problems_are_told_at_once(folder: Path) -> None:
    head = "  - claim: c\n    section: '1'\n    table: table1\n"
    text = f"claims:\n{head}    best: {{row: hours}}\n{head}    best: {{row: theirs}}\n"
    assert [found.partition(":")[0] for found in problems(folder, text)] == ["5", "9"]


def problems(folder: Path, text: str) -> list[str]:
    registry = write(folder, text)
    with pytest.raises(InputError) as caught:
        read_claims("mini", registry)
    return [each.rpartition("claims.yaml:")[2] for each in caught.value.problems]


def test_python_in_a_file_is_a_text(folder: Path) -> None:
    claim, registry = claim_of(folder, "unprinted: __import__('os').abort()")
    matrix = printed_matrix(published_table("mini/table1", registry))
    with pytest.raises(Untestable, match=r"__import__\('os'\)"):
        check(claim.assertion, {"mini/table1": matrix})


def test_all_cells_beyond_a_limit_are_named(folder: Path) -> None:
    verdict = judged(folder, "number: {row: ours, than: base, columns: ['30%', '100%'], take: min, at_least: 2}")
    assert verdict.against == ("birds / ours / 100% against base: +1.0", "cars / ours / 100% against base: -1.0")


# ---- the papers


def test_a_file_of_claims_is_no_table() -> None:
    assert sorted(REGISTRY.claims_files) == sorted(PAPERS)
    assert not [name for name in REGISTRY.table_files if name.endswith("claims")]


@pytest.mark.parametrize("paper", PAPERS)
def test_each_claim_of_a_paper_has_a_verdict_in_one_line(paper: str) -> None:
    claims = read_claims(paper, REGISTRY)
    assert len(claims) >= 12
    assert len({claim.text for claim in claims}) == len(claims)
    for claim in claims:
        verdict = judge_published(claim, {name: published_table(name, REGISTRY) for name in claim.tables})
        assert verdict.verdict in (BORNE_OUT, CONTRADICTED, NOT_TESTABLE)
        assert verdict.line.startswith(f"{verdict.verdict}: ")
        assert "\n" not in verdict.line
        assert verdict.computed
        of_one_cell = not any(word in verdict.computed for word in ("the mean is", "it is so in"))
        assert bool(verdict.against) == (verdict.verdict == CONTRADICTED and of_one_cell)


def verdicts(paper: str) -> dict[str, Judgement]:
    return {
        claim.text: judge_published(claim, {name: published_table(name, REGISTRY) for name in claim.tables})
        for claim in read_claims(paper, REGISTRY)
    }


@pytest.mark.slow
def test_what_the_papers_say_is_mostly_borne_out_and_sometimes_not() -> None:
    every = [verdict for paper in PAPERS for verdict in verdicts(paper).values()]
    assert len(every) >= 60
    assert sum(verdict.verdict == BORNE_OUT for verdict in every) > 100
    assert sum(verdict.verdict == CONTRADICTED for verdict in every) == 16


@pytest.mark.parametrize(
    ("paper", "text", "verdict", "part"),
    [
        ("lacvit", "LaCViT improves three transformers by up to 10.78 points", BORNE_OUT, "the largest is 10.78"),
        ("lacvit", "SimMIM gains 2.74 points on average over the datasets", CONTRADICTED, "the mean is 2.78"),
        ("drloc", "with the loss ResNet-50 is better on 9 of 10 datasets", BORNE_OUT, "it is so in 9 of 10"),
        ("fd", "all listed models gain 1.0 to 2.0 points on ImageNet-1K", CONTRADICTED, "the smallest is 0.2"),
        ("fd", "distilling MAE gains 0.2 points, from 83.6 to 83.8", BORNE_OUT, "the number is 0.2"),
        ("coin", "COIN always has the lowest S_Dbw", BORNE_OUT, "10 of 10"),
        (
            "gta",
            "GTA improves every dataset with a supervised and with a self-supervised source",
            CONTRADICTED,
            "Cars / GTA (SL) / 100% against baseline (SL)",
        ),
        ("gta", "the same tendency is seen at 30 % and 50 %", NOT_TESTABLE, "15 % and 100 % alone"),
    ],
)
def test_a_verdict_that_was_worked_out_by_hand(paper: str, text: str, verdict: str, part: str) -> None:
    found = verdicts(paper)[text]
    assert found.verdict == verdict
    assert part in found.line

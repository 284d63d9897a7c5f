"""What a page of results holds: the bytes of ``bench table``, every run, and nobody's text as markup."""

from __future__ import annotations

import base64
import hashlib
import re
import shlex
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench.cli import main
from bench.commands.page_making import PageInMaking
from bench.plan.target import read_plan
from bench.records.store import Store
from bench.registry import Registry
from bench.report.choices import Viewpoint, viewpoints
from bench.report.page import LIBRARIES, asset
from bench.report.runs import TOGETHER
from tests.report.read import parts_in, tags_in
from tests.report.scenes import CLASSES, IMAGES, LABEL, MARKUP, TARGET, TITLE, publish
from tests.tables.small import planned


@pytest.fixture
def here(grid: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(grid)
    return grid


@pytest.fixture
def parts(here: Path) -> dict[str, Any]:
    return parts_in(here / "page.html")


def choices(parts: dict[str, Any]) -> list[dict[str, str]]:
    (table,) = parts["report"]["tables"]
    held: list[dict[str, str]] = table["choices"]
    return held


def every_cell(parts: dict[str, Any]) -> list[dict[str, Any]]:
    (table,) = parts["report"]["tables"]
    names = dict.fromkeys(cell["part"] for cell in table["cells"])
    return [cell for name in names for cell in parts[name]["cells"]]


def every_run(parts: dict[str, Any]) -> dict[str, dict[str, Any]]:
    candidates = [candidate for cell in every_cell(parts) for candidate in cell["candidates"]]
    return {run["id"]: run for candidate in candidates for run in candidate["runs"]}


class TestTable:
    """What the page shows is what the command prints."""

    @pytest.mark.parametrize("format", ["latex", "markdown", "csv"])
    def test_what_is_copied_are_the_bytes_of_the_command(
        self, parts: dict[str, Any], format: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """Of the usual way to look, and of the last of each kind."""
        last = {tuple(bool(each[name]) for name in ("metric", "selection", "test")): each for each in choices(parts)}
        for choice in [choices(parts)[0], choices(parts)[1], *last.values()]:
            assert main([*shlex.split(choice["command"])[1:], "--format", format]) == 0
            assert parts[choice["part"]]["copies"][format] == capsys.readouterr().out

    def test_each_way_to_look_is_another(self, parts: dict[str, Any]) -> None:
        ways = [tuple(each[name] for name in ("metric", "selection", "test", "source")) for each in choices(parts)]
        assert len({*ways}) == len(ways)
        assert {way[1] for way in ways} == {"last", "best-val", "best-test"}
        assert {"top-1 (%)", "negative log-likelihood", "training time (s)"} <= {way[0] for way in ways}
        assert len({way[2] for way in ways if way[0] == "top-1 (%)"}) > 2

    def test_what_is_typed_is_what_it_holds(self, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
        typed = ["--metric", "nll,top1", "--selection", "best-val,last", "--test", "welch"]
        assert main(["report", TARGET, *typed, "--output", "typed.html"]) == 0
        held = choices(parts_in(here / "typed.html"))
        metrics = ["negative log-likelihood", "top-1 (%)"]
        assert [*dict.fromkeys(each["metric"] for each in held)] == metrics
        assert {(each["metric"], each["selection"]) for each in held} == {
            (metric, rule) for metric in metrics for rule in ("best-val", "last")
        }
        assert {each["test"] for each in held} == {"Welch t-test"}
        assert held[0]["selection"] == "best-val"

    def test_a_large_table_has_what_differs_in_one_way_first(self) -> None:
        every = viewpoints(["nll", "ece"], ["best-val"], ["welch"], cells=100, most=600)
        assert every[:5] == [
            Viewpoint(),
            Viewpoint(test="welch"),
            Viewpoint(selection="best-val"),
            Viewpoint("nll"),
            Viewpoint("ece"),
        ]
        assert len(every) == 6
        assert viewpoints(["nll"], [], [], cells=5000, most=600) == [Viewpoint()]
        assert viewpoints(["nll", "ece"], [], [], cells=5000, is_typed=Viewpoint("ece").__eq__) == [
            Viewpoint(),
            Viewpoint("ece"),
        ]

    def test_a_papers_table_has_its_printed_numbers(self, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["report", "gta/table2", "--output", "paper.html"]) == 0
        held = parts_in(here / "paper.html")
        (choice,) = choices(held)
        assert choice["source"] == "published"
        capsys.readouterr()
        assert main([*shlex.split(choice["command"])[1:], "--format", "latex"]) == 0
        sheet = held[choice["part"]]
        assert sheet["copies"]["latex"] == capsys.readouterr().out
        assert any(sheet["facts"]["published"])

    def test_a_papers_table_with_runs_has_both_and_each_by_itself(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.chdir(tmp_path)
        planned(tmp_path / "plugin")
        store = Store("results")
        for spec in read_plan("mini/table1", Registry([tmp_path / "plugin"])).unique.values():
            publish(store, spec)
        assert main(["report", "mini/table1", "--plugin", "plugin", "--output", "mini.html"]) == 0
        held = parts_in(tmp_path / "mini.html")
        first = choices(held)[:3]
        assert [choice["source"] for choice in first] == ["both", "published", "ours"]
        capsys.readouterr()
        for choice in first:
            for format, text in held[choice["part"]]["copies"].items():
                assert main([*shlex.split(choice["command"])[1:], "--format", format]) == 0
                assert text == capsys.readouterr().out
        verdicts = held[first[0]["part"]]["facts"]["verdict"]
        assert any(verdicts)
        assert held[first[0]["part"]]["numbers"] == ["published", "mean"]


class TestRuns:
    """What lies behind a number."""

    def test_every_run_of_the_plan_is_there(self, parts: dict[str, Any]) -> None:
        runs = every_run(parts)
        assert len(runs) == (1 + 1 + 2) * 2 * 3
        assert sorted({run["status"] for run in runs.values()}) == ["done", "failed"]

    def test_a_run_says_how_it_is_repeated_and_what_it_is(self, parts: dict[str, Any]) -> None:
        (table,) = parts["report"]["tables"]
        part = parts[table["cells"][0]["part"]]
        run = part["cells"][0]["candidates"][0]["runs"][0]
        assert run["repeat"] == f"bench rerun {run['id']} --check --results results"
        assert part["specs"][run["spec"]]["method"]["name"] == "ce"
        assert "torch" in parts["report"]["versions"][run["versions"]]["packages"]
        assert parts["report"]["hardware"][run["hardware"]]["cores"]
        assert [point["step"] for point in run["curve"]] == [5, 10, 15]
        assert run["picked"]["last"] == 2
        assert run["log"].splitlines() == ["step 5", MARKUP, "\\u202egnp.exe\\u2066", "red"]

    def test_what_runs_share_stands_once(self, parts: dict[str, Any]) -> None:
        (table,) = parts["report"]["tables"]
        names = {cell["part"] for cell in table["cells"]}
        assert len(names) == 1  # 24 runs are fewer than lie in a part
        assert len(parts[names.pop()]["specs"]) == (1 + 1 + 2) * 2
        assert len(parts["report"]["versions"]) == len(parts["report"]["hardware"]) == 1
        assert TOGETHER > 24

    def test_a_failed_run_says_of_what(self, parts: dict[str, Any]) -> None:
        (failed,) = [run for run in every_run(parts).values() if run["status"] == "failed"]
        assert failed["failure"]["class"] == "oom"
        assert failed["failure"]["trace"] == f"line 1\n{MARKUP}"
        assert failed["log"] == "the end"

    def test_classes_are_those_of_the_predictions(self, parts: dict[str, Any]) -> None:
        (table,) = parts["report"]["tables"]
        cell = parts[table["cells"][0]["part"]]["cells"][0]
        classes = cell["classes"]
        assert (len(classes["labels"]), len(classes["accuracy"]), classes["runs"]) == (CLASSES, CLASSES, 3)
        for true, taken, share in classes["confused"]:  # the scene takes each class for the next one
            assert taken == (true + 1) % CLASSES
            assert classes["accuracy"][true] + share == pytest.approx(100, abs=0.011)

    def test_images_are_those_that_the_runs_got_wrong(self, grid: Path, parts: dict[str, Any]) -> None:
        """Counted anew, from the files of the predictions."""
        (table,) = parts["report"]["tables"]
        first, _ = parts[table["images"]]["sets"]
        assert first["where"].endswith("15 %")
        chosen = next(cell for cell in every_cell(parts) if len(cell["candidates"]) == 2)["candidates"][0]["label"]
        wrong = np.zeros((3, IMAGES))
        for cell in every_cell(parts):
            row, column = cell["place"]
            for candidate in cell["candidates"] if column == 0 else []:
                for run in candidate["runs"] if candidate.get("label", "") in ("", chosen) else []:
                    (folder,) = (grid / "results" / "runs").glob(f"*{run['id']}")
                    kept = np.load(folder / "predictions.npz")
                    wrong[row] += kept["test"][-1] != kept["test_labels"]
        same = [image for image in first["hardest"] if image["wrong"] > 0]
        assert [image["wrong"] for image in same] == sorted((image["wrong"] for image in same), reverse=True)
        for image in same:
            assert image["wrong"] == pytest.approx(100 * wrong[:, image["at"]].sum() / 9, abs=0.06)
            assert image["right"] == pytest.approx([100 - 100 * each / 3 for each in wrong[:, image["at"]]], abs=0.06)
        gaps = [max(image["right"]) - min(image["right"]) for image in first["disputed"]]
        assert gaps == sorted(gaps, reverse=True)

    def test_costs_are_means_over_runs(self, parts: dict[str, Any]) -> None:
        sheet = parts[choices(parts)[0]["part"]]
        assert sheet["costs"]["seconds"] == [2.5] * 6
        assert sheet["costs"]["trained"] == [78490] * 6


class TestSafety:
    """What the page is made of, as it is written."""

    def test_nothing_that_somebody_wrote_is_in_the_document_but_its_title(self, here: Path) -> None:
        text = (here / "page.html").read_text(encoding="utf-8")
        assert "window.hacked" not in text
        assert "\u202e" not in text
        assert LABEL not in text
        assert text.count("Three ways") == 2
        assert TITLE not in text

    def test_nothing_is_asked_of_anybody(self, here: Path) -> None:
        tags = tags_in(here / "page.html")
        assert {tag for tag, _ in tags} == {
            "html",
            "head",
            "meta",
            "title",
            "style",
            "body",
            "main",
            "h1",
            "noscript",
            "p",
            "script",
        }
        assert not [attributes for _, attributes in tags if {"src", "href", "style", "onload"} & attributes.keys()]

    def test_the_policy_allows_its_own_scripts_and_styles_alone(self, here: Path) -> None:
        text = (here / "page.html").read_text(encoding="utf-8")
        (policy,) = re.findall(r'<meta http-equiv="Content-Security-Policy" content="(.*?)">', text)
        rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
        assert rules.pop("default-src") == rules.pop("base-uri") == rules.pop("form-action") == "'none'"
        assert rules.pop("img-src") == "data:"
        for element, rule in (("script", "script-src"), ("style", "style-src")):
            contents = re.findall(rf"<{element}>(.*?)</{element}>", text, re.DOTALL)
            digests = [base64.b64encode(hashlib.sha256(each.encode()).digest()).decode() for each in contents]
            assert rules.pop(rule).split() == [f"'sha256-{digest}'" for digest in digests]
        assert rules == {}

    def test_the_libraries_licences_are_in_it(self, here: Path) -> None:
        text = (here / "page.html").read_text(encoding="utf-8")
        assert "Mike Bostock" in text
        assert "THE SOFTWARE IS PROVIDED" in text

    @pytest.mark.parametrize("name", ["elements.js", "table.js", "figures.js", "runs.js", "report.js"])
    def test_text_never_becomes_markup(self, name: str) -> None:
        assert not re.search(
            r"innerHTML|outerHTML|insertAdjacent|document\.write|eval\(|new Function|\.html\(", asset(name)
        )

    @pytest.mark.parametrize("name", LIBRARIES)
    def test_a_library_is_as_it_was_published(self, name: str) -> None:
        digests = {
            "d3.min.js": "912111098ea99503a6f4967361d2bbdc9dbf58cf9c678c8e27e5b02d1a07f0c1",
            "plot.umd.min.js": "4358086467740777dd788d6b27a95cebdbaefdd50c730a3060117073bd7134cb",
        }
        assert hashlib.sha256(asset(name).encode()).hexdigest() == digests[name]

    def test_the_same_records_give_the_same_page(self, here: Path) -> None:
        assert main(["report", TARGET, "--output", "again.html"]) == 0
        assert (here / "again.html").read_bytes().replace(b"again.html", b"page.html") == (
            here / "page.html"
        ).read_bytes()


class TestCommand:
    def test_it_lies_beside_the_results(self, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["report", TARGET, "--methods", "ce"]) == 0
        (page,) = (here / "results" / "reports").glob("mine-*.html")
        assert capsys.readouterr().out == f"{page.relative_to(here)}\n"

    def test_a_folder_has_a_page_for_each_target_and_one_that_lists_them(
        self, here: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert main(["report", TARGET, "gta/table2", "--folder", "pages"]) == 0
        pages = ["pages/mine.html", "pages/gta-table2.html", "pages/index.html"]
        assert capsys.readouterr().out.split() == pages
        links = [attributes["href"] for tag, attributes in tags_in(here / "pages" / "index.html") if tag == "a"]
        assert links == ["mine.html", "gta-table2.html"]
        assert parts_in(here / "pages" / "mine.html")["report"]["command"] == f"bench report {TARGET}"

    def test_it_says_how_far_the_runs_are(self, parts: dict[str, Any]) -> None:
        assert parts["report"]["progress"] == "23 of 24 runs done, 1 failed"

    def test_what_is_watched_is_written_until_nothing_runs(
        self, here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """While runs are in training a browser is told to read it again, and afterwards no more."""
        states = [True, True, False]
        pages = list[str]()
        monkeypatch.setattr(PageInMaking, "progress", lambda self, queued: ("words", states.pop(0)))
        monkeypatch.setattr(time, "sleep", lambda seconds: pages.append((here / "watched.html").read_text()))
        assert main(["report", TARGET, "--output", "watched.html", "--watch", "7"]) == 0
        assert len(pages) == 2
        assert all('<meta http-equiv="refresh" content="7">' in page for page in pages)
        assert 'http-equiv="refresh"' not in (here / "watched.html").read_text()
        assert capsys.readouterr().out == "watched.html\n"

    def test_several_targets_are_one_page(self, here: Path) -> None:
        assert main(["report", TARGET, "gta/table2", "coin/table6", "--output", "three.html"]) == 0
        tables = parts_in(here / "three.html")["report"]["tables"]
        assert [table["name"] for table in tables] == ["mine", "gta/table2", "coin/table6"]

    @pytest.mark.parametrize(
        ("typed", "why"),
        [
            (["demo", "--output", "a.pdf"], "--output a.pdf: a page is an .html file"),
            (["demo", "--output", "no/a.html"], "--output no/a.html: there is no folder no"),
            (["demo", "--output", "a.html", "--folder", "b"], "give one"),
            (["demo", "--watch", "0"], "--watch 0: this must be above 0 seconds"),
            (["demo", "--watch", "--folder", "b"], "one page is watched"),
            (["dmeo"], "did you mean 'demo'?"),
            (["demo", "--metric", "top1,nonsense"], "no metric is called 'nonsense'"),
            (["demo", "--metric", "top1,jaccard(mass=0.9,of=1)"], "jaccard(mass=0.9,of=1): no option is called 'of'"),
            (["demo", "--selection", "last,first"], "no selection is called 'first'"),
        ],
    )
    def test_a_mistake_is_a_line(
        self, here: Path, typed: list[str], why: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert main(["report", *typed]) == 2
        said = capsys.readouterr().err
        assert why in said
        assert said.count("\n") == 1

    def test_without_what_is_heavy(self, here: Path) -> None:
        code = (
            "import sys\nfrom bench.cli import main\n"
            f"assert main(['report', {TARGET!r}, '--output', 'light.html']) == 0\n"
            "heavy = {'torch', 'torchvision', 'timm', 'sklearn', 'pandas', 'matplotlib'} & set(sys.modules)\n"
            "assert not heavy, heavy"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr

    def test_without_records_the_page_says_so(self, here: Path, tmp_path: Path) -> None:
        assert main(["report", TARGET, "--results", str(tmp_path), "--output", "none.html"]) == 0
        held = parts_in(here / "none.html")
        assert {run["status"] for run in every_run(held).values()} == {"missing"}
        assert any("No run has finished" in note for note in held[choices(held)[0]["part"]]["notes"])

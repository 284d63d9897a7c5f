"""The page in a real browser. Needs Chromium and playwright; in CI their absence is a failure, not a skip."""

from __future__ import annotations

import importlib.util
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bench.cli import main
from tests.report.read import parts_in
from tests.report.scenes import LABEL, TARGET

pytestmark = [pytest.mark.browser, pytest.mark.slow]

SIZES = [(1280, 900), (400, 800)]
SIDE = "#panel"


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    """A browser of the system, without a window."""
    program = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    lacking = "Chromium is not installed (Debian: chromium)" if program is None else ""
    for module in ("playwright", "axe_playwright_python"):
        if importlib.util.find_spec(module) is None:
            lacking = f"{module} is not installed (pip install -e '.[test]')"
    if lacking and os.environ.get("CI"):
        pytest.fail(f"CI must have it: {lacking}")
    if lacking:
        pytest.skip(lacking)
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield browser
        browser.close()


class Visit:
    """A page that is looked at, and all that it says to the console and asks of the network."""

    def __init__(self, chromium: Any, path: Path, **settings: Any) -> None:
        self.context = chromium.new_context(**{"viewport": {"width": 1280, "height": 900}, **settings})
        self.context.grant_permissions(["clipboard-read", "clipboard-write"])
        self.page = self.context.new_page()
        self.trouble: list[str] = []
        self.requests: list[str] = []
        self.page.on("console", lambda message: self.trouble.append(message.text))
        self.page.on("pageerror", lambda error: self.trouble.append(str(error)))
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.on("dialog", lambda dialog: self.trouble.append(dialog.message))
        self.address = path.as_uri()
        self.page.goto(self.address)
        self.page.wait_for_selector("html[data-ready]")
        self.page.wait_for_selector("#figures figure, #figures:empty", state="attached")

    def column(self, number: int) -> list[str]:
        """The numbers of a column of the table, row by row."""
        cells = self.page.locator(f"#table tbody tr td:nth-of-type({number})").all_inner_texts()
        return [text.split()[0].rstrip("†‡") for text in cells]

    def choose(self, label: str, words: str) -> None:
        self.page.get_by_label(label, exact=True).select_option(label=words)
        self.page.wait_for_selector("html[data-ready]")

    def open_cell(self, method: str, column: int) -> None:
        row = self.page.locator("#table tbody tr").filter(has_text=method)
        row.locator("td").nth(column).locator("button").click()
        self.page.wait_for_selector(f"{SIDE} h2")


@pytest.fixture
def visit(chromium: Any, grid: Path) -> Iterator[Visit]:
    """The page of the hostile grid; whatever a test does there, nothing goes wrong and nobody is asked."""
    visit = Visit(chromium, grid / "page.html")
    yield visit
    hacked = visit.page.evaluate("window.hacked")
    visit.context.close()
    assert hacked is None
    assert visit.trouble == []
    assert [*dict.fromkeys(visit.requests)] == [visit.address]


def test_the_table_is_sorted_by_a_column_and_back(visit: Visit) -> None:
    printed = visit.column(1)
    heading = visit.page.get_by_role("button", name="15 %")
    heading.click()
    assert visit.column(1) == sorted(printed, key=float, reverse=True)
    assert visit.page.locator("th[aria-sort=descending]").inner_text().startswith("15 %")
    heading.click()
    assert visit.column(1) == sorted(printed, key=float)
    heading.click()
    assert visit.column(1) == printed
    assert visit.page.locator("th[aria-sort]").count() == 0


def test_what_was_pressed_keeps_the_focus(visit: Visit) -> None:
    visit.page.get_by_role("button", name="15 %").focus()
    visit.page.keyboard.press("Enter")
    assert visit.page.evaluate("document.activeElement.innerText").startswith("15 %")


def test_a_page_that_is_read_again_shows_what_it_showed(visit: Visit) -> None:
    visit.page.get_by_role("button", name="100 %").click()
    visit.choose("selection rule", "best-val")
    shown = visit.column(2)
    visit.page.reload()
    visit.page.wait_for_selector("html[data-ready]")
    assert visit.page.get_by_label("selection rule", exact=True).input_value() == "best-val"
    visit.page.get_by_role("button", name="100 %").click()
    assert visit.column(2) == shown or visit.column(2) == sorted(shown, key=float, reverse=True)


def test_filters_leave_rows_and_columns_away(visit: Visit) -> None:
    visit.page.locator("details[data-axis=rate] summary").click()
    visit.page.get_by_label("100 %").uncheck()
    assert visit.page.locator("#table thead th").all_inner_texts() == ["method", "15 %"]
    visit.page.locator("details[data-axis=method] summary").click()
    visit.page.get_by_label("GTA", exact=True).uncheck()
    assert visit.page.locator("#table tbody th").all_inner_texts() == ["Fine-tune", LABEL]
    visit.page.locator("details[data-axis=method] button", has_text="all").click()
    assert visit.page.locator("#table tbody tr").count() == 3


def test_another_metric_shows_its_numbers_and_its_command(visit: Visit, grid: Path) -> None:
    held = parts_in(grid / "page.html")
    choices = held["report"]["tables"][0]["choices"]
    for metric, rule in (("negative log-likelihood", "last"), ("negative log-likelihood", "best-val")):
        visit.choose("metric", metric)
        visit.choose("selection rule", rule)
        (choice, *_) = [each for each in choices if (each["metric"], each["selection"]) == (metric, rule)]
        assert visit.column(1) == [line[0][0] for line in held[choice["part"]]["cells"]]
        assert choice["command"] in visit.page.locator(".below .command").inner_text()
    visit.choose("test", "Welch t-test")
    provenance, signature = visit.page.locator(".provenance").all_inner_texts()
    assert "Welch t-test against Fine-tune" in provenance
    (choice, *_) = [
        each for each in choices if (each["metric"], each["selection"]) == (metric, rule) and "welch" in each["command"]
    ]
    assert f"Signature: {signature.removeprefix('signature: ')}\n" in held[choice["part"]]["copies"]["markdown"]


@pytest.mark.parametrize(("words", "format"), [("LaTeX", "latex"), ("Markdown", "markdown"), ("CSV", "csv")])
def test_what_is_copied_are_the_bytes_of_the_command(
    visit: Visit,
    grid: Path,
    words: str,
    format: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    visit.page.get_by_role("button", name=f"copy {words}").click()
    visit.page.get_by_text("copied", exact=True).wait_for()
    monkeypatch.chdir(grid)
    assert main(["table", TARGET, "--format", format]) == 0
    assert visit.page.evaluate("navigator.clipboard.readText()") == capsys.readouterr().out


def test_a_cell_leads_to_its_runs_and_a_run_to_all_that_is_known(visit: Visit, grid: Path) -> None:
    visit.open_cell("Fine-tune", 0)
    panel = visit.page.locator(SIDE)
    assert panel.locator("h2").inner_text() == "Fine-tune / 15 %"
    assert panel.locator("tr.done").count() == 3
    assert panel.locator("svg.plot").count() == 2
    panel.locator("button.run").nth(1).click()
    panel.get_by_text("seed 1: done").wait_for()
    run = panel.locator("h2").inner_text().split()[1].rstrip(",")
    assert f"bench rerun {run} --check --results results" in panel.inner_text()
    for words in ("Spec", "Versions", "Hardware", "End of its log"):
        panel.locator("summary").filter(has_text=words).click()
    text = panel.inner_text()
    for known in ("micro_vit", "torch", "cores", "\\u202egnp.exe\\u2066", "training time (s)"):
        assert known in text
    visit.page.go_back()
    panel.get_by_text("Fine-tune / 15 %").first.wait_for()
    visit.page.keyboard.press("Escape")
    assert not panel.is_visible()


def test_an_address_leads_to_a_run(visit: Visit, grid: Path) -> None:
    cells = parts_in(grid / "page.html")
    cell = cells["report"]["tables"][0]["cells"][0]
    run = cells[cell["part"]]["cells"][0]["candidates"][0]["runs"][2]["id"]
    visit.page.evaluate(f"location.hash = 'run/0/0.0/{run}'")
    visit.page.get_by_text(f"run {run}, seed 2: done").wait_for()
    for odd in ("run/0/0.0/<b>x</b>", "cell/9/0.0", "cell/0/77.7", "%E0%A4%A", "run/0/0.0/%E2%80%AEx"):
        visit.page.evaluate(f"location.hash = {odd!r}")
        visit.page.wait_for_timeout(50)


def test_a_failed_run_says_of_what(visit: Visit) -> None:
    visit.open_cell("BSS", 1)
    visit.page.locator(f"{SIDE} tr.failed button.run").click()
    visit.page.locator(f"{SIDE} .failure").wait_for()
    text = visit.page.locator(SIDE).inner_text()
    assert "OutOfMemoryError (oom): no memory </script><script>window.hacked=1</script>" in text
    assert "line 1" in text


def test_the_candidates_of_a_sweep_and_the_classes_are_shown(visit: Visit) -> None:
    visit.open_cell("GTA", 0)
    panel = visit.page.locator(SIDE)
    assert panel.locator("caption").first.inner_text() == "GTA (weight=0.1) (chosen)"
    panel.locator("summary").filter(has_text="Classes").click()
    assert "class 3 \\u202egnp.exe\\u2066" in panel.inner_text()
    assert panel.locator("td.shade").count() == 100


@pytest.mark.parametrize("title", ["against the rate", "gaps to the baseline", "against cost", "sweep candidates"])
def test_a_figure_has_marks_words_and_its_numbers(visit: Visit, title: str) -> None:
    visit.page.get_by_role("button", name=title).click()
    figure = visit.page.locator("#figures figure")
    assert figure.locator("svg.plot[role=img]").count() >= 1
    assert figure.locator("svg.plot circle, svg.plot path").count() >= 4
    assert all(len(words) > 10 for words in figure.locator("svg.plot").evaluate_all("all => all.map(e => e.ariaLabel)"))
    figure.locator("summary").click()
    assert figure.locator("tbody tr").count() >= 4


def test_images_are_shown_when_they_are_unfolded(visit: Visit) -> None:
    visit.page.locator("summary").filter(has_text="Images:").click()
    visit.page.get_by_text("Got wrong most often").first.wait_for()
    lines = visit.page.locator("section[aria-label=images] tbody tr").all_inner_texts()
    assert len(lines) > 20
    assert all(line.startswith("image ") for line in lines)
    assert any("\\u202egnp.exe" in line for line in lines)


def test_a_line_a_cell_is_sorted_by_everything(visit: Visit) -> None:
    visit.choose("layout", "a line a cell")
    heads = visit.page.locator("#table thead th").all_inner_texts()
    assert heads[:3] == ["method", "rate", "value"]
    assert {"difference", "95 % interval", "p (Holm)", "training seconds", "trained weights"} <= {*heads}
    visit.page.get_by_role("button", name="value").click()
    values = [float(text) for text in visit.column(3)]
    assert values == sorted(values, reverse=True)
    assert len(values) == 6


def test_costs_stand_beside_the_numbers(visit: Visit) -> None:
    visit.choose("beside it", "training seconds")
    assert visit.page.locator("small.beside").all_inner_texts() == ["2.5"] * 6


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_is_accessible(chromium: Any, grid: Path, size: tuple[int, int], scheme: str) -> None:
    """By axe-core: the page, the line a cell with a filter open, and a run."""
    from axe_playwright_python.sync_playwright import Axe

    width, height = size
    visit = Visit(chromium, grid / "page.html", viewport={"width": width, "height": height}, color_scheme=scheme)
    axe = Axe()

    def violations() -> list[str]:
        found = axe.run(visit.page).response["violations"]
        return [f"{each['id']}: {node['html']}" for each in found for node in each["nodes"]]

    assert violations() == []
    visit.choose("layout", "a line a cell")
    visit.page.locator("details[data-axis=method] summary").click()
    assert violations() == []
    visit.page.locator("summary").filter(has_text="Images:").click()
    visit.page.get_by_text("Got wrong most often").first.wait_for()
    for figure in visit.page.locator(".tabs button").all_inner_texts():
        visit.page.get_by_role("button", name=figure, exact=True).click()
        assert violations() == []
    visit.page.locator("button.cell").first.click()
    visit.page.locator(f"{SIDE} h2").wait_for()
    visit.page.locator(f"{SIDE} summary").first.click()
    assert violations() == []
    visit.page.locator(f"{SIDE} button.run").first.click()
    visit.page.locator(f"{SIDE} pre").wait_for(state="attached")
    for summary in visit.page.locator(f"{SIDE} summary").all():
        summary.click()
    assert violations() == []
    visit.context.close()


@pytest.mark.parametrize("size", SIZES)
def test_nothing_is_wider_than_the_window(chromium: Any, grid: Path, size: tuple[int, int]) -> None:
    width, height = size
    visit = Visit(chromium, grid / "page.html", viewport={"width": width, "height": height})
    assert visit.page.evaluate("document.documentElement.scrollWidth") <= width
    visit.context.close()


def test_without_a_script_it_says_what_to_do(chromium: Any, grid: Path) -> None:
    context = chromium.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto((grid / "page.html").as_uri())
    assert "'bench table' prints them" in page.locator("body").inner_text()
    context.close()


def test_the_list_of_a_folder_leads_to_its_pages(chromium: Any, grid: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(grid)
    assert main(["report", TARGET, "gta/table2", "--folder", "listed"]) == 0
    page = chromium.new_page()
    page.goto((grid / "listed" / "index.html").as_uri())
    page.get_by_role("link").nth(1).click()
    page.wait_for_selector("html[data-ready]")
    assert "Table 2" in page.locator("h1").inner_text()
    page.close()

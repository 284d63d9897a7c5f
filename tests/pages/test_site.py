"""The documentation as a site: it is built without a warning, whole, and asks for nothing outside of itself."""

from __future__ import annotations

import argparse
import html
import json
import os
import re
import shlex
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from functools import cache
from html.parser import HTMLParser
from pathlib import Path, PurePosixPath

import pytest
from markdown_it import MarkdownIt

import bench
from bench.cli import build_parser
from pages.cards import commands
from pages.links import in_repository, in_site, linked, with_links_of_the_site
from tests.pages.played import ROOT, blocks_of

BUILD = """
import sys
from mkdocs.__main__ import cli
cli(["build", "--strict", "--site-dir", sys.argv[1]], standalone_mode=False)
print(*{"torch", "torchvision", "timm", "sklearn", "pandas", "matplotlib"} & {*sys.modules})
"""
LOADED = {"script": "src", "img": "src", "iframe": "src", "source": "src", "video": "src", "audio": "src"}
"""The elements that a browser loads something for, and where they say it."""

FORMS = ("li", "table", "tr", "td", "pre", "h1", "h2", "h3", "h4", "em", "strong", "blockquote", "img")


class Elements(HTMLParser):
    """What a page has: its elements with their attributes, and how often each stands in its article."""

    def __init__(self, text: str, all_of_it: bool = False) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.counts: Counter[str] = Counter()
        self.inside = all_of_it
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))
        self.inside |= tag == "article"
        self.counts[tag] += self.inside

    def handle_endtag(self, tag: str) -> None:
        self.inside &= tag != "article"


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the site."""
    folder = tmp_path_factory.mktemp("site")
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    command = [sys.executable, "-c", BUILD, str(folder)]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "WARNING" not in done.stderr
    assert done.stdout.split() == [], "the site is built without what trains"
    return folder


@cache
def elements(path: Path) -> Elements:
    return Elements(path.read_text(encoding="utf-8"))


def pages_of(site: Path) -> list[Path]:
    pages = sorted(path for path in site.rglob("*.html") if path.name != "404.html")
    assert len(pages) >= 30
    return pages


@pytest.mark.slow
def test_no_request_leaves_the_site(built: Path) -> None:
    for page in pages_of(built):
        for tag, attributes in elements(page).elements:
            where = LOADED.get(tag, "href" if tag == "link" else "")
            assert not re.match(r"(https?:)?//", attributes.get(where, "")), (page, tag, attributes)
            assert "srcset" not in attributes
    for sheet in built.rglob("*.css"):
        assert not re.search(r"(url\(|@import)\s*['\"]?(https?:)?//", sheet.read_text(encoding="utf-8")), sheet


@pytest.mark.slow
def test_every_link_within_the_site_leads_somewhere(built: Path) -> None:
    for page in pages_of(built):
        for tag, attributes in elements(page).elements:
            link = attributes.get("href" if tag in ("a", "link") else "src", "")
            path, _, anchor = link.partition("#")
            if not link or ":" in path:
                continue
            target = (page.parent / path).resolve() if path else page
            target = target / "index.html" if target.is_dir() else target
            assert target.is_file(), (page, link)
            if anchor and target.suffix == ".html" and anchor != "__skip":
                assert anchor in {of.get("id") for _, of in elements(target).elements}, (page, link)


@pytest.mark.slow
def test_it_is_searched_by_what_it_has_itself(built: Path) -> None:
    index = json.loads((built / "search" / "search_index.json").read_text(encoding="utf-8"))
    places = {entry["location"] for entry in index["docs"]}
    registry = bench.Registry()
    for kind, names in (
        ("methods", registry.method_files),
        ("backbones", registry.backbone_files),
        ("datasets", registry.dataset_files),
        ("measures", registry.measure_files),
        ("papers", registry.protocol_files),
    ):
        assert {f"reference/{kind}.html#{name}" for name in names} <= places
    assert all(f"<code>{name}</code>" in metrics(built) for name, each in registry.metrics.items() if not each.measure)
    assert list((built / "assets" / "javascripts" / "workers").glob("search.*.js"))


def metrics(site: Path) -> str:
    return (site / "reference" / "metrics.html").read_text(encoding="utf-8")


@pytest.mark.slow
def test_a_page_is_what_its_markdown_is_elsewhere(built: Path) -> None:
    """Lists, tables and code that others make of a page: parsers of Markdown differ in where they see one."""
    parser = MarkdownIt("commonmark").enable("table")
    files = [PurePosixPath(path.relative_to(ROOT)) for path in sorted((ROOT / "docs").rglob("*.md"))]
    files += [path for path in linked() if path.suffix == ".md"]
    assert len(files) >= 20
    for file in files:
        page = built / re.sub(r"(README)?\.md$", lambda end: "index.html" if end[1] else ".html", in_site(file))
        theirs = Elements(parser.render((ROOT / file).read_text(encoding="utf-8")), all_of_it=True).counts
        ours = elements(page).counts
        assert {form: ours[form] for form in FORMS} == {form: theirs[form] for form in FORMS}, file


@pytest.mark.slow
def test_the_first_pages_show_the_examples(built: Path) -> None:
    for page in sorted((ROOT / "docs" / "first").glob("*.md")):
        shown = "".join(code(built / "first" / f"{page.stem}.html"))
        for block in blocks_of(page.read_text(encoding="utf-8")):
            assert block.text in shown, (page, block)
        assert "8<" not in shown


def code(page: Path) -> Iterator[str]:
    """The texts of a page's blocks of code."""
    for block in re.findall(r"<pre>(.*?)</pre>", page.read_text(encoding="utf-8"), re.DOTALL):
        yield html.unescape(re.sub(r"<[^>]+>", "", block))


@pytest.mark.slow
def test_nothing_of_the_machine_is_in_it(built: Path) -> None:
    for page in pages_of(built):
        text = page.read_text(encoding="utf-8")
        assert str(ROOT) not in text
        assert str(Path.home()) + "/" not in text


def test_every_command_has_its_options_and_examples() -> None:
    page = commands()
    (names,) = [action.choices for action in build_parser()._actions if isinstance(action, argparse._SubParsersAction)]
    assert all(f"## `bench {name}`" in page for name in names)
    assert "### `bench data check`" in page
    assert "| `--partition P` |" in page
    assert "bench run demo --methods ce,gta" in page


def test_every_example_of_a_command_is_one() -> None:
    """Behind two spaces stands what it is for."""
    blocks = re.findall(r"^```bash\n(.*?)^```", commands(), re.DOTALL | re.MULTILINE)
    lines = [re.split(r" {2,}", line)[0] for block in blocks for line in block.splitlines()]
    examples = [line[line.index("bench ") :] for line in lines if re.match(r"([A-Z_]+=\S+ )*bench ", line)]
    assert len(examples) >= 100
    parser = build_parser()
    for example in examples:
        parser.parse_args(shlex.split(re.split(r" [|>] ", example)[0])[1:])


@pytest.mark.parametrize(
    ("page", "written", "in_the_site"),
    [
        ("README.md", "[a](docs/images.md#layouts)", "[a](images.md#layouts)"),
        ("README.md", '<img src="results/shown/demo.png">', '<img src="results/shown/demo.png">'),
        ("docs/running.md", "[a](../bench/measure.py)", "[a](bench/measure.py.md)"),
        ("docs/first/method.md", "[a](../../README.md), [b](images.md)", "[a](../index.md), [b](images.md)"),
        ("paper_tables/README.md", "[a](../docs/figures.md)", "[a](../figures.md)"),
        ("docs/running.md", "[a](https://x.org/y.md) [b](#c)", "[a](https://x.org/y.md) [b](#c)"),
        ("docs/running.md", "```python\n[a](../bench/measure.py)\n```", "```python\n[a](../bench/measure.py)\n```"),
    ],
)
def test_links_lead_to_where_the_site_has_a_file(page: str, written: str, in_the_site: str) -> None:
    path = PurePosixPath(page)
    assert with_links_of_the_site(written, path) == in_the_site
    assert in_repository(in_site(path)) == path

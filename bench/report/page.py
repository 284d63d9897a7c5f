"""The file that a page of results is: one HTML document that asks nothing of anybody.

What the script shows lies in the document as compressed parts, which are opened when they are looked at. Scripts and
styles are the suite's own and are allowed by their digests; nothing else is: no request, no frame, no form.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import html
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from importlib.resources import files
from urllib.parse import quote

import msgspec

from bench.errors import harmless
from bench.notation import one_line
from bench.report.contents import PageHead

LIBRARIES = ("d3.min.js", "plot.umd.min.js")
SCRIPTS = ("elements.js", "table.js", "figures.js", "runs.js", "report.js")
STYLES = ("report.css",)
LICENCES = ("d3.LICENSE", "plot.LICENSE")

HEAD = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
"""

PAGE = (
    HEAD
    + """<meta name="referrer" content="no-referrer">
{refresh}<title>{title}</title>
{styles}</head>
<body>
<main id="page"><h1>{title}</h1><noscript><p>{without}</p></noscript></main>
{parts}{scripts}</body>
</html>
"""
)
WITHOUT = "This page shows its tables by a script, which this browser does not run. 'bench table' prints them."

INDEX = (
    HEAD
    + """<title>Results</title>
{styles}</head>
<body>
<main><h1>Results</h1>
<table>
<thead><tr><th class="stub">page</th><th class="stub">target</th><th>runs</th></tr></thead>
<tbody>
{rows}</tbody>
</table>
<footer><p>Written by <code>{command}</code></p></footer>
</main>
</body>
</html>
"""
)


@dataclass(frozen=True)
class PageLink:
    """A page of a folder: its file, and what it is of."""

    file: str
    target: str
    title: str
    runs: int


def index_page(links: Iterable[PageLink], command: str) -> str:
    """The page that lists those of a folder; it has no script."""
    styles = [*map(asset, STYLES)]
    rows = "".join(
        f'<tr><th scope="row"><a href="{_text(quote(link.file))}">{_text(link.title)}</a></th>'
        f'<td class="label">{_text(link.target)}</td><td>{link.runs:,}</td></tr>\n'
        for link in links
    )
    return INDEX.format(
        policy=f"default-src 'none'; style-src {' '.join(map(_digest, styles))}; base-uri 'none'; form-action 'none'",
        styles="".join(f"<style>{style}</style>\n" for style in styles),
        rows=rows,
        command=_text(command),
    )


def _text(text: str) -> str:
    """A text within a page: on one line, escaped, and nothing hidden in it."""
    return html.escape(one_line(harmless(text)))


def asset(name: str) -> str:
    """A file of the page's script, style or libraries, as it lies in the package."""
    return (files("bench.report") / "assets" / name).read_text(encoding="utf-8")


def write_page(report: PageHead, parts: Mapping[str, bytes], refresh: float | None = None) -> Iterator[str]:
    """A page, piece by piece.

    Args:
        report: what it opens with.
        parts: what it opens later, as ``part`` gives it, by name.
        refresh: after so many seconds a browser reads the page again; None for never.
    """
    scripts = [*map(asset, LIBRARIES), *map(asset, SCRIPTS)]
    styles = [*map(asset, STYLES)]
    head = {
        "policy": policy(scripts, styles),
        "title": _text(report.title),
        "refresh": "" if refresh is None else f'<meta http-equiv="refresh" content="{max(1, round(refresh))}">\n',
        "styles": "".join(f"<style>{style}</style>\n" for style in styles),
        "without": html.escape(WITHOUT),
        "scripts": "".join(f"<script>{script}</script>\n" for script in (licences(), *scripts)),
    }
    opening, closing = PAGE.split("{parts}")
    yield opening.format(**head)
    for name, content in {"report": part(report), **parts}.items():
        yield f'<script type="text/plain" id="{name}">{content.decode()}</script>\n'
    yield closing.format(**head)


def part(content: msgspec.Struct) -> bytes:
    """Something that a page holds, as it lies in the document: JSON, compressed, as letters."""
    return base64.b64encode(gzip.compress(msgspec.json.encode(content), compresslevel=4, mtime=0))


def policy(scripts: Iterable[str], styles: Iterable[str]) -> str:
    """A content security policy that allows these scripts and styles, and pictures within the page."""
    allowed = " ".join(map(_digest, (licences(), *scripts)))
    return (
        f"default-src 'none'; script-src {allowed}; style-src {' '.join(map(_digest, styles))}; "
        "img-src data:; base-uri 'none'; form-action 'none'"
    )


def licences() -> str:
    """The licences of the libraries, as a comment of a script."""
    return "/*\n" + "\n".join(asset(name).strip() for name in LICENCES) + "\n*/"


def _digest(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"

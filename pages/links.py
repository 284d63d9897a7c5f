"""Where the site has a file of the repository: docs/ is its root, the README its first page, the rest as it lies."""

from __future__ import annotations

import os
import re
from pathlib import Path, PurePosixPath

ROOT = Path(__file__).parent.parent

README = PurePosixPath("README.md")
DOCS = PurePosixPath("docs")

LINK = re.compile(r'(?P<lead>\]\(|src=")(?P<path>(?![a-z]+:|/)[^)"#\s]+)')
"""A link, or an image in HTML, to a file of the repository; what stands behind a ``#`` is left."""

FENCE = re.compile(r"^(`{3,}).*?^\1$", re.MULTILINE | re.DOTALL)
PAGES_OF_CODE = (".py", ".yaml")


def linked() -> list[PurePosixPath]:
    """The files outside of docs/ that the site has: the README, and all that it and the pages link to, and so on."""
    waiting = [README, *(PurePosixPath(path.relative_to(ROOT)) for path in sorted((ROOT / DOCS).rglob("*.md")))]
    reached: dict[PurePosixPath, None] = {}
    while waiting:
        page = waiting.pop()
        if page in reached:
            continue
        reached[page] = None
        if page.suffix == ".md":
            waiting += _links_of((ROOT / page).read_text(encoding="utf-8"), page)
    return [path for path in reached if DOCS not in path.parents]


def _links_of(markdown: str, page: PurePosixPath) -> list[PurePosixPath]:
    matches = LINK.finditer(FENCE.sub("", markdown))
    paths = [_target(page, match["path"]) for match in matches]
    return [path for path in paths if (ROOT / path).is_file()]


def _target(page: PurePosixPath, link: str) -> PurePosixPath:
    return PurePosixPath(os.path.normpath(page.parent / link))


def in_site(path: PurePosixPath) -> str:
    """The site's name of a file of the repository, as mkdocs calls its sources."""
    if path == README:
        return "index.md"
    if DOCS in path.parents:
        return str(path.relative_to(DOCS))
    return f"{path}.md" if path.suffix in PAGES_OF_CODE else str(path)


def in_repository(uri: str) -> PurePosixPath:
    """The file of the repository that the site calls so."""
    if uri == "index.md":
        return README
    return DOCS / uri if not (ROOT / uri).is_file() else PurePosixPath(uri)


def with_links_of_the_site(markdown: str, page: PurePosixPath) -> str:
    """A page with its links to files of the repository as links within the site; code is left as it is."""
    here = PurePosixPath(in_site(page)).parent

    def moved(match: re.Match[str]) -> str:
        target = _target(page, match["path"])
        return match["lead"] + os.path.relpath(in_site(target), here) if (ROOT / target).is_file() else match[0]

    parts, end = [], 0
    for fence in FENCE.finditer(markdown):
        parts += [LINK.sub(moved, markdown[end : fence.start()]), fence[0]]
        end = fence.end()
    return "".join([*parts, LINK.sub(moved, markdown[end:])])


def source_page(path: PurePosixPath) -> str:
    """A file of code as a page."""
    language = {".py": "python", ".yaml": "yaml"}.get(path.suffix, "text")
    text = (ROOT / path).read_text(encoding="utf-8")
    return f"# {path}\n\n`````{language}\n{text}`````\n"

"""What ``mkdocs build`` does beside the pages in docs/: the README is the first one, and cards become pages."""

from __future__ import annotations

import sys
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page
from pymdownx.slugs import slugify

sys.path.insert(0, str(Path(__file__).parent.parent))  # mkdocs puts it back once this file is imported

from pages.cards import PAGES
from pages.links import ROOT, in_repository, in_site, linked, source_page, with_links_of_the_site


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Headings have the anchors that they have on GitHub, where pages are read too."""
    config.mdx_configs["toc"]["slugify"] = slugify(case="lower")
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the README, all that pages link to outside of docs/, and the pages that are made of cards."""
    files.append(File.generated(config, "site.css", abs_src_path=str(ROOT / "pages" / "site.css")))
    for uri, page in PAGES.items():
        files.append(File.generated(config, uri, content=page()))
    for path in linked():
        uri = in_site(path)
        if path.suffix in (".md", ".png"):
            files.append(File.generated(config, uri, abs_src_path=str(ROOT / path)))
        else:
            files.append(File.generated(config, uri, content=source_page(path)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Have a page's links lead to where the site has what they name."""
    return with_links_of_the_site(markdown, in_repository(page.file.src_uri))

"""Every link of the documentation leads somewhere."""

import re
from pathlib import Path

import pytest
from markdown_it import MarkdownIt
from markdown_it.token import Token

from docs.generate.files import ROOT, pages


def _inline(page: Path) -> list[Token]:
    return [
        child
        for token in MarkdownIt("commonmark").enable("table").parse(page.read_text())
        for child in token.children or []
    ]


def _anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", pages(), ids=lambda page: str(page.relative_to(ROOT)))
def test_links(page: Path) -> None:
    for token in _inline(page):
        href = str(token.attrs.get("href", ""))
        if not href or "://" in href:
            continue
        path, _, anchor = href.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), f"{href} leads nowhere"
        assert not anchor or anchor in _anchors(target), f"{href}: no such heading"


def test_every_page_is_on_the_map() -> None:
    contents = ROOT / "docs" / "README.md"
    linked = {(contents.parent / str(token.attrs.get("href", ""))).resolve() for token in _inline(contents)}
    assert {page for page in pages() if page.parent != ROOT} - linked == {contents}

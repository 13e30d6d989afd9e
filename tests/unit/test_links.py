"""Each link of the documentation to a page of its own leads to a place that is there."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.documentation import PAGES, ROOT

LINK = re.compile(r"\]\(([^)\s]+)\)")


def places(page: Path) -> set[str]:
    """What GitHub lets a link name in a page: its headings, in small letters, with hyphens for spaces."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def links() -> Iterator[tuple[Path, str]]:
    for page in (*PAGES, ROOT / "CONTRIBUTING.md"):
        for link in LINK.findall(page.read_text()):
            if "://" not in link:
                yield page, link


@pytest.mark.parametrize(("page", "link"), links(), ids=lambda given: getattr(given, "name", given))
def test_a_link_leads_somewhere(page: Path, link: str) -> None:
    file, _, place = link.partition("#")
    target = page.parent / file if file else page
    assert target.exists(), link
    if place:
        assert place in places(target), link

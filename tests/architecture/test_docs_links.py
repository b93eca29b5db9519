"""A link in the docs leads somewhere: to a file of the project, and to a heading that is there."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "contracts").rglob("*.md"), *(ROOT / "docs").rglob("*.md")])
LINK = re.compile(r"\]\((?!https?://|mailto:)([^)\s]+)\)")
CODE = re.compile(r"^(?: {4}|\t)[^\n]*$|```.*?```|`[^`\n]*`", re.MULTILINE | re.DOTALL)


def links(text: str) -> list[str]:
    """Targets of relative links; what stands in code is no link."""
    return LINK.findall(CODE.sub("", text))


def anchors(text: str) -> set[str]:
    """The names that GitHub gives to headings."""
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_only_links_outside_code_are_found() -> None:
    text = "see [one](a.md#b)\n\n    [two](b.md)\n\nand `[three](c.md)`, [four](https://example.com/x), [five](c.md)"
    assert links(text) == ["a.md#b", "c.md"]


def test_there_are_links_to_follow() -> None:
    assert any(links(page.read_text(encoding="utf-8")) for page in PAGES)


def test_an_anchor_is_the_heading_in_small_letters() -> None:
    assert anchors("# One word, one meaning\n## What `x` is\n") == {"one-word-one-meaning", "what-x-is"}


def leads_nowhere(page: Path, target: str) -> bool:
    """True if there is no such file, or no such heading in it."""
    name, _, anchor = target.partition("#")
    found = (page.parent / name).resolve() if name else page
    return not found.exists() or bool(anchor and anchor not in anchors(found.read_text(encoding="utf-8")))


def test_a_relative_link_leads_somewhere() -> None:
    followed = [(page, target) for page in PAGES for target in links(page.read_text(encoding="utf-8"))]
    dead = [f"{page.relative_to(ROOT)}: {target}" for page, target in followed if leads_nowhere(page, target)]
    assert dead == []

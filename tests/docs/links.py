"""Links in README.md, the other pages of the root, and `docs/`.

`python -m tests.docs.links` lists those that lead out, for who wants to try them: no test asks another host.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit

ROOT: Final = Path(__file__).parent.parent.parent
CODE: Final = re.compile(r"^ *```.*?^ *```|`[^`\n]*`", re.MULTILINE | re.DOTALL)
LINK: Final = re.compile(r"\]\(([^)\s]+)\)|<(https?://[^>\s]+)>")
HEADING: Final = re.compile(r"^#{1,6} +(.+?) *#*$", re.MULTILINE)
NAMED: Final = re.compile(r"(?:id|name)=\"([^\"]+)\"")


HERE: Final = {"127.0.0.1", "localhost"}
"""The reader's own machine."""


def pages() -> list[Path]:
    """All Markdown files of the project."""
    return sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])


def links(page: Path) -> Iterator[str]:
    """Targets of a page's links, in order; not those in code."""
    text = CODE.sub("", page.read_text(encoding="utf-8"))
    yield from (first or second for first, second in LINK.findall(text))


@cache
def anchors(page: Path) -> frozenset[str]:
    """Names that links into a page may use: of its headings as GitHub makes them, and explicit ones."""
    text = page.read_text(encoding="utf-8")
    found: list[str] = []
    for heading in HEADING.findall(re.sub(r"^ *```.*?^ *```", "", text, flags=re.MULTILINE | re.DOTALL)):
        plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading)
        slug = re.sub(r"[^\w\- ]", "", plain.lower()).replace(" ", "-")
        count = sum(one == slug or re.fullmatch(rf"{re.escape(slug)}-\d+", one) is not None for one in found)
        found.append(f"{slug}-{count}" if count else slug)
    return frozenset([*found, *NAMED.findall(text)])


def wrong(page: Path) -> Iterator[str]:
    """Links of a page that lead to no file or no heading, or are no addresses."""
    for link in links(page):
        parts = urlsplit(link)
        if parts.scheme or parts.netloc:
            if not is_well_formed(link):
                yield f"{link}: no https address"
            continue
        target = (page.parent / unquote(parts.path)).resolve() if parts.path else page
        if not target.exists():
            yield f"{link}: there is no such file"
        elif parts.fragment and target.suffix == ".md" and unquote(parts.fragment) not in anchors(target):
            yield f"{link}: there is no such heading"


def is_well_formed(link: str) -> bool:
    """Whether a link that leads out looks like one that can work."""
    parts = urlsplit(link)
    host = parts.hostname or ""
    if host in HERE:
        return parts.scheme == "http"
    return parts.scheme == "https" and "." in host and not parts.username and re.fullmatch(r"[\w.-]+", host) is not None


def leading_out() -> list[tuple[str, str]]:
    """Page and address of each link that leads out of the project."""
    return [
        (str(page.relative_to(ROOT)), link)
        for page in pages()
        for link in links(page)
        if urlsplit(link).hostname not in {None, *HERE}
    ]


if __name__ == "__main__":
    for where, address in leading_out():
        print(f"{where}\t{address}")

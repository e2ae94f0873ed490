"""What stands in a built site: links, anchors, and what a browser would fetch for a page."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit

FETCHED: Final = {
    "link": ("href",),
    "script": ("src",),
    "img": ("src", "srcset"),
    "iframe": ("src",),
    "source": ("src", "srcset"),
    "video": ("src", "poster"),
    "audio": ("src",),
    "object": ("data",),
    "embed": ("src",),
    "use": ("href", "xlink:href"),
    "image": ("href", "xlink:href"),
    "form": ("action",),
}
"""Attributes whose address a browser asks for by itself (or where a form goes), by element."""
CANONICAL: Final = {"canonical", "license", "author"}
"""Relations of a link that are not fetched."""
IN_STYLE: Final = re.compile(r"(?:url\(|@import)\s*['\"]?([^'\")\s]+)")


@dataclass(slots=True)
class Page:
    """One HTML file."""

    path: Path
    anchors: set[str] = field(default_factory=set)
    links: list[str] = field(default_factory=list)
    fetched: list[str] = field(default_factory=list)


class _Reader(HTMLParser):
    def __init__(self, page: Page) -> None:
        super().__init__()
        self.page = page
        self.style = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = {name: value for name, value in attrs if value is not None}
        self.style = tag == "style"
        self.page.anchors |= {found[name] for name in ("id", "name") if name in found}
        if tag == "a" and "href" in found:
            self.page.links.append(found["href"])
        if tag == "link" and found.get("rel") in CANONICAL:
            return
        self.page.fetched += [found[name] for name in FETCHED.get(tag, ()) if name in found]
        self.page.fetched += IN_STYLE.findall(found.get("style", ""))

    def handle_data(self, data: str) -> None:
        if self.style:
            self.page.fetched += IN_STYLE.findall(data)


def read(path: Path) -> Page:
    """Read an HTML file."""
    page = Page(path=path)
    reader = _Reader(page)
    reader.feed(path.read_text(encoding="utf-8"))
    reader.close()
    return page


def is_foreign(address: str) -> bool:
    """Whether a browser would ask another host for it."""
    parts = urlsplit(address)
    return bool(parts.netloc) or parts.scheme in {"http", "https", "ws", "wss", "ftp"}


def foreign(folder: Path) -> Iterator[str]:
    """What pages and style sheets of a site would fetch from other hosts."""
    for path in sorted(folder.rglob("*.html")):
        yield from (f"{path.name}: {address}" for address in read(path).fetched if is_foreign(address))
    for path in sorted(folder.rglob("*.css")):
        addresses = IN_STYLE.findall(path.read_text(encoding="utf-8"))
        yield from (f"{path.name}: {address}" for address in addresses if is_foreign(address))


def broken(folder: Path) -> Iterator[str]:
    """Links inside a site that lead to no file or no anchor."""
    pages = {path.resolve(): read(path) for path in folder.rglob("*.html")}
    for path, page in sorted(pages.items()):
        for link in page.links:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            if not target.exists():
                yield f"{path.name}: {link}"
            elif parts.fragment and target in pages and unquote(parts.fragment) not in pages[target].anchors:
                yield f"{path.name}: {link}: no such place on that page"

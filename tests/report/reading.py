"""A report read as a browser would take it apart: elements, texts, addresses."""

from __future__ import annotations

from dataclasses import dataclass, field
from html.parser import HTMLParser

VOID = {"meta", "img", "br", "link", "hr", "input"}
ADDRESSES = {"src", "href", "xlink:href", "srcset", "action", "data", "poster", "background", "formaction"}


@dataclass(slots=True)
class Element:
    """One start tag with the text of everything inside."""

    tag: str
    attributes: dict[str, str]
    text: str = ""


@dataclass(slots=True)
class Page:
    """All elements in order, and where tags do not match."""

    elements: list[Element] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)

    def all(self, tag: str, css_class: str = "") -> list[Element]:
        """Elements of a tag, of a class if one is given."""
        return [
            one
            for one in self.elements
            if one.tag == tag and (not css_class or css_class in one.attributes.get("class", "").split())
        ]

    def one(self, tag: str, css_class: str = "") -> Element:
        """The only element of a tag and class."""
        (found,) = self.all(tag, css_class)
        return found

    @property
    def text(self) -> str:
        """Everything that can be read on the page."""
        return " ".join(self.one("body").text.split())

    @property
    def addresses(self) -> list[str]:
        """Whatever an element loads or points at."""
        return [
            value
            for one in self.elements
            for name, value in one.attributes.items()
            if name in ADDRESSES and not name.startswith("xmlns")
        ]


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.page = Page()
        self._open: list[Element] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        element = Element(tag, {name: value or "" for name, value in attrs})
        self.page.elements.append(element)
        if tag not in VOID:
            self._open.append(element)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.page.elements.append(Element(tag, {name: value or "" for name, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        if not self._open or self._open[-1].tag != tag:
            self.page.wrong.append(f"</{tag}> at {self.getpos()}")
            return
        self._open.pop()

    def handle_data(self, data: str) -> None:
        if self._open and self._open[-1].tag in {"script", "style"}:
            self._open[-1].text += data
            return
        for element in self._open:
            element.text += data

    def close(self) -> None:
        super().close()
        self.page.wrong += [f"<{element.tag}> is never closed" for element in self._open]


def read(html: str) -> Page:
    """Take a page apart."""
    reader = _Reader()
    reader.feed(html)
    reader.close()
    return reader.page

"""Flowcharts as they stand in the documents (a part of Mermaid's language) to SVG: reading here, places in `layout`.

What is read: `flowchart LR` or `TD`; nodes `a`, `a[text]`, `a(text)`, `a[(text)]`, `a{text}`; edges `-->`, `-.->`,
`---`, each with `|text|` behind it, and `-. text .->`, `-- text -->`; chains and `a & b --> c`; `subgraph title` up to
`end`; comments after `%%`. Anything else is refused by its line, so that no picture is wrong without a word.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from html import escape
from typing import Final, Literal, TypeAlias

Shape = Literal["box", "round", "store", "choice"]
Line = Literal["solid", "dotted", "plain"]
Point: TypeAlias = tuple[float, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """One box: `text` may have several lines."""

    name: str
    text: str
    shape: Shape = "box"
    group: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Edge:
    """One arrow (or a plain line) between two nodes."""

    start: str
    end: str
    line: Line = "solid"
    text: str = ""


@dataclass(slots=True)
class Flowchart:
    """What a block says; nodes in the order in which they appear."""

    across: bool = True
    nodes: dict[str, Node] = field(default_factory=dict)
    edges: list[Edge] = field(default_factory=list)
    groups: list[str] = field(default_factory=list)


NODE: Final = re.compile(
    r"\s*(?P<name>\w+)(?:\[\((?P<store>[^\]]*)\)\]|\[(?P<box>[^\]]*)\]|\((?P<round>[^)]*)\)|\{(?P<choice>[^}]*)\})?\s*"
)
LINK: Final = re.compile(
    r"(?:-\.\s+(?P<dotted>[^.]+?)\s+\.->|--\s+(?P<solid>[^-]+?)\s+-->|(?P<bare>-->|-\.->|---))\s*(?:\|(?P<text>[^|]*)\|)?"
)
LINES: Final[dict[str, Line]] = {"-->": "solid", "-.->": "dotted", "---": "plain"}
LEAST: Final = 720.0
"""A drawing is not made narrower than this, pixels: a desktop's page has 736, a telephone's scrolls the drawing."""
SHAPES: Final[tuple[Shape, ...]] = ("store", "box", "round", "choice")


def parse(text: str) -> Flowchart:
    """Read a block.

    Raises:
        ValueError: A line that is not understood; the message has it.
    """
    lines = [line.split("%%")[0].strip() for line in text.strip().splitlines()]
    head = re.fullmatch(r"flowchart (LR|TD|TB)", lines[0])
    if head is None:
        raise ValueError(f"a flowchart begins with 'flowchart LR' or 'flowchart TD', not {lines[0]!r}")
    chart = Flowchart(across=head[1] == "LR")
    group: str | None = None
    for line in filter(None, lines[1:]):
        if match := re.fullmatch(r"subgraph (?:\w+\[)?\"?([^\]\"]+?)\"?\]?", line):
            if group is not None:
                raise ValueError(f"flowchart: a subgraph inside another one: {line!r}")
            group = match[1]
            chart.groups.append(group)
        elif line == "end":
            group = None
        else:
            _chain(chart, line, group)
    return chart


def _chain(chart: Flowchart, line: str, group: str | None) -> None:
    before, place = _several(chart, line, 0, group)
    while place < len(line):
        link = LINK.match(line, place)
        if link is None:
            raise ValueError(f"flowchart: cannot read {line[place:]!r} in {line!r}")
        kind: Line = "dotted" if link["dotted"] else LINES[link["bare"] or "-->"]
        after, place = _several(chart, line, link.end(), group)
        words = (link["dotted"] or link["solid"] or link["text"] or "").strip().strip('"')
        chart.edges += [Edge(start=one, end=other, line=kind, text=words) for one in before for other in after]
        before = after


def _several(chart: Flowchart, line: str, place: int, group: str | None) -> tuple[list[str], int]:
    names: list[str] = []
    while True:
        match = NODE.match(line, place)
        if match is None:
            raise ValueError(f"flowchart: expected a node at {line[place:]!r} in {line!r}")
        names.append(_noted(chart, match, group))
        place = match.end()
        if not line.startswith("&", place):
            return names, place
        place += 1


def _noted(chart: Flowchart, match: re.Match[str], group: str | None) -> str:
    name, known = match["name"], chart.nodes.get(match["name"])
    shape: Shape | None = next((one for one in SHAPES if match[one] is not None), None)
    text = match[shape].strip().strip('"') if shape else (known.text if known else name)
    if known is None or shape is not None:
        chart.nodes[name] = Node(
            name=name,
            text=re.sub(r"<br ?/?>", "\n", text),
            shape=shape or "box",
            group=known.group if known else group,
        )
    return name


def told(chart: Flowchart) -> str:
    """The chart in words, for who does not see it."""
    words = {name: " ".join(node.text.split()) for name, node in chart.nodes.items()}
    by = [f"{words[edge.start]} to {words[edge.end]}{f' ({edge.text})' if edge.text else ''}" for edge in chart.edges]
    return "Flowchart: " + "; ".join(by or words.values()) + "."


def drawn(text: str) -> str:
    """The SVG of a block; colours come from the page's style sheet.

    Raises:
        ValueError: A line that is not understood.
    """
    from tests.docs.layout import placed

    chart = parse(text)
    places = placed(chart)
    parts = [_group(title, *box) for title, box in places.groups.items()]
    parts += [
        _edge(edge, path, label) for edge, path, label in zip(chart.edges, places.paths, places.labels, strict=True)
    ]
    parts += [_node(chart.nodes[name], *box) for name, box in places.boxes.items()]
    width, height = places.size
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height:g}" width="{width:g}" '
        f'height="{height:g}" style="min-width:{min(LEAST, width):g}px" role="img" aria-label="{escape(told(chart))}">'
        '<defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" '
        'orient="auto-start-reverse"><path class="tip" d="M0 0L8 4L0 8z"/></marker></defs>' + "".join(parts) + "</svg>"
    )


def _group(title: str, x: float, y: float, width: float, height: float) -> str:
    return (
        f'<rect class="group" x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" rx="8"/>'
        f'<text class="title" x="{x + 10:g}" y="{y + 16:g}">{escape(title)}</text>'
    )


def _edge(edge: Edge, path: str, label: Point) -> str:
    tip = "" if edge.line == "plain" else ' marker-end="url(#tip)"'
    drawn_path = f'<path class="edge {edge.line}" d="{path}"{tip}/>'
    if not edge.text:
        return drawn_path
    return f'{drawn_path}<text class="label" x="{label[0]:g}" y="{label[1]:g}">{escape(edge.text)}</text>'


def _node(node: Node, x: float, y: float, width: float, height: float) -> str:
    match node.shape:
        case "store":
            form = (
                f'<path class="node store" d="M{x:g} {y + 6:g}a{width / 2:g} 6 0 0 1 {width:g} 0v{height - 12:g}'
                f'a{width / 2:g} 6 0 0 1 {-width:g} 0zm0 0a{width / 2:g} 6 0 0 0 {width:g} 0"/>'
            )
        case "choice":
            form = (
                f'<path class="node choice" d="M{x:g} {y + height / 2:g}l10 {-height / 2:g}h{width - 20:g}'
                f'l10 {height / 2:g}l-10 {height / 2:g}h{20 - width:g}z"/>'
            )
        case _:
            radius = 4 if node.shape == "box" else height / 2
            form = f'<rect class="node" x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" rx="{radius:g}"/>'
    lines = node.text.split("\n")
    first = y + height / 2 + (5 if node.shape != "store" else 8) - 8 * (len(lines) - 1)
    words = "".join(
        f'<text class="word" x="{x + width / 2:g}" y="{first + 16 * index:g}">{escape(line)}</text>'
        for index, line in enumerate(lines)
    )
    return form + words

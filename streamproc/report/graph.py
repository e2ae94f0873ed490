"""Boxes and the lines between them: places on a drawing, computed here, painted by the page's template."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from streamproc.report import text
from streamproc.report.values import Stage

BOX_WIDTH, BOX_HEIGHT = 132, 86
GAP_ALONG, GAP_ACROSS = 30, 16
MARGIN = 2
LINE_HEIGHT, COUNT_HEIGHT, LANE_HEIGHT, LANE_STEP = 13, 15, 10, 9
MAX_LANES = 12
_NAME_CHARACTERS = 17
_LINE_CHARACTERS = 23


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """One thing to draw.

    Attributes:
        key: Names it among the nodes.
        name: Set in bold.
        lines: Up to two lines below the name, cut to fit; the whole text is the tooltip.
        kind: Chooses the shape: "source", "process" or "topic".
        count: Set below, in colour.
        lanes: Strokes at the foot of the box.
        inputs: Keys of the nodes with a line to this one; unknown keys are left out.
    """

    key: str
    name: str
    lines: str = ""
    kind: str = "process"
    count: str = ""
    lanes: int = 0
    inputs: Sequence[str] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Box:
    """A node with its place; `lanes` are x positions of strokes, `baseline` the y position of its name."""

    x: float
    y: float
    name: str
    lines: tuple[str, ...]
    kind: str
    count: str
    lanes: tuple[float, ...]
    title: str
    baseline: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawing:
    """Boxes of one size and curves between them."""

    width: float
    height: float
    boxes: tuple[Box, ...]
    curves: tuple[str, ...]
    box_width: int = BOX_WIDTH
    box_height: int = BOX_HEIGHT


def stage_nodes(stages: Sequence[Stage]) -> list[Node]:
    """Nodes of the way of the data: each stage is fed by the group before; neighbouring topics are one group."""
    nodes: list[Node] = []
    before: list[str] = []
    group: list[str] = []
    kind = ""
    for index, stage in enumerate(stages):
        if group and not (stage.kind == kind == "topic"):
            before, group = group, []
        kind = stage.kind
        key = str(index)
        nodes.append(
            Node(
                key=key,
                name=stage.name,
                lines=stage.detail,
                kind=stage.kind,
                count=stage.count,
                lanes=stage.lanes,
                inputs=tuple(before),
            )
        )
        group.append(key)
    return nodes


def step_nodes(steps: Sequence[Mapping[str, Any]]) -> list[Node]:
    """Nodes of a pipeline as `Pipeline.describe` gives it: each step is fed by the one it takes its pixels from."""
    named = {str(step["name"]) for step in steps}
    roots = dict.fromkeys(str(step["input"]) for step in steps if str(step["input"]) not in named)
    nodes = [Node(key=root, name=root, lines="decoded pixels of a tile", kind="source") for root in roots]
    for step in steps:
        name, operator = str(step["name"]), str(step["operator"])
        about = [operator] if operator != name else []
        about += [f"every {step['every']} frames"] if step["every"] != 1 else []
        about += [f"halo {step['halo']} px"] if step["halo"] else []
        kind = "process" if step["kind"] == "transform" else "measure"
        nodes.append(Node(key=name, name=name, lines=", ".join(about), kind=kind, inputs=(str(step["input"]),)))
    return nodes


def across(nodes: Sequence[Node]) -> Drawing:
    """Draw from left to right, for wide pages."""
    return _draw(nodes, vertical=False)


def down(nodes: Sequence[Node]) -> Drawing:
    """Draw from top to bottom, for narrow pages."""
    return _draw(nodes, vertical=True)


def _draw(nodes: Sequence[Node], *, vertical: bool) -> Drawing:
    columns = _columns(nodes)
    along, breadth = (BOX_HEIGHT, BOX_WIDTH) if vertical else (BOX_WIDTH, BOX_HEIGHT)
    widest = max((len(column) for column in columns), default=0)
    length = len(columns) * (along + GAP_ALONG) - GAP_ALONG if columns else 0
    extent = widest * (breadth + GAP_ACROSS) - GAP_ACROSS if widest else 0
    places: dict[str, tuple[float, float]] = {}
    for number, column in enumerate(columns):
        start = (extent - (len(column) * (breadth + GAP_ACROSS) - GAP_ACROSS)) / 2
        for index, node in enumerate(column):
            forward, sideways = number * (along + GAP_ALONG), start + index * (breadth + GAP_ACROSS)
            x, y = (sideways, forward) if vertical else (forward, sideways)
            places[node.key] = (x + MARGIN, y + MARGIN)
    curves = [
        _curve(places[source], places[node.key], vertical=vertical)
        for node in nodes
        for source in node.inputs
        if source in places and source != node.key
    ]
    width, height = (extent, length) if vertical else (length, extent)
    boxes = tuple(_box(node, *places[node.key]) for node in nodes)
    return Drawing(width=width + 2 * MARGIN, height=height + 2 * MARGIN, boxes=boxes, curves=tuple(curves))


def _columns(nodes: Sequence[Node]) -> list[list[Node]]:
    """Nodes by the longest way to them; nodes of a cycle stand where the cycle is cut."""
    known: Mapping[str, Node] = {node.key: node for node in nodes}
    depths: dict[str, int] = {}

    def depth(node: Node, passed: frozenset[str]) -> int:
        if node.key not in depths:
            before = [known[key] for key in node.inputs if key in known and key not in passed]
            inner = passed | {node.key}
            depths[node.key] = 1 + max((depth(one, inner) for one in before if one.key not in inner), default=-1)
        return depths[node.key]

    columns: dict[int, list[Node]] = {}
    for node in nodes:
        columns.setdefault(depth(node, frozenset()), []).append(node)
    return [columns[number] for number in sorted(columns)]


def _curve(source: tuple[float, float], target: tuple[float, float], *, vertical: bool) -> str:
    if vertical:
        x1, y1 = source[0] + BOX_WIDTH / 2, source[1] + BOX_HEIGHT
        x2, y2 = target[0] + BOX_WIDTH / 2, target[1] - 5
        middle = (y1 + y2) / 2
        return f"M{x1:g} {y1:g}C{x1:g} {middle:g} {x2:g} {middle:g} {x2:g} {y2:g}"
    x1, y1 = source[0] + BOX_WIDTH, source[1] + BOX_HEIGHT / 2
    x2, y2 = target[0] - 5, target[1] + BOX_HEIGHT / 2
    middle = (x1 + x2) / 2
    return f"M{x1:g} {y1:g}C{middle:g} {y1:g} {middle:g} {y2:g} {x2:g} {y2:g}"


def _box(node: Node, x: float, y: float) -> Box:
    lanes = min(node.lanes, MAX_LANES) if node.lanes > 1 else 0
    left = x + (BOX_WIDTH - (lanes - 1) * LANE_STEP) / 2
    lines = tuple(textwrap.wrap(node.lines, _LINE_CHARACTERS, max_lines=2, placeholder=" …"))
    below = LINE_HEIGHT * len(lines) + (COUNT_HEIGHT if node.count else 0) + (LANE_HEIGHT if lanes else 0)
    return Box(
        x=x,
        y=y,
        name=text.short(node.name, _NAME_CHARACTERS),
        lines=lines,
        kind=node.kind,
        count=text.short(node.count, _LINE_CHARACTERS),
        lanes=tuple(left + index * LANE_STEP for index in range(lanes)),
        title=", ".join(part for part in (node.name, node.lines, node.count) if part),
        baseline=y + (BOX_HEIGHT - below) / 2 + 5,
    )

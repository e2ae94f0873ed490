"""Boxes and the lines between them: places on a drawing, computed here, painted by the page's template."""

from __future__ import annotations

import textwrap
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from streamproc.report import text
from streamproc.report.values import Stage

BOX_WIDTH = 140
GAP_ALONG, GAP_ACROSS = 26, 14
BOX_HEIGHT, LOW_BOX_HEIGHT = 86, 54  # without counts and lanes a low box will do
MARGIN = 2
INDENT = 24
ARROW = 5  # room for the head of an arrow
LINE_HEIGHT, COUNT_HEIGHT, LANE_HEIGHT, LANE_STEP = 13, 15, 10, 9
MAX_LANES = 12
_NAME_CHARACTERS = 17
_LINE_CHARACTERS = 23


Place: TypeAlias = tuple[float, float]
"""Left and top of a box."""
Places: TypeAlias = dict[str, Place]
Line: TypeAlias = Callable[[Place, Place, int], str]
"""SVG path from one box to another, both of a height."""


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
    box_height: int
    box_width: int = BOX_WIDTH


def stage_nodes(stages: Sequence[Stage]) -> list[Node]:
    """Nodes of the way of the data: the group before feeds a stage; topics side by side are a group."""
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
    """Nodes of a pipeline as `Pipeline.describe` gives it: a step is fed by what it takes its pixels from."""
    named = {str(step["name"]) for step in steps}
    roots = dict.fromkeys(str(step["input"]) for step in steps if str(step["input"]) not in named)
    nodes = [Node(key=root, name=root, lines="decoded tile", kind="source") for root in roots]
    for step in steps:
        name, operator = str(step["name"]), str(step["operator"])
        about = [operator] if operator != name else []
        about += ["whole frame"] if step.get("on") == "frame" else []
        about += [f"halo {step['halo']} px"] if step["halo"] and step.get("on") != "frame" else []
        about += [f"1 in {step['every']} frames"] if step["every"] != 1 else []
        kind = "process" if step["kind"] == "transform" else "measure"
        nodes.append(Node(key=name, name=name, lines=", ".join(about), kind=kind, inputs=(str(step["input"]),)))
    return nodes


def across(nodes: Sequence[Node]) -> Drawing:
    """Draw from left to right in columns, for wide pages."""
    columns = _columns(nodes)
    height = _box_height(nodes)
    step_x, step_y = BOX_WIDTH + GAP_ALONG, height + GAP_ACROSS
    extent = max((len(column) for column in columns), default=0) * step_y - GAP_ACROSS
    places: Places = {}
    for number, column in enumerate(columns):
        top = (extent - len(column) * step_y + GAP_ACROSS) / 2
        for index, node in enumerate(column):
            places[node.key] = (MARGIN + number * step_x, MARGIN + top + index * step_y)
    return _drawing(nodes, places, height, _bend)


def down(nodes: Sequence[Node]) -> Drawing:
    """Draw as a tree, one box in a row, for narrow pages: several boxes fed by one are indented below it."""
    height = _box_height(nodes)
    fed = Counter(key for node in nodes for key in node.inputs)
    places: Places = {}
    y = float(MARGIN)
    for node in nodes:
        parent = next((key for key in node.inputs if key in places), None)
        x = float(MARGIN) if parent is None else places[parent][0] + (INDENT if fed[parent] > 1 else 0)
        places[node.key] = (x, y)
        y += height + GAP_ALONG - 6
    return _drawing(nodes, places, height, _elbow)


def _drawing(nodes: Sequence[Node], places: Places, height: int, line: Line) -> Drawing:
    curves = tuple(
        line(places[source], places[node.key], height)
        for node in nodes
        for source in node.inputs
        if source in places and source != node.key
    )
    return Drawing(
        width=max((x for x, _ in places.values()), default=0) + BOX_WIDTH + MARGIN,
        height=max((y for _, y in places.values()), default=0) + height + MARGIN,
        boxes=tuple(_box(node, *places[node.key], height) for node in nodes),
        curves=curves,
        box_height=height,
    )


def _box_height(nodes: Sequence[Node]) -> int:
    return BOX_HEIGHT if any(node.count for node in nodes) else LOW_BOX_HEIGHT


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


def _bend(source: Place, target: Place, height: int) -> str:
    """From the right side of a box to the left side of another."""
    x1, y1 = source[0] + BOX_WIDTH, source[1] + height / 2
    x2, y2 = target[0] - ARROW, target[1] + height / 2
    middle = (x1 + x2) / 2
    return f"M{x1:g} {y1:g}C{middle:g} {y1:g} {middle:g} {y2:g} {x2:g} {y2:g}"


def _elbow(source: Place, target: Place, height: int) -> str:
    """From the foot of a box straight down to one below it, or round a corner to an indented one."""
    if target[0] <= source[0]:
        x = target[0] + BOX_WIDTH / 2
        return f"M{x:g} {source[1] + height:g}V{target[1] - ARROW:g}"
    return f"M{source[0] + INDENT / 2:g} {source[1] + height:g}V{target[1] + height / 2:g}H{target[0] - ARROW:g}"


def _box(node: Node, x: float, y: float, box_height: int) -> Box:
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
        baseline=y + (box_height - below) / 2 + 5,
    )

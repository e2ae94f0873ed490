"""Where the boxes of a flowchart stand: layers by the longest way, rows by trying what makes the picture plainest.

The charts are small (up to some 25 boxes), so rows are found by moving one box at a time to the row where the whole
costs least: long and crossing edges, edges under boxes, and boxes inside a frame they do not belong to cost. Nothing is
random: the same chart gives the same picture.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from tests.docs.flowcharts import Flowchart, Point

Box: TypeAlias = tuple[float, float, float, float]
"""x, y, width, height, pixels."""

CHARACTER: Final = 7.4  # pixels of a character of 13 px, on the wide side, as fonts differ
LINE: Final = 16.0
GAP: Final = 36.0  # between layers
SPACE: Final = 22.0  # between rows
MARGIN: Final = 8.0
TITLE: Final = 22.0  # above the boxes of a frame
SAMPLES: Final = 12
WIDEST: Final = 960.0  # a page of the site has 736 pixels: beyond this the words would be smaller than 10 pixels


@dataclass(frozen=True, slots=True, kw_only=True)
class Places:
    """Boxes, frames around groups, and edges as SVG paths with the place of their text."""

    boxes: Mapping[str, Box]
    groups: Mapping[str, Box]
    paths: tuple[str, ...]
    labels: tuple[Point, ...]
    size: Point


def placed(chart: Flowchart) -> Places:
    """Place everything; a chart that would be too wide for a page goes down instead of across."""
    places = _placed(chart)
    return _placed(replace(chart, across=False)) if chart.across and places.size[0] > WIDEST else places


def _placed(chart: Flowchart) -> Places:
    names = list(chart.nodes)
    layers = _layers(chart)
    rows = _rows(chart, layers)
    sizes = {name: _size(chart.nodes[name].text) for name in names}
    boxes = _boxes(chart, layers, rows, sizes)
    groups = {
        title: _frame([boxes[name] for name in names if chart.nodes[name].group == title]) for title in chart.groups
    }
    lines = [_edge(chart, layers, boxes, number) for number in range(len(chart.edges))]
    left = min([box[0] for box in (*boxes.values(), *groups.values())])
    top = min([box[1] for box in (*boxes.values(), *groups.values())])
    right = max([*(box[0] + box[2] for box in (*boxes.values(), *groups.values())), *(line[2][0] for line in lines)])
    bottom = max([*(box[1] + box[3] for box in (*boxes.values(), *groups.values())), *(line[2][1] for line in lines)])
    dx, dy = MARGIN - left, MARGIN - top
    return Places(
        boxes={name: (x + dx, y + dy, width, height) for name, (x, y, width, height) in boxes.items()},
        groups={name: (x + dx, y + dy, width, height) for name, (x, y, width, height) in groups.items()},
        paths=tuple(_path([(x + dx, y + dy) for x, y in points]) for points, _, _ in lines),
        labels=tuple((x + dx, y + dy) for _, (x, y), _ in lines),
        size=(round(right + dx + MARGIN), round(bottom + dy + MARGIN)),
    )


def _size(text: str) -> Point:
    lines = text.split("\n")
    return max(44.0, max(map(len, lines)) * CHARACTER + 22), 20 + LINE * len(lines)


def _path(points: list[Point]) -> str:
    (x, y), *rest = points
    return f"M{x:.1f} {y:.1f}C" + " ".join(f"{x:.1f} {y:.1f}" for x, y in rest)


def _layers(chart: Flowchart) -> dict[str, int]:
    """Longest way from a source; edges that lead back are left out of account, sources stand next to what they feed."""
    onward = _onward(chart)
    layers = dict.fromkeys(chart.nodes, 0)
    for _ in chart.nodes:
        for start, end in onward:
            layers[end] = max(layers[end], layers[start] + 1)
    fed = {end for _, end in onward}
    for name in layers:
        after = [layers[end] for start, end in onward if start == name]
        if name not in fed and after:
            layers[name] = min(after) - 1
    return layers


def _onward(chart: Flowchart) -> list[tuple[str, str]]:
    """The edges without those that would close a circle, judged in the order they are written."""
    kept: list[tuple[str, str]] = []
    for edge in sorted(chart.edges, key=lambda edge: edge.line == "dotted"):
        reached, todo = {edge.end}, [edge.end]
        while todo:
            name = todo.pop()
            ends = {end for start, end in kept if start == name} - reached
            reached |= ends
            todo += ends
        if edge.start not in reached:
            kept.append((edge.start, edge.end))
    return kept


def _rows(chart: Flowchart, layers: Mapping[str, int]) -> dict[str, int]:
    """The plainest rows that are found from several beginnings, by moves that each make the picture plainer."""
    names = list(chart.nodes)
    cost = _Cost(chart, layers)
    found = [_settled(cost, order, [layers[name] for name in names]) for order in _beginnings(len(names))]
    rows = min(found, key=cost)
    return {name: int(row) for name, row in zip(names, rows - rows.min(), strict=True)}


def _beginnings(count: int) -> list[list[int]]:
    """Orders in which boxes are first put below each other: as written, from the end, and the odd ones first."""
    written = list(range(count))
    return [written, written[::-1], written[1::2] + written[::2]]


def _settled(cost: _Cost, order: list[int], layers: list[int]) -> NDArray[np.int64]:
    rows = np.zeros(len(layers), np.int64)
    used: dict[int, int] = {}
    for index in order:
        rows[index] = used.get(layers[index], 0)
        used[layers[index]] = int(rows[index]) + 1
    best, most = cost(rows), max(used.values()) + 2
    better = True
    while better:
        better = False
        for index in range(len(rows)):
            for trial in _moves(rows, index, layers, most):
                found = cost(trial, best)
                if found < best - 1e-9:
                    best, rows, better = found, trial, True
    return rows


def _moves(rows: NDArray[np.int64], index: int, layers: list[int], most: int) -> list[NDArray[np.int64]]:
    """The box to each other row; who stands there changes places with it. And all boxes of its layer shifted."""
    trials: list[NDArray[np.int64]] = []
    for row in range(-1, most):
        if row != rows[index]:
            trial = rows.copy()
            for other in range(len(rows)):
                if layers[other] == layers[index] and rows[other] == row:
                    trial[other] = rows[index]
            trial[index] = row
            trials.append(trial)
    for shift in (-1, 1):
        trial = rows.copy()
        trial[[layer >= layers[index] for layer in layers]] += shift
        trials.append(trial)
    return trials


class _Cost:
    """How far a choice of rows is from plain."""

    def __init__(self, chart: Flowchart, layers: Mapping[str, int]) -> None:
        names = list(chart.nodes)
        self.layer = np.array([layers[name] for name in names])
        self.ends = np.array([[names.index(edge.start), names.index(edge.end)] for edge in chart.edges]).reshape(-1, 2)
        self.members = [np.array([chart.nodes[name].group == title for name in names]) for title in chart.groups]
        grid = np.linspace(0, float(self.layer.max(initial=0)), int(self.layer.max(initial=0)) * SAMPLES + 1)
        first, last = self.layer[self.ends].min(axis=1), self.layer[self.ends].max(axis=1)
        inside = (grid > first[:, None] + 0.15) & (grid < last[:, None] - 0.15)
        share = np.clip((grid - first[:, None]) / np.maximum(last - first, 1)[:, None], 0, 1)
        self.inside, self.bend = inside, share * share * (3 - 2 * share)
        self.grid, self.long = grid, last - first > 1  # others pass no box

    def __call__(self, rows: NDArray[np.int64], bound: float = np.inf) -> float:
        """The cost; smaller is plainer. Where it is certain to be above `bound`, as much as is known of it."""
        start, end = rows[self.ends[:, 0]], rows[self.ends[:, 1]]
        cost = float(np.abs(end - start).sum()) + 0.8 * float(np.ptp(rows)) + 0.05 * float(np.abs(rows).sum())
        cost += 30 * self._strangers(rows)
        if cost > bound:
            return cost
        swap = self.layer[self.ends[:, 0]] > self.layer[self.ends[:, 1]]
        first, last = np.where(swap, end, start), np.where(swap, start, end)
        lines = first[:, None] + (last - first)[:, None] * self.bend
        lines = np.where(self.inside, lines, np.nan)
        cost += 2.5 * self._crossings(lines)
        if cost > bound:
            return cost
        near = (np.abs(lines[:, :, None] - rows) < 0.6) & (np.abs(self.grid[:, None] - self.layer) < 0.45)
        near[np.arange(len(lines)), :, self.ends[:, 0]] = False
        near[np.arange(len(lines)), :, self.ends[:, 1]] = False
        return cost + 6 * float(near[self.long].any(axis=1).sum())

    @staticmethod
    def _crossings(lines: NDArray[np.float64]) -> float:
        sign = np.sign(np.nan_to_num(lines[:, None] - lines[None, :]))
        return float(((sign.max(axis=2) > 0) & (sign.min(axis=2) < 0)).sum()) / 2

    def _strangers(self, rows: NDArray[np.int64]) -> float:
        """Boxes, and frames of others, inside a frame."""
        count = 0
        for member in self.members:
            low, high = rows[member].min(), rows[member].max()
            within = (rows >= low) & (rows <= high)
            within &= (self.layer >= self.layer[member].min()) & (self.layer <= self.layer[member].max())
            count += int((within & ~member).sum())
        return count


def _boxes(
    chart: Flowchart, layers: Mapping[str, int], rows: Mapping[str, int], sizes: Mapping[str, Point]
) -> dict[str, Box]:
    """Cells to pixels: a layer is as deep as its largest box, a row as high, with room for text and titles."""
    along, over = (0, 1) if chart.across else (1, 0)
    deep = {layer: max(sizes[n][along] for n in sizes if layers[n] == layer) for layer in set(layers.values())}
    high = {
        row: max([sizes[n][over] for n in sizes if rows[n] == row], default=0.0)
        for row in range(max(rows.values()) + 1)
    }
    before: dict[int, float] = {}
    place = 0.0
    for layer in sorted(deep):
        words = [len(e.text) for e in chart.edges if e.text and max(layers[e.start], layers[e.end]) == layer]
        place += (max([GAP, *(number * 6.4 + 26 for number in words)]) if chart.across else GAP) if layer else 0.0
        before[layer], place = place, place + deep[layer]
    across: dict[int, float] = {}
    place = 0.0
    for row in sorted(high):
        titled = any(row == min(rows[n] for n in rows if chart.nodes[n].group == title) for title in chart.groups)
        place += TITLE if titled and chart.across else 0.0
        across[row], place = place, place + (high[row] or 24.0) + SPACE
    boxes: dict[str, Box] = {}
    for name, size in sizes.items():
        one = before[layers[name]] + (deep[layers[name]] - size[along]) / 2
        two = across[rows[name]] + (high[rows[name]] - size[over]) / 2
        boxes[name] = (one, two, *size) if chart.across else (two, one, *size)
    return boxes


def _frame(boxes: list[Box]) -> Box:
    left, top = min(box[0] for box in boxes) - 12, min(box[1] for box in boxes) - TITLE
    right, bottom = max(box[0] + box[2] for box in boxes) + 12, max(box[1] + box[3] for box in boxes) + 10
    return left, top, right - left, bottom - top


def _edge(
    chart: Flowchart, layers: Mapping[str, int], boxes: Mapping[str, Box], number: int
) -> tuple[list[Point], Point, Point]:
    """Four points of a curve, the place of its text, and how far to the right and down it reaches."""
    edge = chart.edges[number]
    x, y, width, height = boxes[edge.start]
    u, v, wide, tall = boxes[edge.end]
    if layers[edge.start] >= layers[edge.end] and not chart.across:
        beside = max(x + width, u + wide) + 34
        points = [
            (x + width, y + height / 2),
            (beside, y + height / 2),
            (beside, v + tall / 2),
            (u + wide, v + tall / 2),
        ]
        half = 3.2 * len(edge.text)
        at = max((x + width + u + wide + 6 * beside) / 8, min(x, u) + half)
        return points, (at, (y + height / 2 + v + tall / 2) / 2), (max(beside, at + half), 0.0)
    if layers[edge.start] >= layers[edge.end]:
        below = max(y + height, v + tall) + 34
        points = [(x + width / 2, y + height), (x + width / 2, below), (u + wide / 2, below), (u + wide / 2, v + tall)]
        return points, ((x + width / 2 + u + wide / 2) / 2, below - 12), (0.0, below - 4)
    if chart.across:
        one, two = (x + width, y + height / 2), (u, v + tall / 2)
        middle = (one[0] + two[0]) / 2
        points = [one, (middle, one[1]), (middle, two[1]), two]
    else:
        one, two = (x + width / 2, y + height), (u + wide / 2, v)
        middle = (one[1] + two[1]) / 2
        points = [one, (one[0], middle), (two[0], middle), two]
    return points, ((one[0] + two[0]) / 2, (one[1] + two[1]) / 2 - 5), (0.0, 0.0)

"""Right halves of the operators' pictures that are no picture: text, bars, colours, tables."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from streamproc.model import Pixels

PANEL: Final = (316, 237)
"""Width and height."""
PAPER: Final = (246, 248, 250)
INK: Final = (40, 40, 40)
SIZES: Final = (17.0, 15.0, 13.5, 12.0, 11.0)
"""Of letters, pixels; the largest at which all lines fit is taken."""


def shortened(value: Any) -> str:
    """A value of an event, with four digits and the first of many."""
    match value:
        case float():
            return f"{value:.4g}"
        case list() | tuple() if len(value) > 8:
            return "[" + ", ".join(shortened(one) for one in value[:6]) + f", ... {len(value)}]"
        case list() | tuple():
            return "[" + ", ".join(shortened(one) for one in value) + "]"
        case dict():
            return ", ".join(f"{key} {shortened(one)}" for key, one in value.items())
        case _:
            return value if isinstance(value, str) else json.dumps(value)


def written(lines: Sequence[str]) -> Pixels:
    """Lines of text on paper."""
    for size in SIZES:
        font = ImageFont.load_default(size=size)
        rows = [row for line in lines for row in _wrapped(line, font)]
        if (len(rows) + 1) * size * 1.35 <= PANEL[1]:
            break
    return _print(np.full((*PANEL[::-1], 3), PAPER, np.uint8), rows, font, size, top=8)


def captioned(picture: Pixels, line: str) -> Pixels:
    """A picture with a line of text along its bottom."""
    picture = np.asarray(cv2.resize(picture, PANEL, interpolation=cv2.INTER_AREA), np.uint8)
    size = SIZES[-2]
    font = ImageFont.load_default(size=size)
    rows = _wrapped(line, font)
    top = PANEL[1] - round(1.35 * size * len(rows)) - 6
    picture[top - 4 :] = PAPER
    return _print(picture, rows, font, size, top=top)


def _print(picture: Pixels, rows: Sequence[str], font: Any, size: float, *, top: int) -> Pixels:
    image = Image.fromarray(picture[:, :, ::-1])
    pen = ImageDraw.Draw(image)
    for index, row in enumerate(rows):
        pen.text((8, top + round(1.35 * size * index)), row, fill=INK, font=font)
    return np.ascontiguousarray(np.asarray(image)[:, :, ::-1])


def _wrapped(line: str, font: Any) -> list[str]:
    rows, row = [], ""
    for word in line.split(" "):
        longer = f"{row} {word}" if row else word
        if row and font.getlength(longer) > PANEL[0] - 14:
            rows.append(row)
            longer = "   " + word
        row = longer
    return [*rows, row]


def bars(rows: Sequence[Sequence[float]]) -> Pixels:
    """Counts or shares; several rows in blue, green and red."""
    panel = np.full((*PANEL[::-1], 3), PAPER, np.uint8)
    colours = [(90, 90, 90)] if len(rows) == 1 else [(220, 90, 40), (60, 160, 60), (50, 50, 210)]
    height, left = (PANEL[1] - 20) // len(rows), 10
    for index, (row, colour) in enumerate(zip(rows, colours, strict=True)):
        base, most = 10 + height * (index + 1), max(*row, 1e-9)
        width = (PANEL[0] - 2 * left) / len(row)
        for number, count in enumerate(row):
            x1, x2 = round(left + number * width), max(round(left + (number + 1) * width) - (width > 3), 1)
            tall = round(count / most * (height - 8))
            cv2.rectangle(panel, (x1, base - tall), (max(x1, x2 - 1), base), colour, -1)
        cv2.line(panel, (left, base), (PANEL[0] - left, base), INK, 1)
    return panel


def heat(values: NDArray[np.float64]) -> Pixels:
    """A small table as a field of colours, the largest bright."""
    low, high = float(values.min()), float(values.max())
    levels = np.rint((values - low) / max(high - low, 1e-9) * 255).astype(np.uint8)
    side = PANEL[1] - 20
    field = cv2.applyColorMap(cv2.resize(levels, (side, side), interpolation=cv2.INTER_NEAREST), cv2.COLORMAP_VIRIDIS)
    panel = np.full((*PANEL[::-1], 3), PAPER, np.uint8)
    left = (PANEL[0] - side) // 2
    panel[10 : 10 + side, left : left + side] = field
    return panel


def swatches(colours: Sequence[Sequence[float]], shares: Sequence[float]) -> Pixels:
    """Colours as bars as long as their shares."""
    panel = np.full((*PANEL[::-1], 3), PAPER, np.uint8)
    height = (PANEL[1] - 20) // len(colours)
    for index, (colour, share) in enumerate(zip(colours, shares, strict=True)):
        top = 10 + index * height
        right = 10 + round((PANEL[0] - 20) * share / max(shares))
        cv2.rectangle(panel, (10, top), (right, top + height - 6), [round(value) for value in colour], -1)
        cv2.rectangle(panel, (10, top), (right, top + height - 6), INK, 1)
    return panel


def table(columns: Mapping[str, Any]) -> Pixels:
    """Columns of equal length, each under its name."""
    listed = {name: column for name, column in columns.items() if isinstance(column, list)}
    image = Image.fromarray(np.full((*PANEL[::-1], 3), PAPER[::-1], np.uint8))
    pen, font = ImageDraw.Draw(image), ImageFont.load_default(size=10.5)
    for index, (name, column) in enumerate(listed.items()):
        x = 7 + (0 if index == 0 else 24 + index * 46)
        for row, value in enumerate([{"bits_per_pixel": "bits/px"}.get(name, name), *column]):
            pen.text((x, 8 + 20 * row), shortened(value), fill=INK, font=font)
    return np.ascontiguousarray(np.asarray(image)[:, :, ::-1])

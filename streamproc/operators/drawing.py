"""Pictures for people: what was found, drawn over the frame. Nothing here is measured or compared.

Every function takes grey or BGR pixels and gives a new BGR picture.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from streamproc.errors import BadPixels
from streamproc.model import DetectedObject, Pixels, Points, Rect
from streamproc.operators.pixels import require_gray, require_pixels
from streamproc.operators.points import unpack_points

Colour = tuple[int, int, int]
"""Blue, green, red."""

GRID: Colour = (200, 200, 60)
MISSING: Colour = (60, 60, 220)
EDGE: Colour = (80, 255, 80)
POINT: Colour = (40, 180, 255)
UNKNOWN_GRAY = 40
GROUND: Colour = (30, 26, 24)
INK: Colour = (235, 235, 235)
FARTHEST_PX = 2**20  # OpenCV counts pixels in 32 bits; no picture reaches so far
PALETTE: tuple[Colour, ...] = ((66, 133, 244), (80, 200, 60), (60, 190, 250), (220, 120, 200), (230, 200, 70))


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """A box as it is to be drawn.

    Attributes:
        box: x1, y1, x2, y2 in pixels of the picture.
        words: Written above it; may be empty.
        line_px: Width of its line; 0 takes one that fits the picture.
        below: The words stand below it.
    """

    box: tuple[float, float, float, float]
    words: str
    colour: Colour
    line_px: int = 0
    below: bool = False


def stitch(parts: Iterable[tuple[Rect, Pixels]], width: int, height: int) -> Pixels:
    """Paint cores of decoded tiles into one picture; what is missing is dark grey.

    Args:
        parts: Core rectangle and its pixels, grey or BGR.
        width: Of the frame, pixels.
        height: Of the frame, pixels.

    Raises:
        BadPixels: A part does not fill its rectangle or lies outside the frame.
    """
    frame = np.full((height, width, 3), UNKNOWN_GRAY, np.uint8)
    whole = Rect(0, 0, width, height)
    for core, pixels in parts:
        inside = min(core.x, core.y) >= 0 and core.right <= width and core.bottom <= height
        if not inside or pixels.shape[:2] != (core.height, core.width):
            raise BadPixels(f"{pixels.shape} pixels do not fill {core} of a {width}x{height} frame")
        frame[core.within(whole)] = in_colour(pixels)
    return frame


def in_colour(pixels: Pixels) -> Pixels:
    """Give a BGR copy of grey or BGR pixels.

    Raises:
        BadPixels: Another shape or type.
    """
    require_pixels(pixels)
    if pixels.ndim == 3:
        return pixels.copy()
    return np.asarray(cv2.cvtColor(pixels, cv2.COLOR_GRAY2BGR), dtype=np.uint8)


def draw_grid(pixels: Pixels, cores: Sequence[Rect], missing: Sequence[Rect] = ()) -> Pixels:
    """Draw where a frame was cut; missing tiles are crossed out."""
    picture = in_colour(pixels)
    line = _line_px(picture)
    for core in cores:
        cv2.rectangle(picture, (core.x, core.y), (core.right - 1, core.bottom - 1), GRID, line)
    for core in missing:
        corners = ((core.x, core.y), (core.right - 1, core.bottom - 1))
        cv2.rectangle(picture, *corners, MISSING, line)
        cv2.line(picture, *corners, MISSING, line)
        cv2.line(picture, (core.x, core.bottom - 1), (core.right - 1, core.y), MISSING, line)
    return picture


def draw_boxes(pixels: Pixels, objects: Sequence[DetectedObject]) -> Pixels:
    """Draw boxes with label, score and track; one colour for each label."""
    return draw_marks(pixels, [_mark_of(item) for item in objects])


def draw_marks(pixels: Pixels, marks: Sequence[Mark]) -> Pixels:
    """Draw boxes as they are marked, in this order."""
    picture = in_colour(pixels)
    for mark in marks:
        left, top, right, bottom = (round(min(max(side, -FARTHEST_PX), FARTHEST_PX)) for side in mark.box)
        cv2.rectangle(picture, (left, top), (right, bottom), mark.colour, mark.line_px or _line_px(picture))
        if mark.words:
            _draw_label(picture, mark.words, (left, bottom if mark.below else top), mark.colour, below=mark.below)
    return picture


def colour_of(name: str) -> Colour:
    """The colour of a label or track, always the same."""
    return PALETTE[zlib.crc32(name.encode()) % len(PALETTE)]


def draw_paths(pixels: Pixels, paths: Sequence[tuple[Colour, Sequence[tuple[float, float]]]]) -> Pixels:
    """Draw lines from point to point (x, y), each in its colour."""
    picture = in_colour(pixels)
    for colour, points in paths:
        places = np.rint(np.clip(np.asarray(points, np.float64), -FARTHEST_PX, FARTHEST_PX)).astype(np.int32)
        cv2.polylines(picture, [places.reshape(-1, 1, 2)], False, colour, _line_px(picture), cv2.LINE_AA)  # noqa: FBT003 - not closed; OpenCV takes it by place
    return picture


def fit(pixels: Pixels, width: int, height: int) -> Pixels:
    """Bring a picture into a frame of another size, as large as it goes without distortion, on a dark ground."""
    picture = in_colour(pixels)
    rows, cols = picture.shape[:2]
    share = min(width / cols, height / rows)
    if share != 1:
        size = (max(1, min(width, round(cols * share))), max(1, min(height, round(rows * share))))
        way = cv2.INTER_AREA if share < 1 else cv2.INTER_NEAREST
        picture = np.asarray(cv2.resize(picture, size, interpolation=way), np.uint8)
        rows, cols = picture.shape[:2]
    framed = np.full((height, width, 3), GROUND, np.uint8)
    top, left = (height - rows) // 2, (width - cols) // 2
    framed[top : top + rows, left : left + cols] = picture
    return framed


def dimmed(pixels: Pixels) -> Pixels:
    """A picture at half its brightness: it is not of now."""
    return np.asarray(cv2.convertScaleAbs(in_colour(pixels), alpha=0.5), dtype=np.uint8)


def caption_px(width: int, lines: int) -> int:
    """Height of the strip that `caption` adds below a picture of a width."""
    return lines * _line_height_px(width) + 8


def caption(pixels: Pixels, lines: Sequence[str]) -> Pixels:
    """Add lines of text in a strip below a picture; each is made as small as it must be, then cut."""
    width = pixels.shape[1]
    strip = np.full((caption_px(width, len(lines)), width, 3), GROUND, np.uint8)
    for number, line in enumerate(lines, start=1):
        plain = line.encode("ascii", "replace").decode()
        size = largest = _line_height_px(width) / 36
        (needed, _), _ = cv2.getTextSize(plain, cv2.FONT_HERSHEY_SIMPLEX, size, 1)
        if needed > width - 12:
            size = max(0.3, largest * (width - 12) / needed)
        baseline = 4 + number * _line_height_px(width) - _line_height_px(width) // 4
        cv2.putText(strip, plain, (6, baseline), cv2.FONT_HERSHEY_SIMPLEX, size, INK, 1, cv2.LINE_AA)
    return np.concatenate([in_colour(pixels), strip])


def draw_points(pixels: Pixels, points: Points, colour: Colour = POINT) -> Pixels:
    """Draw points as small rings."""
    picture = in_colour(pixels)
    radius = 1 + 2 * _line_px(picture)
    xy, _, _ = unpack_points(points)
    for x, y in np.rint(xy).astype(int).tolist():
        cv2.circle(picture, (x, y), radius, colour, 1, cv2.LINE_AA)
    return picture


def overlay_edges(pixels: Pixels, edges: NDArray[np.uint8], colour: Colour = EDGE) -> Pixels:
    """Darken a picture and draw its edges over it.

    Raises:
        BadPixels: The edges are no mask of the picture's size.
    """
    require_gray(edges)
    if edges.shape != pixels.shape[:2]:
        raise BadPixels(f"edges of {edges.shape} do not fit a picture of {pixels.shape}")
    picture = np.asarray(cv2.convertScaleAbs(in_colour(pixels), alpha=0.6), dtype=np.uint8)
    picture[edges > 0] = colour
    return picture


def draw_edges(edges: NDArray[np.uint8]) -> Pixels:
    """Edges alone, white on black.

    Raises:
        BadPixels: Not (rows, cols) uint8.
    """
    require_gray(edges)
    return in_colour(np.where(edges > 0, np.uint8(255), np.uint8(0)))


def _mark_of(item: DetectedObject) -> Mark:
    words = [item.label, f"{item.score:.3g}", *([item.track] if item.track else [])]
    return Mark(box=item.box, words=" ".join(words), colour=colour_of(item.label))


def _line_height_px(width: int) -> int:
    return max(16, min(36, round(width / 48)))


def _line_px(picture: Pixels) -> int:
    longest: int = max(picture.shape[:2])
    return max(1, round(longest / 1000))


def _draw_label(picture: Pixels, text: str, at: tuple[int, int], colour: Colour, *, below: bool = False) -> None:
    # OpenCV's built-in fonts know ASCII alone.
    plain = text.encode("ascii", "replace").decode()
    size = max(0.4, max(picture.shape[:2]) / 1800)
    (width, height), foot = cv2.getTextSize(plain, cv2.FONT_HERSHEY_SIMPLEX, size, 1)
    left = max(0, min(at[0], picture.shape[1] - width))
    bottom = max(height + foot, at[1])
    if below:
        bottom = max(height + foot, min(picture.shape[0] - 1, at[1] + height + foot))
    cv2.rectangle(picture, (left, bottom - height - foot), (left + width, bottom), colour, cv2.FILLED)
    place = (left, bottom - foot // 2 - 1)
    cv2.putText(picture, plain, place, cv2.FONT_HERSHEY_SIMPLEX, size, (0, 0, 0), 1, cv2.LINE_AA)
